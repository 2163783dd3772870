"""Rows of a parquet file or an Arrow table, as the engine reads them: one text each, some megabyte at a time."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from corpus.dedup.near import Piece, cuts
from corpus.dedup.texts import Texts
from corpus.errors import DataError

_BATCH = 8192


@dataclass(frozen=True, slots=True)
class Column:
    """The text column of a file or table."""

    source: Path | pa.Table
    text: str

    def read(self, wanted: np.ndarray | None = None) -> Iterator[Piece]:
        """See `corpus.dedup.near.Rows`."""
        base = 0
        for batch in batches(self.source, [self.text]):
            column = batch.column(0)
            numbers = np.arange(base, base + len(column), dtype=np.int64)
            base += len(column)
            if wanted is not None:
                mask = wanted[numbers]
                if not mask.any():
                    continue
                numbers = numbers[mask]
                if pa.types.is_string_view(column.type):
                    column = column.cast(pa.large_string())  # Arrow cannot filter views
                column = column.filter(pa.array(mask))
            texts = Texts.of(column)
            for start, end in cuts(texts.offsets):
                yield Piece(numbers[start:end], texts.part(start, end))


def batches(source: Path | pa.Table, columns: list[str]) -> Iterator[pa.RecordBatch]:
    """Some columns of a file or table, a few thousand rows at a time.

    Raises:
        DataError: when the file is no parquet file, is damaged, or lacks a column.
    """
    if isinstance(source, pa.Table):
        yield from source.select(columns).to_batches(_BATCH)
        return
    try:
        # A buffer, so that a row group of any size is read page by page.
        with pq.ParquetFile(source, buffer_size=1 << 20, pre_buffer=False) as file:
            yield from file.iter_batches(_BATCH, columns=columns, use_threads=False)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError, OSError) as e:
        raise DataError(f"{source}: cannot be read as parquet: {e}") from e


def schema(source: Path | pa.Table) -> pa.Schema:
    """The columns of a file or table.

    Raises:
        DataError: when the file is missing or no parquet file.
    """
    if isinstance(source, pa.Table):
        return source.schema
    if not source.is_file():
        raise DataError(f"{source}: no such file; expected a parquet file")
    try:
        return pq.read_schema(source)
    except (pa.ArrowInvalid, OSError) as e:
        raise DataError(f"{source}: cannot be read as parquet: {e}") from e
