"""What a cleaning rule is, and how a column of texts goes through rules; `registry` lists them all.

A rule is named, idempotent, and does one thing. A text rule takes a column of texts; a turn rule takes conversations. Neither sees a
text that cannot concern it: text rules say by which marks (see `marks`) they know theirs, turn rules select rows themselves. So what
nothing is wrong with, which is nearly everything, costs one look at each character.

White space that carries meaning (indentation, blank lines between paragraphs, spaces between English words, U+3000 at the start of a
Chinese paragraph) is left alone by all of them, and so is everything in `protect.pieces`: code, addresses, formulas, tables.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
import polars as pl

from corpus.text.marks import ALL, marks
from corpus.text.settings import TextSettings


def _always(settings: TextSettings) -> bool:
    return True


@dataclass(frozen=True, slots=True)
class Rule:
    """A rule over texts.

    Attributes:
        name: as in the recipe.
        about: what it changes, in one line.
        apply: texts (none of them null) → texts. Must leave a text that has none of `marks` as it is.
        marks: the rule sees texts with at least one of these bits.
        wanted: whether the rule has anything to do under these settings.
    """

    name: str
    about: str
    apply: Callable[[pl.Series, TextSettings], pl.Series]
    marks: int = ALL
    wanted: Callable[[TextSettings], bool] = _always


_ROUNDS = 8


def clean(texts: pl.Series, rules: Iterable[Rule], settings: TextSettings) -> tuple[pl.Series, dict[str, np.ndarray], np.ndarray]:
    """Takes texts through rules, in order, until they rest: cleaning what is clean changes nothing.

    What one rule does can be work for one before it (without `<b>` between them, two marks are a row of four). So texts that
    changed go round again. In 488,502 real texts, of which 11,793 change, a second round finds nothing; it is there for texts that
    were made to slip through. One that is not at rest after some rounds stays as it was.

    Args:
        texts: strings; nulls stay null.
        rules: in the order in which they are applied.
        settings: for all of them.

    Returns:
        The texts after all rules, for each rule the positions (int64, ascending) of the texts that it changed, and the marks of the texts.
    """
    rules = tuple(rules)
    found = marks(texts)
    now, changes, last = _once(texts, rules, settings, found, np.full(len(texts), len(rules)))
    first = moving = np.flatnonzero(last >= 0)
    if not len(moving):
        return now, changes, found
    for _ in range(_ROUNDS):
        bits = found[moving]
        after, again, last = _once(now.gather(moving), rules, settings, bits, last[last >= 0])
        at = np.flatnonzero(last >= 0)
        moved = moving[at]
        if not len(moved):
            break
        now = now.clone().scatter(moved, after.gather(at))
        found[moved] = bits[at]
        changes = {name: np.union1d(changes[name], moving[places]) for name, places in again.items()}
        moving = moved
    else:
        now = now.clone().scatter(moving, texts.gather(moving))
    same = first[(now.gather(first) == texts.gather(first)).to_numpy()]
    if len(same):
        found[same] = marks(now.gather(same))
        changes = {name: np.setdiff1d(at, same, assume_unique=True) for name, at in changes.items()}
    return now, changes, found


def _once(
    texts: pl.Series, rules: tuple[Rule, ...], settings: TextSettings, found: np.ndarray, until: np.ndarray
) -> tuple[pl.Series, dict[str, np.ndarray], np.ndarray]:
    """One round.

    Args:
        texts: none of them at rest for certain.
        rules: all of them.
        settings: for all of them.
        found: the marks of the texts, kept up to date in place.
        until: for each text the number of the first rule that has already seen it as it is; it and those after it come to nothing
            unless one before them changes the text.

    Returns:
        The texts, for each rule the positions of those that it changed, and for each text the number of the last rule that did, or -1.
    """
    changes: dict[str, np.ndarray] = {}
    last = np.full(len(texts), -1)
    for number, rule in enumerate(rules):
        changes[rule.name] = np.zeros(0, dtype=np.int64)
        if not rule.wanted(settings):
            continue
        at = np.flatnonzero(((found & np.uint32(rule.marks)) != 0) & ((until > number) | (last >= 0)))
        if not len(at):
            continue
        before = texts.gather(at)
        after = rule.apply(before, settings)
        changed = (before != after).to_numpy()
        if not changed.any():
            continue
        at, after = at[changed], after.filter(pl.Series(changed))
        texts = texts.clone().scatter(at, after)  # scatter works in place, and the series is the caller's
        found[at] = marks(after)
        changes[rule.name] = at
        last[at] = number
    return texts, changes, last
