"""Medical exams: multiple choice (MedMCQA, MedQA) and yes/no questions over abstracts (PubMedQA).

A choice becomes a question with lettered options and an answer that begins with the letter, the form in which exam benchmarks ask. The
publisher's own fields stay in `meta`, so that another form can be made of them.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from corpus.sources.base import Emit, Files, Hub, Message, Parse, Reject, Source
from corpus.sources.shapes import ASSISTANT, USER, need, rest, text_of

_HAN = re.compile("[\u4e00-\u9fff]")


def choice(question: str, options: Mapping[str, str], letter: str | None, explanation: str = "") -> list[Message]:
    """A multiple choice question as messages: a dialogue, or a prompt when `letter` is None.

    Options are written `A. …`, in a Chinese question `A．…` as Chinese papers have it; the answer is the right option in the same form and,
    after an empty line, the explanation where there is one.
    """
    dot = "．" if _HAN.search(question) else ". "
    lettered = {name: f"{name}{dot}{text}" for name, text in options.items()}
    messages = [(USER, "\n".join((question, *lettered.values())))]
    if letter is not None:
        answer = lettered[letter]
        messages.append((ASSISTANT, f"{answer}\n\n{explanation}" if explanation.strip() else answer))
    return messages


def _emit(messages: Sequence[Message], meta: dict[str, Any], emit: Emit) -> None:
    if len(messages) > 1:
        emit.dialogue(messages, meta=meta)
    else:
        emit.prompt(messages, meta=meta)


_OPTIONS = {"A": "opa", "B": "opb", "C": "opc", "D": "opd"}


def medmcqa(first: int) -> Parse:
    """Makes a parse function for MedMCQA rows, in which `cop` counts the options from `first`: 1 in the original files, 0 on the hub.

    Which one a row means cannot be seen from most rows, so a value that the other way of counting alone can have is refused aloud.
    """

    def parse(record: Any, emit: Emit, /) -> None:
        need(record, "question", *_OPTIONS.values())
        options = {letter: text_of(record, key) for letter, key in _OPTIONS.items()}
        cop = record.get("cop")
        letter = None
        if cop is not None and cop != -1:
            if not isinstance(cop, int) or isinstance(cop, bool) or not 0 <= cop - first < len(options):
                which = "the original JSON files count from 1, the parquet files of the hub from 0"
                raise Reject("shape", f"field 'cop' holds {cop!r}, expected {first} to {first + 3}: {which}")
            letter = "ABCD"[cop - first]
        question = text_of(record, "question", empty=False)
        meta = {"options": options, "answer_idx": letter, **(rest(record, "question", "cop", *_OPTIONS.values()) or {})}
        if letter is None:
            del meta["answer_idx"]
        _emit(choice(question, options, letter, text_of(record, "exp")), meta, emit)

    return parse


def medqa(record: Any, emit: Emit, /) -> None:
    """A MedQA row: `options` by letter, `answer_idx` the letter and `answer` the text of the right one."""
    need(record, "question", "options")
    options = record["options"]
    if not isinstance(options, Mapping) or not options or not all(isinstance(text, str) for text in options.values()):
        raise Reject("shape", f"field 'options' holds {type(options).__name__}, expected texts by letter")
    letter = record.get("answer_idx")
    if letter is not None and letter not in options:
        raise Reject("shape", f"field 'answer_idx' holds {letter!r}, expected one of {', '.join(options)}")
    question = text_of(record, "question", empty=False)
    if letter is not None and record.get("answer", options[letter]) == options[letter]:
        meta = rest(record, "question", "answer")
    else:
        meta = rest(record, "question")
    _emit(choice(question, options, letter), meta or {}, emit)


def _pubmed(
    question: str, contexts: Sequence[str], labels: Sequence[str], decision: str, long_answer: str, meta: dict[str, Any], emit: Emit
) -> None:
    if len(labels) == len(contexts):
        contexts = [f"{label}: {context}" if label else context for label, context in zip(labels, contexts, strict=True)]
    answer = "\n\n".join(part for part in (decision, long_answer) if part.strip())
    messages = [(USER, "\n\n".join((*contexts, question)))]
    if answer:
        messages.append((ASSISTANT, answer))
    _emit(messages, meta, emit)


def _texts(record: Mapping[str, Any], key: str) -> list[str]:
    value = record.get(key)
    if value is None:
        return []
    if not isinstance(value, list) or not all(isinstance(text, str) for text in value):
        raise Reject("shape", f"field {key!r} holds {type(value).__name__}, expected a list of strings")
    return value


def pubmedqa(record: Any, emit: Emit, /) -> None:
    """An entry of the original files: the sections of an abstract and its question → yes, no or maybe, and the conclusion.

    The unlabelled part has no `final_decision`: there the conclusion is the answer.
    """
    need(record, "QUESTION", "CONTEXTS")
    meta = {"pmid": record.get("_key"), **(rest(record, "_key", "QUESTION", "CONTEXTS", "LONG_ANSWER") or {})}
    _pubmed(
        text_of(record, "QUESTION", empty=False), _texts(record, "CONTEXTS"), _texts(record, "LABELS"),
        text_of(record, "final_decision"), text_of(record, "LONG_ANSWER"), meta, emit,
    )  # fmt: skip


def pubmedqa_hub(record: Any, emit: Emit, /) -> None:
    """A row of the hub's parquet files: the same, with the abstract as an object of lists."""
    need(record, "question", "context")
    context = need(record["context"], "contexts")
    meta = {**(rest(record, "question", "context", "long_answer") or {}), **(rest(context, "contexts") or {})}
    _pubmed(
        text_of(record, "question", empty=False), _texts(context, "contexts"), _texts(context, "labels"),
        text_of(record, "final_decision"), text_of(record, "long_answer"), meta, emit,
    )  # fmt: skip


