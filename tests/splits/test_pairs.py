"""Preference pairs: what is measured of them against plain Python over sets of tuples, and which are left out."""

from __future__ import annotations

import itertools
import json
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from corpus.dedup import near
from corpus.dedup.units import Unit
from corpus.recipe_splits import Pairs
from corpus.schema import CLEAN, DROP_REASONS, MESSAGES, PREFERENCES
from corpus.sources.base import Emit
from corpus.sources.preferences import emit_ranking
from corpus.splits.pairs import ALIKE, judge, measure, ranked
from tests.dedup.reference import grams

Side = list[tuple[str, str]]
"""Roles and contents of the turns of a continuation."""

WORDS = ["Yes", "yes", "no", "是", "的", "好", "!", "，", "a", " ", "\n", "İ", "12", "ﬁ", "說", "说", "\u200b"]
CONTENT = st.lists(st.sampled_from(WORDS), max_size=14).map("".join)
SIDE = st.lists(st.tuples(st.sampled_from(["assistant", "user"]), CONTENT), max_size=3)


def said(*contents: str) -> Side:
    """A continuation that begins with an answer."""
    return [("user" if n % 2 else "assistant", content) for n, content in enumerate(contents)]


def rows(pairs: list[tuple[Side, Side]]) -> pa.Table:
    """Pairs as clean rows, with the columns that are measured."""
    sides = [[[{"role": role, "content": content} for role, content in pair[n]] for pair in pairs] for n in range(2)]
    schema = pa.schema([CLEAN.schema.field(name) for name in ("row_id", "source", "chosen", "rejected")])
    return pa.table([[f"{n:032x}" for n in range(len(pairs))], ["s"] * len(pairs), *(pa.array(s, MESSAGES) for s in sides)], schema=schema)


def measured(*pairs: tuple[Side, Side]) -> list[dict[str, Any]]:
    """What is measured of pairs."""
    found = measure(rows(list(pairs)))
    assert found.schema == PREFERENCES.schema
    return found.to_pylist()  # type: ignore[no-any-return]


def folded(side: Side) -> Side:
    """What is equal after folding is equal here: letters in lower case, white space gone."""
    return [(role, "".join(c.lower() if len(c.lower()) == 1 else c for c in content if not c.isspace())) for role, content in side]


@given(st.lists(st.one_of(st.tuples(SIDE, SIDE), SIDE.map(lambda side: (side, side))), min_size=1, max_size=5))
def test_similarity_is_exact_and_one_for_equal_sides_alone(pairs: list[tuple[Side, Side]]) -> None:
    for found, (chosen, rejected) in zip(measured(*pairs), pairs, strict=True):
        one, other = ({*grams([(content, 0) for _, content in side], Unit.MIXED)} for side in (chosen, rejected))
        jaccard = len(one & other) / len(one | other)
        assert found["similarity"] == (1.0 if folded(chosen) == folded(rejected) else min(jaccard, ALIKE))
        assert found["chosen_chars"] == sum(len(content) for _, content in chosen)
        assert found["rejected_chars"] == sum(len(content) for _, content in rejected)
        assert found["turns"] == max(len(chosen), len(rejected))


@given(st.lists(st.tuples(SIDE, SIDE), min_size=2, max_size=6), st.integers(1, 40))
def test_pieces_change_nothing(pairs: list[tuple[Side, Side]], size: int) -> None:
    whole = measured(*pairs)
    before = near.PIECE_BYTES
    try:
        near.PIECE_BYTES = size
        assert measured(*pairs) == whole
    finally:
        near.PIECE_BYTES = before
    assert measure(rows(pairs).slice(1)).to_pylist() == whole[1:]


@pytest.mark.parametrize(
    ("chosen", "rejected", "similarity"),
    [
        ("It is green.", "it  is\nGREEN.", 1.0),
        ("It is green.", "It is green!", ALIKE),  # the same words, and yet not the same side
        ("Yes.", "No.", 0.0),
        ("Yes.", "Yes", ALIKE),
        ("", "", 1.0),
        ("", "Yes.", 0.0),
        ("...", "…", 0.0),  # sides of punctuation alone are compared by it
        ("one two three four five six", "one two three four five seven", 1 / 3),
        ("一二三四五六", "一二三四五七", 1 / 3),
        ("a b c d e a b c d e a b c d e", "a b c d e a b c d e", ALIKE),
    ],
)
def test_similarity_of_some_sides(chosen: str, rejected: str, similarity: float) -> None:
    assert measured((said(chosen), said(rejected)))[0]["similarity"] == pytest.approx(similarity, abs=0)


