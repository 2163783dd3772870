"""Every measure against a plain implementation of what its comment says, and by hand in both languages."""

from __future__ import annotations

import os
import unicodedata
from collections import Counter
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from corpus.text import characters as c
from corpus.text.counting import LINE, STOP_WORDS
from corpus.text.measures import MEASURES, Rows, measure
from corpus.text.settings import TextSettings, Traits
from tests.text.test_repetition import brute as longest_span

BITS = c.table()
WHITE = c.BLANK | c.ODD_BLANK | c.LINE_FEED | c.CR


def table(rows: list[list[tuple[str, str]]], cap: int | None = None) -> dict[str, list[Any]]:
    """Measures of rows of (role, text)."""
    flat = [(at, role, text) for at, row in enumerate(rows) for role, text in row]
    made = Rows(
        texts=pl.Series([text for _, _, text in flat], dtype=pl.String),
        roles=pl.Series([role for _, role, _ in flat], dtype=pl.String),
        rows=np.array([at for at, _, _ in flat], dtype=np.int64),
        count=len(rows),
        answers=np.array([role in ("assistant", "chosen", "text") for _, role, _ in flat], dtype=bool),
    )
    found = measure(made, TextSettings(traits=Traits(cap=cap)))
    assert [(name, of) for name, of, _ in MEASURES] == [(name, column.type) for name, column in found.items()]
    assert all(len(column) == len(rows) for column in found.values())
    assert {name for name, column in found.items() if column.null_count} <= {"script", "language", "score"}
    return {name: column.to_pylist() for name, column in found.items()}


def one(text: str, role: str = "text", cap: int | None = None) -> dict[str, Any]:
    """Measures of one row of one text."""
    return {name: values[0] for name, values in table([[(role, text)]], cap).items()}


def kind(character: str) -> str:
    bits = int(BITS[ord(character)])
    for name, mask in (
        ("white", WHITE),
        ("single", c.HAN | c.KANA | c.HANGUL),
        ("word", c.LATIN | c.LETTER),
        ("digit", c.DIGIT),
        ("sign", c.PUNCTUATION | c.SYMBOL),
    ):
        if bits & mask:
            return name
    return "other" if bits & (c.CONTROL | c.INVISIBLE) else "mark"


def tokens(line: str) -> list[tuple[str, str]]:
    """Units and signs of a line as (kind, text), blanks left out."""
    out: list[tuple[str, str]] = []
    joined = False  # whether the character before is the last of a run that may go on
    for at, character in enumerate(line):
        what = kind(character)
        if what == "white":
            joined = False
        elif (
            joined
            and out[-1][0] == "word"
            and (what in ("word", "mark") or (character in "'’" and at + 1 < len(line) and kind(line[at + 1]) == "word"))
        ):
            out[-1] = ("word", out[-1][1] + character)
        elif joined and out[-1][0] == "digit" and what == "digit":
            out[-1] = ("digit", out[-1][1] + character)
        else:
            out.append((what, character))
            joined = what in ("word", "digit")
    return out


