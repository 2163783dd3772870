"""Tokenizers that compose characters first (NFC, as Qwen does): compiled for the texts that this changes nothing in, which are nearly all.

A text is known to stay as it is when none of its characters has a part in a composition: each stands for itself, is no combining mark,
and is never the second of two that are composed. Parts of such a text stay as they are too. Characters that Python's tables do not have
count as having a part, since the library's may be of another version of Unicode.
"""

from __future__ import annotations

import sys
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import pyarrow as pa
from numba import njit

from corpus.tokenizer.encode import Encoded, Encoder, buffers, together
from corpus.tokenizer.fast import Fast
from corpus.tokenizer.fast import encoder as byte_level

_HANGUL = range(0x1100, 0x1200)
"""Letters that syllables are composed of by rule, not by a table."""


@dataclass(frozen=True, slots=True)
class Composed:
    """Encodes with a byte-level tokenizer that composes characters; see `corpus.tokenizer.encode.Encoder`.

    Attributes:
        fast: encodes texts that are composed.
        library: encodes the others.
    """

    fast: Fast
    library: Encoder

    def __call__(self, texts: pa.Array) -> Encoded:
        """The tokens of texts (string, without nulls). Places are in bytes."""
        data, at = buffers(texts)
        other = np.zeros(len(texts), dtype=np.bool_)
        _others(data, at, _apart(), other)
        if not other.any():
            return self.fast(texts)
        rest = texts.filter(pa.array(other))
        return together(other, self.fast(texts.filter(pa.array(~other))), in_bytes(self.library(rest), rest))


def encoder(settings: Mapping[str, Any], library: Encoder) -> Composed | None:
    """What encodes with such a tokenizer, where everything else that says how it encodes is known; else None.

    Args:
        settings: tokenizer.json. Its special tokens are encoded as text.
        library: encodes with it too.
    """
    if settings.get("normalizer") != {"type": "NFC"}:
        return None
    if any(t["normalized"] and not unicodedata.is_normalized("NFC", t["content"]) for t in settings.get("added_tokens") or ()):
        return None
    fast = byte_level({**settings, "normalizer": None})
    return None if fast is None else Composed(fast, library)


def in_bytes(encoded: Encoded, texts: pa.Array) -> Encoded:
    """The same with places in bytes in place of characters."""
    data, at = buffers(texts)
    starts, ends = np.empty_like(encoded.starts), np.empty_like(encoded.ends)
    for row in range(len(texts)):
        bytes_ = data[at[row] : at[row + 1]]
        begins = np.append(np.flatnonzero((bytes_ & 0xC0) != 0x80), len(bytes_)).astype(np.int32)
        tokens = slice(encoded.offsets[row], encoded.offsets[row + 1])
        starts[tokens], ends[tokens] = begins[encoded.starts[tokens]], begins[encoded.ends[tokens]]
    return Encoded(encoded.ids, encoded.offsets, starts, ends, in_bytes=True)


@cache
def _apart() -> np.ndarray:
    """For every code point whether it may have a part in a composition (bool[0x110000]); takes some half of a second, once a process."""
    table = np.zeros(sys.maxunicode + 1, dtype=np.bool_)
    table[_HANGUL.start : _HANGUL.stop] = True
    for code in range(0x300, sys.maxunicode + 1):
        char = chr(code)
        if unicodedata.combining(char) or unicodedata.category(char) == "Cn" or unicodedata.normalize("NFC", char) != char:
            table[code] = True
        parts = unicodedata.decomposition(char).split()
        if len(parts) == 2 and not parts[0].startswith("<"):
            table[int(parts[1], 16)] = True
    return table


@njit(cache=True, nogil=True)
def _others(data: np.ndarray, at: np.ndarray, apart: np.ndarray, out: np.ndarray) -> None:
    """Which texts have a character that may have a part in a composition."""
    for row in range(len(at) - 1):
        i, end = at[row], at[row + 1]
        while i < end:
            b = np.int64(data[i])
            if b < 0xCC:  # before U+0300
                i += 1
                continue
            size = 2 if b < 0xE0 else 3 if b < 0xF0 else 4
            code = b & (0xFF >> (size + 1))
            for k in range(1, size):
                code = code << 6 | (np.int64(data[i + k]) & 0x3F)
            if apart[code]:
                out[row] = True
                break
            i += size
