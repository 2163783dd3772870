"""decontaminate: evaluation rows are gathered, training rows that leak them go to the ledger, and nothing is searched twice."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from corpus import pipeline
from corpus.schema import CLEAN
from corpus.stages.evaluation import gathered, options
from corpus.stages.texts import PLACES, RowTexts, batches
from corpus.warehouse.commit import write_table
from corpus.warehouse.manifest import Manifests
from tests.conftest import instruction, json_lines, make_build, query, recipe_of

QUESTION = "请说明为什么在高原上烧开的水温度比海边的低，并举出一个生活中的例子来。"
ANSWER = "高原气压较低，水的沸点随气压降低，所以不到一百度就沸腾了，煮饭因此常常夹生。"
ENGLISH = "Which river crosses the old border three times before it reaches the northern sea near the harbour?"
PLAIN = "昨天下午我们沿着河边走了很久，看见许多白鹭停在浅滩上，后来下起了小雨才慢慢回家。"


def make(root: Path, training: list[dict[str, str]], more: tuple[Any, ...] = ()) -> Path:
    """A data folder: an evaluation set of two questions and `more`, and a training set."""
    evaluation = [
        {"question": QUESTION, "std_answer": ANSWER, "class": "a"},
        {"question": ENGLISH, "std_answer": "", "class": "b"},
        {"question": "什么是变量？", "std_answer": "", "class": "b"},
    ]
    json_lines(root / "belle/eval_set.json", [*evaluation, *more])
    json_lines(root / "belle/train_0.5M_CN.json", training)
    return root


def ledger(root: Path) -> list[tuple[Any, ...]]:
    """(record, rule, detail, value, bound, jaccard, evaluation record) of every leak."""
    return query(
        root,
        "SELECT r.record, d.rule, d.detail, round(d.value, 3), d.bound, round(d.jaccard, 3), e.record FROM dropped AS d "
        "JOIN rows AS r ON d.row_id = r.row_id JOIN rows AS e ON d.kept_row_id = e.row_id WHERE reason = 'eval_leak' ORDER BY r.record",
    )


def test_every_rule_has_its_entry(tmp_path: Path, root: Path) -> None:
    training = [
        instruction(QUESTION, PLAIN),
        instruction(QUESTION.replace("例子来", "例子"), PLAIN),
        instruction("请续写。", f"{PLAIN}\n{QUESTION}\n{ANSWER}"),
        instruction(f"{PLAIN}{ENGLISH.upper()}", "不知道。"),
        instruction(PLAIN, "是的。"),
        instruction("什么是“变量”？", "是会变的量。"),
    ]
    make_build(make(tmp_path / "data", training), root)
    near = query(root, "SELECT jaccard FROM dropped WHERE rule = 'near_prompt'")
    assert [entry[:5] for entry in ledger(root)] == [
        (0, "same_prompt", "same prompt", None, None),
        (1, "near_prompt", "near prompt", None, None),
        (2, "containment", f"holds 100% of it: messages[1] {len(PLAIN) + 1}–{len(PLAIN) + len(QUESTION) + len(ANSWER) + 1}", 1.0, 0.55),
        (3, "containment", f"holds 100% of it: messages[0] {len(PLAIN)}–{len(PLAIN) + len(ENGLISH) - 1}", 1.0, 0.55),
        (5, "near_prompt", "near prompt", None, None),
    ]
    assert [entry[6] for entry in ledger(root)] == [0, 0, 0, 1, 2]
    assert all(0.7 <= jaccard <= 1 for (jaccard,) in near)
    assert query(root, "SELECT count(*) FROM dropped AS d JOIN clean AS c USING (row_id) WHERE c.upstream_split = 'test'") == [(0,)]


def test_rankings_of_texts_ask_nothing_and_are_not_the_same(tmp_path: Path, root: Path) -> None:
    """Evaluation rows without a prompt convict nobody by it."""
    data = tmp_path / "data"
    row = {"messages": [], "chosen": [{"role": "assistant", "content": "好用"}], "rejected": [{"role": "assistant", "content": "不好用"}]}
    json_lines(data / "one/a.jsonl", [{**row, "rejected": [{"role": "assistant", "content": f"不好{i}"}]} for i in range(3)])
    json_lines(data / "two/a.jsonl", [{**row, "chosen": [{"role": "assistant", "content": f"很好{i}"}]} for i in range(3)])
    sources = [
        {"name": "one", "files": "one/*.jsonl", "shape": "preference"},
        {"name": "two", "files": "two/*.jsonl", "shape": "preference", "protect": True},
    ]
    make_build(data, root, recipe_of(sources=sources))
    assert query(root, "SELECT count(DISTINCT prompt_key), count(*) FROM clean") == [(1, 6)]
    assert ledger(root) == []


def test_rows_of_a_protected_source_are_evaluation_rows(tmp_path: Path, root: Path) -> None:
    data = make(tmp_path / "data", [instruction(PLAIN, "是的。"), instruction(QUESTION + "？？", ANSWER)])
    json_lines(data / "mine/exam.jsonl", [instruction(PLAIN + "对吗", "我不知道。"), instruction(QUESTION, ANSWER)])
    sources = ["belle-0.5m", {"name": "exam", "files": "mine/*.jsonl", "shape": "alpaca", "protect": True}]
    make_build(data, root, recipe_of(sources=sources))
    assert [(entry[0], entry[1]) for entry in ledger(root)] == [(0, "near_prompt"), (1, "near_prompt")]
    assert query(root, "SELECT DISTINCT split, part FROM assigned WHERE source = 'exam'") == [("test", "test")]
    assert query(root, "SELECT count(*) FROM assigned WHERE source = 'exam'") == [(2,)]


def test_what_the_filter_dropped_is_no_evaluation_row_and_no_leak(tmp_path: Path, root: Path) -> None:
    data = make(tmp_path / "data", [instruction(QUESTION, ANSWER), instruction(ENGLISH, ".")])
    make_build(data, root, recipe_of(filter=[{"measure": "chars", "min": 60}]))
    held = pq.read_table(next((root / "leaks/small").glob("evaluation*")), partitioning=None)["question"].to_pylist()
    assert [entry[1] for entry in ledger(root)] == ["same_prompt"] * 2
    assert held == [[QUESTION], [ENGLISH]]


def test_an_evaluation_row_that_comes_twice_is_gathered_once(tmp_path: Path, root: Path) -> None:
    make_build(
        make(tmp_path / "data", [instruction(PLAIN, "是的。")], ({"question": QUESTION + " ", "std_answer": ANSWER, "class": "z"},)), root
    )
    [made] = [p for p in Manifests(root).all() if p.stage == "evaluation"]
    assert made.stats["items"] == 3


def test_only_what_changed_is_searched_again(tmp_path: Path, root: Path) -> None:
    data = make(tmp_path / "data", [instruction(QUESTION, PLAIN)])
    json_lines(data / "alpaca/alpaca_data.json", [])
    (data / "alpaca/alpaca_data.json").write_text(json.dumps([instruction(ENGLISH, "The Elbe.")]), encoding="utf-8")
    make_build(data, root)
    json_lines(data / "belle/train_0.5M_CN.json", [instruction(QUESTION, PLAIN), instruction(PLAIN, "是的。")])
    planned = {c.key.partition("/")[0]: c.certain for c in pipeline.plan(recipe_of(), data, root).changes if c.stage == "leaks"}
    assert planned == {"belle-0.5m": True, "alpaca": False, "belle-benchmark": False}
    assert make_build(data, root).built["leaks"] == 1
    json_lines(data / "belle/eval_set.json", [{"question": ENGLISH, "std_answer": "", "class": "b"}])
    assert make_build(data, root).built["leaks"] == 3
    assert [entry[1] for entry in ledger(root)] == ["same_prompt"]


def test_without_evaluation_rows_or_when_it_is_off_nothing_is_searched(tmp_path: Path, root: Path) -> None:
    data = make(tmp_path / "data", [instruction(QUESTION, PLAIN)])
    assert not make_build(data, root, recipe_of(decontaminate={"enabled": False})).built.keys() & {"evaluation", "leaks"}
    assert ledger(root) == []
    (data / "belle/eval_set.json").unlink()
    built = make_build(data, root).built
    assert (built["evaluation"], built["leaks"]) == (1, 0)


# --- texts and options


def _rows(*rows: dict[str, Any]) -> pa.Table:
    filler = {
        "license": "",
        "file": "",
        "record": 0,
        "messages": [],
        "row_key": b"\0" * 16,
        "prompt_key": b"\0" * 16,
        "opening_key": b"\0" * 16,
        "changed_by": [],
    }
    filler |= {"row_id": "x", "source": "s", "kind": "dialogue", "asks": True}
    return pa.table([[row.get(c.name, filler.get(c.name)) for row in rows] for c in CLEAN.columns], schema=CLEAN.schema)


def _said(*texts: str) -> list[dict[str, str]]:
    return [{"role": ("user", "assistant")[i % 2], "content": text} for i, text in enumerate(texts)]


ROWS = (
    {"messages": _said("a", "b", "c", "d")},
    {},
    {"kind": "preference", "messages": _said("e"), "chosen": _said("", "f")[1:], "rejected": _said("", "g")[1:]},
    {"kind": "document", "title": "h", "text": "i"},
)


def test_texts_of_rows_stand_in_their_order_and_know_their_places() -> None:
    spoken = RowTexts.of(_rows(*ROWS).select(PLACES))
    assert spoken.texts.to_pylist() == list("abcdefghi")
    assert [spoken.name(i) for i in (0, 3, 5, 6, 7, 8)] == ["messages[0]", "messages[3]", "chosen[0]", "rejected[0]", "title", "text"]
    assert [t for t, asked in zip("abcdefghi", spoken.asked, strict=True) if asked] == list("abcehi")
    assert spoken.some(spoken.asked).bounds.tolist() == [0, 3, 3, 4, 6]
    assert RowTexts.of(_rows(*ROWS).slice(2, 1)).texts.to_pylist() == list("efg")


def test_gathered_rows_have_question_options_and_answer() -> None:
    choice = "Which one?\nA. this\nB. that"
    found = gathered(_rows(*ROWS, {"messages": _said(choice, "B. that")})).to_pylist()
    assert [(row["question"], row["options"], row["answer"], row["document"]) for row in found] == [
        (["a", "b", "c"], None, ["d"], False),
        ([], None, [], False),
        (["e"], None, ["f"], False),
        (["h", "i"], None, [], True),
        (["Which one?"], "\nA. this\nB. that", ["B. that"], False),
    ]


@pytest.mark.parametrize(
    ("prompt", "at"),
    [
        ("哪个对？\nA．这个\nB．那个", 4),
        ("Which?\n(A) x\n(B) y", 6),
        ("A. only\nB. options", 0),
        ("A text.\nA. one point and no other", 0),
        ("Notes\nA. one\nB. two\nWhich?\nA: x\nB: y", 26),
        ("", 0),
    ],
)
def test_options_begin_where_the_last_list_begins(prompt: str, at: int) -> None:
    assert options(prompt) == at


def test_batches_hold_all_rows(tmp_path: Path) -> None:
    table = _rows(*ROWS * 50)
    write_table(tmp_path, "x.parquet", table, "clean")
    pieces = list(batches(tmp_path / "x.parquet", PLACES, 1000))
    assert len(pieces) > 3
    assert pa.concat_tables(pieces).equals(table.select(PLACES))
