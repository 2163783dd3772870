"""A framer for text files whose records are pairs of lines: a question, and below it the answer."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from corpus.sources.base import RAW_BOUND, Frame, Rejected


@dataclass(frozen=True, slots=True)
class _Line:
    """A line of a frame; `text` is None for one that could not be decoded and is already among the frame's rejects."""

    ordinal: int
    text: str | None = None
    offset: int | None = None
    length: int | None = None
    note: str | None = None
    raw: bytes | None = None


class LinePairs:
    """Framer over `lines`: folds every two adjacent lines into one value, a list of both.

    A line without a partner is rejected as an orphan. A blank line between two lines parts them, and a line that could not be decoded takes
    its place in the count, so that one missing line does not give every later question the answer of its neighbour.
    """

    base = "lines"

    def __call__(self, frames: Iterable[Frame]) -> Iterator[Frame]:
        """Yields one frame for each of `frames`, and one more for a line that is left at the end."""
        held: _Line | None = None
        for frame in frames:
            out = Frame(
                ordinals=[],
                offsets=None if frame.offsets is None else [],
                lengths=None if frame.lengths is None else [],
                raws=None if frame.raws is None else [],
                rejects=list(frame.rejects),
                records=frame.records + _carried(held),
                bytes=frame.bytes,
            )
            for line in _lines(frame):
                if held is not None and line.ordinal == held.ordinal + 1:
                    _fold(held, line, out)
                    held = None
                else:
                    _orphan(held, out)
                    held = line
            out.records -= _carried(held)
            yield out
        if _carried(held):
            out = Frame(records=1)
            _orphan(held, out)
            yield out


def _carried(held: _Line | None) -> int:
    return 1 if held is not None and held.text is not None else 0


def _lines(frame: Frame) -> list[_Line]:
    lines = [
        _Line(
            ordinal,
            text,
            None if frame.offsets is None else frame.offsets[at],
            None if frame.lengths is None else frame.lengths[at],
            frame.notes.get(at),
            None if frame.raws is None else frame.raws[at],
        )
        for at, (text, ordinal) in enumerate(zip(frame.values, frame.ordinals, strict=True))
    ]
    lines += [_Line(rejected.record) for rejected in frame.rejects]
    return sorted(lines, key=lambda line: line.ordinal)


def _fold(first: _Line, second: _Line, out: Frame) -> None:
    if first.text is None or second.text is None:
        _orphan(first, out)
        _orphan(second, out)
        return
    at = len(out.values)
    out.values.append([first.text, second.text])
    _append(out.ordinals, first.ordinal)
    _append(out.offsets, first.offset)
    if first.offset is not None and second.offset is not None and second.length is not None:
        _append(out.lengths, second.offset + second.length - first.offset)
    else:
        _append(out.lengths, None)
    _append(out.raws, None if first.raw is None or second.raw is None else first.raw + b"\n" + second.raw)
    out.groups[at] = [first.ordinal, second.ordinal]
    notes = list(dict.fromkeys(note for note in (first.note, second.note) if note is not None))
    if notes:
        out.notes[at] = "; ".join(notes)


def _append(column: Any, value: Any) -> None:
    if column is not None:
        column.append(value)


def _orphan(line: _Line | None, out: Frame) -> None:
    if line is None or line.text is None:
        return
    raw = line.raw if line.raw is not None else line.text.encode()
    detail = "found a line without a neighbour, expected pairs of a question line (title,ask) and an answer line"
    out.rejects.append(Rejected(line.ordinal, line.offset, line.length, "orphan", detail, raw[:RAW_BOUND]))
