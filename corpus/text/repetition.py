"""The longest span of characters that occurs twice in a row, exactly.

Loops of a model, boilerplate pasted twice and answers that quote their whole question differ in words, lines and punctuation, but all of
them repeat one long span. Its length asks for no unit, so it is the same measure for Chinese, English and code.

The method: whether some span of a given length occurs twice is one pass with a rolling hash and a table of positions, and it is
monotone in the length. A greedy pass with short grams first finds a lower bound which is mostly the answer; then the bound plus one is
tried, which mostly fails and ends the search; else steps double and the rest is a binary search. So there are at most some 2 log n passes,
and typically two. Hashes only propose: every hit is compared character by character, so the result is exact.
"""

from __future__ import annotations

import numpy as np
from numba import njit

_PRIME = np.uint64((1 << 61) - 1)
_BASE = np.uint64(0x1D3F5A37)  # below 2**29, so that products of its halves with 61 bits stay within 64
_SPREAD = np.uint64(0x9E3779B97F4A7C15)
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
    gram = 4 if n < 2048 else 8
    low = _greedy(codes, n, gram, table)
    high = n  # no span of this length occurs twice
    if low == 0:
        low = _twice(codes, n, gram, table)
    if low == 0:
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
def _greedy(codes: np.ndarray, n: int, gram: int, table: np.ndarray) -> int:
    """A length that occurs twice, 0 when no gram does: matches with the last occurrence of each gram, going on behind every match."""
    if n <= gram:
        return 0
    shift = np.uint64(64)  # to the highest bits, as many as the table has
    size = len(table)
    while size > 1:
        size //= 2
        shift -= np.uint64(1)
    table[:] = 0
    best = 0
    past = 0  # where the last match ended: grams before it are only remembered
    each = np.uint64(64 // gram)  # bits by which a character moves on: after `gram` characters it has left
    code = np.uint64(0)
    for i in range(gram - 1):
        code = (code << each) ^ np.uint64(codes[i])
    for start in range(n - gram + 1):
        code = (code << each) ^ np.uint64(codes[start + gram - 1])
        at = np.int64((code * _SPREAD) >> shift)
        before = np.int64(table[at]) - 1
        table[at] = np.uint64(start + 1)
        if before < 0 or start < past:
            continue
        if start + best >= n or codes[before + best] != codes[start + best]:
            continue
        length = 0
        while start + length < n and codes[before + length] == codes[start + length]:
            length += 1
        if length >= gram:
            best = max(best, length)
            past = start + length - gram + 1
    return best


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
