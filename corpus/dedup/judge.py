"""Judging rows that met: their exact similarity, which are kept, and what each of the others resembles.

The rows of a component are taken in the order in which they are to be kept. Each is compared with the rows kept so far that it shares a
band with, best first: the first that is near enough is what it is dropped for, otherwise it is kept. So every dropped row names a
kept row whose similarity was computed from the two sets, and what is in a component but not near its best row gets a keeper of its own.

Work is bounded: a band remembers its first kept rows and a few dropped ones only, and rows that are already joined by verified pairs are
not compared again where only the component could change.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numba import njit

from corpus.dedup.minhash import KEY_BITS
from corpus.dedup.shingles import Shingles

KEPT_OF_BAND = 32
"""So many kept rows of one band's key are compared with those that come after."""
DROPPED_OF_BAND = 8
"""And so many dropped ones, which can join two components but not drop a row."""


@dataclass(frozen=True, slots=True)
class Sets:
    """The sets of shingles of m rows.

    Attributes:
        hashes: of each row ascending, each once (uint64); the lowest bit is set for what is learned.
        starts: where each row's begin (int64[m]).
        sizes: how many they are (int32[m]).
        learned: how many of them are learned (int32[m]).
    """

    hashes: np.ndarray
    starts: np.ndarray
    sizes: np.ndarray
    learned: np.ndarray


@dataclass(frozen=True, slots=True)
class Judged:
    """What became of m rows.

    Attributes:
        keepers: the row that each was dropped for, -1 for those that are kept (int64[m]).
        components: a row of each one's component, of verified pairs (int64[m]).
        left, right: the pairs that were compared; left comes after right in the order (int64[p]).
        jaccard: their similarity (float64[p]).
        learned: the similarity of what is learned of them; NaN where neither row has anything that is (float64[p]).
        accepted: whether the pair is near (bool[p]).
    """

    keepers: np.ndarray
    components: np.ndarray
    left: np.ndarray
    right: np.ndarray
    jaccard: np.ndarray
    learned: np.ndarray
    accepted: np.ndarray


def sets(found: Shingles) -> Sets:
    """Shingles as sets. The array of `found` is sorted in place and used again."""
    hashes, bounds = found.hashes, found.bounds
    for start, end in zip(bounds[:-1].tolist(), bounds[1:].tolist(), strict=True):
        hashes[start:end].sort()
    sizes = np.zeros(len(bounds) - 1, dtype=np.int32)
    learned = np.zeros(len(bounds) - 1, dtype=np.int32)
    starts = np.zeros(len(bounds) - 1, dtype=np.int64)
    used = _unique(hashes, bounds, starts, sizes, learned)
    return Sets(hashes[:used], starts, sizes, learned)


def jaccard(one: np.ndarray, other: np.ndarray) -> float:
    """The similarity of two sets as `sets` makes them."""
    common, _ = _common(one, 0, len(one), other, 0, len(other))
    return common / (len(one) + len(other) - common)


def judge(rows: Sets, keys: np.ndarray, protected: np.ndarray, threshold: float, *, answers: bool = True) -> Judged:
    """Judges rows that stand in the order in which they are to be kept.

    Args:
        rows: their sets.
        keys: of their bands (uint64[m, bands]); rows of different components share none.
        protected: rows that are kept whatever they resemble (bool[m]).
        threshold: from which similarity on rows are near.
        answers: whether what is learned of them must be as similar as that as well.
    """
    m = len(rows.sizes)
    keepers = np.full(m, -1, dtype=np.int64)
    parents = np.arange(m, dtype=np.int64)
    left, right, counts = _judge(
        rows.hashes, rows.starts, rows.sizes, rows.learned, _runs(keys), protected, threshold, answers, keepers, parents
    )  # fmt: skip
    common, shared, accepted = counts[:, 0], counts[:, 1], counts[:, 2] != 0
    union = rows.sizes[left].astype(np.int64) + rows.sizes[right] - common
    both = rows.learned[left].astype(np.int64) + rows.learned[right] - shared
    learned = np.divide(shared, both, out=np.full(len(left), np.nan), where=both > 0)
    return Judged(keepers, parents, left, right, common / np.maximum(union, 1), learned, accepted)


def _runs(keys: np.ndarray) -> np.ndarray:
    """For every row and band the number of the group of rows with the same key; -1 for a row that is alone (int32[m, bands])."""
    m, bands = keys.shape
    out = np.full((m, bands), -1, dtype=np.int32)
    bits = max(1, int(m - 1).bit_length())
    if bits > 64 - KEY_BITS:
        raise ValueError(f"{m:,} rows are too many to be judged at once")
    numbers = np.arange(m, dtype=np.uint64)
    used = 0
    for band in range(bands):
        entries = np.ascontiguousarray(keys[:, band]) << np.uint64(bits) | numbers
        entries.sort()
        used = _number(entries, np.uint64(bits), band, used, out)
    return out


@njit(cache=True, nogil=True)
def _number(entries: np.ndarray, bits: np.uint64, band: int, used: int, out: np.ndarray) -> int:
    mask = (np.uint64(1) << bits) - np.uint64(1)
    inside = False
    for i in range(1, len(entries)):
        if entries[i] >> bits == entries[i - 1] >> bits:
            if not inside:
                out[np.int64(entries[i - 1] & mask), band] = used
                used += 1
                inside = True
            out[np.int64(entries[i] & mask), band] = used - 1
        else:
            inside = False
    return used


