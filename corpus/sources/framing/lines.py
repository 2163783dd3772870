"""Lines: the ground under every format that is made of them, and the formats that are nothing else."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from corpus.sources.base import RAW_BOUND, Frame
from corpus.sources.framing.encoding import NotText, decode
from corpus.sources.framing.stream import Builder, Limits, Stream


@dataclass(slots=True)
class LineBlock:
    """A run of whole lines, or the beginning of one that is too long.

    Attributes:
        data: the bytes, with line ends; the last line of a file may have none.
        offset: of the first byte.
        first: ordinal of the first line.
        too_large: when not 0, this stands for a single line of so many bytes (without its end), of which `data` is the beginning.
    """

    data: bytes
    offset: int
    first: int
    too_large: int = 0

    def extents(self) -> tuple[np.ndarray, np.ndarray]:
        """Offset and length of every line, without its end (LF or CR LF)."""
        array = np.frombuffer(self.data, np.uint8)
        ends = np.flatnonzero(array == 0x0A)
        if len(array) and array[-1] != 0x0A:
            ends = np.append(ends, len(array))
        starts = np.concatenate([np.zeros(1, ends.dtype), ends[:-1] + 1]) if len(ends) else ends
        lengths = ends - starts
        lengths -= (lengths > 0) & (array[np.maximum(ends - 1, 0)] == 0x0D)
        return starts + self.offset, lengths


def split_lines(data: bytes) -> list[bytes]:
    """The lines of a block, without LF; a CR before it stays."""
    lines = data.split(b"\n")
    if not lines[-1]:
        lines.pop()
    return lines


def line_blocks(stream: Stream, limits: Limits) -> Iterator[LineBlock]:
    """Cuts a stream into blocks of whole lines.

    A file whose first block has carriage returns and no line feed is taken as one with the line ends of old Macs. An unfinished last
    line of a stream that ends in a fault goes into the fault's reject.
    """
    head = stream.blocks.peek(1 << 16)
    old_mac = b"\r" in head and b"\n" not in head
    offset, line = stream.offset, stream.line
    rest: list[bytes] = []
    waiting = skipped = 0
    # No piece is longer than a line may be, so that a line within a piece never is.
    pieces = (whole[at : at + limits.record_bytes] for whole in stream for at in range(0, len(whole), limits.record_bytes))
    for block in pieces:
        if old_mac:
            block = block.replace(b"\r", b"\n")
        first_end = block.find(b"\n") + 1
        if skipped or waiting + (first_end - 1 if first_end else len(block)) > limits.record_bytes:
            # The line that is under way is too long: drop all but its beginning, and go on behind its end.
            upto = first_end or len(block)
            if not skipped:
                skipped, waiting = waiting, 0
            rest = [b"".join([*rest, block[:upto]])[:RAW_BOUND]]
            skipped += upto
            if not first_end:
                continue
            yield LineBlock(rest[0].rstrip(b"\n"), offset, line, too_large=skipped - 1)
            offset, line, rest, skipped = offset + skipped, line + 1, [], 0
            block = block[first_end:]
        cut = block.rfind(b"\n") + 1
        if not cut:
            if block:
                rest.append(block)
                waiting += len(block)
            continue
        data = b"".join([*rest, block[:cut]])
        yield LineBlock(data, offset, line)
        offset += len(data)
        line += data.count(b"\n")
        rest = [block[cut:]] if cut < len(block) else []
        waiting = len(block) - cut
    last = b"".join(rest)
    if stream.fault is not None:
        if last:
            stream.lose(line, offset, last)
    elif skipped:
        yield LineBlock(last, offset, line, too_large=skipped)
    elif last:
        yield LineBlock(last, offset, line)


def reject_too_large(builder: Builder, block: LineBlock, limits: Limits) -> None:
    """Rejects the line that is too long."""
    detail = f"a line of {block.too_large} bytes; the limit is {limits.record_bytes}"
    builder.reject(block.first, block.offset, block.too_large, "too_large", detail, block.data)


@dataclass(slots=True)
class Line:
    """A decoded line."""

    text: str
    ordinal: int
    offset: int
    length: int
    note: str | None = None


def decoded_lines(stream: Stream, limits: Limits, builder: Builder) -> Iterator[Line]:
    """All lines, blank ones included, as text without their ends. Lines that are no text are rejected into `builder`."""
    for block in line_blocks(stream, limits):
        if block.too_large:
            reject_too_large(builder, block, limits)
            continue
        starts, lengths = block.extents()
        for at, (start, length) in enumerate(zip(starts.tolist(), lengths.tolist(), strict=True)):
            raw = block.data[start - block.offset : start - block.offset + length]
            try:
                text, note = decode(raw, stream.encoding)
            except NotText as e:
                builder.reject(block.first + at, start, length, "encoding", str(e), raw)
                continue
            yield Line(text, block.first + at, start, length, note)


def frame_lines(stream: Stream, limits: Limits) -> Iterator[Frame]:
    """One record per line that is not blank: a str, with nothing but the line end taken off."""
    builder = Builder(limits)
    for line in decoded_lines(stream, limits, builder):
        if line.text and not line.text.isspace():
            builder.add(line.text, line.ordinal, line.offset, line.length, line.note)
        if builder.full:
            yield from builder.flush()
    yield from builder.flush()


def frame_paragraphs(stream: Stream, limits: Limits) -> Iterator[Frame]:
    """One record per run of lines that are not blank, joined by LF; its ordinal is that of its first line."""
    builder = Builder(limits)
    lines: list[Line] = []
    for line in decoded_lines(stream, limits, builder):
        blank = not line.text or line.text.isspace()
        if lines and (blank or line.ordinal != lines[-1].ordinal + 1 or line.offset - lines[0].offset > limits.record_bytes):
            _add_paragraph(builder, lines)
            lines = []
        if not blank:
            lines.append(line)
        if builder.full:
            yield from builder.flush()
    if lines:
        _add_paragraph(builder, lines)
    yield from builder.flush()


def _add_paragraph(builder: Builder, lines: list[Line]) -> None:
    first, last = lines[0], lines[-1]
    notes = "; ".join(dict.fromkeys(line.note for line in lines if line.note))
    text = "\n".join(line.text for line in lines)
    builder.add(text, first.ordinal, first.offset, last.offset + last.length - first.offset, notes or None)
