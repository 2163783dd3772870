"""The search for leaks: what is held is found wherever it stands, and nothing else is; against brute force, and whatever the batches."""

from __future__ import annotations

import itertools
import random

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from corpus.dedup.grams import grams
from corpus.dedup.leaks import ANSWER, GRAM, SHORT, STOCK, Index, Items, Leaks, Scanner, index
from corpus.dedup.shingles import N, shingles
from corpus.dedup.spans import placed, spans
from corpus.dedup.texts import Texts
from corpus.dedup.units import Unit

QUESTION = "请说明为什么在高原上烧开的水温度比海边的低，并举出一个生活中的例子来。"
ANSWER_TEXT = "高原气压较低，水的沸点随气压降低，所以不到一百度就沸腾了，煮饭因此常常夹生。"
OTHER = "昨天下午我们沿着河边走了很久，看见许多白鹭停在浅滩上，后来下起了小雨才慢慢回家。"
ENGLISH = "Which river crosses the old border three times before it reaches the northern sea near the harbour?"


def texts(rows: list[str] | list[list[str]]) -> Texts:
    """Rows of one or several texts."""
    lists = [[row] if isinstance(row, str) else row for row in rows]
    flat = Texts.of(pa.array([text for row in lists for text in row], pa.string()))
    bounds = np.cumsum([0, *map(len, lists)]).astype(np.int64)
    return Texts(flat.offsets, flat.data, bounds, flat.parts, np.zeros(len(rows), dtype=np.uint8))


def items(*parts: tuple[str, str, str]) -> Items:
    """Items of question, options and answer; what is empty is not there."""
    question, options, answer = (texts([[p[i]] if p[i] else [] for p in parts]) for i in range(3))
    return Items(texts([[p[0] + p[1]] if p[0] else [] for p in parts]), question, options, answer)


def indexed(*parts: tuple[str, str, str], near: float = 0.7, containment: float = 0.5) -> Index:
    return index(lambda: [items(*parts)], near, containment)


def scan(found: Index, rows: list[str], prompts: list[str] | None = None) -> Leaks:
    """What rows of one text leak; `prompts` are their prompts, by default none."""
    return Scanner(found).scan(texts(rows), texts([[]] * len(rows) if prompts is None else prompts))  # type: ignore[list-item]


# --- n-grams


@settings(deadline=None)
@given(st.lists(st.text("ab 中文，。1+'A０ß\U00020000", max_size=40), max_size=6), st.sampled_from([1, 5, 13]))
def test_grams_are_the_shingles(rows: list[str], n: int) -> None:
    mine, known = grams(texts(rows), n, 1), shingles(texts(rows), Unit.MIXED, n)
    for row, text in enumerate(rows):
        if placed(text):
            assert mine.of(row).tolist() == known.hashes[known.bounds[row] : known.bounds[row + 1]].tolist()
        else:
            assert len(mine.of(row)) == 0


@settings(deadline=None)
@given(st.text("ab 中文，。1+'A０ßﬁ\u0301\ufe0f", max_size=30))
def test_units_are_placed_as_the_kernel_counts_them(text: str) -> None:
    units = placed(text)
    assert len(units) == len(grams(texts([text]), 1, 1).hashes)
    assert all(a.end <= b.start or (a.start, a.end) == (b.start, b.end) for a, b in itertools.pairwise(units))


def test_a_text_outside_the_bounds_has_no_gram() -> None:
    rows = ["中" * units for units in (7, 8, 12, 13, 14)]
    assert [len(grams(texts(rows), 13, 8).of(i)) for i in range(5)] == [0, 1, 1, 1, 2]
    assert [len(grams(texts(rows), 8, 8, 12).of(i)) for i in range(5)] == [0, 1, 5, 0, 0]


# --- containment


@pytest.mark.parametrize(
    "row",
    [
        QUESTION + ANSWER_TEXT,
        QUESTION,
        ANSWER_TEXT,
        OTHER + QUESTION + OTHER,
        "請說明為什麼在高原上燒開的水溫度比海邊的低並舉出一個生活中的例子來",
        "请说明 为什么，在高原上烧开的水；温度比海边的低——并举出一个生活中的例子来！",
        OTHER + QUESTION[:-6] + OTHER,
    ],
)
def test_what_a_row_holds_is_found_wherever_it_stands(row: str) -> None:
    found = scan(indexed((QUESTION, "", ANSWER_TEXT), (OTHER[::-1], "", "")), [OTHER, row, ""])
    assert found.held.tolist() == [-1, 0, -1]
    assert found.share[1] >= 0.5


