"""Memory does not grow with the corpus: large files are built under a limit that the kernel enforces.

The limit (`RLIMIT_DATA`: private writable memory, touched or not) is set before `corpus` starts and inherited by every process of the
build, so a process that wants more gets a MemoryError and the build fails. What each process really used is read from the kernel's
account of its peak.
"""

from __future__ import annotations

import gzip
import json
import os
import random
import resource
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

MB = 1_000_000
ROOT = Path(__file__).resolve().parent.parent

RECIPE = """
name: large
sources:
  - name: mine
    files: "large.*"
    shape: prompt_response
splits:
  sft: {weight: 9, eval: 0.01}
  ppo: {weight: 1}
"""


@dataclass(frozen=True, slots=True)
class Built:
    """A build: its summary, and the peak resident bytes of each of its processes."""

    summary: dict
    peaks: dict[int, int]


def rows(size: int) -> Iterator[bytes]:
    """JSON objects of some 700 bytes, every one different, `size` bytes in all. Half of each is random, so that compression cannot shrink
    what the later stages have to read."""
    rng = random.Random(7)
    words = ["春江潮水连海平", "滟滟随波千万里", "空里流霜不觉飞", "何处春江无月明", "the quick", "brown fox", "jumps over", "the lazy dog"]
    texts = [" ".join(rng.choices(words, k=16)) for _ in range(199)]
    done = n = 0
    while done < size:
        code = rng.randbytes(160).hex()
        row = f'{{"prompt": "{n} {texts[n % 199]}?", "response": "{code} {texts[n % 197]}"}}'.encode()
        yield row
        done += len(row) + 2
        n += 1


def json_lines(path: Path, size: int) -> int:
    """Writes JSON lines; returns the number of rows."""
    n = 0
    with path.open("wb", buffering=1 << 20) as file:
        for row in rows(size):
            file.write(row + b"\n")
            n += 1
    return n


def json_array(path: Path, size: int) -> int:
    """Writes one JSON array; returns the number of rows."""
    n = 0
    with path.open("wb", buffering=1 << 20) as file:
        for row in rows(size):
            file.write((b",\n" if n else b"[") + row)
            n += 1
        file.write(b"]\n")
    return n


def zipped_lines(path: Path, size: int) -> int:
    """Writes JSON lines in gzip; `size` counts what is in it."""
    n = 0
    with gzip.open(path, "wb", compresslevel=1) as file:
        for row in rows(size):
            file.write(row + b"\n")
            n += 1
    return n


def build(folder: Path, limit: int, workers: int) -> Built:
    """Builds the recipe over `folder`/data with every process under `limit` bytes."""
    (folder / "large.yaml").write_text(RECIPE)
    command = [
        sys.executable, "-m", "corpus.cli", "build", "--json", "--recipe", str(folder / "large.yaml"), "--data", str(folder / "data"),
        "--warehouse", str(folder / "warehouse"), "--workers", str(workers), "--memory", str(limit >> 20),
    ]  # fmt: skip
    with (folder / "out").open("w+") as out, (folder / "err").open("w+") as err:
        process = subprocess.Popen(
            command,
            cwd=ROOT,
            stdout=out,
            stderr=err,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_DATA, (limit, limit)),
        )
        peaks: dict[int, int] = {}
        over = threading.Event()
        watcher = threading.Thread(target=watch, args=(process.pid, peaks, over))
        watcher.start()
        status = process.wait()
        over.set()
        watcher.join()
        out.seek(0)
        err.seek(0)
        assert status == 0, err.read()[-3000:]
        return Built(json.loads(out.read()), peaks)


def watch(pid: int, peaks: dict[int, int], over: threading.Event) -> None:
    """Notes the peak of every process of a family. The kernel keeps it, so looking now and then is enough."""
    while not over.wait(0.05):
        waiting = [pid]
        while waiting:
            each = waiting.pop()
            try:
                status = Path(f"/proc/{each}/status").read_text()
                for children in Path(f"/proc/{each}/task").glob("*/children"):
                    waiting += map(int, children.read_text().split())
            except OSError:
                continue  # it has ended
            found = next((line for line in status.splitlines() if line.startswith("VmHWM:")), None)
            if found is not None:
                peaks[each] = max(peaks.get(each, 0), int(found.split()[1]) * 1024)


FORMS: dict[str, tuple[str, Callable[[Path, int], int]]] = {
    "lines": ("large.jsonl", json_lines),
    "array": ("large.json", json_array),
    "gzip": ("large.jsonl.gz", zipped_lines),
}


def check(tmp_path: Path, form: str, size: int, limit: int) -> Built:
    name, write = FORMS[form]
    (tmp_path / "data").mkdir()
    expected = write(tmp_path / "data" / name, size)
    built = build(tmp_path, limit, workers=2)
    print(form, size / MB, {pid: peak / MB for pid, peak in built.peaks.items()}, json.dumps(built.summary)[:300])
    assert max(built.peaks.values()) < limit, built.peaks
    assert built.summary["totals"][0]["rows"] == expected
    return built


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs /proc")
@pytest.mark.parametrize("form", FORMS)
def test_a_file_is_built_under_a_limit(tmp_path: Path, form: str) -> None:
    # DuckDB alone may take 600 MB before it spills, and the compiler of the kernels and what searches for duplicates some 300 MB beside it.
    # That memory does not grow with the file is held by the gigabytes below; arrays and gzip differ in how they are read alone.
    check(tmp_path, form, (60 if form == "lines" else 16) * MB, 1300 * MB)


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs /proc")
@pytest.mark.parametrize(("form", "size"), [("lines", 2000 * MB), ("array", 1000 * MB), ("gzip", 1000 * MB)])
def test_gigabytes_are_built_under_1500_mb(tmp_path: Path, form: str, size: int) -> None:
    check(tmp_path, form, size, 1500 * MB)
