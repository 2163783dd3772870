"""Removal of near duplicates in the whole line: what is built again and what is not, what is remembered, and the guards."""

from __future__ import annotations

import json
import random
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from corpus import cli, pipeline
from corpus.errors import DedupLimitError
from corpus.recipe import Recipe
from corpus.stages import dedup
from tests.conftest import hashes, json_lines, make_build, query, recipe_of
from tests.stages.duplicates import clauses, edited

SPLITS = {"sft": {}, "pretrain": {}}
DECIDED = ["dedup", "dropped", "splits", "allocate"]


def texts(seed: int, count: int) -> list[str]:
    """Texts like no other."""
    rng = random.Random(seed)
    return ["".join(clauses(rng, 8)) for _ in range(count)]


def make_data(data: Path) -> Path:
    """Two sources of 120 dialogues, of which 25 of the second are near 25 of the first, and one of documents of one template."""
    rng = random.Random(5)
    one = [{"instruction": f"第{n}问：{t[:9]}？", "input": "", "output": t} for n, t in enumerate(texts(1, 120))]
    two = [{"instruction": f"第{n}问：{t[:9]}？", "input": "", "output": t} for n, t in enumerate(texts(2, 95), 200)]
    two += [{**row, "output": edited(rng, row["output"]) + "好"} for row in one[:25]]
    json_lines(data / "belle/train_0.5M_CN.json", one)
    (data / "alpaca").mkdir(parents=True, exist_ok=True)
    (data / "alpaca/alpaca_data.json").write_text(json.dumps(two, ensure_ascii=False), encoding="utf-8")
    template = "本页由机器生成，请勿当真；如有错误，请告诉我们，我们会在三天内改正，谢谢您的帮助。" * 3
    json_lines(data / "c4/en/part.jsonl", [{"text": f"{template}\n\n{t}", "url": "x"} for t in texts(3, 110)])
    return data


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """The data folder."""
    return make_data(tmp_path / "data")


def recipe(**changes: Any) -> Recipe:
    """A recipe over everything."""
    return recipe_of(**{"filter": [], "splits": SPLITS, **changes})


def limited(**limits: Any) -> Recipe:
    """The recipe with these guards."""
    return recipe(dedup={"limits": {"near_least": 50, **limits}})


def figures(outcome: pipeline.Outcome) -> dict[str, tuple[int, int]]:
    """By stage, how many partitions were built and how many reused."""
    found = {stage: (outcome.built[stage], outcome.unchanged[stage]) for stage in pipeline.STAGES}
    return {stage: n for stage, n in found.items() if stage in ("stock", "sketch", "dedup", "allocate")}


def test_near_rows_of_two_sources_go_and_a_template_stays(data: Path, root: Path) -> None:
    make_build(data, root, recipe())
    [(n,)] = query(root, "SELECT count(*) FROM dropped WHERE reason = 'near_duplicate'")
    assert n >= 15
    assert query(root, "SELECT DISTINCT source FROM clusters ORDER BY 1") == [("alpaca",), ("belle-0.5m",)]
    for row in query(root, "SELECT jaccard, kept_row_id FROM dropped WHERE stage = 'dedup'"):
        assert 0.8 <= row[0] <= 1
        assert query(root, f"SELECT count(*) FROM splits WHERE row_id = '{row[1]}'") == [(1,)], "the row that was kept is in a split"
    assert query(root, "SELECT count(*) FROM splits WHERE source = 'c4'") == [(110,)]
    assert "c4" in [path.name.partition(".")[0] for path in (root / "dedup/stock").iterdir()]


def test_two_workers_and_another_warehouse_write_the_same_bytes(data: Path, tmp_path: Path) -> None:
    for name, workers in (("a", 1), ("b", 2)):
        make_build(data, tmp_path / name, recipe(), workers=workers)
    assert hashes(tmp_path / "a") == hashes(tmp_path / "b")


