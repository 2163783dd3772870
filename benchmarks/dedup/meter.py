"""A command and what it cost: wall time, CPU time and peak memory of the whole tree of its processes, with limits on the first and last.

Memory of one process is its resident set; of several the sum of their proportional sets, in which a page that forked workers share
counts once (sums of resident sets told up to 2.4 times as much). Between two looks nothing is seen but what the kernel remembers: the
highest resident set of each process, which the tree cannot have been below.
"""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from benchmarks.measure import ROOT

_ONE, _MANY = 0.05, 0.5
"""Seconds between two looks at one process, and at a tree, where a look walks all page tables."""


@dataclass(frozen=True, slots=True)
class Run:
    """Seconds of wall and CPU time, peak MB, exit status, and the limit at which it was stopped, if it was (`time` or `memory`)."""

    wall_s: float
    cpu_s: float
    peak_mb: float
    status: int
    stopped: str | None

    def record(self) -> dict[str, Any]:
        """As it goes into JSON."""
        return asdict(self)


def _tree(root: int) -> list[int]:
    found, waiting = [], [root]
    while waiting:
        pid = waiting.pop()
        found.append(pid)
        for task in Path(f"/proc/{pid}/task").glob("*/children"):
            try:
                waiting += map(int, task.read_text().split())
            except OSError:
                continue  # it has ended
    return found


def _field(path: str, name: str) -> int:
    """Bytes of a line `Name: 12 kB`; 0 when the process has ended."""
    try:
        with open(path) as lines:
            return next((int(line.split()[1]) << 10 for line in lines if line.startswith(name)), 0)
    except OSError:
        return 0


def memory(pids: Sequence[int]) -> int:
    """Bytes of memory of a tree of processes: the most that is certain."""
    highest = max(_field(f"/proc/{pid}/status", "VmHWM:") for pid in pids)
    return highest if len(pids) == 1 else max(highest, sum(_field(f"/proc/{pid}/smaps_rollup", "Pss:") for pid in pids))


def _kill(group: int) -> None:
    try:
        os.killpg(group, signal.SIGKILL)
    except ProcessLookupError:
        return  # it has just ended


def run(
    command: Sequence[str],
    *,
    log: Path,
    limit: float | None = None,
    most_mb: float | None = None,
    environment: Mapping[str, str] | None = None,
) -> Run:
    """Runs a command in the root of the repository, its output into `log`; kills it and its children at `limit` seconds or `most_mb` MB."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    peak, stopped = 0, None
    over = threading.Event()
    with log.open("wb") as output:
        started = time.perf_counter()
        child = subprocess.Popen(
            list(command),
            cwd=ROOT,
            stdout=output,
            stderr=subprocess.STDOUT,
            env={**os.environ, **(environment or {})},
            start_new_session=True,
        )

        def look() -> None:
            nonlocal peak, stopped
            pause = _ONE
            while not over.wait(pause):
                pids = _tree(child.pid)
                pause = _ONE if len(pids) == 1 else _MANY
                peak = max(peak, memory(pids))
                if most_mb and peak > most_mb * 1e6 and stopped is None:
                    stopped = "memory"
                    _kill(child.pid)

        watcher = threading.Thread(target=look, daemon=True)
        watcher.start()
        try:
            status = child.wait(limit)
        except subprocess.TimeoutExpired:
            stopped = "time"
            _kill(child.pid)
            status = child.wait()
        wall = time.perf_counter() - started
        over.set()
        watcher.join()
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return Run(round(wall, 3), round(cpu, 3), round(peak / 1e6, 1), status, stopped)
