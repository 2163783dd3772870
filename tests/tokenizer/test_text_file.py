"""Text from a file of the user's."""

from __future__ import annotations

from pathlib import Path

import orjson
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from corpus.errors import CorpusError, DataError, UsageError
from corpus.tokenizer import text_file

_ZH, _EN, _OTHER = "今天天气很好，我们去公园散步吧。", "The weather is fine today, so we go for a walk.", "Привет, как твои дела сегодня?"


def test_rows_of_every_kind_of_file(tmp_path: Path) -> None:
    texts = [_ZH, _EN, _OTHER, None, "12345"]
    sources = ["a", None, "b", "b", "b"]
    pl.DataFrame({"text": texts, "source": sources, "n": [1, 2, 3, 4, 5]}).write_parquet(tmp_path / "x.parquet")
    lines = [{"more": [1], "text": t, "source": s} for t, s in zip(texts, sources, strict=True)]
    (tmp_path / "x.jsonl").write_bytes(b"\n".join(map(orjson.dumps, lines)))
    for name in ("x.parquet", "x.jsonl"):
        found = text_file.read(tmp_path / name)
        assert found.columns == ["row_id", "source", "language", "text"]
        assert found.rows() == [
            ("0", "a", "zh", _ZH), ("1", "x", "en", _EN), ("2", "b", "other", _OTHER), ("4", "b", "other", "12345")
        ]  # fmt: skip
    (tmp_path / "plain.jsonl").write_text('{"text": "我们去公园散步"}\n')
    assert text_file.read(tmp_path / "plain.jsonl").rows() == [("0", "plain", "zh", "我们去公园散步")]
    (tmp_path / "x.txt").write_bytes(f"{_ZH}\r\nmore\r\n \t\r\n\r\n{_EN}\n\n".encode())
    assert text_file.read(tmp_path / "x.txt")["text"].to_list() == [f"{_ZH}\r\nmore\r\n \t\r\n\r\n", f"{_EN}\n\n"]


@given(text=st.text(st.sampled_from("a \t\r\n好"), min_size=1, max_size=30))
def test_paragraphs_are_the_whole_file(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    path = tmp_path_factory.mktemp("text") / "x.txt"
    path.write_bytes(text.encode())
    assert "".join(text_file.read(path)["text"].to_list()) == text


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
        text_file.read(tmp_path / name)
    assert name in str(raised.value)


def test_a_column_of_other_things_is_named(tmp_path: Path) -> None:
    pl.DataFrame({"text": [1, 2]}).write_parquet(tmp_path / "x.parquet")
    pl.DataFrame({"said": ["a"]}).write_parquet(tmp_path / "y.parquet")
    for name in ("x.parquet", "y.parquet"):
        with pytest.raises(DataError, match="expected a column text that holds text"):
            text_file.read(tmp_path / name)
    with pytest.raises(UsageError, match="there is no such file"):
        text_file.read(tmp_path / "none.txt")


NOT_UTF8 = pa.Array.from_buffers(pa.string(), 1, [None, pa.py_buffer(b"\0\0\0\0\2\0\0\0"), pa.py_buffer(b"\xff\xfe")])


@pytest.mark.parametrize(
    ("column", "says"),
    [(NOT_UTF8, "cannot be read"), (pa.array([1]), r"text \(Int64\)"), (pa.array([["a"]]), r"text \(List"), (pa.nulls(2), "text")],
)
def test_a_column_that_holds_no_text(tmp_path: Path, column: pa.Array, says: str) -> None:
    pq.write_table(pa.table({"text": column}), tmp_path / "x.parquet")
    with pytest.raises(DataError, match=says):
        text_file.read(tmp_path / "x.parquet")


def test_a_source_that_is_no_word_is_the_files_name(tmp_path: Path) -> None:
    pq.write_table(pa.table({"text": ["a b", None], "source": [["x"], ["y"]]}), tmp_path / "x.parquet")
    assert text_file.read(tmp_path / "x.parquet")["source"].to_list() == ["x"]
