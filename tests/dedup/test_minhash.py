"""Signatures against datasketch, and bands against the S-curve."""

from __future__ import annotations

import math

import numpy as np
import pytest
from datasketch import MinHash
from hypothesis import given, settings
from hypothesis import strategies as st

from corpus.dedup.minhash import KEY_BITS, Scheme, keys, permutations, signatures
from corpus.dedup.shingles import shingles
from corpus.dedup.units import Unit
from tests.dedup.golden import GOLDEN, SCHEME, Golden
from tests.dedup.reference import column_of, row_of, texts_of

TEXTS = [
    "",
    "。",
    "我们今天去公园散步吧，天气很好。",
    "我們今天去公園散步吧",
    "The quick brown fox jumps over the lazy dog 3 times, and then it sleeps.",
    "用 pip install numpy 安装，然后 import numpy as np 就可以了。",
    "😀👨\u200d👩\u200d👧❤\ufe0f👍🏽 好 good",
    "short",
    "Это мой дом. 한국어 ภาษาไทย",
    "一二三四五六七八九十" * 40,
]


def oracle(hashes: list[int], values: int, seed: int = 1) -> list[int]:
    """datasketch's signature."""
    sketch = MinHash(num_perm=values, seed=seed, scheme="affine32", hashfunc=lambda value: int(value) >> 32)
    for value in hashes:
        sketch.update(value)
    return sketch.hashvalues.tolist()  # type: ignore[no-any-return]


@pytest.mark.parametrize("unit", Unit)
@pytest.mark.parametrize("values", [1, 3, 31, 32, 33, 70, 128, 256])
def test_signatures_are_those_of_datasketch(unit: Unit, values: int) -> None:
    found = shingles(column_of(TEXTS), unit)
    made = signatures(found.hashes, found.bounds, values)
    assert made.dtype == np.uint32
    assert made.tolist() == [oracle(row_of(found, i), values) for i in range(len(TEXTS))]


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.lists(st.integers(0, (1 << 64) - 1), max_size=9), min_size=1, max_size=4),
    st.integers(1, 40),
    st.integers(0, (1 << 32) - 1),
)
def test_signatures_of_any_hashes(rows: list[list[int]], values: int, seed: int) -> None:
    hashes = np.array([value for row in rows for value in row], dtype=np.uint64)
    bounds = np.cumsum([0, *map(len, rows)], dtype=np.int64)
    assert signatures(hashes, bounds, values, seed).tolist() == [oracle(row, values, seed) for row in rows]


def test_signatures_fit_into_datasketch() -> None:
    found = shingles(column_of(TEXTS[2:4]), Unit.MIXED)
    one, other = (MinHash(num_perm=128, seed=1, scheme="affine32", hashvalues=row) for row in signatures(found.hashes, found.bounds, 128))
    assert 0.2 < one.jaccard(other) < 1.0


def test_permutations_are_bijections() -> None:
    factors, summands = permutations(256)
    assert (factors % 2 == 1).all()
    assert len(set(factors.tolist())) == len(set(summands.tolist())) == 256


@pytest.mark.parametrize("golden", GOLDEN, ids=lambda golden: f"{golden.unit}-{golden.row[0][0][:6]}")
def test_golden_signatures_and_keys(golden: Golden) -> None:
    found = shingles(texts_of([golden.row]), golden.unit)
    made = signatures(found.hashes, found.bounds, SCHEME.values)
    assert [f"{value:08x}" for value in made[0].tolist()] == golden.signature.split()
    assert [f"{value:010x}" for value in keys(made, np.array([2], dtype=np.uint8), SCHEME)[0].tolist()] == golden.keys.split()


def test_keys_are_equal_where_band_and_space_are() -> None:
    scheme = Scheme(0.8, 3, 2)
    made = np.array([[1, 2, 3, 4, 5, 6], [1, 2, 4, 3, 5, 6], [1, 2, 1, 2, 1, 2], [1, 2, 3, 4, 5, 6]], dtype=np.uint32)
    found = keys(made, np.array([0, 0, 0, 1], dtype=np.uint8), scheme)
    assert (found < 1 << KEY_BITS).all()
    assert (found[0] == found[1]).tolist() == [True, False, True]
    assert (found[0] == found[2]).tolist() == [True, False, False]
    assert len(set(found[2].tolist())) == 3  # each band has keys of its own
    assert not (found[0] == found[3]).any()  # and each space
    spaces = np.arange(256, dtype=np.uint8)
    assert len(np.unique(keys(np.repeat(made[:1], 256, axis=0), spaces, scheme))) == 3 * 256


def test_keys_spread_evenly() -> None:
    made = np.arange(40_000, dtype=np.uint32).reshape(-1, 4)
    found = keys(made, np.zeros(len(made), dtype=np.uint8), Scheme(0.8, 2, 2))
    for bits in (found & np.uint64(15), found >> np.uint64(KEY_BITS - 4)):
        counts = np.bincount(bits.ravel().astype(np.int64), minlength=16)
        assert (abs(counts - 1250) < 5 * math.sqrt(1250)).all()
    assert len(np.unique(found)) == found.size


@pytest.mark.parametrize("threshold", [*(round(0.5 + 0.01 * i, 2) for i in range(51)), 0.995, 0.999, 1])
def test_schemes(threshold: float) -> None:
    scheme = Scheme.of(threshold)
    assert scheme.threshold == threshold
    assert scheme.values == scheme.bands * scheme.rows <= 256
    assert scheme.found(threshold) >= 0.995
    assert scheme.missed() <= 0.005
    assert scheme.found(threshold / 2) <= 0.5
    if scheme.bands > 1:  # no more bands than it needs
        assert Scheme(threshold, scheme.bands - 1, scheme.rows).found(threshold) < 0.995


@pytest.mark.parametrize("threshold", [0.499, 0.0, -1.0, 1.001, 80, math.nan, math.inf])
def test_other_thresholds_are_refused(threshold: float) -> None:
    with pytest.raises(ValueError, match="is not between"):
        Scheme.of(threshold)


def test_missed_is_the_mean() -> None:
    scheme = Scheme.of(0.8)
    spread = np.linspace(0.8, 1.0, 100_001)
    assert scheme.missed() == pytest.approx(np.mean(1 - scheme.found(spread)), rel=1e-3)  # type: ignore[arg-type]


@pytest.mark.parametrize("threshold", [0.5, 0.7, 0.8, 0.9])
@pytest.mark.parametrize("percent", [50, 60, 65, 70, 80, 85, 95])
def test_pairs_meet_as_the_s_curve_says(threshold: float, percent: int) -> None:
    pairs, union = 2000, 200
    scheme = Scheme.of(threshold)
    draw = np.random.default_rng(percent)
    hashes = draw.integers(0, 1 << 64, size=(pairs, union), dtype=np.uint64)
    common = union * percent // 100
    cut = common + (union - common) // 2
    met = np.zeros((2, pairs, scheme.bands), dtype=np.uint64)
    for side, columns in enumerate((hashes[:, :cut], np.hstack((hashes[:, :common], hashes[:, cut:])))):
        bounds = np.arange(pairs + 1, dtype=np.int64) * columns.shape[1]
        made = signatures(np.ascontiguousarray(columns).ravel(), bounds, scheme.values)
        met[side] = keys(made, np.zeros(pairs, dtype=np.uint8), scheme)
    chance = scheme.found(percent / 100)
    found = (met[0] == met[1]).any(axis=1).sum()
    # Of the rarest misses a single one may be seen.
    assert abs(found - pairs * chance) <= max(4 * math.sqrt(pairs * chance * (1 - chance)), 1.0)
