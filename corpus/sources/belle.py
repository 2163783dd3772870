"""BELLE: Chinese instructions and conversations written by ChatGPT, in all the layouts that its publisher used.

Three of them need more than a declaration:

* **First release** (`Belle.train.json`; recognised by its fields): `{input, target}`, where most line breaks are the two
  characters backslash and n. They are decoded, because they are how that layout writes a line break, not what somebody typed. A backslash-n
  that begins a LaTeX command (`\\neq`, `\\nabla` …) or follows another backslash stays. A `"\\n"` inside program code cannot be told from
  a line break and becomes one.
* **Multi-turn chat**: the history is one string, see :func:`split_history`.
* **Generated chat**: a whole dialogue between two invented speakers is the *answer* to the description of their roles; neither of them is
  the assistant, so it stays one text.
"""

from __future__ import annotations

import re
from itertools import groupby, pairwise
from typing import Any

from corpus.schema import Kind
from corpus.sources.alpaca import instances
from corpus.sources.base import Emit, Files, Hub, Message, Reject, Source
from corpus.sources.shapes import ASSISTANT, USER, alpaca, join_input, need, rest, sharegpt, text_of
from corpus.text.settings import Traits

_LICENSE = "GPL-3.0 on the hub; research use only, no commercial use (BELLE data README)"
_REPO_LICENSE = "ODC-By (DATA_LICENSE); research use only, no commercial use (BELLE data README)"

# LaTeX commands without their backslash-n. Only those whose rest is no word itself: `\nu` and `\ne` may be lines that begin with u or e.
_LATEX = "abla|atural|earrow|eg|eq|ewcommand|ewline|exists|geq|leq|olimits|onumber|ormalsize|otin|parallel|subseteq|warrow"
_LITERAL_BREAK = re.compile(rf"(?<!\\)\\n(?!(?:{_LATEX})(?![A-Za-z]))")

_MARKER = re.compile(r"^(Human|Assistant):", re.MULTILINE)
_SPEAKER = re.compile(r"([^\s:：][^:：，。,.!?！？]{0,29})[:：]")

_instruction = alpaca()
_conversation = sharegpt()


def decode_breaks(text: str) -> str:
    """The line breaks of the first release, which writes them as backslash and n."""
    return _LITERAL_BREAK.sub("\n", text) if "\\n" in text else text


def parse_instruction(record: Any, emit: Emit, /) -> None:
    """{instruction, input, output}, or the first release's {input, target}."""
    if isinstance(record, dict) and "target" in record and "instruction" not in record:
        need(record, "input", "target")
        messages = [(USER, decode_breaks(text_of(record, "input"))), (ASSISTANT, decode_breaks(text_of(record, "target")))]
        emit.dialogue(messages, meta=rest(record, "input", "target"))
    else:
        _instruction(record, emit)


def split_history(text: str) -> tuple[list[Message], int]:
    r"""Splits `Human:…\nAssistant:…\nHuman:…\nAssistant:` into turns.

    Answers quote the words Human and Assistant, so the words alone decide nothing. A marker is one of them with its colon at the very start
    of a line; the text begins with `Human:`, ends with an `Assistant:` that nothing follows, and the turns alternate strictly. Where equal
    markers follow each other, only one of them can be a turn. The others belong to the text around them, to the assistant's where it can
    be: the publisher's program alternated without fail, and long answers are what quotes. So of several `Assistant:` the first opens the
    turn, and of several `Human:` the last. The first turn and the empty last one are fixed: there the quotes are the user's.

    A quote that has whole exchanges at line starts fits the alternation and cannot be told from real turns.

    Returns:
        The turns, the last of them the user's, and how many markers were taken as text.

    Raises:
        Reject: shape, when the text does not begin and end as it must.
    """
    found = list(_MARKER.finditer(text))
    if not found or found[0][1] != "Human" or text[: found[0].start()].strip():
        raise Reject("shape", f"the history begins with {text[:40]!r}, expected 'Human:'")
    if found[-1][1] != "Assistant" or text[found[-1].end() :].strip():
        raise Reject("shape", f"the history ends with {text[-40:]!r}, expected an empty 'Assistant:'")
    runs = [list(run) for _, run in groupby(found, key=lambda m: m[1])]
    openers = [run[-1] if run[0][1] == "Human" else run[0] for run in runs]
    openers[0], openers[-1] = found[0], found[-1]
    messages: list[Message] = []
    for opener, following in pairwise(openers):
        content = text[opener.end() : following.start()].removesuffix("\n")
        messages.append((USER if opener[1] == "Human" else ASSISTANT, content))
    return messages, len(found) - len(openers)


def parse_multiturn(record: Any, emit: Emit, /) -> None:
    """{instruction: the history, input, output: the last answer}."""
    need(record, "instruction", "output")
    messages, quoted = split_history(text_of(record, "instruction"))
    messages[-1] = (USER, join_input(messages[-1][1], text_of(record, "input")))
    meta = rest(record, "instruction", "input", "output") or {}
    if quoted:
        meta["role_markers_in_text"] = quoted
    emit.dialogue([*messages, (ASSISTANT, text_of(record, "output"))], meta=meta)


def parse_generated(record: Any, emit: Emit, /) -> None:
    """{instruction: two roles, input, output: their dialogue}; the speakers' names go to `meta` where every line has one."""
    need(record, "instruction", "output")
    user, answer = join_input(text_of(record, "instruction"), text_of(record, "input")), text_of(record, "output")
    names = [_SPEAKER.match(line) for line in answer.split("\n") if line.strip()]
    meta = rest(record, "instruction", "input", "output") or {}
    if names and all(names):
        meta["speakers"] = list(dict.fromkeys(m[1] for m in names if m))
    emit.dialogue([(USER, user), (ASSISTANT, answer)], meta=meta)


