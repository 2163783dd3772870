from __future__ import annotations

from pathlib import Path

from tests.sources.framing.support import read_all_ways


def test_lines_lose_nothing_but_their_ends(tmp_path: Path) -> None:
    data = "  第一行 \n\r\n \t\nx\u2028y\x0bz\r\nlast".encode()
    seen = read_all_ways(tmp_path / "x.txt", data, "lines")
    assert seen.values == ["  第一行 ", "x\u2028y\x0bz", "last"]
    assert seen.ordinals == [0, 3, 4]
    assert [data[o : o + n].decode() for o, n in zip(seen.offsets, seen.lengths, strict=True)] == seen.values


def test_paragraphs(tmp_path: Path) -> None:
    data = "\n标题：\n第一行\n第二行\n\n \n又一段\r\n它的第二行\r\n".encode()
    seen = read_all_ways(tmp_path / "x.txt", data, "paragraphs")
    assert seen.values == ["标题：\n第一行\n第二行", "又一段\n它的第二行"]
    assert seen.ordinals == [1, 6]
    assert data[seen.offsets[1] :][: seen.lengths[1]].decode() == "又一段\r\n它的第二行"


def test_a_long_line(tmp_path: Path) -> None:
    data = b"a\n" + b"x" * 3000 + b"\n" + b"y" * 3000
    seen = read_all_ways(tmp_path / "x.txt", data, "lines", record_bytes=1000)
    assert seen.values == ["a"]
    assert [(r.record, r.offset, r.length, r.reason) for r in seen.rejects] == [(1, 2, 3000, "too_large"), (2, 3003, 3000, "too_large")]


def test_doc_blocks(tmp_path: Path) -> None:
    data = (
        '<doc id="12" url="https://x?curid=12" title="A &amp; "B" C">\nA & B\n\nText <b>.\n</doc>\n'
        '<doc id="13" revid="7" url="u" title="你">\n你\n</doc>\nstray\n'
        '<doc id="14" url="u" title="open">\nx\n<doc id="15" url="u" title="last">\ny\n</doc>\n'
    ).encode()
    seen = read_all_ways(tmp_path / "wiki_00", data, "wikiextractor")
    assert seen.values == [
        {"id": "12", "url": "https://x?curid=12", "title": 'A & "B" C', "text": "A & B\n\nText <b>."},
        {"id": "13", "revid": "7", "url": "u", "title": "你", "text": "你"},
        {"id": "14", "url": "u", "title": "open", "text": "x"},
        {"id": "15", "url": "u", "title": "last", "text": "y"},
    ]
    assert seen.notes == {2: "block without an end tag"}
    assert seen.reasons == ["unknown_format"]
    assert data[seen.offsets[1] :][: seen.lengths[1]].decode().endswith("你\n</doc>")
    assert read_all_ways(tmp_path / "wiki_00", data[:60], "wikiextractor").reasons == ["truncated"]


def test_json_where_doc_blocks_could_be(tmp_path: Path) -> None:
    assert (
        read_all_ways(tmp_path / "wiki_00", b'{"id": "1", "url": "u", "title": "t", "text": "x"}\n', "wikiextractor").values[0]["title"]
        == "t"
    )
