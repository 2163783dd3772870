"""stock: what each source says in row after row.

Template data (`阅读以下对话并回答问题`, `答案：`) is alike by design, and its rows must not be taken for duplicates because of the
template. Shingles that more than a share of a source's rows have bring no rows together, and rows are near only when they are near
without them as well as with them. They are counted in a sample: the rows of the source whose keys are lowest, which are hashes, so that
the sample depends neither on the order of rows nor on how they are divided. Rows that are equal count once, and so do rows of which the
same is compared.
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
VERSION = 2

_SAMPLE = 4000
"""Rows of a sample: a share of 0.1 is then known to within 0.005."""
_LEAST = 100
"""Of fewer rows nothing is said."""
_OFTEN = 20
"""What fewer rows of the sample say is no template, whatever their share: in a source of 100 rows three versions of one row would be."""


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
    paths = [root / f.path for f in files]
    found, rows = _counted(paths, _sample(paths), task.spec["key"], task.spec["unit"])
    report(task.size, sum(f.rows for f in files))
    if rows < _LEAST:
        return task.done([], rows=rows)
    hashes, often = np.unique(found, return_counts=True)
    stock = (often > task.spec["share"] * rows) & (often >= _OFTEN)
    if not stock.any():
        return task.done([], rows=rows)
    table = pa.table(
        [pa.repeat(task.spec["source"], int(stock.sum())), pa.array(hashes[stock]), pa.array(often[stock] / rows)], schema=STOCK.schema
    )
    entry = write_table(root, f"dedup/{NAME}/{task.key}.{task.fingerprint[:8]}.parquet", table, "stock")
    return task.done([entry], rows=rows, digest=hashlib.blake2b(hashes[stock].tobytes(), digest_size=8).hexdigest())


def _sample(paths: list[Path]) -> list[np.ndarray]:
    """Of each file which rows are in the sample (bool): those with the lowest keys of all, and of equal ones that with the lowest id."""

    def column(path: Path, name: str) -> pa.ChunkedArray:
        return pq.read_table(path, columns=[name])[name]

    flat = [np.frombuffer(b"".join(column(path, "row_key").to_pylist()), dtype=">u8").reshape(-1, 2)[:, 0] for path in paths]
    lowest = np.unique(np.concatenate(flat))[:_SAMPLE] if flat else np.zeros(0, dtype=">u8")
    masks = [np.isin(keys, lowest) for keys in flat]
    if sum(int(mask.sum()) for mask in masks) > len(lowest):
        # Equal keys are those of equal texts after folding, and still their units may differ.
        ids = np.concatenate([column(path, "row_id").filter(pa.array(mask)).to_numpy() for path, mask in zip(paths, masks, strict=True)])
        keys = np.concatenate([keys[mask] for keys, mask in zip(flat, masks, strict=True)])
        order = np.lexsort((ids.astype("S32"), keys))
        chosen = np.zeros(len(keys), dtype=np.bool_)
        chosen[order[np.append(True, np.diff(keys[order]) != 0)]] = True
        place = 0
        for mask in masks:
            count = int(mask.sum())
            mask[mask] = chosen[place : place + count]
            place += count
    return masks


def _counted(paths: list[Path], sample: list[np.ndarray], key: Key, unit: str) -> tuple[np.ndarray, int]:
    """The shingles of the rows of a sample, each once a row, and how many rows these are: rows of which the same is compared are one."""
    from corpus.dedup.judge import sets
    from corpus.dedup.shingles import BARE, shingles
    from corpus.dedup.units import Unit
    from corpus.stages.compared import pieces

    found: list[np.ndarray] = []
    seen: set[bytes] = set()
    for path, wanted in zip(paths, sample, strict=True):
        for _, part, _ in pieces(path, key, wanted=wanted):
            made = shingles(part.texts, Unit(unit))
            whole = [row.tobytes() for row in made.whole]
            each = sets(made)
            for row, start, size in zip(whole, each.starts.tolist(), each.sizes.tolist(), strict=True):
                if row not in seen:
                    seen.add(row)
                    found.append(each.hashes[start : start + size] & BARE)
    return np.concatenate(found) if found else np.zeros(0, dtype=np.uint64), len(seen)
