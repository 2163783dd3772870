"""Wikipedia's multistream dumps: one file of many bzip2 streams, of which several workers each read a part.

The first stream holds the head of the XML, each further one a hundred pages, the last one the end tag. A stream begins at a whole byte
with "BZh", a level and the mark of a block, so that it can be found without decompressing what comes before it.

**Numbers.** How many pages precede a stream is known only to who has decompressed them all. So a record's number is made of what is
known at once: the byte at which its stream begins, times `RECORDS_PER_BYTE`, plus its ordinal within the stream. It is unique, rises
with the file, is the same however the file is cut, and leads back to the page: `corpus why` opens one stream, not the whole dump.
In a file of a single stream it is the plain ordinal. Offsets count bytes of the decompressed stream, for the same reason.

**Parts.** A page belongs to the part in which the stream begins that holds its first byte, and so does what stands behind it up to the
next page. Dumps that were packed without regard to pages (pbzip2) are cut just as well: a part reads on past its end for the last page,
and begins with the first page that begins in it.

**Damage.** A stream that cannot be decompressed is one reject, together with the page that it cuts off; reading goes on at the next
beginning of a stream.
"""

from __future__ import annotations

import bz2
import re
from collections import deque
from collections.abc import Iterator

from corpus.sources.base import Frame, Rejected
from corpus.sources.framing.stream import Blocks, Counted, Fault, Limits, Part, Stream
from corpus.sources.framing.xml import RECORDS_PER_BYTE, Export

START = re.compile(rb"BZh[1-9](?:1AY&SY|\x17rE8P\x90)")
"""How a stream begins: with a block, or at once with the end mark. 80 bits, which random data have once in 10^24 bytes."""
START_BYTES = 10
END_BYTES = 11
"""What a stream ends with: a mark of 48 bits and a checksum of 32, followed by zero bits up to a whole byte."""
_END_MARK = 0x177245385090

_PIECE = 1 << 10
"""Read at a time, up to multiples of it. A decoder that meets damage throws away what it decoded in the same call: that should be little,
and must not depend on where reading began."""
_OUTPUT = 64 << 20
"""Decompressed at a time: more than a block, so that no byte of a block is handed out before its checksum was compared. Usually 900 kB."""
_BLOCK = 1 << 20
_MOST_FAULTS = 1000
"""After so many damaged streams a part is given up: a file that is made of beginnings must not be decompressed from each of them."""


def ends_stream(data: bytes) -> bool:
    """Whether `END_BYTES` bytes are the end of a stream, as far as they show it."""
    bits = int.from_bytes(data, "big")
    return any(bits >> padding + 32 & (1 << 48) - 1 == _END_MARK and not bits & (1 << padding) - 1 for padding in range(8))


def stream_of(record: int) -> Part:
    """The part of the file that is the one stream in which the record with this number begins."""
    start = record // RECORDS_PER_BYTE
    return Part(start, start + 1, start * RECORDS_PER_BYTE)


def frame_streams(file: Counted, name: str, part: Part, limits: Limits) -> Iterator[Frame]:
    """The pages of a part of a bzip2 file, and rejects for whatever is damaged there.

    Args:
        file: the compressed file.
        name: of the logical file.
        part: of it, in compressed bytes: from the beginning of one stream to that of another.
        limits: bounds and grain.
    """
    reading = _Reading(file, name, 0, part.end, limits)
    pages = reading.export.head()  # also for a part that begins later: each page is told of which wiki it is
    if part.start == 0:
        file.restart(0, part.end)
        yield from reading.export.pages() if pages else reading.export.flush()
        if not pages and not reading.export.ordinal:
            yield Frame(rejects=[Rejected(0, None, None, "empty_file", "the file has no record", b"")], records=1)
    elif pages:
        file.restart(part.start, part.end)
        reading = _Reading(file, name, part.start, part.end, limits, reading.export)
        yield from reading.export.fragment()
    if not pages:
        return
    for _ in range(_MOST_FAULTS):
        if reading.stream.fault is None:
            return
        yield from reading.last_words()
        start = _next_start(file, reading.streams.current + 1, part.end)
        if start is None:
            return
        reading = _Reading(file, name, start, part.end, limits, reading.export)
        yield from reading.export.fragment()
    if reading.stream.fault is not None:
        reading.stream.fault.detail += f"; what follows was not read, behind {_MOST_FAULTS:,} damaged streams"
        yield from reading.last_words()


