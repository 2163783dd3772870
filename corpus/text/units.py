"""What a text is written with: characters of either Chinese script, Japanese, Korean, words of Latin and of other letters.

One compiled kernel reads the UTF-8 bytes of a column once and counts, for every text, all that telling its script and its
language takes. What is counted are *units*, so that languages can be compared: a Han character is one, a word of letters is
one.

Japanese is known by its kana. A *run* is a longest stretch of Han and kana; it is Japanese when one in eight of its characters
is kana. Japanese is written with particles in kana between the Han, Chinese that mentions a Japanese word sets it apart, so a
Chinese text with a few Japanese words keeps its Chinese runs, and the Han of Japanese runs, of which many look simplified (国,
会, 学), count for neither script.

A Latin word of two letters or more counts as prose only where it does not touch digits or the signs of code and addresses (`_ /
= {` and so on, also a bracket as in `f(x)` and a stop as in `a.b`), nor stands beside an equals sign, nor inside a fenced
block. Those are counted apart, as code.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
import polars as pl
from numba import njit

from corpus.text import characters as c
from corpus.text.marks import utf8
from corpus.text.scripts import SIMPLIFIED, TRADITIONAL, only
from corpus.text.words import MULTIPLIER, slots

HAN, KANA, _HANGUL, _LATIN, _LETTER, _DIGIT, _CODE, _TICK, _LINE, _QUOTE, _JOINT = range(1, 12)
KIND = 0x0F
_JOINS = 0x40
"""Makes code of a word that touches it."""
_CODE_SIGNS = "_/\\=<>{}$@#&|~^%+"
JAPANESE_SHARE = 8
"""A run of Han and kana is Japanese when it has at least one kana for so many characters."""

COLUMNS = ("simplified", "traditional", "han", "japanese", "kana", "hangul", "others", "words", "code", "english", "foreign", "accented")


@dataclass(frozen=True, slots=True)
class Units:
    """Counts of every text, int64[texts] each.

    Attributes:
        simplified: Han characters that exist in simplified script alone, outside of Japanese runs.
        traditional: those that exist in traditional script alone, outside of Japanese runs.
        han: Han characters outside of Japanese runs.
        japanese: Han and kana of Japanese runs.
        kana: all kana.
        hangul: Korean syllables.
        others: words in other letters than Latin ones.
        words: Latin words of prose.
        code: Latin words that stand in code and addresses. Single letters are counted nowhere.
        english: words of prose that are among the commonest of English.
        foreign: those that are among the commonest of other languages, and not of English.
        accented: words of prose with a letter beyond ASCII.
    """

    simplified: np.ndarray
    traditional: np.ndarray
    han: np.ndarray
    japanese: np.ndarray
    kana: np.ndarray
    hangul: np.ndarray
    others: np.ndarray
    words: np.ndarray
    code: np.ndarray
    english: np.ndarray
    foreign: np.ndarray
    accented: np.ndarray

    def of_rows(self, rows: np.ndarray, count: int) -> Units:
        """The counts of `count` rows, of which `rows` says which text belongs to which."""
        each = (getattr(self, name) for name in COLUMNS)
        return Units(*(np.bincount(rows, weights=counts, minlength=count).astype(np.int64) for counts in each))


def units(texts: pl.Series) -> Units:
    """Counts the units of every text; a null has none."""
    return units_of(*utf8(texts))


def units_of(offsets: np.ndarray, data: np.ndarray) -> Units:
    """The same for texts as `marks.utf8` gives them."""
    keys, kinds = slots()
    counted = _count(offsets, data, kinds_of_characters(), keys, kinds)
    return Units(*(np.ascontiguousarray(counted[:, i]) for i in range(len(COLUMNS))))


@cache
def kinds_of_characters() -> np.ndarray:
    """What every code point is to the kernel: uint8[0x110000]."""
    bits = c.table()
    kinds = np.zeros(len(bits), dtype=np.uint8)
    for bit, kind in ((c.LETTER, _LETTER), (c.HAN, HAN), (c.KANA, KANA), (c.HANGUL, _HANGUL), (c.LATIN, _LATIN), (c.DIGIT, _DIGIT)):
        kinds[(bits & np.uint32(bit)) != 0] = kind
    kinds[kinds == _DIGIT] |= _JOINS
    for sign in _CODE_SIGNS:
        kinds[ord(sign)] = _CODE | _JOINS
    for sign, kind in (("`", _TICK), ("\n", _LINE), ("'", _QUOTE), ("’", _QUOTE), (".", _JOINT), ("(", _JOINT)):
        kinds[ord(sign)] = kind
    simplified, traditional = only()
    kinds[simplified] |= SIMPLIFIED
    kinds[traditional] |= TRADITIONAL
    kinds.flags.writeable = False
    return kinds


@njit(cache=True, nogil=True)
def _count(offsets: np.ndarray, data: np.ndarray, table: np.ndarray, keys: np.ndarray, classes: np.ndarray) -> np.ndarray:
    n = len(offsets) - 1
    out = np.zeros((n, 12), dtype=np.int64)
    for i in range(n):
        first, end = offsets[i], offsets[i + 1]
        if first == end:
            continue
        simplified, traditional, han, japanese, kana, hangul, others = 0, 0, 0, 0, 0, 0, 0
        words, code, english, foreign, accented = 0, 0, 0, 0, 0
        run_han, run_kana, run_simplified, run_traditional = 0, 0, 0, 0
        length, start, key, accent = 0, first, np.uint64(0), False  # of the word that is being read
        before = _LINE  # kind of the character before, letters of Latin words aside
        fenced = False
        front, last = np.uint8(0), np.uint8(0)  # what stands before the word, and before this character
        code_from = first - 1  # where a word would be code
        at = first
        while at <= end:
            byte = data[at] if at < end else np.uint8(10)  # the end ends a word, a run and a line
            lower = byte | np.uint8(0x20)
            if np.uint8(lower - np.uint8(97)) < 26:
                if length == 0:
                    start, front = at, last
                key = key << np.uint64(8) | np.uint64(lower)
                length += 1
                at += 1
                continue
            if byte < 0x80:
                bits = table[byte]
                size = 1
            elif byte < 0xE0:
                bits = table[(np.int64(byte) & 0x1F) << 6 | (np.int64(data[at + 1]) & 0x3F)]
                size = 2
            elif byte < 0xF0:
                bits = table[(np.int64(byte) & 0x0F) << 12 | (np.int64(data[at + 1]) & 0x3F) << 6 | (np.int64(data[at + 2]) & 0x3F)]
                size = 3
            else:
                bits = table[
                    (np.int64(byte) & 0x07) << 18
                    | (np.int64(data[at + 1]) & 0x3F) << 12
                    | (np.int64(data[at + 2]) & 0x3F) << 6
                    | (np.int64(data[at + 3]) & 0x3F)
                ]
                size = 4
            kind = bits & KIND
            if kind == _LATIN:
                if length == 0:
                    start, front = at, last
                length += 1
                accent = True
                at += size
                continue
            if length > 0:
                if kind == _QUOTE:  # it does not end a word: don't is read as dont
                    at += size
                    continue
                # Whether a word is known is anybody's guess: nothing branches on it, a wrong guess costs as much as four letters.
                joined = fenced | (start == code_from) | bool((bits | front) & _JOINS)
                if kind == _JOINT:  # f(x), a.b
                    code_from = at + 1
                    joined |= byte == 40
                whole = (length > 1) | accent  # not a variable or an option; I and a never stand alone
                prose = int(whole & (not joined))
                code += int(whole & joined)
                words += prose
                accented += prose & int(accent)
                # A word of more than eight letters, of which the lists have none, is looked up by the last eight.
                slot = np.int64(key * np.uint64(MULTIPLIER) >> np.uint64(52))
                known = np.int64(keys[slot] == key) * classes[slot] + np.int64(keys[slot + 1] == key) * classes[slot + 1]
                known *= prose & int(not accent)
                english += int(known & 1)
                foreign += int(known >> 1)
                if byte == 32 and at + 1 < end and data[at + 1] == 61:  # x = 2
                    code += prose
                    words -= prose
                    accented -= prose & int(accent)
                    english -= int(known & 1)
                    foreign -= int(known >> 1)
                length, key, accent = 0, np.uint64(0), False
                before = _LATIN
            if run_han + run_kana and (before == _LATIN or (kind != HAN and kind != KANA)):
                if run_kana * JAPANESE_SHARE >= run_han + run_kana:
                    japanese += run_han + run_kana
                else:
                    han += run_han
                    simplified += run_simplified
                    traditional += run_traditional
                run_han, run_kana, run_simplified, run_traditional = 0, 0, 0, 0
            if kind == HAN:
                run_han += 1
                run_simplified += (bits & SIMPLIFIED) >> 4
                run_traditional += (bits & TRADITIONAL) >> 5
            elif kind == KANA:
                run_kana += 1
                kana += 1
            elif byte == 61:
                code_from = at + 2  # = x
            elif kind == _TICK and before == _LINE and at + 2 < end and data[at + 1] == 96 and data[at + 2] == 96:
                fenced = not fenced
            elif kind == _LETTER and before != _LETTER:
                others += 1
            elif kind == _HANGUL:
                hangul += 1
            before = kind
            last = bits
            at += size
        row = out[i]
        row[0], row[1], row[2], row[3], row[4], row[5] = simplified, traditional, han, japanese, kana, hangul
        row[6], row[7], row[8], row[9], row[10], row[11] = others, words, code, english, foreign, accented
    return out
