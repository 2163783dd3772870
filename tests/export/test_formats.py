"""Columns in, columns out: every format says what a row says, or says that it cannot."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from corpus.export.formats import FORMATS, REQUEST, TOLD, form_of
from corpus.export.turns import LEFT_OUT, Turns, reason, without_last
from corpus.export.write import json_lines
from corpus.recipe_splits import Form
from corpus.schema import DIALOGUE_SPLIT, MESSAGES, PAIR_SPLIT, PREFERENCE_SPLIT, PROMPT_SPLIT, REQUEST_SPLIT, TEXT_SPLIT, Table
from corpus.sources.base import Emit
from corpus.sources.generic import generic_source
from tests.export.conftest import ODD
from tests.export.made import answer, table_of, turns

TEXTS = st.text(st.characters(codec="utf-8"), max_size=12)
"""Anything that UTF-8 can say."""
SAID = st.text(st.characters(codec="utf-8"), max_size=12).filter(lambda t: bool(t.strip()))

DIALOGUES = st.builds(
    lambda system, pairs: turns(*(t for p in pairs for t in p), system=system),
    st.none() | SAID, st.lists(st.tuples(TEXTS, TEXTS), min_size=1, max_size=4),
)  # fmt: skip


def exported(format: str, form: str, table: Table, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Rows in a format, as a JSON reader sees them; every one must fit."""
    shape = FORMATS[format][form]
    split = table_of(table, rows)
    assert not shape.fit(split).any()
    made = shape.make(split, None)
    made.validate(full=True)
    assert made.num_rows == len(rows)
    lines = json_lines(made).splitlines(keepends=False) if not rows else json_lines(made).decode().split("\n")[:-1]
    return [json.loads(line) for line in lines]


def read(record: dict[str, Any], shape: str = "auto") -> dict[str, Any]:
    """What our own reader of a user's files makes of a record."""
    emit = Emit()
    generic_source("mine", ["*.json"], shape).parse(record, emit)
    assert len(emit) == 1
    return {k: c[0].as_py() for k, c in emit.columns().items()}


@pytest.mark.parametrize(
    ("format", "shape"), [("alpaca", "alpaca"), ("sharegpt", "sharegpt"), ("openai", "messages"), ("llama-factory", "sharegpt")]
)
@given(conversations=st.lists(DIALOGUES, min_size=1, max_size=5))
def test_dialogues_are_read_back_as_they_were(format: str, shape: str, conversations: list[Any]) -> None:
    records = exported(format, Form.DIALOGUE, DIALOGUE_SPLIT, [{"messages": m} for m in conversations])
    for given_, record in zip(conversations, records, strict=True):
        for name in (shape, "auto"):
            row = read(record, name)
            assert row["kind"] == "dialogue"
            assert row["messages"] == given_
            assert row["meta"] is None


@pytest.mark.parametrize("format", ["alpaca", "sharegpt", "llama-factory"])
@given(rows=st.lists(st.tuples(DIALOGUES, SAID, SAID, TEXTS), min_size=1, max_size=4))
def test_preferences_are_read_back_as_they_were(format: str, rows: list[Any]) -> None:
    given_ = [{"prompt": [*m, *turns(q)], "chosen": answer(good), "rejected": answer(bad)} for m, q, good, bad in rows]
    for expected, record in zip(given_, exported(format, Form.PREFERENCE, PREFERENCE_SPLIT, given_), strict=True):
        if format != "alpaca":
            record["prompt"] = record.pop("conversations")  # ShareGPT's own name of it is no alias of our reader
        row = read(record)
        assert (row["kind"], row["messages"], row["chosen"], row["rejected"]) == (
            "preference", expected["prompt"], expected["chosen"], expected["rejected"],
        )  # fmt: skip


def test_alpaca() -> None:
    rows = [{"messages": turns("Q1", "A1", "Q2", "A2", "Q3", "A3", system="S")}, {"messages": turns("Q", "A")}]
    assert exported("alpaca", Form.DIALOGUE, DIALOGUE_SPLIT, rows) == [
        {"instruction": "Q3", "input": "", "output": "A3", "system": "S", "history": [["Q1", "A1"], ["Q2", "A2"]]},
        {"instruction": "Q", "input": "", "output": "A", "system": "", "history": []},
    ]
    rows = [{"prompt": turns("Q1", "A1", "Q2"), "chosen": answer("good"), "rejected": answer("bad")}]
    assert exported("alpaca", Form.PREFERENCE, PREFERENCE_SPLIT, rows) == [
        {"instruction": "Q2", "input": "", "chosen": "good", "rejected": "bad", "system": "", "history": [["Q1", "A1"]]}
    ]


