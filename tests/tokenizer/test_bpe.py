"""Byte-level BPE: the library's merges where they can be the same, lossless everywhere, and whole characters."""

from __future__ import annotations

import json
from collections.abc import Callable

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, models, pre_tokenizers, trainers

from corpus.errors import DataError, UsageError
from corpus.splits.templates import TEMPLATES
from corpus.tokenizer.bpe import train
from corpus.tokenizer.pattern import pre_tokenizer
from corpus.tokenizer.spec import TokenizerSpec
from corpus.tokenizer.specials import Specials, specials
from corpus.tokenizer.spelling import unspelled
from tests.tokenizer.conftest import ALPHABET

CHATML = specials(TEMPLATES["chatml"])


@pytest.fixture(scope="module")
def trained(sentences: Callable[[int, int], list[str]], columns: Callable[[list[str]], list[pl.Series]]) -> Tokenizer:
    return train(columns(sentences(300, 1)), TokenizerSpec(vocab_size=1200), CHATML).tokenizer


def test_on_text_of_one_byte_characters_the_merges_are_the_librarys(
    sentences: Callable[[int, int], list[str]], columns: Callable[[list[str]], list[pl.Series]]
) -> None:
    texts = [text.encode("ascii", "ignore").decode() for text in sentences(200, 2)]
    library = Tokenizer(models.BPE())
    library.pre_tokenizer = pre_tokenizer()
    given_ = trainers.BpeTrainer(
        vocab_size=800, show_progress=False, special_tokens=list(CHATML.special), min_frequency=2,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
    )  # fmt: skip
    library.train_from_iterator(texts, given_)
    expected = json.loads(library.to_str())["model"]
    found = json.loads(train(columns(texts), TokenizerSpec(vocab_size=800), CHATML).tokenizer.to_str())["model"]
    assert found["merges"] == expected["merges"]
    assert found["vocab"] == expected["vocab"]
    assert len(found["vocab"]) == 800


def test_tokens_are_whole_characters_or_a_part_of_one(trained: Tokenizer) -> None:
    parts = 0
    for token, i in trained.get_vocab(with_added_tokens=True).items():
        if i < len(CHATML.special):
            continue
        data = unspelled(token)
        assert data is not None
        whole = data.decode("utf-8", "replace")
        if "\ufffd" in whole:
            parts += 1
            assert len(data) < 4
            starts = [b for b in data if b & 0xC0 != 0x80]
            assert not starts or (data[0] == starts[0] and len(starts) == 1), data
    assert parts >= 128  # the bytes themselves


def test_vocabulary_is_as_large_as_asked_and_ids_are_dense(trained: Tokenizer) -> None:
    vocabulary = trained.get_vocab(with_added_tokens=True)
    assert sorted(vocabulary.values()) == list(range(1200))
    assert [trained.id_to_token(i) for i in range(len(CHATML.special))] == list(CHATML.special)


@settings(max_examples=300)
@given(text=st.one_of(st.text(), st.lists(st.sampled_from(ALPHABET), max_size=40).map("".join)))
def test_everything_comes_back(trained: Tokenizer, text: str) -> None:
    trained.encode_special_tokens = True
    encoded = trained.encode(text, add_special_tokens=False)
    assert trained.decode(encoded.ids, skip_special_tokens=False) == text
    assert not set(encoded.ids) & set(range(len(CHATML.special)))


@settings(max_examples=200)
@given(text=st.one_of(st.text(), st.lists(st.sampled_from(ALPHABET), max_size=40).map("".join)))
def test_offsets_cover_the_text_in_order(trained: Tokenizer, text: str) -> None:
    """Every character belongs to at least one token; a token that is part of a character has that character."""
    trained.encode_special_tokens = True
    offsets = trained.encode(text, add_special_tokens=False).offsets
    reached = 0
    for start, end in offsets:
        assert reached - 1 <= start <= reached
        assert start < end
        reached = max(reached, end)
    assert reached == len(text)


def test_offsets_of_a_character_of_several_tokens(trained: Tokenizer) -> None:
    encoded = trained.encode("a𰻝b", add_special_tokens=False)
    assert len(encoded.ids) == 6
    assert encoded.offsets == [(0, 1), (1, 2), (1, 2), (1, 2), (1, 2), (2, 3)]


