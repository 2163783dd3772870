"""Queries: SQL of the user's, or one of the ready questions in `queries/`, against the catalog.

A ready question is a file: its first comment says what it answers, and `$name` in it is a parameter, given as NAME=VALUE and
bound, never pasted.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

import duckdb

from corpus.errors import QueryError, nearest
from corpus.warehouse.audit import open_catalog, said, use


@dataclass(frozen=True, slots=True)
class Question:
    """A ready question. `about` is its first comment, `needs` the parameters it must be given."""

    name: str
    about: str
    sql: str
    needs: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Answer:
    """What a query returned."""

    columns: tuple[str, ...]
    rows: list[tuple[Any, ...]]


def questions() -> dict[str, Question]:
    """All ready questions by name."""
    found = {}
    for file in sorted(resources.files("corpus.warehouse").joinpath("queries").iterdir(), key=lambda p: p.name):
        if file.name.endswith(".sql"):
            sql = file.read_text(encoding="utf-8")
            about = " ".join(line.removeprefix("--").strip() for line in sql.splitlines() if line.startswith("--"))
            name = file.name.removesuffix(".sql")
            code = "\n".join(line for line in sql.splitlines() if not line.startswith("--"))
            found[name] = Question(name, about, sql, tuple(dict.fromkeys(re.findall(r"\$([a-z_]+)", code))))
    return found


def ask(
    catalog: Path, text: str, parameters: dict[str, str], *, recipe: str | None = None, most: int | None = None, bounded: bool = False
) -> Answer:
    """Runs `text` (SQL, or the name of a ready question) and returns at most `most` rows; `bounded` as for `open_catalog`.

    Raises:
        QueryError: for an unknown question, a missing or superfluous parameter, or whatever DuckDB refuses.
        WarehouseError: when there is no catalog.
    """
    known = questions()
    question = known.get(text)
    if question is None and re.fullmatch(r"[a-z0-9_-]+", text.strip()):
        raise QueryError(f"there is no query {text!r}{nearest(text, known)}; known are {', '.join(known)}; or give SQL")
    sql = question.sql if question else text
    needs = question.needs if question else tuple(parameters)
    missing = [n for n in needs if n not in parameters]
    if missing:
        raise QueryError(f"query {text!r} needs {', '.join(f'{n}=…' for n in missing)}")
    unknown = [n for n in parameters if n not in needs]
    if unknown:
        raise QueryError(f"query {text!r} takes no {', '.join(unknown)}{nearest(unknown[0], needs)}")
    with open_catalog(catalog, bounded=bounded) as db:
        if recipe is not None:
            use(db, recipe)
        try:
            result = db.execute(sql, {n: parameters[n] for n in needs} or None)
            if result is None:
                raise QueryError(f"{text!r} holds no statement; give SQL, or the name of a query: {', '.join(known)}")
            columns = tuple(d[0] for d in result.description or ())
            rows = result.fetchall() if most is None else result.fetchmany(most)
        except duckdb.Error as e:
            raise QueryError(said(e, catalog.parent)) from e
    return Answer(columns, rows)