def test_width_and_case_hide_nothing() -> None:
    wide = "".join(chr(ord(c) + 0xFEE0) if "!" <= c <= "~" else c for c in ENGLISH.upper())
    assert scan(indexed((ENGLISH, "", "")), [f"前文 {wide} 后文", ENGLISH.replace("three times", "once")]).held.tolist() == [0, -1]


def test_a_whole_item_is_all_of_it_and_a_question_says_so() -> None:
    found = scan(indexed((QUESTION, "", ANSWER_TEXT)), [QUESTION + "\n" + ANSWER_TEXT, QUESTION, ANSWER_TEXT])
    assert found.share[:2].tolist() == [1.0, 1.0]
    assert found.asked.tolist() == [False, True, False]
    question, answer = (len(placed(text)) - GRAM + 1 for text in (QUESTION, ANSWER_TEXT))
    assert found.share[2] == pytest.approx(ANSWER * answer / (question + ANSWER * answer))


def test_stock_phrases_convict_nobody() -> None:
    stock = "根据上面的文章内容选择一个最符合文章意思的选项并且说明选择它的理由"
    many = [(f"{stock}{name}", "", "") for name in "甲乙丙丁戊己庚辛壬癸"]
    assert len(many) > STOCK
    assert scan(indexed(*many), [stock, OTHER + stock]).held.tolist() == [-1, -1]
    assert scan(indexed(*many[:2]), [stock]).held.tolist() == [0]
    # The same item many times is one item.
    assert scan(indexed(*[(stock, "", "")] * 20), [OTHER + stock]).held.tolist() == [0]


def test_what_two_items_share_weighs_half() -> None:
    shared, own = QUESTION, OTHER
    found = scan(indexed((shared + own, "", ""), (shared + ANSWER_TEXT, "", ""), containment=0.01), [shared])
    grams_of = [len(placed(text)) - GRAM + 1 for text in (shared, min(shared + own, shared + ANSWER_TEXT, key=len))]
    assert found.share[0] == pytest.approx(grams_of[0] / 2 / (grams_of[0] / 2 + grams_of[1] - grams_of[0]))


def test_options_may_be_left_out_or_stand_in_another_order() -> None:
    options = "\nA. the grey one\nB. the second of the four\nC. none of these\nD. all"
    shuffled = "\nA. all\nB. none of these\nC. the grey one\nD. the second of the four"
    found = scan(indexed((ENGLISH, options, "B. the second of the four")), [ENGLISH, ENGLISH + shuffled, options])
    assert found.held.tolist() == [0, 0, -1]


def test_short_questions_must_be_held_whole_and_the_shortest_are_no_evidence() -> None:
    short = "鲸鱼为什么要浮上水面"
    assert SHORT <= len(placed(short)) < GRAM
    found = scan(
        indexed((short, "", ""), ("什么是变量", "", "")), [f"问：{short}？答：为了呼吸。", short[:-1] + "来换气呢", "什么是变量", ""]
    )
    assert found.held.tolist() == [0, -1, -1, -1]


def test_items_without_text_and_no_items_at_all() -> None:
    assert scan(indexed(("", "", ""), ("，。", "", "")), ["", "，。", OTHER], ["", "，。", OTHER]).held.tolist() == [-1, -1, -1]
    found = Scanner(index(list, 0.7, 0.5)).scan(texts([OTHER]), texts([OTHER]))
    assert (found.held.tolist(), found.near.tolist()) == ([-1], [-1])


# --- near prompts


def test_near_prompts_have_the_exact_similarity() -> None:
    changed = QUESTION.replace("高原", "高山")
    found = scan(indexed((QUESTION, "", "")), [""] * 3, [changed, OTHER, QUESTION.replace("，", " ")])
    one, other = ({tuple(u.unit for u in placed(t)[i : i + N]) for i in range(len(placed(t)) - N + 1)} for t in (QUESTION, changed))
    assert found.near.tolist() == [0, -1, 0]
    assert found.jaccard.tolist() == [pytest.approx(len(one & other) / len(one | other)), 0.0, 1.0]


