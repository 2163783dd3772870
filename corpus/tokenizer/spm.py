"""Tokenizers learnt by sentencepiece, BPE and unigram: lossless, in bounded memory, with nothing left out in silence.

Sentencepiece was made for lines of text. Given those, it normalises (NFKC deletes full-width punctuation), drops line breaks, skips
lines over a length and whole lines that have U+2585, and keeps every line in memory. Here it is given counted words instead, as its
`tsv` input: text is cut where a piece must not reach over, equal words are counted together, and what it learns from is a table of some
225,000 words for 10 MB. That takes away every one of these, half of the time, and most of the memory.

A cut word is what a piece can be at most: a run of one script's letters with one mark or the spaces before it, a digit, a run of marks
with the line breaks after it. Measured at 32,000 on 10 MB (bytes per token on other rows, Chinese and English): BPE on lines with every
setting lossless 4.82 and 3.86; on words that keep line breaks, tabs and runs of spaces 4.83 and 4.00; with the mark before Chinese (as in
`，但`) and before letters 5.09 and 4.00. Unigram on lines 4.73 and 3.74, on words and seeds (spm_seeds) 4.97 and 3.97.

Lossless but for one character, as in every sentencepiece model: a space is written U+2581 inside, so a U+2581 in a text is a space when it
is decoded. Characters that are too rare for a piece, NUL and the like are spelled in bytes; no text gives the unknown token.
"""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import polars as pl

from corpus.errors import CorpusError, DataError, UsageError
from corpus.tokenizer import spm_format, spm_model
from corpus.tokenizer.extra import missing
from corpus.tokenizer.spec import Kind, TokenizerSpec, Trained
from corpus.tokenizer.specials import Specials
from corpus.tokenizer.spelling import FALLBACKS, SPACE
from corpus.tokenizer.spm_seeds import seeds

COVERAGE = 0.9995
"""Share of the characters of a text that are to be pieces of their own; the others are spelled in bytes. Sentencepiece's default."""

THREADS = 4
"""Unigram adds up floats by thread: a number that does not follow the machine, so that the same text gives the same model everywhere."""

SEEDS = 300_000
SEEDS_PER_TOKEN = 10
"""Substrings that a unigram model is pruned from: at least so many, and so many for each token."""

_NAMES = ("unk", "bos", "eos", "pad")

TAB = "\t"
"""A symbol in every model, since sentencepiece uses it as a mark of its own and never learns it."""

_RESERVED = f"\\x00{SPACE}▅"
_HAN = r"\p{Han}\p{Hiragana}\p{Katakana}ー"
_MARK = rf"[^\s\p{{L}}\p{{M}}\p{{N}}{_RESERVED}]"
WORDS = "|".join(
    (
        r"'(?:s|t|re|ve|m|ll|d)\b",
        rf"{_MARK}?[{_HAN}]{{1,16}}",
        rf" {{0,16}}[{_HAN}]{{1,16}}",
        rf"(?:{_MARK}| {{0,16}})[\p{{L}}\p{{M}}&&[^{_HAN}]]{{1,64}}",
        r" {0,16}\p{N}",
        rf" {{0,16}}{_MARK}{{1,16}}[\r\n]{{0,8}}",
        r"[\r\n]{1,16}",
        r" {1,16}",
        r"[^\S \t]{1,16}",
    )
)
"""What text is cut into before pieces are learnt: everything but tabs and the three characters that sentencepiece keeps for itself."""

_BATCH = 32
"""Columns whose words are counted together before they join the others."""


