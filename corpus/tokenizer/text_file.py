"""Text from a file of the user's: to measure tokenizers on, or to learn further tokens from, in place of a build's split."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from corpus.errors import DataError, UsageError
from corpus.tokenizer.text import spoken

_MOST = 1_000_000_000


def read(path: Path) -> pl.DataFrame:
    """Reads the rows of a file.

    Args:
        path: `.parquet` or `.jsonl` with a column text (and source, where it has one), or `.txt`: a row for each paragraph, which
            ends at an empty line. Rows without text are left out.

    Returns:
        row_id (the place in the file), source, language (zh, en, other), text.

    Raises:
        UsageError: when there is no such file, its name ends otherwise, or it is larger than 1 GB: a sample says the same.
        DataError: when it cannot be read, or has no text.
    """
    if not path.is_file():
        raise UsageError(f"{path}: there is no such file; expected a .parquet, .jsonl or .txt")
    if path.stat().st_size > _MOST:
        raise UsageError(f"{path}: {path.stat().st_size / 1e9:.1f} GB; give a sample of at most {_MOST / 1e9:.0f} GB, 20 MB are plenty")
    rows = _read(path)
    if "text" not in rows.columns or rows["text"].dtype not in (pl.String, pl.Categorical):
        found = ", ".join(f"{name} ({kind})" for name, kind in rows.schema.items())
        raise DataError(f"{path}: expected a column text that holds text, found {found or 'none'}")
    rows = rows.with_row_index("row_id").drop_nulls("text")
    source = pl.col("source").cast(pl.String).fill_null(path.stem) if _named(rows) else pl.lit(path.stem)
    rows = rows.select(pl.col("row_id").cast(pl.String), source.alias("source"), pl.col("text").cast(pl.String))
    if not len(rows):
        raise DataError(f"{path}: no row has text")
    return rows.select("row_id", "source", spoken(rows["text"]).alias("language"), "text")


def _named(rows: pl.DataFrame) -> bool:
    """Whether rows say where they are from: in a word or number, not in a list of them."""
    return "source" in rows.columns and not rows["source"].dtype.is_nested() and rows["source"].dtype != pl.Binary


def _read(path: Path) -> pl.DataFrame:
    try:
        if path.suffix == ".parquet":
            have = [name for name in ("source", "text") if name in pq.read_schema(path).names]
            table = pq.read_table(path, columns=have)
            table.validate(full=True)  # text that is no UTF-8, which parquet does not look at
            return pl.DataFrame(table) if have else pl.DataFrame()
        if path.suffix in (".jsonl", ".ndjson"):
            found = pl.read_ndjson(path, schema={"text": pl.String, "source": pl.String})
            return found if found["source"].null_count() < len(found) else found.drop("source")
        if path.suffix == ".txt":
            text = path.read_bytes().decode("utf-8")
            # The empty lines themselves stay with the paragraph before them: they are text as well.
            return pl.DataFrame({"text": pl.Series([text]).str.extract_all(r"(?s).+?(?:\r?\n(?:[ \t]*\r?\n)+|\z)").explode()})
    except (pl.exceptions.PolarsError, pa.ArrowException, UnicodeDecodeError, OSError) as e:
        raise DataError(f"{path}: cannot be read as {path.suffix}: {e}") from e
    raise UsageError(f"{path}: expected a file that ends in .parquet, .jsonl or .txt")
