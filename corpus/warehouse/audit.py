"""Audits: SQL that must return no rows. A failing audit fails the build."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

import duckdb

from corpus.allocators import DUCKDB_MEMORY
from corpus.errors import AuditError, WarehouseError

_SHOWN = 5


@dataclass(frozen=True, slots=True)
class Audit:
    """An audit and what it found: `rows` is how many rows are wrong, `examples` the first of them."""

    name: str
    about: str
    rows: int
    columns: tuple[str, ...]
    examples: tuple[tuple[object, ...], ...]


def open_catalog(path: Path, *, bounded: bool = False) -> duckdb.DuckDBPyConnection:
    """The catalog, read-only, without extensions from the network.

    Args:
        path: the catalog.
        bounded: keep to the memory of a build, spilling to a folder beside the catalog; else DuckDB takes what the machine has.

    Raises:
        WarehouseError: when there is none, or it cannot be read.
    """
    if not path.exists():
        raise WarehouseError(
            f"warehouse {path.parent}: there is no catalog; run `corpus build`, or `corpus catalog` if partitions are there, "
            "or name another folder with --warehouse"
        )
    try:
        config: dict[str, str | bool | int | float | list[str]] = {
            "autoinstall_known_extensions": False,
            "autoload_known_extensions": False,
        }
        if bounded:
            config |= {"memory_limit": DUCKDB_MEMORY, "threads": 2}
        return duckdb.connect(str(path), read_only=True, config=config)
    except duckdb.Error as e:
        raise WarehouseError(f"catalog {path}: {e}; `corpus catalog` makes it again") from e


def said(error: duckdb.Error, warehouse: Path) -> str:
    """What DuckDB says; of a file that is not there without the SQL, but with the way out."""
    text = str(error).strip()
    if isinstance(error, duckdb.IOException):
        return f"{text.splitlines()[0]}; if the warehouse was moved, run `corpus catalog --warehouse {warehouse}`"
    return text


def run(path: Path, *, recipe: str | None = None) -> Iterator[Audit]:
    """Runs every audit against the catalog at `path`, in the schema of `recipe` or of the last build."""
    with open_catalog(path, bounded=True) as db:
        if recipe is not None:
            use(db, recipe)
        for file in sorted(resources.files("corpus.warehouse").joinpath("audits").iterdir(), key=lambda p: p.name):
            if not file.name.endswith(".sql"):
                continue
            sql = file.read_text(encoding="utf-8")
            about = " ".join(line.removeprefix("--").strip() for line in sql.splitlines() if line.startswith("--"))
            try:
                result = db.execute(sql)
                columns = tuple(d[0] for d in result.description or ())
                wrong = result.fetchmany(1000)
            except duckdb.Error as e:
                raise WarehouseError(f"audit {file.name.removesuffix('.sql')}: {said(e, path.parent)}") from e
            yield Audit(file.name.removesuffix(".sql"), about, len(wrong), columns, tuple(wrong[:_SHOWN]))


def check(path: Path) -> None:
    """Runs all audits.

    Raises:
        AuditError: naming the audits that returned rows, with examples.
    """
    failed = [a for a in run(path) if a.rows]
    if failed:
        said = "\n".join(
            f"{a.name}: {a.rows} rows are wrong. {a.about}\n    {', '.join(a.columns)}" + "".join(f"\n    {e}" for e in a.examples)
            for a in failed
        )
        raise AuditError(
            f"{said}\nthe warehouse contradicts itself: this is a defect of corpus, or its files were changed; "
            "`corpus build --verify` tells"
        )


def use(db: duckdb.DuckDBPyConnection, recipe: str) -> None:
    """Makes the views of one recipe the ones that bare names mean.

    Raises:
        WarehouseError: when the recipe was never built here.
    """
    from corpus.errors import nearest

    known = [s for (s,) in db.execute("SELECT DISTINCT table_schema FROM information_schema.tables").fetchall() if s != "main"]
    if recipe not in known:
        raise WarehouseError(
            f"recipe {recipe!r} was never built in this warehouse{nearest(recipe, known)}; built are {', '.join(sorted(known))}"
        )
    db.execute('USE "' + recipe.replace('"', '""') + '"')
