"""Trees: no message is lost, and nested, flat and folded forms of one tree say the same."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from corpus.sources import oasst
from corpus.sources.base import Emit, Frame, Reject
from corpus.sources.oasst import fold_messages, parse_tree


def rows(record: Any) -> list[dict[str, Any]]:
    emit = Emit()
    parse_tree(record, emit)
    columns = emit.columns()
    return [{k: c[i].as_py() for k, c in columns.items()} for i in range(len(emit))]


def walk(message: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield message
    for reply in message["replies"]:
        yield from walk(reply)


def texts(made: list[dict[str, Any]]) -> set[str]:
    return {m["content"] for row in made for k in ("messages", "chosen", "rejected") for m in row[k] or ()}


def folded(frames: list[list[dict[str, Any]]]) -> tuple[list[Frame], int]:
    made, first = [], 0
    for values in frames:
        ordinals = range(first, first + len(values))
        made.append(
            Frame(
                values=list(values), ordinals=ordinals, offsets=[o * 10 for o in ordinals], lengths=[9] * len(values), records=len(values)
            )
        )
        first += len(values)
    return list(fold_messages(iter(made))), first


@st.composite
def trees(draw: st.DrawFn) -> dict[str, Any]:
    count = iter(range(10_000))

    def message(depth: int, parent: str | None) -> dict[str, Any]:
        number = next(count)
        most = 0 if depth == 4 else 3
        made: dict[str, Any] = {
            "message_id": f"m{number}", "parent_id": parent, "text": f"text {number}", "role": "assistant" if depth % 2 else "prompter",
            "rank": draw(st.sampled_from([None, 0, 1, 2])) if depth % 2 else None, "deleted": draw(st.integers(0, 9)) == 0,
            "review_result": draw(st.sampled_from([True, True, True, None, False])), "lang": "en",
        }  # fmt: skip
        made["replies"] = [message(depth + 1, made["message_id"]) for _ in range(draw(st.integers(0, most)))]
        return made

    return {"message_tree_id": "m0", "tree_state": "ready_for_export", "prompt": message(0, None)}


@given(trees())
def test_every_message_is_in_a_row(tree: dict[str, Any]) -> None:
    assert texts(rows(tree)) == {m["text"] for m in walk(tree["prompt"])}


@given(trees())
def test_only_best_answers_are_taught_and_marked_messages_never(tree: dict[str, Any]) -> None:
    by_text = {m["text"]: m for m in walk(tree["prompt"])}
    for row in rows(tree):
        if row["skip"] is not None:
            continue
        said = [by_text[m["content"]] for k in ("messages", "chosen", "rejected") for m in row[k] or ()]
        assert not any(m["deleted"] or m["review_result"] is False for m in said)
        if row["kind"] == "dialogue":
            assert row["messages"][-1]["role"] == "assistant"
            for question, answer in zip(said[::2], said[1::2], strict=True):
                ranks = [
                    a["rank"] for a in question["replies"] if a["rank"] is not None and not a["deleted"] and a["review_result"] is not False
                ]
                assert answer["rank"] is None or answer["rank"] == min(ranks)
        if row["kind"] == "preference":
            assert by_text[row["chosen"][0]["content"]]["rank"] < by_text[row["rejected"][0]["content"]]["rank"]


@given(trees())
def test_pairs_of_one_question_have_the_places_of_all_its_ranked_answers(tree: dict[str, Any]) -> None:
    places: dict[str, list[tuple[int, int]]] = {}
    many: dict[str, set[int]] = {}
    order: dict[str, dict[int, str]] = {}
    for row in rows(tree):
        if row["kind"] == "preference":
            question, meta = row["messages"][-1]["content"], json.loads(row["meta"])
            places.setdefault(question, []).append(tuple(meta["ranks"]))
            many.setdefault(question, set()).add(meta["ranked"])
            for place, side in zip(meta["ranks"], ("chosen", "rejected"), strict=True):
                assert order.setdefault(question, {}).setdefault(place, row[side][0]["content"]) == row[side][0]["content"]
    for question, found in places.items():
        [count] = many[question]
        assert found == list(itertools.combinations(range(count), 2))
        assert len(set(order[question].values())) == count


@given(trees(), st.randoms(use_true_random=False))
def test_flat_messages_fold_into_the_same_rows(tree: dict[str, Any], random: Any) -> None:
    flat = [
        {**{k: v for k, v in m.items() if k != "replies"}, "message_tree_id": "m0", "tree_state": "ready_for_export"}
        for m in walk(tree["prompt"])
    ]
    cut = random.randrange(len(flat) + 1)
    frames, count = folded([flat[:cut], flat[cut:]])
    values = [v for f in frames for v in f.values]
    assert len(values) == 1
    assert rows(values[0]) == rows(tree)
    assert sum(f.records for f in frames) == count
    groups = [f.groups.get(0, [f.ordinals[0]]) for f in frames if f.values]
    assert groups == [list(range(count))]


def flat(message: str, parent: str | None, tree: str, text: str = "x") -> dict[str, Any]:
    role = "prompter" if parent is None else "assistant"
    return {"message_id": message, "parent_id": parent, "message_tree_id": tree, "role": role, "text": text}


def test_orphans_and_repeated_messages_are_rejected_and_counted() -> None:
    frames, count = folded(
        [[flat("a", None, "a"), flat("b", "a", "a"), flat("b", "a", "a"), flat("c", "gone", "a")], [flat("d", "c", "a")]]
    )
    assert [(r.record, r.reason) for f in frames for r in f.rejects] == [(2, "shape"), (3, "orphan"), (4, "orphan")]
    assert [f.groups for f in frames if f.values] == [{0: [0, 1]}]
    assert [(f.offsets, f.lengths) for f in frames if f.values] == [([0], [19])]
    assert count == 5


def test_an_endless_tree_is_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(oasst, "MOST_MESSAGES", 3)
    frames, _ = folded([[flat("a", None, "a"), *(flat(f"b{i}", "a", "a") for i in range(4))]])
    assert [len(v["messages"]) for f in frames for v in f.values] == [3]
    assert [r.reason for f in frames for r in f.rejects] == ["orphan", "orphan"]


def test_other_records_pass_through_in_their_order() -> None:
    tree = {"message_tree_id": "t", "prompt": {"message_id": "t", "role": "prompter", "text": "x", "replies": []}}
    frames, _ = folded([[tree], [flat("a", None, "a"), tree, 7]])
    assert [f.values for f in frames] == [[tree], [{"messages": [flat("a", None, "a")]}, tree, 7]]
    assert [list(f.ordinals) for f in frames] == [[0], [1, 2, 3]]


def test_a_record_that_opens_in_the_middle_is_an_orphan() -> None:
    with pytest.raises(Reject) as e:
        rows({"message_id": "b", "parent_id": "a", "role": "prompter", "text": "x", "replies": []})
    assert e.value.reason == "orphan"
