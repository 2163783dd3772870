"""Anthropic's hh-rlhf and what others made of it: dialogues written into one string, opened turn by turn by role markers.

A marker counts only where a turn can begin: after an empty line (or at the start of the text), with its colon. People type "Human:" into
the middle of a turn, and the models of hh-rlhf answer with it; that is text, and stays. Three things are decided here for the family:

- Two turns of one role in a row (an answer that was continued under a second marker) stay two messages: joining them would invent
  an answer.
- The prompt is what both dialogues share, turn by turn. Usually they part at the last answer; where they part earlier, `chosen` and
  `rejected` hold all turns from there on, and may begin with a user's turn. Neither is ever empty: where one dialogue merely continues
  the other, the last common turn goes to both sides.
- An empty last answer is an answer. The clean stage decides about it.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from corpus.schema import Kind
from corpus.sources.base import Emit, Files, Hub, Message, Parse, Reject, Source
from corpus.sources.shapes import ASSISTANT, USER, common_prefix, emit_conversation, need, rest, text_of
from corpus.text.settings import Traits

_MARKERS = re.compile(r"(?:\A|\n\n)(Human|Assistant):")
_MARKERS_ZH = re.compile(r"(?:\A\s*|\n\n)(Human|Assistant|人类|人類|助手|助理)[:：]")
"""The machine translation kept the English markers in most places; translated ones are taken too, with either colon."""

_USER_MARKS = frozenset(("Human", "人类", "人類"))


def split_turns(text: str, markers: re.Pattern[str] = _MARKERS) -> list[Message]:
    """A marked-up dialogue as messages; each loses its marker and the one space that follows it.

    Raises:
        Reject: shape, when the text does not open with a marker.
    """
    found = list(markers.finditer(text))
    if not found or text[: found[0].start()].strip():
        raise Reject("shape", f"the dialogue opens with {text[:40]!r}, expected a role marker such as '\\n\\nHuman:'")
    ends = [m.start() for m in found[1:]] + [len(text)]
    return [(USER if m[1] in _USER_MARKS else ASSISTANT, text[m.end() : end].removeprefix(" ")) for m, end in zip(found, ends, strict=True)]


def emit_pair(good: Sequence[Message], bad: Sequence[Message], emit: Emit, **more: Any) -> None:
    """Emits two whole dialogues as a preference: what they share, and how each goes on."""
    shared = min(common_prefix(good, bad), len(good) - 1, len(bad) - 1)
    skip = "tie" if list(good) == list(bad) else None
    emit.preference(good[:shared], good[shared:], bad[shared:], skip=skip, **more)


def parse_pair(record: Any, emit: Emit, /) -> None:
    """Reads {chosen, rejected}, each a whole dialogue."""
    need(record, "chosen", "rejected")
    good, bad = (split_turns(text_of(record, key)) for key in ("chosen", "rejected"))
    emit_pair(good, bad, emit, meta=rest(record, "chosen", "rejected"))


def prompted(markers: re.Pattern[str] = _MARKERS) -> Parse:
    """Makes a parse function for {prompt, response, chosen, rejected}, whose prompt is the dialogue up to an open "Assistant:".

    `response` repeats `chosen`; where it says something else it goes to meta.
    """

    def parse(record: Any, emit: Emit, /) -> None:
        need(record, "prompt", "chosen", "rejected")
        prompt = text_of(record, "prompt")
        opened = split_turns(prompt, markers)[-1]
        if opened[0] != ASSISTANT or opened[1].strip():
            prompt += "\n\nAssistant:"
        good, bad = (split_turns(prompt.rstrip(" ") + text_of(record, key), markers) for key in ("chosen", "rejected"))
        repeated = ("response",) if record.get("response") == record["chosen"] else ()
        emit_pair(good, bad, emit, meta=rest(record, "prompt", "chosen", "rejected", *repeated))

    return parse


def parse_transcript(record: Any, emit: Emit, /) -> None:
    """Reads a red team's attempt: its transcript is the dialogue, and the ratings go to meta."""
    need(record, "transcript")
    emit_conversation(split_turns(text_of(record, "transcript")), emit, meta=rest(record, "transcript"))


