"""clean: rules, reasons, keys, and the shape of columns."""

from __future__ import annotations

from typing import Any

import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from corpus.recipe import Clean
from corpus.schema import CLEAN, DROP_REASONS, DROPPED, ROWS
from corpus.stages import clean as stage
from corpus.text.rules import RULE_NAMES, fold, rules

RULES = Clean(rules=RULE_NAMES, min_chars=1)


def row(kind: str = "dialogue", **more: Any) -> dict[str, Any]:
    """A row of schema ROWS."""
    row: dict[str, Any] = dict.fromkeys(ROWS.schema.names)
    row |= {"source": "s", "license": "l", "file": "f", "record": 0, "kind": kind, "messages": [], "row_id": "0" * 32}
    if kind == "dialogue":
        row["messages"] = talk("Question?", "Answer.")
    elif kind == "document":
        row["text"] = "Some text."
    elif kind == "prompt":
        row["messages"] = talk("Question?")
    else:
        row |= {"messages": talk("Question?"), "chosen": [says("assistant", "Good.")], "rejected": [says("assistant", "Bad.")]}
    return row | more


def says(role: str, content: str) -> dict[str, str]:
    return {"role": role, "content": content}


def talk(*turns: str, system: str | None = None) -> list[dict[str, str]]:
    """Turns of user and assistant."""
    messages = [says("user" if n % 2 == 0 else "assistant", text) for n, text in enumerate(turns)]
    return [says("system", system), *messages] if system is not None else messages


def run(*rows: dict[str, Any], settings: Clean = RULES) -> stage.Cleaned:
    numbered = [{**r, "row_id": f"{n:032x}"} for n, r in enumerate(rows)]
    found = stage.clean(pa.Table.from_pylist(numbered, schema=ROWS.schema), settings)
    assert found.kept.schema == CLEAN.schema
    assert found.dropped.schema == DROPPED.schema
    found.kept.validate(full=True)
    ids = found.kept["row_id"].to_pylist() + found.dropped["row_id"].to_pylist()
    assert sorted(ids) == [r["row_id"] for r in numbered], "every row is kept or dropped, once"
    return found


def reason(dirty: dict[str, Any], settings: Clean = RULES) -> str | None:
    found = run(dirty, settings=settings).dropped
    return found["reason"][0].as_py() if found.num_rows else None


def one(dirty: dict[str, Any], settings: Clean = RULES) -> dict[str, Any]:
    return run(dirty, settings=settings).kept.to_pylist()[0]


# --- rules

WHITE = st.text(st.sampled_from(list(" \t\n\r\x0b\x0c\x00\x1f\x7f\ufeff\u3000\u00a0\u2003\u2028\x85ax中,")), max_size=12)


@given(st.lists(WHITE | st.text(max_size=30), max_size=5))
@settings(max_examples=300, deadline=None)
def test_every_rule_and_all_together_are_idempotent(texts: list[str]) -> None:
    before = pl.Series(texts, dtype=pl.String)
    for _, rule in rules(RULE_NAMES):
        once = rule(before)
        assert rule(once).to_list() == once.to_list()
    whole = before
    for _, rule in rules(RULE_NAMES):
        whole = rule(whole)
    again = whole
    for _, rule in rules(RULE_NAMES):
        again = rule(again)
    assert again.to_list() == whole.to_list()


@pytest.mark.parametrize(
    ("rule", "before", "after"),
    [
        ("line_ends", "a\r\nb\rc\nd", "a\nb\nc\nd"),
        ("controls", "a\x00b\x08c\td\ne\x1ff\x7fg\ufeffh", "abc\td\nefgh"),
        ("trim", "\n \n\n  x", "x"),
        ("trim", " leading blank", "leading blank"),
        ("trim", "    code()\n    more()", "    code()\n    more()"),
        ("trim", "\u3000\u3000中文段落", "\u3000\u3000中文段落"),
        ("trim", "text \n\t\n", "text"),
        ("trim", "one  two\n\n\nthree", "one  two\n\n\nthree"),
    ],
)
def test_rules(rule: str, before: str, after: str) -> None:
    [(_, apply)] = rules((rule,))
    assert apply(pl.Series([before, None], dtype=pl.String)).to_list() == [after, None]


