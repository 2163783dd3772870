"""Mojibake: what is damaged in a known way comes back, and sound text of many languages stays as it is."""

import os
import re
import time
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from corpus.text.legible import cost
from corpus.text.marks import marks
from corpus.text.mojibake import RULES, mojibake, repair, suspects
from corpus.text.rules import clean
from corpus.text.settings import TextSettings

CHINESE = [
    "春天来了，院子里的桃花开得正好。",
    "请把下面的句子翻译成英文：我昨天没有去学校。",
    "机器学习是让计算机从数据中学习的方法，可以分为监督学习、无监督学习和强化学习三类。",
    "“你吃饭了吗？”他问。她摇了摇头，没有说话……",
    "1. 打开文件；2. 读取每一行；3. 关闭文件（不要忘记）。",
    "Python的列表推导式写起来很短，例如 [x * 2 for x in range(10)]，但不要写得太长。",
    "这本书的价格是￥45，比去年贵了12%。",
    "感冒了要多喝水，注意休息；如果三天后还没有好，应当去医院。",
    "《红楼梦》的作者是曹雪芹，书中有四百多个人物。",
    "杭州今天多云，气温18～25℃，适合外出。",
]
ENGLISH = [
    "Don’t forget the milk – we’re out of it…",
    "“Where is the café?” she asked.",
    "The naïve answer was wrong; the fiancée knew better.",
    "It’s 25°C outside, and the soup costs £4.",
    "Thank you! 😊 See you tomorrow 👋",
    "Zürich, Málaga and São Paulo are the three offices.",
    "The area is π·r² — about 78.5 cm².",
    "Schrödinger’s equation is older than the Café Müller.",
    "He said—and I quote—“never again”.",
    "• first point\n• second point",
]
SOUND = [
    *CHINESE,
    *ENGLISH,
    "Où est passée la clé de l’été ? « À côté de l’âtre », répondit-elle. LIBERTÉ\u00a0»",
    "Une idée\u00a0: « Éloïse\u00a0» et “à la carte”, ‘été’, “café”—“État”…",
    "Die Größe der Äpfel überrascht: „Übung macht den Meister“, sagte Jürgen. ÄÖÜ äöü ß",
    "Tiếng Việt có nhiều dấu: Hà Nội, Đà Nẵng, Huế, được, ngữ pháp, ấy là thế.",
    "Não há solução fácil: as ações, os corações e a manhã. ÃO, ÇÃO.",
    "İstanbul'da güneş doğuyor; şöyle bir düşün, çünkü ığdır uzak.",
    "Zażółć gęślą jaźń. Łódź, Kraków, Świętokrzyskie.",
    "Příliš žluťoučký kůň úpěl ďábelské ódy. Áš, Úžasný.",
    "¡Hola! ¿Éste es el año del Ñandú? —Él dijo que sí. ¡Vamos! «Ójala»",
    "Årsmötet öppnas på ön; Ää, Öö, Åå är bokstäver. Hyvää päivää, öööö!",
    "áéíóúñ ÁÉÍÓÚÑ àâçéèêëîïôûù ÀÁÂÃÄÅ [A-Za-zÀ-ÖØ-öø-ÿ]",
    "Привет, как дела? Это — “пример”.",
    "Καλημέρα κόσμε· πώς είσαι;",
    "שלום עולם, مرحبا بالعالم, สวัสดีชาวโลก, नमस्ते",
    "∑ x² ≤ ∞, ±√(b² − 4ac), π≈3.14, ∂f/∂x ≠ 0, A∩B, ¬P ∨ ¬Q, 10¹² and 10⁻³",
    "x = (-2 ±√24) / 6; 25ºC (77ºF); §§ 12, 13; 5 × 3 ÷ 2 = 7½",
    "├── src\n│   ├── main.rs\n└── Cargo.toml\n╔══╗║▒▒▓█",
    "🎉👩‍👩‍👧‍👦❤️🇨🇳 ★☆♪ (╯°□°)╯︵ ┻━┻ ¯\\_(ツ)_/¯ ʕ•ᴥ•ʔ ಠ_ಠ",
    "子曰：「學而時習之，不亦說乎？有朋自遠方來，不亦樂乎？」",
    "氡氣問題與鐳、釙、鈾的衰變鏈有關，臺灣繁體字：鬱、籲、竈、龜、鱉。",
    "李昀珅、王喆、张翀、赵赟、陈祎、刘懿瑄、璩赫、訾鑫、亓官雪、郗昊",
    "饕餮、魑魅魍魉、耄耋、氍毹、囹圄、觊觎、踯躅、茕茕孑立、沆瀣一气",
    "今日は良い天気ですね。東京の地下鉄も鉄道網を含む。ありがとうございます！",
    "안녕하세요 세계, 오늘은 날씨가 좋습니다.",
    "手持两把锟斤拷，口中疾呼烫烫烫。脚踏千朵屯屯屯，笑看万物锘锘锘。",
    "……”“——”“你好”“再见”——‘是’",
    "T恤、K歌、A股、5路车、3毛钱、茅台、拢共、mao毛，lu路，mei每",
    "low quotation marks („“), eth (ðÐ), thorn",
    "IGNORE;IGNORE;IGNORE;IGNORE # 毛18413, #路5, #美20",
    '["A¢☃€ 😊", " A☃€¢😊", "☃€😊 A¢"]',
    "def f(x: str) -> str:\n    return x.encode('utf-8')[:3]  # b'\\xe4\\xb8\\xad'",
    "broken: caf\ufffd, \ufffd\ufffd",
    "ﬁrst, ﬂoor, eﬃcient; ‘quoted’ “text”—‰ † ‡ ‚low‘ „low“ ‹x›",
]


