"""The catalog: `corpus.duckdb`, views with comments over the committed partitions, and a few small tables.

It holds nothing that the parquet files and manifests do not, and is made anew after every change: in a temporary file that replaces the old one, so that a
reader sees either the one or the other. Every recipe has a schema of its own; the views in `main` are those of the recipe that was built last. Paths in the
views are absolute, so that the catalog opens from any folder; after moving a warehouse, make it again.
"""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterable
from importlib import resources
from typing import Any

import duckdb

from corpus.errors import WarehouseError
from corpus.schema import (
    ALLOCATION, ASSIGNED, CLEAN, CLUSTERS, DROP_REASONS, DROPPED, PAIRS, REJECT_REASONS, REJECTS, ROWS, Column, Table,
)  # fmt: skip
from corpus.warehouse.builds import Build, Warehouse
from corpus.warehouse.commit import TMP_MARK
from corpus.warehouse.manifest import FileEntry, Partition

_TABLES: dict[str, Table] = {t.name: t for t in (ROWS, REJECTS, CLEAN, DROPPED, CLUSTERS, PAIRS, ALLOCATION, ASSIGNED)}

_COMMENTS: dict[str, tuple[str, dict[str, str]]] = {
    "splits": (
        "Every row of every split, with its text as a model sees it. The files themselves lie in splits/<recipe>/<split>/.",
        {
            "split": "tokenizer, pretrain, instruct, sft, rm, dpo, ppo or test",
            "part": "train, eval or test",
            "text": "the row in the recipe's template (for a preference: prompt and chosen)",
            "kind": "document, dialogue, preference or prompt",
        },
    ),
    "lineage": (
        "The life of every row in one line: where it comes from and what became of it.",
        {
            "fate": "kept or dropped",
            "stage": "the stage that dropped it",
            "reason": "why it was dropped",
            "kept_row_id": "for a duplicate or a leak: the row that was kept instead",
            "splits": "the splits that hold it",
            "changed_by": "cleaning rules that changed it",
            "recovered": "how a damaged record was read after all",
            "kind": "document, dialogue, preference or prompt",
        },
    ),
    "sources": (
        "What each source gave and what became of it.",
        {
            "about": "what it is", "address": "where its publisher describes it", "priority": "lower numbers win among equal rows",
            "files": "upstream files", "records": "upstream records", "rows": "rows made of them", "rejects": "records that could not become a row",
            "dropped": "rows that no split holds", "kept": "rows in a split", "languages": "ISO codes",
        },
    ),
    "files": (
        "The account of every upstream file: its records are in rows or rejected.",
        {
            "container": "what was found in it", "encoding": "the encoding that was found", "records": "records as the framing counted them",
            "row_records": "records that are in rows", "rows": "rows made of them", "rejects": "rejected records",
            "recovered": "damaged records that were read after all",
        },
    ),
    "builds": (
        "History of complete builds, the newest last.",
        {
            "recipe": "the recipe", "data": "the data folder", "finished": "when, in UTC", "fingerprint": "equal for equal warehouses",
            "version": "version of corpus",
        },
    ),
    "partitions": (
        "Every partition of the build: the stage that made it, from what, and its files.",
        {
            "stage": "the stage", "key": "which partition", "fingerprint": "hash of everything that can change its bytes", "table_name": "table",
            "path": "file below the warehouse", "rows": "rows in it", "bytes": "its size", "sha256": "its hash",
        },
    ),
    "reasons": (
        "What the reasons of rejects and drops mean.",
        {"list": "reject or drop", "reason": "the reason", "meaning": "what it means"},
    ),
}  # fmt: skip


