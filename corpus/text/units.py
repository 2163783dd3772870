"""What a text is written with: characters of either Chinese script, Japanese, Korean, words of Latin and of other letters.

One compiled kernel reads the UTF-8 bytes of a column once and counts, for every text, all that telling its script and its language takes. What is
counted are *units*, so that languages can be compared: a Han character is one, a word of letters is one.

Japanese is known by its kana. A *run* is a longest stretch of Han and kana; it is Japanese when one in eight of its characters is kana. Japanese is
written with particles in kana between the Han, Chinese that mentions a Japanese word sets it apart, so a Chinese text with a few Japanese words keeps
its Chinese runs, and the Han of Japanese runs, of which many look simplified (国, 会, 学), count for neither script.

A Latin word of two letters or more counts as prose only where it does not touch digits or the signs of code and addresses (`_ / = {` and so on, also a bracket
as in `f(x)` and a stop as in `a.b`), nor stands beside an equals sign, nor inside a fenced block. Those are counted apart, as code.
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
from corpus.text.words import slots

HAN, KANA, _HANGUL, _LATIN, _LETTER, _DIGIT, _CODE, _TICK, _LINE, _QUOTE, _STOP = range(1, 12)
KIND = 0x0F
_ACCENT = 0x40
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


def units(texts: pl.Series) -> Units:
    """Counts the units of every text; a null has none."""
    offsets, data = utf8(texts)
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
    for sign in _CODE_SIGNS:
        kinds[ord(sign)] = _CODE
    for sign, kind in (("`", _TICK), ("\n", _LINE), ("'", _QUOTE), ("’", _QUOTE), (".", _STOP)):
        kinds[ord(sign)] = kind
    kinds[0x80:][kinds[0x80:] == _LATIN] |= _ACCENT
    simplified, traditional = only()
    kinds[simplified] |= SIMPLIFIED
    kinds[traditional] |= TRADITIONAL
    kinds.flags.writeable = False
    return kinds


@njit(cache=True, nogil=True)
def _count(offsets: np.ndarray, data: np.ndarray, table: np.ndarray, keys: np.ndarray, classes: np.ndarray) -> np.ndarray:
    n = len(offsets) - 1
    out = np.zeros((n, 12), dtype=np.int64)
    size = np.uint64(len(keys) - 1)
    for i in range(n):
        at, end = offsets[i], offsets[i + 1]
        simplified, traditional, han, japanese, kana, hangul, others = 0, 0, 0, 0, 0, 0, 0
        words, code, english, foreign, accented = 0, 0, 0, 0, 0
        run_han, run_kana, run_simplified, run_traditional = 0, 0, 0, 0
        before = _LINE  # kind of the character before
        line_start = at
        fenced = False
        while at < end:
            byte = data[at]
            if byte < 0x80:
                # Words of ASCII letters, which are nearly all, are read in a loop of their own.
                kind = table[byte] & KIND
                if kind == _LATIN:
                    joined = fenced or before == _CODE or before == _DIGIT
                    if at - 1 > line_start:
                        joined = joined or ((before == _STOP or data[at - 1] == 40) and _letter(data[at - 2])) or (data[at - 1] == 32 and data[at - 2] == 61)
                    key = np.uint64(0)
                    length = 0
                    accent = False
                    while at < end:
                        byte = data[at]
                        if byte < 0x80:
                            lower = byte | np.uint8(0x20)
                            if np.uint8(97) <= lower <= np.uint8(122):
                                key = key << np.uint64(8) | np.uint64(lower)
                                length += 1
                            elif byte != 39:  # an apostrophe does not end a word: don't is read as dont
                                break
                            at += 1
                        elif byte < 0xE0:
                            if (table[(np.int64(byte) & 0x1F) << 6 | (np.int64(data[at + 1]) & 0x3F)] & KIND) != _LATIN:
                                break
                            accent = True
                            length += 1
                            at += 2
                        elif byte == 0xE2 and data[at + 1] == 0x80 and data[at + 2] == 0x99:  # ’
                            at += 3
                        elif byte == 0xE1 and 0xB8 <= data[at + 1] <= 0xBB:  # U+1E00-U+1EFF
                            accent = True
                            length += 1
                            at += 3
                        else:
                            break
                    if at < end and data[at] < 0x80:
                        after = table[data[at]] & KIND
                        joined = joined or after == _CODE or after == _DIGIT or data[at] == 40 or (data[at] == 32 and at + 1 < end and data[at + 1] == 61)
                    if length < 2:  # a variable or an option; I and a never stand alone
                        pass
                    elif joined:
                        code += 1
                    else:
                        words += 1
                        if accent:
                            accented += 1
                        elif length <= 8:
                            slot = (key * np.uint64(0x9E3779B97F4A7C15)) >> np.uint64(52) & size
                            while keys[slot] != 0:
                                if keys[slot] == key:
                                    if classes[slot] == 1:
                                        english += 1
                                    else:
                                        foreign += 1
                                    break
                                slot = (slot + np.uint64(1)) & size
                    before = _LATIN
                    if run_han + run_kana:
                        if run_kana * JAPANESE_SHARE >= run_han + run_kana:
                            japanese += run_han + run_kana
                        else:
                            han += run_han
                            simplified += run_simplified
                            traditional += run_traditional
                        run_han, run_kana, run_simplified, run_traditional = 0, 0, 0, 0
                    continue
                bits = table[byte]
                at += 1
                if kind == _LINE:
                    line_start = at
                elif kind == _TICK and at + 1 < end and line_start == at - 1 and data[at] == 96 and data[at + 1] == 96:
                    fenced = not fenced
            elif byte < 0xE0:
                bits = table[(np.int64(byte) & 0x1F) << 6 | (np.int64(data[at + 1]) & 0x3F)]
                at += 2
            elif byte < 0xF0:
                bits = table[(np.int64(byte) & 0x0F) << 12 | (np.int64(data[at + 1]) & 0x3F) << 6 | (np.int64(data[at + 2]) & 0x3F)]
                at += 3
            else:
                bits = table[
                    (np.int64(byte) & 0x07) << 18
                    | (np.int64(data[at + 1]) & 0x3F) << 12
                    | (np.int64(data[at + 2]) & 0x3F) << 6
                    | (np.int64(data[at + 3]) & 0x3F)
                ]
                at += 4
            kind = bits & KIND
            if kind == HAN:
                run_han += 1
                if bits & SIMPLIFIED:
                    run_simplified += 1
                elif bits & TRADITIONAL:
                    run_traditional += 1
            elif kind == KANA:
                run_kana += 1
                kana += 1
            else:
                if run_han + run_kana:
                    if run_kana * JAPANESE_SHARE >= run_han + run_kana:
                        japanese += run_han + run_kana
                    else:
                        han += run_han
                        simplified += run_simplified
                        traditional += run_traditional
                    run_han, run_kana, run_simplified, run_traditional = 0, 0, 0, 0
                if kind == _HANGUL:
                    hangul += 1
                elif kind == _LETTER:
                    if before != _LETTER:
                        others += 1
                elif kind == _LATIN and before != _LATIN:  # a word that begins with an accented letter; the rest of it reads as a word of its own
                    accented += 1
                    words += 1
            before = kind
        if run_han + run_kana:
            if run_kana * JAPANESE_SHARE >= run_han + run_kana:
                japanese += run_han + run_kana
            else:
                han += run_han
                simplified += run_simplified
                traditional += run_traditional
        row = out[i]
        row[0], row[1], row[2], row[3], row[4], row[5] = simplified, traditional, han, japanese, kana, hangul
        row[6], row[7], row[8], row[9], row[10], row[11] = others, words, code, english, foreign, accented
    return out


@njit(cache=True, nogil=True, inline="always")
def _letter(byte: int) -> bool:
    return np.uint8(97) <= (byte | np.uint8(0x20)) <= np.uint8(122)
