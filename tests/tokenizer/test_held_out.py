"""Files of the user's to measure on: what is wrong with one is said."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from corpus.errors import DataError
from corpus.tokenizer.held_out import rows_of

NOT_UTF8 = pa.Array.from_buffers(pa.string(), 1, [None, pa.py_buffer(b"\0\0\0\0\2\0\0\0"), pa.py_buffer(b"\xff\xfe")])


@pytest.mark.parametrize(
    ("column", "says"),
    [(NOT_UTF8, "cannot be read"), (pa.array([1]), r"text \(Int64\)"), (pa.array([["a"]]), r"text \(List"), (pa.nulls(2), "text")],
)
def test_a_column_that_holds_no_text(tmp_path: Path, column: pa.Array, says: str) -> None:
    pq.write_table(pa.table({"text": column}), tmp_path / "x.parquet")
    with pytest.raises(DataError, match=says):
        rows_of(tmp_path / "x.parquet")


def test_a_source_that_is_no_word_is_the_files_name(tmp_path: Path) -> None:
    pq.write_table(pa.table({"text": ["a b", None], "source": [["x"], ["y"]]}), tmp_path / "x.parquet")
    assert rows_of(tmp_path / "x.parquet")["source"].to_list() == ["x"]
