"""Which script a text is in, and its conversion."""

from __future__ import annotations

import opencc
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from corpus.text.conversion import RULES, script
from corpus.text.rules import clean
from corpus.text.script import scripts
from corpus.text.scripts import TO_SIMPLIFIED, TO_TRADITIONAL, converter, only, single
from corpus.text.settings import TextSettings
from corpus.text.units import units

SIMPLIFIED = TextSettings(script="simplified")
TRADITIONAL = TextSettings(script="traditional")
KEEP = TextSettings()

SCRIPTS = [
    ("请问怎样才能学好一门外语？", "hans"),
    ("請問怎樣才能學好一門外語？", "hant"),
    ("你好，一二三。", "hans"),  # characters of both: simplified as it stands
    ("皇后住在北京城里，姓范。", "hans"),
    ("皇后走了以後，他說台灣的雲很美。", "hant"),
    ("这个问题很难，這個問題很難。", "mixed"),
    ("陳奕迅是香港歌手，他的歌在内地也很受欢迎，许多人从小听到大，演唱会的门票总是一抢而空。", "hans"),
    ("乾隆皇帝喜欢写诗。", "hans"),
    ("国立国会図書館は東京にある。", None),
    ("日本語の勉強を始めました。", None),
    ("日语里“ありがとう”是谢谢的意思。", "hans"),
    ("日文裡「ありがとう」是謝謝的意思。", "hant"),
    ("대한민국 大韓民國", None),
    ("Plain English.", None),
    ("12 + 5 = 17", None),
    ("", None),
]


@pytest.mark.parametrize(("text", "expected"), SCRIPTS)
def test_scripts(text: str, expected: str | None) -> None:
    assert scripts(pl.Series([text])).to_list() == [expected]


def test_a_column() -> None:
    told = scripts(pl.Series([text for text, _ in SCRIPTS] + [None], dtype=pl.String))
    assert told.to_list() == [expected for _, expected in SCRIPTS] + [None]
    assert told.dtype == pl.Enum(["hans", "hant", "mixed"])
    assert len(scripts(pl.Series([], dtype=pl.String))) == 0
    assert scripts(pl.Series(["一", "見", "见"]).slice(1)).to_list() == ["hant", "hans"]


def test_only_characters_of_one_script() -> None:
    simplified, traditional = ({chr(code) for code in codes} for codes in only())
    assert simplified.isdisjoint(traditional)
    assert set("们这说国时会对发为还") <= simplified
    assert set("們這說國時會對發為還裡麼") <= traditional
    assert not simplified & set("后里干面范云余台只斗丑谷于才征了")
    assert not traditional & set("著乾於徵覆後")
    both = set("的一是不了人我在有他中大上和地到你出就可以好小天心去年")
    assert not both & (simplified | traditional)
    # Twice the same: nothing that a conversion yields calls for it again.
    assert not {chr(single(TO_SIMPLIFIED)[ord(char)]) for char in traditional} & traditional
    assert not {chr(single(TO_TRADITIONAL)[ord(char)]) for char in simplified} & simplified


def test_counts() -> None:
    found = units(pl.Series(["我们と一緒", "國家，国家", "ありがとう"]))
    assert found.simplified.tolist() == [0, 1, 0]
    assert found.traditional.tolist() == [0, 1, 0]
    assert found.kana.tolist() == [1, 0, 5]
    assert found.japanese.tolist() == [5, 0, 5]
    assert found.han.tolist() == [0, 4, 0]


CONVERTED = [
    ("請問怎樣才能學好一門外語？", "请问怎样才能学好一门外语？"),
    ("他笑著說：隨著時間過去，這部名著越來越著名。", "他笑着说：随着时间过去，这部名著越来越著名。"),
    ("乾隆皇帝把餅乾弄得很乾淨。那個人說的。", "乾隆皇帝把饼干弄得很干净。那个人说的。"),
    ("這個问题很難。", "这个问题很难。"),
    ("皇后走了以後，頭髮發白。", "皇后走了以后，头发发白。"),
    ("軟體和滑鼠", "软体和滑鼠"),  # the script changes, not the words
    (
        "請看 https://example.com/說明?a=這 和下面：\n```\nprint('這是')\n```\n這樣。",
        "请看 https://example.com/說明?a=這 和下面：\n```\nprint('這是')\n```\n这样。",
    ),
    ("日文裡「東京に行きます」這句話的意思是說去東京。", "日文里「東京に行きます」这句话的意思是说去东京。"),
]


