"""One look at every character: which texts can concern which rule.

Most texts need no rule at all. A compiled kernel reads the UTF-8 bytes of a column once and sets, for every text, the bits of all its
characters and of a few sequences; a rule then sees only the texts that carry one of its bits. Selecting is all that the bits do: a
rule must leave a text without them as it is, with or without the selection.
"""

from __future__ import annotations

import numpy as np
import polars as pl
import pyarrow as pa
from numba import njit

from corpus.text import characters as c

RUN = 1 << 26
"""Two blanks in a row behind something else in the line."""
EDGE = 1 << 27
"""Begins or ends with white space."""
ADDRESS = 1 << 28
"""`://`."""
REPEAT = 1 << 29
"""Four times the same punctuation mark or symbol in a row."""
TRAILING = 1 << 30
"""A blank before a line feed."""

ALL = 0xFFFFFFFF
"""For rules that want every text."""


def marks(texts: pl.Series) -> np.ndarray:
    """The bits of every text: uint32, 0 for null and for empty texts."""
    offsets, data = utf8(texts)
    return _marks(offsets, data, c.table())


def utf8(texts: pl.Series) -> tuple[np.ndarray, np.ndarray]:
    """The offsets (int64, one more than texts) and UTF-8 bytes of a column; a null has no bytes."""
    array = texts.to_arrow()
    if not pa.types.is_large_string(array.type):
        array = array.cast(pa.large_string())
    _, offsets, data = array.buffers()
    if len(array) == 0 or data is None:
        return np.zeros(len(array) + 1, dtype=np.int64), np.zeros(0, dtype=np.uint8)
    ends = np.frombuffer(offsets, dtype=np.int64)[array.offset : array.offset + len(array) + 1]
    return ends, np.frombuffer(data, dtype=np.uint8)


@njit(cache=True, nogil=True)
def _marks(offsets: np.ndarray, data: np.ndarray, table: np.ndarray) -> np.ndarray:
    n = len(offsets) - 1
    out = np.zeros(n, dtype=np.uint32)
    white = np.uint32(c.BLANK | c.LINE_FEED | c.CR | c.ODD_BLANK)
    sign = np.uint32(c.PUNCTUATION | c.SYMBOL)
    blank = np.uint32(c.BLANK)
    for i in range(n):
        at, end = offsets[i], offsets[i + 1]
        if at == end:
            continue
        found = np.uint32(0)
        before = np.uint32(c.LINE_FEED)  # bits of the character before
        last = np.int64(0)  # and that character
        inside = False  # whether the line has had something other than blanks
        same = 0
        first = True
        while at < end:
            byte = data[at]
            if byte < 0x80:
                code = np.int64(byte)
                at += 1
            elif byte < 0xE0:
                code = (np.int64(byte) & 0x1F) << 6 | (np.int64(data[at + 1]) & 0x3F)
                at += 2
            elif byte < 0xF0:
                code = (np.int64(byte) & 0x0F) << 12 | (np.int64(data[at + 1]) & 0x3F) << 6 | (np.int64(data[at + 2]) & 0x3F)
                at += 3
            else:
                code = (
                    (np.int64(byte) & 0x07) << 18
                    | (np.int64(data[at + 1]) & 0x3F) << 12
                    | (np.int64(data[at + 2]) & 0x3F) << 6
                    | (np.int64(data[at + 3]) & 0x3F)
                )
                at += 4
            bits = table[code]
            found |= bits
            if bits & white:
                if first:
                    found |= np.uint32(EDGE)
                if bits & blank:
                    if before & blank and inside:
                        found |= np.uint32(RUN)
                elif before & blank:
                    found |= np.uint32(TRAILING)
                if bits & np.uint32(c.LINE_FEED):
                    inside = False
            else:
                inside = True
                if bits & sign:
                    if code == last:
                        same += 1
                        if same >= 4:
                            found |= np.uint32(REPEAT)
                        if code == 47 and same == 2 and at >= 3 + offsets[i] and data[at - 3] == 58:
                            found |= np.uint32(ADDRESS)
                    else:
                        same = 1
            first = False
            before = bits
            last = code
        if before & white:
            found |= np.uint32(EDGE)
        out[i] = found
    return out
