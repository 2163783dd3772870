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
from corpus.dedup.judge import KEPT_OF_BAND, Judged, Sets, jaccard, jaccards, judge, sets
from corpus.dedup.minhash import KEY_BITS
from corpus.dedup.shingles import Shingles, shingles
from corpus.dedup.texts import ANSWER, PROMPT, REJECTED, STOCK
from corpus.dedup.units import Unit
from tests.dedup.reference import column_of, set_of, texts_of

Row = dict[int, int]
"""Shingles, and the parts that each is from, STOCK among them."""

Limits = tuple[float, float]
"""How similar what is asked, and what is answered, must be."""

ANY: Limits = (0.0, 0.0)


def sets_of(rows: Sequence[Row]) -> Sets:
    """Rows as sets. Every shingle is there twice: once as it is, and once of no part."""
    entries = [[entry for code, parts in row.items() for entry in (code << 6 | parts, code << 6)] for row in rows]
    bounds = np.cumsum([0, *map(len, entries)], dtype=np.int64)
    hashes = np.array([entry for row in entries for entry in row], dtype=np.uint64)
    return sets(Shingles(hashes, bounds, np.zeros((len(rows), 2), dtype=np.uint64)))


@given(st.lists(st.tuples(*[st.frozensets(st.integers(1, 12), min_size=1)] * 2), max_size=6))
def test_rows_of_one_place_are_compared(pairs: list[tuple[frozenset[int], frozenset[int]]]) -> None:
    one, other = (sets_of([dict.fromkeys(sorted(pair[n]), PROMPT) for pair in pairs]) for n in range(2))
    found = jaccards(one, other).tolist()
    assert found == [len(a & b) / len(a | b) for a, b in pairs]
    assert found == [jaccard(set_of(one, row), set_of(other, row)) for row in range(len(pairs))]


def similarity(one: set[int], other: set[int]) -> float:
    """NaN where neither has anything."""
    return len(one & other) / len(one | other) if one | other else math.nan


def compared(one: Row, other: Row, threshold: float, limits: Limits) -> tuple[float, float, float, bool]:
    """The similarities of two rows (as a whole, of what is asked, of what is answered), and whether they are near."""

    def of(part: int) -> float:
        mine, theirs = ({code for code, parts in row.items() if parts & part} for row in (one, other))
        return similarity(mine, theirs)

    whole = similarity(set(one), set(other))
    if whole < threshold:
        return whole, math.nan, math.nan, False
    stock = {code for row in (one, other) for code, parts in row.items() if parts & STOCK}
    own = similarity(set(one) - stock, set(other) - stock)
    whole = whole if math.isnan(own) else min(whole, own)
    if whole < threshold:
        return whole, math.nan, math.nan, False
    asked = of(PROMPT) if limits[0] > 0 else math.nan
    answers = [found for found in (of(ANSWER), of(REJECTED)) if limits[1] > 0 and not math.isnan(found)]
    answered = min(answers, default=math.nan)
    return whole, asked, answered, not (asked < limits[0] or answered < limits[1])


def near(one: Row, other: Row, threshold: float, limits: Limits = ANY) -> bool:
    """Whether two rows are near each other."""
    return compared(one, other, threshold, limits)[3]


def greedy(rows: Sequence[Row], protected: Sequence[bool], keys: np.ndarray, threshold: float, limits: Limits = ANY) -> list[int]:
    """The keepers, when nothing is limited: the first kept row that is near and shares a band."""
    keepers: list[int] = []
    for row in range(len(rows)):
        first = (
            other
            for other in range(row)
            if keepers[other] < 0 and (keys[row] == keys[other]).any() and near(rows[row], rows[other], threshold, limits)
        )
        keepers.append(-1 if protected[row] else next(first, -1))
    return keepers


def check(judged: Judged, rows: Sequence[Row], protected: Sequence[bool], keys: np.ndarray, threshold: float, limits: Limits = ANY) -> None:
    """What must be true of every judgement."""
    neighbours: dict[int, set[int]] = {row: {row} for row in range(len(rows))}
    pairs = set()
    for left, right, found, accepted in zip(
        judged.left.tolist(), judged.right.tolist(), judged.similarity.tolist(), judged.accepted.tolist(), strict=True
    ):
        assert left > right
        assert (left, right) not in pairs
        assert (keys[left] == keys[right]).any()
        pairs.add((left, right))
        *expected, good = compared(rows[left], rows[right], threshold, limits)
        assert np.array_equal(found, expected, equal_nan=True)
        assert accepted == good
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


