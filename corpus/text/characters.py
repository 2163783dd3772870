"""What every character is, as bits in one table that compiled kernels index by code point."""

from __future__ import annotations

import unicodedata
from functools import cache

import numpy as np

CR = 1 << 0
"""Carriage return."""
CONTROL = 1 << 1
"""C0 controls but tab, line feed and carriage return; DEL; C1 controls."""
INVISIBLE = 1 << 2
"""Zero-width and bidirectional marks, byte order marks, soft hyphens."""
REPLACEMENT = 1 << 3
"""U+FFFD."""
WIDE = 1 << 4
"""Full-width Latin letters and digits."""
UNNORMAL = 1 << 5
"""Not certainly in NFC: composed otherwise, or combining with what stands before."""
AMPERSAND = 1 << 6
LESS = 1 << 7
BACKSLASH = 1 << 8
BACKTICK = 1 << 9
ACCENTED = 1 << 10
"""U+0080-U+024F but for controls and common signs, and what Mac Roman and cp1252 make of lead bytes: where mojibake shows."""
HAN = 1 << 11
KANA = 1 << 12
HANGUL = 1 << 13
LATIN = 1 << 14
"""Letters of the Latin script, full-width ones too."""
LETTER = 1 << 15
"""Letters of all other scripts."""
DIGIT = 1 << 16
"""Decimal digits of any script."""
BLANK = 1 << 17
"""Spaces of any width and tabs."""
ODD_BLANK = 1 << 18
"""Blanks other than U+0020 and tab; the line and paragraph separators."""
LINE_FEED = 1 << 19
PUNCTUATION = 1 << 20
"""Unicode category P."""
SYMBOL = 1 << 21
"""Unicode category S."""
AT = 1 << 22
PIPE = 1 << 23
DOLLAR = 1 << 24
COLON = 1 << 25
"""The colon, also full-width."""

_TABLED = 0x30000
"""Beyond it (Han extensions G and H, tags, private planes) whole ranges are alike."""
_INVISIBLE = (
    "\u00ad\u180e\u200b\u200c\u200d\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2060\u2061\u2062\u2063\u2064\u2066\u2067\u2068\u2069\ufeff"
)
_SIGNS = "\u00a3\u00a5\u00a7\u00a9\u00ab\u00ae\u00b0\u00b1\u00b2\u00b3\u00b5\u00b7\u00bb\u00bc\u00bd\u00be\u00d7\u00f7"
_MAC_LEADS = "\u2021\u201a\u201e\u2030\uf8ff\u02c6\u02dc\u2039\u203a\u0192\u2020\u2044\ufb01\ufb02\u25ca\u0131\u221a\u2248\u2206"
_ASCII = {"&": AMPERSAND, "<": LESS, "\\": BACKSLASH, "`": BACKTICK, "@": AT, "|": PIPE, "$": DOLLAR, ":": COLON, "：": COLON}
_HAN = (
    (0x2E80, 0x2FD6), (0x3005, 0x3006), (0x3007, 0x3008), (0x3021, 0x302A), (0x3038, 0x303C), (0x3400, 0x4DC0), (0x4E00, 0xA000),
    (0xF900, 0xFB00), (0x20000, 0x323B0),
)  # fmt: skip

_EAST_ASIAN = (
    (0x3041, 0x3100, KANA), (0x31F0, 0x3200, KANA), (0xFF66, 0xFF9E, KANA), (0x1100, 0x1200, HANGUL), (0x3131, 0x318F, HANGUL),
    (0xAC00, 0xD7A4, HANGUL),
)  # fmt: skip


@cache
def table() -> np.ndarray:
    """The bits of every code point: uint32[0x110000]. Made once a process, in about a tenth of a second."""
    bits = np.zeros(0x110000, dtype=np.uint32)
    category = unicodedata.category
    kinds = {"L": LETTER, "P": PUNCTUATION, "S": SYMBOL}
    for code in range(_TABLED):
        name = category(chr(code))
        if name == "Nd":
            bits[code] |= DIGIT
        elif name == "Zs":
            bits[code] |= BLANK | ODD_BLANK
        else:
            bits[code] |= kinds.get(name[0], 0)
        if (code >= 0xC0 and not unicodedata.is_normalized("NFC", chr(code))) or (
            name[0] == "M" and (unicodedata.combining(chr(code)) or name == "Mc")
        ):
            bits[code] |= UNNORMAL
    bits[0x1161:0x1176] |= UNNORMAL  # vowels and finals of Hangul combine with what stands before
    bits[0x11A8:0x11C3] |= UNNORMAL
    for start, end in _HAN:
        bits[start:end] = (bits[start:end] & ~np.uint32(LETTER | SYMBOL)) | HAN
    for start, end, bit in _EAST_ASIAN:
        letters = (bits[start:end] & LETTER) != 0
        bits[start:end][letters] = (bits[start:end][letters] & ~np.uint32(LETTER)) | bit
    latin = np.zeros(_TABLED, dtype=bool)
    for start, end in ((0x41, 0x5B), (0x61, 0x7B), (0xC0, 0x250), (0x1E00, 0x1F00), (0xFB00, 0xFB07), (0xFF21, 0xFF3B), (0xFF41, 0xFF5B)):
        latin[start:end] = True
    latin &= (bits[:_TABLED] & LETTER) != 0
    bits[:_TABLED][latin] = (bits[:_TABLED][latin] & ~np.uint32(LETTER)) | LATIN
    for start, end in ((0xFF10, 0xFF1A), (0xFF21, 0xFF3B), (0xFF41, 0xFF5B)):
        bits[start:end] |= WIDE
    bits[0x00:0x20] |= CONTROL
    bits[0x7F:0xA0] |= CONTROL
    for char, bit in (("\t", BLANK), ("\n", LINE_FEED), ("\r", CR)):
        bits[ord(char)] = bit
    bits[0x20] = BLANK
    bits[[0x85, 0x2028, 0x2029]] |= ODD_BLANK
    for char, bit in _ASCII.items():
        bits[ord(char)] |= bit
    bits[0xA1:0x250] |= ACCENTED
    for char in _SIGNS:
        bits[ord(char)] &= ~np.uint32(ACCENTED)
    for char in _MAC_LEADS:
        bits[ord(char)] |= ACCENTED
    for char in _INVISIBLE:
        bits[ord(char)] |= INVISIBLE
    bits[0xFFFD] |= REPLACEMENT
    bits.flags.writeable = False
    return bits
