"""What a data folder holds: which file belongs to which source, and what belongs to none.

This is what `corpus sources` shows and where a build starts, so the order is the paths' own and the same everywhere. Nothing is passed over
in silence: a file that no source claims is listed, and a thing that should be a file and is not becomes a fault that the build turns
into a reject.
"""

from __future__ import annotations

import fnmatch
import os
import re
import stat
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from corpus.errors import DataError
from corpus.sources.base import Files, Source

_NOT_DATA = re.compile(r"\.|readme|licen[cs]e|sha256sums$|.*\.md$", re.IGNORECASE)
_WILD = re.compile(r"[*?\[]")


def is_data(path: str) -> bool:
    """Whether a relative path can hold data: nothing hidden on the way, and not a note beside the data (README*, LICENSE*, *.md …)."""
    folder, _, name = path.rpartition("/")
    return not _NOT_DATA.match(name) and not any(part.startswith(".") for part in folder.split("/"))


@dataclass(frozen=True, slots=True)
class Found:
    """A file: path relative to the data folder, and bytes."""

    path: str
    bytes: int


@dataclass(frozen=True, slots=True)
class Fault:
    """Something on the disk that cannot be read as a file.

    Attributes:
        path: relative to the data folder; bytes that are not UTF-8 are shown as escapes.
        source: the source whose file it should be; None when no source claims the path.
        reason: a key of `schema.REJECT_REASONS`.
        detail: what was found.
    """

    path: str
    source: str | None
    reason: str
    detail: str


@dataclass(frozen=True)
class Scan:
    """A data folder, sorted out. Everything is ordered by path.

    Attributes:
        root: the folder.
        files: by source name, in the registry's order; only sources of which something was found.
        unclaimed: files that no source claims.
        faults: what is not a readable file.
    """

    root: Path
    files: Mapping[str, tuple[Found, ...]]
    unclaimed: tuple[Found, ...]
    faults: tuple[Fault, ...]

    def of(self, name: str) -> tuple[Found, ...]:
        """The files of one source."""
        return self.files.get(name, ())

    @property
    def bytes(self) -> int:
        """Bytes of all claimed files."""
        return sum(f.bytes for files in self.files.values() for f in files)


class Claims:
    """`sources.claim`, for many paths: the same answers, from an index.

    Patterns are ordered once by weight, so that the first one that matches decides. A path is only held against the patterns whose
    last part can match its name: those with that very name, those with its ending, those with its first letter, and the few that
    say none of these.
    """

    def __init__(self, sources: Iterable[Source]) -> None:
        self._literal: dict[str, list[_Pattern]] = {}
        self._endings: dict[str, list[_Pattern]] = {}
        self._initials: dict[str, list[_Pattern]] = {}
        self._others: list[_Pattern] = []
        self._candidates: dict[tuple[str | None, str, str], tuple[_Pattern, ...]] = {}
        order = 0
        for source in sources:
            for files in source.files:
                pattern = _Pattern(files, source, order)
                order += 1
                group, key = pattern.bucket
                if group == "literal":
                    self._literal.setdefault(key, []).append(pattern)
                elif group == "ending":
                    self._endings.setdefault(key, []).append(pattern)
                elif group == "initial":
                    self._initials.setdefault(key, []).append(pattern)
                else:
                    self._others.append(pattern)

    def owner(self, path: str) -> Source | None:
        """The source that the relative POSIX `path` belongs to, or None."""
        name = path.rpartition("/")[2]
        ending = name[name.rfind(".") :] if "." in name else ""
        key = (name if name in self._literal else None, ending, name[:1])
        candidates = self._candidates.get(key)
        if candidates is None:
            groups = (self._literal.get(name, []), self._endings.get(ending, []), self._initials.get(name[:1], []), self._others)
            candidates = tuple(sorted((p for group in groups for p in group), key=lambda p: p.rank))
            self._candidates[key] = candidates
        return next((p.source for p in candidates if p.matches(path, name)), None)


