from __future__ import annotations

import bz2
import time
from pathlib import Path

import pytest

from corpus.sources.framing import open_file
from tests.sources.framing.support import read, read_all_ways

HEAD = """<mediawiki xmlns="http://www.mediawiki.org/xml/export-0.11/" version="0.11" xml:lang="zh">
  <siteinfo><sitename>W</sitename><dbname>zhwiki</dbname><namespaces><namespace key="0" /></namespaces></siteinfo>
"""


def page(n: int, text: str = "正文", more: str = "") -> str:
    return f"""  <page>
    <title>T{n}</title>
    <ns>0</ns>
    <id>{n}</id>
    {more}
    <revision>
      <id>{n}0</id>
      <timestamp>2023-01-01T00:00:00Z</timestamp>
      <contributor><username>U</username><id>77</id></contributor>
      <model>wikitext</model>
      <format>text/x-wiki</format>
      <text bytes="9" xml:space="preserve">{text}</text>
      <sha1>abc</sha1>
    </revision>
  </page>
"""


def test_pages(tmp_path: Path) -> None:
    old = "<revision><id>1</id><text>old</text></revision>"
    data = (
        HEAD
        + page(1, "'''a''' &lt;ref&gt; &amp;amp; 你好\n二", old)
        + page(2, "#REDIRECT [[x]]", '<redirect title="T1" />')
        + "</mediawiki>\n"
    ).encode()
    seen = read_all_ways(tmp_path / "x.xml", data, "mediawiki")
    site = {"lang": "zh", "dbname": "zhwiki"}
    common = {"ns": 0, "timestamp": "2023-01-01T00:00:00Z", "model": "wikitext", "format": "text/x-wiki", **site}
    assert seen.values == [
        {**common, "title": "T1", "id": 1, "redirect": None, "revision": 10, "text": "'''a''' <ref> &amp; 你好\n二"},
        {**common, "title": "T2", "id": 2, "redirect": "T1", "revision": 20, "text": "#REDIRECT [[x]]"},
    ]
    assert not seen.rejects
    for offset, length in zip(seen.offsets, seen.lengths, strict=True):
        assert data[offset : offset + length].startswith(b"<page>")
        assert data[offset : offset + length].endswith(b"</page>")


@pytest.mark.parametrize(
    "bad", [page(2, "&nbsp;"), page(2, "<b>"), page(2).replace("</page>", ""), page(2, "\x01"), "<logitem>x</logitem>"]
)
def test_a_page_costs_only_itself(tmp_path: Path, bad: str) -> None:
    data = (HEAD + page(1) + bad + page(3) + "</mediawiki>").encode()
    seen = read_all_ways(tmp_path / "x.xml", data, "mediawiki")
    assert [v["id"] for v in seen.values] == [1, 3]
    assert seen.reasons == ["xml"]


def test_a_cut_dump(tmp_path: Path) -> None:
    data = (HEAD + page(1) + page(2) + "</mediawiki>").encode()
    seen = read_all_ways(tmp_path / "x.xml", data[:-60], "mediawiki")
    assert [v["id"] for v in seen.values] == [1]
    assert seen.reasons == ["truncated"]
    seen = read_all_ways(tmp_path / "x.xml", data[:-12], "mediawiki")
    assert len(seen.values) == 2
    assert seen.reasons == ["truncated"]
    packed = bz2.compress(data)
    assert read(tmp_path / "x.xml", packed[:-20], "mediawiki").reasons == ["truncated"]


@pytest.mark.parametrize("bomb", ['<!DOCTYPE x [<!ENTITY a "aaaa">]>', "<!doctype html>"])
def test_declarations_are_refused(tmp_path: Path, bomb: str) -> None:
    seen = read_all_ways(tmp_path / "x.xml", (bomb + HEAD + page(1, "&a;") + "</mediawiki>").encode(), "mediawiki")
    assert not seen.values
    assert seen.reasons == ["xml"]


def test_utf16_and_other_content(tmp_path: Path) -> None:
    data = (HEAD + page(1) + "</mediawiki>").encode("utf-16")
    seen = read_all_ways(tmp_path / "x.xml", data, "mediawiki")
    assert seen.encoding == "utf-16-le"
    assert seen.values[0]["text"] == "正文"
    assert read_all_ways(tmp_path / "x.xml", b"<html><body>no</body></html>", "mediawiki").reasons == ["unknown_format"]


def test_an_export_without_pages(tmp_path: Path) -> None:
    assert read_all_ways(tmp_path / "x.xml", (HEAD + "</mediawiki>").encode(), "mediawiki").reasons == ["empty_file"]


def test_a_page_beyond_the_limit(tmp_path: Path) -> None:
    data = (HEAD + page(1) + page(2, "x" * 5000) + page(3) + "</mediawiki>").encode()
    seen = read_all_ways(tmp_path / "x.xml", data, "mediawiki", record_bytes=2000)
    assert [v["id"] for v in seen.values] == [1, 3]
    assert set(seen.reasons) == {"too_large"}


def test_the_header_names_the_namespaces(tmp_path: Path) -> None:
    names = """<namespaces><namespace key="-2" case="first-letter">Media</namespace><namespace key="0" case="first-letter" />
      <namespace key="6" case="first-letter">文件</namespace><namespace key="4" case="first-letter">A &amp; B</namespace></namespaces>"""
    path = tmp_path / "x.xml"
    path.write_text(
        HEAD.replace('<namespaces><namespace key="0" /></namespaces>', names) + page(1) + page(2) + "</mediawiki>", encoding="utf-8"
    )
    frames = [frame for opened in open_file(path, "x.xml", "mediawiki") for frame in opened.frames]
    assert {frame.header for frame in frames} == {((-2, "Media"), (6, "文件"), (4, "A & B"))}
    assert all("namespaces" not in value for frame in frames for value in frame.values)


@pytest.mark.parametrize(
    ("data", "format"),
    [
        (HEAD.replace("<namespaces>", "<namespaces>" + "<namespace " * 50_000) + page(1) + "</mediawiki>", "mediawiki"),
        (HEAD.replace("<namespaces>", "<namespaces><namespace" + ' key="1"' * 50_000) + page(1) + "</mediawiki>", "mediawiki"),
        (HEAD + page(1) + "<!--" * 100_000, "mediawiki"),
        (HEAD + "<page>" * 100_000, "mediawiki"),
        ("<doc " + 'a="" ' * 50, "wikiextractor"),
        ("<doc " + 'a="" ' * 50_000, "wikiextractor"),
    ],
    ids=["namespaces", "keys", "comments", "pages", "attributes", "many attributes"],
)
def test_what_is_opened_and_never_closed_takes_linear_time(tmp_path: Path, data: str, format: str) -> None:
    started = time.process_time()
    read(tmp_path / "x.xml", data.encode(), format)
    assert time.process_time() - started < 5
