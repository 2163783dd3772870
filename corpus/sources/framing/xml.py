"""MediaWiki XML exports, page by page.

The stream is cut at `<page>` and `</page>`, which cannot stand in text (there they are escaped), and each page is parsed by an expat
parser of its own: a page that is not well-formed costs only itself, and memory is bounded by the page. Versions 0.3 to 0.11 of the export
format differ in elements that are not read here. A document type or entity declaration is refused together with the file.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any
from xml.parsers import expat
from xml.sax.saxutils import unescape

from corpus.sources.base import RAW_BOUND, Frame
from corpus.sources.framing.encoding import NotText, decode
from corpus.sources.framing.stream import Builder, Limits, Stream

_OPEN, _CLOSE = b"<page>", b"</page>"
_BORDER = re.compile(rb"</?page>")
_DECLARATION = re.compile(rb"<!(?:DOCTYPE|ENTITY)", re.IGNORECASE)
_LANG = re.compile(rb"<mediawiki\b[^>]*\bxml:lang=[\"']([^\"']*)[\"']")
_DBNAME = re.compile(rb"<dbname>([^<]*)</dbname>")
_NAMESPACE = re.compile(rb"<namespace\b[^<>]{0,200}?\bkey=[\"'](-?\d{1,6})[\"'][^<>]{0,200}(?<!/)>([^<]{1,255})</namespace>")
_TEXT_BUFFER = 1 << 18

RECORDS_PER_BYTE = 10_000
"""In a bzip2 file, records of the stream that begins at byte n are numbered from n times this. A stream of n bytes cannot hold as many
records: a block decompresses to 900,000 bytes at most (runs of equal bytes are more, but no tags), which are 150,000 times `<page>`, and
takes 20 bytes at least. Round, so that a reader sees both numbers."""

_PAGE_FIELDS = frozenset(("title", "ns", "id"))
_REVISION_FIELDS = {"id": "revision", "timestamp": "timestamp", "model": "model", "format": "format", "text": "text"}


def frame_mediawiki(stream: Stream, limits: Limits) -> Iterator[Frame]:
    """One record per `<page>`: the fields of its last revision, and of the site. UTF-8.

    The header of the frames is the site's namespaces, as pairs of key and name. Whether their titles begin with a capital (`case`) changes
    nothing that is read here.
    """
    export = Export(stream, limits)
    yield from export.pages() if export.head() else export.flush()


class Export:
    """A dump, or a part of one. Call `head` and then `pages`, or `fragment` alone: of an export that is given the one that read the head.

    Attributes:
        ordinal: of the next record.
        site: what each page is told of its wiki.
        namespaces: (key, name) of the wiki's namespaces.
    """

    def __init__(self, stream: Stream, limits: Limits, head: Export | None = None) -> None:
        self._stream = stream
        self._limits = limits
        self._builder = Builder(limits)
        self._data = b""
        self._at = 0
        self._base = stream.offset
        self._start = 0  # of the compressed stream in which the page at the position begins, in bytes of the file,
        self._origin = 0  # and in bytes of what was decompressed
        self._cut = False
        self.ordinal = 0
        self.site: dict[str, Any] = head.site if head else {}
        self.namespaces: tuple[tuple[int, str], ...] = head.namespaces if head else ()

    def _more(self) -> bool:
        waiting = len(self._data) - self._at
        blocks: list[bytes] = []
        size = 0
        while size <= waiting and (block := next(self._stream, None)) is not None:
            blocks.append(block)
            size += len(block)
        if not blocks:
            return False
        self._data = b"".join([self._data[self._at :], *blocks])
        self._base += self._at
        self._at = 0
        return True

    def _find(self, what: bytes, ahead: int) -> int:
        """Distance from the position to `what`, at least `ahead`, reading on as far as a record may reach; -1 when it is not there."""
        while True:
            found = self._data.find(what, self._at + ahead)
            if found >= 0:
                return found - self._at
            waiting = len(self._data) - self._at
            if waiting > self._limits.record_bytes:
                return -1
            ahead = max(ahead, waiting - len(what) + 1)
            if not self._more():
                return -1

    def _border(self) -> tuple[int, bytes]:
        """Distance to the next tag of a page behind the position, and the tag, reading on as `_find` does; (-1, b"") for none.

        Whichever comes first: a file of beginnings must not be searched for an end from each of them.
        """
        ahead = 1
        while (found := _BORDER.search(self._data, self._at + ahead)) is None:
            waiting = len(self._data) - self._at
            ahead = max(ahead, waiting - len(_CLOSE) + 1)
            if waiting > self._limits.record_bytes or not self._more():
                return -1, b""
        return found.start() - self._at, found[0]

    def head(self) -> bool:
        """Reads what precedes the first page. False when no page follows; a reject tells why, unless the file is an empty export."""
        distance = self._find(_OPEN, 0)
        head = self._data[self._at : self._at + (distance if distance >= 0 else len(self._data))]
        lost = distance < 0 and self._stream.fault is not None  # and there may be pages where the damage ends
        if (b"<mediawiki" not in head and not lost) or _DECLARATION.search(head):
            what = "a document type or entity declaration" if b"<mediawiki" in head else "no <mediawiki> element"
            self._reject(0, len(head), "xml" if b"<mediawiki" in head else "unknown_format", what, head)
            return False
        lang, dbname = _LANG.search(head), _DBNAME.search(head)
        self.site = {"lang": _text(lang), "dbname": _text(dbname)}
        self.namespaces = tuple((int(m[1]), unescape(m[2].decode("utf-8", "replace"))) for m in _NAMESPACE.finditer(head))
        self._at += len(head)
        return distance >= 0 or lost

    def fragment(self) -> Iterator[Frame]:
        """The pages of a part that does not begin with the head: what precedes its first page belongs to the part before."""
        while (found := self._data.find(_OPEN, self._at)) < 0:
            self._at = max(self._at, len(self._data) - len(_OPEN) + 1)
            if not self._enter() or not self._more():
                return
        self._at = found
        yield from self.pages()

    def pages(self) -> Iterator[Frame]:
        """The page at the position, and those behind it."""
        while self._data.startswith(_OPEN, self._at) and self._enter():
            self._page()
            if self._builder.full:
                yield from self.flush()
            self._between(self._find(_OPEN, 0))
        yield from self.flush()

    def flush(self) -> Iterator[Frame]:
        """What has not been handed out yet."""
        for frame in self._builder.flush():
            frame.header = self.namespaces
            yield frame

    def _enter(self) -> bool:
        """Whether a page that begins at the position, or behind it, may be of this part. Each compressed stream has its own numbers."""
        begun, here = self._stream.begun, self._base + self._at
        while begun and begun[0][0] <= here:
            self._origin, self._start = begun.popleft()
            self.ordinal = self._start * RECORDS_PER_BYTE
        return self._stream.end is None or self._start < self._stream.end

    @property
    def _place(self) -> int:
        return self._base + self._at - self._origin

    def _page(self) -> None:
        """Takes the page at the position."""
        distance, border = self._border()
        if max(distance, len(self._data) - self._at if distance < 0 else 0) > self._limits.record_bytes:
            self._skip_page()
        elif border == _OPEN:
            self._take(distance, "xml", "a page without an end tag")
        elif border == _CLOSE:
            raw = self._data[self._at : self._at + distance + len(_CLOSE)]
            self._parse(raw)
            self._at += len(raw)
        elif self._stream.fault is not None:
            self._stream.lose(self.ordinal, self._place, self._data[self._at :])
            self._at = len(self._data)
        else:
            self._take(len(self._data) - self._at, "truncated", "the file ends within a page")
            self._cut = True

    def _skip_page(self) -> None:
        """Goes over a page that is too long, up to its end or the next one's beginning, holding none of it."""
        while len(self._data) - self._at < RAW_BOUND and self._more():
            pass
        start, raw = self._place, self._data[self._at : self._at + RAW_BOUND]
        self._at += 1
        while (found := _BORDER.search(self._data, self._at)) is None:
            self._at = max(self._at, len(self._data) - len(_CLOSE))
            if not self._more():
                self._at = len(self._data)
                break
        if found is not None:
            self._at = found.end() if found[0] == _CLOSE else found.start()
        length = self._place - start
        detail = f"a page of {length} bytes; the limit is {self._limits.record_bytes}"
        self._builder.reject(self.ordinal, start, length, "too_large", detail, raw[:length])
        self.ordinal += 1

    def _take(self, length: int, reason: str, detail: str) -> None:
        self._reject(self._at, length, reason, detail, self._data[self._at : self._at + length])
        self._at += length

    def _parse(self, raw: bytes) -> None:
        note = None
        try:
            value = _Page().parse(raw)
        except expat.ExpatError as e:
            try:
                text, note = decode(raw, "utf-8")
                if note is None:
                    raise e
                value = _Page().parse(text.encode())
            except NotText as bad:
                self._reject(self._at, len(raw), "encoding", str(bad), raw)
                return
            except expat.ExpatError as worse:
                self._reject(self._at, len(raw), "xml", f"line {worse.lineno} of the page: {expat.ErrorString(worse.code)}", raw)
                return
        value.update(self.site)
        self._builder.add(value, self.ordinal, self._place, len(raw), note)
        self.ordinal += 1

    def _reject(self, at: int, length: int, reason: str, detail: str, raw: bytes) -> None:
        self._builder.reject(self.ordinal, self._base + at - self._origin, length, reason, detail, raw)
        self.ordinal += 1

    def _between(self, distance: int) -> None:
        """Accounts for what stands between pages, or behind the last one."""
        end = self._at + distance if distance >= 0 else len(self._data)
        gap = _without_comments(self._data[self._at : end]).strip()
        if distance >= 0:
            if gap:
                self._reject(self._at, end - self._at, "xml", f"text between pages; found {gap[:40]!r}", gap)
        elif self._stream.fault is None and not self._cut and gap != b"</mediawiki>":
            if b"</mediawiki>" in gap or gap.startswith(b"<"):
                self._reject(self._at, end - self._at, "xml", f"text behind the last page; found {gap[:40]!r}", gap)
            else:
                self._reject(self._at, end - self._at, "truncated", "the file ends before </mediawiki>", gap)
        self._at = end


