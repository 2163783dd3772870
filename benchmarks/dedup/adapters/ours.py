"""`corpus dedup` of this project, called in this process; its output has the form that is asked for already."""

from __future__ import annotations

import time

from benchmarks.dedup.adapters.contract import arguments, write_meta
from corpus.cli import cli


def main() -> None:
    """Runs it."""
    given = arguments(__doc__, unit="char")
    options = ["--text", "text", "--id", "row_id", "--unit", given.unit, "--threshold", str(given.threshold), "--out", str(given.out)]
    cli.main(["dedup", str(given.rows), *options], standalone_mode=False)
    done = time.perf_counter()
    settings = {"unit": given.unit, "threshold": given.threshold}
    write_meta(given.out, since=done, packages=["yuliao", "numba", "numpy", "polars", "pyarrow", "duckdb"], settings=settings)


if __name__ == "__main__":
    main()
