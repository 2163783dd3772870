"""The text that a tokenizer is trained on, and the text that it is measured on.

Which rows are which hangs on their identities alone: a share of the rows of the `tokenizer` split is never trained on by any tokenizer of
the build, whatever its kind, seed or sample, so that all of them are measured on the same text that none has seen. Of the others as many
are drawn as the sample allows, over the whole split, so that what is trained on has the split's mixture however small it is.

Special tokens are no text. Conversations of the split are rendered, with the template's marks in them; they are cut there for training,
and measured with line breaks in their place. Documents are what they are.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from corpus.errors import DataError
from corpus.schema import Kind
from corpus.splits.draws import GOLDEN, leading, mixed
from corpus.splits.templates import TEMPLATES
from corpus.warehouse.builds import Build
from corpus.warehouse.commit import reading
from corpus.warehouse.splits import find

SPLIT = "tokenizer"
LANGUAGES = ("zh", "en", "other")
HELD_SHARE = 1 / 32
"""Of the rows, at most so many are held out."""
HELD_BYTES = 6_000_000
"""Bytes of text that are held out, about, where the share would be more: a percent of bytes per token is seen in a tenth of it."""

_ALL = 1 << 64


@dataclass(frozen=True, slots=True)
class Texts:
    """The texts of a build's `tokenizer` split.

    Attributes:
        build: of which.
        files: parquet files with row_id, source and text.
        digests: their SHA-256.
        rows: how many rows they have.
        bytes: bytes of text in them.
        marks: the special tokens of the build's template.
    """

    build: Build
    files: tuple[Path, ...]
    digests: tuple[str, ...]
    rows: int
    bytes: int
    marks: tuple[str, ...] = ()

    @property
    def held_below(self) -> int:
        """Rows are held out whose draw, of 64 bits, is below this."""
        return int(_ALL * min(HELD_SHARE, HELD_BYTES / max(1, self.bytes)))

    def training(self, most: int, seed: int) -> Iterator[tuple[pl.Series, int]]:
        """The texts to train on, some MB at a time, and how many rows they are of; in the order of the files.

        Args:
            most: bytes of text, about: each row is drawn with the chance that gives so many.
            seed: of that draw.
        """
        wanted = int(_ALL * min(1.0, most / max(1.0, self.bytes * (1 - self.held_below / _ALL))))
        salt = np.uint64(int.from_bytes(blake2b(f"sample\0{seed}".encode(), digest_size=8).digest(), "big"))
        for group in self._groups(["row_id", "kind", "text"]):
            drawn = self._draws(group)
            keep = drawn >= np.uint64(self.held_below)
            if wanted < _ALL:
                keep &= mixed((drawn ^ salt) + GOLDEN) < np.uint64(wanted)
            rows = _frame(group.filter(pa.array(keep)))
            document = rows["kind"] == Kind.DOCUMENT.value
            cut = rows["text"].filter(~document)
            for mark in self.marks:
                cut = cut.str.split(mark).explode()
            yield pl.concat([rows["text"].filter(document), cut.filter(cut != "")]), len(rows)

    def held_out(self) -> pl.DataFrame:
        """The rows that no tokenizer is trained on: row_id, source, language (zh, en or other), text; each once."""
        below = np.uint64(self.held_below)
        groups = self._groups(["row_id", "source", "kind", "text"])
        every = pl.concat([_frame(group.filter(pa.array(self._draws(group) < below))) for group in groups])
        rows = every.unique("row_id", maintain_order=True)
        shown = pl.col("text").str.replace_many(list(self.marks), ["\n"] * len(self.marks))
        rows = rows.with_columns(text=pl.when(pl.col("kind") == Kind.DOCUMENT.value).then("text").otherwise(shown))
        return rows.select("row_id", "source", spoken(rows["text"]).alias("language"), "text")

    def _draws(self, group: pa.Table) -> np.ndarray:
        return mixed(leading(pc.cast(group["row_id"], pa.string()).combine_chunks()) + GOLDEN)

    def _groups(self, columns: list[str]) -> Iterator[pa.Table]:
        for path in self.files:
            with reading(path):
                file = pq.ParquetFile(path)
                for number in range(file.num_row_groups):
                    yield file.read_row_group(number, columns=columns)


def texts(root: Path, recipe: str | None = None) -> Texts:
    """The texts of the `tokenizer` split of a build.

    Args:
        root: the warehouse.
        recipe: whose build; by default the last one.

    Raises:
        WarehouseError: when there is no build, or files of it are missing.
        DataError: when it has no such split, or nothing is in it.
    """
    build, found = find(root, recipe, parts=("train",))
    entries = found.get((SPLIT, "train"), [])
    if not entries:
        raise DataError(
            f"the build of recipe {build.recipe!r} has no rows in a split {SPLIT!r} to train on; add to the recipe's `splits` the line "
            f"`{SPLIT}: {{shared: true, kinds: [document, dialogue]}}` and build again"
        )
    files = tuple(root / entry.path for entry in entries)
    size = sum(_text_bytes(path) for path in files)
    marks = TEMPLATES[str(build.settings["template"])].specials
    return Texts(build, files, tuple(e.sha256 for e in entries), sum(e.rows for e in entries), size, marks)


def spoken(texts: pl.Series) -> pl.Series:
    """The language of each text: one of `LANGUAGES`; mixed ones are other."""
    from corpus.text.language import languages  # loads compiled kernels

    # In parts: what finding a language takes of memory does not grow with the text then.
    parts = [languages(texts[i : i + 1000]).cast(pl.String) for i in range(0, len(texts), 1000)]
    return pl.concat([pl.Series(dtype=pl.String), *parts]).fill_null("other").replace({"mixed": "other"})


def _text_bytes(path: Path) -> int:
    """Bytes of the column `text`: its pages uncompressed, less the length in front of each text."""
    with reading(path):
        meta = pq.ParquetFile(path).metadata
    at = next(i for i in range(meta.num_columns) if meta.schema.column(i).path == "text")
    return max(1, sum(meta.row_group(g).column(at).total_uncompressed_size for g in range(meta.num_row_groups)) - 4 * meta.num_rows)


def _frame(group: pa.Table) -> pl.DataFrame:
    frame = pl.from_arrow(group)
    if not isinstance(frame, pl.DataFrame):
        raise TypeError("a table became no frame")
    return frame.with_columns(pl.all().cast(pl.String))