def _without_comments(data: bytes) -> bytes:
    """What is left of data without its XML comments. One that is not closed stays."""
    out = []
    at = 0
    while (start := data.find(b"<!--", at)) >= 0 and (end := data.find(b"-->", start + 4)) >= 0:
        out.append(data[at:start])
        at = end + 3
    return b"".join([*out, data[at:]])


def _text(match: re.Match[bytes] | None) -> str | None:
    return match[1].decode("utf-8", "backslashreplace") if match else None


class _Page:
    """Collects the fields of one page."""

    def __init__(self) -> None:
        absent = ("ns", "id", "redirect", "revision", "timestamp", "model", "format")
        self._value: dict[str, Any] = {"title": "", **dict.fromkeys(absent), "text": ""}
        self._depth = 0
        self._in_revision = False
        self._field: str | None = None
        self._pieces: list[str] = []

    def parse(self, raw: bytes) -> dict[str, Any]:
        """The page's fields; numbers as int.

        Raises:
            ExpatError: when it is not well-formed, or names an entity that XML does not have.
        """
        parser = expat.ParserCreate("utf-8")
        parser.buffer_text = True
        parser.buffer_size = _TEXT_BUFFER
        parser.StartElementHandler = self._start
        parser.EndElementHandler = self._end
        parser.CharacterDataHandler = self._pieces.append
        parser.Parse(raw, True)
        for field in ("ns", "id", "revision"):
            number = self._value[field]
            self._value[field] = int(number) if number and number.lstrip("-").isdecimal() else None
        return self._value

    def _start(self, name: str, attributes: dict[str, str]) -> None:
        self._depth += 1
        if self._depth == 2:
            if name in _PAGE_FIELDS:
                self._field = name
            elif name == "redirect":
                self._value["redirect"] = attributes.get("title", "")
            elif name == "revision":
                self._in_revision = True
        elif self._depth == 3 and self._in_revision:
            self._field = _REVISION_FIELDS.get(name)
        self._pieces.clear()

    def _end(self, name: str) -> None:
        self._depth -= 1
        if self._field is not None:
            self._value[self._field] = "".join(self._pieces)
            self._field = None
        elif self._depth == 1:
            self._in_revision = False
        self._pieces.clear()
