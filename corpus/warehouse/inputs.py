"""The index of upstream files: a digest for each, and where a large one can be cut.

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

from corpus.warehouse.commit import write_bytes

CUT_BYTES = 32 << 20
"""Distance of the cuts of a large file. Small enough that a file of 100 MB keeps two workers busy to the end, large enough that 100 GB are
some three thousand partitions."""

_BLOCK = 4 << 20


@dataclass(frozen=True, slots=True)
class Input:
    """What is known of an upstream file.

    Attributes:
        digest: sha256 of its bytes; empty for what is not a readable file.
        bytes: its size.
        cuts: (offset, lines before it) of line starts that begin with "{", about every `CUT_BYTES`.
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
            mark = [stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns, stat.st_ino]
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


def digest_file(path: Path, *, cut_bytes: int = CUT_BYTES) -> Input:
    """Reads a file once for its digest and its cuts.

    Raises:
        OSError: when it cannot be read.
    """
    h = hashlib.sha256()
    cuts: list[tuple[int, int]] = []
    position = lines = 0
    target = cut_bytes
    last = b""
    with path.open("rb", buffering=0) as f:
        while block := f.read(_BLOCK):
            h.update(block)
            if position + len(block) > target:
                joined = last + block  # a line end may be the last byte of the block before
                at = joined.find(b"\n{", max(0, target - position))
                if at >= 0:
                    start = position - len(last) + at + 1
                    cuts.append((start, lines + block.count(b"\n", 0, at + 1 - len(last))))
                    target = start + cut_bytes
            lines += block.count(b"\n")
            position += len(block)
            last = block[-1:]
    if cuts and position - cuts[-1][0] < cut_bytes // 4:
        cuts.pop()  # a short tail is not worth a partition of its own
    return Input(h.hexdigest(), position, tuple(cuts))