def sloppy(data: bytes) -> str:
    return "".join(chr(b) if b in (0x81, 0x8D, 0x8F, 0x90, 0x9D) else bytes((b,)).decode("cp1252") for b in data)


DAMAGES = {
    "utf-8 as latin-1": lambda line: line.encode().decode("latin-1"),
    "utf-8 as cp1252": lambda line: sloppy(line.encode()),
    "utf-8 as mac_roman": lambda line: line.encode().decode("mac_roman"),
    "gbk as latin-1": lambda line: line.encode("gbk").decode("latin-1"),
    "gbk as cp1252": lambda line: sloppy(line.encode("gbk")),
}


@pytest.mark.parametrize("kind", DAMAGES)
@pytest.mark.parametrize("line", [*CHINESE, *ENGLISH])
def test_every_line_comes_back(kind: str, line: str) -> None:
    try:
        damaged = DAMAGES[kind](line)
    except UnicodeError:
        pytest.skip("the encoding has no such characters")
    assert damaged != line
    assert repair(damaged) == line


@pytest.mark.parametrize("line", CHINESE)
def test_chinese_comes_back_from_gbk_as_mac_roman(line: str) -> None:
    assert repair(line.encode("gbk").decode("mac_roman")) == line


@pytest.mark.parametrize(
    ("damaged", "expected"),
    [
        ("浣犲ソ", "你好"),
        ("鐨勶紝", "的，"),
        ("涓\ue15f枃缂栫爜", "中文编码"),
        ("馃憢 hello", "👋 hello"),
        ("I don鈥檛 know, it鈥檚 fine", "I don’t know, it’s fine"),
        ("他说：浣犲ソ，世界。", "他说：你好，世界。"),
        ("The temperature in the room was 25掳C", "The temperature in the room was 25°C"),
        ("We met in a small caf茅 in the old town", "We met in a small café in the old town"),
    ],
)
def test_utf8_as_gbk(damaged: str, expected: str) -> None:
    assert repair(damaged) == expected
    assert mojibake(pl.Series([damaged]), TextSettings()).to_list() == [expected]


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (
            "请用一句话解释“画蛇添足”",
            "请用涓\ufffd句话解释“画蛇添瓒斥\ufffd\ufffd",
        ),  # 一 may be 个 or 中; the last byte is lost, and with it all that it was part of
        ("今天下雨", "今天下雨"),
        ("吗?", "鍚\ufffd?"),
    ],
)
def test_lost_bytes(line: str, expected: str) -> None:
    """A lost byte within a text is taken for 0x80 only where nothing else can have stood there; what any other belonged to stays."""
    assert repair(line.encode().decode("gb18030", errors="replace")) == expected


@pytest.mark.parametrize("encoding", ["latin-1", "cp1252"])
@pytest.mark.parametrize("line", ["她吃了午餐，然後回到教室。", "本店開幕期間，全面八折優惠。", "請問臺北車站怎麼走？謝謝您！"])
def test_big5(line: str, encoding: str) -> None:
    assert repair(line.encode("big5").decode("latin-1") if encoding == "latin-1" else sloppy(line.encode("big5"))) == line


@pytest.mark.parametrize("line", SOUND)
def test_sound_text_stays(line: str) -> None:
    assert repair(line) == line
    assert [repair(each) for each in line.split("\n")] == line.split("\n")


@pytest.mark.parametrize(
    ("damaged", "expected"),
    [
        ("One Ã© in an English sentence.", "One é in an English sentence."),
        ("First line is sound: “été”.\nSecond isnâ€™t.", "First line is sound: “été”.\nSecond isn’t."),
        ("前一句没有问题。ä½\u00a0å¥½ï¼Œä¸–ç•Œã€‚后一句也没有。", "前一句没有问题。你好，世界。后一句也没有。"),
        ("‚Äô, Ôºå, \uf8ffüëã", "’, ，, 👋"),
        ("caf√© au lait", "café au lait"),
        ("ÄãºÃ, world", "你好, world"),
        ("don¡¯t say ¡°never¡±", "don’t say “never”"),
        ("Â£100 and 20Â°C", "£100 and 20°C"),
        ("Ïðèâåò", "Ïðèâåò"),  # cp1251: not one of the kinds
    ],
)
def test_golden(damaged: str, expected: str) -> None:
    assert repair(damaged) == expected


@pytest.mark.parametrize("line", ["你好，世界！今天天气不错。", "Don’t worry, it’s only a café."])
def test_twice_damaged(line: str) -> None:
    once = sloppy(line.encode())
    assert repair(sloppy(once.encode())) == line
    assert repair(once.encode().decode("mac_roman")) == line


