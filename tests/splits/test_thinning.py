"""Short answers: units as they are measured, and chance that hangs on the row alone."""

from __future__ import annotations

from hashlib import blake2b

import numpy as np
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from corpus.splits.thinning import chances, thin, units
from corpus.text.measures import Rows, measure
from corpus.text.settings import TextSettings

IDS = st.lists(st.text("0123456789abcdef", min_size=32, max_size=32), min_size=1, max_size=12, unique=True)


def ids(n: int) -> pa.Array:
    """Row ids as they are made."""
    return pa.array([blake2b(str(i).encode(), digest_size=16).hexdigest() for i in range(n)])


@given(st.lists(st.one_of(st.text(max_size=30), st.text("ab 1語ん'’,\n", max_size=30)), max_size=6))
def test_units_are_those_of_the_measure(texts: list[str]) -> None:
    n = len(texts)
    column = pl.Series(texts, dtype=pl.String)
    rows = Rows(column, pl.Series(["text"] * n, dtype=pl.String), np.arange(n), n, np.ones(n, dtype=bool))
    assert units(column).tolist() == (measure(rows, TextSettings())["units"].to_pylist() if n else [])


def test_a_null_and_a_slice_have_their_own_units() -> None:
    column = pl.Series(["left out", "Hello world, 12", None, "你好 it's", ""])
    assert units(column[1:]).tolist() == [3, 0, 3, 0]


def chance(row_id: str, split: str, seed: int) -> float:
    """What `chances` must compute, in whole numbers of Python."""
    full = (1 << 64) - 1

    def mixed(x: int) -> int:
        x = (x ^ x >> 30) * 0xBF58476D1CE4E5B9 & full
        x = (x ^ x >> 27) * 0x94D049BB133111EB & full
        return x ^ x >> 31

    golden = 0x9E3779B97F4A7C15
    salt = mixed(seed + golden & full) ^ int.from_bytes(blake2b(split.encode(), digest_size=8).digest(), "little")
    return (mixed(mixed(int(row_id[:16], 16) ^ salt) + golden & full) >> 11) / (1 << 53)


@given(IDS, st.text(max_size=8), st.integers(-(1 << 70), 1 << 70))
def test_chances_are_those_of_plain_python(row_ids: list[str], split: str, seed: int) -> None:
    assert chances(pa.array(row_ids), split, seed).tolist() == [chance(each, split, seed) for each in row_ids]


def test_chances_never_change() -> None:
    """A golden vector: builds of another day and machine must take the same rows."""
    row_ids = pa.array(["0123456789abcdef" * 2, "f" * 32, "0" * 32])
    assert chances(row_ids, "sft", 7).tolist() == GOLDEN


GOLDEN = [0.12610852298152575, 0.7999936905202358, 0.31766679019122235]


def test_chances_are_even_and_differ_by_split_and_seed() -> None:
    n = 20_000
    found = [chances(ids(n), split, seed) for split, seed in (("sft", 1), ("sft", 2), ("rm", 1))]
    for each in found:
        assert ((each >= 0) & (each < 1)).all()
        counts = np.histogram(each, 20, (0, 1))[0]
        assert (((counts - n / 20) ** 2) / (n / 20)).sum() < 44  # chi-squared, 19 degrees of freedom: 0.1 % lie beyond
    for i in range(3):
        assert abs(np.corrcoef(found[i], found[i - 1])[0, 1]) < 0.03


def test_ids_that_follow_one_another_are_as_even() -> None:
    found = chances(pa.array([f"{i:016x}{'0' * 16}" for i in range(20_000)]), "sft", 0)
    assert (np.abs(np.histogram(found, 20, (0, 1))[0] - 1000) < 150).all()


BELOW = st.dictionaries(st.integers(1, 20), st.sampled_from([0.0, 0.25, 0.5, 0.9, 1.0]), min_size=1, max_size=4)


@given(IDS, BELOW, st.data())
def test_the_smallest_length_above_decides(row_ids: list[str], below: dict[int, float], data: st.DataObject) -> None:
    lengths = data.draw(st.lists(st.integers(0, 25), min_size=len(row_ids), max_size=len(row_ids)))
    found = thin(np.array(lengths, dtype=np.int64), pa.array(row_ids), "sft", 3, below)
    for row, (length, row_id) in enumerate(zip(lengths, row_ids, strict=True)):
        bound = min((b for b in below if b > length), default=None)
        assert found.short[row] == (bound is not None) == (length < max(below))
        assert found.bound[row] == (bound or 0)
        assert found.dropped[row] == (bound is not None and chance(row_id, "sft", 3) >= below[bound])


@given(IDS, st.randoms(use_true_random=False))
def test_a_row_is_taken_whatever_others_there_are(row_ids: list[str], random: object) -> None:
    below = {10: 0.5}
    together = thin(np.full(len(row_ids), 3), pa.array(row_ids), "sft", 1, below).dropped.tolist()
    alone = [thin(np.array([3]), pa.array([each]), "sft", 1, below).dropped[0] for each in row_ids]
    backwards = thin(np.full(len(row_ids), 3), pa.array(row_ids[::-1]), "sft", 1, below).dropped.tolist()
    sliced = thin(np.full(len(row_ids) - 1, 3), pa.array(row_ids).slice(1), "sft", 1, below).dropped.tolist()
    assert together == alone == backwards[::-1]
    assert together[1:] == sliced


def test_shares_are_kept_and_the_larger_one_keeps_the_same_rows_and_more() -> None:
    n = 20_000
    lengths = np.full(n, 3)
    half, most = (thin(lengths, ids(n), "sft", 1, {30: share}).dropped for share in (0.5, 0.8))
    assert abs(half.mean() - 0.5) < 0.015
    assert abs(most.mean() - 0.2) < 0.015
    assert not (most & ~half).any()
    assert not thin(lengths, ids(n), "sft", 1, {30: 1.0}).dropped.any()
    assert thin(lengths, ids(n), "sft", 1, {30: 0.0}).dropped.all()


@pytest.mark.parametrize("row_id", ["abc", "g" * 32, "A" * 32, "é" * 16, ""])
def test_a_row_id_is_hexadecimal(row_id: str) -> None:
    with pytest.raises(ValueError, match="row_id is"):
        chances(pa.array([row_id]), "sft", 1)


def test_no_rows() -> None:
    assert thin(np.zeros(0, dtype=np.int64), pa.array([], pa.string()), "sft", 1, {5: 0.5}).dropped.tolist() == []
