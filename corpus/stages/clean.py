"""clean: `parsed` → `clean` and the first entries of the ledger.

Applies the recipe's text rules to every text of a row, drops what the publisher's own marks exclude and what has nothing left to
teach, and computes the keys by which later stages find equal rows and equal prompts.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from corpus.executors.task import Report, Task
from corpus.recipe import Clean
from corpus.schema import CLEAN, DROPPED, MESSAGES
from corpus.stages.base import Context, parts
from corpus.text.rules import fold, rules
from corpus.warehouse.commit import PartitionWriter
from corpus.warehouse.manifest import FileEntry, Partition

NAME = "clean"
VERSION = 1


def plan(context: Context, inputs: list[tuple[Partition, FileEntry, str]]) -> list[Task]:
    """One task per partition that the identify stage hands on."""
    settings = context.recipe.clean.model_dump(mode="json")
    return [
        Task(
            stage=NAME,
            key=partition.key,
            parts=parts(NAME, VERSION, writes=(CLEAN, DROPPED), inputs={partition.key: digest}, libs=("pyarrow", "polars"), clean=settings),
            run=run,
            inputs=(partition,),
            spec={"rows": entry, "clean": context.recipe.clean},
            size=entry.bytes,
        )
        for partition, entry, digest in inputs
    ]


def run(task: Task, root: Path, report: Report) -> Partition:
    """Cleans one partition, row group by row group."""
    entry: FileEntry = task.spec["rows"]
    settings: Clean = task.spec["clean"]
    stem = f"{task.key}.{task.fingerprint[:8]}.parquet"
    changed: dict[str, int] = dict.fromkeys(settings.rules, 0)
    dropped: list[pa.Table] = []
    with PartitionWriter(root, f"clean/{stem}", CLEAN.schema, "clean") as writer:
        file = pq.ParquetFile(root / entry.path)
        for group in range(file.num_row_groups):
            table = file.read_row_group(group)
            for piece in slices(table):
                cleaned = clean(piece, settings)
                writer.write(cleaned.kept)
                if cleaned.dropped.num_rows:
                    dropped.append(cleaned.dropped)
                for rule, n in cleaned.changed.items():
                    changed[rule] += n
            report(entry.bytes // max(1, file.num_row_groups), table.num_rows)
    files = [writer.committed]
    if dropped:
        with PartitionWriter(root, f"dropped/clean/{stem}", DROPPED.schema, "dropped") as ledger:
            ledger.write(pa.concat_tables(dropped).combine_chunks())
        files.append(ledger.committed)
    return task.done(files, changed=changed)


_SLICE_BYTES = 8 << 20


def slices(table: pa.Table) -> Iterator[pa.Table]:
    """Cuts a row group whose texts are far larger than they were upstream (escapes, compression) into pieces of bounded size."""
    pieces = max(1, -(-table.nbytes // _SLICE_BYTES))
    step = max(1, -(-table.num_rows // pieces))
    for start in range(0, table.num_rows, step):
        yield table.slice(start, step).combine_chunks()


@dataclass(frozen=True, slots=True)
class Cleaned:
    """What became of some rows: kept (schema CLEAN), dropped (schema DROPPED), and per rule the number of rows it changed."""

    kept: pa.Table
    dropped: pa.Table
    changed: dict[str, int]


def clean(table: pa.Table, settings: Clean) -> Cleaned:
    """Cleans rows of schema ROWS."""
    n = table.num_rows
    texts = _Texts(table)
    masks = {}
    for name, rule in rules(settings.rules):
        masks[name] = texts.apply(rule)
    chars = texts.chars()
    reasons, details = _reasons(table, texts, chars, settings)
    keep = pc.is_null(pa.array(reasons, pa.string()))
    columns = {
        **{
            name: _whole(table[name])
            for name in ("row_id", "source", "subset", "license", "file", "record", "kind", "upstream_split", "meta")
        },
        **texts.columns(),
        **_keys(table, texts),
        "asks": pa.array(texts.asks()),
        "chars": pa.array(chars.astype(np.int32)),
        "changed_by": _changed_by(masks, n),
    }
    kept = pa.table([columns[c.name] for c in CLEAN.columns], schema=CLEAN.schema).filter(keep)
    nothing = pa.nulls(n, pa.string())
    ledger = pa.table(
        [
            columns["row_id"], columns["source"], pa.repeat(NAME, n), pa.array(reasons, pa.string()), pa.array(details, pa.string()),
            nothing, pa.nulls(n, pa.float64()),
        ],
        names=DROPPED.schema.names,
    ).filter(pc.invert(keep)).cast(DROPPED.schema)  # fmt: skip
    return Cleaned(kept, ledger, {name: int(mask.sum()) for name, mask in masks.items()})


class _Texts:
    """All texts of some rows as flat columns, one per place where a row can hold text, each with the row of every element."""

    def __init__(self, table: pa.Table) -> None:
        self._rows = table.num_rows
        self._lists = {name: _whole(table[name]) for name in ("messages", "chosen", "rejected")}
        self.flat: dict[str, pl.Series] = {}
        self.roles: dict[str, pl.Series] = {}
        self.row_of: dict[str, np.ndarray] = {}
        for name, column in self._lists.items():
            elements = column.flatten()
            self.flat[name] = pl.Series(elements.field("content"), dtype=pl.String)
            self.roles[name] = pl.Series(elements.field("role"), dtype=pl.String)
            lengths = pc.fill_null(pc.list_value_length(column), 0).to_numpy()
            self.row_of[name] = np.repeat(np.arange(self._rows), lengths)
        for name in ("title", "text"):
            self.flat[name] = pl.Series(_whole(table[name]), dtype=pl.String)
            self.row_of[name] = np.arange(self._rows)

    def apply(self, rule) -> np.ndarray:  # type: ignore[no-untyped-def]
        """Applies a rule everywhere; returns for each row whether it changed anything in it."""
        mask = np.zeros(self._rows, dtype=bool)
        for name, before in self.flat.items():
            if before.null_count() == len(before):
                continue
            after = rule(before)
            changed = (before != after).fill_null(False).to_numpy()
            mask[self.row_of[name][changed]] = True
            self.flat[name] = after
        return mask

    def chars(self) -> np.ndarray:
        """Characters per row, over all its texts."""
        total = np.zeros(self._rows, dtype=np.int64)
        for name, texts in self.flat.items():
            np.add.at(total, self.row_of[name], texts.str.len_chars().fill_null(0).to_numpy())
        return total

    def asks(self) -> np.ndarray:
        """For each row, whether its messages, without a final answer, end with a user's turn."""
        users = (self.roles["messages"] == "user").to_numpy()
        answers = (self.roles["messages"] == "assistant").to_numpy()
        rows = self.row_of["messages"]
        lengths = np.bincount(rows, minlength=self._rows)
        last = np.cumsum(lengths) - 1
        out = np.zeros(self._rows, dtype=bool)
        some = lengths > 0
        out[some] = users[last[some]]
        pairs = lengths > 1
        out[pairs] |= answers[last[pairs]] & users[last[pairs] - 1]
        return out

    def columns(self) -> dict[str, pa.Array]:
        """The texts as columns of schema CLEAN."""
        out: dict[str, pa.Array] = {name: _strings(self.flat[name]) for name in ("title", "text")}
        for name, column in self._lists.items():
            struct = pa.StructArray.from_arrays([_strings(self.roles[name]), _strings(self.flat[name])], fields=list(MESSAGES.value_type))
            lengths = pc.fill_null(pc.list_value_length(column), 0).to_numpy()
            offsets = pa.array(np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32))
            mask = pc.is_null(column) if column.null_count else None
            out[name] = pa.ListArray.from_arrays(offsets, struct, type=MESSAGES, mask=mask)
        return out


