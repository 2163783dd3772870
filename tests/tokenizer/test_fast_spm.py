"""Sentencepiece's kinds, compiled: the library's ids for any text, with and without marks, and places without a gap."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer

from corpus.tokenizer import fast_spm, spm
from corpus.tokenizer.encode import Encoder, prepared
from corpus.tokenizer.spec import Kind, TokenizerSpec
from corpus.tokenizer.specials import Specials
from corpus.tokenizer.spelling import FALLBACKS
from tests.tokenizer.test_encode import ODD, rows
from tests.tokenizer.test_spm import HUG, NESTED, PLAIN, RICH, sample

KINDS = (Kind.SENTENCEPIECE_BPE, Kind.SENTENCEPIECE_UNIGRAM)
GIVEN = {
    "plain": PLAIN, "rich": RICH, "hug": HUG, "nested": NESTED,
    "spaced": Specials("<|unk|>", "<|bos|>", "</s>", "<|pad|>", ("<|im_start|>",), "</s>", ("  ", "  a", "▁b", "s><|")),
}  # fmt: skip
MARKS = {"none": (), "some": ("</s>", "<|im_start|>")}

PARTS = [
    *ODD, "a b", 'x,"y', "ab", "中文", "中", "文", "a", "b", "▅", "▁▁a b", " a ", "a▁b", "\n\n\n", " \n\n", "<|im_start|>", "<|im_start|",
    "</s><|pad|>", "<0x41>", "<0xE4>", "今天", "天气", "很好", "我们", " the", " model", "learning", " 2024", "\ufeff", "𠀀", "\U0010ffff",
]  # fmt: skip
TEXTS = st.one_of(
    st.lists(st.sampled_from(PARTS), max_size=40).map("".join), st.text(max_size=40),
    st.lists(st.sampled_from(list("ab ▁\n中文今天<|>/s")), max_size=60).map("".join),
)  # fmt: skip


@cache
def made(kind: Kind, given_: str) -> dict[str, Any]:
    text = sample()
    trained = spm.train([text], TokenizerSpec(kind=kind, vocab_size=600), GIVEN[given_])
    return dict(json.loads(trained.tokenizer.to_str()))


@cache
def loaded(kind: Kind, given_: str, marks: str) -> tuple[Tokenizer, Encoder]:
    return prepared(json.dumps(made(kind, given_)).encode(), Path("tokenizer.json"), MARKS[marks])


def agree(kind: Kind, given_: str, marks: str, texts: list[str]) -> None:
    tokenizer, fast = loaded(kind, given_, marks)
    assert isinstance(fast, fast_spm.Spaced)
    found = fast(pa.array(["left out", *texts], pa.string())[1:])
    assert rows(found) == [e.ids for e in tokenizer.encode_batch(texts, add_special_tokens=False)]
    for text, begin, end in zip(texts, found.offsets, found.offsets[1:], strict=False):
        places = [*found.starts[begin:end], len(text.encode())]
        assert places[1:] == found.ends[begin:end].tolist()
        assert not places[:-1] or places[0] == 0
        for i, at, after in zip(found.ids[begin:end].tolist(), found.starts[begin:end], found.ends[begin:end], strict=True):
            name, spelled = tokenizer.id_to_token(i), text.encode()[at:after]
            if name in FALLBACKS:
                assert spelled == bytes([int(name[3:5], 16)])
            else:
                assert spelled.decode().replace("▁", " ") == name.replace("▁", " ")


@pytest.mark.parametrize("given_", GIVEN)
@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=60)
@given(texts=st.lists(TEXTS, max_size=5))
def test_ids_are_those_of_the_library(kind: Kind, given_: str, texts: list[str]) -> None:
    for marks in MARKS:
        agree(kind, given_, marks, texts)


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=20)
@given(seed=st.integers(0, 2**32), unit=st.sampled_from(["a", "ab", "▁", " ", "中", "中文", "今天天", "<", "x,", "é"]))
def test_long_texts_that_are_nowhere_cut(kind: Kind, seed: int, unit: str) -> None:
    rng = np.random.default_rng(seed)
    agree(kind, "rich", "some", [unit * int(rng.integers(1, 1500)), "".join(rng.permutation(list("ab \n\n今天中文the model" * 60)))])


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_remembered_of_one_text_is_right_in_the_next(kind: Kind) -> None:
    texts = sample(seed=3, rows=2000).to_list()
    for _ in range(2):
        agree(kind, "rich", "none", texts)


CHANGES: dict[str, Any] = {
    "normalizer": lambda told: told.update(normalizer={"type": "NFC"}),
    "prepended": lambda told: told.update(
        normalizer={"type": "Sequence", "normalizers": [{"type": "Prepend", "prepend": "▁"}, told["normalizer"]]}
    ),
    "pre_tokenizer": lambda told: told.update(
        pre_tokenizer={"type": "Metaspace", "replacement": "▁", "prepend_scheme": "never", "split": False}
    ),
    "fallback": lambda told: told["model"].update(byte_fallback=False),
    "stripped": lambda told: told["added_tokens"][2].update(lstrip=True),
    "word": lambda told: told["added_tokens"][2].update(single_word=True),
    "spaced": lambda told: told["added_tokens"][2].update(content="a ▁"),
}
OF_BPE: dict[str, Any] = {
    "dropout": lambda told: told["model"].update(dropout=0.5),
    "whole words": lambda told: told["model"].update(ignore_merges=True),
    "bytes": lambda told: (told["model"]["vocab"].update({"<0x41><0x42>": 10_000}), told["model"]["merges"].append(["<0x41>", "<0x42>"])),
}
OF_UNIGRAM: dict[str, Any] = {
    "uneven": lambda told: told["model"]["vocab"].__setitem__(300, [told["model"]["vocab"][300][0], -5.3]),
    "alphabet": lambda told: told["pre_tokenizer"].update(pattern={"Regex": "[^a-z]"}),
    "a piece": lambda told: told["model"]["vocab"].append(["龘", -9.0]),
}


@pytest.mark.parametrize(
    ("kind", "change"),
    [(kind, c) for kind, own in zip(KINDS, (OF_BPE, OF_UNIGRAM), strict=True) for c in ({**CHANGES, **own}).items()],
    ids=lambda each: each[0] if isinstance(each, tuple) else str(each),
)
def test_what_is_not_known_is_left_to_the_library(kind: Kind, change: tuple[str, Any]) -> None:
    told = json.loads(json.dumps(made(kind, "rich")))
    assert fast_spm.encoder(told) is not None
    change[1](told)
    assert fast_spm.encoder(told) is None


def test_cuts_are_made_only_between_characters_that_are_no_neighbours() -> None:
    joints = fast_spm.Joints.of([("a", "b"), ("中", "文"), (" ", "a")])
    text = "ab ab中文中𠮷b"
    data = np.frombuffer(text.encode(), np.uint8)
    ends, counts = joints(np.array([0, 3, len(data)]), data)
    pieces = [data[a:b].tobytes().decode() for a, b in zip([0, *ends], ends, strict=False)]
    assert pieces == ["ab", " ", "ab", "中文", "中", "𠮷", "b"]
    assert counts.tolist() == [0, 2, 7]


def test_small_models_with_merges_in_any_order() -> None:
    """Of three characters and six merges: cuts depend on which of them join, and merging on their order."""
    rng = np.random.default_rng(7)
    names = [f"<0x{byte:02X}>" for byte in range(256)]
    for _ in range(150):
        tokens = ["▁", "a", "b"]
        merges = []
        for _ in range(rng.integers(1, 7)):
            left, right = rng.choice(tokens, 2).tolist()
            if [left, right] not in merges:
                merges.append([left, right])
                tokens += [left + right] * (left + right not in tokens)
        model = {"type": "BPE", "vocab": {t: i for i, t in enumerate([*names, *tokens])}, "merges": merges, "byte_fallback": True}
        told = {"version": "1.0", "added_tokens": [], "normalizer": fast_spm._NORMALIZER, "pre_tokenizer": None, "model": model}
        tokenizer, fast = prepared(json.dumps(told).encode(), Path("tokenizer.json"))
        assert isinstance(fast, fast_spm.Spaced)
        texts = ["".join(rng.choice(list("ab ▁"), rng.integers(0, 40))) for _ in range(20)]
        assert rows(fast(pa.array(texts))) == [e.ids for e in tokenizer.encode_batch(texts, add_special_tokens=False)]
