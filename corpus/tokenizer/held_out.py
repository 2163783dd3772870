"""Held-out text, and what of it has nothing to do with any tokenizer: bytes, characters and words.

Words are what fertility is counted by. In English they are what white space separates. In Chinese they are jieba's, of its dictionary
alone (no guessing at new words, where rjieba, which is ten times faster, and jieba differ: in 115 of 600 texts, and in none without), and
only those with a letter, a digit or a character in them: no sign counts as a word. Other languages have no words here.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from corpus.errors import DataError, UsageError

LANGUAGES = ("zh", "en", "other")
_MOST = 1_000_000_000
_BATCH = 1_000_000


@dataclass(frozen=True)
class HeldOut:
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


def held_out(rows: pl.DataFrame) -> HeldOut:
    """Counts what is to be counted in held-out rows.

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
    found = HeldOut(
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


def rows_of(path: Path) -> pl.DataFrame:
    """Held-out rows from a file of the user's.

    Args:
        path: `.parquet` or `.jsonl` with a column text (and source, where it has one), or `.txt`: a row for each paragraph, which
            ends at an empty line. Rows without text are left out.

    Returns:
        row_id (the place in the file), source, language (zh, en, other), text.

    Raises:
        UsageError: when there is no such file, its name ends otherwise, or it is larger than 1 GB: a sample says the same.
        DataError: when it cannot be read, or has no text.
    """
    from corpus.text.language import languages  # loads compiled kernels

    if not path.is_file():
        raise UsageError(f"{path}: there is no such file; expected a .parquet, .jsonl or .txt with text to measure on")
    if path.stat().st_size > _MOST:
        raise UsageError(f"{path}: {path.stat().st_size / 1e9:.1f} GB; give a sample of at most {_MOST / 1e9:.0f} GB, 20 MB are plenty")
    rows = _read(path)
    if "text" not in rows.columns or rows["text"].dtype not in (pl.String, pl.Categorical):
        found = ", ".join(f"{name} ({kind})" for name, kind in rows.schema.items())
        raise DataError(f"{path}: expected a column text that holds text, found {found or 'none'}")
    rows = rows.with_row_index("row_id").drop_nulls("text")
    source = pl.col("source").cast(pl.String).fill_null(path.stem) if _named(rows) else pl.lit(path.stem)
    rows = rows.select(pl.col("row_id").cast(pl.String), source.alias("source"), pl.col("text").cast(pl.String))
    if not len(rows):
        raise DataError(f"{path}: no row has text")
    # In parts: what finding a language takes of memory does not grow with the file then.
    parts = [languages(rows["text"][i : i + 1000]).cast(pl.String) for i in range(0, len(rows), 1000)]
    language = pl.concat(parts).alias("language").fill_null("other")
    rows = rows.with_columns(language.replace({"mixed": "other"}))
    return rows.select("row_id", "source", "language", "text")


def _named(rows: pl.DataFrame) -> bool:
    """Whether rows say where they are from: in a word or number, not in a list of them."""
    return "source" in rows.columns and not rows["source"].dtype.is_nested() and rows["source"].dtype != pl.Binary


def _read(path: Path) -> pl.DataFrame:
    try:
        if path.suffix == ".parquet":
            have = [name for name in ("source", "text") if name in pq.read_schema(path).names]
            table = pq.read_table(path, columns=have)
            table.validate(full=True)  # text that is no UTF-8, which parquet does not look at
            return pl.DataFrame(table) if have else pl.DataFrame()
        if path.suffix in (".jsonl", ".ndjson"):
            found = pl.read_ndjson(path, schema={"text": pl.String, "source": pl.String})
            return found if found["source"].null_count() < len(found) else found.drop("source")
        if path.suffix == ".txt":
            text = path.read_bytes().decode("utf-8")
            # The empty lines themselves stay with the paragraph before them: they are text as well.
            return pl.DataFrame({"text": pl.Series([text]).str.extract_all(r"(?s).+?(?:\r?\n(?:[ \t]*\r?\n)+|\z)").explode()})
    except (pl.exceptions.PolarsError, pa.ArrowException, UnicodeDecodeError, OSError) as e:
        raise DataError(f"{path}: cannot be read as {path.suffix}: {e}") from e
    raise UsageError(f"{path}: expected a file that ends in .parquet, .jsonl or .txt")


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
