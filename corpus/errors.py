"""One small tree of errors.

Every message says where, what was found, what was expected and what to do. A `CorpusError` is the user's business (a wrong key, a
missing file, a lock held by another build): the command line prints it without a traceback and exits with 2. Anything
else that escapes is a defect of ours and keeps its traceback.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class CorpusError(Exception):
    """Base of every error that a user can act on."""

    exit_code = 2


class RecipeError(CorpusError):
    """A recipe cannot be read or does not validate."""


class DataError(CorpusError):
    """The data folder or a file in it is not what it should be, and the build cannot go on."""


class UsageError(CorpusError):
    """An argument has a value that there is not."""


class RejectLimitError(DataError):
    """More of a file was rejected than the recipe allows."""


class DedupLimitError(DataError):
    """Removal of near duplicates took more than the recipe allows."""


class WarehouseError(CorpusError):
    """The warehouse is missing, locked, or does not hold what was asked for."""


class LockedError(WarehouseError):
    """Another process is writing to this warehouse."""


class AuditError(CorpusError):
    """An audit returned rows: the warehouse contradicts itself."""


class QueryError(CorpusError):
    """A query is unknown, misses a parameter, or DuckDB refuses it."""


class FetchError(CorpusError):
    """A source could not be downloaded."""


class AllocationError(CorpusError):
    """A split that is to be exact did not get what it asks for."""


class WorkerError(CorpusError):
    """A worker process died or ran out of memory while on a task."""


class RunError(CorpusError):
    """A stage of training cannot begin, or a run cannot go on, from what is there."""


class LineageError(CorpusError):
    """A stage would train on rows that it must not, or with another tokenizer or template than the run it goes on from."""


def nearest(word: str, known: Iterable[str], *, most: int = 3) -> str:
    """Returns "; did you mean 'a' or 'b'?", or an empty string when nothing known is near to `word`."""
    close = difflib.get_close_matches(word, list(known), n=most, cutoff=0.6)
    return f"; did you mean {' or '.join(repr(c) for c in close)}?" if close else ""
