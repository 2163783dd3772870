"""Wikitext → plain text: what stays, what goes, and that hostile pages cost no more than others."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from corpus.text.wikitext import plain


@pytest.mark.parametrize(
    ("wikitext", "expected"),
    [
        ("a<!-- {{ -->b", "ab"),
        ("a<ref name=x/>b<ref>{{cite|[http://x.org y]}}</ref>c<references />", "abc"),
        ("{{Infobox|a={{b|{{{c|}}}}}|d=[[e]]}}Berlin is a city.", "Berlin is a city."),
        ("{{{1}}}x{{{{{1}}}}}y", "xy"),
        ("a {{ b {{c}} d", "a {{ b  d"),
        ("a }} b", "a }} b"),
        ("Before\n{| class=wikitable\n|-\n| a\n{|\n| b\n|}\n|}\nAfter", "Before\n\nAfter"),
        ("Before\n|-\n|}\nAfter | it", "Before\nAfter | it"),
        ("[[柏林]]是[[德國|德国]]的[[首都|]]", "柏林是德国的首都"),
        ("[[File:A.jpg|thumb|The [[Spree|river]] in [[Berlin]]]]Text", "Text"),
        ("[[文件:A.jpg|缩略图]][[Category:城市]][[分類:首都]][[:Category:城市]]", "Category:城市"),
        ("[[de:Berlin]][[zh-min-nan:Berlin]][[wikt:city|city]]", "city"),
        ("[[Re:Zero]]", "Re:Zero"),
        ("[[Attāls:Ludza.JPG|175px|thumb|Ludza]][[Kategoreja:Mīsti]][[:File:A.jpg]]", "File:A.jpg"),
        ("see [https://example.org/a?b=1 the site] or [https://example.org]", "see the site or"),
        ("an array[0] and [[open", "an array[0] and [[open"),
        ("'''Bold''', ''italic'', '''''both''''', dogs' and ''''quoted'''", "Bold, italic, both, dogs' and 'quoted"),
        ("== 歷史 ==\n文字\n=== Early=\n======", "歷史\n文字\n== Early\n======"),
        ("-{zh-hans:计算机;zh-hant:電腦}-", "-{zh-hans:计算机;zh-hant:電腦}-"),
        ("a&nbsp;b &amp; &lt;b&gt; &#x4e2d; ?a=1&copy=2", "a\u00a0b & <b> 中 ?a=1&copy=2"),
        ("one<br />two<br>\nthree <small>x</small> 1 < 2 > 0 <foo>", "one\ntwo\nthree x 1 < 2 > 0 <foo>"),
        ("<math>\\frac{{a}}{{b}} &lt;</math> <nowiki>'''[[x]]''' &amp;</nowiki>", "\\frac{{a}}{{b}} &lt; '''[[x]]''' &"),
        ("<syntaxhighlight lang='c'>\nint a[[2]]; /* {{x}} */\n</syntaxhighlight>", "\nint a[[2]]; /* {{x}} */\n"),
        (":indented\n* item\n# one\n----\n__NOTOC__end", "indented\n* item\n# one\n\nend"),
        ("a<ref>never closed", "anever closed"),
        ("a <!-- never closed", "a <!-- never closed"),
        ("a\0001\0b", "a\0001\0b"),
        ("a  \n\n\n\nb\n", "a\n\nb"),
        ("", ""),
    ],
)
def test_plain(wikitext: str, expected: str) -> None:
    assert plain(wikitext) == expected


def test_a_page_in_whole() -> None:
    page = """{{Otheruses|the river}}
'''Elster''' (''White Elster'') is a [[river]]<ref name="a">{{cite web|url=http://x}}</ref> in [[Saxony|the state of Saxony]].

== Course ==
It passes [[Leipzig]].
{| class="wikitable"
! Place !! km
|-
| [[Plauen]] || 12
|}

== References ==
{{reflist}}
[[Category:Rivers]]
"""
    assert plain(page) == "Elster (White Elster) is a river in the state of Saxony.\n\nCourse\nIt passes Leipzig.\n\nReferences"


@pytest.mark.parametrize(
    "unit",
    [
        "{{", "}}", "{{a}}", "[[", "]]", "[[a|", "[[a]]", "<ref>", "<ref", "</ref>", "<!--", "-->", "<math>", "</math ", "{|\n", "\n|}",
        "\n", "'", "=", "[http://a", "[http://a ", "&", "&#", "<", "<br", "<br ", ":", "\0", "__", "<nowiki>a</nowiki>", "-{", " ", "\n ",
    ],
)  # fmt: skip
def test_hostile_pages_are_linear(unit: str) -> None:
    text = unit * (400_000 // len(unit))
    for page in (text, text + "]]" * 1000 + "}}" * 1000, "[[" * 100_000 + text[:100_000] + "]]" * 100_000):
        start = time.process_time()
        plain(page)
        assert time.process_time() - start < 3


@given(st.text(alphabet="{}[]|<>!-'=:ref/ \n\0a文&;#1", max_size=200))
def test_never_fails(text: str) -> None:
    plain(text)


@given(st.text(alphabet="abc 文字，。\n", max_size=200))
def test_prose_stays(text: str) -> None:
    assert plain(text).replace("\n", "").replace(" ", "") == text.replace("\n", "").replace(" ", "")
