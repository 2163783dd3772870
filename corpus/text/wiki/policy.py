"""What an extraction keeps, and what comes out of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Keep = Literal["drop", "keep"]
Variant = Literal["keep", "zh-hans", "zh-cn", "zh-sg", "zh-my", "zh-hant", "zh-tw", "zh-hk", "zh-mo"]
PageKind = Literal["article", "redirect", "disambiguation", "list"]


@dataclass(frozen=True, slots=True)
class Policy:
    """What is kept of a page, beside its prose, headings and lists.

    Attributes:
        variant: the Chinese variant for which `-{…}-` and the glossary of the page are resolved. "keep": no glossary, and `-{…}-` shows
            what readers of the page's own script see. Ordinary characters are never converted here.
        math: formulas as `$…$`.
        tables: as Markdown tables. Off, as most are numbers without a sentence.
        references: as Markdown footnotes.
        galleries: their captions, as a list.
        infoboxes: their fields, as a list.
        apparatus: sections of mere lists that lead away from the page (see also, external links, references).
    """

    variant: Variant = "keep"
    math: Keep = "keep"
    tables: Keep = "drop"
    references: Keep = "drop"
    galleries: Keep = "drop"
    infoboxes: Keep = "drop"
    apparatus: Keep = "drop"


@dataclass(frozen=True, slots=True)
class Section:
    """A stretch of a page's text: a heading line with what follows it up to the next heading.

    `level` is the number of equals signs in the wiki (2 for an ordinary section), 0 for what precedes the first heading; `start` and
    `end` are offsets in characters of the text.
    """

    level: int
    title: str
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Page:
    """What an extraction yields.

    Attributes:
        text: prose with Markdown headings and list marks; lines without trailing spaces, at most one blank line between two.
        title: the title, as the page's own conversion rule (`-{T|…}-`) words it for the variant.
        sections: all of them in order; together they cover the text but for blank lines between them.
        kind: what sort of page it is.
        target: for a redirect, where it leads.
    """

    text: str
    title: str = ""
    sections: tuple[Section, ...] = ()
    kind: PageKind = "article"
    target: str | None = None
