"""Fewer rows with short answers: which of them a split takes.

A set of many one-word answers teaches a model to answer in one word. A recipe names lengths, and for each the share of the shorter rows
that is taken. Chance decides, by a number that hangs on the row, the split and the recipe's seed alone: a row is taken or not whatever
other rows there are, and however the files are divided among workers.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import blake2b

import numpy as np
import polars as pl
import pyarrow as pa

from corpus.splits.draws import GOLDEN, leading, mixed
from corpus.text import characters, marks
from corpus.text.counting import COLUMNS, count, stops


@dataclass(frozen=True, slots=True)
class Thinned:
    """What becomes of n rows.

    Attributes:
        dropped: whether the row is one of those that are not taken (bool[n]).
        short: whether its answer is shorter than the largest length (bool[n]).
        bound: the smallest length above its own, 0 where there is none (int64[n]).
    """

    dropped: np.ndarray
    short: np.ndarray
    bound: np.ndarray


def units(texts: pl.Series) -> np.ndarray:
    """Units of every text, as the measure `units` counts them (int64); a null has none."""
    offsets, data = marks.utf8(texts.fill_null(""))
    counted, _, _ = count(offsets, data, np.arange(len(texts) + 1, dtype=np.int64), characters.table(), *stops())
    return np.ascontiguousarray(counted[:, COLUMNS.index("units")])


def thin(lengths: np.ndarray, row_ids: pa.StringArray, split: str, seed: int, below: Mapping[int, float]) -> Thinned:
    """Decides which rows with short answers a split takes.

    Args:
        lengths: of the last answer of every row, in units (int64[n]).
        row_ids: of every row.
        split: the split; another one takes other rows.
        seed: the recipe's seed.
        below: length → share of the rows with a shorter answer that is taken; a row counts for the smallest length above its own.

    Raises:
        ValueError: when a row_id is not 32 hexadecimal characters.
    """
    bounds = np.array(sorted(below), dtype=np.int64)
    shares = np.array([*(below[int(b)] for b in bounds), 1.0], dtype=np.float64)
    stratum = np.searchsorted(bounds, lengths, side="right")
    short = stratum < len(bounds)
    return Thinned(chances(row_ids, split, seed) >= shares[stratum], short, np.concatenate([bounds, [0]])[stratum])


def chances(row_ids: pa.StringArray, split: str, seed: int) -> np.ndarray:
    """A number from 0 to below 1 for every row, even over rows; it hangs on the row, the split and the seed alone (float64[n]).

    The first 64 bits of the row_id are mixed with seed and split by the finaliser of splitmix64 (`corpus.splits.draws`).

    Raises:
        ValueError: when a row_id is not 32 hexadecimal characters.
    """
    named = np.uint64(int.from_bytes(blake2b(split.encode(), digest_size=8).digest(), "little"))
    seeded = np.uint64(seed % (1 << 64))
    with np.errstate(over="ignore"):
        salt = mixed(np.atleast_1d(seeded + GOLDEN)) ^ named
        drawn = mixed(mixed(leading(row_ids) ^ salt) + GOLDEN)
    return (drawn >> np.uint64(11)).astype(np.float64) * 2.0**-53
