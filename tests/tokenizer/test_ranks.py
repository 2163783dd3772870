"""tiktoken's files: the library that reads them there is the oracle."""

from __future__ import annotations

import base64
import random
from pathlib import Path

import pytest
import tiktoken
from hypothesis import given
from hypothesis import strategies as st
from tiktoken_ext import openai_public

from corpus.errors import DataError
from corpus.tokenizer import ranks
from tests.tokenizer.small import SENTENCES, rank_file, write_ranks

# What the patterns treat in different ways: line ends, odd blanks, case, contractions, numbers, marks.
_ALPHABET = " \n\r\t\u0085\u00a0\u3000\u2028\u200b\x1c\x0b'sStTlLvVeEdDmM12\u0663\u00bdab你好，。.!//éǅʰ\u0301\U00020000🏳ſ"
_TEXTS = st.text(st.sampled_from(_ALPHABET), max_size=14) | st.text(max_size=30)


@pytest.fixture(scope="module")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[ranks.Ranked, tiktoken.Encoding]]:
    """By name: what we read, and tiktoken's own encoding with its own pattern over the same ranks."""
    folder = tmp_path_factory.mktemp("ranks")
    found = rank_file(folder / "any")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(openai_public, "load_tiktoken_bpe", lambda *a, **k: found)
        patch.setattr(openai_public, "data_gym_to_mergeable_bpe_ranks", lambda *a, **k: found)
        patterns = {name: getattr(openai_public, name)()["pat_str"] for name in ("cl100k_base", "o200k_base", "r50k_base", "p50k_base")}
    # As Qwen's own code has it.
    patterns["qwen"] = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
    made = {}
    for name, pattern in patterns.items():
        path = folder / f"{name}.tiktoken"
        write_ranks(path, found)
        made[name] = (ranks.read(path), tiktoken.Encoding(name, pat_str=pattern, mergeable_ranks=found, special_tokens={}))
    return made


@given(text=_TEXTS)
def test_ids_are_those_of_tiktoken(pairs: dict[str, tuple[ranks.Ranked, tiktoken.Encoding]], text: str) -> None:
    for name, (read, oracle) in pairs.items():
        assert read.tokenizer.encode(text).ids == oracle.encode_ordinary(text), name


def test_ids_are_those_of_tiktoken_in_sentences(pairs: dict[str, tuple[ranks.Ranked, tiktoken.Encoding]]) -> None:
    for read, oracle in pairs.values():
        for text in [*SENTENCES[:9], "a\n  ", "  \n\n  x", "I'LL ſ'ſ don't", "HeLLo wORLD's//\n/", "１２３４５ 12345"]:
            assert read.tokenizer.encode(text).ids == oracle.encode_ordinary(text)
            assert read.tokenizer.decode(oracle.encode_ordinary(text)) == text


@given(seed=st.integers(0, 10**6), text=st.text(st.sampled_from("abc"), max_size=40))
def test_ranks_that_no_training_gave_are_joined_as_tiktoken_does(tmp_path_factory: pytest.TempPathFactory, seed: int, text: str) -> None:
    # Tokens that no joining reaches, and parts that are learnt after what they make.
    rnd = random.Random(seed)
    made = {"".join(rnd.choices("abc", k=rnd.randint(2, 6))).encode() for _ in range(60)}
    tokens = sorted({bytes([i]) for i in range(256)} | made)
    rnd.shuffle(tokens)
    found = {token: at for at, token in enumerate(tokens)}
    path = tmp_path_factory.mktemp("random") / "x_cl100k.tiktoken"
    write_ranks(path, found)
    oracle = tiktoken.Encoding("x", pat_str=r"\p{L}+", mergeable_ranks=found, special_tokens={})
    assert ranks.read(path).tokenizer.encode(text).ids == oracle.encode_ordinary(text)


@pytest.mark.parametrize(
    ("name", "pattern", "guessed"),
    [("qwen.tiktoken", "qwen", False), ("O200k_base.tiktoken", "o200k", False), ("mine.tiktoken", "cl100k", True)],
)
def test_the_name_says_which_pattern(tmp_path: Path, name: str, pattern: str, guessed: bool) -> None:
    rank_file(tmp_path / name)
    read = ranks.read(tmp_path / name)
    assert (read.pattern, read.guessed) == (pattern, guessed)


@pytest.mark.parametrize(
    ("more", "says"),
    [
        (b"!!! 300\n", "line 257: b'!!! 300', expected a token in base64"),
        (b"YWI= x\n", "line 257"),
        (b"YWI=\n", "line 257"),
        (b"YWI= 0\n", "a rank that no line before has"),
        (b"YQ== 300\n", "that no line before has"),
        (b"YWI= -1\n", "line 257"),
    ],
)
def test_a_bad_line_is_named(tmp_path: Path, more: bytes, says: str) -> None:
    path = tmp_path / "x.tiktoken"
    write_ranks(path, {bytes([i]): i for i in range(256)})
    path.write_bytes(path.read_bytes() + more)
    with pytest.raises(DataError) as error:
        ranks.read(path)
    assert says in str(error.value)


def test_every_byte_needs_a_token(tmp_path: Path) -> None:
    path = tmp_path / "x.tiktoken"
    path.write_text(f"{base64.b64encode(b'a').decode()} 0\n")
    with pytest.raises(DataError, match="0x00 has no token"):
        ranks.read(path)
