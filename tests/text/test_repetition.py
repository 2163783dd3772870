"""The longest repeated span against a search of all lengths, and on texts that make naive searches quadratic."""

from __future__ import annotations

import random
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from corpus.text import repetition
from corpus.text.repetition import _twice, longest_repeat, slots


def brute(text: str) -> int:
    """The longest span that begins at two positions, by trying all lengths from the longest."""
    for length in range(len(text) - 1, 0, -1):
        seen = set()
        for start in range(len(text) - length + 1):
            span = text[start : start + length]
            if span in seen:
                return length
            seen.add(span)
    return 0


@given(st.one_of(st.text(alphabet="ab", max_size=90), st.text(alphabet="abc我的，\n", max_size=90), st.text(max_size=60)))
@settings(max_examples=400, deadline=None)
def test_equals_brute_force(text: str) -> None:
    assert longest_repeat(text) == brute(text)


@pytest.mark.parametrize("seed", range(12))
def test_equals_brute_force_where_texts_are_longer_and_repeat(seed: int) -> None:
    r = random.Random(seed)
    words = ["".join(r.choice("abcdefg的是不了") for _ in range(r.randint(1, 9))) for _ in range(30)]
    text = "".join(r.choice(words) for _ in range(150))
    assert longest_repeat(text) == brute(text)


@given(st.text(alphabet="ab", max_size=70), st.integers(0, 20))
@settings(deadline=None)
def test_both_methods_agree(text: str, width: int) -> None:
    codes = np.frombuffer(text.encode("utf-32-le"), dtype=np.int32)
    longest, width = brute(text), width + 1
    found = _twice(codes, len(codes), width, slots(len(codes)))
    assert (found >= width) == (longest >= width)
    assert found <= longest


@pytest.mark.parametrize(
    ("text", "length"),
    [
        ("", 0), ("a", 0), ("ab", 0), ("aa", 1), ("哈哈哈哈", 3), ("abcabc", 3), ("今天天气好，明天天气好。", 4), ("the cat and the hat", 4),
        ("请问您好，请问您好", 4), ("😀x😀x", 2),
    ],
)  # fmt: skip
def test_examples(text: str, length: int) -> None:
    assert longest_repeat(text) == length


def test_large_texts_take_the_second_method_and_stay_exact() -> None:
    r = random.Random(5)
    text = "".join(r.choice("ab") for _ in range(60_000))
    planted = text[100:1100]
    assert longest_repeat(text + planted) >= 1000
    body = text[:1000]
    assert longest_repeat("".join(chr(0x4E00 + i % 20000) for i in range(50_000)) + body + "。" + body) == 30_000
    assert repetition.longest_repeat(body * 2) == 1000


@pytest.mark.parametrize(
    "text",
    ["a" * 1_000_000, "[" * 500_000 + "]" * 500_000, "ab" * 400_000, "a" * 300_000 + "b" + "a" * 299_999, "".join("ab"[i.bit_count() & 1] for i in range(1 << 19))],
    ids=["one letter", "brackets", "period", "two runs", "Thue-Morse"],
)  # fmt: skip
def test_hostile_texts_are_not_quadratic(text: str) -> None:
    longest_repeat("warm up")
    started = time.process_time()
    assert longest_repeat(text) > 10_000
    assert time.process_time() - started < 5
