"""The figures of a build's summary. They are kept with the build, so that a build without changes need not ask the catalog again."""

from __future__ import annotations

from importlib import resources
from pathlib import Path
from typing import Any

import duckdb

from corpus.errors import QueryError
from corpus.warehouse.audit import open_catalog, said, use

_QUESTIONS = ("totals", "splits", "rejects", "drops", "empty", "lengthy", "example")


def figures(catalog: Path, recipe: str) -> dict[str, Any]:
    """Totals, rows per split, reasons of rejects and drops, sources without a row, preference sets that teach length, and a dropped row's
    id to try `corpus why` on; each a list of objects."""
    found: dict[str, Any] = {}
    with open_catalog(catalog, bounded=True) as db:  # once: opening takes longer than most of the questions
        use(db, recipe)
        for name in _QUESTIONS:
            sql = resources.files("corpus.warehouse").joinpath("figures", f"{name}.sql").read_text(encoding="utf-8")
            try:
                result = db.execute(sql)
                columns = [d[0] for d in result.description or ()]
                found[name] = [dict(zip(columns, row, strict=True)) for row in result.fetchall()]
            except duckdb.Error as e:
                raise QueryError(said(e, catalog.parent)) from e
    return found
