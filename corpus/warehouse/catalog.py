"""The catalog: `corpus.duckdb`, views with comments over the committed partitions, and a few small tables.

It holds nothing that the parquet files and manifests do not, and is made anew after every change: in a temporary file that
replaces the old one, so that a reader sees either the one or the other. Every recipe has a schema of its own; the views in `main`
are those of the recipe that was built last. Paths in the views are absolute, so that the catalog opens from any folder; after
moving a warehouse, make it again.
"""

from __future__ import annotations

import json
import os
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from importlib import resources
from pathlib import Path
from typing import Any

import duckdb

from corpus.errors import WarehouseError
from corpus.recipe_splits import REQUESTS, SPLIT_FORMS, Form
from corpus.schema import (
    ALLOCATION,
    ASSIGNED,
    CLEAN,
    CLUSTERS,
    DROP_REASONS,
    DROPPED,
    MEASURED,
    OFFERED,
    PAIRS,
    PREFERENCES,
    REJECT_REASONS,
    REJECTS,
    ROWS,
    STOCK,
    Column,
    Table,
)  # fmt: skip
from corpus.warehouse.builds import Build, Warehouse
from corpus.warehouse.commit import TMP_MARK
from corpus.warehouse.manifest import FileEntry, Partition

_TABLES: dict[str, Table] = {
    t.name: t for t in (ROWS, REJECTS, CLEAN, MEASURED, DROPPED, STOCK, CLUSTERS, PAIRS, OFFERED, PREFERENCES, ALLOCATION, ASSIGNED)
}

_SPLIT_COMMENTS = {
    "split": "tokenizer, pretrain, instruct, sft, rm, dpo, ppo or test; with -requests behind it where an answer is yet to be generated",
    "part": "train, eval or test",
    "repeat": "0, and for the further copies of a row that is repeated 1, 2 …",
    "text": "the row in the recipe's template (for a preference: prompt and chosen; for text to text: prompt and response)",
}


def make(warehouse: Warehouse, *newest: Build) -> None:
    """Makes the catalog of `warehouse`, from its recorded builds and the `newest`, which has not been recorded yet.

    Raises:
        WarehouseError: when the warehouse holds no build, or what is there is not what was built.
    """
    builds = {**warehouse.builds(), **{b.recipe: b for b in newest}}
    for name, lost in [(b.recipe, _lost(warehouse, b)) for b in builds.values() if b not in newest]:
        if lost and not newest:
            raise WarehouseError(
                f"warehouse {warehouse.root}: {len(lost):,} partitions of recipe {name!r} are missing, among them {lost[0]}; "
                f"run `corpus build --recipe {name}` again"
            )
        if lost:  # the damage of one recipe must not keep another from being built
            del builds[name]
    if not builds:
        raise WarehouseError(f"warehouse {warehouse.root}: nothing has been built there yet; run `corpus build` first")
    history = warehouse.history()
    for build in newest:
        entry = {k: getattr(build, k) for k in ("recipe", "data", "finished", "fingerprint", "version")}
        history.append(entry)
    last = newest[-1].recipe if newest else next((h["recipe"] for h in reversed(history) if h["recipe"] in builds), next(iter(builds)))
    tmp = warehouse.catalog_path.with_name(f"corpus.duckdb{TMP_MARK}{os.getpid()}")
    tmp.unlink(missing_ok=True)
    try:
        _fill(tmp, warehouse, builds, last, history)
    except duckdb.Error as e:
        tmp.unlink(missing_ok=True)
        raise WarehouseError(f"warehouse {warehouse.root}: {e}; `corpus build --verify` finds damaged files and makes them again") from e
    os.replace(tmp, warehouse.catalog_path)


def _lost(warehouse: Warehouse, build: Build) -> list[str]:
    """Partitions of a build that the manifests do not know any more, or of which a file is missing."""
    made = {(p.stage, p.key, p.fingerprint): p for p in build.made}
    return [
        f"{stage} {key}"
        for stage, key, print_ in build.partitions
        if (partition := made.get((stage, key, print_))) is None or not all((warehouse.root / f.path).is_file() for f in partition.files)
    ]


def _fill(tmp: Path, warehouse: Warehouse, builds: dict[str, Build], last: str, history: list[dict[str, Any]]) -> None:
    with duckdb.connect(str(tmp)) as db:
        db.execute("BEGIN")  # one transaction: a commit for each of some 300 comments would take a second
        for name, build in builds.items():
            schema = _identifier(name)
            db.execute(f"CREATE SCHEMA {schema}")
            _schema(db, warehouse, build, schema)
        _schema(db, warehouse, builds[last], "main")
        for schema in ["main", *map(_identifier, builds)]:
            _builds(db, history, schema)
        db.execute("COMMIT")


def _schema(db: duckdb.DuckDBPyConnection, warehouse: Warehouse, build: Build, schema: str) -> None:
    db.execute(f"USE {schema}")
    files: dict[str, list[FileEntry]] = defaultdict(list)
    for partition in build.made:
        for file in partition.files:
            files[file.table.partition(":")[0]].append(file)
    files["rows"] = _rows(build.made)
    db.execute(_sql("tables.sql"))
    _small_tables(db, build)
    for table in _TABLES.values():
        db.execute(f"CREATE VIEW {table.name} AS SELECT * FROM {_read(warehouse, files[table.name], table)}")
    known = {c.name: c.comment for t in (ROWS, DROPPED) for c in t.columns}
    _splits(db, warehouse, build)
    for view in ("lineage", "sources", "places"):
        db.execute(_sql(f"{view}.sql"))
    about = "Every row of every split, with its text as a model sees it. The files themselves lie in splits/<recipe>/<split>/."
    _comment(db, {
        **{t.name: (t.comment, {c.name: c.comment for c in t.columns}) for t in _TABLES.values()},
        "splits": (about, {**known, **_SPLIT_COMMENTS}),
        **dict.fromkeys(("lineage", "sources", "places", "files", "source_list", "split_list"), (None, known)),
    })  # fmt: skip


