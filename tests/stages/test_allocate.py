"""allocate: every row that is left is in a split or in the ledger, caps are exact, and splits share no prompt."""

from __future__ import annotations

import math
import tempfile
from collections import defaultdict
from hashlib import blake2b
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq
from hypothesis import given, settings
from hypothesis import strategies as st

from corpus.recipe import FORM_KINDS, SPLIT_FORMS, Recipe
from corpus.schema import CLEAN, DROPPED
from corpus.stages import allocate
from corpus.stages.base import Context
from corpus.warehouse.commit import write_table
from corpus.warehouse.inputs import InputIndex
from corpus.warehouse.manifest import Partition

SOURCES = ("one", "two")


class Row(NamedTuple):
    """What allocation looks at."""

    source: str = "one"
    kind: str = "dialogue"
    prompt: int = 0
    upstream: str | None = None
    asks: bool = True


class Allocated(NamedTuple):
    """What it made: (row number, split, part) of every assignment, the ledger by row number, and the report."""

    assigned: list[tuple[int, str, str]]
    ledger: dict[int, tuple[str, str]]
    report: list[dict[str, Any]]


def run(
    root: Path, rows: list[Row], splits: dict[str, Any], *, seed: int = 1, partitions: int = 2, gone: set[int] | None = None
) -> Allocated:
    """Runs the stage on these rows, dealt out to some partitions; rows in `gone` were dropped before."""
    recipe = Recipe.model_validate({"name": "r", "sources": list(SOURCES), "splits": splits, "seed": seed})
    cleaned = []
    for number in range(partitions):
        mine = [(n, r) for n, r in enumerate(rows) if n % partitions == number]
        values = {
            "row_id": [f"{n:032x}" for n, _ in mine], "source": [r.source for _, r in mine], "kind": [r.kind for _, r in mine],
            "upstream_split": [r.upstream for _, r in mine],
            "asks": [r.asks for _, r in mine],
            "prompt_key": [blake2b(str(r.prompt).encode(), digest_size=16).digest() for _, r in mine],
        }  # fmt: skip
        filler = {"license": "", "file": "", "record": 0, "messages": [], "row_key": b"\0" * 16, "changed_by": []}
        table = pa.table([values.get(c.name, [filler.get(c.name)] * len(mine)) for c in CLEAN.columns], schema=CLEAN.schema)
        entry = write_table(root, f"clean/{number}.parquet", table, "clean")
        cleaned.append(Partition("clean", f"p/{number}", f"c{number}", {}, (entry,)))
    before = [Partition("filter", "p/0", "f0", {}, ())]
    for stage, ids in (("dedup", sorted(gone or ())), ("decontaminate", [])):
        columns = {"row_id": [f"{n:032x}" for n in ids], "source": ["one"] * len(ids), "stage": [stage] * len(ids)}
        table = pa.table(
            [columns.get(c.name, ["x" if not c.nullable else None] * len(ids)) for c in DROPPED.columns], schema=DROPPED.schema
        )
        before.append(Partition(stage, "r", stage, {}, (write_table(root, f"dropped/{stage}.parquet", table, "dropped"),)))
    context = Context(recipe, dict.fromkeys(SOURCES), dict.fromkeys(SOURCES, 100), {}, {}, (), InputIndex(root))  # type: ignore[arg-type]
    [task] = allocate.plan(context, cleaned, before)
    done = task.run(task, root, lambda size, rows: None)
    assigned = []
    for number in range(partitions):
        for a in pq.read_table(root / done.one(f"assigned:p/{number}").path, partitioning=None).to_pylist():
            assert int(a["row_id"], 16) % partitions == number, "a row is in the file of its own partition"
            assert a["source"] == rows[int(a["row_id"], 16)].source
            assigned.append((int(a["row_id"], 16), a["split"], a["part"]))
    entries = pq.read_table(root / done.one("dropped").path, partitioning=None).to_pylist()
    ledger = {int(e["row_id"], 16): (e["reason"], e["detail"]) for e in entries}
    assert len(ledger) == len(entries)
    return Allocated(sorted(assigned), ledger, pq.read_table(root / done.one("allocation").path, partitioning=None).to_pylist())


