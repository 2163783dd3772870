"""A user's own files: every shape, renamed columns, and errors that name the way out."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from corpus.errors import RecipeError
from corpus.schema import Kind
from corpus.sources.base import Emit, Files, Reject, Source
from corpus.sources.generic import SHAPES, generic_source
from corpus.sources.read import Occurrences, read_file

USER, BOT, SYSTEM = "user", "assistant", "system"


def made(source: Source, record: Any) -> dict[str, Any]:
    emit = Emit()
    source.parse(record, emit)
    assert len(emit) == 1
    row = {k: c[0].as_py() for k, c in emit.columns().items()}
    for key in ("messages", "chosen", "rejected"):
        row[key] = [(m["role"], m["content"]) for m in row[key] or ()]
    row["meta"] = json.loads(row["meta"]) if row["meta"] else None
    return {k: v for k, v in row.items() if v}


CASES = {
    "alpaca": (
        {"instruction": "Add", "input": "1+1", "output": "2", "history": [["Hi", "Hello"]], "system": "Be brief", "id": 4},
        {
            "kind": "dialogue", "meta": {"id": 4},
            "messages": [(SYSTEM, "Be brief"), (USER, "Hi"), (BOT, "Hello"), (USER, "Add\n1+1"), (BOT, "2")],
        },
    ),
    "sharegpt": (
        {"conversations": [{"from": "human", "value": "你好"}, {"from": "gpt", "value": "你好！"}], "system": ""},
        {"kind": "dialogue", "messages": [(USER, "你好"), (BOT, "你好！")]},
    ),
    "messages": (
        {"messages": [{"role": "system", "content": "S"}, {"role": "user", "content": "Q"}]},
        {"kind": "prompt", "messages": [(SYSTEM, "S"), (USER, "Q")]},
    ),
    "prompt_response": ({"prompt": "Q", "response": ""}, {"kind": "dialogue", "messages": [(USER, "Q"), (BOT, "")]}),
    "preference": (
        {"prompt": "Q", "chosen": "A", "rejected": "B", "margin": 0.5},
        {"kind": "preference", "messages": [(USER, "Q")], "chosen": [(BOT, "A")], "rejected": [(BOT, "B")], "meta": {"margin": 0.5}},
    ),
    "text": ({"text": "A text.", "title": "T", "url": "u"}, {"kind": "document", "text": "A text.", "title": "T", "meta": {"url": "u"}}),
}  # fmt: skip


@pytest.mark.parametrize("text", ["{", '{"a": 1}', "[1, 2]", "[]", '[{"role": "user"}]', "[x] done", '{"value": "A"}'])
def test_an_answer_that_is_json_or_begins_like_it_is_text(text: str) -> None:
    row = made(generic_source("mine", ["*.json"]), {"prompt": text, "chosen": "A", "rejected": text})
    assert (row["messages"], row["chosen"], row["rejected"]) == ([(USER, text)], [(BOT, "A")], [(BOT, text)])


@pytest.mark.parametrize("item", [{"role": "assistant", "content": "A"}, {"from": "gpt", "value": "A"}])
def test_messages_in_a_cell_of_a_csv_file_are_messages(item: dict[str, str]) -> None:
    for cell in (json.dumps(item), json.dumps([item])):
        row = made(generic_source("mine", ["*.json"]), {"prompt": "Q", "chosen": cell, "rejected": "B"})
        assert row["chosen"] == [(BOT, "A")]


@pytest.mark.parametrize("shape", SHAPES)
def test_every_shape_is_read_by_name_and_found_by_itself(shape: str) -> None:
    record, expected = CASES[shape]
    assert made(generic_source("mine", ["*.json"], shape), record) == expected
    assert made(generic_source("mine", ["*.json"]), record) == expected


@pytest.mark.parametrize(
    ("record", "expected"),
    [
        ({"question": "Q", "answer": "A"}, {"kind": "dialogue", "messages": [(USER, "Q"), (BOT, "A")]}),
        ({"instruction": "Q", "input": "", "response": "A"}, {"kind": "dialogue", "messages": [(USER, "Q"), (BOT, "A")]}),
        ({"prompt": "Q"}, {"kind": "prompt", "messages": [(USER, "Q")]}),
        ("A line.", {"kind": "document", "text": "A line."}),
        ({"content": "A text."}, {"kind": "document", "text": "A text."}),
        (
            {"conversations": [{"role": "user", "content": "Q"}, {"role": "assistant", "content": "A"}]},
            {"kind": "dialogue", "messages": [(USER, "Q"), (BOT, "A")]},
        ),
        (
            {"messages": '[{"role": "user", "content": "Q"}]'},
            {"kind": "prompt", "messages": [(USER, "Q")]},
        ),
        (
            {"conversations": '[{"from": "human", "value": "Q"}]'},
            {"kind": "prompt", "messages": [(USER, "Q")]},
        ),
        (
            {"instruction": "Q", "input": "x", "history": [["a", "b"]], "chosen": "A", "rejected": "B"},
            {"kind": "preference", "messages": [(USER, "a"), (BOT, "b"), (USER, "Q\nx")], "chosen": [(BOT, "A")], "rejected": [(BOT, "B")]},
        ),
        (
            {"question": "Q", "response_j": "A", "response_k": "A"},
            {"kind": "preference", "messages": [(USER, "Q")], "chosen": [(BOT, "A")], "rejected": [(BOT, "A")], "skip": "tie"},
        ),
    ],
)  # fmt: skip
def test_auto_knows_the_names_of_the_public_sets(record: Any, expected: dict[str, Any]) -> None:
    assert made(generic_source("mine", ["*"]), record) == expected


def test_columns_are_renamed_and_the_rest_is_kept() -> None:
    fields = {"prompt": "frage", "response": "antwort"}
    record = {"frage": "Q", "antwort": "A", "prompt": "an own column"}
    expected = {"kind": "dialogue", "messages": [(USER, "Q"), (BOT, "A")], "meta": {"prompt": "an own column"}}
    assert made(generic_source("mine", ["*.csv"], "prompt_response", fields=fields), record) == expected
    assert made(generic_source("mine", ["*.csv"], fields=fields), record) == expected


@pytest.mark.parametrize("record", [{"a": 1}, [1, 2], 7, None, {"messages": "[broken"}, {"text": 5}, {"conversations": [{"from": "x"}]}])
def test_what_no_shape_fits_is_rejected(record: Any) -> None:
    with pytest.raises((Reject, ValueError, KeyError, TypeError)):
        made(generic_source("mine", ["*"]), record)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"shape": "alpacca"}, "did you mean 'alpaca'"),
        ({"shape": "alpaca", "fields": {"instructions": "q"}}, "did you mean 'instruction'"),
        ({"fields": {"rejcted": "q"}}, "did you mean 'rejected'"),
        ({"format": "line"}, "did you mean 'lines'"),
        ({"name": "My Data"}, "lower-case"),
        ({"name": "my-test-chats"}, "'test'"),
        ({"files": []}, "names no files"),
    ],
)
def test_mistakes_in_a_recipe_name_the_nearest_known_word(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        generic_source(**{"name": "mine", "files": ["*.json"], **arguments})


def test_a_source_says_what_it_yields() -> None:
    assert generic_source("mine", ["a.txt"], "text").format == "lines"
    assert generic_source("mine", ["a.jsonl"], "text").format == "records"
    assert generic_source("mine", ["a.txt"], "text", format="paragraphs").format == "paragraphs"
    assert generic_source("mine", ["a.json"], "alpaca").kinds == (Kind.DIALOGUE, Kind.PROMPT)
    assert set(generic_source("mine", ["a.json"]).kinds) == set(Kind)
    assert generic_source("mine", [Files("b.json", split="validation")]).match("x/b.json") == Files("b.json", split="validation")


def test_files_of_all_containers_are_read(tmp_path: Path) -> None:
    rows = [{"prompt": "Q1", "response": "A1"}, {"prompt": "Q2", "response": 'A, "2"\nB'}]
    (tmp_path / "a.json").write_text(json.dumps(rows))
    (tmp_path / "b.jsonl").write_text("".join(json.dumps(r) + "\n" for r in rows))
    (tmp_path / "c.csv").write_text('prompt,response\nQ1,A1\nQ2,"A, ""2""\nB"\n')
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "d.parquet")
    source = generic_source("mine", ["*"])
    read = {}
    for path in sorted(tmp_path.iterdir()):
        (batch,) = read_file(source, path, path.name, Occurrences())
        assert batch.rows is not None
        assert batch.rejects == []
        read[path.name] = batch.rows.column("messages").to_pylist()
    assert len({json.dumps(m) for m in read.values()}) == 1
