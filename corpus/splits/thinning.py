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

from corpus.text import characters, marks
from corpus.text.counting import COLUMNS, count, stops

_ID = 32
"""Characters of a row_id."""
_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_MIX_1 = np.uint64(0xBF58476D1CE4E5B9)
_MIX_2 = np.uint64(0x94D049BB133111EB)


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

    The first 64 bits of the row_id are mixed with seed and split by the finaliser of splitmix64 (Steele, Lea and Flood 2014).

    Raises:
        ValueError: when a row_id is not 32 hexadecimal characters.
    """
    named = np.uint64(int.from_bytes(blake2b(split.encode(), digest_size=8).digest(), "little"))
    seeded = np.uint64(seed % (1 << 64))
    with np.errstate(over="ignore"):
        salt = _mixed(np.atleast_1d(seeded + _GOLDEN)) ^ named
        mixed = _mixed(_mixed(_numbers(row_ids) ^ salt) + _GOLDEN)
    return (mixed >> np.uint64(11)).astype(np.float64) * 2.0**-53


def _mixed(x: np.ndarray) -> np.ndarray:
    x = (x ^ (x >> np.uint64(30))) * _MIX_1
    x = (x ^ (x >> np.uint64(27))) * _MIX_2
    return x ^ (x >> np.uint64(31))


def _numbers(row_ids: pa.StringArray) -> np.ndarray:
    """The first 16 of the 32 hexadecimal characters of every row_id, as a number (uint64)."""
    offsets, data = marks.utf8(pl.Series(row_ids, dtype=pl.String))
    if (np.diff(offsets) != _ID).any():
        raise ValueError(f"a row_id is {_ID} hexadecimal characters; there are others")
    digits = _digits()[data[offsets[0] : offsets[-1]]].reshape(-1, _ID)[:, :16]
    if (digits > 15).any():
        raise ValueError("a row_id is hexadecimal; there are others")
    pairs = digits[:, ::2] << 4 | digits[:, 1::2]
    return np.ascontiguousarray(pairs).view(">u8").ravel().astype(np.uint64)


def _digits() -> np.ndarray:
    """The value of every byte as a hexadecimal digit; 255 for those that are none."""
    table = np.full(256, 255, dtype=np.uint8)
    for value, sign in enumerate("0123456789abcdef"):
        table[ord(sign)] = value
    return table
