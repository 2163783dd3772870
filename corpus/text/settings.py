"""What rules may know beside the text: what a source is known for, and what the recipe wants."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

Script = Literal["keep", "simplified", "traditional"]
ALL_RULES = (
    "mojibake", "tags", "entities", "escapes", "line_ends", "invisible", "controls", "nfc", "width", "repeats",
    "spaces", "page_marks", "trim", "script", "mask", "placeholders", "roles", "alternation",
)  # fmt: skip
"""Names of all rules, text rules before turn rules, in the order in which they apply; `registry` has what stands behind them."""
PERSONAL = ("email", "phone", "id_number", "bank_card", "ip")
"""Kinds of personal data that can be masked."""


@dataclass(frozen=True, slots=True)
class Traits:
    """What the texts of a source are known for. Rules that would be wrong elsewhere work only where a trait says so.

    Attributes:
        html: the texts hold entities and tags of HTML that are not meant to be read.
        escaped: the publisher escaped whole texts for HTML, their code too: every `&lt;` in them stands for `<`.
        escapes: line breaks and tabs were written as two characters (`\\n`, `\\t`).
        slash_n: line breaks were written as `/n`.
        speakers: role markers in a text that begin another turn, as (marker, role); the marker counts at the beginning of a line.
        placeholders: what an Alpaca-like input says in place of nothing, besides `No input` and its kin.
        page_marks: texts were saved from a chat page, with its buttons and page numbers.
        cap: characters at which the publisher cut answers, None where it did not.
        score: key in meta of the number by which the publisher rates rows, None where it does not.
    """

    html: bool = False
    escaped: bool = False
    escapes: bool = False
    slash_n: bool = False
    speakers: tuple[tuple[str, str], ...] = ()
    placeholders: tuple[str, ...] = ()
    page_marks: bool = False
    cap: int | None = None
    score: str | None = None

    @classmethod
    def of(cls, told: Mapping[str, Any]) -> Traits:
        """Traits that were written as JSON, where tuples are lists."""
        lists = {name: tuple(told[name]) for name in ("placeholders",) if name in told}
        pairs = {"speakers": tuple((str(a), str(b)) for a, b in told.get("speakers", ()))}
        return cls(**{**told, **lists, **pairs})


@dataclass(frozen=True, slots=True)
class TextSettings:
    """All that a rule may depend on.

    Attributes:
        traits: of the source.
        script: which script Chinese text shall be in.
        mask: kinds of personal data that are replaced.
    """

    traits: Traits = field(default_factory=Traits)
    script: Script = "keep"
    mask: tuple[str, ...] = ()
