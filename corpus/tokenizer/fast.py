"""Byte-level BPE, compiled: for the tokenizers that are trained here, exactly the ids of the library at many times its speed.

The library cuts a text by a backtracking regular expression and makes strings and objects of its pieces and tokens: 2 to 3 MB/s on one
core, where this does 16 to 26. Here a text stays the bytes that it is. Its pieces (`corpus.tokenizer.pieces`) are looked up among those
that were seen before, by all their bytes and not by a hash alone; only what is not there is merged.

A character that is one token is one symbol to begin with. That changes nothing when no token has the end of one character and the
beginning of another, and no merge of a character comes before those that make it; both are looked at when a tokenizer is loaded, and where
they do not hold merging begins with bytes.

A tokenizer is taken when everything in it that says how texts are encoded is known. All others are run by the library.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import numpy as np
import pyarrow as pa

from corpus.tokenizer.encode import Encoded, buffers
from corpus.tokenizer.fast_kernels import MOST, SLOTS, WORDS, count_added, cut_added, fill, merged, placed
from corpus.tokenizer.pattern import pre_tokenizer
from corpus.tokenizer.pieces import split
from corpus.tokenizer.spelling import alphabet

_NONE = np.iinfo(np.int32).max
_OFF = ("dropout", "continuing_subword_prefix", "end_of_word_suffix", "byte_fallback", "ignore_merges")
_KNOWN = {"type", "vocab", "merges", "unk_token", "fuse_unk", *_OFF}
"""Of a model; the first must be off, and the two of the unknown token have no use where every byte is a token."""


@dataclass(frozen=True, slots=True)
class Tables:
    """A tokenizer as arrays.

    Attributes:
        letters: the id of every byte (int32[256]).
        whole: code point → the id of the character where it is one token, else -1 (int32[0x110000]); empty where merging begins with bytes.
        merges: a hash table of pairs: left and right, then rank and what they become (uint64[2 · slots]).
        sizes: bytes of every token (int32[vocabulary]).
        first: for every byte whether an added token begins with it (bool[256]).
        added: the bytes of the added tokens, the longest first, one after another (uint8).
        bounds: where each begins (int64[k + 1]).
        ids: the id of each, or -1 for one that is encoded as text (int32[k]).
    """

    letters: np.ndarray
    whole: np.ndarray
    merges: np.ndarray
    sizes: np.ndarray
    first: np.ndarray
    added: np.ndarray
    bounds: np.ndarray
    ids: np.ndarray


@dataclass(frozen=True, slots=True)
class Memory:
    """What is remembered of pieces: their bytes and length, and how many tokens they have and which."""

    pieces: np.ndarray = field(default_factory=lambda: np.zeros((SLOTS, WORDS + 1), dtype=np.uint64))
    tokens: np.ndarray = field(default_factory=lambda: np.zeros((SLOTS, MOST + 1), dtype=np.int32))


@dataclass(frozen=True, slots=True)
class Fast:
    """Encodes with one of our own tokenizers; see `corpus.tokenizer.encode.Encoder`.

    Attributes:
        tables: the tokenizer.
        free: memories that no thread is using.
    """

    tables: Tables
    free: list[Memory] = field(default_factory=list)

    def __call__(self, texts: pa.Array) -> Encoded:
        """The tokens of texts (string, without nulls). Places are in bytes."""
        data, at = buffers(texts)
        t = self.tables
        bounds, marks, rows = at, np.full(len(texts), -1, dtype=np.int32), np.arange(len(at))
        if len(t.ids):
            found = count_added(data, at, t.first, t.added, t.bounds, t.ids)
            if found:
                bounds = np.empty(len(texts) + 2 * found + 1, dtype=np.int64)
                marks = np.empty(len(texts) + 2 * found, dtype=np.int32)
                rows = np.zeros(len(at), dtype=np.int64)
                segments = cut_added(data, at, t.first, t.added, t.bounds, t.ids, bounds, marks, rows)
                bounds, marks = bounds[: segments + 1], marks[:segments]
        ends, counts = split(bounds, data)
        ids = np.empty(int(at[-1] - at[0]), dtype=np.uint32)
        offsets = np.zeros(len(at), dtype=np.int64)
        try:
            memory = self.free.pop()
        except IndexError:
            memory = Memory()
        total = merged(data, bounds, marks, rows, ends, counts, t.letters, t.whole, t.merges, memory.pieces, memory.tokens, ids, offsets)
        self.free.append(memory)
        ids = ids[:total].copy()
        starts, behind = np.empty(total, dtype=np.int32), np.empty(total, dtype=np.int32)
        placed(ids, offsets, t.sizes, starts, behind)
        return Encoded(ids, offsets, starts, behind, in_bytes=True)


def tables(settings: Mapping[str, Any]) -> Tables | None:
    """A tokenizer as arrays, where everything that says how it encodes is known; else None.

    Args:
        settings: tokenizer.json. Its special tokens are encoded as text.
    """
    model = settings["model"]
    added = settings.get("added_tokens") or []
    if (
        model.get("type") != "BPE"
        or set(model) - _KNOWN
        or settings.get("normalizer") is not None
        or settings.get("pre_tokenizer") != _ours()
    ):
        return None
    if any(model.get(name) for name in _OFF):
        return None
    if any(not t["content"] or t["single_word"] or t["lstrip"] or t["rstrip"] or t["normalized"] for t in added):
        return None
    vocabulary: dict[str, int] = model["vocab"]
    letters = alphabet()
    if any(letter not in vocabulary for letter in letters):
        return None
    # The library numbers added tokens by itself, whatever a file says, unless the vocabulary has them.
    if any(vocabulary.get(t["content"]) != t["id"] for t in added):
        return None
    pairs: dict[tuple[int, int], tuple[int, int]] = {}
    for rank, pair in enumerate(model["merges"]):
        left, right = pair.split(" ") if isinstance(pair, str) else pair
        if left not in vocabulary or right not in vocabulary or left + right not in vocabulary:
            return None
        pairs[vocabulary[left], vocabulary[right]] = rank, vocabulary[left + right]
    byte = {letter: b for b, letter in enumerate(letters)}
    spelled = {i: bytes([byte[c] for c in token]) for token, i in vocabulary.items() if all(c in byte for c in token)}
    sizes = np.zeros(max([*vocabulary.values(), *(t["id"] for t in added)]) + 1, dtype=np.int32)
    for i, text in spelled.items():
        sizes[i] = len(text)
    for token in added:
        sizes[token["id"]] = len(token["content"].encode())
    longest_first = sorted(added, key=lambda t: -len(t["content"].encode()))
    contents = [t["content"].encode() for t in longest_first]
    first = np.zeros(256, dtype=np.bool_)
    first[[c[0] for c in contents]] = True
    return Tables(
        letters=np.array([vocabulary[letter] for letter in letters], dtype=np.int32),
        whole=_whole(spelled, pairs, [vocabulary[letter] for letter in letters]),
        merges=_hashed(pairs),
        sizes=sizes,
        first=first,
        added=np.frombuffer(b"".join(contents), dtype=np.uint8),
        bounds=np.cumsum([0, *map(len, contents)], dtype=np.int64),
        ids=np.array([-1 if t["special"] else t["id"] for t in longest_first], dtype=np.int32),
    )


def _ours() -> Any:
    from tokenizers import Tokenizer, models

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizer()
    return json.loads(tokenizer.to_str())["pre_tokenizer"]


def _whole(spelled: dict[int, bytes], pairs: dict[tuple[int, int], tuple[int, int]], letters: list[int]) -> np.ndarray:
    """Code point → id of the character, see `Tables`."""
    table = np.full(0x110000, -1, dtype=np.int32)
    made = {pair: (rank, new, spelled[new]) for pair, (rank, new) in pairs.items() if new in spelled}
    if len(made) < len(pairs) or any(not _apart(text) for _, _, text in made.values()):
        return np.zeros(0, dtype=np.int32)
    earliest: dict[int, int] = {}
    for (left, right), (rank, _) in pairs.items():
        for part in (left, right):
            earliest[part] = min(rank, earliest.get(part, rank))
    for i, text in spelled.items():
        try:
            character = text.decode()
        except UnicodeDecodeError:
            continue
        if len(character) != 1:
            continue
        symbols, last = [letters[b] for b in text], -1
        while len(symbols) > 1:
            rank, at = min((pairs.get((a, b), (_NONE, 0))[0], n) for n, (a, b) in enumerate(pairwise(symbols)))
            if rank == _NONE:
                break
            symbols[at : at + 2] = [pairs[symbols[at], symbols[at + 1]][1]]
            last = max(last, rank)
        if symbols == [i]:
            if last >= earliest.get(i, _NONE):
                return np.zeros(0, dtype=np.int32)
            table[ord(character)] = i
    return table


def _apart(text: bytes) -> bool:
    """Whether it is whole characters, or a part of one."""
    try:
        text.decode()
    except UnicodeDecodeError:
        inner = text[1:] if text[0] >= 0xC0 else text
        return all(0x80 <= b < 0xC0 for b in inner) and (text[0] < 0xC0 or len(text) <= _size(text[0]))
    return True


def _size(lead: int) -> int:
    return 2 if lead < 0xE0 else 3 if lead < 0xF0 else 4


def _hashed(pairs: dict[tuple[int, int], tuple[int, int]]) -> np.ndarray:
    slots = 1 << max(4, (4 * len(pairs)).bit_length())
    table = np.full(2 * slots, np.iinfo(np.uint64).max, dtype=np.uint64)
    if pairs:
        keys = np.array(list(pairs), dtype=np.uint64)
        values = np.array(list(pairs.values()), dtype=np.uint64)
        fill(table, keys[:, 0] << np.uint64(32) | keys[:, 1], values[:, 0] << np.uint64(32) | values[:, 1])
    return table
