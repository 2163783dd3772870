"""The line as a whole: determinism, what a plan says against what a build does, damage, and limits."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

from corpus import pipeline
from corpus.errors import DataError, RejectLimitError, WarehouseError
from corpus.executors.local import LocalExecutor
from corpus.recipe import Recipe, parse
from corpus.sources import registry
from corpus.stages import filter
from corpus.stages.compared import pieces
from corpus.warehouse.commit import TMP_MARK
from corpus.warehouse.inputs import InputIndex
from corpus.warehouse.manifest import Manifests, Partition
from tests.conftest import RECIPE, everything_below, hashes, instruction, json_lines, make_build, make_data, marks, query, recipe_of

Build = Callable[..., pipeline.Outcome]
HUB = "belle/train_0.5M_CN.json"
AFTER_LEAKS = {"dedup", "allocate"}
RENDERED = {"render", "shards", "cards"}
"""Made where another assignment reaches them."""
AFTER_FILTER = {"evaluation", "decontaminate", *AFTER_LEAKS}
AFTER_CLEAN = {"filter", "offer", "leaks", "stock", "sketch", *AFTER_FILTER}


@pytest.fixture
def copy(built: tuple[Path, Path], tmp_path: Path) -> tuple[Path, Path]:
    """(data folder, warehouse): a copy of the clean build that a test may change."""
    data, root = tmp_path / "data", tmp_path / "wh"
    shutil.copytree(built[0], data)
    make_twin(built[1], root)
    return data, root


def make_twin(warehouse: Path, root: Path) -> None:
    """Copies a warehouse."""
    shutil.copytree(warehouse, root)
    # The catalog of the copy still names the old place.
    (root / "corpus.duckdb").unlink()


# --- the same bytes


def test_two_workers_write_the_same_bytes(built: tuple[Path, Path], tmp_path: Path) -> None:
    data, root = built
    make_build(data, tmp_path / "wh", workers=2)
    assert hashes(tmp_path / "wh") == hashes(root)


def rows_without_file(root: Path, layer: str) -> list[dict[str, Any]]:
    """All rows of a layer but for the column `file`, in the order of row ids."""
    tables = [pq.read_table(p, partitioning=None).to_pylist() for p in (root / layer).rglob("*.parquet")]
    return sorted(({k: v for k, v in r.items() if k != "file"} for t in tables for r in t), key=lambda r: str(r["row_id"]))


def test_renamed_files_change_nothing_but_the_file_column(built: tuple[Path, Path], tmp_path: Path) -> None:
    data, root = make_data(tmp_path / "data"), tmp_path / "wh"
    # The two files of one source change places in the order of names.
    (data / HUB).rename(data / "hub")
    (data / "belle/train_0.5M_CN").rename(data / "zz")
    (data / "aa").mkdir()
    (data / "hub").rename(data / "aa/train_0.5M_CN.json")
    make_build(data, root)
    assert hashes(root, layers=["splits"]) == hashes(built[1], layers=["splits"])
    # What was judged is remembered by the fingerprints of files, in which their names are.
    decided = [Counter(v for k, v in hashes(w, layers=["dedup", "dropped"]).items() if "/judged." not in k) for w in (root, built[1])]
    assert decided[0] == decided[1]
    for layer in ("parsed", "clean"):
        assert rows_without_file(root, layer) == rows_without_file(built[1], layer)
    assert query(root, "SELECT count(*) > 0 FROM rows WHERE file = 'aa/train_0.5M_CN.json'") == [(True,)]


def test_one_file_under_two_names_gives_unique_and_stable_ids(data: Path, tmp_path: Path) -> None:
    found = []
    for number, names in enumerate([("belle/Belle_open_source_0.5M_copy.json", "x"), ("zz/train_0.5M_CN_2.json", "aa")]):
        twin = tmp_path / f"data{number}"
        shutil.copytree(data, twin)
        (twin / names[0]).parent.mkdir(exist_ok=True)
        shutil.copy(twin / HUB, twin / names[0])
        make_build(twin, tmp_path / f"wh{number}")
        found.append([i for (i,) in query(tmp_path / f"wh{number}", "SELECT row_id FROM rows ORDER BY 1")])
    assert found[0] == found[1]
    assert len(set(found[0])) == len(found[0])
    assert query(tmp_path / "wh0", "SELECT count(*) FROM rows WHERE file LIKE '%copy%'") == [(14,)]


def test_rows_keep_their_ids_and_splits_when_sources_and_files_are_added(copy: tuple[Path, Path]) -> None:
    data, root = copy
    sql = "SELECT row_id, list(split || '/' || part ORDER BY split) FROM assigned WHERE split <> 'tokenizer' GROUP BY 1"
    make_build(data, root)
    ids, before = set(query(root, "SELECT row_id FROM rows")), dict(query(root, sql))
    json_lines(data / "belle/Belle_open_source_0.5M.json", [instruction(f"全新的问题{i}", f"全新的答案{i}") for i in range(40)])
    json_lines(data / "firefly/firefly-train-1.1M.jsonl", [{"kind": "X", "input": f"另一个{i}", "target": f"好{i}"} for i in range(40)])
    make_build(data, root)
    after = dict(query(root, sql))
    assert ids < set(query(root, "SELECT row_id FROM rows"))
    # All but the tokenizer's split, which has a cap: more rows compete for it.
    assert {row: after.get(row) for row in before} == before
    assert len(after) == len(before) + 80


# --- plan and build


class Watch(pipeline.Progress):
    """Notes which partitions a build makes."""

    def __init__(self) -> None:
        self.made: set[tuple[str, str]] = set()

    def stage(self, name: str, tasks: Any) -> Any:
        self.made |= {(t.stage, t.key) for t in tasks}
        return super().stage(name, tasks)


def plan_and_build(data: Path, root: Path, recipe: Recipe | None = None) -> tuple[pipeline.Plan, set[tuple[str, str]]]:
    """Plans, builds, and holds one against the other; returns the plan and the partitions that were made."""
    recipe = recipe or recipe_of()
    before = everything_below(root)
    planned = pipeline.plan(recipe, data, root)
    assert everything_below(root) == before, "a plan writes nothing"
    old = marks(root)
    watch = Watch()
    pipeline.build(recipe, data, root, LocalExecutor(1), progress=watch)
    named = {(c.stage, c.key) for c in planned.changes}
    certain = {(c.stage, c.key) for c in planned.changes if c.certain}
    assert certain <= watch.made, "what a plan names as certain is made"
    # How many shards a split will have is known when it is rendered: a plan may name the split alone, or as many as there were.
    assert {*map(_split, watch.made)} <= {*map(_split, named)}, "what is made was named"
    assert sum(planned.unchanged.values()) + len({*map(_split, named)}) >= len({*map(_split, watch.made)})
    mine = {f.path for p in Manifests(root).all() if (p.stage, p.key) in watch.made for f in p.files}
    new = marks(root)
    assert {name for name in old if name in new and old[name] != new[name]} <= mine, "no other file is written"
    assert pipeline.plan(recipe, data, root).changes == []
    return planned, watch.made


def _split(made: tuple[str, str]) -> tuple[str, str]:
    stage, key = made
    return (stage, ":".join(key.split(":")[:2])) if stage == "shards" else made


def stages(made: set[tuple[str, str]]) -> set[str]:
    return {stage for stage, _ in made}


def splits(**changes: Any) -> dict[str, Any]:
    """The splits of the small recipe, some of them changed."""
    return {**yaml.safe_load(RECIPE)["splits"], **changes}


CHANGES: dict[str, tuple[dict[str, Any], set[str], str]] = {
    "filter.chars.max": ({"filter": [{"measure": "chars", "min": 2, "max": 500}]}, {"filter", *AFTER_FILTER}, "filter.chars.max is new"),
    "filter.chars.min": ({"filter": [{"measure": "chars", "min": 3}]}, {"filter", *AFTER_FILTER}, "filter.chars.min 2.0 → 3.0"),
    "clean.rules": ({"clean": {"rules": ["trim"]}}, {"clean", *AFTER_CLEAN}, "clean.rules"),
    "clean.script": ({"clean": {"script": "simplified"}}, {"clean", *AFTER_CLEAN}, "clean.script keep → simplified"),
    "dedup.exact": ({"dedup": {"exact": False, "near": False}}, AFTER_LEAKS, "dedup.exact True → False"),
    "dedup.near": ({"dedup": {"near": False}}, {"sketch", *AFTER_LEAKS}, "dedup.near True → False"),
    "dedup.threshold": ({"dedup": {"threshold": 0.7}}, {"sketch", *AFTER_LEAKS}, "dedup.threshold 0.8 → 0.7"),
    "dedup.unit": ({"dedup": {"unit": "char"}}, {"stock", "sketch", *AFTER_LEAKS}, "dedup.unit mixed → char"),
    "dedup.answers": ({"dedup": {"answers": 0.9}}, AFTER_LEAKS, "dedup.answers 0.8 → 0.9"),
    "dedup.template_share": ({"dedup": {"template_share": 0.5}}, {"stock"}, "dedup.share 0.02 → 0.5"),
    "dedup.limits": ({"dedup": {"limits": {"near_share": 0.9, "component": 70}}}, set(), ""),
    "key": ({"sources": ["*", {"name": "alpaca", "key": "answer"}]}, {"stock", "sketch", *AFTER_LEAKS}, "dedup.key whole → answer"),
    "most_near": ({"sources": ["*", {"name": "alpaca", "most_near": 0.9}]}, set(), ""),
    "decontaminate.enabled": ({"decontaminate": {"enabled": False}}, AFTER_FILTER - {"evaluation"}, "decontaminate.enabled True → False"),
    "decontaminate.near": ({"decontaminate": {"near": 0.9}}, {"leaks", "decontaminate", *AFTER_LEAKS}, "decontaminate.near 0.7 → 0.9"),
    "protect": ({"sources": ["*", {"name": "alpaca", "protect": True}]}, {"leaks", "offer", *AFTER_FILTER}, "protect with alpaca"),
    "seed": ({"seed": 8}, {"allocate"}, "seed 7 → 8"),
    "rows": ({"splits": splits(sft={"weight": 3, "eval": 0.2, "rows": 5})}, {"allocate"}, "splits.sft.rows None → 5"),
    "weight": ({"splits": splits(sft={"weight": 9, "eval": 0.2})}, {"allocate"}, "splits.sft.weight 3.0 → 9.0"),
    "eval": ({"splits": splits(sft={"weight": 3, "eval": 0.5})}, {"allocate"}, "splits.sft.eval 0.2 → 0.5"),
    "sources": ({"splits": splits(pretrain={"sources": {"c4": {"rows": 3}, "*": {}}})}, {"allocate"}, "splits.pretrain.sources.* is new"),
    "priority": ({"sources": ["*", {"name": "alpaca", "priority": 1}]}, AFTER_LEAKS, "priority.alpaca 100 → 1"),
    "limits.record_mb": (
        {"limits": {"record_mb": 1}},
        {"parse", "identify", "clean", *AFTER_CLEAN},
        "record_bytes 67108864 → 1048576",
    ),
    "limits.reject_share": ({"limits": {"reject_share": 0.9}}, set(), ""),
    "about": ({"about": "something else"}, set(), ""),
}


@pytest.mark.parametrize("name", CHANGES)
def test_a_changed_value_rebuilds_what_depends_on_it_and_the_plan_has_said_so(copy: tuple[Path, Path], name: str) -> None:
    change, expected, reason = CHANGES[name]
    planned, made = plan_and_build(*copy, recipe_of(**change))
    assert stages(made) - RENDERED == expected
    said = [c.why for c in planned.changes if c.stage == next((s for s in pipeline.STAGES if s in expected), None)]
    assert all(reason in why for why in said)
    assert bool(said) == bool(expected)
    told = bool(expected) and name != "limits.record_mb"
    assert ("cards" in stages(made)) == (told or name == "about"), "a card tells all settings that decide about rows"
    if not expected:
        assert stages(made) <= {"cards"}


def test_a_change_that_changes_no_assignment_renders_nothing(copy: tuple[Path, Path]) -> None:
    planned, made = plan_and_build(*copy, recipe_of(dedup={"exact": True}, decontaminate={"enabled": True}, clean={"script": "keep"}))
    assert planned.changes == []
    assert made == set()
    # A cap beyond what there is: the assignment is made anew and is the same.
    planned, made = plan_and_build(*copy, recipe_of(splits=splits(pretrain={"rows": 1_000_000})))
    assert stages(made) == {"allocate", "cards"}
    assert {c.stage for c in planned.changes if not c.certain} == {"render", "shards", "cards"}


def test_a_touched_file_rebuilds_nothing(copy: tuple[Path, Path]) -> None:
    data, root = copy
    for path in data.rglob("*"):
        os.utime(path, (1_700_000_000, 1_700_000_000))
    planned, made = plan_and_build(data, root)
    assert (planned.changes, made) == ([], set())


def test_a_changed_byte_rebuilds_its_partition_and_the_stages_over_all(copy: tuple[Path, Path]) -> None:
    data, root = copy
    path = data / "c4/en/part.jsonl"
    path.write_bytes(path.read_bytes().replace(b"Page 7", b"Pane 7"))
    planned, made = plan_and_build(data, root)
    keys = {key.removeprefix("small:").partition("/")[0] for stage, key in made if stage not in {*AFTER_CLEAN, "shards", "cards"}}
    assert keys == {"c4"}
    assert {key for stage, key in made if stage == "cards"} == {"small:pretrain", "small:tokenizer"}, "no other split has a row of it"
    assert stages(made) == {"parse", "clean", *AFTER_CLEAN, "offer", "render", "shards", "cards"}
    assert any("new" in c.why for c in planned.changes if c.stage == "parse")


def test_a_file_that_comes_first_and_holds_known_records_is_planned_for(copy: tuple[Path, Path]) -> None:
    """Identities are numbered in the order of contents: the new file may take the first number from one that was there."""
    data, root = copy
    first, old = min((hashlib.sha256(p.read_bytes()).hexdigest(), p) for p in (data / "belle").rglob("*0.5M*.json") if p.is_file())
    known = json.loads(old.read_text(encoding="utf-8").splitlines()[0])
    path = data / "belle/Belle_open_source_0.5M.json"
    for salt in range(1000):
        json_lines(path, [known, instruction(f"问题{salt}", "答案")])
        if hashlib.sha256(path.read_bytes()).hexdigest() < first:
            break
    _, made = plan_and_build(data, root)
    assert len({key for stage, key in made if stage == "clean"}) > 1, "a partition that was there is cleaned anew"
    shutil.rmtree(root)
    make_build(data, root)
    path.unlink()
    plan_and_build(data, root)


def test_removing_a_source_removes_its_files(copy: tuple[Path, Path]) -> None:
    data, root = copy
    shutil.rmtree(data / "c4")
    plan_and_build(data, root)
    assert not [name for name in hashes(root) if "/c4/" in name or "-c4-" in name]
    assert query(root, "SELECT count(*) FROM sources WHERE source = 'c4'") == [(0,)]


def test_what_is_said_of_all_sources_holds_for_each(data: Path, root: Path) -> None:
    said = "{name: '*', priority: 7, key: exact, protect: true, most_near: 0.3}"
    recipe = parse(f"name: r\nsources:\n  - {said}\n  - {{name: alpaca, key: answer}}\n", "my.yaml")
    found, _ = pipeline.context(recipe, data, InputIndex(root))
    others = set(found.sources) - {"alpaca"}
    assert others
    assert {name: found.keys[name] for name in found.sources} == {"alpaca": "answer"} | dict.fromkeys(others, "exact")
    assert found.protected == others
    assert found.most_near == dict.fromkeys(others, 0.3)
    assert {found.priority[name] for name in others} == {7}


def test_a_plan_makes_no_warehouse(data: Path, root: Path) -> None:
    planned = pipeline.plan(recipe_of(), data, root)
    assert not root.exists()
    assert {c.why for c in planned.changes} == {"new"}


# --- damage

DAMAGES: dict[str, Callable[[Path], Any]] = {
    "truncated": lambda path: path.write_bytes(path.read_bytes()[:-7]),
    "altered": lambda path: path.write_bytes(flip(path.read_bytes(), 40)),
    "deleted": lambda path: path.unlink(),
    "emptied": lambda path: path.write_bytes(b""),
}


def flip(data: bytes, at: int) -> bytes:
    return data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_file_of_any_layer_is_found_and_made_again(built: tuple[Path, Path], copy: tuple[Path, Path], damage: str) -> None:
    data, root = copy
    expected = hashes(built[1])
    layers = (
        "parsed",
        "rejects",
        "clean",
        "measures",
        "dropped/filter",
        "leaks/alpaca",
        "leaks/small",
        "sketches",
        "dedup",
        "dropped/decontaminate",
        "offered",
        "allocate",
        "rendered",
        "splits/small/sft/train",
        "splits/small/sft/README",
    )
    for layer in layers:
        DAMAGES[damage](root / min(name for name in expected if name.startswith(layer)))
    planned, made = plan_and_build(data, root)
    assert hashes(root) == expected
    assert all(c.why == "its file is missing or is not what the manifest says" and c.certain for c in planned.changes)
    assert stages(made) == {*pipeline.STAGES} - {"identify", "stock"}, "of so few rows nothing is stock, so that stage has no file"
    assert len(made) <= len(layers), "nothing but what was damaged"


def test_a_damaged_file_is_found_when_its_times_say_nothing(built: tuple[Path, Path], copy: tuple[Path, Path]) -> None:
    """With --verify, files are hashed although they look as they did."""
    data, root = copy
    make_build(data, root)
    path = next((root / "splits").rglob("*.parquet"))
    path.write_bytes(flip(path.read_bytes(), 40))
    stat = path.stat()
    known = json.loads((root / "verified.json").read_bytes())
    name = path.relative_to(root).as_posix()
    known[name][:4] = [stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns, stat.st_ino]
    (root / "verified.json").write_text(json.dumps(known), encoding="utf-8")
    assert pipeline.plan(recipe_of(), data, root).changes == []
    assert [c.stage for c in pipeline.plan(recipe_of(), data, root, verify=True).changes] == ["shards"]
    make_build(data, root, verify=True)
    assert hashes(root) == hashes(built[1])


@pytest.mark.parametrize("damage", ["torn", "altered", "deleted", "garbage"])
def test_a_damaged_manifest_costs_its_partitions(built: tuple[Path, Path], copy: tuple[Path, Path], damage: str) -> None:
    data, root = copy
    manifests = list((root / "manifests").iterdir())
    for path in manifests:
        content = path.read_bytes()
        changed = {"torn": content[:-9], "altered": flip(content, 60), "deleted": None, "garbage": b"\x00\xff{}\n" + content[:-1]}[damage]
        path.unlink()
        if changed is not None:
            path.write_bytes(changed)
    _, made = plan_and_build(data, root)
    assert hashes(root) == hashes(built[1])
    partitions = sum(1 for _ in Manifests(root).all())
    assert len(made) == {"torn": len(manifests), "altered": len(manifests), "deleted": partitions, "garbage": 0}[damage], "one line of each"


@pytest.mark.parametrize("content", [None, b"", b"{", b"[]", b'{"x": 1, "parsed": {}}', b"\xff\xfe"])
def test_damaged_caches_cost_time_only(built: tuple[Path, Path], copy: tuple[Path, Path], content: bytes | None) -> None:
    data, root = copy
    for name in ("verified.json", "inputs.json"):
        if content is None:
            (root / name).unlink()
        else:
            (root / name).write_bytes(content)
    planned, made = plan_and_build(data, root)
    assert (planned.changes, made) == ([], set())
    assert hashes(root) == hashes(built[1])
    json.loads((root / "verified.json").read_bytes())


def test_a_cache_of_the_wrong_shape_is_no_cache(copy: tuple[Path, Path]) -> None:
    data, root = copy
    make_build(data, root)
    known = json.loads((root / "inputs.json").read_bytes())
    broken = {k: [v[0], {}] for k, v in known.items()}
    (root / "inputs.json").write_text(json.dumps(broken), encoding="utf-8")
    assert pipeline.plan(recipe_of(), data, root).changes == []


@pytest.mark.parametrize("content", [b'{"a": 3}', b"[1, 2", b"3", b"null"])
def test_what_is_no_record_of_a_build_is_made_again(built: tuple[Path, Path], copy: tuple[Path, Path], content: bytes) -> None:
    data, root = copy
    for path in (root / "builds.jsonl", *(root / "builds").iterdir()):
        path.write_bytes(content)
    planned, made = plan_and_build(data, root)
    assert (planned.changes, made) == ([], set())
    assert hashes(root) == hashes(built[1])


def test_leftovers_are_swept_even_when_nothing_has_changed(copy: tuple[Path, Path]) -> None:
    data, root = copy
    make_build(data, root)
    before = hashes(root)
    left = [
        root / f"splits/small/sft/train-x.parquet{TMP_MARK}99", root / f"manifests/x.jsonl{TMP_MARK}99", root / f"inputs.json{TMP_MARK}99",
        root / f"corpus.duckdb{TMP_MARK}99", root / ".spill-abc/duckdb_temp.tmp", root / "parsed/nobody/orphan.0123abcd.parquet",
        root / "splits/small/sft/train-gone.parquet",
    ]  # fmt: skip
    for path in left:
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"left")
    assert not make_build(data, root).changed
    assert [p for p in left if p.exists()] == []
    assert hashes(root) == before
    assert not (root / "parsed/nobody").exists()


def test_what_killed_builds_spilled_is_gone_before_the_next_needs_the_space(copy: tuple[Path, Path]) -> None:
    data, root = copy
    (root / ".spill-abc").mkdir()
    (root / ".spill-abc" / "00000.sets").write_bytes(b"left")
    shutil.rmtree(data)
    with pytest.raises(DataError):
        make_build(data, root)
    assert not (root / ".spill-abc").exists()


@pytest.mark.parametrize("damage", ["torn", "no UTF-8"])
def test_rows_that_are_not_as_they_were_written_are_not_compared(built: tuple[Path, Path], tmp_path: Path, damage: str) -> None:
    path = next((built[1] / "clean").rglob("*.parquet"))
    if damage == "torn":
        (tmp_path / "rows.parquet").write_bytes(path.read_bytes()[:-20])
    else:
        table = pq.read_table(path, partitioning=None)
        ends = pa.py_buffer(np.arange(table.num_rows + 1, dtype=np.int32))
        texts = pa.StringArray.from_buffers(table.num_rows, ends, pa.py_buffer(b"\xf0" * table.num_rows))
        pq.write_table(table.set_column(table.schema.get_field_index("text"), "text", texts), tmp_path / "rows.parquet")
    assert list(pieces(path, "whole"))
    with pytest.raises(WarehouseError, match=r"rows\.parquet: is not as it was written: .*; build again with --verify"):
        list(pieces(tmp_path / "rows.parquet", "whole"))


def test_what_a_user_puts_into_the_warehouse_stays(copy: tuple[Path, Path]) -> None:
    data, root = copy
    own = [
        root / "clean/thesis.txt", root / "clean/belle/notes.parquet", root / "splits/old/model.bin", root / "splits/small/sft/NOTES.md",
        root / "splits/small/extra.parquet", root / "mine/x.parquet",
    ]  # fmt: skip
    for path in own:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"mine")
    (data / "belle/train_0.5M_CN.json").unlink()  # something to sweep
    make_build(data, root)
    assert [p for p in own if p.read_bytes() != b"mine"] == []


def test_a_build_does_not_read_what_a_build_wrote(tmp_path: Path, data: Path) -> None:
    inside = tmp_path / "inside"
    shutil.copytree(data, inside)
    rows = make_build(inside, inside / "wh").build.figures["totals"]
    again = make_build(inside, inside / "wh")
    assert (again.changed, again.unclaimed) == (False, [])
    assert make_build(inside, tmp_path / "other").build.figures["totals"] == rows
    with pytest.raises(DataError, match="is the warehouse itself"):
        make_build(inside, inside)


def test_a_moved_data_folder_is_remembered(copy: tuple[Path, Path], tmp_path: Path) -> None:
    data, root = copy
    make_build(data, root)
    data.rename(tmp_path / "elsewhere")
    outcome = make_build(tmp_path / "elsewhere", root)
    assert not outcome.built
    assert query(root, "SELECT data FROM builds")[-1] == (str(tmp_path / "elsewhere"),)


# --- what cannot be built


def test_nothing_to_build_is_said(tmp_path: Path) -> None:
    for folder in (tmp_path / "missing", tmp_path / "empty"):
        if folder.name == "empty":
            folder.mkdir()
        with pytest.raises(DataError, match=re.escape(str(folder))):
            make_build(folder, tmp_path / "wh")


def test_a_tokenizer_that_cannot_be_read_stops_a_build_before_it_begins(data: Path, root: Path, tmp_path: Path) -> None:
    """Lengths are counted near the end: it was said after hours of cleaning and comparing."""
    for content, said in ((None, "there is no file"), ("[]", "is no tokenizer")):
        path = tmp_path / "tokenizer.json"
        if content is not None:
            path.write_text(content, encoding="utf-8")
        with pytest.raises(DataError, match=said):
            make_build(data, root, recipe_of(tokenizer=str(path)))
        assert not (root / "parsed").exists()


def test_a_named_source_without_files_is_an_error_where_the_recipe_is_strict(data: Path, root: Path) -> None:
    with pytest.raises(
        DataError, match=r"nothing found for medqa, imdb, and the recipe is strict[^\n]*\n  medqa: .+\n  imdb: corpus fetch"
    ):
        make_build(data, root, recipe_of(sources=["alpaca", "medqa", "imdb"], strict=True))


def test_named_sources_without_files_are_listed_with_the_way_to_get_them(data: Path, root: Path) -> None:
    own = {"name": "faq", "files": ["faq/*.jsonl"]}
    recipe = recipe_of(sources=["alpaca", "imdb", "duie", own])
    ways = {
        "imdb": "corpus fetch imdb",
        "duie": f"{registry()['duie'].obtain} ({registry()['duie'].address})",
        "faq": "no file below the data folder matches faq/*.jsonl",
    }
    context, _ = pipeline.context(recipe, data, InputIndex(root))
    assert context.missing == ways
    assert set(context.sources) == {"alpaca"}
    assert pipeline.plan(recipe, data, root).missing == ways
    outcome = make_build(data, root, recipe)
    assert outcome.build.missing == ways
    assert json.loads((root / "builds/small.json").read_bytes())["missing"] == ways
    assert not make_build(data, root, recipe).changed
    # A source that is found the next time is not missing any more.
    json_lines(data / "faq/a.jsonl", [{"prompt": "Where?", "response": "Here."}])
    assert set(make_build(data, root, recipe).build.missing) == {"imdb", "duie"}


def test_a_source_can_be_taken_in_part(data: Path, root: Path) -> None:
    json_lines(
        data / "hh_rlhf/helpful-base/train.jsonl.gz",
        [{"chosen": "\n\nHuman: a\n\nAssistant: b", "rejected": "\n\nHuman: a\n\nAssistant: c"}],
    )
    index = InputIndex(root)

    def files(**more: Any) -> set[str]:
        context, unclaimed = pipeline.context(recipe_of(sources=["alpaca", {"name": "hh-rlhf", **more}]), data, index)
        assert not any("hh_rlhf" in f for f in unclaimed), "what is left out belongs to the source all the same"
        return {f.name.split("/")[1] for f in context.files if f.source.name == "hh-rlhf"}

    assert files() == {"harmless-base", "helpful-base"}
    assert files(subsets="harmless-base") == {"harmless-base"}
    missing = pipeline.context(recipe_of(sources=["alpaca", {"name": "hh-rlhf", "subsets": ["helpful-online"]}]), data, index)[0].missing
    assert set(missing) == {"hh-rlhf"}


def test_only_rows_of_the_named_sources_are_thinned(data: Path, root: Path) -> None:
    thin = {"rule": "short-answers", "below": {1000: 0.0}, "sources": ["alpaca"]}
    make_build(data, root, recipe_of(sources=["alpaca", "belle-0.5m"], splits={"sft": {"thin": thin}}))
    assert query(root, "SELECT DISTINCT source FROM dropped WHERE reason = 'thinned'") == [("alpaca",)]
    assert query(root, "SELECT DISTINCT source FROM splits") == [("belle-0.5m",)]


def test_the_star_misses_nothing(data: Path, root: Path) -> None:
    context, _ = pipeline.context(recipe_of(sources=["*"]), data, InputIndex(root))
    assert context.missing == {}


def test_terms_that_do_not_allow_commercial_use_keep_a_source_out(data: Path, root: Path) -> None:
    recipe = recipe_of(license="commercial")
    make_build(data, root, recipe)
    barred = pipeline.context(recipe, data, InputIndex(root))[0].barred
    assert {"belle-0.5m", "alpaca"} <= set(barred)
    assert "hh-rlhf" not in barred
    told = query(
        root, "SELECT source, count(*), count(DISTINCT rule || detail) FROM dropped WHERE reason = 'license' GROUP BY 1 ORDER BY 1"
    )
    rows = dict(query(root, "SELECT source, count(*) FROM rows GROUP BY 1"))
    assert told == [(name, rows[name], 1) for name in sorted(barred)]
    assert query(root, "SELECT DISTINCT detail FROM dropped WHERE reason = 'license' AND source = 'alpaca'") == [(barred["alpaca"],)]
    assert query(root, f"SELECT count(*) FROM splits WHERE source IN {tuple(barred)}") == [(0,)]


def test_what_a_recipe_says_of_terms_overrules_them(data: Path, root: Path) -> None:
    sources = [{"name": "alpaca", "commercial": True}, {"name": "hh-rlhf", "commercial": False}, "c4"]
    assert set(pipeline.context(recipe_of(sources=sources, license="commercial"), data, InputIndex(root))[0].barred) == {"hh-rlhf"}
    assert pipeline.context(recipe_of(sources=sources), data, InputIndex(root))[0].barred == {}


def test_a_copy_with_other_terms_is_kept(data: Path, root: Path) -> None:
    """Barred rows go before duplicates are looked for, whatever their priority."""
    same = {"prompt": "请用一句话解释第5个成语的意思。", "response": "这个成语的意思是第5种情形,常用来形容人。"}
    json_lines(data / "mine/a.jsonl", [same])
    own = {"name": "mine", "files": ["mine/*.jsonl"], "license": "CC BY 4.0", "priority": 900}
    make_build(data, root, recipe_of(sources=["belle-0.5m", own], license="commercial"))
    assert query(root, "SELECT count(*) FROM dropped WHERE source = 'mine' AND reason <> 'not_asked'") == [(0,)]


def test_only_barred_sources_are_filtered_anew(data: Path, root: Path) -> None:
    index = InputIndex(root)

    def fingerprints(recipe: Recipe) -> dict[str, str]:
        context, _ = pipeline.context(recipe, data, index)
        cleaned = [Partition("clean", f"{name}/0", "f" * 32, {}) for name in context.sources]
        return {t.key: t.fingerprint for t in filter.plan(context, cleaned)}

    before, after = fingerprints(recipe_of()), fingerprints(recipe_of(license="commercial"))
    changed = {key.partition("/")[0] for key in before if before[key] != after[key]}
    assert changed == set(pipeline.context(recipe_of(license="commercial"), data, index)[0].barred)


def test_a_source_of_ones_own_in_three_lines(tmp_path: Path) -> None:
    json_lines(tmp_path / "data/mine/a.jsonl", [{"frage": f"Q{i}", "antwort": f"A{i}"} for i in range(5)])
    text = """
