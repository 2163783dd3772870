"""Byte-level BPE whose merges stay within Chinese words.

Pieces are counted as for `corpus.tokenizer.bpe`; those of Han characters, each distinct one once, are then cut into words by jieba's
dictionary, and merges are learnt from how often words occur. The sign before a piece goes with its first word, as the blank goes with an
English word (without it Chinese had 4.31 bytes to the token where it has 4.63). What comes out is plain BPE with the same pre-tokenizer:
encoding needs no dictionary. It costs tokens, since Chinese has much that is said together and is no word (docs/tokenizers.md has figures);
what it gives is a vocabulary of words, for what reads tokens as such.

jieba is slow, and rjieba, the same in Rust, cuts ten to fifteen times as many characters a second. They agree on runs of U+4E00 to U+9FD5,
with and without the model for unknown words (HMM): of 170,000 distinct runs not one is cut differently. They do not agree on Latin letters
and signs between Han (one text in six), nor on Han characters beyond that range, which jieba takes one by one; so those are taken one by
one here, and nothing but runs is given to either. A dictionary of the user's own needs jieba itself: with further words rjieba weighs all
others differently (1 run in 170). 200 MB take 19 s with the one and 83 s with the other; threads do not help, since the time goes into
making Python's strings.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa
from numba import njit

from corpus.errors import DataError
from corpus.text.marks import utf8
from corpus.tokenizer import bpe
from corpus.tokenizer.counts import Counter, Counts, count
from corpus.tokenizer.extra import missing
from corpus.tokenizer.pieces import IDEOGRAPH, classes, code_at
from corpus.tokenizer.spec import TokenizerSpec, Trained
from corpus.tokenizer.specials import Specials

KNOWN = "\u4e00-\u9fd5"
"""The characters that jieba cuts into words; it takes all other Han characters one by one."""
BATCH = 30_000
"""Pieces that are cut at once, some MB."""

Cut = Callable[[str], list[str]]
"""Cuts a text, of runs of `KNOWN` and line feeds, into words and line feeds."""


def train(texts: Iterable[pl.Series], spec: TokenizerSpec, specials: Specials) -> Trained:
    """Trains byte-level BPE within words.

    Args:
        texts: columns of some MB, no nulls.
        spec: what is asked for; `words` is a dictionary of the user's own.
        specials: the special tokens.

    Raises:
        DataError: when there is no text, the vocabulary has no room for all bytes, or the dictionary cannot be read.
        CorpusError: when jieba is not installed.
    """
    started = time.perf_counter()
    cut = quick() if spec.words is None else own(spec.words)
    counts = count(texts)
    counted = time.perf_counter()
    words = segmented(counts, cut)
    cut_at = time.perf_counter()
    trained = bpe.from_counts(words, spec, specials)
    facts = {
        "count_seconds": round(counted - started, 2),
        "cut_seconds": round(cut_at - counted, 2),
        "learn_seconds": round(time.perf_counter() - cut_at, 2),
        "distinct_uncut": len(counts.counts),
        "segmenter": "rjieba" if spec.words is None else "jieba",
    }
    return Trained(trained.tokenizer, None, {**trained.facts, **facts})


def segmented(counts: Counts, cut: Cut) -> Counts:
    """Cuts pieces of Han characters into words, and counts these; all other pieces stay as they are.

    Args:
        counts: the pieces.
        cut: what cuts runs into words.
    """
    counter = Counter()
    starts, ends = counts.offsets[:-1], counts.offsets[1:]
    leads = _leads(counts.data, counts.offsets, classes())
    others = leads < 0
    counter.add(counts.data, starts[others], ends[others], counts.counts[others])
    chosen = np.flatnonzero(~others)
    pieces = pa.LargeStringArray.from_buffers(
        len(counts.counts), pa.py_buffer(np.ascontiguousarray(counts.offsets)), pa.py_buffer(np.ascontiguousarray(counts.data))
    )
    for at in range(0, len(chosen), BATCH):
        here = chosen[at : at + BATCH]
        texts = pl.Series(pieces.take(pa.array(here)), dtype=pl.String)
        _add_words(counter, _runs(texts, leads[here], counts.counts[here]), cut)
    return counter.counts()


def _runs(pieces: pl.Series, leads: np.ndarray, counts: np.ndarray) -> pl.DataFrame:
    """Cuts pieces into runs of characters that jieba cuts, and each other character.

    Returns:
        `lead` (what stands before the run in its piece, one character or none), `run`, `count`.
    """
    length = pl.col("length")
    runs = pl.DataFrame({"piece": pieces, "length": leads, "count": counts}).select(
        pl.col("piece").str.slice(0, length).alias("lead"), pl.col("piece").str.slice(length).alias("run"), "count"
    )
    mixed = runs["run"].str.contains(f"[^{KNOWN}]")
    parts = runs.filter(mixed).with_columns(pl.col("run").str.extract_all(f"[{KNOWN}]+|[^{KNOWN}]")).with_row_index("piece").explode("run")
    first = pl.col("piece").is_first_distinct()
    parts = parts.select(pl.when(first).then("lead").otherwise(pl.lit("")).alias("lead"), "run", "count")
    return pl.concat([runs.filter(~mixed), parts])


def _add_words(counter: Counter, runs: pl.DataFrame, cut: Cut) -> None:
    """Counts the words of runs: all are cut in one call, a line each."""
    words = pl.Series(cut("\n".join(runs["run"].to_list())), dtype=pl.String)
    breaks = (words == "\n").to_numpy()
    words = words.filter(~breaks)
    line = np.cumsum(breaks)[~breaks]
    first = np.concatenate([[True], line[1:] != line[:-1]])
    leads = runs["lead"].gather(line[first])
    full = words.scatter(np.flatnonzero(first), leads + words.filter(first))
    offsets, data = utf8(full)
    counter.add(data, offsets[:-1], offsets[1:], runs["count"].to_numpy()[line])


def quick() -> Cut:
    """Cuts by jieba's own dictionary, as jieba does.

    Raises:
        CorpusError: when rjieba is not installed.
    """
    try:
        from rjieba import Jieba
    except ImportError:
        raise missing("jieba-words", "rjieba") from None
    return Jieba().cut


def own(path: Path | None = None) -> Cut:
    """Cuts by jieba's own dictionary and that of the user.

    Args:
        path: the user's dictionary: a word, how often it occurs and what it is a line, the last two optional.

    Raises:
        DataError: when the dictionary cannot be read.
        CorpusError: when jieba is not installed.
    """
    entries = [] if path is None else dictionary(path)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # its patterns are not raw strings, and it asks for pkg_resources
            import jieba
    except ImportError:
        raise missing("jieba-words", "jieba") from None
    segmenter = jieba.Tokenizer()
    # As `initialize` does, but without the cache in the folder of temporary files, which anybody can put there.
    segmenter.FREQ, segmenter.total = segmenter.gen_pfdict(segmenter.get_dict_file())
    segmenter.initialized = True
    for word, freq, tag in entries:
        segmenter.add_word(word, freq, tag)
    return segmenter.lcut


_LONGEST = 1000
"""Characters of a word: jieba keeps every beginning of every word, whose size is the square of it. No piece has more than 32."""


def dictionary(path: Path) -> list[tuple[str, int | None, str | None]]:
    """Reads a dictionary in jieba's format.

    Args:
        path: UTF-8, an entry a line: the word, and after blanks how often it occurs and what it is (`n`, `v` …), both optional.

    Returns:
        Word, count and tag of each entry.

    Raises:
        DataError: when there is no such file, or a line of it is no entry.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise DataError(f"{path}: the dictionary of words cannot be read ({error.strerror})") from None
    entries: list[tuple[str, int | None, str | None]] = []
    for number, raw in enumerate(data.removeprefix(b"\xef\xbb\xbf").split(b"\n"), 1):
        try:
            parts = raw.decode().split()
        except UnicodeDecodeError:
            raise DataError(f"{path}, line {number}: not UTF-8 ({raw[:40]!r}); expected a dictionary in UTF-8") from None
        if not parts:
            continue
        word, *rest = parts
        if len(word) > _LONGEST:
            raise DataError(f"{path}, line {number}: {word[:20]!r}… has {len(word):,} characters; expected words of at most {_LONGEST:,}")
        tag = rest.pop() if rest and rest[-1].isascii() and rest[-1].isalpha() else None
        if rest and not (len(rest) == 1 and rest[0].isascii() and rest[0].isdigit() and len(rest[0]) < 19 and int(rest[0]) > 0):
            found = " ".join(rest)[:60]
            raise DataError(
                f"{path}, line {number}: {found!r} is no count of {word!r}; expected: word, a number from 1 on, tag (both optional)"
            )
        entries.append((word, int(rest[0]) if rest else None, tag))
    return entries


@njit(cache=True, nogil=True)
def _leads(data: np.ndarray, offsets: np.ndarray, table: np.ndarray) -> np.ndarray:
    """How many characters stand before the Han ones of a piece, 0 or 1; -1 where there are no Han ones (int64[p])."""
    out = np.full(len(offsets) - 1, -1, dtype=np.int64)
    for p in range(len(offsets) - 1):
        code, after = code_at(data, offsets[p])
        if table[code] == IDEOGRAPH:
            out[p] = 0
        elif after < offsets[p + 1]:
            code, _ = code_at(data, after)
            if table[code] == IDEOGRAPH:
                out[p] = 1
    return out
