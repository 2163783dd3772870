"""The text on which all are trained, of any size, and the text on which all are scored.

It is what a warehouse holds after cleaning: of every row the title and text, or the contents of its messages with the preferred answer,
joined by line breaks; equal texts once, in an order drawn by chance. Some Chinese and English rows are held out. Where more is asked for
than there is, a chain learnt from the training rows goes on (`chain` says how much it is like them), half of its bytes Chinese.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.tokenizers.chain import ORDER, Chain
from corpus.schema import TEXT_SPLIT

SEED = 20240607
HELD = 5_000_000
"""Bytes of each language that are held out, and at most a fifth of what there is."""
_LONGEST_HELD = 8000
"""Characters of the longest row that is held out, so that no row is much of what is scored."""
_LEARNT = 15_000_000
"""Bytes of each language that the chain learns from; twice as many would take twice the memory, 1.2 GB now."""
_BATCH = 1_000_000
"""Bytes of a row group, about: what the trainers of the project are given at a time."""
LANGUAGES = ("zh", "en")


@dataclass(frozen=True, slots=True)
class Text:
    """Where it lies, and what is in it.

    Attributes:
        folder: of all its files.
        bytes: of UTF-8 in all rows.
        real: of these, bytes that are not a chain's.
        count: rows.
    """

    folder: Path
    bytes: int
    real: int
    count: int

    @property
    def rows(self) -> Path:
        """Its rows as the tokenizer split has them (`TEXT_SPLIT`)."""
        return self.folder / "train-00000.parquet"

    @property
    def lines(self) -> Path:
        """The same rows with a line break after each, for what reads lines; a row of many lines is many lines there."""
        return self.folder / "lines.txt"

    def record(self) -> dict[str, Any]:
        """As it goes into JSON."""
        return {**asdict(self), "folder": self.folder.name}


def read(warehouse: Path) -> pl.DataFrame:
    """The distinct texts of a built warehouse, in an order drawn by chance: row_id, source, license, kind, text, language, bytes.

    Raises:
        FileNotFoundError: when nothing is built there.
    """
    files = sorted(warehouse.glob("clean/*/*.parquet"))
    if not files:
        raise FileNotFoundError(f"{warehouse}: no files clean/SOURCE/*.parquet; `corpus build --recipe everything` makes them")

    def contents(name: str) -> pl.Expr:
        return pl.col(name).list.eval(pl.element().struct.field("content")).list.join("\n")

    said = pl.concat_list("title", "text", contents("messages"), contents("chosen"))
    text = said.list.eval(pl.element().filter(pl.element().is_not_null() & (pl.element() != ""))).list.join("\n")
    rows = pl.scan_parquet(files).select("row_id", "source", "license", "kind", text=text)
    # The first by its id among equals, so that neither the order of files nor that of threads matters.
    rows = rows.filter(pl.col("text") != "").sort("row_id").unique("text", keep="first", maintain_order=True)
    chinese = pl.col("text").str.count_matches(r"\p{Han}") > 0.3 * pl.col("text").str.len_chars()
    frame = rows.with_columns(
        language=pl.when(chinese).then(pl.lit("zh")).otherwise(pl.lit("en")), bytes=pl.col("text").str.len_bytes().cast(pl.Int64)
    ).collect()
    return frame[np.random.default_rng(SEED).permutation(len(frame))]


def hold_out(rows: pl.DataFrame, most: int = HELD) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Parts rows into those to be held out, of each language the first up to `most` bytes or a fifth, and those to train on."""
    short = pl.col("text").str.len_chars() < _LONGEST_HELD
    before = (pl.when(short).then(pl.col("bytes")).otherwise(0).cum_sum() - pl.col("bytes")).over("language")
    room = pl.min_horizontal(pl.lit(most), pl.col("bytes").sum().over("language") // 5)
    marked = rows.with_columns(held=short & (before < room))
    return marked.filter("held").drop("held"), marked.filter(~pl.col("held")).drop("held")


def make(train: pl.DataFrame, folder: Path, size: int, share: int = 100) -> Text:
    """Writes `size` MB of text, or the share (percent) of its rows that chance draws; a text that is there already is not made again."""
    folder = folder / (f"{size}mb" if share == 100 else f"{size}mb-{share}")
    told = folder / "text.json"
    if told.exists():
        return Text(folder, **orjson.loads(told.read_bytes()))
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    draw = np.random.default_rng((SEED, share))
    text = Text(folder, 0, 0, 0)
    count, written, real = 0, 0, 0
    with pq.ParquetWriter(text.rows, TEXT_SPLIT.schema, compression="zstd") as table, text.lines.open("wb") as lines:
        for batch in _batches(train, size * 1_000_000):
            if share < 100:
                batch = batch.filter(pl.Series(draw.random(len(batch)) < share / 100, dtype=pl.Boolean))
            table.write_table(_split(batch))
            lines.write("".join(f"{row}\n" for row in batch["text"]).encode())
            count += len(batch)
            written += int(batch["bytes"].sum())
            real += int(batch.filter(pl.col("license") != _GENERATED)["bytes"].sum())
    said = {"bytes": written, "real": real, "count": count}
    told.write_bytes(orjson.dumps(said))
    return Text(folder, **said)


_GENERATED = "generated"


def _batches(train: pl.DataFrame, most: int) -> Iterator[pl.DataFrame]:
    """Rows up to `most` bytes: those there are, then those of the chains, in turn as many bytes of each language."""
    kept = train.filter(pl.col("bytes").cum_sum() - pl.col("bytes") < most)
    left = most - int(kept["bytes"].sum())
    step = max(1, int(_BATCH * len(kept) / max(1, kept["bytes"].sum())))
    yield from kept.iter_slices(step)
    if left > 0:
        yield from _generated({language: chain_of(train, language) for language in LANGUAGES}, left)


def chain_of(train: pl.DataFrame, language: str) -> Chain:
    """The chain of a language, learnt from its first rows."""
    rows = train.filter(pl.col("language") == language)
    return Chain.learn(rows.filter(pl.col("bytes").cum_sum() <= _LEARNT)["text"].to_list(), ORDER[language])


def _generated(chains: dict[str, Chain], most: int) -> Iterator[pl.DataFrame]:
    """Rows of chains up to `most` bytes, in frames of some MB, the next always of the language of which there is less."""
    rows = {language: chain.rows(SEED) for language, chain in chains.items()}
    written, number = dict.fromkeys(chains, 0), 0
    while (room := most - sum(written.values())) > 0:
        language = min(written, key=written.__getitem__)
        frame = pl.DataFrame({"text": next(rows[language])}, schema={"text": pl.String})
        frame = frame.with_columns(bytes=pl.col("text").str.len_bytes().cast(pl.Int64))
        frame = frame.filter(pl.col("bytes").cum_sum() - pl.col("bytes") < room)
        yield frame.select(
            row_id=pl.Series([f"{number + i:032x}" for i in range(len(frame))], dtype=pl.String),
            source=pl.lit(f"chain-{language}"),
            license=pl.lit(_GENERATED),
            kind=pl.lit("document"),
            text="text",
            language=pl.lit(language),
            bytes="bytes",
        )
        written[language] += int(frame["bytes"].sum())
        number += len(frame)


def _split(rows: pl.DataFrame) -> pa.Table:
    """Rows as the tokenizer split has them."""
    null = pl.lit(None, dtype=pl.String)
    return (
        rows.select(
            "row_id",
            "source",
            null.alias("subset"),
            "license",
            "kind",
            pl.lit(0, dtype=pl.Int32).alias("repeat"),
            null.alias("title"),
            "text",
        )
        .to_arrow()
        .cast(TEXT_SPLIT.schema)
    )
