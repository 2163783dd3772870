"""Columns of texts to token ids, and to the tokens that are to be learned.

What is a special token in a text depends on where the text is from. In a rendered conversation only the template's own marks are: contents
were guarded against them (`corpus.splits.guards`), so each is the template's. Whatever else is special to a tokenizer (padding, further
marks of a published one) is, in every text, the text that it spells; in documents nothing is special at all. A split of texts can hold
both: its rows say what they are.

Labels come from the spans of a split through the places of tokens, never from encoding pieces of a text: two pieces may have other tokens
than the whole. A token is learned when it begins within a span. So one that begins before it is not, since a prompt ends there and the
model never gets to write it; and one that begins within and ends behind it is, because the end of an answer that is never learned is an
answer that never ends. Both are counted: with the templates of `corpus.splits.templates` and tokenizers that were trained for them there
is none.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numba import njit

from corpus.errors import DataError
from corpus.recipe_splits import Form
from corpus.schema import Kind
from corpus.splits.templates import Template
from corpus.tokenizer.encoded import SEQUENCES, encoded_table
from corpus.tokenizer.library import check_ids, refusals

if TYPE_CHECKING:
    from tokenizers import Tokenizer

BATCH_BYTES = 1 << 20
"""Texts that are encoded at a time. The library holds some 100 bytes for a byte of text until their ids are taken out."""


@dataclass(frozen=True, slots=True)
class Encoded:
    """The tokens of n texts, t together.

    Attributes:
        ids: of all of them, one text after another (uint32[t]).
        offsets: which tokens each text has (int64[n + 1]).
        starts: where each token begins in its text (int32[t]), in characters or in bytes of UTF-8. Tokens that are parts of one character
            may begin where it begins.
        ends: where it ends.
        in_bytes: whether places are in bytes.
    """

    ids: np.ndarray
    offsets: np.ndarray
    starts: np.ndarray
    ends: np.ndarray
    in_bytes: bool = False


class Encoder(Protocol):
    """Texts to tokens; may be called from several threads."""

    def __call__(self, texts: pa.Array) -> Encoded:
        """The tokens of texts (string, without nulls)."""


@dataclass(frozen=True, slots=True)
class Library:
    """Any tokenizer, run by the `tokenizers` library.

    Attributes:
        tokenizer: as `prepared` gives it.
    """

    tokenizer: Tokenizer

    def __call__(self, texts: pa.Array) -> Encoded:
        """See `Encoder`. Places are in characters."""
        with refusals("the tokenizers library cannot encode the texts with this tokenizer", "choose another with --tokenizer"):
            found = self.tokenizer.encode_batch(texts.to_pylist(), add_special_tokens=False)
        offsets = np.concatenate([[0], np.cumsum(np.fromiter(map(len, found), dtype=np.int64, count=len(found)))])
        ids = np.empty(offsets[-1], dtype=np.uint32)
        places = np.empty((offsets[-1], 2), dtype=np.int32)
        for number, each in enumerate(found):  # one by one: a list of tuples takes 40 times what its numbers do
            count = len(each)
            at = slice(offsets[number], offsets[number + 1])
            ids[at] = each.ids
            places[at] = np.fromiter(chain.from_iterable(each.offsets), dtype=np.int32, count=2 * count).reshape(count, 2)
        return Encoded(ids, offsets, np.ascontiguousarray(places[:, 0]), np.ascontiguousarray(places[:, 1]))


def prepared(settings: bytes, path: Path, marks: Sequence[str] = ()) -> tuple[Tokenizer, Encoder]:
    """A tokenizer to which only some of its special tokens are special, and what encodes with it.

    Truncation, padding, post-processing and dropout are taken away: files of published models hold the settings that they were last used
    with, and post-processors of byte-level tokenizers cut blanks off the places of tokens.

    Args:
        settings: a tokenizer.json.
        path: where it is from.
        marks: those that are one token each wherever they occur; other special tokens are encoded as the text that they spell.

    Raises:
        DataError: when it is no tokenizer.
    """
    from tokenizers import Tokenizer

    from corpus.tokenizer import composed, fast, fast_spm  # they need this file

    with refusals(f"{path} is no tokenizer that the tokenizers library reads", "save it again with its save()"):
        told: dict[str, Any] = json.loads(settings)
        told |= {"truncation": None, "padding": None, "post_processor": None}
        told["model"] |= {"dropout": None} if "dropout" in told["model"] else {}
        for token in told.get("added_tokens") or ():
            # The library passes over special tokens, all or none. One that is not special is matched in either case.
            token["special"] = token["special"] and token["content"] not in marks
        tokenizer = Tokenizer.from_str(json.dumps(told))
    check_ids(max(tokenizer.get_vocab(with_added_tokens=True).values(), default=-1), str(path))
    tokenizer.encode_special_tokens = True
    library = Library(tokenizer)
    told = json.loads(tokenizer.to_str())  # with everything that an older file leaves unsaid
    return tokenizer, fast.encoder(told) or fast_spm.encoder(told) or composed.encoder(told, library) or library


def check_marks(tokenizer: Tokenizer, template: Template, path: Path) -> None:
    """Sees to it that the template's marks are one token each.

    Args:
        tokenizer: as `prepared` gives it with the template's marks.
        template: the template.
        path: where the tokenizer is from.

    Raises:
        DataError: when one is not.
    """
    for mark in dict.fromkeys((template.end, *template.specials)):
        found = tokenizer.encode(mark, add_special_tokens=False)
        if len(found.ids) != 1:
            what = "the end of the assistant's turn" if mark == template.end else "a mark"
            tokens = f"the {len(found.ids)} tokens {', '.join(map(repr, found.tokens))}" if found.ids else "no token"
            raise DataError(
                f"{path}: {mark!r}, {what} in template {template.name}, is {tokens} here, so that a model would learn to spell it; train a "
                "tokenizer with the recipe's template (`make tokenizer`), or add it to this one as a token"
            )


def width(tokenizer: Tokenizer) -> pa.DataType:
    """The type of its ids: uint16 where all of them fit in, else uint32."""
    return pa.uint16() if max(tokenizer.get_vocab(with_added_tokens=True).values(), default=0) < 1 << 16 else pa.uint32()


@dataclass(frozen=True, slots=True)
class Learned:
    """Which tokens of n texts are to be learned.

    Attributes:
        ranges: first token of each range, and the one after its last, counted from the first of its text (int32[k, 2]).
        offsets: which ranges each text has (int64[n + 1]).
        early: spans within which no token begins where they begin, since one lies across it; that one is not learned.
        late: spans that end within a token, which is learned.
    """

    ranges: np.ndarray
    offsets: np.ndarray
    early: int
    late: int


def learned(texts: pa.Array, spans: pa.ListArray, encoded: Encoded) -> Learned:
    """The tokens of spans.

    Args:
        texts: the texts (string, without nulls).
        spans: for each the ranges of its characters that are to be learned, in their order (`schema.SPANS`).
        encoded: their tokens.

    Raises:
        ValueError: when a span is not within its text, or begins before the one before it ends.
    """
    offsets = spans.offsets.to_numpy().astype(np.int64)
    offsets -= offsets[0]
    flat = spans.flatten()
    edges = np.stack([flat.field(name).to_numpy() for name in ("start", "end")], axis=1)
    data, at = buffers(texts)
    places = np.empty_like(edges)
    wrong = _places(data, at, edges, offsets, encoded.in_bytes, places)
    if wrong >= 0:
        raise ValueError(f"row {wrong}: its spans {spans[wrong].as_py()} are not ranges of its text, one after another")
    ranges = np.empty_like(edges)
    early, late = _ranges(encoded.starts, encoded.ends, encoded.offsets, places, offsets, ranges)
    return Learned(ranges, offsets, int(early), int(late))


def buffers(texts: pa.Array) -> tuple[np.ndarray, np.ndarray]:
    """The bytes of texts and where each begins (uint8[…], int64[n + 1])."""
    _, offsets, data = texts.buffers()
    kind = np.int64 if pa.types.is_large_string(texts.type) else np.int32
    at = np.frombuffer(offsets, dtype=kind)[texts.offset : texts.offset + len(texts) + 1] if len(texts) else np.zeros(1, dtype=kind)
    return np.frombuffer(data, dtype=np.uint8) if data is not None else np.zeros(0, dtype=np.uint8), at.astype(np.int64)


def lengths(texts: pa.Array) -> np.ndarray:
    """Bytes of every text (int64[n])."""
    return pc.binary_length(texts).to_numpy(zero_copy_only=False).astype(np.int64)


def closed(encoded: Encoded, token: int) -> Encoded:
    """The same with a token behind every text that does not end with it. It is nowhere in the text, so it has the place of its end."""
    behind = encoded.offsets[1:]
    some = np.diff(encoded.offsets) > 0
    last = np.zeros(len(behind), dtype=np.int32)
    last[some] = encoded.ends[behind[some] - 1]
    open_ = ~some
    open_[some] = encoded.ids[behind[some] - 1] != token
    at, place = behind[open_], last[open_]
    return Encoded(
        np.insert(encoded.ids, at, token), encoded.offsets + np.concatenate([[0], np.cumsum(open_)]), np.insert(encoded.starts, at, place),
        np.insert(encoded.ends, at, place), encoded.in_bytes,
    )  # fmt: skip


def by_kind(texts: pa.Array, documents: np.ndarray, way: Way) -> Encoded:
    """Texts of a split of texts: documents, in which nothing is special, and rendered conversations.

    Args:
        texts: the texts (string, without nulls).
        documents: which of them are documents (bool[n]).
        way: how both are encoded.
    """
    if way.rendered is None or documents.all():
        return way.encoder(texts)
    return together(documents, way.rendered(texts.filter(pa.array(~documents))), way.encoder(texts.filter(pa.array(documents))))


def together(which: np.ndarray, others: Encoded, those: Encoded) -> Encoded:
    """The tokens of texts that were encoded in two ways, in the order of texts.

    Args:
        which: the texts that were encoded in the second way (bool[n]).
        others: the tokens of the others.
        those: their tokens; places are in the same units.
    """
    counts = np.empty(len(which), dtype=np.int64)
    counts[~which], counts[which] = np.diff(others.offsets), np.diff(those.offsets)
    of_those = np.repeat(which, counts)

    def joined(name: str) -> np.ndarray:
        out = np.empty(len(of_those), dtype=getattr(those, name).dtype)
        out[~of_those], out[of_those] = getattr(others, name), getattr(those, name)
        return out

    offsets = np.concatenate([[0], np.cumsum(counts)])
    return Encoded(joined("ids"), offsets, joined("starts"), joined("ends"), those.in_bytes)


FIGURES = ("rows", "tokens", "learned", "bytes")
"""What is counted of every source; bytes are those of the texts."""


@dataclass(frozen=True, slots=True)
class Way:
    """How the texts of a split are encoded.

    Attributes:
        encoder: by what; in a split of texts its documents.
        ids: the type of ids.
        closing: the token behind each text, if any.
        rendered: in a split of texts, what encodes its rendered conversations.
    """

    encoder: Encoder
    ids: pa.DataType
    closing: int | None = None
    rendered: Encoder | None = None


@dataclass(slots=True)
class Figures:
    """What rows come to: by source rows, tokens, learned tokens and bytes of text; the longest sequence; spans that end within tokens."""

    sources: defaultdict[str, list[int]] = field(default_factory=lambda: defaultdict(lambda: [0] * len(FIGURES)))
    longest: int = 0
    early: int = 0
    late: int = 0

    def add(self, other: Figures) -> None:
        """Adds those of further rows."""
        for source, numbers in other.sources.items():
            self.sources[source] = [a + b for a, b in zip(self.sources[source], numbers, strict=True)]
        self.longest = max(self.longest, other.longest)
        self.early += other.early
        self.late += other.late

    def told(self) -> dict[str, Any]:
        """All of it in the types of JSON."""
        by_source = {source: dict(zip(FIGURES, numbers, strict=True)) for source, numbers in sorted(self.sources.items())}
        totals = {name: sum(each[name] for each in by_source.values()) for name in FIGURES}
        return {**totals, "longest": self.longest, "straddling": {"start": self.early, "end": self.late}, "sources": by_source}

    @classmethod
    def of(cls, told: dict[str, Any]) -> Figures:
        """Those that `told` told of."""
        found = cls(longest=told["longest"], early=told["straddling"]["start"], late=told["straddling"]["end"])
        found.sources.update({source: [each[name] for name in FIGURES] for source, each in told["sources"].items()})
        return found


def encode_rows(rows: pa.Table, form: Form, way: Way) -> tuple[pa.RecordBatch, Figures]:
    """Rows of a split → rows of its encoded table, and what they come to.

    Args:
        rows: with row_id, source, kind, repeat and what `SEQUENCES` says of the form.
        form: of the split.
        way: how they are encoded.
    """
    schema = encoded_table(form, way.ids).schema
    columns: dict[str, pa.Array] = {name: one(rows, name) for name in ("row_id", "source", "repeat")}
    figures = Figures()
    numbers = np.zeros((len(FIGURES), rows.num_rows), dtype=np.int64)
    numbers[0] = 1
    for text, spans, into, to_learn in SEQUENCES[form]:
        texts = one(rows, text)
        encoded = way.encoder(texts) if form is not Form.TEXT else by_kind(texts, _documents(rows), way)
        if to_learn:
            found = learned(texts, one(rows, spans), encoded)
            pairs = [pa.array(found.ranges[:, side]) for side in (0, 1)]
            kind = schema.field(to_learn).type
            ranges = pa.StructArray.from_arrays(pairs, fields=list(kind.value_type))
            columns[to_learn] = pa.ListArray.from_arrays(pa.array(found.offsets.astype(np.int32)), ranges, type=kind)
            inside = np.concatenate([[0], np.cumsum(found.ranges[:, 1] - found.ranges[:, 0], dtype=np.int64)])
            numbers[2] += np.diff(inside[found.offsets])
            figures.early += found.early
            figures.late += found.late
        if way.closing is not None:
            encoded = closed(encoded, way.closing)
        flat = pa.array(encoded.ids.astype(way.ids.to_pandas_dtype()))
        columns[into] = pa.ListArray.from_arrays(pa.array(encoded.offsets.astype(np.int32)), flat, type=schema.field(into).type)
        counts = np.diff(encoded.offsets)
        numbers[1] += counts
        numbers[3] += lengths(texts)
        figures.longest = max(figures.longest, int(counts.max(initial=0)))
    coded = columns["source"].dictionary_encode()
    codes = coded.indices.to_numpy(zero_copy_only=False)
    for number, source in enumerate(coded.dictionary.to_pylist()):
        figures.sources[source] = numbers[:, codes == number].sum(axis=1).tolist()
    return pa.RecordBatch.from_arrays([columns[name] for name in schema.names], schema=schema), figures


def _documents(rows: pa.Table) -> np.ndarray:
    return pc.equal(one(rows, "kind").cast(pa.string()), Kind.DOCUMENT.value).to_numpy(zero_copy_only=False)


def one(rows: pa.Table, name: str) -> pa.Array:
    """A column in one piece."""
    column = rows[name].combine_chunks()
    return column if isinstance(column, pa.Array) else pa.concat_arrays(column.chunks)


@njit(cache=True, nogil=True)
def _places(data: np.ndarray, at: np.ndarray, edges: np.ndarray, offsets: np.ndarray, in_bytes: bool, places: np.ndarray) -> int:
    """Edges in characters → places in characters or bytes; the first text whose spans are none of it, or -1."""
    for row in range(len(offsets) - 1):
        if offsets[row] == offsets[row + 1]:
            continue
        i, end = at[row], at[row + 1]
        chars = 0
        for span in range(offsets[row], offsets[row + 1]):
            for side in range(2):
                edge = edges[span, side]
                if edge < chars:
                    return row
                while chars < edge:
                    if i >= end:
                        return row
                    i += 1
                    while i < end and (data[i] & 0xC0) == 0x80:
                        i += 1
                    chars += 1
                places[span, side] = i - at[row] if in_bytes else edge
    return -1


@njit(cache=True, nogil=True)
def _ranges(
    starts: np.ndarray, ends: np.ndarray, tokens: np.ndarray, places: np.ndarray, offsets: np.ndarray, ranges: np.ndarray
) -> tuple[int, int]:
    """Places of spans → ranges of tokens; how many spans begin, and end, within a token."""
    early = late = 0
    for row in range(len(offsets) - 1):
        first, after = tokens[row], tokens[row + 1]
        token = first
        for span in range(offsets[row], offsets[row + 1]):
            begin, end = places[span, 0], places[span, 1]
            while token < after and starts[token] < begin:
                token += 1
            if token > first and ends[token - 1] > begin:
                early += 1
            ranges[span, 0] = token - first
            while token < after and starts[token] < end:
                token += 1
            if token > first and ends[token - 1] > end:
                late += 1
            ranges[span, 1] = token - first
    return early, late
