"""Marks: the bits of characters, and the sequences that a compiled kernel finds, against plain implementations."""

from __future__ import annotations

import re
import unicodedata

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from corpus.text import characters as c
from corpus.text.marks import ADDRESS, EDGE, REPEAT, RUN, TRAILING, marks
from corpus.text.rules import Rule, clean
from corpus.text.settings import TextSettings

TABLE = c.table()


def bits(text: str) -> int:
    """The marks of one text."""
    return int(marks(pl.Series([text], dtype=pl.String))[0])


@pytest.mark.parametrize(
    ("characters", "bit"),
    [
        ("中龥㐀豈々〇𠀀", c.HAN), ("あアｱー", c.KANA), ("한ᄒㄱ", c.HANGUL), ("aZéßＡ", c.LATIN), ("яαאعกঅ", c.LETTER), ("09１٣", c.DIGIT),
        (" \t\u3000\u00a0", c.BLANK), ("\u3000\u00a0\u2028\x85", c.ODD_BLANK), ("\u200b\ufeff\u00ad\u202e", c.INVISIBLE), ("\x00\x1f\x7f\x9f", c.CONTROL),
        ("Ａ９ｚ", c.WIDE), ("，.。“)", c.PUNCTUATION), ("+€😀°", c.SYMBOL), ("éÃœŒ‚‡", c.ACCENTED), ("\u0301\uf900\u2126", c.UNNORMAL), (":：", c.COLON),
        ("\ufffd", c.REPLACEMENT),
    ],
)  # fmt: skip
def test_bits_of_characters(characters: str, bit: int) -> None:
    assert [ch for ch in characters if not TABLE[ord(ch)] & bit] == []


def test_what_is_common_in_clean_text_has_no_bit_that_costs_time() -> None:
    for ch in "aZ09 ,.!?中文，。！？：；“”‘’《》（）、…—-\n":
        assert not TABLE[ord(ch)] & (c.CONTROL | c.INVISIBLE | c.WIDE | c.UNNORMAL | c.ACCENTED | c.ODD_BLANK | c.CR | c.REPLACEMENT), ch


def test_every_character_that_is_not_in_nfc_is_marked() -> None:
    assert [code for code in range(0x30000) if not TABLE[code] & c.UNNORMAL and not unicodedata.is_normalized("NFC", chr(code))] == []


_TEXT = st.text(st.sampled_from(list("ab /:.!！\n\t\u3000\u00a0中-")), max_size=14) | st.text(max_size=8)


@given(st.lists(_TEXT | st.none(), max_size=5))
@settings(max_examples=400, deadline=None)
def test_marks_are_those_of_a_plain_implementation(texts: list[str | None]) -> None:
    found = marks(pl.Series(texts, dtype=pl.String))
    white = c.BLANK | c.LINE_FEED | c.CR | c.ODD_BLANK
    sequences = RUN | EDGE | ADDRESS | REPEAT | TRAILING
    for text, mark in zip(texts, found.tolist(), strict=True):
        every = [int(TABLE[ord(ch)]) for ch in text or ""]
        assert mark & ~sequences == int(np.bitwise_or.reduce(np.array(every, dtype=np.uint32))) if every else mark == 0
        if not text:
            continue
        blank = "[" + "".join(re.escape(ch) for ch in set(text) if TABLE[ord(ch)] & c.BLANK) + "]"
        other = [bool(b & white) for b in every]
        assert bool(mark & EDGE) == (other[0] or other[-1])
        assert bool(mark & ADDRESS) == ("://" in text)
        signs = [ch if TABLE[ord(ch)] & (c.PUNCTUATION | c.SYMBOL) else None for ch in text]
        assert bool(mark & REPEAT) == any(s and signs[i : i + 4] == [s] * 4 for i, s in enumerate(signs))
        if blank != "[]":
            run = any(re.search(rf"[^\s\x85]{blank}*{blank}{{2}}", line) for line in text.split("\n"))
            assert bool(mark & RUN) or not run


def test_columns_are_read_where_they_begin_and_nulls_have_no_bits() -> None:
    whole = pl.Series(["x：", None, "", "中 文", "a\r\nb"], dtype=pl.String)
    assert marks(whole)[1:3].tolist() == [0, 0]
    assert marks(whole.slice(3, 2)).tolist() == marks(whole)[3:].tolist()
    assert marks(pl.Series([], dtype=pl.String)).tolist() == []


def test_a_rule_sees_only_texts_with_its_marks_and_the_callers_column_stays() -> None:
    seen: list[str] = []

    def shout(texts: pl.Series, settings: TextSettings) -> pl.Series:
        seen.extend(texts.to_list())
        return texts.str.to_uppercase()

    column = pl.Series(["a1", "b", None, "c2", "3"], dtype=pl.String)
    rule = Rule("shout", "", shout, c.DIGIT)
    after, changed, now = clean(column, [rule], TextSettings())
    assert seen == ["a1", "c2", "3"]
    assert after.to_list() == ["A1", "b", None, "C2", "3"]
    assert changed["shout"].tolist() == [0, 3]
    assert now.tolist() == marks(after).tolist()
    assert column.to_list() == ["a1", "b", None, "c2", "3"]
    off = Rule("off", "", shout, wanted=lambda s: False)
    assert clean(column, [off], TextSettings())[1]["off"].tolist() == []
