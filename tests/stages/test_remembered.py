"""remembered: what was judged once need not be judged again, and a build that remembers writes what one that does not writes."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from corpus.schema import JUDGED
from corpus.stages import dedup, remembered
from tests.stages.duplicates import Found, Row, clauses, document, make_rows, run
from tests.stages.test_dedup import check, outcome

ROWS = make_rows(31, 220, most=400)


class Asked:
    """Notes what is read of the texts while duplicates are judged: numbers of rows, by the files and places where they lie."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.rows: set[str] = set()
        real = dedup._Tables.read
        note = self.rows

        def read(self: Any, wanted: np.ndarray | None = None) -> Iterator[Any]:
            ids = [i for f in self.clean for i in pq.read_table(self.root / f.path, columns=["row_id"])["row_id"].to_pylist()]
            assert wanted is not None, "never all rows"
            note.update(ids[n] for n in np.flatnonzero(wanted))
            yield from real(self, wanted)

        monkeypatch.setattr(dedup._Tables, "read", read)

    def take(self) -> set[str]:
        """The row_ids since the last time."""
        taken = set(self.rows)
        self.rows.clear()
        return taken


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> Asked:
    """What is read."""
    return Asked(monkeypatch)


def memory(found: Found) -> dict[str, Any]:
    """The file of a run, as the next build is told of it."""
    return asdict(found.done.one("judged"))


def same(one: Found, other: Found) -> bool:
    """Whether two runs wrote the same bytes, those of the memory included."""
    return outcome(one) == outcome(other) and one.files["judged"] == other.files["judged"] and one.done.stats == other.done.stats


def test_nothing_is_read_again_when_nothing_has_changed(tmp_path: Path, asked: Asked) -> None:
    first = run(tmp_path, ROWS)
    judged = asked.take()
    assert judged
    again = run(tmp_path, ROWS, judged=memory(first))
    assert asked.take() == set()
    assert same(first, again)
    assert same(run(tmp_path, ROWS, judged=memory(again)), first), "what was remembered is remembered again"
    assert asked.take() == set()


def test_after_a_source_was_added_only_components_with_its_rows_are_read(tmp_path: Path, asked: Asked) -> None:
    before = run(tmp_path, ROWS)
    judged = asked.take()
    rng = random.Random(3)
    old = [row for row in ROWS if row.kind == "document" and len(row.text or "") > 60][:3]
    new = [document(f"new {n}", row.title, (row.text or "") + "好", "aa") for n, row in enumerate(old)]
    new += [document(f"other {n}", None, "".join(clauses(rng, 6)), "aa") for n in range(20)]
    rows = [*ROWS, *new]
    after = run(tmp_path, rows, judged=memory(before))
    read = asked.take()
    fresh = run(tmp_path, rows)
    everything = asked.take()
    assert same(after, fresh)
    check(rows, after)
    assert read < everything
    assert read & {row.id for row in new[:3]}
    assert len(read) < len(judged) / 3
    assert len(judged - read) > 50, "rows that were judged before"


def test_when_a_source_goes_its_components_are_judged_anew(tmp_path: Path, asked: Asked) -> None:
    before = run(tmp_path, ROWS)
    asked.take()
    rows = [row for row in ROWS if row.source != "two"]
    after = run(tmp_path, rows, judged=memory(before))
    read = asked.take()
    fresh = run(tmp_path, rows)
    assert same(after, fresh)
    assert read < asked.take()


