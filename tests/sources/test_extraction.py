"""DuIE: what a model is to answer parses back to the triples that the publisher annotated, before and after cleaning."""

from __future__ import annotations

import json
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from corpus.recipe import Clean
from corpus.schema import ROWS
from corpus.sources import registry
from corpus.sources.base import Emit, Reject
from corpus.stages.clean import clean

DUIE = registry()["duie"]


def parsed(*records: dict[str, Any]) -> pa.Table:
    """Rows of schema ROWS."""
    emit = Emit("duie/train_data.json")
    for record in records:
        DUIE.parse(record, emit)
    columns, n = emit.columns(), len(emit)
    known = {
        "row_id": pa.array([f"{i:032x}" for i in range(n)]),
        "source": pa.repeat("duie", n),
        "license": pa.repeat(DUIE.license, n),
        "file": pa.repeat("f", n),
        "record": pa.array(range(n), pa.int64()),
    }
    return pa.table([known.get(c.name, columns.get(c.name, pa.nulls(n, c.type))).cast(c.type) for c in ROWS.columns], schema=ROWS.schema)


def answers(rows: pa.Table) -> list[Any]:
    """The answer of every row, read as JSON."""
    return [json.loads(messages[-1]["content"]) for messages in rows["messages"].to_pylist()]


def triple(subject: str, predicate: str, obj: Any) -> dict[str, Any]:
    return {"subject": subject, "subject_type": "x", "predicate": predicate, "object": obj, "object_type": "y"}


TRIPLES = [
    (triple("《“永不”》", "出品公司", "A\\B公司"), ["《“永不”》", "出品公司", "A\\B公司"]),
    (triple('《a"b"c》', "主演", {"@value": "张三（演员）[注1]"}), ['《a"b"c》', "主演", "张三（演员）[注1]"]),
    (triple("AC/DC \\n", "上映时间", {"@value": "2015年", "inArea": "中国，香港"}), ["AC/DC \\n", "上映时间", {"@value": "2015年", "inArea": "中国，香港"}]),
    (triple("[甲], (乙)", "获奖", {"@value": "奖", "onDate": None}), ["[甲], (乙)", "获奖", "奖"]),
    (triple("null", "{}", "true"), ["null", "{}", "true"]),
    (triple("１２３ＡＢＣ", "’", "a\tb"), ["１２３ＡＢＣ", "’", "a\tb"]),
]  # fmt: skip


def test_gold_answers_parse_back() -> None:
    record = {"text": "一个句子。", "postag": [], "spo_list": [given for given, _ in TRIPLES]}
    assert answers(parsed(record, {"text": "没有。", "spo_list": []})) == [[expected for _, expected in TRIPLES], []]


@pytest.mark.parametrize("script", ["keep", "simplified"])
def test_gold_answers_parse_back_after_cleaning(script: str) -> None:
    record = {"text": "一个句子。", "spo_list": [given for given, _ in TRIPLES]}
    cleaned = clean(parsed(record), Clean.model_validate({"script": script}), DUIE.traits)
    assert answers(cleaned.rows) == [[expected for _, expected in TRIPLES]]


_WORD = st.one_of(st.text(st.characters(exclude_categories=["Cs"]), max_size=12), st.text('"\\/[]{}()，,：:“”《》nu0041 \n中', max_size=12))
_OBJECT = st.one_of(_WORD, _WORD.map(lambda word: {"@value": word}), st.fixed_dictionaries({"@value": _WORD, "inArea": _WORD}))


@given(st.lists(st.tuples(_WORD, _WORD, _OBJECT), max_size=4))
@settings(deadline=None, max_examples=60)
def test_whatever_the_words_answers_parse_back(triples: list[tuple[str, str, Any]]) -> None:
    found = parsed({"text": "句子", "spo_list": [triple(*t) for t in triples]})
    expected = [[s, p, o["@value"] if isinstance(o, dict) and set(o) == {"@value"} else o] for s, p, o in triples]
    assert answers(found) == [expected]
    # Rules may mend a word; what is written stays a list of triples.
    cleaned = answers(clean(found, Clean(), DUIE.traits).rows)[0]
    assert [len(t) for t in cleaned] == [3] * len(triples)


def test_the_hidden_parts_are_prompts_and_what_is_no_triple_is_rejected() -> None:
    assert parsed({"text": "句子"})["kind"].to_pylist() == ["prompt"]
    for wrong in ({"text": "句子", "spo_list": {}}, {"text": "句子", "spo_list": [triple("a", "b", 3)]}):
        with pytest.raises(Reject):
            parsed(wrong)