def _reasons(table: pa.Table, texts: _Texts, chars: np.ndarray, settings: Clean) -> tuple[list[str | None], list[str | None]]:
    """Why each row is dropped, or None; the first reason counts."""
    n = table.num_rows
    kinds = np.array(table["kind"].to_pylist(), dtype=object)
    blank = {name: (texts.flat[name].str.strip_chars() == "").fill_null(True).to_numpy() for name in texts.flat}
    spoken = {name: np.bincount(texts.row_of[name], weights=~blank[name], minlength=n) > 0 for name in ("messages", "chosen", "rejected")}
    last_is_answer = np.zeros(n, dtype=bool)
    rows = texts.row_of["messages"]
    if len(rows):
        ends = np.flatnonzero(np.append(rows[1:] != rows[:-1], True))
        answers = (texts.roles["messages"] == "assistant").to_numpy()
        last_is_answer[rows[ends]] = (answers & ~blank["messages"])[ends]
    reasons: list[str | None] = table["skip"].to_pylist()
    details: list[str | None] = [None if r is None else "marked by the publisher" for r in reasons]

    def drop(mask: np.ndarray, reason: str, detail: str | None = None) -> None:
        for at in np.flatnonzero(mask):
            if reasons[at] is None:
                reasons[at] = reason
                details[at] = detail or f"{chars[at]} characters"

    drop((kinds == "document") & blank["text"], "empty", "the text")
    drop((kinds != "document") & (kinds != "preference") & ~spoken["messages"], "empty", "every turn")
    drop((kinds == "dialogue") & ~last_is_answer, "no_answer", "the last turn is not an answer with text")
    drop((kinds == "preference") & ~spoken["chosen"], "empty", "the chosen answer")
    drop((kinds == "preference") & ~spoken["rejected"], "empty", "the rejected answer")
    drop(chars < settings.min_chars, "too_short")
    if settings.max_chars is not None:
        drop(chars > settings.max_chars, "too_long")
    return reasons, details


