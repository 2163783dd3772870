"""Wikitext → text: what holds for every page, however broken, and that hostile pages cost no more than others. Constructs: wiki/test_golden.py."""

from __future__ import annotations

import bz2
import os
import re
import time
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from corpus.text.wikitext import Policy, closed, converted, extract, redirect, site, structured

ZH = site("zhwiki", "zh")
POLICIES = (
    Policy(),
    Policy(variant="zh-cn"),
    Policy(variant="zh-tw", tables="keep", references="keep", galleries="keep", infoboxes="keep", apparatus="keep"),
    Policy(variant="zh-hk", math="drop"),
)

TOKENS = (
    "{{", "}}", "{{{", "}}}", "[[", "]]", "[", "]", "-{", "}-", "|", "||", ";", ":", "'", "''", "'''", "=", "==", "\n", "\n*", "\n#", "\n:", "\n{|", "\n|-", "\n|}",
    "\n!", "<ref>", "</ref>", "<ref/>", "<math>", "</math>", "<nowiki>", "</nowiki>", "<!--", "-->", "<br>", "<sub>", "</sub>", "<gallery>", "</gallery>", "<table>",
    "</table>", "<rt>", "</rt>", "&nbsp;", "&#1;", "&#x4e2d;", "&", "File:", "Category:", "文件:", "lang|en|", "nowrap|", "convert|", "val|", "formatnum:", "NoteTA|1=",
    "zh-cn:", "zh-tw:", "zh-hans", "=>", "A|", "H|", "T|", "-|", "R|", "N|", "D|", "le|", "bd|", "date|", "frac|", "zh|s=", "infobox|", "#if:", "!", "=", "quote|",
    "http://a", "文", "字", "a", "B ", "12", "-5", ".", "（", "）", "(", ")", "，", "、", "“", "”", " ", "\t", "\0", "\x01", "\x02", "1\x03", "\x06", "\x0f", "\r", "\u0301", "\U0001f600",
)  # fmt: skip
SOUP = st.lists(st.sampled_from(TOKENS), max_size=60).map("".join)


@settings(max_examples=400, deadline=None)
@given(SOUP, st.sampled_from(POLICIES))
@example("{{convert|1//0|m}}{{val|}}{{frac|}}{{date|1|99|99}}{{zh}}{{bd}}{{quote}}", POLICIES[1])
@example("{{date|99999|" + "9" * 5000 + "|1}}{{formatnum:" + "9" * 9000 + "}}{{convert|" + "9" * 5000 + "|km}}", POLICIES[1])
@example("\x0f1\x0f\x02\x03\x025\x03-{A|zh-cn:\x0f0\x0f;zh-tw:a}-a", POLICIES[1])
def test_never_fails_and_leaves_clean_lines(page: str, policy: Policy) -> None:
    found = extract(page, "题", wiki=ZH, policy=policy)
    assert found.text == found.text.strip("\n")
    assert not re.search("[\x01-\x08\x0b\x0e-\x1f]", found.text)
    at = 0
    for section in found.sections:
        assert not found.text[at : section.start].strip()
        assert section.start < section.end
        at = section.end
    assert not found.text[at:].strip()


@settings(deadline=None)
@given(st.text(max_size=300))
def test_never_fails_on_any_text(page: str) -> None:
    extract(page, page, wiki=ZH, policy=POLICIES[1])


@settings(deadline=None)
@given(st.text(alphabet="abc 文字，。（）()；“”,.!?\n", max_size=200))
def test_prose_stays(text: str) -> None:
    kept = extract(text).text
    assert re.sub(r"\s+", "", kept) == re.sub(r"\s+", "", re.sub(r"^!.*\|.*$", "", text, flags=re.MULTILINE))


UNITS = (
    "{{", "}}", "{{a}}", "{{a|", "[[", "]]", "[[a|", "[[a]]", "[[File:a|", "[[a]", "<ref>", "<ref", "</ref>", "<!--", "-->", "<math>", "</math ", "{|\n", "\n|}", "<table>",
    "\n", "'", "=", "=\n", "= a =\n", "[http://a", "[http://a ", "[http://a [", "&", "&#", "<", "<br", "<br ", ":", "\0", "__", "<nowiki>a</nowiki>", " ", "\n ",
    "-{", "}-", "-{{{", "}}}-", "-{A|zh-cn:a;zh-tw:b}-", "-{zh-cn:", "a:b;", ";&a", "zh-cn:a=>;", "{{nowrap|", "{{NoteTA|1=zh-cn:a;zh-tw:b}}", "{{#if:",
    "（", "（{{a}}", "，{{a}}", "{{a}}，，，，", "({{a}} ", "（英语：{{a}}", "*\n", "#*", "\n|", "!!\n!", "<sup>", "<rt>", "<gallery>\n",
)  # fmt: skip


