"""The exact join behind the truth: all pairs of rows whose sets of character 5-grams have a Jaccard similarity of at least a threshold.

No sketches, so nothing is missed and nothing is guessed. It is a prefix filter: shingles are ordered from rare to frequent, and two
sets at or above the threshold must share one within their first few; candidates pass a filter by size and one by position, and what is
left is counted in full. Shingles are 64-bit hashes of the packed code points: two different ones are equal with a probability of about
2**-64.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numba import njit

WIDTH = 5
"""Characters of a shingle."""
_EXACT = 1e-9
"""Slack against the rounding of a product, far below what one shingle more or less changes."""


@dataclass(frozen=True, slots=True)
class Pairs:
    """Positions of rows (`left` < `right`) and their similarity; the size of each row's set; how many candidates were counted in full."""

    left: np.ndarray
    right: np.ndarray
    jaccard: np.ndarray
    sizes: np.ndarray
    checked: int
    distinct: int


def exact_pairs(texts: list[str], threshold: float) -> Pairs:
    """All pairs of texts at or above the threshold. A text of fewer than five characters is one shingle, the empty text too."""
    codes, bounds = _code_points(texts)
    flat, ends = _sets(codes, bounds)
    del codes
    shingles, tokens, counts = np.unique(flat, return_inverse=True, return_counts=True)
    del flat
    rank = np.empty(len(shingles), np.uint32)
    rank[np.argsort(counts, kind="stable")] = np.arange(len(shingles), dtype=np.uint32)
    tokens = rank[tokens]
    _sort(tokens, ends)
    sizes = np.diff(ends)
    order = np.argsort(sizes, kind="stable").astype(np.int64)
    index = _index(tokens, ends, order, len(shingles), threshold)
    left, right, jaccard, checked = _join(tokens, ends, order, *index, threshold)
    return Pairs(left.astype(np.int64), right.astype(np.int64), jaccard, sizes, int(checked), len(shingles))


def _code_points(texts: list[str]) -> tuple[np.ndarray, np.ndarray]:
    """Code points (uint32) of all texts, and where each begins (rows + 1)."""
    bounds = np.zeros(len(texts) + 1, np.int64)
    bounds[1:] = np.cumsum([len(text) for text in texts])
    codes = np.empty(bounds[-1], np.uint32)
    step = 20_000
    for i in range(0, len(texts), step):
        part = "".join(texts[i : i + step]).encode("utf-32-le")
        codes[bounds[i] : bounds[min(i + step, len(texts))]] = np.frombuffer(part, np.uint32)
    return codes, bounds


@njit(cache=True)
def _mix(x):
    x ^= x >> np.uint64(30)
    x *= np.uint64(0xBF58476D1CE4E5B9)
    x ^= x >> np.uint64(27)
    x *= np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


@njit(cache=True)
def _shingle(codes, start, n):
    """A hash of n <= 5 code points of 21 bits: three in the low word, two and the length in the high one."""
    low, high = np.uint64(0), np.uint64(n) << np.uint64(42)
    for i in range(min(n, 3)):
        low |= np.uint64(codes[start + i]) << np.uint64(21 * i)
    for i in range(3, n):
        high |= np.uint64(codes[start + i]) << np.uint64(21 * (i - 3))
    return _mix(_mix(low + np.uint64(0x9E3779B97F4A7C15)) ^ (high * np.uint64(0xD6E8FEB86659FD93) + high))


@njit(cache=True)
def _sets(codes, bounds):
    """The sorted set of shingles of every row, one after another, and where each ends."""
    rows = len(bounds) - 1
    total = 0
    for r in range(rows):
        total += max(1, bounds[r + 1] - bounds[r] - WIDTH + 1)
    flat = np.empty(total, np.uint64)
    ends = np.zeros(rows + 1, np.int64)
    at = 0
    for r in range(rows):
        start, n = bounds[r], bounds[r + 1] - bounds[r]
        width = min(n, WIDTH)
        count = n - width + 1
        buffer = np.empty(count, np.uint64)
        for i in range(count):
            buffer[i] = _shingle(codes, start + i, width)
        buffer.sort()
        for i in range(count):
            if i == 0 or buffer[i] != buffer[i - 1]:
                flat[at] = buffer[i]
                at += 1
        ends[r + 1] = at
    return flat[:at].copy(), ends


@njit(cache=True)
def _sort(tokens, ends):
    for r in range(len(ends) - 1):
        tokens[ends[r] : ends[r + 1]].sort()


@njit(cache=True)
def _need(a, b, threshold):
    """The smallest overlap of two sets of sizes a and b at which they reach the threshold."""
    return math.ceil(threshold / (1.0 + threshold) * (a + b) - _EXACT)


