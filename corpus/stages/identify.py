"""identify: makes row identities unique across the partitions of a source.

The parse stage counts repeats of a record within its partition, because partitions are parsed independently. Where the same
record occurs in several partitions (the same file under two names, a re-packaged set), this stage numbers the later ones on and
writes those partitions anew; all others stay as they are. Sources of one partition have nothing to do here.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from corpus.executors.task import Report, Task
from corpus.schema import ROWS
from corpus.sources.read import row_id
from corpus.stages import sql
from corpus.stages.base import parts
from corpus.warehouse.commit import PartitionWriter
from corpus.warehouse.manifest import FileEntry, Partition

NAME = "identify"
VERSION = 1


def plan(parsed: Mapping[str, list[Partition]]) -> list[Task]:
    """One task per source of several partitions. `parsed`: source → its parse partitions, in order."""
    return [
        Task(
            stage=NAME,
            key=source,
            parts=parts(NAME, VERSION, writes=(ROWS,), inputs={p.key: p.fingerprint for p in partitions}, libs=("pyarrow", "duckdb")),
            run=run,
            inputs=tuple(partitions),
            size=sum(f.bytes for p in partitions for f in p.of("rows")),
        )
        for source, partitions in sorted(parsed.items())
        if len(partitions) > 1
    ]


def run(task: Task, root: Path, report: Report) -> Partition:
    """Renumbers the repeats of one source. `stats.digests`: partition key → digest of what was renumbered in it."""
    entries = {p.key: p.one("rows") for p in task.inputs}
    before: dict[int, dict[str, int]] = defaultdict(dict)
    with sql.session(root) as db:
        db.execute("CREATE TABLE parts(number INTEGER, path VARCHAR)")
        db.executemany("INSERT INTO parts VALUES (?, ?)", [[n, str(root / e.path)] for n, e in enumerate(entries.values())])
        rows = sql.read(root, entries.values()).replace("])", "], filename = true)")
        for number, key, n in db.execute(sql.text("corpus.stages", "identify.sql").format(rows=rows)).fetchall():
            before[number][key] = int(n)
    files, digests = [], {}
    for number, (key, entry) in enumerate(entries.items()):
        if number in before:
            stem = f"parsed/{key}.{task.fingerprint[:8]}-renumbered.parquet"
            with PartitionWriter(root, stem, ROWS.schema, f"rows:{key}") as writer:
                for batch in renumbered(root / entry.path, before[number]):
                    writer.write(batch)
            files.append(writer.committed)
            text = "".join(f"{k}{n}" for k, n in sorted(before[number].items()))
            digests[key] = hashlib.blake2b(text.encode(), digest_size=8).hexdigest()
        report(entry.bytes, entry.rows)
    return task.done(files, digests=digests)


def renumbered(path: Path, before: Mapping[str, int]) -> Iterator[pa.Table]:
    """The row groups of a parsed partition with the identities of repeats moved on by `before` (record key → earlier occurrences)."""
    file = pq.ParquetFile(path)
    wanted = pa.array(before.keys(), pa.string())
    occurrence: dict[str, int] = {}
    last: dict[str, tuple[object, int]] = {}
    for group in range(file.num_row_groups):
        table = file.read_row_group(group)
        keys = pc.coalesce(table["first_id"], table["row_id"])
        touched = pc.indices_nonzero(pc.is_in(keys, wanted)).to_pylist()
        if not touched:
            yield table
            continue
        ids, firsts = table["row_id"].to_pylist(), table["first_id"].to_pylist()
        for at in touched:
            key = keys[at].as_py()
            place = (table["file"][at].as_py(), table["record"][at].as_py(), table["byte_offset"][at].as_py())
            known, row = last.get(key, (None, 0))
            row = row + 1 if known == place else 0
            if known != place:
                occurrence[key] = occurrence.get(key, before[key] - 1) + 1
            last[key] = (place, row)
            ids[at], firsts[at] = row_id(bytes.fromhex(key), occurrence[key], row), key
        table = table.set_column(table.schema.get_field_index("row_id"), ROWS.schema.field("row_id"), pa.array(ids, pa.string()))
        yield table.set_column(table.schema.get_field_index("first_id"), ROWS.schema.field("first_id"), pa.array(firsts, pa.string()))


def apply(parsed: Mapping[str, list[Partition]], identified: Mapping[str, Partition]) -> list[tuple[Partition, FileEntry, str]]:
    """What the clean stage reads: each parse partition with the file that holds its rows and a digest of that file's making."""
    out = []
    for source, partitions in sorted(parsed.items()):
        task = identified.get(source)
        for partition in partitions:
            own = task.of(f"rows:{partition.key}") if task else []
            digest = task.stats.get("digests", {}).get(partition.key, "") if task else ""
            entry = own[0] if own else next(iter(partition.of("rows")), FileEntry("rows", "", 0, 0, ""))
            out.append((partition, entry, partition.fingerprint + digest))
    return out