def make(warehouse: Warehouse, *newest: Build) -> None:
    """Makes the catalog of `warehouse`, from its recorded builds and the `newest`, which has not been recorded yet.

    Raises:
        WarehouseError: when the warehouse holds no build.
    """
    builds = {**warehouse.builds(), **{b.recipe: b for b in newest}}
    if not builds:
        raise WarehouseError(f"warehouse {warehouse.root}: nothing has been built there yet; run `corpus build` first")
    history = warehouse.history()
    for build in newest:
        entry = {k: getattr(build, k) for k in ("recipe", "data", "finished", "fingerprint", "version")}
        history.append(entry)
    last = newest[-1].recipe if newest else str(history[-1]["recipe"] if history else next(iter(builds)))
    tmp = warehouse.catalog_path.with_name(f"corpus.duckdb{TMP_MARK}{os.getpid()}")
    tmp.unlink(missing_ok=True)
    with duckdb.connect(str(tmp)) as db:
        for name, build in builds.items():
            schema = _identifier(name)
            db.execute(f"CREATE SCHEMA {schema}")
            _schema(db, warehouse, build, schema)
        _schema(db, warehouse, builds[last], "main")
        for schema in ["main", *map(_identifier, builds)]:
            _builds(db, history, schema)
    os.replace(tmp, warehouse.catalog_path)


def _schema(db: duckdb.DuckDBPyConnection, warehouse: Warehouse, build: Build, schema: str) -> None:
    db.execute(f"USE {schema}")
    files: dict[str, list[FileEntry]] = defaultdict(list)
    for partition in build.made:
        for file in partition.files:
            files[file.table.partition(":")[0]].append(file)
    files["rows"] = _rows(build.made)
    _small_tables(db, build)
    for table in _TABLES.values():
        name = {"rows": "rows"}.get(table.name, table.name)
        hidden = name in ("clean", "assigned")
        db.execute(f"CREATE VIEW {name} AS SELECT * FROM {_read(warehouse, files[table.name], table)}")
        comment(db, name, table.comment + (" (Intermediate.)" if hidden else ""), {c.name: c.comment for c in table.columns})
    _splits(db, warehouse, build)
    for path in sorted(resources.files("corpus.warehouse").joinpath("views").iterdir(), key=lambda p: p.name):
        if path.name.endswith(".sql"):
            db.execute(path.read_text(encoding="utf-8"))
    shared = {c.name: c.comment for t in (ROWS, DROPPED, ALLOCATION) for c in t.columns}
    for name, (about, columns) in _COMMENTS.items():
        if name != "builds":
            comment(db, name, about, {**shared, **columns})


def _rows(made: Iterable[Partition]) -> list[FileEntry]:
    """The files that hold the rows: what the identify stage wrote anew, else what the parse stage wrote."""
    made = list(made)
    anew = {f.table.removeprefix("rows:"): f for p in made for f in p.files if f.table.startswith("rows:")}
    return [anew.get(p.key, f) for p in made if p.stage == "parse" for f in p.of("rows")]


def _small_tables(db: duckdb.DuckDBPyConnection, build: Build) -> None:
    db.execute(
        "CREATE TABLE files(source VARCHAR, file VARCHAR, container VARCHAR, encoding VARCHAR, records BIGINT, row_records BIGINT, rows BIGINT, "
        "rejects BIGINT, recovered BIGINT)"
    )
    accounts: dict[tuple[str, str], list[Any]] = {}
    for p in build.made:
        for a in p.stats.get("accounts", ()) if p.stage == "parse" else ():
            counts = [a[k] for k in ("records", "row_records", "rows", "rejects", "recovered")]
            # A large file is read in several parts; its account is the sum of theirs.
            whole = accounts.setdefault((p.stats["source"], a["file"]), [a["container"], a["encoding"], 0, 0, 0, 0, 0])
            whole[2:] = [x + y for x, y in zip(whole[2:], counts, strict=True)]
    _insert(db, "files", [[*key, *values] for key, values in accounts.items()])
    db.execute("CREATE TABLE source_list(source VARCHAR, about VARCHAR, address VARCHAR, license VARCHAR, priority INTEGER)")
    _insert(db, "source_list", [[n, s["about"], s["address"], s["license"], s["priority"]] for n, s in build.sources.items()])
    db.execute(
        "CREATE TABLE partitions(stage VARCHAR, key VARCHAR, fingerprint VARCHAR, table_name VARCHAR, path VARCHAR, rows BIGINT, bytes BIGINT, sha256 VARCHAR)"
    )
    _insert(
        db, "partitions", [[p.stage, p.key, p.fingerprint, f.table, f.path, f.rows, f.bytes, f.sha256] for p in build.made for f in p.files]
    )
    db.execute("CREATE TABLE reasons(list VARCHAR, reason VARCHAR, meaning VARCHAR)")
    _insert(db, "reasons", [["reject", *r] for r in REJECT_REASONS.items()] + [["drop", *r] for r in DROP_REASONS.items()])
    db.execute("CREATE TABLE split_list(split VARCHAR, shared BOOLEAN)")
    _insert(db, "split_list", [[name, spec["shared"]] for name, spec in build.settings["splits"].items()])


