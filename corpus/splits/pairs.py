"""Preference pairs: what is measured of them, and which are good enough to learn from.

A pair teaches the difference between its sides. Where there is none it teaches nothing, and where length or a refusal is the difference
it teaches that. So both sides are compared exactly, and what was found is kept for every pair, dropped or not.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
from numba import njit

from corpus.dedup.judge import jaccards, sets
from corpus.dedup.near import cuts
from corpus.dedup.shingles import shingles
from corpus.dedup.texts import Texts, buffers
from corpus.dedup.units import Unit
from corpus.recipe_splits import Pairs
from corpus.schema import PREFERENCES, ROLES
from corpus.text import phrases
from corpus.text.folding import folded

_RANKS = r'^\{"ranks":\[(\d{1,9}),(\d{1,9})\],"ranked":(\d{1,9})[,}]'
"""How the readers of rankings begin a row's meta: fifty times as fast to find as a place in a JSON tree."""

ALIKE = float(np.nextafter(1.0, 0.0))
"""The similarity of sides whose shingles are the same though the sides are not: the largest below 1, which says that they are equal."""


@dataclass(frozen=True, slots=True)
class _Sides:
    """One continuation of n pairs: texts, their roles, how many turns and characters each pair has of it, and whether it declines."""

    texts: Texts
    roles: np.ndarray
    turns: np.ndarray
    chars: np.ndarray
    refuses: np.ndarray


def measure(rows: pa.Table) -> pa.Table:
    """Measures preference pairs.

    Similarity is that of the sets of shingles as near duplicates are found by, of five units each, folded; a side of fewer units is one
    shingle. It is 1 where the sides are equal after folding, and nowhere else: see `ALIKE`.

    Args:
        rows: of schema CLEAN, preferences alone; row_id, source, chosen and rejected are enough.

    Returns:
        A table of schema PREFERENCES, row for row.
    """
    chosen, rejected = (_side(rows[name].combine_chunks()) for name in ("chosen", "rejected"))
    columns = {
        "row_id": rows["row_id"],
        "source": rows["source"],
        "chosen_chars": pa.array(chosen.chars.astype(np.int32)),
        "rejected_chars": pa.array(rejected.chars.astype(np.int32)),
        "similarity": pa.array(_similarity(chosen, rejected)),
        "chosen_refuses": pa.array(chosen.refuses),
        "rejected_refuses": pa.array(rejected.refuses),
        "turns": pa.array(np.maximum(chosen.turns, rejected.turns).astype(np.int32)),
    }
    return pa.table([columns[c.name] for c in PREFERENCES.columns], schema=PREFERENCES.schema)


def judge(preferences: pa.Table, pairs: Pairs) -> tuple[np.ndarray, np.ndarray]:
    """Which pairs a split leaves out.

    Args:
        preferences: what `measure` found.
        pairs: what the split asks for.

    Returns:
        Reason and detail of every pair, None where it is good enough (object[n] both). The first of same_sides, near_sides,
        length_ratio and refusal that holds.
    """
    good, bad, similarity = (preferences[name].to_numpy() for name in ("chosen_chars", "rejected_chars", "similarity"))
    good_refuses, bad_refuses = (preferences[name].to_numpy() for name in ("chosen_refuses", "rejected_refuses"))
    longer, shorter = np.maximum(good, bad), np.minimum(good, bad)
    reasons, details = np.full(len(good), None, dtype=object), np.full(len(good), None, dtype=object)
    free = np.ones(len(good), dtype=np.bool_)

    def leave_out(mask: np.ndarray, reason: str, said: list[str] | str) -> None:
        reasons[mask], details[mask] = reason, said
        free[mask] = False

    leave_out((good == 0) & (bad == 0), "same_sides", "both sides are empty")
    leave_out(free & (good == 0), "same_sides", "the chosen side is empty")
    leave_out(free & (bad == 0), "same_sides", "the rejected side is empty")
    leave_out(free & (similarity == 1), "same_sides", "the sides are equal after folding")
    near = free & (similarity >= pairs.near)
    leave_out(near, "near_sides", [f"similarity {s:.4f}, {pairs.near:g} or more" for s in similarity[near].tolist()])
    if pairs.ratio is not None:
        far = free & (longer > shorter * pairs.ratio)
        counts = zip(good[far].tolist(), bad[far].tolist(), strict=True)
        leave_out(far, "length_ratio", [f"{g} chosen and {b} rejected characters, more than 1 to {pairs.ratio:g}" for g, b in counts])
    if pairs.refusals == "drop":
        leave_out(free & good_refuses & ~bad_refuses, "refusal", "the chosen side declines, the rejected one does not")
    return reasons, details


