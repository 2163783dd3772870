"""What a line is: an item of a list, code, or something said to its end. For kernels, over code points."""

from __future__ import annotations

import numpy as np
from numba import njit

from corpus.text import characters as c

_BULLETS = "•·●○◦▪▫■□◆◇★☆▶►➤✓✔※‣"
_NUMERALS = "一二三四五六七八九十百"
_AFTER_NUMBER = ".)、．）"
_FINAL = ".!?。！？…．｡؟।‽⁇⁈⁉~～"
_CLOSING = "\"'”’»›)]}）】］｝〕〉》」』〗〙*_`"
_ENDS = "|$>"
_BREAKS = ",，、。;；:：!！?？\ufffd"
_PHRASE = 24  # characters


def _codes(characters: str) -> tuple[int, ...]:
    return tuple(map(ord, characters))


def _kinds() -> np.ndarray:
    kinds = np.zeros(0x10000, dtype=np.uint8)
    for bit, characters in enumerate((_BULLETS, _NUMERALS, _AFTER_NUMBER, _FINAL, _CLOSING, _ENDS, _BREAKS)):
        for code in _codes(characters):
            kinds[code] |= 1 << bit
    kinds.flags.writeable = False
    return kinds


_KINDS = _kinds()
_BULLET, _NUMERAL, _NUMBERED, _SENTENCE, _CLOSE, _END, _BREAK = (1 << bit for bit in range(7))
_DIGIT = np.uint32(c.DIGIT)
_BLANK = np.uint32(c.BLANK)


@njit(cache=True, nogil=True)
def _kind(code: int) -> int:
    return int(_KINDS[code]) if code < 0x10000 else 0


@njit(cache=True, nogil=True)
def said(codes: np.ndarray, first: int, last: int, bits_of: np.ndarray) -> int:
    """Whether codes[first:last + 1], blank at neither end, breaks off.

    Returns:
        2 where it ends in sentence-final punctuation, quotes and brackets after it aside; 1 where it ends otherwise, but as finished text
        does: closing quote or bracket, fence, formula, table row, tag, emoji, semicolon; 0 where it may have been cut off.
    """
    at = last
    while at >= first and _kind(codes[at]) & _CLOSE:
        at -= 1
    if at < first:
        return 1
    code = codes[at]
    if _kind(code) & _SENTENCE:
        return 2
    if at < last or _kind(code) & _END or code == 59 or code == 0xFF1B or code == 0xFE0F:
        return 1
    return 1 if code >= 0x2190 and bits_of[code] & np.uint32(c.SYMBOL) and code != 0xFFFD else 0


@njit(cache=True, nogil=True)
def is_phrase(codes: np.ndarray, first: int, last: int) -> bool:
    """Whether a text of this one line is a name, a number, a sum or a few words (`北京`, `57`, `8+16=24`), which need no full stop."""
    if last - first >= _PHRASE:
        return False
    breaks = 0
    for i in range(first, last + 1):
        breaks += _kind(codes[i]) & _BREAK
    return breaks == 0


@njit(cache=True, nogil=True)
def is_list(codes: np.ndarray, first: int, last: int, bits_of: np.ndarray) -> bool:
    """Whether the line codes[first:last + 1] is an item: a bullet, `1.`, `1)`, `1、`, `(1)`, `一、`, `（一）`, `①`, `A.` and the like."""
    code = codes[first]
    if _kind(code) & _BULLET or 0x2460 <= code <= 0x249B:
        return True
    if first == last:
        return False
    second = codes[first + 1]
    if code in (42, 43, 45, 0x2013, 0x2014):  # * + - and dashes
        return bool(bits_of[second] & _BLANK)
    bracket = code == 40 or code == 0xFF08
    at = first + 1 if bracket else first
    start = at
    if 65 <= codes[at] & ~32 <= 90:
        at += 1
    elif _kind(codes[at]) & _NUMERAL:
        while at <= last and at - start < 3 and _kind(codes[at]) & _NUMERAL:
            at += 1
    else:
        while at <= last and at - start < 3 and bits_of[codes[at]] & _DIGIT:
            at += 1
    if at == start or at > last or not _kind(codes[at]) & _NUMBERED:
        return False
    if bracket:
        return codes[at] in (41, 0xFF09)
    if at == last:
        return True
    after = bits_of[codes[at + 1]]
    if after & _DIGIT:
        return False  # 1.5
    return not (65 <= code & ~32 <= 90 and after & np.uint32(c.LATIN))  # e.g., U.S.


@njit(cache=True, nogil=True)
def is_code(codes: np.ndarray, begin: int, first: int, last: int, bits_of: np.ndarray) -> bool:
    """Whether a line without Han, kana or Hangul looks like a line of a program.

    That is: it ends in a brace or a semicolon; or is indented and has operators or brackets; or opens a block (`if x > 0:`); or begins
    with a call or an assignment to a name of two letters or more. A guess that prose seldom fulfils, not a parser.

    Args:
        codes, begin: the line begins at codes[begin], indentation included.
        first, last: its first and last character that is not blank.
        bits_of: `characters.table()`.
    """
    final = codes[last]
    if final in (123, 125, 59):  # { } ;
        return True
    operators = 0
    for i in range(first, last + 1):
        code = codes[i]
        if code in (40, 60, 61, 62, 91, 123):  # ( < = > [ {
            operators += 1
    if operators == 0:
        return False
    if first - begin >= 2 or codes[begin] == 9:
        return final not in (46, 33, 63)
    start = codes[first]
    if not (97 <= start <= 122 or start == 95):
        return False
    if final == 58:
        return True
    at = first
    while at <= last and (codes[at] in (46, 95) or 97 <= codes[at] | 32 <= 122 or 48 <= codes[at] <= 57):
        at += 1
    if at > last or at - first < 2:
        return False
    if codes[at] in (40, 91):
        return final in (41, 93)
    if bits_of[codes[at]] & _BLANK:
        at += 1
    return at < last and codes[at] == 61 and codes[at + 1] != 61