@given(st.text(max_size=40))
@settings(max_examples=100, deadline=None)
def test_fold_forgets_case_and_space_and_nothing_else_of_plain_text(text: str) -> None:
    plain = "".join(c for c in text if c.isascii() and c.isalnum())
    spaced = "".join(f"{c.upper()} \n" for c in plain)
    assert fold(pl.Series([plain, spaced], dtype=pl.String)).to_list() == [plain.lower()] * 2


def test_changed_by_names_the_rules_that_changed_the_row_in_order() -> None:
    found = run(
        row(messages=talk("clean", "clean")),
        row(messages=talk("a\r\nb", "fine ")),
        row(messages=talk("x", "y\x00")),
        row("document", title="t\x00", text="b"),
        row("preference", rejected=[says("assistant", "bad\r\n\x00 ")]),
    )
    assert found.kept["changed_by"].to_pylist() == [
        [],
        ["line_ends", "trim"],
        ["controls"],
        ["controls"],
        ["line_ends", "controls", "trim"],
    ]
    assert found.changed == {"line_ends": 2, "controls": 3, "trim": 2}
    assert found.kept["rejected"].to_pylist()[4] == [says("assistant", "bad")]
    assert found.kept["messages"].to_pylist()[1] == talk("a\nb", "fine")


def test_only_the_rules_of_the_recipe_run() -> None:
    assert one(row(messages=talk(" a\r\n ", "b\x00")), Clean(rules=()))["messages"] == talk(" a\r\n ", "b\x00")
    assert one(row(messages=talk(" a\r\n ", "b\x00")), Clean(rules=("controls",)))["messages"] == talk(" a\r\n ", "b")


# --- reasons


@pytest.mark.parametrize(
    ("dirty", "expected"),
    [
        (row(), None),
        (row(skip="deleted"), "deleted"),
        (row(skip="redirect", messages=talk("", "")), "redirect"),  # the first reason counts
        (row("document", text=" \n\u3000"), "empty"),
        (row("document", text=None), "empty"),
        (row(messages=talk(" ", "\n")), "empty"),
        (row(messages=[]), "empty"),
        (row(messages=talk("Q", " ")), "no_answer"),
        (row(messages=talk("Q", "A", "Q2")), "no_answer"),
        (row(messages=talk(" ", "A")), None),
        (row("prompt"), None),
        (row("prompt", messages=talk("\t")), "empty"),
        (row("preference"), None),
        (row("preference", messages=[]), None),
        (row("preference", chosen=[says("assistant", " ")]), "empty"),
        (row("preference", rejected=[]), "empty"),
        (row("preference", chosen=None), "empty"),
    ],
)
def test_reasons(dirty: dict[str, Any], expected: str | None) -> None:
    assert reason(dirty) == expected
    assert expected is None or expected in DROP_REASONS


@pytest.mark.parametrize(("chars", "expected"), [(9, "too_short"), (10, None), (20, None), (21, "too_long")])
def test_bounds_are_inclusive_and_count_characters_of_all_texts(chars: int, expected: str | None) -> None:
    bounds = Clean(min_chars=10, max_chars=20)
    assert reason(row(messages=talk("问" * (chars - 4), "答案四字")), bounds) == expected
    assert reason(row("document", title="题" * (chars - 4), text="text"), bounds) == expected
    kept = run(row(messages=talk("问" * (chars - 4), "答案四字"))).kept
    assert kept["chars"].to_pylist() == [chars]


def test_every_reason_is_documented_and_details_say_what_was_found() -> None:
    found = run(row(skip="tie"), row(messages=talk("Q", "")), row("document", text=""), settings=Clean(min_chars=5)).dropped
    assert found["detail"].to_pylist() == ["marked by the publisher", "the last turn is not an answer with text", "the text"]
    assert set(found["stage"].to_pylist()) == {"clean"}


# --- keys


def keys(dirty: dict[str, Any]) -> tuple[bytes, bytes]:
    found = one(dirty)
    return found["row_key"], found["prompt_key"]


def test_keys_forget_case_and_space() -> None:
    assert keys(row(messages=talk("What is THIS?", "It is.\nThat."))) == keys(row(messages=talk("what  is\u3000this?", "IT IS. that.")))
    assert keys(row("document", title="A B", text="c d")) == keys(row("document", title="ab", text="CD"))


