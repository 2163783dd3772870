"""Sentencepiece's two kinds: nothing lost in training or in text, and the same ids from sentencepiece and from the `tokenizers` library."""

from __future__ import annotations

import random
from functools import cache

import numpy as np
import polars as pl
import pytest
import sentencepiece
from hypothesis import given, settings
from hypothesis import strategies as st

from corpus.errors import CorpusError, DataError, UsageError
from corpus.tokenizer import spm, spm_format, spm_model
from corpus.tokenizer.spec import Kind, TokenizerSpec, Trained
from corpus.tokenizer.specials import Specials
from corpus.tokenizer.spm_seeds import seeds

KINDS = (Kind.SENTENCEPIECE_BPE, Kind.SENTENCEPIECE_UNIGRAM)
PLAIN = Specials("<|unk|>", "<|bos|>", "</s>", "<|pad|>")
RICH = Specials("<|unk|>", "<|bos|>", "</s>", "<|pad|>", ("<|im_start|>",), "\n\n", ("a b", 'x,"y', "ab", "中文"))

HUG = Specials("<|unk|>", "<|bos|>", "</s>", "<|pad|>", (), " \n\n", ("\n", "a b"))
NESTED = Specials("<|unk|>", "<|bos|>", "</s>", "<|pad|>", (), " \n\n", ("\n\n", " a ", "a"))

ODD = [
    "",
    " ",
    "   ",
    " 前后有空格 ",
    "two  spaces,\tand a tab\r\nand\n\n\n\nlines\r",
    "全角标点：“引号”，《书名》……ＡＢＣ１２３",
    "𠀀𠀁㐂 rare Han",
    "👩‍👩‍👧‍👦🏳️‍🌈 joined",
    "\ufeffBOM, \x00NUL, \ue000\uf8ff private, \u200b zero width",
    "2024年12月31日 3.14159",
    "<0x41> <|unk|> </s> <|im_start|> <s> <unk>",
    "reserved ▅ and\u3000\u00a0spaces",
    "def f(x):\n    return x  # ok\n\t\treturn",
    "aaabababab 中中文文中文",
]


def sample(seed: int = 0, rows: int = 400) -> pl.Series:
    """Text of both languages, with words that come again."""
    rng = random.Random(seed)
    zh = ["今天", "天气", "很好", "我们", "学习", "语言", "模型", "的", "，", "。", "中文", "数据", "文中", "：", "\n"]
    en = [" the", " model", " reads", " data", ",", ".", " don't", " abc", "\n\n", " learning", "    return", " 2024", " (x", " ab"]
    return pl.Series("text", ["".join(rng.choices(zh if rng.random() < 0.5 else en, k=rng.randint(1, 60))) for _ in range(rows)])


@cache
def trained(kind: Kind, vocab: int = 600, given_: Specials = RICH) -> Trained:
    text = sample()
    return spm.train([text[:150], text[150:]], TokenizerSpec(kind=kind, vocab_size=vocab), given_)


@cache
def processor(kind: Kind, given_: Specials = RICH) -> sentencepiece.SentencePieceProcessor:
    return sentencepiece.SentencePieceProcessor(model_proto=trained(kind, given_=given_).model)


def agree(kind: Kind, text: str, given_: Specials = RICH) -> None:
    """The ids of both are the same, and give the text back; each token's place is its text."""
    tokenizer = trained(kind, given_=given_).tokenizer
    tokenizer.encode_special_tokens = True
    found = tokenizer.encode(text, add_special_tokens=False)
    wanted = text.replace(spm_model.SPACE, " ")
    assert found.ids == processor(kind, given_).encode(text)
    assert tokenizer.decode(found.ids, skip_special_tokens=False) == wanted
    assert processor(kind, given_).decode(found.ids) == wanted
    assert 0 not in found.ids
    at = 0
    for i, (start, end) in zip(found.ids, found.offsets, strict=True):
        name = tokenizer.id_to_token(i)
        if name.startswith("<0x"):
            assert end == start + 1
        else:
            assert wanted[start:end] == name.replace(spm_model.SPACE, " ")
        assert at - 1 <= start <= at
        at = end
    assert at == len(text)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("text", ODD)
def test_odd_texts(kind: Kind, text: str) -> None:
    for given_ in (RICH, PLAIN, HUG, NESTED):
        agree(kind, text, given_)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("given_", [HUG, NESTED], ids=["hug", "nested"])
def test_symbols_with_spaces(kind: Kind, given_: Specials) -> None:
    """The end of a turn may be one, and is found by its name; symbols that overlap are divided alike by both."""
    tokenizer = trained(kind, given_=given_).tokenizer
    assert tokenizer.encode(" \n\n").ids == [4]
    if given_ is HUG:
        assert [tokenizer.token_to_id(text) for text in given_.plain] == [4, 5, 6]
    rng = random.Random(5)
    for _ in range(600):
        agree(kind, "".join(rng.choices("a b\n", k=rng.randint(0, 30))), given_)


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=150, deadline=None)
@given(st.text() | st.text(st.sampled_from('ab中文，。 \n\t\r▁x,"y<0x41>|im_start/𠀀ñ1'), max_size=60))
def test_any_text(kind: Kind, text: str) -> None:
    agree(kind, text)


