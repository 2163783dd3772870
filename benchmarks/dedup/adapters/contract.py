"""What every adapter reads and writes.

It is run as `python -m benchmarks.dedup.adapters.NAME --rows FILE --out FOLDER --work FOLDER [--threshold 0.8]…` by the interpreter of
its peer, so this module imports nothing but pyarrow. `rows` has row_id (int64, 0, 1, 2, …) and text; `work` is a scratch folder.
Written into `out`:

- `kept.parquet`: row_id
- `dropped.parquet`: row_id, kept_row_id, jaccard (null where the tool does not say)
- `clusters.parquet`: row_id, cluster; left out when the tool tells no clusters, and so may be rows alone in theirs
- `meta.json`: versions, settings, and the seconds spent on turning the tool's own output into these files, which are not the tool's

A row that is in neither file was lost silently. Keepers, similarities and clusters are what the tool itself says, never worked out
here.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import platform
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

WIDTH = 5
"""Characters of a shingle, where the tool leaves shingles to its caller."""


def arguments(doc: str | None, **more: Any) -> argparse.Namespace:
    """The common arguments and those given with their defaults; makes the folders."""
    parser = argparse.ArgumentParser(description=doc)
    parser.add_argument("--rows", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--threshold", type=float, default=0.8)
    for name, default in more.items():
        parser.add_argument("--" + name.replace("_", "-"), type=type(default), default=default)
    given = parser.parse_args()
    for name in ("rows", "out", "work"):
        setattr(given, name, getattr(given, name).resolve())
    given.out.mkdir(parents=True, exist_ok=True)
    given.work.mkdir(parents=True, exist_ok=True)
    return given


def read_texts(path: Path) -> list[str]:
    """The texts in order; the id of a row is its position."""
    return pq.read_table(path, columns=["text"])["text"].to_pylist()


def count(path: Path) -> int:
    """How many rows a file has."""
    return pq.read_metadata(path).num_rows


def shingles(text: str) -> set[str]:
    """The character 5-grams of the text as it is; a shorter text is one shingle."""
    return {text[i : i + WIDTH] for i in range(max(1, len(text) - WIDTH + 1))}


def write_result(
    out: Path,
    kept: Iterable[int],
    dropped: Iterable[int],
    *,
    since: float,
    packages: Iterable[str],
    settings: dict[str, Any],
    keeper: dict[int, int] | None = None,
    jaccard: dict[int, float] | None = None,
    cluster: dict[int, int] | None = None,
) -> None:
    """Writes the result; `since` is `time.perf_counter()` when the tool was done."""
    gone = list(dropped)
    pq.write_table(pa.table({"row_id": pa.array(list(kept), pa.int64())}), out / "kept.parquet")
    columns = {
        "row_id": pa.array(gone, pa.int64()),
        "kept_row_id": pa.array([(keeper or {}).get(row) for row in gone], pa.int64()),
        "jaccard": pa.array([(jaccard or {}).get(row) for row in gone], pa.float64()),
    }
    pq.write_table(pa.table(columns), out / "dropped.parquet")
    if cluster is not None:
        columns = {"row_id": pa.array(list(cluster), pa.int64()), "cluster": pa.array(list(cluster.values()), pa.int64())}
        pq.write_table(pa.table(columns), out / "clusters.parquet")
    write_meta(out, since=since, packages=packages, settings=settings)


def write_meta(out: Path, *, since: float, packages: Iterable[str], settings: dict[str, Any]) -> None:
    """Writes the account of versions, the tool's own first, and of settings."""
    meta = {
        "python": platform.python_version(),
        "packages": {name: importlib.metadata.version(name) for name in packages},
        "settings": settings,
        "bookkeeping_s": round(time.perf_counter() - since, 3),
    }
    (out / "meta.json").write_text(json.dumps(meta, indent=1) + "\n", encoding="utf-8")
