"""What measuring costs, by part, on texts of a built warehouse: `python -m benchmarks.measures WAREHOUSE [SOURCE…]`.

Reads the parse layer (`corpus build --recipe everything --data FOLDER` makes one from real files) and measures each source in one piece,
on one core. The lowest of several runs counts: other work on the machine can only add to it.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow.parquet as pq

from benchmarks.measure import table
from corpus.text import characters, phrases
from corpus.text.counting import count, stops
from corpus.text.marks import marks, utf8
from corpus.text.measures import Rows, measure
from corpus.text.personal import counts, suspects
from corpus.text.settings import TextSettings

CHAT = ("belle-2m", "belle-3.5m", "self-instruct-zh", "chinese-medical-dialogue", "alpaca", "gpteacher", "hh-rlhf")
_RUNS = 9


def rows_of(folder: Path) -> Rows:
    """All rows of a source, flat."""
    texts: list[str] = []
    roles: list[str] = []
    of: list[int] = []
    at = 0
    for path in sorted(folder.glob("*.parquet")):
        for row in pq.read_table(path, columns=["messages", "chosen", "rejected", "title", "text"]).to_pylist():
            flat = [(m["role"], m["content"]) for m in row["messages"] or ()]
            flat += [(name, m["content"]) for name in ("chosen", "rejected") for m in row[name] or ()]
            flat += [(name, row[name]) for name in ("title", "text") if row[name] is not None]
            roles += [role for role, _ in flat]
            texts += [text for _, text in flat]
            of += [at] * len(flat)
            at += 1
    answers = np.isin(np.array(roles, dtype=object), ("assistant", "chosen", "text"))
    return Rows(pl.Series(texts, dtype=pl.String), pl.Series(roles, dtype=pl.String), np.array(of, dtype=np.int64), at, answers)


def best(what: Callable[[], object]) -> float:
    """Seconds of the fastest run."""
    what()
    times = []
    for _ in range(_RUNS):
        started = time.perf_counter()
        what()
        times.append(time.perf_counter() - started)
    return min(times)


def main() -> None:
    """Prints the table."""
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    lines = []
    for source in sys.argv[2:] or CHAT:
        rows = rows_of(Path(sys.argv[1]) / "parsed" / source)
        size = int(rows.texts.str.len_bytes().sum())
        offsets, data = utf8(rows.texts)
        first = np.searchsorted(rows.rows, np.arange(rows.count + 1))
        answers = rows.texts.filter(pl.Series(rows.answers))
        parts = {
            "marks": lambda: marks(rows.texts),  # noqa: B023
            "count": lambda: count(offsets, data, first, characters.table(), *stops()),  # noqa: B023
            "phrases": lambda: phrases.counts(answers),  # noqa: B023
            "suspects": lambda: suspects(offsets, data),  # noqa: B023
            "personal": lambda: counts(rows.texts, suspects(offsets, data)),  # noqa: B023
            "measure": lambda: measure(rows, TextSettings()),  # noqa: B023
        }
        cost = [best(part) for part in parts.values()]
        lines.append((source, f"{size / 1e6:.1f}", *(f"{seconds / size * 1e9:.1f}" for seconds in cost), f"{size / cost[-1] / 1e6:.0f}"))
    print("Nanoseconds for each byte of UTF-8; personal includes suspects, and measure is all but marks.\n")
    print(table(("source", "MB", "marks", "count", "phrases", "suspects", "personal", "measure", "MB/s"), lines))


if __name__ == "__main__":
    main()