def _next_start(file: Counted, at: int, end: int | None) -> int | None:
    """Where the first stream begins that does so at `at` or later, and before `end`."""
    try:
        file.seek(at)
        data = b""
        while block := file.read(_BLOCK):
            data = data[-START_BYTES + 1 :] + block
            if found := START.search(data):
                start = file.tell() - len(data) + found.start()
                return start if end is None or start < end else None
            if end is not None and file.tell() >= end + START_BYTES:
                return None
    except OSError:
        pass  # the fault that made us look has been told of
    return None


class _Reading:
    """One go over the file, from the beginning of a stream up to a fault or the end of the part."""

    def __init__(self, file: Counted, name: str, start: int, end: int | None, limits: Limits, head: Export | None = None) -> None:
        self.streams = _Streams(file, start, end)
        self.stream = Stream(name, Blocks(iter(self.streams)), end=end)
        self.stream.begun = self.streams.begun
        self.export = Export(self.stream, limits, head)

    def last_words(self) -> Iterator[Frame]:
        """Rejects for the fault that ended this: for the page that it cuts off, and for the stream where that is another one."""
        fault, lost, current, end = self.stream.fault, self.stream.lost, self.streams.current, self.stream.end
        if fault is None:
            return
        rejects = []
        if lost is not None:
            rejects.append(Rejected(lost.record, lost.offset, lost.length, fault.reason, fault.detail, lost.raw))
        if (lost is None or lost.record // RECORDS_PER_BYTE != current) and (end is None or current < end):
            ordinal = self.export.ordinal
            record = ordinal if ordinal // RECORDS_PER_BYTE == current else current * RECORDS_PER_BYTE
            rejects.append(Rejected(record, None, None, fault.reason, fault.detail, b""))
        if rejects:
            yield Frame(rejects=rejects, records=len(rejects))


class _Streams:
    """What the streams of a file decompress to.

    Attributes:
        begun: (bytes decompressed before it, byte of the file at which it begins) of each stream, as it is begun.
        current: where the stream begins that was begun last, or what stands in the place of one.
    """

    def __init__(self, file: Counted, start: int, end: int | None) -> None:
        self._file = file
        self._end = end
        self._out = 0
        self.begun: deque[tuple[int, int]] = deque()
        self.current = start

    def _read(self, size: int = 0) -> bytes:
        try:
            return self._file.read(size or _PIECE - self._file.tell() % _PIECE)
        except OSError as e:
            raise Fault("unreadable", f"reading stopped: {e.strerror or e}") from e

    def _cut(self) -> int | None:
        """The end of the part, if a stream seems to begin there."""
        if self._end is None:
            return None
        self._file.seek(self._end)
        return self._end if START.match(self._read(START_BYTES)) else None

    def __iter__(self) -> Iterator[bytes]:
        cut = self._cut()
        self._file.seek(self.current)
        data = self._read()
        while data := self._at_next(data):
            decoder = bz2.BZ2Decompressor()
            while not decoder.eof:
                if not data and decoder.needs_input and not (data := self._read()):
                    raise Fault("truncated", f"the file ends within the bzip2 stream at byte {self.current:,}")
                try:
                    out = decoder.decompress(data, _OUTPUT)
                except (OSError, EOFError) as e:
                    raise Fault("corrupt", f"the bzip2 stream at byte {self.current:,} is damaged: {e}") from e
                data = b""
                self._out += len(out)
                for at in range(0, len(out), _BLOCK):
                    yield out[at : at + _BLOCK]
            data = decoder.unused_data
            if cut is not None and self.current < cut < self._file.tell() - len(data):
                # Another part begins there. Only a file that was made for it has a stream within a stream.
                raise Fault("corrupt", f"the bzip2 stream at byte {self.current:,} holds what looks like another at {cut:,}")

    def _at_next(self, data: bytes) -> bytes:
        """What is known of the next stream, of which `data` may be the beginning; empty at the end of the file."""
        # Padding with zeros is what tape tools leave behind a stream.
        while len(data := data.lstrip(b"\0")) < START_BYTES and (more := self._read()):
            data += more
        if data:
            self.current = self._file.tell() - len(data)
            if not data.startswith(b"BZh"):
                detail = f"what follows the end of a bzip2 stream, at byte {self.current:,}, is no bzip2 stream; found {data[:8]!r}"
                raise Fault("corrupt", detail)
            self.begun.append((self._out, self.current))
        return data
