from __future__ import annotations

import datetime
import decimal
import io
import json
from pathlib import Path

import orjson
import pyarrow as pa
import pyarrow.parquet as pq

from tests.sources.framing.support import read


def written(table: pa.Table, **more: object) -> bytes:
    out = io.BytesIO()
    pq.write_table(table, out, **more)
    return out.getvalue()


def test_rows_in_order(tmp_path: Path) -> None:
    rows = [{"prompt": f"问 {i}", "list": [{"role": "user", "n": i}], "b": b"\x00\xff", "none": None} for i in range(5000)]
    data = written(pa.Table.from_pylist(rows), row_group_size=700)
    seen = read(tmp_path / "x.parquet", data)
    assert seen.container == "parquet"
    assert seen.values == rows
    assert seen.ordinals == list(range(5000))
    assert read(tmp_path / "x.parquet", data, block_bytes=100).values == rows


def test_values_that_json_does_not_have(tmp_path: Path) -> None:
    table = pa.table(
        {
            "at": pa.array([datetime.datetime(2023, 4, 1, 12, 0)], pa.timestamp("ns", "UTC")),
            "day": pa.array([datetime.date(2023, 4, 1)]),
            "price": pa.array([decimal.Decimal("1.50")]),
            "pairs": pa.array([[("k", 1)]], pa.map_(pa.string(), pa.int64())),
        }
    )
    (value,) = read(tmp_path / "x.parquet", written(table)).values
    assert value == {"at": "2023-04-01T12:00:00+00:00", "day": "2023-04-01", "price": "1.50", "pairs": [["k", 1]]}
    assert json.loads(orjson.dumps(value)) == value


def test_a_cut_file(tmp_path: Path) -> None:
    data = written(pa.table({"a": list(range(1000))}))
    assert read(tmp_path / "x.parquet", data[:-100]).reasons == ["truncated"]
    assert read(tmp_path / "x.parquet", data[:-20] + b"\xff" * 12 + data[-8:]).reasons == ["corrupt"]


def test_a_damaged_row_group_costs_only_itself(tmp_path: Path) -> None:
    data = bytearray(
        written(pa.table({"a": [f"text {i}" for i in range(300)]}), row_group_size=100, compression="zstd", use_dictionary=False)
    )
    meta = pq.ParquetFile(io.BytesIO(bytes(data))).metadata.row_group(1).column(0)
    for at in range(meta.data_page_offset + 20, meta.data_page_offset + meta.total_compressed_size):
        data[at] ^= 0x5A
    seen = read(tmp_path / "x.parquet", bytes(data))
    assert seen.ordinals == [*range(100), *range(200, 300)]
    assert [(r.record, r.reason) for r in seen.rejects] == [(100, "corrupt")]


def test_an_empty_table(tmp_path: Path) -> None:
    assert read(tmp_path / "x.parquet", written(pa.table({"a": pa.array([], pa.string())}))).reasons == ["empty_file"]
