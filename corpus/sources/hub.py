"""Talks to a Hugging Face hub, or a mirror of it: which files a repository holds, and one file's bytes onto the disk.

`huggingface_hub` knows addresses, redirects, tokens and errors, and is used for these. Its own file download is not: since 2.x it
writes to a temporary file of a random name, removed on failure, so a download that is killed at 90 % starts from zero. Here a
partial file is named by the content it will have, hence it is resumed by whoever comes next, and whatever ends up under its
real name was compared with the hub's size and hash. Everything is plain HTTP over the one endpoint: a mirror need not serve
the hosts of the xet protocol.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import IO, Any, TypeVar
from urllib.parse import urlsplit

from huggingface_hub import HfApi, constants, get_hf_file_metadata, get_session, hf_hub_url, hf_raise_for_status
from huggingface_hub.errors import HfHubHTTPError
from huggingface_hub.hf_api import RepoFile
from huggingface_hub.utils import build_hf_headers  # type: ignore[attr-defined]

from corpus import __version__
from corpus.errors import FetchError
from corpus.sources.base import Hub

try:
    import httpx2 as httpx  # what huggingface_hub 2 speaks HTTP with
except ImportError:  # pragma: no cover
    import httpx  # type: ignore[import-not-found, no-redef]

constants.HF_HUB_DISABLE_TELEMETRY = True  # the library would look up, at the endpoint, how to describe its caller

HOME = "https://huggingface.co"
PARTIAL = Path(".cache", "yuliao")
"""Where partial files lie, below a source's folder: hidden, so that no scan takes them for data."""

_SHA256 = re.compile(r"[0-9a-f]{64}")
_SHA1 = re.compile(r"[0-9a-f]{40}")
_WILD = re.compile(r"[*?\[]")
_TRANSIENT_STATUS = (408, 425, 429, 500, 502, 503, 504)
_LONGEST_WAIT = 60.0
_BLOCK = 1 << 20

HTTPError: type[Exception] = httpx.HTTPError
TimeoutException: type[Exception] = httpx.TimeoutException
InvalidURL: type[Exception] = httpx.InvalidURL
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Settings:
    """How to reach a hub.

    Attributes:
        endpoint: the hub's address, without a slash at the end.
        timeout: seconds without a byte, after which a request has failed.
        attempts: how often a request is tried without any progress.
        wait: seconds before the second attempt; doubles from one to the next.
    """

    endpoint: str = HOME
    timeout: float = 10.0
    attempts: int = 4
    wait: float = 1.0

    @classmethod
    def from_environment(cls) -> Settings:
        """HF_ENDPOINT and HF_HUB_DOWNLOAD_TIMEOUT, as huggingface_hub names them.

        Raises:
            FetchError: when HF_ENDPOINT is no address (the scheme is easily forgotten).
        """
        endpoint = (os.environ.get("HF_ENDPOINT") or HOME).strip().rstrip("/")
        parts = urlsplit(endpoint)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise FetchError(f"HF_ENDPOINT is {endpoint!r}, expected an address such as https://hf-mirror.com")
        return cls(endpoint, float(constants.HF_HUB_DOWNLOAD_TIMEOUT))


@dataclass(frozen=True, slots=True)
class Remote:
    """A file of a repository, as far as the hub has described it.

    Attributes:
        path: within the repository.
        size: bytes.
        digest: sha256 in hex (64 characters; files in LFS), or the git blob id in hex (40 characters; all others).
    """

    path: str
    size: int | None = None
    digest: str | None = None

    @property
    def checks(self) -> str:
        """What a copy can be compared by."""
        if self.digest:
            return "sha256" if len(self.digest) == 64 else "git blob id"
        return "size" if self.size is not None else "nothing"


class Unlike(Exception):
    """What came does not have the size or hash that the hub lists."""


class NotAHub(Exception):
    """An answer that is not in the hub's protocol: another site, or a network's login page."""


class Busy(Exception):
    """Another process is downloading the same file."""


def list_files(hub: Hub, revision: str, settings: Settings) -> tuple[str, list[Remote]]:
    """The commit that `revision` stands for, and the files in it, by path.

    When `hub.files` are plain paths, only these are asked for: some repositories (C4's) hold a hundred thousand files.

    Raises:
        NotAHub: when the answer is not in the hub's protocol.
        HTTPError: as huggingface_hub and httpx raise it.
    """
    if any(_WILD.search(f) for f in hub.files):
        sha, files = _retry(partial(_ask, hub, revision, settings, complete=True), settings)
    else:
        sha, _ = _retry(partial(_ask, hub, revision, settings, complete=False), settings)
        files = [_retry(partial(_describe, _url(hub, sha, path, settings), Remote(path), settings), settings)[1] for path in hub.files]
    return sha, sorted(files, key=lambda f: f.path)


