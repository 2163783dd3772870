"""Files of exported rows: JSON arrays, JSON lines and parquet, written piece by piece under a temporary name and renamed when whole.

JSON is written by polars: no ASCII escapes, control characters escaped, one object a line. A line break within a text is always an
escape, so the line breaks between objects are the only ones, and an array is made of lines by putting a comma before each.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Protocol

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from corpus.export.formats import Layout
from corpus.warehouse.commit import binary_file
from corpus.warehouse.manifest import FileEntry

GROUP_ROWS = 65_536
"""Rows of a row group of parquet, as ChatLM-mini-Chinese's scripts write them."""
GROUP_BYTES = 128 << 20
"""And its bytes in memory, at most or thereabouts: 65,536 long answers would take gigabytes."""


class Writer(Protocol):
    """Takes the rows of a file, some at a time."""

    def add(self, table: pa.Table) -> None:
        """Appends rows; at least one."""

    def end(self) -> None:
        """No more come."""


class _Lines:
    def __init__(self, sink: Any) -> None:
        self._sink = sink

    def add(self, table: pa.Table) -> None:
        self._sink.write(json_lines(table))

    def end(self) -> None:
        pass


class _Array:
    def __init__(self, sink: Any) -> None:
        self._sink = sink
        self._before = b"[\n"

    def add(self, table: pa.Table) -> None:
        self._sink.write(self._before)
        self._sink.write(memoryview(json_lines(table).replace(b"\n", b",\n"))[:-2])
        self._before = b",\n"

    def end(self) -> None:
        self._sink.write(b"\n]\n")


class _Parquet:
    """Row groups of GROUP_ROWS rows, or fewer where they are long; gzip, as in the files that it is to stand in for."""

    def __init__(self, sink: Any) -> None:
        self._sink = sink
        self._writer: pq.ParquetWriter | None = None
        self._waiting: list[pa.Table] = []

    def add(self, table: pa.Table) -> None:
        if self._writer is None:
            self._writer = pq.ParquetWriter(
                pa.PythonFile(self._sink, mode="w"), table.schema, version="2.6", compression="gzip", compression_level=6,
                use_dictionary=[n for n in ("source", "license") if n in table.column_names], write_statistics=False, store_schema=False,
            )  # fmt: skip
        self._waiting.append(table)
        while (rows := sum(t.num_rows for t in self._waiting)) >= GROUP_ROWS or sum(t.nbytes for t in self._waiting) >= GROUP_BYTES:
            whole = pa.concat_tables(self._waiting)
            self._group(whole.slice(0, GROUP_ROWS))
            self._waiting = [whole.slice(GROUP_ROWS)] if rows > GROUP_ROWS else []

    def _group(self, table: pa.Table) -> None:
        if self._writer is not None:
            self._writer.write_table(table, row_group_size=max(1, table.num_rows))

    def end(self) -> None:
        if self._waiting:
            self._group(pa.concat_tables(self._waiting))
        self.close()

    def close(self) -> None:
        if self._writer is not None:
            self._writer.close()


@contextmanager
def _parquet(sink: Any) -> Iterator[_Parquet]:
    writer = _Parquet(sink)
    try:
        yield writer
    except BaseException:
        sink.abandon()  # what the library still writes when it is closed goes nowhere
        writer.close()
        raise


class ExportFile:
    """A file that is made when the first rows come, and gets its name when all have come; a context manager.

    After a clean exit `entry` says what was written; None where no row came.
    """

    def __init__(self, folder: Path, name: str, layout: Layout) -> None:
        self._folder, self._name, self._layout = folder, name, layout
        self._stack = ExitStack()
        self._writer: Writer | None = None
        self._held: Any = None
        self.rows = 0
        self.entry: FileEntry | None = None

    def add(self, table: pa.Table) -> None:
        """Appends rows."""
        if not table.num_rows:
            return
        if self._writer is None:
            self._held = self._stack.enter_context(binary_file(self._folder, self._name, "export"))
            sink = self._held.sink
            if self._layout is Layout.PARQUET:
                self._writer = self._stack.enter_context(_parquet(sink))
            else:
                self._writer = _Array(sink) if self._layout is Layout.ARRAY else _Lines(sink)
        self._writer.add(table)
        self.rows += table.num_rows

    def __enter__(self) -> ExportFile:
        return self

    def __exit__(self, *error: Any) -> None:
        if error[0] is None and self._writer is not None:
            try:
                self._writer.end()
            except BaseException as e:
                self._stack.__exit__(type(e), e, e.__traceback__)
                raise
        self._stack.__exit__(*error)
        if error[0] is None and self._held is not None:
            self.entry = self._held.entry


def json_lines(table: pa.Table) -> bytes:
    """Rows as JSON objects, each with a line break after it."""
    frame = pl.from_arrow(table)
    if not isinstance(frame, pl.DataFrame):
        raise TypeError("expected a table")
    lines = io.BytesIO()
    frame.write_ndjson(lines)
    return lines.getvalue()
