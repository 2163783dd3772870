"""What went wrong with a download, in words that say what was found and what to do about it."""

from __future__ import annotations

import errno
from pathlib import Path

from huggingface_hub import get_token
from huggingface_hub.errors import (
    DisabledRepoError,
    GatedRepoError,
    HfHubHTTPError,
    OfflineModeIsEnabled,
    RemoteEntryNotFoundError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

from corpus.sources.base import Hub, Source
from corpus.sources.hub import HOME, Busy, HTTPError, InvalidURL, NotAHub, Settings, TimeoutException, Unlike

_KEPT = "what came so far is kept"


class Refused(Exception):
    """We do not go on: the message has what was found and the way out."""


FAULTS: tuple[type[Exception], ...] = (HTTPError, InvalidURL, OSError, NotAHub, Unlike, Busy, Refused)
"""What a download may fail with."""


def place(hub: Hub) -> str:
    """A repository as it stands in an address."""
    return hub.repo if hub.kind == "model" else f"{hub.kind}s/{hub.repo}"


def by_hand(source: Source, data: Path) -> str:
    """How a person gets the files: from which address, which files, into which folder."""
    folder = data / source.folder
    if source.hub is not None:
        return f"download {', '.join(source.hub.files)} from {HOME}/{place(source.hub)} by hand into {folder}"
    how = f" ({source.obtain})" if source.obtain else ""
    return f"download {', '.join(dict.fromkeys(f.glob for f in source.files))} from {source.address} by hand into {folder}{how}"


def _mirror(settings: Settings) -> str:
    if settings.endpoint == HOME:
        return "set HF_ENDPOINT to a mirror (export HF_ENDPOINT=https://hf-mirror.com) or check network and proxy, and run it again"
    return f"check network and proxy, or set HF_ENDPOINT to another address than {settings.endpoint}, and run it again"


def explain(error: Exception, source: Source, data: Path, settings: Settings) -> str:
    """What was found, and the way out.

    Args:
        error: one of FAULTS.
        source: what was being downloaded.
        data: the data folder.
        settings: how the hub was reached.
    """
    hand = by_hand(source, data)
    if isinstance(error, Refused):
        return str(error)
    if isinstance(error, NotAHub):
        return f"{error}; check HF_ENDPOINT, the proxy and whether the network asks for a login, or {hand}"
    if isinstance(error, Unlike):
        return f"{error}; run it again, and if it stays so use another HF_ENDPOINT, or {hand}"
    if isinstance(error, Busy):
        return f"{error}; wait for it, or end it and run this again"
    if isinstance(error, OfflineModeIsEnabled):
        return f"HF_HUB_OFFLINE forbids the network; unset it, or {hand}"
    if isinstance(error, HfHubHTTPError):
        return _explain_status(error, source, hand, settings)
    if isinstance(error, TimeoutException):
        found = f"no answer within {settings.timeout:g} s; {_KEPT}"
        return f"{found}; {_mirror(settings)}; a slow network may need a higher HF_HUB_DOWNLOAD_TIMEOUT; or {hand}"
    if isinstance(error, OSError):
        return _explain_disk(error, data / source.folder)
    found = f"the hub cannot be reached, or the connection broke ({type(error).__name__}: {error})"
    return f"{found}; {_KEPT}; {_mirror(settings)}; or {hand}"


def _explain_status(error: HfHubHTTPError, source: Source, hand: str, settings: Settings) -> str:
    status = error.response.status_code
    page = f"{HOME}/{place(source.hub)}" if source.hub else source.address
    token = "your token" if get_token() else "no token (HF_TOKEN is not set)"
    if isinstance(error, GatedRepoError):
        found = f"the publisher asks for consent, and {token} was sent"
        way_out = f"accept the terms at {page}, set HF_TOKEN to a token of that account, and run it again"
    elif isinstance(error, RevisionNotFoundError):
        found = "there is no such revision"
        way_out = f"see {page}/tree/main for what there is, or leave --revision out"
    elif isinstance(error, RemoteEntryNotFoundError):
        found = f"there is no {error.response.url}"
        way_out = f"see {page}/tree/main for what there is, try another --revision, or {hand}"
    elif isinstance(error, DisabledRepoError):
        found = "the hub has closed this repository"
        way_out = f"see {page} for the reason, and {source.address} for another place"
    elif isinstance(error, RepositoryNotFoundError):
        found = f"there is no such repository, or it is private, and {token} was sent"
        way_out = f"look at {page}; if it is private or asks for consent, set HF_TOKEN; if it has gone, see {source.address}"
    elif status == 401:
        found = f"the hub does not accept {token}"
        way_out = f"make a new one at {HOME}/settings/tokens and set HF_TOKEN to it, or unset HF_TOKEN, and run it again"
    elif status == 403:
        found = f"access is forbidden, and {token} was sent"
        way_out = f"see {page} for the terms and give the token the right to read, or {hand}"
    elif status == 429:
        found = "too many requests"
        way_out = "wait some minutes and run it again; with HF_TOKEN set the limit is higher"
    else:
        found = f"from {error.response.url}; {_KEPT}"
        way_out = f"{_mirror(settings)}; or {hand}"
    return f"HTTP {status}, {found}; {way_out}"


def _explain_disk(error: OSError, folder: Path) -> str:
    where = error.filename or folder
    reason = error.strerror or str(error)
    if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        found = f"the disk of {folder} is full ({reason}); {_KEPT}"
        return f"{found}; free some space, or name another folder with --data, and run it again"
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return f"{where} cannot be written ({reason}); give yourself the right to write there, or name another folder with --data"
    if error.errno in (errno.ENOTDIR, errno.EEXIST, errno.EISDIR) or isinstance(error, IsADirectoryError):
        return f"{where} is in the way ({reason}); rename or remove it, or name another folder with --data"
    return f"{where}: {reason}; see to the disk, or name another folder with --data"
