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
from pathlib import Path
from typing import Any

import orjson
import pyarrow as pa

from corpus.schema import REJECTS, ROWS
from corpus.sources.base import RAW_BOUND, Emit, Frame, Reject, Rejected, Source
from corpus.sources.framing import Limits, Opened, Part, open_file

_SORTED = orjson.OPT_SORT_KEYS | orjson.OPT_NON_STR_KEYS
_DATA_FAULTS = (KeyError, TypeError, ValueError, IndexError, AttributeError, RecursionError)
BATCH_BYTES = 16 << 20
"""Upstream bytes per batch, which becomes one row group. Large enough for zstd and vectorised rules, small enough for 100 MB of
working set."""


def record_key(source: str, record: Any) -> bytes:
    """The 16-byte key of an upstream record: equal for equal records, however they were written down.

    Raises:
        TypeError: for a record that JSON cannot express.
    """
    h = blake2b(source.encode() + b"\0", digest_size=16)
    h.update(orjson.dumps(record, default=_plain, option=_SORTED))
    return h.digest()


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
    """Counts how often a key was seen. One dictionary entry per distinct key of a partition, and partitions are bounded."""

    __slots__ = ("_seen",)

    def __init__(self) -> None:
        self._seen: dict[bytes, int] = {}

    def next(self, key: bytes) -> int:
        """The occurrence number of this appearance of `key`: 0 for the first."""
        n = self._seen.get(key, 0)
        self._seen[key] = n + 1
        return n


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
        part: a byte range, for a JSON lines file that several tasks share.
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
    size = taken = 0
    for frame in opened.frames:
        stats.records += frame.records
        size += sum(frame.lengths) if frame.lengths is not None else frame.bytes
        taken += frame.bytes
        _parse_frame(source, frame, emit, stats, seen, pending)
        if size >= batch_bytes:
            yield pending.flush(source, opened.name, emit, stats, taken)
            size = taken = 0
    if len(emit) or pending.rejects or taken:
        yield pending.flush(source, opened.name, emit, stats, taken)


def _parse_frame(source: Source, frame: Frame, emit: Emit, stats: FileStats, seen: Occurrences, pending: _Pending) -> None:
    parse, name = source.parse, source.name
    offsets, lengths, notes, groups = frame.offsets, frame.lengths, frame.notes, frame.groups
    base = blake2b(name.encode() + b"\0", digest_size=16)
    for at, (value, ordinal) in enumerate(zip(frame.values, frame.ordinals, strict=True)):
        before = len(emit)
        offset = offsets[at] if offsets is not None else None
        length = lengths[at] if lengths is not None else None
        try:
            parse(value, emit)
            if len(emit) == before:
                raise Reject("no_rows", "the record says nothing that a row could hold")
            canonical = orjson.dumps(value, default=_plain, option=_SORTED)
        except Reject as e:
            emit.rollback(before)
            pending.reject(stats, Rejected(ordinal, offset, length, e.reason, e.detail, _raw(frame, at)), groups.get(at))
            continue
        except _DATA_FAULTS as e:
            emit.rollback(before)
            detail = f"{type(e).__name__}: {e}"[:500]
            pending.reject(stats, Rejected(ordinal, offset, length, "shape", detail, _raw(frame, at)), groups.get(at))
            continue
        h = base.copy()
        h.update(canonical)
        key = h.digest()
        occurrence = seen.next(key)
        note = notes.get(at) if notes else None
        group = groups.get(at) if groups else None
        for row in range(len(emit) - before):
            first = occurrence == 0 and row == 0
            pending.ids.append(key.hex() if first else row_id(key, occurrence, row))
            pending.firsts.append(None if first else key.hex())
            pending.records.append(ordinal)
            pending.offsets.append(offset)
            pending.lengths.append(length)
            pending.notes.append(note)
            pending.groups.append(group)
        stats.row_records += 1 if group is None else len(group)
        stats.rows += len(emit) - before
        stats.recovered += note is not None
    for rejected in frame.rejects:
        pending.reject(stats, rejected, None)


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
        self.firsts: list[str | None] = []
        self.records: list[int] = []
        self.offsets: list[int | None] = []
        self.lengths: list[int | None] = []
        self.notes: list[str | None] = []
        self.groups: list[list[int] | None] = []
        self.rejects: list[Rejected] = []

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
                "row_id": pa.array(self.ids, pa.string()),
                "source": pa.repeat(pa.scalar(source.name, pa.string()), n),
                "license": pa.repeat(pa.scalar(source.license, pa.string()), n),
                "file": pa.repeat(pa.scalar(file, pa.string()), n),
                "record": pa.array(self.records, pa.int64()),
                "records": pa.array(self.groups, pa.list_(pa.int64())),
                "byte_offset": pa.array(self.offsets, pa.int64()),
                "byte_length": pa.array(self.lengths, pa.int64()),
                "first_id": pa.array(self.firsts, pa.string()),
                "recovered": pa.array(self.notes, pa.string()),
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


def rejects_table(rejects: list[dict[str, Any]]) -> pa.Table:
    """Rejects as a table of schema REJECTS."""
    return pa.Table.from_pylist(rejects, schema=REJECTS.schema)
