"""Builds that are killed at a chosen commit point, for test_crash.py.

A commit point is a moment before or after one of the system calls by which a build changes the warehouse for good: fsync, replace, unlink
and rmdir, and opening and writing (before, half-way, after) a manifest. The calls are wrapped here, in a process of its own; the
product knows nothing of it. That process imports everything once, makes the tables of characters and loads a kernel, and forks a child
for each build, which saves some three seconds per point. The kernel keeps what a killed process has written, synced or not, so fsync is
a point but no call.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any, Self

from corpus.warehouse.builds import LAYERS
from corpus.warehouse.commit import TMP_MARK


class Points:
    """Counts commit points and kills this process with SIGKILL at the chosen one."""

    def __init__(self, root: Path, at: int | None) -> None:
        self._root = root.resolve()
        self._at = at
        self.labels: list[str] = []
        self.stage = "start"

    def reach(self, what: str, path: Any, when: str) -> None:
        """A commit point: what is done to which path, and whether it is still to be done."""
        place = self._place(path)
        if place is None:
            return
        self.labels.append(f"{self.stage}: {when} {what} {place}")
        if len(self.labels) - 1 == self._at:
            os.kill(os.getpid(), signal.SIGKILL)

    def _place(self, path: Any) -> str | None:
        """The kind of a path: its first folder, or its name without what differs from run to run; None outside the warehouse."""
        if isinstance(path, int):
            path = os.readlink(f"/proc/self/fd/{path}")
        full = Path(os.path.abspath(path))
        if not full.is_relative_to(self._root):
            return None
        parts = full.relative_to(self._root).parts
        name = (parts[0] if parts else "root").partition(TMP_MARK)[0]
        kind = ".spill" if name.startswith(".spill") else name
        temporary = "temporary " if parts and TMP_MARK in parts[-1] else ""
        suffix = Path(parts[-1].partition(TMP_MARK)[0]).suffix if parts and parts[0] in LAYERS else ""
        if suffix not in ("", ".parquet"):
            kind += suffix  # files in folders of parquet that are none
        return f"{temporary}{'folder' if full.is_dir() else 'file'} of {kind}"

    def wrap(self) -> None:
        """Wraps the calls of the module os."""
        os.fsync = self._around("fsync", os.fstat)  # type: ignore[assignment]
        for name in ("unlink", "rmdir"):
            setattr(os, name, self._around(name, getattr(os, name)))
        replace, open_, write = os.replace, os.open, os.write

        def replaced(source: Any, target: Any) -> None:
            self.reach("replace", target, "before")
            replace(source, target)
            self.reach("replace", target, "after")

        def opened(path: Any, flags: int, *more: Any, **named: Any) -> int:
            if flags & os.O_APPEND:
                self.reach("open", path, "before")
            fd = open_(path, flags, *more, **named)
            if flags & os.O_APPEND:
                self.reach("open", path, "after")
            return fd

        def written(fd: int, data: Any) -> int:
            self.reach("write", fd, "before")
            half = write(fd, data[: len(data) // 2])  # what a full disk or a power cut leaves
            self.reach("write", fd, "half-way")
            done = half + write(fd, data[half:])
            self.reach("write", fd, "after")
            return done

        os.replace, os.open, os.write = replaced, opened, written  # type: ignore[assignment]

    def _around(self, name: str, call: Callable[..., Any]) -> Callable[..., Any]:
        def around(path: Any, *more: Any, **named: Any) -> None:
            if named.get("dir_fd") is not None:
                call(path, *more, **named)
                return
            self.reach(name, path, "before")
            kept = f"/proc/self/fd/{path}" if isinstance(path, int) else path
            call(path, *more, **named)
            self.reach(name, os.readlink(kept) if isinstance(path, int) else path, "after")

        return around


def child(request: dict[str, Any], answer: int) -> None:
    """Builds as the request says, and answers with the labels of all points that were reached."""
    from corpus import pipeline
    from corpus.executors.local import LocalExecutor
    from corpus.recipe import parse
    from corpus.stages import parse as parse_stage

    points = Points(Path(request["root"]), request["at"])
    parse_stage._FEW = 1000  # as in conftest: a partition for every file

    class Watch(pipeline.Progress):
        def stage(self, name: str, tasks: Any) -> Any:
            points.stage = name
            return super().stage(name, tasks)

        def end(self, name: str) -> None:
            points.stage = "the end" if name == pipeline.STAGES[-1] else f"after {name}"

    points.wrap()
    recipe = parse(request["recipe"], "recipe")
    pipeline.build(recipe, Path(request["data"]), Path(request["root"]), LocalExecutor(1), progress=Watch())
    with os.fdopen(answer, "w") as f:
        f.write(json.dumps(points.labels))


def warm() -> None:
    """What every build of this process's children does first. Nothing here may start a thread, for a child would wait for it for ever:
    no query of Polars or DuckDB."""
    import numpy as np
    import pyarrow as pa

    from corpus.dedup import units
    from corpus.pipeline import STAGES
    from corpus.text import folding, mojibake
    from corpus.text.units import units_of
    from corpus.warehouse import audit, catalog, lock  # noqa: F401

    for stage in STAGES:
        import_module(f"corpus.stages.{stage}")
    text = (np.array([0, 1]), np.frombuffer(b"a", dtype=np.uint8))
    for bare in (False, True):
        folding.folded(text, np.zeros(1, dtype=np.uint8), bare=bare)
    units_of(*text)
    units.table(units.Unit.MIXED)
    mojibake._kinds()
    pa.array(["a"])  # pyarrow looks for pandas when it is first asked for an array


def main() -> None:
    """Forks a child per line of standard input; answers each with its status and labels."""
    warm()
    for line in sys.stdin:
        reading, writing = os.pipe()
        pid = os.fork()
        if pid == 0:
            os.close(reading)
            status = 1
            try:
                child(json.loads(line), writing)
                status = 0
            finally:
                sys.stderr.flush()
                os._exit(status)
        os.close(writing)
        with os.fdopen(reading) as f:
            labels = f.read()
        _, status = os.waitpid(pid, 0)
        print(json.dumps({"status": os.waitstatus_to_exitcode(status), "labels": json.loads(labels or "[]")}), flush=True)


class Harness:
    """The client: runs builds in children of the harness process."""

    def __init__(self) -> None:
        here = Path(__file__).resolve().parents[1]
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.crash_harness"],
            cwd=here, env={**os.environ, "PYTHONPATH": str(here)}, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip

    def run(self, recipe: str, data: Path, root: Path, at: int | None = None) -> tuple[int, list[str]]:
        """Exit status of a build (-9 when it was killed at point `at`), and the labels of its points when it was not."""
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.write(json.dumps({"recipe": recipe, "data": str(data), "root": str(root), "at": at}) + "\n")
        self._process.stdin.flush()
        answer = json.loads(self._process.stdout.readline())
        return answer["status"], answer["labels"]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        assert self._process.stdin
        self._process.stdin.close()
        self._process.wait()


if __name__ == "__main__":
    main()