@pytest.mark.parametrize("kind", KINDS)
def test_rows_of_text(kind: Kind) -> None:
    for text in sample(7, 100):
        agree(kind, text)
        agree(kind, text, PLAIN)
    agree(kind, "".join(sample(8, 300)))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("alphabet", ["ab", "ab ", "。\n "])
def test_texts_full_of_ties(kind: Kind, alphabet: str) -> None:
    """Where one text has many divisions that are as good, both choose the same."""
    rng = random.Random(3)
    texts = pl.Series(["".join(rng.choices(alphabet, k=rng.randint(1, 40))) for _ in range(300)])
    got = spm.train([texts], TokenizerSpec(kind=kind, vocab_size=400), PLAIN)
    run = sentencepiece.SentencePieceProcessor(model_proto=got.model)
    for _ in range(500):
        text = "".join(rng.choices(alphabet, k=rng.randint(0, 60)))
        assert got.tokenizer.encode(text).ids == run.encode(text)


@pytest.mark.parametrize("kind", KINDS)
def test_special_tokens(kind: Kind) -> None:
    got = trained(kind)
    run = processor(kind)
    assert [run.id_to_piece(i) for i in range(5)] == [got.tokenizer.id_to_token(i) for i in range(5)] == list(RICH.special)
    assert [run.unk_id(), run.bos_id(), run.eos_id(), run.pad_id()] == [0, 1, 2, 3]
    assert run.is_control(4)
    got.tokenizer.encode_special_tokens = False
    assert got.tokenizer.encode("<|im_start|>中文</s>").ids == [4, run.piece_to_id("中文"), 2]
    got.tokenizer.encode_special_tokens = True
    assert 2 not in got.tokenizer.encode("<|im_start|>中文</s>").ids


@pytest.mark.parametrize("kind", KINDS)
def test_symbols_are_one_token(kind: Kind) -> None:
    got = trained(kind)
    got.tokenizer.encode_special_tokens = True
    ids = [got.tokenizer.encode(text).ids for text in RICH.plain]
    assert ids == [[i] for i in range(5, 5 + len(RICH.plain))]
    assert got.tokenizer.encode("\t").ids == [5 + len(RICH.plain)]
    for text in ("天中文文", "xab", "abab", "文中文中"):
        inner = "中文" if "中" in text else "ab"
        assert got.tokenizer.encode(inner).ids[0] in got.tokenizer.encode(text).ids


@pytest.mark.parametrize("kind", KINDS)
def test_deterministic(kind: Kind) -> None:
    """Whatever the columns that the text comes in."""
    text = sample()
    again = spm.train(iter([text[:7], text[7:20], text[20:]]), TokenizerSpec(kind=kind, vocab_size=600), RICH)
    assert again.model == trained(kind).model
    assert again.tokenizer.to_str() == trained(kind).tokenizer.to_str()


@pytest.mark.parametrize("kind", KINDS)
def test_vocabulary_as_asked_or_what_there_is(kind: Kind) -> None:
    got = trained(kind)
    assert got.facts["vocab_size"] == got.tokenizer.get_vocab_size() == len(processor(kind)) == 600
    few = spm.train([pl.Series(["你好，你好，world"])], TokenizerSpec(kind=kind, vocab_size=5000), PLAIN)
    assert 260 < few.facts["vocab_size"] == few.tokenizer.get_vocab_size() < 320


@pytest.mark.parametrize("kind", KINDS)
def test_more_characters_than_room(kind: Kind) -> None:
    """Thousands of characters for a hundred places: the most frequent have pieces, the others bytes, none is unknown."""
    text = "".join(map(chr, range(0x4E00, 0x5E00))) + "的一是" * 5000
    got = spm.train([pl.Series([text])], TokenizerSpec(kind=kind, vocab_size=400), PLAIN)
    found = got.tokenizer.encode("的一是" + text[:500])
    assert 0 not in found.ids
    assert got.tokenizer.decode(found.ids) == "的一是" + text[:500]
    assert got.tokenizer.token_to_id("的") is not None


def test_nothing_of_a_long_line_is_left_out() -> None:
    line = "一二三四五六七八九十" * 350_000 + "the end"
    words, characters = spm.counted([pl.Series([line, "short"])])
    assert len(line.encode()) > 10_000_000
    assert characters == len(line) + 5
    assert (words["count"] * words["word"].str.len_chars()).sum() == characters
    assert words["word"].str.len_chars().max() <= 96
    got = spm.train([pl.Series([line])], TokenizerSpec(kind=Kind.SENTENCEPIECE_BPE, vocab_size=400), PLAIN)
    assert got.facts["characters_learnt"] >= 0.9995 * got.facts["characters"] == 0.9995 * len(line)


