"""Files that are one JSON object: as one record, or with their records in its list of instances."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from corpus.sources.base import RAW_BOUND, Frame
from corpus.sources.framing.jsonbuffer import Incomplete, end_of_value
from corpus.sources.framing.jsondoc import GAP, WHITE, Document
from corpus.sources.framing.repair import Unrepairable, loads, repair
from corpus.sources.framing.stream import Builder, Limits, Stream


class _Instances(Document):
    """The elements of the member "instances" of one object; every one is told the object's "type" as "_type"."""

    def __init__(self, stream: Stream, limits: Limits) -> None:
        super().__init__(stream, limits, "array")
        self._type: Any = None

    def frames(self) -> Iterator[Frame]:
        buffer = self._buffer
        buffer.skip(WHITE)
        raw = buffer.window(RAW_BOUND)[0].encode("latin-1")
        begin = buffer.base + buffer.at
        if buffer.peek() == "{":
            buffer.at += 1
            while True:
                buffer.skip(GAP)
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
                end = end_of_value(buffer.text, buffer.at, buffer.ended)
            except Incomplete:
                if len(buffer.text) - buffer.at <= self._limits.record_bytes:
                    buffer.more()
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
