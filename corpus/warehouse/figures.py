"""The figures of a build's summary. They are kept with the build, so that a build without changes need not ask the catalog again."""

from __future__ import annotations

from importlib import resources
from pathlib import Path
from typing import Any

from corpus.warehouse.query import ask

_QUESTIONS = ("totals", "splits", "rejects", "drops", "empty", "lengthy", "example")


def figures(catalog: Path, recipe: str) -> dict[str, Any]:
    """Totals, rows per split, reasons of rejects and drops, sources without a row, preference sets that teach length, and a dropped row's
    id to try `corpus why` on; each a list of objects."""
    found: dict[str, Any] = {}
    for name in _QUESTIONS:
        sql = resources.files("corpus.warehouse").joinpath("figures", f"{name}.sql").read_text(encoding="utf-8")
        answer = ask(catalog, sql, {}, recipe=recipe, bounded=True)
        found[name] = [dict(zip(answer.columns, row, strict=True)) for row in answer.rows]
    return found
