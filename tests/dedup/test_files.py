"""Files and tables that are not what they should be: each is refused with a sentence, and nothing of the user's is lost."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from corpus.dedup import deduplicate
from corpus.dedup.files import values
from corpus.dedup.library import TABLES, check_out
from corpus.dedup.summary import progress
from corpus.errors import DataError, UsageError

SAME = ["the same text is here again", "the same text is here again", "something quite different from it"]


def _raw(texts: list[bytes]) -> pa.Array:
    """A column of these bytes, whatever they are."""
    ends = np.cumsum([0, *map(len, texts)]).astype(np.int32)
    return pa.StringArray.from_buffers(len(texts), pa.py_buffer(ends), pa.py_buffer(b"".join(texts)))


@pytest.mark.parametrize("end", [b"\xf0", b"\xf0\x9f\x98", b"\xe4\xb8", b"\xc3", b"\xff\xbf\xbf\xbf", b"\x80", b"\xed\xa0\x80"])
def test_bytes_that_are_no_utf8_are_refused(tmp_path: Path, end: bytes) -> None:
    table = pa.table({"text": _raw([b"sound", b"one two three " + end])})
    with pytest.raises(DataError, match=r"column 'text', rows 0 to 1: .*index 1; texts must be UTF-8"):
        deduplicate(table)
    pq.write_table(table, tmp_path / "rows.parquet")
    with pytest.raises(DataError, match=r"rows.parquet: column 'text', rows 0 to 1"):
        deduplicate(tmp_path / "rows.parquet")


@pytest.mark.parametrize("ends", [[0, 1 << 30, 5], [0, -(10**8), 5], [3, 1, 5]])
def test_offsets_outside_the_data_are_refused(ends: list[int]) -> None:
    column = pa.StringArray.from_buffers(2, pa.py_buffer(np.array(ends, dtype=np.int32)), pa.py_buffer(b"hello"))
    with pytest.raises(DataError, match="offset"):
        deduplicate(pa.table({"text": column}))


def test_ids_are_looked_at_as_well() -> None:
    with pytest.raises(DataError, match="column 'id', rows 0 to 2"):
        deduplicate(pa.table({"text": SAME, "id": _raw([b"a", b"b\xff", b"c"])}), id="id")


def test_a_column_whose_path_is_that_of_another(tmp_path: Path) -> None:
    inner = pa.array([{"b": "x"}] * 3)
    for columns in ({"a": inner, "a.b": SAME}, {"a.b": SAME, "a": inner}):
        pq.write_table(pa.table(columns), tmp_path / "rows.parquet")
        assert deduplicate(tmp_path / "rows.parquet", text="a.b").kept["row_id"].to_pylist() == [0, 2]


def test_a_column_that_is_there_twice(tmp_path: Path) -> None:
    table = pa.Table.from_arrays([pa.array(SAME), pa.array(SAME)], names=["text", "text"])
    pq.write_table(table, tmp_path / "rows.parquet")
    for source in (table, tmp_path / "rows.parquet"):
        with pytest.raises(DataError, match="there are 2 columns 'text'"):
            deduplicate(source)


@pytest.mark.parametrize("of", [pa.string_view(), pa.dictionary(pa.int8(), pa.string()), pa.large_string()])
def test_texts_and_ids_of_every_type_of_text(tmp_path: Path, of: pa.DataType) -> None:
    plain = pa.table({"text": SAME, "id": ["x", "w", "y"]})
    table = plain.cast(pa.schema([("text", of), ("id", of)]))
    pq.write_table(table, tmp_path / "rows.parquet")
    for source in (table, tmp_path / "rows.parquet"):
        result = deduplicate(source, id="id")
        assert result.kept["row_id"].to_pylist() == ["w", "y"]
        assert result.dropped.to_pylist() == [{"row_id": "x", "kept_row_id": "w", "jaccard": 1.0}]


def test_an_id_that_a_dropped_row_shares_with_another() -> None:
    # Who drops rows by their ids would lose the third, which resembles none.
    with pytest.raises(DataError, match="rows 1 and 2 have the same id 7; ids must be unique"):
        deduplicate(pa.table({"text": SAME, "id": [1, 7, 7]}), id="id")
    with pytest.raises(DataError, match="row 2 has no id"):
        deduplicate(pa.table({"text": SAME, "id": [1, 7, None]}), id="id")


def test_ids_at_the_ends_of_their_type() -> None:
    top = pa.array([2**64 - 1, 2**64 - 2, 0], pa.uint64())
    assert deduplicate(pa.table({"text": SAME, "id": top}), id="id").dropped["row_id"].to_pylist() == [2**64 - 1]
    low = pa.array([-(2**63), 2**63 - 1, -1], pa.int64())
    assert deduplicate(pa.table({"text": SAME, "id": low}), id="id").dropped["row_id"].to_pylist() == [2**63 - 1]


def test_long_rows_are_read_a_few_at_a_time(tmp_path: Path) -> None:
    with pq.ParquetWriter(tmp_path / "rows.parquet", pa.schema([("text", pa.string())])) as writer:
        writer.write_table(pa.table({"text": [f"short {i}" for i in range(100)]}))
        writer.write_table(pa.table({"text": [os.urandom(1 << 20).hex() for _ in range(20)]}))
    sizes = [column.nbytes for column in values(tmp_path / "rows.parquet", "text")]
    assert sum(sizes) > 40 << 20
    assert max(sizes) < 20 << 20


def test_nothing_of_the_users_is_replaced(tmp_path: Path) -> None:
    own = tmp_path / "kept.parquet"
    pq.write_table(pa.table({"text": SAME}), own)
    with pytest.raises(UsageError, match="is the file that is to be read"):
        check_out(tmp_path, own)
    (tmp_path / "linked").mkdir()
    (tmp_path / "linked" / "pairs.parquet").symlink_to(own)
    with pytest.raises(UsageError, match="is the file that is to be read"):
        check_out(tmp_path / "linked", own)
    with pytest.raises(UsageError, match="no result of an earlier run"):
        deduplicate(own).write(tmp_path)
    assert pq.read_table(own)["text"].to_pylist() == SAME


def test_a_result_replaces_an_earlier_one_and_nothing_else_is_left(tmp_path: Path) -> None:
    for texts in (SAME, SAME[1:]):
        deduplicate(pa.table({"text": texts}), work=tmp_path).write(tmp_path)
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted(f"{name}.parquet" for name in TABLES)
    assert pq.read_table(tmp_path / "kept.parquet")["row_id"].to_pylist() == [0, 1]


def test_what_killed_runs_left_is_cleared_and_what_is_in_use_is_not(tmp_path: Path) -> None:
    for name in (".dedup-spill-abcdefg1", ".dedup-spill-abcdefg2", "dedup-mine"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "00000.bands").write_bytes(b"x")
    in_use = os.open(tmp_path / ".dedup-spill-abcdefg2", os.O_RDONLY)
    try:
        fcntl.flock(in_use, fcntl.LOCK_EX)
        deduplicate(pa.table({"text": SAME}), work=tmp_path)
    finally:
        os.close(in_use)
    assert sorted(p.name for p in tmp_path.iterdir()) == [".dedup-spill-abcdefg2", "dedup-mine"]
    assert (tmp_path / ".dedup-spill-abcdefg2" / "00000.bands").exists()


def test_progress_of_a_file_that_cannot_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    (tmp_path / "rows.parquet").write_bytes(b"PAR1")
    with pytest.raises(DataError, match="cannot be read as parquet"), progress(tmp_path / "rows.parquet", quiet=False):
        pass