def _ask(hub: Hub, revision: str, settings: Settings, *, complete: bool) -> tuple[str, list[Remote]]:
    """The commit, and the files when the listing is to be `complete`."""
    api = HfApi(endpoint=settings.endpoint, library_name="yuliao", library_version=__version__)
    more: dict[str, Any] = {"files_metadata": True} if complete else {"expand": ["sha"]}
    try:
        info: Any = api.repo_info(hub.repo, repo_type=hub.kind, revision=revision, timeout=settings.timeout, **more)
        sha, found = info.sha, info.siblings
        if complete and found is None:  # some mirrors leave the files out here
            tree = api.list_repo_tree(hub.repo, repo_type=hub.kind, revision=sha, recursive=True)
            found = [f for f in tree if isinstance(f, RepoFile)]
        files = [Remote(f.rfilename, f.size, _digest(f.lfs.sha256 if f.lfs else None, f.blob_id)) for f in found or ()]
    except (ValueError, KeyError, TypeError, AttributeError) as e:
        if isinstance(e, HfHubHTTPError):
            raise
        raise NotAHub(f"{settings.endpoint} does not answer like a Hugging Face hub ({type(e).__name__}: {str(e)[:200]})") from e
    if not isinstance(sha, str) or not all(isinstance(f.path, str) for f in files):
        raise NotAHub(f"{settings.endpoint} names no commit for {revision}")
    return sha, files


def _url(hub: Hub, commit: str, path: str, settings: Settings) -> str:
    return hf_hub_url(hub.repo, path, repo_type=hub.kind, revision=commit, endpoint=settings.endpoint)


def _digest(*candidates: str | None) -> str | None:
    return next((c for c in candidates if c and (_SHA256.fullmatch(c) or _SHA1.fullmatch(c))), None)


def _retry(call: Callable[[], T], settings: Settings, progressed: Callable[[], bool] = lambda: False) -> T:
    """Calls until it works, fails for good, or has failed `attempts` times without progress."""
    failures = 0
    while True:
        try:
            return call()
        except (httpx.TimeoutException, httpx.NetworkError, httpx.RemoteProtocolError, HfHubHTTPError) as e:
            if isinstance(e, HfHubHTTPError) and e.response.status_code not in _TRANSIENT_STATUS:
                raise
            failures = 1 if progressed() else failures + 1
            if failures >= settings.attempts:
                raise
            time.sleep(max(settings.wait * 2 ** (failures - 1), _asked_wait(e)))


def _asked_wait(error: Exception) -> float:
    """Seconds that the server asks for in Retry-After, within reason."""
    asked = error.response.headers.get("Retry-After", "") if isinstance(error, HfHubHTTPError) else ""
    return min(float(asked), _LONGEST_WAIT) if asked.isascii() and asked.isdigit() else 0.0


def same(path: Path, file: Remote, on_bytes: Callable[[int], None] = lambda n: None) -> bool:
    """Whether the file at `path` is the hub's `file`, by size and, where the hub gives one, hash."""
    if not path.is_file() or (file.size is not None and path.stat().st_size != file.size):
        return False
    return file.digest is None or _hash_file(path, file.digest, on_bytes) == file.digest


def _hash_file(path: Path, like: str, on_bytes: Callable[[int], None] = lambda n: None) -> str:
    git = b"blob %d\0" % path.stat().st_size
    h = hashlib.sha256() if len(like) == 64 else hashlib.sha1(git, usedforsecurity=False)
    done = 0
    with path.open("rb") as f:
        while block := f.read(_BLOCK):
            h.update(block)
            done += len(block)
            on_bytes(done)
    return h.hexdigest()


def download(
    hub: Hub, commit: str, file: Remote, folder: Path, settings: Settings, on_bytes: Callable[[int], None] = lambda n: None
) -> tuple[str, Remote]:
    """Brings one file to `folder / file.path`, unless it is there already.

    Args:
        hub: the repository.
        commit: the revision, resolved, so that all files are of one state.
        file: what `list_files` says about it; its path has been found safe.
        folder: the source's folder.
        settings: how to reach the hub.
        on_bytes: called with the bytes that are there so far.

    Returns:
        "present", "downloaded", "resumed" or "replaced" (another file was in its place), and the file with the size and hash that were
        used to check it.

    Raises:
        Unlike: when the bytes are not what the hub lists.
        Busy: when another process is at the same file.
        HTTPError, OSError: from network and disk.
    """
    target = folder / file.path
    if file.size is not None and file.digest is not None and same(target, file, on_bytes):
        return "present", file
    url = _url(hub, commit, file.path, settings)
    if file.size is None or file.digest is None:
        _, file = _retry(partial(_describe, url, file, settings), settings)
        if file.digest is not None and same(target, file, on_bytes):
            return "present", file
    there = target.is_symlink() or target.exists()
    if target.is_dir():
        raise IsADirectoryError(f"{target} is a folder, expected a file or nothing")
    begun = folder / PARTIAL / f"{file.digest or hashlib.sha256(file.path.encode()).hexdigest()}.partial"
    begun.parent.mkdir(parents=True, exist_ok=True)
    target.parent.mkdir(parents=True, exist_ok=True)
    with _locked(begun) as out:
        resumed = _fill(url, out, begun, file, settings, on_bytes)
        os.fsync(out.fileno())
        begun.replace(target)
    _remove_if_empty(begun.parent, begun.parent.parent)
    return ("replaced" if there else "resumed" if resumed else "downloaded"), file


