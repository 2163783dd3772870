"""The extra `tokenizer` of pyproject.toml: libraries that everything but byte-level BPE needs, and how an installation gets them."""

from __future__ import annotations

from corpus.errors import CorpusError

INSTALL = ".venv/bin/pip install -e '.[tokenizer]'"


def missing(what: str, library: str) -> CorpusError:
    """The error of something that needs a library which is not installed."""
    return CorpusError(f"{what} needs {library}, which is not installed; {INSTALL}")