def test_prompts_of_one_template_are_not_near() -> None:
    template = (
        "下面这条新闻说的是哪一类事情？只能从这些里面选：财经，体育，教育，科技，军事，旅游，国际，农业，电竞，汽车，房产，娱乐。新闻是："
    )
    news = [
        "股市大涨",
        "球队夺冠",
        "高考改革",
        "火箭升空",
        "演习开始",
        "海岛开放",
        "会谈结束",
        "小麦丰收",
        "战队晋级",
        "新车下线",
        "房价回落",
        "影片上映",
    ]
    found = scan(indexed(*((template + each, "", "") for each in news[:10])), [""] * 2, [template + news[11], template + "股市大涨了"])
    assert found.near.tolist() == [-1, 0]


WORDS = ["天", "地", "人", "河", "山", "the", "sea", "7"]


@settings(deadline=None, max_examples=60)
@given(st.lists(st.lists(st.sampled_from(WORDS), min_size=1, max_size=25), min_size=1, max_size=6), st.randoms(use_true_random=False))
def test_no_near_prompt_is_missed(prompts: list[list[str]], r: random.Random) -> None:
    """Against comparing every row with every item."""
    rows = [" ".join(w for w in p if r.random() > 0.1) for p in prompts * 2]
    held = [" ".join(p) for p in prompts]

    def sets(text: str) -> set[int]:
        return set(grams(texts([text]), N, 1).hashes.tolist())

    found = scan(index(lambda: [items(*((h, "", "") for h in held))], 0.6, 0.5), [""] * len(rows), rows)
    for row, near, similar in zip(rows, found.near.tolist(), found.jaccard.tolist(), strict=True):
        best = max((len(sets(row) & sets(h)) / len(sets(row) | sets(h)) for h in held if sets(row) | sets(h)), default=0.0)
        if best >= 0.6:
            assert near >= 0
            assert similar == pytest.approx(best)
        else:
            assert near == -1


# --- invariance


def _world(r: random.Random) -> tuple[list[tuple[str, str, str]], list[str]]:
    def text(n: int) -> str:
        return "".join(r.choice("春江潮水连海平上明月共生滟随波千万里何处无流宛转绕芳甸照花林皆似霰空霜不觉飞汀白沙看见") for _ in range(n))

    parts = [(text(r.randint(5, 60)), "", text(r.randint(0, 40))) for _ in range(12)]
    rows = [text(30) + r.choice(parts)[r.choice([0, 2])][: r.randint(5, 60)] + text(20) for _ in range(40)]
    return parts, rows


@pytest.mark.parametrize("seed", range(5))
def test_batches_and_order_change_nothing(seed: int) -> None:
    r = random.Random(seed)
    parts, rows = _world(r)
    whole = indexed(*parts)
    expected = scan(whole, rows, rows)
    pieces = index(lambda: [items(*parts[i : i + 5]) for i in range(0, len(parts), 5)], 0.7, 0.5)
    for name in ("hashes", "bounds"):
        assert np.array_equal(getattr(whole.prompts, name), getattr(pieces.prompts, name))
    assert np.array_equal(whole.totals, pieces.totals)
    scanner = Scanner(pieces)
    order = list(range(len(rows)))
    r.shuffle(order)
    for start in range(0, len(rows), 7):
        at = order[start : start + 7]
        found = scanner.scan(texts([rows[i] for i in at]), texts([rows[i] for i in at]))
        for name in ("near", "jaccard", "held", "share", "asked"):
            assert getattr(found, name).tolist() == getattr(expected, name)[at].tolist()
    assert (expected.held >= 0).any()


# --- places


def test_spans_are_where_the_item_stands() -> None:
    row = [OTHER, OTHER[:7] + "。" + QUESTION + OTHER]
    [(text, start, end)] = spans(row, [QUESTION, ANSWER_TEXT], GRAM, SHORT)
    assert (text, row[text][start:end]) == (1, QUESTION[:-1])
    assert spans([OTHER], [QUESTION], GRAM, SHORT) == []


def test_spans_count_characters() -> None:
    row = "𠀀é " + ENGLISH.upper() + " the end"
    [(_, start, end)] = spans([row], [ENGLISH], GRAM, SHORT)
    assert row[start:end] == ENGLISH.upper()[:-1]
