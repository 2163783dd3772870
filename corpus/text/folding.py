"""Folding texts for comparison: what is equal after folding counts as the same. Folded bytes are hashed, never written.

Letters lose their case; white space and control characters go. A compiled kernel does it for all texts of all rows in one pass, and puts
a mark before each text, so that no two different divisions of the same characters fold alike.
"""

from __future__ import annotations

import unicodedata
from functools import cache

import numpy as np
from numba import njit

from corpus.text import characters as c


def folded(utf8: tuple[np.ndarray, np.ndarray], heads: np.ndarray, *, bare: bool = False) -> tuple[np.ndarray, np.ndarray]:
    """The folded bytes of texts, one after the other, each after its head.

    Args:
        utf8: the texts, none null, as `marks.utf8` gives them.
        heads: a byte below 0x20 for every text (uint8).
        bare: fold width too, and leave out punctuation and what is not seen (zero-width characters, marks of direction).

    Returns:
        The end of every text in the bytes (int64), and the bytes (uint8).
    """
    offsets, data = utf8
    ends, out, used = _folded(offsets, data, heads, _bare() if bare else _table())
    return ends, out[:used]


@cache
def _table() -> np.ndarray:
    """What every code point folds to: int32[0x110000]; 0 for nothing."""
    table = np.arange(0x110000, dtype=np.int32)
    for code in range(0x20000):
        lower = chr(code).lower()
        if len(lower) == 1 and len(lower.encode(errors="surrogatepass")) <= len(chr(code).encode(errors="surrogatepass")):
            table[code] = ord(lower)
    bits = c.table()
    table[(bits & np.uint32(c.BLANK | c.LINE_FEED | c.CR | c.ODD_BLANK | c.CONTROL)) != 0] = 0
    table.flags.writeable = False
    return table


@cache
def _bare() -> np.ndarray:
    """The same, with full-width forms as the plain ones, and without punctuation and format characters."""
    table = _table().copy()
    for code in range(0x20000):
        if unicodedata.category(chr(code)).startswith(("P", "Cf")):
            table[code] = 0
    for code in range(0xFF01, 0xFF5F):
        table[code] = table[code - 0xFEE0]
    table.flags.writeable = False
    return table


@njit(cache=True, nogil=True)
def _folded(offsets: np.ndarray, data: np.ndarray, heads: np.ndarray, table: np.ndarray) -> tuple[np.ndarray, np.ndarray, int]:
    n = len(heads)
    ends = np.zeros(n, dtype=np.int64)
    first = offsets[0]
    out = np.empty(offsets[n] - first + n, dtype=np.uint8)  # folding never takes more bytes
    put = 0
    for i in range(n):
        out[put] = heads[i]
        put += 1
        at, end = offsets[i], offsets[i + 1]
        while at < end:
            byte = data[at]
            if byte < 0x80:
                code = table[byte]
                at += 1
                if code:
                    out[put] = code
                    put += 1
                continue
            if byte < 0xE0:
                code = (np.int64(byte) & 0x1F) << 6 | (np.int64(data[at + 1]) & 0x3F)
                size = 2
            elif byte < 0xF0:
                code = (np.int64(byte) & 0x0F) << 12 | (np.int64(data[at + 1]) & 0x3F) << 6 | (np.int64(data[at + 2]) & 0x3F)
                size = 3
            else:
                code = (
                    (np.int64(byte) & 0x07) << 18
                    | (np.int64(data[at + 1]) & 0x3F) << 12
                    | (np.int64(data[at + 2]) & 0x3F) << 6
                    | (np.int64(data[at + 3]) & 0x3F)
                )
                size = 4
            low = table[code]
            if low == code:
                for k in range(size):
                    out[put + k] = data[at + k]
                put += size
            elif low == 0:
                pass
            elif low < 0x80:
                out[put] = low
                put += 1
            elif low < 0x800:
                out[put] = 0xC0 | low >> 6
                out[put + 1] = 0x80 | low & 0x3F
                put += 2
            elif low < 0x10000:
                out[put] = 0xE0 | low >> 12
                out[put + 1] = 0x80 | low >> 6 & 0x3F
                out[put + 2] = 0x80 | low & 0x3F
                put += 3
            else:
                out[put] = 0xF0 | low >> 18
                out[put + 1] = 0x80 | low >> 12 & 0x3F
                out[put + 2] = 0x80 | low >> 6 & 0x3F
                out[put + 3] = 0x80 | low & 0x3F
                put += 4
            at += size
        ends[i] = put
    return ends, out, put
