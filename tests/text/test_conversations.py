"""A column of conversations through the turn rules: the mended ones in their places, the others untouched."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from corpus.schema import MESSAGES
from corpus.text.alternation import problems
from corpus.text.conversations import TURN_RULES, mend, settled, talk_of
from corpus.text.settings import TextSettings, Traits
from corpus.text.turns import CONTINUATION, Turn, TurnRule

SETTINGS = TextSettings(traits=Traits(placeholders=("无",), speakers=(("Human:", "user"), ("Assistant:", "assistant"))))
GOOD = [("user", "茶是什么？"), ("assistant", "一种饮料。")]


def column(conversations: list[list[Turn] | None]) -> pa.ListArray:
    return pa.array(
        [None if turns is None else [{"role": role, "content": content} for role, content in turns] for turns in conversations], MESSAGES
    )


def listed(array: pa.ListArray) -> list[list[Turn] | None]:
    return [None if turns is None else [(turn["role"], turn["content"]) for turn in turns] for turns in array.to_pylist()]


def kinds(*names: str | None) -> pl.Series:
    return pl.Series(names, dtype=pl.String)


def test_each_rule_says_which_rows_it_changed() -> None:
    before = [
        GOOD,
        [("user", "Name a tree.\nNo input"), ("assistant", "Oak.</s>")],
        None,
        [],
        [("user", "写诗。\n无。"), ("assistant", "月光。"), ("user", "")],
        GOOD,
    ]
    after, changed = mend(
        column(before), kinds("dialogue", "dialogue", "document", "document", "dialogue", "dialogue"), TURN_RULES, SETTINGS
    )
    assert listed(after) == [
        GOOD,
        [("user", "Name a tree."), ("assistant", "Oak.")],
        None,
        [],
        [("user", "写诗。"), ("assistant", "月光。")],
        GOOD,
    ]
    assert {name: rows.tolist() for name, rows in changed.items()} == {"placeholders": [1, 4], "roles": [1], "alternation": [4]}
    assert after.type == MESSAGES
    assert all(rows.dtype == np.int64 for rows in changed.values())


def test_rules_take_up_what_later_ones_bring_about() -> None:
    before = [("user", "Name a tree."), ("user", "<noinput>"), ("assistant", "Oak.")]
    after, names = settled(before, "dialogue", TURN_RULES, SETTINGS)
    assert after == [("user", "Name a tree."), ("assistant", "Oak.")]
    assert names == {"placeholders", "alternation"}


def test_nothing_to_do_returns_the_column_itself() -> None:
    array = column([GOOD, None, GOOD])
    after, changed = mend(array, kinds("dialogue", "document", "dialogue"), TURN_RULES, SETTINGS)
    assert after is array
    assert {name: len(rows) for name, rows in changed.items()} == {"placeholders": 0, "roles": 0, "alternation": 0}


def test_a_slice_is_a_column_of_its_own() -> None:
    long = column([GOOD, [("user", "q\nNo input"), ("assistant", "a")], None, GOOD])
    after, changed = mend(long.slice(1, 2), kinds("dialogue", "document"), TURN_RULES, SETTINGS)
    assert listed(after) == [[("user", "q"), ("assistant", "a")], None]
    assert changed["placeholders"].tolist() == [0]


def test_continuations_skip_the_rules_that_are_not_for_them() -> None:
    answer = [("assistant", "Human: I see."), ("user", "Print what?\nNo input"), ("assistant", "")]
    after, changed = mend(column([answer, None]), kinds(CONTINUATION, CONTINUATION), TURN_RULES, SETTINGS)
    assert listed(after) == [[("assistant", "I see."), ("user", "Print what?\nNo input")], None]
    assert changed["placeholders"].tolist() == []
    assert changed["roles"].tolist() == [0]


def test_a_continuation_that_is_not_there_has_no_problem() -> None:
    absent = talk_of(column([None, [], [("assistant", " ")], [("assistant", "a")]]), kinds(*[CONTINUATION] * 4))
    assert problems(absent).to_list() == [None, "empty", "empty", None]


def test_empty_columns() -> None:
    for array in (column([]), column([None, None]), column([[], []])):
        after, _ = mend(array, kinds(*["dialogue"] * len(array)), TURN_RULES, SETTINGS)
        assert after.equals(array)


TURN = st.tuples(
    st.sampled_from(["user", "assistant", "system"]),
    st.sampled_from(["q", "答", "", "Q\nNo input", "Human: x", "a</s>", "x\nAssistant: y", "写诗。\n无", "\u3000"]),
)
CONVERSATIONS = st.lists(
    st.tuples(st.sampled_from(["dialogue", "prompt", "preference", CONTINUATION]), st.none() | st.lists(TURN, max_size=5)), max_size=8
)


@settings(max_examples=200, deadline=None)
@given(rows=CONVERSATIONS, rules=st.sampled_from([TURN_RULES, TURN_RULES[:1], TURN_RULES[1:], ()]))
def test_columns_say_what_single_conversations_say(rows: list[tuple[str, list[Turn] | None]], rules: tuple[TurnRule, ...]) -> None:
    array = column([turns for _, turns in rows])
    after, changed = mend(array, kinds(*[kind for kind, _ in rows]), rules, SETTINGS)
    expected = [(None, set[str]()) if turns is None else settled(turns, kind, rules, SETTINGS) for kind, turns in rows]
    assert listed(after) == [turns for turns, _ in expected]
    for rule in rules:
        assert changed[rule.name].tolist() == [row for row, (_, names) in enumerate(expected) if rule.name in names]
    again, more = mend(after, kinds(*[kind for kind, _ in rows]), rules, SETTINGS)
    assert again.equals(after)
    assert not any(len(found) for found in more.values())


@pytest.mark.real
@pytest.mark.skipif("DATA_REAL" not in os.environ, reason="DATA_REAL names no folder with real data")
def test_alpaca_loses_its_placeholders() -> None:
    records = json.loads(next(Path(os.environ["DATA_REAL"]).glob("alpaca/alpaca_data*.json")).read_text(encoding="utf-8"))
    rows = [r for r in records if "input" in r]
    said = [[("user", r["instruction"] + ("\n" + r["input"] if r["input"] else "")), ("assistant", r["output"])] for r in rows]
    after, changed = mend(column(said), kinds(*["dialogue"] * len(rows)), TURN_RULES, TextSettings())
    assert len(changed["placeholders"]) > len(rows) // 100
    for row in changed["placeholders"].tolist():
        assert "input" in rows[row]["input"].lower(), rows[row]["input"]
        assert listed(after.slice(row, 1))[0][1] == ("assistant", rows[row]["output"])  # type: ignore[index]
