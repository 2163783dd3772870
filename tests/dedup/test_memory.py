"""A million rows in one file, under a limit that the kernel enforces.

The limit is on address space (`RLIMIT_AS`): whatever is mapped counts, touched or not. Libraries map more than they use (pyarrow 280 MB, with
numba's compiler 465 MB before the first row is read), and some do so for every thread, so the child is told to have one of each.
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow.parquet as pq
import pytest

from benchmarks.dedup import synth

ROOT = Path(__file__).resolve().parents[2]
LIMIT = 1_500_000_000
ONE = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS", "POLARS_MAX_THREADS"), "1")


def make_rows(folder: Path, count: int) -> Path:
    """Rows of some 140 characters, of which 15 % are near an earlier one, from clauses that are random."""
    rng = np.random.default_rng(5)
    zh = ["".join(map(chr, rng.integers(0x4E00, 0x5600, rng.integers(8, 60)))) + "。" for _ in range(4000)]
    en = ["A" + "".join(rng.choice(list("abcdefgh  ,"), rng.integers(20, 100))) + "." for _ in range(4000)]
    texts = ["".join(zh[i : i + 4]) for i in range(0, 4000, 4)] + [" ".join(en[i : i + 4]) for i in range(0, 4000, 4)]
    pl.DataFrame({"text": texts}).write_parquet(folder / "clauses.parquet")
    made = synth.make(folder / "clauses.parquet", folder / "rows.parquet", count, synth.SHAPES["short"])
    assert 120 < made["mean_characters"] < 180
    return folder / "rows.parquet"


def dedup(rows: Path, out: Path, limit: int) -> subprocess.CompletedProcess[str]:
    """Runs `corpus dedup` in a process of at most `limit` bytes."""
    command = [sys.executable, "-m", "corpus.cli", "dedup", str(rows), "--id", "row_id", "--out", str(out), "--json"]
    return subprocess.run(
        command,
        cwd=ROOT,
        env={**os.environ, **ONE, "MALLOC_ARENA_MAX": "2", "PYTHONPATH": str(ROOT)},
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (limit, limit)),
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="other systems do not enforce a limit on address space")
def test_a_million_rows_under_1500_mb(tmp_path: Path) -> None:
    rows = make_rows(tmp_path, 1_000_000)
    done = dedup(rows, tmp_path / "out", LIMIT)
    assert done.returncode == 0, done.stderr[-3000:]
    said = json.loads(done.stdout)
    planted = pq.read_metadata(synth.planted_of(rows)).num_rows
    assert said["rows"] == 1_000_000 == said["kept"] + said["dropped"]
    assert 0.3 * planted < said["dropped"] <= planted * 1.05
    # The limit is one: with half of it the same command ends without a result.
    assert dedup(rows, tmp_path / "other", LIMIT // 2).returncode != 0