def _sql(name: str) -> str:
    return resources.files("corpus.warehouse").joinpath("views", name).read_text(encoding="utf-8")


def _rows(made: Iterable[Partition]) -> list[FileEntry]:
    """The files that hold the rows: what the identify stage wrote anew, else what the parse stage wrote."""
    made = list(made)
    anew = {f.table.removeprefix("rows:"): f for p in made for f in p.files if f.table.startswith("rows:")}
    return [anew.get(p.key, f) for p in made if p.stage == "parse" for f in p.of("rows")]


def _small_tables(db: duckdb.DuckDBPyConnection, build: Build) -> None:
    accounts: dict[tuple[str, str], list[Any]] = {}
    for p in build.made:
        for a in p.stats.get("accounts", ()) if p.stage == "parse" else ():
            counts = [a[k] for k in ("records", "row_records", "rows", "rejects", "recovered")]
            # A large file is read in several parts; its account is the sum of theirs.
            whole = accounts.setdefault((p.stats["source"], a["file"]), [a["container"], a["encoding"], 0, 0, 0, 0, 0])
            whole[2:] = [x + y for x, y in zip(whole[2:], counts, strict=True)]
    _insert(db, "files", [[*key, *values] for key, values in accounts.items()])
    told = [(n, s, s.get("key", "whole"), s.get("protect", False)) for n, s in build.sources.items()]
    _insert(db, "source_list", [[n, *(s[k] for k in ("about", "address", "license", "priority")), key, own] for n, s, key, own in told])
    _insert(db, "settings", [list(line) for line in _lines(build.settings)])
    _insert(
        db, "partitions", [[p.stage, p.key, p.fingerprint, f.table, f.path, f.rows, f.bytes, f.sha256] for p in build.made for f in p.files]
    )
    _insert(db, "reasons", [["reject", *r] for r in REJECT_REASONS.items()] + [["drop", *r] for r in DROP_REASONS.items()])
    names = [[name + behind, name, spec["shared"]] for name, spec in build.settings["splits"].items() for behind in ("", REQUESTS)]
    _insert(db, "split_list", [n for n in names if n[0] == n[1] or SPLIT_FORMS[str(n[1])] is Form.PREFERENCE])


def _lines(settings: Mapping[str, Any], above: str = "") -> Iterator[tuple[str, str | None]]:
    """The values of a recipe, each with its keys joined by periods."""
    for key, value in settings.items():
        if isinstance(value, Mapping):
            yield from _lines(value, f"{above}{key}.")
        else:
            yield f"{above}{key}", value if value is None or isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _builds(db: duckdb.DuckDBPyConnection, history: list[dict[str, Any]], schema: str) -> None:
    db.execute(f"USE {schema}")
    db.execute(_sql("builds.sql"))
    _insert(db, "builds", [[h.get(k) for k in ("recipe", "data", "finished", "fingerprint", "version")] for h in history])


def _splits(db: duckdb.DuckDBPyConnection, warehouse: Warehouse, build: Build) -> None:
    files: dict[tuple[str, str], list[FileEntry]] = defaultdict(list)
    for partition in build.made:
        for file in partition.files:
            if file.table.startswith("split:"):
                _, split, part = file.table.split(":")
                files[split, part].append(file)
    columns = "row_id, source, subset, license, kind, repeat"
    pieces = []
    for (split, part), entries in sorted(files.items()):
        pair = build.settings["splits"].get(split, {}).get("form") == "pair"
        text = "prompt || response AS text" if pair else "text"
        # Shard after shard: files that are listed in another order would be another view.
        read = _read(warehouse, sorted(entries, key=lambda f: f.path), None)
        pieces.append(f"SELECT '{split}' AS split, '{part}' AS part, {columns}, {text} FROM {read}")
    nothing = ", ".join(
        f"NULL::{'INTEGER' if c == 'repeat' else 'VARCHAR'} AS {c}" for c in ("split", "part", *columns.split(", "), "text")
    )
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


def _comment(db: duckdb.DuckDBPyConnection, told: Mapping[str, tuple[str | None, Mapping[str, str]]]) -> None:
    """Stores a comment on each view, and on the columns of views and tables that have none yet and of which something is told."""
    for name, (about, _) in told.items():
        if about is not None:
            db.execute(f"COMMENT ON VIEW {name} IS {_literal(about)}")
    # Asked once for all of them: DuckDB goes through every column of the catalog for each question.
    query = "SELECT table_name, column_name FROM duckdb_columns() WHERE schema_name = current_schema() AND comment IS NULL"
    for name, column in db.execute(query).fetchall():
        _, columns = told.get(name, (None, {}))
        if column in columns:
            db.execute(f"COMMENT ON COLUMN {name}.{_identifier(column)} IS {_literal(columns[column])}")


def _literal(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def _identifier(text: str) -> str:
    return '"' + text.replace('"', '""') + '"'
