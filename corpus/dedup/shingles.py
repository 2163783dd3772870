"""Shingles: the runs of units that stand for a text.

A shingle is the hash of n units that follow each other; a text of fewer units is one shingle, so that no row is ever without one and none
is left out for being short. Shingles do not cross from one text of a row to the next.

The hash has 64 bits, of which the lowest six say which parts of the row the shingle is from (`texts.PARTS`) and whether it is stock, so
that two sets can be compared as a whole and part by part. Two different shingles share their 58 bits with a probability of 3e-18.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numba import njit

from corpus.dedup.texts import STOCK, Texts
from corpus.dedup.units import BREAK, CLASS_SHIFT, DIGIT, LETTER, NOTHING, ONE, SEVERAL, SIGN, Unit, table

N = 5
"""Units of a shingle."""

BARE = np.uint64(0xFFFFFFFFFFFFFFC0)
"""A shingle without its parts."""
_MIX_1 = 0xBF58476D1CE4E5B9
_MIX_2 = 0x94D049BB133111EB
"""The multipliers of splitmix64."""
BASE = 0x9E3779B97F4A7C15
_SPREAD = 0xD6E8FEB86659FD93
SECOND = 0xA0761D6478BD642F
_MARK_BITS = 16
_MARKS = 1 << _MARK_BITS
"""Most shingles are told from all that are stock by their first bits."""


@dataclass(frozen=True, slots=True)
class Shingles:
    """Shingles of n rows, as often as they occur, in their order.

    Attributes:
        hashes: one for each (uint64); the lowest six bits say what part it is from (see `texts`).
        bounds: which belong to which row (int64[n + 1]).
        whole: a hash of all units of the row in their order and division into texts (uint64[n, 2]).
    """

    hashes: np.ndarray
    bounds: np.ndarray
    whole: np.ndarray


def shingles(texts: Texts, unit: Unit, n: int = N) -> Shingles:
    """The shingles of every row. No row is without one: a row without a unit has the shingle of nothing."""
    entries, several = table(unit)
    # A character folds to at most three units, and then has two bytes or more; a text may have one shingle more than it has units.
    room = int(texts.offsets[-1] - texts.offsets[0]) * 3 // 2 + len(texts.parts) + len(texts)
    hashes = np.empty(room, dtype=np.uint64)
    bounds = np.zeros(len(texts) + 1, dtype=np.int64)
    whole = np.zeros((len(texts), 2), dtype=np.uint64)
    used = _shingles(texts.offsets, texts.data, texts.bounds, texts.parts, entries, several, n, hashes, bounds, whole)
    return Shingles(hashes[:used], bounds, whole)


def mark(found: Shingles, stock: np.ndarray) -> None:
    """Marks the shingles that are stock, in place. In a row of nothing else none is.

    Args:
        found: the shingles of some rows.
        stock: hashes (uint64, ascending, without parts), one at least.
    """
    begins = np.zeros(_MARKS, dtype=np.bool_)
    begins[(stock >> np.uint64(64 - _MARK_BITS)).astype(np.int64)] = True
    _mark(found.hashes, found.bounds, stock, begins)


def unmarked(found: Shingles) -> Shingles:
    """Shingles but for those that are stock."""
    hashes = np.empty_like(found.hashes)
    bounds = np.zeros_like(found.bounds)
    used = _unmarked(found.hashes, found.bounds, hashes, bounds)
    return Shingles(hashes[:used], bounds, found.whole)


@njit(cache=True, nogil=True)
def _mark(hashes: np.ndarray, bounds: np.ndarray, stock: np.ndarray, begins: np.ndarray) -> None:
    for row in range(len(bounds) - 1):
        start, end = bounds[row], bounds[row + 1]
        marked = 0
        for i in range(start, end):
            bare = hashes[i] & BARE
            if begins[np.int64(bare >> np.uint64(64 - _MARK_BITS))]:
                at = np.searchsorted(stock, bare)
                if at < len(stock) and stock[at] == bare:
                    hashes[i] |= np.uint64(STOCK)
                    marked += 1
        if marked == end - start:
            for i in range(start, end):
                hashes[i] &= ~np.uint64(STOCK)


@njit(cache=True, nogil=True)
def _unmarked(hashes: np.ndarray, bounds: np.ndarray, out: np.ndarray, ends: np.ndarray) -> int:
    put = 0
    for row in range(len(bounds) - 1):
        for i in range(bounds[row], bounds[row + 1]):
            if hashes[i] & np.uint64(STOCK) == 0:
                out[put] = hashes[i]
                put += 1
        ends[row + 1] = put
    return put


@njit(cache=True, nogil=True, inline="always")
def mix(x: np.uint64) -> np.uint64:
    x ^= x >> np.uint64(30)
    x *= np.uint64(_MIX_1)
    x ^= x >> np.uint64(27)
    x *= np.uint64(_MIX_2)
    return x ^ (x >> np.uint64(31))


@njit(cache=True, nogil=True, inline="always")
def spread(code: np.uint64) -> np.uint64:
    """A unit's value: without it, sums of small code points would collide more often than chance has it."""
    x = (code + np.uint64(1)) * np.uint64(_SPREAD)
    x ^= x >> np.uint64(32)
    return x * np.uint64(_MIX_1)


