"""The random order of a split: a function of the rows alone, uniform, and the same in every version."""

from __future__ import annotations

import itertools
from hashlib import blake2b

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from corpus.splits.order import POSITIONS, positions, ranges

MASK = POSITIONS - 1


def ids(n: int) -> pa.Array:
    return pa.array([blake2b(str(i).encode(), digest_size=16).hexdigest() for i in range(n)])


def mix(x: int) -> int:
    """splitmix64 in plain integers."""
    z = (x + 0x9E3779B97F4A7C15) & MASK
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & MASK
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & MASK
    return z ^ (z >> 31)


def plain(row_id: str, repeat: int, split: str, seed: int) -> int:
    salt = int.from_bytes(blake2b(f"{split}\0{seed}".encode(), digest_size=8).digest(), "big")
    return mix((mix(int(row_id[:16], 16) ^ salt) + repeat * 0x9E3779B97F4A7C15) & MASK)


@given(
    st.lists(st.text("0123456789abcdef", min_size=32, max_size=32), max_size=20),
    st.integers(0, 300),
    st.sampled_from(["sft", "rm", "rm-requests"]),
    st.integers(0, 2**63 - 1),
)
def test_positions_are_as_defined(row_ids: list[str], repeat: int, split: str, seed: int) -> None:
    found = positions(pa.array(row_ids, pa.string()), np.full(len(row_ids), repeat), split, seed)
    assert found.dtype == np.uint64
    assert found.tolist() == [plain(r, repeat, split, seed) for r in row_ids]


def test_positions_stay_what_they_were() -> None:
    """A changed hash would shuffle every split anew, and move what a stopped training has already seen."""
    found = positions(ids(2), np.array([0, 1]), "sft", 42)
    assert [f"{p:016x}" for p in found.tolist()] == GOLDEN


def test_positions_are_uniform_and_those_of_copies_and_splits_have_nothing_in_common() -> None:
    n = 20_000
    first = positions(ids(n), np.zeros(n), "sft", 1)
    for other in (
        positions(ids(n), np.ones(n), "sft", 1),
        positions(ids(n), np.zeros(n), "dpo", 1),
        positions(ids(n), np.zeros(n), "sft", 2),
    ):
        assert abs(np.corrcoef(first.astype(float), other.astype(float))[0, 1]) < 4 / np.sqrt(n)
    counts = np.histogram(first.astype(float), bins=64, range=(0, float(POSITIONS)))[0]
    expected = n / 64
    assert ((counts - expected) ** 2 / expected).sum() < 63 + 5 * np.sqrt(2 * 63)


def test_a_slice_of_a_column_is_like_the_column() -> None:
    whole = ids(9)
    assert positions(whole.slice(3, 4), np.zeros(4), "sft", 1).tolist() == positions(whole, np.zeros(9), "sft", 1)[3:7].tolist()


@pytest.mark.parametrize("bad", ["x" * 32, "A" * 32, "12", "é" * 16])
def test_what_is_no_identity_is_refused(bad: str) -> None:
    with pytest.raises(ValueError, match="row_id"):
        positions(pa.array([bad]), np.zeros(1), "sft", 1)


@pytest.mark.parametrize("n", [1, 2, 3, 7, 1000])
def test_ranges_cover_all_positions_once(n: int) -> None:
    found = ranges(n)
    assert (found[0][0], found[-1][1], len(found)) == (0, MASK, n)
    assert all(a[1] + 1 == b[0] for a, b in itertools.pairwise(found))
    widths = {last - first for first, last in found}
    assert max(widths) - min(widths) <= 1


GOLDEN = ["c413a3dd41b1cf9b", "661040ef5e885ed8"]
