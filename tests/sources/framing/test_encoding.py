from __future__ import annotations

import codecs
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from corpus.sources.framing.encoding import NotText, decode, detect, plausibility
from tests.sources.framing.support import read, read_all_ways
from tests.sources.framing.test_jsonlines import quick

ROWS = [{"text": "中文和 English 😀", "n": 1}, {"text": "第二行。", "n": 2}]
LINES = "\n".join(json.dumps(r, ensure_ascii=False) for r in ROWS) + "\n"
MARKS = {
    "utf-8": codecs.BOM_UTF8, "utf-16-le": codecs.BOM_UTF16_LE, "utf-16-be": codecs.BOM_UTF16_BE,
    "utf-32-le": codecs.BOM_UTF32_LE, "utf-32-be": codecs.BOM_UTF32_BE,
}  # fmt: skip


@pytest.mark.parametrize("name", MARKS)
@pytest.mark.parametrize("mark", [True, False])
def test_unicode(tmp_path: Path, name: str, mark: bool) -> None:
    data = (MARKS[name] if mark else b"") + LINES.encode(name)
    seen = read_all_ways(tmp_path / "x.json", data)
    assert seen.encoding == name
    assert seen.values == ROWS
    assert seen.offsets == [3 if mark and name == "utf-8" else 0, LINES.encode().index(b"\n") + 1 + (3 if mark and name == "utf-8" else 0)]
    array = json.dumps(ROWS, ensure_ascii=False, indent=1)
    assert read_all_ways(tmp_path / "x.json", (MARKS[name] if mark else b"") + array.encode(name)).values == ROWS


def test_a_lone_surrogate_in_utf16_costs_nothing_else(tmp_path: Path) -> None:
    data = codecs.BOM_UTF16_LE + '{"a": "x\ud83dy"}\n{"a": "z"}\n'.encode("utf-16-le", "surrogatepass")
    seen = read_all_ways(tmp_path / "x.json", data)
    assert [v["a"] for v in seen.values] == ["x\ufffdy", "z"]
    assert seen.notes == {0: "surrogates in UTF-8"}


def test_utf16_that_ends_within_a_character(tmp_path: Path) -> None:
    seen = read_all_ways(tmp_path / "x.json", codecs.BOM_UTF16_LE + LINES.encode("utf-16-le")[:-1])
    assert seen.reasons == ["truncated"]


TEXTS = ["高血压患者能吃党参吗？我有高血压这两年。", "繁體中文的測試，請問這個問題怎麼回答？", "１２３，ＡＢＣ。"]


@pytest.mark.parametrize("text", TEXTS)
def test_gb18030_is_known_by_its_characters(text: str) -> None:
    assert detect(text.encode("gb18030"), whole=True).name == "gb18030"
    assert detect(text.encode(), whole=True).name == "utf-8"
    assert plausibility(text) > 0.9


@pytest.mark.parametrize("text", ["élève à Noël, où ça ?", "Überraschung für Jürgen", "señor, ¿qué pasó?"])
def test_latin1_is_not_taken_for_chinese(text: str) -> None:
    with pytest.raises(NotText):
        decode(text.encode("latin-1"), "utf-8")


def test_utf8_with_a_damaged_character_is_not_taken_for_gb18030() -> None:
    raw = "我们今天去学校学习中文。".encode()
    for at in range(len(raw)):
        with pytest.raises(NotText):
            decode(raw[:at] + b"\xff" + raw[at + 1 :], "utf-8")


def test_a_text_file_of_both_encodings(tmp_path: Path) -> None:
    data = "第一行。\n".encode() * 3 + "第二行中文。\n".encode("gb18030") + b"\xff\xff\n"
    seen = read_all_ways(tmp_path / "x.txt", data, "lines")
    assert seen.encoding == "utf-8"
    assert seen.values == ["第一行。"] * 3 + ["第二行中文。"]
    assert seen.notes == {3: "decoded as gb18030"}
    assert seen.reasons == ["encoding"]


@quick
@given(data=st.binary(min_size=1, max_size=200), size=st.integers(1, 50))
def test_any_bytes_are_accounted_for(tmp_path: Path, data: bytes, size: int) -> None:
    for form in ("records", "lines", "paragraphs", "rows", "object", "keyed", "instances", "mediawiki", "wikiextractor"):
        whole = read(tmp_path / "x", data, form)
        assert whole.records
        if b"PK" not in data and b"PAR1" not in data:
            assert read(tmp_path / "x", data, form, block_bytes=size).outcome() == whole.outcome()
