"""The floor: read the parquet, hash every text, keep the first of equal hashes (polars)."""

from __future__ import annotations

import time

import polars as pl

from benchmarks.dedup.adapters.contract import arguments, write_result


def main() -> None:
    """Runs it."""
    given = arguments(__doc__)
    rows = pl.read_parquet(given.rows, columns=["row_id", "text"])
    first = rows.select("row_id", keeper=pl.col("row_id").first().over(pl.col("text").hash(7)))
    alone = pl.col("row_id") == pl.col("keeper")
    kept, dropped = first.filter(alone)["row_id"].to_list(), first.filter(~alone)
    done = time.perf_counter()
    keeper = dict(dropped.iter_rows())
    write_result(
        given.out, kept, keeper, keeper=keeper, since=done, packages=["polars"], settings={"key": "64-bit hash of the text as it is"}
    )


if __name__ == "__main__":
    main()
