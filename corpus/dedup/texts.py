"""Texts of some rows, as the kernels want them: Arrow's own buffers, and which texts belong to which row."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa

PROMPT, ANSWER, REJECTED = 1, 2, 4
"""Parts of a row that must each be similar for two rows to be near: what is asked, what is to be answered, what is not."""
PARTS = (PROMPT, ANSWER, REJECTED)
LAST_QUESTION, LAST_ANSWER = 16, 32
"""The last of what is asked and answered, which must be similar by itself: a long conversation up to it says little of it."""
STOCK = 8
"""Of a shingle: what many rows of the source say. It neither makes two rows near nor brings them together."""


@dataclass(frozen=True, slots=True)
class Texts:
    """Texts of n rows.

    Attributes:
        offsets: where each text begins and ends in the bytes (int64[texts + 1]).
        data: UTF-8 bytes (uint8).
        bounds: which texts each row has (int64[n + 1]); a row may have none.
        parts: of each text the part of the row that it is, as bits: PROMPT, ANSWER, REJECTED, with LAST_QUESTION or
            LAST_ANSWER, or 0 for none (uint8[texts]).
        spaces: of each row the space it is compared in (uint8[n]): only rows of one space can be near each other.
    """

    offsets: np.ndarray
    data: np.ndarray
    bounds: np.ndarray
    parts: np.ndarray
    spaces: np.ndarray

    def __len__(self) -> int:
        return len(self.bounds) - 1

    def part(self, start: int, end: int) -> Texts:
        """The rows from `start` up to `end`, over the same bytes."""
        first, last = int(self.bounds[start]), int(self.bounds[end])
        return Texts(
            self.offsets[first : last + 1], self.data, self.bounds[start : end + 1] - first, self.parts[first:last], self.spaces[start:end]
        )

    @classmethod
    def of(cls, column: pa.Array) -> Texts:
        """One text a row, of no part. A null is an empty text."""
        n = len(column)
        offsets, data = buffers(column)
        return cls(offsets, data, np.arange(n + 1, dtype=np.int64), np.zeros(n, dtype=np.uint8), np.zeros(n, dtype=np.uint8))


def buffers(column: pa.Array) -> tuple[np.ndarray, np.ndarray]:
    """The offsets (int64, one more than texts) and the UTF-8 bytes of a string column; a null has no bytes.

    Raises:
        TypeError: when it is no column of text.
    """
    if not (pa.types.is_string(column.type) or pa.types.is_large_string(column.type)):
        if not (pa.types.is_string_view(column.type) or pa.types.is_dictionary(column.type)):
            raise TypeError(f"a column of {column.type} is not text")
        column = column.cast(pa.large_string())
    wide = pa.types.is_large_string(column.type)
    _, ends, data = column.buffers()
    if len(column) == 0 or data is None or ends is None:
        return np.zeros(len(column) + 1, dtype=np.int64), np.zeros(0, dtype=np.uint8)
    offsets = np.frombuffer(ends, dtype=np.int64 if wide else np.int32)[column.offset : column.offset + len(column) + 1]
    if column.null_count:
        offsets = offsets.astype(np.int64)  # Arrow leaves it open whether a null has bytes
        lengths = np.where(column.is_valid().to_numpy(zero_copy_only=False), np.diff(offsets), 0)
        if not np.array_equal(lengths, np.diff(offsets)):
            return buffers(column.fill_null(""))
    return offsets.astype(np.int64, copy=False), np.frombuffer(data, dtype=np.uint8)
