"""shards: the rendered rows of all partitions → the files of the splits, in one random order.

A part of a split is cut into shards by ranges of positions (`corpus.splits.order`), each sorted by position: read one after the other, the
files are one seeded shuffle of the whole part, all sources mixed, and any one of them is a random sample. So a trainer that reads
sequentially needs no shuffle buffer. Row groups are small (1,000 rows or 4 MB), so that one that reads at random decodes little.

A task writes one shard and reads of every rendered file only the row groups whose positions touch its own. It holds the shard and one row
group besides, whatever the size of the corpus.
"""

from __future__ import annotations

from collections import defaultdict
from hashlib import blake2b
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from corpus.executors.task import Report, Task
from corpus.recipe_splits import Form, form_of
from corpus.schema import Table
from corpus.splits.forms import FORM_TABLES
from corpus.splits.groups import cuts, row_bytes
from corpus.splits.order import ranges
from corpus.stages.base import Context, parts
from corpus.warehouse.commit import PartitionWriter, reading
from corpus.warehouse.manifest import FileEntry, Partition

NAME = "shards"
VERSION = 1

SHARD_BYTES = 128 << 20
"""Bytes of a shard before compression, some 40 MB on disk: a worker holds it twice while it sorts, and a trainer with tens of readers has
a file for each of them from a few gigabytes on."""

GROUP_ROWS = 1000
GROUP_BYTES = 4 << 20
"""A row group of a shard has at most so many rows and bytes: what a reader has to decode to get at one row."""

COUNTED = ("source", "license", "kind")
"""What rows are counted by."""


def plan(context: Context, rendered: list[Partition], *, shard_bytes: int = SHARD_BYTES) -> list[Task]:
    """One task per shard of every part of a split that has rows.

    How many shards there are is known when everything is rendered. While something is not (in a plan, where nothing is run), a split of
    which nothing is known is one task under the split's name.
    """
    splits = context.recipe.splits
    files: dict[tuple[str, str], list[FileEntry]] = defaultdict(list)
    sizes: dict[tuple[str, str], int] = defaultdict(int)
    for partition in rendered:
        for place, told in partition.stats.get("parts", {}).items():
            split, part = place.split(":")
            files[split, part] += partition.of(f"rendered:{place}")
            sizes[split, part] += told["bytes"]
    tasks = []
    for (split, part), entries in sorted(files.items()):
        entries.sort(key=lambda e: (e.sha256, e.path))
        form = form_of(split, splits.get(split))
        # One digest: to name a thousand inputs in each of a thousand shards would take more room than the shards' own footers.
        digest = blake2b("".join(e.sha256 for e in entries).encode(), digest_size=16).hexdigest()
        count = max(1, -(-sizes[split, part] // shard_bytes))
        for number, (first, last) in enumerate(ranges(count)):
            key = f"{context.folder}:{split}:{part}:{number}-{count}"
            name = f"splits/{context.folder}/{split}/{part}-{number:05d}-of-{count:05d}.parquet"
            tasks.append(
                Task(
                    stage=NAME,
                    key=key,
                    parts=_parts(form, {"rendered": digest}, shard=[number, count]),
                    run=run,
                    spec={
                        "files": tuple(entries), "first": first, "last": last, "path": name, "form": str(form),
                        "table": f"split:{split}:{part}",
                    },
                    size=sum(e.bytes for e in entries) // count,
                )
            )  # fmt: skip
    if not all("parts" in p.stats for p in rendered):
        known = {split for split, _ in files}
        for split in sorted(splits.keys() - known):
            form = form_of(split, splits.get(split))
            tasks.append(Task(stage=NAME, key=f"{context.folder}:{split}", parts=_parts(form, {"rendered": ""}, shard=[]), run=run))
    return tasks


def _parts(form: Form, inputs: dict[str, str], *, shard: list[int]) -> dict[str, object]:
    return parts(NAME, VERSION, writes=(FORM_TABLES[form],), inputs=inputs, libs=("pyarrow", "numpy"), shard=shard)


def run(task: Task, root: Path, report: Report) -> Partition:
    """Writes one shard. It has no file when no row falls into its range; its stats count its rows and their characters."""
    spec = task.spec
    form = Form(spec["form"])
    table = FORM_TABLES[form]
    rows = _gather(root, spec["files"], spec["first"], spec["last"], table, report)
    if not rows.num_rows:
        return task.done([], counts=[])
    # Positions are different by nature; the rest is for the one pair in 2^64 that is not.
    order = pc.sort_indices(rows, sort_keys=[(name, "ascending") for name in ("position", "row_id", "repeat")])
    rows = rows.drop_columns("position")
    sizes = row_bytes(rows)[order.to_numpy()]
    with PartitionWriter(root, spec["path"], table.schema, spec["table"]) as writer:
        for first, after in cuts(sizes, GROUP_BYTES, GROUP_ROWS):
            writer.write(rows.take(order.slice(first, after - first)).combine_chunks())
    return task.done([writer.committed], counts=_counts(rows, form))


def _gather(root: Path, files: tuple[FileEntry, ...], first: int, last: int, table: Table, report: Report) -> pa.Table:
    """The rows of a range of positions, in no order."""
    schema = pa.schema([pa.field("position", pa.uint64(), nullable=False), *table.schema])
    pieces = [schema.empty_table()]
    for entry in files:
        with reading(root / entry.path), pq.ParquetFile(root / entry.path) as file:
            found = 0
            for group in touched(file.metadata, first, last):
                rows = file.read_row_group(group)
                at = rows["position"].to_numpy()
                mine = rows.filter(pa.array((at >= np.uint64(first)) & (at <= np.uint64(last))))
                found += mine.num_rows
                pieces.append(mine)
            report(entry.bytes * found // max(1, entry.rows), found)
    return pa.concat_tables(pieces).combine_chunks()


def touched(metadata: pq.FileMetaData, first: int, last: int) -> list[int]:
    """The row groups of a rendered file that may hold positions from `first` to `last`."""
    found = []
    for group in range(metadata.num_row_groups):
        statistics = metadata.row_group(group).column(0).statistics
        if statistics is None or not statistics.has_min_max:
            found.append(group)
            continue
        # pyarrow tells the bounds of unsigned numbers as if they were signed.
        low, high = statistics.min % (1 << 64), statistics.max % (1 << 64)
        if low <= last and high >= first:
            found.append(group)
    return found


def _counts(rows: pa.Table, form: Form) -> list[list[str | int]]:
    """For each source, licence and kind: rows, rows without repetitions, and characters of what is rendered."""
    texts = ("prompt", "response") if form is Form.PAIR else ("text",)
    chars = np.zeros(rows.num_rows, dtype=np.int64)
    for name in texts:
        chars += pc.fill_null(pc.utf8_length(rows[name]), 0).to_numpy()
    told = pa.table(
        {
            **{name: rows[name] for name in COUNTED},
            "first": pc.equal(rows["repeat"], 0).cast(pa.int64()),
            "chars": chars,
        }
    )
    sums = told.group_by(list(COUNTED)).aggregate([([], "count_all"), ("first", "sum"), ("chars", "sum")])
    sums = sums.sort_by([(name, "ascending") for name in COUNTED])
    return [list(row.values()) for row in sums.select([*COUNTED, "count_all", "first_sum", "chars_sum"]).to_pylist()]
