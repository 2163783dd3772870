"""The report: what a person, a program and a page get to see, and text from a file of the user's."""

from __future__ import annotations

import json
import re
import sys
from dataclasses import replace
from pathlib import Path

import orjson
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from corpus.errors import CorpusError, DataError, UsageError
from corpus.tokenizer.held_out import rows_of
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


def test_rows_of_every_kind_of_file(tmp_path: Path) -> None:
    texts = [_ZH, _EN, _OTHER, None, "12345"]
    sources = ["a", None, "b", "b", "b"]
    pl.DataFrame({"text": texts, "source": sources, "n": [1, 2, 3, 4, 5]}).write_parquet(tmp_path / "x.parquet")
    lines = [{"more": [1], "text": t, "source": s} for t, s in zip(texts, sources, strict=True)]
    (tmp_path / "x.jsonl").write_bytes(b"\n".join(map(orjson.dumps, lines)))
    for name in ("x.parquet", "x.jsonl"):
        found = rows_of(tmp_path / name)
        assert found.columns == ["row_id", "source", "language", "text"]
        assert found.rows() == [
            ("0", "a", "zh", _ZH), ("1", "x", "en", _EN), ("2", "b", "other", _OTHER), ("4", "b", "other", "12345")
        ]  # fmt: skip
    (tmp_path / "plain.jsonl").write_text('{"text": "我们去公园散步"}\n')
    assert rows_of(tmp_path / "plain.jsonl").rows() == [("0", "plain", "zh", "我们去公园散步")]
    (tmp_path / "x.txt").write_bytes(f"{_ZH}\r\nmore\r\n \t\r\n\r\n{_EN}\n\n".encode())
    assert rows_of(tmp_path / "x.txt")["text"].to_list() == [f"{_ZH}\r\nmore\r\n \t\r\n\r\n", f"{_EN}\n\n"]


@given(text=st.text(st.sampled_from("a \t\r\n好"), min_size=1, max_size=30))
def test_paragraphs_are_the_whole_file(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    path = tmp_path_factory.mktemp("text") / "x.txt"
    path.write_bytes(text.encode())
    assert "".join(rows_of(path)["text"].to_list()) == text


@pytest.mark.parametrize(
    ("name", "content", "error", "says"),
    [
        ("x.csv", b"text\n", UsageError, r"expected a file that ends in \.parquet, \.jsonl or \.txt"),
        ("x.parquet", b"PAR1", DataError, "cannot be read as .parquet"),
        ("x.jsonl", b'{"text": \n', DataError, "cannot be read as .jsonl|no row has text"),
        ("x.jsonl", b'{"said": "x"}\n', DataError, "no row has text"),
        ("x.jsonl", b"", DataError, "x.jsonl"),
        ("x.txt", b"\xff\xfe", DataError, "cannot be read as .txt"),
        ("x.txt", b"", DataError, "no row has text"),
    ],
)
def test_a_file_without_text_is_named(tmp_path: Path, name: str, content: bytes, error: type[CorpusError], says: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(error, match=says) as raised:
        rows_of(tmp_path / name)
    assert name in str(raised.value)


def test_a_column_of_other_things_is_named(tmp_path: Path) -> None:
    pl.DataFrame({"text": [1, 2]}).write_parquet(tmp_path / "x.parquet")
    pl.DataFrame({"said": ["a"]}).write_parquet(tmp_path / "y.parquet")
    for name in ("x.parquet", "y.parquet"):
        with pytest.raises(DataError, match="expected a column text that holds text"):
            rows_of(tmp_path / name)
    with pytest.raises(UsageError, match="there is no such file"):
        rows_of(tmp_path / "none.txt")