_SPLITS = (("train", "train"), ("dev", "validation"), ("test", "test"))
_PUBMEDQA = "https://github.com/pubmedqa/pubmedqa"

SOURCES: tuple[Source, ...] = (
    Source(
        name="medmcqa",
        about="Multiple choice questions of Indian medical entrance exams, with explanations (original files, options counted from 1)",
        address="https://github.com/medmcqa/medmcqa",
        license="MIT",
        folder="medmcqa",
        files=tuple(Files(f"medmcqa/**/{name}.json", split=split) for name, split in _SPLITS),
        parse=medmcqa(1),
        obtain="download the archive that the repository's README links to, and put train.json, dev.json and test.json into medmcqa/",
    ),
    Source(
        name="medmcqa-hub",
        about="Multiple choice questions of Indian medical entrance exams, with explanations (hub files, options counted from 0)",
        address="https://huggingface.co/datasets/openlifescienceai/medmcqa",
        license="Apache-2.0",
        folder="medmcqa_hub",
        files=tuple(Files(f"medmcqa*/data/{s}-*.parquet", split=s) for s in ("train", "validation", "test")),
        parse=medmcqa(0),
        hub=Hub("openlifescienceai/medmcqa", ("data/*.parquet",)),
    ),
    Source(
        name="medqa",
        about="Multiple choice questions of medical licence exams: US (English), Mainland China and Taiwan",
        address="https://github.com/jind11/MedQA",
        license="MIT",
        folder="medqa",
        files=(
            *(Files(f"questions/{r}/{name}.jsonl", r, split) for r in ("US", "Mainland", "Taiwan") for name, split in _SPLITS),
            *(Files(f"questions/Mainland/4_options/{name}.jsonl", "Mainland-4-options", split) for name, split in _SPLITS),
            *(Files(f"phrases_no_exclude_{name}.jsonl", "US-4-options", split) for name, split in _SPLITS),
            *(
                Files(f"questions/Taiwan/tw_translated_jsonl/{lang}/{name}-2{lang}.jsonl", f"Taiwan-{lang}", split)
                for lang in ("en", "zh")
                for name, split in _SPLITS
            ),
        ),
        parse=medqa,
        languages=("en", "zh"),
        hub=Hub("GBaker/MedQA-USMLE-4-options", ("phrases_no_exclude_*.jsonl",)),
        obtain="the hub has the US questions with four options; for the others download the archive that the repository's README links to, "
        "and put its questions/ folder into medqa/ (the *_qbank.jsonl files repeat the three splits and are not read)",
    ),
    Source(
        name="pubmedqa",
        about="Questions that abstracts of PubMed answer with yes, no or maybe (original files)",
        address=_PUBMEDQA,
        license="MIT",
        folder="pubmedqa",
        files=(
            # Its publisher tests on one half of the labelled questions, which a separate list of ids names, and trains on the other by
            # cross-validation. The list is not read with it, so all of them are held out.
            Files("ori_pqal.json", subset="labeled", split="test"),
            Files("ori_pqaa.json", subset="artificial"),
            Files("ori_pqau.json", subset="unlabeled"),
        ),
        parse=pubmedqa,
        format="keyed",
        obtain=f"take data/ori_pqal.json from {_PUBMEDQA}, and ori_pqaa.json and ori_pqau.json from the addresses in its README, "
        "and put them into pubmedqa/",
    ),
    Source(
        name="pubmedqa-hub",
        about="Questions that abstracts of PubMed answer with yes, no or maybe (hub files)",
        address="https://huggingface.co/datasets/qiaojin/PubMedQA",
        license="MIT",
        folder="pubmedqa_hub",
        files=tuple(
            Files(f"pqa_{part}/*.parquet", subset=part, split="test" if part == "labeled" else None)
            for part in ("labeled", "artificial", "unlabeled")
        ),
        parse=pubmedqa_hub,
        hub=Hub("qiaojin/PubMedQA", ("*/*.parquet",)),
    ),
)