def test_another_source_sketches_nothing_again_and_changes_nothing(data: Path, root: Path, tmp_path: Path) -> None:
    first = make_build(data, root, recipe())
    assert figures(first) == {"stock": (3, 0), "sketch": (3, 0), "dedup": (1, 0), "allocate": (1, 0)}
    sql = "SELECT row_id, stage, reason, kept_row_id, jaccard FROM dropped WHERE stage = 'dedup' AND source <> 'firefly' ORDER BY 1"
    before = query(root, sql)
    json_lines(
        data / "firefly/firefly-train-1.1M.jsonl", [{"kind": "X", "input": f"{n}", "target": t} for n, t in enumerate(texts(9, 130))]
    )
    second = make_build(data, root, recipe())
    assert figures(second) == {"stock": (1, 3), "sketch": (1, 3), "dedup": (1, 0), "allocate": (1, 0)}
    assert query(root, sql) == before
    make_build(data, tmp_path / "fresh", recipe())
    assert hashes(root) == hashes(tmp_path / "fresh"), "with what it remembers it writes what a fresh warehouse does"


def test_only_what_must_be_is_read_again(data: Path, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []
    real = dedup._Tables.read

    def read(self: Any, wanted: np.ndarray | None = None) -> Iterator[Any]:
        asked.append(int(wanted.sum()) if wanted is not None else -1)
        return real(self, wanted)

    monkeypatch.setattr(dedup._Tables, "read", read)
    make_build(data, root, recipe())
    assert len(asked) == 1
    assert 40 <= asked[0] <= 100
    json_lines(data / "firefly/firefly-train-1.1M.jsonl", [{"kind": "X", "input": f"{n}", "target": t} for n, t in enumerate(texts(9, 50))])
    make_build(data, root, recipe())
    assert sum(asked[1:]) <= 4, "nothing of the new source is like anything"
    lines = (data / "belle/train_0.5M_CN.json").read_text(encoding="utf-8").splitlines()
    again = json.loads(lines[-1])
    json_lines(data / "firefly/firefly-train-2M.jsonl", [{"kind": "X", "input": again["instruction"], "target": again["output"] + "啊"}])
    make_build(data, root, recipe())
    assert query(root, "SELECT count(*) FROM clusters WHERE source = 'firefly'") in ([(1,)], [(0,)])
    assert sum(asked[1:]) <= 10
    make_build(data, root, recipe(dedup={"answers": 0.9}))
    assert asked[-1] >= 40, "another setting judges everything anew"


def test_settings_redo_what_they_must(data: Path, root: Path) -> None:
    make_build(data, root, recipe())
    for settings, expected in (
        ({"answers": 0.9}, {"stock": (0, 3), "sketch": (0, 3), "dedup": (1, 0)}),
        ({"answers": 0.9, "threshold": 0.7}, {"stock": (0, 3), "sketch": (3, 0), "dedup": (1, 0)}),
        # With another share all sources are counted again; only where something else is stock then is there another sketch.
        ({"answers": 0.9, "threshold": 0.7, "template_share": 0.3}, {"stock": (3, 0), "sketch": (0, 3), "dedup": (0, 1)}),
        ({"answers": 0.9, "threshold": 0.7, "template_share": 0.3, "limits": {"component": 9999}},
         {"stock": (0, 3), "sketch": (0, 3), "dedup": (0, 1), "allocate": (0, 1)}),
        ({"answers": 0.9, "threshold": 0.7, "template_share": 1}, {"stock": (0, 0), "sketch": (3, 0), "dedup": (1, 0)}),
    ):  # fmt: skip
        found = figures(make_build(data, root, recipe(dedup=settings)))
        assert found.items() >= expected.items(), settings


def test_a_lost_memory_costs_time_only(data: Path, root: Path, tmp_path: Path) -> None:
    make_build(data, root, recipe())
    for path in (root / "dedup").rglob("judged.*"):
        path.write_bytes(path.read_bytes()[:-30])
    json_lines(data / "firefly/firefly-train-1.1M.jsonl", [{"kind": "X", "input": f"{n}", "target": t} for n, t in enumerate(texts(1, 60))])
    make_build(data, root, recipe())
    make_build(data, tmp_path / "fresh", recipe())
    assert hashes(root) == hashes(tmp_path / "fresh")


# --- guards


def test_a_source_that_loses_too_much_fails_and_goes_on_when_it_may(data: Path, root: Path) -> None:
    with pytest.raises(DedupLimitError) as error:
        make_build(data, root, limited(near_share=0.1))
    message = str(error.value)
    found = next(line for line in message.splitlines() if line.startswith(("alpaca", "belle")))
    assert "of 120 rows are near duplicates, more than 0.1 of them" in found
    assert message.count(" is near ") == 3
    assert error.value.exit_code == 2
    assert "most_near: 1" in message
    assert "c4: " not in message
    # What was found is kept: with another limit the build goes on from there.
    outcome = make_build(data, root, limited(near_share=0.9))
    assert figures(outcome) == {"stock": (0, 3), "sketch": (0, 3), "dedup": (0, 1), "allocate": (1, 0)}
    fresh = root.with_name("fresh")
    make_build(data, fresh, limited(near_share=0.9))
    assert hashes(root) == hashes(fresh)


def test_a_source_may_have_a_limit_of_its_own(data: Path, root: Path) -> None:
    loser = "belle-0.5m" if loses(data, root, "belle-0.5m") else "alpaca"
    for share, name, fails in ((1.0, loser, False), (0.5, loser, False), (0.05, loser, True), (1.0, "c4", True), (0.0, "c4", True)):
        own = recipe(sources=["*", {"name": name, "most_near": share}], dedup={"limits": {"near_share": 0.1, "near_least": 50}})
        if fails:
            with pytest.raises(DedupLimitError, match=loser):
                make_build(data, root, own)
        else:
            make_build(data, root, own)


def loses(data: Path, root: Path, source: str) -> bool:
    """Whether the source is the one that loses rows to near ones of the other."""
    make_build(data, root, recipe())
    counts = Counter(s for (s,) in query(root, "SELECT source FROM dropped WHERE reason = 'near_duplicate'"))
    assert max(counts.values()) > 12
    return counts.most_common(1)[0][0] == source


def test_sources_of_few_rows_are_not_guarded(data: Path, root: Path) -> None:
    make_build(data, root, limited(near_share=0.0, near_least=121))
    with pytest.raises(DedupLimitError):
        make_build(data, root, limited(near_share=0.0, near_least=120))


def test_a_component_that_is_too_large_fails_and_names_a_row(data: Path, root: Path) -> None:
    rng = random.Random(1)
    base = texts(77, 1)[0] * 2
    json_lines(data / "c4/en/chain.jsonl", [{"text": edited(rng, base) + "花" * n, "url": "x"} for n in range(9)])
    with pytest.raises(DedupLimitError) as error:
        make_build(data, root, limited(component=5))
    message = str(error.value)
    size = int(message.partition(" rows are joined")[0].splitlines()[-1])
    assert 6 <= size <= 9
    assert "dedup.limits.component = 5" in message
    outcome = make_build(data, root, limited(component=size))
    assert figures(outcome)["dedup"] == (0, 1)
    assert (
        f"the first of them is {query(root, 'SELECT cluster_id FROM clusters WHERE size = (SELECT max(size) FROM clusters)')[0][0]}"
        in message
    )


def test_the_command_says_so_and_exits_with_2(
    data: Path, root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import yaml

    path = tmp_path / "mine.yaml"
    text = {"name": "mine", "sources": ["*"], "splits": SPLITS, "dedup": {"limits": {"near_share": 0.05, "near_least": 50}}}
    path.write_text(yaml.safe_dump(text), encoding="utf-8")
    arguments = ["corpus", "build", "--recipe", str(path), "--data", str(data), "--warehouse", str(root), "--workers", "1", "--json"]
    monkeypatch.setattr(sys, "argv", arguments)
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code == 2
    said = capsys.readouterr()
    assert said.err.startswith("corpus: ")
    assert "Traceback" not in said.err
    assert "near duplicates, more than 0.05 of them" in said.err
    assert said.err.count(" is near ") == 3
    assert not (root / "corpus.duckdb").exists(), "what is over a limit never gets a catalog"
