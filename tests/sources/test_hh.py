"""Marked-up dialogues: splitting and joining are inverse, and pairs part where they really part."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from corpus.sources.base import Emit, Message, Reject
from corpus.sources.hh import emit_pair, split_turns
from corpus.sources.preferences import unescape_breaks

_NAMES = {"user": "Human", "assistant": "Assistant"}
_TEXTS = st.lists(st.sampled_from(["a", " ", "\n", "Human:", "Assistant: ", "\n\n", "。", "human: "]), max_size=6).map("".join)
_TURNS = st.lists(st.tuples(st.sampled_from(["user", "assistant"]), _TEXTS), min_size=1, max_size=5)


def joined(messages: list[Message]) -> str:
    return "".join(f"\n\n{_NAMES[role]}: {content}" for role, content in messages)


@given(_TURNS)
def test_joining_what_was_split_gives_the_same_text(turns: list[Message]) -> None:
    text = joined(turns)
    again = split_turns(text)
    if all("\n\nHuman:" not in f"{c}" and "\n\nAssistant:" not in c for _, c in turns):
        assert again == turns
    assert "".join(joined([m]) for m in again).replace(" ", "") == text.replace(" ", "")


@given(_TURNS, _TURNS)
def test_both_dialogues_can_be_put_together_again(good: list[Message], bad: list[Message]) -> None:
    emit = Emit()
    emit_pair(good, bad, emit)
    row = {k: c[0].as_py() for k, c in emit.columns().items()}
    shared, chosen, rejected = ([(m["role"], m["content"]) for m in row[k]] for k in ("messages", "chosen", "rejected"))
    assert chosen
    assert rejected
    assert (shared + chosen, shared + rejected) == (good, bad)
    assert (row["skip"] == "tie") == (good == bad)
    assert len(chosen) == 1 or len(rejected) == 1 or chosen[0] != rejected[0]


@pytest.mark.parametrize("text", ["", "Hello", "Hello\n\nHuman: x", "Human x"])
def test_a_text_without_an_opening_marker_is_rejected(text: str) -> None:
    with pytest.raises(Reject, match="role marker"):
        split_turns(text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (r"一\n二", "一\n二"),
        (r"一\n\n- 二", "一\n\n- 二"),
        (r"a\nNote", "a\nNote"),
        (r"a\nnot", "a\nnot"),
        (r"$\nu \neq \nabla f$", r"$\nu \neq \nabla f$"),
        ("a\nb", "a\nb"),
    ],
)
def test_written_out_line_breaks(text: str, expected: str) -> None:
    assert unescape_breaks(text) == expected
