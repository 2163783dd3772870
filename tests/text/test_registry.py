"""All rules together: what holds of each alone has to hold of the line, whatever a source is known for and the recipe asks."""

from __future__ import annotations

import json
import re
from html import unescape
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from corpus.schema import MESSAGES, Kind
from corpus.text import characters as c
from corpus.text.conversations import mend
from corpus.text.marks import EDGE, REPEAT, RUN, TRAILING, marks
from corpus.text.registry import TEXT_RULES, TURN_RULES
from corpus.text.rules import Rule, clean
from corpus.text.settings import ALL_RULES, PERSONAL, TextSettings, Traits
from corpus.text.turns import CONTINUATION

GOLDEN = [json.loads(line) for line in (Path(__file__).parent / "golden/rules.jsonl").read_text(encoding="utf-8").splitlines()]
TEXT = {rule.name: rule for rule in TEXT_RULES}
TURN = {rule.name: rule for rule in TURN_RULES}

ALL_TRAITS = Traits(
    html=True, escapes=True, slash_n=True, page_marks=True, cap=320, placeholders=("无", "None"),
    speakers=(("Human:", "user"), ("Assistant:", "assistant"), ("用户:", "user")),
)  # fmt: skip
SETTINGS = {
    "plain": TextSettings(),
    "simplified": TextSettings(script="simplified"),
    "traditional": TextSettings(script="traditional"),
    "masked": TextSettings(mask=PERSONAL),
    "all": TextSettings(ALL_TRAITS, "simplified", PERSONAL),
    "escaped": TextSettings(Traits(escaped=True)),
    "all traditional": TextSettings(ALL_TRAITS, "traditional", PERSONAL),
}
EVERY = pytest.mark.parametrize("given_settings", SETTINGS.values(), ids=SETTINGS)

KEPT = (
    "```python\ndef f(a,  b):\n    s = 'x\\n&lt;b&gt;'  \n    return s  # ！！！！！！　１２\n```",
    "`a  &amp;  b\\n`",
    "https://example.org/a_b?q=1&amp;r=%20%E4%BD%A0#top",
    "http://例子.中国/路径/ａ",
    "anna.berg@example.com",
    "3.14",
    "1,000",
    "-273.15",
    "2023-05-06",
    "1e-9",
    "0x1F",
    "192.168.0.1",
    "10:30:05",
    "50%",
    "3/4",
    "$x^2 +  y^2 \\neq 0$",
    "\\(\\theta \\times \\nu\\)",
    "C:\\new\\table.txt",
)
CLEAN = (
    'The old man put down his book.  Then he asked, "Is it late?"',
    "Rain on the tin roof\n    a cat under the table\nnobody says a word",
    "1. Wash the rice.\n2. Add water.\n   - cold, not warm\n   - two cups\n\n3. Wait...",
    "| day | rain |\n|-----|------|\n| Mon | 3 mm |\n| Tue |      |",
    "> To be read aloud.\n>\n> And twice.",
    "Let $f(x) = x^2$; then f(3) = 9, i.e. 3 × 3 = 9 and 2 < 3 > 1.",
    "It's 5 o'clock — \"finally\", she said… (no reply)",
    "静夜里，我数着窗外的雨声。\n一滴，两滴，\n三滴——天亮了。",
    "　　他站在门口，没有说话。\n　　“进来吧。”她说。",
    "一、准备材料：\n（1）面粉500克；\n（2）水250毫升。\n二、揉面……",
    "《论语》里说：“学而时习之，不亦说乎？”",
    "“喂！！！”他喊道，“你听见了吗？？”",
    "姓名：________  电话：________",
    "L'été dernier, nous étions à la plage ; c'était « magnifique » !",
    "Größe und Übermut: Ärger über öffentliche Maßnahmen in Köln.",
    "今日はとてもいい天気ですね。散歩に行きましょう。",
    "오늘은 날씨가 참 좋네요.",
    "def add(a, b):\n    return a + b",
    "SELECT name, age\nFROM people\nWHERE age > 30;",
    "👨‍👩‍👧 and 🏳️‍🌈 are families of signs",
    "می‌خواهم بنویسم",
    "E = mc², H₂O, 25 °C, №5, ①②③",
    "Q: 3 + 4 * 2 = ?\nA: 11",
    "-----\n=====\n*****\n_____",
)