def _builds(db: duckdb.DuckDBPyConnection, history: list[dict[str, Any]], schema: str) -> None:
    db.execute(f"USE {schema}")
    db.execute("CREATE TABLE builds(recipe VARCHAR, data VARCHAR, finished VARCHAR, fingerprint VARCHAR, version VARCHAR)")
    _insert(db, "builds", [[h.get(k) for k in ("recipe", "data", "finished", "fingerprint", "version")] for h in history])
    comment(db, "builds", *_COMMENTS["builds"])


def _splits(db: duckdb.DuckDBPyConnection, warehouse: Warehouse, build: Build) -> None:
    files: dict[tuple[str, str], list[FileEntry]] = defaultdict(list)
    for partition in build.made:
        for file in partition.files:
            if file.table.startswith("split:"):
                _, split, part = file.table.split(":")
                files[split, part].append(file)
    columns = "row_id, source, subset, license, kind, text"
    pieces = [
        f"SELECT '{split}' AS split, '{part}' AS part, {columns} FROM {_read(warehouse, entries, None)}"
        for (split, part), entries in sorted(files.items())
    ]
    nothing = ", ".join(f"NULL::VARCHAR AS {c}" for c in ("split", "part", *columns.split(", ")))
    db.execute(f"CREATE VIEW splits AS {' UNION ALL '.join(pieces) or f'SELECT {nothing} WHERE false'}")


def _read(warehouse: Warehouse, files: list[FileEntry], table: Table | None) -> str:
    """`files` as a table expression; an empty one with the right columns when there are none."""
    if files or table is None:
        root = warehouse.root.resolve()
        return "read_parquet([" + ", ".join(_literal(str(root / f.path)) for f in files) + "])"
    nothing = ", ".join(f"NULL::{_sql_type(c)} AS {c.name}" for c in table.columns)
    return f"(SELECT {nothing} WHERE false)"


def _sql_type(column: Column) -> str:
    import pyarrow as pa

    empty = pa.table({"x": pa.array([], column.type)})
    return str(duckdb.from_arrow(empty).types[0])


def _insert(db: duckdb.DuckDBPyConnection, table: str, rows: list[list[Any]]) -> None:
    import pyarrow as pa

    if rows:
        width = len(rows[0])
        columns = pa.table({f"c{i}": pa.array([r[i] for r in rows]) for i in range(width)})
        db.register("incoming", columns)
        db.execute(f"INSERT INTO {table} SELECT * FROM incoming")
        db.unregister("incoming")


def comment(db: duckdb.DuckDBPyConnection, name: str, about: str, columns: dict[str, str]) -> None:
    """Stores comments on a view or table and on those of its columns that `columns` knows."""
    kind = db.execute(
        "SELECT table_type FROM information_schema.tables WHERE table_name = ? AND table_schema = current_schema()", [name]
    ).fetchone()
    word = "VIEW" if kind and kind[0] == "VIEW" else "TABLE"
    db.execute(f"COMMENT ON {word} {name} IS {_literal(about)}")
    have = db.execute("SELECT column_name FROM information_schema.columns WHERE table_name = ? AND table_schema = current_schema()", [name])
    for (column,) in have.fetchall():
        if column in columns:
            db.execute(f"COMMENT ON COLUMN {name}.{_identifier(column)} IS {_literal(columns[column])}")


def _literal(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def _identifier(text: str) -> str:
    return '"' + text.replace('"', '""') + '"'