def test_training_is_deterministic_and_knows_no_order(
    sentences: Callable[[int, int], list[str]], columns: Callable[[list[str]], list[pl.Series]]
) -> None:
    texts = sentences(120, 3)
    first = train(columns(texts), TokenizerSpec(vocab_size=800), CHATML).tokenizer.to_str()
    assert train(columns(texts), TokenizerSpec(vocab_size=800), CHATML).tokenizer.to_str() == first
    assert train([pl.Series(texts[::-1])], TokenizerSpec(vocab_size=800), CHATML).tokenizer.to_str() == first


def test_text_that_has_no_more_gives_fewer_tokens() -> None:
    found = train([pl.Series(["ab ab ab"])], TokenizerSpec(vocab_size=5000), CHATML)
    assert found.facts["vocab_size"] == found.tokenizer.get_vocab_size() == len(CHATML.special) + 256 + 2


def test_what_occurs_once_is_not_learnt() -> None:
    found = train([pl.Series(["abcdefg"])], TokenizerSpec(vocab_size=5000), CHATML)
    assert found.facts["merges"] == 0


def test_a_frequent_character_is_one_token_and_a_rare_one_is_its_bytes() -> None:
    found = train([pl.Series(["龘" * 30 + "x" + "鱻"])], TokenizerSpec(vocab_size=5000), CHATML).tokenizer
    assert len(found.encode("龘", add_special_tokens=False).ids) == 1
    assert len(found.encode("鱻", add_special_tokens=False).ids) == 3


@pytest.mark.parametrize("texts", [[], [pl.Series([], dtype=pl.String)], [pl.Series(["", ""])]])
def test_no_text(texts: list[pl.Series]) -> None:
    with pytest.raises(DataError, match="no text"):
        train(texts, TokenizerSpec(), CHATML)


def test_no_room_for_the_bytes() -> None:
    many = Specials("<u>", "<b>", "<e>", "<p>", tuple(f"<{i}>" for i in range(50)))
    with pytest.raises(DataError, match="ask for 310 at least"):
        train([pl.Series(["text"])], TokenizerSpec(vocab_size=300), many)


def test_symbols_are_one_token_wherever_they_are() -> None:
    given_ = specials(TEMPLATES["human-assistant"], ("\n", "新冠病毒", "hello"))
    found = train([pl.Series(["hello hello 新冠病毒\n\n"] * 20)], TokenizerSpec(vocab_size=400), given_).tokenizer
    for symbol in given_.symbols:
        assert len(found.encode(symbol, add_special_tokens=False).ids) == 1
        assert found.encode(f"a{symbol}b", add_special_tokens=False).ids[1:-1] == [found.token_to_id(symbol)]
    assert found.decode(found.encode("a\n\nhello新冠病毒").ids) == "a\n\nhello新冠病毒"
    assert len(set(found.get_vocab().values())) == found.get_vocab_size()


def test_of_equally_frequent_merges_those_within_characters_come_first() -> None:
    text = "".join(map(chr, range(0xE000, 0xE100))) * 2
    found = train([pl.Series([text])], TokenizerSpec(vocab_size=400), CHATML).tokenizer
    assert found.decode(found.encode(text, add_special_tokens=False).ids) == text


@pytest.mark.parametrize(
    ("symbol", "says"),
    [
        ("</s>", "the special token '</s>'"), ("a</s>", "holds, the special token"), ("a<", "ends as"), ("caf\u00e9", "come back as others"),
        ("\u0120", "come back as others"),
    ],
)  # fmt: skip
def test_symbols_that_hide_special_tokens_or_bytes_are_refused(symbol: str, says: str) -> None:
    with pytest.raises(UsageError, match=says):
        train([pl.Series(["text"])], TokenizerSpec(vocab_size=400), specials(TEMPLATES["plain"], (symbol,)))


@pytest.mark.parametrize("symbols", [("<", "</", "</s"), ("a", "b", "ab"), ("the", "\x00", "\u4f60\u597d", "\u0301", "x" * 5000)])
def test_symbols_that_are_bytes_or_learnt_texts_leave_no_holes(symbols: tuple[str, ...]) -> None:
    texts = ["the ab \u4f60\u597d\u4e16\u754c the\x00 a\u0301 </s> <b> then " * 9]
    found = train([pl.Series(texts)], TokenizerSpec(vocab_size=300), specials(TEMPLATES["plain"], symbols)).tokenizer
    assert sorted(found.get_vocab().values()) == list(range(found.get_vocab_size()))
    assert found.get_vocab_size() <= 300
    assert found.encode("a</s>").ids[-1] == found.token_to_id("</s>")
    found.encode_special_tokens = True
    assert found.decode(found.encode(texts[0]).ids, skip_special_tokens=False) == texts[0]
