"""The figures against straight code over the raw libraries, a row at a time."""

from __future__ import annotations

import unicodedata
from itertools import pairwise
from pathlib import Path

import jieba
import numpy as np
import polars as pl
import pytest
from sentencepiece import SentencePieceProcessor

from corpus.errors import UsageError
from corpus.tokenizer import sizes
from corpus.tokenizer.load import Loaded, load
from corpus.tokenizer.measure import Figures, Measured, measure
from corpus.tokenizer.probes import PROBES, SPECIALS
from corpus.tokenizer.sizes import sized
from corpus.tokenizer.vocabulary import SCRIPTS, Vocabulary, partial, shape
from tests.tokenizer.small import byte_level, sentencepiece

_ROWS = [
    ("wiki", "zh", "图书馆里有很多人在散步，放𠮷风筝！"),
    ("wiki", "zh", "  今天\r\n天气 3.14 fine"),
    ("chat", "en", "We are going  to the library - tomorrow, <|im_end|> isn't it?"),
    ("chat", "en", ""),
    ("chat", "other", "Привет, как дела? 日本語のカナ"),
    ("a|b", "zh", "请翻译"),
    ("a|b", None, "x▁y 🏳️‍🌈"),
]


def _frame(rows: list[tuple[str, str | None, str]]) -> pl.DataFrame:
    found = pl.DataFrame(rows, schema=["source", "language", "text"], orient="row")
    return found.with_row_index("row_id").cast({"row_id": pl.String})


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> list[Measured]:
    """A byte-level BPE, and a sentencepiece with the library's defaults."""
    root = tmp_path_factory.mktemp("measured")
    byte_level().save(str(root / "tokenizer.json"))
    (root / "x.model").write_bytes(sentencepiece(lossless=False))
    held = sized(_frame(_ROWS))
    return [measure(load(str(root / name)), held) for name in ("tokenizer.json", "x.model")]


def _words(language: str | None, text: str) -> int:
    if language == "en":
        return len(text.split())
    return sum(any(c.isalnum() for c in word) for word in jieba.cut(text, HMM=False)) if language == "zh" else 0


def _bpe(text: str) -> tuple[int, int, int, bool]:
    tokenizer = byte_level()
    tokenizer.encode_special_tokens = True
    found = tokenizer.encode(text, add_special_tokens=False)
    # A token that is a part of a character decodes to the sign for what cannot be read.
    cut = sum("\ufffd" in tokenizer.decode([i]) for i in found.ids)
    return len(found.ids), 0, cut, tokenizer.decode(found.ids, skip_special_tokens=False) == text


def _spm(text: str) -> tuple[int, int, int, bool]:
    processor = SentencePieceProcessor()
    processor.LoadFromSerializedProto(sentencepiece(lossless=False))
    ids = processor.encode(text)
    return len(ids), sum(processor.IsUnknown(i) for i in ids), 0, processor.decode(ids) == text


@pytest.mark.parametrize(("which", "straight"), [(0, _bpe), (1, _spm)])
def test_every_figure_is_what_straight_code_counts(both: list[Measured], which: int, straight: object) -> None:
    def figures(rows: list[tuple[str, str | None, str]]) -> Figures:
        total = np.zeros(9, dtype=int)
        for _, language, text in rows:
            tokens, unknown, cut, exact = straight(text)  # type: ignore[operator]
            words = _words(language, text)
            spoken = tokens if language in ("zh", "en") else 0
            total += [1, len(text.encode()), len(text), tokens, words, spoken, unknown, cut, exact]
        return Figures(*map(int, total))

    found = both[which]
    assert found.everything == figures(_ROWS)
    assert list(found.languages) == ["zh", "en", "other"]
    for name, got in found.languages.items():
        assert got == figures([r for r in _ROWS if (r[1] or "other") == name]), name
    assert list(found.sources) == ["a|b", "chat", "wiki"]
    for name, got in found.sources.items():
        assert got == figures([r for r in _ROWS if r[0] == name]), name
    zh = found.languages["zh"]
    rows = [text for _, language, text in _ROWS if language == "zh"]
    assert zh.bytes_per_token == sum(len(t.encode()) for t in rows) / sum(straight(t)[0] for t in rows)  # type: ignore[operator]
    assert zh.chars_per_token == sum(map(len, rows)) / zh.tokens
    assert zh.fertility == zh.tokens / zh.words
    assert found.languages["other"].fertility is None
    assert found.speed > 0


def test_what_each_loses_is_seen(both: list[Measured]) -> None:
    bpe, spm = both
    assert bpe.everything.exact_share == 1
    assert spm.everything.exact < 5
    assert spm.everything.unknown > 0
    assert bpe.everything.unknown == 0
    assert bpe.everything.partial >= 4
    assert all(p.exact for p in bpe.probes)
    assert {p.name for p in spm.probes if not p.exact} >= {"full-width letters and digits", "tabs", "CRLF", "doubled spaces", "rare Han"}
    assert [p.name for p in bpe.probes] == [*PROBES, SPECIALS]


def test_the_batches_are_all_rows_in_their_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    byte_level().save(str(tmp_path / "tokenizer.json"))
    loaded = load(str(tmp_path))
    whole = measure(loaded, sized(_frame(_ROWS)))
    monkeypatch.setattr(sizes, "_BATCH", 20)
    held = sized(_frame(_ROWS))
    assert len(held.batches) > 3
    assert [i for b in held.batches for i in range(len(_ROWS))[b]] == list(range(len(_ROWS)))
    cut = measure(loaded, held)
    assert (cut.everything, cut.languages, cut.sources, cut.vocabulary) == (
        whole.everything, whole.languages, whole.sources, whole.vocabulary
    )  # fmt: skip