class _Pattern:
    """One glob of one source, prepared."""

    def __init__(self, files: Files, source: Source, order: int) -> None:
        self.source = source
        self.rank = (tuple(-w for w in files.weight), order)
        self._files = files
        parts = files.glob.split("/")
        self._last = parts[-1]
        self._nested = len(parts) > 1
        self._wild = bool(_WILD.search(self._last))
        self._name = re.compile(fnmatch.translate(self._last))
        self._prefix = _WILD.split(self._last, maxsplit=1)[0] if self._wild else ""

    @cached_property
    def bucket(self) -> tuple[str, str]:
        """Which names this pattern can match at all: literal, ending, initial, or any."""
        if self._last == "**":  # also matches a path that ends before it
            return "any", ""
        if not self._wild:
            return "literal", self._last
        tail = re.split(r"[*?\]\[]", self._last)[-1]
        if "." in tail:
            return "ending", tail[tail.rfind(".") :]
        return ("initial", self._prefix[0]) if self._prefix else ("any", "")

    def matches(self, path: str, name: str) -> bool:
        """The same as `Files.matches`."""
        if self._last != "**" and not (name.startswith(self._prefix) and self._name.match(name)):
            return False
        return self._files.matches(path) if self._nested or self._last == "**" else True


def scan(data: Path, registry: Mapping[str, Source]) -> Scan:
    """Walks a data folder.

    Hidden files and folders are passed over, and so are notes beside the data (see `is_data`). A link is followed unless it leads
    out of the folder.

    Args:
        data: the folder.
        registry: the sources, by name.

    Raises:
        DataError: when the folder is missing, is no folder, or cannot be read.
    """
    if not data.is_dir():
        found = "it is not a folder" if data.exists() else "there is no such folder"
        way_out = "name the folder that holds the data with --data, or fill one with `corpus fetch NAME --data FOLDER`"
        raise DataError(f"data folder {data}: {found}; {way_out}")
    claims = Claims(registry.values())
    files: dict[str, list[Found]] = {}
    unclaimed: list[Found] = []
    faults: list[Fault] = []
    folders: list[tuple[str, str]] = []
    for entry in sorted(_walk(data), key=lambda e: e.path):
        shown = _shown(entry.path)
        owner = claims.owner(entry.path)
        name = owner.name if owner else None
        if entry.folder and not entry.problem:
            if name:
                folders.append((entry.path, name))
        elif entry.problem:
            faults.append(Fault(shown, name, entry.reason, entry.problem))
        elif shown != entry.path:
            faults.append(Fault(shown, name, "unreadable", "the name is not UTF-8; rename it"))
        elif name:
            files.setdefault(name, []).append(Found(entry.path, entry.bytes))
        else:
            unclaimed.append(Found(entry.path, entry.bytes))
    faults += _mistaken_folders(folders, files)
    return Scan(
        root=data,
        files={name: tuple(files[name]) for name in registry if name in files},
        unclaimed=tuple(unclaimed),
        faults=tuple(sorted(faults, key=lambda f: f.path)),
    )


def _mistaken_folders(folders: list[tuple[str, str]], files: Mapping[str, list[Found]]) -> Iterator[Fault]:
    """Folders with the name of a file, unless that source's files are found in them: then the name is no more than a name."""
    inside: dict[str, set[str]] = {}
    for name in {name for _, name in folders}:
        above: set[str] = set()
        for file in files.get(name, ()):
            parent = file.path.rpartition("/")[0]
            while parent and parent not in above:
                above.add(parent)
                parent = parent.rpartition("/")[0]
        inside[name] = above
    for path, name in folders:
        if path not in inside[name]:
            yield Fault(_shown(path), name, "not_a_file", "a folder, expected a file")


@dataclass(frozen=True, slots=True)
class _Entry:
    path: str
    bytes: int = 0
    folder: bool = False
    reason: str = ""
    problem: str = ""


