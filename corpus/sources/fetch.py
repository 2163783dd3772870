"""`corpus fetch NAME…`: downloads sources into the layout that `--data` expects, `<data>/<folder>/<path in the repository>`.

One source's trouble does not stop the others: `fetch` returns an account of each, with its error where it failed, and `failure` makes
one error of them for the exit status. An error says where, what was found, and the way out: a mirror, a token, or the
address and folder for a download by hand.
"""

from __future__ import annotations

import errno
import os
import re
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

from corpus.errors import FetchError
from corpus.sources import get
from corpus.sources.base import Files, Hub, Source
from corpus.sources.fetch_errors import FAULTS, Refused, by_hand, explain, place
from corpus.sources.found import Claims, is_data, scan
from corpus.sources.hub import PARTIAL, Remote, Settings, download, list_files

_SPARE = 64 << 20
"""Bytes of disk that must stay free beside the files."""


@dataclass(frozen=True, slots=True)
class FetchedFile:
    """One file.

    Attributes:
        path: relative to the data folder.
        bytes: its size.
        how: present, downloaded, resumed or replaced.
        checked: what it was compared with: sha256, git blob id, size or nothing.
        owner: the source that claims it; another one than was fetched, or None, is worth a warning.
    """

    path: str
    bytes: int
    how: str
    checked: str
    owner: str | None


@dataclass(frozen=True, slots=True)
class Fetched:
    """The account of one source.

    Attributes:
        source: its name.
        status: fetched, failed, or manual (it is not on a hub: `instructions` says how to get it).
        folder: where its files are, or belong.
        commit: the revision that the files are of.
        files: what is there now.
        error: why it failed.
        instructions: for a person, when status is manual.
    """

    source: str
    status: str
    folder: Path
    commit: str | None = None
    files: tuple[FetchedFile, ...] = ()
    error: FetchError | None = None
    instructions: str = ""

    @property
    def ok(self) -> bool:
        """Whether the source's files are there: a source to be got by hand is fine once somebody has."""
        return self.status == "fetched" or (self.status == "manual" and bool(self.files))

    @property
    def bytes(self) -> int:
        """Bytes of all its files."""
        return sum(f.bytes for f in self.files)

    @property
    def unclaimed(self) -> tuple[FetchedFile, ...]:
        """Files that were fetched and that the source does not read."""
        return tuple(f for f in self.files if f.owner != self.source)

    def plain(self) -> dict[str, Any]:
        """The account as plain values, for JSON."""
        return {
            "source": self.source,
            "status": self.status,
            "ok": self.ok,
            "folder": str(self.folder),
            "commit": self.commit,
            "bytes": self.bytes,
            "files": [asdict(f) for f in self.files],
            "error": str(self.error) if self.error else None,
            "instructions": self.instructions or None,
        }

    def text(self) -> str:
        """The account in a few lines."""
        if self.error is not None:
            return str(self.error)
        if self.status == "manual":
            return f"{self.source}: {len(self.files)} files in {self.folder}" if self.files else self.instructions
        hows = [f"{n} {how}" for how in ("downloaded", "resumed", "replaced", "present") if (n := sum(f.how == how for f in self.files))]
        how = f"{', '.join(hows)}; commit {(self.commit or '')[:12]}"
        lines = [f"{self.source}: {len(self.files)} files, {self.bytes:,} bytes in {self.folder} ({how})"]
        lines += [
            f"  {f.path}: {f'read as {f.owner}' if f.owner else 'claimed by no source'}, not as {self.source}" for f in self.unclaimed
        ]
        return "\n".join(lines)

    def __str__(self) -> str:
        return self.text()


@dataclass(frozen=True, slots=True)
class Step:
    """How far a source is. `total` is None while the hub has not told all sizes."""

    source: str
    file: str
    bytes: int
    total: int | None


def fetch(
    names: Sequence[str],
    data: Path,
    registry: Mapping[str, Source],
    *,
    revision: str | None = None,
    progress: Callable[[Step], None] = lambda step: None,
    settings: Settings | None = None,
) -> list[Fetched]:
    """Downloads sources.

    What is there already, with the hub's size and hash, is not downloaded again; what a killed run left behind is gone on with.

    Args:
        names: sources; all are looked up before the first download.
        data: the data folder; made when missing.
        registry: the sources, by name.
        revision: branch, tag or commit, instead of the one that the source names.
        progress: called as bytes arrive.
        settings: how to reach the hub; by default from the environment (HF_ENDPOINT; HF_TOKEN is read by huggingface_hub).

    Returns:
        One account per name, in order, failures included.

    Raises:
        RecipeError: when a name is unknown.
        FetchError: when HF_ENDPOINT is no address.
    """
    sources = [get(name, dict(registry)) for name in dict.fromkeys(names)]
    settings = settings or Settings.from_environment()
    claims = Claims(registry.values())
    return [_fetch_one(s, data, claims, registry, revision, progress, settings) for s in sources]