@pytest.mark.parametrize(
    ("one_row", "other"),
    [
        (row(messages=talk("a", "bc")), row(messages=talk("ab", "c"))),
        (row(messages=talk("a", "b")), row(messages=talk("a", "b", "c", "d"))),
        (row(messages=talk("a", "b")), row(messages=talk("a", "b", system="s"))),
        (row(messages=talk("q", "a")), row("preference", messages=talk("q"), chosen=[says("assistant", "a")])),
        (row("document", title="ab", text="c"), row("document", title="a", text="bc")),
        (row("document", title=None, text="abc"), row("document", title="a", text="bc")),
        (row("prompt", messages=talk("x")), row("document", text="x")),
    ],
)
def test_different_rows_have_different_keys(one_row: dict[str, Any], other: dict[str, Any]) -> None:
    assert keys(one_row)[0] != keys(other)[0]


def test_prompt_keys_are_of_what_is_asked_whatever_is_answered() -> None:
    prompt = keys(row("prompt", messages=talk("q")))[1]
    assert keys(row(messages=talk("Q", "one answer")))[1] == prompt
    assert keys(row(messages=talk("q ", "another")))[1] == prompt
    assert keys(row("preference", messages=talk("q")))[1] == prompt
    assert keys(row(messages=talk("q", "a", "q2", "b")))[1] != prompt
    assert keys(row(messages=talk("q", "a", "q2", "b")))[1] == keys(row("prompt", messages=talk("q", "a", "q2")))[1]


# --- shape


def test_nulls_stay_nulls() -> None:
    found = run(row(), row("document"), row("preference"), row("prompt")).kept.to_pylist()
    assert [r["title"] for r in found] == [None] * 4
    assert [r["text"] for r in found] == [None, "Some text.", None, None]
    assert [r["chosen"] is None for r in found] == [True, True, False, True]
    assert [r["messages"] for r in found] == [talk("Question?", "Answer."), [], talk("Question?"), talk("Question?")]


def test_no_rows_and_a_slice_of_rows() -> None:
    nothing = stage.clean(ROWS.schema.empty_table(), RULES)
    assert (nothing.kept.num_rows, nothing.dropped.num_rows) == (0, 0)
    whole = pa.Table.from_pylist([row(row_id=f"{n:032x}", messages=talk(f"q{n}", "a")) for n in range(10)], schema=ROWS.schema)
    assert stage.clean(whole.slice(3, 4).combine_chunks(), RULES).kept.to_pylist() == stage.clean(whole, RULES).kept.slice(3, 4).to_pylist()


def test_huge_rows_are_cleaned_in_slices_of_bounded_size(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [row(row_id=f"{n:032x}", messages=talk(f"q{n}", "long " * 200)) for n in range(50)]
    table = pa.Table.from_pylist(rows, schema=ROWS.schema)
    assert [t.num_rows for t in stage.slices(table)] == [50]
    monkeypatch.setattr(stage, "_SLICE_BYTES", table.nbytes // 7)
    pieces = list(stage.slices(table))
    assert len(pieces) >= 7
    assert max(t.nbytes for t in pieces) < table.nbytes // 4
    assert pa.concat_tables(pieces).to_pylist() == table.to_pylist()
    cleaned = [r for piece in pieces for r in stage.clean(piece, RULES).kept.to_pylist()]
    assert cleaned == stage.clean(table, RULES).kept.to_pylist()
    assert list(stage.slices(table.slice(0, 0))) == []


@given(
    st.lists(
        st.sampled_from(["dialogue", "document", "preference", "prompt"]).flatmap(
            lambda kind: st.tuples(st.just(kind), st.lists(WHITE, max_size=4))
        ),
        max_size=6,
    )
)
@settings(max_examples=100, deadline=None)
def test_cleaning_cleaned_rows_changes_nothing(drawn: list[tuple[str, list[str]]]) -> None:
    rows = []
    for kind, texts in drawn:
        if kind == "document":
            rows.append(row(kind, title=texts[0] if texts else None, text="".join(texts)))
        elif kind == "preference":
            rows.append(row(kind, chosen=talk("", *texts)[1:2] or None, rejected=[says("assistant", "".join(texts))]))
        else:
            rows.append(row(kind, messages=talk(*texts)))
    first = run(*rows).kept
    again = pa.Table.from_pylist([{**dict.fromkeys(ROWS.schema.names), **r} for r in first.to_pylist()], schema=ROWS.schema)
    second = stage.clean(again, RULES)
    assert second.dropped.num_rows == 0
    assert set(second.changed.values()) <= {0}
    assert second.kept.drop_columns("changed_by").equals(first.drop_columns("changed_by"))
