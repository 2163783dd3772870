"""Sizes of rows, and where row groups are cut."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from corpus.schema import MESSAGES, SPANS
from corpus.splits.groups import cuts, row_bytes

COLUMNS = {"a": pa.string(), "b": pa.int32(), "m": MESSAGES, "s": SPANS, "u": pa.uint64()}


def rows(n: int) -> pa.Table:
    made = [
        {
            "a": None if i % 3 == 0 else "字" * i,
            "b": i,
            "m": [{"role": "user", "content": "x" * j} for j in range(i % 4)],
            "s": [{"start": 0, "end": 1}] * (i % 3),
            "u": i,
        }
        for i in range(n)
    ]
    return pa.Table.from_pylist(made, schema=pa.schema(COLUMNS))


def by_hand(row: dict) -> int:
    text = 4 + len((row["a"] or "").encode())
    messages = 4 + sum(8 + len(m["role"]) + len(m["content"]) for m in row["m"])
    return text + 4 + messages + 4 + 8 * len(row["s"]) + 8


def test_sizes_are_those_of_the_values() -> None:
    table = rows(12)
    expected = [by_hand(r) for r in table.to_pylist()]
    assert row_bytes(table).tolist() == expected
    assert row_bytes(table.slice(5, 4)).tolist() == expected[5:9]
    assert row_bytes(pa.concat_tables([table.slice(0, 3), table.slice(3)])).tolist() == expected
    assert row_bytes(table.slice(0, 0)).tolist() == []


@given(st.lists(st.integers(1, 50)), st.integers(1, 120), st.none() | st.integers(1, 5))
def test_groups_follow_each_other_and_are_as_large_as_they_may_be(sizes: list[int], most: int, most_rows: int | None) -> None:
    found = cuts(np.array(sizes, dtype=np.int64), most, most_rows)
    assert [a for a, _ in found] == [0, *(b for _, b in found)][: len(found)]
    assert (found[-1][1] if found else 0) == len(sizes)
    for number, (a, b) in enumerate(found):
        assert b == a + 1 or sum(sizes[a:b]) <= most
        assert b > a
        assert most_rows is None or b - a <= most_rows
        if number + 1 < len(found):
            full = sum(sizes[a : b + 1]) > most
            assert full or b - a == most_rows, "one more would have fitted"


@pytest.mark.parametrize("n", [0, 1, 10])
def test_a_bound_on_rows(n: int) -> None:
    assert cuts(np.ones(n, dtype=np.int64), 10**9, 4) == [(a, min(a + 4, n)) for a in range(0, n, 4)]
