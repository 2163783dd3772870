"""Leaks: training rows that hold an evaluation item.

Two questions are asked of every training row, over the same units as everywhere (see `units`), so that case, width, script and
punctuation hide nothing.

* Is its prompt nearly the prompt of an item? All pairs that are near are found: of each item's set of 5-unit shingles the rarest are
  listed, as many as a near prompt cannot all be without, and a row that has one of them is compared with the item, set against set.
  Prompts of one template are near without a leak, so what is left of both without the template must be near too.
* Does it hold an item? Of every item some 13-unit n-grams are listed: of its question, its options and its answer the SAMPLE with the
  lowest hashes each, which is a fair sample. An n-gram weighs the less the more items have it, one that more than STOCK items have weighs
  nothing and convicts nobody, and one of an answer weighs ANSWER times as much. A row leaks when the weight that it holds of the
  question alone, or of the whole item, reaches the limit. Options are apart from the question: they are often left out, or stand in
  another order.

Single words are no evidence. A question of fewer than 13 units has n-grams of SHORT units, and a row must hold all of them; other
short parts are one n-gram, which only a text that says nothing else can hold. Below SHORT units a part has none, and only an equal or
near prompt is a leak. What convicts must be GRAMS n-grams, or all of a part that has fewer.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from hashlib import blake2b

import numpy as np
from numba import njit

from corpus.dedup.grams import Grams, Listed, distinct, grams, joined, listed, occurrences, place, sifted
from corpus.dedup.shingles import N
from corpus.dedup.texts import Texts

GRAM = 13
"""Units of an n-gram."""
SAMPLE = 64
"""n-grams of each part of an item that are listed, at most."""
_MOST_LISTED = 4_000_000
_FEWEST = 24
"""See `sample_of`: 62,500 items have the whole sample; a quarter of a million, which pCLUE alone holds out, 24 each."""
STOCK = 8
"""What more distinct items than this share convicts nobody, and is a template's."""
SHORT = 8
"""Units of an n-gram of a question that is shorter than GRAM, and from which on a part is evidence."""
GRAMS = 3
"""n-grams that a row must hold, of parts that have so many."""
ANSWER = 2.0
"""What an n-gram of an answer weighs, where one of a question weighs 1."""
_ROUNDING = 1e-9
_AT_ONCE = 1 << 20


@dataclass(frozen=True, slots=True)
class Items:
    """Evaluation items: each is a row of all of these, and may have no text in some.

    Attributes:
        prompts: the whole prompts, as they are compared with the prompts of rows.
        questions: the prompts without the options to choose from.
        options: the options.
        answers: the answers.
    """

    prompts: Texts
    questions: Texts
    options: Texts
    answers: Texts

    @property
    def parts(self) -> tuple[Texts, Texts, Texts]:
        """What n-grams are made of."""
        return self.questions, self.options, self.answers


@dataclass(frozen=True, slots=True)
class Index:
    """What rows are compared with.

    Attributes:
        near, containment: the limits.
        short: whether n-grams of short questions are listed.
        held: n-grams of the items.
        totals: what the n-grams of each item's question weigh together, and all of its n-grams (float64[items, 2]).
        least: how many of either a row must hold (int32[items, 2]).
        prefixes: shingles by which near prompts are found; their `items` are numbers of `prompts`.
        prompts: the distinct prompts as sets of shingles; the lowest bit is set for those of templates.
        owners: the first item that has each of these prompts (int64[prompts]).
        template: the shingles of templates (uint64, ascending).
    """

    near: float
    containment: float
    short: bool
    held: Listed
    totals: np.ndarray
    least: np.ndarray
    prefixes: Listed
    prompts: Grams
    owners: np.ndarray
    template: np.ndarray


@dataclass(frozen=True, slots=True)
class Leaks:
    """What n rows leak. Items are numbered in their order, -1 stands for none.

    Attributes:
        near: the item with the most similar prompt, if that is near enough (int64[n]).
        jaccard: its similarity (float64[n]).
        held: the item of which the row holds the greatest share, if that is enough (int64[n]).
        share: how much of it, by weight (float64[n]).
        asked: whether it is the share of its question alone (bool[n]).
    """

    near: np.ndarray
    jaccard: np.ndarray
    held: np.ndarray
    share: np.ndarray
    asked: np.ndarray


