"""Judging rows that met: their exact similarity, which are kept, and what each of the others resembles.

The rows of a component are taken in the order in which they are to be kept. Each is compared with the rows kept so far that it shares a
band with, best first: the first that is near enough is what it is dropped for, otherwise it is kept. So every dropped row names a
kept row whose similarity was computed from the two sets, and what is in a component but not near its best row gets a keeper of its own.

Work is bounded: a band remembers its first kept rows and a few dropped ones only, and rows that are already joined by verified pairs are
not compared again where only the component could change.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numba import njit

from corpus.dedup.minhash import KEY_BITS
from corpus.dedup.shingles import BARE, Shingles
from corpus.dedup.texts import ANSWER, LAST_ANSWER, LAST_QUESTION, PROMPT, REJECTED, STOCK

KEPT_OF_BAND = 32
"""So many kept rows of one band's key are compared with those that come after."""
DROPPED_OF_BAND = 8
"""And so many dropped ones, which can join two components but not drop a row."""


@dataclass(frozen=True, slots=True)
class Sets:
    """The sets of shingles of m rows.

    Attributes:
        hashes: of each row ascending, each once, with the parts that it is in (uint64).
        starts: where each row's begin (int64[m]).
        sizes: how many they are (int32[m]).
    """

    hashes: np.ndarray
    starts: np.ndarray
    sizes: np.ndarray


@dataclass(frozen=True, slots=True)
class Judged:
    """What became of m rows.

    Attributes:
        keepers: the row that each was dropped for, -1 for those that are kept (int64[m]).
        components: a row of each one's component, of verified pairs (int64[m]).
        left, right: the pairs that were compared; left comes after right in the order (int64[p]).
        similarity: their similarity as a whole (with and without stock, the lower of the two), of what is asked, and of what is answered
            (all of it or the last of it, of both answers the lowest); NaN for parts that neither row has, and of pairs that are not near
            as a whole (float64[p, 3]).
        accepted: whether the pair is near (bool[p]).
    """

    keepers: np.ndarray
    components: np.ndarray
    left: np.ndarray
    right: np.ndarray
    similarity: np.ndarray
    accepted: np.ndarray


def sets(found: Shingles) -> Sets:
    """Shingles as sets. The array of `found` is sorted in place and used again."""
    hashes, bounds = found.hashes, found.bounds
    for start, end in zip(bounds[:-1].tolist(), bounds[1:].tolist(), strict=True):
        hashes[start:end].sort()
    sizes = np.zeros(len(bounds) - 1, dtype=np.int32)
    starts = np.zeros(len(bounds) - 1, dtype=np.int64)
    used = _unique(hashes, bounds, starts, sizes)
    return Sets(hashes[:used], starts, sizes)


def jaccard(one: np.ndarray, other: np.ndarray) -> float:
    """The similarity of two sets as `sets` makes them."""
    common = _common(one, 0, len(one), other, 0, len(other))
    return common / (len(one) + len(other) - common)


def jaccards(rows: Sets, others: Sets) -> np.ndarray:
    """The similarity of every row to the one of the others that stands in its place (float64[m]).

    Args:
        rows: their sets.
        others: as many.
    """
    out = np.empty(len(rows.sizes), dtype=np.float64)
    _jaccards(rows.hashes, rows.starts, rows.sizes, others.hashes, others.starts, others.sizes, out)
    return out


def against(one: np.ndarray, rows: Sets) -> np.ndarray:
    """How similar a set is to each of some rows: as a whole (with and without stock, the lower of the two), to what is asked in the row,
    to what is answered, to what is not to be answered (0 where the row has nothing of the kind), and the share of the set that the row
    holds (float64[m, 5]).

    Args:
        one: a set as `sets` makes them; what is compared with a part of a row is what has the bit of that part.
        rows: the others.
    """
    out = np.zeros((len(rows.sizes), 5), dtype=np.float64)
    _against(one, rows.hashes, rows.starts, rows.sizes, out)
    return out


