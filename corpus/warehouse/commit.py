"""How a file gets into the warehouse: temporary file → fsync → rename → fsync of the folder. The manifest line that makes it
count comes after.

A crash at any point leaves either the old state or an orphan that nothing refers to; orphans are overwritten or swept by the next build.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import pyarrow as pa
import pyarrow.parquet as pq

from corpus.errors import WarehouseError
from corpus.warehouse.manifest import FileEntry

_DICTIONARY = {
    "source", "subset", "license", "file", "kind", "upstream_split", "skip", "recovered", "reason", "stage", "split", "part",
    "messages.list.element.role", "chosen.list.element.role", "rejected.list.element.role", "prompt.list.element.role",
    "changed_by.list.element",
}  # fmt: skip
"""Columns with few values. Trying a dictionary on long texts costs time and never pays."""

TMP_MARK = ".tmp-"


class _Hashing:
    """A binary file that hashes what is written to it."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("wb")
        self._hash = hashlib.sha256()
        self.size = 0
        self.closed = False
        self.abandoned = False

    def write(self, data: Any) -> int:
        view = memoryview(data)
        if self.abandoned:
            return view.nbytes
        self._hash.update(view)
        self.size += view.nbytes
        self._file.write(view)
        return view.nbytes

    def tell(self) -> int:
        return self.size

    def flush(self) -> None:
        self._file.flush()

    def finish(self) -> str:
        self._file.flush()
        os.fsync(self._file.fileno())
        self.close()
        return self._hash.hexdigest()

    def abandon(self) -> None:
        """Closes a file that nobody wants; what the parquet writer still writes when it is closed goes nowhere."""
        self.abandoned = True
        self.close()

    def close(self) -> None:
        self._file.close()
        self.closed = True

    def readable(self) -> bool:
        return False

    def writable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return False


class PartitionWriter:
    """Writes one parquet file of a partition, row group by row group, and commits it on a clean exit.

    The bytes depend only on the tables that are written, one row group each: no time stamps, no schema metadata, options pinned here.
    """

    def __init__(self, root: Path, relative: str, schema: pa.Schema, table: str, *, group_bytes: int = 0) -> None:
        self._final = root / relative
        self._relative = relative
        self._table = table
        self._final.parent.mkdir(parents=True, exist_ok=True)
        self._tmp = self._final.with_name(f"{self._final.name}{TMP_MARK}{os.getpid()}")
        self._sink = _Hashing(self._tmp)
        self._writer = pq.ParquetWriter(
            pa.PythonFile(self._sink, mode="w"),
            schema,
            version="2.6",
            compression="zstd",
            compression_level=3,
            use_dictionary=sorted(_DICTIONARY & set(_paths(schema))),
            write_statistics=[c for c in ("row_id", "source", "file", "record", "split", "position") if c in schema.names],
            store_schema=False,
        )
        self._schema = schema
        self._group_bytes = group_bytes
        self._waiting: list[pa.RecordBatch] = []
        self._waiting_bytes = 0
        self.rows = 0
        self.entry: FileEntry | None = None

    def add(self, batch: pa.RecordBatch) -> None:
        """Appends a batch to the current row group, which is written when it holds `group_bytes` in memory.

        Many small files make many small batches; a row group of one row costs every later reader as much as one of ten thousand.
        """
        self._waiting.append(batch)
        self._waiting_bytes += batch.nbytes
        if self._waiting_bytes >= self._group_bytes:
            self._write_waiting()

    def _write_waiting(self) -> None:
        if self._waiting:
            self.write(pa.Table.from_batches(self._waiting, self._schema).combine_chunks())
            self._waiting.clear()
            self._waiting_bytes = 0

    def write(self, batch: pa.RecordBatch | pa.Table) -> None:
        """Appends a batch as one row group; an empty one is nothing."""
        if batch.num_rows == 0:
            return
        table = batch if isinstance(batch, pa.Table) else pa.Table.from_batches([batch], self._schema)
        self._writer.write_table(table, row_group_size=max(1, table.num_rows))
        self.rows += table.num_rows

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if kind is not None:
            self._sink.abandon()
            self._writer.close()
            self._tmp.unlink(missing_ok=True)
            return
        self._write_waiting()
        self._writer.close()
        digest = self._sink.finish()
        os.replace(self._tmp, self._final)
        sync_folder(self._final.parent)
        self.entry = FileEntry(self._table, self._relative, self.rows, self._sink.size, digest)

    @property
    def committed(self) -> FileEntry:
        """The entry for the manifest.

        Raises:
            RuntimeError: before the writer was left.
        """
        if self.entry is None:
            raise RuntimeError(f"{self._relative} is not committed yet")
        return self.entry


@dataclass(slots=True)
class Committing:
    """A file on its way: write to `sink`; afterwards `committed` is there."""

    relative: str
    sink: _Hashing
    entry: FileEntry | None = None

    @property
    def committed(self) -> FileEntry:
        """The entry for the manifest.

        Raises:
            RuntimeError: before the file was left.
        """
        if self.entry is None:
            raise RuntimeError(f"{self.relative} is not committed yet")
        return self.entry


@contextmanager
def binary_file(root: Path, relative: str, table: str, *, rows: int = 0) -> Iterator[Committing]:
    """A file that is no parquet: what is written to its `sink` is committed on a clean exit."""
    final = root / relative
    final.parent.mkdir(parents=True, exist_ok=True)
    tmp = final.with_name(f"{final.name}{TMP_MARK}{os.getpid()}")
    held = Committing(relative, _Hashing(tmp))
    try:
        yield held
    except BaseException:
        held.sink.abandon()
        tmp.unlink(missing_ok=True)
        raise
    digest = held.sink.finish()
    os.replace(tmp, final)
    sync_folder(final.parent)
    held.entry = FileEntry(table, relative, rows, held.sink.size, digest)


def _paths(schema: pa.Schema) -> list[str]:
    """Parquet's names of the leaf columns that may be in `_DICTIONARY`."""
    paths = []
    for field in schema:
        if pa.types.is_list(field.type):
            inner = field.type.value_type
            if pa.types.is_struct(inner):
                paths += [f"{field.name}.list.element.{inner.field(i).name}" for i in range(inner.num_fields)]
            else:
                paths.append(f"{field.name}.list.element")
        else:
            paths.append(field.name)
    return paths


def write_table(root: Path, relative: str, table: pa.Table, name: str) -> FileEntry:
    """Commits a table of moderate size as one parquet file."""
    with PartitionWriter(root, relative, table.schema, name) as writer:
        writer.write(table)
    return writer.committed


def write_bytes(path: Path, data: bytes) -> None:
    """Replaces a small file atomically and durably."""
    path.parent.mkdir(parents=True, exist_ok=True)
    tmp = path.with_name(f"{path.name}{TMP_MARK}{os.getpid()}")
    with tmp.open("wb") as f:
        f.write(data)
        f.flush()
        os.fsync(f.fileno())
    os.replace(tmp, path)
    sync_folder(path.parent)


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """Says of a committed file that cannot be read what to do.

    Raises:
        WarehouseError: for what pyarrow says of files that are missing or damaged.
    """
    try:
        yield
    except (pa.ArrowInvalid, OSError) as e:
        raise WarehouseError(f"{path}: is not as it was written: {e}; build again with --verify") from e


def sync_folder(folder: Path) -> None:
    """Makes renames in `folder` durable."""
    fd = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
