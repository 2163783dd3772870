"""Merges within words: what is cut, by what, and what comes of it."""

from __future__ import annotations

import random
import re
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from corpus.errors import DataError
from corpus.splits.templates import CHATML
from corpus.tokenizer import words
from corpus.tokenizer.counts import Counts, count
from corpus.tokenizer.spec import Kind, TokenizerSpec
from corpus.tokenizer.specials import specials
from tests.tokenizer.bases import CHINESE, chinese, english

jieba = pytest.importorskip("jieba")
pytest.importorskip("rjieba")
_QUICK, _SLOW = words.quick(), words.own()


@pytest.fixture(scope="module")
def slow() -> words.Cut:
    return _SLOW


@pytest.fixture(scope="module")
def quick() -> words.Cut:
    return _QUICK


def table(counts: Counts) -> dict[str, int]:
    bounds = zip(counts.offsets[:-1].tolist(), counts.offsets[1:].tolist(), strict=True)
    return {bytes(counts.data[a:b]).decode(): int(n) for (a, b), n in zip(bounds, counts.counts, strict=True)}


def like_text(runs: int, seed: int) -> list[str]:
    """Runs of words of jieba's dictionary, broken here and there, and of characters drawn by chance."""
    draw = random.Random(seed)
    known = [w for w in jieba.Tokenizer().gen_pfdict(jieba.get_dict_file())[0] if re.fullmatch(f"[{words.KNOWN}]+", w)]
    out = []
    for _ in range(runs):
        run = "".join(draw.choices(known, k=draw.randint(1, 6)))
        if draw.random() < 0.5:
            at = draw.randrange(len(run))
            run = run[:at] + chr(draw.randint(0x4E00, 0x9FD5)) + run[at + draw.randint(0, 2) :]
        out.append(run[: draw.randint(1, 16)])
    return out


def test_both_segmenters_cut_runs_alike(slow: words.Cut, quick: words.Cut) -> None:
    runs = like_text(6_000, 1)
    assert quick("\n".join(runs)) == slow("\n".join(runs))
    assert [w for run in runs[:500] for w in quick(run)] == [w for w in quick("\n".join(runs[:500])) if w != "\n"]


@settings(max_examples=50, deadline=None)
@given(st.lists(st.text(st.characters(min_codepoint=0x4E00, max_codepoint=0x9FD5), min_size=1, max_size=20), min_size=1, max_size=20))
def test_both_segmenters_cut_any_runs_alike(runs: list[str]) -> None:
    assert _QUICK("\n".join(runs)) == _SLOW("\n".join(runs))


def test_why_nothing_but_runs_is_given_to_them(slow: words.Cut, quick: words.Cut) -> None:
    # Were they ever to agree here, the cutting into runs could go.
    assert quick("是UTF-8编码") != slow("是UTF-8编码")
    assert quick("过去鿖鿿者") != slow("过去鿖鿿者")


def test_words_are_counted_and_other_pieces_left_alone(quick: words.Cut) -> None:
    texts = pl.Series(["医院在北京，hello world 12345", "北京的，医院医院 hello"])
    found = table(words.segmented(count([texts]), quick))
    assert (found["医院"], found["，医院"]) == (2, 1)  # a sign goes with the word behind it, as the pattern has it
    assert found["北京"] == 2
    assert found[" hello"] == 1
    assert found["，hello"] == 1
    assert (found[" 123"], found["45"]) == (1, 1)
    assert "医院在北京" not in found


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.text(st.one_of(st.sampled_from("医院北京的患者，a 1\n々〇㐀𠀀豈鿿"), st.characters(codec="utf-8")), max_size=60), max_size=8
    )
)
def test_no_character_is_lost_or_moved_to_another_weight(texts: list[str]) -> None:
    before = table(count([pl.Series(texts, dtype=pl.String)]))
    after = table(words.segmented(count([pl.Series(texts, dtype=pl.String)]), _QUICK))

    def characters(counts: dict[str, int]) -> dict[str, int]:
        out: dict[str, int] = {}
        for piece, n in counts.items():
            for c in piece:
                out[c] = out.get(c, 0) + n
        return out

    assert characters(before) == characters(after)


