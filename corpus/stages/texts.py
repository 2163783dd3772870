"""The texts of rows, one after the other, with their places: what searches over whole rows read."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from corpus.dedup.texts import Texts, buffers
from corpus.stages.spoken import CONVERSATIONS, TEXTS

PLACES = (*CONVERSATIONS, *TEXTS)
"""Columns that hold texts."""


@dataclass(frozen=True, slots=True)
class RowTexts:
    """The texts of n rows, row after row.

    Attributes:
        texts: all of them (large_string).
        rows: the row of each (int64, ascending).
        places: the column of each, as its number in PLACES (uint8).
        turns: its number in that column (int64).
        asked: whether it is of the row's prompt: messages before a final answer, title and text (bool).
    """

    texts: pa.Array
    rows: np.ndarray
    places: np.ndarray
    turns: np.ndarray
    asked: np.ndarray
    count: int

    @classmethod
    def of(cls, table: pa.Table) -> RowTexts:
        """Of rows of schema CLEAN, or of some of its columns with all that hold texts."""
        n = table.num_rows
        texts, rows, places, turns, asked = [], [], [], [], []
        for place, name in enumerate(PLACES):
            column = table[name].combine_chunks()
            if name in CONVERSATIONS:
                lengths = pc.fill_null(pc.list_value_length(column), 0).to_numpy()
                flat = column.flatten()
                ends = np.cumsum(lengths)
                rows.append(np.repeat(np.arange(n), lengths))
                turns.append(np.arange(len(flat)) - np.repeat(ends - lengths, lengths))
                mine = np.full(len(flat), place == 0)
                if place == 0 and len(flat):
                    final = (ends - 1)[lengths > 0]
                    answers = pc.equal(flat.field("role"), "assistant").to_numpy(zero_copy_only=False)
                    mine[final[answers[final]]] = False
                texts.append(flat.field("content").cast(pa.large_string()))
            else:
                rows.append(pc.indices_nonzero(pc.is_valid(column)).to_numpy().astype(np.int64))
                turns.append(np.zeros(len(rows[-1]), dtype=np.int64))
                mine = np.ones(len(rows[-1]), dtype=bool)
                texts.append(column.drop_null().cast(pa.large_string()))
            asked.append(mine)
            places.append(np.full(len(mine), place, dtype=np.uint8))
        row, where = np.concatenate(rows), np.concatenate(places)
        order = np.lexsort((where, row))  # stable: turns stay in their order
        whole = pa.concat_arrays(texts).take(pa.array(order))
        return cls(whole, row[order], where[order], np.concatenate(turns)[order], np.concatenate(asked)[order], n)

    def some(self, mask: np.ndarray) -> Texts:
        """Those texts that `mask` names (bool[texts]), as the kernels want them; the rows stay as many."""
        texts = self.texts if mask.all() else self.texts.filter(pa.array(mask))
        offsets, data = buffers(texts)
        bounds = np.searchsorted(self.rows[mask], np.arange(self.count + 1)).astype(np.int64)
        return Texts(offsets, data, bounds, np.zeros(len(texts), dtype=np.uint8), np.zeros(self.count, dtype=np.uint8))

    def name(self, text: int) -> str:
        """The place of a text, as in messages[1]."""
        place = PLACES[self.places[text]]
        return f"{place}[{self.turns[text]}]" if place in CONVERSATIONS else place


def batches(path: Path, columns: tuple[str, ...], size: int) -> Iterator[pa.Table]:
    """The rows of a clean partition with some columns, in pieces of about `size` bytes."""
    file = pq.ParquetFile(path)
    for group in range(file.num_row_groups):
        table = file.read_row_group(group, columns=list(columns))
        pieces = max(1, -(-table.nbytes // size))
        edges = np.linspace(0, table.num_rows, min(pieces, max(1, table.num_rows)) + 1).astype(int).tolist()
        for start, end in itertools.pairwise(edges):
            yield table.slice(start, end - start).combine_chunks()
