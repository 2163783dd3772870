"""identify: whatever the partitions of a source have in common, every row gets an id of its own, and the same ids in any order."""

from __future__ import annotations

import json
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
from hypothesis import given, settings
from hypothesis import strategies as st

from corpus.schema import ROWS
from corpus.sources.base import Emit, Files, Source
from corpus.sources.read import Occurrences, read_file, record_key, row_id
from corpus.stages import identify
from corpus.warehouse.commit import PartitionWriter
from corpus.warehouse.manifest import Partition

Record = tuple[int, int]
"""A number that makes the record what it is, and how many rows it makes."""


def _parse(record: Any, emit: Emit, /) -> None:
    for number in range(record["rows"]):
        emit.prompt([("user", f"{record['n']}, {number}")])


SOURCE = Source("numbers", "", "", "", "", (Files("*"),), _parse)


def parsed(root: Path, key: str, records: list[Record]) -> Partition:
    """A parse partition of these records."""
    path = root / f"{key}.jsonl"
    path.write_text("".join(json.dumps({"n": n, "rows": rows}) + "\n" for n, rows in records), encoding="utf-8")
    with PartitionWriter(root, f"parsed/numbers/{key}.parquet", ROWS.schema, "rows") as writer:
        for batch in read_file(SOURCE, path, path.name, Occurrences(), batch_bytes=60):
            if batch.rows is not None:
                writer.write(batch.rows)
    return Partition("parse", f"numbers/{key}", f"f{key}", {}, (writer.committed,))


def identified(root: Path, partitions: list[list[Record]], order: list[int]) -> list[dict[str, Any]]:
    """All rows of the partitions, in this order and under names in this order, as the clean stage reads them."""
    made = {"numbers": [parsed(root, f"{place:02d}", partitions[number]) for place, number in enumerate(order)]}
    done = {task.key: task.run(task, root, lambda size, rows: None) for task in identify.plan(made)}
    rows = []
    for partition, entry, digest in identify.apply(made, done):
        table = pq.read_table(root / entry.path, partitioning=None)
        assert table.schema.equals(ROWS.schema)
        assert table.num_rows == entry.rows == partition.one("rows").rows
        assert (digest == partition.fingerprint) == (entry is partition.one("rows"))
        rows += table.to_pylist()
    return rows


RECORDS = st.lists(st.tuples(st.integers(0, 4), st.integers(1, 3)), min_size=1, max_size=7)


@given(st.lists(RECORDS, min_size=1, max_size=4).flatmap(lambda p: st.tuples(st.just(p), st.permutations(range(len(p))))))
@settings(max_examples=25, deadline=None)
def test_ids_are_unique_and_do_not_depend_on_the_order_of_partitions(drawn: tuple[list[list[Record]], list[int]]) -> None:
    partitions, order = drawn
    with tempfile.TemporaryDirectory() as one, tempfile.TemporaryDirectory() as other:
        rows = identified(Path(one), partitions, list(range(len(partitions))))
        again = identified(Path(other), partitions, order)
    ids = [r["row_id"] for r in rows]
    assert len(set(ids)) == len(ids)
    assert {r["row_id"] for r in again} == set(ids)
    # Exactly the ids that the definition gives: of every record, occurrence by occurrence and row by row.
    expected = set()
    for (n, count), times in Counter(record for partition in partitions for record in partition).items():
        key = record_key(SOURCE.name, {"n": n, "rows": count})
        expected |= {row_id(key, occurrence, row) for occurrence in range(times) for row in range(count)}
    assert set(ids) == expected
    for r in rows:
        key = record_key(SOURCE.name, {"n": int(r["messages"][0]["content"].split(",")[0]), "rows": _rows(rows, r)}).hex()
        assert r["first_id"] == (None if r["row_id"] == key else key)


def _rows(rows: list[dict[str, Any]], one: dict[str, Any]) -> int:
    """How many rows the record of a row makes."""
    return sum(1 for r in rows if (r["file"], r["record"]) == (one["file"], one["record"]))


def test_one_partition_has_nothing_to_do_and_untouched_ones_stay_as_they_are(tmp_path: Path) -> None:
    first, second, third = (parsed(tmp_path, key, records) for key, records in (("a", [(1, 1)]), ("b", [(2, 1)]), ("c", [(1, 1), (3, 2)])))
    assert identify.plan({"numbers": [first]}) == []
    [task] = identify.plan({"numbers": [first, second, third]})
    done = task.run(task, tmp_path, lambda size, rows: None)
    assert [f.table for f in done.files] == ["rows:numbers/c"]
    assert set(done.stats["digests"]) == {"numbers/c"}
