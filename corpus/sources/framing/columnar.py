"""Parquet: rows as dicts, in batches whose size is chosen in bytes, a damaged row group costing only itself."""

from __future__ import annotations

import datetime
import decimal
import io
from collections.abc import Iterator
from typing import Any, BinaryIO

import pyarrow as pa
import pyarrow.parquet as pq

from corpus.sources.base import Frame, Rejected
from corpus.sources.framing.delimited import unique_names
from corpus.sources.framing.stream import Limits

MAGIC = b"PAR1"
_FAULTS = (pa.ArrowException, OSError, ValueError, OverflowError)


def frame_parquet(file: BinaryIO, limits: Limits) -> Iterator[Frame]:
    """Frames a parquet file, which must be seekable. Offsets are None: a row has no bytes of its own.

    Extension types are read as what they are stored as, so that no type that the file names is ever loaded.
    """
    size = file.seek(0, io.SEEK_END)
    file.seek(0)
    try:
        parquet = pq.ParquetFile(file, arrow_extensions_enabled=False, pre_buffer=False)
        groups = parquet.metadata.num_row_groups
        plain = all(_is_plain(t) for t in parquet.schema_arrow.types)
        names = unique_names(parquet.schema_arrow.names)
    except _FAULTS as e:
        file.seek(max(0, size - len(MAGIC)))
        cut = file.read(len(MAGIC)) != MAGIC
        detail = "a parquet file without its footer: it was cut" if cut else f"a parquet file whose footer is damaged: {e}"
        yield Frame(rejects=[Rejected(0, None, None, "truncated" if cut else "corrupt", detail, b"")], records=1)
        return
    first = 0
    for group in range(groups):
        meta = parquet.metadata.row_group(group)
        each = max(1, meta.total_byte_size // max(1, meta.num_rows))
        batch_rows = max(1, min(limits.frame_records, (4 * limits.block_bytes) // each))
        done = 0
        try:
            for batch in parquet.iter_batches(batch_rows, row_groups=[group], use_threads=False):
                values = batch.rename_columns(names).to_pylist()
                if not plain:
                    values = [_jsonable(v) for v in values]
                ordinals = range(first + done, first + done + len(values))
                done += len(values)
                yield Frame(values=values, ordinals=ordinals, records=len(values))
        except _FAULTS as e:
            detail = f"rows {first + done} to {first + meta.num_rows - 1} (row group {group}) cannot be read: {e}"
            yield Frame(rejects=[Rejected(first + done, None, None, "corrupt", detail[:500], b"")], records=1)
        first += meta.num_rows


def _is_plain(kind: pa.DataType) -> bool:
    """Whether values of an Arrow type come out as types that JSON has."""
    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        return _is_plain(kind.value_type)
    if pa.types.is_struct(kind):
        return all(_is_plain(kind.field(i).type) for i in range(kind.num_fields))
    return any(
        test(kind)
        for test in (
            pa.types.is_string, pa.types.is_large_string, pa.types.is_integer, pa.types.is_floating, pa.types.is_boolean,
            pa.types.is_null, pa.types.is_binary, pa.types.is_large_binary,
        )
    )  # fmt: skip


def _jsonable(value: Any) -> Any:
    """Dates and times as ISO 8601, decimals as str, maps as lists of pairs; bytes stay bytes."""
    if isinstance(value, dict):
        return {k: _jsonable(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_jsonable(v) for v in value]
    if isinstance(value, (datetime.datetime, datetime.date, datetime.time)):
        return value.isoformat()
    if isinstance(value, (decimal.Decimal, datetime.timedelta)):
        return str(value)
    return value
