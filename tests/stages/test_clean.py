"""clean: rules and what they changed, keys, measures, and the shape of columns. Nothing is dropped here."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from corpus.recipe import Clean
from corpus.schema import CLEAN, DROP_REASONS, MEASURED, ROWS
from corpus.stages import clean as stage
from corpus.text.settings import ALL_RULES, Traits

RULES = Clean()


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
    found = stage.clean(pa.Table.from_pylist(numbered, schema=ROWS.schema), settings, Traits())
    assert found.rows.schema == CLEAN.schema
    assert found.measures.schema == MEASURED.schema
    for table in (found.rows, found.measures):
        table.validate(full=True)
        assert table["row_id"].to_pylist() == [r["row_id"] for r in numbered], "every row, in its place"
    return found


def one(dirty: dict[str, Any], settings: Clean = RULES) -> dict[str, Any]:
    return run(dirty, settings=settings).rows.to_pylist()[0]


def problem(dirty: dict[str, Any]) -> str | None:
    return run(dirty).measures["problem"][0].as_py()


# --- rules

WHITE = st.text(st.sampled_from(list(" \t\n\r\x0b\x0c\x00\x1f\x7f\ufeff\u3000\u00a0\u2003\u2028\x85ax中,")), max_size=12)


def test_changed_by_names_the_rules_that_changed_the_row_in_order() -> None:
    found = run(
        row(messages=talk("clean", "clean")),
        row(messages=talk("a\r\nb", "fine ")),
        row(messages=talk("x", "y\x00")),
        row("document", title="t\x00", text="b"),
        row("preference", rejected=[says("assistant", "bad\r\n\x00 ")]),
    )
    assert found.rows["changed_by"].to_pylist() == [
        [],
        ["line_ends", "trim"],
        ["controls"],
        ["controls"],
        ["line_ends", "controls", "trim"],
    ]
    assert {rule: n for rule, n in found.changed.items() if n} == {"line_ends": 2, "controls": 3, "trim": 2}
    assert tuple(found.changed) == ALL_RULES
    assert found.rows["rejected"].to_pylist()[4] == [says("assistant", "bad")]
    assert found.rows["messages"].to_pylist()[1] == talk("a\nb", "fine")


def test_only_the_rules_of_the_recipe_run() -> None:
    assert one(row(messages=talk(" a\r\n ", "b\x00")), Clean(rules=()))["messages"] == talk(" a\r\n ", "b\x00")
    assert one(row(messages=talk(" a\r\n ", "b\x00")), Clean(rules=("controls",)))["messages"] == talk(" a\r\n ", "b")
    assert one(row(messages=talk(" a\r\n ", "b\x00")), Clean(without=("controls",)))["messages"] == talk("a", "b\x00")


# --- measures


@pytest.mark.parametrize(
    ("dirty", "expected"),
    [
        (row(), None),
        (row("document", text=" \n\u3000"), "empty"),
        (row("document", text=None), "empty"),
        (row(messages=talk(" ", "\n")), "empty"),
        (row(messages=[]), "empty"),
        (row(messages=talk("Q", " ")), "no_answer"),
        (row("prompt"), None),
        (row("prompt", messages=talk("\t")), "empty"),
        (row("preference"), None),
        (row("preference", messages=[]), None),
        (row("preference", chosen=[says("assistant", " ")]), "empty"),
        (row("preference", rejected=[]), "empty"),
        (row("preference", chosen=None), "empty"),
    ],
)
def test_problems(dirty: dict[str, Any], expected: str | None) -> None:
    assert problem(dirty) == expected
    assert expected is None or expected in DROP_REASONS


def test_rows_that_the_publisher_excludes_are_cleaned_and_measured_too() -> None:
    found = run(row(skip="deleted", messages=talk("Q\r\n", "A")))
    assert found.measures["excluded"].to_pylist() == ["deleted"]
    assert found.rows["messages"].to_pylist() == [talk("Q", "A")]


def test_characters_are_those_of_all_texts() -> None:
    found = run(row(messages=talk("问题", "答案四字")), row("document", title="题", text="text"), row("preference"))
    assert found.measures["chars"].to_pylist() == [6, 5, len("Question?Good.Bad.")]


def test_scores_are_what_the_publisher_says_where_it_says_so() -> None:
    told = [
        '{"star": 7}',
        '{"star": "赞同 1.2 万"}',
        '{"star":"赞同 15"}',
        '{"star": "3k"}',
        '{"star": -1.5}',
        '{"star": "none"}',
        '{"x": 1}',
        None,
    ]
    rows = pa.Table.from_pylist([{**row(meta=meta), "row_id": f"{n:032x}"} for n, meta in enumerate(told)], schema=ROWS.schema)
    found = stage.clean(rows, RULES, Traits(score="star")).measures
    assert found["score"].to_pylist() == [7, 12_000, 15, 3000, -1.5, None, None, None]
    assert stage.clean(rows, RULES, Traits()).measures["score"].null_count == len(told)


def test_a_row_about_scripts_keeps_its_own() -> None:
    asks = row(messages=talk("请翻译成繁体中文：我爱你们。", "我愛你們。"))
    found = run(asks, row(messages=talk("请翻译成英文：我愛你們。", "I love you.")), settings=Clean(script="simplified"))
    assert found.rows["messages"].to_pylist() == [asks["messages"], talk("请翻译成英文：我爱你们。", "I love you.")]
    assert found.rows["changed_by"].to_pylist() == [[], ["script"]]


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
    found = run(row(), row("document"), row("preference"), row("prompt")).rows.to_pylist()
    assert [r["title"] for r in found] == [None] * 4
    assert [r["text"] for r in found] == [None, "Some text.", None, None]
    assert [r["chosen"] is None for r in found] == [True, True, False, True]
    assert [r["messages"] for r in found] == [talk("Question?", "Answer."), [], talk("Question?"), talk("Question?")]


def test_no_rows_and_a_slice_of_rows() -> None:
    nothing = stage.clean(ROWS.schema.empty_table(), RULES, Traits())
    assert (nothing.rows.num_rows, nothing.measures.num_rows) == (0, 0)
    whole = pa.Table.from_pylist([row(row_id=f"{n:032x}", messages=talk(f"q{n}", "a")) for n in range(10)], schema=ROWS.schema)
    some, cleaned = stage.clean(whole.slice(3, 4).combine_chunks(), RULES, Traits()), stage.clean(whole, RULES, Traits())
    assert some.rows.to_pylist() == cleaned.rows.slice(3, 4).to_pylist()
    assert some.measures.to_pylist() == cleaned.measures.slice(3, 4).to_pylist()


def test_huge_rows_are_cleaned_in_slices_of_bounded_size(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [row(row_id=f"{n:032x}", messages=talk(f"q{n}", "long " * 200)) for n in range(50)]
    table = pa.Table.from_pylist(rows, schema=ROWS.schema)
    assert [t.num_rows for t in stage.slices(table)] == [50]
    monkeypatch.setattr(stage, "_SLICE_BYTES", table.nbytes // 7)
    pieces = list(stage.slices(table))
    assert len(pieces) >= 7
    assert max(t.nbytes for t in pieces) < table.nbytes // 4
    assert pa.concat_tables(pieces).to_pylist() == table.to_pylist()
    cleaned = [r for piece in pieces for r in stage.clean(piece, RULES, Traits()).rows.to_pylist()]
    assert cleaned == stage.clean(table, RULES, Traits()).rows.to_pylist()
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
    first = run(*rows).rows
    again = pa.Table.from_pylist([{**dict.fromkeys(ROWS.schema.names), **r} for r in first.to_pylist()], schema=ROWS.schema)
    second = stage.clean(again, RULES, Traits())
    assert set(second.changed.values()) <= {0}
    assert second.rows.drop_columns("changed_by").equals(first.drop_columns("changed_by"))
