"""JSON documents with many records in them: an array, objects one after the other, the members of one object.

The document is never parsed as a whole. The standard library's C scanner (over the bytes as Latin-1, so that its positions are byte
offsets; some 400 MB/s) finds where a record ends, and orjson decodes just that. Memory is bounded by the record, offsets are exact, and a
record that is damaged costs only itself: the next place that looks like the beginning of a record, and is one, is where reading goes on.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import orjson

from corpus.sources.base import RAW_BOUND, Frame
from corpus.sources.framing.repair import Unrepairable, has_long_digits, loads, repair
from corpus.sources.framing.stream import Builder, Limits, Stream

_GAP = re.compile(r"[ \t\r\n,\0]*")
_SOUND_GAP = re.compile(r"(?:[ \t\r\n]*,[ \t\r\n]*)?")
_WHITE = re.compile(r"[ \t\r\n]*")
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
_NEAR_END = 16
"""Where a scan fails so near to the end of what was read, a token may be cut: \\uXXXX is the longest that has no closing quote."""


_MOST_TRIES = 256
_LEARNED = 16


class _Incomplete(Exception):
    """The value goes on behind what was read."""


@dataclass(slots=True)
class _Buffer:
    """A window over the stream, as Latin-1 text: one character per byte."""

    stream: Stream
    text: str = ""
    base: int = 0
    at: int = 0
    ended: bool = False
    long_digits: bool = False

    def more(self) -> bool:
        """Reads on, as much again as is waiting, so that a long record is not scanned over and over; False at the end."""
        waiting = len(self.text) - self.at
        blocks: list[str] = []
        size = 0
        while not self.ended and size <= waiting:
            block = next(self.stream, None)
            if block is None:
                self.ended = True
            else:
                blocks.append(block.decode("latin-1"))
                size += len(block)
        if blocks:
            self.text = self.text[self.at :] + "".join(blocks)
            self.long_digits = has_long_digits(self.text.encode("latin-1"))
            self.base += self.at
            self.at = 0
        return size > 0

    def skip(self, pattern: re.Pattern[str]) -> str:
        """Goes over what the pattern matches, reading on where it reaches the end; returns the matched text."""
        start = self.base + self.at
        while (end := pattern.match(self.text, self.at).end()) == len(self.text) and self.more():  # type: ignore[union-attr]
            pass
        self.at = end
        return self.text[max(0, start - self.base) : end]

    def peek(self) -> str:
        """The next character; "" at the end."""
        if self.at >= len(self.text):
            self.more()
        return self.text[self.at : self.at + 1]

    def window(self, size: int) -> tuple[str, bool]:
        """The next `size` characters, and whether the stream ends with them."""
        while len(self.text) - self.at <= size and self.more():
            pass
        return self.text[self.at : self.at + size], self.at + size >= len(self.text)

    def raw(self, start: int, end: int) -> bytes:
        return self.text[start:end].encode("latin-1")


class _Document:
    """Frames the records of one document.

    Args:
        kind: "array", "objects" (one after the other) or "keyed" (members of one object).
    """

    def __init__(self, stream: Stream, limits: Limits, kind: str) -> None:
        self._buffer = _Buffer(stream, base=stream.offset)
        self._stream = stream
        self._limits = limits
        self._kind = kind
        self._builder = Builder(limits)
        self._ordinal = 0
        self._scan = json.JSONDecoder().scan_once  # type: ignore[attr-defined]
        self._shapes: set[tuple[str, ...]] = set()

    def frames(self) -> Iterator[Frame]:
        """All records, and rejects for what is none."""
        buffer = self._buffer
        buffer.skip(_WHITE)
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
            gap = buffer.skip(_GAP)
            c = buffer.peek()
            if not c or c == _CLOSE[self._kind]:
                break
            self._record(self._gap_note(gap))
            if builder.full:
                yield from builder.flush()
        self._finish(c)
        yield from builder.flush()

    def _sound_records(self) -> None:
        """Takes records as long as all is well and within the buffer: the loop that everything else exists to keep simple."""
        buffer, builder, scan = self._buffer, self._builder, self._scan
        text, at, base = buffer.text, buffer.at, buffer.base
        if buffer.long_digits:
            return
        sound = _SOUND_GAP if self._kind == "array" else _WHITE
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

    def _gap_note(self, gap: str) -> str | None:
        """What is wrong with the text between two records, if anything."""
        if "\0" in gap:
            return "NUL bytes around the record"
        commas = gap.count(",")
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
        buffer.skip(_GAP)
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
                end = self._end_of_value(buffer.text, start, buffer.ended)
            except _Incomplete:
                if len(buffer.text) - buffer.at <= self._limits.record_bytes and buffer.more():
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

    def _end_of_value(self, text: str, start: int, ended: bool) -> int:
        """Where the value at `start` ends; `ended` when no more text follows.

        Raises:
            _Incomplete: it may go on behind the text.
            ValueError: it is damaged.
        """
        try:
            value, end = self._scan(text, start)
        except StopIteration as e:
            if not ended and e.value >= len(text) - _NEAR_END:
                raise _Incomplete from None
            raise ValueError("no JSON value") from None
        except json.JSONDecodeError as e:
            if not ended and (e.msg.startswith("Unterminated") or e.pos >= len(text) - _NEAR_END):
                raise _Incomplete from None
            raise
        if end == len(text) and not ended and not isinstance(value, (dict, list, str)):
            raise _Incomplete  # a number may have more digits
        return end

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
                after = _WHITE.match(text, end).end()  # type: ignore[union-attr]
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
                end = self._end_of_value(text, begin, ended)
                value = orjson.loads(text[begin:end].encode("latin-1"))
            except (_Incomplete, ValueError, RecursionError):
                continue
            if self._is_like_others(value) and self._may_follow(text, end, ended):
                return match.start()
        return None

    def _may_follow(self, text: str, end: int, ended: bool) -> bool:
        """Whether what stands behind a value can stand behind a record."""
        after = _WHITE.match(text, end).end()  # type: ignore[union-attr]
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


class _Instances(_Document):
    """The elements of the member "instances" of one object; every one is told the object's "type" as "_type"."""

    def __init__(self, stream: Stream, limits: Limits) -> None:
        super().__init__(stream, limits, "array")
        self._type: Any = None

    def frames(self) -> Iterator[Frame]:
        buffer = self._buffer
        buffer.skip(_WHITE)
        raw = buffer.window(RAW_BOUND)[0].encode("latin-1")
        begin = buffer.base + buffer.at
        if buffer.peek() == "{":
            buffer.at += 1
            while True:
                buffer.skip(_GAP)
                key = self._key()
                if key == "instances" and buffer.peek() == "[":
                    buffer.at += 1
                    yield from self._records()
                    return
                if key is None or not self._member(key):
                    break
        self._reject(begin, len(raw), "shape", 'expected an object with a list "instances"', raw)
        for _ in self._stream:
            pass  # It was rejected as a whole.
        yield from self._builder.flush()

    def _member(self, key: str) -> bool:
        """Goes over the value of a member that is not "instances"; False when it is damaged."""
        buffer = self._buffer
        while True:
            try:
                end = self._end_of_value(buffer.text, buffer.at, buffer.ended)
            except _Incomplete:
                if buffer.more():
                    continue
                return False
            except (ValueError, RecursionError):
                return False
            break
        if key == "type":
            self._type = buffer.text[buffer.at : end].strip('"')
        buffer.at = end
        return True

    def _add(self, value: Any, key: str | None, offset: int, length: int, note: str | None) -> None:
        if isinstance(value, dict) and self._type is not None:
            value = {"_type": self._type, **value}
        super()._add(value, key, offset, length, note)

    def _finish(self, closing: str) -> None:
        buffer = self._buffer
        if closing:
            buffer.at += 1
            while buffer.more():
                pass
            rest = buffer.text[buffer.at :].strip()
            try:
                json.loads("{" + rest.lstrip(", \t\r\n"))
            except (ValueError, RecursionError):
                buffer.at -= 1
            else:
                return
        super()._finish(closing)


