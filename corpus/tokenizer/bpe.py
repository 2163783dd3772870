"""Byte-level BPE, lossless: the default.

A token is whole characters, or a part of one: never the end of one and the beginning of another, which the library's trainer learns too,
and at which no text can be cut. So there are two streams of merges that do not touch: within characters, over how often each character
occurs, and between whole characters. A pair of characters is never more frequent than either of them, so both streams in the order of their
counts are what one greedy run over all of it would give, with a third of the symbols for Chinese.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from heapq import merge
from typing import TYPE_CHECKING

import numpy as np
import polars as pl
from numba import njit

from corpus.errors import DataError, UsageError
from corpus.tokenizer.counts import Counts, count
from corpus.tokenizer.merges import learn
from corpus.tokenizer.pattern import pre_tokenizer
from corpus.tokenizer.pieces import code_at
from corpus.tokenizer.spec import TokenizerSpec, Trained
from corpus.tokenizer.specials import Specials
from corpus.tokenizer.spelling import alphabet, spelled

if TYPE_CHECKING:
    from tokenizers import Tokenizer

_BYTES = 256


def train(texts: Iterable[pl.Series], spec: TokenizerSpec, specials: Specials) -> Trained:
    """Trains byte-level BPE.

    Args:
        texts: columns of some MB, no nulls.
        spec: what is asked for.
        specials: the special tokens.

    Raises:
        DataError: when there is no text, or the vocabulary has no room for all bytes.
    """
    started = time.perf_counter()
    counts = count(texts)
    counted = time.perf_counter()
    trained = from_counts(counts, spec, specials)
    facts = {"count_seconds": round(counted - started, 2), "learn_seconds": round(time.perf_counter() - counted, 2)}
    return Trained(trained.tokenizer, None, {**trained.facts, **facts})


def from_counts(counts: Counts, spec: TokenizerSpec, specials: Specials) -> Trained:
    """Trains byte-level BPE on counted pieces.

    Args:
        counts: the pieces; no merge goes over the edge of one.
        spec: what is asked for.
        specials: the special tokens.

    Raises:
        DataError: when there are no pieces, or the vocabulary has no room for all bytes.
        UsageError: when a symbol cannot be a token of its own.
    """
    if not len(counts.counts):
        raise DataError("there is no text to learn a tokenizer from: the split is empty, or the sample smaller than a row")
    letters = alphabet()
    _check_symbols(specials, letters)
    reserved = [*specials.special, *specials.plain]
    vocabulary = {token: i for i, token in enumerate(reserved)}
    for letter in sorted(letters):
        vocabulary.setdefault(letter, len(vocabulary))
    if (least := len(vocabulary)) > spec.vocab_size:
        raise DataError(
            f"a vocabulary of {spec.vocab_size} has no room for {_BYTES} bytes and {len(reserved)} special tokens; ask for {least} at least"
        )
    merges = []
    # A symbol that is learnt, too, is there already, and leaves room for another token.
    for left, right in _pairs(counts, spec.vocab_size - least + len(specials.plain) if spec.vocab_size > least else 0):
        one, other = spelled(left), spelled(right)
        if one + other not in vocabulary:
            if len(vocabulary) == spec.vocab_size:
                break
            vocabulary[one + other] = len(vocabulary)
        merges.append((one, other))
    facts = {"distinct_pieces": len(counts.counts), "merges": len(merges), "vocab_size": len(vocabulary)}
    return Trained(_assembled(vocabulary, merges, specials), None, facts)


def _check_symbols(specials: Specials, letters: Iterable[str]) -> None:
    """Sees to it that symbols can be told from bytes: the library decodes a token of characters that all stand for bytes (`é`) as these."""
    for symbol in specials.symbols:
        if not symbol.isascii() and set(symbol) <= set(letters):
            raise UsageError(
                f"symbol {symbol[:40]!r}: byte-level tokenizers write bytes with these characters, and it would come back as others; "
                "leave it out, or take a kind of sentencepiece"
            )


def _assembled(vocabulary: dict[str, int], merges: list[tuple[str, str]], specials: Specials) -> Tokenizer:
    """A byte-level tokenizer with our pre-tokenizer, as the library runs it; special tokens have their ids in the vocabulary."""
    from tokenizers import Tokenizer, decoders, models

    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=merges))
    tokenizer.pre_tokenizer = pre_tokenizer()
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_tokens(specials.added())
    return tokenizer


def _pairs(counts: Counts, room: int) -> Iterator[tuple[bytes, bytes]]:
    """The merges of both streams, the most frequent first; those within characters first where they are equally frequent."""
    # Bytes are numbered as the library numbers them, by the character that stands for each: this settles ties.
    order = sorted(range(_BYTES), key=alphabet().__getitem__)
    single = [bytes([b]) for b in order]
    rank = np.argsort(np.array(order)).astype(np.int32)

    codes, symbols, ends = _characters(counts)
    weights = np.zeros(len(codes), dtype=np.int64)
    _weigh(symbols, ends, counts.counts, weights)
    characters = [chr(code).encode() for code in codes.tolist()]
    inside = np.frombuffer(b"".join(characters), dtype=np.uint8)
    inside_ends = np.cumsum([0, *map(len, characters)], dtype=np.int64)
    within = _merged(rank[inside], inside_ends, weights, list(single), room)

    # A character of one byte is that byte; the others are numbered behind the bytes.
    number = np.arange(len(codes), dtype=np.int32) + np.int32(_BYTES) - np.int32(np.searchsorted(codes, 0x80))
    plain = codes < 0x80
    number[plain] = rank[codes[plain]]
    whole = [c for c in characters if len(c) > 1]
    between = _merged(number[symbols], ends, counts.counts, single + whole, room)
    # Of equally frequent ones the first stream's come first, so that a character is there before it is merged with another.
    for _, left, right in merge(within, between, key=lambda m: -m[0]):
        yield left, right


def _merged(symbols: np.ndarray, ends: np.ndarray, weights: np.ndarray, texts: list[bytes], room: int) -> list[tuple[int, bytes, bytes]]:
    """Merges as count and the texts of the two."""
    learnt = learn(symbols, ends, weights, texts, room)
    merges: list[tuple[int, bytes, bytes]] = []
    for left, right, made, count_ in zip(*(a.tolist() for a in (learnt.left, learnt.right, learnt.made, learnt.counts)), strict=True):
        if made == len(texts):
            texts.append(texts[left] + texts[right])
        merges.append((count_, texts[left], texts[right]))
    return merges


def _characters(counts: Counts) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The characters of all pieces: which there are, ascending (int64), which of these each is (int32), and where each piece ends."""
    codes = np.empty(int(np.count_nonzero((counts.data & 0xC0) != 0x80)), dtype=np.int32)
    ends = np.zeros(len(counts.offsets), dtype=np.int64)
    seen = np.zeros(0x110000, dtype=np.bool_)
    _decoded(counts.data, counts.offsets, codes, ends, seen)
    there = np.flatnonzero(seen)
    number = np.zeros(0x110000, dtype=np.int32)
    number[there] = np.arange(len(there), dtype=np.int32)
    _renumbered(codes, number)
    return there, codes, ends


@njit(cache=True, nogil=True)
def _decoded(data: np.ndarray, offsets: np.ndarray, codes: np.ndarray, ends: np.ndarray, seen: np.ndarray) -> None:
    n = 0
    for p in range(len(offsets) - 1):
        at = offsets[p]
        while at < offsets[p + 1]:
            code, at = code_at(data, at)
            codes[n] = code
            seen[code] = True
            n += 1
        ends[p + 1] = n


@njit(cache=True, nogil=True)
def _renumbered(codes: np.ndarray, number: np.ndarray) -> None:
    for i in range(len(codes)):
        codes[i] = number[codes[i]]


@njit(cache=True, nogil=True)
def _weigh(symbols: np.ndarray, ends: np.ndarray, weights: np.ndarray, out: np.ndarray) -> None:
    for p in range(len(ends) - 1):
        for i in range(ends[p], ends[p + 1]):
            out[symbols[i]] += weights[p]
