"""The life of a row: its upstream record, what each rule changed, and what became of it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from corpus.errors import WarehouseError
from corpus.why import Life, why
from tests.conftest import HUB_FILE, json_lines, make_build, query, recipe_of


def row_where(root: Path, condition: str) -> str:
    """The least row_id of the lineage that fits."""
    [(row_id,)] = query(root, f"SELECT min(row_id) FROM lineage WHERE {condition}")
    assert row_id, condition
    return str(row_id)


def life(built: tuple[Path, Path], condition: str) -> Life:
    return why(built[1], row_where(built[1], condition))


def test_a_row_in_splits(built: tuple[Path, Path]) -> None:
    found = life(built, "source = 'alpaca' AND list_contains(splits, 'sft/train')")
    assert [s for s, _, _, _ in found.splits if s != "tokenizer"] == ["sft"]
    assert all(text.startswith("Human: ") for _, _, text, _ in found.splits)
    assert found.dropped is None
    assert found.template == "human-assistant"
    assert found.raw is not None
    assert json.loads(found.raw)["instruction"] == found.row["messages"][0]["content"]


def test_a_duplicate_names_the_row_that_was_kept_and_its_cluster(built: tuple[Path, Path]) -> None:
    found = life(built, "reason = 'exact_duplicate' AND source = 'belle-0.5m'")
    assert found.dropped
    assert found.kept_instead
    assert found.dropped["kept_row_id"] == found.kept_instead["row_id"]
    assert (found.row["row_id"], "belle-0.5m", False) in found.cluster
    assert [kept for _, _, kept in found.cluster] == [True] + [False] * (len(found.cluster) - 1)
    assert found.splits == []


def test_what_each_rule_changed(built: tuple[Path, Path]) -> None:
    found = life(built, "source = 'belle-0.5m' AND list_contains(changed_by, 'line_ends')")
    changes = {(rule, place) for rule, place, _, _ in found.changes}
    assert changes == {("trim", "messages[0] (user)"), ("line_ends", "messages[1] (assistant)"), ("trim", "messages[1] (assistant)")}
    for rule, place, before, after in found.changes:
        assert before != after, (rule, place)


def test_a_leak_and_a_row_without_an_answer(built: tuple[Path, Path]) -> None:
    leak = life(built, "reason = 'eval_leak'")
    assert leak.kept_instead
    assert leak.kept_instead["source"] == "belle-benchmark"
    silent = life(built, "reason = 'no_answer'")
    assert silent.dropped
    assert (silent.dropped["stage"], silent.kept_instead, silent.cluster, silent.splits) == ("filter", None, [], [])


@pytest.mark.parametrize("source", ["alpaca", "awesome-chatgpt-prompts", "belle-0.5m", "belle-benchmark", "c4", "hh-rlhf"])
def test_the_record_is_read_again_from_every_kind_of_file(built: tuple[Path, Path], source: str) -> None:
    for (row_id,) in query(built[1], f"SELECT row_id FROM rows WHERE source = '{source}' ORDER BY record DESC LIMIT 3"):
        found = why(built[1], row_id)
        assert found.raw, found.raw_problem
        said = found.row["text"] or found.row["messages"][0]["content"]
        raw = found.raw
        if raw.lstrip().startswith("{"):
            raw = " ".join(str(v) for v in json.loads(raw).values())
        assert said.strip()[:20] in raw


def test_a_beginning_is_enough_and_must_be_clear(built: tuple[Path, Path]) -> None:
    full = row_where(built[1], "fate = 'kept'")
    assert why(built[1], full[:12]).row["row_id"] == full
    assert why(built[1], full.upper()).row["row_id"] == full
    assert why(built[1], full, recipe="small").row["row_id"] == full
    for wrong in ("", "12345", full + "00", "z" * 32, full[:8] + "%"):
        with pytest.raises(WarehouseError, match=r"is no row_id|no row begins with"):
            why(built[1], wrong)


def test_what_is_gone_or_changed_is_said_and_the_rest_is_told(built: tuple[Path, Path], tmp_path: Path) -> None:
    data, root = tmp_path / "data", tmp_path / "wh"
    shutil.copytree(built[0], data)
    make_build(data, root)
    row = row_where(root, f"file = '{HUB_FILE}' AND record = 7")
    path = data / HUB_FILE
    before = why(root, row)
    assert before.raw

    path.write_bytes(b'{"instruction": "an altogether other file"}\n' + path.read_bytes())
    changed = why(root, row)
    assert changed.raw is None or changed.raw == before.raw
    assert changed.raw is not None or "changed" in changed.raw_problem
    path.unlink()
    gone = why(root, row)
    assert gone.raw is None
    assert "not there any more" in gone.raw_problem
    assert (gone.row, gone.splits, gone.changes) == (before.row, before.splits, before.changes)


def test_rules_are_told_of_the_recipe_that_was_asked_for(data: Path, root: Path) -> None:
    make_build(data, root, recipe_of(name="plain", clean={"rules": []}))
    make_build(data, root, recipe_of(name="trimmed", clean={"rules": ["trim"]}))
    row = row_where(root, "source = 'belle-0.5m' AND changed_by <> []")
    assert {rule for rule, *_ in why(root, row).changes} == {"trim"}
    assert why(root, row, recipe="plain").changes == []


def test_a_users_own_source(tmp_path: Path) -> None:
    json_lines(tmp_path / "data/mine/a.jsonl", [{"q": "Why?", "a": " Because.", "extra": [1]}])
    own = {"name": "mine", "files": "mine/*.jsonl", "shape": "prompt_response", "fields": {"prompt": "q", "response": "a"}}
    make_build(tmp_path / "data", tmp_path / "wh", recipe_of(sources=[own], splits={"sft": {}}))
    found = why(tmp_path / "wh", row_where(tmp_path / "wh", "true"))
    assert found.raw == '{"q": "Why?", "a": " Because.", "extra": [1]}'
    assert json.loads(found.row["meta"]) == {"extra": [1]}
    assert found.changes == [("trim", "messages[1] (assistant)", " Because.", "Because.")]


def test_every_kind_of_change_is_told(tmp_path: Path) -> None:
    talk = [
        {"role": "user", "content": "Write it\u200b down.\r\n\n\nNo input"},
        {"role": "assistant", "content": "Itâ€™s done."},
        {"role": "assistant", "content": "１２ 隻貓。"},
        {"role": "user", "content": " "},
    ]
    json_lines(tmp_path / "data/mine/a.jsonl", [{"messages": talk}])
    own = {"name": "mine", "files": "mine/*.jsonl", "shape": "messages"}
    make_build(tmp_path / "data", tmp_path / "wh", recipe_of(sources=[own], splits={"sft": {}}, clean={"script": "simplified"}))
    found = why(tmp_path / "wh", row_where(tmp_path / "wh", "true"))
    told = {rule: (where, before, after) for rule, where, before, after in found.changes}
    assert told["mojibake"] == ("messages[1] (assistant)", "Itâ€™s done.", "It’s done.")
    assert told["script"] == ("messages[2] (assistant)", "12 隻貓。", "12 只猫。")
    assert told["placeholders"][1:] == ("Write it down.\n\n\nNo input", "Write it down.")
    assert told["alternation"][2] == "user: Write it down.\nassistant: It’s done.\n\n12 只猫。"
    [(changed_by,)] = query(tmp_path / "wh", "SELECT changed_by FROM clean")
    assert list(dict.fromkeys(rule for rule, *_ in found.changes)) == changed_by
    assert found.measures["turns"] == 2


def test_the_record_of_the_build_is_gone(data: Path, root: Path) -> None:
    make_build(data, root, recipe_of(sources=["c4"]))
    (root / "builds.jsonl").unlink()
    with pytest.raises(WarehouseError, match="run `corpus build` again"):
        why(root, row_where(root, "true"))


def test_a_near_duplicate_says_how_near_and_what_differs(near_built: tuple[Path, Path]) -> None:
    root = near_built[1]
    rows = query(
        root, "SELECT row_id, detail, kept_row_id, jaccard FROM dropped WHERE reason = 'near_duplicate' ORDER BY detail NULLS FIRST"
    )
    for row_id, detail, kept, jaccard in rows:
        found = why(root, row_id)
        assert found.dropped
        assert found.kept_instead
        assert (found.dropped["detail"], found.kept_instead["row_id"]) == (detail, kept)
        assert found.pair, "an equal row is told with the pair of the row that it is equal to"
        assert found.pair["jaccard"] == jaccard >= 0.8
        assert found.pair["prompts"] >= 0.5
        assert 0.8 <= found.pair["answers"] < 1
        assert [place for place, _ in found.differs] == ["messages[0] (user)", "messages[1] (assistant)"]
        assert "[-each-]{+every+}" in found.differs[1][1]
        assert (found.stands_for, found.nearly) == ([], [])
    kept = why(root, rows[0][2])
    assert {(r["row_id"], r["reason"], r["jaccard"]) for r in kept.stands_for} == {(r, "near_duplicate", j) for r, _, _, j in rows}
    assert (kept.dropped, kept.pair, kept.differs) == (None, None, [])


def test_neighbours_that_are_not_near_are_told_nearest_first(near_built: tuple[Path, Path]) -> None:
    root = near_built[1]
    pairs = query(root, "SELECT row_id, other_id, jaccard FROM pairs WHERE NOT accepted")
    assert pairs
    dropped = {r for (r,) in query(root, "SELECT row_id FROM dropped WHERE stage = 'dedup'")}
    for row_id in {r for a, b, _ in pairs for r in (a, b)} - dropped:
        expected = sorted(((-j, b if a == row_id else a) for a, b, j in pairs if row_id in (a, b)))[:5]
        assert [(-n["jaccard"], n["row_id"]) for n in why(root, row_id).nearly] == expected