def test_sharegpt() -> None:
    assert exported("sharegpt", Form.DIALOGUE, DIALOGUE_SPLIT, [{"messages": turns("Q", "A", system="S")}]) == [
        {"conversations": [{"from": "system", "value": "S"}, {"from": "human", "value": "Q"}, {"from": "gpt", "value": "A"}]}
    ]
    rows = [{"prompt": turns("Q"), "chosen": answer("good"), "rejected": answer("bad")}]
    assert exported("sharegpt", Form.PREFERENCE, PREFERENCE_SPLIT, rows) == [
        {
            "conversations": [{"from": "human", "value": "Q"}],
            "chosen": {"from": "gpt", "value": "good"},
            "rejected": {"from": "gpt", "value": "bad"},
        }
    ]


def test_openai() -> None:
    messages = turns("Q", "A", system="S")
    assert exported("openai", Form.DIALOGUE, DIALOGUE_SPLIT, [{"messages": messages}]) == [{"messages": messages}]
    rows = [{"prompt": turns("Q", system="S"), "chosen": answer("good"), "rejected": answer("bad")}]
    assert exported("openai", Form.PREFERENCE, PREFERENCE_SPLIT, rows) == [
        {"input": {"messages": turns("Q", system="S")}, "preferred_output": answer("good"), "non_preferred_output": answer("bad")}
    ]


def test_prompts_and_texts_of_llama_factory() -> None:
    rows = [{"prompt": turns("Q1", "A1", "Q2", system="S")}, {"prompt": turns("Q")}]
    assert exported("llama-factory", Form.PROMPT, PROMPT_SPLIT, rows) == [
        {"instruction": "Q2", "input": "", "system": "S", "history": [["Q1", "A1"]]},
        {"instruction": "Q", "input": "", "system": "", "history": []},
    ]
    assert exported("llama-factory", Form.TEXT, TEXT_SPLIT, [{"text": ODD, "title": "T"}]) == [{"text": ODD}]


def test_chatlm() -> None:
    rows = [{"messages": turns("Q", "A")}, {"messages": turns("Q1", "A1", "Q2", "A2")}]
    first, second = exported("chatlm", Form.DIALOGUE, DIALOGUE_SPLIT, rows)
    assert first == {"prompt": "Q", "response": "A"}
    assert second["response"] == "A2"
    assert [second["prompt"].index(t) for t in ("Q1", "A1", "Q2")] == sorted(second["prompt"].index(t) for t in ("Q1", "A1", "Q2"))
    assert second["prompt"].endswith("Q2")
    rows = [{"prompt": turns("Q"), "chosen": answer("good"), "rejected": answer("bad")}]
    assert exported("chatlm", Form.PREFERENCE, PREFERENCE_SPLIT, rows) == [{"prompt": "Q", "chosen": "good", "rejected": "bad"}]


def test_chatlm_takes_the_end_mark_off_pairs() -> None:
    from corpus.splits.templates import TEMPLATES

    split = table_of(PAIR_SPLIT, [{"prompt": "P", "response": "R</s>"}, {"prompt": "P", "response": "</s> in between"}])
    made = FORMATS["chatlm"][Form.PAIR].make(split, TEMPLATES["human-assistant"])
    assert made.to_pylist() == [{"prompt": "P", "response": "R"}, {"prompt": "P", "response": "</s> in between"}]


def test_jsonl_says_every_column() -> None:
    rows = [{"messages": turns(ODD, "A", system="S"), "subset": None, "repeat": 2}]
    assert exported("jsonl", Form.DIALOGUE, DIALOGUE_SPLIT, rows) == table_of(DIALOGUE_SPLIT, rows).to_pylist()
    rows = [{"prompt": turns("Q"), "chosen": answer("good"), "rejected": answer(ODD)}]
    assert exported("jsonl", Form.PREFERENCE, PREFERENCE_SPLIT, rows) == table_of(PREFERENCE_SPLIT, rows).to_pylist()


def fit(format: str, form: str, table: Table, rows: list[dict[str, Any]]) -> list[str]:
    return [reason(int(code)) for code in FORMATS[format][form].fit(table_of(table, rows))]


SYSTEM = [{"role": "system", "content": "S"}]