def train(texts: Iterable[pl.Series], spec: TokenizerSpec, specials: Specials) -> Trained:
    """Trains a tokenizer with sentencepiece.

    Args:
        texts: columns of text of about 1 MB each, without nulls.
        spec: what to train; its kind is one of sentencepiece's.
        specials: the special tokens and symbols, whose ids they begin with.

    Returns:
        The tokenizer, sentencepiece's `.model` with the same ids, and as facts how many characters of the text were learnt from
        (`characters_learnt` of `characters`; the others are tabs, rare and reserved ones), `words`, `alphabet` and `vocab_size`.

    Raises:
        CorpusError: sentencepiece is not installed, or there is no text.
        UsageError: the vocabulary is too small, or symbols are not what sentencepiece can hold.
    """
    if find_spec("sentencepiece") is None:
        raise missing(spec.kind.value, "sentencepiece")
    symbols = _symbols(specials)
    meta = len(specials.special) + len(symbols) + 256
    words, characters = counted(texts)
    unigram = spec.kind is Kind.SENTENCEPIECE_UNIGRAM
    # A space without a piece would be spelled in the bytes of U+2581, and come back as that. And the library finds the names of special
    # tokens and bytes among a unigram model's pieces: spelling them must not need a character that is none (spm_model), nor may a symbol.
    needed = {SPACE}
    if unigram:
        needed |= set("".join((*FALLBACKS, *specials.special, *symbols)).replace(" ", SPACE))
    needed -= set(symbols)  # they have a piece
    alphabet = _alphabet(words, (spec.vocab_size - meta - len(needed)) // 2, spec, meta + len(needed))
    words = _within(words, alphabet)
    if words.is_empty():
        raise CorpusError(f"{spec.kind.value}: there is no text to learn a tokenizer from; expected at least one character in the split")
    required = "".join(sorted(needed))
    if unigram:
        # Seeds are lines of a file: a line break needs another name while it is learnt.
        line = next(chr(code) for code in range(0xE000, 0xF8FF) if code not in alphabet and chr(code) not in "".join(specials.plain))
        aliased = words.with_columns(pl.col("word").str.replace_all("\n", line, literal=True))
        model = _learn(aliased, spec, specials, [symbol.replace("\n", line) for symbol in symbols], required.replace("\n", line))
        found = spm_model.quantised([replace(p, text=p.text.replace(line, "\n")) for p in spm_format.pieces(model)])
        model = spm_format.rewritten(model, found, line)
    else:
        model = _learn(words, spec, specials, symbols, required)
        found = spm_format.pieces(model)
    tokenizer = (spm_model.unigram if unigram else spm_model.bpe)(found, specials)
    learnt = int((words["count"] * words["word"].str.len_chars()).sum())
    facts = {
        "characters": characters,
        "characters_learnt": learnt,
        "words": len(words),
        "alphabet": len(alphabet),
        "vocab_size": len(found),
    }
    return Trained(tokenizer, model, facts)


def counted(texts: Iterable[pl.Series]) -> tuple[pl.DataFrame, int]:
    """Cuts texts into words and counts equal ones.

    Args:
        texts: columns of text.

    Returns:
        A table of `word` and `count`, the most frequent first, and how many characters the texts have.
    """
    characters = 0
    parts: list[pl.DataFrame] = []
    for text in texts:
        characters += int(text.str.len_chars().sum())
        parts.append(
            text.str.extract_all(WORDS).explode().drop_nulls().to_frame("word").group_by("word").agg(count=pl.len().cast(pl.Int64))
        )
        if len(parts) > _BATCH:
            parts = [_summed(parts)]
    if not parts:
        return pl.DataFrame(schema={"word": pl.String, "count": pl.Int64}), 0
    return _summed(parts).sort("count", "word", descending=[True, False]), characters


def _summed(parts: list[pl.DataFrame]) -> pl.DataFrame:
    return pl.concat(parts).group_by("word").agg(pl.col("count").sum())


def _alphabet(words: pl.DataFrame, most: int, spec: TokenizerSpec, taken: int) -> np.ndarray:
    """Code points that are pieces of their own: the most frequent ones, up to `COVERAGE` of all and to half of the pieces."""
    if most < 1:
        raise UsageError(
            f"vocab_size {spec.vocab_size} is too small for {spec.kind.value}: special tokens, symbols and bytes alone are {taken}; "
            f"give it at least {taken + 100}"
        )
    counts = np.zeros(0x110000, np.int64)
    for part in words.iter_slices(200_000):
        codes = np.frombuffer("".join(part["word"]).encode("utf-32-le"), np.uint32)
        each = np.repeat(part["count"].to_numpy(), part["word"].str.len_chars().to_numpy())
        counts += np.bincount(codes, each, 0x110000).astype(np.int64)
    order = np.argsort(-counts, kind="stable")[: np.count_nonzero(counts)]
    before = np.cumsum(counts[order]) - counts[order]
    return np.sort(order[before < COVERAGE * counts.sum()][:most])


def _within(words: pl.DataFrame, alphabet: np.ndarray) -> pl.DataFrame:
    """The words, cut where they have characters that are not in the alphabet, which are left out."""
    if words.is_empty():
        return words
    kept = spm_model.ranges("".join(map(chr, alphabet)))
    cut = words.with_columns(pl.col("word").str.replace_all(f"[^{kept}]", "\0").str.split("\0")).explode("word")
    return _summed([cut.filter(pl.col("word") != "")]).sort("count", "word", descending=[True, False])


def _symbols(specials: Specials) -> list[str]:
    """The symbols as sentencepiece has them, the tab last."""
    symbols = [text.replace(" ", SPACE) for text in specials.plain]
    if TAB not in symbols:
        symbols.append(TAB)
    known = {*FALLBACKS, *specials.special}
    seen: set[str] = set()
    for symbol in symbols:
        if "\0" in symbol or "▅" in symbol or len(symbol.encode()) > 4096:
            raise UsageError(
                f"symbol {symbol[:40]!r}: sentencepiece has no symbols with NUL or U+2585, and none over 4,096 bytes; leave it out"
            )
        if symbol in known or symbol in seen:
            raise UsageError(f"symbol {symbol!r} is a token already (spaces are U+2581 to sentencepiece); leave it out")
        seen.add(symbol)
    return symbols


def _rows(words: pl.DataFrame, needed: str) -> Iterator[str]:
    """Lines as sentencepiece reads them: word, tab, count. The needed characters once each: it omits some that never occur."""
    for part in words.iter_slices(100_000):
        yield from part.select(pl.format("{}\t{}", "word", "count")).to_series()
    yield from (f"{char}\t1" for char in needed)


def _learn(words: pl.DataFrame, spec: TokenizerSpec, specials: Specials, symbols: list[str], needed: str) -> bytes:
    """The `.model` as sentencepiece writes it."""
    import sentencepiece

    unigram = spec.kind is Kind.SENTENCEPIECE_UNIGRAM
    options: dict[str, Any] = {
        "model_type": "unigram" if unigram else "bpe",
        "input_format": "tsv",
        "vocab_size": spec.vocab_size,
        "hard_vocab_limit": False,
        "character_coverage": 1.0,  # the alphabet was chosen already
        "required_chars": needed,
        "normalization_rule_name": "identity",
        "add_dummy_prefix": False,
        "remove_extra_whitespaces": False,
        "byte_fallback": True,
        "split_digits": True,
        "split_by_unicode_script": False,  # words were cut already, and a mark may stand before Chinese
        "allow_whitespace_only_pieces": True,
        "control_symbols": list(specials.others),
        "user_defined_symbols": symbols,
        "num_threads": THREADS,
        "minloglevel": 3,
        **{f"{name}_id": i for i, name in enumerate(_NAMES)},
        **{f"{name}_piece": text for name, text in zip(_NAMES, specials.special, strict=False)},
    }
    out = io.BytesIO()
    try:
        with TemporaryDirectory(prefix="yuliao-") as folder:
            if unigram:
                start = seeds(words, max(SEEDS, SEEDS_PER_TOKEN * spec.vocab_size)).with_columns(
                    pl.col("piece").str.replace_all(" ", SPACE, literal=True)
                )
                path = Path(folder) / "seeds.tsv"
                start.write_csv(path, separator="\t", include_header=False, quote_style="never")
                options |= {"seed_sentencepieces_file": str(path), "seed_sentencepiece_size": len(start) + 0x110000}
            sentencepiece.SentencePieceTrainer.train(sentence_iterator=_rows(words, needed), model_writer=out, **options)
    except (RuntimeError, OSError) as error:
        what = f"{spec.kind.value}: sentencepiece could not learn {spec.vocab_size} tokens from {len(words)} different words"
        raise DataError(f"{what}: {error}; expected more text, or fewer tokens") from error
    return out.getvalue()