@njit(cache=True, nogil=True)
def _shingles(
    offsets: np.ndarray,
    data: np.ndarray,
    bounds: np.ndarray,
    parts: np.ndarray,
    entries: np.ndarray,
    several: np.ndarray,
    n: int,
    out: np.ndarray,
    ends: np.ndarray,
    whole: np.ndarray,
) -> int:
    longest = 0
    for text in range(len(offsets) - 1):
        longest = max(longest, offsets[text + 1] - offsets[text])
    values = np.empty(longest * 3 // 2 + 2, dtype=np.uint64)
    powers = np.ones(n, dtype=np.uint64)
    for k in range(n - 2, -1, -1):
        powers[k] = powers[k + 1] * np.uint64(BASE)
    put = 0
    for row in range(len(bounds) - 1):
        started = put
        signs = False
        while True:
            first, second = np.uint64(0), np.uint64(0)
            for text in range(bounds[row], bounds[row + 1]):
                units = scan(data, offsets[text], offsets[text + 1], entries, several, signs, values)
                one, two = np.uint64(0), np.uint64(0)
                for i in range(units):
                    value = spread(values[i])
                    values[i] = value
                    # A sum, so that it needs no chain of multiplications; each value is first bound to its place.
                    one += mix(value + np.uint64(i) * np.uint64(SECOND))
                    two += mix(value ^ (np.uint64(i) * np.uint64(BASE)))
                first = mix(first + np.uint64(BASE) + np.uint64(units)) ^ one
                second = mix(second + np.uint64(SECOND) + np.uint64(units)) ^ two
                part = np.uint64(parts[text])
                if units >= n:
                    for i in range(units - n + 1):
                        rolled = np.uint64(0)
                        for k in range(n):
                            rolled += values[i + k] * powers[k]
                        out[put + i] = mix(rolled) & BARE | part
                    put += units - n + 1
                elif units > 0:
                    rolled = np.uint64(units) * np.uint64(SECOND)
                    for k in range(units):
                        rolled += values[k] * powers[k]
                    out[put] = mix(rolled) & BARE | part
                    put += 1
            if put > started or signs:
                break
            signs = True  # nothing but punctuation: then that is what is compared
        if put == started:
            out[put] = mix(np.uint64(SECOND)) & BARE
            put += 1
        whole[row, 0], whole[row, 1] = mix(first), mix(second)
        ends[row + 1] = put
    return put


@njit(cache=True, nogil=True)
def scan(data: np.ndarray, at: int, end: int, entries: np.ndarray, several: np.ndarray, signs: bool, values: np.ndarray) -> int:
    """The values of a text's units, and how many there are. `signs`: punctuation counts as well."""
    units = 0
    running = np.uint32(BREAK)
    word = np.uint64(0)
    while at < end:
        byte = np.uint32(data[at])
        if byte < 0x80:
            code = byte
            at += 1
        elif byte < 0xE0:
            code = (byte & np.uint32(0x1F)) << np.uint32(6) | (np.uint32(data[at + 1]) & np.uint32(0x3F))
            at += 2
        elif byte < 0xF0:
            code = (
                (byte & np.uint32(0x0F)) << np.uint32(12)
                | (np.uint32(data[at + 1]) & np.uint32(0x3F)) << np.uint32(6)
                | (np.uint32(data[at + 2]) & np.uint32(0x3F))
            )
            at += 3
        else:
            code = (
                (byte & np.uint32(0x07)) << np.uint32(18)
                | (np.uint32(data[at + 1]) & np.uint32(0x3F)) << np.uint32(12)
                | (np.uint32(data[at + 2]) & np.uint32(0x3F)) << np.uint32(6)
                | (np.uint32(data[at + 3]) & np.uint32(0x3F))
            )
            at += 4
        entry = entries[code]
        kind = entry >> np.uint32(CLASS_SHIFT)
        part = 0
        which = entry & np.uint32(0xFFFFFF)
        while True:
            if kind == SEVERAL:
                entry = several[which, part]
                part += 1
            kind = entry >> np.uint32(CLASS_SHIFT)
            value = np.uint64(entry & np.uint32(0xFFFFFF))
            if kind == SIGN:
                kind = np.uint32(ONE) if signs else np.uint32(BREAK)
            if kind == running and (kind == LETTER or kind == DIGIT):  # noqa: SIM109
                word = (word ^ value) * np.uint64(BASE)
                word ^= word >> np.uint64(29)
            elif kind != NOTHING:
                if running != BREAK:
                    values[units] = word
                    units += 1
                    running = np.uint32(BREAK)
                if kind == ONE:
                    values[units] = value
                    units += 1
                elif kind != BREAK:
                    running = kind
                    word = (value + np.uint64(kind) * np.uint64(SECOND)) * np.uint64(BASE)
                    word ^= word >> np.uint64(29)
            if part == 0 or part == several.shape[1] or several[which, part] == 0:
                break
            kind = np.uint32(SEVERAL)
    if running != BREAK:
        values[units] = word
        units += 1
    return units