@pytest.mark.parametrize("unit", UNITS)
def test_hostile_pages_are_linear(unit: str) -> None:
    text = unit * (100_000 // len(unit))
    pages = (
        text,
        text + "]]" * 1000 + "}}" * 1000 + "}-" * 1000,
        "[[" * 25_000 + text[:50_000] + "]]" * 25_000,
        "{{nowrap|" * 5_000 + text[:50_000] + "}}" * 5_000,
    )
    for page in pages:
        start = time.process_time()
        extract(page, wiki=ZH, policy=POLICIES[1])
        assert time.process_time() - start < 10  # some tenths of a second, more beside other work; minutes when a step is quadratic


@pytest.mark.parametrize("unit", ["[[", "{{", "-{", "{{nowrap|", "（{{a}}，"])
def test_a_megabyte_takes_seconds(unit: str) -> None:
    start = time.process_time()
    extract(unit * (1_000_000 // len(unit)), wiki=ZH, policy=POLICIES[1])
    assert time.process_time() - start < 5


@pytest.mark.parametrize(
    ("page", "target"),
    [
        ("#REDIRECT [[A]]", "A"),
        ("\n # redirect: [[A#B|c]]", "A#B"),
        ("#重定向[[甲]]", "甲"),
        ("＃重新導向：[[甲]]", "甲"),
        ("#REDIRECTED [[A]]", None),
        ("# list [[A]]", None),
        ("", None),
    ],
)
def test_redirects(page: str, target: str | None) -> None:
    assert redirect(page) == target


def test_namespaces_come_from_the_dump() -> None:
    page = "[[Fails:a]][[Kategoreja:b]][[Datne:c|d]]e"
    assert extract(page, wiki=site("ltgwiki", "ltg", ((6, "Fails"), (14, "Kategoreja"), (6, "Datne")))).text == "e"
    assert extract(page).text == "Fails:ade"
    assert site("xwiki", "x", ((10, "Taiss"),)).namespace("taiss") == 10
    assert site("zhwiki").namespace(" 图像 ") == site("zhwiki").namespace("FILE") == 6
    assert site("zhwiki").namespace("T") == 10
    assert site("enwiki", "en").namespace("T") is None


@pytest.mark.parametrize(
    ("text", "variant", "expected"),
    [
        ("他们用-{zh-hans:软件;zh-hant:軟體}-。", "keep", "他们用软件。"),
        ("他們用-{zh-hans:软件;zh-hant:軟體}-。", "keep", "他們用軟體。"),
        ("-{A|zh-cn:网络;zh-tw:網路}-与網路，-{網路}-", "zh-cn", "网络与网络，網路"),
        ("-{zh-cn:甲-{乙}-;zh-tw:丙}-", "zh-cn", "甲乙"),
        ("a -{ b }- {{c}} ''d'' （）", "zh-cn", "a  b  {{c}} ''d'' （）"),
        ("a-{b", "zh-cn", "a-{b"),
    ],
)
def test_what_other_extractors_left(text: str, variant: str, expected: str) -> None:
    assert converted(text, Policy(variant=variant)) == expected  # type: ignore[arg-type]


@pytest.mark.real
def test_real_pages_hold_no_markup() -> None:
    if "DATA_REAL" not in os.environ:
        pytest.skip("DATA_REAL names no folder")
    folder = Path(os.environ["DATA_REAL"]) / "wikipedia_xml"
    for name, lang in (("minidumps/zh/wiki.xml.bz2", "zh"), ("enwiki-table-markup.xml.bz2", "en")):
        dump = bz2.decompress((folder / name).read_bytes()).decode()
        for raw in re.findall(r"<text[^>]*>(.*?)</text>", dump, re.DOTALL):
            page = raw.replace("&lt;", "<").replace("&gt;", ">").replace("&quot;", '"').replace("&amp;", "&")
            found = extract(page, wiki=site(f"{lang}wiki", lang)).text
            assert len(found) > 100
            for debris in ("{{", "[[", "]]", "-{", "}-", "thumb|", "<ref", "（）", "()", "，，", "&nbsp;"):
                assert debris not in found, debris


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("梅溪镇（）位于山谷中。", "梅溪镇位于山谷中。"),
        ("某州（），，是北部的一州，产、、铁。", "某州，是北部的一州，产、铁。"),
        ("Fenwick (; ) is a small town.", "Fenwick is a small town."),
        ("Fenwick () is a small town.", "Fenwick is a small town."),
        ("先调用 main()，再写 f ()", "先调用 main()，再写 f ()"),
        ("void f () {", "void f () {"),
    ],
)
def test_what_an_extractor_emptied_is_closed(text: str, expected: str) -> None:
    assert closed(text) == expected
    assert closed(expected) == expected


def test_headings_and_lists_that_an_extractor_left() -> None:
    assert structured("right\n某省是山区。\n== 人口 ==\n* 甲县\n** 乙镇\n===历史===\n**重要**\na == b") == (
        "某省是山区。\n## 人口\n- 甲县\n  - 乙镇\n### 历史\n**重要**\na == b"
    )
