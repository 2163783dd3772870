"""The rules of writing: what each of them changes, what none of them may change, and that once is enough."""

from __future__ import annotations

import re
import time
import unicodedata

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from corpus.text.marks import marks
from corpus.text.normal import RULES as EARLY
from corpus.text.protect import pieces
from corpus.text.rules import Rule, clean
from corpus.text.settings import TextSettings, Traits

RULES = {rule.name: rule for rule in EARLY}
PLAIN = TextSettings()
HTML = TextSettings(Traits(html=True))
ESCAPED = TextSettings(Traits(escaped=True))
ESCAPES = TextSettings(Traits(escapes=True, slash_n=True))
PAGE = TextSettings(Traits(page_marks=True))
ALL = TextSettings(Traits(html=True, escapes=True, slash_n=True, page_marks=True))
SETTINGS = [PLAIN, HTML, ESCAPED, ESCAPES, PAGE, ALL]

CHANGED = [
    ("tags", HTML, "第一行<br>第二行<br/><br/>第三行", "第一行\n第二行\n\n第三行"),
    ("tags", HTML, "这<b>很</b>重要，<font color='red'>请</font>看", "这很重要，请看"),
    ("tags", HTML, "行尾<br>\n下一行", "行尾\n下一行"),
    ("tags", HTML, "<p>One.</p><p>Two.</p>", "One.\n\nTwo."),
    ("entities", PLAIN, "他说&quot;你好&quot;，我&amp;你", '他说"你好"，我&你'),
    ("entities", PLAIN, "It&#39;s late&hellip; R&amp;amp;B", "It's late… R&B"),
    ("entities", PLAIN, "use ```a&amp;b``` and &quot;quote&quot; it", 'use ```a&amp;b``` and "quote" it'),
    ("entities", HTML, "5 &times; 3 &le; 20&copy;", "5 × 3 ≤ 20©"),
    ("entities", HTML, "写 &lt;br&gt; 换行 &amp; 好", "写 &lt;br&gt; 换行 & 好"),
    ("entities", ESCAPED, "for(i=0; i&lt;9; i++) print(&quot;&lt;a&gt;&quot;);", 'for(i=0; i<9; i++) print("<a>");'),
    ("escapes", ESCAPES, "文章内容\\n第一段\\n\\n第二段\\t完", "文章内容\n第一段\n\n第二段\t完"),
    ("escapes", ESCAPES, "one\\r\\ntwo, \\\"three\\\"", 'one\ntwo, "three"'),
    ("escapes", ESCAPES, "以下是建议：/n 1.早睡。/n 2.早起。", "以下是建议：\n1.早睡。\n2.早起。"),
    ("escapes", ESCAPES, "有什么错？\\n```py\\ndef f():\\n    print('a\\n')\\n```", "有什么错？\n```py\ndef f():\n    print('a\\n')\n```"),
    ("line_ends", PLAIN, "a\r\nb\rc", "a\nb\nc"),
    ("invisible", PLAIN, "高效\u200b\u200b的\ufeff产品\u00ad，电话\u200e：1", "高效的产品，电话：1"),
    ("invisible", PLAIN, "one\u2028two\u0085three", "one\ntwo\nthree"),
    ("invisible", PLAIN, "a\u200db 中\u200c文", "ab 中文"),
    ("controls", PLAIN, "a\x08b\x7f\x9dc\x0cd", "abc\nd"),
    ("nfc", PLAIN, "cafe\u0301 か\u3099 \u212b", "café が Å"),
    ("nfc", PLAIN, "\uf9dd", "利"),
    ("width", PLAIN, "我有１２个ＰＣ，圆周率３．１４，日期２０２３／０５", "我有12个PC，圆周率3.14，日期2023/05"),
    ("width", PLAIN, "邮箱ａ＠ｂ．ｃｏｍ，第１．直立", "邮箱a@b.com，第1．直立"),
    ("repeats", PLAIN, "太差了！！！！！！！！真的？？？？？", "太差了！！！真的？？？"),
    ("repeats", PLAIN, "so good!!!!!!!! right?????", "so good!!! right???"),
    ("repeats", PLAIN, "无语。。。。。。。。。。算了………………好~~~~~~的", "无语。。。。。。算了……好~~~的"),
    ("repeats", PLAIN, "well................ok", "well......ok"),
    ("spaces", PLAIN, "the  quick   brown fox \njumps.\t\n\u3000\nover", "the quick brown fox\njumps.\n\nover"),
    ("spaces", PLAIN, "味道很好    快递给力", "味道很好 快递给力"),
    ("spaces", PLAIN, "1.\u00a0World\u00a0War\u2003II", "1. World War II"),
    ("spaces", PLAIN, "风  \n雨   \n\n雪", "风  \n雨\n\n雪"),
    ("page_marks", PAGE, "代码如下\n\npython\nCopy code\nx = 1", "代码如下\n\npython\nx = 1"),
    ("page_marks", PAGE, "An answer.\n\n2 / 3", "An answer."),
    ("page_marks", PAGE, "An answer.\nCopy17 chars / 3 words\nMore.\nRegenerate response", "An answer.\nMore."),
    ("trim", PLAIN, "\n \n  text \n\u3000", "text"),
    ("trim", PLAIN, " Sure.", "Sure."),
]  # fmt: skip

