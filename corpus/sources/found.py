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
from pathlib import Path
from typing import Any

from corpus.errors import DataError
from corpus.sources.base import Files, Source

_NOT_DATA = re.compile(r"\.|readme|licen[cs]e|sha256sums$|.*\.md$", re.IGNORECASE)
_WILD = re.compile(r"[*?\[]")
_WAREHOUSE = {".lock", "manifests"}
"""What every warehouse has. One that lies below the data folder is passed over: a build must not read what it writes."""


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
    last part can match its name: those with that very name, and those whose first letter and ending, where they say one, are its own.
    """

    def __init__(self, sources: Iterable[Source]) -> None:
        self._literal: dict[str, list[_Pattern]] = {}
        self._wild: dict[tuple[str, str], list[_Pattern]] = {}
        self._candidates: dict[tuple[str | None, str, str], tuple[_Pattern, ...]] = {}
        patterns = [_Pattern(files, source) for source in sources for files in source.files]
        patterns.sort(key=lambda p: p.weight, reverse=True)  # stable: among equals the earlier source stays first
        for rank, pattern in enumerate(patterns):
            pattern.rank = rank
            if pattern.literal is not None:
                self._literal.setdefault(pattern.literal, []).append(pattern)
            else:
                self._wild.setdefault((pattern.initial, pattern.ending), []).append(pattern)

    def owner(self, path: str) -> Source | None:
        """The source that the relative POSIX `path` belongs to, or None."""
        name = path.rpartition("/")[2]
        initial, ending = name[:1], _ending(name)
        key = (name if name in self._literal else None, initial, ending)
        candidates = self._candidates.get(key)
        if candidates is None:
            found = set(self._literal.get(name, ()))
            for each in ((initial, ending), (initial, ""), ("", ending), ("", "")):
                found.update(self._wild.get(each, ()))
            candidates = self._candidates[key] = tuple(sorted(found, key=lambda p: p.rank))
        rooted = f"/{path}"
        for pattern in candidates:
            if pattern.matches(path, name, rooted):
                return pattern.source
        return None


def _ending(name: str) -> str:
    at = name.rfind(".")
    return name[at:] if at >= 0 else ""


class _Pattern:
    """One glob of one source, with what can be said about a match at a glance.

    Attributes:
        literal: the last part, when it has no wildcard.
        initial: the first letter that a name must have, or "".
        ending: the ending, from its last full stop, that a name must have, or "".
    """

    def __init__(self, files: Files, source: Source) -> None:
        self.source = source
        self.weight = files.weight
        self.rank = 0
        self._files = files
        *folders, last = files.glob.split("/")
        self._open = last == "**"  # matches a path that ends before it, too, so the name says nothing
        wild = bool(_WILD.search(last))
        self.literal = None if wild else last
        # what stands before the first and after the last wildcard is literal, whether or not a bracket is closed
        self._prefix = _WILD.split(last, maxsplit=1)[0]
        self._suffix = re.split(r"[*?\[\]]", last)[-1] if wild else ""
        self.initial = self._prefix[:1]
        self.ending = _ending(self._suffix)
        self._name = re.compile(fnmatch.translate(last))
        self._nested = bool(folders)
        self._folders = tuple(f"/{f}/" for f in folders if not _WILD.search(f))

    def matches(self, path: str, name: str, rooted: str) -> bool:
        """The same as `Files.matches`; `rooted` is the path with a slash before it."""
        if not self._open:
            if not (name.startswith(self._prefix) and name.endswith(self._suffix) and self._name.match(name)):
                return False
            if not self._nested:
                return True
            if any(folder not in rooted for folder in self._folders):
                return False
        return self._files.matches(path)


def scan(data: Path, registry: Mapping[str, Source]) -> Scan:
    """Walks a data folder.

    Hidden files and folders are passed over, and so are notes beside the data (see `is_data`) and warehouses. A link is followed unless
    it leads
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
        if prefix and {e.name for e in entries} >= _WAREHOUSE:
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


def obtained(source: Source, *, address: bool = False) -> str:
    """How to get the files of a source, in a line; with `address`, the publisher's is in it, if it is to be done by hand."""
    if source.hub:
        return f"corpus fetch {source.name}"
    if not source.files:  # what `corpus adopt` takes in
        return source.obtain
    if not source.address:  # a user's own
        return f"no file below the data folder matches {', '.join(f.glob for f in source.files)}"
    if not source.obtain:
        return f"download it by hand from {source.address}"
    return f"{source.obtain} ({source.address})" if address else source.obtain


def listing(registry: Mapping[str, Source], found: Scan | None = None) -> list[dict[str, Any]]:
    """The sources as plain values, for a table and for JSON.

    Args:
        registry: the sources, by name.
        found: a scan of the data folder; without one, and for a source without files there, `files`, `bytes` and `missing` are None.

    Returns:
        One dictionary per source, in the registry's order: name, about, address, license, kinds, languages, patterns, folder,
        files (count), bytes, missing (nothing was found), faults (count), fetch (whether `corpus fetch` gets it), get (how to).
    """
    out = []
    for name, source in registry.items():
        elsewhere = not source.files  # its files do not lie in a data folder
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
                "files": len(files) if found and not elsewhere else None,
                "bytes": sum(f.bytes for f in files) if found and not elsewhere else None,
                "missing": not files if found and not elsewhere else None,
                "faults": sum(f.source == name for f in found.faults) if found else None,
                "fetch": source.hub is not None,
                "get": obtained(source),
            }
        )
    return out
