"""Columns of text as the kernels see them."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from corpus.dedup.shingles import shingles
from corpus.dedup.texts import PARTS, Texts, buffers
from corpus.dedup.units import Unit
from tests.dedup.reference import Talk, texts_of

TYPES = [pa.string(), pa.large_string(), pa.string_view(), pa.dictionary(pa.int32(), pa.string())]


def read(column: pa.Array) -> list[str]:
    """The texts of a column, read through its buffers."""
    offsets, data = buffers(column)
    assert offsets.dtype == np.int64
    assert data.dtype == np.uint8
    assert len(offsets) == len(column) + 1
    return [bytes(data[start:end]).decode() for start, end in pairwise(offsets)]


@settings(max_examples=60, deadline=None)
@given(st.lists(st.none() | st.text(max_size=12), max_size=8), st.sampled_from(TYPES), st.integers(0, 8), st.integers(0, 8))
def test_any_column(texts: list[str | None], kind: pa.DataType, start: int, length: int) -> None:
    column = pa.array(texts, pa.string()).cast(kind).slice(start, length)
    assert read(column) == [text or "" for text in texts[start : start + length]]


def test_a_null_has_no_bytes() -> None:
    # Arrow permits that a null has bytes; they are not the row's.
    column = pa.Array.from_buffers(
        pa.string(), 3, [pa.py_buffer(b"\x05"), pa.py_buffer(np.array([0, 1, 4, 5], dtype=np.int32)), pa.py_buffer(b"axxxb")]
    )
    assert column.to_pylist() == ["a", None, "b"]
    assert read(column) == ["a", "", "b"]


def test_one_text_a_row() -> None:
    texts = Texts.of(pa.array(["你好", None, "", "b"]))
    assert len(texts) == 4
    assert texts.bounds.tolist() == [0, 1, 2, 3, 4]
    assert np.diff(texts.offsets).tolist() == [6, 0, 0, 1]
    assert not texts.parts.any()
    assert not texts.spaces.any()


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.lists(st.tuples(st.text(max_size=5), st.sampled_from([0, *PARTS])), max_size=3), max_size=6),
    st.integers(0, 6),
    st.integers(0, 6),
)
def test_a_part_is_some_of_the_rows(rows: list[Talk], start: int, end: int) -> None:
    start, end = min(start, end, len(rows)), min(max(start, end), len(rows))
    texts = texts_of(rows)
    part = texts.part(start, end)
    alone = texts_of(rows[start:end])
    assert len(part) == end - start
    assert part.bounds.tolist() == alone.bounds.tolist()
    assert part.parts.tolist() == alone.parts.tolist()
    assert len(part.spaces) == len(part)
    found, expected = shingles(part, Unit.MIXED), shingles(alone, Unit.MIXED)
    assert found.hashes.tolist() == expected.hashes.tolist()
    assert found.bounds.tolist() == expected.bounds.tolist()
    assert found.whole.tolist() == expected.whole.tolist()


@pytest.mark.parametrize("column", [pa.array([1, 2]), pa.array([b"a"]), pa.array([["a"]]), pa.array([None, None])])
def test_other_columns_are_refused(column: pa.Array) -> None:
    with pytest.raises(TypeError, match="is not text"):
        buffers(column)