_SUBSETS = ("harmless-base", "helpful-base", "helpful-online", "helpful-rejection-sampled")

_SPEAKERS = (("Human:", USER), ("Assistant:", ASSISTANT))
"""Markers that the family's own markup left inside turns: 42 answers in 1,600 pairs begin with `Human:`."""

SOURCES: tuple[Source, ...] = (
    Source(
        name="hh-rlhf",
        about="Anthropic's human preferences about helpfulness and harmlessness, English, 170k pairs of whole dialogues",
        address="https://huggingface.co/datasets/Anthropic/hh-rlhf",
        license="MIT",
        folder="hh_rlhf",
        files=tuple(Files(f"{subset}/{split}.jsonl*", subset, split) for subset in _SUBSETS for split in ("train", "test")),
        parse=parse_pair,
        kinds=(Kind.PREFERENCE,),
        hub=Hub("Anthropic/hh-rlhf", tuple(f"{subset}/*" for subset in _SUBSETS)),
        traits=Traits(speakers=_SPEAKERS),
    ),
    Source(
        name="hh-rlhf-red-team",
        about="transcripts of people who attack a model, English, 39k; meant for research into harm, not for training an assistant",
        address="https://huggingface.co/datasets/Anthropic/hh-rlhf",
        license="MIT",
        folder="hh_rlhf",
        files=(Files("red-team-attempts/red_team_attempts.json*", "red-team-attempts"),),
        parse=parse_transcript,
        kinds=(Kind.DIALOGUE, Kind.PROMPT),
        hub=Hub("Anthropic/hh-rlhf", ("red-team-attempts/*",)),
        traits=Traits(speakers=_SPEAKERS),
    ),
    Source(
        name="full-hh-rlhf",
        about="hh-rlhf cut into prompt and answers, English, 125k pairs",
        address="https://huggingface.co/datasets/Dahoas/full-hh-rlhf",
        license="none stated",
        folder="full_hh_rlhf",
        files=(Files("full?hh?rlhf/**/train-*.parquet", split="train"), Files("full?hh?rlhf/**/test-*.parquet", split="test")),
        parse=prompted(),
        kinds=(Kind.PREFERENCE,),
        hub=Hub("Dahoas/full-hh-rlhf", ("data/*.parquet",)),
        traits=Traits(speakers=_SPEAKERS),
    ),
    Source(
        name="rm-static",
        about="the helpful part of hh-rlhf for reward models, cut into prompt and answers, English, 81k pairs",
        address="https://huggingface.co/datasets/Dahoas/rm-static",
        license="none stated",
        folder="rm_static",
        files=(Files("rm?static/**/train-*.parquet", split="train"), Files("rm?static/**/test-*.parquet", split="test")),
        parse=prompted(),
        kinds=(Kind.PREFERENCE,),
        hub=Hub("Dahoas/rm-static", ("data/*.parquet",)),
        traits=Traits(speakers=_SPEAKERS),
    ),
    Source(
        name="rm-static-zh",
        about="rm-static in Traditional Chinese, machine translated (M2M-100), 70k pairs",
        address="https://huggingface.co/datasets/liswei/rm-static-m2m100-zh",
        license="none stated",
        folder="rm_static_zh",
        files=tuple(
            Files(f"{folder}/**/{part}-*.parquet", split=part)
            for folder in ("rm_static_zh", "rm?static?m2m100?zh")
            for part in ("train", "validation", "test")
        ),
        parse=prompted(_MARKERS_ZH),
        kinds=(Kind.PREFERENCE,),
        languages=("zh",),
        hub=Hub("liswei/rm-static-m2m100-zh", ("**/*.parquet",)),
    ),
)
