"""Encoded splits on disk: their tables, and the flat files that a trainer maps into memory.

A folder holds one split, in one of two formats, with a manifest.json that is written when everything else is there: a folder without one is
not whole. Row i of a file is row i of the split file that it was made from.

**parquet** has row_id, source and repeat beside the ids, and loads wherever parquet is read.

**flat** has for each split file, with the same name before the dot, numbers in little-endian order and nothing else:

- `.ids`: the ids of all sequences, one after another (uint16 or uint32, as the manifest says);
- `.offsets`: where each sequence begins among them, and the last one ends (int64, one more than there are sequences);
- `.learned`: ranges of tokens to be learned, counted from the first of their sequence (int32 pairs);
- `.ranges`: which of these each sequence has (int64, one more than there are sequences).

A row is one sequence, or two where its form has two columns of ids: those of row i are 2·i and 2·i + 1.
"""

from __future__ import annotations

import json
import mmap
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pyarrow as pa

from corpus.errors import WarehouseError
from corpus.recipe_splits import Form
from corpus.schema import SPANS, Column, Table
from corpus.warehouse.commit import PartitionWriter, binary_file
from corpus.warehouse.manifest import FileEntry

MANIFEST = "manifest.json"

_GROUP_BYTES = 4 << 20
"""Bytes in memory of a row group: of 2 million tokens and some thousand conversations."""


class Layout(StrEnum):
    """The format of the files."""

    PARQUET = "parquet"
    FLAT = "flat"


SEQUENCES: dict[Form, tuple[tuple[str, str, str, str], ...]] = {
    Form.TEXT: (("text", "", "input_ids", ""),),
    Form.DIALOGUE: (("text", "spans", "input_ids", "learned"),),
    Form.PREFERENCE: (("text", "spans", "input_ids", "learned"), ("rejected_text", "rejected_spans", "rejected_ids", "rejected_learned")),
    Form.PROMPT: (("text", "", "input_ids", ""),),
    Form.REQUEST: (("text", "", "input_ids", ""),),
    Form.PAIR: (("prompt", "", "prompt_ids", ""), ("response", "", "response_ids", "")),
}
"""Form of a split → its sequences: the column of a split's text and of its spans, and the columns that ids and learned ranges go to."""

_ABOUT = {
    (Form.TEXT, "input_ids"): "the text, and the end of text behind it",
    (Form.DIALOGUE, "input_ids"): "the conversation in the recipe's template",
    (Form.DIALOGUE, "learned"): "ranges of input_ids that the model must learn: every assistant turn, its end token included",
    (Form.PREFERENCE, "input_ids"): "prompt and chosen in the recipe's template",
    (Form.PREFERENCE, "learned"): "ranges of input_ids that belong to chosen",
    (Form.PREFERENCE, "rejected_ids"): "prompt and rejected in the recipe's template",
    (Form.PREFERENCE, "rejected_learned"): "ranges of rejected_ids that belong to rejected",
    (Form.PROMPT, "input_ids"): "the prompt in the recipe's template, with the assistant's header opened",
    (Form.REQUEST, "input_ids"): "the prompt in the recipe's template, with the assistant's header opened",
    (Form.PAIR, "prompt_ids"): "the conversation in the recipe's template, up to the last answer",
    (Form.PAIR, "response_ids"): "the last answer, its end token included",
}


def encoded_table(form: Form, ids: pa.DataType) -> Table:
    """The table of an encoded split.

    Args:
        form: of the split.
        ids: uint16 or uint32.
    """
    columns = [
        Column("row_id", pa.string(), "the row, as in the split", False),
        Column("source", pa.string(), "its source", False),
        Column("repeat", pa.int32(), "0, and for the further copies of a row that is repeated 1, 2 …", False),
    ]
    for _, _, into, learned in SEQUENCES[form]:
        columns.append(Column(into, pa.list_(pa.field("element", ids, nullable=False)), _ABOUT[form, into], False))
        if learned:
            columns.append(Column(learned, SPANS, _ABOUT[form, learned], False))
    return Table(f"encoded {form} split", "Token ids of a split, row for row.", tuple(columns))


class Writer(Protocol):
    """Takes the rows of a file, some at a time, as `encoded_table` has them."""

    def add(self, rows: pa.RecordBatch) -> None:
        """Appends rows; at least one."""

    @property
    def entries(self) -> tuple[FileEntry, ...]:
        """What was written; after it was left."""
        ...