_BITS_OF = [
    *(
        "<b>",
        "</b>",
        "<br>",
        "&amp;",
        "&lt;",
        "lt;",
        "&",
        "amp;",
        "&quot;",
        "&#39;",
        "&nbsp;",
        "\\n",
        "\\t",
        '\\"',
        "\\",
        "/n",
        "\r\n",
        "\r",
    ),
    *("\u200b", "\u200d", "\ufeff", "\u2028", "\u0085", "\u00ad", "\x00", "\x08", "\x0b", "\x0c", "\x9d", "e\u0301", "\u0301", "\u212b"),
    *(
        "１",
        "Ａ",
        "．",
        "！",
        "!",
        "？",
        "。",
        "…",
        "~",
        "…………",
        "!!!!",
        "，，，，",
        " ",
        "  ",
        "\u3000",
        "\u00a0",
        "\t",
        "\n",
        "\n\n",
        " \n",
    ),
    *(
        "Copy code\n",
        "1 / 2",
        "\nRegenerate response",
        "發",
        "发",
        "頭髮",
        "龙",
        "な",
        "Ã©",
        "â€™",
        "涓",
        "\ufffd",
        "\ufdd0",
        "\ue000",
        "\ue001",
    ),
    *(
        "a@b.com",
        "13812345678",
        "8.8.8.8",
        "::",
        "`",
        "```",
        "```\n",
        "$",
        "$$",
        "|",
        "|---|",
        "http://a.b/",
        "a",
        "Z",
        "中",
        "1",
        ".",
        ",",
        "'",
    ),
    *(
        "Human:",
        "\nHuman: ",
        "\nAssistant: ",
        "</s>",
        "<|im_end|>",
        "[INST]",
        "<s>",
        "\n无",
        "\nNone",
        "\nNo input",
        "输入：无",
        "<noinput>",
    ),
    *(
        "标点",
        "空格",
        "全角",
        "html",
        "\U0001f600",
        "\U00020000",
        "̸",
        "\u1161",
        "<code>",
        "</code>",
        "<pre>",
        "<table><tr><td>",
        "</p>",
        "<p>",
    ),
]
pieces = st.lists(st.sampled_from(_BITS_OF) | st.text(max_size=3), max_size=14).map("".join)
hostile = settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def line(texts: list[str | None], given_settings: TextSettings) -> list[str | None]:
    return clean(pl.Series(texts, dtype=pl.String), TEXT_RULES, given_settings)[0].to_list()


def test_the_names_are_those_of_the_settings() -> None:
    assert tuple(rule.name for rule in (*TEXT_RULES, *TURN_RULES)) == ALL_RULES


def test_every_rule_has_golden_cases_in_both_languages() -> None:
    for name in ALL_RULES:
        languages = [case["language"] for case in GOLDEN if case["rule"] == name]
        assert min(languages.count("zh"), languages.count("en")) >= 2, name


def of(case: dict[str, Any]) -> TextSettings:
    return TextSettings(Traits.of(case.get("traits", {})), case.get("script", "keep"), tuple(case.get("mask", ())))


@pytest.mark.parametrize("case", GOLDEN, ids=[f"{case['rule']}-{i}" for i, case in enumerate(GOLDEN)])
def test_golden(case: dict[str, Any]) -> None:
    before, after = case["before"], case["after"]
    assert before != after
    if case["rule"] in TEXT:
        texts, changes, _ = clean(pl.Series([before, after], dtype=pl.String), [TEXT[case["rule"]]], of(case))
        assert texts.to_list() == [after, after]
        assert changes[case["rule"]].tolist() == [0]
    else:
        lists = pa.array([[dict(zip(("role", "content"), turn, strict=True)) for turn in talk] for talk in (before, after)], MESSAGES)
        made, changes = mend(lists, pl.Series([Kind.DIALOGUE] * 2), [TURN[case["rule"]]], of(case))
        assert [[list(turn.values()) for turn in talk] for talk in made.to_pylist()] == [after, after]
        assert changes[case["rule"]].tolist() == [0]


