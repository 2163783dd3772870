"""Near duplicates among many rows, in bounded memory: sketch, meet, read again, judge.

Texts are read twice and never held. The first time every row is sketched, and only the keys of its bands are kept, on disk. Rows that
meet in a band form components; the second time only rows of components are read, and their sets of shingles are written to one file for
each group of components that fits into memory together. Each group is then judged by itself.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np

from corpus.dedup.bands import MOST_ROWS, Segment, components, opened, write
from corpus.dedup.judge import Sets, judge, sets
from corpus.dedup.minhash import Scheme, keys, signatures
from corpus.dedup.shingles import Shingles, mark, shingles, unmarked
from corpus.dedup.texts import Texts
from corpus.dedup.units import Unit

GROUP_BYTES = 64 << 20
"""Sets of shingles that are judged together."""
PIECE_BYTES = 1 << 20
"""Text that is worked on at a time: what is made of it then stays in the processor's caches and in memory that is already mapped."""
_SEGMENT_ROWS = min(1 << 19, MOST_ROWS)


@dataclass(frozen=True, slots=True)
class Piece:
    """Some rows, about a megabyte of text.

    Attributes:
        numbers: of the rows (int64, ascending).
        texts: of the rows.
        stock: shingles that are stock in these rows (uint64, ascending, without parts); None for none.
    """

    numbers: np.ndarray
    texts: Texts
    stock: np.ndarray | None = None


def cuts(offsets: np.ndarray) -> Iterator[tuple[int, int]]:
    """Cuts texts into pieces of about a megabyte, of one text at least."""
    start, n = 0, len(offsets) - 1
    while start < n:
        end = int(np.searchsorted(offsets, offsets[start] + PIECE_BYTES, side="right")) - 1
        end = min(max(end, start + 1), n)
        yield start, end
        start = end


class Rows(Protocol):
    """Where texts come from. Rows are numbered from 0."""

    def read(self, wanted: np.ndarray | None = None) -> Iterator[Piece]:
        """Yields rows in the order of their numbers: all, or those that are wanted (bool[rows])."""
        ...


@dataclass(frozen=True, slots=True)
class Measure:
    """What two rows are compared by.

    Attributes:
        unit: of which shingles are made.
        scheme: how rows are brought together, and from which similarity on they are near.
        parts: how similar the parts of two rows must be as well, for them to be near: what is asked, and what is answered.
    """

    unit: Unit
    scheme: Scheme
    parts: tuple[float, float] = (0.0, 0.0)

    def shingles(self, texts: Texts, stock: np.ndarray | None = None) -> Shingles:
        """The shingles of rows; those that are stock are marked."""
        found = shingles(texts, self.unit)
        if stock is not None and len(stock):
            mark(found, stock)
        return found

    def keys(self, found: Shingles, spaces: np.ndarray, stock: np.ndarray | None = None) -> np.ndarray:
        """The keys of their bands (uint64[rows, bands]). Stock brings no rows together."""
        if stock is not None and len(stock):
            found = unmarked(found)
        scheme = self.scheme
        return keys(signatures(found.hashes, found.bounds, scheme.values, scheme.seed), spaces, scheme)


@dataclass(frozen=True, slots=True)
class Sketches:
    """What is kept of all rows in memory.

    Attributes:
        segments: their band entries, on disk.
        whole: a hash of their units (uint64[rows, 2]).
        sizes: bytes of their texts (uint32, at most 4 GB).
        counts: how many shingles they have, repetitions included (uint32).
    """

    segments: list[Segment]
    whole: np.ndarray
    sizes: np.ndarray
    counts: np.ndarray


