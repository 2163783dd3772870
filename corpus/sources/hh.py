"""Anthropic's hh-rlhf and what others made of it."""

from __future__ import annotations

from corpus.sources.base import Source

SOURCES: tuple[Source, ...] = ()
