"""Manifests: which partitions exist, what they were made from, and what their files must hash to.

One JSON lines file per stage, appended to by the one writer; a line counts when its checksum is right, so a torn last line is
nothing. The last line for a (key, fingerprint) wins. Readers trust manifests only: a file without a line does not exist.

A **fingerprint** is a hash of everything that can change a partition's bytes: the stage's version, the part of the recipe that
matters to it, what it reads, and the versions of the libraries that write it. The parts are kept in the line, so that `corpus
plan` can say what changed.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any


@dataclass(frozen=True, slots=True)
class FileEntry:
    """One file of a partition: the table it belongs to, its place below the warehouse, and what it must be."""

    table: str
    path: str
    rows: int
    bytes: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Partition:
    """What one task made."""

    stage: str
    key: str
    fingerprint: str
    parts: Mapping[str, Any]
    files: tuple[FileEntry, ...] = ()
    stats: Mapping[str, Any] = field(default_factory=dict)

    def of(self, table: str) -> list[FileEntry]:
        """The files of one table."""
        return [f for f in self.files if f.table == table]

    def one(self, table: str) -> FileEntry:
        """The only file of a table.

        Raises:
            LookupError: when there is none or more than one.
        """
        found = self.of(table)
        if len(found) != 1:
            raise LookupError(f"{self.stage}/{self.key} has {len(found)} files of table {table}, expected one")
        return found[0]


def fingerprint(parts: Mapping[str, Any]) -> str:
    """32 hex characters over the parts."""
    canonical = json.dumps(parts, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    return hashlib.blake2b(canonical.encode(), digest_size=16).hexdigest()


def differences(old: Mapping[str, Any], new: Mapping[str, Any], *, most: int = 3) -> str:
    """What differs between two sets of fingerprint parts, in words: "clean.max_chars 500 → 400", "input a.json changed".

    The recipe's values come first: they are the cause where inputs that were made with them are the effect.
    """
    settings = [
        list(_compare(key, old.get(key), new.get(key))) if key in old and key in new else [f"{key} is {'new' if key in new else 'gone'}"]
        for key in sorted({*old, *new} - {"inputs"})
    ]
    found = [difference for each in settings for difference in each] + _inputs(old.get("inputs", {}), new.get("inputs", {}))
    more = f"; and {len(found) - most} more" if len(found) > most else ""
    return "; ".join(found[:most]) + more


def _compare(path: str, old: Any, new: Any) -> Iterable[str]:
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        for key in sorted({*old, *new}):
            inner = f"{path}.{key}"
            if key not in old:
                yield f"{inner} is new"
            elif key not in new:
                yield f"{inner} is gone"
            else:
                yield from _compare(inner, old[key], new[key])
    elif isinstance(old, list) and isinstance(new, list) and all(isinstance(x, str) for x in [*old, *new]) and {*old} != {*new}:
        yield from (f"{path} without {x}" for x in old if x not in new)
        yield from (f"{path} with {x}" for x in new if x not in old)
    elif old != new:
        yield f"{path} changed" if len(str(old)) + len(str(new)) > 120 else f"{path} {old} → {new}"


def _inputs(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """What differs between inputs: by name where it is one or two, else counted."""
    kinds = {
        "changed": [k for k in new if k in old and old[k] != new[k]],
        "new": [k for k in new if k not in old],
        "gone": [k for k in old if k not in new],
    }
    if sum(map(len, kinds.values())) <= _NAMED:
        return [f"input {name} {kind}" for kind, names in kinds.items() for name in sorted(names)]
    return [f"{len(names):,} inputs {kind}" for kind, names in kinds.items() if names]


_NAMED = 2


class Manifests:
    """All manifest lines of a warehouse, in memory; appended to through :meth:`append` by the writer that holds the lock."""

    def __init__(self, root: Path) -> None:
        self._folder = root / "manifests"
        self._known: dict[tuple[str, str, str], Partition] = {}
        if self._folder.is_dir():
            for path in sorted(self._folder.glob("*.jsonl")):
                self._read(path)

    def _read(self, path: Path) -> None:
        for line in path.read_bytes().split(b"\n"):
            partition = _decode(line)
            if partition is not None:
                self._known[partition.stage, partition.key, partition.fingerprint] = partition

    def get(self, stage: str, key: str, fingerprint: str) -> Partition | None:
        """The partition with exactly this fingerprint, if there is one."""
        return self._known.get((stage, key, fingerprint))

    def all(self) -> list[Partition]:
        """Every partition with a line."""
        return list(self._known.values())

    def append(self, partition: Partition) -> None:
        """Makes a partition count, durably."""
        self._folder.mkdir(parents=True, exist_ok=True)
        path = self._folder / f"{partition.stage}.jsonl"
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644)
        try:
            size = os.fstat(fd).st_size
            torn = size > 0 and os.pread(fd, 1, size - 1) != b"\n"
            _write_all(fd, (b"\n" if torn else b"") + _encode(partition))
            os.fsync(fd)
        finally:
            os.close(fd)
        self._known[partition.stage, partition.key, partition.fingerprint] = partition

    def forget(self, keep: Iterable[Partition]) -> None:
        """Rewrites the manifests so that only `keep` is left; one that is so already stays as it is."""
        from corpus.warehouse.commit import write_bytes

        kept = {(p.stage, p.key, p.fingerprint): p for p in keep}
        stages = {stage for stage, _, _ in self._known}
        for stage in sorted(stages):
            path = self._folder / f"{stage}.jsonl"
            lines = b"".join(_encode(p) for k, p in self._known.items() if k[0] == stage and k in kept)
            if path.read_bytes() != lines:
                write_bytes(path, lines)
        self._known = kept


def _write_all(fd: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]


def _encode(partition: Partition) -> bytes:
    body = json.dumps(asdict(partition), sort_keys=True, ensure_ascii=False, separators=(",", ":")).encode()
    return hashlib.blake2b(body, digest_size=8).hexdigest().encode() + b" " + body + b"\n"


def _decode(line: bytes) -> Partition | None:
    checksum, _, body = line.partition(b" ")
    if not body or hashlib.blake2b(body, digest_size=8).hexdigest().encode() != checksum:
        return None
    loaded = json.loads(body)
    files = tuple(FileEntry(**f) for f in loaded.pop("files"))
    return Partition(files=files, **loaded)
