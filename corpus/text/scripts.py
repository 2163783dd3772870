"""Which Han characters belong to one of the two Chinese scripts alone.

Two sources have to agree. OpenCC must change the character when it converts to the other script (for simplified ones: to the
characters of Taiwan and to those of Hong Kong); and the national standard of the other script must not list it: GB 2312 (6,763
characters of the mainland) for traditional ones, level 1 of Big5 (5,401 common characters of Taiwan) for simplified ones. The
second condition leaves out what one script has merged and the other still knows: 后 里 干 范 云 余 台 are simplified for 後 裏 乾 範 雲 餘
臺, and are characters of traditional texts as well; 乾 徵 後 於 are traditional, and occur in names in simplified texts. Only
characters that exist in just one script can tell one from the other.

Compatibility ideographs, which NFC replaces, belong to neither.
"""

from __future__ import annotations

from functools import cache

import numpy as np
from opencc import OpenCC

SIMPLIFIED = 0x10
TRADITIONAL = 0x20

TO_SIMPLIFIED = "tw2s"
"""OpenCC's conversion to simplified script. It knows Taiwan's characters; `t2s` leaves 隨著, 他笑著說 with 著 where simplified script
has 着."""
TO_TRADITIONAL = "s2tw"
"""OpenCC's conversion to traditional script, with the characters that are in use. `s2t` writes 爲, 羣, 喫, 裏, which neither Taiwan
nor (but for the last) Hong Kong does. Neither conversion replaces words (软件 does not become 軟體): what a text says, and how, is
not a matter of script."""

_KEPT = "㐹万亘价党厂厘叶广恒据柜极棱涂淀确种胜腊膻苹蚝蜡蝎跖适熏" + "劄剋扞昇氾祕脩蒐谿釐陞濛" + "噁癥"
"""What OpenCC's dictionaries keep in some words and names of the other script (拮据, 恒大, 党項, 涂姓; 束脩, 蒋昇). After a conversion they
may still be there, and are right, so they must not call for another. 噁 (二噁英, 甲噁唑) and 癥 (癥瘕) are right in either script."""
_IDEOGRAPHS = ((0x3400, 0x4DC0), (0x4E00, 0xA000), (0x20000, 0x2FA20))
_COMPATIBLE = 0x2F800
"""From here on the second range of compatibility ideographs."""


@cache
def converter(name: str) -> OpenCC:
    """OpenCC's converter, without the dictionaries that write characters which few fonts have."""
    return OpenCC(name, False)


@cache
def single(name: str) -> np.ndarray:
    """What every character alone becomes in a conversion: uint32[0x110000], itself where nothing."""
    table = np.arange(0x110000, dtype=np.uint32)
    codes = _codes()
    converted = converter(name).convert("\n".join(map(chr, codes))).split("\n")
    table[codes] = [ord(to) if len(to) == 1 else code for code, to in zip(codes, converted, strict=True)]
    table.flags.writeable = False
    return table


@cache
def only() -> tuple[np.ndarray, np.ndarray]:
    """The code points of simplified and of traditional script alone (int64, ascending). Made once a process, in about a quarter of
    a second."""
    codes = np.array(_codes())
    to_simplified, to_traditional = single(TO_SIMPLIFIED), single(TO_TRADITIONAL)
    changes = (to_traditional[codes] != codes) & (single("s2hk")[codes] != codes) & (to_simplified[codes] == codes)
    simplified = np.array([code for code in codes[changes] if not _in_big5(chr(code))])
    becomes = codes[(to_simplified[codes] != codes) & ~rare(to_simplified[codes])]
    traditional = np.array([code for code in becomes if not _in_gb2312(chr(code))])
    kept = [ord(char) for char in _KEPT]
    simplified, traditional = np.setdiff1d(simplified, kept), np.setdiff1d(traditional, kept)
    # A conversion must leave none of the characters that made it necessary.
    simplified = simplified[~np.isin(to_traditional[simplified], simplified)]
    traditional = traditional[~np.isin(to_simplified[traditional], traditional)]
    return simplified, traditional


def rare(codes: np.ndarray) -> np.ndarray:
    """Which code points lie in the extensions: simplified characters by analogy (喎 → 㖞), which hardly any text or font has."""
    return ((codes >= 0x3400) & (codes < 0x4DC0)) | (codes >= 0x20000)


def _codes() -> list[int]:
    return [code for start, end in _IDEOGRAPHS for code in range(start, min(end, _COMPATIBLE))]


def _in_gb2312(char: str) -> bool:
    try:
        char.encode("gb2312")
    except UnicodeEncodeError:
        return False
    return True


def _in_big5(char: str) -> bool:
    """Whether level 1 of Big5 has the character."""
    try:
        code = int.from_bytes(char.encode("big5"), "big")
    except UnicodeEncodeError:
        return False
    return 0xA440 <= code <= 0xC67E
