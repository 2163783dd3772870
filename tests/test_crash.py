"""The crash matrix: a build that is killed with SIGKILL at any commit point, and run again, ends like one that was not.

Two builds are killed: one in an empty warehouse, and one that changes a warehouse (another recipe value, another file), which also
replaces and removes what was there. By default one point of every kind (stage, call, place) is tried at which the disk differs from the
point before, for some stages of two kinds alone; all points are, under the mark slow.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from corpus.pipeline import STAGES
from corpus.warehouse.commit import TMP_MARK
from corpus.warehouse.manifest import Manifests
from tests.conftest import hashes, instruction, json_lines, pair
from tests.crash_harness import Harness

RECIPE = """
name: crash
sources: ["*"]
splits: {tokenizer: {shared: true, kinds: [document, dialogue]}, pretrain: {}, sft: {weight: 2, eval: 0.3}, ppo: {}, rm: {}}
"""
CHANGED = RECIPE + "filter: [{measure: chars, max: 60}]\n"
WHEN = (*STAGES, "the end")
WHOLE = ("parse", "dedup", "shards", "cards", "the end")
"""Stages of which every kind of point is tried: all ways to commit a file are among theirs."""
HALF = ("half-way write",)
"""What is tried of the others: half a line of a manifest, behind files without one. The mark slow tries all."""


def _data(root: Path) -> Path:
    # So many rows of one template that some of it is stock, and some rows that are near each other.
    numbers = [instruction(f"请把下面的数字写成中文，只写中文，不要写别的：{i}", f"数字{i}") for i in range(110)]
    numbers += [
        instruction("写一句话，说说春天的早上。", "春天的早上有雨，雨停了有鸟叫，鸟叫完了有人出门去看花" + "。啊" * (i % 3))
        for i in range(3)
    ]
    json_lines(root / "belle/train_0.5M_CN.json", [*numbers, numbers[0], instruction("没有回答的问题", ""), {"neither": "nor"}])
    json_lines(root / "belle/train_0.5M_CN/Belle_open_source_0.5M.json", [numbers[2], instruction("你好", "你好!" * 30)])
    json_lines(root / "c4/en/part.jsonl", [{"text": f"Page {i}. Two 两行."} for i in range(3)])
    json_lines(root / "hh_rlhf/harmless-base/train.jsonl.gz", [pair(f"Bread {i}?", "Knead.", "No.") for i in range(3)])
    return root


def state(root: Path) -> dict[str, Any]:
    """All files of the layers by hash, and the manifests as a set."""
    lines = {
        json.dumps([p.stage, p.key, p.fingerprint, [(f.table, f.path, f.rows, f.sha256) for f in p.files]]) for p in Manifests(root).all()
    }
    return {"files": hashes(root), "manifests": lines, "recipes": sorted(p.name for p in (root / "builds").iterdir())}


def orphans(root: Path) -> list[str]:
    """What a killed build may have left: temporary files and spill folders."""
    return [p.relative_to(root).as_posix() for p in root.rglob("*") if TMP_MARK in p.name or p.name.startswith(".spill-")]


@dataclass(frozen=True)
class Scenario:
    """A build to be killed: what is there before, its recipe, its data, how it ends, and its commit points."""

    before: Path | None
    recipe: str
    data: Path
    after: dict[str, Any]
    labels: list[str]


@dataclass(frozen=True)
class Matrix:
    """The harness and both scenarios."""

    harness: Harness
    scenarios: dict[str, Scenario]


@pytest.fixture(scope="module")
def matrix(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Matrix]:
    """Both builds, uninterrupted."""
    folder = tmp_path_factory.mktemp("crash")
    first, second = _data(folder / "data"), _data(folder / "data2")
    json_lines(second / "c4/en/part.jsonl", [{"text": "Another page."}])
    json_lines(
        second / "belle/train_0.5M_CN/Belle_open_source_0.5M.json",
        [instruction("请把下面的数字写成中文，只写中文，不要写别的：1", "数字1")] * 2,
    )
    shutil.rmtree(second / "hh_rlhf")
    with Harness() as harness:
        scenarios = {}
        status, labels = harness.run(RECIPE, first, folder / "base")
        assert status == 0
        scenarios["new"] = Scenario(None, RECIPE, first, state(folder / "base"), labels)
        shutil.copytree(folder / "base", folder / "changed")
        status, labels = harness.run(CHANGED, second, folder / "changed")
        assert status == 0
        status, _ = harness.run(CHANGED, second, folder / "fresh")
        assert status == 0
        assert state(folder / "fresh") == state(folder / "changed")
        scenarios["change"] = Scenario(folder / "base", CHANGED, second, state(folder / "changed"), labels)
        yield Matrix(harness, scenarios)


def kill_and_compare(matrix: Matrix, scenario: Scenario, at: int, root: Path) -> None:
    """Kills the build at point `at`, runs it again, and compares everything with the uninterrupted build."""
    shutil.rmtree(root, ignore_errors=True)
    if scenario.before:
        shutil.copytree(scenario.before, root)
    label = f"point {at}, {scenario.labels[at]}"
    status, _ = matrix.harness.run(scenario.recipe, scenario.data, root, at)
    assert status == -9, label
    status, _ = matrix.harness.run(scenario.recipe, scenario.data, root)
    assert status == 0, label
    found = state(root)
    for key, expected in scenario.after.items():
        assert found[key] == expected, f"{label}: {key}"
    assert orphans(root) == [], label


def differs(label: str) -> bool:
    """Whether what the next build finds differs here from the point before: it cannot tell fsync, and empty files and folders are nothing."""
    when, what = label.partition(": ")[2].split()[:2]
    if what in ("replace", "write", "unlink"):
        return when != "before"
    return what == "fsync" and "before fsync temporary" in label  # a new file that is not in its place yet


def kind(label: str) -> str:
    """A label without the place."""
    return label.partition(" of ")[0]


def at_stage(labels: list[str], stage: str) -> list[int]:
    """The points of a stage; what comes after the last stage is the end."""
    return [i for i, label in enumerate(labels) if label.partition(":")[0] == stage]


def test_points_cover_every_stage_and_the_end(matrix: Matrix) -> None:
    for name, scenario in matrix.scenarios.items():
        assert sum(len(at_stage(scenario.labels, stage)) for stage in WHEN) == len(scenario.labels)
        # Nothing here is held out, so there is nothing to leak; that stage commits its files as `filter` does.
        for stage in (stage for stage in STAGES if stage != "leaks"):
            kinds = {scenario.labels[i].partition(": ")[2] for i in at_stage(scenario.labels, stage)}
            assert {"half-way write file of manifests", "before fsync file of manifests"} <= kinds, (name, stage)
            assert any("replace" in k for k in kinds), (name, stage)
        sketched = {scenario.labels[i].partition(": ")[2] for i in at_stage(scenario.labels, "sketch")}
        assert {"before fsync temporary file of sketches.bands", "after replace file of sketches.bands"} <= sketched
        judged = [scenario.labels[i] for i in at_stage(scenario.labels, "dedup")]
        assert sum("after replace" in label for label in judged) == 4, "the ledger, clusters, pairs, and what was judged"
        assert any("unlink file of .spill" in label for label in judged), "sets of rows that met were written and judged"
    end = {label for label in matrix.scenarios["new"].labels if label.startswith("the end")}
    assert any("replace file of corpus.duckdb" in label for label in end)
    assert any("replace file of builds.jsonl" in label for label in end)
    end = {label for label in matrix.scenarios["change"].labels if label.startswith("the end")}
    assert any("unlink file of splits" in label for label in end), "the change removes a source, so the sweep removes files"


@pytest.mark.parametrize("stage", WHEN)
@pytest.mark.parametrize("name", ["new", "change"])
def test_a_build_killed_at_any_kind_of_point_goes_on(matrix: Matrix, name: str, stage: str, tmp_path: Path) -> None:
    scenario = matrix.scenarios[name]
    tried: set[str] = set()
    if name == "change" and stage != "the end":
        # Only the kinds of point that a new warehouse does not have; the mark slow tries all.
        tried = {kind(label) for label in matrix.scenarios["new"].labels}
    for at in at_stage(scenario.labels, stage):
        label = scenario.labels[at] if name == "new" and stage == "the end" else kind(scenario.labels[at])
        if differs(label) and label not in tried and (stage in WHOLE or any(what in label for what in HALF)):
            tried.add(label)
            kill_and_compare(matrix, scenario, at, tmp_path / "wh")


@pytest.mark.slow
@pytest.mark.parametrize("stage", WHEN)
@pytest.mark.parametrize("name", ["new", "change"])
def test_a_build_killed_at_any_point_goes_on(matrix: Matrix, name: str, stage: str, tmp_path: Path) -> None:
    scenario = matrix.scenarios[name]
    for at in at_stage(scenario.labels, stage):
        kill_and_compare(matrix, scenario, at, tmp_path / "wh")


def test_a_build_killed_twice_goes_on(matrix: Matrix, tmp_path: Path) -> None:
    scenario, root = matrix.scenarios["new"], tmp_path / "wh"
    for at in (len(scenario.labels) // 3, len(scenario.labels) // 4, 5):
        status, _ = matrix.harness.run(scenario.recipe, scenario.data, root, at)
        assert status == -9
    assert matrix.harness.run(scenario.recipe, scenario.data, root)[0] == 0
    assert state(root) == scenario.after
    assert orphans(root) == []
