"""The files of rows and their truths, made when they are missing; each appears under its name only when it is whole."""

from __future__ import annotations

import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pyarrow.parquet as pq

from benchmarks.dedup import rows, synth
from benchmarks.measure import ROOT

SYNTHETIC = {"1m": (1_000_000, "long"), "100k": (100_000, "long"), "short_1m": (1_000_000, "short"), "short_10m": (10_000_000, "short")}
"""Rows and shape of each generated file."""


@dataclass(frozen=True, slots=True)
class Data:
    """A file of rows, the folder of its truth, and the account of what was planted, if anything was."""

    name: str
    rows: Path
    truth: Path
    planted: Path | None

    @property
    def count(self) -> int:
        """How many rows it has."""
        return pq.read_metadata(self.rows).num_rows


def find(store: Path, name: str, head: int | None, data: Path | None) -> Data:
    """The rows of a name (`real` or one of SYNTHETIC), or their first `head`. The truth is not made here.

    Raises:
        FileNotFoundError: when real rows are missing and there is no folder of upstream files to make them of.
    """
    path = store / f"rows_{name}.parquet"
    if not path.exists():
        store.mkdir(parents=True, exist_ok=True)
        print(f"making {path.name}", file=sys.stderr, flush=True)
        if name == "real":
            if data is None:
                raise FileNotFoundError(f"there is no {path}; --data names the folder of upstream files to make it of")
            rows.make(data, temporary := path.with_suffix(".tmp"))
            temporary.rename(path)
        else:
            count, shape = SYNTHETIC[name]
            base = find(store, "real", None, data)
            temporary = store / f"making_{name}.parquet"
            synth.make(base.rows, temporary, count, synth.SHAPES[shape])
            synth.planted_of(temporary).rename(synth.planted_of(path))
            temporary.rename(path)
    planted = synth.planted_of(path) if name != "real" else None
    if head is None or head >= pq.read_metadata(path).num_rows:
        return Data(name, path, store / f"truth_{name}", planted)
    label = f"{name}-{head}"
    first = store / f"rows_{label}.parquet"
    if not first.exists():
        batches = pq.ParquetFile(path).iter_batches(batch_size=head)
        with pq.ParquetWriter(temporary := first.with_suffix(".tmp"), pq.read_schema(path), compression="zstd") as writer:
            left = head
            while left:
                batch = next(batches)[:left]
                writer.write_batch(batch)
                left -= len(batch)
        temporary.rename(first)
    return Data(label, first, store / f"truth_{label}", planted)


def with_truth(data: Data) -> Data:
    """Makes the truth about rows where it is missing, in a process of its own, since it takes some 60 bytes a character of memory."""
    if not data.truth.exists():
        print(f"making {data.truth.name}", file=sys.stderr, flush=True)
        temporary = data.truth.with_suffix(".tmp")
        shutil.rmtree(temporary, ignore_errors=True)
        command = [sys.executable, "-m", "benchmarks.dedup.truth", "--rows", str(data.rows.resolve()), "--out", str(temporary.resolve())]
        subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
        temporary.rename(data.truth)
    return data
