"""Looking a row up: by its keys in a segment, and its similarity to rows and to their parts."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from corpus.dedup.bands import opened, write
from corpus.dedup.judge import against, sets
from corpus.dedup.minhash import KEY_BITS, Scheme
from corpus.dedup.shingles import Shingles
from corpus.dedup.texts import ANSWER, PROMPT, REJECTED, STOCK
from corpus.errors import WarehouseError

SCHEME = Scheme(0.8, 3, 4)
LAST = (1 << KEY_BITS) - 1


@pytest.fixture
def segment(tmp_path: Path) -> tuple[np.ndarray, Path]:
    """Keys of 500 rows, few enough for many to be equal, with the least and the greatest among them; and their file."""
    draw = np.random.default_rng(5)
    few = np.concatenate([draw.integers(0, 1 << KEY_BITS, 60, dtype=np.uint64), np.array([0, LAST], dtype=np.uint64)])
    keys = few[draw.integers(0, len(few), (500, SCHEME.bands))]
    path = tmp_path / "some.bands"
    with path.open("wb") as file:
        write(file, keys, SCHEME, "mixed")
    return keys, path


def test_lookup_finds_the_rows_that_a_comparison_with_all_finds(segment: tuple[np.ndarray, Path]) -> None:
    keys, path = segment
    draw = np.random.default_rng(6)
    wanted = np.concatenate([keys[:40], draw.integers(0, 1 << KEY_BITS, (20, SCHEME.bands), dtype=np.uint64)])
    wanted = np.concatenate([wanted, np.full((1, SCHEME.bands), LAST, dtype=np.uint64), np.zeros((1, SCHEME.bands), dtype=np.uint64)])
    file = opened(path)
    for count in (1, 7, len(wanted)):
        for start in range(0, len(wanted), count):
            some = wanted[start : start + count]
            expected = [i for i, row in enumerate(keys) if any(row[b] in some[:, b] for b in range(SCHEME.bands))]
            found = file.lookup(some)
            assert found.dtype == np.int64
            assert found.tolist() == expected


def test_lookup_reads_only_the_sections_that_it_needs(segment: tuple[np.ndarray, Path]) -> None:
    keys, path = segment
    file = opened(path)
    row = int(np.flatnonzero(keys[:, 0] >> np.uint64(KEY_BITS - 4) == 3)[0])
    data = bytearray(path.read_bytes())
    start = file.head + 8 * int(file.starts[12])  # the 13th section of the first band
    data[start : start + 8] = bytes(b ^ 0xFF for b in data[start : start + 8])
    path.write_bytes(data)
    others = np.full((1, SCHEME.bands), 1, dtype=np.uint64)  # no row has it, and it is in the first section
    others[0, 0] = keys[row, 0]
    assert row in file.lookup(others).tolist()
    others[0, 0] = np.uint64(12) << np.uint64(KEY_BITS - 4)
    with pytest.raises(WarehouseError, match="band 0, section 12"):
        file.lookup(others)


NUMBERS = st.lists(st.integers(1, 40), min_size=1, max_size=25)


@settings(deadline=None)  # the first call compiles
@given(NUMBERS, NUMBERS, NUMBERS, NUMBERS, st.sets(st.integers(1, 40), max_size=8))
def test_similarities_are_those_of_plain_sets(
    text: list[int], asked: list[int], answered: list[int], not_answered: list[int], common: set[int]
) -> None:
    def shingles(parts: dict[int, list[int]]) -> np.ndarray:
        hashes = [n << 6 | part | (STOCK if n in common else 0) for part, numbers in parts.items() for n in numbers]
        return np.array(hashes, dtype=np.uint64)

    row = shingles({PROMPT: asked, ANSWER: answered, REJECTED: not_answered})
    found = sets(Shingles(row, np.array([0, len(row)]), np.zeros((1, 2), dtype=np.uint64)))
    one = shingles({PROMPT | ANSWER | REJECTED: text})
    one = sets(Shingles(one, np.array([0, len(one)]), np.zeros((1, 2), dtype=np.uint64))).hashes
    [values] = against(one, found).tolist()

    def jaccard(a: set[int], b: set[int]) -> float:
        return len(a & b) / len(a | b) if a | b else 1.0

    whole = {*asked, *answered, *not_answered}
    if not set(text) & whole:
        assert values == [0, 0, 0, 0, 0]
        return
    assert values[0] == pytest.approx(min(jaccard(set(text), whole), jaccard(set(text) - common, whole - common)))
    assert values[1:4] == pytest.approx([jaccard(set(text), set(part)) for part in (asked, answered, not_answered)])
    assert values[4] == pytest.approx(len(set(text) & whole) / len(set(text)))
