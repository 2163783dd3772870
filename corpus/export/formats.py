"""The formats: for each form of a split which rows fit, and what becomes of their columns.

Everything here is a pure function over columns of the split tables (`corpus.schema`). A format names the forms that it can say; the
others are refused before anything is written, because a trainer would take such a file and skip its rows, or fail after hours.

Where the layouts come from: Alpaca and ShareGPT as LLaMA-Factory's data/README.md and its converters read them, OpenAI's guides on
supervised fine-tuning and on direct preference optimization, the lines that HugNLP trains HugChat on, and the files of ChatLM-mini-Chinese.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import partial
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc

from corpus.errors import UsageError
from corpus.export.turns import Fit, Turns, ends, pairs, without_last
from corpus.recipe_splits import Form
from corpus.splits.templates import TEMPLATES, Template, render

REQUEST = "request"
"""The form of requests, beside those that a recipe can ask for."""

LINEAGE = ("row_id", "source", "license")
"""What can be added to every object, so that `corpus why` can tell of it."""


class Layout(StrEnum):
    """How objects follow each other in a file; the value is the end of its name."""

    ARRAY = "json"
    LINES = "jsonl"
    PARQUET = "parquet"


@dataclass(frozen=True, slots=True)
class Shape:
    """How a form of split is said in a format.

    Attributes:
        layout: of the files.
        needs: the columns that are read; None for all.
        fit: which rows can be said; only those are given to `make`.
        make: columns of the split and the build's template → columns of the export.
        info: what LLaMA-Factory's dataset_info.json says of such a file, beside its name.
    """

    layout: Layout
    needs: tuple[str, ...] | None
    fit: Callable[[pa.Table], Fit]
    make: Callable[[pa.Table, Template | None], pa.Table]
    info: Mapping[str, Any] | None = None


def form_of(names: list[str], prompt: pa.DataType | None) -> str:
    """The form of a split file.

    Args:
        names: its columns.
        prompt: the type of its column `prompt`, None where it has none.
    """
    if "rejected" in names:
        return Form.PREFERENCE
    if "chosen" in names:
        return REQUEST
    if prompt is not None:
        return Form.PAIR if pa.types.is_string(prompt) or pa.types.is_large_string(prompt) else Form.PROMPT
    return Form.DIALOGUE if "messages" in names else Form.TEXT


def _one(table: pa.Table, name: str) -> pa.Array:
    column = table[name].combine_chunks()
    return column if isinstance(column, pa.Array) else pa.concat_arrays(column.chunks)


def _all(table: pa.Table) -> Fit:
    return np.zeros(table.num_rows, dtype=np.int8)


def _answered(table: pa.Table, *, alternating: bool) -> Fit:
    return ends(_one(table, "messages"), "assistant", alternating=alternating)


def _asking(table: pa.Table) -> Fit:
    return ends(_one(table, "prompt"), "user", alternating=True)


def _pairs(table: pa.Table, *, alternating: bool) -> Fit:
    return pairs(_one(table, "prompt"), _one(table, "chosen"), _one(table, "rejected"), alternating=alternating)


# ---------------------------------------------------------------------------------------------------------------------- Alpaca


def _asked(turns: Turns, tail: int) -> dict[str, pa.Array]:
    """Every object has the same keys, in the same types: loaders take those of the first object for all."""
    question = turns.last(tail - 1)
    return {
        "instruction": question,
        "input": pc.fill_null(pa.nulls(len(question), pa.string()), ""),
        "system": turns.systems(),
        "history": turns.history(tail),
    }


def _alpaca_dialogue(table: pa.Table, template: Template | None) -> pa.Table:
    turns = Turns.of(_one(table, "messages"))
    asked = _asked(turns, 2)
    return pa.table({"instruction": asked["instruction"], "input": asked["input"], "output": turns.last(), **asked})


def _alpaca_preference(table: pa.Table, template: Template | None) -> pa.Table:
    asked = _asked(Turns.of(_one(table, "prompt")), 1)
    sides = {side: Turns.of(_one(table, side)).last() for side in ("chosen", "rejected")}
    return pa.table({"instruction": asked["instruction"], "input": asked["input"], **sides, **asked})


def _alpaca_prompt(table: pa.Table, template: Template | None) -> pa.Table:
    asked = _asked(Turns.of(_one(table, "prompt")), 1)
    return pa.table({name: asked[name] for name in ("instruction", "input", "system", "history")})


# ---------------------------------------------------------------------------------------------------------------------- ShareGPT

_SPEAKERS = pa.array(["system", "human", "gpt"])
"""ShareGPT's names of the roles, in the order of ROLES."""


