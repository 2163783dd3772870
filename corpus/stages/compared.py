"""What of a clean row is compared with other rows: its texts by the source's key, and the key by which equal rows are found."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from corpus.dedup.near import cuts
from corpus.dedup.texts import ANSWER, LAST_ANSWER, LAST_QUESTION, PROMPT, REJECTED, Texts, buffers
from corpus.recipe import Key
from corpus.schema import ROLES, Kind
from corpus.stages.spoken import CONVERSATIONS, TEXTS, Flat, Spoken, last_turns
from corpus.warehouse.commit import reading

COLUMNS = ("kind", *CONVERSATIONS, *TEXTS)
_KEYS = ("whole", "prompt", "answer")
_CHOSEN = CONVERSATIONS.index("chosen")
_TITLE, _TEXT = (len(CONVERSATIONS) + i for i in range(2))


@dataclass(frozen=True, slots=True)
class Compared:
    """Rows as they are compared.

    Attributes:
        texts: the texts that count.
        keys: what rows that are equal have in common (binary(16)); null where it is the row_key of the clean row.
    """

    texts: Texts
    keys: pa.Array


def compared(table: pa.Table, key: Key) -> Compared:
    """What is compared of clean rows.

    A row that has nothing of what the key asks for (the title of a document without one) is compared as a whole: otherwise all such rows
    would be equal.

    Args:
        table: rows of schema CLEAN, with `COLUMNS` at least.
        key: what of a row counts.
    """
    n = table.num_rows
    content = {name: table[name].combine_chunks() for name in (*CONVERSATIONS, *TEXTS)}
    spoken = Spoken.of(content, {name: Flat.of(content[name]) for name in CONVERSATIONS})
    parts = _parts(spoken)
    offsets, data = spoken.utf8
    kinds = pc.index_in(table["kind"].combine_chunks(), pa.array([k.value for k in Kind])).to_numpy().astype(np.uint8)
    spaces = kinds * np.uint8(len(_KEYS))
    if key in ("whole", "exact"):
        bounds = np.searchsorted(spoken.rows, np.arange(n + 1)).astype(np.int64)
        return Compared(Texts(offsets, data, bounds, parts, spaces), pa.nulls(n, pa.binary(16)))

    chosen = _chosen(spoken, key)
    filled = np.diff(offsets) > 0
    has = np.bincount(spoken.rows[chosen & filled], minlength=n) > 0
    counted = np.where(has[spoken.rows], chosen, True)
    parts[has[spoken.rows]] = 0
    at = np.flatnonzero(counted)
    bounds = np.searchsorted(spoken.rows[at], np.arange(n + 1)).astype(np.int64)
    taken = pa.LargeStringArray.from_buffers(len(offsets) - 1, pa.py_buffer(np.ascontiguousarray(offsets)), pa.py_buffer(data))
    offsets, data = buffers(taken.take(pa.array(at)))
    spaces = spaces + np.where(has, np.uint8(_KEYS.index(key)), np.uint8(0))
    texts = Texts(offsets, data, bounds, parts[at], spaces)
    return Compared(texts, _keys(texts, spoken.places[at], has))


def spaces_of(kind: Kind, key: Key) -> tuple[int, ...]:
    """The spaces in which rows of a kind are compared: that of the key, and that of whole rows for those that lack what it asks for."""
    first = list(Kind).index(kind) * len(_KEYS)
    return (first,) if key not in _KEYS or key == "whole" else (first, first + _KEYS.index(key))


def _parts(spoken: Spoken) -> np.ndarray:
    """The part that each text is. A document is one whole: its title asks for nothing."""
    of_place = np.array([PROMPT, ANSWER, REJECTED, 0, 0], dtype=np.uint8)
    parts = of_place[spoken.places]
    talk = spoken.places == 0
    parts[talk & (spoken.roles == ROLES.index("assistant"))] = ANSWER
    asked = np.flatnonzero(talk & (spoken.roles == ROLES.index("user")))
    parts[asked[np.append(np.diff(spoken.rows[asked]) != 0, True)[: len(asked)]]] |= LAST_QUESTION
    parts[last_turns(spoken)] |= LAST_ANSWER
    parts[spoken.places == _CHOSEN] |= LAST_ANSWER
    return parts


def _chosen(spoken: Spoken, key: Key) -> np.ndarray:
    """Which texts a key is made of."""
    answers = np.zeros(len(spoken.places), dtype=np.bool_)
    answers[last_turns(spoken)] = True
    answers |= (spoken.places > 0) & (spoken.places < _TITLE) | (spoken.places == _TEXT)
    return answers if key == "answer" else ~answers


def _keys(texts: Texts, places: np.ndarray, has: np.ndarray) -> pa.Array:
    """Hashes of the folded texts of rows, with their space and boundaries; null for rows that are compared as a whole."""
    from corpus.text.folding import folded

    ends, data = folded((texts.offsets, texts.data), places * 4 + len(ROLES) + 1)
    starts = np.concatenate([[0], ends])[texts.bounds].tolist()
    view = memoryview(data.tobytes())
    return pa.array(
        [
            blake2b(view[a:b], digest_size=16, person=bytes([space])).digest() if some else None
            for a, b, space, some in zip(starts[:-1], starts[1:], texts.spaces.tolist(), has.tolist(), strict=True)
        ],
        pa.binary(16),
    )


def pieces(path: Path, key: Key, *extra: str, wanted: np.ndarray | None = None) -> Iterator[tuple[np.ndarray, Compared, pa.Table]]:
    """The rows of a clean partition, about a megabyte of text at a time.

    Args:
        path: the partition's file.
        key: what of a row counts.
        extra: further columns to read.
        wanted: which rows (bool[rows of the file]); all when it is not given. Row groups without any are not read.

    Yields:
        The numbers of the rows in the file (int64), what is compared of them, and the extra columns.
    """
    base = 0
    with reading(path):
        opened = pq.ParquetFile(path)
    with opened as file:
        for group in range(file.num_row_groups):
            rows = file.metadata.row_group(group).num_rows
            mask = None if wanted is None else wanted[base : base + rows]
            base += rows
            if mask is not None and not mask.any():
                continue
            with reading(path):
                table = file.read_row_group(group, columns=[*COLUMNS, *extra], use_threads=False)
                table.validate(full=True)  # the kernels take it on trust that texts are UTF-8
            numbers = np.arange(base - rows, base, dtype=np.int64)
            if mask is not None:
                table, numbers = table.filter(pa.array(mask)), numbers[mask]
            whole = compared(table, key)
            text_ends = whole.texts.offsets[whole.texts.bounds]
            for start, end in cuts(text_ends):
                part = Compared(whole.texts.part(start, end), whole.keys.slice(start, end - start))
                yield numbers[start:end], part, table.slice(start, end - start).select(list(extra))
