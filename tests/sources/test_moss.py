"""MOSS's two layouts: markers that are the format, and text that speaks of markers."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest

from corpus.sources.base import Emit, Reject
from corpus.sources.moss import parse_002, parse_003


def messages(emit: Emit) -> list[list[tuple[str, str]]]:
    return [[(m["role"], m["content"]) for m in row] for row in emit.columns()["messages"].to_pylist()]


@pytest.mark.parametrize(
    ("text", "contents"),
    [
        ("[Human]: a<eoh> [MOSS]: b<eoa> [Human]: c<eoh> [MOSS]: d<eoa> ", ["a", "b", "c", "d"]),
        ("[Human]: a <eoh> [MOSS]: <eoa>", ["a ", ""]),
        ("[Human]: what is <eoh> here<eoh> [MOSS]: an <eoa>, see [Human]: x<eoa>", ["what is <eoh> here", "an <eoa>, see [Human]: x"]),
        ("[Human]: a<eoh> [MOSS]: cut", ["a", "cut"]),
        ("[MOSS]: first<eoa> [Human]: b<eoh> ", ["first", "b"]),
    ],
)
def test_splits_002(text: str, contents: list[str]) -> None:
    emit = Emit()
    parse_002({"plain_text": text}, emit)
    (row,) = messages(emit)
    assert [content for _, content in row] == contents


@pytest.mark.parametrize("text", ["no marker", "", " ", "[Human] a<eoh>"])
def test_002_rejects_what_begins_with_no_speaker(text: str) -> None:
    with pytest.raises(Reject):
        parse_002({"plain_text": text}, Emit())


def test_002_never_loses_text_after_a_turn() -> None:
    emit = Emit()
    parse_002({"plain_text": "[Human]: a<eoh> [MOSS]: b<eoa> tail [Human]: c<eoh>x"}, emit)
    assert messages(emit)[0][-1] == ("assistant", "b<eoa> tail [Human]: c<eoh>x")


def test_002_takes_linear_time() -> None:
    began = time.perf_counter()
    parse_002({"plain_text": "[Human]: a<eoh> [MOSS]: b<eoa> " * 50_000}, Emit())
    assert time.perf_counter() - began < 5


def test_003_orders_turns_by_number_and_keeps_every_field() -> None:
    chat: dict[str, Any] = {
        f"turn_{n}": {
            "Human": f"<|Human|>: q{n}<eoh>\n",
            "Commands": "<|Commands|>: None<eoc>\n",
            "Extra": n,
            "MOSS": f"<|MOSS|>: \na{n}<eom>\n",
        }
        for n in (10, 2, 1)
    }
    emit = Emit()
    parse_003({"chat": chat, "num_turns": 3}, emit)
    assert messages(emit) == [
        [("user", "q1"), ("assistant", "\na1"), ("user", "q2"), ("assistant", "\na2"), ("user", "q10"), ("assistant", "\na10")]
    ]
    meta = json.loads(emit.columns()["meta"].to_pylist()[0])
    assert meta == {"num_turns": 3, "tools": [{"turn": n, "Extra": n} for n in (1, 2, 10)]}


@pytest.mark.parametrize(
    ("text", "bare"),
    [
        ("英国有六千七百万人。<sup><|1|></sup>", "英国有六千七百万人。"),
        ("It is 192 <sup><|1|></sup><sup><|12|></sup>.", "It is 192."),
        ("First. <sup><|2|>, <|3|></sup>\nSecond <|1|> <|2|>", "First.\nSecond"),
        ("比例是6:1<sup>|1|</sup>。", "比例是6:1。"),
        ("8*4+3=<|1|>35<|1|>。", "8*4+3=35。"),
        ("the side is <|2|>16.6 cm</sup> long", "the side is 16.6 cm long"),
        ("see <sup><|1|></sup>below", "see below"),
        ("x<sup>2</sup> and a <| b and <|im_end|>", "x<sup>2</sup> and a <| b and <|im_end|>"),
    ],
)
def test_003_answers_lose_their_citations(text: str, bare: str) -> None:
    emit = Emit()
    parse_003({"chat": {"turn_1": {"Human": text, "MOSS": text}}}, emit)
    assert messages(emit) == [[("user", text), ("assistant", bare)]]


@pytest.mark.parametrize("text", ["<sup>" * 100_000, " " * 100_000 + "<", "<|1|>" * 100_000, ("<sup>" + " " * 99) * 1000])
def test_003_takes_linear_time(text: str) -> None:
    began = time.perf_counter()
    parse_003({"chat": {"turn_1": {"MOSS": text}}}, Emit())
    assert time.perf_counter() - began < 5


@pytest.mark.parametrize("chat", [[], None, {"one": {}}, {"turn_1": []}, {"turn_1": {"Human": 3}}])
def test_003_rejects_other_shapes(chat: Any) -> None:
    with pytest.raises(Reject):
        parse_003({"chat": chat}, Emit())