def failure(results: Sequence[Fetched]) -> FetchError | None:
    """One error for all sources that are not there now; None when every one is."""
    bad = [r for r in results if not r.ok]
    if not bad:
        return None
    return FetchError(f"{len(bad)} of {len(results)} sources were not fetched: {', '.join(r.source for r in bad)}")


@contextmanager
def bars(console: Console) -> Iterator[Callable[[Step], None]]:
    """Progress bars, one per source: pass the value as `progress`. Shows nothing when the console is no terminal."""
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, disable=not console.is_terminal) as shown:
        tasks = {}

        def update(step: Step) -> None:
            if step.source not in tasks:
                tasks[step.source] = shown.add_task(step.source, total=step.total)
            shown.update(tasks[step.source], completed=step.bytes, total=step.total, description=f"{step.source}: {step.file[-40:]}")

        yield update


def _fetch_one(
    source: Source,
    data: Path,
    claims: Claims,
    registry: Mapping[str, Source],
    revision: str | None,
    progress: Callable[[Step], None],
    settings: Settings,
) -> Fetched:
    folder = data / source.folder
    if source.hub is None:
        there = scan(data, registry).of(source.name) if data.is_dir() else ()
        files = tuple(FetchedFile(f.path, f.bytes, "present", "nothing", source.name) for f in there)
        return Fetched(source.name, "manual", folder, files=files, instructions=f"{source.name} is not on a hub: {by_hand(source, data)}")
    wanted = revision or source.hub.revision
    commit = None
    done: list[FetchedFile] = []
    try:
        if not _is_safe(source.folder):
            raise Refused(f"the source's folder is {source.folder!r}, expected a relative path; mend its definition")
        commit, listed = list_files(source.hub, wanted, settings)
        files_wanted = _wanted(source.hub, listed)
        folder.mkdir(parents=True, exist_ok=True)
        _check_space(data, folder, files_wanted)
        before = 0
        total = sum(f.size for f in files_wanted if f.size is not None) if all(f.size is not None for f in files_wanted) else None
        for file in files_wanted:
            _check_inside(data, folder / file.path)

            def on_bytes(n: int, path: str = file.path, base: int = before) -> None:
                progress(Step(source.name, path, base + n, total))

            how, checked = download(source.hub, commit, file, folder, settings, on_bytes)
            path = (PurePosixPath(source.folder) / file.path).as_posix()
            owner = claims.owner(path)
            size = (folder / file.path).stat().st_size
            done.append(FetchedFile(path, size, how, checked.checks, owner.name if owner else None))
            before += size
            progress(Step(source.name, file.path, before, total))
    except FAULTS as e:
        error = FetchError(f"{source.name}: {settings.endpoint}/{place(source.hub)} at {wanted}: {explain(e, source, data, settings)}")
        return Fetched(source.name, "failed", folder, commit, tuple(done), error)
    return Fetched(source.name, "fetched", folder, commit, tuple(done))


def _wanted(hub: Hub, listed: Sequence[Remote]) -> list[Remote]:
    """The files that the source's globs name, without hidden files and notes, which no scan takes for data."""
    globs = [Files(g) for g in hub.files]
    wanted = [f for f in listed if any(g.matches(f.path) for g in globs)]
    for file in wanted:
        if not _is_safe(file.path):
            found = f"the repository lists {file.path!r}, a name that could leave the folder"
            raise Refused(f"{found}; nothing was downloaded: do not trust this server, or check HF_ENDPOINT")
    wanted = [f for f in wanted if is_data(f.path)]
    if not wanted:
        some = ", ".join(f.path for f in listed[:5]) or "none"
        raise Refused(f"none of its {len(listed)} files match {', '.join(hub.files)} (found: {some}); try another --revision")
    return wanted


def _is_safe(path: str) -> bool:
    """Whether a name from a server stays below the folder that it is joined to, on every operating system."""
    parts = path.split("/")
    if any(p in ("", ".", "..") for p in parts) or re.search(r"[\\\x00-\x1f\x7f\ud800-\udfff]", path):
        return False
    return not any(PureWindowsPath(p).drive or PureWindowsPath(p).root for p in parts)


def _check_inside(data: Path, target: Path) -> None:
    root = os.path.realpath(data)
    real = os.path.realpath(target)
    if os.path.commonpath([root, real]) != root:
        raise Refused(f"{target} leads through a link to {real}, out of the data folder, where no build would look; remove the link")


def _check_space(data: Path, folder: Path, files: Sequence[Remote]) -> None:
    """Refuses before the first byte what cannot end well. Files of the right size count as there, and so do partial ones."""
    need = 0
    for file in files:
        place = folder / file.path
        if file.size is None or (place.is_file() and place.stat().st_size == file.size):
            continue
        partial = folder / PARTIAL / f"{file.digest}.partial"
        need += file.size - (min(partial.stat().st_size, file.size) if partial.is_file() else 0)
    free = shutil.disk_usage(data).free
    if need and need + _SPARE > free:
        raise OSError(errno.ENOSPC, f"{need:,} bytes are to come, and {free:,} are free")
