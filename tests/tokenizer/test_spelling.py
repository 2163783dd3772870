"""How vocabularies spell bytes."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from corpus.tokenizer.spelling import FALLBACKS, alphabet, fallback, spelled, unspelled


def test_the_alphabet_is_the_library_s() -> None:
    from tokenizers.pre_tokenizers import ByteLevel

    assert sorted(alphabet()) == sorted(ByteLevel.alphabet())
    assert alphabet()[ord("a")] == "a"
    assert alphabet()[ord(" ")] == "Ġ"


@given(st.binary())
def test_byte_level_spelling_comes_back(token: bytes) -> None:
    assert unspelled(spelled(token)) == token


def test_what_no_byte_spells_is_none() -> None:
    assert unspelled("a b") is None
    assert unspelled("中") is None


def test_bytes_that_are_fallen_back_to_have_digits_of_either_case() -> None:
    assert [fallback(name) for name in FALLBACKS] == list(range(256))
    assert fallback("<0xe4>") == 0xE4
    assert fallback("<0xE4>x") is None
    assert fallback("<0x4>") is None
