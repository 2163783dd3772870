"""Conversations in one string: what is a marker, and what only looks like one."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from corpus.sources.base import Emit, Reject
from corpus.sources.mixtures import parse_lmflow, split_hugnlp, split_oig
from corpus.sources.shapes import ASSISTANT, SYSTEM, USER

U, A, S = USER, ASSISTANT, SYSTEM


@pytest.mark.parametrize(
    ("text", "messages"),
    [
        ("<human>: a\n<bot>: b", [(U, "a"), (A, "b")]),
        ("<human>: a\n<bot>: b\n<human>: c\n<bot>: d", [(U, "a"), (A, "b"), (U, "c"), (A, "d")]),
        ("<human>: a <bot>: b <human>: c", [(U, "a"), (A, "b"), (U, "c")]),
        ("<human>: say <bot>: twice\n<bot>: no", [(U, "say <bot>: twice"), (A, "no")]),
        ("<human>: a\n<bot>: Rosey: hi\nUser: hi\nHuman: hi", [(U, "a"), (A, "Rosey: hi\nUser: hi\nHuman: hi")]),
        ("<bot>: a\n<bot>: b\n<human>: c\n<bot>: d", [(A, "a\nb"), (U, "c"), (A, "d")]),
        ("Text.\n<human>: a\n<bot>: b", [(S, "Text."), (U, "a"), (A, "b")]),
        ("<human>: a\nRosey: b", [(U, "a"), (A, "b")]),
        ("User: a\nRosey: b\nUser: c\nJoi: d", [(U, "a"), (A, "b"), (U, "c"), (A, "d")]),
        ("User: a\nRosey: see the User: b\nRosey: again", [(U, "a"), (A, "see the User: b\nRosey: again")]),
        ("<human>: a\n<bot>:", [(U, "a"), (A, "")]),
        ("<human>: code\n<bot>: def f():\n    return 1", [(U, "code"), (A, "def f():\n    return 1")]),
    ],
)
def test_splits_oig(text: str, messages: list[tuple[str, str]]) -> None:
    assert split_oig(text) == messages


@pytest.mark.parametrize("text", ["no speaker", "Users: a\nRoseys: b", "user: a"])
def test_rejects_oig_without_a_speaker(text: str) -> None:
    with pytest.raises(Reject):
        split_oig(text)


@pytest.mark.parametrize(
    ("text", "messages"),
    [
        ("Human: a \n HugChat: b \n\n", [(U, "a"), (A, "b")]),
        ("[Human]: a \n [HugChat]: b \n\n[Human]: c \n [HugChat]: d \n\n", [(U, "a"), (A, "b"), (U, "c"), (A, "d")]),
        ("Input: Instruction: a \n Output: b \n\n", [(U, "a"), (A, "b")]),
        ("Input: a \n Output: b \n\n", [(U, "a"), (A, "b")]),
        ("Human: a\nHugChat: b", [(U, "a"), (A, "b")]),
        ("Human: a HugChat: b \n HugChat: c\nHuman: d\nHugChat: e \n\n", [(U, "a HugChat: b"), (A, "c\nHuman: d\nHugChat: e")]),
        (
            "Input: Instruction: a\nOutput: even \n Output: b\nInput: 3\nOutput: 4 \n\n",
            [(U, "a\nOutput: even"), (A, "b\nInput: 3\nOutput: 4")],
        ),
        ("[Human]: a \n [HugChat]: Human: x \n HugChat: y \n\n", [(U, "a"), (A, "Human: x \n HugChat: y")]),
        ("Input: Instruction: a \n Output: b\n\nInputs: c \n\n", [(U, "a"), (A, "b\n\nInputs: c")]),
        ("Human: a", [(U, "a")]),
        ("Human: a \n HugChat:  \n\n", [(U, "a"), (A, "")]),
    ],
)
def test_splits_hugnlp(text: str, messages: list[tuple[str, str]]) -> None:
    assert split_hugnlp(text) == messages


WORDS = (
    st.text("ab: \nHuman[]Input中", min_size=1, max_size=40)
    .map(lambda t: t.strip().replace("\n\n", "\n"))
    .filter(lambda t: t and not t.startswith(("Instruction:",)) and "HugChat" not in t)
)


@given(st.lists(st.tuples(WORDS, WORDS), min_size=1, max_size=4))
def test_hugnlp_round_trip(pairs: list[tuple[str, str]]) -> None:
    text = "".join(f"[Human]: {q} \n [HugChat]: {a} \n\n" for q, a in pairs)
    assert [content for _, content in split_hugnlp(text)] == [content for pair in pairs for content in pair]


@pytest.mark.parametrize("piece", ["<human>:", "\n<human>: ", "\n<bot>: a\n", "<bot>", "\n", " ", "User: "])
def test_oig_takes_linear_time(piece: str) -> None:
    began = time.perf_counter()
    split_oig("<human>: " + piece * 100_000 + "x")
    assert time.perf_counter() - began < 5


@pytest.mark.parametrize("piece", ["\n", " ", "\n\nHuman:", " \n HugChat:", "\n\nHuman: a \n HugChat: b"])
def test_hugnlp_takes_linear_time(piece: str) -> None:
    began = time.perf_counter()
    split_hugnlp("Human: " + piece * 50_000 + "x")
    assert time.perf_counter() - began < 5


@pytest.mark.parametrize(
    ("file", "split"),
    [
        ("lmflow/MedMCQA.tar.gz!MedMCQA/train/train_1.json", "train"),
        ("lmflow/MedMCQA.tar.gz!MedMCQA/validation/valid_1.json", "validation"),
        ("lmflow/alpaca/test/test_252.json", "test"),
        ("lmflow/x.json", None),
    ],
)
def test_lmflow_takes_the_split_from_the_folder(file: str, split: str | None) -> None:
    emit = Emit(file)
    parse_lmflow({"_type": "text2text", "input": "a", "output": "b"}, emit)
    assert emit.columns()["upstream_split"].to_pylist() == [split]
