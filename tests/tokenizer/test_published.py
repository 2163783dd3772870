"""Published tokenizers, compiled: pieces as the library's regular expressions cut them, and the library's ids."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

from corpus.tokenizer import published
from corpus.tokenizer.composed import Composed
from corpus.tokenizer.encode import Encoder, Library, buffers, prepared
from corpus.tokenizer.fast import Fast
from tests.tokenizer.conftest import ALPHABET
from tests.tokenizer.made import LINES
from tests.tokenizer.test_encode import ODD, rows

# As they stand in the tokenizer.json of each.
QWEN = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
LLAMA3 = QWEN.replace(r"|\p{N}|", r"|\p{N}{1,3}|")
BLOOM = " ?[^(\\s|[.,!?…。，、।۔،])]+"
FORMS: dict[str, tuple[str | None, bool, bool]] = {
    "gpt2": (None, False, False), "qwen": (QWEN, True, False), "llama3": (LLAMA3, False, True), "bloom": (BLOOM, False, False),
}  # fmt: skip
"""Each with its pattern, whether it composes characters, and whether pieces that are tokens are not merged."""

PARTS = [
    *ALPHABET,
    *ODD,
    "'S",
    "'ſ",
    "ſ",
    "'LL",
    "'vE",
    "'x",
    "()",
    "|",
    "[",
    "…",
    "、",
    "।",
    "۔",
    "،",
    "<think>",
    "\u1100",
    "\u1161",
    "\uac00",
    "\uf900",
    "é",
]
TEXTS = st.one_of(st.lists(st.sampled_from(PARTS), max_size=30).map("".join), st.text(max_size=40))


@cache
def made(form: str) -> str:
    pattern, composes, whole = FORMS[form]
    tokenizer = Tokenizer(models.BPE(ignore_merges=whole))
    if composes:
        tokenizer.normalizer = normalizers.NFC()
    if pattern is None:
        tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    else:
        as_bytes = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False, trim_offsets=False)
        tokenizer.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Split(Regex(pattern), "isolated"), as_bytes])
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=700, show_progress=False, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), special_tokens=["<|endoftext|>", "</s>"]
    )
    tokenizer.train_from_iterator(LINES, trainer)
    tokenizer.add_tokens([AddedToken("<think>", normalized=True), AddedToken("Human:", normalized=False)])
    return tokenizer.to_str()


@cache
def loaded(form: str) -> tuple[Tokenizer, Encoder]:
    return prepared(made(form).encode(), Path("tokenizer.json"), ("</s>",))


@pytest.mark.parametrize("form", FORMS)
@settings(max_examples=150)
@given(texts=st.lists(TEXTS, max_size=8))
def test_pieces_are_those_of_the_regular_expression(form: str, texts: list[str]) -> None:
    cut = published.splitter(json.loads(made(form))["pre_tokenizer"])
    assert cut is not None
    library = Tokenizer.from_str(made(form)).pre_tokenizer
    data, at = buffers(pa.array(["left out", *texts], pa.string())[1:])
    ends, counts = cut(at, data)
    for i, text in enumerate(texts):
        want = [len(text[:end].encode()) for _, (_, end) in library.pre_tokenize_str(text)]
        assert (ends[counts[i] : counts[i + 1]] - at[i]).tolist() == want


@pytest.mark.parametrize("form", FORMS)
def test_every_character_is_of_the_class_that_the_regular_expression_sees(form: str) -> None:
    cut = published.splitter(json.loads(made(form))["pre_tokenizer"])
    assert cut is not None
    library = Tokenizer.from_str(made(form)).pre_tokenizer
    codes = (*range(1, 0xD800), *range(0xE000, 0x20000), *range(0xE0000, 0xE0200))
    texts = ["".join(f"'{chr(c)}x a{chr(c)}b {chr(c)}9 " for c in codes[i : i + 64]) for i in range(0, len(codes), 64)]
    data, at = buffers(pa.array(texts))
    ends, counts = cut(at, data)
    for i, text in enumerate(texts):
        want = [end for _, (_, end) in library.pre_tokenize_str(text)]
        assert [len(text.encode()[: e - at[i]].decode()) for e in ends[counts[i] : counts[i + 1]]] == want


@pytest.mark.parametrize("form", FORMS)
@settings(max_examples=60)
@given(texts=st.lists(TEXTS, max_size=6))
def test_ids_are_those_of_the_library(form: str, texts: list[str]) -> None:
    tokenizer, fast = loaded(form)
    assert isinstance(fast, Composed if form == "qwen" else Fast)
    found = fast(pa.array(["left out", *texts], pa.string())[1:])
    assert found.in_bytes
    assert rows(found) == [e.ids for e in tokenizer.encode_batch(texts, add_special_tokens=False)]
    for i, text in enumerate(texts):
        at = slice(found.offsets[i], found.offsets[i + 1])
        starts, ends = found.starts[at], found.ends[at]
        assert (starts >= 0).all()
        assert (starts <= ends).all()
        assert (ends <= len(text.encode())).all()
        if form != "qwen":
            assert [*starts, len(text.encode())][1:] == ends.tolist()


def test_texts_that_composing_changes_have_the_librarys_places() -> None:
    tokenizer, encode = loaded("qwen")
    assert isinstance(encode, Composed)
    texts = ["plain 好", "e\u0301t好e\u0301", "", "\uf900 x", "x 好"]
    found, alone = encode(pa.array(texts)), encode.fast(pa.array(texts))
    for i, text in enumerate(texts):
        at = slice(found.offsets[i], found.offsets[i + 1])
        if i in (1, 3):
            want = [tuple(len(text[:p].encode()) for p in place) for place in tokenizer.encode(text, add_special_tokens=False).offsets]
        else:
            same = slice(alone.offsets[i], alone.offsets[i + 1])
            want = list(zip(alone.starts[same].tolist(), alone.ends[same].tolist(), strict=True))
        assert list(zip(found.starts[at].tolist(), found.ends[at].tolist(), strict=True)) == want


def test_an_older_file_that_leaves_unsaid_what_is_so_by_itself() -> None:
    told = json.loads(made("gpt2"))
    del told["pre_tokenizer"]["use_regex"]
    told["model"] = {"vocab": told["model"]["vocab"], "merges": [" ".join(pair) for pair in told["model"]["merges"]]}
    assert isinstance(prepared(json.dumps(told).encode(), Path("tokenizer.json"))[1], Fast)


@pytest.mark.parametrize("change", ["prefix", "pattern", "behavior", "order", "nfkc", "unreached"])
def test_what_is_not_known_is_left_to_the_library(change: str) -> None:
    told: dict[str, Any] = json.loads(made({"prefix": "gpt2", "nfkc": "qwen"}.get(change, "llama3")))
    cut = told["pre_tokenizer"].get("pretokenizers")
    if change == "prefix":
        told["pre_tokenizer"]["add_prefix_space"] = True
    elif change == "pattern":
        cut[0]["pattern"]["Regex"] += "|x"
    elif change == "behavior":
        cut[0]["behavior"] = "MergedWithNext"
    elif change == "order":
        cut.reverse()
    elif change == "nfkc":
        told["normalizer"] = {"type": "NFKC"}
    else:
        told["model"]["vocab"]["zqj"] = 10_000
    assert isinstance(prepared(json.dumps(told).encode(), Path("tokenizer.json"))[1], Library)
