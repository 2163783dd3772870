"""How many bytes rows take, and where row groups are cut.

A row group is what a reader decodes at once. Sizes are those of the Arrow buffers, computed from the values alone, so that they are the
same however a table came about.
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc


def row_bytes(table: pa.Table) -> np.ndarray:
    """Bytes of every row of a table (int64[n]): of its texts in UTF-8, with 4 for every offset and every number of 32 bits."""
    total = np.zeros(table.num_rows, dtype=np.int64)
    for column in table.columns:
        total += np.concatenate([_sizes(chunk) for chunk in column.chunks] or [np.zeros(0, dtype=np.int64)])
    return total


def _sizes(array: pa.Array) -> np.ndarray:
    kind = array.type
    if pa.types.is_string(kind) or pa.types.is_binary(kind):
        return pc.fill_null(pc.binary_length(array), 0).to_numpy(zero_copy_only=False).astype(np.int64) + 4
    if pa.types.is_list(kind):
        lengths = pc.fill_null(pc.list_value_length(array), 0).to_numpy(zero_copy_only=False).astype(np.int64)
        inner = np.concatenate([[0], np.cumsum(_sizes(array.flatten()))])
        ends = np.cumsum(lengths)
        return inner[ends] - inner[ends - lengths] + 4
    if pa.types.is_struct(kind):
        fields = [_sizes(field) for field in array.flatten()]
        return np.sum(fields, axis=0) if fields else np.zeros(len(array), dtype=np.int64)
    return np.full(len(array), -(-kind.bit_width // 8), dtype=np.int64)


def cuts(sizes: np.ndarray, most_bytes: int, most_rows: int | None = None) -> list[tuple[int, int]]:
    """Cuts rows that follow each other into groups.

    Args:
        sizes: int64[n], bytes of every row.
        most_bytes: a group has no more, unless it is of one row alone.
        most_rows: a group has no more.

    Returns:
        First row of each group, and the row after its last.
    """
    ends = np.cumsum(sizes)
    found, first = [], 0
    while first < len(sizes):
        before = int(ends[first - 1]) if first else 0
        after = max(first + 1, int(np.searchsorted(ends, before + most_bytes, side="right")))
        if most_rows is not None:
            after = min(after, first + most_rows)
        found.append((first, after))
        first = after
    return found
