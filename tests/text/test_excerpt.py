"""Answers end at a sentence; prompts name the article."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from corpus.text.excerpt import lead, question


@pytest.mark.parametrize(
    ("text", "most", "expected"),
    [
        ("茶是饮料。它用叶子制成。", 100, "茶是饮料。它用叶子制成。"),
        ("茶是饮料。它用叶子制成。", 11, "茶是饮料。"),
        ("茶是饮料。它用叶子制成。", 12, "茶是饮料。它用叶子制成。"),
        ("茶是饮料。它用叶子制成。", 4, ""),
        ("他说：“我来了。我要走。”然后走了。又来", 17, "他说：“我来了。我要走。”"),
        ("他说：“我来了。我要走。”然后走了。又来", 18, "他说：“我来了。我要走。”然后走了。"),
        ("他问：“好吗？”她点头。", 8, "他问：“好吗？”"),
        ("水（化学式H₂O。无色）是液体。冰", 15, ""),
        ("很多……还有别的。完", 9, "很多……还有别的。"),
        ("第一段。\n\n## 历史？\n\n没有写完", 100, "第一段。"),
        ("步骤如下：\n- 先洗\n- 再切", 100, ""),
        ("Dr. J. R. Smith paid 3.50 dollars. He left.", 40, "Dr. J. R. Smith paid 3.50 dollars."),
        ("It is in the U.S. Army now. Next one.", 30, "It is in the U.S. Army now."),
        ("He works at Yahoo! and likes it. Good.", 34, "He works at Yahoo! and likes it."),
        ('She said "Stop!" He did. Then', 24, 'She said "Stop!" He did.'),
        ("One (a part. Not closed) of it. Two. Three", 36, "One (a part. Not closed) of it. Two."),
        ("Made by Acme Inc.\n\nMore text follows. And", 30, "Made by Acme Inc."),
        ("Do this:\n1. First, wash it.\n2. Then cut", 38, "Do this:\n1. First, wash it."),
        ("e.g. this one, i.e. that one. End", 30, "e.g. this one, i.e. that one."),
        ("Code:\n```\na. B\n```\nIt works. Ok", 29, "Code:\n```\na. B\n```\nIt works."),
        ("  Leading. Space", 20, "Leading."),
        ("好吗?我不知道。", 4, "好吗?"),
        ("", 10, ""),
        ("It has 12. Then", 12, "It has 12."),
        ("No end at all", 100, ""),
    ],
)
def test_lead(text: str, most: int, expected: str) -> None:
    assert lead(text, most) == expected


@given(st.text(alphabet="ab AB文。！?.…“”（）()\n#-`1\"'", max_size=300), st.integers(0, 300))
def test_lead_is_a_beginning_within_the_limit(text: str, most: int) -> None:
    found = lead(text, most)
    assert len(found) <= most
    assert text.lstrip().startswith(found)
    assert found == "" or found.rstrip("）)]］】」』”’》〕\"'")[-1] in "。！？.!?…"
    assert lead(found, most) == found


@pytest.mark.parametrize("unit", [".", "“", "（a。", "```", "…", "a. b ", ")"])
def test_lead_is_linear(unit: str) -> None:
    start = time.process_time()
    lead(unit * (500_000 // len(unit)), 10**6)
    assert time.process_time() - start < 3


def test_questions() -> None:
    chinese = {question("苏州园林", n) for n in range(100)}
    english = {question("Sourdough", n) for n in range(100)}
    assert len(chinese) >= 20
    assert len(english) >= 20
    assert all("苏州园林" in q for q in chinese)
    assert all("Sourdough" in q for q in english)
    assert question("ASCII", 3, chinese=True) == question("水", 3).replace("水", "ASCII")
    assert question("{}", -1) == question("{}", 23)
    # The same wordings in the other script, and none twice.
    traditional = {question("蘇州園林", n, traditional=True) for n in range(100)}
    assert len(traditional) == len(chinese)
    assert "請介紹一下蘇州園林。" in traditional
