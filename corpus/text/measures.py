"""stub"""
from __future__ import annotations
import pyarrow as pa
import pyarrow.compute as pc
def measure(rows, settings):
    n = rows.num_rows
    flat = [sum(len(m["content"]) for k in ("messages","chosen","rejected") for m in r[k] or ()) + len(r["title"] or "") + len(r["text"] or "") for r in rows.to_pylist()]
    return {"chars": pa.array(flat, pa.int32()), "script": pa.nulls(n, pa.string()), "language": pa.nulls(n, pa.string())}
