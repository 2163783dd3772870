"""Conversations within a budget, against plain Python that tries every cut; and what counts their turns."""

from __future__ import annotations

import json
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from corpus.errors import DataError
from corpus.schema import MESSAGES, ROLES
from corpus.splits import budget
from corpus.splits.budget import Fitted, counter, drop_front, fingerprint, fit, role_codes

Talk = list[tuple[str, int]]
"""Roles and sizes of the turns of a conversation."""

TALKS = st.lists(
    st.tuples(st.lists(st.tuples(st.sampled_from(ROLES), st.integers(0, 9)), max_size=8), st.integers(0, 6)), min_size=1, max_size=6
)


def fitted(talks: list[tuple[Talk, int]], most: int) -> Fitted:
    turns = [turn for talk, _ in talks for turn in talk]
    return fit(
        np.array([ROLES.index(role) for role, _ in turns], dtype=np.uint8),
        np.cumsum([0, *(len(talk) for talk, _ in talks)]),
        np.array([size for _, size in turns], dtype=np.int64),
        np.array([fixed for _, fixed in talks], dtype=np.int64),
        most,
    )


def cut(talk: Talk, fixed: int, most: int) -> tuple[int, int, bool]:
    """Start, size and whether it is over, from every cut that there is."""
    system = next((i for i, (role, _) in enumerate(talk) if role != "system"), len(talk))
    head = fixed + sum(size for _, size in talk[:system])
    rest = talk[system:]
    whole = head + sum(size for _, size in rest)
    if whole <= most:
        return 0, whole, False
    cuts = [(at, head + sum(size for _, size in rest[at:])) for at, (role, _) in enumerate(rest) if role == "user"]
    if not cuts:
        return 0, whole, True
    fits = [found for found in cuts if found[1] <= most]
    return (*(fits[0] if fits else cuts[-1]), not fits)


@given(TALKS, st.integers(0, 60))
def test_the_fewest_turns_go_that_will_do(talks: list[tuple[Talk, int]], most: int) -> None:
    found = fitted(talks, most)
    assert list(zip(found.starts.tolist(), found.sizes.tolist(), found.over.tolist(), strict=True)) == [cut(*each, most) for each in talks]
    assert (found.starts.dtype, found.sizes.dtype, found.over.dtype) == (np.int32, np.int64, np.bool_)


@pytest.mark.parametrize(
    ("talk", "most", "start", "size", "over"),
    [
        ("s1 u2 a3 u4 a5", 15, 0, 15, False),
        ("s1 u2 a3 u4 a5", 14, 2, 10, False),
        ("s1 u2 a3 u4 a5", 9, 2, 10, True),  # the system's turns, the last question and its answer stay
        ("s1 s1 u2 a3 u4", 6, 2, 6, False),  # a prompt: what was asked last stays
        ("a9 u2 a3", 5, 1, 5, False),
        ("a9 u2 a3", 14, 0, 14, False),  # what is short enough stays as it is
        ("a9", 5, 0, 9, True),
        ("s9", 5, 0, 9, True),
        ("", 0, 0, 0, False),
        ("u1 a1 s7 u1 a1", 3, 3, 2, False),  # a system's turn further down goes with what stands before it
    ],
)
def test_cases(talk: str, most: int, start: int, size: int, over: bool) -> None:
    names = {role[0]: role for role in ROLES}
    found = fitted([([(names[turn[0]], int(turn[1:])) for turn in talk.split()], 0)], most)
    assert (found.starts[0], found.sizes[0], found.over[0]) == (start, size, over)


def test_what_is_fixed_counts() -> None:
    talk = [("user", 2), ("assistant", 2), ("user", 2)]
    assert fitted([(talk, 0), (talk, 1), (talk, 5)], 6).starts.tolist() == [0, 2, 2]
    assert fitted([(talk, 0), (talk, 1), (talk, 5)], 6).over.tolist() == [False, False, True]


def conversations(talks: list[list[str]]) -> pa.ListArray:
    """Roles of the turns of conversations; every turn says its place."""
    return pa.array([[{"role": role, "content": f"{row}.{n}"} for n, role in enumerate(talk)] for row, talk in enumerate(talks)], MESSAGES)


@given(st.lists(st.lists(st.sampled_from(ROLES), max_size=6), min_size=1, max_size=5), st.data())
def test_the_front_goes_and_the_system_stays(talks: list[list[str]], data: st.DataObject) -> None:
    column = conversations(talks)
    expected, starts = [], []
    for talk in column.to_pylist():
        system = next((i for i, turn in enumerate(talk) if turn["role"] != "system"), len(talk))
        start = data.draw(st.integers(0, len(talk) - system))
        starts.append(start)
        expected.append(talk[:system] + talk[system + start :])
    assert drop_front(column, np.array(starts, dtype=np.int32)).to_pylist() == expected
    # A slice knows only its own part of the turns.
    assert drop_front(column.slice(1), np.array(starts[1:], dtype=np.int32)).to_pylist() == expected[1:]
    assert drop_front(column, np.array(starts, dtype=np.int32)).type == MESSAGES