def test_characters_that_jieba_does_not_know_are_words_of_their_own(quick: words.Cut, slow: words.Cut) -> None:
    texts = pl.Series(["，北京𠀀㐀医院々"])
    found = table(words.segmented(count([texts]), quick))
    assert found == dict.fromkeys(["，北京", "𠀀", "㐀", "医院", "々"], 1)
    assert slow("北京𠀀㐀医院々") == ["北京", "𠀀", "㐀", "医院", "々"]


def test_tokens_stay_within_words(quick: words.Cut) -> None:
    texts = [pl.Series([*chinese(200), *english(50)])]
    trained = words.train(texts, TokenizerSpec(kind=Kind.JIEBA_WORDS, vocab_size=600), specials(CHATML))
    known = {w for sentence in CHINESE for run in re.findall(f"[{words.KNOWN}]+", sentence) for w in quick(run)}
    for i in range(trained.tokenizer.get_vocab_size()):
        text = trained.tokenizer.decode([i])
        if re.fullmatch(f"[{words.KNOWN}]+", text):
            assert any(text in w for w in known), text
    assert trained.facts["segmenter"] == "rjieba"
    tokenizer = trained.tokenizer
    text = "患者在北京\t接受治疗。\r\n  hello 𠀀 👩‍👩‍👧"
    assert tokenizer.decode(tokenizer.encode(text).ids, skip_special_tokens=False) == text
    assert [tokenizer.decode([i]) for i in tokenizer.encode("高血压患者").ids] == ["高血压", "患者"]


def test_training_twice_gives_the_same_bytes() -> None:
    spec = TokenizerSpec(kind=Kind.JIEBA_WORDS, vocab_size=500)
    texts = [pl.Series(chinese(100)), pl.Series(english(50))]
    one, other = (words.train(iter(texts), spec, specials(CHATML)).tokenizer.to_str() for _ in range(2))
    assert one == other


def test_the_users_words_are_words(tmp_path: Path, slow: words.Cut) -> None:
    assert slow("这是云图谱系统") == ["这", "是", "云", "图谱", "系统"]
    path = tmp_path / "words.txt"
    path.write_text("\ufeff云图谱 2000 n\r\n\n糖化血红蛋白\n心梗 n\n创新办 3\n", encoding="utf-8")
    assert words.dictionary(path) == [("云图谱", 2000, "n"), ("糖化血红蛋白", None, None), ("心梗", None, "n"), ("创新办", 3, None)]
    assert words.own(path)("这是云图谱系统") == ["这是", "云图谱", "系统"]
    assert slow("这是云图谱系统") == ["这", "是", "云", "图谱", "系统"]  # and nobody else's
    spec = TokenizerSpec(kind=Kind.JIEBA_WORDS, vocab_size=400, words=path)
    trained = words.train([pl.Series(["这是云图谱系统，云图谱系统好。"] * 5)], spec, specials(CHATML))
    assert trained.facts["segmenter"] == "jieba"
    assert "云图谱" in {trained.tokenizer.decode([i]) for i in range(trained.tokenizer.get_vocab_size())}


@pytest.mark.parametrize(
    ("content", "line", "said"),
    [
        ("医院 5\n云计算 five n\n".encode(), 2, "'five' is no count of '云计算'"),
        ("医院 0\n".encode(), 1, "'0' is no count"),
        ("云 计算 5\n".encode(), 1, "is no count of '云'"),
        (f"医院 {'9' * 5000}\n".encode(), 1, "is no count of '医院'"),
        (("长" * 1001).encode(), 1, "has 1,001 characters"),
        ("医院 5\n".encode() + "患者".encode("gb18030"), 2, "not UTF-8"),
    ],
)
def test_a_line_that_is_no_entry_is_named(tmp_path: Path, content: bytes, line: int, said: str) -> None:
    path = tmp_path / "words.txt"
    path.write_bytes(content)
    with pytest.raises(DataError) as error:
        words.own(path)
    assert f"{path}, line {line}: " in str(error.value)
    assert said in str(error.value)


def test_a_missing_dictionary_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"none\.txt: the dictionary of words cannot be read"):
        words.own(tmp_path / "none.txt")


def test_no_han_at_all(quick: words.Cut) -> None:
    counts = count([pl.Series(["only English"])])
    assert table(words.segmented(counts, quick)) == table(counts)
    assert len(words.segmented(Counts(np.zeros(0, np.uint8), np.zeros(1, np.int64), np.zeros(0, np.int64)), quick).counts) == 0
