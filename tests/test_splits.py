"""Splits are disjoint: whatever is planted across them, in whatever disguise, and whatever is added later."""

from __future__ import annotations

import json
import random
import sys
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from corpus import cli, pipeline
from corpus.errors import AllocationError
from corpus.recipe import Recipe, parse
from tests.conftest import instruction, json_lines, make_build, pair, query
from tests.stages.duplicates import clauses, edited

SPLITS = """
splits:
  tokenizer: {shared: true, kinds: [document, dialogue, prompt]}
  pretrain: {shared: true, kinds: [document, dialogue], eval: 0.1}
  sft: {weight: 3, eval: 0.1}
  ppo: {}
  rm: {kinds: [preference, dialogue], eval: 0.1, upstream: [train, test], pairs: {near: 1}}
  dpo: {eval: 0.1, upstream: [train, test]}
  test: {}
"""
HEAD = """
name: planted
seed: 3
sources: ["*"]
filter: []
"""
WIDTHS = {ord(c): ord(c) + 0xFEE0 for c in "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789?!"}


def recipe(more: str = "dedup: {exact: false, near: false}\ndecontaminate: {enabled: false}\n", splits: str = SPLITS) -> Recipe:
    """The recipe, by default with nothing before allocation that could take a duplicate away."""
    return parse(HEAD + more + splits, "planted.yaml")


def disguised(question: str) -> list[str]:
    """One question in several forms."""
    return [
        question,
        question.upper(),
        f" {question} ",
        question.replace(" ", "  "),
        question.translate(WIDTHS),
        question.rstrip("?"),
        f"{question}\n",
    ]


def planted(data: Path) -> Path:
    """Sixty questions, each in seven disguises over seven data sets of all kinds, and dialogues that part after their first answer."""
    rng = random.Random(9)
    questions = [f"What would {rng.choice(['Anna', 'Bo', 'Chen'])} do with {n} of the {rng.choice(['maps', 'keys'])}?" for n in range(60)]
    sets: dict[str, list[Any]] = defaultdict(list)
    for n, question in enumerate(questions):
        forms = disguised(question)
        rng.shuffle(forms)
        sets["belle/train_0.5M_CN.json"].append(instruction(forms[0], f"An answer of its own, number {n}."))
        sets["belle/train_2M_CN.json"].append(instruction(forms[1], f"Quite another answer, number {n}."))
        sets["hh-rlhf/helpful-base/train.jsonl.gz"].append(pair(forms[2], f"Good answer {n}.", f"Bad one {n}, really."))
        talk = [(forms[3], f"First answer {n}."), (f"And then, {n}?", f"Second answer {n}.")]
        sets["belle/train_3.5M_CN.json"] += [turns(talk, f"a{n}"), turns([talk[0], (f"Or rather {n} times?", "Yes.")], f"b{n}")]
        sets["InstructionWild/user_1.jsonl"].append({"instruction": forms[4]})
        if n % 10 == 0:
            sets["hh-rlhf/helpful-base/test.jsonl.gz"].append(pair(forms[5], f"Held-out answer {n}.", f"Worse one {n}, really."))
    for name, records in sets.items():
        json_lines(data / name, records)
    return data


def turns(talk: Iterable[tuple[str, str]], name: str) -> dict[str, Any]:
    """A record of BELLE's conversations."""
    said = [{"from": who, "value": text} for question, answer in talk for who, text in (("human", question), ("assistant", answer))]
    return {"id": name, "conversations": said}


def homes(root: Path) -> dict[str, set[tuple[str, str]]]:
    """Where every row is."""
    found: dict[str, set[tuple[str, str]]] = defaultdict(set)
    for row_id, split, part in query(root, "SELECT row_id, split, part FROM assigned"):
        found[row_id].add((split, part))
    return found


def bare(text: str) -> str:
    """A question without its disguise, in a way of this test's own."""
    import unicodedata

    return "".join(c for c in unicodedata.normalize("NFKC", text).lower() if c.isalnum())


def check_questions(root: Path) -> dict[str, set[str]]:
    """No first question is in two places; returns the places of each."""
    places: dict[str, set[str]] = defaultdict(set)
    shared: dict[str, bool] = defaultdict(bool)
    rows = query(root, "SELECT p.place, c.messages FROM places AS p JOIN clean AS c USING (row_id)")
    assert rows
    for place, messages in rows:
        question = bare(messages[0]["content"])
        if place is None:
            shared[question] = True
        else:
            places[question].add(place)
    for question, found in places.items():
        assert len(found) == 1, (question, found)
        assert not shared[question] or next(iter(found)).endswith("train"), (question, found)
    return places


def test_no_disguise_brings_a_question_into_two_places(tmp_path: Path) -> None:
    root = tmp_path / "w"
    make_build(planted(tmp_path / "data"), root, recipe())
    places = check_questions(root)
    assert {p for found in places.values() for p in found} >= {"sft, train", "rm, train", "ppo, train", "rm, eval"} - {"rm, eval"}
    # Of the questions that are held out upstream nothing is trained on.
    held = query(root, "SELECT DISTINCT c.messages FROM clean AS c WHERE c.upstream_split = 'test'")
    assert len(held) == 6
    for (messages,) in held:
        assert all(p.endswith("eval") for p in places[bare(messages[0]["content"])])
    [(kept,)] = query(root, "SELECT count(DISTINCT row_id) FROM assigned")
    [(lost,)] = query(root, "SELECT count(*) FROM dropped WHERE reason <> 'other_split'")
    assert kept > 150
    assert lost == 0


