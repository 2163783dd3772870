"""What was judged in an earlier build, by component.

What becomes of the rows of a component depends on nothing but these rows, their order and the settings. All that is hashed; where the
hash was seen before, the verdicts are taken over and no text is read. The file is a cache in the proper sense: without it the result is
the same.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from corpus.schema import JUDGED
from corpus.warehouse.manifest import FileEntry

if TYPE_CHECKING:
    from corpus.dedup.near import Verdicts


@dataclass(frozen=True, slots=True)
class Components:
    """Components of rows that meet.

    Attributes:
        digests: one for each component (32 hex characters).
        of_row: the component of each row, in the order in which rows were given (int64[m]).
        members: the numbers of all rows, component after component, in the order of keeping (int64[m]).
        bounds: where each component's members begin (int64[components + 1]).
    """

    digests: list[str]
    of_row: np.ndarray
    members: np.ndarray
    bounds: np.ndarray


@dataclass(frozen=True, slots=True)
class Remembered:
    """What is known already: which components (bool), and their verdicts."""

    known: np.ndarray
    verdicts: list[Verdicts]


def components(
    row_ids: pa.ChunkedArray,
    rows: np.ndarray,
    labels: np.ndarray,
    places: np.ndarray,
    protected: np.ndarray,
    bases: np.ndarray,
    makings: Sequence[str],
    settings: Mapping[str, Any],
) -> Components:
    """Hashes every component.

    Args:
        row_ids: of the rows.
        rows: their numbers (int64[m], ascending).
        labels: the component of each.
        places: its place in the order of keeping.
        protected: whether it is kept in any case.
        bases: the number of the first row of each partition.
        makings: the fingerprint of each partition's sketches, which stands for the texts of its rows.
        settings: what the verdicts depend on beyond that.
    """
    names, of_row = np.unique(labels, return_inverse=True)
    order = np.lexsort((places, of_row))
    bounds = np.searchsorted(of_row[order], np.arange(len(names) + 1)).astype(np.int64)
    ids = np.frombuffer(bytes.fromhex("".join(row_ids.to_pylist())), dtype=np.uint8).reshape(-1, 16)
    made = np.frombuffer(bytes.fromhex("".join(makings)), dtype=np.uint8).reshape(len(makings), -1)
    partition = np.searchsorted(bases, rows, side="right") - 1
    told = np.concatenate([ids, made[partition], protected.astype(np.uint8)[:, None]], axis=1)[order] if len(rows) else ids
    view = memoryview(np.ascontiguousarray(told).tobytes())
    width = told.shape[1] if len(rows) else 1
    salt = hashlib.blake2b(json.dumps(dict(settings), sort_keys=True).encode(), digest_size=16).digest()
    digests = [
        hashlib.blake2b(view[a * width : b * width], digest_size=16, key=salt).hexdigest()
        for a, b in zip(bounds[:-1].tolist(), bounds[1:].tolist(), strict=True)
    ]
    return Components(digests, of_row, rows[order], bounds)


def load(root: Path, before: Mapping[str, Any] | None, now: Components) -> Remembered:
    """The verdicts of components that were judged before. `before`: the file of the last build, as its manifest has it."""
    from corpus.dedup.near import Verdicts

    known = np.zeros(len(now.digests), dtype=np.bool_)
    table = _read(root, FileEntry(**before)) if before else None
    if table is None:
        return Remembered(known, [])
    where = {digest: i for i, digest in enumerate(now.digests)}
    at = np.array([where.get(d, -1) for d in table["component"].to_pylist()], dtype=np.int64)
    table = table.filter(pa.array(at >= 0)).combine_chunks()
    at = at[at >= 0]
    if not len(at):
        return Remembered(known, [])
    known[at] = True
    keepers, sizes = _flat(table, "keepers")
    pair_rows, pair_sizes = _flat(table, "pair_rows")
    if not np.array_equal(sizes, np.diff(now.bounds)[at]):
        return Remembered(np.zeros_like(known), [])
    base = np.repeat(now.bounds[at], sizes)
    pair_base = np.repeat(now.bounds[at], pair_sizes)
    rows = now.members[base + np.arange(len(keepers)) - np.repeat(np.cumsum(sizes) - sizes, sizes)]
    others, accepted, *similar = (_flat(table, f"pair_{name}")[0] for name in ("others", "accepted", "jaccard", "prompts", "answers"))
    return Remembered(
        known,
        [
            Verdicts(
                rows,
                np.where(keepers >= 0, now.members[base + np.maximum(keepers, 0)], -1),
                _flat(table, "jaccard")[0],
                now.members[base + _flat(table, "joined")[0]],
                np.stack([now.members[pair_base + pair_rows], now.members[pair_base + others]], axis=1),
                np.stack(similar, axis=1),
                accepted.astype(np.bool_),
            )
        ],
    )


def _read(root: Path, entry: FileEntry) -> pa.Table | None:
    """The file, if it still is what was written: a damaged cache must not decide anything."""
    path = root / entry.path
    try:
        if hashlib.sha256(path.read_bytes()).hexdigest() != entry.sha256:
            return None
        return pq.read_table(path, schema=JUDGED.schema)
    except (OSError, pa.ArrowInvalid):
        return None


def _flat(table: pa.Table, name: str) -> tuple[np.ndarray, np.ndarray]:
    """All values of a list column, and how many each row has."""
    column = table[name].combine_chunks()
    return column.flatten().to_numpy(zero_copy_only=False), column.value_lengths().to_numpy().astype(np.int64)


def table(now: Components, made: Sequence[Verdicts]) -> pa.Table:
    """The verdicts of all components (schema JUDGED), ordered by their hashes. Rows are given by their places in their component."""
    m = len(now.members)
    component = np.repeat(np.arange(len(now.digests)), np.diff(now.bounds))
    by_number = np.argsort(now.members)
    numbers = now.members[by_number]

    def place(rows: np.ndarray) -> np.ndarray:
        return by_number[np.searchsorted(numbers, rows)]

    keepers, joined = np.full(m, -1, dtype=np.int64), np.zeros(m, dtype=np.int64)
    jaccard = np.full(m, np.nan)
    for v in made:
        at = place(v.rows)
        start = now.bounds[component[at]]
        keepers[at] = np.where(v.keepers >= 0, place(np.maximum(v.keepers, 0)) - start, -1) if len(at) else -1
        joined[at] = place(v.components) - start
        jaccard[at] = v.jaccard
    left = np.concatenate([place(v.pairs[:, 0]) for v in made]) if made else np.zeros(0, dtype=np.int64)
    right = np.concatenate([place(v.pairs[:, 1]) for v in made]) if made else left
    similar = np.concatenate([v.similarity for v in made]) if made else np.zeros((0, 3))
    accepted = np.concatenate([v.accepted for v in made]) if made else np.zeros(0, dtype=np.bool_)
    order = np.lexsort((right, left))
    left, right, similar, accepted = left[order], right[order], similar[order], accepted[order]
    of_pair = component[left]
    start = now.bounds[of_pair]
    pair_bounds = np.searchsorted(of_pair, np.arange(len(now.digests) + 1))
    columns = {
        "component": pa.array(now.digests, pa.string()),
        "keepers": _lists(now.bounds, keepers, pa.int32()),
        "jaccard": _lists(now.bounds, jaccard, pa.float64()),
        "joined": _lists(now.bounds, joined, pa.int32()),
        "pair_rows": _lists(pair_bounds, left - start, pa.int32()),
        "pair_others": _lists(pair_bounds, right - start, pa.int32()),
        "pair_jaccard": _lists(pair_bounds, similar[:, 0], pa.float64()),
        "pair_prompts": _lists(pair_bounds, similar[:, 1], pa.float64()),
        "pair_answers": _lists(pair_bounds, similar[:, 2], pa.float64()),
        "pair_accepted": _lists(pair_bounds, accepted, pa.bool_()),
    }
    return pa.table([columns[c.name] for c in JUDGED.columns], schema=JUDGED.schema).sort_by("component")


def _lists(bounds: np.ndarray, values: np.ndarray, of: pa.DataType) -> pa.ListArray:
    return pa.ListArray.from_arrays(pa.array(bounds.astype(np.int32)), pa.array(values).cast(of))
