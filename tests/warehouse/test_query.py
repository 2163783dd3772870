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


def test_a_parameter_may_be_left_out(near_built: tuple[Path, Path]) -> None:
    catalog = near_built[1] / "corpus.duckdb"
    question = questions()["near-duplicates"]
    assert (question.needs, question.takes, question.parameters) == ((), ("source",), "[source=…]")
    every, some, none = (ask(catalog, "near-duplicates", p) for p in ({}, {"source": "belle-1m"}, {"source": "alpaca"}))
    assert len(every.rows) == 2
    assert every == some
    assert none.rows == []
    with pytest.raises(QueryError, match="there is no source belle in this build"):
        ask(catalog, "near-duplicates", {"source": "belle"})
    with pytest.raises(QueryError, match=r"takes no sourc; did you mean 'source'\?"):
        ask(catalog, "near-duplicates", {"sourc": "belle"})


def test_what_the_questions_about_duplicates_say(near_built: tuple[Path, Path]) -> None:
    def told(name: str) -> list[dict[str, object]]:
        answer = ask(near_built[1] / "corpus.duckdb", name, {})
        return [dict(zip(answer.columns, row, strict=True)) for row in answer.rows]

    near = told("near-duplicates")
    assert {n["detail"] for n in near} == {None, "equal to a row that is near the kept one"}
    assert all(0.8 <= float(str(n["jaccard"])) < 1 for n in near)
    rejected = told("nearly")
    assert [n["jaccard"] for n in rejected] == sorted((n["jaccard"] for n in rejected), key=lambda j: -float(str(j)))
    assert {str(n["because"]) for n in rejected} == {"whole below 0.8"}
    assert all(float(str(n["jaccard"])) < 0.8 for n in rejected)
    [counts] = [n for n in told("duplicates-by-source") if n["source"] == "belle-1m"]
    assert (counts["rows"], counts["exact"], counts["near"], counts["near_percent"]) == (4, 0, 2, 50.0)
    [largest] = [n for n in told("duplicates") if n["kept_row_id"] == near[0]["kept_row_id"]]
    assert (largest["size"], largest["kept"], largest["sources"]) == (3, 1, ["belle-1m"])
    assert str(largest["text"]).startswith("Which tools")
    [asked] = told("same-prompt")
    assert (asked["answers"], asked["sources"]) == (2, ["belle-1m"])
    assert near[0]["kept_row_id"] in list(asked["row_ids"])  # type: ignore[call-overload]