def test_a_data_set_that_is_added_later_moves_nothing(tmp_path: Path) -> None:
    data, root = planted(tmp_path / "data"), tmp_path / "w"
    late = {name: (data / name).read_bytes() for name in ("belle/train_2M_CN.json", "InstructionWild/user_1.jsonl")}
    for name in late:
        (data / name).unlink()
    make_build(data, root, recipe())
    before = homes(root)
    for name, content in late.items():
        (data / name).parent.mkdir(parents=True, exist_ok=True)
        (data / name).write_bytes(content)
    make_build(data, root, recipe())
    after = homes(root)
    assert len(after) > len(before)
    exclusive = {row: {h for h in found if h[0] not in ("tokenizer", "pretrain")} for row, found in before.items()}
    for row, found in exclusive.items():
        assert {h for h in after.get(row, set()) if h[0] not in ("tokenizer", "pretrain")} <= found
    check_questions(root)


def test_near_duplicates_of_a_kept_row_are_never_in_another_split(tmp_path: Path) -> None:
    """Chains of edits: the middle of a chain goes, and its two ends are one cluster, which stays together."""
    rng = random.Random(1)
    rows = []
    for n in range(25):
        text = "".join(clauses(rng, 14))
        for step in range(6):
            rows.append(instruction(f"{step}：请续写第{n}段：{text[:40]}", text))
            text = edited(rng, edited(rng, text))
    json_lines(tmp_path / "data/belle/train_0.5M_CN.json", rows)
    root = tmp_path / "w"
    make_build(tmp_path / "data", root, recipe("dedup: {prompts: 0.3, answers: 0.5, limits: {near_share: 1}}\n"))
    clusters = query(root, "SELECT cluster_id, count(*) FILTER (WHERE kept) FROM clusters GROUP BY 1")
    assert sum(kept > 1 for _, kept in clusters) >= 3, "some clusters keep more than one row"
    assert query(root, "SELECT cluster_id FROM clusters JOIN places USING (row_id) GROUP BY 1 HAVING count(DISTINCT place) > 1") == []
    assert query(root, "SELECT count(*) FROM dropped WHERE detail LIKE 'a near duplicate of it fell to %'") != [(0,)]


def test_a_split_that_is_to_be_exact_says_what_is_short(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    json_lines(tmp_path / "data/belle/train_0.5M_CN.json", [instruction(f"Question {n}?", f"Answer {n}.") for n in range(20)])
    wanted = "splits: {sft: {exact: true, sources: {belle-0.5m: {rows: 21}}}}\n"
    with pytest.raises(AllocationError, match=r"sft: belle-0\.5m: asked for 21 rows, there are 20"):
        make_build(tmp_path / "data", tmp_path / "w", recipe(splits=wanted))
    (tmp_path / "exact.yaml").write_text(HEAD + wanted, encoding="utf-8")
    args = [
        "corpus",
        "build",
        "--recipe",
        str(tmp_path / "exact.yaml"),
        "--data",
        str(tmp_path / "data"),
        "--warehouse",
        str(tmp_path / "w2"),
    ]
    monkeypatch.setattr(sys, "argv", args)
    with pytest.raises(SystemExit) as left:
        cli.main()
    assert left.value.code == 2
    assert "Traceback" not in capsys.readouterr().err
    make_build(tmp_path / "data", tmp_path / "w3", recipe(splits=wanted.replace("21", "20")))


def test_long_conversations_lose_their_oldest_turns(tmp_path: Path) -> None:
    talks = [turns([(f"Question {n}-{t}?", f"Answer {n}-{t}. " + "word " * 20) for t in range(8)], str(n)) for n in range(12)]
    talks += [turns([("Too long?", "x " * 400)], "long"), turns([("Hi there?", "Yes.")], "short")]
    json_lines(tmp_path / "data/belle/train_3.5M_CN.json", talks)
    root = tmp_path / "w"
    make_build(tmp_path / "data", root, recipe(splits="splits: {sft: {length: {chars: 500}}}\n"))
    rows = query(root, f"SELECT messages, text FROM '{root}/splits/planted/sft/train-*.parquet'")
    assert len(rows) == 13
    for messages, text in rows:
        assert len(text) <= 500
        assert messages[0]["role"] == "user"
        assert text.endswith("Yes.</s>") or "-7." in messages[-1]["content"]
    assert max(len(messages) for messages, _ in rows) >= 6, "no more is left out than must be"
    [(reason, detail)] = query(root, "SELECT reason, detail FROM dropped WHERE reason = 'too_long'")
    assert (reason, detail) == ("too_long", "sft: 832 characters without any turn before, at most 500")


def test_json_of_the_plan_knows_every_stage(tmp_path: Path) -> None:
    data = planted(tmp_path / "data")
    changes = pipeline.plan(recipe(), data, tmp_path / "w").changes
    assert {c.stage for c in changes} >= {"offer", "allocate", "render"}
    assert json.dumps([c.why for c in changes])
