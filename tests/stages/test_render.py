"""render: every assigned row as often as it is asked for, in the form of its split and in the order of its positions."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from corpus.schema import DIALOGUE_SPLIT, REQUEST_SPLIT
from corpus.splits.order import positions
from corpus.stages import render
from tests.stages.rendering import Row, cleaned, context_of, dialogue, done, recipe_of, turns


def run(root: Path, partitions: list[list[Row]], recipe: Any = None, **more: Any) -> list[Any]:
    context = context_of(root, recipe or recipe_of())
    return done(render.plan(context, *cleaned(root, partitions), **more), root)


def read(root: Path, made: list[Any], place: str) -> list[pa.Table]:
    return [pq.read_table(root / f.path, partitioning=None) for p in made for f in p.of(f"rendered:{place}")]


def test_a_file_is_sorted_by_position_and_has_every_copy(tmp_path: Path) -> None:
    rows = [dialogue(f"row {n}", ("sft", "train" if n % 5 else "eval", 0, 1 + n % 3), ("tokenizer", "train", 0, 2)) for n in range(60)]
    made = run(tmp_path, [rows[:40], rows[40:]])
    for split, part in (("sft", "train"), ("sft", "eval"), ("tokenizer", "train")):
        found = read(tmp_path, made, f"{split}:{part}")
        assert len(found) == 2, "one file per partition"
        for table in found:
            at = table["position"].to_numpy()
            assert (np.diff(at.astype(object)) > 0).all()
            ids, repeats = table["row_id"].combine_chunks(), table["repeat"].to_numpy()
            assert at.tolist() == positions(ids, repeats, split, 5).tolist()
        copies = Counter((r["row_id"], r["repeat"]) for t in found for r in t.to_pylist())
        expected = {(r.row_id, k): 1 for r in rows for s, p, _, n in r.places if (s, p) == (split, part) for k in range(n)}
        assert copies == expected
    schema = pa.schema([pa.field("position", pa.uint64(), nullable=False), *DIALOGUE_SPLIT.schema])
    assert read(tmp_path, made, "sft:train")[0].schema.equals(schema)


def test_stats_count_rows_bytes_and_languages(tmp_path: Path) -> None:
    rows = [dialogue("a", ("sft", "train", 0, 3), language="zh"), dialogue("b", ("sft", "train", 0, 1)), dialogue("c")]
    [made] = run(tmp_path, [rows])
    told = made.stats["parts"]["sft:train"]
    assert (told["rows"], told["languages"]) == (4, {"en": 1, "zh": 3})
    [alone] = run(tmp_path / "alone", [[dialogue("a", ("sft", "train", 0, 1))]])
    [other] = run(tmp_path / "other", [[dialogue("b", ("sft", "train", 0, 1))]])
    assert told["bytes"] == 3 * alone.stats["parts"]["sft:train"]["bytes"] + other.stats["parts"]["sft:train"]["bytes"]


def test_a_start_leaves_out_turns_before_anything_is_rendered(tmp_path: Path) -> None:
    talk = turns("first?", "one", "second?", "two", system="Be kind.")
    rows = [
        Row(
            "talk", {"kind": "dialogue", "messages": talk}, [("sft", "train", 2, 1), ("rm-requests", "train", 2, 1), ("ppo", "train", 0, 1)]
        )
    ]
    made = run(tmp_path, [rows], recipe_of(splits={"sft": {}, "rm": {"kinds": ["dialogue"]}, "ppo": {}}))
    [row] = read(tmp_path, made, "sft:train")[0].to_pylist()
    assert row["messages"] == turns("second?", "two", system="Be kind.")
    assert "first" not in row["text"]
    [request] = read(tmp_path, made, "rm-requests:train")[0].to_pylist()
    assert request["prompt"] == turns("second?", system="Be kind.")
    assert request["chosen"] == [{"role": "assistant", "content": "two"}]
    assert request["text"].endswith("Human: second?\n\nAssistant:")
    assert read(tmp_path, made, "rm-requests:train")[0].schema.names == ["position", *REQUEST_SPLIT.schema.names]
    [prompt] = read(tmp_path, made, "ppo:train")[0].to_pylist()
    assert prompt["prompt"] == talk[:-1]


def test_row_groups_are_of_a_megabyte_with_bounds_of_their_positions(tmp_path: Path) -> None:
    rows = [dialogue(f"{n}", ("sft", "train", 0, 40), words=600) for n in range(40)]
    [made] = run(tmp_path, [rows])
    file = pq.ParquetFile(tmp_path / made.files[0].path)
    assert file.num_row_groups > 8
    sizes = []
    for group in range(file.num_row_groups):
        table = file.read_row_group(group)
        sizes.append(table.nbytes)
        bounds = file.metadata.row_group(group).column(0).statistics
        at = table["position"].to_pylist()
        assert (bounds.min % 2**64, bounds.max % 2**64) == (min(at), max(at))
    assert 0.9 * render.GROUP_BYTES < np.median(sizes) < 1.1 * render.GROUP_BYTES


def test_what_is_too_much_to_hold_is_written_in_sorted_runs(tmp_path: Path) -> None:
    rows = [dialogue(f"{n}", ("sft", "train", 0, 2), ("tokenizer", "train", 0, 1)) for n in range(90)]
    whole = read(tmp_path, run(tmp_path, [rows]), "sft:train")[0]
    [made] = run(tmp_path / "runs", [rows], run_bytes=6000)
    [parts] = read(tmp_path / "runs", [made], "sft:train")
    at = parts["position"].to_numpy()
    falls = int((at[1:] < at[:-1]).sum())
    assert 2 <= falls <= 30
    assert parts.sort_by("position").equals(whole)


def test_what_a_split_does_not_take_makes_no_file_and_no_task(tmp_path: Path) -> None:
    context = context_of(tmp_path, recipe_of())
    clean, allocated = cleaned(tmp_path, [[dialogue("a")], [dialogue("b", ("sft", "eval", 0, 1))]])
    tasks = render.plan(context, clean, allocated)
    assert [t.key for t in tasks] == ["r:one/1"]
    [made] = done(tasks, tmp_path)
    assert [f.path for f in made.files] == [f"rendered/r/sft/eval/one-1.{made.fingerprint[:8]}.parquet"]


@pytest.mark.parametrize(
    ("change", "same"),
    [
        ({"about": "x"}, True),
        ({"training": {"sft": {"epochs": 3}}}, True),
        ({"seed": 6}, False),
        ({"splits": {"sft": {}, "pretrain": {"form": "pair"}}}, False),
        ({"splits": {"sft": {"kinds": ["document", "dialogue"]}}}, False),
    ],
)
def test_fingerprints_hang_on_what_changes_the_bytes(tmp_path: Path, change: dict[str, Any], same: bool) -> None:
    clean, allocated = cleaned(tmp_path, [[dialogue("a", ("sft", "train", 0, 1))]])
    [before] = render.plan(context_of(tmp_path, recipe_of()), clean, allocated)
    [after] = render.plan(context_of(tmp_path, recipe_of(**change)), clean, allocated)
    assert (before.fingerprint == after.fingerprint) == same
