"""Counted pieces against a Python Counter."""

from __future__ import annotations

from collections import Counter as Tally
from collections.abc import Callable

import numpy as np
import polars as pl
from hypothesis import given
from hypothesis import strategies as st

from corpus.tokenizer.counts import Counter, Counts, count
from tests.tokenizer.conftest import ALPHABET
from tests.tokenizer.test_pieces import library

_texts = st.lists(st.lists(st.sampled_from(ALPHABET), max_size=30).map("".join), max_size=8)


def as_tally(counts: Counts) -> Tally[str]:
    whole = bytes(counts.data)
    spans = zip(counts.offsets[:-1].tolist(), counts.offsets[1:].tolist(), strict=True)
    return Tally({whole[a:b].decode(): n for (a, b), n in zip(spans, counts.counts.tolist(), strict=True)})


@given(st.lists(_texts, max_size=4))
def test_counts_are_those_of_the_pieces(batches: list[list[str]]) -> None:
    counted = count(pl.Series(batch, dtype=pl.String) for batch in batches)
    assert as_tally(counted) == Tally(piece for batch in batches for text in batch for piece in library(text))


def test_counts_grow_beyond_every_first_size() -> None:
    texts = [f"w{chr(0x4E00 + i % 3000)}{chr(0x4E00 + i // 3000)}" for i in range(200_000)]
    counted = count([pl.Series(texts), pl.Series(texts[::2])])
    assert len(counted.counts) == 200_000 + 1  # the w is a piece of its own
    assert as_tally(counted)["w"] == 300_000
    assert as_tally(counted)[texts[2][1:]] == 2


def test_a_column_that_begins_inside_its_buffer() -> None:
    column = pl.Series(["one", "two three", "three"])
    assert as_tally(count([column[1:]])) == Tally({"two": 1, " three": 1, "three": 1})


def test_weights(sentences: Callable[[int, int], list[str]]) -> None:
    counter = Counter()
    data = np.frombuffer(b"aabaa", dtype=np.uint8)
    counter.add(data, np.array([0, 2, 3]), np.array([2, 3, 5]), np.array([10, 20, 30]))
    assert as_tally(counter.counts()) == Tally({"aa": 40, "b": 20})
