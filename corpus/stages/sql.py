"""DuckDB for the stages that look at all rows at once: bounded memory, spilling to disk, and an order for everything that is written."""

from __future__ import annotations

import contextlib
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from importlib import resources
from pathlib import Path

import duckdb
import pyarrow as pa

from corpus.allocators import DUCKDB_MEMORY
from corpus.schema import DROPPED, Table
from corpus.warehouse.manifest import FileEntry, Partition


@contextlib.contextmanager
def session(root: Path, *, threads: int = 2) -> Iterator[duckdb.DuckDBPyConnection]:
    """An in-memory database that spills into the warehouse's folder, and is gone afterwards."""
    spill = Path(tempfile.mkdtemp(prefix=".spill-", dir=root))
    connection = duckdb.connect(":memory:", config={"autoinstall_known_extensions": False, "autoload_known_extensions": False})
    try:
        connection.execute("SET temp_directory = ?", [str(spill)])
        connection.execute("SET memory_limit = ?", [DUCKDB_MEMORY])
        connection.execute("SET threads = ?", [threads])
        connection.execute("SET enable_progress_bar = false")
        # With preserve_insertion_order off, DuckDB 2.0 hands Arrow batches over out of order even below an ORDER BY.
        connection.execute("SET preserve_insertion_order = true")
        yield connection
    finally:
        connection.close()
        shutil.rmtree(spill, ignore_errors=True)


def text(package: str, name: str) -> str:
    """The SQL of a file beside the code that owns it."""
    return resources.files(package).joinpath(name).read_text(encoding="utf-8")


def read(root: Path, files: Iterable[FileEntry | str]) -> str:
    """A `read_parquet` call over committed files, as SQL."""
    paths = [str(root / (f.path if isinstance(f, FileEntry) else f)) for f in files]
    quoted = ", ".join("'" + p.replace("'", "''") + "'" for p in paths)
    return f"read_parquet([{quoted}])"


def ledger(root: Path, partitions: Iterable[Partition]) -> str:
    """The ledger that some partitions wrote, as SQL: a table of schema DROPPED, empty when they dropped nothing."""
    files = [f for p in partitions for f in p.of("dropped")]
    if files:
        return read(root, files)
    return empty(DROPPED)


_TYPES = {
    pa.string(): "VARCHAR", pa.float64(): "DOUBLE", pa.int64(): "BIGINT", pa.uint32(): "UINTEGER", pa.binary(16): "BLOB",
    pa.bool_(): "BOOLEAN", pa.int32(): "INTEGER",
}  # fmt: skip


def empty(table: Table, **further: str) -> str:
    """A table without rows, as SQL; `further` are names and types of more columns."""
    columns = {c.name: _TYPES[c.type] for c in table.columns} | further
    nothing = ", ".join(f"NULL::{of} AS {name}" for name, of in columns.items())
    return f"(SELECT {nothing} WHERE false)"
