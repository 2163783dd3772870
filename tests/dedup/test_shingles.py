"""Shingles of rows, against tuples of units."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from corpus.dedup.judge import jaccard, sets
from corpus.dedup.shingles import N, mark, shingles, unmarked
from corpus.dedup.texts import ANSWER, PARTS, PROMPT, REJECTED, STOCK
from corpus.dedup.units import Unit
from tests.dedup.golden import GOLDEN, Golden
from tests.dedup.reference import Talk, column_of, grams, marked_grams, marked_set, row_of, same_structure, sequence, set_of, texts_of
from tests.dedup.test_units import TEXTS

SMALL = st.text(st.sampled_from("ab 一二，1+"), max_size=14)
ROWS = st.lists(st.tuples(st.one_of(SMALL, TEXTS), st.sampled_from([0, *PARTS])), max_size=4)


@pytest.mark.parametrize("golden", GOLDEN, ids=lambda golden: f"{golden.unit}-{golden.row[0][0][:6]}")
def test_golden_hashes(golden: Golden) -> None:
    found = shingles(texts_of([golden.row]), golden.unit)
    assert [f"{value:016x}" for value in row_of(found, 0)] == golden.shingles.split()
    assert [f"{value:016x}" for value in found.whole[0].tolist()] == golden.whole.split()


@settings(max_examples=200, deadline=None)
@given(st.lists(ROWS, min_size=1, max_size=6), st.sampled_from(Unit), st.integers(1, 7))
def test_any_rows(rows: list[Talk], unit: Unit, n: int) -> None:
    found = shingles(texts_of(rows), unit, n)
    assert found.bounds[0] == 0
    assert found.bounds[-1] == len(found.hashes)
    assert (np.diff(found.bounds) > 0).all()
    hashes = [row_of(found, i) for i in range(len(rows))]
    same_structure([[value >> 6 for value in row] for row in hashes], [grams(row, unit, n) for row in rows])
    assert [[value & 63 for value in row] for row in hashes] == [[part for _, part in marked_grams(row, unit, n)] for row in rows]


@settings(max_examples=150, deadline=None)
@given(st.lists(ROWS, min_size=2, max_size=6), st.sampled_from(Unit))
def test_sets_of_any_rows(rows: list[Talk], unit: Unit) -> None:
    made = sets(shingles(texts_of(rows), unit))
    expected = [marked_set(row, unit) for row in rows]
    assert made.sizes.tolist() == [len(one) for one in expected]
    for i in range(len(rows)):
        assert (np.diff((set_of(made, i) >> np.uint64(4)).astype(np.int64)) > 0).all()
        assert sorted((set_of(made, i) & np.uint64(15)).tolist()) == sorted(expected[i].values())
        for j in range(i):
            one, other = expected[i].keys(), expected[j].keys()
            assert jaccard(set_of(made, i), set_of(made, j)) == len(one & other) / len(one | other)


@settings(max_examples=60, deadline=None)
@given(st.lists(ROWS, min_size=1, max_size=6), st.sampled_from(Unit), st.randoms(use_true_random=False))
def test_rows_know_nothing_of_their_neighbours(rows: list[Talk], unit: Unit, random) -> None:  # type: ignore[no-untyped-def]
    together = shingles(texts_of(rows), unit)
    order = list(range(len(rows)))
    random.shuffle(order)
    shuffled = shingles(texts_of([rows[i] for i in order]), unit)
    for place, i in enumerate(order):
        alone = shingles(texts_of([rows[i]]), unit)
        assert row_of(alone, 0) == row_of(together, i) == row_of(shuffled, place)
        assert alone.whole[0].tolist() == together.whole[i].tolist() == shuffled.whole[place].tolist()


@settings(max_examples=100, deadline=None)
@given(st.lists(ROWS, min_size=2, max_size=6), st.sampled_from(Unit))
def test_whole_is_the_sequence_of_units(rows: list[Talk], unit: Unit) -> None:
    found = shingles(texts_of(rows), unit, 1)
    sequences = [tuple(map(tuple, sequence(row, unit))) for row in rows]
    same_structure([[tuple(whole)] for whole in found.whole.tolist()], [[one] for one in sequences])


def test_whole_knows_order_and_division() -> None:
    rows = [
        [("我打了他", 0)],
        [("他打了我", 0)],
        [("我打", 0), ("了他", 0)],
        [("我打了他", 0), ("", 0)],
        [("", 0), ("我打了他", 0)],
        [],
        [("", 0)],
        [("一一一一一一", 0)],  # has the set of the next
        [("一一一一一一一", 0)],
    ]
    assert len({tuple(whole) for whole in shingles(texts_of(rows), Unit.MIXED).whole.tolist()}) == len(rows)


def test_the_same_characters_in_another_order_are_not_duplicates() -> None:
    made = sets(shingles(column_of(["我打了他", "他打了我", "我打了他。"]), Unit.MIXED))
    assert jaccard(set_of(made, 0), set_of(made, 1)) == 0.0
    assert jaccard(set_of(made, 0), set_of(made, 2)) == 1.0


@pytest.mark.parametrize("unit", Unit)
def test_short_rows_are_one_shingle(unit: Unit) -> None:
    texts = ["一二三四五"[:many] for many in range(1, N + 1)]
    found = shingles(column_of(texts), unit)
    assert np.diff(found.bounds).tolist() == [1] * N
    assert len(set(found.hashes.tolist())) == N
    assert len(shingles(column_of(["一二三四五六"]), unit).hashes) == 2


def test_no_row_is_empty() -> None:
    texts = ["", " \n", "。", "……", "?!", "！", "\u200b", None, "😀", "'"]
    for unit in Unit:
        made = sets(shingles(column_of(texts), unit))
        assert (made.sizes == 1).all()
        assert jaccard(set_of(made, 0), set_of(made, 1)) == 1.0
        assert jaccard(set_of(made, 2), set_of(made, 5)) == 0.0
        assert jaccard(set_of(made, 0), set_of(made, 2)) == 0.0
    assert np.diff(shingles(texts_of([[], [("", ANSWER)]]), Unit.MIXED).bounds).tolist() == [1, 1]


def test_texts_of_a_row_do_not_flow_into_each_other() -> None:
    parts = [("一二三四五六", 0), ("七八九十百千", 0)]
    apart = set(row_of(shingles(texts_of([parts]), Unit.MIXED), 0))
    alone = set(shingles(texts_of([[part] for part in parts]), Unit.MIXED).hashes.tolist())
    assert apart == alone
    assert len(apart) == 4
    words = shingles(texts_of([[("wa", 0), ("ter", 0)], [("water", 0)]]), Unit.MIXED, 1)
    assert np.diff(words.bounds).tolist() == [2, 1]


def test_the_lowest_bits_say_the_part() -> None:
    rows = [[("一二三四五六", PROMPT), ("七八九十百千", ANSWER), ("短", REJECTED), ("长", 0)], [("。", ANSWER)], [("", ANSWER)]]
    found = shingles(texts_of(rows), Unit.MIXED)
    assert [value & 63 for value in row_of(found, 0)] == [PROMPT, PROMPT, ANSWER, ANSWER, REJECTED, 0]
    assert [value & 63 for value in row_of(found, 1)] == [ANSWER]
    assert [value & 63 for value in row_of(found, 2)] == [0]  # the shingle of nothing is of no part


def test_a_shingle_of_several_parts_has_them_all() -> None:
    same = "一二三四五六"
    rows = [[(same, PROMPT), (same, ANSWER)], [(same, ANSWER), (same, PROMPT), (same, ANSWER)], [(same, REJECTED), (same, 0)], [(same, 0)]]
    made = sets(shingles(texts_of(rows), Unit.MIXED))
    assert made.sizes.tolist() == [2, 2, 2, 2]
    for row, parts in enumerate([PROMPT | ANSWER, PROMPT | ANSWER, REJECTED, 0]):
        assert (set_of(made, row) & np.uint64(15)).tolist() == [parts, parts]
        assert jaccard(set_of(made, 0), set_of(made, row)) == 1.0


@settings(max_examples=100, deadline=None)
@given(st.lists(ROWS, min_size=1, max_size=6), st.sampled_from(Unit), st.data())
def test_stock_is_marked_and_left_out(rows: list[Talk], unit: Unit, data: st.DataObject) -> None:
    before = shingles(texts_of(rows), unit)
    bare = sorted({value & ~63 for value in before.hashes.tolist()} | {16, (1 << 64) - 16})
    stock = data.draw(st.lists(st.sampled_from(bare), min_size=1, unique=True).map(sorted))
    marked = shingles(texts_of(rows), unit)
    mark(marked, np.array(stock, dtype=np.uint64))
    left = unmarked(marked)
    assert left.whole.tolist() == marked.whole.tolist() == before.whole.tolist()
    for i in range(len(rows)):
        mine = row_of(before, i)
        own = [value for value in mine if value & ~63 not in stock]
        assert row_of(left, i) == (own or mine)
        assert row_of(marked, i) == ([value | STOCK * (value & ~63 in stock) for value in mine] if own else mine)


def test_a_row_of_stock_alone_keeps_all() -> None:
    found = shingles(column_of(["一二三四五六", "一二三四五六七"]), Unit.MIXED)
    before = found.hashes.tolist()
    mark(found, np.unique(found.hashes[:2]))
    left = unmarked(found)
    assert np.diff(left.bounds).tolist() == [2, 1]
    assert row_of(left, 0) == before[:2]
    assert row_of(left, 1) == before[4:]


def test_a_long_row() -> None:
    text = "".join(map(chr, range(0x4E00, 0x9FA5))) * 5
    assert len(shingles(column_of(["a", text, "b"]), Unit.CHAR).hashes) == len(text) - 4 + 2
    worst = "ΐ" * 50_000  # two bytes that are three units
    assert len(shingles(column_of([worst]), Unit.CHAR).hashes) == 150_000 - 4
