"""Folding: what it forgets, and that no two divisions of the same characters fold alike."""

from __future__ import annotations

import numpy as np
import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st

from corpus.text.folding import folded
from corpus.text.marks import utf8


def fold(*texts: str, bare: bool = False) -> list[bytes]:
    """The folded bytes of each text, without its head."""
    ends, data = folded(utf8(pl.Series(texts, dtype=pl.String)), np.full(len(texts), 7, dtype=np.uint8), bare=bare)
    starts = [0, *ends.tolist()]
    pieces = [bytes(data[a:b]) for a, b in zip(starts, ends.tolist(), strict=False)]
    assert all(p[0] == 7 for p in pieces)
    return [p[1:] for p in pieces]


def test_case_white_space_and_controls_are_forgotten_and_nothing_else() -> None:
    assert fold("What  is\u3000THIS?\r\n", "ÄÖ Ω Я", "中 文，。", "\x00\x1f\u00a0\u2028", "") == [
        b"whatisthis?", "äöωя".encode(), "中文，。".encode(), b"", b"",
    ]  # fmt: skip
    assert fold("𐐀 😀\u200b") == ["𐐨😀\u200b".encode()]


def test_questions_are_compared_without_what_is_not_seen() -> None:
    assert fold("Ｗｈａｔ\u200b is\u00ad “this”\u202e？", "what is this", bare=True) == [b"whatisthis"] * 2
    assert fold("1 + 1 = 2", "👩\u200d🌾", bare=True) == [b"1+1=2", "👩🌾".encode()]


@given(st.lists(st.text(max_size=20), max_size=5))
@settings(max_examples=200, deadline=None)
def test_any_text_folds_to_utf8_and_folding_twice_is_folding_once(texts: list[str]) -> None:
    once = fold(*texts)
    assert fold(*(t.decode() for t in once)) == once
    for before, after in zip(texts, once, strict=True):
        assert len(after) <= len(before.encode())
        plain = "".join(c for c in before if c.isascii() and c.isalnum())
        assert fold(plain) == [plain.lower().encode()]
