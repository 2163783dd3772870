"""OpenAssistant: trees, flat messages and their exports."""

from __future__ import annotations

from corpus.sources.base import Source

SOURCES: tuple[Source, ...] = ()
