"""What chance decides about rows hangs on their identities: a row_id is a hash already, and splitmix64 spreads it anew for every purpose.

The generator is that of Steele, Lea and Flood (Fast Splittable Pseudorandom Number Generators, 2014).
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

GOLDEN = np.uint64(0x9E3779B97F4A7C15)
"""The step of the generator: 2^64 divided by the golden ratio."""

_ID = 32
"""Characters of a row_id."""
_DIGITS = np.full(256, 255, dtype=np.uint8)
_DIGITS[np.frombuffer(b"0123456789abcdef", dtype=np.uint8)] = np.arange(16, dtype=np.uint8)


def leading(row_ids: pa.StringArray) -> np.ndarray:
    """The first 64 bits of every row_id (uint64[n]).

    Raises:
        ValueError: when a row_id is not 32 hexadecimal characters.
    """
    n = len(row_ids)
    if n == 0:
        return np.zeros(0, dtype=np.uint64)
    if pc.min_max(pc.binary_length(row_ids)).as_py() != {"min": _ID, "max": _ID}:
        raise ValueError(f"a row_id is {_ID} hexadecimal characters; there are others")
    whole = pc.binary_join(pa.ListArray.from_arrays(pa.array([0, n], pa.int32()), row_ids.cast(pa.string())), "")
    digits = _DIGITS[np.frombuffer(whole[0].as_buffer(), dtype=np.uint8)].reshape(n, _ID)[:, :16]
    if (digits > 15).any():
        raise ValueError("a row_id is hexadecimal; there are others")
    pairs = digits[:, ::2] << 4 | digits[:, 1::2]
    return np.ascontiguousarray(pairs).view(">u8").ravel().astype(np.uint64)


def mixed(x: np.ndarray) -> np.ndarray:
    """The generator's finaliser (uint64[n] → uint64[n]); of x + GOLDEN it is the step from state x."""
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))
