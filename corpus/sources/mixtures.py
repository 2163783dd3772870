"""Mixtures of instruction data: gpt4all, OIG, HugNLP's corpora and LMFlow's archives.

Most of them hold a whole conversation in one string with the speakers' names before the turns. Such a string is cut only at the
separators that the format itself writes (a name at the start of the string or of a line, or the exact blanks around it), and only where
the other speaker's turn is due, so that an answer that contains "Human:" or "Output:" stays whole.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import Any

from corpus.schema import Kind
from corpus.sources.base import Emit, Files, Hub, Message, Reject, Source
from corpus.sources.shapes import ASSISTANT, SYSTEM, USER, emit_conversation, need, rest, text_of, turns
from corpus.text.html import looks_like_html, to_text

# ---------------------------------------------------------------------------------------------------------------------- gpt4all


def parse_gpt4all(record: Any, emit: Emit, /) -> None:
    """{prompt, response, source}; prompts from Stack Overflow are HTML."""
    need(record, "prompt", "response")
    prompt = text_of(record, "prompt")
    messages: list[Message] = [(USER, to_text(prompt) if looks_like_html(prompt) else prompt)]
    if record["response"] is not None:
        messages.append((ASSISTANT, text_of(record, "response")))
    source = record.get("source")
    emit_conversation(
        messages, emit, meta=rest(record, "prompt", "response", "source"), subset=source if isinstance(source, str) and source else None
    )


# ---------------------------------------------------------------------------------------------------------------------- OIG

_TAGS = {"<human>": USER, "<bot>": ASSISTANT}
_NAMES = {"User": USER, "Rosey": ASSISTANT, "Joi": ASSISTANT, "Chip2": ASSISTANT, "Chip": ASSISTANT}
_AT_LINE = {
    "tags": re.compile(r"(?:\A|\n)[ \t]*(<human>|<bot>):[ \t]*"),
    "names": re.compile(r"(?:\A|\n)[ \t]*(User|Rosey|Joi|Chip2?):[ \t]*"),
    "mixed": re.compile(r"(?:\A|\n)[ \t]*(<human>|Rosey|Joi|Chip2?):[ \t]*"),
}
_AT_BLANK = {
    "tags": re.compile(r"(?:\A|\s)(<human>|<bot>):[ \t]*"),
    "names": re.compile(r"(?:\A|\s)(User|Rosey|Joi|Chip2?):[ \t]*"),
    "mixed": re.compile(r"(?:\A|\s)(<human>|Rosey|Joi|Chip2?):[ \t]*"),
}
_END_OF_TEXT = "<|endoftext|>"
_CHIP_KEYS = ("chip2", "rosey", "joi", "bot")


def parse_oig(record: Any, emit: Emit, /) -> None:
    """{text, metadata}: text is `<human>: …\\n<bot>: …`, or `User: …\\nRosey: …` with `<|endoftext|>` after each dialogue; or {user,
    chip2}."""
    metadata = record.get("metadata") if isinstance(record, Mapping) else None
    subset = metadata.get("source") if isinstance(metadata, Mapping) else None
    if not isinstance(subset, str) or not subset:
        subset = PurePosixPath(emit.file).name.partition(".")[0] or None
    answer = next((k for k in _CHIP_KEYS if isinstance(record, Mapping) and "user" in record and k in record), None)
    if answer is not None:
        pair = [(USER, text_of(record, "user")), (ASSISTANT, text_of(record, answer))]
        emit.dialogue(pair, meta=rest(record, "user", answer), subset=subset)
        return
    text = text_of(need(record, "text"), "text", empty=False)
    meta = rest(record, "text")
    for part in text.split(_END_OF_TEXT) if _END_OF_TEXT in text else [text]:
        if part.strip():
            emit_conversation(split_oig(part), emit, meta=meta, subset=subset)


def split_oig(text: str) -> list[Message]:
    """The turns of an OIG string.

    Raises:
        Reject: shape, when it has no speaker.
    """
    if "<human>:" not in text and "<bot>:" not in text:
        style = "names"
    elif "<bot>:" in text or not re.search(r"\s(?:Rosey|Joi|Chip2?):", text):
        style = "tags"
    else:
        style = "mixed"
    messages = _split(text, _AT_LINE[style], merge=style == "tags")
    if not any(role == ASSISTANT for role, _ in messages):
        # Some parts were written on one line. Then a blank before the speaker must do.
        messages = _split(text, _AT_BLANK[style], merge=style == "tags")
    if not any(role != SYSTEM for role, _ in messages):
        raise Reject("shape", f"expected a string that opens turns with <human>: and <bot>:, found {text[:60]!r}")
    return messages


def _split(text: str, marker: re.Pattern[str], *, merge: bool) -> list[Message]:
    """Cuts at markers of alternating speakers; what comes before the first is context, and so the system's.

    A marker of the speaker who is speaking already is text, or, with `merge`, a line break: `<bot>:` is written by nobody but the format.
    """
    messages: list[Message] = []
    role, begin = SYSTEM, 0
    pieces: list[str] = []
    for found in marker.finditer(text):
        named = _TAGS.get(found[1]) or _NAMES[found[1]]
        if named == role and not merge:
            continue
        pieces.append(text[begin : found.start()])
        begin = found.end()
        if named != role:
            _close(messages, role, pieces)
            role, pieces = named, []
    pieces.append(text[begin:])
    _close(messages, role, pieces)
    return messages


def _close(messages: list[Message], role: str, pieces: list[str]) -> None:
    content = "\n".join(pieces).strip(" \t\r\n")
    if content or role != SYSTEM:
        messages.append((role, content))


# ---------------------------------------------------------------------------------------------------------------------- HugNLP, LMFlow

_OPENING = re.compile(r"\s*(\[Human\]|Human|Input):[ ]?(?:Instruction:[ ]?)?")
_ANSWERS = {"[Human]": "[HugChat]", "Human": "HugChat", "Input": "Output"}


def split_hugnlp(text: str) -> list[Message]:
    """The turns of `Human: … \\n HugChat: … \\n\\n`, of `[Human]: …`, and of `Input: Instruction: … \\n Output: … \\n\\n`.

    The separators are exact: blank, line break, blank before an answer; a blank line before the next question, which no turn contains,
    because the publisher wrote every blank line within a turn as a line break. Where a file has lost the blanks, a name at the start of a
    line will do.

    Raises:
        Reject: shape, when the string does not begin with a question.
    """
    opening = _OPENING.match(text)
    if opening is None:
        raise Reject("shape", f"expected a string that begins with 'Human:', '[Human]:' or 'Input:', found {text[:60]!r}")
    name, answer = re.escape(opening[1]), re.escape(_ANSWERS[opening[1]])
    exact, near = re.compile(rf" \n {answer}:[ ]?"), re.compile(rf"\n[ ]?{answer}:[ ]?")
    next_question = re.compile(rf"\n\n[ ]?{name}:[ ]?(?:Instruction:[ ]?)?")
    messages: list[Message] = []
    begin = opening.end()
    while True:
        found = exact.search(text, begin) or near.search(text, begin)
        if found is None:
            messages.append((USER, _ended(text[begin:])))
            return messages
        messages.append((USER, text[begin : found.start()].rstrip(" \n")))
        begin = found.end()
        found = next_question.search(text, begin)
        if found is None:
            messages.append((ASSISTANT, _ended(text[begin:])))
            return messages
        messages.append((ASSISTANT, text[begin : found.start()].rstrip(" \n")))
        begin = found.end()


def _ended(text: str) -> str:
    """A last turn without the format's end of turn: a blank and a blank line."""
    return text.removesuffix("\n\n").removesuffix(" ") if text.endswith("\n\n") else text


