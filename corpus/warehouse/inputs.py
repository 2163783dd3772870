"""The index of upstream files: a digest for each, and where a large one can be cut.

Lines are cut where one begins with "{", bzip2 files where a stream begins; what the file holds is not known here. The beginning of a
stream is believed where the ten bytes that open one follow the eleven that close one: 128 bits, which no file has by chance.

A file's identity is its content, so that touching or renaming it changes nothing that does not depend on its name. Reading 100 GB
again to find that nothing has changed would take minutes; size, times and inode are remembered, and a file is read again only
when one of them differs.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from corpus.sources.framing import compression
from corpus.sources.framing.multistream import END_BYTES, START, START_BYTES, ends_stream
from corpus.sources.framing.xml import RECORDS_PER_BYTE
from corpus.warehouse.commit import write_bytes

CUT_BYTES = 32 << 20
"""Distance of the cuts of a large file. Small enough that a file of 100 MB keeps two workers busy to the end, large enough that 100 GB are
some three thousand partitions."""

STREAM_CUT_BYTES = 8 << 20
"""The same for bzip2 files, of which 8 MB are some 30 MB of text and the work of seconds."""

_BLOCK = 4 << 20
_VERSION = 2
"""Of what is remembered: raised when the same file gives other cuts."""


@dataclass(frozen=True, slots=True)
class Input:
    """What is known of an upstream file.

    Attributes:
        digest: sha256 of its bytes; empty for what is not a readable file.
        bytes: its size.
        cuts: (offset, number of the first record there): of line starts that begin with "{", about every `CUT_BYTES`, where records are
            lines; of a bzip2 file, where streams begin, about every `STREAM_CUT_BYTES`.
    """

    digest: str
    bytes: int
    cuts: tuple[tuple[int, int], ...] = ()


class InputIndex:
    """Remembers :class:`Input` by path and stat, in `inputs.json` of the warehouse."""

    def __init__(self, root: Path) -> None:
        self._path = root / "inputs.json"
        self._known: dict[str, Any] = {}
        self._changed = False
        try:
            loaded = json.loads(self._path.read_bytes())
        except (OSError, ValueError):
            loaded = {}  # a cache: without it, files are read again
        if isinstance(loaded, dict):
            self._known = loaded

    def look(self, path: Path) -> Input:
        """The input at `path`; something unreadable has no digest, and parsing it will say why."""
        try:
            stat = path.stat()
            if not path.is_file():
                return Input("", 0)
            mark = [_VERSION, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns, stat.st_ino]
            key = os.path.abspath(path)
            known = self._known.get(key)
            if isinstance(known, list) and known[:1] == [mark]:
                with contextlib.suppress(LookupError, TypeError, ValueError):  # not what this version writes
                    return Input(str(known[1]["digest"]), int(known[1]["bytes"]), tuple((int(a), int(b)) for a, b in known[1]["cuts"]))
            found = digest_file(path)
        except OSError:
            return Input("", 0)
        self._known[key] = [mark, asdict(found)]
        self._changed = True
        return found

    def save(self) -> None:
        """Writes the index when it changed."""
        if self._changed:
            write_bytes(self._path, json.dumps(self._known, ensure_ascii=False).encode())
            self._changed = False


def digest_file(path: Path, *, cut_bytes: int = CUT_BYTES, stream_cut_bytes: int = STREAM_CUT_BYTES) -> Input:
    """Reads a file once for its digest and its cuts.

    Raises:
        OSError: when it cannot be read.
    """
    h = hashlib.sha256()
    position = 0
    with path.open("rb", buffering=0) as f:
        packed = compression.sniff(f.read(START_BYTES)) == "bzip2"
        f.seek(0)
        cutter = _StreamCuts(stream_cut_bytes) if packed else _LineCuts(cut_bytes)
        while block := f.read(_BLOCK):
            h.update(block)
            cutter.take(block)
            position += len(block)
    cuts = cutter.cuts
    if cuts and position - cuts[-1][0] < cutter.distance // 4:
        cuts.pop()  # a short tail is not worth a partition of its own
    return Input(h.hexdigest(), position, tuple(cuts))


class _LineCuts:
    """Finds line starts, and counts the lines before them."""

    def __init__(self, distance: int) -> None:
        self.distance = distance
        self.cuts: list[tuple[int, int]] = []
        self._target = distance
        self._position = self._lines = 0
        self._last = b""

    def take(self, block: bytes) -> None:
        """Looks at the next bytes of the file."""
        if self._position + len(block) > self._target:
            joined = self._last + block  # a line end may be the last byte of the block before
            at = joined.find(b"\n{", max(0, self._target - self._position))
            if at >= 0:
                start = self._position - len(self._last) + at + 1
                self.cuts.append((start, self._lines + block.count(b"\n", 0, at + 1 - len(self._last))))
                self._target = start + self.distance
        self._lines += block.count(b"\n")
        self._position += len(block)
        self._last = block[-1:]


class _StreamCuts:
    """Finds where a bzip2 stream ends and another begins. Only what is behind the target is searched, at most a stream in each part."""

    def __init__(self, distance: int) -> None:
        self.distance = distance
        self.cuts: list[tuple[int, int]] = []
        self._target = distance
        self._position = 0
        self._last = b""

    def take(self, block: bytes) -> None:
        """Looks at the next bytes of the file."""
        joined = self._last + block
        before = self._position - len(self._last)
        while found := START.search(joined, max(END_BYTES, self._target - before)):
            at = found.start()
            if ends_stream(joined[at - END_BYTES : at]):
                self.cuts.append((before + at, (before + at) * RECORDS_PER_BYTE))
                self._target = before + at + self.distance
            else:
                self._target = before + at + 1
        self._position += len(block)
        self._last = joined[-(END_BYTES + START_BYTES - 1) :]
