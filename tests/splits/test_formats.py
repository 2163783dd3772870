"""Split files load with `datasets` and fit TRL's formats as they are: no mapping, no renaming, no decoding.

TRL (docs, "Dataset formats and types") takes for SFT a column `messages`, for reward models and DPO `prompt`, `chosen` and `rejected`, for
trainers that generate `prompt`, each a list of {role, content}, and for texts a column `text`; it tells a conversation by its first message
having a role and a content. Other columns are left alone.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from corpus.recipe_splits import SPLIT_FORMS, Form
from tests.export.made import TABLES, answer, make_warehouse, turns

CONVERSATIONS = {
    Form.DIALOGUE: ("messages",), Form.PREFERENCE: ("prompt", "chosen", "rejected"), Form.PROMPT: ("prompt",), Form.TEXT: (), Form.PAIR: (),
}  # fmt: skip
"""The columns that TRL takes for conversations, by form."""

_LOADED = {"train": "train", "eval": "test", "test": "test"}
"""What `datasets` makes of the names of parts: it takes eval and test for the same."""

TEXTS = {Form.TEXT: ("text",), Form.PAIR: ("prompt", "response")}

LONG = [{"messages": turns("Q1", "A1", "Q2", "A2", system="系统"), "subset": "zh"}, {"messages": turns("Q", "")}]
PAIRS = [
    {"prompt": turns("Q", "A", "Q2", system="S"), "chosen": answer("好"), "rejected": answer("坏")},
    {"prompt": turns("Q"), "chosen": answer("good"), "rejected": answer("bad")},
]
PROMPTS = [{"prompt": turns("Q", system="S")}, {"prompt": turns("Q", "A", "Q2")}]
DOCUMENTS = [{"text": "一\n\ntwo", "title": "T"}, {"text": "three"}]
ROWS = {
    "pretrain": DOCUMENTS, "tokenizer": DOCUMENTS, "instruct": LONG, "sft": LONG, "test": LONG, "rm": PAIRS, "dpo": PAIRS, "ppo": PROMPTS,
}  # fmt: skip


@pytest.fixture(scope="module")
def datasets(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """The library, away from the network and from the user's cache."""
    with pytest.MonkeyPatch.context() as patch:
        if "datasets" not in sys.modules:
            patch.setenv("HF_HOME", str(tmp_path_factory.mktemp("hf")))
            patch.setenv("HF_HUB_OFFLINE", "1")
        yield pytest.importorskip("datasets")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the splits of a recipe. Set SPLITS_REAL to that of a real build to look at that instead."""
    real = os.environ.get("SPLITS_REAL")
    if real:
        return Path(real)
    place = tmp_path_factory.mktemp("splits")
    # An empty file beside a full one, and columns that are null in a whole file: what loaders infer types from must not depend on rows.
    splits = {f"{name}:{part}": [rows, [], rows[1:]] for name, rows in ROWS.items() for part in ("train", "eval")}
    return make_warehouse(place / "wh", splits) / "splits/small"


def conversational(example: dict[str, Any], column: str) -> bool:
    """Whether TRL takes the column of a row for a conversation."""
    value = example[column]
    return isinstance(value, list) and bool(value) and isinstance(value[0], dict) and "role" in value[0] and "content" in value[0]


def test_every_split_has_an_example() -> None:
    assert set(ROWS) == set(SPLIT_FORMS)
    assert set(ROWS) <= set(TABLES)
    assert set(CONVERSATIONS) == set(Form)


@pytest.mark.parametrize("name", sorted(SPLIT_FORMS))
@pytest.mark.parametrize("streaming", [False, True])
def test_a_split_loads_and_fits(folder: Path, datasets: Any, tmp_path: Path, name: str, streaming: bool) -> None:
    if not (folder / name).is_dir():
        pytest.skip(f"the build has no split {name}")
    loaded = datasets.load_dataset("parquet", data_dir=str(folder / name), cache_dir=str(tmp_path), streaming=streaming)
    parts = {_LOADED[p.name.partition("-")[0]] for p in (folder / name).glob("*.parquet")}
    assert set(loaded) == parts
    for part in loaded.values():
        columns = set(part.column_names or part.features)
        form = Form.PAIR if {"prompt", "response"} <= columns else SPLIT_FORMS[name]
        for column in CONVERSATIONS[form]:
            message = part.features[column].feature
            assert {k: v.dtype for k, v in message.items()} == {"role": "string", "content": "string"}
        for column in ("row_id", "source", "license", *TEXTS.get(form, ("text",))):
            assert part.features[column].dtype == "string"
        seen = 0
        for example in part if streaming else part.select(range(min(200, len(part)))):
            seen += 1
            if seen > 200:
                break
            for column in CONVERSATIONS[form]:
                assert conversational(example, column), column
                assert {m["role"] for m in example[column]} <= {"system", "user", "assistant"}
            if form is Form.DIALOGUE and name != "test":
                assert example["messages"][-1]["role"] == "assistant"
            if form is Form.PREFERENCE:
                assert example["chosen"][0]["role"] == example["rejected"][0]["role"] == "assistant"
            if form is Form.PROMPT:
                assert example["prompt"][-1]["role"] == "user"
            if "spans" in example:
                assert all(0 <= s["start"] < s["end"] <= len(example["text"]) for s in example["spans"])
        assert seen


@pytest.mark.parametrize("name", ["sft", "dpo", "ppo", "pretrain"])
def test_rows_come_as_they_were_written(datasets: Any, tmp_path: Path, name: str) -> None:
    root = make_warehouse(tmp_path / "wh", {f"{name}:train": [ROWS[name]]})
    [loaded] = datasets.load_dataset("parquet", data_dir=str(root / "splits/small" / name), cache_dir=str(tmp_path / "cache")).values()
    for row, example in zip(ROWS[name], loaded, strict=True):
        assert {k: example[k] for k in row} == row
