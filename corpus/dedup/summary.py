"""What `corpus dedup` tells while it works and when it is done."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pyarrow.compute as pc

from corpus.dedup.files import rows
from corpus.dedup.library import TABLES, Result


@contextmanager
def progress(file: Path, *, quiet: bool) -> Iterator[Callable[[int], None] | None]:
    """What is told of rows as they are read: a bar on a terminal, nothing elsewhere."""
    if quiet or not sys.stderr.isatty():
        yield None
        return
    total = rows(file)
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("reading", total=total)
        yield lambda done: bar.advance(task, done)


def told(result: Result, out: Path, *, as_json: bool) -> str:
    """The result in some lines, or as JSON."""
    dropped = result.dropped.num_rows
    near = dropped - result.exact
    clusters = pc.count_distinct(result.clusters["cluster"]).as_py()
    counts = {
        "rows": result.rows, "kept": result.kept.num_rows, "dropped": dropped, "exact": result.exact, "near": near,
        "clusters": clusters, "pairs": result.pairs.num_rows,
    }  # fmt: skip
    if as_json:
        return json.dumps({**counts, "out": str(out)})
    return (
        f"{result.rows:,} rows: {counts['kept']:,} kept, {result.exact:,} dropped as equal and {near:,} as near, "
        f"in {clusters:,} clusters; {counts['pairs']:,} pairs compared exactly.\n"
        f"Wrote {', '.join(TABLES)}.parquet to {out}"
    )
