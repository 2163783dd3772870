"""What is compared: the units of a text, after folding.

Nothing is compared as it is written. Case, white space, and for `mixed` width, script and punctuation say nothing about whether two
texts are the same, so they are folded away; the texts themselves are never touched.

* `mixed`, the default: a Han, kana or Hangul character is a unit, and so is a run of letters of any other script, a run of digits, and a
  symbol (`+`, `=`, an emoji). Five units then are the same kind of thing in Chinese and in English.
* `char`: every character that is not white space is a unit, casefolded and otherwise as it is. This is the measure in which tools that
  count characters can be compared.
"""

from __future__ import annotations

import unicodedata
from enum import StrEnum
from functools import cache

import numpy as np

from corpus.text import characters as c
from corpus.text import scripts


class Unit(StrEnum):
    """What a unit is."""

    MIXED = "mixed"
    CHAR = "char"


BREAK = 0
"""Is no unit, and ends a run."""
ONE = 1
"""Is a unit by itself."""
LETTER = 2
"""Continues a run of letters."""
DIGIT = 3
"""Continues a run of digits."""
NOTHING = 4
"""Is no unit, and a run goes on behind it."""
SIGN = 5
"""Punctuation: as BREAK, but a unit in texts that hold nothing else."""
SEVERAL = 6
"""Folds to more than one character: the code is a row of the second table."""

CLASS_SHIFT = 24
"""An entry of the table is the class in the upper eight bits and the folded code point below."""

_CASED = 0x20000
"""No character beyond it has a case or a width."""
_MARKED = 0x30000
"""Beyond it there are no combining marks but variation selectors."""
_OPERATORS = "*/%&#@\\-"
"""Punctuation by its category, and yet a unit: without it 3*4 and 3/4 would be equal."""
_MOST = 3
"""Characters that one folds to, at most."""


@cache
def table(unit: Unit) -> tuple[np.ndarray, np.ndarray]:
    """How every character is folded, and what it then is.

    Returns:
        Entries (uint32[0x110000], see CLASS_SHIFT), and for those of class SEVERAL the entries that they stand for (uint32[n, 3], padded
        with BREAK).
    """
    several: list[list[int]] = []
    entries = _chars(several) if unit is Unit.CHAR else _mixed(several)
    second = np.zeros((max(1, len(several)), _MOST), dtype=np.uint32)
    for i, codes in enumerate(several):
        second[i, : len(codes)] = codes
    entries.flags.writeable = False
    second.flags.writeable = False
    return entries, second


def _folded(codes: range) -> list[str]:
    return "\n".join(map(chr, codes)).casefold().split("\n")


def _several(entries: np.ndarray, several: list[list[int]], code: int, folded: str) -> None:
    """Enters a character that folds to more than one."""
    several.append([int(entries[ord(char)]) for char in folded])
    entries[code] = SEVERAL << CLASS_SHIFT | len(several) - 1


def _chars(several: list[list[int]]) -> np.ndarray:
    entries = np.arange(0x110000, dtype=np.uint32) | np.uint32(ONE << CLASS_SHIFT)
    codes = range(0x21, _CASED)
    folded = dict(zip(codes, _folded(codes), strict=True))
    changed = {code: to for code, to in folded.items() if to != chr(code)}
    for code, to in changed.items():
        if len(to) == 1:
            entries[code] = ONE << CLASS_SHIFT | ord(to)
    for code, to in changed.items():
        if len(to) > 1:
            _several(entries, several, code, to)
    white = [code for code in range(0x3001) if chr(code).isspace()]
    entries[white] = BREAK << CLASS_SHIFT
    return entries


def _mixed(several: list[list[int]]) -> np.ndarray:
    bits = c.table()
    simple = scripts.single(scripts.TO_SIMPLIFIED)
    classes = np.full(0x110000, ONE, dtype=np.uint32)  # private, unassigned and format characters of later Unicode are units
    for mask, kind in (
        (c.PUNCTUATION, SIGN),
        (c.LETTER | c.LATIN, LETTER),
        (c.DIGIT, DIGIT),
        (c.SYMBOL | c.HAN | c.KANA | c.HANGUL, ONE),
        (c.CONTROL | c.BLANK | c.ODD_BLANK | c.LINE_FEED | c.CR, BREAK),
        (c.INVISIBLE, NOTHING),
    ):
        classes[(bits & np.uint32(mask)) != 0] = kind
    classes[[ord(sign) for sign in _OPERATORS]] = ONE
    # Vowel signs and accents belong to the word: Thai and Hindi would otherwise fall apart into pieces of letters.
    classes[[code for code in range(_MARKED) if unicodedata.category(chr(code))[0] == "M"]] = LETTER
    classes[0xFE00:0xFE10] = NOTHING  # variation selectors
    classes[0xE0100:0xE01F0] = NOTHING
    classes[[ord("'"), 0x2019]] = NOTHING  # don't is one word, however its apostrophe is written

    to = np.arange(0x110000, dtype=np.uint32)
    many: dict[int, str] = {}
    codes = range(0x21, _CASED)
    narrow = {code: _narrow(code) for code in (0x3000, *range(0xFF00, 0xFFF0))}
    for code, folded in zip(codes, _folded(codes), strict=True):
        wide = narrow.get(code)
        final = wide.casefold() if wide else folded
        if len(final) == 1:
            to[code] = ord(final)
        else:
            many[code] = final
    to = simple[to].astype(np.uint32)
    entries = classes[to] << np.uint32(CLASS_SHIFT) | to
    for code, folded in many.items():
        _several(entries, several, code, folded)
    return entries


def _narrow(code: int) -> str:
    return unicodedata.normalize("NFKC", chr(code))