def parse_benchmark(record: Any, emit: Emit, /) -> None:
    """{question, std_answer, class}; where the answer is open, `std_answer` is empty and the row is a prompt."""
    need(record, "question")
    question, answer = text_of(record, "question", empty=False), text_of(record, "std_answer")
    meta = rest(record, "question", "std_answer")
    if answer.strip():
        emit.dialogue([(USER, question), (ASSISTANT, answer)], meta=meta)
    else:
        emit.prompt([(USER, question)], meta=meta)


def _hub(name: str) -> Hub:
    return Hub(f"BelleGroup/{name}", ("*.json",))


SOURCES: tuple[Source, ...] = (
    Source(
        name="belle-0.5m",
        about="BELLE train_0.5M_CN: 519,255 Chinese instructions, in the current and in the first layout",
        address="https://huggingface.co/datasets/BelleGroup/train_0.5M_CN",
        license=_LICENSE,
        folder="belle",
        files=(Files("Belle_open_source_0.5M*.json*"), Files("Belle.train.json*"), Files("train_0.5M_CN*.json*")),
        parse=parse_instruction,
        languages=("zh",),
        hub=_hub("train_0.5M_CN"),
    ),
    Source(
        name="belle-1m",
        about="BELLE train_1M_CN: 917,424 Chinese instructions",
        address="https://huggingface.co/datasets/BelleGroup/train_1M_CN",
        license=_LICENSE,
        folder="belle",
        files=(
            Files("Belle_open_source_1M*.json*"),
            Files("belle_open_source_1M*.json*"),
            Files("Belle_open_source_1k.json*"),
            Files("train_1M_CN*.json*"),
        ),
        parse=parse_instruction,
        languages=("zh",),
        hub=_hub("train_1M_CN"),
    ),
    Source(
        name="belle-2m",
        about="BELLE train_2M_CN: 2 million Chinese instructions",
        address="https://huggingface.co/datasets/BelleGroup/train_2M_CN",
        license=_LICENSE,
        folder="belle",
        files=(Files("train_2M_CN*.json*"),),
        parse=parse_instruction,
        languages=("zh",),
        hub=_hub("train_2M_CN"),
    ),
    Source(
        name="belle-3.5m",
        about="BELLE train_3.5M_CN: 3.6 million Chinese conversations of one or more turns",
        address="https://huggingface.co/datasets/BelleGroup/train_3.5M_CN",
        license=_LICENSE,
        folder="belle",
        files=(Files("train_3.5M_CN*.json*"),),
        parse=_conversation,
        languages=("zh",),
        hub=_hub("train_3.5M_CN"),
        traits=Traits(escapes=True),
    ),
    Source(
        name="belle-school-math",
        about="BELLE school_math_0.25M: 248,481 Chinese school problems with their solutions",
        address="https://huggingface.co/datasets/BelleGroup/school_math_0.25M",
        license=_LICENSE,
        folder="belle",
        files=(Files("school_math_0.25M*.json*"),),
        parse=_instruction,
        languages=("zh",),
        hub=_hub("school_math_0.25M"),
    ),
    Source(
        name="belle-school-math-1k",
        about="BELLE dev1K: the 1,000 school problems on which BELLE's trainer validates",
        address="https://github.com/LianjiaTech/BELLE/tree/main/train/utils/data",
        license=_REPO_LICENSE,
        folder="belle",
        files=(Files("dev1K.json*", split="validation"),),
        parse=_instruction,
        languages=("zh",),
        obtain="copy train/utils/data/dev1K.json of the BELLE repository",
    ),
    Source(
        name="belle-multiturn",
        about="BELLE multiturn_chat_0.8M: 831,036 Chinese conversations of several turns",
        address="https://huggingface.co/datasets/BelleGroup/multiturn_chat_0.8M",
        license=_LICENSE,
        folder="belle",
        files=(Files("multiturn_chat_0.8M*.json*"),),
        parse=parse_multiturn,
        languages=("zh",),
        hub=_hub("multiturn_chat_0.8M"),
    ),
    Source(
        name="belle-generated-chat",
        about="BELLE generated_chat_0.4M: 396,004 Chinese dialogues between two described roles",
        address="https://huggingface.co/datasets/BelleGroup/generated_chat_0.4M",
        license=_LICENSE,
        folder="belle",
        files=(Files("generated_chat_0.4M*.json*"),),
        parse=parse_generated,
        languages=("zh",),
        hub=_hub("generated_chat_0.4M"),
    ),
    Source(
        name="belle-benchmark",
        about="BELLE's evaluation set: 1,000 questions of ten classes, some with a standard answer (an older version has 1,350)",
        address="https://github.com/LianjiaTech/BELLE/tree/main/eval",
        license=_REPO_LICENSE,
        folder="belle",
        files=(Files("belle/**/eval_set.json*", split="test"), Files("eval/eval_set.json*", split="test")),
        parse=parse_benchmark,
        kinds=(Kind.DIALOGUE, Kind.PROMPT),
        languages=("zh",),
        obtain="copy eval/eval_set.json of the BELLE repository to belle/",
        traits=Traits(escapes=True),
    ),
    Source(
        name="belle-seed-tasks",
        about="BELLE's 175 Chinese seed tasks",
        address="https://github.com/LianjiaTech/BELLE/tree/main/data/1.5M",
        license=_REPO_LICENSE,
        folder="belle",
        files=(Files("zh_seed_tasks.json*"),),
        parse=instances,
        languages=("zh",),
        obtain="copy data/1.5M/zh_seed_tasks.json of the BELLE repository",
    ),
)
