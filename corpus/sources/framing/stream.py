"""Bytes of one logical file, block by block, with an account of what was taken from disk.

Every layer (disk, decompression, transcoding) is a generator of blocks; a layer that cannot go on raises :class:`Fault`. The
outermost layer is :class:`Stream`: there a fault ends the bytes like the end of the file does, and stays in `fault`, so that framers
hand out everything that came before it.
"""

from __future__ import annotations

import io
import os
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import BinaryIO

from corpus.sources.base import RAW_BOUND, Frame, Rejected


@dataclass(frozen=True, slots=True)
class Part:
    """A byte range of a file, so that several workers can share it: of uncompressed JSON lines, cut at line ends, or of a Wikipedia dump
    in many bzip2 streams, cut where streams begin.

    `first` is the number of its first record; `end` is exclusive, None for the end of the file.
    """

    start: int
    end: int | None
    first: int


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds that hostile files cannot pass, and the grain of reading.

    Attributes:
        record_bytes: of one record.
        archive_bytes: of all members of an archive together, expanded.
        archive_members: members of an archive.
        joined_lines, joined_bytes: how far a JSON record that is spread over lines is followed.
        quoted_lines, quoted_bytes: after how much of a quoted CSV field it is asked whether its end is missing.
        block_bytes: read at a time. What comes out does not depend on it; only where frames are cut does.
        frame_records: most records in a frame.
    """

    record_bytes: int = 64 << 20
    archive_bytes: int = 64 << 30
    archive_members: int = 1_000_000
    joined_lines: int = 64
    joined_bytes: int = 1 << 20
    quoted_lines: int = 10_000
    quoted_bytes: int = 1 << 20
    block_bytes: int = 1 << 20
    frame_records: int = 8192


class Fault(Exception):
    """The bytes end here, before the file does. `reason` is a key of `schema.REJECT_REASONS`."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(reason, detail)
        self.reason = reason
        self.detail = detail


class Blocks:
    """An iterator of byte blocks whose beginning can be looked at without taking it."""

    def __init__(self, source: Iterator[bytes]) -> None:
        self._source = source
        self._ahead: deque[bytes] = deque()
        self._size = 0
        self.fault: Fault | None = None
        self.skipped = 0

    def peek(self, size: int) -> bytes:
        """The first `size` bytes, or fewer where there are no more."""
        while self._size < size and self.fault is None:
            try:
                block = next(self._source, None)
            except Fault as fault:
                self.fault = fault
                break
            if block is None:
                break
            self._ahead.append(block)
            self._size += len(block)
        return b"".join(self._ahead)[:size]

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        if self._ahead:
            block = self._ahead.popleft()
            self._size -= len(block)
            return block
        if self.fault is not None:
            raise self.fault
        return next(self._source)

    def rest(self) -> Iterator[bytes]:
        """All blocks that were not taken, up to the end or a fault."""
        try:
            yield from self
        except Fault:
            return

    def skip(self, size: int) -> None:
        """Drops the first `size` bytes, which have been looked at."""
        while size and self._ahead:
            block = self._ahead.popleft()
            if len(block) > size:
                self._ahead.appendleft(block[size:])
            taken = min(size, len(block))
            self.skipped += taken
            self._size -= taken
            size -= taken


class Counted(io.RawIOBase):
    """A file on disk that knows how much of it was read."""

    def __init__(self, file: BinaryIO) -> None:
        super().__init__()
        self._file = file
        self._left = os.fstat(file.fileno()).st_size
        self._read = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        block = self.read(len(buffer))
        buffer[: len(block)] = block
        return len(block)

    def read(self, size: int = -1) -> bytes:
        """Up to `size` bytes; not by way of `readinto`, which would copy them twice more."""
        block = self._file.read(size)
        self._read += len(block)
        return block

    def seek(self, offset: int, whence: int = 0) -> int:
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        return self._file.tell()

    def restart(self, start: int, end: int | None) -> None:
        """Counts anew, for the bytes from `start` to `end`."""
        self._left = max(0, (end if end is not None else os.fstat(self._file.fileno()).st_size) - start)
        self._read = 0

    def taken(self) -> int:
        """Bytes read since this was last asked; over all answers never more than the file has."""
        taken, self._read = min(self._read, self._left), 0
        self._left -= taken
        return taken

    def rest(self) -> int:
        """What no answer has told of yet."""
        left, self._left, self._read = self._left, 0, 0
        return left