CODES = st.integers(0, 9) | st.integers((1 << 58) - 3, (1 << 58) - 1)
PARTS_OF_ONE = st.sampled_from([0, 0, PROMPT, ANSWER, REJECTED, STOCK, PROMPT | ANSWER, ANSWER | REJECTED, PROMPT | STOCK])
ROW = st.dictionaries(CODES, PARTS_OF_ONE, min_size=1, max_size=9) | st.dictionaries(CODES, st.just(0), min_size=1, max_size=9)
THRESHOLD = st.sampled_from([0.5, 0.55, 0.6, 2 / 3, 0.7, 0.75, 0.8, 0.9, 1.0])


@settings(max_examples=120, deadline=None)
@given(
    st.lists(st.tuples(ROW, st.sampled_from([False, False, False, True])), max_size=KEPT_OF_BAND),
    THRESHOLD,
    st.sampled_from([ANY, (0.5, 0.5), (0.0, 0.7), (0.6, 0.0), (1.0, 1.0)]),
)
def test_where_all_meet_it_is_greedy_over_all_pairs(drawn: list[tuple[Row, bool]], threshold: float, limits: Limits) -> None:
    rows, protected = [row for row, _ in drawn], [kept for _, kept in drawn]
    keys = np.full((len(rows), 1), (1 << KEY_BITS) - 1, dtype=np.uint64)
    judged = judge(sets_of(rows), keys, np.array(protected, dtype=np.bool_), threshold, limits)
    check(judged, rows, protected, keys, threshold, limits)
    assert judged.keepers.tolist() == greedy(rows, protected, keys, threshold, limits)


@settings(max_examples=120, deadline=None)
@given(st.data())
def test_the_keeper_is_the_first_near_row_of_a_band(data: st.DataObject) -> None:
    drawn = data.draw(st.lists(st.tuples(ROW, st.sampled_from([False, False, False, True])), max_size=25))
    number = data.draw(st.integers(1, 4))
    key = st.sampled_from([0, 1, 2, (1 << KEY_BITS) - 1])
    keys = np.array(data.draw(st.lists(key, min_size=len(drawn) * number, max_size=len(drawn) * number)), dtype=np.uint64)
    keys = keys.reshape(len(drawn), number)
    threshold = data.draw(THRESHOLD)
    limits = data.draw(st.sampled_from([ANY, (0.5, 0.5), (0.7, 0.7)]))
    rows, protected = [row for row, _ in drawn], [kept for _, kept in drawn]
    judged = judge(sets_of(rows), keys, np.array(protected, dtype=np.bool_), threshold, limits)
    check(judged, rows, protected, keys, threshold, limits)
    assert judged.keepers.tolist() == greedy(rows, protected, keys, threshold, limits)


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
        assert np.array_equal(alone.similarity, whole.similarity[inside], equal_nan=True)


def test_many_rows_and_pairs() -> None:
    # More pairs than there is room for at first, and groups in which more rows are kept than a band remembers.
    draw = np.random.default_rng(8)
    centres = draw.integers(0, 1 << 58, size=(60, 30))
    rows = []
    for _ in range(900):
        codes = (
            centres[draw.integers(60)].tolist()[: int(draw.integers(20, 31))]
            + draw.integers(0, 1 << 58, size=int(draw.integers(0, 8))).tolist()
        )
        rows.append({code: [0, PROMPT, ANSWER, STOCK][int(draw.integers(4))] if codes[0] % 3 else 0 for code in codes})
    keys = draw.integers(0, 7, size=(len(rows), 6)).astype(np.uint64)
    protected = draw.random(len(rows)) < 0.02
    judged = judge(sets_of(rows), keys, protected, 0.7)
    assert len(judged.left) > 3 * (1 << 12)
    assert 0 < (judged.keepers >= 0).sum() < 900
    assert 0 < judged.accepted.sum() < len(judged.left)
    check(judged, rows, protected.tolist(), keys, 0.7)


def test_a_band_remembers_its_first_kept_rows() -> None:
    rows = [{100 * i + k: 0 for k in range(10)} for i in range(KEPT_OF_BAND + 2)]
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
    rows = [dict.fromkeys(range(start, start + 10), 0) for start in (0, 1, 2)]  # neighbours have 9 of 11 in common, the ends 8 of 12
    judged = judge(sets_of(rows), np.zeros((3, 1), dtype=np.uint64), np.zeros(3, dtype=np.bool_), 0.8)
    assert judged.keepers.tolist() == [-1, 0, -1]
    assert len(set(judged.components.tolist())) == 1
    assert list(zip(judged.left.tolist(), judged.right.tolist(), judged.accepted.tolist(), strict=True)) == [
        (1, 0, True),
        (2, 0, 0),
        (2, 1, True),
    ]


