"""What is code, an address, a formula or a table, and what is not."""

from __future__ import annotations

import time

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from corpus.text.protect import STAND_IN, outside, outside_each, pieces

PROTECTED = {
    "fence": "看这段代码：\n[```python\nprint('a  b')\n```]\n就是这样。",
    "fence of four": "[````md\n```\nx\n```\n````] end",
    "fence in a list": "1. Do:\n[   ```sh\n   ls  -l\n   ```]\nthen",
    "unclosed fence": "代码如下：\n[```java\nint a;  // 甲\n没有结束]",
    "fence behind text": "代码：[```python\na = 1\n```]好了",
    "fence in a line": "用 [```print```] 输出",
    "tildes": "a\n[~~~c\nint  x\n~~~]\nb",
    "code span": "调用 [`a  b`] 和 [``c`d``] 函数",
    "address": "见 [https://a.com/x?b=1&copy=2] 。邮箱 [me.you@b-c.com]，[www.abc.com/１]、完",
    "path": r"打开 [C:\new\temp] 目录",
    "formula": r"若 [$x_1  + y$]，则 [$$a  = b$$]，且 [\(c\)]、[\[d\]] 成立",
    "environment": "[\\begin{cases}\na &amp; b\n\\end{cases}]完",
    "prices": "It costs $5 and $6, or $7-$8 in all.",
    "table": "表：\n[| a  | b |\n|---|---|\n| 1  | 2 |]\n完",
    "table without edges": "表：\n[a  | b\n--|--\n1  | 2]\n完",
    "drawn table": "[+---+---+\n| a | b |\n+---+---+]",
    "program": "写一个函数。\n[def f(a):\n    b  = a\n    return b]\n以上。",
    "java": "答案：\n[public class A {\n    int x;\n    // 注释\n    x++;\n}]\n完",
    "json": '结果：\n[{\n  "a": "x  y",\n  "b": [1]\n}]',
    "json in a line": '输出 [{"name": "a  b"}] 即可',
    "page": "改写：\n[<p>a  b</p>]\n谢谢",
    "tag": 'see [<a href="x">]this[</a>] page',
    "sql": "用：\n[SELECT  a\nFROM b]\n查询",
    "shell": "运行\n[$ pip  install x]\n即可",
    "comparison": "if a < b and c > d then 1 < 2",
    "prose": "我们  去 学校。It is; so (or so) it was: fine.\n- 一\n- 二\n\n1. 三！",
    "colons": "Note: this is fine\n第一步：洗米；\n第二步：下锅；",
    "emphasis": "**重要** and *this* __too__, 5 * 3, #标签, @张三",
    "tilde tone": "好的~~~谢谢~~~~",
}
"""A text in which square brackets stand around what is protected."""


def _cut(marked: str, name: str) -> tuple[str, list[str]]:
    """The text without the brackets that mark pieces, and the pieces."""
    own = {"json": ("[1]",), "formula": (r"\[d\]",)}.get(name, ())
    for n, part in enumerate(own):
        marked = marked.replace(part, f"\ue000{n}")
    out, found, depth = [], [], None
    for char in marked:
        if char == "[":
            depth = len(out)
        elif char == "]" and depth is not None:
            found.append("".join(out[depth:]))
            depth = None
        else:
            out.append(char)
    restored = [*found, "".join(out)]
    for n, part in enumerate(own):
        restored = [text.replace(f"\ue000{n}", part) for text in restored]
    return restored[-1], restored[:-1]


@pytest.mark.parametrize("name", PROTECTED)
def test_examples(name: str) -> None:
    text, expected = _cut(PROTECTED[name], name)
    assert [piece for protected, piece in pieces(text) if protected] == expected


def test_markup_can_be_left_free_but_for_what_is_in_code() -> None:
    text = "<p>a<br>b <code>x<br>y</code></p>"
    assert pieces(text, markup=False) == [(False, "<p>a<br>b "), (True, "<code>x<br>y</code>"), (False, "</p>")]
    assert pieces(text) == [(True, text)]


