"""filter: who goes on is decided by measures alone, and every decision says the rule, the value and the limit."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pytest

from corpus.recipe import Limit, parse
from corpus.schema import DROP_REASONS, DROPPED, MEASURED
from corpus.stages.filter import decide


def measured(*rows: dict[str, Any]) -> pa.Table:
    """Rows of schema MEASURED with these values."""
    usual = {"source": "s", "kind": "dialogue", "chars": 100}
    numbered = [{**dict.fromkeys(MEASURED.schema.names), **usual, **r, "row_id": str(n)} for n, r in enumerate(rows)]
    return pa.Table.from_pylist(numbered, schema=MEASURED.schema)


def limits(text: str) -> tuple[Limit, ...]:
    """Limits as a recipe says them."""
    return parse(f"name: r\nsources: [lima, alpaca]\nfilter: {text}\n", "r.yaml").filter


def ledger(table: pa.Table, text: str) -> dict[str, tuple[Any, ...]]:
    """(reason, rule, value, bound, detail) of every dropped row."""
    found = decide(table, limits(text))
    assert found.schema == DROPPED.schema
    assert set(found["reason"].to_pylist()) <= set(DROP_REASONS)
    assert set(found["stage"].to_pylist()) <= {"filter"}
    return {r["row_id"]: (r["reason"], r["rule"], r["value"], r["bound"], r["detail"]) for r in found.to_pylist()}


def test_bounds_are_inclusive_and_decisions_are_told() -> None:
    rows = measured(*({"chars": n} for n in (9, 10, 20, 21)))
    assert ledger(rows, "[{measure: chars, min: 10, max: 20}]") == {
        "0": ("limit", "chars.min", 9.0, 10.0, "chars is 9, at least 10"),
        "3": ("limit", "chars.max", 21.0, 20.0, "chars is 21, at most 20"),
    }


def test_the_first_reason_counts_and_marks_come_before_limits() -> None:
    rows = measured(
        {"excluded": "redirect", "problem": "empty", "chars": 0}, {"problem": "empty", "chars": 0}, {"chars": 0, "language": "other"}, {}
    )
    found = ledger(rows, "[{measure: language, among: [zh, en]}, {measure: chars, min: 1}]")
    assert {k: v[:2] for k, v in found.items()} == {"0": ("redirect", None), "1": ("empty", None), "2": ("limit", "language.among")}
    assert found["0"][4] == "marked by the publisher"
    assert found["2"][4] == "language is other, expected zh or en"


def test_the_last_limit_that_covers_a_row_decides() -> None:
    rows = measured({"chars": 5}, {"chars": 5, "kind": "document"}, {"chars": 50, "kind": "document"})
    both = "[{measure: chars, min: 10}, {measure: chars, min: 3, kinds: [document]}]"
    assert set(ledger(rows, both)) == {"0"}
    assert set(ledger(rows, "[{measure: chars, min: 3, kinds: [document]}, {measure: chars, min: 10}]")) == {"0", "1"}
    # An entry replaces the one before as a whole: documents have no upper bound any more.
    assert set(ledger(rows, "[{measure: chars, max: 20}, {measure: chars, min: 3, kinds: [document]}]")) == set()


def test_a_limit_without_bounds_lifts_an_earlier_one_for_words_too() -> None:
    rows = measured({"language": "other"}, {"language": "other", "kind": "prompt"})
    assert list(ledger(rows, "[{measure: language, among: [zh]}, {measure: language, kinds: [prompt]}]")) == ["0"]


def test_a_limit_of_one_source_is_no_limit_of_another() -> None:
    [limit] = limits("[{measure: chars, min: 10, sources: [lima]}]")
    assert limit.covers("lima")
    assert not limit.covers("alpaca")


def test_a_row_without_a_value_stays() -> None:
    assert (
        ledger(measured({"language": None, "script": None}), "[{measure: language, among: [zh]}, {measure: script, among: [hans]}]") == {}
    )


@pytest.mark.parametrize("text", ["[]", "[{measure: chars, min: 1}]"])
def test_no_rows(text: str) -> None:
    assert decide(measured(), limits(text)).num_rows == 0


def test_terms_bar_every_row_before_all_else() -> None:
    rows = measured({"excluded": "redirect"}, {"problem": "empty", "chars": 0}, {"chars": 0}, {})
    found = decide(rows, limits("[{measure: chars, min: 1}]"), "research only")
    assert found["row_id"].to_pylist() == ["0", "1", "2", "3"]
    told = {(r["reason"], r["rule"], r["detail"], r["value"]) for r in found.to_pylist()}
    assert told == {("license", "license", "research only", None)}
    assert decide(measured(), limits("[]")).num_rows == 0
