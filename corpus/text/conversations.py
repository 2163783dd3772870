"""How a column of conversations goes through the turn rules.

Nearly every conversation is in order. So each rule first says, over flat columns, which ones it may have to change; only those become
Python objects, and the mended ones are put back between the others, which are never touched. Of the 113,431 conversations in the data
1,588 are looked at and 747 change.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc

from corpus.schema import MESSAGES
from corpus.text import marks as m
from corpus.text.alternation import ALTERNATION
from corpus.text.placeholders import PLACEHOLDERS
from corpus.text.rules import Rule, clean
from corpus.text.settings import TextSettings
from corpus.text.speakers import ROLES
from corpus.text.turns import CONTINUATION, Talk, Turn, TurnRule

TURN_RULES = (PLACEHOLDERS, ROLES, ALTERNATION)
"""All turn rules, in the order in which they are applied."""

_ROUNDS = 8


def talk_of(messages: pa.ListArray, kinds: pl.Series, marks: np.ndarray | None = None) -> Talk:
    """Conversations as flat columns.

    Args:
        messages: of type `schema.MESSAGES`; a null has no turns.
        kinds: of every conversation, see `Talk`. A continuation that is null gets no kind: its row is no preference.
        marks: bits of every content, if they are known already.
    """
    if messages.null_count:
        absent = pl.Series(messages.is_null()) & (kinds == CONTINUATION)
        kinds = kinds.to_frame("kind").select(pl.when(~absent).then("kind")).to_series()
    elements = messages.flatten()
    contents = pl.Series(elements.field("content"), dtype=pl.String)
    lengths = pc.fill_null(pc.list_value_length(messages), 0).to_numpy()
    return Talk(
        roles=pl.Series(elements.field("role"), dtype=pl.String),
        contents=contents,
        rows=np.repeat(np.arange(len(messages)), lengths),
        count=len(messages),
        marks=m.marks(contents) if marks is None else marks,
        kinds=kinds,
    )


def mend(
    messages: pa.ListArray,
    kinds: pl.Series,
    rules: Iterable[TurnRule],
    settings: TextSettings,
    marks: np.ndarray | None = None,
    text_rules: Iterable[Rule] = (),
) -> tuple[pa.ListArray, dict[str, np.ndarray]]:
    """Takes conversations through rules, in order.

    Args:
        messages: of type `schema.MESSAGES`, their texts already clean; nulls stay null, and empty lists empty.
        kinds: dialogue, prompt or preference for every row's messages; `turns.CONTINUATION` for its chosen or rejected answer.
        rules: in the order in which they are applied.
        settings: for all of them.
        marks: bits of every content, if they are known already.
        text_rules: for the texts that the rules made, by joining or cutting, of those that were clean.

    Returns:
        The conversations after all rules, and for each rule the positions (int64, ascending) of those that it changed.
    """
    rules, text_rules = tuple(rules), tuple(text_rules)
    talk = talk_of(messages, kinds, marks)
    ends = np.searchsorted(talk.rows, np.arange(len(messages) + 1))
    selected = np.zeros(len(messages), dtype=bool)
    for rule in rules:
        selected |= rule.suspects(talk, settings)
    at = np.flatnonzero(selected)
    changed: dict[str, list[int]] = {name: [] for name in (*(r.name for r in text_rules), *(r.name for r in rules))}
    mended: dict[int, tuple[list[Turn], set[str]]] = {}
    for row, kind, before in zip(at.tolist(), kinds.gather(at).to_list(), _turns(talk, ends, at), strict=True):
        after, names = settled(before, kind, rules, settings)
        if names:
            mended[row] = after, names
    if text_rules:
        mended = _rested(mended, kinds, rules, text_rules, settings)
    for row, (_, names) in mended.items():
        for name in names:
            changed[name].append(row)
    new = {row: turns for row, (turns, _) in mended.items()}
    return _with(messages, new), {name: np.array(rows, dtype=np.int64) for name, rows in changed.items()}


def _rested(
    mended: dict[int, tuple[list[Turn], set[str]]],
    kinds: pl.Series,
    rules: tuple[TurnRule, ...],
    text_rules: tuple[Rule, ...],
    settings: TextSettings,
) -> dict[int, tuple[list[Turn], set[str]]]:
    """Mended conversations (by row: turns, and what changed them) after text rules and turn rules by turns, until both find nothing.

    Those that do not come to rest are left out, so that they stay as they were.
    """
    out, moving = dict(mended), list(mended)
    for _ in range(_ROUNDS):
        lengths = [len(out[row][0]) for row in moving]
        owners = np.repeat(np.arange(len(moving)), lengths)
        contents = pl.Series([content for row in moving for _, content in out[row][0]], dtype=pl.String)
        texts, changes, _ = clean(contents, text_rules, settings)
        found: dict[int, set[str]] = {}
        for name, at in changes.items():
            for place in np.unique(owners[at]).tolist():
                found.setdefault(place, set()).add(name)
        if not found:
            return out
        values, starts = texts.to_list(), np.cumsum([0, *lengths]).tolist()
        again = []
        for place, names in found.items():
            row = moving[place]
            turns, before = out[row]
            made = [(role, text) for (role, _), text in zip(turns, values[starts[place] : starts[place + 1]], strict=True)]
            after, more = settled(made, str(kinds[row]), rules, settings)
            out[row] = after, before | names | more
            again.append(row)
        moving = again
    lost = set(moving)
    return {row: told for row, told in out.items() if row not in lost}


def settled(turns: list[Turn], kind: str, rules: tuple[TurnRule, ...], settings: TextSettings) -> tuple[list[Turn], set[str]]:
    """One conversation after all rules, and the names of those that changed it.

    What one rule does can be work for one before it: two turns that become one may then end in a placeholder. So the rules go round until
    none finds anything, which makes them idempotent together; turns that do not settle are left as they were.
    """
    now, names = turns, set[str]()
    for _ in range(_ROUNDS):
        start = now
        for rule in rules:
            if kind != CONTINUATION or rule.continuations:
                after = rule.mend(now, kind, settings)
                if after != now:
                    names.add(rule.name)
                now = after
        if now == start:
            return now, names if now != turns else set()
    return turns, set()


def _turns(talk: Talk, ends: np.ndarray, rows: np.ndarray) -> list[list[Turn]]:
    """The turns of the conversations `rows`."""
    lengths = ends[rows + 1] - ends[rows]
    last = np.cumsum(lengths)
    flat = np.arange(last[-1] if len(last) else 0) + np.repeat(ends[rows] - (last - lengths), lengths)
    turns = list(zip(talk.roles.gather(flat).to_list(), talk.contents.gather(flat).to_list(), strict=True))
    return [turns[end - n : end] for n, end in zip(lengths.tolist(), last.tolist(), strict=True)]


def _with(messages: pa.ListArray, mended: dict[int, list[Turn]]) -> pa.ListArray:
    """`messages` with some of its rows replaced."""
    if not mended:
        return messages
    new = pa.array([[{"role": role, "content": content} for role, content in turns] for turns in mended.values()], MESSAGES)
    index = np.arange(len(messages))
    index[list(mended)] = len(messages) + np.arange(len(mended))
    return pa.concat_arrays([messages, new]).take(pa.array(index))
