"""sketch: of every partition what duplicates are found by, whatever the rest of the corpus is."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from corpus.dedup import near
from corpus.dedup.bands import opened
from corpus.dedup.minhash import Scheme, keys, signatures
from corpus.dedup.shingles import mark, shingles, unmarked
from corpus.dedup.units import Unit
from corpus.errors import WarehouseError
from corpus.executors.task import Task
from corpus.schema import SKETCHED
from corpus.stages import sketch, stock
from corpus.stages.compared import compared
from corpus.warehouse.manifest import Partition
from tests.stages.duplicates import Row, cleaned, context_of, make_rows, run, table_of

ROWS = make_rows(8, 150, sources=("one", "two"))


def tasks(root: Path, rows: list[Row], settings: dict[str, Any] | None = None, **more: Any) -> tuple[list[Task], dict[str, Partition]]:
    """The tasks of the stage, and what is stock by source."""
    context = context_of(root, {r.source for r in rows}, settings, **more)
    parts = cleaned(root, rows, 2, groups=20)
    stocks = [t.run(t, root, lambda size, rows: None) for t in stock.plan(context, parts)]
    return sketch.plan(context, parts, stocks), {p.key: p for p in stocks}


def done(task: Task, root: Path) -> Partition:
    """The partition that a task makes."""
    return task.run(task, root, lambda size, rows: None)


@pytest.mark.parametrize("key", ["whole", "prompt", "answer", "exact"])
def test_the_rows_of_a_partition(key: str, tmp_path: Path) -> None:
    planned, stocks = tasks(tmp_path, ROWS, keys={"one": key, "two": key})
    for task in planned:
        source, _, number = task.key.partition("/")
        mine = [row for row in ROWS if row.source == source][int(number) :: 2]
        partition = done(task, tmp_path)
        assert [f.table for f in partition.files] == ["sketched", "bands"]
        table = pq.read_table(tmp_path / partition.one("sketched").path, partitioning=None)
        assert table.schema.names == [c.name for c in SKETCHED.columns]
        clean = table_of(mine)
        found = compared(clean, key)  # type: ignore[arg-type]
        of = shingles(found.texts, Unit.MIXED)
        assert table["row_id"].to_pylist() == [row.id for row in mine]
        assert table["upstream_split"].to_pylist() == [row.upstream for row in mine]
        assert table["key"].to_pylist() == [k or own for k, own in zip(found.keys.to_pylist(), clean["row_key"].to_pylist(), strict=True)]
        assert table["whole"].to_pylist() == [of.whole[i].astype(">u8").tobytes() for i in range(len(mine))]
        assert table["shingles"].to_pylist() == np.diff(of.bounds).tolist()
        assert table["chars"].to_pylist() == [row.chars for row in mine]
        assert table["damage"].to_pylist() == [row.damage for row in mine]

        repeated = stock.shingles_of(tmp_path, stocks[source])
        if len(repeated):
            mark(of, repeated)
            of = unmarked(of)
        scheme = Scheme.of(0.8)
        expected = keys(signatures(of.hashes, of.bounds, scheme.values, scheme.seed), found.texts.spaces, scheme)
        segment = opened(tmp_path / partition.one("bands").path)
        assert (segment.rows, segment.scheme, segment.unit) == (len(mine), scheme, "mixed")
        for band in range(scheme.bands):
            entries = np.concatenate([segment.section(band, prefix) for prefix in range(16)])
            rows = (entries & np.uint64((1 << 24) - 1)).astype(np.int64)
            assert sorted(rows.tolist()) == list(range(len(mine)))
            assert ((entries >> np.uint64(24)) == expected[rows, band]).all()


def test_it_depends_on_neither_pieces_nor_row_groups(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def files(settings: dict[str, Any], groups: int) -> list[tuple[str, str]]:
        context = context_of(tmp_path, ["one", "two"], settings)
        parts = cleaned(tmp_path, ROWS, 1, groups=groups)
        return [(f.table, f.sha256) for t in sketch.plan(context, parts, []) for f in done(t, tmp_path).files]

    for settings in ({}, {"near": False}):
        plain = files(settings, 1 << 20)
        for size in (1, 700):
            monkeypatch.setattr(near, "PIECE_BYTES", size)
            assert files(settings, 11) == plain
        monkeypatch.undo()


def test_without_near_there_are_no_bands_and_without_exact_nothing(tmp_path: Path) -> None:
    planned, _ = tasks(tmp_path, ROWS, {"near": False})
    assert [[f.table for f in done(t, tmp_path).files] for t in planned] == [["sketched"]] * 4
    assert tasks(tmp_path, ROWS, {"near": False, "exact": False})[0] == []


def test_a_partition_without_rows(tmp_path: Path) -> None:
    [partition] = cleaned(tmp_path, ROWS[:1])
    table = table_of([])
    from corpus.schema import CLEAN, MEASURED
    from corpus.warehouse.commit import write_table

    nothing = MEASURED.schema.empty_table()
    files = (write_table(tmp_path, "clean/none.parquet", table, "clean"), write_table(tmp_path, "clean/no.parquet", nothing, "measures"))
    assert table.schema == CLEAN.schema
    context = context_of(tmp_path, [ROWS[0].source])
    [task] = sketch.plan(context, [Partition("clean", f"{ROWS[0].source}/0", "ab" * 16, {}, files)], [])
    made = done(task, tmp_path)
    assert made.one("sketched").rows == 0
    assert made.of("bands") in ([], ())
    assert partition.one("clean").rows == 1


def test_what_a_fingerprint_holds(tmp_path: Path) -> None:
    def prints(settings: dict[str, Any] | None = None, rows: list[Row] = ROWS, **more: Any) -> dict[str, str]:
        return {t.key: t.fingerprint for t in tasks(tmp_path, rows, settings, **more)[0]}

    plain = prints()
    # What is decided later, and other sources, are none of its business.
    for settings in ({"prompts": 0.1}, {"answers": 0.2}, {"limits": {"near_share": 1, "near_least": 3, "component": 7}}):
        assert prints(settings) == plain
    assert prints(priority={"one": 1}, protected=["two"]) == plain
    assert prints(rows=[*ROWS, *make_rows(99, 120, sources=("three",))]).items() >= plain.items()
    for settings in ({"threshold": 0.7}, {"unit": "char"}, {"near": False}):
        assert not prints(settings).items() & plain.items()
    changed = prints(keys={"one": "answer"})
    assert {k for k in plain if changed[k] != plain[k]} == {"one/0", "one/1"}
    # Another share is another sketch only where it makes something else stock.
    assert prints({"template_share": 0.999999}).keys() == plain.keys()


def test_a_damaged_file_of_bands_is_not_used(tmp_path: Path) -> None:
    found = run(tmp_path, ROWS)
    [file] = found.built["sketch", "one/0"].of("bands")
    path = tmp_path / file.path
    data = path.read_bytes()
    for at in (3, 40, len(data) // 2, len(data) - 5):
        path.write_bytes(data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :])
        with pytest.raises(WarehouseError, match="--verify"):
            segment = opened(path)
            for band in range(segment.scheme.bands):
                for prefix in range(16):
                    segment.section(band, prefix)
    path.write_bytes(data[: len(data) // 2])
    with pytest.raises(WarehouseError, match="--verify"):
        segment = opened(path)
        for band in range(segment.scheme.bands):
            for prefix in range(16):
                segment.section(band, prefix)