def test_turns_are_not_taken_for_one_another() -> None:
    same = [("assistant", "Hello there."), ("user", "Go on.")]
    swapped = [("user", "Hello there."), ("assistant", "Go on.")]
    joined = [("assistant", "Hello there.Go on.")]
    found = measured((same, same), (same, swapped), (same, joined))
    assert [f["similarity"] == 1 for f in found] == [True, False, False]
    assert [f["turns"] for f in found] == [2, 2, 2]


def test_refusals_are_those_of_answers() -> None:
    refusal = "I'm sorry, but I cannot help with that."
    [plain, first, later, asked] = measured(
        (said("Sure."), said("Of course.")),
        (said(refusal), said("Sure.")),
        (said("Sure.", "And this?", refusal), said(refusal)),
        (said("Sure.", refusal), said("Sure.")),  # the user's turn declines nothing
    )
    assert [(f["chosen_refuses"], f["rejected_refuses"]) for f in (plain, first, later, asked)] == [
        (False, False), (True, False), (True, True), (False, False),
    ]  # fmt: skip


def test_the_systems_turns_are_no_characters_of_a_side() -> None:
    [found] = measured(([("system", "Be kind."), ("assistant", "Yes.")], said("No")))
    assert (found["chosen_chars"], found["rejected_chars"]) == (4, 2)


def test_no_pairs() -> None:
    assert measured() == []
    reasons, details = judge(measure(rows([])), Pairs())
    assert reasons.tolist() == details.tolist() == []


FOUND = {
    "row_id": "0" * 32, "source": "s", "chosen_chars": 10, "rejected_chars": 10, "similarity": 0.2, "chosen_refuses": False,
    "rejected_refuses": False, "turns": 1,
}  # fmt: skip


def judged(pairs: Pairs, **found: Any) -> tuple[str | None, str | None]:
    reasons, details = judge(pa.Table.from_pylist([{**FOUND, **found}], schema=PREFERENCES.schema), pairs)
    return reasons[0], details[0]


@pytest.mark.parametrize(
    ("pairs", "found", "reason", "detail"),
    [
        (Pairs(), {}, None, None),
        (Pairs(), {"similarity": 1.0}, "same_sides", "the sides are equal after folding"),
        (Pairs(near=1), {"similarity": 1.0}, "same_sides", "the sides are equal after folding"),
        (Pairs(near=1), {"similarity": ALIKE}, None, None),
        (Pairs(), {"similarity": ALIKE}, "near_sides", "similarity 1.0000, 0.95 or more"),
        (Pairs(), {"similarity": 0.95}, "near_sides", "similarity 0.9500, 0.95 or more"),
        (Pairs(), {"similarity": 0.9499}, None, None),
        (Pairs(), {"chosen_chars": 0, "similarity": 0.0}, "same_sides", "the chosen side is empty"),
        (Pairs(), {"rejected_chars": 0, "similarity": 0.0}, "same_sides", "the rejected side is empty"),
        (Pairs(), {"chosen_chars": 0, "rejected_chars": 0, "similarity": 1.0}, "same_sides", "both sides are empty"),
        (Pairs(), {"chosen_chars": 1000}, None, None),
        (Pairs(ratio=2.5), {"chosen_chars": 25}, None, None),
        (Pairs(ratio=2.5), {"chosen_chars": 26}, "length_ratio", "26 chosen and 10 rejected characters, more than 1 to 2.5"),
        (Pairs(ratio=2.5), {"rejected_chars": 26}, "length_ratio", "10 chosen and 26 rejected characters, more than 1 to 2.5"),
        (Pairs(), {"chosen_refuses": True}, None, None),
        (Pairs(refusals="drop"), {"chosen_refuses": True}, "refusal", "the chosen side declines, the rejected one does not"),
        (Pairs(refusals="drop"), {"chosen_refuses": True, "rejected_refuses": True}, None, None),
        (Pairs(refusals="drop"), {"rejected_refuses": True}, None, None),
        (Pairs(ratio=2, refusals="drop"), {"similarity": 1.0, "chosen_chars": 90, "chosen_refuses": True}, "same_sides", None),
        (Pairs(ratio=2, refusals="drop"), {"chosen_chars": 90, "chosen_refuses": True}, "length_ratio", None),
    ],
)
def test_which_pairs_are_left_out(pairs: Pairs, found: dict[str, Any], reason: str | None, detail: str | None) -> None:
    got = judged(pairs, **found)
    assert got[0] == reason
    assert reason is None or reason in DROP_REASONS
    assert detail is None or got[1] == detail
    assert (got[0] is None) == (got[1] is None)


