"""The project's own kinds, trained through the command line as a user trains them."""

from __future__ import annotations

import sys
from pathlib import Path

KINDS = ("bpe", "jieba-words", "sentencepiece-bpe", "sentencepiece-unigram")


def command(kind: str, text: Path, vocab: int, out: Path) -> list[str]:
    """What trains a kind on the whole of a text, into a folder."""
    whole = sys.maxsize  # the size is the benchmark's, not what the kind would draw from it
    options = {"--kind": kind, "--text": text, "--vocab": vocab, "--sample": whole, "--out": out}
    return [sys.executable, "-m", "corpus.cli", "tokenizer", "train", *(str(x) for pair in options.items() for x in pair)]