def parse_hugnlp(record: Any, emit: Emit, /) -> None:
    """{text}, or {input, output} as in the sets for evaluation."""
    if isinstance(record, Mapping) and "text" not in record and "input" in record:
        _text_to_text(record, emit)
        return
    messages = split_hugnlp(text_of(need(record, "text"), "text", empty=False))
    emit_conversation(messages, emit, meta=rest(record, "text", "_type"), split=emit.split or _split_of(emit.file))


def parse_lmflow(record: Any, emit: Emit, /) -> None:
    """An element of `instances`: {text}, {input, output}, or {messages} with a system text beside them."""
    if isinstance(record, Mapping) and "messages" in record:
        head: list[Message] = [(SYSTEM, text_of(record, "system"))] if record.get("system") else []
        messages = head + turns(record["messages"], "role", "content")
        emit_conversation(messages, emit, meta=rest(record, "messages", "system", "_type"), split=emit.split or _split_of(emit.file))
    else:
        parse_hugnlp(record, emit)


def _text_to_text(record: Mapping[str, Any], emit: Emit) -> None:
    question = text_of(record, "input")
    opening = _OPENING.match(question)
    if opening is not None and opening[1] == "Input":
        question = re.sub(r"\s*\n[ ]?Output:\s*\Z", "", question[opening.end() :])
    messages: list[Message] = [(USER, question)]
    if record.get("output") is not None:
        messages.append((ASSISTANT, text_of(record, "output")))
    if not any(text.strip() for _, text in messages):
        raise Reject("no_rows", "neither an input nor an output")
    emit_conversation(messages, emit, meta=rest(record, "input", "output", "_type"), split=emit.split or _split_of(emit.file))


