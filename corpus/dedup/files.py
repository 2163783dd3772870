"""Rows of a parquet file or an Arrow table, as the engine reads them: one text each, some megabyte at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from corpus.dedup.near import Piece, cuts
from corpus.dedup.texts import Texts
from corpus.errors import DataError

_BATCH = 8192
"""Rows that are read at a time, at most."""
_BATCH_BYTES = 16 << 20
"""And so many bytes, or thereabouts: 8,192 books would not fit into memory."""
_BROKEN = (pa.ArrowException, OSError, UnicodeDecodeError)
"""What pyarrow raises for files that are not what they should be."""


@dataclass(frozen=True, slots=True)
class Column:
    """The text column of a file or table."""

    source: Path | pa.Table
    text: str

    def read(self, wanted: np.ndarray | None = None) -> Iterator[Piece]:
        """See `corpus.dedup.near.Rows`."""
        base = 0
        for column in values(self.source, self.text):
            numbers = np.arange(base, base + len(column), dtype=np.int64)
            base += len(column)
            if wanted is not None:
                mask = wanted[numbers]
                if not mask.any():
                    continue
                numbers = numbers[mask]
                column = column.filter(pa.array(mask))
            texts = Texts.of(column)
            for start, end in cuts(texts.offsets):
                yield Piece(numbers[start:end], texts.part(start, end))


def values(source: Path | pa.Table, name: str) -> Iterator[pa.Array]:
    """One column of a file or table, a few thousand rows at a time. Its values are sound: offsets lie in the data, texts are UTF-8.

    Nobody else looks at that. Arrow takes both on trust, and so do the kernels, which would read beyond their memory.

    Raises:
        DataError: when the file is no parquet file, is damaged, or a text of it is not UTF-8.
    """
    base = 0
    for column in _read(source, name):
        try:
            column.validate(full=True)
            if pa.types.is_string_view(column.type):
                column = column.cast(pa.large_string())  # views cannot be filtered
        except pa.ArrowException as e:
            raise DataError(
                f"{told(source)}: column {name!r}, rows {base:,} to {base + len(column) - 1:,}: {e}; texts must be UTF-8: "
                "write the file anew from sound data"
            ) from e
        base += len(column)
        yield column


def _read(source: Path | pa.Table, name: str) -> Iterator[pa.Array]:
    if isinstance(source, pa.Table):
        for batch in source.select([name]).to_batches(_BATCH):
            yield batch.column(0)
        return
    try:
        # A buffer, so that a row group of any size is read page by page.
        with pq.ParquetFile(source, buffer_size=1 << 20, pre_buffer=False) as file:
            # By name, because what is asked for by `a` or `a.b` brings along the other columns whose paths begin so.
            for batch in file.iter_batches(_rows_at_once(file.metadata, name), columns=[name], use_threads=False):
                yield batch.column(batch.schema.get_field_index(name))
    except _BROKEN as e:
        raise DataError(f"{source}: cannot be read as parquet: {e}") from e


def _rows_at_once(metadata: pq.FileMetaData, name: str) -> int:
    """How many rows are read at a time, by what a row takes in the row group with the longest."""
    longest = 1
    for number in range(metadata.num_row_groups):
        group = metadata.row_group(number)
        for at in range(group.num_columns):
            chunk = group.column(at)
            if chunk.path_in_schema == name and group.num_rows:
                longest = max(longest, chunk.total_uncompressed_size // group.num_rows)
    return max(1, min(_BATCH, _BATCH_BYTES // longest))


def told(source: Path | pa.Table) -> str:
    """What errors call it."""
    return "the table" if isinstance(source, pa.Table) else str(source)


def schema(source: Path | pa.Table) -> pa.Schema:
    """The columns of a file or table.

    Raises:
        DataError: when the file is missing or no parquet file.
    """
    if isinstance(source, pa.Table):
        return source.schema
    return _opened(source, pq.read_schema)


def rows(source: Path) -> int:
    """How many rows a file has.

    Raises:
        DataError: when the file is missing or no parquet file.
    """
    return _opened(source, pq.read_metadata).num_rows


def _opened(source: Path, read: Callable[[Path], Any]) -> Any:
    if not source.is_file():
        raise DataError(f"{source}: no such file; expected a parquet file")
    try:
        return read(source)
    except _BROKEN as e:
        raise DataError(f"{source}: cannot be read as parquet: {e}") from e