ROWS = st.builds(
    Row,
    st.sampled_from(SOURCES),
    st.sampled_from(["dialogue", "document", "preference", "prompt"]),
    st.integers(0, 8),
    st.sampled_from([None, None, None, "train", "validation", "test"]),
    st.sampled_from([True, True, False]),
)
SPEC = st.fixed_dictionaries(
    {},
    optional={
        "weight": st.sampled_from([0.5, 1.0, 3.0]),
        "rows": st.integers(0, 6),
        "per_source": st.dictionaries(st.sampled_from(SOURCES), st.integers(0, 4)),
        "sources": st.lists(st.sampled_from(SOURCES), min_size=1, unique=True),
        "eval": st.sampled_from([0.0, 0.5]),
        "shared": st.booleans(),
        "upstream": st.lists(st.sampled_from(["train", "validation", "test"]), min_size=1, unique=True),
    },
)


@given(st.lists(ROWS, max_size=30), st.dictionaries(st.sampled_from(sorted(SPLIT_FORMS)), SPEC, min_size=1, max_size=4), st.data())
@settings(max_examples=20, deadline=None)
def test_every_row_is_in_a_split_or_in_the_ledger_and_every_rule_holds(rows: list[Row], splits: dict[str, Any], data: Any) -> None:
    gone = data.draw(st.sets(st.integers(0, max(0, len(rows) - 1)), max_size=3)) if rows else set()
    with tempfile.TemporaryDirectory() as folder:
        found = run(Path(folder), rows, splits, gone=gone)
    held = {n for n, _, _ in found.assigned}
    assert held.isdisjoint(found.ledger)
    assert held | set(found.ledger) == set(range(len(rows))) - gone
    assert len({(n, split) for n, split, _ in found.assigned}) == len(found.assigned), "no row twice in a split"

    recipe = Recipe.model_validate({"name": "r", "sources": list(SOURCES), "splits": splits})
    homes: dict[int, set[str]] = defaultdict(set)
    for n, split, part in found.assigned:
        row, spec = rows[n], recipe.splits[split]
        assert row.kind in (FORM_KINDS[SPLIT_FORMS[split]] if split != "test" else ("dialogue", "prompt"))
        assert not spec.sources or row.source in spec.sources
        assert row.asks or split not in ("dpo", "ppo"), "what is to be answered must ask"
        upstream = row.upstream or "train"
        assert upstream in (spec.upstream or ("train",))
        assert part == ("test" if split == "test" else "eval" if upstream != "train" else part)
        assert part != "eval" or spec.eval > 0 or upstream != "train"
        if not spec.shared:
            homes[row.prompt].add(split)
    assert all(len(found_in) == 1 for found_in in homes.values()), "splits that exclude each other share no prompt"

    for split, spec in recipe.splits.items():
        lines = {r["source"]: r for r in found.report if r["split"] == split}
        got = {s: sum(1 for n, into, _ in found.assigned if into == split and rows[n].source == s) for s in SOURCES}
        assert {s: n for s, n in got.items() if n} == {s: r["got"] for s, r in lines.items() if r["got"]}
        offered = {s: min(r["available"], spec.per_source.get(s, r["available"])) for s, r in lines.items()}
        assert all(got[s] <= offered.get(s, 0) for s in SOURCES)
        cap = spec.rows if spec.rows is not None else math.inf
        assert sum(got.values()) == min(cap, sum(offered.values())), "caps are exact"
        assert all(r["reason"] for r in lines.values() if r["got"] < r["available"])
        held_out = sum(1 for _, into, part in found.assigned if into == split and part == "eval")
        assert held_out == sum(r["eval"] for r in lines.values())

    for n, (reason, detail) in found.ledger.items():
        assert reason in ("over_cap", "other_split", "not_asked")
        assert detail
        if reason == "over_cap":
            assert any(recipe.splits[s].rows is not None or recipe.splits[s].per_source for s in detail.split(", ")), n


