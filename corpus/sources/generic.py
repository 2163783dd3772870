"""A user's own files in a known shape."""

from __future__ import annotations

from corpus.sources.base import Source

SOURCES: tuple[Source, ...] = ()
