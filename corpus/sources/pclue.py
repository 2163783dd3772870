"""pCLUE: prompts over the CLUE benchmark."""

from __future__ import annotations

from corpus.sources.base import Source

SOURCES: tuple[Source, ...] = ()