@pytest.mark.parametrize(("text", "expected"), CONVERTED)
def test_to_simplified(text: str, expected: str) -> None:
    assert script(pl.Series([text]), SIMPLIFIED).to_list() == [expected]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("为了吃饭，群众在里面排队。", "為了吃飯，群眾在裡面排隊。"),
        ("皇后的头发很干净。", "皇后的頭髮很乾淨。"),
        ("鼠标和软件", "鼠標和軟件"),
        ("请写 `for 变量 in 列表`。", "請寫 `for 变量 in 列表`。"),
        # Traditional already but for one character: 范 and 余 stay.
        (
            "范先生與余小姐說這個計畫從開始到結束都很順利，沒有發現問題，時间也夠。",
            "范先生與余小姐說這個計畫從開始到結束都很順利，沒有發現問題，時間也夠。",
        ),
    ],
)
def test_to_traditional(text: str, expected: str) -> None:
    assert script(pl.Series([text]), TRADITIONAL).to_list() == [expected]


@pytest.mark.parametrize("text", [text for text, told in SCRIPTS if told is None])
def test_other_languages_stay(text: str) -> None:
    for wanted in (SIMPLIFIED, TRADITIONAL, KEEP):
        assert script(pl.Series([text]), wanted).to_list() == [text]


def test_texts_given_stay_as_they_are() -> None:
    texts = pl.Series(["這樣", "那樣"])
    assert script(texts, SIMPLIFIED).to_list() == ["这样", "那样"]
    assert texts.to_list() == ["這樣", "那樣"]


def test_batches_are_as_texts_one_by_one() -> None:
    texts = ["\n這樣\n", "這樣\r\n那樣\x1e", "開\x00關", " 隨", "著說", "\u2028說\n\n\x1e\n", "", "著", "說𠮷\U0001f600", "\n", "時\n"]
    assert script(pl.Series(texts), SIMPLIFIED).to_list() == [script(pl.Series([text]), SIMPLIFIED)[0] for text in texts]
    convert = opencc.OpenCC(TO_SIMPLIFIED).convert
    plain = [text for text in texts if "\0" not in text and units(pl.Series([text])).traditional[0]]
    assert script(pl.Series(plain), SIMPLIFIED).to_list() == [convert(text) for text in plain]
    assert script(pl.Series(["開\x00關"]), SIMPLIFIED).to_list() == ["开\x00关"]


def test_the_registry_runs_it() -> None:
    texts = pl.Series(["說明", None, "说明", "text"])
    assert clean(texts.clone(), RULES, SIMPLIFIED)[0].to_list() == ["说明", None, "说明", "text"]
    assert clean(texts.clone(), RULES, KEEP)[0].to_list() == texts.to_list()


_CHARS = st.sampled_from(
    "".join(map(chr, (*only()[0][::40], *only()[1][::40]))) + "后里干范云余乾著於後徵一的はのカー、。 \n`$|abc\u0301\ufdd0😀𠮷金"
)
_TEXTS = st.text(st.one_of(_CHARS, st.characters(exclude_categories=("Cs",))), max_size=60)


@settings(max_examples=300, deadline=None)
@given(st.lists(_TEXTS, min_size=1, max_size=4))
def test_properties(texts: list[str]) -> None:
    column = pl.Series(texts)
    han = units(column).han
    for wanted in (SIMPLIFIED, TRADITIONAL):
        once = script(column.clone(), wanted)
        assert script(once.clone(), wanted).to_list() == once.to_list()
        assert [len(text) for text in once] == [len(text) for text in texts]
        for before, after, count in zip(texts, once, han, strict=True):
            assert all(x == y or x >= "\u3400" for x, y in zip(before, after, strict=True))
            assert count or before == after


@settings(max_examples=100, deadline=None)
@given(st.lists(st.sampled_from("說著隨這時候開關計劃乾裡于后发里云的一，。"), max_size=30).map("".join))
def test_joining_is_harmless(text: str) -> None:
    """What stands beside a text in the batch does not matter."""
    assert script(pl.Series(["說著", text, "著說"]), SIMPLIFIED).to_list()[1] == script(pl.Series([text]), SIMPLIFIED)[0]


def test_hostile_texts_take_linear_time() -> None:
    for piece in ("`", "說`", "```", "https://", "說の", "著"):
        text = piece * (300_000 // len(piece)) + "說"
        assert len(script(pl.Series([text]), SIMPLIFIED)[0]) == len(text)


def test_phrases_of_the_dictionaries_stay_converted() -> None:
    words = ["拮据", "恒大", "涂敏恒", "党项", "束脩", "蔣昇說", "不可貲計", "海淀区", "巴厘岛"]
    for wanted, name in ((SIMPLIFIED, TO_SIMPLIFIED), (TRADITIONAL, TO_TRADITIONAL)):
        once = script(pl.Series(words), wanted)
        assert script(once.clone(), wanted).to_list() == once.to_list()
        assert converter(name).convert("说") in "说說"
