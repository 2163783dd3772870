"""One upstream file → Arrow batches of rows and rejects, each row with its identity.

This is where framing, a source's parse function and row identity meet. It is streaming: a batch is handed on as soon as it holds
`batch_bytes` of upstream bytes, and where batches are cut depends on the file alone, never on timing or the number of workers.

**Row identity.** `key = blake2b-128(source, canonical record)`, where the canonical record is its JSON with sorted keys and no
spaces, so that key order, escapes, indentation and container do not matter. The first row of the first occurrence has `row_id =
key`; occurrence n, or row m of a record that makes several, has `blake2b-128(key, n, m)`. Occurrences are counted within a
partition here (:class:`Occurrences`) and across the partitions of a source by the identify stage.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from hashlib import blake2b
from itertools import repeat
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pyarrow as pa

from corpus.schema import REJECTS, ROWS
from corpus.sources.base import RAW_BOUND, Emit, Frame, Reject, Rejected, Source, strings
from corpus.sources.framing import Limits, Opened, Part, open_file

_SORTED = orjson.OPT_SORT_KEYS
_SORTED_ANY_KEYS = orjson.OPT_SORT_KEYS | orjson.OPT_NON_STR_KEYS
_DATA_FAULTS = (KeyError, TypeError, ValueError, IndexError, AttributeError, RecursionError)
BATCH_BYTES = 16 << 20
"""Upstream bytes per batch, which becomes one row group. Large enough for zstd and vectorised rules, small enough for 100 MB of
working set."""
BATCH_RECORDS = 1 << 18
"""Records per batch at most: a row or a reject takes up to a kilobyte of Python objects, however few bytes the record has."""


def record_key(source: str, record: Any) -> bytes:
    """The 16-byte key of an upstream record: equal for equal records, however they were written down.

    Raises:
        TypeError: for a record that JSON cannot express.
    """
    return blake2b(source.encode() + b"\0" + _canonical(record), digest_size=16).digest()


def _canonical(record: Any) -> bytes:
    """The record as JSON with sorted keys and no spaces.

    Raises:
        TypeError: for a record that JSON cannot express.
    """
    try:
        return orjson.dumps(record, _plain, _SORTED)
    except TypeError:
        # Keys that are no strings come from no container but a source's own framer; asking for them costs every record half as much again.
        return orjson.dumps(record, _plain, _SORTED_ANY_KEYS)


def _plain(value: Any) -> Any:
    if isinstance(value, bytes):
        return value.hex()
    return str(value)


def row_id(key: bytes, occurrence: int, row: int) -> str:
    """The row_id of row number `row` of occurrence number `occurrence` of the record with this key."""
    if not occurrence and not row:
        return key.hex()
    return blake2b(key + occurrence.to_bytes(8, "little") + row.to_bytes(8, "little"), digest_size=16).hexdigest()


@dataclass(slots=True)
class FileStats:
    """The account of one logical file. `records` is counted by the framer; `rows` and `rejects` by what was written."""

    file: str
    container: str
    encoding: str | None
    records: int = 0
    row_records: int = 0
    rows: int = 0
    rejects: int = 0
    recovered: int = 0
    reasons: dict[str, int] = field(default_factory=dict)
    examples: list[str] = field(default_factory=list)


class Occurrences:
    """Counts how often a key was seen.

    Most files are cut into partitions of some hundred thousand records, but a compressed file is one partition whatever its size.
    So only the last million keys are in a dictionary (150 bytes each); earlier ones are in sorted arrays (20 bytes each), which
    are searched for all keys of a frame at once.
    """

    __slots__ = ("_most", "_recent", "_sealed")

    def __init__(self, most: int = 1 << 20) -> None:
        self._most = most
        self._recent: dict[bytes, int] = {}
        self._sealed: list[tuple[np.ndarray, np.ndarray]] = []

    def number(self, keys: list[bytes]) -> list[int]:
        """The occurrence number of each of these appearances of 16-byte keys, in order: 0 for the first of a key."""
        recent = self._recent
        once = dict.fromkeys(keys, 1)
        if len(once) == len(keys) and recent.keys().isdisjoint(once):
            recent |= once
            numbers = [0] * len(keys)
        else:
            numbers = []
            for key in keys:
                n = recent.get(key, 0)
                recent[key] = n + 1
                numbers.append(n)
        if self._sealed:
            numbers = (np.array(numbers, np.int64) + self._earlier(keys)).tolist()
        if len(recent) >= self._most:
            ordered = sorted(recent)
            counts = np.fromiter((recent[key] for key in ordered), np.uint32, len(ordered))
            self._sealed.append((np.frombuffer(b"".join(ordered), _KEY), counts))
            recent.clear()
        return numbers

    def _earlier(self, keys: list[bytes]) -> np.ndarray:
        """How often each key was seen before the recent ones."""
        wanted = np.frombuffer(b"".join(keys), _KEY)
        total = np.zeros(len(keys), np.int64)
        for known, counts in self._sealed:
            at = np.minimum(np.searchsorted(known, wanted), len(known) - 1)
            total += np.where(known[at] == wanted, counts[at], 0)
        return total


_KEY = np.dtype("S16")
"""Compared byte by byte. That numpy ignores NUL bytes at the end changes nothing between keys of one length."""


@dataclass(slots=True)
class Batch:
    """Rows (schema ROWS) and rejects (schema REJECTS) of one stretch of one logical file, and the bytes of disk it took."""

    rows: pa.RecordBatch | None
    rejects: list[dict[str, Any]]
    bytes: int
    stats: FileStats


def read_file(
    source: Source,
    path: Path,
    name: str,
    seen: Occurrences,
    *,
    part: Part | None = None,
    limits: Limits | None = None,
    batch_bytes: int = BATCH_BYTES,
    on_file: Callable[[FileStats], None] = lambda stats: None,
) -> Iterator[Batch]:
    """Reads one upstream file of `source`.

    Args:
        source: what the file is an instance of.
        path: where it is.
        name: its path relative to the data folder, which goes into the rows.
        seen: occurrence counts of the partition that the file belongs to.
        part: a byte range, for a file that several tasks share.
        limits: bounds on records and archives.
        batch_bytes: upstream bytes per batch.
        on_file: called with the account of every logical file when it is exhausted.

    Yields:
        Batches in file order.
    """
    place = source.match(name)
    for opened in open_file(path, name, source.format, part=part, limits=limits or Limits()):
        stats = FileStats(opened.name, opened.container, opened.encoding)
        emit = Emit(opened.name, place.subset if place else None, place.split if place else None)
        yield from _read_frames(source, opened, emit, stats, seen, batch_bytes)
        on_file(stats)


def _read_frames(source: Source, opened: Opened, emit: Emit, stats: FileStats, seen: Occurrences, batch_bytes: int) -> Iterator[Batch]:
    pending = _Pending()
    size = taken = records = 0
    for frame in opened.frames:
        stats.records += frame.records
        size += sum(frame.lengths) if frame.lengths is not None else frame.bytes
        size += sum(len(r.raw) for r in frame.rejects)
        records += frame.records
        taken += frame.bytes
        _parse_frame(source, frame, emit, stats, seen, pending)
        if size >= batch_bytes or records >= BATCH_RECORDS:
            yield pending.flush(source, opened.name, emit, stats, taken)
            size = taken = records = 0
    if len(emit) or pending.rejects or taken:
        yield pending.flush(source, opened.name, emit, stats, taken)


def _parse_frame(source: Source, frame: Frame, emit: Emit, stats: FileStats, seen: Occurrences, pending: _Pending) -> None:
    if len(frame.values) != len(frame.ordinals):
        raise ValueError(f"{stats.file}: a frame of {len(frame.values)} values and {len(frame.ordinals)} ordinals")
    parse, prefix = source.parse, blake2b(source.name.encode() + b"\0", digest_size=16)
    keys: list[bytes] = []  # of each record that makes rows,
    owners: list[int] = []  # its position in the frame,
    made: list[int] = []  # and how many rows it makes
    end = len(emit)
    emit.header = frame.header
    for at, value in enumerate(frame.values):
        try:
            parse(value, emit)
            rows = len(emit) - end
            if not rows:
                raise Reject("no_rows", "the record says nothing that a row could hold")
            canonical = _canonical(value)
        except Reject as e:
            emit.rollback(end)
            pending.reject(stats, _rejected(frame, at, e.reason, e.detail), frame.groups.get(at))
            continue
        except _DATA_FAULTS as e:
            emit.rollback(end)
            pending.reject(stats, _rejected(frame, at, "shape", f"{type(e).__name__}: {e}"[:500]), frame.groups.get(at))
            continue
        end += rows
        key = prefix.copy()
        key.update(canonical)
        keys.append(key.digest())
        owners.append(at)
        made.append(rows)
    pending.identify(keys, seen.number(keys), made)
    pending.place(frame, owners, made)
    stats.row_records += sum(len(frame.groups.get(at, (at,))) for at in owners) if frame.groups else len(owners)
    stats.rows += sum(made)
    stats.recovered += sum(at in frame.notes for at in owners) if frame.notes else 0
    for rejected in frame.rejects:
        pending.reject(stats, rejected, None)


def _rejected(frame: Frame, at: int, reason: str, detail: str) -> Rejected:
    offset = frame.offsets[at] if frame.offsets is not None else None
    length = frame.lengths[at] if frame.lengths is not None else None
    return Rejected(frame.ordinals[at], offset, length, reason, detail, _raw(frame, at))


def _raw(frame: Frame, at: int) -> bytes:
    if frame.raws is not None:
        return bytes(frame.raws[at][:RAW_BOUND])
    value = frame.values[at]
    text = value if isinstance(value, str) else orjson.dumps(value, default=_plain, option=orjson.OPT_NON_STR_KEYS).decode()
    return text.encode()[:RAW_BOUND]


class _Pending:
    """The columns of a batch that do not come from the parse function."""

    def __init__(self) -> None:
        self.clear()

    def clear(self) -> None:
        self.ids: list[str] = []
        self.firsts: dict[int, str] = {}
        self.records: list[int] = []
        self.offsets: list[int | None] = []
        self.lengths: list[int | None] = []
        self.notes: dict[int, str] = {}
        self.groups: dict[int, list[int]] = {}
        self.rejects: list[Rejected] = []

    def identify(self, keys: list[bytes], occurrences: list[int], made: list[int]) -> None:
        """Gives the next rows their identities: `made[i]` rows come from the record with the key `keys[i]`."""
        ids, firsts = self.ids, self.firsts
        for key, occurrence, rows in zip(keys, occurrences, made, strict=True):
            if rows == 1 and not occurrence:
                ids.append(key.hex())
                continue
            for row in range(rows):
                if occurrence or row:
                    firsts[len(ids)] = key.hex()
                ids.append(row_id(key, occurrence, row))

    def place(self, frame: Frame, owners: list[int], made: list[int]) -> None:
        """Says where the next rows come from: `made[i]` rows from the record at `owners[i]` in the frame."""
        first = len(self.records)
        rows = sum(made)
        if len(owners) == rows == len(frame.values):  # every record makes one row
            self.records += frame.ordinals
            self.offsets += frame.offsets if frame.offsets is not None else repeat(None, rows)
            self.lengths += frame.lengths if frame.lengths is not None else repeat(None, rows)
            of_row = owners
        else:
            of_row = [at for at, n in zip(owners, made, strict=True) for _ in range(n)]
            self.records += [frame.ordinals[at] for at in of_row]
            self.offsets += [frame.offsets[at] for at in of_row] if frame.offsets is not None else repeat(None, rows)
            self.lengths += [frame.lengths[at] for at in of_row] if frame.lengths is not None else repeat(None, rows)
        if frame.notes or frame.groups:
            for row, at in enumerate(of_row, first):
                if at in frame.notes:
                    self.notes[row] = frame.notes[at]
                if at in frame.groups:
                    self.groups[row] = frame.groups[at]

    def reject(self, stats: FileStats, rejected: Rejected, group: list[int] | None) -> None:
        """Counts and keeps a reject: one for each record that it folds."""
        for ordinal in group or [rejected.record]:
            each = Rejected(ordinal, rejected.offset, rejected.length, rejected.reason, rejected.detail, rejected.raw)
            self.rejects.append(each)
            stats.rejects += 1
            stats.reasons[rejected.reason] = stats.reasons.get(rejected.reason, 0) + 1
            if len(stats.examples) < 3:
                stats.examples.append(f"record {ordinal}: {rejected.reason}: {rejected.detail}")

    def flush(self, source: Source, file: str, emit: Emit, stats: FileStats, taken: int) -> Batch:
        """Turns everything collected into a batch and forgets it."""
        rows = None
        n = len(emit)
        if n:
            columns = emit.columns()
            columns |= {
                "license": emit.licenses(source.license),
                "row_id": pa.array(self.ids, pa.string()),
                "source": pa.repeat(pa.scalar(source.name, pa.string()), n),
                "file": pa.repeat(pa.scalar(file, pa.string()), n),
                "record": pa.array(self.records, pa.int64()),
                "records": _lists(self.groups, n),
                "byte_offset": pa.array(self.offsets, pa.int64()),
                "byte_length": pa.array(self.lengths, pa.int64()),
                "first_id": strings(self.firsts, n),
                "recovered": strings(self.notes, n),
            }
            rows = pa.record_batch([columns[c.name] for c in ROWS.columns], schema=ROWS.schema)
        rejects = [
            {
                "source": source.name, "file": file, "record": r.record, "byte_offset": r.offset, "byte_length": r.length,
                "reason": r.reason, "detail": r.detail, "raw": r.raw[:RAW_BOUND],
            }
            for r in self.rejects
        ]  # fmt: skip
        emit.clear()
        self.clear()
        return Batch(rows, rejects, taken, stats)


def faulty(source: Source, name: str, reason: str, detail: str) -> tuple[FileStats, dict[str, Any]]:
    """The account and the reject of something that is no readable file: one record, rejected."""
    stats = FileStats(name, "none", None, records=1, rejects=1, reasons={reason: 1}, examples=[f"record 0: {reason}: {detail}"])
    reject = {
        "source": source.name, "file": name, "record": 0, "byte_offset": None, "byte_length": None,
        "reason": reason, "detail": detail, "raw": b"",
    }  # fmt: skip
    return stats, reject


def _lists(values: dict[int, list[int]], rows: int) -> pa.Array:
    kind = pa.list_(pa.int64())
    return pa.array([values.get(row) for row in range(rows)], kind) if values else pa.nulls(rows, kind)


def rejects_table(rejects: list[dict[str, Any]]) -> pa.Table:
    """Rejects as a table of schema REJECTS."""
    return pa.Table.from_pylist(rejects, schema=REJECTS.schema)
