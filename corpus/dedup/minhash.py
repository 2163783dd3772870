"""MinHash: a sketch of a row's set of shingles, and the bands by which rows that may be near each other meet.

The permutations are those of datasketch's `affine32` scheme (datasketch 2.0, `MinHash(num_perm, seed, scheme="affine32")`): the input, here
the upper 32 bits of a shingle, goes through MurmurHash3's finalizer once, and each permutation is a·h + b modulo 2^32 with an odd a. A
signature can therefore be handed to `datasketch.MinHash(hashvalues=…)`.

Two rows of similarity J agree in one value of the signature with probability J, in all r values of a band with J^r, and in one of b
bands at least with 1 - (1 - J^r)^b: the S-curve. What bands bring together is then compared exactly, so they decide what is found and
never what is dropped.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache

import numpy as np
from numba import njit

SEED = 1
"""datasketch's own default."""
_TARGET = 0.005
"""A pair just at the threshold may be missed this often."""
_MOST_VALUES = 256
_LANES = 32
"""Signatures are computed in multiples of it, so that the compiler's vectors have no remainder."""
KEY_BITS = 40
"""Bits of a band's key that are kept. Two rows that have nothing in common meet in a band with a probability of 1e-12."""


@dataclass(frozen=True, slots=True)
class Scheme:
    """How rows are sketched and compared.

    Attributes:
        threshold: rows of this similarity or more are near each other.
        bands: bands of a signature.
        rows: values of a band.
        seed: of the permutations.
    """

    threshold: float
    bands: int
    rows: int
    seed: int = SEED

    @property
    def values(self) -> int:
        """Values of a signature."""
        return self.bands * self.rows

    def found(self, jaccard: float) -> float:
        """The probability with which two rows of this similarity meet."""
        return 1.0 - (1.0 - jaccard**self.rows) ** self.bands

    def missed(self) -> float:
        """The share of pairs that is missed, of pairs whose similarities are spread evenly from the threshold to 1."""
        steps = 200
        width = (1.0 - self.threshold) / steps
        return sum(1.0 - self.found(self.threshold + (i + 0.5) * width) for i in range(steps)) / steps

    @classmethod
    def of(cls, threshold: float) -> Scheme:
        """The cheapest scheme that misses a pair just at the threshold in at most 5 of 1,000 cases and is selective.

        Long bands let fewer unlike rows meet, and more of them are needed: of all lengths whose bands fit into 256 values the longest whose
        rows at half the threshold meet in at most 15 of 100 cases costs least.

        Raises:
            ValueError: for a threshold outside 0.5 to 1.
        """
        if not 0.5 <= threshold <= 1.0:
            raise ValueError(f"a threshold of {threshold} is not between 0.5 and 1")
        best = None
        for rows in range(2, 33):
            at = threshold**rows
            bands = 1 if at >= 1.0 - _TARGET else math.ceil(math.log(_TARGET) / math.log1p(-at))
            if bands * rows > _MOST_VALUES:
                break
            best = cls(threshold, bands, rows)
            if best.found(threshold / 2) <= 0.15:
                break
        if best is None:
            raise ValueError(f"no scheme for a threshold of {threshold}")
        return best


@cache
def permutations(values: int, seed: int = SEED) -> tuple[np.ndarray, np.ndarray]:
    """The factors (odd) and summands of the permutations (uint32[values] each), as datasketch draws them."""
    draw = np.random.RandomState(seed)
    factors = draw.randint(0, 1 << 31, values, dtype=np.uint32) * np.uint32(2) + np.uint32(1)
    summands = draw.randint(0, 1 << 32, values, dtype=np.uint32)
    return factors, summands


def signatures(hashes: np.ndarray, bounds: np.ndarray, values: int, seed: int = SEED) -> np.ndarray:
    """The signature of every row (uint32[rows, values]).

    Args:
        hashes: shingles (uint64), as often as they occur.
        bounds: which belong to which row (int64[rows + 1]).
        values: of a signature.
        seed: of the permutations.
    """
    factors, summands = permutations(values, seed)
    padded = np.zeros((3, -(-values // _LANES) * _LANES), dtype=np.uint32)
    padded[0, :values], padded[1, :values] = factors, summands
    out = np.empty((len(bounds) - 1, values), dtype=np.uint32)
    _signatures(hashes, bounds, padded[0], padded[1], padded[2], out)
    return out


def keys(signatures: np.ndarray, spaces: np.ndarray, scheme: Scheme) -> np.ndarray:
    """The key of every row in every band (uint64[rows, bands], below 2^40)."""
    out = np.empty((len(signatures), scheme.bands), dtype=np.uint64)
    _keys(signatures, spaces, scheme.rows, out)
    return out


@njit(cache=True, nogil=True, inline="always")
def _fmix(h: np.uint32) -> np.uint32:
    h = np.uint32(h ^ (h >> np.uint32(16)))
    h = np.uint32(h * np.uint32(0x85EBCA6B))
    h = np.uint32(h ^ (h >> np.uint32(13)))
    h = np.uint32(h * np.uint32(0xC2B2AE35))
    return np.uint32(h ^ (h >> np.uint32(16)))


@njit(cache=True, nogil=True)
def _signatures(
    hashes: np.ndarray, bounds: np.ndarray, factors: np.ndarray, summands: np.ndarray, lowest: np.ndarray, out: np.ndarray
) -> None:
    # Four shingles at a time over whole vectors: 4 ns a shingle for 128 values, where one at a time takes 12 to 15.
    values = len(factors)
    for row in range(len(bounds) - 1):
        for k in range(values):
            lowest[k] = np.uint32(0xFFFFFFFF)
        i, end = bounds[row], bounds[row + 1]
        while i + 4 <= end:
            g = _fmix(np.uint32(hashes[i] >> np.uint64(32)))
            h = _fmix(np.uint32(hashes[i + 1] >> np.uint64(32)))
            p = _fmix(np.uint32(hashes[i + 2] >> np.uint64(32)))
            q = _fmix(np.uint32(hashes[i + 3] >> np.uint64(32)))
            for k in range(values):
                a, b = factors[k], summands[k]
                one = min(np.uint32(np.uint32(a * g) + b), np.uint32(np.uint32(a * h) + b))
                two = min(np.uint32(np.uint32(a * p) + b), np.uint32(np.uint32(a * q) + b))
                lowest[k] = min(lowest[k], min(one, two))
            i += 4
        while i < end:
            g = _fmix(np.uint32(hashes[i] >> np.uint64(32)))
            for k in range(values):
                lowest[k] = min(lowest[k], np.uint32(np.uint32(factors[k] * g) + summands[k]))
            i += 1
        for k in range(out.shape[1]):
            out[row, k] = lowest[k]


@njit(cache=True, nogil=True)
def _keys(signatures: np.ndarray, spaces: np.ndarray, rows: int, out: np.ndarray) -> None:
    for i in range(len(out)):
        for band in range(out.shape[1]):
            key = np.uint64(0x9E3779B97F4A7C15) * np.uint64(band * 256 + spaces[i] + 1)
            for k in range(band * rows, band * rows + rows):
                key = (key ^ np.uint64(signatures[i, k])) * np.uint64(0xBF58476D1CE4E5B9)
                key ^= key >> np.uint64(29)
            key *= np.uint64(0x94D049BB133111EB)
            out[i, band] = key >> np.uint64(64 - KEY_BITS)