def reference(texts: list[str]) -> dict[str, float]:
    """The measures that need no guess, of a row of these texts, as slow and plain as can be."""
    visible = [ch for text in texts for ch in text if kind(ch) != "white"]
    lines = [tokens(line) for text in texts for line in text.split("\n")]
    units = [[token for line in text.split("\n") for token in tokens(line) if token[0] in ("single", "word", "digit")] for text in texts]
    words = [text for row in units for what, text in row if what == "word"]
    grams = {n: [tuple(row[i : i + n]) for row in units for i in range(len(row) - n + 1)] for n in (2, 4)}
    seen: set[tuple[tuple[str, str], ...]] = set()
    dup = 0
    for line in lines:
        size = sum(len(text) for _, text in line)
        if not line:
            continue
        if size >= LINE and tuple(line) in seen:
            dup += size
        seen.add(tuple(line))

    def share(part: float, whole: float, nothing: float = 0) -> float:
        return float(np.float32(part / whole)) if whole else nothing

    separators = (chr(0xF0000 + at) for at in range(len(texts)))
    joined = "".join(text + separator for text, separator in zip(texts, separators, strict=False))
    longest = longest_span(joined)
    chars = sum(map(len, texts))
    hans = {ch for ch in visible if int(BITS[ord(ch)]) & c.HAN}
    found = {word.lower() for word in words} | {"这" if ch == "這" else ch for ch in hans}
    letters = [[ch for ch in word if kind(ch) == "word"] for word in words]
    return {
        "chars": chars,
        "units": sum(map(len, units)),
        "han_share": share(sum(int(BITS[ord(ch)]) & c.HAN != 0 for ch in visible), len(visible)),
        "latin_share": share(sum(int(BITS[ord(ch)]) & c.LATIN != 0 for ch in visible), len(visible)),
        "digit_share": share(sum(kind(ch) == "digit" for ch in visible), len(visible)),
        "symbol_share": share(sum(kind(ch) == "sign" for ch in visible), len(visible)),
        "replacement": sum(text.count("\ufffd") for text in texts),
        "lines": sum(bool(line) for line in lines),
        "dup_lines": share(dup, len(visible)),
        "distinct_2": share(len(set(grams[2])), len(grams[2]), 1.0),
        "distinct_4": share(len(set(grams[4])), len(grams[4]), 1.0),
        "top_2": share(max(Counter(grams[2]).values(), default=0), len(grams[2])),
        "mean_word": share(sum(map(len, letters)), len(words)),
        "stop_words": sum(word in found for word in STOP_WORDS),
        "repeat": longest,
        "repeat_share": share(longest, chars),
    }


TEXTS = st.one_of(
    st.text(alphabet="ab的了 \n.1'", max_size=60),
    st.lists(
        st.sampled_from(["The ", "don't ", "’s", "是", "的", "这", "這", "と", "한국", "\n", "  ", "\u3000", "42", "３", "。", "...", "\ufffd", "é", "e\u0301", "\U00020000", "жар", "a line of text\n", "一行很长很长的文字。\n", "\u200b", "\r"]),
        max_size=25,
    ).map("".join),
    st.text(max_size=30),
)  # fmt: skip


@given(st.lists(st.lists(TEXTS, max_size=4), max_size=4))
@settings(max_examples=300, deadline=None)
def test_equals_the_plain_implementation(rows: list[list[str]]) -> None:
    found = table([[("user" if at % 2 == 0 else "assistant", text) for at, text in enumerate(row)] for row in rows])
    for at, row in enumerate(rows):
        assert {name: found[name][at] for name in reference(row)} == reference(row)


@given(st.lists(st.tuples(st.sampled_from(["user", "assistant", "text", "chosen", "rejected", "title"]), TEXTS), max_size=8))
@settings(max_examples=100, deadline=None)
def test_a_row_measures_the_same_alone_and_among_others(row: list[tuple[str, str]]) -> None:
    other = [("user", "在吗 1 2 3"), ("assistant", "I am here. I am here.\n\n在的。")]
    together, alone = table([other, row, [], row, other]), table([row])
    for name, values in together.items():
        assert values[1] == values[3] == alone[name][0]
        assert values[0] == values[4]
        assert not name.endswith("share") or 0 <= values[1] <= 1


def test_no_rows() -> None:
    assert table([])["chars"] == []
    assert table([[], []])["distinct_2"] == [1.0, 1.0]


