"""Queries: SQL of the user's, or one of the ready questions in `queries/`, against the catalog.

A ready question is a file: its first comment says what it answers, and `$name` in it is a parameter, given as NAME=VALUE and
bound, never pasted. A parameter that a comment `-- Optional: name.` names is NULL when it is not given.
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

_OPTIONAL = re.compile(r"^-- Optional: (.*)\.$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Question:
    """A ready question. `about` is its first comment, `needs` the parameters it must be given, `takes` those that it may."""

    name: str
    about: str
    sql: str
    needs: tuple[str, ...]
    takes: tuple[str, ...] = ()

    @property
    def parameters(self) -> str:
        """The parameters, as a list of questions shows them."""
        return " ".join([*(f"{n}=…" for n in self.needs), *(f"[{n}=…]" for n in self.takes)])


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
            optional = [w for line in _OPTIONAL.findall(sql) for w in line.split(", ")]
            named = tuple(dict.fromkeys(re.findall(r"\$([a-z_]+)", code)))
            found[name] = Question(name, about, sql, tuple(n for n in named if n not in optional), tuple(n for n in named if n in optional))
    return found


def ask(catalog: Path, text: str, parameters: dict[str, str], *, recipe: str | None = None, most: int | None = None) -> Answer:
    """Runs `text` (SQL, or the name of a ready question) and returns at most `most` rows.

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
    takes = question.takes if question else ()
    missing = [n for n in needs if n not in parameters]
    if missing:
        raise QueryError(f"query {text!r} needs {', '.join(f'{n}=…' for n in missing)}")
    unknown = [n for n in parameters if n not in needs + takes]
    if unknown:
        raise QueryError(f"query {text!r} takes no {', '.join(unknown)}{nearest(unknown[0], needs + takes)}")
    with open_catalog(catalog) as db:
        if recipe is not None:
            use(db, recipe)
        try:
            result = db.execute(sql, {n: parameters.get(n) for n in needs + takes} or None)
            if result is None:
                raise QueryError(f"{text!r} holds no statement; give SQL, or the name of a query: {', '.join(known)}")
            columns = tuple(d[0] for d in result.description or ())
            rows = result.fetchall() if most is None else result.fetchmany(most)
        except duckdb.Error as e:
            raise QueryError(said(e, catalog.parent)) from e
    return Answer(columns, rows)