def _fill(url: str, out: IO[bytes], begun: Path, file: Remote, settings: Settings, on_bytes: Callable[[int], None]) -> bool:
    """Completes a partial file and checks it. Returns whether it went on from an earlier process."""
    if file.digest is None:
        out.truncate(0)  # nothing says that the bytes are of this file
    resumed = out.seek(0, os.SEEK_END) > 0
    while True:
        _transfer(url, out, file, settings, on_bytes)
        if same(begun, file):
            return resumed
        size = begun.stat().st_size
        out.truncate(0)
        if not resumed:
            begun.unlink()
            raise Unlike(f"{file.path}: {size:,} bytes came, and they do not match the {file.checks} that the hub lists")
        resumed = False  # the earlier bytes may have been damaged: once more, from the start


def _transfer(url: str, out: IO[bytes], file: Remote, settings: Settings, on_bytes: Callable[[int], None]) -> None:
    furthest = out.seek(0, os.SEEK_END)

    def progressed() -> bool:
        # A server that starts over each time makes no progress: only bytes beyond the furthest point count.
        nonlocal furthest
        before, furthest = furthest, max(furthest, out.seek(0, os.SEEK_END))
        return furthest > before

    def attempt() -> None:
        have = out.seek(0, os.SEEK_END)
        if file.size is not None and have > file.size:
            have = out.truncate(out.seek(0))
        if have != file.size:
            _get(_describe(url, file, settings)[0], out, have, file, settings, on_bytes)

    _retry(attempt, settings, progressed)


def _get(location: str, out: IO[bytes], have: int, file: Remote, settings: Settings, on_bytes: Callable[[int], None]) -> None:
    headers = build_hf_headers(library_name="yuliao", library_version=__version__)
    headers["Accept-Encoding"] = "identity"
    if _origin(location) not in (_origin(settings.endpoint), _origin(HOME)):
        headers.pop("authorization", None)  # a signed address of a storage host: the token is not its business
    if have:
        headers["Range"] = f"bytes={have}-"
    with get_session().stream("GET", location, headers=headers, timeout=settings.timeout) as response:
        if response.status_code == 416:
            out.truncate(out.seek(0))
            raise httpx.RemoteProtocolError(f"the server has no byte {have:,} of {file.path}")
        hf_raise_for_status(response)
        if have and not (response.status_code == 206 and response.headers.get("Content-Range", "").startswith(f"bytes {have}-")):
            have = out.truncate(out.seek(0))
        if response.status_code == 206 and not have:
            raise httpx.RemoteProtocolError(f"the server sends another part of {file.path} than the one asked for")
        for chunk in response.iter_bytes():
            have += len(chunk)
            if file.size is not None and have > file.size:
                out.truncate(out.seek(0))
                raise Unlike(f"{file.path}: more than {file.size:,} bytes came, which is the size that the hub lists")
            _write(out, chunk)
            on_bytes(have)
    if file.size is not None and have < file.size:
        raise httpx.RemoteProtocolError(f"the server ended {file.path} after {have:,} of {file.size:,} bytes")


def _write(out: IO[bytes], chunk: bytes) -> None:
    view = memoryview(chunk)
    while view:  # an unbuffered write may take less than it is given
        view = view[out.write(view) :]


def _describe(url: str, file: Remote, settings: Settings) -> tuple[str, Remote]:
    """Where the bytes are, and the file with what the listing had left open."""
    found = get_hf_file_metadata(url, timeout=settings.timeout, endpoint=settings.endpoint)
    if found.commit_hash is None:
        raise NotAHub(f"{url} is answered without the header X-Repo-Commit, so not by a Hugging Face hub")
    size = file.size if file.size is not None else found.size
    if found.size is not None and found.size != size:
        raise Unlike(f"{file.path}: the hub lists {size:,} bytes, and then offers {found.size:,}")
    return found.location, replace(file, size=size, digest=file.digest or _digest(found.etag))


def _origin(url: str) -> tuple[str, str, int | None]:
    parts = urlsplit(url)
    return parts.scheme, parts.hostname or "", parts.port


@contextmanager
def _locked(path: Path) -> Iterator[IO[bytes]]:
    """Opens a partial file unbuffered, so that a killed process leaves every byte it had, and for one process only."""
    with path.open("ab", buffering=0) as out:
        try:
            fcntl.flock(out, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as e:
            raise Busy(f"another process is downloading {path}") from e
        if not path.exists() or path.stat().st_ino != os.fstat(out.fileno()).st_ino:
            raise Busy(f"another process has just finished {path}")  # and this handle is now its finished file
        yield out


def _remove_if_empty(*folders: Path) -> None:
    for folder in folders:
        try:
            folder.rmdir()
        except OSError:
            return
