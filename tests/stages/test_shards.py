"""shards: the parts of a split as files in one random order, each by a worker that holds no more than it."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from corpus.splits.order import positions, ranges
from corpus.stages import render, shards
from corpus.warehouse.manifest import Partition
from tests.stages.rendering import Row, cleaned, context_of, dialogue, done, make, recipe_of

SMALL = 6000
"""Bytes of a shard in these tests: some thirty rows."""


def rows_of(n: int, *, copies: int = 1) -> list[list[Row]]:
    """Three partitions of two sources, most rows in train."""
    rows = [
        dialogue(f"{k}", ("sft", "eval" if k % 9 == 0 else "train", 0, 1 + k % copies), source="two" if k % 3 == 2 else "one", words=k % 11)
        for k in range(n)
    ]
    return [rows[0::3], rows[1::3], rows[2::3]]


def test_the_files_of_a_part_are_all_its_rows_in_one_random_order(tmp_path: Path) -> None:
    made = make(tmp_path, rows_of(200, copies=3), shard_bytes=SMALL)
    for part in ("train", "eval"):
        found = made.rows("sft", part)
        expected = {
            (r.row_id, k) for each in rows_of(200, copies=3) for r in each for _, p, _, n in r.places if p == part for k in range(n)
        }
        assert len(found) == len(expected)
        assert {(r["row_id"], r["repeat"]) for r in found} == expected
        at = [int(positions(_ids([r]), np.array([r["repeat"]]), "sft", 5)[0]) for r in found]
        assert at == sorted(at)
    train = made.rows("sft", "train")
    firsts = [r["source"] for r in train[: len(train) // 3]]
    assert 0.15 < firsts.count("two") / len(firsts) < 0.55, "sources are mixed"


def _ids(rows: list[dict[str, Any]]) -> Any:
    import pyarrow as pa

    return pa.array([r["row_id"] for r in rows])


def test_a_shard_holds_its_range_and_says_which_it_is(tmp_path: Path) -> None:
    made = make(tmp_path, rows_of(300), shard_bytes=SMALL)
    mine = [p for p in made.sharded if p.key.startswith("r:sft:train:")]
    total = sum(p.stats["parts"]["sft:train"]["bytes"] for p in made.rendered)
    count = -(-total // SMALL)
    assert count > 5
    assert [p.key for p in mine] == [f"r:sft:train:{k}-{count}" for k in range(count)]
    for number, (partition, (first, last)) in enumerate(zip(mine, ranges(count), strict=True)):
        entry = partition.one("split:sft:train")
        assert entry.path == f"splits/r/sft/train-{number:05d}-of-{count:05d}.parquet"
        table = pq.read_table(tmp_path / entry.path, partitioning=None)
        at = positions(table["row_id"].combine_chunks(), table["repeat"].to_numpy(), "sft", 5).tolist()
        assert all(first <= position <= last for position in at)
        assert "position" not in table.schema.names
    sizes = [p.one("split:sft:train").rows for p in mine]
    assert max(sizes) < 3 * min(sizes)
    counts = [sum(c[at] for p in mine for c in p.stats["counts"]) for at in (3, 4)]
    assert counts == [sum(sizes), sum(sizes)]


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 2**20), workers=st.just(1))
def test_the_order_of_the_inputs_changes_no_byte(tmp_path_factory: pytest.TempPathFactory, seed: int, workers: int) -> None:
    rng = random.Random(seed)
    rows = rows_of(60, copies=2)
    first = make(tmp_path_factory.mktemp("a"), rows, shard_bytes=SMALL, workers=workers)
    rng.shuffle(rows[0])
    moved = rows[1].pop()
    rows[0].append(moved)
    second = make(
        tmp_path_factory.mktemp("b"), rows, shard_bytes=SMALL, run_bytes=rng.choice([3000, 10**9]),
        mixed=lambda partitions: rng.sample(partitions, len(partitions)),
    )  # fmt: skip
    parquet = [{name: digest for name, digest in made.files().items() if name.endswith(".parquet")} for made in (first, second)]
    assert parquet[0] == parquet[1]
    assert len(parquet[0]) > 2


def test_the_number_of_workers_changes_no_byte(tmp_path: Path) -> None:
    one = make(tmp_path / "one", rows_of(120), shard_bytes=SMALL)
    two = make(tmp_path / "two", rows_of(120), shard_bytes=SMALL, workers=2)
    assert one.files() == two.files()
    assert [p.fingerprint for p in one.cards] == [p.fingerprint for p in two.cards]


def test_only_row_groups_that_touch_a_range_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(render, "GROUP_BYTES", 1500)
    context = context_of(tmp_path, recipe_of())
    rendered = done(render.plan(context, *cleaned(tmp_path, rows_of(300))), tmp_path)
    groups = [pq.ParquetFile(tmp_path / f.path).num_row_groups for p in rendered for f in p.of("rendered:sft:train")]
    assert min(groups) > 5
    read: list[int] = []
    real = pq.ParquetFile.read_row_group

    def counted(self: Any, number: int, **more: Any) -> Any:
        read.append(number)
        return real(self, number, **more)

    monkeypatch.setattr(pq.ParquetFile, "read_row_group", counted)
    tasks = [t for t in shards.plan(context, rendered, shard_bytes=SMALL) if ":train:" in t.key]
    done(tasks, tmp_path)
    assert len(tasks) > 4
    # Every group is read once, and once more for each of the other shards that it touches: at most two at each edge between shards.
    assert len(read) <= sum(groups) + len(groups) * (len(tasks) - 1)
    assert len(read) < sum(groups) * len(tasks) / 2
    low = tasks[0].spec
    metadata = pq.ParquetFile(tmp_path / low["files"][0].path).metadata
    assert shards.touched(metadata, 0, 2**64 - 1) == list(range(metadata.num_row_groups))
    upper = shards.touched(metadata, 2**63, 2**64 - 1)
    lower = shards.touched(metadata, 0, 2**63 - 1)
    assert sorted({*upper, *lower}) == list(range(metadata.num_row_groups))
    assert len(upper) + len(lower) <= metadata.num_row_groups + 1, "bounds above 2^63 are not read as negative numbers"


def test_row_groups_are_small_enough_to_be_read_at_random(tmp_path: Path) -> None:
    short = [dialogue(f"{n}", ("sft", "train", 0, 25), words=1) for n in range(100)]
    long = [dialogue(f"long {n}", ("tokenizer", "train", 0, 10), words=20_000) for n in range(20)]
    made = make(tmp_path, [short, long])
    files = {p.key: pq.ParquetFile(tmp_path / p.files[0].path) for p in made.sharded}
    few, many = files["r:tokenizer:train:0-1"], files["r:sft:train:0-1"]
    assert [many.metadata.row_group(g).num_rows for g in range(many.num_row_groups)] == [1000, 1000, 500]
    sizes = [few.read_row_group(g).nbytes for g in range(few.num_row_groups)]
    assert len(sizes) > 4
    assert max(sizes) <= 1.01 * shards.GROUP_BYTES
    assert min(sizes[:-1]) > shards.GROUP_BYTES - 250_000


def test_a_row_that_is_larger_than_a_shard_has_a_file(tmp_path: Path) -> None:
    made = make(tmp_path, [[dialogue("a", ("sft", "train", 0, 1), words=3000), dialogue("b", ("sft", "train", 0, 1))]], shard_bytes=SMALL)
    assert len(made.rows("sft", "train")) == 2
    assert all(p.stats["counts"] == [] for p in made.sharded if not p.files)
    assert [f.rows for p in made.sharded for f in p.files] in ([1, 1], [2])


def test_counts_are_by_source_licence_and_kind(tmp_path: Path) -> None:
    rows = [dialogue("a", ("sft", "train", 0, 3)), dialogue("b", ("sft", "train", 0, 1), source="two")]
    made = make(tmp_path, [rows[:1], rows[1:]])
    [partition] = made.sharded
    chars = [len(next(r["text"] for r in made.rows("sft", "train") if r["source"] == s)) for s in ("one", "two")]
    assert partition.stats["counts"] == [["one", "MIT", "dialogue", 3, 1, 3 * chars[0]], ["two", "MIT", "dialogue", 1, 1, chars[1]]]


def test_a_plan_of_what_is_not_rendered_yet_names_its_splits(tmp_path: Path) -> None:
    """What a build would do is told without running anything; how many shards there will be is not known then."""
    unknown = Partition("render", "r:one/0", "x", {})
    tasks = shards.plan(context_of(tmp_path, recipe_of()), [unknown])
    assert [t.key for t in tasks] == ["r:sft", "r:tokenizer"]
    made = make(tmp_path, rows_of(40), shard_bytes=SMALL)
    tasks = shards.plan(context_of(tmp_path, recipe_of()), [*made.rendered, unknown], shard_bytes=SMALL)
    assert [t.key for t in tasks] == [*(p.key for p in made.sharded), "r:tokenizer"]
    assert shards.plan(context_of(tmp_path, recipe_of()), []) == []


def test_a_shard_that_fails_leaves_nothing(tmp_path: Path) -> None:
    context = context_of(tmp_path, recipe_of())
    rendered = done(render.plan(context, *cleaned(tmp_path, rows_of(60))), tmp_path)
    path = tmp_path / rendered[-1].of("rendered:sft:train")[0].path
    path.write_bytes(path.read_bytes()[:-30])
    with pytest.raises(Exception, match="build again with --verify"):
        done(shards.plan(context, rendered), tmp_path)
    left = [p for p in (tmp_path / "splits").rglob("*") if p.is_file() and "train" in p.name]
    assert left == []
