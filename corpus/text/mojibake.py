"""Mojibake: text whose bytes were read in the wrong encoding is read in the right one, where a score says that this is better.

A reading is a pair of encodings: the one that the bytes were wrongly read in, and the one that they were written in. Going back is exact
(encode in the first, decode in the second), so what needs judgement is only whether to go back. Two things speak for it. UTF-8 is a narrow
code: by accident, text in another encoding is hardly ever valid UTF-8. And mojibake is improbable as text: characters that nobody uses,
scripts mixed within a word. `legible.cost` says how many bits a text costs a reader who expects Chinese and English; a reading is taken
when it saves enough of them. One score serves all readings, which is why no library is used here: ftfy knows neither GBK nor Big5, and
judges by hand-made pairs of characters; `benchmarks/mojibake.py` sets it beside this.

A text is read anew as a whole where all of it is damaged, else line by line, else segment by segment. It is repaired until nothing changes:
text that was damaged twice is repaired twice, and repairing again changes nothing. What lost bytes on the way (`锟斤拷`, U+FFFD) stays.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from itertools import accumulate, pairwise

import numpy as np
import polars as pl
from numba import njit

from corpus.text import characters as c
from corpus.text.legible import cost
from corpus.text.marks import utf8
from corpus.text.rules import Rule
from corpus.text.settings import TextSettings

_ROUNDS = 8
"""Each undoes one reading. A text that still changes then is no text, and is left as it was."""

_LETTERS_ONLY, _LETTERS_EACH = 12, 7
"""Bits that must be saved, in all and by character, where accented letters alone (`ÖÐ`) are read as characters of two bytes: lists of
letters are such."""
_VALID = 3
"""What it is worth in bits, against other readings, that a text is valid UTF-8 from end to end: for each character."""

_TWO = r"[\xc2-\xdf][\x80-\xbf]"
_THREE = r"(?:[\xe0][\xa0-\xbf]|[\xe1-\xec\xee\xef][\x80-\xbf]|[\xed][\x80-\x9f])[\x80-\xbf]"
_FOUR = r"(?:[\xf0][\x90-\xbf]|[\xf1-\xf3][\x80-\xbf]|[\xf4][\x80-\x8f])[\x80-\xbf]{2}"
"""Well-formed UTF-8 beyond ASCII (Unicode, table 3-7)."""
_UTF8 = f"(?:{_TWO}|{_THREE}|{_FOUR})+"
_CLUE = r"[\xc2-\xf4][\x80-\xbf]"
_GBK = r"(?:[\x81-\xfe][\x40-\x7e\x80-\xfe])+"
_PAIR = r"[\xa1-\xfe][\xa1-\xfe]|[\xa8][\x40-\x7e]"
"""Nearly every character in use has two high bytes in GBK, and most in Big5; GBK has the dash (`¨C`) elsewhere."""
_BIG5 = r"(?:[\xa1-\xf9][\x40-\x7e\xa1-\xfe])+"
_GBK_LOOK = re.compile(
    f"{_THREE}(?:[\\xc2-\\xf4]|[\\x40-\\x7e])|{_TWO}{_THREE}|{_FOUR}|(?:\\A|[\\x00-\\x7f]){_TWO}(?:[\\x00-\\x7f]|\\Z)".encode("latin-1")
)
_LOST_80 = b"\x80"
_LIKELIER = 4
"""Bits by which the character that a lost byte gives must be likelier than any other that may have stood there."""
_SEQUENCE = re.compile(f"{_TWO}|{_THREE}|{_FOUR}|[\\x40-\\x7e]".encode("latin-1"))
_BEYOND = re.compile("[\u0800-\ufffc\U00010000-\U0010ffff]")
"""Without a sequence of three or four bytes, what looks like UTF-8 in GBK may as well be a word of common characters (`茅` is `é`)."""
_ALONE = re.compile(r"(?:[ -~\n\t]++|(?<=[a-z0-9])[\xa0-\xff](?![^ -~\n]))++")
_LETTERS = re.compile("[A-Za-z]")
_ENGLISH = 20
"""But not one that is alone among so many Latin letters, and follows a small one or a digit: `caf茅`, `25掳C`."""
_WIDE_RUN = re.compile(r"[^\x00-\x7f\ud800-\udfff]+")

Segments = Iterator[tuple[int, int, str]]


@dataclass(frozen=True, slots=True)
class _Reading:
    """One way in which bytes were misread.

    Attributes:
        possible: whether a text can hold anything that was misread so: a quick look that may say yes too often.
        utf8: whether the bytes were written in UTF-8.
        whole: a text read anew from end to end. Raises UnicodeError where it cannot have been misread so.
        segments: start, end and new reading of what can have been misread within a text.
        text_saves: bits that must be saved by a text or a line, read anew from end to end or in segments.
        segment_saves: bits that must be saved by each segment.
        each_saves: bits that must be saved, on average, by every character beyond ASCII that is read.
        decided: what the new reading must contain.
    """

    possible: Callable[[str], object]
    utf8: bool
    whole: Callable[[str], str]
    segments: Callable[[str], Segments]
    text_saves: int
    segment_saves: int
    each_saves: int = 0
    decided: re.Pattern[str] | None = None


def _bytes_of(encoding: str) -> dict[int, int]:
    """Character → byte of an encoding of one byte a character.

    With cp1252 goes Latin-1: the two differ where one has letters and the other C1 controls (which software also puts for the five bytes
    that cp1252 leaves undefined), so that no character stands for two bytes.
    """
    table = {byte: byte for byte in range(256 if encoding == "cp1252" else 128)}
    for byte in range(128, 256):
        char = bytes((byte,)).decode(encoding, errors="ignore")
        if char:
            table[ord(char)] = byte
    return table


def _class_of(codes: list[int]) -> str:
    """The class of a regular expression of these ascending code points, in ranges: one of single characters is searched slowly."""
    starts = [code for before, code in pairwise((-1, *codes)) if code != before + 1 or before < 0]
    ends = [code for code, after in pairwise((*codes, -1)) if after != code + 1]
    return "[" + "".join(f"{re.escape(chr(start))}-{re.escape(chr(end))}" for start, end in zip(starts, ends, strict=True)) + "]"


def _single(wrong: str, right: str, pattern: str, text_saves: int, segment_saves: int, each_saves: int = 0) -> _Reading:
    """Bytes in encoding `right`, whose sequences look like `pattern`, that were read in an encoding of one byte a character."""
    table = _bytes_of(wrong)

    def of_characters(found: re.Match[str]) -> str:
        inside = re.compile(found[0])
        return _class_of(sorted(code for code, byte in table.items() if inside.fullmatch(chr(byte))))

    segment, clue = (re.compile(re.sub(r"\[[^]]*\]", of_characters, each)) for each in (pattern, _CLUE if right == "utf-8" else _PAIR))

    def whole(text: str) -> str:
        return codecs.charmap_encode(text, "strict", table)[0].decode(right)

    def segments(text: str) -> Segments:
        for found in segment.finditer(text):
            if clue.search(found[0]) is None:
                continue
            try:
                yield found.start(), found.end(), whole(found[0])
            except UnicodeError:
                continue

    return _Reading(clue.search, right == "utf-8", whole, segments, text_saves, segment_saves, each_saves)


def _gbk_possible(text: str) -> bool:
    return "\ufffd" in text or _GBK_LOOK.search(text.encode("gb18030", errors="replace")) is not None


def _gbk_whole(text: str) -> str:
    return text.encode("gb18030").decode()


def _gbk_segments(text: str) -> Segments:
    """Rows of sequences of UTF-8 that begin where a character begins, and end where one ends.

    Two sequences of three bytes make three characters; an odd one goes with the ASCII letter after it, or has lost a byte. The byte 0x80,
    which begins nothing in GBK, has become U+FFFD, and counts where no other byte can have, see `_certain`. Before ASCII any byte does so,
    and is lost.
    """
    for run in _WIDE_RUN.finditer(text):
        pieces = [_LOST_80 if char == "\ufffd" else char.encode("gb18030") for char in run[0]]
        if run[0][-1] == "\ufffd":
            pieces[-1] = b"\xff"
        ends = list(accumulate(map(len, pieces), initial=0))
        character = dict(zip(ends, range(run.start(), run.end() + 1), strict=True))
        data = b"".join(pieces)
        if "\ufffd" in run[0]:
            data = _certain(data, {end for end, piece in zip(ends, pieces, strict=False) if piece == _LOST_80})
        begin = end = last = -1
        for found in _SEQUENCE.finditer(data):
            if found.start() != last:
                if end > begin >= 0:
                    yield character[begin], character[end], data[begin:end].decode()
                begin = end = -1
            last = found.end()
            if begin < 0 and found.start() in character and found[0] >= b"\x80":
                begin = found.start()
            if begin >= 0 and last in character:
                end = last
        if end > begin >= 0:
            yield character[begin], character[end], data[begin:end].decode()


def _certain(data: bytes, lost: set[int]) -> bytes:
    """Bytes with 0xFF for every lost byte (`lost`: their places) that need not have been 0x80.

    A decoder of GBK proper also gives up the first bytes of what GBK leaves to its users: 0xAA to 0xAF before 0xA1 and above, 0xA1 to
    0xA7 before what is below. Of 1,887 lines of Chinese that were read so, 407 got characters that nobody wrote when every lost byte
    was taken for 0x80 (公囀 for 公园). So it is one only where the character that it gives is far likelier than what the others give.
    """
    out = bytearray(data)
    for found in _SEQUENCE.finditer(data):
        for at in lost.intersection(range(found.start(), found.end())) if len(found[0]) > 1 else ():
            others = range(0xAA, 0xB0) if data[at + 1] > 0xA0 else range(0xA1, 0xA8)
            made = [found[0][: at - found.start()] + bytes((byte,)) + found[0][at + 1 - found.start() :] for byte in (0x80, *others)]
            costs = [cost(each.decode(errors="replace")) for each in made]
            if costs[0] + _LIKELIER > min(costs[1:]):
                out[at] = 0xFF
    return bytes(out)


_READINGS = (
    _single("cp1252", "utf-8", _UTF8, 8, 8),
    _single("mac_roman", "utf-8", _UTF8, 8, 8),
    _Reading(_gbk_possible, True, _gbk_whole, _gbk_segments, 12, 16, 7, _BEYOND),
    _single("cp1252", "gb18030", _GBK, 9, 8, 5),
    _single("mac_roman", "gb18030", _GBK, 14, 7, 6),
    _single("cp1252", "big5", _BIG5, 20, 12, 4),
)
_SINGLE = tuple(reading for reading in _READINGS if reading.decided is None)
_SUSPECT = re.compile(_class_of(np.flatnonzero(c.table() & np.uint32(c.ACCENTED | c.HAN)).tolist()))


def repair(text: str) -> str:
    """`text` with its mojibake undone. Idempotent; never raises; takes time proportional to its length."""
    if text.isascii() or _SUSPECT.search(text) is None:
        return text
    result = text
    for _ in range(_ROUNDS):
        saved, best = 0, result
        for reading in _READINGS:
            bits, new = _read(reading, result)
            if bits > saved:
                saved, best = bits, new
        if best == result:
            return result
        result = best
    return text


def _read(reading: _Reading, text: str) -> tuple[int, str]:
    """The bits that a reading saves, and the text that it gives: (0, text) where it is not better."""
    if text.isascii() or not reading.possible(text):
        return 0, text
    new = _whole(reading, text)
    if new is not None:
        saved = cost(text) - cost(new)
        if reading.decided is not None and reading.decided.search(new) is None:
            return (saved, new) if saved > 0 and _lone(text, new) else (0, text)
        if saved >= reading.text_saves and _enough(reading, saved, text, new):
            return (saved + _VALID * _beyond(new) if reading.utf8 else saved), new
    if "\n" in text:
        lines = [_read(reading, line) for line in text.split("\n")]
        return sum(bits for bits, _ in lines), "\n".join(line for _, line in lines)
    total = done = 0
    pieces: list[str] = []
    for start, end, made in reading.segments(text):
        old, before, after = text[start:end], text[start - 1 : start], text[end : end + 1]
        saved = cost(old, before, after) - cost(made, before, after)
        if saved >= reading.segment_saves and _enough(reading, saved, old, made):
            pieces += text[done:start], made
            done, total = end, total + saved
    if total < reading.text_saves:
        return 0, text
    return total, "".join((*pieces, text[done:]))


def _enough(reading: _Reading, saved: int, old: str, new: str) -> bool:
    """Whether a reading saves enough for what it reads."""
    if saved < reading.each_saves * _beyond(new) or (reading.decided is not None and reading.decided.search(new) is None):
        return False
    if reading.utf8 or not all(char.isalpha() for char in old if char > "\x7f"):
        return True
    return saved >= max(_LETTERS_ONLY, _LETTERS_EACH * _beyond(new))


def _beyond(text: str) -> int:
    """How many characters are not ASCII."""
    return sum(char > "\x7f" for char in text)


def _whole(reading: _Reading, text: str) -> str | None:
    try:
        new = reading.whole(text)
    except UnicodeError:
        return None
    return new if new != text else None


def _lone(text: str, new: str) -> bool:
    """Whether all that was read anew are signs and accented letters of English text: see `_ENGLISH`."""
    return _ALONE.fullmatch(new) is not None and len(_LETTERS.findall(text)) >= _ENGLISH


def mojibake(texts: pl.Series, settings: TextSettings) -> pl.Series:
    """Repairs mojibake: see the module."""
    found = _look(texts)
    at = np.flatnonzero(found)
    if not len(at):
        return texts
    # What has accented letters and no row of UTF-8 in GBK can only be one of the others: most of it is French, and quickly told.
    after = [
        repair(text) if bits & _ROW or any(reading.possible(text) for reading in _SINGLE) else text
        for text, bits in zip(texts.gather(at), found[at].tolist(), strict=True)
    ]
    return texts.clone().scatter(at, after)  # it works in place


_CONTINUES, _ENDS, _SIGN, _ACCENTED = 1, 5, 6, 128
_LETTER, _ROW = 1, 2


@cache
def _kinds() -> np.ndarray:
    """What the kernel knows of every character of the basic plane: the kinds of its two bytes in GBK, and whether it is accented.

    uint8[0x10000]: kind of the first byte | kind of the second << 4 | `_ACCENTED`. A kind is 2, 3 or 4 for a byte that begins a sequence of
    UTF-8 so long, `_SIGN` for one that begins a character below U+0100, `_CONTINUES`, `_ENDS` for ASCII, and 0 for the rest, or
    where there are not two bytes.
    """
    kind = np.zeros(256, dtype=np.uint8)
    for start, end, value in (
        (0x40, 0x7F, _ENDS),
        (0x80, 0xC0, _CONTINUES),
        (0xC2, 0xC4, _SIGN),
        (0xC4, 0xE0, 2),
        (0xE0, 0xF0, 3),
        (0xF0, 0xF5, 4),
    ):
        kind[start:end] = value
    table = np.zeros(0x10000, dtype=np.uint8)
    for lead in range(0x81, 0xFF):
        for trail in (*range(0x40, 0x7F), *range(0x80, 0xFF)):
            table[ord(bytes((lead, trail)).decode("gb18030"))] = kind[lead] | kind[trail] << 4
    table[(c.table()[:0x10000] & np.uint32(c.ACCENTED)) != 0] |= _ACCENTED
    table[0x80:0xA0] |= _ACCENTED  # C1 controls: no text has them, and a byte of UTF-8 read as Latin-1 may be one
    return table


def suspects(texts: pl.Series) -> np.ndarray:
    """Which texts are worth a look: bool, one a text. Those with accented letters, and those whose GBK bytes hold UTF-8 in a row."""
    return _look(texts) > 0


def _look(texts: pl.Series) -> np.ndarray:
    """`_LETTER` and `_ROW` for every text: uint8."""
    offsets, data = utf8(texts)
    return _suspects(offsets, data, _kinds())


@njit(cache=True, nogil=True)
def _suspects(offsets: np.ndarray, data: np.ndarray, kinds: np.ndarray) -> np.ndarray:
    out = np.zeros(len(offsets) - 1, dtype=np.uint8)
    for i in range(len(out)):
        at, end = offsets[i], offsets[i + 1]
        wanted = 0  # continuation bytes that the sequence of UTF-8 still needs
        worth = 0  # of that sequence: 0, 1 or 2 for one of two, three or four bytes
        weight = 0  # of the sequences before it in the row
        lone = foreign = False  # whether the line has a character that may be a lone sign, and anything else beyond ASCII
        while at < end:
            byte = np.int64(data[at])
            if byte < 0x80:
                if byte == 0x0A:
                    if lone and not foreign:
                        break
                    lone = foreign = False
                at += 1
                wanted = weight = 0
                continue
            left = data[at - 1] if at > offsets[i] else 0
            if byte < 0xE0:
                code = (byte & 0x1F) << 6 | (np.int64(data[at + 1]) & 0x3F)
                at += 2
            elif byte < 0xF0:
                code = (byte & 0x0F) << 12 | (np.int64(data[at + 1]) & 0x3F) << 6 | (np.int64(data[at + 2]) & 0x3F)
                at += 3
            else:
                wanted = weight = 0
                foreign = True
                at += 4
                continue
            both: int = kinds[code]
            first, second = both & 7, both >> 4 & 7
            if first == _SIGN and second == _CONTINUES and (0x61 <= left <= 0x7A or 0x30 <= left <= 0x39):
                lone = True
            else:
                foreign = True
            if both >= _ACCENTED:
                out[i] |= _LETTER
            if wanted == 1 and first == _CONTINUES and second > _CONTINUES:
                weight += worth
                wanted = second - 1 if second < _ENDS else 1
                worth = wanted - 1
                if second == _ENDS:  # ASCII after a sequence ends the segment
                    if weight:
                        out[i] |= _ROW
                        break
                    wanted = 0
                continue
            if wanted and code == 0xFFFD:  # what becomes of the byte 0x80
                wanted -= 1
            elif wanted > 1 and first == _CONTINUES and second == _CONTINUES:
                wanted -= 2
            else:  # the row, if there was one, is broken; this may begin another
                wanted = weight = 0
                if first < 2 or second != _CONTINUES:
                    continue
                wanted = worth = first - 2 if first != _SIGN else 0
            if wanted == 0:
                weight += worth
                if weight > 1:
                    out[i] |= _ROW
                    break
        if lone and not foreign:
            out[i] |= _ROW
    return out


RULES: tuple[Rule, ...] = (
    Rule("mojibake", "text read in the wrong encoding is read in the right one", mojibake, marks=c.ACCENTED | c.HAN | c.CONTROL),
)
