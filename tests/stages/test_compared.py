"""compared: which texts of a row count, as what part, and which rows are equal."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from corpus.dedup import near
from corpus.dedup.texts import ANSWER, LAST_ANSWER, LAST_QUESTION, PROMPT, REJECTED
from corpus.stages.compared import COLUMNS, compared, pieces
from tests.stages.duplicates import Row, cleaned, counted, dialogue, document, make_rows, named, preference, prompt, table_of

PARTS = {"": 0, "prompt": PROMPT, "answer": ANSWER, "rejected": REJECTED, "last question": LAST_QUESTION, "last answer": LAST_ANSWER}
ALL_KEYS = ("whole", "exact", "prompt", "answer")


def told(rows: list[Row], key: Any) -> tuple[list[list[tuple[int, str]]], list[int], list[bytes | None]]:
    """Of every row the (part, text) that count, its space, and its key."""
    found = compared(table_of(rows), key)
    texts = found.texts
    each = [texts.data[a:b].tobytes().decode() for a, b in zip(texts.offsets[:-1].tolist(), texts.offsets[1:].tolist(), strict=True)]
    out = [
        list(zip(texts.parts[a:b].tolist(), each[a:b], strict=True))
        for a, b in zip(texts.bounds[:-1].tolist(), texts.bounds[1:].tolist(), strict=True)
    ]
    return out, texts.spaces.tolist(), found.keys.to_pylist()


@pytest.mark.parametrize("key", ALL_KEYS)
@given(seed=st.integers(0, 1 << 32), count=st.integers(0, 60))
@settings(max_examples=10, deadline=None)
def test_the_texts_and_parts_of_every_key(key: str, seed: int, count: int) -> None:
    rows = make_rows(seed, count)
    texts, spaces, keys = told(rows, key)
    for row, found, own in zip(rows, texts, keys, strict=True):
        expected, keyed = counted(row, key)
        assert found == [(sum(PARTS[part] for part in parts.split("+")), text) for parts, text in expected]
        assert (own is not None) == keyed
    by_space = {(row.kind, counted(row, key)[1]): set() for row in rows}
    for row, space in zip(rows, spaces, strict=True):
        by_space[row.kind, counted(row, key)[1]].add(space)
    assert all(len(found) == 1 for found in by_space.values()), "rows of one kind and key are in one space"
    assert len({min(found) for found in by_space.values()}) == len(by_space), "and no others are in it"


def test_examples() -> None:
    rows = [
        Row(named(0), messages=(("system", "s"), ("user", "u"), ("assistant", "a"), ("user", "v"), ("assistant", "b"))),
        preference(1, "q", "good", "bad"),
        document(2, "title", "text"),
        prompt(3, "ask"),
    ]
    assert told(rows, "whole")[0] == [
        [(PROMPT, "s"), (PROMPT, "u"), (ANSWER, "a"), (PROMPT | LAST_QUESTION, "v"), (ANSWER | LAST_ANSWER, "b")],
        [(PROMPT | LAST_QUESTION, "q"), (ANSWER | LAST_ANSWER, "good"), (REJECTED, "bad")],
        [(0, "title"), (0, "text")],
        [(PROMPT | LAST_QUESTION, "ask")],
    ]
    assert told(rows, "prompt")[0] == [[(0, "s"), (0, "u"), (0, "a"), (0, "v")], [(0, "q")], [(0, "title")], [(0, "ask")]]
    assert told(rows, "answer")[0] == [[(0, "b")], [(0, "good"), (0, "bad")], [(0, "text")], [(PROMPT | LAST_QUESTION, "ask")]]


def test_keys_fold_case_and_white_space_and_keep_boundaries() -> None:
    def keys(rows: list[Row], key: str) -> list[bytes | None]:
        return told(rows, key)[2]

    a, b, c = keys([dialogue(0, "What is it?", "x"), dialogue(1, " what IS it?\n", "y"), dialogue(2, "What is this?", "x")], "prompt")
    assert a == b != c
    ab = preference(0, "q", "ab", "c"), preference(1, "q", "a", "bc"), preference(2, "r", "ab", "c")
    one, other, again = keys(list(ab), "answer")
    assert one == again != other, "where one text ends and the other begins counts"
    swapped = keys([preference(0, "q", "good", "bad"), preference(1, "q", "bad", "good")], "answer")
    assert swapped[0] != swapped[1]
    kinds = keys([dialogue(0, "q", "a"), prompt(1, "q")], "prompt")
    assert kinds[0] != kinds[1], "a prompt is not equal to a dialogue that asks the same"


def test_a_row_without_what_the_key_asks_for_is_compared_as_a_whole() -> None:
    rows = [document(0, None, "text"), document(1, "", "text"), document(2, "t", "text")]
    texts, spaces, keys = told(rows, "prompt")
    assert texts == [[(0, "text")], [(0, ""), (0, "text")], [(0, "t")]]
    assert [key is None for key in keys] == [True, True, False]
    assert spaces[0] == spaces[1] != spaces[2]
    assert told([prompt(0, "ask")], "answer")[2] == [None]
    assert told([Row(named(0), messages=(("user", "u"), ("assistant", "")))], "answer")[2] == [None]


@pytest.mark.parametrize("key", ALL_KEYS)
@pytest.mark.parametrize("size", [1, 500, 1 << 20])
def test_pieces_are_the_rows_of_the_file(key: Any, size: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(near, "PIECE_BYTES", size)
    rows = make_rows(3, 90, sources=("one",))
    [partition] = cleaned(tmp_path, rows, groups=25)
    path = tmp_path / partition.one("clean").path
    whole = compared(table_of(rows), key)
    for wanted in (None, np.arange(90) % 7 == 0, np.arange(90) > 80, np.zeros(90, dtype=np.bool_)):
        expected = np.flatnonzero(wanted) if wanted is not None else np.arange(90)
        numbers, texts, keys, ids = [], [], [], []
        for found, part, extra in pieces(path, key, "row_id", wanted=wanted):
            assert len(found) == len(part.texts) == len(part.keys) == extra.num_rows > 0
            assert extra.column_names == ["row_id"]
            numbers += found.tolist()
            keys += part.keys.to_pylist()
            ids += extra["row_id"].to_pylist()
            t = part.texts
            texts += [t.data[t.offsets[a] : t.offsets[b]].tobytes() for a, b in zip(t.bounds[:-1], t.bounds[1:], strict=True)]
        assert numbers == expected.tolist()
        assert ids == [rows[i].id for i in expected]
        assert keys == [whole.keys[int(i)].as_py() for i in expected]
        of = whole.texts
        assert texts == [of.data[of.offsets[of.bounds[i]] : of.offsets[of.bounds[i + 1]]].tobytes() for i in expected]


def test_it_needs_no_other_columns() -> None:
    rows = make_rows(2, 40)
    for key in ALL_KEYS:
        found = compared(table_of(rows).select(list(COLUMNS)), key)  # type: ignore[arg-type]
        assert len(found.texts) == 40
