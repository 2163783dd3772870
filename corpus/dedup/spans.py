"""Where in a text the n-grams of another stand.

The search for leaks works on hashes and says which row holds which item. For these pairs alone the texts are looked at once more, unit
by unit and as they are, so that the place is exact. This mirrors the kernel in :mod:`corpus.dedup.shingles`; a test holds both against
each other.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from corpus.dedup.units import BREAK, CLASS_SHIFT, DIGIT, LETTER, NOTHING, ONE, SEVERAL, SIGN, Unit, table

_VALUE = (1 << CLASS_SHIFT) - 1


@dataclass(frozen=True, slots=True)
class Placed:
    """A unit of a text: what it folds to, and the characters that it is made of."""

    unit: tuple[int, ...]
    start: int
    end: int


def placed(text: str) -> list[Placed]:
    """The units of a text (`mixed`, without punctuation) and where they are, in characters."""
    entries, several = table(Unit.MIXED)
    codes = np.frombuffer(text.encode("utf-32-le"), dtype=np.uint32)
    out: list[Placed] = []
    running, word, start, end = BREAK, [0], 0, 0
    for at, entry in enumerate(entries[codes].tolist()):
        folded = [entry]
        if entry >> CLASS_SHIFT == SEVERAL:
            row = several[entry & _VALUE].tolist()
            folded = [row[0], *(e for e in row[1:] if e)]
        for each in folded:
            kind = BREAK if each >> CLASS_SHIFT == SIGN else each >> CLASS_SHIFT
            value = each & _VALUE
            if kind == running and kind in (LETTER, DIGIT):
                word.append(value)
                end = at + 1
            elif kind != NOTHING:
                if running != BREAK:
                    out.append(Placed(tuple(word), start, end))
                    running = BREAK
                if kind == ONE:
                    out.append(Placed((value,), at, at + 1))
                elif kind != BREAK:
                    running, word, start, end = kind, [value], at, at + 1
    if running != BREAK:
        out.append(Placed(tuple(word), start, end))
    return out


def spans(texts: Sequence[str], other: Sequence[str], n: int, least: int) -> list[tuple[int, int, int]]:
    """The ranges of `texts` that n-grams of `other` cover.

    Args:
        texts: texts of a row.
        other: texts of an item.
        n: units of an n-gram.
        least: units from which on a shorter text is one n-gram.

    Returns:
        (number of the text, start, end) in characters, in order; ranges that touch are one.
    """
    wanted = {gram for text in other for gram, _, _ in _grams(text, n, least)}
    out: list[tuple[int, int, int]] = []
    for number, text in enumerate(texts):
        for gram, start, end in _grams(text, n, least):
            if gram not in wanted:
                continue
            if out and out[-1][0] == number and start <= out[-1][2]:
                out[-1] = (number, out[-1][1], max(end, out[-1][2]))
            else:
                out.append((number, start, end))
    return out


def _grams(text: str, n: int, least: int) -> list[tuple[tuple[tuple[int, ...], ...], int, int]]:
    units = placed(text)
    values = tuple(u.unit for u in units)
    if len(units) < max(1, least):
        return []
    if len(units) < n:
        return [(values, units[0].start, units[-1].end)]
    return [(values[i : i + n], units[i].start, units[i + n - 1].end) for i in range(len(units) - n + 1)]