@dataclass(slots=True)
class _Listing:
    """The listed n-grams of some items: hash, item, part and how many of the part's n-grams each stands for."""

    hashes: list[np.ndarray]
    items: list[np.ndarray]
    parts: list[np.ndarray]
    scales: list[np.ndarray]

    def add(self, found: Grams, part: int, fresh: np.ndarray, first: int, sample: int) -> None:
        """Lists the part of those items that are `fresh`; `first` is the number of the first of all."""
        picked, counts = _lowest(found.hashes, found.bounds, fresh, sample)
        self.hashes.append(picked)
        self.items.append(np.repeat(np.arange(first, first + len(found), dtype=np.int32), counts))
        self.parts.append(np.full(len(picked), part, dtype=np.int8))
        self.scales.append(np.repeat(np.diff(found.bounds) / np.maximum(counts, 1), counts))


def sample_of(items: int) -> int:
    """n-grams of each part that are listed for so many items: fewer of very many, so that the index stays below some 800 MB."""
    return max(_FEWEST, min(SAMPLE, _MOST_LISTED // max(1, items)))


def index(read: Callable[[], Iterable[Items]], near: float, containment: float, sample: int = SAMPLE) -> Index:
    """Makes the index.

    Args:
        read: gives the items in batches, the same each time: they are read twice, so that n-grams are counted without being kept.
        near: Jaccard similarity from which prompts are near.
        containment: share of an item, by weight, that is a leak.
        sample: n-grams of each part of an item that are listed, at most.
    """
    listing = _Listing([np.zeros(0, np.uint64)], [np.zeros(0, np.int32)], [np.zeros(0, np.int8)], [np.zeros(0)])
    prompts, owners, sizes = [np.zeros(0, np.uint64)], [np.zeros(0, np.int64)], [np.zeros(0, np.int64)]
    known: set[bytes] = set()
    asked: set[bytes] = set()
    fresh: list[np.ndarray] = []
    count = 0
    for batch in read():
        found = _parts(batch)
        fresh.append(_unseen(found, known))
        for part, each in enumerate(found):
            listing.add(each, part, fresh[-1], count, sample)
        sets = distinct(grams(batch.prompts, N, 1))
        new = np.flatnonzero(_unseen([sets], asked))
        # Copied together: a view would keep all of the batch.
        prompts.append(np.concatenate([np.zeros(0, np.uint64), *(sets.of(row) for row in new.tolist())]))
        owners.append(new + count)
        sizes.append(np.diff(sets.bounds)[new])
        count += len(sets)
    hashes, items, parts, scales = (np.concatenate(x) for x in (listing.hashes, listing.items, listing.parts, listing.scales))
    keys, which = np.unique(hashes, return_inverse=True)
    nothing = np.zeros(len(keys))
    every = listed(keys, nothing.astype(np.int32), nothing, nothing > 0)
    counts = np.zeros(len(keys), dtype=np.int64)
    for batch, mine in zip(read(), fresh, strict=True):
        counts += occurrences(_fresh([_all(texts) for texts in batch.parts], mine), every)
    shared = counts[which]
    weights = scales / np.maximum(shared, 1) * np.where(parts == _ANSWERS, ANSWER, 1.0)
    good = shared <= STOCK
    hashes, items, weights, asks = hashes[good], items[good], weights[good], (parts != _ANSWERS)[good] & (parts != _OPTIONS)[good]
    short = np.bincount(items[parts[good] == _SHORT], minlength=count)
    totals = np.stack([np.bincount(items[asks], weights[asks], count), np.bincount(items, weights, count)], axis=1)
    numbers = np.stack([np.bincount(items[asks], minlength=count), np.bincount(items, minlength=count)], axis=1)
    least = np.where(numbers == short[:, None], numbers, np.minimum(numbers, GRAMS)).astype(np.int32)
    bounds = np.concatenate([[0], np.cumsum(np.concatenate(sizes))]).astype(np.int64)
    sets = Grams(np.concatenate(prompts), bounds)
    prefixes, template = _prefixes(sets, near)
    return Index(
        near, containment, bool(short.any()), listed(hashes, items, weights, asks), totals, least,
        prefixes, sets, np.concatenate(owners), template,
    )  # fmt: skip


_QUESTIONS, _OPTIONS, _ANSWERS, _SHORT = range(4)


def _parts(items: Items) -> list[Grams]:
    """The n-grams of each part of every item as sets: of questions, options, answers, and of short questions."""
    asked = grams(items.questions, GRAM, GRAM), *(grams(texts, GRAM, SHORT) for texts in (items.options, items.answers))
    return [distinct(each) for each in (*asked, grams(items.questions, SHORT, SHORT, GRAM - 1))]


def _all(texts: Texts) -> Grams:
    """All n-grams by which rows are searched."""
    return joined(grams(texts, GRAM, SHORT), grams(texts, SHORT, SHORT))


def _unseen(found: list[Grams], known: set[bytes]) -> np.ndarray:
    """Which rows have n-grams, and not those of a row before (bool[n])."""
    out = np.zeros(len(found[0]), dtype=np.bool_)
    for row in range(len(out)):
        some = [each.of(row) for each in found]
        if any(map(len, some)):
            sign = blake2b(b"|".join(each.tobytes() for each in some), digest_size=16).digest()
            out[row] = sign not in known
            known.add(sign)
    return out


def _fresh(found: list[Grams], fresh: np.ndarray) -> Grams:
    """The n-grams of all parts of those items that are fresh, as sets."""
    bounds = np.zeros(int(fresh.sum()) + 1, dtype=np.int64)
    rows = np.flatnonzero(fresh).tolist()
    pieces = [each.of(row) for row in rows for each in found]
    bounds[1:] = np.cumsum([sum(len(each.of(row)) for each in found) for row in rows])
    return distinct(Grams(np.concatenate([*pieces, np.zeros(0, np.uint64)]), bounds))


def _prefixes(sets: Grams, near: float) -> tuple[Listed, np.ndarray]:
    """The list by which near prompts are found, and the shingles of templates, which are marked in `sets`."""
    keys, shared = np.unique(sets.hashes, return_counts=True)
    shared = shared.astype(np.int32)
    frequency = np.empty(len(sets.hashes), dtype=np.int32)
    for start in range(0, len(frequency), _AT_ONCE):
        part = slice(start, start + _AT_ONCE)
        frequency[part] = shared[np.searchsorted(keys, sets.hashes[part])]
    chosen = _rarest(sets.bounds, frequency, near)
    owner = np.repeat(np.arange(len(sets), dtype=np.int32), np.diff(sets.bounds))[chosen]
    found = listed(sets.hashes[chosen], owner, np.ones(len(owner)), np.zeros(len(owner), dtype=np.bool_))
    np.bitwise_or(sets.hashes, (frequency > STOCK).astype(np.uint64), out=sets.hashes)
    return found, keys[shared > STOCK]


@njit(cache=True, nogil=True)
def _rarest(bounds: np.ndarray, frequency: np.ndarray, near: float) -> np.ndarray:
    """Which shingles of each set are listed (bool): the rarest, as many as no near set can be without."""
    chosen = np.zeros(len(frequency), dtype=np.bool_)
    for row in range(len(bounds) - 1):
        start, size = bounds[row], bounds[row + 1] - bounds[row]
        # Two sets as similar as `near` share that part of either at least; without all of these shingles they cannot.
        wanted = size - np.int64(np.ceil(near * size - _ROUNDING)) + 1
        order = np.argsort(frequency[start : start + size], kind="mergesort")
        for i in range(min(wanted, size)):
            chosen[start + order[i]] = True
    return chosen


class Scanner:
    """Compares rows with an index, batch after batch. What it keeps between them is room to work in."""

    def __init__(self, index: Index) -> None:
        self.index = index
        items = len(index.totals)
        self._seen = np.full(len(index.held.keys), -1, dtype=np.int64)
        self._met = np.full(len(index.prompts), -1, dtype=np.int64)
        self._sums = np.zeros((items, 2))
        self._numbers = np.zeros((items, 2), dtype=np.int32)
        self._rows = 0

    def scan(self, texts: Texts, prompts: Texts) -> Leaks:
        """What rows leak.

        Args:
            texts: all texts of n rows; batches of about a megabyte are the fastest.
            prompts: the texts of their prompts alone; rows without any are compared with no prompt.
        """
        n, ix = len(texts), self.index
        out = Leaks(np.full(n, -1), np.zeros(n), np.full(n, -1), np.zeros(n), np.zeros(n, dtype=np.bool_))
        held, by = ix.held, ix.prefixes
        found = sifted(grams(texts, GRAM, SHORT), held)
        if ix.short:
            found = joined(found, sifted(grams(texts, SHORT, SHORT), held))
        _hold(
            found.hashes, found.bounds, held.keys, np.uint64(held.shift), held.buckets, held.starts, held.items, held.weights,
            held.asked, ix.totals, ix.least, ix.containment - _ROUNDING, self._seen, self._sums, self._numbers, self._rows,
            out.held, out.share, out.asked,
        )  # fmt: skip
        sets = grams(prompts, N, 1)
        met = sifted(sets, by)
        sets = distinct(sets)
        _near(
            met.hashes, met.bounds, sets.hashes, sets.bounds, by.keys, np.uint64(by.shift), by.buckets, by.starts, by.items,
            ix.prompts.hashes, ix.prompts.bounds, ix.template, ix.near - _ROUNDING, self._met, self._rows, out.near, out.jaccard,
        )  # fmt: skip
        some = out.near >= 0
        out.near[some] = ix.owners[out.near[some]]
        self._rows += n
        return out


@njit(cache=True, nogil=True)
def _lowest(hashes: np.ndarray, bounds: np.ndarray, fresh: np.ndarray, most: int) -> tuple[np.ndarray, np.ndarray]:
    """The lowest hashes of every fresh row's set, at most so many, and how many these are."""
    counts = np.zeros(len(fresh), dtype=np.int64)
    for row in range(len(fresh)):
        if fresh[row]:
            counts[row] = min(most, bounds[row + 1] - bounds[row])
    out = np.empty(counts.sum(), dtype=np.uint64)
    put = 0
    for row in range(len(fresh)):
        out[put : put + counts[row]] = hashes[bounds[row] : bounds[row] + counts[row]]
        put += counts[row]
    return out, counts


@njit(cache=True, nogil=True)
def _hold(
    hashes: np.ndarray,
    bounds: np.ndarray,
    keys: np.ndarray,
    shift: np.uint64,
    buckets: np.ndarray,
    starts: np.ndarray,
    items: np.ndarray,
    weights: np.ndarray,
    asked: np.ndarray,
    totals: np.ndarray,
    least: np.ndarray,
    limit: float,
    seen: np.ndarray,
    sums: np.ndarray,
    numbers: np.ndarray,
    first: int,
    held: np.ndarray,
    share: np.ndarray,
    alone: np.ndarray,
) -> None:
    touched = np.empty(len(totals), dtype=np.int64)
    for row in range(len(bounds) - 1):
        met = 0
        for i in range(bounds[row], bounds[row + 1]):
            at = place(hashes[i], keys, shift, buckets)
            if at < 0 or seen[at] == first + row:
                continue
            seen[at] = first + row
            for entry in range(starts[at], starts[at + 1]):
                item = items[entry]
                if numbers[item, 1] == 0:
                    touched[met] = item
                    met += 1
                sums[item, 1] += weights[entry]
                numbers[item, 1] += 1
                if asked[entry]:
                    sums[item, 0] += weights[entry]
                    numbers[item, 0] += 1
        for k in range(met):
            item = touched[k]
            for which in range(2):
                total = totals[item, which]
                if total > 0 and numbers[item, which] >= least[item, which]:
                    part = min(1.0, sums[item, which] / total)
                    better = part > share[row] or (part == share[row] and item < held[row])
                    if part >= limit and (held[row] < 0 or better):
                        held[row], share[row], alone[row] = item, part, which == 0
            # The whole is told where both are the same.
            if held[row] == item and totals[item, 1] > 0 and sums[item, 1] / totals[item, 1] >= share[row]:
                alone[row] = False
            sums[item, 0], sums[item, 1], numbers[item, 0], numbers[item, 1] = 0.0, 0.0, 0, 0


@njit(cache=True, nogil=True)
def _near(
    some: np.ndarray,
    sides: np.ndarray,
    hashes: np.ndarray,
    bounds: np.ndarray,
    keys: np.ndarray,
    shift: np.uint64,
    buckets: np.ndarray,
    starts: np.ndarray,
    items: np.ndarray,
    others: np.ndarray,
    ends: np.ndarray,
    template: np.ndarray,
    limit: float,
    met: np.ndarray,
    first: int,
    near: np.ndarray,
    jaccard: np.ndarray,
) -> None:
    for row in range(len(bounds) - 1):
        begin, end = bounds[row], bounds[row + 1]
        size = end - begin
        own = -1  # shingles of the row that are of no template
        for i in range(sides[row], sides[row + 1]):
            at = place(some[i], keys, shift, buckets)
            if at < 0:
                continue
            for entry in range(starts[at], starts[at + 1]):
                other = items[entry]
                if met[other] == first + row:
                    continue
                met[other] = first + row
                start, stop = ends[other], ends[other + 1]
                if min(size, stop - start) / max(size, stop - start) < limit:
                    continue
                common, of_template, rare = 0, 0, 0
                j, k = begin, start
                while k < stop:
                    bit = others[k] & np.uint64(1)
                    value = others[k] ^ bit
                    while j < end and hashes[j] < value:
                        j += 1
                    same = j < end and hashes[j] == value
                    common += int(same)
                    of_template += int(same and bit == np.uint64(1))
                    rare += int(bit == np.uint64(0))
                    k += 1
                found = common / (size + stop - start - common)
                if found < limit or (near[row] >= 0 and (found < jaccard[row] or (found == jaccard[row] and other > near[row]))):
                    continue
                if own < 0:
                    own = size
                    for x in range(begin, end):
                        y = np.searchsorted(template, hashes[x])
                        own -= int(y < len(template) and template[y] == hashes[x])
                both = common - of_template
                if own + rare > both and both < limit * (own + rare - both):
                    continue  # only the template is the same
                near[row], jaccard[row] = other, found
