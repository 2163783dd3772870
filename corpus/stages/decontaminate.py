"""decontaminate: training rows that would teach the answers of an evaluation.

A training row goes when its prompt, folded, is the prompt of a row that its publisher marks as validation or test, whichever
source that is in.
"""

from __future__ import annotations

from pathlib import Path

from corpus.executors.task import Report, Task
from corpus.schema import DROPPED
from corpus.stages import sql
from corpus.stages.base import Context, parts
from corpus.stages.dedup import save
from corpus.warehouse.manifest import Partition

NAME = "decontaminate"
VERSION = 2


def plan(context: Context, cleaned: list[Partition], ledgers: list[Partition]) -> list[Task]:
    """One task for the whole recipe. `ledgers`: what the stages before dropped."""
    return [
        Task(
            stage=NAME,
            key=context.folder,
            parts=parts(
                NAME,
                VERSION,
                writes=(DROPPED,),
                inputs={f"{p.stage}:{p.key}": p.fingerprint for p in [*cleaned, *ledgers]},
                libs=("pyarrow", "duckdb"),
                decontaminate=context.recipe.decontaminate.model_dump(mode="json"),
            ),
            run=run,
            inputs=(*cleaned, *ledgers),
            spec={"enabled": context.recipe.decontaminate.enabled, "folder": context.folder},
            size=sum(f.bytes for p in cleaned for f in p.of("clean")),
        )
    ]


def run(task: Task, root: Path, report: Report) -> Partition:
    """Finds the training rows that share a prompt with an evaluation row."""
    clean = [f for p in task.inputs for f in p.of("clean")]
    ledger = sql.ledger(root, task.inputs)
    with sql.session(root) as db:
        if task.spec["enabled"] and clean:
            query = sql.text("corpus.stages", "decontaminate.sql").format(clean=sql.read(root, clean), dropped=ledger)
        else:
            query = f"SELECT * FROM {ledger} WHERE false"
        report(task.size, sum(f.rows for f in clean))
        return task.done(
            [save(db, query, root, f"dropped/{NAME}/{task.spec['folder']}.{task.fingerprint[:8]}.parquet", DROPPED, "dropped")]
        )