name: own
sources:
  - name: my-chats
    files: "mine/*.jsonl"
    shape: prompt_response
    fields: {prompt: frage, response: antwort}
"""
    make_build(tmp_path / "data", tmp_path / "wh", parse(text, "own.yaml"))
    assert query(tmp_path / "wh", "SELECT count(*), any_value(source), any_value(license) FROM splits") == [(5, "my-chats", "none stated")]


# --- reject limits


def belle(bad: int, good: int) -> list[dict[str, str]]:
    return [{"wrong": f"{i}"} for i in range(bad)] + [instruction(f"问题{i}", f"答案{i}") for i in range(good)]


@pytest.mark.parametrize(
    ("bad", "good", "limits", "passes"),
    [
        (3, 17, {}, False),
        (2, 18, {}, True),  # a tenth is not more than a tenth
        (3, 17, {"reject_share": 0.15}, True),
        (1, 19, {"reject_share": 0.0}, False),
        (8, 1, {}, True),  # fewer records than reject_least
        (8, 1, {"reject_least": 9}, False),
    ],
)
def test_a_file_that_loses_too_much_fails_the_build(tmp_path: Path, bad: int, good: int, limits: dict[str, Any], passes: bool) -> None:
    json_lines(tmp_path / "data" / HUB, belle(bad, good))
    recipe = recipe_of(sources=["belle-0.5m"], limits=limits)
    if passes:
        make_build(tmp_path / "data", tmp_path / "wh", recipe)
        assert query(tmp_path / "wh", "SELECT count(*) FROM rejects") == [(bad,)]
        return
    with pytest.raises(RejectLimitError) as caught:
        make_build(tmp_path / "data", tmp_path / "wh", recipe)
    message = str(caught.value)
    assert f"belle-0.5m: {HUB}: {bad} of {bad + good} records rejected (shape {bad})" in message
    assert "record 0: shape: fields instruction are missing; found wrong" in message
    assert caught.value.exit_code == 2
    # What was read is kept: with a higher limit the build goes on from there.
    outcome = make_build(tmp_path / "data", tmp_path / "wh", recipe_of(sources=["belle-0.5m"], limits={"reject_share": 1.0}))
    assert outcome.unchanged["parse"] == 1


def test_the_limit_counts_a_source_as_a_whole_too(tmp_path: Path) -> None:
    for number in range(3):
        json_lines(tmp_path / f"data/{number}" / HUB, belle(2, 3 + number))
    with pytest.raises(RejectLimitError, match=r"belle-0.5m, all its files together: 6 of 18 records rejected"):
        make_build(tmp_path / "data", tmp_path / "wh", recipe_of(sources=["belle-0.5m"]))
