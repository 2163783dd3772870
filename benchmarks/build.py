"""Whole builds through the command line, as a user runs them: the embedded sample, and the files of a folder.

Wall time includes starting Python and the workers. The memory of a process is the peak of its resident set.
"""

from __future__ import annotations

import os
import shutil
import statistics
import sys
from pathlib import Path
from typing import Any

from benchmarks.measure import OUT, watch

TARGETS = {"sample again": (2.0, None), "everything": (40.0, 1500.0)}
"""Most seconds of wall time, and most MB of a process."""


def run(data: Path | None, times: int) -> dict[str, Any]:
    """Builds the sample cold and again, and `data` cold and again if there is any."""
    found: dict[str, Any] = {}
    for name, folder in (("sample", None), ("everything", data)):
        if name == "everything" and folder is None:
            continue
        for _ in range(times):
            warehouse = OUT / f"warehouse-{name}"
            shutil.rmtree(warehouse, ignore_errors=True)
            command = [sys.executable, "-m", "corpus.cli", "build", "--recipe", name, "--warehouse", str(warehouse), "--workers", "2"]
            command += ["--data", str(folder.resolve())] if folder else []
            for what in (name, f"{name} again"):
                done = watch(command, environment={"PYTHONPATH": os.curdir})
                if done.status:
                    raise RuntimeError(f"{' '.join(command)} ended with status {done.status}:\n{done.output[-3000:]}")
                each = found.setdefault(what, {"seconds": [], "peaks": []})
                each["seconds"].append(done.seconds)
                each["peaks"].append(sorted(done.peaks.values(), reverse=True)[:3])
            shutil.rmtree(warehouse)
    return found


def rows(found: dict[str, Any]) -> list[tuple[str, ...]]:
    """The lines of the table: what, seconds, MB of the largest processes, target."""
    out = []
    for name, each in found.items():
        seconds, megabytes = TARGETS.get(name, (None, None))
        target = ", ".join(f"{value:g} {unit}" for value, unit in ((seconds, "s"), (megabytes, "MB")) if value is not None)
        peaks = max(each["peaks"])
        out.append((name, f"{statistics.median(each['seconds']):.1f}", " + ".join(f"{p:.0f}" for p in peaks), target))
    return out


HEAD = ("build", "wall, s", "peak MB of the processes", "target")