class _Parquet:
    def __init__(self, writer: PartitionWriter) -> None:
        self._writer = writer
        self.add = writer.add

    @property
    def entries(self) -> tuple[FileEntry, ...]:
        return (self._writer.committed,)


_ENDINGS = ("ids", "offsets", "learned", "ranges")


class _Flat:
    def __init__(self, stack: ExitStack, root: Path, stem: str, form: Form, table: str) -> None:
        self._form = form
        self._files = {
            end: stack.enter_context(binary_file(root, f"{stem}.{end}", table)) for end in _ENDINGS[: 4 if has_spans(form) else 2]
        }
        self._tokens = self._ranges = 0
        for end in {"offsets", "ranges"} & self._files.keys():
            self._write(end, np.zeros(1), "<i8")

    def _write(self, end: str, numbers: np.ndarray, kind: str) -> None:
        self._files[end].sink.write(np.ascontiguousarray(numbers, dtype=kind).data.cast("B") if numbers.size else b"")

    def add(self, rows: pa.RecordBatch) -> None:
        sequences = SEQUENCES[self._form]
        ids, order, counts = _woven([rows[into] for _, _, into, _ in sequences])
        flat = ids.to_numpy()[order]
        self._write("ids", flat, f"<u{flat.itemsize}")
        self._write("offsets", self._tokens + np.cumsum(counts), "<i8")
        self._tokens += len(flat)
        if "learned" in self._files:
            ranges, order, counts = _woven([rows[learned] for _, _, _, learned in sequences])
            pairs = np.stack([ranges.field(name).to_numpy() for name in ("start", "end")], axis=1)[order]
            self._write("learned", pairs, "<i4")
            self._write("ranges", self._ranges + np.cumsum(counts), "<i8")
            self._ranges += len(pairs)

    @property
    def entries(self) -> tuple[FileEntry, ...]:
        return tuple(file.committed for file in self._files.values())


def _woven(columns: list[pa.ListArray]) -> tuple[pa.Array, Any, np.ndarray]:
    """Lists of several columns in the order of rows: what is in them, in which order to take it, and how much is in each list."""
    if len(columns) == 1:
        return columns[0].flatten(), slice(None), _counts(columns[0])
    counts = np.stack([_counts(c) for c in columns], axis=1)
    begins = np.cumsum(counts, axis=0) - counts + np.concatenate([[0], np.cumsum(counts.sum(axis=0))[:-1]])
    each = counts.ravel()
    order = np.repeat(begins.ravel() - (np.cumsum(each) - each), each) + np.arange(each.sum())
    return pa.concat_arrays([c.flatten() for c in columns]), order, each


def _counts(lists: pa.ListArray) -> np.ndarray:
    return np.diff(lists.offsets.to_numpy()).astype(np.int64)


def has_spans(form: Form) -> bool:
    """Whether rows of a form say what is to be learned."""
    return any(spans for _, spans, _, _ in SEQUENCES[form])


@contextmanager
def writing(root: Path, stem: str, layout: Layout, form: Form, ids: pa.DataType, table: str) -> Iterator[Writer]:
    """An encoded file that is committed on a clean exit, under its own name or, if flat, several.

    Args:
        root: the folder below which it goes.
        stem: its place there, without the end of its name.
        layout: the format.
        form: of the split.
        ids: uint16 or uint32.
        table: what the manifest's entry calls it.
    """
    with ExitStack() as stack:
        if layout is Layout.FLAT:
            yield _Flat(stack, root, stem, form, table)
        else:
            schema = encoded_table(form, ids).schema
            yield _Parquet(stack.enter_context(PartitionWriter(root, f"{stem}.parquet", schema, table, group_bytes=_GROUP_BYTES)))


def manifest(folder: Path) -> dict[str, Any]:
    """What an encoded split says of itself.

    Raises:
        WarehouseError: when the folder holds none, or not a whole one.
    """
    try:
        told = json.loads((folder / MANIFEST).read_bytes())
        if told["layout"] not in list(Layout) or not told["parts"]:
            raise KeyError("parts")
    except (OSError, ValueError, KeyError, TypeError) as e:
        raise WarehouseError(f"{folder}: holds no whole encoded split; `corpus encode` makes one") from e
    return dict(told)