def judge(rows: Sets, keys: np.ndarray, protected: np.ndarray, threshold: float, parts: tuple[float, float] = (0.0, 0.0)) -> Judged:
    """Judges rows that stand in the order in which they are to be kept.

    Args:
        rows: their sets.
        keys: of their bands (uint64[m, bands]); rows of different components share none.
        protected: rows that are kept whatever they resemble (bool[m]).
        threshold: from which similarity on rows are near.
        parts: how similar what is asked, and what is answered, must be as well.
    """
    m = len(rows.sizes)
    keepers = np.full(m, -1, dtype=np.int64)
    parents = np.arange(m, dtype=np.int64)
    bounds = np.array([threshold, *parts], dtype=np.float64)
    left, right, similarity, accepted = _judge(rows.hashes, rows.starts, rows.sizes, _runs(keys), protected, bounds, keepers, parents)
    return Judged(keepers, parents, left, right, similarity, accepted)


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
def _unique(hashes: np.ndarray, bounds: np.ndarray, starts: np.ndarray, sizes: np.ndarray) -> int:
    put = 0
    for row in range(len(bounds) - 1):
        starts[row] = put
        for i in range(bounds[row], bounds[row + 1]):
            value = hashes[i]
            if put > starts[row] and (hashes[put - 1] ^ value) & BARE == 0:
                hashes[put - 1] |= value  # the same shingle in another part
            else:
                hashes[put] = value
                put += 1
        sizes[row] = put - starts[row]
    return put


@njit(cache=True, nogil=True)
def _common(one: np.ndarray, i: Any, i_end: int, other: np.ndarray, j: Any, j_end: int) -> Any:
    """How many shingles two sets share."""
    common = np.int64(0)
    while i < i_end and j < j_end:
        x, y = one[i] & BARE, other[j] & BARE
        # Without branches: which of the two is smaller is as good as random.
        common += np.int64(x == y)
        i += np.int64(x <= y)
        j += np.int64(y <= x)
    return common


@njit(cache=True, nogil=True)
def _jaccards(
    hashes: np.ndarray,
    starts: np.ndarray,
    sizes: np.ndarray,
    others: np.ndarray,
    begins: np.ndarray,
    lengths: np.ndarray,
    out: np.ndarray,
) -> None:
    for row in range(len(sizes)):
        size, length = np.int64(sizes[row]), np.int64(lengths[row])
        common = _common(hashes, starts[row], starts[row] + size, others, begins[row], begins[row] + length)
        out[row] = common / (size + length - common)


@njit(cache=True, nogil=True)
def _own(one: np.ndarray, i: Any, i_end: int, other: np.ndarray, j: Any, j_end: int) -> Any:
    """The similarity of what is stock in neither of two sets; 1 where nothing else is left."""
    stock = np.uint64(STOCK)
    common, all_of_it = np.int64(0), np.int64(0)
    while i < i_end or j < j_end:
        if j == j_end or (i < i_end and one[i] & BARE < other[j] & BARE):
            all_of_it += np.int64(one[i] & stock == 0)
            i += 1
        elif i == i_end or other[j] & BARE < one[i] & BARE:
            all_of_it += np.int64(other[j] & stock == 0)
            j += 1
        else:
            own = np.int64((one[i] | other[j]) & stock == 0)
            common += own
            all_of_it += own
            i += 1
            j += 1
    return common / all_of_it if all_of_it > 0 else 1.0


@njit(cache=True, nogil=True)
def _of_part(one: np.ndarray, i: Any, i_end: int, other: np.ndarray, j: Any, j_end: int, part: np.uint64) -> Any:
    """The similarity of one part of two sets; NaN where neither has it."""
    common, all_of_it = np.int64(0), np.int64(0)
    while i < i_end or j < j_end:
        if j == j_end or (i < i_end and one[i] & BARE < other[j] & BARE):
            all_of_it += np.int64(one[i] & part != 0)
            i += 1
        elif i == i_end or other[j] & BARE < one[i] & BARE:
            all_of_it += np.int64(other[j] & part != 0)
            j += 1
        else:
            common += np.int64(one[i] & other[j] & part != 0)
            all_of_it += np.int64((one[i] | other[j]) & part != 0)
            i += 1
            j += 1
    return common / all_of_it if all_of_it > 0 else np.nan


@njit(cache=True, nogil=True)
def _against(one: np.ndarray, hashes: np.ndarray, starts: np.ndarray, sizes: np.ndarray, out: np.ndarray) -> None:
    n = len(one)
    for row in range(len(sizes)):
        start, end = starts[row], starts[row] + np.int64(sizes[row])
        common = _common(one, 0, n, hashes, start, end)
        if common == 0:
            continue
        out[row, 0] = min(common / (n + end - start - common), _own(one, 0, n, hashes, start, end))
        for k, part in enumerate((PROMPT, ANSWER, REJECTED)):
            out[row, k + 1] = _of_part(one, 0, n, hashes, start, end, np.uint64(part))
        out[row, 4] = common / n


