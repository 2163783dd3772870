"""evaluation: gathers the rows that training rows must not leak.

These are the rows that their publisher marks as validation or test, and all rows of sources that the recipe protects, without those
that the filter dropped. They go into one file, each distinct row once, and what comes after depends on that file's digest: as long as no
evaluation row changes, a new source means looking for leaks in that source alone.
"""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from corpus.executors.task import Report, Task
from corpus.schema import EVALUATION
from corpus.stages import clean
from corpus.stages.base import Context, parts
from corpus.stages.texts import PLACES, RowTexts
from corpus.warehouse.commit import PartitionWriter
from corpus.warehouse.manifest import Partition

NAME = "evaluation"
VERSION = 1
HELD_OUT = ("validation", "test")
"""What a publisher calls the parts that are not for training."""
_GROUP_BYTES = 4 << 20

_FIRST_OPTION = re.compile(r"\n[ \t]*[(（]?[AＡ]\s?[)）.．、:：]")
_SECOND_OPTION = re.compile(r"\n[ \t]*[(（]?[BＢ]\s?[)）.．、:：]")


def plan(context: Context, cleaned: list[Partition], ledgers: list[Partition]) -> list[Task]:
    """One task for the whole recipe, or none when nothing is asked for. `ledgers`: what the filter dropped."""
    if not context.recipe.decontaminate.enabled:
        return []
    inputs = [*cleaned, *ledgers]
    return [
        Task(
            stage=NAME,
            key=context.folder,
            parts=parts(
                NAME, VERSION, writes=(EVALUATION,), inputs={f"{p.stage}:{p.key}": p.fingerprint for p in inputs},
                protect=sorted(context.protected),
            ),
            run=run,
            inputs=tuple(inputs),
            spec={"folder": context.folder, "protect": context.protected},
            size=sum(f.bytes for p in cleaned for f in p.of("clean")),
        )
    ]  # fmt: skip


def run(task: Task, root: Path, report: Report) -> Partition:
    """Gathers the evaluation rows. `stats.digest`: of what was found; `stats.items`: how many."""
    dropped = {p.key: p.of("dropped") for p in task.inputs if p.stage != clean.NAME}
    known: set[bytes] = set()
    relative = f"leaks/{task.spec['folder']}/evaluation.{task.fingerprint[:8]}.parquet"
    with PartitionWriter(root, relative, EVALUATION.schema, "evaluation", group_bytes=_GROUP_BYTES) as writer:
        for partition in (p for p in task.inputs if p.stage == clean.NAME):
            entry = partition.one("clean")
            gone = [pq.read_table(root / f.path, columns=["row_id"], partitioning=None)["row_id"] for f in dropped.get(partition.key, ())]
            out = pa.chunked_array([c for each in gone for c in each.chunks], pa.string())
            file = pq.ParquetFile(root / entry.path)
            whole = partition.key.partition("/")[0] in task.spec["protect"]
            for group in range(file.num_row_groups):
                marks = file.read_row_group(group, columns=["row_id", "upstream_split"])
                mask = pc.invert(pc.is_in(marks["row_id"], out))
                if not whole:
                    mask = pc.and_(mask, pc.is_in(marks["upstream_split"], pa.array(HELD_OUT)))
                if pc.any(mask).as_py():
                    rows = file.read_row_group(group, columns=["row_id", "source", "row_key", *PLACES]).filter(mask)
                    new = [key not in known and not known.add(key) for key in rows["row_key"].to_pylist()]  # type: ignore[func-returns-value]
                    writer.add(gathered(rows.filter(pa.array(new)).combine_chunks()))
            report(entry.bytes, entry.rows)
    return task.done([writer.committed], digest=writer.committed.sha256[:16], items=writer.committed.rows)


def gathered(rows: pa.Table) -> pa.RecordBatch:
    """Rows of schema CLEAN as rows of schema EVALUATION."""
    spoken = RowTexts.of(rows)
    texts = spoken.texts.to_pylist()
    asked: list[list[str]] = [[] for _ in range(rows.num_rows)]
    answers: list[list[str]] = [[] for _ in range(rows.num_rows)]
    for row, place, mine, text in zip(spoken.rows.tolist(), spoken.places.tolist(), spoken.asked.tolist(), texts, strict=True):
        if mine:
            asked[row].append(text)
        elif PLACES[place] != "rejected":
            answers[row].append(text)
    cut = [options(each[-1]) if each else 0 for each in asked]
    columns = {
        "row_id": rows["row_id"].combine_chunks(),
        "source": rows["source"].combine_chunks(),
        "question": pa.array([[*e[:-1], e[-1][:c]] if c else e for e, c in zip(asked, cut, strict=True)], EVALUATION["question"].type),
        "options": pa.array([e[-1][c:] if c else None for e, c in zip(asked, cut, strict=True)], pa.string()),
        "answer": pa.array(answers, EVALUATION["answer"].type),
        "document": pa.array(np.isin(np.arange(rows.num_rows), spoken.rows[spoken.places > 2])),
    }
    return pa.record_batch([columns[c.name] for c in EVALUATION.columns], schema=EVALUATION.schema)


def options(prompt: str) -> int:
    """Where the options begin from which a prompt lets choose, or 0: the last line that begins with A, with one for B after it."""
    found = 0
    for match in _FIRST_OPTION.finditer(prompt):
        if _SECOND_OPTION.search(prompt, match.end()):
            found = match.start()
    return found if prompt[:found].strip() else 0
