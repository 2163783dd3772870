"""Rules over conversations: who speaks, and whether what is said belongs to whom it is given to.

A turn rule first selects, over columns, the conversations that it may have to change; those few are mended one by one.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import polars as pl

from corpus.text import characters as c
from corpus.text.settings import TextSettings

CONTINUATION = "continuation"
"""The kind of a chosen or rejected answer, which begins where the messages of its preference end."""

WHITE = "\t\n\x0b\x0c\r\x1c\x1d\x1e\x1f \x85\xa0\u1680" + "".join(map(chr, range(0x2000, 0x200B))) + "\u2028\u2029\u202f\u205f\u3000"
"""White space, one definition for columns and for single texts: the strip methods of polars and of Python differ in four controls."""

_INKED = np.uint32(c.HAN | c.KANA | c.HANGUL | c.LATIN | c.LETTER | c.DIGIT | c.PUNCTUATION | c.SYMBOL)

Turn = tuple[str, str]
"""Role (system, user, assistant) and content."""


@dataclass(frozen=True, slots=True)
class Talk:
    """Conversations as flat columns.

    Attributes:
        roles: of every turn.
        contents: of every turn.
        rows: the conversation of every turn, ascending (int64).
        count: number of conversations, those without a turn included.
        marks: bits of every content, see `marks`.
        kinds: of every conversation: dialogue, prompt or preference as in `schema.Kind`; continuation for a chosen or rejected answer.
    """

    roles: pl.Series
    contents: pl.Series
    rows: np.ndarray
    count: int
    marks: np.ndarray
    kinds: pl.Series

    def having(self, turns: np.ndarray) -> np.ndarray:
        """The conversations (bool[count]) of the given turns (positions or a mask)."""
        out = np.zeros(self.count, dtype=bool)
        out[self.rows[turns]] = True
        return out

    def blank(self) -> np.ndarray:
        """Whether each turn is nothing but white space: bool[turns]."""
        out = np.zeros(len(self.rows), dtype=bool)
        # A character without a bit of its own may be white space or not; those that carry another bit are not.
        at = np.flatnonzero((self.marks & _INKED) == 0)
        if len(at):
            out[at] = (self.contents.gather(at).str.strip_chars(WHITE) == "").to_numpy()
        return out


@dataclass(frozen=True, slots=True)
class TurnRule:
    """A rule over conversations.

    Attributes:
        name: as in the recipe.
        about: what it changes, in one line.
        suspects: for every conversation, whether `mend` may have something to do (bool[count]); must be true wherever `mend` changes
            anything.
        mend: turns of one conversation → turns; idempotent. Its second argument is the conversation's kind, see `Talk`.
        continuations: whether the rule also mends the chosen and rejected continuations of a preference (which begin with the assistant).
    """

    name: str
    about: str
    suspects: Callable[[Talk, TextSettings], np.ndarray]
    mend: Callable[[list[Turn], str, TextSettings], list[Turn]]
    continuations: bool = True
