"""sketch: what duplicates are found by, for each clean partition.

Writes the keys by which equal rows are found, and the band entries by which near ones are. Neither changes when other sources come or
go, so a new source is sketched and the old ones are not.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from corpus.executors.task import Report, Task
from corpus.schema import SKETCHED
from corpus.stages import stock
from corpus.stages.base import Context, parts
from corpus.warehouse.commit import PartitionWriter, binary_file
from corpus.warehouse.manifest import Partition

if TYPE_CHECKING:
    from corpus.dedup.near import Measure

NAME = "sketch"
VERSION = 1

_EXTRA = ("row_id", "source", "upstream_split", "row_key")


def plan(context: Context, cleaned: list[Partition], stocks: list[Partition]) -> list[Task]:
    """One task per clean partition. `stocks`: see `corpus.stages.stock`."""
    dedup = context.recipe.dedup
    if not dedup.exact:
        return []
    digests = stock.digests(stocks)
    by_source = {p.key: p for p in stocks}
    tasks = []
    for partition in cleaned:
        source = partition.key.partition("/")[0]
        told: dict[str, Any] = {"key": context.keys[source], "near": dedup.near}
        if dedup.near:
            told |= {"unit": dedup.unit, "threshold": dedup.threshold, "stock": digests.get(source, "")}
        own = (by_source[source],) if source in by_source else ()
        tasks.append(
            Task(
                stage=NAME,
                key=partition.key,
                parts=parts(
                    NAME, VERSION, writes=(SKETCHED,), inputs={partition.key: partition.fingerprint}, libs=("pyarrow", "numpy"), dedup=told
                ),
                run=run,
                inputs=(partition, *own),
                spec=told,
                size=sum(f.bytes for f in partition.of("clean")),
            )
        )
    return tasks


def measure(spec: Mapping[str, object]) -> Measure:
    """What rows are compared by."""
    from corpus.dedup.minhash import Scheme
    from corpus.dedup.near import Measure
    from corpus.dedup.units import Unit

    return Measure(Unit(str(spec["unit"])), Scheme.of(float(str(spec["threshold"]))))


def run(task: Task, root: Path, report: Report) -> Partition:
    """Sketches one partition."""
    from corpus.dedup.bands import write
    from corpus.dedup.shingles import shingles
    from corpus.dedup.units import Unit
    from corpus.stages.compared import pieces

    spec = task.spec
    partition, *stocks = task.inputs
    clean, measures = partition.one("clean"), partition.one("measures")
    measured = pq.read_table(root / measures.path, columns=["chars", "replacement"])
    by = measure(spec) if spec["near"] else None
    repeated = stock.shingles_of(root, stocks[0]) if stocks else None
    stem = f"sketches/{task.key}.{task.fingerprint[:8]}"
    keyed = []
    with PartitionWriter(root, f"{stem}.parquet", SKETCHED.schema, "sketched", group_bytes=8 << 20) as writer:
        for numbers, part, extra in pieces(root / clean.path, spec["key"], *_EXTRA):
            found = by.shingles(part.texts, repeated) if by else shingles(part.texts, Unit.MIXED)
            if by:
                keyed.append(by.keys(found, part.texts.spaces, repeated))
            own = measured.slice(int(numbers[0]), len(numbers))
            whole = np.ascontiguousarray(found.whole.astype(">u8")).tobytes()
            columns = {
                "row_id": extra["row_id"],
                "source": extra["source"],
                "upstream_split": extra["upstream_split"],
                "key": pc.coalesce(part.keys, extra["row_key"].combine_chunks().cast(pa.binary(16))),
                "whole": pa.Array.from_buffers(pa.binary(16), len(numbers), [None, pa.py_buffer(whole)]),
                "shingles": pa.array(np.diff(found.bounds).astype(np.uint32)),
                "chars": own["chars"].cast(pa.int64()),
                "damage": own["replacement"].cast(pa.int64()),
            }
            batch = pa.table([columns[c.name] for c in SKETCHED.columns], schema=SKETCHED.schema).combine_chunks().to_batches()
            writer.add(batch[0])
            report(clean.bytes * len(numbers) // max(1, clean.rows), len(numbers))
    files = [writer.committed]
    if by and keyed:
        with binary_file(root, f"{stem}.bands", "bands", rows=clean.rows) as held:
            write(held.sink, np.concatenate(keyed), by.scheme, by.unit)
        files.append(held.committed)
    return task.done(files)