@njit(cache=True, nogil=True, inline="always")
def _root(parents: np.ndarray, row: Any) -> Any:
    while parents[row] != row:
        parents[row] = parents[parents[row]]
        row = parents[row]
    return row


@njit(cache=True, nogil=True, inline="always")
def _lower(one: float, other: float) -> float:
    """The lower of two similarities, of which either may be missing."""
    if np.isnan(one):
        return other
    return one if np.isnan(other) else min(one, other)


@njit(cache=True, nogil=True)
def _compare(hashes: np.ndarray, start: Any, size: Any, begin: Any, length: Any, bounds: np.ndarray, out: np.ndarray) -> bool:
    """Whether two sets are near. `bounds`: of the whole, of what is asked, of what is answered; `out`: the similarities."""
    common = _common(hashes, start, start + size, hashes, begin, begin + length)
    out[0] = common / (size + length - common)
    out[1], out[2] = np.nan, np.nan
    if out[0] < bounds[0]:
        return False
    own = _own(hashes, start, start + size, hashes, begin, begin + length)
    if own < out[0]:
        out[0] = own
        if own < bounds[0]:
            return False
    if bounds[1] > 0:
        for part in (PROMPT, LAST_QUESTION):
            out[1] = _lower(out[1], _of_part(hashes, start, start + size, hashes, begin, begin + length, np.uint64(part)))
    if bounds[2] > 0:
        for part in (ANSWER, LAST_ANSWER, REJECTED):
            out[2] = _lower(out[2], _of_part(hashes, start, start + size, hashes, begin, begin + length, np.uint64(part)))
    return not (out[1] < bounds[1] or out[2] < bounds[2])  # what is not there is similar enough


@njit(cache=True, nogil=True)
def _judge(
    hashes: np.ndarray,
    starts: np.ndarray,
    sizes: np.ndarray,
    runs: np.ndarray,
    protected: np.ndarray,
    bounds: np.ndarray,
    keepers: np.ndarray,
    parents: np.ndarray,
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    m, bands = runs.shape
    groups = 0
    for row in range(m):
        for band in range(bands):
            groups = max(groups, runs[row, band] + 1)
    # Of every group the kept and the dropped rows in it so far, as lists linked through the rows: last entry (row * bands + band), length.
    kept = np.full((groups, 2), -1, dtype=np.int64)
    other = np.full((groups, 2), -1, dtype=np.int64)
    kept[:, 1] = 0
    other[:, 1] = 0
    before = np.full(m * bands, -1, dtype=np.int64)
    seen = np.full(m, -1, dtype=np.int64)
    near = np.empty(bands * KEPT_OF_BAND, dtype=np.int64)
    room = 1 << 12
    left = np.empty(room, dtype=np.int64)
    right = np.empty(room, dtype=np.int64)
    similarity = np.empty((room, 3), dtype=np.float64)
    accepted = np.empty(room, dtype=np.bool_)
    found_similar = np.empty(3, dtype=np.float64)
    pairs = 0
    for row in range(m):
        keeper = np.int64(-1)
        size = np.int64(sizes[row])
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
                length = np.int64(sizes[candidate])
                # Even if one held all of the other. A quotient, as the similarity is: 0.56 * 25 is more than 14, 14 / 25 is 0.56.
                if min(size, length) / max(size, length) < bounds[0]:
                    continue
                good = _compare(hashes, starts[row], size, starts[candidate], length, bounds, found_similar)
                if pairs == room:
                    left = np.concatenate((left, np.empty(room, dtype=np.int64)))
                    right = np.concatenate((right, np.empty(room, dtype=np.int64)))
                    similarity = np.concatenate((similarity, np.empty((room, 3), dtype=np.float64)))
                    accepted = np.concatenate((accepted, np.empty(room, dtype=np.bool_)))
                    room *= 2
                left[pairs], right[pairs], accepted[pairs] = row, candidate, good
                for k in range(3):
                    similarity[pairs, k] = found_similar[k]
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
            if group >= 0 and lists[group, 1] < most:
                before[row * bands + band] = lists[group, 0]
                lists[group, 0] = row * bands + band
                lists[group, 1] += 1
    for row in range(m):
        parents[row] = _root(parents, row)
    return left[:pairs], right[:pairs], similarity[:pairs], accepted[:pairs]