def test_protected_rows_are_kept() -> None:
    rows = [dict.fromkeys(range(10), 0)] * 4
    protected = np.array([False, True, False, True])
    judged = judge(sets_of(rows), np.zeros((4, 1), dtype=np.uint64), protected, 0.8)
    assert judged.keepers.tolist() == [-1, -1, 0, -1]
    assert len(set(judged.components.tolist())) == 1
    # A protected row is compared with all that are kept, a row that found its keeper with those of other components only.
    assert list(zip(judged.left.tolist(), judged.right.tolist(), strict=True)) == [(1, 0), (2, 0), (3, 0), (3, 1)]


@pytest.mark.parametrize(("part", "limits"), [(PROMPT, (0.8, 0.0)), (ANSWER, (0.0, 0.8)), (REJECTED, (0.0, 0.8))])
def test_parts_must_be_near_too(part: int, limits: Limits) -> None:
    rest = dict.fromkeys(range(80), 0)
    rows = [{**rest, **dict.fromkeys(range(start, start + 10), part)} for start in (100, 200, 101)]
    keys, nobody = np.zeros((3, 1), dtype=np.uint64), np.zeros(3, dtype=np.bool_)
    judged = judge(sets_of(rows), keys, nobody, 0.8, limits)
    assert judged.keepers.tolist() == [-1, -1, 0]
    column = 1 if part == PROMPT else 2
    assert judged.similarity[:2, 0].tolist() == [80 / 100, 89 / 91]
    assert judged.similarity[:2, column].tolist() == [0.0, 9 / 11]
    judged = judge(sets_of(rows), keys, nobody, 0.8)
    assert judged.keepers.tolist() == [-1, 0, 0]
    assert np.isnan(judged.similarity[:, 1:]).all()


def test_stock_does_not_make_rows_near() -> None:
    stock = dict.fromkeys(range(90), STOCK)
    rows = [{**stock, **dict.fromkeys(range(start, start + 10), 0)} for start in (100, 105, 101)]
    judged = judge(sets_of(rows), np.zeros((3, 1), dtype=np.uint64), np.zeros(3, dtype=np.bool_), 0.8)
    assert judged.keepers.tolist() == [-1, -1, 0]
    assert judged.similarity[:2, 0].tolist() == [5 / 15, 9 / 11]  # and not 95 / 105, 99 / 101


@pytest.mark.parametrize("threshold", [i / 100 for i in range(50, 101)])
def test_pairs_just_at_the_threshold_are_near(threshold: float) -> None:
    # One set is part of the other, so that the sizes alone say the similarity, and it is the threshold itself.
    share = Fraction(round(threshold * 100), 100)
    for many in (1, 2, 3, 7):
        size = share.denominator * many
        rows = [dict.fromkeys(range(size), 0), dict.fromkeys(range(share.numerator * many), 0)]
        for order in (rows, rows[::-1]):
            judged = judge(sets_of(order), np.zeros((2, 1), dtype=np.uint64), np.zeros(2, dtype=np.bool_), threshold)
            assert judged.keepers.tolist() == [-1, 0]
            assert judged.similarity[:, 0].tolist() == [threshold]
        if share.numerator > 1:
            rows[1].popitem()
            judged = judge(sets_of(rows), np.zeros((2, 1), dtype=np.uint64), np.zeros(2, dtype=np.bool_), threshold)
            assert judged.keepers.tolist() == [-1, -1]


def test_no_rows() -> None:
    judged = judge(sets_of([]), np.zeros((0, 3), dtype=np.uint64), np.zeros(0, dtype=np.bool_), 0.8)
    assert len(judged.keepers) == len(judged.components) == len(judged.left) == 0


def test_rows_that_meet_nobody() -> None:
    rows = [dict.fromkeys(range(10), 0)] * 3
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
    talks = [[("茶是什么？", PROMPT), (answer, ANSWER)] for answer in ("茶是一种常见的饮料。", "茶是一種常見的飲料", "不知道。")]
    made = sets(shingles(texts_of(talks), Unit.MIXED))
    judged = judge(made, np.zeros((3, 1), dtype=np.uint64), np.zeros(3, dtype=np.bool_), 0.5)
    assert judged.keepers.tolist() == [-1, 0, -1]
