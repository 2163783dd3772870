"""The framer that finds articles in a text file, and how the wiki of a page is told."""

import json
from collections.abc import Iterator

import pytest

from corpus.sources.base import Emit, Frame
from corpus.sources.wiki import Articles, pages

_page = pages()

PARAGRAPHS = [
    "序言。",
    "又一段。",
    "竹笛：\n竹笛是乐器。",
    "它用竹子制成。",
    "茶壶：",
    "长句。以冒号结尾：\n正文。",
    "很" * 90 + "：\n也是正文。",
    "石桥：\n桥。",
]
EXPECTED = [
    (None, "序言。", [0]),
    (None, "又一段。", [2]),
    ("竹笛", "竹笛是乐器。\n\n它用竹子制成。", [4, 6]),
    ("茶壶", "长句。以冒号结尾：\n正文。\n\n" + "很" * 90 + "：\n也是正文。", [8, 10, 12]),
    ("石桥", "桥。", [14]),
]


def frames(size: int) -> Iterator[Frame]:
    """PARAGRAPHS in frames of `size`; paragraph n is on line 2n, at byte 100n, 90 bytes long."""
    for at in range(0, len(PARAGRAPHS), size):
        values = PARAGRAPHS[at : at + size]
        places = range(at, at + len(values))
        yield Frame(
            values=list(values),
            ordinals=[2 * n for n in places],
            offsets=[100 * n for n in places],
            lengths=[90 for _ in places],
            notes={0: "transcoded"} if at == 0 else {},
            records=len(values),
            bytes=100 * len(values),
        )


@pytest.mark.parametrize("size", [1, 2, 3, 5, 8])
def test_articles_do_not_depend_on_where_frames_end(size: int) -> None:
    out = list(Articles()(frames(size)))
    found = []
    places = []
    notes = []
    for frame in out:
        assert frame.offsets is not None
        assert frame.lengths is not None
        for at, value in enumerate(frame.values):
            found.append((value["title"], value["text"], frame.groups.get(at, [frame.ordinals[at]])))
            places.append((frame.offsets[at], frame.lengths[at]))
            notes.append(frame.notes.get(at))
    assert found == EXPECTED
    assert places == [(0, 90), (100, 90), (200, 190), (400, 290), (700, 90)]
    assert notes == ["transcoded", None, None, None, None]
    assert sum(f.records for f in out) == len(PARAGRAPHS)
    assert sum(f.bytes for f in out) == 100 * len(PARAGRAPHS)


def test_an_article_is_bounded() -> None:
    values = [v for f in Articles(most=10)(frames(8)) for v in f.values]
    assert [v["title"] for v in values] == [None, None, "竹笛", "茶壶", None, "石桥"]


@pytest.mark.parametrize(
    ("file", "dbname", "lang", "expected"),
    [
        ("wikipedia_xml/smallwiki-latest-pages-articles.xml.bz2", "ltgwiki", "ltg", "ltgwiki"),
        ("wikipedia_xml/enwiki-table-markup.xml.bz2", None, "en", "enwiki"),
        ("wikipedia_xml/zh_min_nanwiki-20240301-pages-articles.xml.bz2", None, None, "zh_min_nanwiki"),
        ("wikipedia_xml/minidumps/ja/wiki.xml.bz2", "enwiki", "en", "jawiki"),
        ("wikipedia_xml/wiki.xml", None, "bg", "bg"),
        ("wikipedia_xml/wiki.xml", None, None, None),
    ],
)
def test_the_wiki_of_a_page(file: str, dbname: str | None, lang: str | None, expected: str | None) -> None:
    emit = Emit(file)
    _page({"title": "A", "ns": "0", "text": "b", "dbname": dbname, "lang": lang}, emit)
    assert emit.columns()["subset"].to_pylist() == [expected]


@pytest.mark.parametrize(
    ("page", "text", "skip"),
    [
        ({"ns": "0", "text": "'''a'''"}, "a", None),
        ({"ns": "0", "text": "'''a''' may be:\n* [[b]]\n{{Disambiguation}}"}, "a may be:\n- b", "disambiguation"),
        ({"ns": None, "text": "'''a'''"}, "a", None),
        ({"ns": 10, "text": "'''a'''"}, "'''a'''", "namespace"),
        ({"ns": 10, "redirect": "B", "text": "#REDIRECT [[B]]"}, "#REDIRECT [[B]]", "redirect"),
        ({"ns": 0, "text": "# 重定向 [[B]]"}, "# 重定向 [[B]]", "redirect"),
        ({"ns": 0, "model": "json", "text": "{{''}}"}, "{{''}}", None),
        ({"ns": 0, "text": None}, "", None),
    ],
)
def test_what_is_no_article_keeps_its_wikitext(page: dict[str, object], text: str, skip: str | None) -> None:
    emit = Emit("dump.xml")
    _page({"title": "A", **page}, emit)
    columns = emit.columns()
    assert columns["text"].to_pylist() == [text]
    assert columns["skip"].to_pylist() == [skip]


def test_what_a_page_is_goes_to_meta() -> None:
    emit = Emit("dump.xml")
    for title, text in (("A", "a"), ("List of A", "* a"), ("A (disambiguation)", "* a")):
        _page({"title": title, "ns": 0, "text": text}, emit)
    assert [json.loads(meta).get("page") for meta in emit.columns()["meta"].to_pylist()] == [None, "list", "disambiguation"]


def test_the_policy_and_the_names_of_the_dump_are_used() -> None:
    emit = Emit("dump.xml")
    emit.header = ((6, "Pilt"), (14, "Liigid"))
    record = {
        "title": "A",
        "ns": 0,
        "dbname": "xwiki",
        "lang": "zh",
        "text": "[[Pilt:a]][[Liigid:b]]-{zh-cn:软件;zh-tw:軟體}-{{NoteTA|1=zh-cn:甲;zh-tw:乙}}乙",
    }
    pages("simplified")(record, emit)
    pages("traditional")(record, emit)
    assert emit.columns()["text"].to_pylist() == ["软件甲", "軟體乙"]
    emit.header = None
    _page(record, emit)
    assert emit.columns()["text"].to_pylist()[-1].startswith("Pilt:a")