def _spoken(messages: pa.ListArray) -> pa.ListArray:
    turns = Turns.of(messages)
    said = pa.StructArray.from_arrays([_SPEAKERS.take(pa.array(turns.roles)), turns.contents], names=["from", "value"])
    return pa.ListArray.from_arrays(pa.array(turns.offsets.astype(np.int32)), said)


def _sharegpt_dialogue(table: pa.Table, template: Template | None) -> pa.Table:
    return pa.table({"conversations": _spoken(_one(table, "messages"))})


def _sharegpt_preference(table: pa.Table, template: Template | None) -> pa.Table:
    sides = {side: _spoken(_one(table, side)).flatten() for side in ("chosen", "rejected")}
    return pa.table({"conversations": _spoken(_one(table, "prompt")), **sides})


_TAGS = {"role_tag": "from", "content_tag": "value", "user_tag": "human", "assistant_tag": "gpt", "system_tag": "system"}

# ---------------------------------------------------------------------------------------------------------------------- OpenAI


def _openai_dialogue(table: pa.Table, template: Template | None) -> pa.Table:
    return table.select(["messages"])


def _openai_preference(table: pa.Table, template: Template | None) -> pa.Table:
    given = pa.StructArray.from_arrays([_one(table, "prompt")], names=["messages"])
    return pa.table({"input": given, "preferred_output": _one(table, "chosen"), "non_preferred_output": _one(table, "rejected")})


# ---------------------------------------------------------------------------------------------------------------------- HugChat, ChatLM


def _template(name: str) -> Template:
    if name not in TEMPLATES:
        raise UsageError(f"there is no template {name!r}, which this format is written in; known are {', '.join(sorted(TEMPLATES))}")
    return TEMPLATES[name]


def _hugchat(table: pa.Table, template: Template | None) -> pa.Table:
    return pa.table({"text": render(_template("hugchat"), _one(table, "messages"))[0]})


def _read_text(messages: pa.ListArray) -> pa.Array:
    """Conversations as one text each, as an encoder reads them. A single question stands alone."""
    plain = _template("plain")
    texts, _ = render(plain, messages)
    return pl.Series(texts).str.strip_suffix(plain.after["user"]).to_arrow().cast(pa.string())


def _chatlm_dialogue(table: pa.Table, template: Template | None) -> pa.Table:
    messages = _one(table, "messages")
    return pa.table({"prompt": _read_text(without_last(messages)), "response": Turns.of(messages).last()})


def _chatlm_preference(table: pa.Table, template: Template | None) -> pa.Table:
    sides = {side: Turns.of(_one(table, side)).last() for side in ("chosen", "rejected")}
    return pa.table({"prompt": _read_text(_one(table, "prompt")), **sides})


def _chatlm_pair(table: pa.Table, template: Template | None) -> pa.Table:
    """ChatLM's tokenizer adds its end mark itself; one in the text would be learned as letters."""
    response = _one(table, "response")
    if template is not None:
        response = pl.Series(response).str.strip_suffix(template.after["assistant"]).to_arrow().cast(pa.string())
    return pa.table({"prompt": _one(table, "prompt"), "response": response})


# ---------------------------------------------------------------------------------------------------------------------- all of them


def _same(table: pa.Table, template: Template | None) -> pa.Table:
    return table


def _text(table: pa.Table, template: Template | None) -> pa.Table:
    return table.select(["text"])


