"""n-grams of rows, and lists of n-grams that can be looked up quickly.

They are the shingles of :mod:`corpus.dedup.shingles`, hash for hash, but a text with fewer units than it takes to be evidence has none, and
neither has one of nothing but punctuation.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numba import njit

from corpus.dedup.shingles import BARE, BASE, SECOND, mix, scan, spread
from corpus.dedup.texts import Texts
from corpus.dedup.units import Unit, table


@dataclass(frozen=True, slots=True)
class Grams:
    """n-grams of n rows.

    Attributes:
        hashes: one for each (uint64), without parts; as often as they occur and in their order, or as sets ascending.
        bounds: which belong to which row (int64[n + 1]).
    """

    hashes: np.ndarray
    bounds: np.ndarray

    def __len__(self) -> int:
        return len(self.bounds) - 1

    def of(self, row: int) -> np.ndarray:
        """Those of one row."""
        return self.hashes[self.bounds[row] : self.bounds[row + 1]]


def grams(texts: Texts, n: int, least: int, most: int = 1 << 30) -> Grams:
    """The n-grams of every row. A text of at least `least` and fewer than `n` units is one; one with fewer than `least` has none, and
    neither has one of more than `most`."""
    entries, several = table(Unit.MIXED)
    # A character folds to at most three units, and then has two bytes or more.
    hashes = np.empty(int(texts.offsets[-1] - texts.offsets[0]) * 3 // 2 + len(texts.parts) + 1, dtype=np.uint64)
    bounds = np.zeros(len(texts) + 1, dtype=np.int64)
    used = _grams(texts.offsets, texts.data, texts.bounds, entries, several, n, least, most, hashes, bounds)
    return Grams(hashes[:used], bounds)


def distinct(found: Grams) -> Grams:
    """Each n-gram of a row once, ascending. The array of `found` is used again."""
    bounds = np.zeros_like(found.bounds)
    used = _distinct(found.hashes, found.bounds, bounds)
    return Grams(found.hashes[:used], bounds)


def joined(one: Grams, other: Grams) -> Grams:
    """The n-grams of the same rows together."""
    hashes = np.empty(len(one.hashes) + len(other.hashes), dtype=np.uint64)
    _join(one.hashes, one.bounds, other.hashes, other.bounds, hashes)
    return Grams(hashes, one.bounds + other.bounds)


@dataclass(frozen=True, slots=True)
class Listed:
    """n-grams and the items that they are listed for.

    Attributes:
        keys: ascending, each once (uint64).
        shift: a key shifted right by it is the number of its bucket.
        buckets: where the keys of each bucket begin (int64[2^(64 - shift) + 1]).
        bitmap: the lower bits of all keys as set bits (uint64, a power of two of them).
        starts: which entries each key has (int64[keys + 1]).
        items: the item of each entry (int32).
        weights: what the key weighs in it (float64).
        asked: whether it is of the item's question (bool).
    """

    keys: np.ndarray
    shift: int
    buckets: np.ndarray
    bitmap: np.ndarray
    starts: np.ndarray
    items: np.ndarray
    weights: np.ndarray
    asked: np.ndarray


def listed(hashes: np.ndarray, items: np.ndarray, weights: np.ndarray, asked: np.ndarray) -> Listed:
    """Lists one entry for each of m n-grams."""
    order = np.argsort(hashes, kind="stable")
    hashes = hashes[order]
    starts = np.flatnonzero(np.append(True, hashes[1:] != hashes[:-1])[: len(hashes)])
    keys = hashes[starts]
    bits = max(8, len(keys).bit_length())
    shift = 64 - bits
    edges = np.arange(1 << bits, dtype=np.uint64) << np.uint64(shift)
    buckets = np.append(np.searchsorted(keys, edges), len(keys)).astype(np.int64)
    # 16 bits or more for every key: at most one in 16 of the n-grams that are not listed passes the bitmap.
    bitmap = np.zeros(1 << max(6, bits - 2), dtype=np.uint64)
    _mark(keys, bitmap)
    return Listed(keys, shift, buckets, bitmap, np.append(starts, len(hashes)).astype(np.int64), items[order], weights[order], asked[order])


def sifted(found: Grams, by: Listed) -> Grams:
    """Those n-grams that can be among the listed ones: all that are, and at most one in 16 of the others."""
    out = np.empty(len(found.hashes) + 1, dtype=np.uint64)
    bounds = np.zeros_like(found.bounds)
    used = _sift(found.hashes, found.bounds, by.bitmap, out, bounds)
    return Grams(out[:used], bounds)


@njit(cache=True, nogil=True)
def _grams(
    offsets: np.ndarray,
    data: np.ndarray,
    bounds: np.ndarray,
    entries: np.ndarray,
    several: np.ndarray,
    n: int,
    least: int,
    most: int,
    out: np.ndarray,
    ends: np.ndarray,
) -> int:
    longest = 0
    for text in range(len(offsets) - 1):
        longest = max(longest, offsets[text + 1] - offsets[text])
    values = np.empty(longest * 3 // 2 + 2, dtype=np.uint64)
    top = np.uint64(1)
    for _ in range(n):
        top *= np.uint64(BASE)
    put = 0
    for row in range(len(bounds) - 1):
        for text in range(bounds[row], bounds[row + 1]):
            units = scan(data, offsets[text], offsets[text + 1], entries, several, False, values)
            if units < least or units > most or units == 0:
                continue
            rolled = np.uint64(0)
            if units < n:
                power = np.uint64(1)
                for _ in range(n - units):
                    power *= np.uint64(BASE)
                for i in range(units):
                    rolled = rolled * np.uint64(BASE) + spread(values[i])
                rolled = rolled * power + np.uint64(units) * np.uint64(SECOND)
                out[put] = mix(rolled) & BARE
                put += 1
                continue
            for i in range(units):
                value = spread(values[i])
                values[i] = value
                rolled = rolled * np.uint64(BASE) + value
                if i >= n:
                    rolled -= values[i - n] * top
                if i >= n - 1:
                    out[put] = mix(rolled) & BARE
                    put += 1
        ends[row + 1] = put
    return put


@njit(cache=True, nogil=True)
def _join(one: np.ndarray, first: np.ndarray, other: np.ndarray, second: np.ndarray, out: np.ndarray) -> None:
    put = 0
    for row in range(len(first) - 1):
        for i in range(first[row], first[row + 1]):
            out[put] = one[i]
            put += 1
        for i in range(second[row], second[row + 1]):
            out[put] = other[i]
            put += 1


@njit(cache=True, nogil=True)
def _distinct(hashes: np.ndarray, bounds: np.ndarray, ends: np.ndarray) -> int:
    put = 0
    for row in range(len(bounds) - 1):
        start, end = bounds[row], bounds[row + 1]
        hashes[start:end].sort()
        began = put
        for i in range(start, end):
            if put == began or hashes[put - 1] != hashes[i]:
                hashes[put] = hashes[i]
                put += 1
        ends[row + 1] = put
    return put


def occurrences(found: Grams, by: Listed) -> np.ndarray:
    """How many rows (of sets) each listed n-gram is in (int64[keys])."""
    counts = np.zeros(len(by.keys), dtype=np.int64)
    _occurrences(sifted(found, by).hashes, by.keys, np.uint64(by.shift), by.buckets, counts)
    return counts


@njit(cache=True, nogil=True)
def _occurrences(hashes: np.ndarray, keys: np.ndarray, shift: np.uint64, buckets: np.ndarray, counts: np.ndarray) -> None:
    for key in hashes:
        at = place(key, keys, shift, buckets)
        if at >= 0:
            counts[at] += 1


@njit(cache=True, nogil=True)
def _mark(keys: np.ndarray, bitmap: np.ndarray) -> None:
    mask = np.uint64(len(bitmap) * 64 - 1)
    for key in keys:
        bit = key >> np.uint64(6) & mask  # the lowest six are no part of the hash
        bitmap[bit >> np.uint64(6)] |= np.uint64(1) << (bit & np.uint64(63))


@njit(cache=True, nogil=True)
def _sift(hashes: np.ndarray, bounds: np.ndarray, bitmap: np.ndarray, out: np.ndarray, ends: np.ndarray) -> int:
    mask = np.uint64(len(bitmap) * 64 - 1)
    put = 0
    for row in range(len(bounds) - 1):
        for i in range(bounds[row], bounds[row + 1]):
            key = hashes[i]
            bit = key >> np.uint64(6) & mask  # the lowest six are no part of the hash
            out[put] = key
            # Without a branch, so that many places of the bitmap are fetched at once: three times as fast.
            put += int(bitmap[bit >> np.uint64(6)] >> (bit & np.uint64(63)) & np.uint64(1))
        ends[row + 1] = put
    return put


@njit(cache=True, nogil=True, inline="always")
def place(key: np.uint64, keys: np.ndarray, shift: np.uint64, buckets: np.ndarray) -> int:
    """Where a key is among the listed ones, or -1."""
    bucket = np.int64(key >> shift)
    for at in range(buckets[bucket], buckets[bucket + 1]):
        if keys[at] == key:
            return at
    return -1
