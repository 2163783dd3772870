"""Which rows are kept, against all pairs in plain Python."""

from __future__ import annotations

import math
from collections.abc import Sequence
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from corpus.dedup import judge as judging
from corpus.dedup.judge import KEPT_OF_BAND, Judged, Sets, jaccard, judge, sets
from corpus.dedup.minhash import KEY_BITS
from corpus.dedup.shingles import Shingles, shingles
from corpus.dedup.units import Unit
from tests.dedup.reference import column_of, set_of, texts_of

Row = dict[int, bool]
"""Shingles, and whether each is learned."""


def sets_of(rows: Sequence[Row]) -> Sets:
    """Rows as sets. Every shingle is there twice: once as it is, and once not learned."""
    entries = [[entry for code, learned in row.items() for entry in (code << 1 | learned, code << 1)] for row in rows]
    bounds = np.cumsum([0, *map(len, entries)], dtype=np.int64)
    hashes = np.array([entry for row in entries for entry in row], dtype=np.uint64)
    return sets(Shingles(hashes, bounds, np.zeros((len(rows), 2), dtype=np.uint64)))


def similarity(one: Row, other: Row) -> float:
    """Of the whole sets."""
    return len(one.keys() & other.keys()) / len(one.keys() | other.keys())


def learned_similarity(one: Row, other: Row) -> float:
    """Of what is learned; NaN where nothing is."""
    mine = {code for code, learned in one.items() if learned}
    theirs = {code for code, learned in other.items() if learned}
    return len(mine & theirs) / len(mine | theirs) if mine | theirs else math.nan


def near(one: Row, other: Row, threshold: float, answers: bool = True) -> bool:
    """Whether two rows are near each other."""
    learned = learned_similarity(one, other)
    return similarity(one, other) >= threshold and (not answers or math.isnan(learned) or learned >= threshold)


def greedy(rows: Sequence[Row], protected: Sequence[bool], keys: np.ndarray, threshold: float, answers: bool = True) -> list[int]:
    """The keepers, when nothing is limited: the first kept row that is near and shares a band."""
    keepers: list[int] = []
    for row in range(len(rows)):
        first = (
            other
            for other in range(row)
            if keepers[other] < 0 and (keys[row] == keys[other]).any() and near(rows[row], rows[other], threshold, answers)
        )
        keepers.append(-1 if protected[row] else next(first, -1))
    return keepers


def check(judged: Judged, rows: Sequence[Row], protected: Sequence[bool], keys: np.ndarray, threshold: float, answers: bool = True) -> None:
    """What must be true of every judgement."""
    neighbours: dict[int, set[int]] = {row: {row} for row in range(len(rows))}
    pairs = set()
    for left, right, whole, learned, accepted in zip(
        judged.left.tolist(), judged.right.tolist(), judged.jaccard.tolist(), judged.learned.tolist(), judged.accepted.tolist(), strict=True
    ):
        assert left > right
        assert (left, right) not in pairs
        assert (keys[left] == keys[right]).any()
        pairs.add((left, right))
        assert whole == similarity(rows[left], rows[right])
        assert learned == learned_similarity(rows[left], rows[right]) or (
            math.isnan(learned) and math.isnan(learned_similarity(rows[left], rows[right]))
        )
        assert accepted == near(rows[left], rows[right], threshold, answers)
        if accepted:
            neighbours[left].add(right)
            neighbours[right].add(left)
    for row, keeper in enumerate(judged.keepers.tolist()):
        if keeper >= 0:
            assert not protected[row]
            assert judged.keepers[keeper] == -1
            assert keeper < row
            assert (row, keeper) in pairs
            assert keeper in neighbours[row]
    for row in range(len(rows)):
        together, todo = set(), [row]
        while todo:
            other = todo.pop()
            if other not in together:
                together.add(other)
                todo.extend(neighbours[other])
        assert np.flatnonzero(judged.components == judged.components[row]).tolist() == sorted(together)
        assert judged.components[row] in together


CODES = st.integers(0, 9) | st.integers((1 << 63) - 3, (1 << 63) - 1)
ROW = st.dictionaries(CODES, st.booleans(), min_size=1, max_size=9) | st.dictionaries(CODES, st.just(False), min_size=1, max_size=9)
THRESHOLD = st.sampled_from([0.5, 0.55, 0.6, 2 / 3, 0.7, 0.75, 0.8, 0.9, 1.0])


@settings(max_examples=120, deadline=None)
@given(st.lists(st.tuples(ROW, st.sampled_from([False, False, False, True])), max_size=KEPT_OF_BAND), THRESHOLD, st.booleans())
def test_where_all_meet_it_is_greedy_over_all_pairs(drawn: list[tuple[Row, bool]], threshold: float, answers: bool) -> None:
    rows, protected = [row for row, _ in drawn], [kept for _, kept in drawn]
    keys = np.full((len(rows), 1), (1 << KEY_BITS) - 1, dtype=np.uint64)
    judged = judge(sets_of(rows), keys, np.array(protected, dtype=np.bool_), threshold, answers=answers)
    check(judged, rows, protected, keys, threshold, answers)
    assert judged.keepers.tolist() == greedy(rows, protected, keys, threshold, answers)


