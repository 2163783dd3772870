"""allocate: every row that is left goes to a split, or to the ledger with the reason why not.

The SQL beside this file explains how a split is chosen. Writes one `assigned` file per clean partition (so that rendering a
partition depends on its own assignment alone), the `allocation` table (asked, available, got) and the ledger.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from corpus.executors.task import Report, Task
from corpus.recipe import FORM_KINDS, SPLIT_FORMS, Form, Recipe
from corpus.schema import ALLOCATION, ASSIGNED, DROPPED
from corpus.stages import clean, sql
from corpus.stages.base import Context, parts
from corpus.stages.dedup import save
from corpus.warehouse.commit import PartitionWriter
from corpus.warehouse.manifest import FileEntry, Partition

NAME = "allocate"
VERSION = 3


def plan(context: Context, cleaned: list[Partition], ledgers: list[Partition]) -> list[Task]:
    """One task for the whole recipe. `ledgers`: what the stages before dropped."""
    recipe = context.recipe
    splits = {name: spec.model_dump(mode="json", exclude={"answer"}) for name, spec in recipe.splits.items()}
    inputs = [*cleaned, *ledgers]
    return [
        Task(
            stage=NAME,
            key=context.folder,
            parts=parts(
                NAME, VERSION, writes=(ASSIGNED, ALLOCATION, DROPPED),
                inputs={f"{p.stage}:{p.key}": p.fingerprint for p in inputs}, libs=("pyarrow", "duckdb"),
                splits=splits, seed=recipe.seed, protect=sorted(context.protected),
            ),
            run=run,
            inputs=tuple(inputs),
            spec={
                "recipe": recipe, "sources": tuple(sorted(context.sources)), "folder": context.folder,
                "protect": sorted(context.protected),
            },
            size=sum(f.bytes for p in cleaned for f in p.of("clean")),
        )
    ]  # fmt: skip


def run(task: Task, root: Path, report: Report) -> Partition:
    """Assigns all rows."""
    cleaned = [p for p in task.inputs if p.stage == clean.NAME]
    recipe: Recipe = task.spec["recipe"]
    folder = task.spec["folder"]
    files_of = [(p.key, p.one("clean")) for p in cleaned]
    dropped = sql.ledger(root, task.inputs)
    with sql.session(root) as db:
        _parameters(db, recipe, task.spec["sources"])
        db.execute("CREATE TABLE protected(source VARCHAR)")
        for source in task.spec["protect"]:
            db.execute("INSERT INTO protected VALUES (?)", [source])
        db.execute("CREATE TABLE parts(path VARCHAR, number INTEGER)")
        if files_of:
            db.executemany("INSERT INTO parts VALUES (?, ?)", [[str(root / e.path), n] for n, (_, e) in enumerate(files_of)])
        rows = sql.read(root, [e for _, e in files_of]).replace("])", "], filename = true)") if files_of else _NO_ROWS
        statements = sql.text("corpus.stages", "allocate.sql").format(clean=rows, dropped=dropped)
        for statement in db.extract_statements(statements):
            needs = "$seed" in statement.query
            db.execute(statement.query, {"seed": str(recipe.seed)} if needs else None)
        report(task.size, sum(e.rows for _, e in files_of))
        files: list[FileEntry] = _assigned(db, root, folder, task.fingerprint[:8], [key for key, _ in files_of])
        package = "corpus.stages"
        files.append(
            save(
                db,
                sql.text(package, "allocate_ledger.sql"),
                root,
                f"dropped/{NAME}/{folder}.{task.fingerprint[:8]}.parquet",
                DROPPED,
                "dropped",
            )
        )
        allocation = sql.text(package, "allocate_report.sql")
        files.append(save(db, allocation, root, f"allocate/{folder}/allocation.{task.fingerprint[:8]}.parquet", ALLOCATION, "allocation"))
    return task.done(files)


_ASKING = ("ppo", "dpo")
"""Splits whose rows must end where the assistant is to speak: TRL generates from them, or renders them with its chat template."""

_NO_ROWS = (
    "(SELECT NULL::VARCHAR AS row_id, NULL::VARCHAR AS source, NULL::VARCHAR AS kind, NULL::BOOLEAN AS asks, NULL::BLOB AS prompt_key, "
    "NULL::VARCHAR AS upstream_split, NULL::VARCHAR AS filename WHERE false)"
)


def _parameters(db: Any, recipe: Recipe, sources: tuple[str, ...]) -> None:
    db.execute(
        "CREATE TABLE splits(split VARCHAR, weight DOUBLE, rows BIGINT, eval DOUBLE, shared BOOLEAN, upstream VARCHAR[], asks BOOLEAN, "
        "spoken BOOLEAN)"
    )
    db.execute("CREATE TABLE takes(split VARCHAR, kind VARCHAR, source VARCHAR)")
    db.execute("CREATE TABLE per_source(split VARCHAR, source VARCHAR, rows BIGINT)")
    for name, spec in recipe.splits.items():
        db.execute(
            "INSERT INTO splits VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            [
                name,
                spec.weight,
                spec.rows,
                spec.eval,
                spec.shared,
                list(spec.upstream),
                name in _ASKING,
                SPLIT_FORMS[name] is not Form.TEXT,
            ],
        )
        kinds = spec.kinds or (FORM_KINDS[SPLIT_FORMS[name]] if name != "test" else ("dialogue", "prompt"))
        for source in spec.sources or sources:
            for kind in kinds:
                db.execute("INSERT INTO takes VALUES (?, ?, ?)", [name, str(kind), source])
        for source, rows in spec.per_source.items():
            db.execute("INSERT INTO per_source VALUES (?, ?, ?)", [name, source, rows])


def _assigned(db: Any, root: Path, folder: str, print_: str, keys: list[str]) -> list[FileEntry]:
    """One file per clean partition, empty ones included: that no row of a partition is in a split is a fact too."""
    query = "SELECT partition, row_id, source, split, part FROM assigned ORDER BY partition, split, row_id"
    files = []
    pieces = _by_partition(db.sql(query).to_arrow_reader(100_000), len(keys))
    for key, tables in zip(keys, pieces, strict=True):
        with PartitionWriter(root, f"allocate/{folder}/{key}.{print_}.parquet", ASSIGNED.schema, f"assigned:{key}") as writer:
            if tables:
                writer.write(pa.concat_tables(tables).drop_columns("partition").cast(ASSIGNED.schema).combine_chunks())
        files.append(writer.committed)
    return files


def _by_partition(batches: Iterable[pa.RecordBatch], count: int) -> Iterator[list[pa.Table]]:
    """Cuts a stream that is ordered by its column `partition` into one list of tables per partition 0 … count - 1."""
    current = 0
    tables: list[pa.Table] = []
    for batch in batches:
        table = pa.Table.from_batches([batch])
        bounds = np.searchsorted(table["partition"].to_numpy(), np.arange(current, count + 1))
        for number, (start, end) in enumerate(itertools.pairwise(bounds), start=current):
            if number > current:
                yield tables
                current, tables = number, []
            if end > start:
                tables.append(table.slice(start, end - start))
            if end == table.num_rows:
                break
    for _ in range(current, count):
        yield tables
        tables = []
