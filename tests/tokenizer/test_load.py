"""Tokenizers from every kind of file: their ids are the library's own, and every id has its bytes."""

from __future__ import annotations

import itertools
import json
import os
from pathlib import Path
from typing import Any

import huggingface_hub
import pytest
from huggingface_hub.errors import EntryNotFoundError, LocalEntryNotFoundError
from hypothesis import given
from hypothesis import strategies as st
from sentencepiece import SentencePieceProcessor
from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers

from corpus.errors import CorpusError, DataError, FetchError, UsageError
from corpus.tokenizer.load import Loaded, load
from tests.tokenizer.small import SENTENCES, byte_level, rank_file, sentencepiece


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with one of each."""
    root = tmp_path_factory.mktemp("tokenizers")
    (root / "bpe").mkdir()
    byte_level().save(str(root / "bpe" / "tokenizer.json"))
    (root / "lossless").mkdir()
    (root / "lossless" / "spm.model").write_bytes(sentencepiece(lossless=True))
    (root / "default.model").write_bytes(sentencepiece(lossless=False))
    rank_file(root / "cl100k.tiktoken")
    return root


@pytest.fixture(scope="module")
def lossless(folder: Path) -> list[Loaded]:
    """Those that give back every text, but for the characters that sentencepiece spells spaces with."""
    return [load(str(folder / name)) for name in ("bpe", "lossless", "cl100k.tiktoken")]


def test_ids_are_the_library_s(folder: Path, lossless: list[Loaded]) -> None:
    raw = SentencePieceProcessor()
    raw.LoadFromSerializedProto(sentencepiece(lossless=True))
    texts = [*SENTENCES[:9], "", "𠮷👩‍👩‍👧 \r\n  x"]
    for loaded, encode in ((lossless[0], lambda t: byte_level().encode(t, add_special_tokens=False).ids), (lossless[1], raw.encode)):
        ids, offsets = loaded.encode(texts)
        assert [ids[a:b].tolist() for a, b in itertools.pairwise(offsets)] == [encode(t) for t in texts]
        assert loaded.decode_all(ids, offsets) == texts
        assert loaded.decode(ids[: offsets[1]]) == texts[0]
    assert lossless[0].size == byte_level().get_vocab_size(with_added_tokens=True)
    assert lossless[1].size == raw.GetPieceSize()
    assert load(str(folder / "bpe" / "tokenizer.json")).size == lossless[0].size


def test_nothing_is_no_tokens(lossless: list[Loaded]) -> None:
    for loaded in lossless:
        ids, offsets = loaded.encode([])
        assert (ids.tolist(), offsets.tolist(), loaded.decode_all(ids, offsets)) == ([], [0], [])


@given(text=st.text().map(lambda t: t.replace("▁", "_")))
def test_the_bytes_of_the_tokens_are_the_text(lossless: list[Loaded], text: str) -> None:
    for loaded in lossless:
        ids, _ = loaded.encode([text])
        assert b"".join(loaded.vocabulary.tokens[i] for i in ids) == text.encode(), loaded.what
        assert not loaded.vocabulary.special[ids].any()
        assert loaded.decode(ids) == text


def test_a_special_token_s_spelling_is_text(lossless: list[Loaded]) -> None:
    for loaded in lossless:
        text = "a<|im_start|>user<s></s><unk><|im_end|>b"
        ids, _ = loaded.encode([text])
        assert not loaded.vocabulary.special[ids].any()
        assert loaded.decode(ids) == text
    special = lossless[0].vocabulary
    assert {special.tokens[i] for i in special.special.nonzero()[0]} == {b"<|im_start|>", b"<|im_end|>"}
    # One that is not special is one token in text.
    ids, _ = lossless[0].encode(["<think>"])
    assert [special.tokens[i] for i in ids] == [b"<think>"]


def test_byte_fallback_and_unknown_are_marked(folder: Path, lossless: list[Loaded]) -> None:
    spm = lossless[1]
    ids, _ = spm.encode(["𠮷"])
    assert spm.vocabulary.fallback[ids].all()
    assert [spm.vocabulary.tokens[i] for i in ids] == [bytes([b]) for b in "𠮷".encode()]
    assert spm.vocabulary.fallback.sum() == 256
    assert not lossless[0].vocabulary.fallback.any()
    default = load(str(folder / "default.model"))
    ids, _ = default.encode(["𠮷"])
    assert default.vocabulary.unknown[ids].any()
    assert not default.vocabulary.fallback.any()


def test_a_configuration_says_more_of_what_is_special(tmp_path: Path) -> None:
    tokenizer = Tokenizer(models.WordPiece({"[UNK]": 0, "[PAD]": 1, "你": 2, "play": 3, "##ing": 4}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece()
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    (tmp_path / "tokenizer_config.json").write_text(json.dumps({"pad_token": {"content": "[PAD]"}, "eos_token": None}))
    loaded = load(str(tmp_path))
    assert loaded.vocabulary.special.tolist() == [True, True, False, False, False]
    assert loaded.vocabulary.unknown.tolist() == [True, False, False, False, False]
    assert loaded.vocabulary.tokens == (b"[UNK]", b"[PAD]", "你".encode(), b"play", b"ing")
    assert loaded.encode(["playing 她"])[0].tolist() == [3, 4, 0]


def test_spaces_and_bytes_of_a_converted_sentencepiece(tmp_path: Path) -> None:
    pieces = [("<unk>", 0.0), *((f"<0x{i:02X}>", -9.0) for i in range(256)), ("▁a", -1.0), ("▁", -2.0), ("b", -1.5)]
    tokenizer = Tokenizer(models.Unigram(pieces, unk_id=0, byte_fallback=True))
    tokenizer.normalizer = normalizers.Replace(" ", "▁")
    tokenizer.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()])
    tokenizer.add_special_tokens([AddedToken("</s>", special=True)])
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    loaded = load(str(tmp_path))
    ids, _ = loaded.encode([" ab b好</s>"])
    assert b"".join(loaded.vocabulary.tokens[i] for i in ids) == " ab b好</s>".encode()
    assert loaded.vocabulary.fallback.sum() == 256
    assert loaded.vocabulary.unknown.nonzero()[0].tolist() == [0]
    assert loaded.what == "tokenizers Unigram, byte fallback"
    tokenizer.normalizer = None
    tokenizer.pre_tokenizer, tokenizer.decoder = pre_tokenizers.Metaspace(), decoders.Metaspace()
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    assert load(str(tmp_path)).vocabulary.tokens[257] == b" a"


def test_a_rank_file_may_be_called_model(tmp_path: Path, lossless: list[Loaded]) -> None:
    rank_file(tmp_path / "tokenizer.model")
    loaded = load(str(tmp_path))
    assert loaded.what == "tiktoken ranks, cl100k's pattern, since the file's name says no other, no special tokens"
    assert loaded.encode(SENTENCES[:9])[0].tolist() == lossless[2].encode(SENTENCES[:9])[0].tolist()


def test_ids_may_have_holes(tmp_path: Path) -> None:
    path = tmp_path / "tokenizer.json"
    Tokenizer(models.WordLevel({"a": 0, "b": 5}, unk_token="b")).save(str(path))
    loaded = load(str(path))
    assert (loaded.size, loaded.vocabulary.there.tolist()) == (2, [True, False, False, False, False, True])


def test_threads_are_the_user_s_business_afterwards(lossless: list[Loaded], monkeypatch: pytest.MonkeyPatch) -> None:
    for before in ("true", None):
        if before is None:
            monkeypatch.delenv("TOKENIZERS_PARALLELISM", raising=False)
        else:
            monkeypatch.setenv("TOKENIZERS_PARALLELISM", before)
        lossless[0].encode(["a", "b"])
        assert os.environ.get("TOKENIZERS_PARALLELISM") == before


def _junk(tmp_path: Path, name: str, content: bytes) -> str:
    (tmp_path / name).write_bytes(content)
    return str(tmp_path / name)


@pytest.mark.parametrize("name", ["tokenizer.json", "x.model", "x.tiktoken"])
@pytest.mark.parametrize("content", [b"", b"{}", b"[1]", b"\xff\xfe\x00", b'{"model": {"type": "BPE"}}'])
def test_a_file_that_is_something_else_is_named(tmp_path: Path, name: str, content: bytes) -> None:
    path = _junk(tmp_path, name, content)
    with pytest.raises(DataError) as error:
        load(path)
    assert path in str(error.value)


@pytest.mark.parametrize(("vocabulary", "says"), [({"a": 4_000_000_000}, "the highest id is 4,000,000,000"), ({}, "expected some tokens")])
def test_absurd_ids_are_refused(tmp_path: Path, vocabulary: dict[str, int], says: str) -> None:
    told = {"version": "1.0", "added_tokens": [], "model": {"type": "WordLevel", "vocab": vocabulary, "unk_token": "a"}}
    path = _junk(tmp_path, "tokenizer.json", json.dumps(told).encode())
    with pytest.raises(DataError, match=says):
        load(path)


def test_what_is_not_there_is_said(tmp_path: Path) -> None:
    for name, says in (
        (str(tmp_path / "none"), "there is no such file or folder"),
        ("./none/x", "there is no such file or folder"),
        ("tokenizer.json.model", "there is no such file or folder"),
        (str(tmp_path), "no tokenizer.json, .model or .tiktoken file in this folder"),
        (_junk(tmp_path, "x.txt", b""), "expected a file that ends in .json"),
    ):
        with pytest.raises(UsageError) as error:
            load(name)
        assert says in str(error.value)
    for name in ("a.model", "b.model"):
        _junk(tmp_path, name, b"")
    with pytest.raises(UsageError, match=r"2 files end in \.model \(a\.model, b\.model\)"):
        load(str(tmp_path))
    _junk(tmp_path, "tokenizer_config.json", b"{")
    byte_level().save(str(tmp_path / "tokenizer.json"))
    with pytest.raises(DataError, match=r"tokenizer_config\.json: not valid JSON"):
        load(str(tmp_path))


def test_a_name_on_the_hub(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    there: dict[str, Any] = {}

    def download(name: str, file: str) -> str:
        asked.append(file)
        found = there.get(file, EntryNotFoundError("none"))
        if isinstance(found, Exception):
            raise found
        return str(found)

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", download)
    monkeypatch.setattr(huggingface_hub, "try_to_load_from_cache", lambda name, file: None)
    with pytest.raises(FetchError, match=r"neither tokenizer\.json nor tokenizer\.model, and code of a repository is not run"):
        load("some/tokenizer")
    there["tokenizer.model"] = folder / "default.model"
    assert load("some/tokenizer").name == "some/tokenizer"
    there["tokenizer.json"] = folder / "bpe" / "tokenizer.json"
    assert load("some/tokenizer").what == "tokenizers BPE, byte level"
    assert set(asked) <= {"tokenizer.json", "tokenizer.model", "tokenizer_config.json"}
    there["tokenizer.json"] = LocalEntryNotFoundError("no network")
    with pytest.raises(FetchError, match="hf download some/tokenizer --include 'tokenizer"):
        load("some/tokenizer")
    there["tokenizer.json"] = OSError("refused")
    with pytest.raises(FetchError, match="refused"):
        load("some/tokenizer")
    # What is in the cache needs no network.
    monkeypatch.setattr(huggingface_hub, "try_to_load_from_cache", lambda name, file: str(folder / "bpe" / "tokenizer.json"))
    assert load("some/tokenizer").what == "tokenizers BPE, byte level"


def test_a_missing_library_is_named(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "sentencepiece", None)
    with pytest.raises(CorpusError, match=r"pip install -e '\.\[tokenizer\]'"):
        load(str(folder / "default.model"))