@pytest.mark.parametrize(
    "change",
    [
        {"settings": {"answers": 0.2}},
        {"settings": {"prompts": 0.9}},
        {"settings": {"threshold": 0.7}},
        {"settings": {"unit": "char"}},
        {"settings": {"template_share": 0.5}},
        {"priority": {"one": 1}},
        {"protected": ["two"]},
        {"keys": {"one": "answer"}},
        {"gone": [row.id for row in ROWS[::9]]},
        {"divided": 3},
    ],
)
def test_whatever_changes_the_outcome_is_that_of_a_build_without_memory(change: dict[str, Any], tmp_path: Path) -> None:
    before = run(tmp_path, ROWS)
    after = run(tmp_path, ROWS, change.get("settings"), judged=memory(before), **{k: v for k, v in change.items() if k != "settings"})
    fresh = run(tmp_path, ROWS, change.get("settings"), **{k: v for k, v in change.items() if k != "settings"})
    assert same(after, fresh)
    if change != {"divided": 3} and change != {"settings": {"template_share": 0.5}}:
        assert outcome(after) != outcome(before), "the change is one"


def test_a_row_whose_text_changed_is_judged_anew(tmp_path: Path) -> None:
    before = run(tmp_path, ROWS)
    from dataclasses import replace

    rows = [replace(row, text="另一篇，和别的都不一样。" * 3) if row.id in list(before.dropped)[::3] and row.text else row for row in ROWS]
    assert rows != ROWS
    after = run(tmp_path, rows, judged=memory(before))
    assert same(after, run(tmp_path, rows))
    check(rows, after)


def test_a_damaged_memory_decides_nothing(tmp_path: Path, asked: Asked) -> None:
    first = run(tmp_path, ROWS)
    everything = asked.take()
    path = tmp_path / first.done.one("judged").path
    whole = path.read_bytes()
    for data in (b"", whole[:-9], whole[: len(whole) // 2] + b"\0" + whole[len(whole) // 2 + 1 :], b"PAR1" + bytes(60) + b"PAR1", None):
        path.unlink()
        if data is not None:
            path.write_bytes(data)
        again = run(tmp_path, ROWS, judged=memory(first))
        assert asked.take() == everything
        assert same(first, again)


def test_a_memory_of_another_shape_decides_nothing(tmp_path: Path) -> None:
    first = run(tmp_path, ROWS)
    entry = first.done.one("judged")
    other = pq.read_table(tmp_path / entry.path).rename_columns([f"{name}_" for name in JUDGED.schema.names])
    pq.write_table(other, tmp_path / "other.parquet")
    import hashlib

    digest = hashlib.sha256((tmp_path / "other.parquet").read_bytes()).hexdigest()
    assert same(run(tmp_path, ROWS, judged={**asdict(entry), "path": "other.parquet", "sha256": digest}), first)


def test_the_table_has_every_component_once_and_places_within_it(tmp_path: Path) -> None:
    found = run(tmp_path, ROWS)
    table = pq.read_table(tmp_path / found.done.one("judged").path, partitioning=None)
    rows = table.to_pylist()
    names = [row["component"] for row in rows]
    assert names == sorted(set(names))
    assert sum(len(row["pair_rows"]) for row in rows) > 20
    for row in rows:
        size = len(row["keepers"])
        assert size > 1
        assert len(row["jaccard"]) == len(row["joined"]) == size
        for place, keeper in enumerate(row["keepers"]):
            assert -1 <= keeper < place, "a keeper comes before what it is kept for"
            assert (keeper < 0) == np.isnan(row["jaccard"][place])
        for name in ("others", "jaccard", "prompts", "answers", "accepted"):
            assert len(row[f"pair_{name}"]) == len(row["pair_rows"])
        assert all(0 <= b < a < size for a, b in zip(row["pair_rows"], row["pair_others"], strict=True))


def test_nothing_to_remember(tmp_path: Path) -> None:
    rows: list[Row] = [document(n, None, text) for n, text in enumerate(("一", "二二", "three"))]
    found = run(tmp_path, rows)
    assert found.done.one("judged").rows == 0
    assert same(run(tmp_path, rows, judged=memory(found)), found)
    assert same(run(tmp_path, ROWS, judged=memory(found)), run(tmp_path, ROWS))
    assert (
        remembered.table(remembered.Components([], np.zeros(0), np.zeros(0, dtype=np.int64), np.zeros(1, dtype=np.int64)), []).num_rows == 0
    )
