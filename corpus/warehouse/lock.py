"""The writer lock: one build at a time in a warehouse. Readers need no lock, because committed files never change in place."""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO

from corpus.errors import LockedError, WarehouseError


@contextlib.contextmanager
def writer_lock(root: Path) -> Iterator[None]:
    """Holds the lock of the warehouse at `root`, which is made when it does not exist. A process that dies gives it back by dying.

    Raises:
        LockedError: when another process holds it.
        WarehouseError: when the folder cannot be written.
    """
    if "?" in str(root.resolve()):
        raise WarehouseError(f"warehouse {root}: DuckDB takes what follows a question mark in a path for options; choose another place")
    try:
        root.mkdir(parents=True, exist_ok=True)
        handle = (root / ".lock").open("a+")
    except OSError as e:
        raise WarehouseError(f"warehouse {root}: cannot be written: {e.strerror or e}; choose another with --warehouse") from e
    with handle:
        take(handle, lambda holder: f"warehouse {root}: {holder} is building in it; wait for it to end, or choose another with --warehouse")
        yield


def take(handle: IO[str], busy: Callable[[str], str]) -> None:
    """Takes the lock of an open file, and writes into it who has it; closing the file gives it back.

    Args:
        handle: the file, opened for reading and appending.
        busy: what to say of the process that has it.

    Raises:
        LockedError: when another process has it.
    """
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as e:
        handle.seek(0)
        raise LockedError(busy(handle.read(200).strip() or "another process")) from e
    handle.seek(0)
    handle.truncate()
    handle.write(f"process {os.getpid()}")
    handle.flush()