def _walk(data: Path) -> Iterator[_Entry]:
    """Everything below `data` that is not hidden and not a note, in no particular order but with links decided by path order."""
    root = os.path.realpath(data)
    linked: set[tuple[int, int]] = set()
    stack: list[tuple[str, str]] = [("", os.fspath(data))]
    while stack:
        prefix, folder = stack.pop()
        try:
            with os.scandir(folder) as found:
                entries = sorted(found, key=lambda e: e.name)
        except OSError as e:
            if not prefix:
                raise DataError(f"data folder {data}: {e.strerror}; it must be readable") from e
            yield _Entry(prefix.rstrip("/"), folder=True, reason="unreadable", problem=f"the folder cannot be read: {e.strerror}")
            continue
        below: list[tuple[str, str]] = []
        for entry in entries:
            path = prefix + entry.name
            if entry.name.startswith("."):
                continue
            if entry.is_symlink():
                problem = _link_problem(entry.path, root, linked)
                if problem:
                    yield _Entry(path, reason="unreadable", problem=problem)
                    continue
            try:
                info = entry.stat()
            except OSError as e:
                yield _Entry(path, reason="unreadable", problem=f"the operating system refuses it: {e.strerror}")
                continue
            if stat.S_ISDIR(info.st_mode):
                yield _Entry(path, folder=True)
                below.append((path + "/", entry.path))
            elif not _NOT_DATA.match(entry.name):
                if stat.S_ISREG(info.st_mode):
                    yield _Entry(path, info.st_size)
                else:
                    yield _Entry(path, reason="not_a_file", problem="a socket, pipe or device, expected a file")
        stack += reversed(below)


def _link_problem(path: str, root: str, linked: set[tuple[int, int]]) -> str:
    """Why a link is not followed; empty when it is. Each folder is entered through one link at most: circles of links end."""
    try:
        target = os.path.realpath(path, strict=True)
        info = os.stat(target)
    except OSError as e:
        return f"a link that leads nowhere: {e.strerror}"
    if os.path.commonpath([root, target]) != root:
        return f"a link that leaves the data folder (to {_shown(target)}); copy the files, or name the folder they are in with --data"
    if stat.S_ISDIR(info.st_mode):
        if (info.st_dev, info.st_ino) in linked or os.path.commonpath([os.path.realpath(os.path.dirname(path)), target]) == target:
            return "a link to a folder that is read already"
        linked.add((info.st_dev, info.st_ino))
    return ""


def _shown(path: str) -> str:
    """A path as text: bytes that are not UTF-8 become escapes."""
    return os.fsencode(path).decode("utf-8", "backslashreplace")


def listing(registry: Mapping[str, Source], found: Scan | None = None) -> list[dict[str, Any]]:
    """The sources as plain values, for a table and for JSON.

    Args:
        registry: the sources, by name.
        found: a scan of the data folder; without one, `files`, `bytes` and `missing` are None.

    Returns:
        One dictionary per source, in the registry's order: name, about, address, license, kinds, languages, patterns, folder,
        files (count), bytes, missing (nothing was found), faults (count), fetch (whether `corpus fetch` gets it), get (how to).
    """
    out = []
    for name, source in registry.items():
        files = found.of(name) if found else ()
        out.append(
            {
                "name": name,
                "about": source.about,
                "address": source.address,
                "license": source.license,
                "kinds": [str(k) for k in source.kinds],
                "languages": list(source.languages),
                "patterns": [f.glob for f in source.files],
                "folder": source.folder,
                "files": len(files) if found else None,
                "bytes": sum(f.bytes for f in files) if found else None,
                "missing": not files if found else None,
                "faults": sum(f.source == name for f in found.faults) if found else None,
                "fetch": source.hub is not None,
                "get": f"corpus fetch {name}" if source.hub else source.obtain or f"download it by hand from {source.address}",
            }
        )
    return out
