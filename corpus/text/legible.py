"""How many bits a text costs a reader who expects Chinese and English.

A character costs what its class makes it worth: the classes are taken from the standards themselves (the common level of GB 2312, the
common levels of Big5 and JIS X 0208, blocks and categories of Unicode), so that there is no model to train and to store. Letters of two
scripts side by side, or a capital with an accent within a word, cost more; the same character again costs little. The scale is that of a
code: three bits are a factor of eight in probability. Only differences between two readings of the same bytes mean anything.
"""

from __future__ import annotations

import unicodedata
from functools import cache
from itertools import pairwise

_USUAL = (
    "的一是不了在人有我他这个们中来上大为和国地到以说时要就出会可也你对生能而子那得于着下自之年过发后作里用道行所然家种事成方多经么去法学如"
    "都同现当没动面起看定天分还进好小部其些主样理心她本前开但因只从想实日军者意无力它与长把机十民第公此已工使情明性知全三又关点正业外将两高"
    "间由问很最重并物手应战向头文体政美相见被利什二等产或新己制身果加西斯月话合回特代内信表化老给世位次度门任常先海通教儿原东声提立及比员解"
    "水名真论处走义各入几口认条平系气题活尔更别打女变四神总何电数安少报才结反受目太量再感建务做接必场件计管期市直德资命山金指克许统区保至"
)
"""The most frequent characters of modern Chinese: about two of three in running text."""
_LISTED = 5
_FOREIGN = 6
_CAPITAL = 5

_ASCII, _LATIN, _CAPITALS, _HAN, _OTHER = 1, 2, 3, 4, 8
"""Kinds of neighbours. 0 is neutral, numbers from `_OTHER` on are other scripts."""


def cost(text: str, before: str = "", after: str = "") -> float:
    """The bits of `text` between two characters (or nothing): 5 to 12 a character where it is sound, 15 to 40 where it is not."""
    costs, kinds = _tables()
    total, step = 0, 99
    last = before
    for char in text:
        code = ord(char)
        kind = kinds[code]
        price = costs[code]
        if last:
            onward = code - ord(last)
            if _listed(onward, step, kind):
                price = min(price // 2, _LISTED)
            elif kind:
                price += _beside(kinds[ord(last)], kind)
                if kind == _CAPITALS == kinds[ord(last)] and code > 0x7F and last > "\x7f":
                    price -= _CAPITAL // 2
            step = onward
        total += price
        last = char
    if after and last:
        total += _beside(kinds[ord(last)], kinds[ord(after)])
    return total


def _listed(onward: int, step: int, kind: int) -> bool:
    """Whether a character goes on with a line of the same sign, a list in order (`ÀÁÂ`), or is the small letter of the capital before it."""
    if onward == 0 and not kind:
        return True
    return (onward == step and -2 <= step <= 2 and kind != _HAN) or (onward == 32 and kind == _LATIN)


def _beside(left: int, right: int) -> int:
    """What it costs that two kinds of letters stand side by side."""
    if left == right or not left or not right:
        return 0
    if right == _CAPITALS:
        return _CAPITAL if left <= _LATIN else _FOREIGN
    if left < _HAN and right < _HAN:
        return 0
    return _FOREIGN


@cache
def _tables() -> tuple[bytes, bytes]:
    """The cost and the kind of every code point."""
    costs, kinds = bytearray(b"\x28" * 0x110000), bytearray(0x110000)

    def put(chars: str | range, price: int, kind: int = 0) -> None:
        for each in chars:
            code = each if isinstance(each, int) else ord(each)
            costs[code], kinds[code] = price, kind

    for code in range(0x20000):
        category = unicodedata.category(chr(code))
        if category[0] in "LMN":
            costs[code], kinds[code] = 20, _OTHER + (code >> 8) % 200
        elif category[0] in "PSZ":
            costs[code] = 14
        elif category == "Cf":
            costs[code] = 14
    put(range(0x20000, 0x2A6E0), 26, _HAN)
    put(range(0x20, 0x7F), 5)
    put(range(0x41, 0x5B), 5, _CAPITALS)
    put(range(0x61, 0x7B), 5, _ASCII)
    put("\t\n\r", 5)
    put(range(0x80, 0xA0), 16)
    put(range(0xA1, 0xC0), 11)
    put("×÷", 8)
    put("¹²³½¼¾", 7)
    put("¿µº", 8)
    put("¡", 9)
    put("€‚ƒ„†‡ˆ‰‹›˜ªº", 11)
    put("‘’“”–—…•·\u00a0«»°", 7)
    put("©®™§", 9)
    put("\u200b\u200d\ufe0f\ufeff", 8)
    for code in range(0xC0, 0x250):
        char = chr(code)
        if char.isalpha():
            upper = char.isupper()
            put(char, (11 if upper else 9) if code < 0x180 else 18, _CAPITALS if upper else _LATIN)
    put(range(0x1EA0, 0x1EFA), 11, _LATIN)
    put("ﬁﬂ", 9, _LATIN)
    put(range(0x27C0, 0x2C00), 18)
    put(range(0x2E80, 0x2FE0), 22, _HAN)
    put(range(0x250, 0x370), 14)
    put(range(0x2C6, 0x370), 17)
    put(range(0x2070, 0x20A0), 12)
    put(range(0x2100, 0x2190), 12)
    put(range(0x2190, 0x2200), 14)
    put("℃℉№", 8)
    put(range(0x391, 0x3CA), 9, 5)
    put(range(0x400, 0x460), 8, 6)
    put(range(0x5D0, 0x700), 10, 12)
    put(range(0x900, 0xE80), 12, 13)
    put(range(0x3041, 0x3100), 10, _HAN)
    put(range(0xAC00, 0xD7A4), 16, 7)
    put(range(0x2200, 0x2600), 11)
    put(range(0x2200, 0x2300), 11)
    put(range(0x2500, 0x2580), 14)
    put("─│┌┐└┘├┤┬┴┼═║╔╗╚╝╠╣╦╩╬", 7)
    put("≈≤≥≠±∞", 8)
    put("¬", 9)
    put("∂∑∏π∫Ω∞≤≥≠◊", 11)
    put(range(0x1F300, 0x1FB00), 11)
    put(range(0x2600, 0x27C0), 11)
    put(range(0x3400, 0x4DC0), 24, _HAN)
    put(range(0x4E00, 0xA000), 21, _HAN)
    put(range(0xF900, 0xFB00), 24, _HAN)
    put(_level("gb2312", range(0xD8, 0xF8), range(0xA1, 0xFF)), 17, _HAN)
    put(_level("euc_jp", range(0xB0, 0xD0), range(0xA1, 0xFF)), 15, _HAN)
    put(_level("big5", range(0xA4, 0xC7), (*range(0x40, 0x7F), *range(0xA1, 0xFF))), 14, _HAN)
    put(_level("gb2312", range(0xB0, 0xD8), range(0xA1, 0xFF)), 12, _HAN)
    put(_USUAL, 9, _HAN)
    put(range(0xFF01, 0xFF5F), 9)
    put("，。、！？：；（）《》「」『』【】\u3000", 7)
    put("\uf8ff", 16)
    put("\ufffd", 16)
    return bytes(costs), bytes(kinds)


def _level(encoding: str, leads: range, trails: range | tuple[int, ...]) -> str:
    """The Han characters that an encoding of two bytes has at these positions."""
    codes = (bytes((lead, trail)).decode(encoding, errors="ignore") for lead in leads for trail in trails)
    return "".join(char for char in codes if "\u4e00" <= char <= "\u9fff")
