"""Which encoding a file is in, and what to do with bytes that are not.

Chinese data sets mix UTF-8, GB18030 (a superset of GBK and GB2312) and now and then UTF-16, also inside one set and one file. The head
decides for the file; a record that is not valid in the file's encoding is tried alone in the other one. GB18030 accepts nearly any bytes,
so it counts only when the result looks like Chinese: most of its characters are common ones. Nothing is ever decoded with errors ignored
or replaced.
"""

from __future__ import annotations

import codecs
import itertools
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache

from corpus.sources.framing.stream import Blocks, Fault

_BOMS = (
    (codecs.BOM_UTF32_LE, "utf-32-le"),  # before UTF-16: its mark begins with UTF-16's
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
_PLAUSIBLE = 0.75
"""Share of common characters among those beyond ASCII. Chinese text has over 0.9; UTF-8 read as GB18030 has under 0.5."""
_STRETCH = 1 << 16
_NOT_ASCII = re.compile(rb"[\x80-\xff]")
_SURROGATES = re.compile("[\ud800-\udfff]")


class NotText(ValueError):
    """Bytes that are text in none of the encodings that are tried."""


@dataclass(frozen=True, slots=True)
class Encoding:
    """An encoding and the length of the byte order mark that was found."""

    name: str
    mark: int = 0

    @property
    def wide(self) -> bool:
        """Whether a code unit has more than one byte, so that the file must be transcoded before lines can be found."""
        return self.name.startswith(("utf-16", "utf-32"))


@cache
def _common() -> frozenset[str]:
    """The 3,755 characters of GB 2312 level 1, the 5,401 of Big5's first level, and the punctuation and full-width forms of both."""
    found: set[str] = set()
    for codec, leads, trails in (
        ("gb2312", (0xA1, 0xA3, *range(0xB0, 0xD8)), range(0xA1, 0xFF)),
        ("big5", range(0xA4, 0xC7), range(0x40, 0xFF)),
    ):
        for lead in leads:
            for trail in trails:
                try:
                    found.add(bytes((lead, trail)).decode(codec))
                except UnicodeDecodeError:
                    continue  # a hole in the table
    return frozenset(found | set("“”‘’—…·–•°±×÷"))


def plausibility(text: str) -> float:
    """Share of common Chinese characters and punctuation among the characters beyond ASCII; 1.0 when there are none."""
    beyond = [c for c in text if c >= "\x80"]
    common = _common()
    return sum(c in common for c in beyond) / len(beyond) if beyond else 1.0


def detect(head: bytes, *, whole: bool) -> Encoding:
    """The encoding of a file that begins with `head`; `whole` when that is all of it."""
    for bom, name in _BOMS:
        if head.startswith(bom):
            return Encoding(name, len(bom))
    wide = _without_mark(head[:4096])
    if wide is not None:
        return Encoding(wide)
    if _is_utf8(head, whole):
        return Encoding("utf-8")
    return Encoding("gb18030" if _is_rather_gb(head) else "utf-8")


def _is_utf8(data: bytes, whole: bool) -> bool:
    try:
        codecs.getincrementaldecoder("utf-8")().decode(data, final=whole)
    except UnicodeDecodeError:
        return False
    return True


def _is_rather_gb(head: bytes) -> bool:
    """Whether more lines beyond ASCII are GB18030 than UTF-8."""
    utf8 = gb = 0
    for line in head[: head.rfind(b"\n") + 1 or len(head)].split(b"\n"):
        if line.isascii():
            continue
        if _is_utf8(line, True):
            utf8 += 1
            continue
        try:
            # The last character of a head that is one long line may be cut in half.
            text = codecs.getincrementaldecoder("gb18030")().decode(line)
        except UnicodeDecodeError:
            continue
        gb += bool(text) and plausibility(text) >= _PLAUSIBLE
    return gb > utf8


def _without_mark(head: bytes) -> str | None:
    """UTF-16 or UTF-32 by where the NUL bytes of its ASCII characters stand."""
    head = head[: len(head) // 4 * 4]
    if len(head) < 4 or b"\0" not in head:
        return None
    first, second, third, fourth = (head[i::4].count(0) * 4 / len(head) for i in range(4))
    if fourth == 1.0 and third > 0.9:
        name = "utf-32-le"
    elif first == 1.0 and second > 0.9:
        name = "utf-32-be"
    elif min(second, fourth) > max(0.02, 4 * first, 4 * third):  # the other byte of a character is rarely NUL, too
        name = "utf-16-le"
    elif min(first, third) > max(0.02, 4 * second, 4 * fourth):
        name = "utf-16-be"
    else:
        return None
    try:
        text = codecs.getincrementaldecoder(name)().decode(head)
    except UnicodeDecodeError:
        return None
    ascii_share = sum(c < "\x80" for c in text) / len(text)
    return name if ascii_share > 0.5 or plausibility(text) > 0.5 else None


def transcode(blocks: Blocks, name: str) -> Iterator[bytes]:
    """UTF-16 or UTF-32 as UTF-8. A lone surrogate becomes three bytes that are no UTF-8, so that it costs its record and not the file.

    Raises:
        Fault: when the file ends within a character, or a UTF-32 unit is no character.
    """
    decoder = codecs.getincrementaldecoder(name)("surrogatepass")
    try:
        for block in blocks:
            yield decoder.decode(block).encode("utf-8", "surrogatepass")
        yield decoder.decode(b"", final=True).encode("utf-8", "surrogatepass")
    except UnicodeDecodeError as e:
        reason = "truncated" if "truncated" in e.reason or "end of data" in e.reason else "encoding"
        raise Fault(reason, f"{name}: {e.reason}; found {e.object[e.start : e.start + 4]!r}") from e


def utf8_blocks(blocks: Blocks, encoding: str) -> Iterator[bytes]:
    """A file as UTF-8, for containers that cannot be scanned in GB18030, whose second bytes may be brackets and backslashes.

    The head of a file may be all ASCII. Then the first stretch that is not decides. UTF-8 is passed on as it is, damaged or not.
    """
    if encoding == "gb18030":
        yield from _gb18030_blocks(iter(blocks))
        return
    for block in blocks:
        if block.isascii():
            yield block
            continue
        at = _NOT_ASCII.search(block).start()  # type: ignore[union-attr]
        yield block[:at]
        stretch = block[at:] + blocks.peek(max(0, _STRETCH - len(block) + at))
        gb = not _is_utf8(stretch[:_STRETCH], False) and _is_rather_gb(stretch[:_STRETCH])
        rest = itertools.chain([block[at:]], blocks)
        yield from _gb18030_blocks(rest) if gb else rest


def _gb18030_blocks(blocks: Iterator[bytes]) -> Iterator[bytes]:
    """GB18030 as UTF-8.

    Runs that are no GB18030 are passed on as they are: they become records with an encoding fault.
    """
    rest = b""
    for block in blocks:
        data = rest + block
        # ASCII below 0x30 is never a part of a longer character: cut there.
        cut = max(data.rfind(c) for c in (b"\n", b'"', b" ", b",")) + 1
        if not cut and len(data) < 1 << 22:
            rest = data
            continue
        data, rest = data[:cut] or data, data[cut:] if cut else b""
        yield _gb_to_utf8(data)
    if rest:
        yield _gb_to_utf8(rest)


def _gb_to_utf8(data: bytes) -> bytes:
    try:
        return data.decode("gb18030").encode()
    except UnicodeDecodeError:
        pass
    out: list[bytes] = []
    for line in re.split(rb'(?<=[\n" ,])', data):
        try:
            out.append(line.decode("gb18030").encode())
        except UnicodeDecodeError:
            out.append(line)
    return b"".join(out)


def decode(raw: bytes, encoding: str) -> tuple[str, str | None]:
    """The text of one record, and a note when it is not simply in the file's encoding.

    Raises:
        NotText: when it is text in neither UTF-8 nor GB18030.
    """
    try:
        return raw.decode(encoding), None
    except UnicodeDecodeError as e:
        fault = e
    other = "utf-8" if encoding == "gb18030" else "gb18030"
    try:
        text = raw.decode(other)
    except UnicodeDecodeError:
        pass
    else:
        if other == "utf-8" or plausibility(text) >= _PLAUSIBLE:
            return text, f"decoded as {other}"
    try:
        text = raw.decode("utf-8", "surrogatepass")
    except UnicodeDecodeError:
        found = raw[fault.start : fault.start + 4]
        raise NotText(
            f"byte {fault.start} of the record: {fault.reason} in {encoding}, and not plausible as {other}; found {found!r}"
        ) from fault
    return mend_surrogates(text), "surrogates in UTF-8"


def mend_surrogates(text: str) -> str:
    """Pairs of surrogates as the character they stand for, lone ones as U+FFFD."""
    paired = text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "surrogatepass")
    return _SURROGATES.sub("\ufffd", paired)