@settings(max_examples=120, deadline=None)
@given(st.data())
def test_the_keeper_is_the_first_near_row_of_a_band(data: st.DataObject) -> None:
    drawn = data.draw(st.lists(st.tuples(ROW, st.sampled_from([False, False, False, True])), max_size=25))
    number = data.draw(st.integers(1, 4))
    key = st.sampled_from([0, 1, 2, (1 << KEY_BITS) - 1])
    keys = np.array(data.draw(st.lists(key, min_size=len(drawn) * number, max_size=len(drawn) * number)), dtype=np.uint64)
    keys = keys.reshape(len(drawn), number)
    threshold = data.draw(THRESHOLD)
    rows, protected = [row for row, _ in drawn], [kept for _, kept in drawn]
    judged = judge(sets_of(rows), keys, np.array(protected, dtype=np.bool_), threshold)
    check(judged, rows, protected, keys, threshold)
    assert judged.keepers.tolist() == greedy(rows, protected, keys, threshold)


@settings(max_examples=100, deadline=None)
@given(
    st.lists(st.tuples(ROW, st.booleans(), st.sampled_from([0, 1, 2]), st.integers(0, 1)), min_size=1, max_size=25),
    st.sampled_from([0.5, 0.8]),
)
def test_components_do_not_depend_on_each_other(drawn: list[tuple[Row, bool, int, int]], threshold: float) -> None:
    rows = [row for row, _, _, _ in drawn]
    protected = np.array([kept for _, kept, _, _ in drawn], dtype=np.bool_)
    component = np.array([part for _, _, part, _ in drawn])
    keys = np.array([[part, 10 * part + 100 + more] for _, _, part, more in drawn], dtype=np.uint64)
    whole = judge(sets_of(rows), keys, protected, threshold)
    for part in range(3):
        mine = np.flatnonzero(component == part)
        alone = judge(sets_of([rows[row] for row in mine]), keys[mine], protected[mine], threshold)
        assert [mine[keeper] if keeper >= 0 else -1 for keeper in alone.keepers] == whole.keepers[mine].tolist()
        assert mine[alone.components].tolist() == whole.components[mine].tolist()
        inside = np.isin(whole.left, mine)
        assert mine[alone.left].tolist() == whole.left[inside].tolist()
        assert mine[alone.right].tolist() == whole.right[inside].tolist()
        assert alone.jaccard.tolist() == whole.jaccard[inside].tolist()


def test_many_rows_and_pairs() -> None:
    # More pairs than there is room for at first, and groups in which more rows are kept than a band remembers.
    draw = np.random.default_rng(8)
    centres = draw.integers(0, 1 << 63, size=(60, 30))
    rows = []
    for _ in range(900):
        codes = (
            centres[draw.integers(60)].tolist()[: int(draw.integers(20, 31))]
            + draw.integers(0, 1 << 63, size=int(draw.integers(0, 8))).tolist()
        )
        rows.append({code: bool(draw.integers(2)) if codes[0] % 3 else False for code in codes})
    keys = draw.integers(0, 7, size=(len(rows), 6)).astype(np.uint64)
    protected = draw.random(len(rows)) < 0.02
    judged = judge(sets_of(rows), keys, protected, 0.7)
    assert len(judged.left) > 3 * (1 << 12)
    assert 0 < (judged.keepers >= 0).sum() < 900
    assert 0 < judged.accepted.sum() < len(judged.left)
    check(judged, rows, protected.tolist(), keys, 0.7)


def test_a_band_remembers_its_first_kept_rows() -> None:
    rows = [{100 * i + k: False for k in range(10)} for i in range(KEPT_OF_BAND + 2)]
    for original in (0, KEPT_OF_BAND - 1):
        judged = judge(
            sets_of([*rows, rows[original]]), np.zeros((len(rows) + 1, 1), dtype=np.uint64), np.zeros(len(rows) + 1, dtype=np.bool_), 0.8
        )
        assert judged.keepers[-1] == original
    judged = judge(sets_of([*rows, rows[-1]]), np.zeros((len(rows) + 1, 1), dtype=np.uint64), np.zeros(len(rows) + 1, dtype=np.bool_), 0.8)
    assert judged.keepers[-1] == -1  # what it resembles came too late to be remembered
    keys = np.zeros((len(rows) + 1, 2), dtype=np.uint64)
    keys[:, 1] = range(len(rows) + 1)
    keys[-1, 1] = keys[-2, 1]  # another band brings it
    assert judge(sets_of([*rows, rows[-1]]), keys, np.zeros(len(rows) + 1, dtype=np.bool_), 0.8).keepers[-1] == len(rows) - 1


