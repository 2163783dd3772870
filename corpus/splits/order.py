"""In which order a split's rows come: a random one that hangs on the rows alone.

Every row has a *position* in its split, a uniform 64-bit hash. Rows sorted by it are in a random order that mixes all sources, that is the
same whatever the order of the files or the number of workers, and in which a row keeps its place when others come or go. A range of
positions is a random sample, so shards are equal ranges.
"""

from __future__ import annotations

import itertools
from hashlib import blake2b

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

_DIGITS = 16
_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_NIBBLES = np.full(256, 255, dtype=np.uint8)
_NIBBLES[np.frombuffer(b"0123456789abcdef", dtype=np.uint8)] = np.arange(16, dtype=np.uint8)

POSITIONS = 1 << 64
"""Positions are below this."""


def positions(row_ids: pa.Array, repeats: np.ndarray, split: str, seed: int) -> np.ndarray:
    """Where rows are in a split.

    splitmix64 (Steele, Lea, Flood: Fast Splittable Pseudorandom Number Generators, 2014) over the first 64 bits of the row's identity,
    which are uniform already; split and seed come in by a hash of their own, so that a row's places in two splits are unrelated.

    Args:
        row_ids: string[n], 32 hexadecimal digits each.
        repeats: int[n], which copy of the row it is.
        split: name of the split.
        seed: of the recipe.

    Returns:
        uint64[n].

    Raises:
        ValueError: for what is no row_id.
    """
    salt = np.uint64(int.from_bytes(blake2b(f"{split}\0{seed}".encode(), digest_size=8).digest(), "big"))
    return _mix(_mix(_leading(row_ids) ^ salt) + repeats.astype(np.uint64) * _GOLDEN)


def ranges(shards: int) -> list[tuple[int, int]]:
    """First and last position of each of so many shards of equal ranges."""
    edges = [k * POSITIONS // shards for k in range(shards + 1)]
    return [(first, after - 1) for first, after in itertools.pairwise(edges)]


def _leading(row_ids: pa.Array) -> np.ndarray:
    """The first 16 hexadecimal digits of every identity, as uint64."""
    n = len(row_ids)
    if n == 0:
        return np.zeros(0, dtype=np.uint64)
    heads = pc.cast(pc.utf8_slice_codeunits(row_ids, 0, _DIGITS), pa.string())
    whole = pc.binary_join(pa.ListArray.from_arrays(pa.array([0, n], pa.int32()), heads), "")
    data = np.frombuffer(whole[0].as_buffer(), dtype=np.uint8)
    if len(data) != n * _DIGITS or (nibbles := _NIBBLES[data]).max() > 15:
        raise ValueError("a row_id is not made of hexadecimal digits")
    digits = nibbles.reshape(n, _DIGITS).astype(np.uint64)
    shifts = np.arange(60, -1, -4, dtype=np.uint64)
    return np.bitwise_or.reduce(digits << shifts, axis=1)


def _mix(x: np.ndarray) -> np.ndarray:
    """One step of splitmix64."""
    z = x + _GOLDEN
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))