@settings(max_examples=200, deadline=None)
@given(st.lists(st.text() | st.text(st.sampled_from("ab中。 \n\r\t▁▅\x00's1　\u0301"), max_size=80), min_size=1, max_size=5))
def test_words_are_the_text(texts: list[str]) -> None:
    """All but tabs and the three characters that sentencepiece keeps for itself, in their order."""
    words = pl.Series(texts).str.extract_all(spm.WORDS)
    for text, found in zip(texts, words, strict=True):
        assert "".join(found) == "".join(char for char in text if char not in "\t\x00▁▅")


def test_counted_words() -> None:
    words, characters = spm.counted([pl.Series(["你好，世界。\n\n你好，世界。", "I don't (know)  12"])])
    assert characters == 32
    assert dict(words.iter_rows())["，世界"] == 2
    assert {"你好", "。\n\n", "。", "I", " don", "'t", " (", "know", ")", "  1", "2"} == {*words["word"]} - {"，世界"}
    assert spm.counted([])[1] == 0


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("texts", [[], [""], ["\t\t"], ["▅▁\x00"]])
def test_no_text(kind: Kind, texts: list[str]) -> None:
    with pytest.raises(CorpusError, match="no text"):
        spm.train([pl.Series(texts, dtype=pl.String)], TokenizerSpec(kind=kind), PLAIN)
    with pytest.raises(CorpusError, match="no text"):
        spm.train([], TokenizerSpec(kind=kind), PLAIN)


@pytest.mark.parametrize(
    ("vocab", "symbols", "what"),
    [
        (300, tuple(f"symbol{i}" for i in range(60)), "too small"),
        (600, ("<0x41>",), "token already"),
        (600, ("a b", "a▁b"), "token already"),
        (600, ("\0",), "NUL"),
    ],
)
def test_what_cannot_be(vocab: int, symbols: tuple[str, ...], what: str) -> None:
    with pytest.raises(UsageError, match=what):
        spm.train(
            [sample()], TokenizerSpec(kind=KINDS[0], vocab_size=vocab), Specials("<|unk|>", "<|bos|>", "</s>", "<|pad|>", symbols=symbols)
        )


def test_without_sentencepiece(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spm, "find_spec", lambda name: None)
    with pytest.raises(CorpusError, match=r"pip install -e '\.\[tokenizer\]'"):
        spm.train([sample()], TokenizerSpec(kind=KINDS[0]), PLAIN)


def test_silent(capfd: pytest.CaptureFixture[str]) -> None:
    for kind in KINDS:
        spm.train([sample(1, 50)], TokenizerSpec(kind=kind, vocab_size=5000), PLAIN)
    assert capfd.readouterr() == ("", "")


def test_the_model_is_read_and_written() -> None:
    model = trained(KINDS[0]).model
    assert model is not None
    found = spm_format.pieces(model)
    run = processor(KINDS[0])
    assert [(p.text, p.score) for p in found] == [(run.id_to_piece(i), run.get_score(i)) for i in range(len(run))]
    assert spm_format.pieces(spm_format.rewritten(model, found, "\ue000")) == found
    for broken in (b"", model[:1000], b"\x0a\xff", b"\xff" * 40, b"no model"):
        with pytest.raises(DataError, match="not a sentencepiece model"):
            spm_format.pieces(broken)


def test_the_model_tells_of_no_temporary_file() -> None:
    model = trained(KINDS[1]).model
    assert model is not None
    assert b"seeds" not in model
    assert "\ue000".encode() not in model


def test_scores_add_up_exactly() -> None:
    found = spm_format.pieces(trained(KINDS[1]).model or b"")
    scores = np.array([p.score for p in found])
    assert (scores * 8 == np.round(scores * 8)).all()
    assert all(p.score < 0 for p in found[300:])


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(st.text(st.sampled_from("ab中"), min_size=1, max_size=20), st.integers(1, 9)), min_size=1, max_size=20))
def test_seeds(rows: list[tuple[str, int]]) -> None:
    """Every substring that occurs twice, but for those that one longer one stands for."""
    words = pl.DataFrame(rows, schema={"word": pl.String, "count": pl.Int64}, orient="row").group_by("word", maintain_order=True).sum()
    counts: dict[str, int] = {}
    after: dict[str, set[str]] = {}
    for word, count in words.iter_rows():
        for start in range(len(word)):
            for end in range(start + 2, min(start + 16, len(word)) + 1):
                piece = word[start:end]
                counts[piece] = counts.get(piece, 0) + count
                after.setdefault(piece, set()).add(word[end : end + 1])
    wanted = {piece: count for piece, count in counts.items() if count > 1 and (len(after[piece]) > 1 or "" in after[piece])}
    assert dict(seeds(words, 10_000).iter_rows()) == wanted
