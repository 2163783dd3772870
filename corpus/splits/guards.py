"""What keeps text from data from forging a turn: which strings a template reads as its own, and how they are broken in a content.

A string is broken where the template could read it as its own, and nowhere else: `Human:` at the beginning of a line, `USER:` where a
word begins (not in `POSTGRES_USER:`), `</s>` anywhere. What is written in its place reads the same to a person and is another token to a
model: the full-width colon, a blank after the first character of a special token.

Every content is looked at by itself, so what its neighbours are does not change it, and a prompt is the same with and without its answer.
That is enough, because no template's text completes a string of its own with the beginning or the end of a content; the tests hold it
for contents made of such pieces.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

import polars as pl

GAP = " \n\n"
"""The end of a turn that is white space alone (HugChat's): a blank at the end of a line, and an empty line."""
_FIRST_GAP = r"\A[ \n]*\n\n"
"""Empty lines at the beginning, which would be a gap together with the blank that ends a header."""
_GAP = r" [ \n]*\n\n"
"""From the first blank to the last empty line. A chain (" \\n \\n\\n") goes as one: breaking only its last link would leave another."""


class Where(StrEnum):
    """The places in a content at which a string is read as the template's own."""

    LINE = "line"
    """At the beginning of a line, blanks and tabs before it aside. Lines end with a line feed and with nothing else."""
    WORD = "word"
    """Where no ASCII letter, digit or underscore stands before it."""
    ANYWHERE = "anywhere"
    GAP = "gap"
    """White space: goes, where it is one, but for the empty line."""


@dataclass(frozen=True, slots=True)
class Mark:
    """A string that a template reads as its own.

    Attributes:
        text: the string.
        instead: what is written in its place.
        where: the places at which it is one.
    """

    text: str
    instead: str
    where: Where = Where.ANYWHERE

    def __post_init__(self) -> None:
        if self.where is Where.GAP and (self.text, self.instead) != (GAP, "\n\n"):
            raise ValueError(f"a gap is {GAP!r} and becomes an empty line, not {self.text!r} and {self.instead!r}")
        if self.where is not Where.GAP and (not self.text or self.text in self.instead):
            raise ValueError(f"{self.text!r} is not broken by {self.instead!r}")

    def broken(self, contents: pl.Series) -> pl.Series:
        """The contents without this string where it is one."""
        if self.where is Where.ANYWHERE:
            return contents.str.replace_all(self.text, self.instead, literal=True)
        if self.where is Where.GAP:
            return contents.str.replace(_FIRST_GAP, "").str.replace_all(_GAP, "\n\n")
        text, instead = pl.escape_regex(self.text), self.instead.replace("$", "$$")
        if self.where is Where.LINE:
            return contents.str.replace_all(rf"(?m)^([ \t]*){text}", f"${{1}}{instead}")
        return contents.str.replace_all(rf"(?-u:\b){text}", instead)

    def suspects(self, contents: pl.Series) -> pl.Series:
        """Which contents may hold it: a search for a plain string, which is much faster than a replacement that finds nothing."""
        found = contents.str.contains(self.text, literal=True)
        return found | contents.str.contains(_FIRST_GAP) if self.where is Where.GAP else found


def break_marks(marks: tuple[Mark, ...], contents: pl.Series) -> pl.Series:
    """Breaks every mark in a column of contents.

    Args:
        marks: what to break, in this order.
        contents: strings.

    Returns:
        The contents; doing it again changes nothing.
    """
    for mark in marks:
        at = mark.suspects(contents).arg_true()
        if len(at):
            # Few contents have any, so only those are written anew; the copy, because scatter changes what it is called on.
            contents = contents.clone().scatter(at, mark.broken(contents.gather(at)))
    return contents