_PAIR = ("prompt", "chosen", "rejected")
_ALTERNATE = partial(_answered, alternating=True)
_ALTERNATE_PAIRS = partial(_pairs, alternating=True)
_LOOSE = partial(_answered, alternating=False)
_LOOSE_PAIRS = partial(_pairs, alternating=False)
_ANY = Shape(Layout.LINES, None, _all, _same)

FORMATS: dict[str, dict[str, Shape]] = {
    "alpaca": {
        Form.DIALOGUE: Shape(Layout.ARRAY, ("messages",), _ALTERNATE, _alpaca_dialogue),
        Form.PREFERENCE: Shape(Layout.ARRAY, _PAIR, _ALTERNATE_PAIRS, _alpaca_preference),
    },
    "sharegpt": {
        Form.DIALOGUE: Shape(Layout.ARRAY, ("messages",), _ALTERNATE, _sharegpt_dialogue),
        Form.PREFERENCE: Shape(Layout.ARRAY, _PAIR, _ALTERNATE_PAIRS, _sharegpt_preference),
    },
    "jsonl": {str(form): _ANY for form in (*Form, REQUEST)},
    "openai": {
        Form.DIALOGUE: Shape(Layout.LINES, ("messages",), _LOOSE, _openai_dialogue),
        Form.PREFERENCE: Shape(Layout.LINES, _PAIR, _LOOSE_PAIRS, _openai_preference),
    },
    # Lines where the types cannot change from one block of a loader to the next. An empty history has no type, so prompts are an array,
    # which loaders take as a whole.
    "llama-factory": {
        Form.DIALOGUE: Shape(
            Layout.LINES, ("messages",), _ALTERNATE, _sharegpt_dialogue,
            {"formatting": "sharegpt", "columns": {"messages": "conversations"}, "tags": _TAGS},
        ),
        Form.PREFERENCE: Shape(
            Layout.LINES, _PAIR, _ALTERNATE_PAIRS, _sharegpt_preference,
            {
                "formatting": "sharegpt", "ranking": True,
                "columns": {"messages": "conversations", "chosen": "chosen", "rejected": "rejected"}, "tags": _TAGS,
            },
        ),
        # Its ShareGPT reader skips conversations without an answer; its Alpaca reader takes a row without a response for a prompt.
        Form.PROMPT: Shape(
            Layout.ARRAY, ("prompt",), _asking, _alpaca_prompt,
            {"formatting": "alpaca", "columns": {"prompt": "instruction", "query": "input", "system": "system", "history": "history"}},
        ),
        Form.TEXT: Shape(Layout.LINES, ("text",), _all, _text, {"formatting": "alpaca", "columns": {"prompt": "text"}}),
    },
    "hugchat": {Form.DIALOGUE: Shape(Layout.LINES, ("messages",), _ALTERNATE, _hugchat)},
    "chatlm": {
        Form.DIALOGUE: Shape(Layout.PARQUET, ("messages",), _LOOSE, _chatlm_dialogue),
        Form.PREFERENCE: Shape(Layout.ARRAY, _PAIR, _LOOSE_PAIRS, _chatlm_preference),
        Form.PAIR: Shape(Layout.PARQUET, ("prompt", "response"), _all, _chatlm_pair),
    },
}  # fmt: skip
"""Format → form of a split → its shape there."""

TOLD = {
    Form.TEXT: "texts",
    Form.PAIR: "text-to-text pairs",
    Form.DIALOGUE: "conversations",
    Form.PREFERENCE: "preference pairs",
    Form.PROMPT: "prompts without an answer",
    REQUEST: "requests, whose rejected answer is yet to be generated",
}
"""What a split of a form holds, in words."""


def with_lineage(made: pa.Table, rows: pa.Table) -> pa.Table:
    """Adds the columns of LINEAGE, where the format does not have them."""
    for name in LINEAGE:
        if name not in made.column_names:
            made = made.append_column(name, rows[name].combine_chunks())
    return made
