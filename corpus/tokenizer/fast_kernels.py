"""The kernels of `corpus.tokenizer.fast`: added tokens found, pieces looked up, merged or divided, places counted.

All of them are in one file: a kernel that is cached on disk does not notice that another file's has changed.
"""

from __future__ import annotations

import numpy as np
from numba import njit

SLOTS = 1 << 16
"""Pieces that are remembered, one in each slot: 5 MB for a thread."""
WORDS = 4
"""Of eight bytes: longer pieces are not remembered."""
MOST = 9
"""Tokens of a piece that is remembered, at most."""
_SHORT = 96
"""Symbols that are merged by looking through all of them for the next merge; more go through a heap."""

_MIX, _MIX2 = np.uint64(0x9E3779B97F4A7C15), np.uint64(0xC2B2AE3D27D4EB4F)


@njit(cache=True, nogil=True)
def _slot(key: np.uint64, slots: int) -> np.int64:
    mixed = key * _MIX
    return np.int64((mixed ^ (mixed >> np.uint64(29))) & np.uint64(slots - 1))


@njit(cache=True, nogil=True)
def fill(table: np.ndarray, keys: np.ndarray, values: np.ndarray) -> None:
    """Puts keys and values into an empty table of pairs, twice as many slots as keys at least."""
    slots = len(table) // 2
    empty = np.uint64(0xFFFFFFFFFFFFFFFF)
    for i in range(len(keys)):
        at = _slot(keys[i], slots)
        while table[2 * at] != empty:
            at = (at + 1) & (slots - 1)
        table[2 * at] = keys[i]
        table[2 * at + 1] = values[i]


@njit(cache=True, nogil=True)
def _merge(table: np.ndarray, left: np.uint64, right: np.uint64) -> np.uint64:
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
def count_added(
    data: np.ndarray, at: np.ndarray, known: np.ndarray, first: np.ndarray, added: np.ndarray, bounds: np.ndarray, ids: np.ndarray
) -> int:
    """How many added tokens that have an id stand in texts; those that are known to be tokens are not looked at."""
    found = 0
    for row in range(len(at) - 1):
        if known[row] >= 0:
            continue
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
def cut_added(
    data: np.ndarray, at: np.ndarray, known: np.ndarray, first: np.ndarray, added: np.ndarray, bounds: np.ndarray, ids: np.ndarray,
    cuts: np.ndarray, marks: np.ndarray, rows: np.ndarray,
) -> int:  # fmt: skip
    """Cuts texts at their added tokens: where each segment begins, its id where it is one, and how many segments the texts before have."""
    n = 0
    cuts[0] = at[0]
    for row in range(len(at) - 1):
        i, end = at[row], at[row + 1]
        if known[row] >= 0:
            marks[n] = known[row]
            cuts[n + 1] = end
            n += 1
            rows[row + 1] = n
            continue
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
def merged(
    data: np.ndarray, bounds: np.ndarray, marks: np.ndarray, rows: np.ndarray, ends: np.ndarray, counts: np.ndarray, letters: np.ndarray,
    whole: np.ndarray, merges: np.ndarray, scores: np.ndarray, endings: np.ndarray, pieces: np.ndarray, tokens: np.ndarray, out: np.ndarray,
    offsets: np.ndarray,
) -> int:  # fmt: skip
    """Pieces → ids, by merging, or by the best way to divide them where there are scores; returns how many."""
    total = 0
    symbols = np.empty(1024, dtype=np.int32)
    found = np.empty(1024, dtype=np.uint64)
    best = np.empty(1024 if len(scores) else 0, dtype=np.float64)
    back = np.empty((len(best), 2), dtype=np.int64)
    key = np.empty(WORDS, dtype=np.uint64)
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
                if size <= 8 * WORDS:
                    mixed = np.uint64(size) * _MIX2
                    i = at
                    for w in range(WORDS):
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
                    slot = np.int64(mixed & np.uint64(SLOTS - 1))
                    same = pieces[slot, WORDS] == np.uint64(size)
                    for w in range(WORDS):
                        same = same and pieces[slot, w] == key[w]
                    if same:
                        for k in range(tokens[slot, 0]):
                            out[total + k] = tokens[slot, 1 + k]
                        total += tokens[slot, 0]
                        at = end
                        continue
                if size >= len(symbols):
                    symbols = np.empty(2 * size, dtype=np.int32)
                    found = np.empty(2 * size, dtype=np.uint64)
                    best = np.empty(2 * size if len(scores) else 0, dtype=np.float64)
                    back = np.empty((len(best), 2), dtype=np.int64)
                if len(scores):
                    n = _divided(data, at, end, letters, merges, scores, endings, best, back, symbols)
                else:
                    n = _spelled(data, at, end, letters, whole, symbols)
                    if n > _SHORT:
                        n = _merge_long(symbols, n, merges)
                    elif n > 1:
                        n = _merge_short(symbols, n, merges, found)
                for k in range(n):
                    out[total + k] = symbols[k]
                total += n
                if slot >= 0 and n <= MOST:
                    for w in range(WORDS):
                        pieces[slot, w] = key[w]
                    pieces[slot, WORDS] = size
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
def _divided(
    data: np.ndarray, at: int, end: int, letters: np.ndarray, tree: np.ndarray, scores: np.ndarray, endings: np.ndarray, best: np.ndarray,
    back: np.ndarray, symbols: np.ndarray,
) -> int:  # fmt: skip
    """The tokens whose scores come to most, of equal ones those found first; characters without a token in bytes. Returns how many.

    `tree` has for a node and a byte the next node; `endings` the token that ends at each, or -1; the last score is that of no token.
    """
    none = np.uint64(0xFFFFFFFFFFFFFFFF)
    size = end - at
    for i in range(size + 1):
        back[i, 0] = -1
    best[0] = 0.0
    i = 0
    while i < size:
        b = np.int64(data[at + i])
        step = 1 if b < 0x80 else 2 if b < 0xE0 else 3 if b < 0xF0 else 4
        alone = False
        node, k = np.uint64(0), i
        while k < size:
            node = _merge(tree, node, data[at + k])
            if node == none:
                break
            k += 1
            token = endings[node]
            if token >= 0:
                score = best[i] + scores[token]
                if back[k, 0] < 0 or score > best[k]:
                    best[k], back[k, 0], back[k, 1] = score, i, token
                alone = alone or k == i + step
        if not alone:
            k = i + step
            score = best[i] + scores[-1]
            if back[k, 0] < 0 or score > best[k]:
                best[k], back[k, 0], back[k, 1] = score, i, -1
        i += step
    n = 0
    while i > 0:
        before = back[i, 0]
        if back[i, 1] >= 0:
            symbols[n] = back[i, 1]
            n += 1
        else:
            for k in range(i - 1, before - 1, -1):
                symbols[n] = letters[data[at + k]]
                n += 1
        i = before
    for k in range(n // 2):
        symbols[k], symbols[n - 1 - k] = symbols[n - 1 - k], symbols[k]
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
def placed(ids: np.ndarray, offsets: np.ndarray, sizes: np.ndarray, starts: np.ndarray, ends: np.ndarray) -> None:
    """Where tokens begin and end in their texts, from the sizes of all that there are."""
    for row in range(len(offsets) - 1):
        at = 0
        for i in range(offsets[row], offsets[row + 1]):
            starts[i] = at
            at += sizes[ids[i]]
            ends[i] = at
