"""Byte-level BPE, compiled: for the tokenizers that are trained here and those whose pre-tokenizer is known (`corpus.tokenizer.published`),
exactly the ids of the library at many times its speed.

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
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import numpy as np
import pyarrow as pa

from corpus.tokenizer.encode import Encoded, buffers
from corpus.tokenizer.fast_kernels import MOST, SLOTS, WORDS, count_added, cut_added, fill, merged, placed
from corpus.tokenizer.pattern import pre_tokenizer
from corpus.tokenizer.pieces import split
from corpus.tokenizer.published import splitter
from corpus.tokenizer.spelling import alphabet

_NONE = np.iinfo(np.int32).max
_OFF = ("dropout", "continuing_subword_prefix", "end_of_word_suffix", "byte_fallback")
_KNOWN = {"type", "vocab", "merges", "unk_token", "fuse_unk", "ignore_merges", *_OFF}
"""Of a model; the first must be off, and the two of the unknown token have no use where every byte is a token."""


@dataclass(frozen=True, slots=True)
class Added:
    """Added tokens that are looked for together: at each place the longest one, from left to right.

    Attributes:
        first: for every byte whether one begins with it (bool[256]).
        contents: their bytes, the longest first, one after another (uint8).
        bounds: where each begins (int64[k + 1]).
        ids: the id of each, or -1 for one that is encoded as text (int32[k]).
    """

    first: np.ndarray
    contents: np.ndarray
    bounds: np.ndarray
    ids: np.ndarray


@dataclass(frozen=True, slots=True)
class Tables:
    """A tokenizer as arrays.

    Attributes:
        letters: the id of every byte (int32[256]).
        whole: code point → the id of the character where it is one token, else -1 (int32[0x110000]); empty where merging begins with bytes.
        merges: a hash table of pairs: left and right, then rank and what they become (uint64[2 · slots]). Of a unigram model node and
            byte, then the next node.
        sizes: bytes of every token (int32[vocabulary]).
        added: the added tokens; the second ones are looked for in what the first ones leave.
        split: cuts texts into pieces that no token reaches over, as `pieces.split` does.
        scores: of a unigram model, of every token and last of none (float64[vocabulary + 1]); else empty.
        endings: of a unigram model, the token that ends at each node, or -1 (int32[nodes]); else empty.
    """

    letters: np.ndarray
    whole: np.ndarray
    merges: np.ndarray
    sizes: np.ndarray
    added: tuple[Added, ...]
    split: Callable[[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]
    scores: np.ndarray = field(default_factory=lambda: np.zeros(0))
    endings: np.ndarray = field(default_factory=lambda: np.zeros(0, dtype=np.int32))


@dataclass(frozen=True, slots=True)
class Memory:
    """What is remembered of pieces: their bytes and length, and how many tokens they have and which."""

    pieces: np.ndarray = field(default_factory=lambda: np.zeros((SLOTS, WORDS + 1), dtype=np.uint64))
    tokens: np.ndarray = field(default_factory=lambda: np.zeros((SLOTS, MOST + 1), dtype=np.int32))


@dataclass(frozen=True, slots=True)
class Fast:
    """Encodes with a tokenizer that is known; see `corpus.tokenizer.encode.Encoder`.

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
        for a in t.added:
            found = count_added(data, bounds, marks, a.first, a.contents, a.bounds, a.ids)
            if found:
                cuts, known = np.empty(len(bounds) + 2 * found, dtype=np.int64), np.empty(len(marks) + 2 * found, dtype=np.int32)
                segments = np.zeros(len(bounds), dtype=np.int64)
                last = cut_added(data, bounds, marks, a.first, a.contents, a.bounds, a.ids, cuts, known, segments)
                bounds, marks, rows = cuts[: last + 1], known[:last], segments[rows]
        ends, counts = t.split(bounds, data)
        ids, offsets = self._merged(data, bounds, marks, rows, ends, counts)
        starts, behind = np.empty(len(ids), dtype=np.int32), np.empty(len(ids), dtype=np.int32)
        placed(ids, offsets, t.sizes, starts, behind)
        return Encoded(ids, offsets, starts, behind, in_bytes=True)

    def pieces(self, data: np.ndarray, bounds: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The ids of pieces (uint32), and which each has (int64[n + 1]).

        Args:
            data: UTF-8, or parts of it (uint8).
            bounds: where each piece begins, and the last one ends (int64[n + 1]).
        """
        numbers = np.arange(len(bounds))
        return self._merged(data, bounds, np.full(len(bounds) - 1, -1, dtype=np.int32), numbers, bounds[1:], numbers)

    def _merged(
        self, data: np.ndarray, bounds: np.ndarray, marks: np.ndarray, rows: np.ndarray, ends: np.ndarray, counts: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        t = self.tables
        ids = np.empty(int(bounds[-1] - bounds[0]), dtype=np.uint32)
        offsets = np.zeros(len(rows), dtype=np.int64)
        try:
            memory = self.free.pop()
        except IndexError:
            memory = Memory()
        total = merged(
            data, bounds, marks, rows, ends, counts, t.letters, t.whole, t.merges, t.scores, t.endings, memory.pieces, memory.tokens, ids,
            offsets,
        )  # fmt: skip
        self.free.append(memory)
        return ids[:total].copy(), offsets


def encoder(settings: Mapping[str, Any]) -> Fast | None:
    """What encodes with a byte-level tokenizer, where everything that says how it encodes is known; else None.

    Args:
        settings: tokenizer.json as the library writes it: it numbers added tokens by itself, whatever a file says. Its special tokens are
            encoded as text.
    """
    model = settings["model"]
    added = settings.get("added_tokens") or []
    if (
        model.get("type") != "BPE"
        or set(model) - _KNOWN
        or settings.get("normalizer") is not None
        or any(model.get(name) for name in _OFF)
        or any(not t["content"] or t["single_word"] or t["lstrip"] or t["rstrip"] for t in added)
    ):
        return None
    cut = split if settings.get("pre_tokenizer") == _ours() else splitter(settings.get("pre_tokenizer"))
    if cut is None:
        return None
    vocabulary: dict[str, int] = model["vocab"]
    letters = alphabet()
    if any(letter not in vocabulary for letter in letters):
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
    told = Tables(
        letters=np.array([vocabulary[letter] for letter in letters], dtype=np.int32),
        whole=_whole(spelled, pairs, [vocabulary[letter] for letter in letters]),
        merges=hashed(pairs),
        sizes=sizes,
        added=looked_for(added),
        split=cut,
    )
    fast = Fast(told)
    if model.get("ignore_merges") and not _reached(fast, spelled):
        return None
    return fast


def looked_for(added: Sequence[Mapping[str, Any]]) -> tuple[Added, ...]:
    """The added tokens of a tokenizer.json as arrays: those that are matched in the text, and in what they leave those that are matched in
    the normalised text. Special ones are text."""
    return tuple(
        _added([t for t in added if t["normalized"] is kind]) for kind in (False, True) if any(t["normalized"] is kind for t in added)
    )


def _added(tokens: list[Mapping[str, Any]]) -> Added:
    longest_first = sorted(tokens, key=lambda t: -len(t["content"].encode()))
    contents = [t["content"].encode() for t in longest_first]
    first = np.zeros(256, dtype=np.bool_)
    first[[c[0] for c in contents]] = True
    return Added(
        first=first,
        contents=np.frombuffer(b"".join(contents), dtype=np.uint8),
        bounds=np.cumsum([0, *map(len, contents)], dtype=np.int64),
        ids=np.array([-1 if t["special"] else t["id"] for t in longest_first], dtype=np.int32),
    )


def _reached(fast: Fast, spelled: dict[int, bytes]) -> bool:
    """Whether merging leads from its own bytes to every token that can be a piece; a piece that is a token is that token then anyway."""
    tokens = {i: text for i, text in spelled.items() if _whole_characters(text)}
    data = np.frombuffer(b"".join(tokens.values()), dtype=np.uint8)
    bounds = np.cumsum([0, *map(len, tokens.values())], dtype=np.int64)
    alone = np.diff(fast.tables.split(bounds, data)[1]) == 1
    ids, offsets = fast.pieces(data, bounds)
    same = (np.diff(offsets) == 1) & (ids[offsets[:-1]] == np.array(list(tokens), dtype=np.uint32))
    return bool(same[alone].all())


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
    if _whole_characters(text):
        return True
    inner = text[1:] if text[0] >= 0xC0 else text
    return all(0x80 <= b < 0xC0 for b in inner) and (text[0] < 0xC0 or len(text) <= _size(text[0]))


def _whole_characters(text: bytes) -> bool:
    try:
        text.decode()
    except UnicodeDecodeError:
        return False
    return True


def _size(lead: int) -> int:
    return 2 if lead < 0xE0 else 3 if lead < 0xF0 else 4


def hashed(pairs: dict[tuple[int, int], tuple[int, int]]) -> np.ndarray:
    """Pairs and what they become as a hash table, see `Tables`."""
    slots = 1 << max(4, (4 * len(pairs)).bit_length())
    table = np.full(2 * slots, np.iinfo(np.uint64).max, dtype=np.uint64)
    if pairs:
        keys = np.array(list(pairs), dtype=np.uint64)
        values = np.array(list(pairs.values()), dtype=np.uint64)
        fill(table, keys[:, 0] << np.uint64(32) | keys[:, 1], values[:, 0] << np.uint64(32) | values[:, 1])
    return table