def test_by_hand() -> None:
    chinese = one("今天的天气很好，我们去公园吧。今天的天气很好！")
    assert (chinese["chars"], chinese["units"], chinese["lines"]) == (23, 20, 1)
    assert chinese["han_share"] == pytest.approx(20 / 23)
    assert chinese["symbol_share"] == pytest.approx(3 / 23)
    assert chinese["repeat"] == 7
    assert chinese["distinct_2"] == pytest.approx(13 / 19)
    assert chinese["stop_words"] == 1
    assert chinese["ends"] is True
    english = one("The cat isn't here.\nThe dog has 42 bones and")
    assert (english["units"], english["lines"], english["stop_words"]) == (10, 2, 2)
    assert english["mean_word"] == pytest.approx((3 + 3 + 4 + 4 + 3 + 3 + 3 + 5 + 3) / 9)
    assert english["end_lines"] == 0.5
    assert english["ends"] is False
    assert (english["turns"], one("Hi", "user")["turns"]) == (0, 1)


def test_n_grams_and_spans_do_not_cross_texts() -> None:
    found = table([[("user", "一二"), ("assistant", "三四一二")]])
    assert found["distinct_2"] == [0.75]
    assert found["distinct_4"] == [1.0]
    assert found["repeat"] == [2]
    assert table([[("user", "ab"), ("assistant", "ab")]])["repeat"] == [2]


@pytest.mark.parametrize(
    ("line", "listed"),
    [
        ("- one", 1), ("* one", 1), ("• 一", 1), ("1. one", 1), ("12) one", 1), ("3、三", 1), ("（2）二", 1), ("(a) one", 1), ("一、总则", 1), ("（十二）附则", 1),
        ("① 圆", 1), ("A. yes", 1), ("  - nested", 1), ("-5 degrees", 0), ("1.5 metres", 0), ("2023. 年", 0), ("**bold**", 0), ("一个人", 0), ("U.S. law", 0),
        ("I am", 0), ("10", 0), ("(see below)", 0),
    ],
)  # fmt: skip
def test_list_lines(line: str, listed: float) -> None:
    assert one(line)["list_lines"] == listed


@pytest.mark.parametrize(
    ("text", "share"),
    [
        ("```python\nx\n```\n说明", 0.75), ("~~~\na\nb", 1.0), ("def f(x):\n    return x[0]", 1.0), ("int main() {\n}", 1.0), ("x += 1;", 1.0), ("print(\"hi\")", 1.0),
        ("total = a + b", 1.0), ("for i in range(3):", 1.0), ("This is prose, with (brackets) in it.", 0.0), ("如果 x > 0，返回 f(x)；", 0.0), ("Use the following:", 0.0),
        ("y = 2", 0.0), ("1. call f(x)", 0.0), ("The area of A = 5 (cm)", 0.0),
    ],
)  # fmt: skip
def test_code_lines(text: str, share: float) -> None:
    assert one(text)["code_lines"] == share


@pytest.mark.parametrize(
    ("text", "ends"),
    [
        ("好的。", True), ("好的，我", False), ("Yes.", True), ("Yes, he", False), ("Yes", True), ("北京", True), ("8+16=24", True),
        ("第一行\n第二行", False), ("这句话没有标点但是比一个短语长得多所以不能算是一个短语", False), ("for x in y:\n    go(x)", True), ("他说：“好！”", True), ("(done)", True), ("```\ncode\n```", True), ("```\ncode.", False),
        ("1. 苹果\n2. 香蕉", True), ("所以 $x=2$", True), ("\\[x\\]", True), ("| a | b |", True), ("谢谢😊", True), ("好的～", True), ("如下：", False), ("and then,", False),
        ("好的。\n\n", True), ("**重点**", True), ("", False), ("…", True), ("</div>", True), ("坏\ufffd", False),
    ],
)  # fmt: skip
def test_ends(text: str, ends: bool) -> None:
    assert one(text)["ends"] is ends


def test_ends_looks_at_the_last_answer() -> None:
    rows = [
        [("user", "q"), ("assistant", "没完，"), ("user", "q"), ("assistant", "完了。"), ("user", "谢谢")],
        [("user", "问"), ("chosen", "好。"), ("rejected", "没，")],
        [("user", "问")],
        [("title", "题"), ("text", "没完，")],
    ]
    assert table(rows)["ends"] == [True, True, True, False]


