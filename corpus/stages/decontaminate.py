"""decontaminate: training rows that would teach the answers of an evaluation go to the ledger.

A training row goes when its prompt, folded, is the prompt of an evaluation row (see `evaluation`), whichever source that is in, or when the
search (see `leaks`) found that its prompt is nearly one, or that it holds an evaluation row. The entry names the evaluation row.
Evaluation rows themselves are never dropped here.
"""

from __future__ import annotations

from hashlib import blake2b
from pathlib import Path

from corpus.executors.task import Report, Task
from corpus.schema import DROPPED
from corpus.stages import clean, leaks, sql
from corpus.stages.base import Context, parts
from corpus.stages.dedup import save
from corpus.warehouse.manifest import Partition

NAME = "decontaminate"
VERSION = 3
_NOTHING = blake2b(digest_size=16).digest()
"""prompt_key of rows that ask nothing, such as rankings of texts."""
_NONE_FOUND = (
    "(SELECT NULL::VARCHAR AS row_id, NULL AS detail, NULL AS rule, NULL AS value, NULL AS evaluation_id, NULL AS jaccard WHERE false)"
)


def plan(context: Context, cleaned: list[Partition], ledgers: list[Partition], found: list[Partition]) -> list[Task]:
    """One task for the whole recipe. `ledgers`: what the filter dropped; `found`: what the search found."""
    settings = context.recipe.decontaminate
    inputs = [*cleaned, *ledgers, *found]
    return [
        Task(
            stage=NAME,
            key=context.folder,
            parts=parts(
                NAME,
                VERSION,
                writes=(DROPPED,),
                inputs={f"{p.stage}:{p.key}": p.fingerprint for p in inputs},
                libs=("pyarrow", "duckdb"),
                decontaminate=settings.model_dump(mode="json"),
                protect=sorted(context.protected),
            ),
            run=run,
            inputs=tuple(inputs),
            spec={"settings": settings, "protect": sorted(context.protected), "folder": context.folder},
            size=sum(f.bytes for p in cleaned for f in p.of("clean")),
        )
    ]


def run(task: Task, root: Path, report: Report) -> Partition:
    """Writes the ledger of the training rows that leak."""
    files = [f for p in task.inputs for f in p.of("clean")]
    ledger = sql.ledger(root, [p for p in task.inputs if p.stage != clean.NAME])
    found = [f for p in task.inputs if p.stage == leaks.NAME for f in p.of("leaks")]
    with sql.session(root) as db:
        query = f"SELECT * FROM {ledger} WHERE false"
        bound = None
        if task.spec["settings"].enabled and files:
            db.execute("CREATE TABLE protected(source VARCHAR)")
            for source in task.spec["protect"]:
                db.execute("INSERT INTO protected VALUES (?)", [source])
            query = sql.text("corpus.stages", "decontaminate.sql").format(
                clean=sql.read(root, files), dropped=ledger, leaks=sql.read(root, found) if found else _NONE_FOUND
            )
            bound = {"nothing": _NOTHING, "containment": task.spec["settings"].containment}
        report(task.size, sum(f.rows for f in files))
        relative = f"dropped/{NAME}/{task.spec['folder']}.{task.fingerprint[:8]}.parquet"
        return task.done([save(db, query, root, relative, DROPPED, "dropped", bound)])