@njit(cache=True)
def _index(tokens, ends, order, vocabulary, threshold):
    """Of every token the rows (as ranks in the order of size) that have it in their prefix, and at which position."""
    heads = np.zeros(vocabulary + 1, np.int64)
    for rank in range(len(order)):
        r = order[rank]
        size = ends[r + 1] - ends[r]
        for i in range(size - _need(size, size, threshold) + 1):
            heads[tokens[ends[r] + i] + 1] += 1
    for t in range(vocabulary):
        heads[t + 1] += heads[t]
    fill = heads[:-1].copy()
    rows = np.empty(heads[-1], np.int32)
    places = np.empty(heads[-1], np.int32)
    for rank in range(len(order)):
        r = order[rank]
        size = ends[r + 1] - ends[r]
        for i in range(size - _need(size, size, threshold) + 1):
            t = tokens[ends[r] + i]
            rows[fill[t]] = rank
            places[fill[t]] = i
            fill[t] += 1
    return heads, rows, places


@njit(cache=True)
def _overlap(tokens, a, a_end, b, b_end, required):
    """How many tokens two sorted sets share, or -1 as soon as that must be fewer than required."""
    count = 0
    while a < a_end and b < b_end:
        if count + min(a_end - a, b_end - b) < required:
            return -1
        x, y = tokens[a], tokens[b]
        if x == y:
            count += 1
            a += 1
            b += 1
        elif x < y:
            a += 1
        else:
            b += 1
    return count


@njit(cache=True)
def _join(tokens, ends, order, heads, rows, places, threshold):
    """Each row, from small to large, against the smaller ones: left, right, similarity, and the candidates counted in full."""
    n = len(order)
    starts = heads[:-1].copy()  # smaller rows than a row's smallest partner are skipped for good
    seen = np.zeros(n, np.int32)
    touched = np.empty(n, np.int32)
    capacity = 1 << 20
    left, right, value = np.empty(capacity, np.int32), np.empty(capacity, np.int32), np.empty(capacity, np.float64)
    found, checked = 0, 0
    for rank in range(n):
        r = order[rank]
        begin, end = ends[r], ends[r + 1]
        size = end - begin
        smallest = math.ceil(threshold * size - _EXACT)
        touches = 0
        for i in range(size - smallest + 1):
            t = tokens[begin + i]
            p, stop = starts[t], heads[t + 1]
            while p < stop and ends[order[rows[p]] + 1] - ends[order[rows[p]]] < smallest:
                p += 1
            starts[t] = p
            while p < stop and rows[p] < rank:
                q = rows[p]
                if seen[q] >= 0:
                    other = order[q]
                    other_size = ends[other + 1] - ends[other]
                    if seen[q] == 0:
                        touched[touches] = q
                        touches += 1
                    best = seen[q] + 1 + min(size - i - 1, other_size - places[p] - 1)
                    seen[q] = seen[q] + 1 if best >= _need(size, other_size, threshold) else -1
                p += 1
        for k in range(touches):
            q = touched[k]
            if seen[q] > 0:
                other = order[q]
                other_size = ends[other + 1] - ends[other]
                checked += 1
                common = _overlap(tokens, begin, end, ends[other], ends[other + 1], _need(size, other_size, threshold))
                jaccard = common / (size + other_size - common)
                if jaccard >= threshold - _EXACT:
                    if found == capacity:
                        left = np.concatenate((left, np.empty(capacity, np.int32)))
                        right = np.concatenate((right, np.empty(capacity, np.int32)))
                        value = np.concatenate((value, np.empty(capacity, np.float64)))
                        capacity *= 2
                    left[found], right[found], value[found] = min(r, other), max(r, other), jaccard
                    found += 1
            seen[q] = 0
    return left[:found].copy(), right[:found].copy(), value[:found].copy(), checked


@njit(cache=True)
def components(n, left, right):
    """The smallest member of each row's component of the graph of pairs (int64, one for each of n rows)."""
    parent = np.arange(n)
    for i in range(len(left)):
        a, b = left[i], right[i]
        while parent[a] != a:
            parent[a] = parent[parent[a]]
            a = parent[a]
        while parent[b] != b:
            parent[b] = parent[parent[b]]
            b = parent[b]
        if a != b:
            parent[max(a, b)] = min(a, b)
    for r in range(n):  # parents are smaller than their children
        parent[r] = parent[parent[r]]
    return parent


@njit(cache=True)
def _first_come(n, heads, neighbours):
    kept = np.ones(n, np.bool_)
    for r in range(n):
        for p in range(heads[r], heads[r + 1]):
            if kept[neighbours[p]]:
                kept[r] = False
                break
    return kept


def first_come(n: int, left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Which of n rows stay when a row goes exactly if an earlier one that stays is near it."""
    order = np.argsort(right, kind="stable")
    heads = np.zeros(n + 1, np.int64)
    heads[1:] = np.cumsum(np.bincount(right, minlength=n))
    return _first_come(n, heads, left[order])