@pytest.mark.parametrize(
    ("messages", "strict", "loose"),
    [
        (turns("Q", "A"), "", ""),
        (turns("Q", "A", system="S"), "", ""),
        (turns("Q"), "no_answer", "no_answer"),
        ([], "no_answer", "no_answer"),
        (SYSTEM, "no_answer", "no_answer"),
        (answer("A"), "no_question", "no_question"),
        (SYSTEM + answer("A"), "no_question", "no_question"),
        (turns("Q", "A", "Q") + SYSTEM + answer("A"), "turns", ""),
        (SYSTEM + SYSTEM + turns("Q", "A"), "turns", ""),
        (turns("Q") + turns("Q", "A"), "turns", ""),
        (turns("A", "Q", "A", first="assistant"), "turns", ""),
    ],
)
def test_dialogues_that_do_not_fit(messages: Any, strict: str, loose: str) -> None:
    rows = [{"messages": turns("before", "it")}, {"messages": messages}, {"messages": turns("after", "it")}]
    for format in ("alpaca", "sharegpt", "llama-factory", "hugchat"):
        assert fit(format, Form.DIALOGUE, DIALOGUE_SPLIT, rows) == ["", strict, ""]
    for format in ("openai", "chatlm"):
        assert fit(format, Form.DIALOGUE, DIALOGUE_SPLIT, rows) == ["", loose, ""]
    assert fit("jsonl", Form.DIALOGUE, DIALOGUE_SPLIT, rows) == ["", "", ""]


@pytest.mark.parametrize(
    ("prompt", "chosen", "expected"),
    [
        (turns("Q"), answer("A"), ""),
        ([], answer("A"), "no_question"),
        (turns("Q", "A"), answer("A"), "no_question"),
        (turns("Q"), answer("A") + turns("Q", "A"), "sides"),
        (turns("Q"), [], "sides"),
        (turns("Q"), turns("Q"), "sides"),
        (turns("Q") + turns("Q"), answer("A"), "turns"),
    ],
)
def test_preferences_that_do_not_fit(prompt: Any, chosen: Any, expected: str) -> None:
    good = {"prompt": turns("before"), "chosen": answer("A"), "rejected": answer("B")}
    rows = [good, {"prompt": prompt, "chosen": chosen, "rejected": answer("B")}, good]
    other = [good, {"prompt": prompt, "chosen": answer("B"), "rejected": chosen}, good]
    for format in ("alpaca", "sharegpt", "llama-factory"):
        assert fit(format, Form.PREFERENCE, PREFERENCE_SPLIT, rows) == ["", expected, ""]
        assert fit(format, Form.PREFERENCE, PREFERENCE_SPLIT, other) == ["", expected, ""]
    assert fit("openai", Form.PREFERENCE, PREFERENCE_SPLIT, rows) == ["", "" if expected == "turns" else expected, ""]


def test_pieces_of_a_table_are_converted_like_the_whole() -> None:
    rows = [{"messages": turns(*[f"{n}-{k}" for k in range(2 * (1 + n % 3))], system="S" if n % 2 else None)} for n in range(9)]
    whole = table_of(DIALOGUE_SPLIT, rows)
    for name, forms in FORMATS.items():
        shape = forms.get(Form.DIALOGUE)
        if shape is None:
            continue
        made = shape.make(whole, None)
        parts = [shape.make(whole.slice(at, 2), None) for at in range(0, 9, 2)]
        assert pa.concat_tables(parts).to_pylist() == made.to_pylist(), name
        assert np.concatenate([shape.fit(whole.slice(at, 2)) for at in range(0, 9, 2)]).tolist() == [0] * 9


def test_forms_are_told_by_their_columns() -> None:
    tables = {
        Form.DIALOGUE: DIALOGUE_SPLIT, Form.PREFERENCE: PREFERENCE_SPLIT, Form.PROMPT: PROMPT_SPLIT, Form.TEXT: TEXT_SPLIT,
        Form.PAIR: PAIR_SPLIT, REQUEST: REQUEST_SPLIT,
    }  # fmt: skip
    for form, table in tables.items():
        schema = table.schema
        assert form_of(schema.names, schema.field("prompt").type if "prompt" in schema.names else None) == form
        assert all(set(shape.needs or ()) <= set(schema.names) for forms in FORMATS.values() if (shape := forms.get(form)))
    assert set(TOLD) == set(tables) == set(FORMATS["jsonl"])
    assert all(reason(n + 1) == name for n, name in enumerate(LEFT_OUT))


@given(conversations=st.lists(DIALOGUES, max_size=4))
def test_parts_of_conversations(conversations: list[Any]) -> None:
    column = pa.array(conversations, MESSAGES)
    assert without_last(column).to_pylist() == [m[:-1] for m in conversations]
    found = Turns.of(column)
    assert found.systems().to_pylist() == [m[0]["content"] if m[0]["role"] == "system" else "" for m in conversations]
    assert found.last().to_pylist() == [m[-1]["content"] for m in conversations]


@given(texts=st.lists(TEXTS, min_size=1, max_size=6))
def test_json_is_what_orjson_writes(texts: list[str]) -> None:
    rows = pa.table({"text": pa.array(texts), "number": pa.array(range(len(texts)), pa.int32())})
    assert json_lines(rows) == b"".join(orjson.dumps(r) + b"\n" for r in rows.to_pylist())
