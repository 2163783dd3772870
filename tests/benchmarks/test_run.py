"""The harness from end to end, with the one tool that needs no environment of its own; and what ours is asked for."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import click
import polars as pl
import pytest

from benchmarks.dedup import __main__ as program
from benchmarks.dedup import meter
from benchmarks.dedup.adapters import ours
from corpus.cli import cli


def rows(store: Path) -> Path:
    """Real rows of a store: 30 texts, each twice."""
    texts = [f"第{i}行，写了{i * i}个字，第{i * 7}次。" for i in range(30)] * 2
    pl.DataFrame({"row_id": range(60), "source": ["a"] * 60, "text": texts}).write_parquet(path := store / "rows_real.parquet")
    return path


def asked(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> None:
    monkeypatch.setattr(sys, "argv", ["benchmarks.dedup", *arguments])


def test_exact_from_end_to_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    rows(tmp_path)
    monkeypatch.setattr(program, "OUT", tmp_path / "out")
    asked(monkeypatch, "--store", str(tmp_path), "--head", "50", "--peers", "exact", "--repeats", "2")
    program.main()
    head, cells = ([cell.strip() for cell in line.split("|")] for line in capsys.readouterr().out.splitlines()[2::2])
    line = dict(zip(head, cells, strict=True))
    assert (line["tool"], line["dropped"], line["R .8"], line["P .8"], line["named ok"]) == ("exact", "20", "1.000", "1.000", "1.000")
    assert (tmp_path / "out" / "dedup-real-50.json").exists()
    assert not list(tmp_path.glob("run-*"))


def test_runs_alternate_and_are_compared_with_the_run_of_ours_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows(tmp_path)
    monkeypatch.setattr(program, "OUT", tmp_path)
    monkeypatch.setitem(program.peers.PEERS, "ours", program.peers.Peer("exact"))
    monkeypatch.setitem(program.peers.PEERS, "rensa", program.peers.Peer("absent"))
    asked(monkeypatch, "--store", str(tmp_path), "--peers", "rensa", "exact", "ours", "--repeats", "2")
    program.main()
    runs = json.loads((tmp_path / "dedup-real.json").read_text())["runs"]
    assert {name: len(each) for name, each in runs.items()} == {"ours": 2, "exact": 2, "rensa": 1}
    assert "absent" in runs["rensa"][0]["failed"]
    for mine, other in zip(runs["ours"], runs["exact"], strict=True):
        assert other["times_ours"] == pytest.approx(other["tool_s"] / mine["tool_s"], abs=1e-3)
        assert "times_ours" not in mine


def test_missing_rows_are_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    asked(monkeypatch, "--store", str(tmp_path), "--peers", "exact")
    with pytest.raises(SystemExit) as ended:
        program.main()
    assert ended.value.code == 2
    assert "--data names the folder" in capsys.readouterr().err


def test_ours_is_asked_for_what_the_truth_measures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found: list[object] = []

    @click.command()
    @click.argument("file")
    @click.option("--text")
    @click.option("--id", "key")
    @click.option("--unit")
    @click.option("--threshold", type=float)
    @click.option("--out")
    def dedup(**options: object) -> None:
        found.append(options)

    monkeypatch.setitem(cli.commands, "dedup", dedup)
    out = tmp_path / "out"
    asked(monkeypatch, "--rows", str(tmp_path / "rows.parquet"), "--out", str(out), "--work", str(tmp_path / "work"))
    ours.main()
    options = {"text": "text", "key": "row_id", "unit": "char", "threshold": 0.8, "out": str(out)}
    assert found == [{"file": str(tmp_path / "rows.parquet"), **options}]
    assert (out / "meta.json").exists()


def test_meter_counts_a_child_and_stops_at_its_limits(tmp_path: Path) -> None:
    child = "import subprocess, sys; subprocess.run([sys.executable, '-c', 'import time; x = bytearray(90_000_000); x[::4096] = x[::4096]; time.sleep(1.5)'])"
    ran = meter.run([sys.executable, "-c", child], log=tmp_path / "log")
    assert (ran.status, ran.stopped) == (0, None)
    assert 95 < ran.peak_mb < 200
    assert ran.wall_s > 1.4
    slow = meter.run([sys.executable, "-c", "import time; time.sleep(60)"], log=tmp_path / "log", limit=0.5)
    assert slow.stopped == "time"
    assert slow.wall_s < 5
    large = meter.run(
        [sys.executable, "-c", "x = b'x' * 400_000_000; import time; time.sleep(60)"], log=tmp_path / "log", most_mb=50, limit=30
    )
    assert large.stopped == "memory"
    assert large.wall_s < 10
