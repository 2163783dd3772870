"""Which language a text is in."""

from __future__ import annotations

import os
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.language import LEAST, judge, labelled, scripted
from benchmarks.sentences import OTHER
from corpus.text.language import languages, languages_of
from corpus.text.script import scripts
from corpus.text.units import units
from corpus.text.words import slots

ENGLISH = [
    "Give three tips for staying healthy.",
    "The meeting has been moved to next Thursday.",
    "I don't know what you're talking about, but it isn't mine.",
    "Don’t worry – it’s fine.",
    "What is a naïve Bayes classifier? The café on Rue de Rivoli is closed.",
    "Personal care items: soap, shampoo, toothpaste.",
    "Los Angeles, San Francisco and Las Vegas are cities in the west of the country.",
    "Strawberry cheesecake with whipped cream",
    "Name: John Smith\nPhone: 555-0100\nCity: Boston",
]
CHINESE = [
    "请用一句话解释这个成语的意思。",
    "請用一句話解釋這個成語的意思。",
    "在 Python 里用 pip install numpy 安装，然后 import numpy as np 就可以了。",
    "TCP和UDP有什么区别？HTTP属于哪一层？",
    "一二三",
    "下面的程序输出什么？\n```python\ndef main(argument):\n    for item in the_list:\n        print(item, and_so_on)\n```",
    "写一个函数。\ndef add(first, second):\n    result = first + second\n    return result\nprint(add(1, 2), add(3, 4))",
    "日语里“ありがとう”是谢谢的意思，回答时可以说不客气。",
]
MIXED = [
    "把下面的句子翻译成英文：今天天气很好，我们去公园散步吧。\nThe weather is very nice today, let us go for a walk in the park.",
    "Translate the following sentence into Chinese: I would like to have a cup of tea.\n我想喝一杯茶。",
    "Translate into French: The weather is very nice today and we are going to the park.\nIl fait très beau aujourd'hui et nous allons au parc avec les enfants.",
]
CODE = [
    "def add(a, b):\n    return a + b\n\nprint(add(1, 2))",
    "```js\nconst x = items.map(i => i.id);\n```",
    '{"name": "x", "size": 12, "items": ["a", "b"]}',
    "https://example.com/some/path.html",
]
NOTHING = ["", "12 + 5 = 17", "……", "x = y + 2", "😀", "3.14159 | 2.71828", None]


@pytest.mark.parametrize(
    ("texts", "expected"),
    [(ENGLISH, "en"), (CHINESE, "zh"), (MIXED, "mixed"), (CODE, "en"), (NOTHING, None)],
    ids=["en", "zh", "mixed", "code", "nothing"],
)
def test_languages(texts: list[str], expected: str | None) -> None:
    told = languages(pl.Series(texts, dtype=pl.String)).to_list()
    assert dict(zip(texts, told, strict=True)) == dict.fromkeys(texts, expected)


def test_other_languages() -> None:
    lines = [(code, line) for code, sentences in OTHER.items() for line in sentences]
    told = languages(pl.Series([line for _, line in lines]))
    wrong = [(code, line, said) for (code, line), said in zip(lines, told, strict=True) if said != "other"]
    assert len(wrong) <= 2, wrong
    assert len(OTHER) >= 20


def test_several_texts_of_other_languages_are_no_english() -> None:
    for code, sentences in OTHER.items():
        assert languages(pl.Series(["\n".join(sentences)])).to_list() == ["other"], code


def test_units() -> None:
    found = units(pl.Series(["I don't see l'été.", "Это мой дом", "foo_bar(x) = baz2; http://a.bc/de ok", "안녕 세상"]))
    assert found.words.tolist() == [3, 0, 2, 0]  # don't, see, l'été; http and ok
    assert found.english.tolist() == [2, 0, 0, 0]
    assert found.accented.tolist() == [1, 0, 0, 0]
    assert found.others.tolist() == [0, 3, 0, 0]
    assert found.hangul.tolist() == [0, 0, 0, 4]
    assert (found.code > 0).tolist() == [False, False, True, False]


def test_fenced_words_are_code() -> None:
    found = units(pl.Series(["one\n```\ntwo three\n```\nfour", "a ``` b"]))
    assert found.words.tolist() == [2, 0]
    assert found.code.tolist() == [2, 0]


def test_the_word_table_finds_all_words() -> None:
    keys, kinds = slots()
    assert (kinds > 0).sum() == (keys > 0).sum() > 300
    words = [int(key).to_bytes(8, "big").lstrip(b"\0").decode() for key in keys[keys > 0]]
    found = units(pl.Series([" ".join(words).upper()]))
    assert found.english[0] + found.foreign[0] == len(words)


@settings(max_examples=300, deadline=None)
@given(
    st.lists(
        st.one_of(st.text(max_size=50), st.text(st.sampled_from("aé’' \u0301`\n.x1_ẞß的の한Яя😀"), max_size=50)), min_size=1, max_size=4
    )
)
def test_any_text_has_an_answer(texts: list[str]) -> None:
    texts = [text.encode("utf-8", "ignore").decode() for text in texts]
    column = pl.Series(texts)
    told = languages(column).to_list()
    assert told == [languages(pl.Series([text])).to_list()[0] for text in texts]
    assert set(told) <= {"zh", "en", "mixed", "other", None}
    assert languages_of(units(column), column.gather).to_list() == told


def test_long_texts() -> None:
    long = pl.Series(["a" * 1_000_000, "'" * 1_000_000, "é" * 500_000, "`" * 900_000, "ab " * 300_000, "的の" * 200_000])
    assert len(languages(long)) == 6


@pytest.mark.real
@pytest.mark.skipif("DATA_REAL" not in os.environ, reason="DATA_REAL names no folder")
@pytest.mark.parametrize(("rows", "tell"), [(labelled, languages), (scripted, scripts)], ids=["language", "script"])
def test_lines_of_known_sources(rows, tell) -> None:  # type: ignore[no-untyped-def]
    lines = [row for row in rows(Path(os.environ["DATA_REAL"])) if len(row[2]) >= LEAST]
    said = tell(pl.Series([line for _, _, line in lines])).to_list()
    share, table = judge(lines, said)
    assert len(lines) > 10_000
    assert share >= 0.99, table
    for label in {label for label, _, _ in lines}:
        mine = [i for i, row in enumerate(lines) if row[0] == label]
        assert judge([lines[i] for i in mine], [said[i] for i in mine])[0] >= 0.95, table
