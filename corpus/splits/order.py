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

from corpus.splits.draws import GOLDEN, leading, mixed

POSITIONS = 1 << 64
"""Positions are below this."""


def positions(row_ids: pa.Array, repeats: np.ndarray, split: str, seed: int) -> np.ndarray:
    """Where rows are in a split.

    splitmix64 (`corpus.splits.draws`) over the first 64 bits of the row's identity, which are uniform already; split and seed come in by
    a hash of their own, so that a row's places in two splits are unrelated.

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
    first = mixed((leading(row_ids) ^ salt) + GOLDEN)
    return mixed(first + repeats.astype(np.uint64) * GOLDEN + GOLDEN)


def ranges(shards: int) -> list[tuple[int, int]]:
    """First and last position of each of so many shards of equal ranges."""
    edges = [k * POSITIONS // shards for k in range(shards + 1)]
    return [(first, after - 1) for first, after in itertools.pairwise(edges)]
