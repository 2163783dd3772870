"""The report: what a person, a program and a page get to see."""

from __future__ import annotations

import json
import re
import sys
from dataclasses import replace
from pathlib import Path

import polars as pl
import pytest

from corpus.errors import CorpusError, UsageError
from corpus.tokenizer.load import load
from corpus.tokenizer.plot import plot
from corpus.tokenizer.report import Report, as_json, as_markdown, as_table, report, short_names
from tests.tokenizer.small import byte_level, sentencepiece

_HOSTILE = "x|y`<script>alert(1)</script>\n# title\x1b[31m[red]"
_ZH, _EN, _OTHER = "今天天气很好，我们去公园散步吧。", "The weather is fine today, so we go for a walk.", "Привет, как твои дела сегодня?"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Report:
    """Two tokenizers on rows of three languages, one source named to do harm."""
    root = tmp_path_factory.mktemp("report")
    (root / "bpe").mkdir()
    byte_level().save(str(root / "bpe" / "tokenizer.json"))
    (root / "x.model").write_bytes(sentencepiece(lossless=False))
    texts = {"source": ["a", "a", _HOSTILE], "language": ["zh", "en", "other"], "text": [_ZH, _EN, _OTHER]}
    told: list[str] = []
    names = [str(root / "bpe" / "tokenizer.json"), str(root / "x.model")]
    found = report(map(load, names), pl.DataFrame({"row_id": ["1", "2", "3"], **texts}), "a test", told.append)
    assert told == names
    return found


def test_json_has_every_count_and_ratio(made: Report) -> None:
    told = json.loads(as_json(made))
    assert (told["about"], told["segmenter"]) == ("a test", "rjieba")
    first = told["tokenizers"][0]
    zh = first["languages"]["zh"]
    assert zh["bytes"] == len(_ZH.encode())
    assert zh["bytes_per_token"] == zh["bytes"] / zh["tokens"]
    assert first["languages"]["other"]["fertility"] is None
    assert list(first["sources"]) == ["a", _HOSTILE]
    assert sum(s["tokens"] for s in first["sources"].values()) == first["all"]["tokens"]
    assert sum(first["vocabulary"]["scripts"].values()) == first["size"]
    assert len(first["vocabulary"]["longest"]["Latin"]) == 5
    assert first["probes"]["CRLF"]["exact"]
    assert first["megabytes_per_second"] > 0


def test_a_page_shows_what_is_in_names_and_runs_none_of_it(made: Report) -> None:
    page = as_markdown(made)
    assert "<script" not in page
    assert "\x1b" not in page
    tables = re.findall(r"(?:^\|.*\n)+", page, flags=re.MULTILINE)
    assert len(tables) == page.count("\n### ") + 1 == 7
    for drawn in tables:
        assert len({line.count("|") for line in drawn.splitlines()}) == 1, drawn
    zh = made.tokenizers[0].languages["zh"]
    assert f"| zh | 1 | {zh.bytes} | bpe | {zh.tokens} | {zh.bytes_per_token:.3f} |" in page


def test_a_terminal_shows_the_same(made: Report, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    as_table(made)
    shown = capsys.readouterr().out
    assert "\x1b" not in shown
    assert "[red]" in shown
    for text in ("all of a test", "by language", "by source", "tokens by script", "longest tokens", "rjieba", "changed"):
        assert text in shown
    zh = made.tokenizers[1].languages["zh"]
    assert f"{zh.bytes_per_token:.3f}" in shown


def test_a_share_that_is_not_all_is_not_shown_as_all(made: Report) -> None:
    first = made.tokenizers[0]
    nearly = replace(first, everything=replace(first.everything, rows=1_000_000, exact=999_999))
    assert "| 99.99 |" in as_markdown(replace(made, tokenizers=(nearly,)))


def test_names_tell_tokenizers_apart(made: Report) -> None:
    names = ["/m/a/one/tokenizer.json", "/m/b/two/", "Qwen/Qwen3-0.6B", "/m/c/two", "x.model", "x.model"]
    found = [replace(made.tokenizers[0], name=name) for name in names]
    assert short_names(found) == ["one", "b/two", "Qwen3-0.6B", "c/two", "x.model (1)", "x.model (2)"]


@pytest.mark.parametrize("ending", ["png", "svg"])
def test_a_picture(made: Report, tmp_path: Path, ending: str) -> None:
    odd = replace(made.tokenizers[0], name="$\\frac{$ 语料 _x")
    several = replace(made, tokenizers=(*made.tokenizers, odd))
    paths = [tmp_path / f"{i}.{ending}" for i in range(2)]
    for path in paths:
        plot(several, path)
    data = paths[0].read_bytes()
    assert data == paths[1].read_bytes()
    assert data.startswith(b"\x89PNG" if ending == "png" else b"<?xml")
    plot(replace(made, tokenizers=made.tokenizers[:1]), paths[0])


def test_a_picture_that_cannot_be(made: Report, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UsageError, match=r"ends in \.png or \.svg"):
        plot(made, tmp_path / "x.pdf")
    with pytest.raises(UsageError, match="cannot be written: there is no folder"):
        plot(made, tmp_path / "none" / "x.png")
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(CorpusError, match=r"pip install -e '\.\[tokenizer\]'"):
        plot(made, tmp_path / "x.png")
