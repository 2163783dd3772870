"""Reads bytes through `open_file` and checks what must hold for every file: the account of records, bytes and positions."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from corpus.sources.base import Frame, Rejected
from corpus.sources.framing import Limits, Part, open_file

SMALL = (1, 3, 7, 64, 1 << 20)


@dataclass
class Seen:
    """Everything that came out of one logical file."""

    name: str
    container: str
    encoding: str | None
    values: list[Any] = field(default_factory=list)
    ordinals: list[int] = field(default_factory=list)
    offsets: list[int | None] = field(default_factory=list)
    lengths: list[int | None] = field(default_factory=list)
    notes: dict[int, str] = field(default_factory=dict)
    rejects: list[Rejected] = field(default_factory=list)
    records: int = 0
    bytes: int = 0

    def take(self, frame: Frame) -> None:
        before = len(self.values)
        n = len(frame.values)
        assert len(frame.ordinals) == n
        assert frame.offsets is None or len(frame.offsets) == n
        assert frame.lengths is None or len(frame.lengths) == n
        assert frame.raws is None or len(frame.raws) == n
        assert frame.records == n + len(frame.rejects)
        self.values += frame.values
        self.ordinals += frame.ordinals
        self.offsets += frame.offsets if frame.offsets is not None else [None] * n
        self.lengths += frame.lengths if frame.lengths is not None else [None] * n
        self.notes |= {before + at: note for at, note in frame.notes.items()}
        self.rejects += frame.rejects
        self.records += frame.records
        self.bytes += frame.bytes

    @property
    def reasons(self) -> list[str]:
        return [r.reason for r in self.rejects]

    def outcome(self) -> tuple[Any, ...]:
        """All that may not depend on how the file was read."""
        rejects = [(r.record, r.offset, r.length, r.reason, r.raw) for r in self.rejects]
        return self.values, self.ordinals, self.offsets, self.lengths, self.notes, rejects


def read_path(path: Path, format: Any = "records", *, part: Part | None = None, limits: Limits | None = None) -> list[Seen]:
    found = []
    for opened in open_file(path, path.name, format, part=part, limits=limits or Limits()):
        seen = Seen(opened.name, opened.container, opened.encoding)
        for frame in opened.frames:
            seen.take(frame)
        found.append(seen)
    return found


def read(path: Path, data: bytes, format: Any = "records", **limits: int) -> Seen:
    """The only logical file in `data`, which is written to `path`."""
    path.write_bytes(data)
    (seen,) = read_path(path, format, limits=Limits(**limits))
    assert seen.bytes == len(data)
    return seen


def read_all_ways(path: Path, data: bytes, format: Any = "records", **limits: int) -> Seen:
    """The same with blocks of all sizes, which must not matter."""
    first = read(path, data, format, **limits)
    for size in SMALL:
        again = read(path, data, format, block_bytes=size, **limits)
        assert again.outcome() == first.outcome(), f"blocks of {size} bytes"
    return first