SNIPPETS = st.sampled_from(
    ["```", "````", "`", "~~~", "~~~py", "\n", "\n\n", "    ", "\t", "$", "$$", "\\(", "\\)", "\\[", "\\]", "\\$", "|", "|--|", "a|b", "{", "}",
    ";", "x = 1", "def f():", "http://a.b/", "me@a.com", "<b>", "</code>", "<code>", "<!--", "-->", "\\begin{a}", "\\end{a}", "中文", "a b",
    STAND_IN, "\u0301", "\u200b", "C:\\x"]
)  # fmt: skip
TEXTS = st.one_of(st.text(), st.lists(SNIPPETS, max_size=14).map("".join))


@given(TEXTS, st.booleans())
def test_pieces_are_the_text(text: str, markup: bool) -> None:
    found = pieces(text, markup=markup)
    assert "".join(piece for _, piece in found) == text
    assert all(piece for _, piece in found)


@given(st.lists(TEXTS, max_size=4))
def test_outside_changes_all_that_is_free_and_nothing_else(texts: list[str]) -> None:
    series = pl.Series("t", texts, dtype=pl.String)
    given = series.to_list()
    expected = ["".join(p if protected else p.replace("a", "甲甲") for protected, p in pieces(text)) for text in texts]
    assert outside(series, lambda s: s.str.replace_all("a", "甲甲", literal=True)).to_list() == expected
    assert outside_each(series, lambda s: s.replace("a", "甲甲")).to_list() == expected
    assert series.to_list() == given


def test_a_piece_is_covered_where_it_is() -> None:
    """The same characters stand before it, where they are no address."""
    texts = pl.Series(["%.me@ab and me@ab.co me@ab.co", "a{1}\nx\n  {1}\n\nz"])
    found = [(p, piece) for text in texts for p, piece in pieces(text)]
    assert "".join(piece.replace("a", "A") if not p else piece for p, piece in found) == "".join(
        outside_each(texts, lambda s: s.replace("a", "A"))
    )


def test_a_change_that_loses_a_piece_is_not_made() -> None:
    texts = pl.Series(["see `a` now", "plain"])
    assert outside_each(texts, lambda s: s[:4]).to_list() == ["see `a` now", "plai"]


HOSTILE = {
    "ticks": "`", "ticks apart": "` ", "fences": "```x\n", "fences in lines": "a``` ", "tildes": "~~~\n", "dollars": "$", "openers": "$a ",
    "closers": "a$ ", "paragraphs": "$a\n\n", "pipes": "|", "rules": "|--|\n", "rows": "a|b\n", "brackets": "\\[", "parentheses": "\\(",
    "less": "<", "tags": "<a ", "raw": "<code>", "json": '{"', "braces": "{", "letters": "a", "at": "a@", "dots": "a.", "blanks": " ",
    "blank lines": "    \n", "indented": "\ta\n", "for": "for a in ", "with": "with a as ", "if": "if ", "calls": "f(", "assignments": "x=",
    "semicolons": "(a;\n", "quotes": '"":', "addresses": "http://", "www": "www.", "quoted": "> ", "export": "export ", "gaps": "x=1\na\na\na\n",
    "environments": "\\begin{a}",
}  # fmt: skip


@pytest.mark.parametrize("name", HOSTILE)
def test_time_is_linear(name: str) -> None:
    unit = HOSTILE[name]
    text = unit * (200_000 // len(unit))
    began = time.process_time()
    pieces(text)
    assert time.process_time() - began < 3  # a tenth of a second when linear, a minute when quadratic


def test_time_is_linear_where_every_opener_is_another_one() -> None:
    environments = "".join(f"\\begin{{a{i}}}" for i in range(20_000))
    falling = "\n".join("`" * k + "\nx " + "`" * k for k in range(600, 2, -1))
    began = time.process_time()
    pieces(environments)
    pieces(falling)
    assert time.process_time() - began < 3


def test_code_at_the_end_of_a_chinese_line_does_not_cover_what_is_said_before_it() -> None:
    text = '請模擬一個終端機。不要解釋。第一個指令是 console.log("Hello");'
    assert [piece for kept, piece in pieces(text) if not kept] == ["請模擬一個終端機。不要解釋。"]
    assert [piece for kept, piece in pieces('alert("你好。");') if not kept] == []
