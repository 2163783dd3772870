"""Committing files: bytes depend on the tables alone, and a failure leaves nothing."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from corpus.schema import DROPPED, ROWS
from corpus.warehouse.commit import PartitionWriter, write_bytes, write_table


def table(n: int = 3) -> pa.Table:
    rows = [{"row_id": f"{i}", "source": "s", "stage": "clean", "reason": "empty", "jaccard": i / 7} for i in range(n)]
    return pa.Table.from_pylist(rows, schema=DROPPED.schema)


def test_an_entry_says_what_is_in_the_file(tmp_path: Path) -> None:
    entry = write_table(tmp_path, "dropped/x/a.parquet", table(), "dropped")
    content = (tmp_path / "dropped/x/a.parquet").read_bytes()
    assert (entry.rows, entry.bytes, entry.sha256) == (3, len(content), hashlib.sha256(content).hexdigest())
    assert pq.read_table(tmp_path / entry.path, partitioning=None).equals(table())
    assert write_table(tmp_path, "dropped/b.parquet", table(), "dropped").sha256 == entry.sha256


def test_empty_batches_are_nothing_and_an_empty_file_has_its_schema(tmp_path: Path) -> None:
    with PartitionWriter(tmp_path, "a.parquet", DROPPED.schema, "dropped") as writer:
        writer.write(table(0))
        writer.write(table(2))
        writer.write(table(0))
        writer.write(table(1).to_batches()[0])
    assert pq.ParquetFile(tmp_path / "a.parquet").num_row_groups == 2
    empty = write_table(tmp_path, "b.parquet", ROWS.schema.empty_table(), "rows")
    assert pq.read_table(tmp_path / empty.path, partitioning=None).schema.equals(ROWS.schema)


@pytest.mark.filterwarnings("error")  # of a writer that is collected with something left to write
def test_a_failure_leaves_no_file_and_the_old_one_stays(tmp_path: Path) -> None:
    old = write_table(tmp_path, "a.parquet", table(1), "dropped")
    writer = PartitionWriter(tmp_path, "a.parquet", DROPPED.schema, "dropped")

    def fail() -> None:
        with writer:
            writer.write(table(3))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert [p.name for p in tmp_path.iterdir()] == ["a.parquet"]
    assert hashlib.sha256((tmp_path / "a.parquet").read_bytes()).hexdigest() == old.sha256
    with pytest.raises(RuntimeError, match="not committed yet"):
        _ = writer.committed


def test_small_files_are_replaced_whole(tmp_path: Path) -> None:
    write_bytes(tmp_path / "new/a.json", b"one")
    write_bytes(tmp_path / "new/a.json", b"two")
    assert [(p.name, p.read_bytes()) for p in (tmp_path / "new").iterdir()] == [("a.json", b"two")]