@EVERY
@pytest.mark.parametrize("rule", TEXT_RULES, ids=TEXT)
def test_golden_texts_after_every_rule_are_at_rest(rule: Rule, given_settings: TextSettings) -> None:
    texts = pl.Series([text for case in GOLDEN if case["rule"] in TEXT for text in (case["before"], case["after"])])
    once = clean(texts, [rule], given_settings)[0]
    assert clean(once, [rule], given_settings)[0].to_list() == once.to_list()


@EVERY
@hostile
@given(texts=st.lists(pieces, min_size=1, max_size=8))
def test_each_rule_is_idempotent_on_hostile_texts(given_settings: TextSettings, texts: list[str]) -> None:
    for rule in TEXT_RULES:
        if rule.wanted(given_settings):
            once = rule.apply(pl.Series(texts, dtype=pl.String), given_settings)
            assert rule.apply(once, given_settings).to_list() == once.to_list(), rule.name


@EVERY
@hostile
@given(texts=st.lists(pieces | st.none(), min_size=1, max_size=8))
def test_the_line_is_idempotent_on_hostile_texts(given_settings: TextSettings, texts: list[str | None]) -> None:
    given_texts = pl.Series(texts, dtype=pl.String)
    once, changes, found = clean(given_texts, TEXT_RULES, given_settings)
    twice, again, _ = clean(once, TEXT_RULES, given_settings)
    assert twice.to_list() == once.to_list()
    assert not any(len(at) for at in again.values())
    assert np.array_equal(found, marks(once))
    changed = {i for at in changes.values() for i in at.tolist()}
    assert changed == {i for i, (a, b) in enumerate(zip(texts, once.to_list(), strict=True)) if a != b}
    assert given_texts.to_list() == texts


def test_a_text_that_never_rests_stays_as_it_was() -> None:
    there = Rule("there", "", lambda texts, _: texts.str.replace_all("a", "b", literal=True))
    back = Rule("back", "", lambda texts, _: texts.str.replace_all("b", "a", literal=True))
    texts, changes, found = clean(pl.Series(["xa ", "x "]), [there, TEXT["trim"], back], TextSettings())
    assert texts.to_list() == ["xa ", "x"]
    assert {name: at.tolist() for name, at in changes.items()} == {"there": [], "trim": [1], "back": []}
    assert np.array_equal(found, marks(texts))


@pytest.mark.parametrize(
    ("text", "expected", "names"),
    [
        ("好！！<b></b>！！", "好！！！", {"tags", "repeats"}),
        ("a&amp;#8203;b", "ab", {"entities", "invisible"}),
        ("好&#12288;&#12288;&#12288;吗", "好\u3000吗", {"entities", "spaces"}),
    ],
)
def test_a_rule_works_on_what_others_laid_bare(text: str, expected: str, names: set[str]) -> None:
    texts, changes, _ = clean(pl.Series([text]), TEXT_RULES, SETTINGS["all"])
    assert texts.to_list() == [expected]
    assert {name for name, at in changes.items() if len(at)} == names


@EVERY
@pytest.mark.parametrize("kept", KEPT)
@pytest.mark.parametrize(
    "frame", ["{}", "见 {} ，好。", "Look at {} now.", "第一&quot;行！！！！！！\n{}\n\u200b２行", "她说　　　　好\r\n\r\n{}\r\n"]
)
def test_code_addresses_and_numbers_stay(given_settings: TextSettings, kept: str, frame: str) -> None:
    if "```" in kept:
        frame = frame.replace("见 {} ，好。", "见\n\n{}\n\n好。").replace("Look at {} now.", "Look:\n{}\nat it.")
    found = line([frame.format(kept)], given_settings)[0] or ""
    if "email" in given_settings.mask and "@" in kept:
        return  # it is what was asked to be masked
    if given_settings.traits.escaped:  # then it was written so in code too, and the text is decoded as a whole or not at all
        assert kept in found or unescape(kept) in found
        return
    assert kept in found


