"""Rules over conversations: who speaks, and whether what is said belongs to whom it is given to.

A turn rule first selects, over columns, the conversations that it may have to change; those few are mended one by one.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import polars as pl

from corpus.text.settings import TextSettings

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
    """

    roles: pl.Series
    contents: pl.Series
    rows: np.ndarray
    count: int
    marks: np.ndarray


@dataclass(frozen=True, slots=True)
class TurnRule:
    """A rule over conversations.

    Attributes:
        name: as in the recipe.
        about: what it changes, in one line.
        suspects: for every conversation, whether `mend` may have something to do (bool[count]); must be true wherever `mend` changes anything.
        mend: turns of one conversation → turns; idempotent. Its second argument is the row's kind (dialogue, prompt, preference).
        continuations: whether the rule also mends the chosen and rejected continuations of a preference (which begin with the assistant).
    """

    name: str
    about: str
    suspects: Callable[[Talk, TextSettings], np.ndarray]
    mend: Callable[[list[Turn], str, TextSettings], list[Turn]]
    continuations: bool = True


TURN_RULES: tuple[TurnRule, ...] = ()
