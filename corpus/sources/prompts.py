"""Prompt collections: tasks for an assistant to play a part, without answers."""

from __future__ import annotations

from typing import Any

from corpus.schema import Kind
from corpus.sources.base import Emit, Files, Hub, Source
from corpus.sources.shapes import USER, need, rest, text_of


def _act(record: Any, emit: Emit, /) -> None:
    """{act, prompt} and, since 2025, {for_devs, type, contributor}: `act` names the part and is not said to the assistant."""
    need(record, "prompt")
    emit.prompt([(USER, text_of(record, "prompt", empty=False))], meta=rest(record, "prompt"))


SOURCES: tuple[Source, ...] = (
    Source(
        name="awesome-chatgpt-prompts",
        about="Prompts that make a chat assistant play a part, in English",
        address="https://github.com/f/awesome-chatgpt-prompts",
        license="CC0 1.0",
        folder="awesome_chatgpt_prompts",
        files=(
            Files("awesome_chatgpt_prompts/**/prompts.csv"),
            Files("awesome-chatgpt-prompts/**/prompts.csv"),
            Files("prompts.csv"),
        ),
        parse=_act,
        kinds=(Kind.PROMPT,),
        hub=Hub("fka/awesome-chatgpt-prompts", ("prompts.csv",)),
    ),
    Source(
        name="awesome-chatgpt-prompts-zh",
        about="Prompts that make a chat assistant play a part, in simplified and in traditional Chinese",
        address="https://github.com/PlexPt/awesome-chatgpt-prompts-zh",
        license="MIT",
        folder="awesome_chatgpt_prompts_zh",
        files=(Files("prompts-zh.json"), Files("prompts-zh-TW.json", subset="zh-TW")),
        parse=_act,
        kinds=(Kind.PROMPT,),
        languages=("zh",),
        obtain="download prompts-zh.json and prompts-zh-TW.json from the address into awesome_chatgpt_prompts_zh/",
    ),
)