@njit(cache=True, nogil=True)
def _unique(hashes: np.ndarray, bounds: np.ndarray, starts: np.ndarray, sizes: np.ndarray, learned: np.ndarray) -> int:
    put = 0
    for row in range(len(bounds) - 1):
        starts[row] = put
        some = 0
        for i in range(bounds[row], bounds[row + 1]):
            value = hashes[i]
            if put > starts[row] and hashes[put - 1] >> np.uint64(1) == value >> np.uint64(1):
                if value != hashes[put - 1]:
                    some += 1  # the same shingle, here learned
                hashes[put - 1] = value
            else:
                hashes[put] = value
                put += 1
                some += np.int64(value & np.uint64(1))
        sizes[row] = put - starts[row]
        learned[row] = some
    return put


@njit(cache=True, nogil=True)
def _common(one: np.ndarray, i: int, i_end: int, other: np.ndarray, j: int, j_end: int) -> tuple[int, int]:
    """How many shingles two sets share, and how many of those are learned in both."""
    common, shared = 0, 0
    while i < i_end and j < j_end:
        a, b = one[i], other[j]
        x, y = a >> np.uint64(1), b >> np.uint64(1)
        # Without branches: which of the two is smaller is as good as random.
        same = np.int64(x == y)
        common += same
        shared += same & np.int64(a & b & np.uint64(1))
        i += np.int64(x <= y)
        j += np.int64(y <= x)
    return common, shared


@njit(cache=True, nogil=True, inline="always")
def _root(parents: np.ndarray, row: int) -> int:
    while parents[row] != row:
        parents[row] = parents[parents[row]]
        row = parents[row]
    return row


@njit(cache=True, nogil=True)
def _near(common: int, shared: int, sizes: int, learned: int, threshold: float) -> bool:
    """Whether the whole, and what is learned, are similar enough. `sizes`, `learned`: of both sets together."""
    if common / (sizes - common) < threshold:
        return False
    return learned == 0 or shared / (learned - shared) >= threshold


@njit(cache=True, nogil=True)
def _judge(
    hashes: np.ndarray,
    starts: np.ndarray,
    sizes: np.ndarray,
    learned: np.ndarray,
    runs: np.ndarray,
    protected: np.ndarray,
    threshold: float,
    answers: bool,
    keepers: np.ndarray,
    parents: np.ndarray,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    m, bands = runs.shape
    groups = 0
    for row in range(m):
        for band in range(bands):
            groups = max(groups, runs[row, band] + 1)
    # Of every group the kept and the dropped rows in it so far, as lists linked through the rows.
    kept = np.full((groups, 2), -1, dtype=np.int64)  # last entry (row * bands + band), length
    other = np.full((groups, 2), -1, dtype=np.int64)
    before = np.full(m * bands, -1, dtype=np.int64)
    seen = np.full(m, -1, dtype=np.int64)
    near = np.empty(bands * KEPT_OF_BAND, dtype=np.int64)
    room = 1 << 12
    left = np.empty(room, dtype=np.int64)
    right = np.empty(room, dtype=np.int64)
    counts = np.empty((room, 3), dtype=np.int64)
    pairs = 0
    for row in range(m):
        keeper = np.int64(-1)
        size, some = np.int64(sizes[row]), np.int64(learned[row])
        start = starts[row]
        for turn in range(2):  # the kept rows first, then those that were dropped
            found = 0
            for band in range(bands):
                group = runs[row, band]
                if group < 0:
                    continue
                entry = kept[group, 0] if turn == 0 else other[group, 0]
                while entry >= 0:
                    candidate = entry // bands
                    if seen[candidate] != row:
                        seen[candidate] = row
                        near[found] = candidate
                        found += 1
                    entry = before[entry]
            candidates = near[:found]
            candidates.sort()
            for candidate in candidates:
                joined = _root(parents, candidate) == _root(parents, row)
                if joined and (keeper >= 0 or turn == 1):
                    continue
                if min(size, sizes[candidate]) < threshold * max(size, sizes[candidate]):
                    continue
                begin = starts[candidate]
                common, shared = _common(hashes, start, start + size, hashes, begin, begin + sizes[candidate])
                good = _near(common, shared, size + sizes[candidate], some + learned[candidate] if answers else 0, threshold)
                if pairs == room:
                    left = np.concatenate((left, np.empty(room, dtype=np.int64)))
                    right = np.concatenate((right, np.empty(room, dtype=np.int64)))
                    counts = np.concatenate((counts, np.empty((room, 3), dtype=np.int64)))
                    room *= 2
                left[pairs], right[pairs] = row, candidate
                counts[pairs, 0], counts[pairs, 1], counts[pairs, 2] = common, shared, np.int64(good)
                pairs += 1
                if good:
                    if keeper < 0 and turn == 0 and not protected[row]:
                        keeper = candidate
                    one, two = _root(parents, candidate), _root(parents, row)
                    parents[max(one, two)] = min(one, two)
        keepers[row] = keeper
        lists, most = (kept, KEPT_OF_BAND) if keeper < 0 else (other, DROPPED_OF_BAND)
        for band in range(bands):
            group = runs[row, band]
            if group >= 0 and lists[group, 1] < most - 1:
                before[row * bands + band] = lists[group, 0]
                lists[group, 0] = row * bands + band
                lists[group, 1] += 1
    for row in range(m):
        parents[row] = _root(parents, row)
    return left[:pairs], right[:pairs], counts[:pairs]
