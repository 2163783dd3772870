"""What a format needs to know of a column of conversations: whether they fit it, and where their parts are.

All functions take `list<struct<role, content>>` without nulls (`corpus.schema.MESSAGES`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from corpus.schema import MESSAGES, ROLES

LEFT_OUT = {
    "no_answer": "it does not end with an answer: a prompt of a test split",
    "no_question": "it does not end with a question, or has none",
    "turns": "its turns are not questions and answers in alternation, with at most one system message before them",
    "sides": "a side of the pair is more than one answer",
}
"""Why a row of a split cannot be said in a format."""

_REASONS = ("", *LEFT_OUT)
_SYSTEM, _USER, _ASSISTANT = range(3)

Fit = np.ndarray
"""For each row 0, or the place of a reason in `reason`."""


def reason(code: int) -> str:
    """The reason that a code stands for; an empty text for a row that fits."""
    return _REASONS[code]


@dataclass(frozen=True, slots=True)
class Turns:
    """The flattened messages of a column.

    Attributes:
        offsets: where each row's messages begin, and where the last one's end; rows + 1 numbers.
        roles: for each message the place of its role in ROLES.
        contents: the texts.
        system: for each row whether its first message is the system's.
    """

    offsets: np.ndarray
    roles: np.ndarray
    contents: pa.Array
    system: np.ndarray

    @classmethod
    def of(cls, messages: pa.ListArray) -> Turns:
        """The messages of a column."""
        flat = messages.flatten()
        offsets = messages.offsets.to_numpy()
        offsets = (offsets - offsets[0]).astype(np.int64)
        roles = pc.index_in(flat.field("role"), pa.array(ROLES)).to_numpy(zero_copy_only=False)
        system = np.zeros(len(messages), dtype=bool)
        some = np.flatnonzero(np.diff(offsets))
        system[some] = roles[offsets[:-1][some]] == _SYSTEM
        return cls(offsets, roles, flat.field("content"), system)

    @property
    def row(self) -> np.ndarray:
        """For each message its row."""
        return np.repeat(np.arange(len(self.system)), np.diff(self.offsets))

    @property
    def place(self) -> np.ndarray:
        """For each message its place in the row, the system's first message not counted (it is at -1)."""
        row = self.row
        return np.arange(len(row)) - (self.offsets[:-1] + self.system)[row]

    @property
    def count(self) -> np.ndarray:
        """For each row its messages, the system's first not counted."""
        return np.diff(self.offsets) - self.system

    def last(self, back: int = 0) -> pa.Array:
        """For each row the text of its last message, or of the one so many before it. Every row must have it."""
        return self.contents.take(pa.array(self.offsets[1:] - 1 - back))

    def systems(self) -> pa.Array:
        """For each row the system's message, or an empty text."""
        place = pa.array(np.where(self.system, self.offsets[:-1], -1), mask=~self.system)
        return pc.fill_null(self.contents.take(place), "")

    def history(self, tail: int) -> pa.ListArray:
        """For each row [[question, answer], …] before its last `tail` messages; rows must alternate."""
        pairs = (self.count - tail) // 2
        before = (self.place >= 0) & (self.place < (2 * pairs)[self.row])
        contents = self.contents.filter(pa.array(before))
        inner = pa.ListArray.from_arrays(pa.array(np.arange(0, len(contents) + 1, 2, dtype=np.int32)), contents)
        return pa.ListArray.from_arrays(pa.array(np.concatenate([[0], np.cumsum(pairs)]).astype(np.int32)), inner)


def ends(messages: pa.ListArray, role: Literal["assistant", "user"], *, alternating: bool) -> Fit:
    """Which conversations end as a format needs it.

    Args:
        messages: the conversations.
        role: who speaks last.
        alternating: whether questions and answers must alternate, after one system message at most.
    """
    turns = Turns.of(messages)
    wanted = _ASSISTANT if role == "assistant" else _USER
    fit = np.full(len(messages), _REASONS.index("no_answer" if role == "assistant" else "no_question"), dtype=np.int8)
    some = np.flatnonzero(turns.count > 0)
    fit[some[turns.roles[turns.offsets[1:][some] - 1] == wanted]] = 0
    if role == "assistant":
        fit[(fit == 0) & (turns.count < 2)] = _REASONS.index("no_question")
    if alternating:
        place = turns.place
        wrong = (place >= 0) & (turns.roles != np.where(place % 2 == 0, _USER, _ASSISTANT))
        broken = np.zeros(len(messages), dtype=bool)
        broken[turns.row[wrong]] = True
        fit[(fit == 0) & broken] = _REASONS.index("turns")
    return fit


def pairs(prompt: pa.ListArray, chosen: pa.ListArray, rejected: pa.ListArray, *, alternating: bool) -> Fit:
    """Which preferences are a prompt that ends with a question and two answers of one message each."""
    fit = ends(prompt, "user", alternating=alternating)
    for side in (chosen, rejected):
        turns = Turns.of(side)
        single = np.diff(turns.offsets) == 1
        single[single] = turns.roles[turns.offsets[:-1][single]] == _ASSISTANT
        fit[(fit == 0) & ~single] = _REASONS.index("sides")
    return fit


def without_last(messages: pa.ListArray) -> pa.ListArray:
    """Conversations without their last message; every one must have one."""
    flat = messages.flatten()
    offsets = Turns.of(messages).offsets
    keep = np.ones(len(flat), dtype=bool)
    keep[offsets[1:] - 1] = False
    fewer = (offsets - np.arange(len(offsets))).astype(np.int32)
    return pa.ListArray.from_arrays(pa.array(fewer), flat.filter(pa.array(keep)), type=MESSAGES)
