"""dedup: which clean rows say the same, and which of them is kept.

Looks at the narrow columns of all clean partitions, without the rows that were filtered out, at once (in DuckDB, spilling to disk) and
writes the ledger of what was
dropped, the clusters and the compared pairs. Exact duplicates only: rows whose folded texts are equal, across all sources of the
recipe.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa

from corpus.executors.task import Report, Task
from corpus.schema import CLUSTERS, DROPPED, PAIRS, Table
from corpus.stages import sql
from corpus.stages.base import Context, parts
from corpus.warehouse.commit import PartitionWriter
from corpus.warehouse.manifest import FileEntry, Partition

NAME = "dedup"
VERSION = 2
_ROWS_AT_ONCE = 100_000


def plan(context: Context, cleaned: list[Partition], ledgers: list[Partition]) -> list[Task]:
    """One task for the whole recipe. `ledgers`: what the stages before dropped."""
    return [
        Task(
            stage=NAME,
            key=context.folder,
            parts=parts(
                NAME,
                VERSION,
                writes=(DROPPED, CLUSTERS, PAIRS),
                inputs={f"{p.stage}:{p.key}": p.fingerprint for p in [*cleaned, *ledgers]},
                libs=("pyarrow", "duckdb"),
                dedup=context.recipe.dedup.model_dump(mode="json"),
                priority=dict(context.priority),
            ),
            run=run,
            inputs=(*cleaned, *ledgers),
            spec={"exact": context.recipe.dedup.exact, "priority": dict(context.priority), "folder": context.folder},
            size=sum(f.bytes for p in cleaned for f in p.of("clean")),
        )
    ]


def run(task: Task, root: Path, report: Report) -> Partition:
    """Finds the duplicates of the recipe."""
    folder = task.spec["folder"]
    clean = [f for p in task.inputs for f in p.of("clean")]
    measures = [f for p in task.inputs for f in p.of("measures")]
    with sql.session(root) as db:
        if task.spec["exact"] and clean:
            db.execute("CREATE TABLE sources(source VARCHAR, priority INTEGER)")
            db.executemany("INSERT INTO sources VALUES (?, ?)", [list(p) for p in task.spec["priority"].items()])
            db.execute(
                sql.text("corpus.stages", "dedup.sql").format(
                    clean=sql.read(root, clean), measures=sql.read(root, measures), dropped=sql.ledger(root, task.inputs)
                )
            )
        else:
            db.execute("CREATE TABLE equal(row_id VARCHAR, source VARCHAR, keeper VARCHAR, kept BOOLEAN, size INTEGER)")
        report(task.size, sum(f.rows for f in clean))
        dropped = save(
            db,
            f"SELECT row_id, source, '{NAME}' AS stage, 'exact_duplicate' AS reason, NULL::VARCHAR AS detail, "
            "NULL::VARCHAR AS rule, NULL::DOUBLE AS value, NULL::DOUBLE AS bound, keeper AS kept_row_id, "
            "1.0::DOUBLE AS jaccard FROM equal WHERE NOT kept ORDER BY row_id",
            root, f"dropped/{NAME}/{folder}.{task.fingerprint[:8]}.parquet", DROPPED, "dropped",
        )  # fmt: skip
        clusters = save(
            db,
            "SELECT keeper AS cluster_id, row_id, source, kept, size FROM equal ORDER BY keeper, NOT kept, row_id",
            root, f"dedup/{folder}/clusters.{task.fingerprint[:8]}.parquet", CLUSTERS, "clusters",
        )  # fmt: skip
        pairs = save(
            db,
            "SELECT row_id, keeper AS other_id, 1.0::DOUBLE AS jaccard, NULL::DOUBLE AS learned, true AS accepted "
            "FROM equal WHERE NOT kept ORDER BY row_id",
            root, f"dedup/{folder}/pairs.{task.fingerprint[:8]}.parquet", PAIRS, "pairs",
        )  # fmt: skip
    return task.done([dropped, clusters, pairs])


def save(
    db: duckdb.DuckDBPyConnection,
    query: str,
    root: Path,
    relative: str,
    table: Table,
    name: str,
    bound: Mapping[str, Any] | None = None,
) -> FileEntry:
    """Commits the result of an ordered query as one file of schema `table`, in row groups of bounded size. `bound`: its parameters."""
    with PartitionWriter(root, relative, table.schema, name) as writer:
        for batch in db.sql(query, params=bound).to_arrow_reader(_ROWS_AT_ONCE):
            writer.write(pa.table(batch.columns, names=table.schema.names).cast(table.schema))
    return writer.committed
