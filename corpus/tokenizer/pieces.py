"""The pieces of texts, as `corpus.tokenizer.pattern` cuts them, compiled: some hundred times as fast as the regular expression."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

import numpy as np
from numba import njit

from corpus.tokenizer.pattern import DIGITS, HAN, HAN_RUN, LETTERS, NUMBERS, RUN

SIGN, LETTER, IDEOGRAPH, NUMBER, BLANK, BREAK = 0, 1, 2, 3, 4, 5
"""What a character is: in no class, a letter or mark, Han, a number, white space, and of that CR or LF."""

_ASSIGNED = (range(0xD800), range(0xE000, 0x34000), range(0xE0000, 0xE0200))
"""Where Unicode has or will have characters of these classes; beyond, and in the private planes, there are only signs."""


@cache
def classes() -> np.ndarray:
    """The class of every code point (uint8[0x110000])."""
    table = seen(((LETTER, LETTERS), (IDEOGRAPH, HAN), (NUMBER, NUMBERS), (BLANK, r"\s")))
    table[[0x0A, 0x0D]] = BREAK
    return table


def seen(patterns: Sequence[tuple[int, str]]) -> np.ndarray:
    """A number for every code point (uint8[0x110000]): that of the last pattern that it matches, or 0.

    As the library's own regular expressions see it: Unicode's versions differ. Takes some half of a second.
    """
    from tokenizers import Regex, pre_tokenizers

    codes = np.concatenate([np.arange(r.start, r.stop) for r in _ASSIGNED])
    text = "".join(map(chr, codes.tolist()))
    table = np.zeros(0x110000, dtype=np.uint8)
    for number, pattern in patterns:
        others = pre_tokenizers.Split(Regex(pattern), "removed").pre_tokenize_str(text)
        inside = np.ones(len(codes), dtype=np.bool_)
        for _, (start, end) in others:
            inside[start:end] = False
        table[codes[inside]] = number
    return table


def split(offsets: np.ndarray, data: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Cuts texts into pieces.

    Args:
        offsets: where in `data` each text begins, and the last one ends (int64[n + 1]).
        data: UTF-8 (uint8).

    Returns:
        Where in `data` each piece ends (int64[pieces]), and how many pieces the texts before have (int64[n + 1]).
    """
    counts = np.zeros(len(offsets), dtype=np.int64)
    ends = np.empty(int(offsets[-1] - offsets[0]), dtype=np.int64)
    found = _split(offsets, data, classes(), ends, counts)
    return ends[:found].copy(), counts


@njit(cache=True, nogil=True)
def code_at(data: np.ndarray, at: int) -> tuple[np.int64, int]:
    """The character at a byte, and where the next one begins.

    Compiled into kernels of other files, whose caches do not notice when this one changes: change those files then.
    """
    b = np.int64(data[at])
    if b < 0x80:
        return b, at + 1
    if b < 0xE0:
        return (b & 0x1F) << 6 | (np.int64(data[at + 1]) & 0x3F), at + 2
    if b < 0xF0:
        return (b & 0x0F) << 12 | (np.int64(data[at + 1]) & 0x3F) << 6 | (np.int64(data[at + 2]) & 0x3F), at + 3
    return (
        (b & 0x07) << 18 | (np.int64(data[at + 1]) & 0x3F) << 12 | (np.int64(data[at + 2]) & 0x3F) << 6 | (np.int64(data[at + 3]) & 0x3F)
    ), at + 4


@njit(cache=True, nogil=True)
def _run(data: np.ndarray, at: int, end: int, table: np.ndarray, kind: int, most: int) -> int:
    """Where a run of characters of a class ends, after `most` of them at the latest."""
    for _ in range(most):
        if at >= end:
            break
        code, after = code_at(data, at)
        if table[code] != kind:
            break
        at = after
    return at


@njit(cache=True, nogil=True)
def _contraction(data: np.ndarray, at: int, end: int, table: np.ndarray) -> int:
    """Where a contraction ends whose apostrophe ends at `at`; -1 where there is none."""
    if at >= end:
        return -1
    a = data[at] | 0x20
    after = -1
    if data[at] >= 0x41 and (a == 0x73 or a == 0x64 or a == 0x6D or a == 0x74):  # s d m t
        after = at + 1
    elif at + 1 < end and data[at] >= 0x41 and data[at + 1] >= 0x41:
        b = data[at + 1] | 0x20
        if (a == 0x6C and b == 0x6C) or (a == 0x76 and b == 0x65) or (a == 0x72 and b == 0x65):  # ll ve re
            after = at + 2
    if after < 0:
        return -1
    if after < end:
        code, _ = code_at(data, after)
        if table[code] == LETTER:
            return -1
    return after


@njit(cache=True, nogil=True)
def _piece(data: np.ndarray, at: int, end: int, table: np.ndarray) -> int:
    """Where the piece that begins at `at` ends: the alternatives of the pattern, in their order."""
    code, after = code_at(data, at)
    kind = table[code]
    if code == 0x27 or code == 0x2019:
        found = _contraction(data, after, end, table)
        if found > 0:
            return found
    if kind == LETTER:
        return _run(data, at, end, table, LETTER, RUN)
    if kind == IDEOGRAPH:
        return _run(data, at, end, table, IDEOGRAPH, HAN_RUN)
    if kind == NUMBER:
        return _run(data, at, end, table, NUMBER, DIGITS)
    if kind in (SIGN, BLANK):
        found = _run(data, after, end, table, LETTER, RUN)
        if found > after:
            return found
        found = _run(data, after, end, table, IDEOGRAPH, HAN_RUN)
        if found > after:
            return found
    if code == 0x20:
        found = _run(data, after, end, table, NUMBER, DIGITS)
        if found > after:
            return found
    if kind == SIGN or code == 0x20:
        found = _run(data, at if kind == SIGN else after, end, table, SIGN, RUN)
        if found > after or kind == SIGN:
            while found < end and (data[found] == 0x0A or data[found] == 0x0D):
                found += 1
            return found
    # White space: up to its last line break; without one all but the last, which goes with what follows.
    last_break, last, here = -1, at, at
    while here < end:
        code, after = code_at(data, here)
        kind = table[code]
        if kind < BLANK:
            break
        last = here
        here = after
        if kind == BREAK:
            last_break = here
    if last_break > 0:
        return last_break
    if here < end and last > at:
        return last
    return here


@njit(cache=True, nogil=True)
def _split(offsets: np.ndarray, data: np.ndarray, table: np.ndarray, ends: np.ndarray, counts: np.ndarray) -> int:
    found = 0
    for i in range(len(offsets) - 1):
        at, end = offsets[i], offsets[i + 1]
        while at < end:
            at = _piece(data, at, end, table)
            ends[found] = at
            found += 1
        counts[i + 1] = found
    return found
