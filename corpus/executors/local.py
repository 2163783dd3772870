"""Runs tasks on this machine: in this process with one worker, else in processes with a bounded memory each."""

from __future__ import annotations

import contextlib
import multiprocessing
import multiprocessing.connection
import os
import queue
import resource
import signal
import threading
from collections.abc import Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from multiprocessing.queues import Queue
from pathlib import Path
from types import TracebackType
from typing import Self

from corpus import allocators
from corpus.errors import WorkerError
from corpus.executors.task import Report, Task
from corpus.warehouse.manifest import Partition

_SETTINGS = {"POLARS_MAX_THREADS": "1", "OMP_NUM_THREADS": "1", **allocators.SETTINGS}
"""Workers are the parallelism; libraries that start a thread per core in each of them only get in each other's way."""

_TICK = 0.2


_INLINE = 4 << 20
"""Tasks of fewer bytes in all are done before a worker process has imported what it needs (about a second)."""


class LocalExecutor:
    """Runs tasks in `workers` processes, which are started when they are first worth it and live until the executor is left.

    Args:
        workers: how many; with 1, tasks run in the calling process.
        memory: bytes of private memory that a worker may have, or None for no bound. Beyond it the worker gets a MemoryError.
        inline: tasks of fewer bytes in all run in the calling process.
    """

    def __init__(self, workers: int = 1, memory: int | None = None, *, inline: int = _INLINE) -> None:
        self._workers = max(1, workers)
        self._memory = memory
        self._inline = inline
        self._pool: ProcessPoolExecutor | None = None
        self._progress: Queue[tuple[int, int]] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._pool is not None:
            self._pool.shutdown(wait=True, cancel_futures=True)
            self._pool = None
        if self._progress is not None:
            self._progress.close()
            self._progress = None

    def run(self, tasks: list[Task], root: Path, report: Report) -> Iterator[Partition]:
        """See :class:`corpus.executors.task.Executor`."""
        if self._workers == 1 or len(tasks) == 1 or sum(t.size for t in tasks) < self._inline:
            for task in tasks:
                yield _guarded(task, root, report)
            return
        with _environment(_SETTINGS):  # processes are started while tasks are submitted
            pool, progress = self._started()
            yield from self._drive(pool, tasks, root, report, progress)

    def _started(self) -> tuple[ProcessPoolExecutor, Queue[tuple[int, int]]]:
        if self._pool is None or self._progress is None:
            context = multiprocessing.get_context("spawn")
            self._progress = context.Queue()
            self._pool = ProcessPoolExecutor(self._workers, context, _start, (self._progress, self._memory))
        return self._pool, self._progress

    def _drive(
        self, pool: ProcessPoolExecutor, tasks: list[Task], root: Path, report: Report, progress: Queue[tuple[int, int]]
    ) -> Iterator[Partition]:
        waiting = sorted(tasks, key=lambda t: t.size)  # taken from the end: large ones first, so that the last worker is not left alone
        running: dict[Future[Partition], Task] = {}
        while waiting or running:
            while waiting and len(running) < 2 * self._workers:
                task = waiting.pop()
                try:
                    with _interrupt_held():
                        running[pool.submit(_work, task, root)] = task
                except BrokenProcessPool as e:
                    raise _killed([task, *running.values()]) from e
            done, _ = wait(running, timeout=_TICK, return_when=FIRST_COMPLETED)
            with contextlib.suppress(queue.Empty):
                while True:
                    report(*progress.get_nowait())
            for future in done:
                task = running.pop(future)
                try:
                    yield future.result()
                except BrokenProcessPool as e:
                    raise _killed([task, *running.values()]) from e


def _killed(tasks: Iterable[Task]) -> WorkerError:
    names = ", ".join(sorted(f"{t.stage} {t.key}" for t in tasks))
    return WorkerError(
        f"a worker process was killed (by the operating system for its memory, or by hand) while on one of: {names}. "
        "What was committed is kept: run the same command again, with fewer WORKERS if memory is short"
    )


_PROGRESS: list[Queue[tuple[int, int]]] = []  # set once in a worker process, before its first task


def _start(progress: Queue[tuple[int, int]], memory: int | None) -> None:
    _PROGRESS.append(progress)
    # Ctrl-C reaches the whole process group: the build says what happened, a worker only has to go.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
    threading.Thread(target=_die_with_parent, daemon=True).start()
    if memory is not None:
        _, hard = resource.getrlimit(resource.RLIMIT_DATA)
        resource.setrlimit(resource.RLIMIT_DATA, (memory if hard == resource.RLIM_INFINITY else min(memory, hard), hard))


def _die_with_parent() -> None:
    """Ends this worker when the build was killed: the lock is free then, and nobody else may write."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        multiprocessing.connection.wait([parent.sentinel])
        os._exit(1)


def _work(task: Task, root: Path) -> Partition:
    def report(size: int, rows: int) -> None:
        for channel in _PROGRESS:
            channel.put((size, rows))

    return _guarded(task, root, report)


def _guarded(task: Task, root: Path, report: Report) -> Partition:
    try:
        return task.run(task, root, report)
    except MemoryError as e:
        raise WorkerError(f"{task.stage} {task.key}: out of memory; give a worker more with --memory, or lower limits.record_mb") from e


@contextlib.contextmanager
def _interrupt_held() -> Iterator[None]:
    """Holds ctrl-C back while a process may be started: it inherits that, and no traceback interrupts its imports."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextlib.contextmanager
def _environment(values: dict[str, str]) -> Iterator[None]:
    before = {k: os.environ.get(k) for k in values}
    os.environ.update({k: v for k, v in values.items() if before[k] is None})
    try:
        yield
    finally:
        for k, v in before.items():
            if v is None:
                os.environ.pop(k, None)
