"""stub"""
from __future__ import annotations
import pyarrow as pa
def mend(column, kinds, rules, settings):
    return column, {}
def problems(rows: pa.Table) -> pa.Array:
    return pa.nulls(rows.num_rows, pa.string())
