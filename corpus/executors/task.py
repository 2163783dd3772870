"""The seam between the pipeline and whatever runs it.

A :class:`Task` is plain data: it can be pickled, sent to another process or machine, and run there by `Task.run` against the same
warehouse folder. An executor only schedules tasks; it knows nothing of what they do, and where or in which order they run cannot
change a byte of what they write.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from corpus.warehouse.manifest import Partition, fingerprint

Report = Callable[[int, int], None]
"""Called by a running task with (bytes, rows) done since the last call."""


@dataclass(frozen=True, slots=True)
class Task:
    """One partition to make.

    Attributes:
        stage: name of the stage.
        key: which partition of it, for example "belle-1m/3f2a…-0000".
        parts: everything that can change its bytes; their hash is the fingerprint.
        inputs: partitions that it reads.
        spec: what it needs to know beyond that (paths, parameters), picklable.
        size: bytes that it will report, for progress.
        run: the stage's function that makes it: a module-level function of (task, warehouse root, report).
    """

    stage: str
    key: str
    parts: Mapping[str, Any]
    run: Callable[[Task, Path, Report], Partition]
    inputs: tuple[Partition, ...] = ()
    spec: Mapping[str, Any] = field(default_factory=dict)
    size: int = 0

    @property
    def fingerprint(self) -> str:
        """Hash of the parts."""
        return fingerprint(self.parts)

    def done(self, files: Iterable[Any], **stats: Any) -> Partition:
        """The partition that this task has made."""
        return Partition(self.stage, self.key, self.fingerprint, self.parts, tuple(files), stats)


class Executor(Protocol):
    """Runs independent tasks."""

    def run(self, tasks: list[Task], root: Path, report: Report) -> Iterator[Partition]:
        """Yields the partitions of `tasks` as they are made, in any order.

        Raises:
            WorkerError: when a worker dies or runs out of memory.
            CorpusError: what a task raised.
        """
        ...


class Progress:
    """What a build tells while it runs; this one says nothing. The command line has one that draws."""

    def stage(self, name: str, tasks: list[Task]) -> Report:
        """A stage begins to run these stale tasks; returns what the tasks report to."""
        return lambda size, rows: None

    def end(self, name: str) -> None:
        """The stage has ended."""
