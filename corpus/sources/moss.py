"""MOSS: conversations of the models 002 and 003, and the prompts from which they were made.

`meta_instruction` and `prefix` tell MOSS who it is and which tools it has. They are another model's persona, the same kilobyte in every
record, so they go to `meta` and not into the conversation as a system message: a model trained on them would take MOSS's name. What MOSS
thought, called and was told by its tools between question and answer goes to `meta.tools`, turn by turn, because the canonical
conversation has no place for it. The marks by which an answer points to those results (`<sup><|2|></sup>`, in 181 of 1,693 answers) go with
them: without the results they point nowhere, and a model would learn to write them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from corpus.schema import Kind
from corpus.sources.base import Emit, Files, Hub, Message, Reject, Source
from corpus.sources.shapes import ASSISTANT, USER, emit_conversation, need, rest, text_of

_MARKER_002 = re.compile(r"\s*\[(Human|MOSS)\]:[ \t]?")
_ENDS_002 = {
    "Human": re.compile(r"<eoh>(?=\s*(?:\[MOSS\]:|\Z))"),
    "MOSS": re.compile(r"<eoa>(?=\s*(?:\[Human\]:|\Z))"),
}
_ROLES = {"Human": USER, "MOSS": ASSISTANT}
_TURN_KEY = re.compile(r"turn_(\d{1,9})")
_HEAD = re.compile(r"\s*<\|(?:Human|Inner Thoughts|Commands|Results|Tool Responses|MOSS)\|>:[ \n]?")
_CITED = r"(?:<sup>(?:<\|\d{1,3}\|>|\|\d{1,3}\||[ ,，、])*</sup>|<\|\d{1,3}\|>)"
_CITATION = re.compile(rf"(?:(?<![ \t])[ \t]+)?{_CITED}(?!\w)|{_CITED}")
"""A citation with the blank before it; the blank stays where a word follows."""
_UNOPENED = re.compile(r"<\|\d{1,3}\|>([^<>\n]{1,40})</sup>")
"""A citation around what it proves, without its first tag."""
_END_MARKS = ("<eoh>", "<eot>", "<eoc>", "<eor>", "<eom>")


def parse_002(record: Any, emit: Emit, /) -> None:
    """{prefix, num_turns, plain_text}: the conversation is one string, `[Human]: …<eoh> [MOSS]: …<eoa> [Human]: …`."""
    need(record, "plain_text")
    messages = list(_split_002(text_of(record, "plain_text", empty=False)))
    emit_conversation(messages, emit, meta=rest(record, "plain_text"))


def _split_002(text: str) -> Iterator[Message]:
    """Turns of a `plain_text`. An end mark counts only where the other speaker's marker or nothing follows, so that text may speak of
    marks."""
    pos = 0
    expected: str | None = None
    while True:
        found = _MARKER_002.match(text, pos)
        if found is None and pos and not text[pos:].strip():
            return
        if found is None or (expected and found[1] != expected):
            wanted = f"[{expected}]:" if expected else "[Human]:"
            raise Reject("shape", f"expected {wanted} at character {pos}, found {text[pos : pos + 40]!r}")
        end = _ENDS_002[found[1]].search(text, found.end())
        yield _ROLES[found[1]], text[found.end() : end.start() if end else len(text)]
        if end is None:
            return
        pos = end.end()
        expected = "MOSS" if found[1] == "Human" else "Human"


def parse_003(record: Any, emit: Emit, /) -> None:
    """{conversation_id, meta_instruction, num_turns, chat: {turn_1: {Human, Inner Thoughts, Commands, Tool Responses, MOSS}, …},
    category}."""
    chat = need(record, "chat")["chat"]
    if not isinstance(chat, Mapping):
        raise Reject("shape", f"field 'chat' holds {type(chat).__name__}, expected an object of turns")
    messages: list[Message] = []
    tools: list[dict[str, Any]] = []
    for number, key in sorted((_turn_number(key), key) for key in chat):
        turn = need(chat[key])
        for field, role in _ROLES.items():
            if turn.get(field) is not None:
                text = _bare(text_of(turn, field))
                messages.append((role, _uncited(text) if role == ASSISTANT else text))
        other = {k: _bare(v) if isinstance(v, str) else v for k, v in turn.items() if k not in _ROLES}
        said = {k: v for k, v in other.items() if v is not None and v != "" and v != "None"}
        if said:
            tools.append({"turn": number, **said})
    meta = rest(record, "chat")
    if tools:
        meta = {**(meta or {}), "tools": tools}
    category = record.get("category")
    subset = emit.subset or (category if isinstance(category, str) else None)
    if not messages:
        raise Reject("no_rows", "a chat without a turn")
    emit_conversation(messages, emit, meta=meta, subset=subset)


def _turn_number(key: str) -> int:
    """Turns are told apart by number, not by place: `turn_10` comes after `turn_9` in whichever order a file has them."""
    found = _TURN_KEY.fullmatch(key)
    if found is None:
        raise Reject("shape", f"found {key!r} in 'chat', expected turn_1, turn_2, …")
    return int(found[1])


def _bare(text: str) -> str:
    """A field of a turn without the markers that are the format: `<|Human|>: ` before it, `<eoh>` and a line break after it."""
    head = _HEAD.match(text)
    body = text[head.end() :] if head else text
    bare = body.rstrip()
    for mark in _END_MARKS:
        if bare.endswith(mark):
            return bare.removesuffix(mark).removesuffix("\n")
    return body


def _uncited(text: str) -> str:
    """An answer without its citations."""
    return _CITATION.sub("", _UNOPENED.sub(r"\1", text)) if "<" in text else text


def parse_prompt(record: Any, emit: Emit, /) -> None:
    """{user_prompt}."""
    need(record, "user_prompt")
    emit.prompt([(USER, text_of(record, "user_prompt", empty=False))], meta=rest(record, "user_prompt"))


_LICENSE = "CC BY-NC 4.0"
_TOOLS = ("calculator", "equation_solver", "mix", "text2img", "web_search")
_HELPFUL = ("brainstorming", "code", "complex_instruction", "role_playing", "writing")

SOURCES: tuple[Source, ...] = (
    Source(
        name="moss-002",
        about="MOSS 002: 1.16 million multi-turn conversations on being helpful, honest and harmless",
        address="https://huggingface.co/datasets/fnlp/moss-002-sft-data",
        license=_LICENSE,
        folder="moss_002",
        files=(
            *(
                Files(f"{lang}_{kind}.json", subset=f"{lang}_{kind}")
                for lang in ("en", "zh")
                for kind in ("helpfulness", "honesty", "harmlessness")
            ),
            Files("moss-002-sft-data/**/*.json*"),
            Files("moss_002/*.jsonl"),
        ),
        parse=parse_002,
        kinds=(Kind.DIALOGUE, Kind.PROMPT),
        languages=("en", "zh"),
        hub=Hub("fnlp/moss-002-sft-data", ("*.json",)),
    ),
    Source(
        name="moss-003",
        about="MOSS 003: multi-turn conversations with and without plug-ins, as one file each or as JSON lines",
        address="https://github.com/OpenLMLab/MOSS",
        license=_LICENSE,
        folder="moss",
        files=(
            *(Files(f"conversation_with_plugins/{tool}/*.json", subset=tool) for tool in _TOOLS),
            Files("conversation_without_plugins/harmless_conversations/*.json", subset="harmless"),
            *(Files(f"helpful_conversations/helpful_{kind}_conversations/*.json", subset=f"helpful_{kind}") for kind in _HELPFUL),
            Files("SFT_data/conversations/**/*.json"),
            Files("moss-003-sft-*.jsonl"),
            Files("moss-003-sft-*.zip"),
        ),
        parse=parse_003,
        kinds=(Kind.DIALOGUE, Kind.PROMPT),
        languages=("zh", "en"),
        hub=Hub("fnlp/moss-003-sft-data", ("*.zip", "*.jsonl")),
        obtain="the folder SFT_data/conversations of the MOSS repository, or the JSON lines on the hub",
        version=2,
    ),
    Source(
        name="moss-prompts",
        about="User prompts from which MOSS's conversations were made",
        address="https://github.com/OpenLMLab/MOSS",
        license=_LICENSE,
        folder="moss",
        files=(
            Files("user_prompts/harmless_prompts.jsonl", subset="harmless"),
            Files("user_prompts/honest_prompts.jsonl", subset="honest"),
            *(Files(f"helpful_prompts_without_plugins/helpful_{kind}_prompts.jsonl", subset=f"helpful_{kind}") for kind in _HELPFUL),
            Files("SFT_data/user_prompts/**/*.jsonl"),
        ),
        parse=parse_prompt,
        kinds=(Kind.PROMPT,),
        languages=("zh", "en"),
        obtain="the folder SFT_data/user_prompts of the MOSS repository",
    ),
)