def sketch(rows: Rows, measure: Measure, folder: Path, report: Callable[[int], None] | None = None) -> Sketches:
    """Reads all rows and writes their band entries below `folder`. `report` is told of rows as they are done."""
    segments: list[Segment] = []
    waiting: list[np.ndarray] = []
    kept: tuple[list[np.ndarray], list[np.ndarray], list[np.ndarray]] = ([], [], [])

    def flush() -> None:
        if waiting:
            path = folder / f"{len(segments):05d}.bands"
            with path.open("wb") as file:
                write(file, np.concatenate(waiting), measure.scheme, measure.unit)
            segments.append(opened(path))
            waiting.clear()

    for piece in rows.read():
        texts = piece.texts
        found = measure.shingles(texts, piece.stock)
        waiting.append(measure.keys(found, texts.spaces, piece.stock))
        ends = texts.offsets[texts.bounds]
        for column, values in zip(kept, (found.whole, np.diff(ends), np.diff(found.bounds)), strict=True):
            column.append(values if values.dtype == np.uint64 else np.minimum(values, 0xFFFFFFFF).astype(np.uint32))
        if sum(map(len, waiting)) >= _SEGMENT_ROWS:
            flush()
        if report is not None:
            report(len(texts))
    flush()
    whole = np.concatenate(kept[0]) if kept[0] else np.zeros((0, 2), dtype=np.uint64)
    sizes, counts = (np.concatenate(c) if c else np.zeros(0, dtype=np.uint32) for c in kept[1:])
    return Sketches(segments, whole, sizes, counts)


@dataclass(frozen=True, slots=True)
class Verdicts:
    """What became of the rows of some components, by their numbers among all rows.

    Attributes:
        rows: all that were judged (int64[m]).
        keepers: the row that each was dropped for, -1 for those that are kept (int64[m]).
        jaccard: its similarity to that row; NaN for those that are kept (float64[m]).
        components: a row of its component of verified pairs (int64[m]).
        pairs: the two rows of each pair that was compared; the second is the one to be kept rather (int64[p, 2]).
        similarity: their similarity as a whole, of what is asked, and of what is answered (float64[p, 3]; NaN where it was not computed).
        accepted: whether they are near (bool[p]).
    """

    rows: np.ndarray
    keepers: np.ndarray
    jaccard: np.ndarray
    components: np.ndarray
    pairs: np.ndarray
    similarity: np.ndarray
    accepted: np.ndarray