def test_batches_are_about_a_megabyte() -> None:
    held = sized(_frame([("s", "en", "x " * n) for n in (200_000, 200_000, 200_000, 3_000_000, 10, 10)]))
    sizes = [int(held.bytes[b].sum()) for b in held.batches]
    assert sum(sizes) == int(held.bytes.sum())
    # At most a batch and a row: no row is cut.
    assert all(a <= 1_000_000 + int(held.bytes[b].max()) for a, b in zip(sizes, held.batches, strict=True))


def test_words_are_the_same_of_either_segmenter(monkeypatch: pytest.MonkeyPatch) -> None:
    fast = sized(_frame(_ROWS))
    modules = __import__("sys").modules
    monkeypatch.setitem(modules, "rjieba", None)
    slow = sized(_frame(_ROWS))
    assert (fast.segmenter, slow.segmenter) == ("rjieba", "jieba")
    assert fast.words.tolist() == slow.words.tolist() == [_words(language, text) for _, language, text in _ROWS]
    monkeypatch.setitem(modules, "jieba", None)
    none = sized(_frame(_ROWS))
    assert none.segmenter == ""
    assert none.counted.tolist() == [language == "en" for _, language, _ in _ROWS]


@pytest.mark.parametrize("rows", [[], [("s", "zh", "")]])
def test_no_text_is_an_error(rows: list[tuple[str, str | None, str]]) -> None:
    frame = _frame([("s", "zh", "x")]).clear() if not rows else _frame(rows)
    with pytest.raises(UsageError, match="no held-out text"):
        sized(frame)


def _made(tokens: list[bytes], special: int = 0, fallback: int = 0) -> Vocabulary:
    """The first are special, the last are bytes to fall back to."""
    n = len(tokens)
    at = np.arange(n)
    return Vocabulary(tuple(tokens), np.ones(n, dtype=bool), at < special, at < 0, at >= n - fallback)


_KINDS = {
    "Han": ["图书馆", "𠮷", " 了", "〇"], "Latin": [" the", "Ａ", "é"], "kana": ["カナ", "の"], "Hangul": ["한국"],
    "other": ["Привет", "½", "\u0301", "ไ"], "digits": ["12", "３", "٣"], "signs": ["，", "```\n", "🏳", "+=", "\x00", "\u200b"],
    "white space": [" ", "\r\n", "\u3000\t", "\u2028"], "mixed": ["了，", "a1", "T恤", "'s"],
}  # fmt: skip


def test_tokens_by_script() -> None:
    texts = [(script, text) for script, found in _KINDS.items() for text in found]
    tokens = [b"<s>", b"</s>", *(t.encode() for _, t in texts), b"\xe5\x9b", b"\xff", b"A"]
    vocabulary = _made(tokens, special=2, fallback=1)
    used = np.ones(len(tokens), dtype=np.int64)
    used[[0, 1, 2, 4, len(tokens) - 2]] = 0
    found = shape(vocabulary, used)
    assert found.scripts == {**{s: len(_KINDS.get(s, ())) for s in SCRIPTS}, "bytes": 3, "special": 2}
    assert sum(found.scripts.values()) == len(tokens)
    assert [p.text for p in found.longest["Han"]] == ["图书馆", " 了", "𠮷", "〇"]
    assert [(p.id, p.text) for p in found.longest["special"]] == [(1, "</s>"), (0, "<s>")]
    assert [p.text for p in found.longest["bytes"]] == ["<E59B>", "<FF>", "<41>"]
    assert (found.usable, found.unused) == (len(tokens) - 2, 3)
    assert [p.id for p in found.examples] == [2, 4]
    assert partial(vocabulary).nonzero()[0].tolist() == [len(tokens) - 3, len(tokens) - 2, len(tokens) - 1]


def test_every_script_has_a_place() -> None:
    assert {*_KINDS, "bytes", "special"} == set(SCRIPTS)


def test_of_a_real_vocabulary_every_token_counts_once(both: list[Measured]) -> None:
    for found in both:
        assert sum(found.vocabulary.scripts.values()) == found.size
        assert 0 < found.vocabulary.unused < found.vocabulary.usable <= found.size
    tokenizer = byte_level()
    tokenizer.encode_special_tokens = True
    seen = {i for _, _, text in _ROWS for i in tokenizer.encode(text, add_special_tokens=False).ids}
    assert both[0].vocabulary.unused == tokenizer.get_vocab_size() - 2 - len(seen)


class _Taking:
    """An engine that takes the spelling of a special token for the token."""

    def encode(self, texts: list[str]) -> list[list[int]]:
        return [[0] if "<s>" in t else [1] for t in texts]

    def decode(self, ids: list[list[int]]) -> list[str]:
        return ["a <s> b" if row == [0] else "x" for row in ids]


def test_a_special_token_out_of_text_is_told_though_it_decodes_to_itself() -> None:
    loaded = Loaded("x", "x", _Taking(), _made([b"<s>", b"x"], special=1))
    probes = measure(loaded, sized(_frame([("s", "en", "x")]))).probes
    assert probes[-1].name == SPECIALS
    assert not probes[-1].exact


def test_the_probes_are_what_they_say() -> None:
    assert unicodedata.normalize("NFKC", PROBES["what NFKC replaces"]) != PROBES["what NFKC replaces"]
    assert unicodedata.normalize("NFC", PROBES["what NFC replaces"]) != PROBES["what NFC replaces"]
    assert "\u200d" in PROBES["emoji with joiners"]
    assert sum(ord(c) > 0xFFFF for c in PROBES["rare Han"]) >= 6
    assert any(unicodedata.combining(c) for c in PROBES["combining marks"])
    assert "\r\n" in PROBES["CRLF"]
    assert any(a == b == " " for a, b in pairwise(PROBES["doubled spaces"]))
