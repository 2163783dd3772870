"""JSON documents with many records in them: an array, objects one after the other, the members of one object.

The document is never parsed as a whole. The standard library's C scanner (over the bytes as Latin-1, so that its positions are byte
offsets; some 400 MB/s) finds where a record ends, and orjson decodes just that. Memory is bounded by the record, offsets are exact, and a
record that is damaged costs only itself: the next place that looks like the beginning of a record, and is one, is where reading goes on.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import orjson

from corpus.sources.base import RAW_BOUND, Frame
from corpus.sources.framing.jsonbuffer import Buffer, Incomplete, end_of_value, scan
from corpus.sources.framing.repair import Unrepairable, loads, repair
from corpus.sources.framing.stream import Builder, Limits, Stream

GAP = re.compile(r"[ \t\r\n,\0]*")
_SOUND_GAP = re.compile(r"(?:[ \t\r\n]*,[ \t\r\n]*)?")
WHITE = re.compile(r"[ \t\r\n]*")
_STRING = r'"[^"\\]*+(?:\\.[^"\\]*+)*+"'
_TOKEN = re.compile(rf"{_STRING}|[\[\]{{}}]", re.DOTALL)
_KEY = re.compile(rf"({_STRING})[ \t\r\n]*:[ \t\r\n]*", re.DOTALL)
_CANDIDATE = {
    "{": re.compile(r"(?<=[^ \t\r\n,:\[{])[ \t\r\n,]*(?=\{)"),
    "[": re.compile(r"(?<=[^ \t\r\n,:\[{])[ \t\r\n,]*(?=\[)"),
    "": re.compile(r"[ \t\r\n]*[,\r\n][ \t\r\n,]*(?=[^ \t\r\n,])"),
    "key": re.compile(rf"(?<=[}}\]\"\w])[ \t\r\n]*,[ \t\r\n]*(?={_STRING}[ \t\r\n]*:)"),
}
_LAST = {"array": re.compile(r"\}?[ \t\r\n,]*\][ \t\r\n]*\Z"), "keyed": re.compile(r"\}[ \t\r\n]*\}[ \t\r\n]*\Z")}
_CLOSE = {"array": "]", "keyed": "}", "objects": ""}


_MOST_TRIES = 256
"""Places behind a damaged record that are looked at, in one window."""
_LEARNED = 16
"""Records whose fields are remembered."""


class Document:
    """Frames the records of one document.

    Args:
        kind: "array", "objects" (one after the other) or "keyed" (members of one object).
    """

    def __init__(self, stream: Stream, limits: Limits, kind: str) -> None:
        self._buffer = Buffer(stream, base=stream.offset)
        self._stream = stream
        self._limits = limits
        self._kind = kind
        self._builder = Builder(limits)
        self._ordinal = 0
        self._shapes: set[tuple[str, ...]] = set()

    def frames(self) -> Iterator[Frame]:
        """All records, and rejects for what is none."""
        buffer = self._buffer
        buffer.skip(WHITE)
        if self._kind != "objects":
            buffer.at += 1  # the opening bracket
        yield from self._records()

    def _records(self) -> Iterator[Frame]:
        """The records behind the opening bracket, and the account of what follows them."""
        buffer, builder = self._buffer, self._builder
        while True:
            if self._kind != "keyed":
                self._sound_records()
            if builder.full:
                yield from builder.flush()
                continue
            commas, nul = buffer.skip(GAP)
            c = buffer.peek()
            if not c or c == _CLOSE[self._kind]:
                break
            self._record(self._gap_note(commas, nul))
            if builder.full:
                yield from builder.flush()
        self._finish(c)
        yield from builder.flush()

    def _sound_records(self) -> None:
        """Takes records as long as all is well and within the buffer: the loop that everything else exists to keep simple."""
        buffer, builder = self._buffer, self._builder
        text, at, base = buffer.text, buffer.at, buffer.base
        if buffer.long_digits:
            return
        sound = _SOUND_GAP if self._kind == "array" else WHITE
        while not builder.full:
            begin = sound.match(text, at).end()  # type: ignore[union-attr]
            if text[begin : begin + 1] not in ("{", "[") or (self._kind == "array" and (begin == at or not self._ordinal)):
                break
            try:
                _, end = scan(text, begin)
                value = orjson.loads(text[begin:end].encode("latin-1"))
            except (ValueError, StopIteration, RecursionError):
                break
            if end - begin > self._limits.record_bytes:
                break
            self._add(value, None, base + begin, end - begin, None)
            at = end
        buffer.at = at

    def _gap_note(self, commas: int, nul: bool) -> str | None:
        """What is wrong with the text between two records, if anything."""
        if nul:
            return "NUL bytes around the record"
        if self._kind == "objects":
            return "comma around the record" if commas else None
        wanted = 1 if self._ordinal else 0
        if commas == wanted:
            return None
        return "extra comma" if commas > wanted else "missing comma"

    def _finish(self, closing: str) -> None:
        """Accounts for what follows the last record, and for an end that is missing."""
        buffer = self._buffer
        if not closing:
            if self._kind != "objects" and self._stream.fault is None:
                detail = f"the file ends before the closing bracket {_CLOSE[self._kind]!r}"
                self._builder.reject(self._ordinal, buffer.base + buffer.at, 0, "truncated", detail, b"")
            return
        buffer.at += 1
        buffer.skip(GAP)
        if buffer.peek():
            raw = buffer.window(RAW_BOUND)[0].encode("latin-1")
            start = buffer.base + buffer.at
            length = len(buffer.text) - buffer.at + sum(map(len, self._stream))
            detail = f"text after the closing bracket {closing!r}; found {raw[:40]!r}"
            self._builder.reject(self._ordinal, start, length, "json", detail, raw)

    # ---- one record ----

    def _record(self, note: str | None) -> None:
        """Takes the record that begins at the buffer's position."""
        buffer, key = self._buffer, None
        if self._kind == "keyed":
            key = self._key()
            if key is None:
                self._damaged(note, None)
                return
        while True:
            start = buffer.at
            try:
                end = end_of_value(buffer.text, start, buffer.ended)
            except Incomplete:
                if len(buffer.text) - buffer.at <= self._limits.record_bytes:
                    buffer.more()  # if there is no more, the next try knows
                    continue
                self._damaged(note, key)
                return
            except (ValueError, RecursionError):
                self._damaged(note, key)
                return
            break
        raw = buffer.raw(start, end)
        if len(raw) > self._limits.record_bytes:
            detail = f"a record of {len(raw)} bytes; the limit is {self._limits.record_bytes}"
            self._reject(buffer.base + start, len(raw), "too_large", detail, raw)
        else:
            try:
                value = loads(raw, "utf-8")
            except ValueError:
                try:
                    repaired = repair(raw, "utf-8")
                except Unrepairable as e:
                    self._reject(buffer.base + start, len(raw), e.reason, e.detail, raw)
                else:
                    self._add(repaired.values[0], key, buffer.base + start, len(raw), _both(note, repaired.note))
            else:
                self._add(value, key, buffer.base + start, len(raw), note)
        buffer.at = end

    def _key(self) -> str | None:
        """Goes over a member's key and colon; None when there is none."""
        buffer = self._buffer
        while (match := _KEY.match(buffer.text, buffer.at)) is None or match.end() == len(buffer.text):
            if len(buffer.text) - buffer.at > self._limits.joined_bytes or not buffer.more():
                return None
        try:
            key = loads(match[1].encode("latin-1"), "utf-8")
        except ValueError:
            return None
        buffer.at = match.end()
        return key

    def _learn(self, value: Any) -> None:
        """Remembers the fields of the first records, by which others are known."""
        if isinstance(value, dict) and value and self._ordinal < _LEARNED:
            self._shapes.add(tuple(value))

    def _is_like_others(self, value: Any) -> bool:
        """Whether a value begins with the same field as other records, and shares half of its fields with one of them."""
        if not self._shapes:
            return True
        if not isinstance(value, dict) or not value:
            return False
        mine = set(value)
        alike = (shape for shape in self._shapes if 2 * len(mine & set(shape)) >= len(mine | set(shape)))
        return any(alike) and next(iter(value)) in {shape[0] for shape in self._shapes}

    def _add(self, value: Any, key: str | None, offset: int, length: int, note: str | None) -> None:
        self._learn(value)
        if key is not None:
            value = {"_key": key, **value} if isinstance(value, dict) else {"_key": key, "_value": value}
        self._builder.add(value, self._ordinal, offset, length, note)
        self._ordinal += 1

    def _reject(self, offset: int, length: int, reason: str, detail: str, raw: bytes) -> None:
        self._builder.reject(self._ordinal, offset, length, reason, detail, raw)
        self._ordinal += 1

    # ---- damage ----
    # All decisions are taken on windows whose sizes depend on nothing but the limits, so that blocks do not matter.

    def _damaged(self, note: str | None, key: str | None) -> None:
        """Takes a record that the scanner refuses: finds where it ends, and repairs or rejects it."""
        buffer, size = self._buffer, self._limits.joined_bytes
        text, ended = buffer.window(size)
        end = self._lenient_end(text)
        if end is not None and end <= self._limits.record_bytes and self._repaired(text[:end], note, key):
            buffer.at += end
            return
        opening = "key" if self._kind == "keyed" else text[0] if text[0] in "{[" else ""
        offset, first, lost = buffer.base + buffer.at, text[:RAW_BOUND].encode("latin-1"), 0
        while True:
            end = self._next_record(text, ended, opening)
            if end is None and ended:
                end = self._last_record(text, offset, lost, first)
                if end is None:
                    return
            if end is not None:
                break
            if size <= self._limits.record_bytes:
                size *= 2
            else:
                # Hopeless so far: let go of half of it, but keep looking.
                lost += size // 2
                buffer.at += size // 2
            text, ended = buffer.window(size)
        if lost + end > self._limits.record_bytes:
            detail = f"a record of {lost + end} bytes; the limit is {self._limits.record_bytes}"
            self._reject(offset, lost + end, "too_large", detail, first)
        elif not self._repaired(text[:end], note, key):
            fault = self._fault(text[:end])
            self._reject(offset, end, fault.reason, fault.detail, first)
        buffer.at += end

    def _repaired(self, text: str, note: str | None, key: str | None) -> bool:
        """Adds the record that stands at the buffer's position, if it can be repaired."""
        try:
            repaired = repair(text.encode("latin-1"), "utf-8")
        except Unrepairable:
            return False
        self._add(repaired.values[0], key, self._buffer.base + self._buffer.at, len(text), _both(note, repaired.note))
        return True

    def _fault(self, text: str) -> Unrepairable:
        """Why the record cannot be repaired."""
        try:
            repair(text.encode("latin-1"), "utf-8")
        except Unrepairable as e:
            return e
        return Unrepairable("json", "no JSON value")

    def _lenient_end(self, text: str) -> int | None:
        """Where the value that the text begins with ends by its brackets alone, letting any escape and any character stand in a string."""
        depth = 0
        for match in _TOKEN.finditer(text):
            if match[0] in "{[":
                depth += 1
            elif match[0] in "}]":
                depth -= 1
            if depth <= 0:
                end = match.end()
                after = WHITE.match(text, end).end()  # type: ignore[union-attr]
                return end if text[after : after + 1] in (",", "]", "}", "{", "") else None
        return None

    def _next_record(self, text: str, ended: bool, opening: str) -> int | None:
        """Where the damaged record ends because another one begins; None when none begins in the text.

        What looks like the beginning of a record is one if a whole value stands there that begins like the others, so that
        an object within the damaged record is not taken for the next record.
        """
        for tries, match in enumerate(_CANDIDATE[opening].finditer(text)):
            begin = match.end()
            if opening == "key" and (member := _KEY.match(text, begin)):
                begin = member.end()
            if tries > _MOST_TRIES:
                return None
            try:
                end = end_of_value(text, begin, ended)
                value = orjson.loads(text[begin:end].encode("latin-1"))
            except (Incomplete, ValueError, RecursionError):
                continue
            if self._is_like_others(value) and self._may_follow(text, end, ended):
                return match.start()
        return None

    def _may_follow(self, text: str, end: int, ended: bool) -> bool:
        """Whether what stands behind a value can stand behind a record."""
        after = WHITE.match(text, end).end()  # type: ignore[union-attr]
        c = text[after : after + 1]
        if c and c == _CLOSE[self._kind]:
            return ended and not text[after + 1 :].strip()
        return c in (",", "{") if c else ended

    def _last_record(self, text: str, offset: int, lost: int, raw: bytes) -> int | None:
        """Where a damaged record ends behind which there is no other; None when the file ends within it, which is then accounted for."""
        closed = _LAST[self._kind].search(text) if self._kind in _LAST else None
        if closed is not None:
            return closed.start() + closed[0].startswith("}")
        if self._stream.fault is not None:
            self._stream.lose(self._ordinal, offset, raw)
        else:
            self._reject(offset, lost + len(text.rstrip()), "truncated", "the file ends within a record", raw)
        self._buffer.at += len(text)
        self._kind = "objects"  # no closing bracket is to be expected any more
        return None


def _both(first: str | None, second: str | None) -> str | None:
    return "; ".join(n for n in (first, second) if n) or None


def frame_array(stream: Stream, limits: Limits) -> Iterator[Frame]:
    """The elements of a JSON array. UTF-8."""
    return Document(stream, limits, "array").frames()


def frame_objects(stream: Stream, limits: Limits) -> Iterator[Frame]:
    """JSON objects one after the other, however they are laid out. UTF-8."""
    return Document(stream, limits, "objects").frames()


def frame_keyed(stream: Stream, limits: Limits) -> Iterator[Frame]:
    """The members of one JSON object: {"_key": key, **member}; {"_key": key, "_value": member} for one that is no object. UTF-8."""
    return Document(stream, limits, "keyed").frames()