def test_lengths_of_what_is_asked_and_of_the_last_answer() -> None:
    rows = [
        [("system", "s"), ("user", "问题"), ("assistant", "一二三"), ("user", "再问"), ("assistant", "四五六七")],
        [("user", "问"), ("chosen", "好好"), ("rejected", "不不不")],
        [("title", "题目"), ("text", "正文正文")],
        [("user", "Only asked.")],
        [],
    ]
    found = table(rows)
    assert found["prompt_chars"] == [8, 1, 2, 11, 0]
    assert found["answer_chars"] == [4, 2, 4, 0, 0]


def test_identity_is_that_of_answers() -> None:
    rows = [
        [("user", "I am ChatGPT."), ("assistant", "Good to hear.")],
        [("user", "Who?"), ("chosen", "I am ChatGPT."), ("rejected", "No.")],
    ]
    assert table(rows)["identity"] == [0, 1]


def test_truncated_needs_the_publishers_cap() -> None:
    answer = "这个答案在三百个字的地方被切断了没有说完" * 5
    for cap, length, expected in ((100, 100, True), (100, 98, True), (100, 97, False), (None, 100, False), (90, 100, False)):
        assert one(answer[:length], "assistant", cap)["truncated"] is expected
    assert one(answer[:99] + "。", "assistant", 100)["truncated"] is False
    assert one(answer, "user", 100)["truncated"] is False


def test_lines_that_end_in_an_ellipsis_or_repeat() -> None:
    found = one("to be continued...\n未完待续……\n完。\n等等。。。")
    assert found["ellipsis_lines"] == 0.75
    assert one("再说一遍，这一行很长很长。\n换一行\n再说一遍，这一行 很长很长。\n换一行")["dup_lines"] == pytest.approx(13 / 32)


def test_only_answers_are_searched_for_phrases_but_all_texts_for_personal_data() -> None:
    found = table(
        [
            [
                ("user", "抱歉，我无法登录。As an AI language model. a.li@qq.com"),
                ("assistant", "抱歉，作为一个AI，我无法帮您。电话13812345678"),
            ]
        ]
    )
    assert (found["self_reference"], found["refusals"], found["emails"], found["phones"], found["ips"]) == ([1], [1], [1], [1], [0])


@pytest.mark.parametrize(
    "text",
    [
        "\n" * 300_000,
        "`" * 300_000,
        "- \n" * 100_000,
        "a'" * 150_000,
        "e" + "\u0301" * 150_000,
        "好" * 300_000,
        "~~~\n" * 70_000,
        "…" * 300_000,
    ],
)
def test_hostile_texts_are_measured(text: str) -> None:
    assert one(text)["chars"] == len(text)


def test_comments_and_names() -> None:
    assert len({name for name, _, _ in MEASURES}) == len(MEASURES)
    assert all(comment and not comment.endswith(".") for _, _, comment in MEASURES)
    assert all(unicodedata.is_normalized("NFC", word) for word in STOP_WORDS)
    assert [len(list(group)) for _, group in groupby(STOP_WORDS, str.isascii)] == [8, 8]


@pytest.mark.real
@pytest.mark.skipif("DATA_REAL" not in os.environ, reason="DATA_REAL names no folder")
def test_real_texts_equal_the_plain_implementation() -> None:
    path = Path(os.environ["DATA_REAL"]) / "wikipedia_text"
    texts = [text[:3000] for file in sorted(path.glob("*")) for text in file.read_text(encoding="utf-8", errors="replace").split("\n\n")][
        :12
    ]
    found = table([[("text", text)] for text in texts])
    for at, text in enumerate(texts):
        expected = reference([text[:400]])
        alone = one(text[:400])
        assert {name: alone[name] for name in expected} == expected
        assert found["chars"][at] == len(text)
