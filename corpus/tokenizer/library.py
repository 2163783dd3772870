"""What the `tokenizers` library says of somebody's tokenizer, as an error of the user's.

The library raises `Exception` itself, and where its own code fails it panics: an exception that is none of Python's, beside which it writes
a trace of Rust. Both say that a file is not one that can be used, or that its rules do not end with some text.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

from corpus.errors import DataError

MOST = 1 << 24
"""Ids may go up to here: tables are as long as the highest."""

_PANIC = "PanicException"


@contextmanager
def refusals(what: str, way: str) -> Iterator[None]:
    """Tells of what the library refuses.

    Args:
        what: what it was given, and what it was to do with it.
        way: the way out.

    Raises:
        DataError: when the library refuses it, or fails with it.
    """
    try:
        yield
    except (RecursionError, KeyError, TypeError, AttributeError, ValueError) as e:
        raise DataError(f"{what}: {_short(e)}; {way}") from e
    except BaseException as e:
        if type(e) is not Exception and type(e).__name__ != _PANIC:
            raise
        raise DataError(f"{what}: {_short(e)}; {way}") from e


@contextmanager
def one_thread() -> Iterator[None]:
    """Keeps the library to the threads that call it: it takes all processors for a batch, and asks the environment alone whether it may."""
    name = "TOKENIZERS_PARALLELISM"
    before = os.environ.get(name)
    os.environ[name] = "false"
    try:
        yield
    finally:
        if before is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = before


def check_ids(highest: int, what: str) -> None:
    """Sees to it that tables of all ids can be held.

    Args:
        highest: the highest id; -1 where there is none.
        what: the tokenizer.

    Raises:
        DataError: when there is none, or it is too high.
    """
    if not 0 <= highest < MOST:
        raise DataError(f"{what}: the highest id is {highest:,}; expected some tokens, with ids from 0 to below {MOST:,}")


def _short(error: BaseException) -> str:
    text = str(error) or type(error).__name__
    return text if len(text) <= 200 else f"{text[:200]}…"
