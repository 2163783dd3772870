"""The local executor: the same result in processes, and sentences when a process dies."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from corpus import pipeline
from corpus.errors import DataError, WorkerError
from corpus.executors.local import LocalExecutor
from corpus.warehouse.manifest import Partition
from tests.conftest import hashes, make_build, recipe_of
from tests.executors.work import tasks


def run(workers: int, root: Path, *what: str, memory: int | None = None) -> list[Partition]:
    with LocalExecutor(workers, memory, inline=0) as executor:
        return list(executor.run(tasks(*what), root, lambda size, rows: None))


def test_processes_do_the_work_and_live_on(tmp_path: Path) -> None:
    reported: list[tuple[int, int]] = []
    with LocalExecutor(2, inline=0) as executor:
        first = list(executor.run(tasks(*["work"] * 6), tmp_path, lambda size, rows: reported.append((size, rows))))
        second = list(executor.run(tasks(*["work"] * 6), tmp_path, lambda size, rows: None))
    assert sorted(p.key for p in first) == [str(n) for n in range(6)]
    workers = {p.stats["pid"] for p in [*first, *second]}
    assert os.getpid() not in workers
    assert len(workers) <= 2
    assert len({p.fingerprint for p in first}) == 6
    for pid in workers:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)


def test_little_work_and_one_worker_stay_in_this_process(tmp_path: Path) -> None:
    with LocalExecutor(2, inline=1000) as executor:
        assert {p.stats["pid"] for p in executor.run(tasks("work", "work"), tmp_path, lambda size, rows: None)} == {os.getpid()}
    assert {p.stats["pid"] for p in run(1, tmp_path, "work", "work")} == {os.getpid()}


def test_a_killed_worker_is_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(
        WorkerError, match=r"a worker process was killed .* while on one of: .*parse 0.*run the same command again"
    ) as caught:
        run(2, tmp_path, "die", *["work"] * 8)
    assert caught.value.exit_code == 2
    assert len(run(2, tmp_path, "work", "work")) == 2


def test_a_mistake_in_a_worker_arrives_as_it_is(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="a user's mistake"):
        run(2, tmp_path, "work", "fail", "work")


def test_a_worker_without_memory_is_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(WorkerError, match="out of memory; give a worker more with --memory"):
        run(2, tmp_path, "fill", "work", memory=1500 << 20)


def test_a_build_whose_worker_is_killed_goes_on_next_time(built: tuple[Path, Path], root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As the kernel kills: any moment, no warning. The child process of the pool is found and killed while the build runs."""
    data = built[0]
    killed = False

    class Killing(LocalExecutor):
        def run(self, tasks, root, report):  # type: ignore[no-untyped-def]
            nonlocal killed
            for partition in super().run(tasks, root, report):
                if not killed and tasks[0].stage == "clean":
                    killed = True
                    for pid in list(self._pool._processes):
                        os.kill(pid, signal.SIGKILL)
                yield partition

    with pytest.raises(WorkerError, match="while on one of: clean "), Killing(2, inline=0) as executor:
        pipeline.build(recipe_of(), data, root, executor)
    outcome = make_build(data, root, workers=2)
    assert outcome.unchanged["parse"] == 8
    assert hashes(root) == hashes(built[1])


CHILD = """
import sys; from pathlib import Path
from corpus.executors.local import LocalExecutor
from tests.executors.work import tasks
if __name__ == "__main__":
    with LocalExecutor(2, inline=0) as executor:
        list(executor.run(tasks(*["sleep"] * 4), Path(sys.argv[1]), lambda size, rows: None))
"""


def wait_for(seconds: float, condition) -> bool:  # type: ignore[no-untyped-def]
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if condition():
            return True
        time.sleep(0.05)
    return bool(condition())


def gone(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()[0]
    except OSError:
        return True
    return state == "Z"


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="looks into /proc")
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
def test_workers_end_with_the_build(tmp_path: Path, how: signal.Signals) -> None:
    """A build that is killed leaves no process that goes on writing without the lock; ctrl-C ends all, without a word from the workers."""
    here = Path(__file__).resolve().parents[2]
    (tmp_path / "child.py").write_text(CHILD, encoding="utf-8")
    (tmp_path / "wh").mkdir()
    process = subprocess.Popen(
        [sys.executable, str(tmp_path / "child.py"), str(tmp_path / "wh")],
        env={**os.environ, "PYTHONPATH": str(here)}, stderr=subprocess.PIPE, text=True, start_new_session=True,
    )  # fmt: skip
    assert wait_for(60, lambda: len(list((tmp_path / "wh").iterdir())) == 2)
    workers = [int(p.name.partition("-")[2]) for p in (tmp_path / "wh").iterdir()]
    if how == signal.SIGKILL:
        process.kill()
    else:
        os.killpg(process.pid, signal.SIGINT)
    _, said = process.communicate(timeout=30)
    assert wait_for(20, lambda: all(map(gone, workers)))
    if how == signal.SIGINT:
        assert said.count("Traceback") == 1, "the build's own: here nothing catches it"
        assert said.rstrip().endswith("KeyboardInterrupt")
