"""The writer lock: one build at a time, and a dead one holds nothing."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from corpus.errors import LockedError, WarehouseError
from corpus.warehouse.lock import writer_lock
from tests.conftest import everything_below, make_build

HOLD = """
import sys, time; from pathlib import Path; from corpus.warehouse.lock import writer_lock
with writer_lock(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""


def holder(root: Path) -> subprocess.Popen[str]:
    """A process that holds the lock."""
    here = Path(__file__).resolve().parents[2]
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(root)], stdout=subprocess.PIPE, text=True, env={**os.environ, "PYTHONPATH": str(here)}
    )
    assert process.stdout
    assert process.stdout.readline() == "held\n"
    return process


def test_a_second_build_is_refused_and_writes_nothing_until_the_first_is_dead(data: Path, root: Path) -> None:
    process = holder(root)
    try:
        before = everything_below(root)
        with pytest.raises(LockedError, match=rf"process {process.pid} is building in it; wait for it to end, or choose another") as caught:
            make_build(data, root)
        assert caught.value.exit_code == 2
        assert everything_below(root) == before
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert make_build(data, root).changed


def test_the_lock_is_given_back_whatever_happens(root: Path) -> None:
    with pytest.raises(ZeroDivisionError), writer_lock(root):
        _ = 1 / 0
    with writer_lock(root), pytest.raises(LockedError), writer_lock(root):
        pass
    with writer_lock(root):
        pass


def test_a_place_that_cannot_be_written_is_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(WarehouseError, match=r"cannot be written: .*; choose another with --warehouse"), writer_lock(tmp_path / "file/wh"):
        pass
    with pytest.raises(WarehouseError, match="cannot be written"), writer_lock(tmp_path / "file"):
        pass


@pytest.mark.skipif(os.geteuid() == 0, reason="the superuser may write everywhere")
def test_a_read_only_folder_is_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "wh").mkdir(mode=0o500)
    with pytest.raises(WarehouseError, match="cannot be written: Permission denied"), writer_lock(tmp_path / "wh"):
        pass
