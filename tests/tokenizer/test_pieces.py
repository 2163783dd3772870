"""The compiled splitter is the library's regular expression."""

from __future__ import annotations

import unicodedata

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Regex, pre_tokenizers

from corpus.text.marks import utf8
from corpus.tokenizer.pattern import HAN, LETTERS, NUMBERS, PATTERN
from corpus.tokenizer.pieces import _ASSIGNED, BLANK, BREAK, IDEOGRAPH, LETTER, NUMBER, SIGN, classes, split
from tests.tokenizer.conftest import ALPHABET

_LIBRARY = pre_tokenizers.Split(Regex(PATTERN), "isolated")


def pieces(texts: list[str]) -> list[list[str]]:
    offsets, data = utf8(pl.Series(texts, dtype=pl.String))
    ends, counts = split(offsets, data)
    whole, out = bytes(data), []
    for i in range(len(texts)):
        at, row = int(offsets[i]), []
        for k in range(counts[i], counts[i + 1]):
            row.append(whole[at : ends[k]].decode())
            at = int(ends[k])
        out.append(row)
    return out


def library(text: str) -> list[str]:
    return [piece for piece, _ in _LIBRARY.pre_tokenize_str(text)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Don't we'll 'tis rock'n'roll", ["Don", "'t", " we", "'ll", " '", "tis", " rock", "'n", "'roll"]),
        ("我们，你们", ["我们", "，你们"]),
        ("用 Python 编程", ["用", " Python", " 编程"]),
        ("1234567 in 2024", ["123", "456", "7", " in", " 202", "4"]),
        ("if x:\n    return  1\n\n\n", ["if", " x", ":\n", "   ", " return", " ", " 1", "\n\n\n"]),
        ("中" * 33, ["中" * 32, "中"]),
        ("=" * 65 + "\n", ["=" * 64, "=\n"]),
        ("a" * 65, ["a" * 64, "a"]),
        ("  \n  \r\n x", ["  \n  \r\n", " x"]),
        ("三〇年代々", ["三〇年代々"]),
        ("e\u0301te\u0301", ["e\u0301te\u0301"]),
        ("", []),
    ],
)
def test_pieces_of_known_texts(text: str, expected: list[str]) -> None:
    assert pieces([text])[0] == expected
    assert library(text) == expected


@settings(max_examples=600)
@given(st.lists(st.one_of(st.text(), st.lists(st.sampled_from(ALPHABET), max_size=40).map("".join)), min_size=1, max_size=5))
def test_pieces_are_the_librarys(texts: list[str]) -> None:
    assert pieces(texts) == [library(text) for text in texts]


def test_pieces_join_to_the_text() -> None:
    texts = ["".join(np.random.default_rng(i).choice(ALPHABET, 60)) for i in range(50)]
    assert ["".join(row) for row in pieces(texts)] == texts


def test_a_slice_of_a_column_is_split_like_a_copy() -> None:
    column = pl.Series(["first text", "中文 second", "third"])
    offsets, data = utf8(column[1:])
    ends, _ = split(offsets, data)
    assert bytes(data)[offsets[0] : ends[0]].decode() == "中文"
    assert ends[-1] == offsets[-1]


def test_classes_are_disjoint_and_known() -> None:
    table = classes()
    assert [table[ord(c)] for c in "a中〇1 \n,"] == [LETTER, IDEOGRAPH, IDEOGRAPH, NUMBER, BLANK, BREAK, SIGN]
    assert table[ord("々")] == IDEOGRAPH  # a letter modifier by category
    assert table[0x301] == LETTER


def test_python_and_the_library_agree_on_what_both_know() -> None:
    """Guards against a table shifted by one: the classes of characters that are old enough for every version of Unicode."""
    table = classes()
    for code in [*range(0x250), *range(0x4E00, 0x9FA6), *range(0xAC00, 0xD7A4)]:
        kind = unicodedata.category(chr(code))[0]
        expected = {"L": LETTER, "M": LETTER, "N": NUMBER}.get(kind)
        if expected is not None and table[code] != IDEOGRAPH:
            assert table[code] == expected, hex(code)


@pytest.mark.slow
def test_nothing_beyond_the_table_has_a_class() -> None:
    inside = {code for r in _ASSIGNED for code in (r.start, r.stop)}
    text = "".join(chr(c) for r in (range(0x34000, 0xE0000), range(0xE0200, 0x110000)) for c in r)
    assert inside
    for pattern in (LETTERS, HAN, NUMBERS, r"\s"):
        assert len(pre_tokenizers.Split(Regex(pattern), "isolated").pre_tokenize_str(text)) == 1
