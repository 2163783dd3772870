"""What is a unit, against plain Python for every character and for arbitrary texts."""

from __future__ import annotations

import unicodedata

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from corpus.dedup.shingles import shingles
from corpus.dedup.units import CLASS_SHIFT, SEVERAL, Unit, table
from tests.dedup.reference import column_of, row_of, same_structure, units

FAMILY = "\U0001f468\u200d\U0001f469\u200d\U0001f467"
ALPHABET = (
    "我他打了說说體体髮发后後一，。！？、；：“”‘’（）《》…—～·ｈＨｅ１２，．！＇　㍿＊／－　ﾊﾞｶﾞ ｰ한국어조선ᄒ\u1161\u11abカかナー・々〇"
    "aAbBcCzZéÉe\u0301ßẞŉǰΐﬁﬀﬃİıſÅKΩΣσςЯяёЁא\u05b8بـ\u064bไทยที่นี่हिन्दीการ012٣४½²Ⅷ①"
    " \t\n\r\x0b\x0c\x1c\x1f\x85\xa0\u1680\u2003\u2028\u202f\u205f\u3000\u200b\u200d\ufeff\xad\u034f\x00\x07\x7f"
    "'’\"`~!@#$%^&*()-_=+[]{}\\|;:,.<>/?+=×÷≠→😀❤\ufe0f👍\U0001f3fd\u200d🇨🇳\u20e3\ufffd\ue000\U00010400\U0001e900\U00020000\U0002f800\U0010ffff"
)
TEXTS = st.one_of(
    st.text(max_size=40), st.text(st.sampled_from(ALPHABET), max_size=40), st.text(st.sampled_from("aé一1'’ 。+ß\u0e35"), max_size=30)
)


def same(one: str, other: str, unit: Unit = Unit.MIXED) -> bool:
    """Whether two texts have the same units in the same order."""
    found = shingles(column_of([one, other]), unit)
    return found.whole[0].tolist() == found.whole[1].tolist() and row_of(found, 0) == row_of(found, 1)


def count(text: str, unit: Unit = Unit.MIXED) -> int:
    """Units of a text that has some."""
    found = shingles(column_of([text]), unit, 1)
    return int(found.bounds[1])


@pytest.mark.parametrize("unit", Unit)
def test_every_character(unit: Unit) -> None:
    # All that Unicode has a name for, and of the rest one in a thousand.
    codes = [c for c in range(0x110000) if not 0xD800 <= c < 0xE000 and (c % 1009 == 0 or unicodedata.category(chr(c)) not in ("Cn", "Co"))]
    assert len(codes) > 140_000
    texts = [f"a{char}a 1{char}1{char}" for char in map(chr, codes)]
    found = shingles(column_of(texts), unit, 1)
    same_structure([row_of(found, i) for i in range(len(texts))], [units(text, unit) for text in texts])


@pytest.mark.parametrize("unit", Unit)
def test_the_tables_hold_whole_characters(unit: Unit) -> None:
    entries, several = table(unit)
    kinds = entries >> np.uint32(CLASS_SHIFT)
    assert len(entries) == 0x110000
    assert kinds.max() == SEVERAL
    assert (entries[kinds == SEVERAL] & np.uint32(0xFFFFFF)).max() == len(several) - 1
    assert ((several >> np.uint32(CLASS_SHIFT)) < SEVERAL).all()  # what one character becomes is not to be folded again
    assert not entries.flags.writeable
    assert not several.flags.writeable


@settings(max_examples=150, deadline=None)
@given(st.lists(TEXTS, min_size=1, max_size=8), st.sampled_from(Unit))
def test_any_text(texts: list[str], unit: Unit) -> None:
    found = shingles(column_of(texts), unit, 1)
    expected = [units(text, unit) or units(text, unit, signs=True) or [None] for text in texts]
    same_structure([row_of(found, i) for i in range(len(texts))], expected)


@pytest.mark.parametrize(
    ("text", "many"),
    [
        ("我打了他", 4),
        ("Hello world", 2),
        ("hello", 1),
        ("2024年12月31日", 6),
        ("abc123def", 3),
        ("GPT4模型", 4),
        ("don't", 1),
        ("well-known", 3),
        ("3*4", 3),
        ("C++", 3),
        ("a@b.cn", 4),
        ("你好，世界！", 4),
        ("カタカナ", 4),
        ("한국어", 3),
        ("Привет, мир", 2),
        ("ภาษาไทย", 1),
        ("ที่นี่", 1),
        ("हिन्दी", 1),
        ("cafe\u0301", 1),
        ("👍👍", 2),
        (FAMILY, 3),
        ("❤\ufe0f", 1),
        ("1\ufe0f\u20e3", 2),
        ("🇨🇳", 2),
        ("𠀀𠀁", 2),
        ("straße", 1),
        ("ﬁne", 1),
        ("①②", 2),
    ],
)
def test_units_of_a_text(text: str, many: int) -> None:
    assert count(text) == many


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Ｈｅｌｌｏ，　Ｗｏｒｌｄ１２３", "hello world123"),
        ("HELLO World", "hello world"),
        ("體育運動", "体育运动"),
        ("你好，世界！", "你好 世界"),
        ("你好,世界!", "你好，世界。"),
        ("他说：“好的。”", "他说:好的"),
        ("a  b\n\nc", "a b c"),
        ("　你 好\u200b", "你好"),
        ("don’t", "don't"),
        ("Straße", "STRASSE"),
        ("ﬁne", "fine"),
        ("ﾊﾝｶｸ", "ハンカク"),
        ("❤\ufe0f", "❤"),
        ("soft\u00adware", "software"),
        (FAMILY, FAMILY.replace("\u200d", "")),
        ("ЁЛКА", "ёлка"),
    ],
)
def test_what_is_folded(one: str, other: str) -> None:
    assert same(one, other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("3*4", "3/4"),
        ("3+4", "3-4"),
        ("1 2", "12"),
        ("1.2", "12"),
        ("ab", "a b"),
        ("Hello", "Hallo"),
        ("我打了他", "他打了我"),
        ("カ", "か"),
        ("e\u0301t", "et"),
        ("ที่", "ที"),
        ("हिन्दी", "हिन्द"),
        ("😀", "😁"),
        ("👍\U0001f3fb", "👍\U0001f3fd"),
        ("！", "？"),
        ("…", ""),
        ("½", "1/2"),
        ("C", "C++"),
        ("a\ue000", "a"),
    ],
)
def test_what_is_not_folded(one: str, other: str) -> None:
    assert not same(one, other)


def test_char_folds_case_and_white_space_alone() -> None:
    assert same("A b\u3000\x1cC\u2028", "abc", Unit.CHAR)
    assert same("ΐ ŉ ﬃ", "ΐŉﬃ".casefold(), Unit.CHAR)
    assert same("İ", "i\u0307", Unit.CHAR)
    for one, other in [("體", "体"), ("Ａ", "A"), ("a.", "a"), ("don't", "don’t"), ("a\u200b", "a"), ("12", "21"), ("𐐀b", "𐐩b")]:
        assert not same(one, other, Unit.CHAR), (one, other)
    assert same("𐐀b", "𐐨B", Unit.CHAR)  # a case beyond the first plane
