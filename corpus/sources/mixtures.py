"""gpt4all, OIG, HugNLP, LMFlow and other mixtures."""

from __future__ import annotations

from corpus.sources.base import Source

SOURCES: tuple[Source, ...] = ()