def ranked(meta: pa.Array, choice: Literal["all", "best-worst", "adjacent"]) -> np.ndarray:
    """Which pairs of a ranking a choice takes (bool[n]).

    Args:
        meta: JSON objects or null; a pair of a ranking has `ranks`, the places of its sides counted from 0, and `ranked`, how many
            answers the ranking has. Pairs without them are not of a ranking, and are taken.
        choice: all pairs, the best with the worst alone, or each with the next.
    """
    taken = np.ones(len(meta), dtype=np.bool_)
    if choice == "all":
        return taken
    texts = pl.Series(meta, dtype=pl.String)
    at = np.flatnonzero(texts.str.contains('"ranks"', literal=True).fill_null(False).to_numpy())
    if not len(at):
        return taken
    best, worst, many = _places(texts.gather(at))
    fits = (worst - best == 1) if choice == "adjacent" else (best == 0) & (worst == many - 1)
    taken[at] = (fits | best.is_null() | worst.is_null() | many.is_null()).to_numpy()
    return taken


def _places(meta: pl.Series) -> tuple[pl.Series, pl.Series, pl.Series]:
    """The places of both sides and the number of answers (Int64); null where a row does not say them in whole numbers."""
    groups = meta.str.extract_groups(_RANKS).struct.unnest()
    best, worst, many = (groups[:, n].cast(pl.Int64) for n in range(3))
    elsewhere = np.flatnonzero(best.is_null().to_numpy())
    if len(elsewhere):
        rest = meta.gather(elsewhere)
        for known, path in ((best, "$.ranks[0]"), (worst, "$.ranks[1]"), (many, "$.ranked")):
            known.scatter(elsewhere, rest.str.json_path_match(path).cast(pl.Int64, strict=False))
    return best, worst, many


def _side(column: pa.ListArray) -> _Sides:
    flat = column.flatten()
    turns = pc.fill_null(pc.list_value_length(column), 0).to_numpy().astype(np.int64)
    rows = np.repeat(np.arange(len(column)), turns)
    roles = pc.index_in(flat.field("role"), pa.array(ROLES)).to_numpy(zero_copy_only=False).astype(np.uint8)
    content = flat.field("content")
    offsets, data = buffers(content)
    bounds = np.concatenate([[0], np.cumsum(turns)])
    said = roles != ROLES.index("system")
    chars = pc.utf8_length(content).to_numpy(zero_copy_only=False).astype(np.int64)
    answers = np.flatnonzero(roles == ROLES.index("assistant"))
    declines = phrases.counts(pl.Series(content, dtype=pl.String).gather(answers))["refusals"] > 0
    return _Sides(
        Texts(offsets, data, bounds, np.zeros(len(roles), dtype=np.uint8), np.zeros(len(column), dtype=np.uint8)),
        roles,
        turns,
        np.bincount(rows[said], weights=chars[said], minlength=len(column)).astype(np.int64),
        np.bincount(rows[answers[declines]], minlength=len(column)) > 0,
    )


def _similarity(chosen: _Sides, rejected: _Sides) -> np.ndarray:
    """Of n pairs, a few megabytes of text at a time: shingles take twelve times the room of their text."""
    out = np.ones(len(chosen.turns), dtype=np.float64)
    ends = chosen.texts.offsets[chosen.texts.bounds] + rejected.texts.offsets[rejected.texts.bounds]
    for start, end in cuts(ends):
        one, other = chosen.texts.part(start, end), rejected.texts.part(start, end)
        found = jaccards(sets(shingles(one, Unit.MIXED)), sets(shingles(other, Unit.MIXED)))
        same = _same(*_folded(one, _heads(chosen, start, end)), *_folded(other, _heads(rejected, start, end)))
        out[start:end] = np.where(same, 1.0, np.minimum(found, ALIKE))
    return out


def _heads(sides: _Sides, start: int, end: int) -> np.ndarray:
    """What is put before each text: the role, so that turns of other roles are never equal."""
    return sides.roles[int(sides.texts.bounds[start]) : int(sides.texts.bounds[end])] + np.uint8(1)


def _folded(texts: Texts, heads: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The folded bytes of rows, and where each row's begin and end (int64[rows + 1])."""
    ends, data = folded((texts.offsets, texts.data), heads)
    return data, np.concatenate([[0], ends])[texts.bounds]


@njit(cache=True, nogil=True)
def _same(one: np.ndarray, ends: np.ndarray, other: np.ndarray, other_ends: np.ndarray) -> np.ndarray:
    """Whether the bytes of rows are equal (bool[rows])."""
    out = np.zeros(len(ends) - 1, dtype=np.bool_)
    for row in range(len(ends) - 1):
        at, size, begin = ends[row], ends[row + 1] - ends[row], other_ends[row]
        if size != other_ends[row + 1] - begin:
            continue
        i = 0
        while i < size and one[at + i] == other[begin + i]:
            i += 1
        out[row] = i == size
    return out
