"""JSON lines: one value per line, and what becomes of lines that are not.

The fast path hands whole blocks of lines to orjson. Only a block with a line that orjson refuses is gone through line by line. A record's
ordinal is the 0-based number of the line on which it begins, so that positions match what an editor shows; blank lines count as lines but
are no records.
"""

from __future__ import annotations

from collections.abc import Iterator

import orjson

from corpus.sources.base import Frame
from corpus.sources.framing.lines import LineBlock, line_blocks, reject_too_large, split_lines
from corpus.sources.framing.repair import Repaired, Unrepairable, has_long_digits, loads, repair
from corpus.sources.framing.stream import Builder, Counted, Limits, Part, Stream


def frame_json_lines(stream: Stream, limits: Limits) -> Iterator[Frame]:
    """Frames JSON lines; of a stream with `begin` and `end`, the records that begin between them."""
    for frame in _frames(stream, limits):
        if stream.begin > min([*(frame.offsets or ())[:1], *(r.offset or 0 for r in frame.rejects)], default=stream.begin):
            frame = _without_before(frame, stream.begin)
        yield frame


def first_line_of(file: Counted, part: Part, limits: Limits, encoding: str) -> tuple[int, int]:
    """Where reading must begin so that the records of `part` are found: (offset, ordinal of the line).

    That is its first byte, unless its first line may belong to a record that began in an earlier one. Then it is behind the nearest
    line before it that is a record of its own.
    """
    start = max(0, part.start - limits.joined_bytes)
    file.seek(start)
    before = file.read(part.start - start) or b""
    first = b""
    while b"\n" not in first and len(first) <= limits.joined_bytes and (more := file.read(limits.block_bytes)):
        first += more
    if begins_record(first.split(b"\n", 1)[0], encoding):
        return part.start, part.first
    lines = split_lines(before)
    if start and lines:
        del lines[0]  # it may begin before what was read
    offset, line = part.start, part.first
    for each in reversed(lines[-limits.joined_lines :]):
        if begins_record(each, encoding):
            break
        offset -= len(each) + 1
        line -= 1
    return offset, line


def _without_before(frame: Frame, begin: int) -> Frame:
    """The records of a frame that begin at `begin` or later."""
    kept = Frame(ordinals=[], offsets=[], lengths=[])
    for at, offset in enumerate(frame.offsets or ()):
        if offset >= begin:
            if at in frame.notes:
                kept.notes[len(kept.values)] = frame.notes[at]
            kept.values.append(frame.values[at])
            kept.ordinals.append(frame.ordinals[at])  # type: ignore[attr-defined]
            kept.offsets.append(offset)  # type: ignore[union-attr]
            kept.lengths.append(frame.lengths[at])  # type: ignore[union-attr,index]
    kept.rejects = [r for r in frame.rejects if r.offset is None or r.offset >= begin]
    kept.records = len(kept.values) + len(kept.rejects)
    return kept


def _frames(stream: Stream, limits: Limits) -> Iterator[Frame]:
    blocks = line_blocks(stream, limits)
    for block in blocks:
        if stream.end is not None and block.offset >= stream.end:
            return
        if block.too_large:
            builder = Builder(limits)
            reject_too_large(builder, block, limits)
            yield from builder.flush()
            continue
        if block.data.isspace():
            continue  # Line by line, a file that a crash or a bomb filled with a gigabyte of line ends takes minutes.
        frame = None
        if stream.end is None or block.offset + len(block.data) <= stream.end:
            frame = _whole_block(block, stream.encoding)
        if frame is None:
            yield from _LineByLine(block, blocks, stream, limits).frames()
        elif frame.records > limits.frame_records:
            yield from _cut(frame, limits.frame_records)
        else:
            yield frame


def _whole_block(block: LineBlock, encoding: str) -> Frame | None:
    """The block's records when every line is one, else None."""
    if has_long_digits(block.data):
        return None
    lines = split_lines(block.data)
    try:
        texts = lines if encoding == "utf-8" else [line.decode(encoding) for line in lines]
        values = list(map(orjson.loads, texts))
    except ValueError:
        return None
    starts, lengths = block.extents()
    ordinals = range(block.first, block.first + len(values))
    return Frame(values=values, ordinals=ordinals, offsets=starts.tolist(), lengths=lengths.tolist(), raws=lines, records=len(values))