def test_the_rule_agrees_with_repair() -> None:
    """Selecting is all that marks and kernel do: they lose no text that `repair` would change."""
    damaged = [damage(line) for line in (*CHINESE, *ENGLISH[:3]) for kind, damage in DAMAGES.items() if kind.startswith("utf")]
    damaged += [line.encode().decode("gb18030", errors="replace") for line in (*CHINESE, *ENGLISH)]
    texts = [*SOUND, *damaged, "", *(f"{a}{b}" for a, b in zip(SOUND, damaged, strict=False))]
    expected = [repair(text) for text in texts]
    after, changes, _ = clean(pl.Series(texts), RULES, TextSettings())
    assert after.to_list() == expected
    assert changes["mojibake"].tolist() == [i for i, (a, b) in enumerate(zip(texts, expected, strict=True)) if a != b]


def test_hardly_a_sound_text_is_looked_at() -> None:
    assert not suspects(pl.Series(CHINESE)).any()
    assert suspects(pl.Series(["浣犲ソ", "Ã©", "plain"])).tolist() == [True, True, False]
    assert suspects(pl.Series([], dtype=pl.String)).tolist() == []


def test_cost() -> None:
    assert cost("你好") < cost("ÄãºÃ")
    assert cost("café") < cost("cafÃ©")
    assert cost("") == 0


BYTES_AS_TEXT = st.binary(max_size=40).map(lambda data: data.decode("latin-1"))
PIECES = st.sampled_from([*CHINESE, *ENGLISH, "Ã", "©", "锛", "\n", " ", "\ufffd", "\u0301", "浣犲ソ", "â€™", "√©"])


@settings(max_examples=300, deadline=None)
@given(st.one_of(st.text(max_size=40), BYTES_AS_TEXT, st.lists(PIECES, max_size=4).map("".join)))
def test_idempotent_and_never_raises(text: str) -> None:
    once = repair(text)
    assert repair(once) == once
    for damage in DAMAGES.values():
        try:
            damaged = damage(text)
        except UnicodeError:
            continue
        fixed = repair(damaged)
        assert repair(fixed) == fixed


@settings(max_examples=200, deadline=None)
@given(st.one_of(st.text(max_size=40), st.text(st.characters(min_codepoint=0x4E00, max_codepoint=0x9FFF), max_size=20)))
def test_selection_is_sound(text: str) -> None:
    """What neither marks nor kernel select, `repair` leaves alone."""
    series = pl.Series([text.encode(errors="replace").decode()])
    selected = bool(marks(series)[0] & np.uint32(RULES[0].marks)) and bool(suspects(series)[0])
    if not selected:
        assert repair(series[0]) == series[0]


@pytest.mark.parametrize("unit", ["Ã©", "Ã", "â€", "浣犲ソ", "锛", "涓\ufffd", "¡", "é\n", "éa", "茅", "€", "√", "\ufffd", "𠀀é"])
def test_hostile_texts_are_linear(unit: str) -> None:
    repair(unit)
    times = []
    for length in (10_000, 40_000):
        text = unit * (length // len(unit))
        best = 1e9
        for _ in range(2):
            began = time.process_time()
            repair(text)
            best = min(best, time.process_time() - began)
        times.append(best)
    assert times[1] < 8 * times[0] + 0.05


@pytest.mark.real
@pytest.mark.skipif("DATA_REAL" not in os.environ, reason="DATA_REAL names no folder")
def test_real_lines() -> None:
    from benchmarks import mojibake as bench

    folder = Path(os.environ["DATA_REAL"])
    names = ("belle", "alpaca_gpt4", "lima", "oasst_zh")
    sources = {
        name: [text for path in sorted((folder / name).rglob("*")) if path.is_file() for text in bench.texts_of(path)] for name in names
    }
    picked = bench.sample(sources, 1000)
    for right, wrong in (("utf-8", "latin-1"), ("utf-8", "cp1252"), ("utf-8", "mac_roman")):
        for lines in picked.values():
            count, restored, _ = bench.recall(lines, right, wrong)
            assert restored >= 0.98 * count > 0
    for wrong in ("gbk", "latin-1", "cp1252", "mac_roman"):
        count, restored, _ = bench.recall(picked["zh"], "utf-8" if wrong == "gbk" else "gbk", wrong)
        assert restored >= 0.98 * count > 0
    assert list(bench.changes(sources)) == []


@pytest.mark.parametrize("decoder", ["gbk", "gb18030"])
@pytest.mark.parametrize(
    "line", ["自动化对就业情况会产生什么影响？", "感觉一个月没见，好想你啊！", "今天的天气很好，我们去公园走走吧。", "瓶装和储存"]
)
def test_no_character_is_made_up_for_a_lost_byte(line: str, decoder: str) -> None:
    found = repair(line.encode().decode(decoder, errors="replace"))
    assert set(re.findall("[\u4e00-\u9fff]", found)) & set("臀逞昀囀者一") <= set(line)
