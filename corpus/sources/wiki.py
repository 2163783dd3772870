"""Wikipedia: dumps, WikiExtractor output and plain text."""

from __future__ import annotations

from corpus.sources.base import Source

SOURCES: tuple[Source, ...] = ()
