"""Parse and commit beside DuckDB's COPY of the same files.

Ours is the parse stage as `corpus build` runs it: upstream files are hashed for the input index, cut into tasks, parsed in two worker
processes, and committed (parquet with zstd 3, sha256 of the bytes, fsync, rename, manifest line). The peer is one statement with two
threads: `COPY (SELECT * FROM read_json('…')) TO '…' (FORMAT parquet, COMPRESSION zstd)`, which is zstd 3 as well.

The two do not do the same: DuckDB infers a table and writes it. It makes no messages, no row ids (a hash of every record's canonical JSON),
no byte offsets, no rejects (one bad line ends it), no digests and no fsync. What it sets is the pace at which these bytes can be read
and compressed at all.

Each run is a process of its own, alternately A B A B. Time is taken inside it, around the work: for both without starting Python and
importing libraries, and so for ours without starting the worker processes, which a build does once (`start` tells what that takes).
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks import data
from benchmarks.measure import OUT, fresh, spread, table

MODULE = "benchmarks.ingest"
_READERS = {"jsonl": "read_json", "jsonl-en": "read_json", "csv": "read_csv", "parquet": "read_parquet"}
TARGET = 2.5
"""How many times DuckDB's time parse and commit may take."""


def run(megabytes: int, pairs: int) -> dict[str, Any]:
    """All kinds of file; returns what was measured."""
    out = {}
    for kind in data.FILES:
        folder = data.make(OUT / "data", kind, megabytes)
        size = sum(p.stat().st_size for p in folder.iterdir())
        for side in ("ours", "peer"):
            fresh(MODULE, side, kind, folder)  # a warm-up: caches, bytecode
        runs: dict[str, list[dict[str, Any]]] = {"ours": [], "peer": []}
        for _ in range(pairs):
            for side in runs:
                runs[side].append(fresh(MODULE, side, kind, folder))
        ours, peer = ([r["seconds"] for r in runs[side]] for side in runs)
        out[kind] = {
            "bytes": size, "rows": runs["ours"][0]["rows"], "ours": ours, "peer": peer,
            "ratios": [a / b for a, b in zip(ours, peer, strict=True)],
            "start": [r["start"] for r in runs["ours"]],
            "cpu": [[r["cpu"] for r in runs[side]] for side in runs],
            "written": [runs[side][0]["written"] for side in runs],
        }  # fmt: skip
    return out


def show(found: dict[str, Any]) -> str:
    """The result as a Markdown table."""
    rows = []
    for kind, r in found.items():
        ours, peer = statistics.median(r["ours"]), statistics.median(r["peer"])
        rows.append((
            kind, f"{r['bytes'] / 1e6:.0f} MB, {r['rows']:,} rows", spread(r["ours"]), spread(r["peer"]), spread(r["ratios"]),
            f"{r['rows'] / ours:,.0f} / {r['rows'] / peer:,.0f}", f"{r['bytes'] / ours / 1e6:.0f} / {r['bytes'] / peer / 1e6:.0f}",
            f"{r['written'][0] / 1e6:.0f} / {r['written'][1] / 1e6:.0f} MB",
            f"{statistics.median(r['cpu'][0]) / statistics.median(r['cpu'][1]):.2f}",
        ))  # fmt: skip
    head = ("files", "size", "corpus, s", "DuckDB, s", "ratio", "rows/s", "MB/s", "written", "ratio of CPU time")
    start = statistics.median(s for r in found.values() for s in r["start"])
    return table(head, rows) + f"\n\nTarget: a ratio of at most {TARGET}. Starting two workers, once a build: {start:.2f} s."


def ours(kind: str, folder: Path) -> dict[str, Any]:
    """Parses and commits the files below `folder` into a fresh warehouse."""
    from corpus import pipeline
    from corpus.executors.local import LocalExecutor
    from corpus.recipe import Recipe
    from corpus.stages import parse
    from corpus.warehouse.builds import Warehouse

    root = Path(tempfile.mkdtemp(prefix="ingest-", dir=folder.parent))
    try:
        with LocalExecutor(2, 1500 << 20) as executor:
            began = time.perf_counter()
            _start(executor, root)
            start = time.perf_counter() - began
            before = _cpu()
            began = time.perf_counter()
            warehouse = Warehouse(root)
            recipe = Recipe.model_validate({"name": "bench", "sources": [data.FILES[kind].source]})
            context, _ = pipeline.context(recipe, folder, warehouse.index)
            rows = written = 0
            for partition in executor.run(parse.plan(context), root, lambda size, rows: None):
                warehouse.commit(partition)
                rows += sum(f.rows for f in partition.of("rows"))
                written += sum(f.bytes for f in partition.files)
            warehouse.index.save()
            seconds = time.perf_counter() - began
            cpu = _cpu() - before
        return {"seconds": seconds, "rows": rows, "written": written, "start": start, "cpu": cpu}
    finally:
        shutil.rmtree(root)


def peer(kind: str, folder: Path) -> dict[str, Any]:
    """Copies the files below `folder` into one parquet file with DuckDB."""
    import duckdb

    root = Path(tempfile.mkdtemp(prefix="ingest-", dir=folder.parent))
    target = root / "out.parquet"
    try:
        names = ", ".join(f"'{p}'" for p in sorted(folder.iterdir()))
        with duckdb.connect(config={"threads": 2}) as db:
            before = _cpu()
            began = time.perf_counter()
            db.execute(f"COPY (SELECT * FROM {_READERS[kind]}([{names}])) TO '{target}' (FORMAT parquet, COMPRESSION zstd)")
            seconds = time.perf_counter() - began
            cpu = _cpu() - before
            [(rows,)] = db.execute(f"SELECT count(*) FROM '{target}'").fetchall()
        return {"seconds": seconds, "rows": rows, "written": target.stat().st_size, "cpu": cpu}
    finally:
        shutil.rmtree(root)


def _start(executor: Any, root: Path) -> None:
    """Has the executor start its workers, and each import what parsing needs."""
    from corpus.executors.task import Task

    nothing = [Task("warm", str(n), {}, _nothing, size=1 << 30) for n in range(2)]
    for _ in executor.run(nothing, root, lambda size, rows: None):
        pass


def _nothing(task: Any, root: Path, report: Any) -> Any:
    import corpus.stages.parse  # noqa: F401

    time.sleep(0.5)  # long enough that the other worker takes the other task
    return task.done(())


def _cpu() -> float:
    """CPU seconds of this process and of its children, the living ones too."""
    ticks = os.sysconf("SC_CLK_TCK")
    total = time.process_time()
    for children in Path("/proc/self/task").glob("*/children"):
        for pid in children.read_text().split():
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            total += (int(fields[11]) + int(fields[12])) / ticks
    return total


def main() -> None:
    """One run of one side, as a process of its own."""
    parser = argparse.ArgumentParser()
    parser.add_argument("side", choices=["ours", "peer"])
    parser.add_argument("kind", choices=list(data.FILES))
    parser.add_argument("folder", type=Path)
    given = parser.parse_args()
    print(json.dumps({"ours": ours, "peer": peer}[given.side](given.kind, given.folder)))


if __name__ == "__main__":
    main()
