"""stock: what each source says in row after row.

Template data (`阅读以下对话并回答问题`, `答案：`) is alike by design, and its rows must not be taken for duplicates because of the
template. Shingles that more than a share of a source's rows have bring no rows together, and rows are near only when they are near
without them as well as with them. They are counted in a sample: the rows of the source whose keys are lowest, which are hashes, so that
the sample depends neither on the order of rows nor on how they are divided, and rows that are equal count once.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from corpus.executors.task import Report, Task
from corpus.recipe import Key
from corpus.schema import STOCK
from corpus.stages.base import Context, parts
from corpus.warehouse.commit import reading, write_table
from corpus.warehouse.manifest import Partition

NAME = "stock"
VERSION = 1

_SAMPLE = 4000
"""Rows of a sample: a share of 0.1 is then known to within 0.005."""
_LEAST = 100
"""Of fewer rows nothing is said."""


def plan(context: Context, cleaned: list[Partition]) -> list[Task]:
    """One task per source."""
    if not context.recipe.dedup.near or context.recipe.dedup.template_share >= 1:
        return []
    by_source: dict[str, list[Partition]] = {}
    for partition in cleaned:
        by_source.setdefault(partition.key.partition("/")[0], []).append(partition)
    settings = {"unit": context.recipe.dedup.unit, "share": context.recipe.dedup.template_share}
    return [
        Task(
            stage=NAME,
            key=source,
            parts=parts(
                NAME, VERSION, writes=(STOCK,), inputs={p.key: p.fingerprint for p in partitions}, libs=("pyarrow", "numpy"),
                dedup={**settings, "key": context.keys[source]},
            ),
            run=run,
            inputs=tuple(partitions),
            spec={**settings, "key": context.keys[source], "source": source},
            size=sum(f.bytes for p in partitions for f in p.of("clean")),
        )
        for source, partitions in sorted(by_source.items())
    ]  # fmt: skip


def digests(made: list[Partition]) -> Mapping[str, str]:
    """By source: a digest of what is stock in its rows. Sources that have nothing of the kind are not in it."""
    return {p.key: p.stats["digest"] for p in made if p.stats.get("digest")}


def shingles_of(root: Path, partition: Partition) -> np.ndarray:
    """The shingles that are stock in a source (uint64, ascending)."""
    files = partition.of("stock")
    if not files:
        return np.zeros(0, dtype=np.uint64)
    with reading(root / files[0].path):
        return pq.read_table(root / files[0].path, columns=["shingle"])["shingle"].to_numpy()


def run(task: Task, root: Path, report: Report) -> Partition:
    """Counts the shingles of one source's sample."""
    files = [f for p in task.inputs for f in p.of("clean")]
    keys = [pq.read_table(root / f.path, columns=["row_key"])["row_key"] for f in files]
    found, counts = _counted(root, [f.path for f in files], _sample(keys), task.spec["key"], task.spec["unit"])
    report(task.size, sum(f.rows for f in files))
    rows = min(_SAMPLE, counts.pop("rows"))
    if rows < _LEAST or not len(found):
        return task.done([], rows=rows)
    hashes, often = np.unique(found, return_counts=True)
    stock = often > task.spec["share"] * rows
    if not stock.any():
        return task.done([], rows=rows)
    table = pa.table(
        [pa.repeat(task.spec["source"], int(stock.sum())), pa.array(hashes[stock]), pa.array(often[stock] / rows)], schema=STOCK.schema
    )
    entry = write_table(root, f"dedup/{NAME}/{task.key}.{task.fingerprint[:8]}.parquet", table, "stock")
    return task.done([entry], rows=rows, digest=hashlib.blake2b(hashes[stock].tobytes(), digest_size=8).hexdigest())


def _sample(keys: list[pa.ChunkedArray]) -> list[np.ndarray]:
    """Of each file which rows are in the sample (bool): those with the lowest keys of all, the first of equal ones."""
    flat = [np.frombuffer(b"".join(column.to_pylist()), dtype=">u8").reshape(-1, 2)[:, 0] for column in keys]
    whole = np.concatenate(flat) if flat else np.zeros(0, dtype=">u8")
    _, firsts = np.unique(whole, return_index=True)
    chosen = np.zeros(len(whole), dtype=np.bool_)
    chosen[firsts[:_SAMPLE]] = True
    return np.split(chosen, np.cumsum([len(f) for f in flat])[:-1]) if flat else []


def _counted(root: Path, paths: list[str], sample: list[np.ndarray], key: Key, unit: str) -> tuple[np.ndarray, dict[str, int]]:
    """The shingles of the rows of a sample, each once a row."""
    from corpus.dedup.judge import sets
    from corpus.dedup.shingles import BARE, shingles
    from corpus.dedup.units import Unit
    from corpus.stages.compared import pieces

    found, rows = [], 0
    for path, wanted in zip(paths, sample, strict=True):
        for numbers, part, _ in pieces(root / path, key, wanted=wanted):
            found.append(sets(shingles(part.texts, Unit(unit))).hashes & BARE)
            rows += len(numbers)
    return np.concatenate(found) if found else np.zeros(0, dtype=np.uint64), {"rows": rows}
