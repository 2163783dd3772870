"""Queries: ready questions and SQL, with bound parameters, read-only."""

from __future__ import annotations

from pathlib import Path

import pytest

from corpus.errors import QueryError, WarehouseError
from corpus.warehouse.query import ask, questions


@pytest.fixture
def catalog(built: tuple[Path, Path]) -> Path:
    return built[1] / "corpus.duckdb"


@pytest.mark.parametrize(
    ("text", "parameters", "said"),
    [
        ("dropz", {}, r"there is no query 'dropz'; did you mean 'drops'\?; known are .*overview.*; or give SQL"),
        ("duplicate-of", {}, r"query 'duplicate-of' needs row_id=…"),
        ("duplicate-of", {"row_id": "x", "row": "y"}, r"query 'duplicate-of' takes no row; did you mean 'row_id'\?"),
        ("drops", {"x": "1"}, r"query 'drops' takes no x"),
        ("SELEC 1", {}, r"Parser Error: syntax error"),
        ("SELECT * FROM nothing", {}, r"Catalog Error: Table with name nothing does not exist"),
        ("SELECT * FROM rows WHERE row_id = $x", {}, r"[Pp]arameter"),
        ("SELECT 1", {"x": "1"}, r"[Pp]arameter"),
        ("DROP VIEW rows", {}, r"read-only"),
        ("CREATE TABLE t AS SELECT 1", {}, r"read-only"),
        ("DELETE FROM files", {}, r"read-only"),
        ("SELECT 1/0 FROM rows WHERE error('no ' || source)", {}, r"no "),
    ],
)
def test_mistakes_are_sentences(catalog: Path, text: str, parameters: dict[str, str], said: str) -> None:
    before = catalog.read_bytes()
    with pytest.raises(QueryError, match=said):
        ask(catalog, text, parameters)
    assert catalog.read_bytes() == before


def test_parameters_are_bound_not_pasted(catalog: Path) -> None:
    hostile = "x' OR '1'='1"
    assert ask(catalog, "duplicate-of", {"row_id": hostile}).rows == []
    assert ask(catalog, "SELECT $a AS a", {"a": hostile}).rows == [(hostile,)]


def test_most_bounds_the_rows(catalog: Path) -> None:
    assert len(ask(catalog, "FROM rows", {}, most=7).rows) == 7
    assert len(ask(catalog, "FROM rows", {}).rows) == 93


def test_recipes_are_named(catalog: Path) -> None:
    assert ask(catalog, "SELECT count(*) FROM rows", {}, recipe="small").rows == [(93,)]
    with pytest.raises(WarehouseError, match=r"recipe 'smal' was never built in this warehouse; did you mean 'small'\?; built are small"):
        ask(catalog, "FROM rows", {}, recipe="smal")


def test_questions_say_what_they_answer() -> None:
    for name, question in questions().items():
        assert question.name == name
        assert question.about.endswith((".", "…")), name
