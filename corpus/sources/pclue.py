"""pCLUE: prompts over nine Chinese tasks of the CLUE benchmark, with the options where a task has some.

`answer_choices` is a list, missing, or a string. Every string in the published files is empty (the keyword task has no options), so an
empty one means the same as a missing field; one that says something would be a single option. In `meta` it is always a list, with its
duplicates, as published.
"""

from __future__ import annotations

from typing import Any

from corpus.schema import Kind
from corpus.sources.base import Emit, Files, Hub, Reject, Source
from corpus.sources.shapes import ASSISTANT, USER, need, rest, text_of
from corpus.text.settings import Traits


def parse(record: Any, emit: Emit, /) -> None:
    """{input, target?, type, answer_choices?}; the closed test set has no target and yields prompts."""
    need(record, "input")
    meta = rest(record, "input", "target", "answer_choices") or {}
    choices = record.get("answer_choices")
    if isinstance(choices, str):
        choices = [choices] if choices.strip() else None
    if choices is not None and not isinstance(choices, list):
        raise Reject("shape", f"field 'answer_choices' holds {type(choices).__name__}, expected a list or a string")
    if choices:
        meta["answer_choices"] = choices
    if record.get("target") is None:
        emit.prompt([(USER, text_of(record, "input", empty=False))], meta=meta)
    else:
        emit.dialogue([(USER, text_of(record, "input")), (ASSISTANT, text_of(record, "target"))], meta=meta)


SOURCES: tuple[Source, ...] = (
    Source(
        name="pclue",
        about="pCLUE: 1.2 million Chinese prompts over CLUE tasks (classification, inference, reading, keywords, coreference)",
        address="https://github.com/CLUEbenchmark/pCLUE",
        license="none stated",
        folder="pclue",
        files=(
            Files("pCLUE_train*.json*", split="train"),
            Files("pCLUE_dev*.json*", split="validation"),
            Files("pCLUE_test*.json*", split="test"),
            Files("pclue/**/train.json*", split="train"),
            Files("pclue/**/validation.json*", split="validation"),
        ),
        parse=parse,
        kinds=(Kind.DIALOGUE, Kind.PROMPT),
        languages=("zh",),
        hub=Hub("wbbbbb/pclue", ("*.jsonl",)),
        obtain="the publisher's own files are datasets/pCLUE_*.json of the GitHub repository",
        traits=Traits(html=True),
    ),
)
