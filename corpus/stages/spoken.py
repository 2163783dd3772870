"""The texts of rows as flat columns: conversations turn after turn, and all texts of a row one after the other."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc

from corpus.schema import ROLES

CONVERSATIONS = ("messages", "chosen", "rejected")
TEXTS = ("title", "text")


@dataclass(frozen=True, slots=True)
class Flat:
    """Conversations as flat columns: the row, role and content of every turn."""

    rows: np.ndarray
    roles: pl.Series
    contents: pl.Series

    @classmethod
    def of(cls, column: pa.ListArray) -> Flat:
        turns = column.flatten()
        lengths = pc.fill_null(pc.list_value_length(column), 0).to_numpy()
        return cls(
            np.repeat(np.arange(len(column)), lengths),
            pl.Series(turns.field("role"), dtype=pl.String),
            pl.Series(turns.field("content"), dtype=pl.String),
        )

    def counts(self, n: int) -> np.ndarray:
        """Turns of every row."""
        return np.bincount(self.rows, minlength=n)


@dataclass(frozen=True, slots=True)
class Spoken:
    """All texts of some rows, row after row: row, place (messages, chosen, rejected, title, text) and role (0 to 2, 3 for none)."""

    texts: pl.Series
    rows: np.ndarray
    places: np.ndarray
    roles: np.ndarray
    count: int
    utf8: tuple[np.ndarray, np.ndarray]

    @classmethod
    def of(cls, content: Mapping[str, pa.Array], flat: Mapping[str, Flat]) -> Spoken:
        from corpus.text.marks import utf8

        n = len(content["text"])
        texts, rows, places, roles = [], [], [], []
        for place, turns in enumerate(flat.values()):
            texts.append(turns.contents)
            rows.append(turns.rows)
            places.append(np.full(len(turns.rows), place, dtype=np.uint8))
            codes = np.full(len(turns.rows), len(ROLES), dtype=np.uint8)
            for number, role in enumerate(ROLES):
                codes[(turns.roles == role).to_numpy()] = number
            roles.append(codes)
        for place, name in enumerate(TEXTS, start=len(flat)):
            column = content[name]
            at = pc.indices_nonzero(pc.is_valid(column)).to_numpy().astype(np.int64)
            texts.append(pl.Series(column.drop_null(), dtype=pl.String))
            rows.append(at)
            places.append(np.full(len(at), place, dtype=np.uint8))
            roles.append(np.full(len(at), len(ROLES), dtype=np.uint8))
        row, where = np.concatenate(rows), np.concatenate(places)
        order = np.lexsort((where, row))  # stable: turns stay in their order
        whole = pl.concat(texts)
        if not np.array_equal(order, np.arange(len(order))):
            whole = whole.gather(order)
        return cls(whole, row[order], where[order], np.concatenate(roles)[order], n, utf8(whole))

    def named(self) -> pl.Series:
        """What every text is: the role of a turn, chosen, rejected, title or text."""
        names = pl.Series([*ROLES, "chosen", "rejected", *TEXTS], dtype=pl.String)
        return names.gather(np.where(self.places == 0, self.roles, self.places.astype(np.int64) + len(ROLES) - 1))

    def learned(self) -> np.ndarray:
        """Whether every text is one that a model learns: an answer, the chosen one of a preference, the text of a document."""
        answers = (self.places < 2) & (self.roles == ROLES.index("assistant"))
        return answers | (self.places == 4)


def last_turns(spoken: Spoken) -> np.ndarray:
    """Positions of final answers in `messages`."""
    turns = np.flatnonzero(spoken.places == 0)
    if not len(turns):
        return turns
    last = turns[np.append(np.diff(spoken.rows[turns]) != 0, True)]
    return last[spoken.roles[last] == ROLES.index("assistant")]
