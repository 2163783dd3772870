"""Band entries on disk: which rows meet.

A segment file holds the entries of some rows: for each band, and within it for each prefix of the key, the entries sorted. An entry
is eight bytes: the key's 40 bits above, the row's number in the segment (24 bits) below. New rows make new segments and leave the old
ones as they are. Rows that meet are those with equal keys, and the way to find them is to put the sections of all segments together and
sort: that is several times faster than any join or grouping.

    header    magic, version, threshold, bands, rows, seed, unit, rows in the segment; where each section begins; its CRC-32
    sections  (band 0, prefix 0), (band 0, prefix 1), … : uint64, ascending
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numba import njit

from corpus.dedup.minhash import KEY_BITS, Scheme
from corpus.errors import WarehouseError

PREFIX_BITS = 4
ROW_BITS = 64 - KEY_BITS
MOST_ROWS = 1 << ROW_BITS
"""Rows of a segment."""
_MAGIC = b"YLBANDS1"
_PREFIXES = 1 << PREFIX_BITS


class Sink(Protocol):
    """What bytes can be written to."""

    def write(self, data: Any, /) -> int:
        """Takes bytes."""
        ...


@dataclass(frozen=True, slots=True)
class Segment:
    """A segment file that was opened.

    Attributes:
        path: the file.
        rows: rows in it.
        scheme: how they were sketched.
        unit: unit of their shingles.
        starts: where each section begins, in entries (int64[bands * 16 + 1]).
        sums: the CRC-32 of each section (uint32[bands * 16]).
        head: bytes before the first section.
    """

    path: Path
    rows: int
    scheme: Scheme
    unit: str
    starts: np.ndarray
    sums: np.ndarray
    head: int

    def section(self, band: int, prefix: int) -> np.ndarray:
        """The entries of one section (uint64, ascending).

        Raises:
            WarehouseError: when they are not what was written.
        """
        which = band * _PREFIXES + prefix
        start, end = int(self.starts[which]), int(self.starts[which + 1])
        entries = np.fromfile(self.path, dtype="<u8", count=end - start, offset=self.head + 8 * start)
        if len(entries) != end - start or zlib.crc32(entries.data) != self.sums[which]:
            raise WarehouseError(f"{self.path}: band {band}, section {prefix} is not as it was written; build again with --verify")
        return entries

    def lookup(self, keys: np.ndarray) -> np.ndarray:
        """The rows that have one of these keys in a band. Of each band only the sections that can hold them are read.

        Args:
            keys: of what is looked for (uint64[n, bands], see `minhash.keys`).

        Returns:
            Numbers of rows in the segment (int64, ascending, each once).

        Raises:
            WarehouseError: when a section is not what was written.
        """
        found = [np.zeros(0, dtype=np.uint64)]
        last = np.uint64(MOST_ROWS - 1)
        for band in range(self.scheme.bands):
            lows = np.unique(keys[:, band]) << np.uint64(ROW_BITS)
            prefixes = lows >> np.uint64(64 - PREFIX_BITS)
            for prefix in np.unique(prefixes).tolist():
                entries = self.section(band, prefix)
                for low in lows[prefixes == prefix]:
                    start, end = np.searchsorted(entries, low), np.searchsorted(entries, low | last, side="right")
                    found.append(entries[start:end] & last)
        return np.unique(np.concatenate(found)).astype(np.int64)


def write(file: Sink, keys: np.ndarray, scheme: Scheme, unit: str) -> None:
    """Writes the segment of some rows.

    Args:
        file: takes the bytes.
        keys: see `minhash.keys` (uint64[rows, bands]).
        scheme: of the keys.
        unit: of the shingles.

    Raises:
        ValueError: for more than 2^24 rows.
    """
    rows, bands = keys.shape
    if rows > MOST_ROWS:
        raise ValueError(f"{rows:,} rows are too many for one segment; at most {MOST_ROWS:,}")
    numbers = np.arange(rows, dtype=np.uint64)
    starts = np.zeros(bands * _PREFIXES + 1, dtype=np.int64)
    sums = np.zeros(bands * _PREFIXES, dtype=np.uint32)
    edges = np.arange(1, _PREFIXES, dtype=np.uint64) << np.uint64(64 - PREFIX_BITS)
    sorted_bands = []
    for band in range(bands):
        entries = np.ascontiguousarray(keys[:, band]) << np.uint64(ROW_BITS) | numbers
        entries.sort()
        cuts = [0, *np.searchsorted(entries, edges).tolist(), rows]
        for prefix in range(_PREFIXES):
            which = band * _PREFIXES + prefix
            starts[which + 1] = band * rows + cuts[prefix + 1]
            sums[which] = zlib.crc32(entries[cuts[prefix] : cuts[prefix + 1]].data)
        sorted_bands.append(entries)
    head = {
        "rows": rows, "threshold": scheme.threshold, "bands": scheme.bands, "values": scheme.rows, "seed": scheme.seed, "unit": unit,
    }  # fmt: skip
    text = json.dumps(head).encode()
    body = starts.astype("<i8").tobytes() + sums.astype("<u4").tobytes()
    file.write(_MAGIC + len(text).to_bytes(4, "little") + zlib.crc32(text + body).to_bytes(4, "little") + text + body)
    for entries in sorted_bands:
        file.write(entries.astype("<u8", copy=False).data)


def opened(path: Path) -> Segment:
    """Reads the header of a segment.

    Raises:
        WarehouseError: when it is not one, or not as it was written.
    """
    broken = f"{path}: not a segment of band entries, or damaged; build again with --verify"
    with path.open("rb") as file:
        fixed = file.read(16)
        if len(fixed) < 16 or fixed[:8] != _MAGIC:
            raise WarehouseError(broken)
        size = int.from_bytes(fixed[8:12], "little")
        text = file.read(min(size, 1 << 16))
        try:
            head = json.loads(text)
            bands = int(head["bands"])
            scheme = Scheme(float(head["threshold"]), bands, int(head["values"]), int(head["seed"]))
            rows, unit = int(head["rows"]), str(head["unit"])
        except (ValueError, KeyError, TypeError, OverflowError, RecursionError) as e:
            raise WarehouseError(broken) from e
        length = bands * _PREFIXES * 12 + 8
        if not 0 < length <= path.stat().st_size:  # nothing is certain yet: no memory for what the file cannot hold
            raise WarehouseError(broken)
        body = file.read(length)
    if len(body) != length or zlib.crc32(text + body) != int.from_bytes(fixed[12:16], "little"):
        raise WarehouseError(broken)
    cut = bands * _PREFIXES * 8 + 8
    starts = np.frombuffer(body[:cut], dtype="<i8").astype(np.int64)
    return Segment(path, rows, scheme, unit, starts, np.frombuffer(body[cut:], dtype="<u4"), 16 + size + len(body))


def components(segments: Sequence[Segment], alive: np.ndarray, *, budget: int = 64 << 20) -> np.ndarray:
    """Rows that meet in a band, directly or through others.

    Args:
        segments: of all rows; the rows of the first are numbered first.
        alive: which rows take part (bool[rows]).
        budget: bytes of entries that are put together at a time.

    Returns:
        For every row the number of a row of its component, the same for all of them; its own when it meets none (int64[rows]).

    Raises:
        WarehouseError: when the segments were not made in the same way, or one is damaged.
        ValueError: when `alive` is not of their rows.
    """
    total = len(alive)
    for segment in segments:
        if (segment.scheme, segment.unit) != (segments[0].scheme, segments[0].unit):
            raise WarehouseError(
                f"{segment.path}: made with {segment.scheme} of {segment.unit}, and {segments[0].path} with {segments[0].scheme} of "
                f"{segments[0].unit}; build again with --verify"
            )
    if segments and sum(segment.rows for segment in segments) != total:
        raise ValueError(f"segments of {sum(segment.rows for segment in segments):,} rows, and {total:,} rows to be alive")
    parents = np.arange(total, dtype=np.uint32 if total < 1 << 32 else np.uint64)
    if not segments:
        return parents.astype(np.int64)
    bits = max(ROW_BITS, int(total - 1).bit_length()) if total > 1 else ROW_BITS
    together = 1
    while together < _PREFIXES and total * 8 * together * 2 // _PREFIXES <= budget:
        together *= 2
    for band in range(segments[0].scheme.bands):
        for prefix in range(0, _PREFIXES, together):
            entries = np.concatenate(list(_numbered(segments, band, range(prefix, prefix + together), alive, bits)))
            entries.sort()
            _unite(entries, np.uint64(bits), parents)
    _flatten(parents)
    return parents.astype(np.int64)


def _numbered(segments: Sequence[Segment], band: int, prefixes: range, alive: np.ndarray, bits: int) -> Iterator[np.ndarray]:
    """Entries with the numbers of rows among all segments, of rows that take part."""
    base = 0
    for segment in segments:
        for prefix in prefixes:
            entries = segment.section(band, prefix)
            rows = (entries & np.uint64(MOST_ROWS - 1)) + np.uint64(base)
            # Where there are more rows than one segment can number, the key gives its last bits for them.
            whole = entries >> np.uint64(bits) << np.uint64(bits) | rows
            yield whole[alive[rows.astype(np.int64)]]
        base += segment.rows


@njit(cache=True, nogil=True, inline="always")
def _root(parents: np.ndarray, row: Any) -> Any:
    while parents[row] != row:
        parents[row] = parents[parents[row]]
        row = np.int64(parents[row])
    return row


@njit(cache=True, nogil=True)
def _unite(entries: np.ndarray, bits: np.uint64, parents: np.ndarray) -> None:
    """Joins the rows of equal keys."""
    mask = (np.uint64(1) << bits) - np.uint64(1)
    for i in range(1, len(entries)):
        if entries[i] >> bits == entries[i - 1] >> bits:
            one = _root(parents, np.int64(entries[i - 1] & mask))
            two = _root(parents, np.int64(entries[i] & mask))
            if one < two:
                parents[two] = one
            elif two < one:
                parents[one] = two


@njit(cache=True, nogil=True)
def _flatten(parents: np.ndarray) -> None:
    for row in range(len(parents)):
        parents[row] = _root(parents, row)
