"""parse: how files become partitions, and that it makes no difference to the rows."""

from __future__ import annotations

import bz2
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from corpus.sources.base import Frame
from corpus.sources.framing import xml
from corpus.stages import parse
from corpus.warehouse import inputs
from corpus.warehouse.manifest import Manifests
from corpus.why import why
from tests.conftest import hashes, instruction, json_lines, make_build, query, recipe_of
from tests.sources.framing.test_multistream import HEAD, TAIL, page

RECIPE = recipe_of(sources=["belle-0.5m"], splits={"sft": {}})
COLUMNS = "row_id, record, messages, first_id IS NULL"


class Counted:
    """A method that yields frames, and how many records it has yielded."""

    def __init__(self, method: Callable[..., Iterator[Frame]]) -> None:
        self._method = method
        self.records = 0

    def __get__(self, export: xml.Export, kind: type) -> Callable[[], Iterator[Frame]]:
        return lambda: self._frames(export)

    def _frames(self, export: xml.Export) -> Iterator[Frame]:
        for frame in self._method(export):
            self.records += frame.records
            yield frame


def keys(root: Path) -> list[str]:
    return sorted(p.key for p in Manifests(root).all() if p.stage == "parse")


def test_small_files_are_bundled_and_have_the_same_rows(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_build(data, tmp_path / "apart", RECIPE)
    monkeypatch.setattr(parse, "_FEW", 1)
    make_build(data, tmp_path / "bundled", RECIPE)
    assert len(keys(tmp_path / "apart")) == 2
    assert [key.partition("/")[2] for key in keys(tmp_path / "bundled")] == ["bundle-0-0000"]
    for table in (f"(SELECT {COLUMNS} FROM rows)", "(SELECT row_id, split, part FROM assigned)", "files", "rejects"):
        assert query(tmp_path / "apart", f"FROM {table} ORDER BY ALL") == query(tmp_path / "bundled", f"FROM {table} ORDER BY ALL"), table


def test_a_new_file_changes_only_its_own_bundle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parse, "_FEW", 1)
    monkeypatch.setattr(parse, "_BUNDLE", 200)
    for number in range(24):
        json_lines(tmp_path / f"data/{number}/train_0.5M_CN.json", [instruction(f"问题{number}", "答案")])
    make_build(tmp_path / "data", tmp_path / "wh", RECIPE)
    before = keys(tmp_path / "wh")
    assert len(before) > 2
    json_lines(tmp_path / "data/new/train_0.5M_CN.json", [instruction("新问题", "答案")])
    outcome = make_build(tmp_path / "data", tmp_path / "wh", RECIPE)
    assert keys(tmp_path / "wh") == before
    assert outcome.built["parse"] == 1
    assert query(tmp_path / "wh", "SELECT count(DISTINCT row_id) FROM rows") == [(25,)]


def test_a_large_file_is_cut_and_has_the_same_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    records = [instruction(f"问题{n % 40}", f"答案{n % 40}") for n in range(100)]
    records[70] = {"no": "question"}
    json_lines(tmp_path / "data/train_0.5M_CN.json", records)
    make_build(tmp_path / "data", tmp_path / "whole", RECIPE)
    digest_file = inputs.digest_file
    monkeypatch.setattr(inputs, "digest_file", lambda path: digest_file(path, cut_bytes=2000))
    monkeypatch.setattr(inputs, "_BLOCK", 512)
    monkeypatch.setattr(parse, "_SMALL", 1)
    make_build(tmp_path / "data", tmp_path / "cut", RECIPE)
    assert len(keys(tmp_path / "cut")) > 2
    for table in (f"(SELECT {COLUMNS}, byte_offset, byte_length FROM rows)", "(SELECT row_id, split FROM assigned)", "files", "rejects"):
        assert query(tmp_path / "whole", f"FROM {table} ORDER BY ALL") == query(tmp_path / "cut", f"FROM {table} ORDER BY ALL"), table


def test_a_dump_of_many_streams_is_cut_and_has_the_same_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bodies = [b"".join(page(n % 400) for n in range(start, start + 50)) for start in range(0, 600, 50)]  # 200 pages are there twice
    packed = [bz2.compress(body) for body in (HEAD, *bodies, TAIL)]
    packed[6] = packed[6][:100] + b"damage" + packed[6][106:]
    (tmp_path / "data/wikipedia_xml").mkdir(parents=True)
    (tmp_path / "data/wikipedia_xml/zhwiki-20240301-pages-articles-multistream.xml.bz2").write_bytes(b"".join(packed))
    recipe = recipe_of(sources=["wikipedia-dump"], splits={"pretrain": {}})
    make_build(tmp_path / "data", tmp_path / "whole", recipe)
    digest_file = inputs.digest_file
    monkeypatch.setattr(inputs, "digest_file", lambda path: digest_file(path, stream_cut_bytes=20_000))
    monkeypatch.setattr(parse, "_SMALL", 1)
    make_build(tmp_path / "data", tmp_path / "cut", recipe)
    make_build(tmp_path / "data", tmp_path / "two", recipe, workers=2)
    assert len(keys(tmp_path / "cut")) > 3
    assert hashes(tmp_path / "two") == hashes(tmp_path / "cut")
    columns = "row_id, record, byte_offset, byte_length, title, text, subset, meta, first_id"
    for table in (f"(SELECT {columns} FROM rows)", "(SELECT row_id, split FROM assigned)", "files", "rejects"):
        assert query(tmp_path / "whole", f"FROM {table} ORDER BY ALL") == query(tmp_path / "cut", f"FROM {table} ORDER BY ALL"), table
    assert query(tmp_path / "cut", "SELECT count(*), count(DISTINCT subset) FROM rows") == [(550, 1)]
    assert query(tmp_path / "cut", "SELECT reason FROM rejects") == [("corrupt",)]
    monkeypatch.setattr(xml.Export, "pages", counted := Counted(xml.Export.pages))
    for row_id, title in query(tmp_path / "cut", "SELECT row_id, title FROM rows ORDER BY record DESC LIMIT 3"):
        found = why(tmp_path / "cut", row_id)
        assert title in (found.raw or found.raw_problem)
    assert 3 <= counted.records < 3 * 60  # of one stream each, not of the whole dump


@pytest.mark.parametrize("ends", ["\n", "\r\n"])
@pytest.mark.parametrize("block", [1, 7, 64, 301])
def test_cuts_are_at_line_starts_with_the_right_ordinal(tmp_path: Path, ends: str, block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inputs, "_BLOCK", block)
    lines = [f'{{"n": {n}, "text": "{"x" * (n % 17)}"}}' for n in range(300)]
    path = tmp_path / "a.jsonl"
    path.write_bytes("".join(line + ends for line in lines).encode())
    content = path.read_bytes()
    found = inputs.digest_file(path, cut_bytes=500)
    assert found.bytes == len(content)
    assert len(found.cuts) > 5
    for offset, ordinal in found.cuts:
        assert content[:offset].count(b"\n") == ordinal
        assert content[offset:].startswith(lines[ordinal].encode())