KEPT = [
    ("tags", HTML, "a < b，List<int>，<your-name>，`<br>`，```\n<p>\n```"),
    ("tags", HTML, "HTML 里 <br> 标签怎么用"),
    ("entities", PLAIN, "在HTML中用&lt;表示小于号，&quot;表示引号"),
    ("entities", PLAIN, "见 http://a.com/?x=1&copy=2&lt=3 和 &circle; 与 AT&T; R&D"),
    ("entities", PLAIN, "`&quot;` 与\n```\na &amp; b\n```"),
    ("entities", ESCAPED, 'x < 1 && y;\nprint("&nbsp;")'),
    ("escapes", ESCAPES, r"路径 C:\new\temp，公式 $\nu \neq \theta$ 和 \nu \times \text{a}，以“\n”分割"),
    ("escapes", ESCAPES, r"正则 \d+\n\s*"),
    ("escapes", ESCAPES, "级数 1/2 + 1/n，见 a/n/b"),
    ("escapes", ESCAPES, '```c\nprintf("a\\n");\n```\n`\\n`'),
    ("invisible", PLAIN, "👩\u200d👩\u200d👧 🏋️\u200d♀️ می\u200cخواهم क्\u200dष \u200fעברית\u200f"),
    ("invisible", PLAIN, "`a\u200bb` http://a.com/\u200b"[:7]),
    ("nfc", PLAIN, "①㎡（Ａ）ﬁ ½ が"),
    ("width", PLAIN, "，。！？；：（）《》“”、～％　ｶﾀｶﾅ"),
    ("width", PLAIN, "把全角字符Ａ转换为半角"),
    ("width", PLAIN, "`ＡＢ` http://a.com/ＡＢ"),
    ("repeats", PLAIN, "好！！！ 是吗？？？ 嗯…… 等。。。。。。 so......"),
    ("repeats", PLAIN, "填空：______ \n-----\n=====\n*****\n####\n>>>> a\n| a | b |\n。。。。。。。。\nx"),
    ("repeats", PLAIN, "第一章 引言.................. 12\n第二章 方法.................. 30"),
    ("repeats", PLAIN, "   ^~~~~~~~ here, <nowiki>~~~~</nowiki>"),
    ("repeats", PLAIN, "a,,,,b\n甲，，，，12"),
    ("repeats", PLAIN, "去掉多余的标点：好！！！！！！"),
    ("spaces", PLAIN, "    缩进\n\u3000\u3000段落\n\ttab"),
    ("spaces", PLAIN, 'He left.  She stayed.  "Why?"  Nobody knew:  ten of them.'),
    ("spaces", PLAIN, "他是（    ）岁，选 (  )。姓名：        完"),
    ("spaces", PLAIN, "name    age\ntom     12\n\nann     9"),
    ("spaces", PLAIN, "白日依山尽    黄河入海流\n欲穷千里目    更上一层楼"),
    ("spaces", PLAIN, "夕阳下的我们  寻找那长长的影子\n风又起"),
    ("spaces", PLAIN, "商品名称        数量        单价\n苹果 3 5\n\n10  20  30  40"),
    ("spaces", PLAIN, "| O    |\n 6     |\n姓名：____  时间：____"),
    ("spaces", PLAIN, "我 想 练 习 汉 语"),
    ("spaces", PLAIN, "删除多余的空格：a   b"),
    ("spaces", PLAIN, "如 `a  b` 或\n```\nx  = 1  \n```\n|  a  |  b  |\n1.  《书》\n*  item"),
    ("page_marks", PLAIN, "Copy code\n1 / 2"),
    ("page_marks", PAGE, "6 / 2 = 3\n6 / 2\n是 3"),
    ("trim", PLAIN, "    def f():"),
    ("trim", PLAIN, "\u3000\u3000段落"),
]  # fmt: skip