def meet(segments: Sequence[Segment], alive: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Rows that meet others, and the component of each (int64, int64), both by number. `alive`: rows that take part (bool[rows])."""
    labels = components(segments, alive)
    counts = np.bincount(labels, minlength=len(alive)) if len(alive) else np.zeros(0, dtype=np.int64)
    found = np.flatnonzero(alive & (counts[labels] > 1))
    return found, labels[found]


def judged(
    rows: Rows,
    measure: Measure,
    found: np.ndarray,
    labels: np.ndarray,
    ranks: np.ndarray,
    protected: np.ndarray,
    counts: np.ndarray,
    folder: Path,
    total: int,
    *,
    budget: int = GROUP_BYTES,
) -> Iterator[Verdicts]:
    """Judges rows that meet, some components at a time.

    Args:
        rows: the source of texts.
        measure: what they are compared by.
        found: numbers of the rows (int64[m], ascending).
        labels: the component of each (int64[m]).
        ranks: its place in the order in which rows are to be kept (int64[m]).
        protected: whether it is kept in any case (bool[m]).
        counts: shingles of each, repetitions included (uint32[m]).
        folder: for files, which are removed again.
        total: how many rows there are in all.
        budget: bytes of sets of shingles that are judged together.
    """
    if not len(found):
        return
    groups = _groups(labels, counts, budget)
    wanted = np.zeros(total, dtype=np.bool_)
    wanted[found] = True
    spill = _Spill(folder, int(groups.max()) + 1, measure.scheme.bands)
    place = 0
    for piece in rows.read(wanted):
        shingled = measure.shingles(piece.texts, piece.stock)
        keyed = measure.keys(shingled, piece.texts.spaces, piece.stock)
        spill.add(groups[place : place + len(keyed)], keyed, sets(shingled))
        place += len(keyed)
    if place != len(found):
        raise RuntimeError(f"{place:,} rows were read again, and {len(found):,} were asked for")
    sizes = spill.sizes()
    by_group = np.argsort(groups, kind="stable")
    cuts = np.searchsorted(groups[by_group], np.arange(spill.groups + 1))
    for group in range(spill.groups):
        at = by_group[cuts[group] : cuts[group + 1]]
        hashes, keyed = spill.take(group)
        starts = np.concatenate([[0], np.cumsum(sizes[at], dtype=np.int64)[:-1]])
        order = np.lexsort((ranks[at], labels[at]))
        chosen = at[order]
        result = judge(
            Sets(hashes, starts[order], sizes[chosen]),
            keyed[order],
            protected[chosen],
            measure.scheme.threshold,
            measure.parts,
        )
        numbers = found[chosen]
        near = np.full(len(numbers), np.nan)
        pairs = np.stack([result.left, result.right], axis=1)
        of_keeper = result.accepted & (result.keepers[result.left] == result.right)
        near[result.left[of_keeper]] = result.similarity[of_keeper, 0]
        yield Verdicts(
            numbers,
            np.where(result.keepers >= 0, numbers[result.keepers], -1),
            near,
            numbers[result.components],
            numbers[pairs],
            result.similarity,
            result.accepted,
        )


def _groups(labels: np.ndarray, counts: np.ndarray, budget: int) -> np.ndarray:
    """Divides rows into groups of whole components of about `budget` bytes each: the number of each row's group."""
    _, component = np.unique(labels, return_inverse=True)
    weights = np.bincount(component, weights=counts.astype(np.float64) * 8.0)
    before = np.cumsum(weights) - weights
    _, numbers = np.unique((before // budget).astype(np.int64), return_inverse=True)
    return numbers[component]


class _Spill:
    """Sets and keys of rows in files, one pair of files for each group."""

    def __init__(self, folder: Path, groups: int, bands: int) -> None:
        self.groups = groups
        self._folder = folder
        self._bands = bands
        self._sizes: list[np.ndarray] = []

    def _path(self, group: int, kind: str) -> Path:
        return self._folder / f"{group:05d}.{kind}"

    def add(self, groups: np.ndarray, keyed: np.ndarray, found: Sets) -> None:
        """Appends rows to the files of their groups."""
        self._sizes.append(found.sizes)
        order = np.argsort(groups, kind="stable")
        cuts = np.flatnonzero(np.diff(groups[order], prepend=-1))
        for start, end in zip(cuts.tolist(), [*cuts[1:].tolist(), len(order)], strict=True):
            at = order[start:end]
            group = int(groups[at[0]])
            with self._path(group, "keys").open("ab") as file:
                file.write(np.ascontiguousarray(keyed[at]).data)
            with self._path(group, "sets").open("ab") as file:
                sizes = found.sizes[at].astype(np.int64)
                places = np.repeat(found.starts[at] - (np.cumsum(sizes) - sizes), sizes) + np.arange(int(sizes.sum()))
                file.write(found.hashes[places].data)

    def sizes(self) -> np.ndarray:
        """Of all rows, in the order in which they were added."""
        return np.concatenate(self._sizes)

    def take(self, group: int) -> tuple[np.ndarray, np.ndarray]:
        """The sets and keys of a group, whose files are gone afterwards. What is far larger than a group should be (one component) stays
        on disk while it is used."""
        found: list[np.ndarray] = []
        for kind in ("sets", "keys"):
            path = self._path(group, kind)
            if path.stat().st_size > 2 * GROUP_BYTES:
                found.append(np.memmap(path, dtype=np.uint64, mode="r"))
            else:
                found.append(np.fromfile(path, dtype=np.uint64))
            path.unlink()
        return found[0], found[1].reshape(-1, self._bands)
