"""What text amounts to without any tokenizer, and what tokens are counted against: bytes, characters and words.

Words are what fertility is counted by. In English they are what white space separates. In Chinese they are jieba's, of its dictionary
alone (no guessing at new words, where rjieba, which is ten times faster, and jieba differ: in 115 of 600 texts, and in none without), and
only those with a letter, a digit or a character in them: no sign counts as a word. Other languages have no words here.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import polars as pl

from corpus.errors import UsageError
from corpus.tokenizer.text import LANGUAGES

_BATCH = 1_000_000


@dataclass(frozen=True)
class Sized:
    """Texts that tokenizers are measured on; n rows.

    Attributes:
        texts: the texts (String[n]).
        language: of each, as a place in `LANGUAGES` (int64[n]).
        source: of each, as a place in `sources` (int64[n]).
        sources: names of the sources, ascending.
        bytes: of each in UTF-8 (int64[n]).
        chars: its characters (int64[n]).
        words: its words (int64[n]); 0 where they are not counted.
        counted: whether its words are counted (bool[n]).
        segmenter: what cut Chinese into words: rjieba, jieba, or empty where neither is installed.
    """

    texts: pl.Series
    language: np.ndarray
    source: np.ndarray
    sources: tuple[str, ...]
    bytes: np.ndarray
    chars: np.ndarray
    words: np.ndarray
    counted: np.ndarray
    segmenter: str

    @property
    def batches(self) -> list[slice]:
        """Rows in batches of about 1 MB; a longer text is one alone."""
        starts = np.flatnonzero(np.diff((np.cumsum(self.bytes) - self.bytes) // _BATCH, prepend=-1))
        return [slice(int(a), int(b)) for a, b in zip(starts, [*starts[1:], len(self.bytes)], strict=True)]


def sized(rows: pl.DataFrame) -> Sized:
    """Counts what is to be counted in rows.

    Args:
        rows: columns source, language (zh, en; everything else is other) and text.

    Raises:
        UsageError: when there is no row, or no text in any.
    """
    texts = rows["text"].cast(pl.String)
    if not len(rows) or not texts.str.len_bytes().sum():
        raise UsageError("there is no held-out text to measure on: give a file with some by --text, or a recipe whose splits hold rows out")
    names = rows["language"].cast(pl.String).fill_null("other")
    language = names.replace_strict({name: i for i, name in enumerate(LANGUAGES)}, default=len(LANGUAGES) - 1, return_dtype=pl.Int64)
    source = rows["source"].cast(pl.String).fill_null("")
    sources = source.unique().sort()
    found = Sized(
        texts, language.to_numpy(), sources.search_sorted(source).to_numpy().astype(np.int64), tuple(sources.to_list()),
        texts.str.len_bytes().to_numpy().astype(np.int64), texts.str.len_chars().to_numpy().astype(np.int64),
        np.zeros(len(rows), dtype=np.int64), np.zeros(len(rows), dtype=bool), "",
    )  # fmt: skip
    cut, segmenter = _segmenter()
    for batch in found.batches:
        part, spoken = texts[batch], found.language[batch]
        found.words[batch] = np.where(spoken == LANGUAGES.index("en"), part.str.count_matches(r"\S+").to_numpy(), 0)
        chinese = np.flatnonzero(spoken == LANGUAGES.index("zh"))
        if cut is not None and len(chinese):
            found.words[batch.start + chinese] = _chinese(part.gather(chinese), cut)
    counted = (found.language == LANGUAGES.index("en")) | (found.language == LANGUAGES.index("zh")) & (cut is not None)
    return replace(found, counted=counted, segmenter=segmenter)


def _segmenter() -> tuple[Callable[[str], list[str]] | None, str]:
    try:
        import rjieba

        return lambda text: list(rjieba.cut(text, False)), "rjieba"
    except ImportError:
        pass
    try:
        import logging

        import jieba

        jieba.setLogLevel(logging.ERROR)
        return lambda text: jieba.lcut(text, HMM=False), "jieba"
    except ImportError:
        return None, ""


def _chinese(texts: pl.Series, cut: Callable[[str], list[str]]) -> np.ndarray:
    rows = [cut(text) for text in texts]
    words = pl.Series([word for row in rows for word in row], dtype=pl.String).str.contains(r"[\p{L}\p{N}]").to_numpy()
    ends = np.cumsum([len(row) for row in rows])
    total = np.concatenate([[0], np.cumsum(words)])
    return np.diff(total[ends], prepend=0)