@given(st.lists(st.fixed_dictionaries({
    "chosen_chars": st.integers(0, 4), "rejected_chars": st.integers(0, 4), "similarity": st.sampled_from([0.0, 0.5, ALIKE, 1.0]),
    "chosen_refuses": st.booleans(), "rejected_refuses": st.booleans(),
}), max_size=8), st.sampled_from([None, 1.0, 2.0]), st.sampled_from([0.5, 0.9, 1.0]), st.sampled_from(["keep", "drop"]))  # fmt: skip
def test_every_pair_is_judged_by_itself(found: list[dict[str, Any]], ratio: float | None, bound: float, refusals: Any) -> None:
    pairs = Pairs(ratio=ratio, near=bound, refusals=refusals)
    table = pa.Table.from_pylist([{**FOUND, **each} for each in found], schema=PREFERENCES.schema)
    reasons, details = judge(table, pairs)
    assert list(zip(reasons, details, strict=True)) == [judged(pairs, **each) for each in found]


CHOICES = ("all", "best-worst", "adjacent")


@pytest.mark.parametrize("many", range(2, 9))
def test_of_a_ranking_all_pairs_one_or_a_chain(many: int) -> None:
    emit = Emit()
    emit_ranking([], [f"answer {n}" for n in range(many)], emit)
    meta = emit.columns()["meta"]
    taken = {choice: ranked(meta, choice) for choice in CHOICES}  # type: ignore[arg-type]
    places = np.array([json.loads(m)["ranks"] for m in meta.to_pylist()])
    assert places.tolist() == [list(pair) for pair in itertools.combinations(range(many), 2)]
    assert taken["all"].all()
    assert places[taken["best-worst"]].tolist() == [[0, many - 1]]
    assert places[taken["adjacent"]].tolist() == [[n, n + 1] for n in range(many - 1)]


PLACES = st.integers(0, 4)
META = st.one_of(
    st.none(),
    st.just({}),
    st.just({"note": '"ranks":[0,1],"ranked":9'}),
    st.just({"details": [{"ranks": [0, 2], "ranked": 9}]}),
    st.just({"ranks": "none"}),
    st.just({"ranks": [0, 3]}),
    st.just({"ranks": [0.5, 3], "ranked": 9}),
    st.just({"ranks": [], "ranked": None}),
    st.just({"ranks": [0, 1], "ranked": 3.5}),
    st.just({"ranks": [0, 1234567890], "ranked": 1234567891}),
    st.just({"ranks": [0, 10**30], "ranked": 9}),
    st.builds(lambda a, b, n: {"ranks": [a, b], "ranked": n}, PLACES, PLACES, PLACES),
    st.builds(lambda a, b, n: {"ranks": [a, b], "ranked": n, "details": [{"ranks": [7, 8], "ranked": 9}]}, PLACES, PLACES, PLACES),
    st.builds(lambda a, b, n: {"id": "}{", "ranked": n, "ranks": [a, b]}, PLACES, PLACES, PLACES),
)


def fits(meta: dict[str, Any] | None, choice: str) -> bool:
    """Whether a choice takes a pair, from its decoded meta."""
    ranks, many = (meta or {}).get("ranks"), (meta or {}).get("ranked")
    known = isinstance(ranks, list) and len(ranks) == 2 and all(isinstance(r, int) and r < 1 << 63 for r in ranks) and isinstance(many, int)
    if choice == "all" or not known:
        return True
    assert ranks is not None
    assert many is not None
    return ranks[1] - ranks[0] == 1 if choice == "adjacent" else ranks == [0, many - 1]


@given(st.lists(META, max_size=6), st.sampled_from(CHOICES), st.booleans())
def test_a_choice_is_of_rankings_alone(metas: list[dict[str, Any] | None], choice: Any, spaced: bool) -> None:
    column = pa.array([None if m is None else json.dumps(m, separators=None if spaced else (",", ":")) for m in metas], pa.string())
    assert ranked(column, choice).tolist() == [fits(m, choice) for m in metas]
