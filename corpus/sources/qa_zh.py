"""Chinese question and answer sites."""

from __future__ import annotations

from corpus.sources.base import Source

SOURCES: tuple[Source, ...] = ()