def _cut(frame: Frame, most: int) -> Iterator[Frame]:
    """A frame without notes or rejects in pieces of at most `most` records."""
    for at in range(0, frame.records, most):
        piece = slice(at, at + most)
        yield Frame(
            values=frame.values[piece],
            ordinals=frame.ordinals[piece],
            offsets=frame.offsets[piece] if frame.offsets is not None else None,
            lengths=frame.lengths[piece] if frame.lengths is not None else None,
            raws=frame.raws[piece] if frame.raws is not None else None,
            records=len(frame.values[piece]),
        )


class _LineByLine:
    """Goes through a block with a line that is no JSON value, and through the lines behind it as far as a broken record may reach."""

    def __init__(self, block: LineBlock, blocks: Iterator[LineBlock], stream: Stream, limits: Limits) -> None:
        self._blocks = blocks
        self._stream = stream
        self._limits = limits
        self._builder = Builder(limits)
        self._lines: list[bytes] = []
        self._starts: list[int] = []
        self._lengths: list[int] = []
        self._first = block.first
        self._overlong: LineBlock | None = None
        self._append(block)

    def _append(self, block: LineBlock) -> None:
        starts, lengths = block.extents()
        self._lines += split_lines(block.data)
        self._starts += starts.tolist()
        self._lengths += lengths.tolist()

    def _has(self, at: int) -> bool:
        """Whether there is a line at `at`, reading on if need be."""
        while at >= len(self._lines) and self._overlong is None:
            block = next(self._blocks, None)
            if block is None:
                return False
            if block.too_large:
                self._overlong = block
            else:
                self._append(block)
        return at < len(self._lines)

    def frames(self) -> Iterator[Frame]:
        """The frames of all lines that were read."""
        at, end, encoding, builder = 0, self._stream.end, self._stream.encoding, self._builder
        while at < len(self._lines):
            start, line = self._starts[at], self._lines[at]
            if end is not None and start >= end:
                break
            taken = 1
            if line and not line.isspace():
                try:
                    value = loads(line, encoding)
                except ValueError:
                    taken = self._slow(at, line)
                else:
                    builder.add(value, self._first + at, start, self._lengths[at])
            at += taken
            if builder.full:
                yield from builder.flush()
        if self._overlong is not None and (end is None or self._overlong.offset < end):
            reject_too_large(builder, self._overlong, self._limits)
        yield from builder.flush()

    def _slow(self, at: int, line: bytes) -> int:
        """Repairs or rejects the record that begins at line `at`, and returns how many lines it takes."""
        ordinal, start, length = self._first + at, self._starts[at], self._lengths[at]
        try:
            repaired = repair(line, self._stream.encoding, several=True)
        except Unrepairable as e:
            joined = self._join(at) if e.incomplete else None
            if joined is None:
                self._builder.reject(ordinal, start, length, e.reason, e.detail, line)
                return 1
            repaired, taken = joined
            last = at + taken - 1
            length = self._starts[last] + self._lengths[last] - start
            note = f"record over {taken} lines"
            self._builder.add(repaired.values[0], ordinal, start, length, f"{note}; {repaired.note}" if repaired.note else note)
            return taken
        for value in repaired.values:
            self._builder.add(value, ordinal, start, length, repaired.note)
        return 1

    def _join(self, at: int) -> tuple[Repaired, int] | None:
        """The record that begins at line `at` and ends in a later one, and how many lines it takes; None if there is no such record."""
        limits, start = self._limits, self._starts[at]
        joined = self._lines[at]
        for last in range(at + 1, at + limits.joined_lines):
            if not self._has(last) or self._starts[last] + self._lengths[last] - start > limits.joined_bytes:
                return None
            line = self._lines[last]
            if begins_record(line, self._stream.encoding):
                return None
            joined = joined + b"\n" + line
            if b"}" not in line and b"]" not in line:
                continue  # It cannot end here.
            try:
                return repair(joined, self._stream.encoding), last - at + 1
            except Unrepairable as e:
                if not e.incomplete:
                    return None
        return None


def begins_record(line: bytes, encoding: str) -> bool:
    """Whether a line is a whole JSON object: then it is a record of its own, whatever came before it."""
    if not line.lstrip().startswith(b"{"):
        return False
    try:
        orjson.loads(line if encoding == "utf-8" else line.decode(encoding))
    except ValueError:
        return False
    return True