class Disk:
    """A file as blocks."""

    def __init__(self, file: Counted, block_bytes: int) -> None:
        self._file = file
        self._block_bytes = block_bytes

    def __iter__(self) -> Iterator[bytes]:
        while True:
            try:
                block = self._file.read(self._block_bytes)
            except OSError as e:
                raise Fault("unreadable", f"reading stopped: {e.strerror or e}") from e
            if not block:
                return
            yield block


class Reader(io.RawIOBase):
    """Blocks as a file object that can be read forwards, for libraries that want one."""

    def __init__(self, blocks: Iterator[bytes]) -> None:
        super().__init__()
        self._blocks = blocks
        self._rest = memoryview(b"")
        self.fault: Fault | None = None

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        if not self._rest:
            try:
                self._rest = memoryview(next(self._blocks, b""))
            except Fault as fault:
                self.fault = fault
                return 0
        size = min(len(buffer), len(self._rest))
        buffer[:size] = self._rest[:size]
        self._rest = self._rest[size:]
        return size


class Stream:
    """What a framer reads: text bytes (UTF-8, or GB18030 where `encoding` says so) without a byte order mark.

    Attributes:
        name: of the logical file, for messages.
        encoding: "utf-8" or "gb18030".
        offset: of the next block in the decompressed, transcoded file.
        line: ordinal of the line that begins there.
        begin, end: records that begin before or not before these offsets belong to somebody else.
        begun: of the compressed streams that the bytes come from and that no framer has come to yet, (offset, byte of the file).
            Where there are any, `end` is a byte of the file too.
        fault: why the bytes ended before the file did.
        lost: the record that the fault cut off.
    """

    def __init__(
        self, name: str, blocks: Blocks, encoding: str = "utf-8", *, offset: int = 0, line: int = 0, begin: int = 0, end: int | None = None
    ) -> None:
        self.name = name
        self.blocks = blocks
        self.encoding = encoding
        self.offset = offset
        self.line = line
        self.begin = begin
        self.end = end
        self.begun: deque[tuple[int, int]] = deque()
        self.fault: Fault | None = None
        self.lost: Rejected | None = None

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        if self.fault is not None:
            raise StopIteration
        try:
            block = next(self.blocks)
        except Fault as fault:
            self.fault = fault
            raise StopIteration from None
        self.offset += len(block)
        return block

    def lose(self, record: int, offset: int, raw: bytes) -> None:
        """Says which incomplete record the fault cut off, so that one reject tells of both."""
        self.lost = Rejected(record, offset, len(raw), "", "", raw[:RAW_BOUND])

    def last_word(self, records: int) -> Frame | None:
        """After the last frame: a frame with the reject that stands for the fault. `records` is the ordinal if no record was cut off."""
        if self.fault is None:
            return None
        lost = self.lost or Rejected(records, None, None, "", "", b"")
        reject = Rejected(lost.record, lost.offset, lost.length, self.fault.reason, self.fault.detail, lost.raw)
        return Frame(rejects=[reject], records=1)


class Builder:
    """Collects records one by one until they are a frame's worth."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._size = 0
        self._frame = Frame(ordinals=[], offsets=[], lengths=[])

    def add(self, value: object, ordinal: int, offset: int, length: int, note: str | None = None) -> None:
        """Adds a decoded record."""
        frame = self._frame
        if note is not None:
            frame.notes[len(frame.values)] = note
        frame.values.append(value)
        frame.ordinals.append(ordinal)  # type: ignore[attr-defined]
        frame.offsets.append(offset)  # type: ignore[union-attr]
        frame.lengths.append(length)  # type: ignore[union-attr]
        frame.records += 1
        self._size += length

    def reject(self, record: int, offset: int, length: int, reason: str, detail: str, raw: bytes) -> None:
        """Adds a record that could not be decoded."""
        self._frame.rejects.append(Rejected(record, offset, length, reason, detail, bytes(raw[:RAW_BOUND])))
        self._frame.records += 1
        self._size += min(length, RAW_BOUND)

    @property
    def full(self) -> bool:
        """Whether it is time to flush."""
        return self._size >= self._limits.block_bytes or self._frame.records >= self._limits.frame_records

    def flush(self) -> Iterator[Frame]:
        """Yields what was collected, if anything."""
        if self._frame.records:
            frame, self._frame, self._size = self._frame, Frame(ordinals=[], offsets=[], lengths=[]), 0
            yield frame


Framer = Callable[[Stream, Limits], Iterator[Frame]]
