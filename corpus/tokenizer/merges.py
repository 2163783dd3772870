"""Byte-pair merges, learnt from counted pieces.

Where the time and the memory of training go. The library's trainer keeps 32 bytes for every byte of every distinct piece, 2.3 GB for 50 MB
of Chinese and English. Here a symbol is four bytes, the pieces shrink in place as they are merged, and only pairs that can still be
merged have a list of the pieces that hold them: those below a bound are left out until nothing above it is left, and then all is counted
anew with a lower bound, by which time there is a fraction of the symbols.

All occurrences of a pair with a new symbol arise in the merge that makes the symbol, so that such lists are written once and never grow.

Two ways to one text give one symbol. Ties are settled by the numbers of the pair, lowest first, as the library settles them: the same
pieces give the same merges.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numba import njit

_LOWER = 4
"""By how much the bound goes down when nothing above it is left."""


@dataclass(frozen=True, slots=True)
class Merges:
    """m merges in the order in which they are learnt, and applied.

    Attributes:
        left: first symbol (int32[m]).
        right: second symbol (int32[m]).
        made: the symbol that they become (int32[m]): a new one, numbered on from those that there were, or one that was there already.
        counts: how often the pair stood in the text when it was merged (int64[m]).
    """

    left: np.ndarray
    right: np.ndarray
    made: np.ndarray
    counts: np.ndarray


def learn(
    symbols: np.ndarray, offsets: np.ndarray, weights: np.ndarray, texts: list[bytes], room: int, *, least: int = 2, longest: int = 32
) -> Merges:
    """Learns merges from pieces of text.

    Args:
        symbols: of all pieces, one piece after another (int32[s]); they are merged in place.
        offsets: which symbols each piece has (int64[pieces + 1]).
        weights: how often each piece occurs (int64[pieces]).
        texts: what each symbol that there is stands for; no two the same.
        room: how many new symbols there may be.
        least: pairs that occur less often are not merged.
        longest: bytes of a new symbol, at most. Publishers' templates hold whole sentences ten thousand times over; a token for each
            is taken from all other texts.
    """
    if room <= 0 or len(symbols) == 0:
        none = np.zeros(0, dtype=np.int32)
        return Merges(none, none, none, np.zeros(0, dtype=np.int64))
    ends = np.cumsum([0, *map(len, texts)], dtype=np.int64)
    arena = np.frombuffer(b"".join(texts), dtype=np.uint8)
    lengths = np.diff(offsets).astype(np.int32)
    left, right, made, counts = _learn(symbols, offsets[:-1], lengths, weights, ends, arena, room, max(1, least), longest)
    return Merges(left, right, made, counts)


@njit(cache=True, nogil=True)
def _spread(key: np.int64, mask: int) -> np.int64:
    h = np.uint64(key)
    h = (h ^ (h >> np.uint64(32))) * np.uint64(0xBF58476D1CE4E5B9)
    h = (h ^ (h >> np.uint64(29))) * np.uint64(0x94D049BB133111EB)
    return np.int64((h ^ (h >> np.uint64(32))) & np.uint64(mask))


@njit(cache=True, nogil=True)
def _find(slots: np.ndarray, keys: np.ndarray, key: np.int64) -> int:
    """The slot of a pair, or the free one where it would be."""
    mask = len(slots) - 1
    at = int(_spread(key, mask))
    while slots[at] >= 0 and keys[slots[at]] != key:
        at = (at + 1) & mask
    return at


@njit(cache=True, nogil=True)
def _rehashed(keys: np.ndarray, size: int, room: int) -> np.ndarray:
    slots = np.full(room, -1, dtype=np.int32)
    for i in range(size):
        slots[_find(slots, keys, keys[i])] = i
    return slots


@njit(cache=True, nogil=True)
def _larger(array: np.ndarray, room: int) -> np.ndarray:
    out = np.empty(room, dtype=array.dtype)
    for i in range(len(array)):  # assigning a slice takes two seconds more to compile, for the messages of its errors
        out[i] = array[i]
    return out


@njit(cache=True, nogil=True)
def _counted(symbols: np.ndarray, starts: np.ndarray, lengths: np.ndarray, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray, int]:
    """All pairs that there are, and how often."""
    keys = np.empty(1 << 16, dtype=np.int64)
    counts = np.empty(1 << 16, dtype=np.int64)
    slots = np.full(1 << 18, -1, dtype=np.int32)
    size = 0
    for p in range(len(starts)):
        for i in range(starts[p], starts[p] + lengths[p] - 1):
            key = np.int64(symbols[i]) << 32 | np.int64(symbols[i + 1])
            at = _find(slots, keys, key)
            if slots[at] >= 0:
                counts[slots[at]] += weights[p]
                continue
            if size == len(keys):
                keys, counts = _larger(keys, 2 * size), _larger(counts, 2 * size)
                slots = _rehashed(keys, size, 8 * size)
                at = _find(slots, keys, key)
            slots[at] = size
            keys[size] = key
            counts[size] = weights[p]
            size += 1
    return keys, counts, size


@njit(cache=True, nogil=True)
def _before(counts: np.ndarray, pairs: np.ndarray, keys: np.ndarray, a: int, b: int) -> bool:
    """Whether one place of the heap comes before another: the more frequent pair, and of two the one of lower numbers."""
    return counts[a] > counts[b] or (counts[a] == counts[b] and keys[pairs[a]] < keys[pairs[b]])


@njit(cache=True, nogil=True)
def _up(counts: np.ndarray, pairs: np.ndarray, keys: np.ndarray, at: int) -> None:
    while at > 0:
        above = (at - 1) >> 1
        if not _before(counts, pairs, keys, at, above):
            return
        counts[at], counts[above] = counts[above], counts[at]
        pairs[at], pairs[above] = pairs[above], pairs[at]
        at = above


@njit(cache=True, nogil=True)
def _down(counts: np.ndarray, pairs: np.ndarray, keys: np.ndarray, at: int, size: int) -> None:
    while True:
        first = 2 * at + 1
        if first >= size:
            return
        if first + 1 < size and _before(counts, pairs, keys, first + 1, first):
            first += 1
        if not _before(counts, pairs, keys, first, at):
            return
        counts[at], counts[first] = counts[first], counts[at]
        pairs[at], pairs[first] = pairs[first], pairs[at]
        at = first


@njit(cache=True, nogil=True)
def _name(arena: np.ndarray, start: int, end: int) -> np.int64:
    h = np.uint64(0xCBF29CE484222325)
    for i in range(start, end):
        h = (h ^ np.uint64(arena[i])) * np.uint64(0x100000001B3)
    return np.int64(h >> np.uint64(1))


@njit(cache=True, nogil=True)
def _known(slots: np.ndarray, arena: np.ndarray, ends: np.ndarray, start: int, end: int) -> int:
    """The slot of the symbol of a text, or the free one where it would be."""
    mask = len(slots) - 1
    at = int(_spread(_name(arena, start, end), mask))
    while slots[at] >= 0:
        s = slots[at]
        if ends[s + 1] - ends[s] == end - start:
            k = 0
            while k < end - start and arena[ends[s] + k] == arena[start + k]:
                k += 1
            if k == end - start:
                return at
        at = (at + 1) & mask
    return at


@njit(cache=True, nogil=True)
def _bound(counts: np.ndarray, size: int, room: int, least: int) -> int:
    """A power of two that at least twice as many pairs reach as there is room for, or `least`."""
    reached = np.zeros(64, dtype=np.int64)
    for i in range(size):
        power = 0
        while counts[i] >> (power + 1):
            power += 1
        reached[power] += 1
    power, found = 63, reached[63]
    while power > 0 and found <= 2 * room:
        power -= 1
        found += reached[power]
    return max(least, 1 << power)


@njit(cache=True, nogil=True)
def _learn(
    symbols: np.ndarray,
    starts: np.ndarray,
    lengths: np.ndarray,
    weights: np.ndarray,
    given_ends: np.ndarray,
    given_arena: np.ndarray,
    room: int,
    least: int,
    longest: int,
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    # Texts of symbols, and which symbol a text has.
    known = len(given_ends) - 1
    first = known
    ends = np.empty(known + room + 1, dtype=np.int64)
    for i in range(known + 1):
        ends[i] = given_ends[i]
    arena = _larger(given_arena, 2 * len(given_arena) + 1024)
    names = np.full(1 << 12, -1, dtype=np.int32)
    while len(names) < 2 * (known + room):
        names = np.full(2 * len(names), -1, dtype=np.int32)
    for s in range(known):
        names[_known(names, arena, ends, ends[s], ends[s + 1])] = s

    # What the symbol that is being made meets on its left and on its right: weight and pieces, by the other symbol.
    met_weight = np.zeros((2, known + room), dtype=np.int64)
    met_pieces = np.zeros((2, known + room), dtype=np.int64)
    met_record = np.full((2, known + room), -1, dtype=np.int32)
    touched = np.empty(1 << 12, dtype=np.int64)
    events = np.empty(1 << 16, dtype=np.int64)  # other symbol and side
    where = np.empty(1 << 16, dtype=np.int32)  # piece

    most = 1 << 12
    left = np.empty(most, dtype=np.int32)
    right = np.empty(most, dtype=np.int32)
    made = np.empty(most, dtype=np.int32)
    merged = np.empty(most, dtype=np.int64)
    done = 0
    bound = np.int64(-1)
    anew = True
    keys = np.empty(0, dtype=np.int64)
    counts = np.empty(0, dtype=np.int64)
    slots = np.full(1, -1, dtype=np.int32)
    begins = np.empty(0, dtype=np.int64)
    sizes = np.empty(0, dtype=np.int64)
    lists = np.empty(0, dtype=np.int32)
    filled = np.int64(0)
    heap_counts = np.empty(0, dtype=np.int64)
    heap_pairs = np.empty(0, dtype=np.int32)
    heaped = 0
    size = 0

    while known - first < room:
        if anew:
            # Counts all pairs that are left, and makes the lists of those that reach the bound.
            anew = False
            all_keys, all_counts, found = _counted(symbols, starts, lengths, weights)
            if bound < 0:
                bound = np.int64(_bound(all_counts, found, room, least))
            size = 0
            for i in range(found):
                if all_counts[i] >= bound:
                    all_keys[size] = all_keys[i]
                    all_counts[size] = all_counts[i]
                    size += 1
            capacity = max(1 << 12, 2 * size)
            keys = _larger(all_keys[:size], capacity)
            counts = _larger(all_counts[:size], capacity)
            table = 1 << 14
            while table < 4 * size:
                table *= 2
            slots = _rehashed(keys, size, table)
            begins = np.zeros(capacity, dtype=np.int64)
            sizes = np.zeros(capacity, dtype=np.int64)
            for p in range(len(starts)):
                for i in range(starts[p], starts[p] + lengths[p] - 1):
                    pair = slots[_find(slots, keys, np.int64(symbols[i]) << 32 | np.int64(symbols[i + 1]))]
                    if pair >= 0:
                        sizes[pair] += 1
            filled = np.int64(0)
            for pair in range(size):
                begins[pair] = filled
                filled += sizes[pair]
                sizes[pair] = 0
            lists = np.empty(filled + filled // 4 + 1024, dtype=np.int32)
            for p in range(len(starts)):
                for i in range(starts[p], starts[p] + lengths[p] - 1):
                    pair = slots[_find(slots, keys, np.int64(symbols[i]) << 32 | np.int64(symbols[i + 1]))]
                    if pair >= 0 and (sizes[pair] == 0 or lists[begins[pair] + sizes[pair] - 1] != p):
                        lists[begins[pair] + sizes[pair]] = p
                        sizes[pair] += 1
            heap_counts = np.empty(capacity, dtype=np.int64)
            heap_pairs = np.empty(capacity, dtype=np.int32)
            heaped = size
            for pair in range(size):
                heap_counts[pair] = counts[pair]
                heap_pairs[pair] = pair
            for at in range(size // 2, -1, -1):
                _down(heap_counts, heap_pairs, keys, at, heaped)

        if heaped == 0 or heap_counts[0] < bound:
            if bound <= least:
                break
            bound = max(np.int64(least), np.int64(bound // _LOWER))
            anew = True
            continue
        pair, told = heap_pairs[0], heap_counts[0]
        heaped -= 1
        heap_counts[0], heap_pairs[0] = heap_counts[heaped], heap_pairs[heaped]
        _down(heap_counts, heap_pairs, keys, 0, heaped)
        if counts[pair] != told:
            # It occurs less often than when it was put in: others were merged that held a part of it.
            if counts[pair] >= bound:
                heap_counts[heaped], heap_pairs[heaped] = counts[pair], pair
                _up(heap_counts, heap_pairs, keys, heaped)
                heaped += 1
            continue

        a, b = np.int32(keys[pair] >> 32), np.int32(keys[pair] & 0xFFFFFFFF)
        # The symbol of their text.
        start = ends[known]
        long = ends[a + 1] - ends[a] + ends[b + 1] - ends[b]
        if start + long > len(arena):
            arena = _larger(arena, 2 * (start + long))
        at = start
        for k in range(ends[a], ends[a + 1]):
            arena[at] = arena[k]
            at += 1
        for k in range(ends[b], ends[b + 1]):
            arena[at] = arena[k]
            at += 1
        if long > longest:
            continue
        slot = _known(names, arena, ends, start, at)
        if names[slot] >= 0:
            c = np.int32(names[slot])
            anew = True  # its pairs may have been there before, below the bound: they are counted again
        else:
            c = np.int32(known)
            names[slot] = c
            ends[known + 1] = at
            known += 1

        if done == most:
            most *= 2
            left, right, made, merged = _larger(left, most), _larger(right, most), _larger(made, most), _larger(merged, most)
        left[done], right[done], made[done], merged[done] = a, b, c, told
        done += 1

        # Merges it in every piece that holds it.
        touches = 0
        seen = 0
        for k in range(begins[pair], begins[pair] + sizes[pair]):
            p = lists[k]
            weight = weights[p]
            begin = starts[p]
            end = begin + lengths[p]
            out = begin
            i = begin
            while i < end:
                if symbols[i] != a or i + 1 >= end or symbols[i + 1] != b:
                    symbols[out] = symbols[i]
                    out += 1
                    i += 1
                    continue
                if seen + 2 > len(events):
                    events, where = _larger(events, 2 * len(events)), _larger(where, 2 * len(where))
                if touches + 2 > len(touched):
                    touched = _larger(touched, 2 * len(touched))
                if out > begin:
                    before = symbols[out - 1]
                    if before == c:
                        met_weight[1, a] -= weight
                    else:
                        old = slots[_find(slots, keys, np.int64(before) << 32 | np.int64(a))]
                        if old >= 0:
                            counts[old] -= weight
                    if met_pieces[0, before] == 0:
                        touched[touches] = np.int64(before) << 1
                        touches += 1
                    met_weight[0, before] += weight
                    met_pieces[0, before] += 1
                    events[seen] = np.int64(before) << 1
                    where[seen] = p
                    seen += 1
                if i + 2 < end:
                    after = symbols[i + 2]
                    old = slots[_find(slots, keys, np.int64(b) << 32 | np.int64(after))]
                    if old >= 0:
                        counts[old] -= weight
                    if met_pieces[1, after] == 0:
                        touched[touches] = np.int64(after) << 1 | 1
                        touches += 1
                    met_weight[1, after] += weight
                    met_pieces[1, after] += 1
                    events[seen] = np.int64(after) << 1 | 1
                    where[seen] = p
                    seen += 1
                symbols[out] = c
                out += 1
                i += 2
            lengths[p] = out - begin
        counts[pair] = 0
        sizes[pair] = 0

        # Those new pairs that reach the bound get a list and a place in the heap.
        if filled + seen > len(lists):
            lists = _larger(lists, int(filled + seen) * 3 // 2)
        for t in range(touches):
            other, side = touched[t] >> 1, touched[t] & 1
            if met_weight[side, other] >= bound and not anew:
                if size == len(keys):
                    keys, counts = _larger(keys, 2 * size), _larger(counts, 2 * size)
                    begins, sizes = _larger(begins, 2 * size), _larger(sizes, 2 * size)
                    heap_counts, heap_pairs = _larger(heap_counts, 2 * size), _larger(heap_pairs, 2 * size)
                if 2 * size > len(slots):
                    slots = _rehashed(keys, size, 2 * len(slots))
                key = np.int64(c) << 32 | other if side else other << 32 | np.int64(c)
                keys[size] = key
                counts[size] = met_weight[side, other]
                slots[_find(slots, keys, key)] = size
                begins[size] = filled
                sizes[size] = 0
                filled += met_pieces[side, other]
                met_record[side, other] = size
                if heaped == len(heap_counts):
                    heap_counts, heap_pairs = _larger(heap_counts, 2 * heaped), _larger(heap_pairs, 2 * heaped)
                heap_counts[heaped], heap_pairs[heaped] = counts[size], size
                _up(heap_counts, heap_pairs, keys, heaped)
                heaped += 1
                size += 1
        for e in range(seen):
            other, side = events[e] >> 1, events[e] & 1
            new = met_record[side, other]
            if new >= 0 and (sizes[new] == 0 or lists[begins[new] + sizes[new] - 1] != where[e]):
                lists[begins[new] + sizes[new]] = where[e]
                sizes[new] += 1
        for t in range(touches):
            other, side = touched[t] >> 1, touched[t] & 1
            met_weight[side, other] = 0
            met_pieces[side, other] = 0
            met_record[side, other] = -1
    return left[:done].copy(), right[:done].copy(), made[:done].copy(), merged[:done].copy()
