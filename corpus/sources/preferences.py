"""Preference sets: comparisons, rankings and rewards."""

from __future__ import annotations

from corpus.sources.base import Source

SOURCES: tuple[Source, ...] = ()