@EVERY
@pytest.mark.parametrize("text", CLEAN)
def test_clean_text_stays(given_settings: TextSettings, text: str) -> None:
    if given_settings.script == "traditional" and re.search("[\u4e00-\u9fff]", text):
        text = line([text], given_settings)[0] or ""
    assert line([text], given_settings) == [text]


@pytest.mark.parametrize("given_settings", [SETTINGS["plain"], SETTINGS["all traditional"]], ids=["plain", "all traditional"])
def test_no_character_raises_or_brings_others_in_doubt(given_settings: TextSettings) -> None:
    """Every code point once among others, and many of them alone."""
    codes = [chr(code) for code in range(0x110000) if not 0xD800 <= code < 0xE000]
    alone = line(["".join(("中", char, "文")) for char in codes[::97]], given_settings)
    assert all(text and text[0] == "中" and text[-1] == "文" for text in alone)
    blocks = ["".join(codes[start : start + 4096]) for start in range(0, len(codes), 4096)]
    once = line(list(blocks), given_settings)
    assert line(once, given_settings) == once


@EVERY
@hostile
@given(texts=st.lists(st.text(max_size=40), max_size=8))
def test_a_rule_leaves_what_has_none_of_its_marks(given_settings: TextSettings, texts: list[str]) -> None:
    series = pl.Series(texts, dtype=pl.String)
    found = marks(series)
    for rule in TEXT_RULES:
        free = series.filter(pl.Series((found & np.uint32(rule.marks)) == 0, dtype=pl.Boolean))
        if rule.wanted(given_settings) and len(free):
            assert rule.apply(free, given_settings).to_list() == free.to_list(), rule.name


def test_marks_know_what_rules_look_for() -> None:
    """The bits that rules select by are all set by some text."""
    bits = 0
    for rule in TEXT_RULES:
        bits |= rule.marks
    texts = pl.Series(["é中<&\\。\r\u200b\u00a0\x00\u0301１！！！！a  b \nx1@:", " "])
    assert bits & ~int(np.bitwise_or.reduce(marks(texts))) == 0
    assert all(bits & bit for bit in (EDGE, REPEAT, RUN, TRAILING, c.AT))


turns = st.lists(st.tuples(st.sampled_from(["user", "assistant", "user", "assistant", "system"]), pieces), max_size=5)
kinds = st.sampled_from([Kind.DIALOGUE, Kind.PROMPT, Kind.PREFERENCE, CONTINUATION])


@EVERY
@hostile
@given(talks=st.lists(st.tuples(kinds, turns), min_size=1, max_size=5))
def test_texts_and_turns_come_to_rest_together(given_settings: TextSettings, talks: list[tuple[str, list[tuple[str, str]]]]) -> None:
    kind = pl.Series([str(kind) for kind, _ in talks], dtype=pl.String)
    lists = pa.array([[{"role": role, "content": content} for role, content in turns] for _, turns in talks], MESSAGES)

    def once(lists: pa.ListArray) -> pa.ListArray:
        contents = line(lists.flatten().field("content").to_pylist(), given_settings)
        struct = pa.StructArray.from_arrays(
            [lists.flatten().field("role"), pa.array(contents, pa.string())], fields=list(MESSAGES.value_type)
        )
        cleaned = pa.ListArray.from_arrays(lists.offsets, struct, type=MESSAGES)
        return mend(cleaned, kind, TURN_RULES, given_settings, text_rules=TEXT_RULES)[0]

    first = once(lists)
    assert once(first).to_pylist() == first.to_pylist()