def _keys(table: pa.Table, texts: _Texts) -> dict[str, pa.Array]:
    """row_key and prompt_key of every row: hashes of folded texts, with kinds, roles and boundaries."""
    n = table.num_rows
    folded = {name: fold(series) for name, series in texts.flat.items()}
    marked = {name: texts.roles[name].str.slice(0, 1) + "\x1f" + folded[name] + "\x1e" for name in ("messages", "chosen", "rejected")}
    final = np.zeros(len(marked["messages"]), dtype=bool)
    rows = texts.row_of["messages"]
    if len(rows):
        final = np.append(rows[1:] != rows[:-1], True) & (texts.roles["messages"] == "assistant").to_numpy()
    before_last = marked["messages"].to_frame("m").select(pl.when(pl.Series(~final)).then(pl.col("m")).otherwise(pl.lit(""))).to_series()

    def joined(name: str, pieces: pl.Series) -> pl.Series:
        counts = np.bincount(texts.row_of[name], minlength=n)
        offsets = pa.array(np.concatenate([[0], np.cumsum(counts)]).astype(np.int32))
        return pl.Series(pc.binary_join(pa.ListArray.from_arrays(offsets, _strings(pieces)), ""), dtype=pl.String)

    document = folded["title"].fill_null("") + "\x1d" + folded["text"].fill_null("")
    kinds = pl.Series(_whole(table["kind"]), dtype=pl.String)
    prompt = pl.select(pl.when(kinds == "document").then(document).otherwise(joined("messages", before_last))).to_series()
    whole = (
        kinds + "\x1c" + joined("messages", marked["messages"]) + "\x1d" + joined("chosen", marked["chosen"]) + "\x1d"
        + joined("rejected", marked["rejected"]) + "\x1d" + document
    )  # fmt: skip
    return {"row_key": _hashes(whole), "prompt_key": _hashes(prompt)}


def _hashes(texts: pl.Series) -> pa.Array:
    return pa.array([blake2b(t, digest_size=16).digest() for t in texts.cast(pl.Binary).to_list()], pa.binary(16))


def _changed_by(masks: Mapping[str, np.ndarray], n: int) -> pa.ListArray:
    names = list(masks)
    matrix = np.stack([masks[name] for name in names], axis=1) if names else np.zeros((n, 0), dtype=bool)
    _, which = np.nonzero(matrix)
    offsets = np.concatenate([[0], np.cumsum(matrix.sum(axis=1))]).astype(np.int32)
    values = pa.array([names[i] for i in which], pa.string())
    return pa.ListArray.from_arrays(pa.array(offsets), values, type=CLEAN["changed_by"].type)


def _strings(series: pl.Series) -> pa.Array:
    return series.to_arrow().cast(pa.string())


def _whole(column: pa.ChunkedArray) -> pa.Array:
    return column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