def test_a_dropped_row_joins_but_does_not_drop() -> None:
    rows = [dict.fromkeys(range(start, start + 10), False) for start in (0, 1, 2)]  # neighbours have 9 of 11 in common, the ends 8 of 12
    judged = judge(sets_of(rows), np.zeros((3, 1), dtype=np.uint64), np.zeros(3, dtype=np.bool_), 0.8)
    assert judged.keepers.tolist() == [-1, 0, -1]
    assert len(set(judged.components.tolist())) == 1
    assert list(zip(judged.left.tolist(), judged.right.tolist(), judged.accepted.tolist(), strict=True)) == [
        (1, 0, True),
        (2, 0, False),
        (2, 1, True),
    ]


def test_protected_rows_are_kept() -> None:
    rows = [dict.fromkeys(range(10), False)] * 4
    protected = np.array([False, True, False, True])
    judged = judge(sets_of(rows), np.zeros((4, 1), dtype=np.uint64), protected, 0.8)
    assert judged.keepers.tolist() == [-1, -1, 0, -1]
    assert len(set(judged.components.tolist())) == 1
    # A protected row is compared with all that are kept, a row that found its keeper with those of other components only.
    assert list(zip(judged.left.tolist(), judged.right.tolist(), strict=True)) == [(1, 0), (2, 0), (3, 0), (3, 1)]


def test_what_is_learned_must_be_near_too() -> None:
    question = dict.fromkeys(range(80), False)
    answers = [dict.fromkeys(range(start, start + 10), True) for start in (100, 200, 101)]
    rows = [{**question, **answer} for answer in answers]
    judged = judge(sets_of(rows), np.zeros((3, 1), dtype=np.uint64), np.zeros(3, dtype=np.bool_), 0.8)
    assert judged.keepers.tolist() == [-1, -1, 0]
    assert judged.jaccard.tolist()[:2] == [80 / 100, 89 / 91]
    assert judged.learned.tolist()[:2] == [0.0, 9 / 11]
    judged = judge(sets_of(rows), np.zeros((3, 1), dtype=np.uint64), np.zeros(3, dtype=np.bool_), 0.8, answers=False)
    assert judged.keepers.tolist() == [-1, 0, 0]
    assert judged.learned.tolist() == [0.0, 9 / 11]  # it is said all the same


@pytest.mark.parametrize("threshold", [i / 100 for i in range(50, 101)])
def test_pairs_just_at_the_threshold_are_near(threshold: float) -> None:
    # One set is part of the other, so that the sizes alone say the similarity, and it is the threshold itself.
    share = Fraction(round(threshold * 100), 100)
    for many in (1, 2, 3, 7):
        size = share.denominator * many
        rows = [dict.fromkeys(range(size), False), dict.fromkeys(range(share.numerator * many), False)]
        for order in (rows, rows[::-1]):
            judged = judge(sets_of(order), np.zeros((2, 1), dtype=np.uint64), np.zeros(2, dtype=np.bool_), threshold)
            assert judged.keepers.tolist() == [-1, 0]
            assert judged.jaccard.tolist() == [threshold]
        if share.numerator > 1:
            rows[1].popitem()
            judged = judge(sets_of(rows), np.zeros((2, 1), dtype=np.uint64), np.zeros(2, dtype=np.bool_), threshold)
            assert judged.keepers.tolist() == [-1, -1]


def test_no_rows() -> None:
    judged = judge(sets_of([]), np.zeros((0, 3), dtype=np.uint64), np.zeros(0, dtype=np.bool_), 0.8)
    assert len(judged.keepers) == len(judged.components) == len(judged.left) == 0


def test_rows_that_meet_nobody() -> None:
    rows = [dict.fromkeys(range(10), False)] * 3
    judged = judge(sets_of(rows), np.arange(6, dtype=np.uint64).reshape(3, 2), np.zeros(3, dtype=np.bool_), 0.8)
    assert judged.keepers.tolist() == [-1] * 3
    assert judged.components.tolist() == [0, 1, 2]
    assert len(judged.left) == 0


def test_too_many_rows_are_refused() -> None:
    with pytest.raises(ValueError, match="too many to be judged at once"):
        judging._runs(np.empty(((1 << 64 - KEY_BITS) + 1, 0), dtype=np.uint64))


def test_texts_are_judged() -> None:
    rows = [
        "今天的天气很好，我们一起去公园散步吧。",
        "今天的天氣很好,我們一起去公園散步吧!",
        "今天的天气很好，我们一起去公园散步。",
        "我打了他",
        "他打了我",
    ]
    made = sets(shingles(column_of(rows), Unit.MIXED))
    judged = judge(made, np.zeros((5, 1), dtype=np.uint64), np.zeros(5, dtype=np.bool_), 0.8)
    assert judged.keepers.tolist() == [-1, 0, 0, -1, -1]
    assert jaccard(set_of(made, 0), set_of(made, 2)) == 12 / 13
    talks = [[("茶是什么？", False), (answer, True)] for answer in ("茶是一种常见的饮料。", "茶是一種常見的飲料", "不知道。")]
    made = sets(shingles(texts_of(talks), Unit.MIXED))
    judged = judge(made, np.zeros((3, 1), dtype=np.uint64), np.zeros(3, dtype=np.bool_), 0.5)
    assert judged.keepers.tolist() == [-1, 0, -1]
