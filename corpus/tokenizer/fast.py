"""Byte-level BPE, compiled: for the tokenizers that are trained here, exactly the ids of the library at many times its speed.

Where the library's time goes: two thirds into the regular expression, most of the rest into strings and objects of every token. Here a
text stays the bytes that it is. Its pieces (`corpus.tokenizer.pieces`) are looked up among those that were seen before, by all their bytes
and not by a hash alone; only what is not there is merged.

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
from numba import njit

from corpus.tokenizer.bpe import alphabet
from corpus.tokenizer.encode import Encoded, buffers
from corpus.tokenizer.pattern import pre_tokenizer
from corpus.tokenizer.pieces import split

_NONE = np.iinfo(np.int32).max
_SLOTS = 1 << 16
"""Pieces that are remembered, one in each slot: 5 MB for a thread."""
_WORDS = 4
"""Of eight bytes: longer pieces are not remembered."""
_MOST = 9
"""Tokens of a piece that is remembered, at most."""
_SHORT = 96
"""Symbols that are merged by looking through all of them for the next merge; more go through a heap."""

_OFF = ("dropout", "continuing_subword_prefix", "end_of_word_suffix", "byte_fallback", "ignore_merges")
_KNOWN = {"type", "vocab", "merges", "unk_token", "fuse_unk", *_OFF}
"""Of a model; the first must be off, and the two of the unknown token have no use where every byte is a token."""

_MIX, _MIX2 = np.uint64(0x9E3779B97F4A7C15), np.uint64(0xC2B2AE3D27D4EB4F)


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

    pieces: np.ndarray = field(default_factory=lambda: np.zeros((_SLOTS, _WORDS + 1), dtype=np.uint64))
    tokens: np.ndarray = field(default_factory=lambda: np.zeros((_SLOTS, _MOST + 1), dtype=np.int32))


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
            found = _count_added(data, at, t.first, t.added, t.bounds, t.ids)
            if found:
                bounds = np.empty(len(texts) + 2 * found + 1, dtype=np.int64)
                marks = np.empty(len(texts) + 2 * found, dtype=np.int32)
                rows = np.zeros(len(at), dtype=np.int64)
                segments = _cut_added(data, at, t.first, t.added, t.bounds, t.ids, bounds, marks, rows)
                bounds, marks = bounds[: segments + 1], marks[:segments]
        ends, counts = split(bounds, data)
        ids = np.empty(int(at[-1] - at[0]), dtype=np.uint32)
        offsets = np.zeros(len(at), dtype=np.int64)
        try:
            memory = self.free.pop()
        except IndexError:
            memory = Memory()
        total = _encode(data, bounds, marks, rows, ends, counts, t.letters, t.whole, t.merges, memory.pieces, memory.tokens, ids, offsets)
        self.free.append(memory)
        ids = ids[:total].copy()
        starts, behind = np.empty(total, dtype=np.int32), np.empty(total, dtype=np.int32)
        _placed(ids, offsets, t.sizes, starts, behind)
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
        _fill(table, keys[:, 0] << np.uint64(32) | keys[:, 1], values[:, 0] << np.uint64(32) | values[:, 1])
    return table


@njit(cache=True, nogil=True)
def _slot(key: np.uint64, slots: int) -> np.int64:
    mixed = key * _MIX
    return np.int64((mixed ^ (mixed >> np.uint64(29))) & np.uint64(slots - 1))


@njit(cache=True, nogil=True)
def _fill(table: np.ndarray, keys: np.ndarray, values: np.ndarray) -> None:
    slots = len(table) // 2
    empty = np.uint64(0xFFFFFFFFFFFFFFFF)
    for i in range(len(keys)):
        at = _slot(keys[i], slots)
        while table[2 * at] != empty:
            at = (at + 1) & (slots - 1)
        table[2 * at] = keys[i]
        table[2 * at + 1] = values[i]


@njit(cache=True, nogil=True)
def _merge(table: np.ndarray, left: int, right: int) -> np.uint64:
    """Rank and new symbol of a pair; all ones where it is none."""
    slots = len(table) // 2
    key = np.uint64(left) << np.uint64(32) | np.uint64(right)
    empty = np.uint64(0xFFFFFFFFFFFFFFFF)
    at = _slot(key, slots)
    while table[2 * at] != key:
        if table[2 * at] == empty:
            return empty
        at = (at + 1) & (slots - 1)
    return table[2 * at + 1]


@njit(cache=True, nogil=True)
def _longest(data: np.ndarray, at: int, end: int, added: np.ndarray, bounds: np.ndarray) -> int:
    """The longest added token that stands at a place; -1 where there is none."""
    for k in range(len(bounds) - 1):
        size = bounds[k + 1] - bounds[k]
        if at + size > end:
            continue
        same = True
        for i in range(size):
            if data[at + i] != added[bounds[k] + i]:
                same = False
                break
        if same:
            return k
    return -1


@njit(cache=True, nogil=True)
def _count_added(data: np.ndarray, at: np.ndarray, first: np.ndarray, added: np.ndarray, bounds: np.ndarray, ids: np.ndarray) -> int:
    found = 0
    for row in range(len(at) - 1):
        i, end = at[row], at[row + 1]
        while i < end:
            if first[data[i]]:
                k = _longest(data, i, end, added, bounds)
                if k >= 0:
                    found += ids[k] >= 0
                    i += bounds[k + 1] - bounds[k]
                    continue
            i += 1
    return found


@njit(cache=True, nogil=True)
def _cut_added(
    data: np.ndarray, at: np.ndarray, first: np.ndarray, added: np.ndarray, bounds: np.ndarray, ids: np.ndarray, cuts: np.ndarray,
    marks: np.ndarray, rows: np.ndarray,
) -> int:  # fmt: skip
    """Cuts texts at their added tokens: where each segment begins, its id where it is one, and how many segments the texts before have."""
    n = 0
    cuts[0] = at[0]
    for row in range(len(at) - 1):
        i, end = at[row], at[row + 1]
        begin = i
        while i < end:
            if first[data[i]]:
                k = _longest(data, i, end, added, bounds)
                if k >= 0:
                    after = i + bounds[k + 1] - bounds[k]
                    if ids[k] >= 0:
                        if i > begin:
                            marks[n] = -1
                            cuts[n + 1] = i
                            n += 1
                        marks[n] = ids[k]
                        cuts[n + 1] = after
                        n += 1
                        begin = after
                    i = after
                    continue
            i += 1
        if end > begin:
            marks[n] = -1
            cuts[n + 1] = end
            n += 1
        rows[row + 1] = n
    return n


@njit(cache=True, nogil=True)
def _encode(
    data: np.ndarray, bounds: np.ndarray, marks: np.ndarray, rows: np.ndarray, ends: np.ndarray, counts: np.ndarray, letters: np.ndarray,
    whole: np.ndarray, merges: np.ndarray, pieces: np.ndarray, tokens: np.ndarray, out: np.ndarray, offsets: np.ndarray,
) -> int:  # fmt: skip
    """Pieces → ids; returns how many."""
    total = 0
    symbols = np.empty(1024, dtype=np.int32)
    found = np.empty(1024, dtype=np.uint64)
    key = np.empty(_WORDS, dtype=np.uint64)
    for row in range(len(rows) - 1):
        for segment in range(rows[row], rows[row + 1]):
            if marks[segment] >= 0:
                out[total] = marks[segment]
                total += 1
                continue
            at = bounds[segment]
            for piece in range(counts[segment], counts[segment + 1]):
                end = ends[piece]
                size = end - at
                slot = np.int64(-1)
                if size <= 8 * _WORDS:
                    mixed = np.uint64(size) * _MIX2
                    i = at
                    for w in range(_WORDS):
                        word = np.uint64(0)
                        most = min(end, i + 8)
                        shift = np.uint64(0)
                        while i < most:
                            word |= np.uint64(data[i]) << shift
                            shift += np.uint64(8)
                            i += 1
                        key[w] = word
                        mixed = (mixed ^ word) * _MIX
                        mixed ^= mixed >> np.uint64(32)
                    slot = np.int64(mixed & np.uint64(_SLOTS - 1))
                    same = pieces[slot, _WORDS] == np.uint64(size)
                    for w in range(_WORDS):
                        same = same and pieces[slot, w] == key[w]
                    if same:
                        for k in range(tokens[slot, 0]):
                            out[total + k] = tokens[slot, 1 + k]
                        total += tokens[slot, 0]
                        at = end
                        continue
                if size > len(symbols):
                    symbols = np.empty(2 * size, dtype=np.int32)
                    found = np.empty(2 * size, dtype=np.uint64)
                n = _spelled(data, at, end, letters, whole, symbols)
                if n > _SHORT:
                    n = _merge_long(symbols, n, merges)
                elif n > 1:
                    n = _merge_short(symbols, n, merges, found)
                for k in range(n):
                    out[total + k] = symbols[k]
                total += n
                if slot >= 0 and n <= _MOST:
                    for w in range(_WORDS):
                        pieces[slot, w] = key[w]
                    pieces[slot, _WORDS] = size
                    tokens[slot, 0] = n
                    for k in range(n):
                        tokens[slot, 1 + k] = symbols[k]
                at = end
        offsets[row + 1] = total
    return total


@njit(cache=True, nogil=True)
def _spelled(data: np.ndarray, at: int, end: int, letters: np.ndarray, whole: np.ndarray, symbols: np.ndarray) -> int:
    """The symbols that merging begins with."""
    n = 0
    while at < end:
        b = np.int64(data[at])
        size = 1
        if b >= 0xC0 and len(whole):
            size = 2 if b < 0xE0 else 3 if b < 0xF0 else 4
            code = b & (0xFF >> (size + 1))
            for k in range(1, size):
                code = code << 6 | (np.int64(data[at + k]) & 0x3F)
            if whole[code] >= 0:
                symbols[n] = whole[code]
                n += 1
                at += size
                continue
        for k in range(size):
            symbols[n] = letters[data[at + k]]
            n += 1
        at += size
    return n


@njit(cache=True, nogil=True)
def _merge_short(symbols: np.ndarray, n: int, merges: np.ndarray, found: np.ndarray) -> int:
    """Merges symbols where they stand, the lowest rank first and of equal ones the leftmost; returns how many are left."""
    none = np.uint64(0xFFFFFFFFFFFFFFFF)
    for i in range(n - 1):
        found[i] = _merge(merges, symbols[i], symbols[i + 1])
    while n > 1:
        best = 0
        for i in range(1, n - 1):
            if found[i] < found[best]:
                best = i
        if found[best] == none:
            break
        symbols[best] = np.int32(found[best] & np.uint64(0xFFFFFFFF))
        for i in range(best + 1, n - 1):
            symbols[i] = symbols[i + 1]
        for i in range(best + 1, n - 2):
            found[i] = found[i + 1]
        n -= 1
        if best > 0:
            found[best - 1] = _merge(merges, symbols[best - 1], symbols[best])
        if best < n - 1:
            found[best] = _merge(merges, symbols[best], symbols[best + 1])
    return n


@njit(cache=True, nogil=True)
def _merge_long(symbols: np.ndarray, n: int, merges: np.ndarray) -> int:
    """The same through a heap of rank and place; an entry whose pair is no longer there is passed over."""
    none = np.uint64(0xFFFFFFFFFFFFFFFF)
    heap = np.empty(3 * n, dtype=np.uint64)
    before, behind = np.arange(-1, n - 1), np.arange(1, n + 1)
    size = 0
    for i in range(n - 1):
        pair = _merge(merges, symbols[i], symbols[i + 1])
        if pair != none:
            size = _push(heap, size, (pair >> np.uint64(32)) << np.uint64(32) | np.uint64(i))
    while size:
        top = heap[0]
        size = _pop(heap, size)
        at = np.int64(top & np.uint64(0xFFFFFFFF))
        if symbols[at] < 0 or behind[at] >= n:
            continue
        j = behind[at]
        pair = _merge(merges, symbols[at], symbols[j])
        if pair == none or pair >> np.uint64(32) != top >> np.uint64(32):
            continue
        symbols[at] = np.int32(pair & np.uint64(0xFFFFFFFF))
        symbols[j] = -1
        behind[at] = behind[j]
        if behind[j] < n:
            before[behind[j]] = at
            pair = _merge(merges, symbols[at], symbols[behind[at]])
            if pair != none:
                size = _push(heap, size, (pair >> np.uint64(32)) << np.uint64(32) | np.uint64(at))
        if before[at] >= 0:
            pair = _merge(merges, symbols[before[at]], symbols[at])
            if pair != none:
                size = _push(heap, size, (pair >> np.uint64(32)) << np.uint64(32) | np.uint64(before[at]))
    left = 0
    for i in range(n):
        if symbols[i] >= 0:
            symbols[left] = symbols[i]
            left += 1
    return left


@njit(cache=True, nogil=True)
def _push(heap: np.ndarray, size: int, entry: np.uint64) -> int:
    at = size
    while at > 0 and heap[(at - 1) >> 1] > entry:
        heap[at] = heap[(at - 1) >> 1]
        at = (at - 1) >> 1
    heap[at] = entry
    return size + 1


@njit(cache=True, nogil=True)
def _pop(heap: np.ndarray, size: int) -> int:
    size -= 1
    entry = heap[size]
    at = 0
    while True:
        child = 2 * at + 1
        if child >= size:
            break
        if child + 1 < size and heap[child + 1] < heap[child]:
            child += 1
        if heap[child] >= entry:
            break
        heap[at] = heap[child]
        at = child
    heap[at] = entry
    return size


@njit(cache=True, nogil=True)
def _placed(ids: np.ndarray, offsets: np.ndarray, sizes: np.ndarray, starts: np.ndarray, ends: np.ndarray) -> None:
    for row in range(len(offsets) - 1):
        at = 0
        for i in range(offsets[row], offsets[row + 1]):
            starts[i] = at
            at += sizes[ids[i]]
            ends[i] = at