def _split_of(file: str) -> str | None:
    """What an archive member's folder says: `MedMCQA.tar.gz!MedMCQA/validation/valid_1178.json`."""
    folders = PurePosixPath(file.rpartition("!")[2]).parts[:-1]
    for folder, split in (
        ("validation", "validation"),
        ("valid", "validation"),
        ("dev", "validation"),
        ("test", "test"),
        ("train", "train"),
    ):
        if folder in folders:
            return split
    return None


def _lmflow(name: str, about: str, license: str, archive: str) -> Source:
    return Source(
        name=f"lmflow-{name}",
        about=about,
        address="https://github.com/OptimalScale/LMFlow",
        license=license,
        folder="lmflow",
        files=(Files(f"{archive}.tar.gz"), Files(f"lmflow/{archive}/**/*.json"), Files(f"{archive}/*/*_[0-9]*.json")),
        parse=parse_lmflow,
        format="instances",
        kinds=(Kind.DIALOGUE, Kind.PROMPT),
        obtain=f"{archive}.tar.gz, which data/download.sh of the LMFlow repository fetches; packed or unpacked",
    )


SOURCES: tuple[Source, ...] = (
    Source(
        name="gpt4all-p3",
        about="GPT-3.5's answers to prompts of P3, Stack Overflow and OIG chip2",
        address="https://huggingface.co/datasets/nomic-ai/gpt4all_prompt_generations_with_p3",
        license="Apache-2.0",
        folder="gpt4all",
        files=(
            Files("gpt4all/**/*.parquet"),
            Files("gpt4all/**/*.jsonl"),
            Files("gpt4all_prompt_generations_with_p3/**/*.parquet"),
            Files("gpt4all_prompt_generations_with_p3/**/*.jsonl"),
        ),
        parse=parse_gpt4all,
        kinds=(Kind.DIALOGUE, Kind.PROMPT),
        hub=Hub("nomic-ai/gpt4all_prompt_generations_with_p3", ("data/*.parquet", "*.jsonl")),
    ),
    Source(
        name="oig",
        about="LAION's Open Instruction Generalist: some forty million instructions in thirty parts",
        address="https://huggingface.co/datasets/laion/OIG",
        license="Apache-2.0",
        folder="oig",
        files=(
            Files("unified_*.jsonl"),
            Files("unified_*.jsonl.gz"),
            Files("chip2_instruct_alpha_*.json"),
            Files("oig/**/*.json*"),
            Files("OIG/**/*.json*"),
        ),
        parse=parse_oig,
        kinds=(Kind.DIALOGUE, Kind.PROMPT),
        hub=Hub("laion/OIG", ("unified_*.jsonl*", "small_instruction_set/*")),
    ),
    Source(
        name="hugnlp",
        about="HugNLP's instruction corpora, on which HugChat was trained",
        address="https://github.com/HugAILab/HugNLP",
        license="Apache-2.0",
        folder="hugnlp",
        files=(
            Files("instruction_corpora*.json"),
            Files("hugnlp/train.json"),
            Files("hugnlp/**/*.json"),
            Files("generative_instruction/*.json"),
            Files("hugnlp/dev.json", split="validation"),
            Files("hugnlp/test.json", split="test"),
        ),
        parse=parse_hugnlp,
        kinds=(Kind.DIALOGUE, Kind.PROMPT),
        languages=("en", "zh"),
        obtain="datasets/corpora/instruction/generative_instruction of the HugNLP repository, or instruction_corpora.json",
    ),
    _lmflow("medmcqa", "MedMCQA as text, from LMFlow", "MIT (MedMCQA)", "MedMCQA"),
    _lmflow("medqa", "MedQA-USMLE as text, from LMFlow", "MIT (MedQA)", "MedQA-USMLE"),
    _lmflow("pubmedqa", "PubMedQA as text, from LMFlow", "MIT (PubMedQA)", "PubMedQA"),
    _lmflow("alpaca", "Alpaca as text, from LMFlow", "CC BY-NC 4.0 (Alpaca)", "alpaca"),
)