@given(st.lists(ROWS, min_size=1, max_size=20))
@settings(max_examples=6, deadline=None)
def test_the_same_seed_gives_the_same_and_partitions_do_not_matter(rows: list[Row]) -> None:
    splits = {
        "sft": {"weight": 2, "eval": 0.3, "rows": 7},
        "ppo": {},
        "tokenizer": {"shared": True, "rows": 5, "kinds": ["document", "dialogue"]},
    }
    with tempfile.TemporaryDirectory() as one, tempfile.TemporaryDirectory() as other:
        assert run(Path(one), rows, splits, partitions=1) == run(Path(other), rows, splits, partitions=3)


def within(count: int, of: int, share: float) -> bool:
    """Whether a count is within 4.5 standard deviations of its expectation: a fair draw fails one time in 150,000."""
    return abs(count - of * share) < 4.5 * math.sqrt(of * share * (1 - share))


def test_weights_and_eval_shares_are_respected(tmp_path: Path) -> None:
    rows = [Row(prompt=n) for n in range(5000)]
    splits = {"sft": {"weight": 3, "eval": 0.2}, "ppo": {"weight": 1}, "instruct": {"weight": 0.5}}
    found = run(tmp_path / "1", rows, splits)
    count = {s: sum(1 for _, split, _ in found.assigned if split == s) for s in splits}
    assert sum(count.values()) == 5000
    assert all(within(count[s], 5000, float(spec["weight"]) / 4.5) for s, spec in splits.items()), count
    held_out = sum(1 for _, _, part in found.assigned if part == "eval")
    assert within(held_out, count["sft"], 0.2)
    other = run(tmp_path / "2", rows, splits, seed=2)
    same = sum(1 for a, b in zip(found.assigned, other.assigned, strict=True) if a[1] == b[1])
    assert within(same, 5000, sum((w / 4.5) ** 2 for w in (3, 1, 0.5))), "another seed is another draw"


def test_a_heavier_weight_only_gains(tmp_path: Path) -> None:
    """Rendezvous hashing: raising one split's weight moves prompts into it, and between no two others."""
    rows = [Row(prompt=n) for n in range(600)]
    light = run(tmp_path / "1", rows, {"sft": {}, "ppo": {}, "instruct": {}})
    heavy = run(tmp_path / "2", rows, {"sft": {"weight": 4}, "ppo": {}, "instruct": {}})
    moved = {(a[1], b[1]) for a, b in zip(light.assigned, heavy.assigned, strict=True) if a[1] != b[1]}
    assert moved == {("ppo", "sft"), ("instruct", "sft")}


def test_ledger_says_why(tmp_path: Path) -> None:
    rows = [Row(prompt=1), Row(prompt=1, kind="document"), Row(prompt=2, upstream="test"), Row(prompt=3, kind="preference")]
    found = run(tmp_path, rows, {"sft": {"rows": 0}})
    assert found.ledger == {
        0: ("over_cap", "sft"),
        1: ("not_asked", "document"),
        2: ("not_asked", "dialogue, marked test"),
        3: ("not_asked", "preference"),
    }
    # One prompt as a dialogue and as a question without answer: both go to one split, and what it cannot take is told so.
    rows = [Row(prompt=n, kind=kind) for n in range(20) for kind in ("dialogue", "prompt")]
    found = run(tmp_path / "2", rows, {"sft": {}, "ppo": {"kinds": ["prompt"]}})
    assert {reason for reason, _ in found.ledger.values()} == {"other_split"}
    assert {detail for _, detail in found.ledger.values()} == {"its prompt went to sft", "its prompt went to ppo"}


@given(st.lists(st.integers(0, 5), max_size=8), st.integers(1, 7))
@settings(max_examples=100, deadline=None)
def test_a_stream_is_cut_by_partition_wherever_batches_end(counts: list[int], size: int) -> None:
    numbers = [n for n, count in enumerate(counts) for _ in range(count)]
    table = pa.table({"partition": pa.array(numbers, pa.int32()), "value": pa.array(range(len(numbers)), pa.int64())})
    pieces = list(allocate._by_partition(table.to_batches(max_chunksize=size), len(counts)))
    assert [[v for t in tables for v in t["value"].to_pylist()] for tables in pieces] == [
        [i for i, n in enumerate(numbers) if n == number] for number in range(len(counts))
    ]