def one(rule: Rule, text: str, settings: TextSettings) -> str:
    return clean(pl.Series([text]), [rule], settings)[0][0]


def many(texts: list[str], settings: TextSettings) -> list[str]:
    return clean(pl.Series(texts, dtype=pl.String), EARLY, settings)[0].to_list()


@pytest.mark.parametrize(("name", "settings", "before", "after"), CHANGED)
def test_what_a_rule_changes(name: str, settings: TextSettings, before: str, after: str) -> None:
    assert one(RULES[name], before, settings) == after
    assert one(RULES[name], after, settings) == after


@pytest.mark.parametrize(("name", "settings", "text"), KEPT)
def test_what_a_rule_keeps(name: str, settings: TextSettings, text: str) -> None:
    assert one(RULES[name], text, settings) == text


def test_names_are_unique_and_in_the_agreed_order() -> None:
    names = [rule.name for rule in EARLY]
    assert names == [
        "tags",
        "entities",
        "escapes",
        "line_ends",
        "invisible",
        "controls",
        "nfc",
        "width",
        "repeats",
        "spaces",
        "page_marks",
        "trim",
    ]


def test_a_rule_wants_only_sources_with_its_trait() -> None:
    assert [rule.name for rule in EARLY if not rule.wanted(PLAIN)] == ["tags", "escapes", "page_marks"]
    assert all(rule.wanted(ALL) for rule in EARLY)


DIRT = st.sampled_from(
    ["<br>", "<p>", "</p>", "<b>", "<", ">", "&quot;", "&amp;", "&lt;", "br&gt;", "&", "amp;", "lt;", "&#38;", "&nbsp;", "&#8203;", "\\n", "\\t", "\\",
     "n", "/n", "\\r\\n", '\\"', "\r", "\r\n", "\n", "\n\n", "\u200b", "\u200d", "\u200e", "\u2028", "\u0085", "\x08", "\x0b", "\x9d", "e", "\u0301",
     "が", "\u3099", "\uf9dd", "Ａ", "１", "．", "！", "！！！", "!!!!", "。。。。", "....", "~~~~", "，，，，", " ", "  ", "   ", "\u3000", "\t", "\u00a0", ".  A", "`",
     "```", "$", "|", "|--|", "x = 1", "http://a.b/c", "a@b.co", "{", "}", ";", "(", ")", "中文", "段落。", "word", "Copy code", "1 / 2", "字：", "\ufdd0",
     "\ue000", "*", "1. ", "👩", "م", "(    )"]
)  # fmt: skip
TEXTS = st.one_of(st.text(max_size=60), st.lists(DIRT, max_size=12).map("".join))


@pytest.mark.parametrize("rule", EARLY, ids=list(RULES))
@given(texts=st.lists(TEXTS, min_size=1, max_size=6), settings=st.sampled_from(SETTINGS))
def test_once_is_enough(rule: Rule, texts: list[str], settings: TextSettings) -> None:
    given_texts = pl.Series(texts, dtype=pl.String)
    once = rule.apply(given_texts, settings)
    assert given_texts.to_list() == texts
    assert rule.apply(once, settings).to_list() == once.to_list()
    assert len(once) == len(texts)
    assert once.null_count() == 0


