"""What differs between two texts, for people."""

from __future__ import annotations

import re
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from corpus.text.difference import difference


@pytest.mark.parametrize(
    ("one", "other", "said"),
    [
        ("", "", ""),
        ("a  b\n", "a b", ""),
        ("the red fox", "the blue fox", "the [-red-]{+blue+} fox"),
        ("学吉他手指疼正常吗", "学钢琴手指疼正常吗", "学[-吉他-]{+钢琴+}手指疼正常吗"),
        ("2023年", "2024年", "[-2023-]{+2024+}年"),
        ("one", "one two", "one{+ two+}"),
        ("one two", "", "[-one two-]"),
    ],
)
def test_examples(one: str, other: str, said: str) -> None:
    assert difference(one, other) == said


def test_only_the_surroundings_are_shown() -> None:
    words = [f"w{chr(97 + i % 26)}{chr(97 + i // 26)}" for i in range(200)]
    other = [*words[:100], "x", *words[101:]]
    said = difference(" ".join(words), " ".join(other), around=4)
    assert said == f"…{words[98]} {words[99]} [-{words[100]}-]{{+x+}} {words[101]} {words[102]}…"


def test_it_is_short_and_takes_no_time() -> None:
    one, other = "甲乙丙丁" * 200_000, "甲丙乙丁" * 200_000
    started = time.process_time()
    assert len(difference(one, other, most=200)) <= 200
    assert time.process_time() - started < 20


@given(st.text(alphabet="ab 甲乙1", max_size=40), st.text(alphabet="ab 甲乙1", max_size=40))
def test_both_texts_can_be_read_from_it(one: str, other: str) -> None:
    said = difference(one, other, around=100, most=10_000)
    if not said:
        assert one.split() == other.split()
        return
    first = re.sub(r"\{\+.*?\+\}", "", said).replace("[-", "").replace("-]", "")
    second = re.sub(r"\[-.*?-\]", "", said).replace("{+", "").replace("+}", "")
    assert (first, second) == (re.sub(r"\s+", " ", one.strip()), re.sub(r"\s+", " ", other.strip()))