def _both(first: str | None, second: str | None) -> str | None:
    return "; ".join(n for n in (first, second) if n) or None


def frame_array(stream: Stream, limits: Limits) -> Iterator[Frame]:
    """The elements of a JSON array. UTF-8."""
    return _Document(stream, limits, "array").frames()


def frame_objects(stream: Stream, limits: Limits) -> Iterator[Frame]:
    """JSON objects one after the other, however they are laid out. UTF-8."""
    return _Document(stream, limits, "objects").frames()


def frame_keyed(stream: Stream, limits: Limits) -> Iterator[Frame]:
    """The members of one JSON object: {"_key": key, **member}; {"_key": key, "_value": member} for one that is no object. UTF-8."""
    return _Document(stream, limits, "keyed").frames()


def frame_instances(stream: Stream, limits: Limits) -> Iterator[Frame]:
    """The elements of LMFlow's {"type": …, "instances": […]}; "_type" is added where the type comes before the instances. UTF-8."""
    return _Instances(stream, limits).frames()


def frame_object(stream: Stream, limits: Limits) -> Iterator[Frame]:
    """The whole file as one record. UTF-8."""
    builder = Builder(limits)
    blocks: list[bytes] = []
    size = 0
    for block in stream:
        if size <= limits.record_bytes:
            blocks.append(block)
        size += len(block)
    raw = b"".join(blocks)
    if size > limits.record_bytes:
        builder.reject(0, 0, size, "too_large", f"an object of {size} bytes; the limit is {limits.record_bytes}", raw)
    elif stream.fault is not None:
        stream.lose(0, 0, raw)
    else:
        try:
            value, note = loads(raw, "utf-8"), None
        except ValueError:
            try:
                repaired = repair(raw, "utf-8")
                value, note = repaired.values[0], repaired.note
            except Unrepairable as e:
                builder.reject(0, 0, size, e.reason, e.detail, raw)
                yield from builder.flush()
                return
        builder.add(value, 0, 0, size, note)
    yield from builder.flush()
