"""The engine: reads twice, judges group by group, and leaves nothing behind."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from corpus.dedup import near
from corpus.dedup.minhash import Scheme
from corpus.dedup.near import Measure, Piece, Sketches, Verdicts, cuts, judged, meet, sketch
from corpus.dedup.texts import Texts
from corpus.dedup.units import Unit
from tests.stages.duplicates import clauses, document, edited, similar

MEASURE = Measure(Unit.MIXED, Scheme.of(0.8))


@dataclass
class Memory:
    """Rows from a list, so many at a time; notes what was asked for."""

    texts: list[str]
    at_once: int = 10
    asked: list[int] = field(default_factory=list)

    def read(self, wanted: np.ndarray | None = None) -> Iterator[Piece]:
        """See `corpus.dedup.near.Rows`."""
        numbers = np.arange(len(self.texts)) if wanted is None else np.flatnonzero(wanted)
        self.asked.append(len(numbers))
        for start in range(0, len(numbers), self.at_once):
            part = numbers[start : start + self.at_once]
            yield Piece(part, Texts.of(pa.array([self.texts[n] for n in part], pa.large_string())))


def rows_of(seed: int, count: int) -> list[str]:
    """Texts, half of them made from an earlier one."""
    rng = random.Random(seed)
    pool = clauses(rng, 200)
    out: list[str] = []
    for _ in range(count):
        out.append(edited(rng, rng.choice(out)) if out and rng.random() < 0.5 else "".join(rng.choices(pool, k=rng.randint(2, 6))))
    return out


def verdicts_of(rows: Memory, folder: Path, *, budget: int = near.GROUP_BYTES, alive: np.ndarray | None = None) -> list[Verdicts]:
    """All verdicts; rows are to be kept in the order of their numbers."""
    folder.mkdir(exist_ok=True)
    found = sketch(rows, MEASURE, folder)
    total = len(rows.texts)
    met, labels = meet(found.segments, np.ones(total, dtype=np.bool_) if alive is None else alive)
    return list(
        judged(rows, MEASURE, met, labels, met, np.zeros(len(met), dtype=np.bool_), found.counts[met], folder, total, budget=budget)
    )


def whole(verdicts: list[Verdicts], total: int) -> tuple[list[int], list[Any], list[tuple[Any, ...]]]:
    """Keepers and similarities of all rows, and all pairs."""
    keepers, similarity = np.full(total, -1), np.full(total, np.nan)
    for v in verdicts:
        keepers[v.rows], similarity[v.rows] = v.keepers, v.jaccard
    pairs = sorted(
        (*p, *s[:1], a) for v in verdicts for p, s, a in zip(v.pairs.tolist(), v.similarity.tolist(), v.accepted.tolist(), strict=True)
    )
    return keepers.tolist(), np.nan_to_num(similarity, nan=-1).tolist(), pairs


def test_verdicts_agree_with_the_texts(tmp_path: Path) -> None:
    rows = Memory(rows_of(1, 150))
    verdicts = verdicts_of(rows, tmp_path / "work")
    keepers, similarity, pairs = whole(verdicts, 150)
    made = [document(n, None, text) for n, text in enumerate(rows.texts)]
    assert sum(k >= 0 for k in keepers) > 30
    for n, keeper in enumerate(keepers):
        if keeper < 0:
            assert similarity[n] == -1
            continue
        assert keeper < n
        assert keepers[keeper] < 0
        assert similarity[n] >= 0.8
        assert similarity[n] == pytest.approx(similar(made[n], made[keeper], {}).whole)
    for a, b, value, accepted in pairs:
        assert value == pytest.approx(similar(made[a], made[b], {}).whole)
        assert accepted == (value >= 0.8)
        assert b < a
    for v in verdicts:
        for n, component in zip(v.rows.tolist(), v.components.tolist(), strict=True):
            assert keepers[n] < 0 or dict(zip(v.rows.tolist(), v.components.tolist(), strict=True))[keepers[n]] == component


def test_only_rows_that_meet_are_read_again_and_nothing_is_left(tmp_path: Path) -> None:
    rows = Memory(rows_of(2, 120))
    verdicts = verdicts_of(rows, tmp_path / "work")
    first, second = rows.asked
    assert first == 120
    assert second == sum(len(v.rows) for v in verdicts) < 120
    assert [p.suffix for p in (tmp_path / "work").iterdir()] == [".bands"], "the sets are gone, the sketches stay for their owner"


def test_rows_without_likes_are_not_read_again(tmp_path: Path) -> None:
    rows = Memory(["一二三四五六七", "the quick brown fox jumps over", "八九十"])
    assert verdicts_of(rows, tmp_path / "work") == []
    assert rows.asked == [3]
    assert verdicts_of(Memory([]), tmp_path / "empty") == []


def test_rows_that_are_not_alive_take_no_part(tmp_path: Path) -> None:
    rows = Memory(rows_of(1, 150))
    alive = np.arange(150) % 3 > 0
    for v in verdicts_of(rows, tmp_path / "work", alive=alive):
        assert alive[v.rows].all()
        assert alive[v.pairs].all()


@pytest.mark.parametrize("at_once", [1, 7, 1000])
def test_nothing_depends_on_sizes(at_once: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    texts = rows_of(3, 150)
    expected = whole(verdicts_of(Memory(texts), tmp_path / "one"), 150)
    assert whole(verdicts_of(Memory(texts, at_once), tmp_path / "two"), 150) == expected
    groups = verdicts_of(Memory(texts, at_once), tmp_path / "three", budget=2000)
    assert len(groups) > 3
    assert whole(groups, 150) == expected
    monkeypatch.setattr(near, "GROUP_BYTES", 1)  # then what is judged stays on disk
    monkeypatch.setattr(near, "_SEGMENT_ROWS", 40)
    assert whole(verdicts_of(Memory(texts, at_once), tmp_path / "four"), 150) == expected
    assert len(list((tmp_path / "four").glob("*.bands"))) == (1 if at_once == 1000 else 4)


def test_sketches_count_what_they_say(tmp_path: Path) -> None:
    texts = ["", "好", "一二三四五六", "one two three four five six", "一二三四五六"]
    found: Sketches = sketch(Memory(texts), MEASURE, tmp_path)
    assert found.sizes.tolist() == [len(t.encode()) for t in texts]
    assert found.counts.tolist() == [1, 1, 2, 2, 2]
    assert (found.whole[2] == found.whole[4]).all()
    assert len({tuple(w) for w in found.whole.tolist()}) == 4
    told: list[int] = []
    sketch(Memory(texts, 2), MEASURE, tmp_path, told.append)
    assert told == [2, 2, 1]


def test_a_source_that_reads_other_rows_than_it_was_asked_for_is_an_error(tmp_path: Path) -> None:
    class Short(Memory):
        def read(self, wanted: np.ndarray | None = None) -> Iterator[Piece]:
            yield from list(super().read(wanted))[: None if wanted is None else -1]

    with pytest.raises(RuntimeError, match="were read again"):
        verdicts_of(Short(rows_of(1, 60), 5), tmp_path / "work")


@given(st.lists(st.integers(0, 50), max_size=40), st.integers(1, 100))
def test_cuts_are_all_texts_in_pieces_of_some_size(lengths: list[int], size: int) -> None:
    offsets = np.concatenate([[7], 7 + np.cumsum(lengths, dtype=np.int64)]) if lengths else np.array([7])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(near, "PIECE_BYTES", size)
        found = list(cuts(offsets))
    assert [n for a, b in found for n in range(a, b)] == list(range(len(lengths)))
    assert all(b - a == 1 or offsets[b] - offsets[a] <= size for a, b in found)
    assert all(offsets[b + 1] - offsets[a] > size for a, b in found if b < len(lengths)), "and no smaller than they need be"


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(1, 60)), min_size=1, max_size=60), st.integers(8, 2000))
def test_groups_are_whole_components_of_about_the_budget(rows: list[tuple[int, int]], budget: int) -> None:
    labels, counts = (np.array(x) for x in zip(*rows, strict=True))
    groups = near._groups(labels, counts.astype(np.uint32), budget)
    assert sorted(set(groups.tolist())) == list(range(groups.max() + 1))
    weight = {c: 8 * int(counts[labels == c].sum()) for c in set(labels.tolist())}
    for c in weight:
        assert len(set(groups[labels == c].tolist())) == 1
    for group in range(groups.max() + 1):
        members = [weight[c] for c in sorted(set(labels[groups == group].tolist()))]
        assert sum(members) - members[-1] < budget, "all but the last fit"
