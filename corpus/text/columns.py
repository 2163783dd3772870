"""The columns that are measured of every row: names, types and meanings. `measures` computes them.

They stand apart from what computes them because schemas and recipes need them, and should not need a compiler.
"""

from __future__ import annotations

import pyarrow as pa

MEASURES: tuple[tuple[str, pa.DataType, str], ...] = (
    ("chars", pa.int32(), "characters of all texts of the row"),
    ("script", pa.string(), "hans, hant or mixed; null where no character decides"),
    ("language", pa.string(), "zh, en, mixed or other; null for a row without letters"),
)
