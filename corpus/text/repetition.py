"""The longest span of characters that occurs twice in a row, exactly.

Loops of a model, boilerplate pasted twice and answers that quote their whole question differ in words, lines and punctuation, but all of
them repeat one long span. Its length asks for no unit, so it is the same measure for Chinese, English and code.

Two methods, both exact. The first lists, for every short gram, where it stands, and compares the places of equal grams. A span longer
than the longest one yet covers many grams, so of those only every so manieth is looked up: on real text that is a fraction of a look per
character. What is too regular for that (the number of comparisons is bounded) goes to the second, which takes n log n whatever the text:
whether some span of a given length occurs twice is one pass with a rolling hash and a table of positions, and monotone in the length, so
that steps which double and then a binary search find it. Hashes only propose: all hits are compared character by character.
"""

from __future__ import annotations

import numpy as np
from numba import njit

_PRIME = np.uint64((1 << 61) - 1)
_BASE = np.uint64(0x1D3F5A37)  # below 2**29, so that products of its halves with 61 bits stay within 64
_SPREAD = np.uint64(0x9E3779B97F4A7C15)
_BUDGET = 16
_LOW32 = np.uint64(0xFFFFFFFF)
_LOW29 = np.uint64((1 << 29) - 1)


def longest_repeat(text: str) -> int:
    """The length in characters of the longest span that occurs at two positions of `text`; they may overlap. 0 when there is none."""
    codes = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), dtype=np.int32)
    return int(repeat_length(codes, len(codes), slots(len(codes))))


def slots(n: int) -> np.ndarray:
    """A table for `repeat_length` over up to `n` codes: uint64[a power of two], at least 4/3 n."""
    size = 16
    while 3 * size < 4 * n:
        size *= 2
    return np.empty(size, dtype=np.uint64)


@njit(cache=True, nogil=True)
def repeat_length(codes: np.ndarray, n: int, table: np.ndarray) -> int:
    """The length of the longest span of `codes[:n]` that occurs at two positions.

    Args:
        codes: int32; a code that occurs only once (say, a negative one between texts) is in no such span.
        n: how many of them count.
        table: scratch memory from `slots(n)` or larger.
    """
    if n < 2:
        return 0
    size = 16
    while 3 * size < 4 * n:
        size *= 2
    table = table[:size]
    gram = 3 if n < 4096 else 8
    low, done = _chained(codes, n, gram, table)
    if done and low:
        return low
    high = n  # no span of this length occurs twice
    if done:
        high = min(n, gram)
    else:
        step = 1
        while low + step < n:
            found = _twice(codes, n, low + step, table)
            if not found:
                high = low + step
                break
            low = found
            step *= 2
    while high - low > 1:
        middle = (low + high) // 2
        found = _twice(codes, n, middle, table)
        if found:
            low = found
        else:
            high = middle
    return low


@njit(cache=True, nogil=True)
def _chained(codes: np.ndarray, n: int, gram: int, table: np.ndarray) -> tuple[int, bool]:
    """The longest span of at least `gram` codes that occurs twice, and true; or a length that occurs twice, and false when out of budget.

    The places of every gram are chained, the last one first. A span of `best + 1` codes holds `best + 2 - gram` grams, so looking at every
    so manieth place, and comparing forwards and backwards from there, misses none.
    """
    if n <= gram:
        return 0, True
    size = len(table)
    heads, chain = table.view(np.int32)[:size], table.view(np.int32)[size:]
    shift = np.uint64(64)  # to the highest bits, as many as there are heads
    while size > 1:
        size //= 2
        shift -= np.uint64(1)
    heads[:] = -1
    best, budget = 0, _BUDGET * n
    each = np.uint64((63 + gram) // gram)  # bits by which a character moves on: `gram` places later it has left
    code = np.uint64(0)
    for i in range(gram - 1):
        code = (code << each) ^ np.uint64(codes[i])
    look = 1
    for i in range(n - gram + 1):
        code = (code << each) ^ np.uint64(codes[i + gram - 1])
        at = np.int64((code * _SPREAD) >> shift)
        before = heads[at]
        heads[at] = i
        chain[i] = before
        if i < look:
            continue
        while before >= 0:
            length = 0
            while i + length < n and codes[before + length] == codes[i + length]:
                length += 1
            if length >= gram:
                back = 0
                while back < before and codes[before - back - 1] == codes[i - back - 1]:
                    back += 1
                length += back
                best = max(best, length)
            budget -= length + 1
            if budget < 0:
                return best, False
            before = chain[before]
        look = i + max(1, best + 2 - gram)
    return best, True


@njit(cache=True, nogil=True)
def _times_base(h: np.uint64) -> np.uint64:
    """h * _BASE modulo _PRIME, not fully reduced (below 2**63)."""
    top = (h >> np.uint64(32)) * _BASE
    low = (h & _LOW32) * _BASE
    return ((top & _LOW29) << np.uint64(32)) + (top >> np.uint64(29)) + (low & _PRIME) + (low >> np.uint64(61))


@njit(cache=True, nogil=True)
def _times_small(h: np.uint64, small: np.uint64) -> np.uint64:
    """h * small modulo _PRIME for small below 2**29, fully reduced."""
    top = (h >> np.uint64(32)) * small
    low = (h & _LOW32) * small
    x = ((top & _LOW29) << np.uint64(32)) + (top >> np.uint64(29)) + (low & _PRIME) + (low >> np.uint64(61))
    x = (x & _PRIME) + (x >> np.uint64(61))
    return x - _PRIME if x >= _PRIME else x


@njit(cache=True, nogil=True)
def _twice(codes: np.ndarray, n: int, width: int, table: np.ndarray) -> int:
    """The length, at least `width`, of a span that occurs twice; 0 when no span of `width` codes does."""
    if n <= width:
        return 0
    table[:] = 0
    mask = np.uint64(len(table) - 1)
    first = np.uint64(1)  # _BASE ** width
    for _ in range(width):
        first = _times_small(first, _BASE)
    h = np.uint64(0)
    for i in range(width - 1):
        h = _times_base(h) + np.uint64(codes[i] & 0x1FFFFF)
        h = (h & _PRIME) + (h >> np.uint64(61))
    for start in range(n - width + 1):
        h = _times_base(h) + np.uint64(codes[start + width - 1] & 0x1FFFFF)
        if start:
            h += _PRIME - _times_small(first, np.uint64(codes[start - 1] & 0x1FFFFF))
        h = (h & _PRIME) + (h >> np.uint64(61))
        h = (h & _PRIME) + (h >> np.uint64(61))
        if h >= _PRIME:
            h -= _PRIME
        mixed = h * _SPREAD
        mixed ^= mixed >> np.uint64(32)
        tag = mixed & ~_LOW32
        at = mixed & mask
        while True:
            entry = table[at]
            if entry == 0:
                table[at] = tag | np.uint64(start + 1)
                break
            if entry & ~_LOW32 == tag:
                before = np.int64(entry & _LOW32) - 1
                length = 0
                while start + length < n and codes[before + length] == codes[start + length]:
                    length += 1
                if length >= width:
                    return length
            at = (at + np.uint64(1)) & mask
    return 0