@pytest.mark.parametrize("rule", EARLY, ids=list(RULES))
@given(texts=st.lists(TEXTS, min_size=1, max_size=6), settings=st.sampled_from(SETTINGS))
def test_selection_is_only_an_optimisation(rule: Rule, texts: list[str], settings: TextSettings) -> None:
    series = pl.Series(texts, dtype=pl.String)
    unmarked = series.filter(pl.Series((marks(series) & np.uint32(rule.marks)) == 0))
    if rule.wanted(settings):
        assert rule.apply(unmarked, settings).to_list() == unmarked.to_list()


@given(st.lists(TEXTS, min_size=1, max_size=6), st.sampled_from(SETTINGS))
def test_all_together_come_to_rest(texts: list[str], settings: TextSettings) -> None:
    """A rule can uncover work for one before it; after a second time there is none left."""
    twice = many(many(texts, settings), settings)
    assert many(twice, settings) == twice


PROSE = st.lists(
    st.sampled_from(
        ["中文！！！！！", "a  b", "&quot;x&quot;", "１２", "\u200b", "文字。", "e\u0301", " ", "\u00a0", "\n", "Ｐ．Ｓ", "word"]
    ),
    max_size=5,
).map("".join)
SAFE = st.sampled_from(
    ["```py\nx  = '１'  \n\tprint(&quot;&quot;)!!!!\n```", "~~~c\nint  a;\u200b\n~~~", "`a  b\u200b`", "http://x.com/a?b=1&copy=2&amp;c=１", "me@ex-ample.com",
     "$\\nu  = e\u0301$", "| a  | b  |\n|----|----|\n| １  | !!!! |", "3.14", "1,000", "2023-05-06", "-0.5e10", "192.168.0.1"]
)  # fmt: skip


@given(PROSE, SAFE, PROSE, st.sampled_from([PLAIN, PAGE]))
def test_code_addresses_formulas_tables_and_numbers_are_the_same_bytes(before: str, safe: str, after: str, settings: TextSettings) -> None:
    assert safe in many([f"文{before}\n\n{safe}\n\n文{after}文"], settings)[0]


@given(
    st.lists(st.lists(st.text("abcdefghijklmnopqrstuvwxyzABC,'-", min_size=1, max_size=9), min_size=1, max_size=9), min_size=1, max_size=5)
)
def test_clean_english_stays(paragraphs: list[list[str]]) -> None:
    text = "\n\n".join("A" + " ".join(words) + "." for words in paragraphs)
    assert many([text], PLAIN) == [text]


@given(st.text("一二三四五六七八九十的，。？！、；：“”《》（）\n", min_size=1).map(lambda t: "甲" + re.sub(r"(.)\1{2,}", r"\1", t) + "乙"))
def test_clean_chinese_stays(text: str) -> None:
    assert many([text], PLAIN) == [text]


@given(st.text())
def test_what_is_free_is_composed(text: str) -> None:
    after = RULES["nfc"].apply(pl.Series([text]), PLAIN)[0]
    assert all(unicodedata.is_normalized("NFC", piece) for protected, piece in pieces(after) if not protected)


def test_changes_are_counted_by_rule() -> None:
    texts = pl.Series(["clean", "a\r\nb", None, "１", "x\u200b １ "])
    after, changes, _ = clean(texts, EARLY, PLAIN)
    assert after.to_list() == ["clean", "a\nb", None, "1", "x 1"]
    assert {name: at.tolist() for name, at in changes.items() if len(at)} == {
        "line_ends": [1],
        "invisible": [4],
        "width": [3, 4],
        "trim": [4],
    }


HOSTILE = [
    "&",
    "&amp;",
    "<b",
    "<<b>b>",
    "\\n",
    "/n",
    "\u200b",
    "\u200d",
    "e\u0301",
    "１．",
    "！",
    ".",
    "~",
    " ",
    "a  ",
    "  \n",
    "\u3000",
    "1 / 2\n",
    "Copy code\n",
    "（  ）",
]


@pytest.mark.parametrize("unit", HOSTILE)
def test_time_is_linear(unit: str) -> None:
    text = "中" + unit * (100_000 // len(unit)) + "文"
    began = time.process_time()
    for settings in (PLAIN, ALL):
        many([text], settings)
    assert time.process_time() - began < 5  # half a second when linear, a minute when quadratic
