"""Deduplication of one file or table, for people who want only this.

    from corpus.dedup import deduplicate
    result = deduplicate("rows.parquet", text="text", id="id", unit="mixed", threshold=0.8)

Of rows that are equal after folding, and of rows that are near each other, the longest is kept, and of rows of the same length the one
with the lowest id, whatever their order in the file.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from corpus.dedup.files import Column, schema, told, values
from corpus.dedup.minhash import Scheme
from corpus.dedup.near import Measure, Verdicts, judged, meet, sketch
from corpus.dedup.units import Unit
from corpus.errors import DataError, UsageError, nearest

TABLES = {
    "kept": ("row_id",),
    "dropped": ("row_id", "kept_row_id", "jaccard"),
    "clusters": ("row_id", "cluster"),
    "pairs": ("row_id", "other_id", "jaccard", "accepted"),
}
"""The tables of a result, and their columns."""
_FOLDER = ".dedup-spill-"


@dataclass(frozen=True, slots=True)
class Result:
    """What was found. `id` is the type of the id column, large_string for texts; int64, the row's number, where there is none.

    Attributes:
        kept: row_id, in the order of the file.
        dropped: row_id, kept_row_id, jaccard (exact; 1 for rows that are equal after folding).
        clusters: row_id, cluster (the row_id of the cluster's best row), of rows that have a duplicate.
        pairs: row_id, other_id, jaccard, accepted: what was compared. Rows that are equal were not.
        rows: how many rows there were.
        exact: how many of the dropped rows are equal to another.
    """

    kept: pa.Table
    dropped: pa.Table
    clusters: pa.Table
    pairs: pa.Table
    rows: int
    exact: int

    def write(self, folder: Path) -> None:
        """Writes each table as a parquet file into `folder`, where nothing but the tables of an earlier run is replaced.

        Raises:
            UsageError: when another file of such a name is there.
        """
        folder.mkdir(parents=True, exist_ok=True)
        check_out(folder)
        with _folder(folder) as apart:  # so that there never are halves of tables, nor tables of two runs
            for name in TABLES:
                pq.write_table(getattr(self, name), apart / f"{name}.parquet", compression="zstd")
            for name in TABLES:
                os.replace(apart / f"{name}.parquet", folder / f"{name}.parquet")


def check_out(folder: Path, source: Path | None = None) -> None:
    """Sees to it that a result can be written into a folder without a loss.

    Args:
        folder: need not exist.
        source: the file that is to be deduplicated.

    Raises:
        UsageError: when a file there that would be replaced is `source`, or was not written by `Result.write`.
    """
    for name, columns in TABLES.items():
        path = folder / f"{name}.parquet"
        if not os.path.lexists(path):
            continue
        if source is not None and path.exists() and source.exists() and path.samefile(source):
            raise UsageError(f"{path} is the file that is to be read, and would be replaced; choose another folder")
        try:
            ours = path.is_file() and tuple(pq.read_schema(path).names) == columns
        except (pa.ArrowException, OSError):
            ours = False
        if not ours:
            raise UsageError(f"{path} is no result of an earlier run, and would be replaced; choose another folder, or move it away")


def deduplicate(
    source: str | Path | pa.Table,
    *,
    text: str = "text",
    id: str | None = None,
    unit: str = "mixed",
    threshold: float = 0.8,
    work: Path | None = None,
    report: Callable[[int], None] | None = None,
) -> Result:
    """Finds exact and near duplicates among the texts of a column.

    Args:
        source: a parquet file or an Arrow table.
        text: the column of texts; a null is an empty text.
        id: the column of ids, which must be unique; without it rows are numbered from 0.
        unit: what five of make a shingle: mixed (Han characters, words, numbers) or char (characters).
        threshold: Jaccard similarity from which rows are near, 0.5 to 1.
        work: folder for temporary files, some 120 bytes a row and 8 a shingle of rows that may have a duplicate.
        report: is told of rows as they are read.

    Raises:
        DataError: for a file that cannot be read, a missing column, or ids that are null or not unique.
        UsageError: for a unit or threshold that there is not.
    """
    source = Path(source) if isinstance(source, str) else source
    if unit not in list(Unit):
        raise UsageError(f"there is no unit {unit!r}{nearest(unit, map(str, Unit))}; known are {', '.join(Unit)}")
    if not 0.5 <= threshold <= 1:
        raise UsageError(f"threshold {threshold:g} is not between 0.5 and 1")
    _check(source, text, id)
    column = Column(source, text)
    measure = Measure(Unit(unit), Scheme.of(threshold))
    with _folder(work) as folder:
        found = sketch(column, measure, folder, report)
        segments, sizes, counts, total = found.segments, found.sizes, found.counts, len(found.sizes)
        leaders = _equal(found.whole)
        del found  # 16 bytes a row that nobody needs any more
        unique = leaders == np.arange(total, dtype=leaders.dtype)
        met, labels = meet(segments, unique)
        concerned = ~unique
        concerned[leaders[~unique]] = True
        concerned[met] = True
        ids = _Ids.read(source, id, concerned, sizes)
        # The best of rows that are equal stands for them: its rank, its number.
        best = _best(leaders, unique, ids)
        verdicts = list(
            judged(column, measure, met, labels, ids.rank(best[met]), np.zeros(len(met), dtype=np.bool_), counts[met], folder, total)
        )
    return _result(source, id, ids, total, leaders, best, verdicts)


def _check(source: Path | pa.Table, text: str, id: str | None) -> None:
    names = schema(source)
    where = told(source)
    for name in (text, id):
        if name is None:
            continue
        if name not in names.names:
            raise DataError(f"{where}: there is no column {name!r}{nearest(name, names.names)}; it has {', '.join(names.names)}")
        if names.names.count(name) > 1:
            raise DataError(f"{where}: there are {names.names.count(name)} columns {name!r}; give each a name of its own")
    of = names.field(text).type
    if not _is_text(of):
        raise DataError(f"{where}: column {text!r} is {of}, expected text")
    if id is not None:
        of = names.field(id).type
        if not (pa.types.is_integer(of) or _is_text(of)):
            raise DataError(f"{where}: column {id!r} is {of}, expected integers or text")


def _is_text(of: pa.DataType) -> bool:
    if pa.types.is_dictionary(of):
        of = of.value_type
    return pa.types.is_string(of) or pa.types.is_large_string(of) or pa.types.is_string_view(of)


@contextmanager
def _folder(work: Path | None) -> Iterator[Path]:
    """A folder for temporary files. Those of runs that were killed go when the next one begins: a lock tells them from those in use."""
    if work is not None:
        if work.exists() and not work.is_dir():
            raise UsageError(f"{work} is a file; expected a folder, or the name of one to be made")
        work.mkdir(parents=True, exist_ok=True)
        for left in work.glob(f"{_FOLDER}????????"):
            with _held(left, wait=False) as ours:
                if ours:
                    shutil.rmtree(left, ignore_errors=True)
    while True:
        folder = Path(tempfile.mkdtemp(prefix=_FOLDER, dir=work))
        with _held(folder, wait=True) as ours:
            if not ours:  # another run took it for one that was left, before it was locked
                continue
            try:
                yield folder
            finally:
                shutil.rmtree(folder, ignore_errors=True)
        return


@contextmanager
def _held(folder: Path, *, wait: bool) -> Iterator[bool]:
    """Whether this process holds the lock of a folder, which still is there."""
    try:
        handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    except OSError:
        yield False
        return
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
            ours = folder.is_dir()
        except OSError:
            ours = wait  # a file system without locks: nothing is taken for left
        yield ours
    finally:
        os.close(handle)


def _numbers(n: int) -> np.ndarray:
    """The numbers of all rows, in four bytes each where that is enough."""
    return np.arange(n, dtype=np.int32 if n < 1 << 31 else np.int64)


def _equal(whole: np.ndarray) -> np.ndarray:
    """For every row the first row with the same hash (see `_numbers`)."""
    n = len(whole)
    leaders = _numbers(n)
    order = np.argsort(whole[:, 0], kind="stable")
    again = whole[order[1:], 0] == whole[order[:-1], 0]
    if not again.any():
        return leaders
    starts = np.flatnonzero(np.concatenate([[True], ~again]))
    firsts = np.repeat(order[starts], np.diff(np.append(starts, n)))
    same = whole[order, 1] == whole[firsts, 1]  # where not, half of the hash is equal by chance: then the row stands alone
    leaders[order[same]] = firsts[same]
    return leaders


class _Ids:
    """Ids and places in the order of keeping, of those rows that are concerned."""

    def __init__(self, numbers: np.ndarray, values: pa.Array, ranks: np.ndarray) -> None:
        self.numbers, self.values, self._ranks = numbers, values, ranks

    @classmethod
    def read(cls, source: Path | pa.Table, id: str | None, concerned: np.ndarray, sizes: np.ndarray) -> _Ids:
        """Reads them.

        Raises:
            DataError: when one is null, or two are the same.
        """
        numbers = np.flatnonzero(concerned)
        if id is None:
            values: pa.Array = pa.array(numbers)
        else:
            _check_unique(source, id)
            values = _chosen(source, id, concerned).combine_chunks()
        order = pc.sort_indices(values).to_numpy()
        by_id = np.empty(len(order), dtype=np.int64)
        by_id[order] = np.arange(len(order))
        ranks = np.empty(len(order), dtype=np.int64)
        ranks[np.lexsort((by_id, -sizes[numbers].astype(np.int64)))] = np.arange(len(order))
        return cls(numbers, values, ranks)

    def rank(self, rows: np.ndarray) -> np.ndarray:
        """The places of rows, by number."""
        return self._ranks[np.searchsorted(self.numbers, rows)]

    def of(self, rows: np.ndarray) -> pa.Array:
        """The ids of rows, by number."""
        return self.values.take(pa.array(np.searchsorted(self.numbers, rows)))


def _identities(source: Path | pa.Table, id: str) -> Iterator[pa.Array]:
    """The column of ids, texts as large_string: 2 GB of ids are no more than 60 million of 32 characters."""
    of = schema(source).field(id).type
    for column in values(source, id):
        yield column.cast(pa.large_string()) if _is_text(of) else column


def _chosen(source: Path | pa.Table, id: str, wanted: np.ndarray) -> pa.ChunkedArray:
    """The ids of some rows (bool[rows])."""
    of = schema(source).field(id).type
    parts, base = [], 0
    for column in _identities(source, id):
        parts.append(column.filter(pa.array(wanted[base : base + len(column)])))
        base += len(column)
    return pa.chunked_array(parts, pa.large_string() if _is_text(of) else of)


def _hashes(ids: pa.Array) -> np.ndarray:
    """A number for every id (uint64): integers are their own."""
    if pa.types.is_integer(ids.type):
        return ids.to_numpy().astype(np.uint64)  # of negative ones the complement, which no other integer of the column has
    import polars as pl  # a fifth of a second, which most runs can do without

    return pl.Series(ids).hash().to_numpy()


def _check_unique(source: Path | pa.Table, id: str) -> None:
    """Looks at the ids of all rows: were one of a dropped row that of another row as well, who drops rows by their ids would lose both.

    Raises:
        DataError: when one is null, or two are the same.
    """
    parts, base = [], 0
    for column in _identities(source, id):
        if column.null_count:
            raise DataError(f"{told(source)}: column {id!r}: row {base + column.is_null().index(True).as_py():,} has no id")
        parts.append(_hashes(column))
        base += len(column)
    hashes = _joined(parts, np.uint64)
    ordered = np.sort(hashes)
    again = ordered[1:][ordered[1:] == ordered[:-1]]
    if not len(again):
        return
    wanted = np.isin(hashes, again)  # or only their hashes are the same
    rows = np.flatnonzero(wanted)
    found = _chosen(source, id, wanted).combine_chunks()
    order = pc.sort_indices(found).to_numpy()
    found = found.take(pa.array(order))
    if (twice := pc.equal(found[1:], found[:-1]).index(True).as_py()) >= 0:
        a, b = sorted(rows[order[twice : twice + 2]].tolist())
        what = f"{found[twice].as_py()!r:.80}"
        raise DataError(f"{told(source)}: column {id!r}: rows {a:,} and {b:,} have the same id {what}; ids must be unique")


def _best(leaders: np.ndarray, unique: np.ndarray, ids: _Ids) -> np.ndarray:
    """For the first of every group of equal rows, the one of the group that is to be kept (see `_numbers`; others are themselves)."""
    best = _numbers(len(leaders))
    members = np.flatnonzero(~unique)
    if len(members):
        members = np.concatenate([members, np.unique(leaders[members])])
        order = members[np.lexsort((ids.rank(members), leaders[members]))]
        first = np.concatenate([[True], leaders[order[1:]] != leaders[order[:-1]]])
        best[leaders[order[first]]] = order[first]
    return best


def _result(
    source: Path | pa.Table, id: str | None, ids: _Ids, total: int, leaders: np.ndarray, best: np.ndarray, verdicts: list[Verdicts]
) -> Result:
    judged_rows = _joined([v.rows for v in verdicts])
    component = _numbers(total)
    keepers = np.full(total, -1, dtype=component.dtype)
    jaccard = np.full(total, np.nan)
    for v in verdicts:
        keepers[v.rows] = np.where(v.keepers >= 0, best[v.keepers], -1)
        jaccard[v.rows] = v.jaccard
        component[v.rows] = v.components
    final = best[leaders]
    exact = int(np.count_nonzero(final != _numbers(total)))
    # Rows that are equal share what became of the row that stands for them.
    np.copyto(final, keepers[leaders], where=keepers[leaders] >= 0)
    dropped = np.flatnonzero(final != _numbers(total))
    stood_for = leaders[dropped]
    similar = np.where(keepers[stood_for] >= 0, jaccard[stood_for], 1.0)
    del keepers, jaccard

    named = component[leaders]
    touched = np.zeros(total, dtype=np.bool_)
    touched[dropped] = True
    touched[final[dropped]] = True
    joined = np.bincount(component[judged_rows], minlength=total)[component] > 1
    touched |= joined[leaders]
    members = np.flatnonzero(touched)
    cluster = named[members]
    # A cluster is called by its best row.
    order = np.lexsort((ids.rank(members), cluster))
    ordered = cluster[order]
    first = np.concatenate([[True], ordered[1:] != ordered[:-1]]) if len(ordered) else np.zeros(0, dtype=np.bool_)
    name = members[order][np.maximum.accumulate(np.where(first, np.arange(len(order)), 0))] if len(order) else members
    left, right = (best[_joined([v.pairs[:, i] for v in verdicts])] for i in (0, 1))

    kept = np.ones(total, dtype=np.bool_)
    kept[dropped] = False
    return Result(
        kept=pa.table({"row_id": _kept(source, id, kept)}),
        dropped=pa.table({"row_id": ids.of(dropped), "kept_row_id": ids.of(final[dropped]), "jaccard": similar}),
        clusters=pa.table({"row_id": ids.of(members[order]), "cluster": ids.of(name)}),
        pairs=pa.table(
            {
                "row_id": ids.of(left),
                "other_id": ids.of(right),
                "jaccard": _joined([v.similarity[:, 0] for v in verdicts], np.float64),
                "accepted": _joined([v.accepted for v in verdicts], np.bool_),
            }
        ),
        rows=total,
        exact=exact,
    )


def _kept(source: Path | pa.Table, id: str | None, kept: np.ndarray) -> pa.ChunkedArray:
    return pa.chunked_array([pa.array(np.flatnonzero(kept))]) if id is None else _chosen(source, id, kept)


def _joined(parts: list[np.ndarray], of: type = np.int64) -> np.ndarray:
    return np.concatenate(parts) if parts else np.zeros(0, dtype=of)