def files(folder: Path, part: str = "train") -> list[Path]:
    """The files of a part of an encoded split, in their order; flat ones without the end of their names.

    Raises:
        WarehouseError: when there is no such part, or a file is missing or not as it was written.
    """
    told = manifest(folder)
    if part not in told["parts"]:
        raise WarehouseError(f"{folder}: has no part {part!r}; it has {', '.join(told['parts'])}")
    found = []
    for file in told["parts"][part]["files"]:
        for each in file["files"]:
            path = folder / Path(each["path"]).name
            if not path.is_file() or path.stat().st_size != each["bytes"]:
                raise WarehouseError(f"{path}: is missing or not as it was written; `corpus encode` makes it again")
        found.append(path if told["layout"] == Layout.PARQUET else path.with_suffix(""))
    return found


@dataclass(frozen=True, slots=True)
class _Piece:
    ids: np.ndarray
    offsets: np.ndarray
    learned: np.ndarray
    ranges: np.ndarray


class Flat:
    """The sequences of a part of an encoded split in memory that the operating system reads when it is looked at.

    Opening reads nothing; a sequence takes microseconds. Pickled, it is its folder and part, and is opened again.

    Attributes:
        sides: sequences of a row.
    """

    def __init__(self, folder: Path, part: str = "train") -> None:
        told = manifest(folder)
        if told["layout"] != Layout.FLAT:
            raise WarehouseError(f"{folder}: is encoded as {told['layout']}; `corpus encode --format flat` makes what can be mapped")
        self._of = folder, part
        self.sides = len(told["columns"])
        kind = "<u2" if told["ids"] == "uint16" else "<u4"
        spans = has_spans(Form(told["form"]))
        self._pieces = [
            _Piece(
                _mapped(f"{path}.ids", kind), _mapped(f"{path}.offsets", "<i8"),
                _mapped(f"{path}.learned", "<i4").reshape(-1, 2) if spans else np.zeros((0, 2), dtype="<i4"),
                _mapped(f"{path}.ranges", "<i8") if spans else np.zeros(0, dtype="<i8"),
            )
            for path in files(folder, part)
        ]  # fmt: skip
        self._ends = np.cumsum([len(p.offsets) - 1 for p in self._pieces])

    def __len__(self) -> int:
        """How many rows there are."""
        return int(self._ends[-1]) // self.sides if len(self._ends) else 0

    def __reduce__(self) -> tuple[Any, ...]:
        """Opens it again where it is unpickled."""
        return Flat, self._of

    def _find(self, row: int, side: int) -> tuple[_Piece, int]:
        if not 0 <= row < len(self) or not 0 <= side < self.sides:
            raise IndexError(f"there is no sequence {side} of row {row}; there are {len(self)} rows with {self.sides} each")
        number = row * self.sides + side
        piece = int(np.searchsorted(self._ends, number, side="right"))
        return self._pieces[piece], number - (int(self._ends[piece - 1]) if piece else 0)

    def ids(self, row: int, side: int = 0) -> np.ndarray:
        """The ids of a sequence (uint16 or uint32): a view, which must not be written to.

        Raises:
            IndexError: when there is no such sequence.
        """
        piece, at = self._find(row, side)
        return piece.ids[piece.offsets[at] : piece.offsets[at + 1]]

    def learned(self, row: int, side: int = 0) -> np.ndarray:
        """The ranges of its tokens that are to be learned (int32[k, 2]); none in forms that do not say.

        Raises:
            IndexError: when there is no such sequence.
        """
        piece, at = self._find(row, side)
        return piece.learned[piece.ranges[at] : piece.ranges[at + 1]] if len(piece.ranges) else piece.learned

    def lengths(self) -> np.ndarray:
        """Tokens of every sequence (int64[rows, sides]); reads all offsets."""
        counts = [np.diff(p.offsets) for p in self._pieces]
        return np.concatenate(counts).reshape(-1, self.sides) if counts else np.zeros((0, self.sides), dtype=np.int64)


def open_flat(folder: Path, part: str = "train") -> Flat:
    """Opens a part of an encoded split.

    Raises:
        WarehouseError: when there is none in this folder, it is not flat, or files are missing.
    """
    return Flat(folder, part)


def _mapped(path: str, kind: str) -> np.ndarray:
    """The numbers of a file, mapped; read only. A plain array: slices of numpy's own memmap take four times as long."""
    with Path(path).open("rb") as file:
        if not file.seek(0, 2):
            return np.zeros(0, dtype=kind)
        return np.frombuffer(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ), dtype=kind)