def test_nothing_is_copied_when_nothing_goes() -> None:
    column = conversations([["user", "assistant"], []])
    assert drop_front(column, np.zeros(2, dtype=np.int32)) is column


def test_a_conversation_cannot_lose_more_than_it_has() -> None:
    column = conversations([["user"], ["system", "user"]])
    with pytest.raises(ValueError, match="conversation 1 has 2 turns with those of the system, and is to lose 2 others"):
        drop_front(column, np.array([0, 2], dtype=np.int32))


def test_another_role_is_no_role() -> None:
    with pytest.raises(ValueError, match="the role 'tool', expected one of system, user, assistant"):
        role_codes(pa.array(["user", "tool"]))


def test_characters_are_counted_without_a_tokenizer() -> None:
    assert counter(None)(pl.Series(["abc", "语料", "", None, "😀"])).tolist() == [3, 2, 0, 0, 1]


def saved(path: Path, **more: Any) -> Path:
    """A tokenizer that knows three words and tells words apart at white space."""
    vocabulary = {"[UNK]": 0, "one": 1, "two": 2, "[CLS]": 3}
    made = {
        "version": "1.0", "truncation": None, "padding": None, "added_tokens": [], "normalizer": None,
        "pre_tokenizer": {"type": "Whitespace"},
        "post_processor": {
            "type": "TemplateProcessing", "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 0}}],
            "single": [{"SpecialToken": {"id": "[CLS]", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}],
            "special_tokens": {"[CLS]": {"id": "[CLS]", "ids": [3], "tokens": ["[CLS]"]}},
        },
        "decoder": None, "model": {"type": "WordLevel", "vocab": vocabulary, "unk_token": "[UNK]"}, **more,
    }  # fmt: skip
    path.write_text(json.dumps(made), encoding="utf-8")
    return path


TEXTS = pl.Series(["one two", "", None, "one, three!", " ".join(["one"] * 700)])
COUNTS = [2, 0, 0, 4, 700]


def test_tokens_are_counted_without_special_ones(tmp_path: Path) -> None:
    file = saved(tmp_path / "tokenizer.json")
    assert counter(file)(TEXTS).tolist() == counter(tmp_path)(TEXTS).tolist() == COUNTS
    assert counter(file)(TEXTS).dtype == np.int64
    assert counter(file)(TEXTS.slice(0, 0)).tolist() == []


def test_truncation_and_padding_in_the_file_do_not_count(tmp_path: Path) -> None:
    limit = {"direction": "Right", "max_length": 8, "strategy": "LongestFirst", "stride": 0}
    pad = {"strategy": {"Fixed": 16}, "direction": "Right", "pad_to_multiple_of": None, "pad_id": 0, "pad_type_id": 0, "pad_token": "[UNK]"}
    assert counter(saved(tmp_path / "t.json", truncation=limit, padding=pad))(TEXTS).tolist() == COUNTS


@pytest.mark.parametrize("size", [1, 7, 20, 1 << 20])
def test_batches_change_no_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: int) -> None:
    monkeypatch.setattr(budget, "_BATCH_BYTES", size)
    assert counter(saved(tmp_path / "tokenizer.json"))(pl.concat([TEXTS, TEXTS])).tolist() == COUNTS * 2


def test_no_tokenizer_there(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"there is no file .*absent\.json"):
        counter(tmp_path / "absent.json")
    with pytest.raises(DataError, match=r"holds no tokenizer\.json"):
        counter(tmp_path)
    with pytest.raises(DataError, match=r"holds no tokenizer\.json"):
        fingerprint(tmp_path)
    (tmp_path / "tokenizer.json").mkdir()
    with pytest.raises(DataError, match="cannot be read"):
        counter(tmp_path)


@pytest.mark.parametrize("content", [b"", b"no JSON", b"\xff\xfe", b"[]", b"{}", b'{"model": {"type": "BPE"}}'])
def test_a_broken_tokenizer_is_the_users_business(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "tokenizer.json").write_bytes(content)
    with pytest.raises(DataError, match="is no tokenizer that the tokenizers library reads"):
        counter(tmp_path)


def test_the_fingerprint_is_that_of_the_file(tmp_path: Path) -> None:
    file = saved(tmp_path / "tokenizer.json")
    assert fingerprint(file) == fingerprint(tmp_path) == sha256(file.read_bytes()).hexdigest()
