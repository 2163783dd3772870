"""How often each distinct piece occurs: the only thing of a text that learning needs.

English repeats its words, and Chinese runs of up to 32 characters hardly ever repeat: the distinct pieces are about half of a text. They
lie one after another in one array, found through a hash table of open addressing: no object, and no allocation, for a piece.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import polars as pl
from numba import njit

from corpus.text.marks import utf8
from corpus.tokenizer.pieces import split


@dataclass(frozen=True, slots=True)
class Counts:
    """p distinct pieces.

    Attributes:
        data: their UTF-8, one after another (uint8).
        offsets: where each begins and the last one ends (int64[p + 1]).
        counts: how often each occurs (int64[p]).
    """

    data: np.ndarray
    offsets: np.ndarray
    counts: np.ndarray


class Counter:
    """Counts pieces, column by column."""

    def __init__(self) -> None:
        self._slots = np.full(1 << 16, -1, dtype=np.int32)
        self._hashes = np.zeros(1 << 15, dtype=np.uint64)
        self._counts = np.zeros(1 << 15, dtype=np.int64)
        self._offsets = np.zeros((1 << 15) + 1, dtype=np.int64)
        self._data = np.zeros(1 << 20, dtype=np.uint8)
        self._size = 0

    def add(self, data: np.ndarray, starts: np.ndarray, ends: np.ndarray, weights: np.ndarray | None = None) -> None:
        """Counts some more.

        Args:
            data: UTF-8 (uint8).
            starts: where in it each piece begins (int64[n]).
            ends: where each ends (int64[n]).
            weights: how often each is to be counted (int64[n]); once by default.
        """
        lengths = ends - starts
        self._reserve(len(starts), int(lengths.sum()))
        given = np.zeros(0, dtype=np.int64) if weights is None else weights
        self._size = _add(data, starts, ends, given, self._slots, self._hashes, self._counts, self._offsets, self._data, self._size)

    def _reserve(self, pieces: int, size: int) -> None:
        """Makes room for so many more pieces of so many bytes together, should all be new."""
        needed = self._size + pieces
        if needed > len(self._counts):
            room = max(needed, len(self._counts) * 3 // 2)
            self._hashes, self._counts = _grown(self._hashes, room), _grown(self._counts, room)
            self._offsets = _grown(self._offsets, room + 1)
        if (filled := int(self._offsets[self._size]) + size) > len(self._data):
            self._data = _grown(self._data, max(filled, len(self._data) * 3 // 2))
        if needed * 5 > len(self._slots) * 4:
            self._slots = np.full(1 << int(needed * 3 // 2).bit_length(), -1, dtype=np.int32)
            _place(self._hashes[: self._size], self._slots)

    def counts(self) -> Counts:
        """What was counted, in the order in which pieces came first."""
        end = int(self._offsets[self._size])
        return Counts(self._data[:end], self._offsets[: self._size + 1], self._counts[: self._size])


def count(texts: Iterable[pl.Series]) -> Counts:
    """Counts the pieces of texts.

    Args:
        texts: columns of some MB.
    """
    counter = Counter()
    for column in texts:
        offsets, data = utf8(column)
        ends, _ = split(offsets, data)
        # Pieces lie one after another, but for the first of a column that begins inside a buffer.
        starts = np.concatenate([offsets[:1], ends[:-1]]) if len(ends) else ends
        counter.add(data, starts, ends)
    return counter.counts()


def _grown(array: np.ndarray, room: int) -> np.ndarray:
    larger = np.zeros(room, dtype=array.dtype)
    larger[: len(array)] = array
    return larger


@njit(cache=True, nogil=True)
def _hash(data: np.ndarray, start: int, end: int) -> np.uint64:
    """FNV-1a over the bytes, spread by the finaliser of splitmix64."""
    h = np.uint64(0xCBF29CE484222325)
    for i in range(start, end):
        h = (h ^ np.uint64(data[i])) * np.uint64(0x100000001B3)
    h = (h ^ (h >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    h = (h ^ (h >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return h ^ (h >> np.uint64(31))


@njit(cache=True, nogil=True)
def _place(hashes: np.ndarray, slots: np.ndarray) -> None:
    mask = len(slots) - 1
    for i in range(len(hashes)):
        at = np.int64(hashes[i] & np.uint64(mask))
        while slots[at] >= 0:
            at = (at + 1) & mask
        slots[at] = i


@njit(cache=True, nogil=True)
def _add(
    data: np.ndarray,
    starts: np.ndarray,
    ends: np.ndarray,
    weights: np.ndarray,
    slots: np.ndarray,
    hashes: np.ndarray,
    counts: np.ndarray,
    offsets: np.ndarray,
    kept: np.ndarray,
    size: int,
) -> int:
    mask = len(slots) - 1
    for i in range(len(starts)):
        start, length = starts[i], ends[i] - starts[i]
        h = _hash(data, start, ends[i])
        weight = weights[i] if len(weights) else 1
        at = np.int64(h & np.uint64(mask))
        while True:
            entry = slots[at]
            if entry < 0:
                slots[at] = size
                hashes[size] = h
                counts[size] = weight
                begin = offsets[size]
                for k in range(length):
                    kept[begin + k] = data[start + k]
                offsets[size + 1] = begin + length
                size += 1
                break
            if hashes[entry] == h and offsets[entry + 1] - offsets[entry] == length:
                begin = offsets[entry]
                k = 0
                while k < length and kept[begin + k] == data[start + k]:
                    k += 1
                if k == length:
                    counts[entry] += weight
                    break
            at = (at + 1) & mask
    return size
