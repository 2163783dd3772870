"""ShareGPT and its relatives.

The original (`sg_90k_part*.json`) holds the assistant's turns as HTML of the chat page, which is turned back into Markdown here because
HTML is that file's format; all later editions were converted by their publishers and are read as they are. Conversations that end on the
user, begin with the assistant or have no message at all stay rows: what to do with them is for the cleaning rules to say, not for a
reader.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from corpus.schema import Kind
from corpus.sources.base import Emit, Files, Hub, Message, Parse, Reject, Source
from corpus.sources.shapes import ASSISTANT, USER, emit_conversation, need, rest, text_of, turns
from corpus.text.html import looks_like_html, to_text
from corpus.text.settings import Traits

_CHAT_PAGE = re.compile(r"\s*(?:<p>|<div class=\"[^\"]*\b(?:markdown|prose|whitespace-pre-wrap|break-words)\b)")
"""How the page's own markup begins. A user's turn that begins so was copied from a chat; other HTML in it is what the user wrote, mostly
code."""


def _from_page(role: str, text: str) -> str:
    """A turn as it was before the page showed it."""
    if looks_like_html(text) and (role == ASSISTANT or _CHAT_PAGE.match(text)):
        return to_text(text)
    return text


def _conversations(clean: Callable[[str, str], str] | None = None) -> Parse:
    """Makes a parse function for {conversations: [{from, value, …}], …}, which loses no field of a message."""

    def parse(record: Any, emit: Emit, /) -> None:
        items = need(record, "conversations")["conversations"] or []
        if not isinstance(items, list):
            raise Reject("shape", f"field 'conversations' holds {type(items).__name__}, expected a list of messages")
        messages = turns(items, "from", "value") if items else []
        if clean is not None:
            messages = [(role, clean(role, text)) for role, text in messages]
        _emit(messages, items, ("from", "value"), rest(record, "conversations"), emit)

    return parse


def _pairs(record: Any, emit: Emit, /) -> None:
    """{conversation: [{human, assistant}, …], …}: one object for a question and its answer; the last may have no answer yet."""
    items = need(record, "conversation")["conversation"] or []
    if not isinstance(items, list):
        raise Reject("shape", f"field 'conversation' holds {type(items).__name__}, expected a list of question and answer")
    messages: list[Message] = []
    for item in items:
        if not isinstance(item, Mapping) or not ("human" in item or "assistant" in item):
            raise Reject(
                "shape", f"found {', '.join(map(str, item)) if isinstance(item, Mapping) else item!r}, expected fields human and assistant"
            )
        messages += [(role, text_of(item, key)) for key, role in (("human", USER), ("assistant", ASSISTANT)) if item.get(key) is not None]
    _emit(messages, items, ("human", "assistant"), rest(record, "conversation"), emit)


def _emit(messages: list[Message], items: Sequence[Any], used: tuple[str, ...], meta: dict[str, Any] | None, emit: Emit) -> None:
    more = {str(at): extra for at, item in enumerate(items) if (extra := rest(item, *used))}
    if more:
        meta = {**(meta or {}), "message_fields": more}
    if messages:
        emit_conversation(messages, emit, meta=meta)
    else:
        emit.dialogue((), meta=meta)


_PARTS = ("common_zh_70k", "common_en_70k", "computer_zh_26k", "computer_cn_26k", "computer_en_26k", "unknow_zh_38k")

SOURCES: tuple[Source, ...] = (
    Source(
        name="sharegpt-52k",
        about="ShareGPT as it was collected: 90,000 conversations with ChatGPT and others, answers as HTML",
        address="https://huggingface.co/datasets/RyokoAI/ShareGPT52K",
        license="CC0 1.0",
        folder="sharegpt_52k",
        files=(Files("sg_90k_part*.json"), Files("sharegpt_52k/*.json"), Files("ShareGPT52K/*.json")),
        parse=_conversations(_from_page),
        kinds=(Kind.DIALOGUE, Kind.PROMPT),
        languages=("en", "zh"),
        hub=Hub("RyokoAI/ShareGPT52K", ("sg_90k_part*.json",)),
        traits=Traits(page_marks=True),
    ),
    Source(
        name="sharegpt-unfiltered",
        about="ShareGPT cleaned of HTML and cut to 2048 tokens, on which Vicuna's followers trained",
        address="https://huggingface.co/datasets/anon8231489123/ShareGPT_Vicuna_unfiltered",
        license="Apache-2.0",
        folder="sharegpt_vicuna_unfiltered",
        files=(
            Files("ShareGPT_V*_cleaned_split*.json"),
            Files("sg_90k_part*_html_cleaned*.json"),
            Files("sharegpt_vicuna_unfiltered/**/*.json"),
        ),
        parse=_conversations(),
        kinds=(Kind.DIALOGUE, Kind.PROMPT),
        languages=("en", "zh"),
        hub=Hub("anon8231489123/ShareGPT_Vicuna_unfiltered", ("ShareGPT_V3_unfiltered_cleaned_split.json",)),
        traits=Traits(page_marks=True),
    ),
    Source(
        name="vicuna-identity",
        about="Vicuna's identity questions, FastChat's example of the ShareGPT layout",
        address="https://github.com/lm-sys/FastChat",
        license="Apache-2.0",
        folder="sharegpt_vicuna",
        files=(Files("dummy_conversation.json"),),
        parse=_conversations(),
        kinds=(Kind.DIALOGUE, Kind.PROMPT),
        key="exact",  # a few answers to many questions, by design
        obtain="data/dummy_conversation.json of the FastChat repository",
    ),
    Source(
        name="medicalgpt-sharegpt-zh",
        about="1,000 Chinese conversations of ShareGPT, from MedicalGPT",
        address="https://github.com/shibing624/MedicalGPT",
        license="Apache-2.0 code; data for research only",
        folder="medicalgpt",
        files=(Files("sharegpt_zh_1K*.json"), Files("sharegpt_zh_1K*.jsonl")),
        parse=_conversations(),
        kinds=(Kind.DIALOGUE, Kind.PROMPT),
        languages=("zh",),
        obtain="data/finetune/sharegpt_zh_1K.json (later sharegpt_zh_1K_format.jsonl) of the MedicalGPT repository",
        traits=Traits(page_marks=True),
    ),
    Source(
        name="medicalgpt-sft",
        about="1,000 Chinese medical questions and answers in ShareGPT layout, from MedicalGPT",
        address="https://github.com/shibing624/MedicalGPT",
        license="Apache-2.0 code; data for research only",
        folder="medicalgpt",
        files=(Files("medical_sft_1K*.jsonl"),),
        parse=_conversations(),
        kinds=(Kind.DIALOGUE, Kind.PROMPT),
        languages=("zh",),
        obtain="data/finetune/medical_sft_1K_format.jsonl of the MedicalGPT repository",
    ),
    Source(
        name="sharegpt-zh-en-90k",
        about="ShareGPT in parallel Chinese and English, one object for a question and its answer",
        address="https://huggingface.co/datasets/shareAI/ShareGPT-Chinese-English-90k",
        license="Apache-2.0",
        folder="sharegpt_zh_en_90k",
        files=(
            *(Files(f"{folder}{part}*.jsonl", subset=part[: part.rindex("_")]) for part in _PARTS for folder in ("", "sharegpt_jsonl/")),
            Files("sharegpt_jsonl/*.jsonl"),
        ),
        parse=_pairs,
        kinds=(Kind.DIALOGUE, Kind.PROMPT),
        languages=("zh", "en"),
        hub=Hub("shareAI/ShareGPT-Chinese-English-90k", ("**/*.jsonl", "*.jsonl")),
        traits=Traits(page_marks=True),
    ),
)
