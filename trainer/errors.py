"""Errors of training, in the tree of `corpus.errors`: a sentence and exit status 2, no traceback."""

from __future__ import annotations

from corpus.errors import CorpusError


class RunError(CorpusError):
    """A run cannot begin, or cannot go on, from what is there."""


class LineageError(CorpusError):
    """A stage would train on what its parents trained on or on what is held out, or does not go with its parent."""


class ProbeError(CorpusError):
    """A look at data or model before training found them wrong."""
