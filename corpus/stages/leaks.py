"""leaks: which rows of a clean partition hold an evaluation row.

Each partition is searched on its own, against the evaluation rows that were gathered before, and anew only when it or they change. Whether
a row was dropped for something else is of no account here; the ledger is written by `decontaminate`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from corpus.dedup import leaks
from corpus.dedup.spans import spans
from corpus.dedup.texts import Texts, buffers
from corpus.executors.task import Report, Task
from corpus.schema import LEAKS
from corpus.stages.base import Context, parts
from corpus.stages.evaluation import HELD_OUT
from corpus.stages.texts import PLACES, RowTexts, batches
from corpus.warehouse.commit import PartitionWriter
from corpus.warehouse.manifest import FileEntry, Partition

NAME = "leaks"
VERSION = 1
_BATCH_BYTES = 1 << 20
_RANGES = 3
"""So many ranges of a row are told, the longest."""
_HOLE = 16
"""Characters between two ranges that are told as one."""


def plan(context: Context, cleaned: list[Partition], gathered: Partition | None) -> list[Task]:
    """One task per clean partition of a source that is not protected; none when there is nothing to leak."""
    if gathered is None or gathered.stats.get("items") == 0:
        return []
    settings = context.recipe.decontaminate
    return [
        Task(
            stage=NAME,
            key=partition.key,
            parts=parts(
                NAME, VERSION, writes=(LEAKS,), libs=("pyarrow", "numpy"),
                inputs={partition.key: partition.fingerprint, "evaluation rows": gathered.stats.get("digest", "")},
                decontaminate=settings.model_dump(mode="json", exclude={"enabled"}),
            ),
            run=run,
            inputs=(partition, gathered),
            spec={"near": settings.near, "containment": settings.containment},
            size=sum(f.bytes for f in partition.of("clean")),
        )
        for partition in cleaned
        if partition.key.partition("/")[0] not in context.protected
    ]  # fmt: skip


def run(task: Task, root: Path, report: Report) -> Partition:
    """Searches one partition. It has a file only where something is found."""
    partition, gathered = task.inputs
    entry = partition.one("clean")
    items = _items(root, gathered.one("evaluation"), task.spec["near"], task.spec["containment"])
    scanner = leaks.Scanner(items.index)
    found, done = [], 0
    for table in batches(root / entry.path, ("row_id", "source", "kind", "upstream_split", *PLACES), _BATCH_BYTES):
        found.append(search(table, scanner, items))
        done += table.num_rows
        report(entry.bytes * table.num_rows // max(1, entry.rows), table.num_rows)
    whole = pa.concat_tables([LEAKS.schema.empty_table(), *found])
    if not whole.num_rows:
        return task.done([])
    with PartitionWriter(root, f"leaks/{task.key}.{task.fingerprint[:8]}.parquet", LEAKS.schema, "leaks") as writer:
        writer.write(whole.combine_chunks())
    return task.done([writer.committed])


@dataclass(frozen=True, slots=True)
class EvaluationItems:
    """The evaluation rows (schema EVALUATION) and their index."""

    rows: pa.Table
    index: leaks.Index

    @classmethod
    def of(cls, rows: pa.Table, near: float, containment: float) -> EvaluationItems:
        """Of rows of schema EVALUATION."""
        return cls(rows, leaks.index(lambda: _parts(rows), near, containment, leaks.sample_of(rows.num_rows)))

    def texts(self, item: int) -> list[str]:
        """All texts of one of them."""
        row = self.rows.slice(item, 1).to_pylist()[0]
        return [*row["question"], *([row["options"]] if row["options"] else []), *row["answer"]]


@lru_cache(maxsize=1)
def _items(root: Path, entry: FileEntry, near: float, containment: float) -> EvaluationItems:
    """Made once for all partitions that one process searches."""
    return EvaluationItems.of(pq.read_table(root / entry.path, partitioning=None), near, containment)


def _parts(rows: pa.Table) -> Iterator[leaks.Items]:
    for batch in rows.to_batches(max_chunksize=4096):
        columns = {name: batch.column(name) for name in EVALUATION_PARTS}
        prompts = [
            [] if document else [*q[:-1], q[-1] + (o or "")] if q else []
            for q, o, document in zip(
                columns["question"].to_pylist(), columns["options"].to_pylist(), batch["document"].to_pylist(), strict=True
            )
        ]
        options = pa.array([[o] if o else [] for o in columns["options"].to_pylist()], columns["question"].type)
        yield leaks.Items(
            _texts(pa.array(prompts, columns["question"].type)), _texts(columns["question"]), _texts(options), _texts(columns["answer"])
        )


EVALUATION_PARTS = ("question", "options", "answer")


def _texts(lists: pa.ListArray) -> Texts:
    """Lists of texts as rows of texts."""
    flat = lists.flatten()
    offsets, data = buffers(flat)
    bounds = np.concatenate([[0], np.cumsum(pc.list_value_length(lists).to_numpy())]).astype(np.int64)
    return Texts(offsets, data, bounds, np.zeros(len(flat), dtype=np.uint8), np.zeros(len(lists), dtype=np.uint8))


def search(table: pa.Table, scanner: leaks.Scanner, items: EvaluationItems) -> pa.Table:
    """What rows of schema CLEAN leak, as rows of schema LEAKS: one for each row that leaks, in their order. Evaluation rows do not leak."""
    spoken = RowTexts.of(table)
    conversation = pc.not_equal(table["kind"], "document").to_numpy()
    found = scanner.scan(spoken.some(np.ones(len(spoken.rows), dtype=bool)), spoken.some(spoken.asked & conversation[spoken.rows]))
    training = ~pc.is_in(table["upstream_split"], pa.array(HELD_OUT)).to_numpy()
    told: list[dict[str, Any]] = []
    for row in np.flatnonzero(training & ((found.near >= 0) | (found.held >= 0))).tolist():
        one: dict[str, Any] = {"row_id": table["row_id"][row].as_py(), "source": table["source"][row].as_py()}
        if found.near[row] >= 0:
            item = int(found.near[row])
            one |= {"rule": "near_prompt", "detail": "near prompt", "value": None, "jaccard": float(found.jaccard[row])}
        else:
            item = int(found.held[row])
            share = float(found.share[row])
            what = "its question" if found.asked[row] else "it"
            one |= {"rule": "containment", "detail": f"holds {share:.0%} of {what}: {_place(spoken, row, items.texts(item))}"}
            one |= {"value": share, "jaccard": None}
        told.append({**one, "evaluation_id": items.rows["row_id"][item].as_py()})
    return pa.Table.from_pylist(told, schema=LEAKS.schema)


def _place(spoken: RowTexts, row: int, item: list[str]) -> str:
    """Where in a row the texts of an item stand, in words: messages[1] 120–187."""
    first, last = np.searchsorted(spoken.rows, [row, row + 1]).tolist()
    joined: list[tuple[int, int, int]] = []
    texts = spoken.texts.slice(first, last - first).to_pylist()
    found = spans(texts, item, leaks.GRAM, leaks.SHORT) or spans(texts, item, leaks.SHORT, leaks.SHORT)
    for text, start, end in found:
        if joined and joined[-1][0] == text and start <= joined[-1][2] + _HOLE:
            joined[-1] = (text, joined[-1][1], end)
        else:
            joined.append((text, start, end))
    longest = sorted(sorted(joined, key=lambda r: (r[1] - r[2], r))[:_RANGES])
    more = f" and {len(joined) - _RANGES} more" if len(joined) > _RANGES else ""
    return ", ".join(f"{spoken.name(first + text)} {start}–{end}" for text, start, end in longest) + more
