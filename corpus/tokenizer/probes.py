"""Short texts that a lossless tokenizer gives back, and others change: what real text has too seldom to show in a sample of it."""

from __future__ import annotations

PROBES: dict[str, str] = {
    "full-width punctuation": "你好，世界！“引号”——《书名》；（括号）、……：？",
    "full-width letters and digits": "ＡＢＣａｂｃ１２３％＃＠",
    "half-width forms": "ﾊﾝｶｸ ｶﾞｷﾞｸﾞ ｡｢｣､･ ￦￠",
    "ideographic space": "　　段首缩进　中间",
    "leading and trailing spaces": "  two before, three behind   ",
    "doubled spaces": "a  b   c    d\u00a0\u00a0e",
    "tabs": "\tx\t\ty\t",
    "CRLF": "one\r\ntwo\r\n\r\nthree\rfour",
    "line breaks": "\n\n\na\n\n\n\nb\n \n",
    "emoji with joiners": "👩‍👩‍👧‍👦 👍🏽 ❤️‍🔥 🏴‍☠️ 👨🏿‍🚀",
    "flags": "🇨🇳🇬🇧 🏴󠁧󠁢󠁥󠁮󠁧󠁿",
    "rare Han": "𠮷𡈽𢌞𣏤𪚥𫝀𰻝 㐂䶮",
    "traditional Han": "臺灣體驗與學習，龍鳳呈祥",
    "zero width": "a\u200bb\u200cc\u200dd\ufeffe\u2060f\u00adg",
    "directional marks": "\u202aabc\u202c \u2067אבג\u2069",
    "combining marks": "e\u0301 a\u0323\u0302 o\u0302\u0323 n\u0303 กำ़",
    "what NFKC replaces": "①②⑩ ㎏㎡ ﬁﬂ ½ ² ™ Ⅳ ㈱ ㍿ … ﷺ",
    "what NFC replaces": "\u212b \u2126 \ufa19\uf900 \u304b\u3099 \u1103\u1165 e\u0301",
    "code": 'def f(x: int = 0) -> str:\n\tif x >= 1e-3:\n        return f"{x!r}"  # 注释\n',
    "markup": '<div class="a">&nbsp;&amp;</div> \\frac{1}{2} $x^2$ | --- |',
    "digits": "3.14159 1,234,567 2024-01-01 0x1F ٣٤٥ १२३",
    "several scripts": "Привет Ελληνικά עברית العربية हिन्दी ไทย 日本語のカナ 한국어 ქართული",
    "control characters": "a\x00b\x07c\x1bd\x7fe\x85f",
    "replacement and private use": "\ufffd \ue000 \U000f0000 \U0010ffff",
    "what sentencepiece spells spaces with": "a▁b ▁▁",
    "byte spellings": "<0x41> <0xE4> Ġa Ċ ##a",
}
"""What each is, and its text."""

SPECIALS = "literal special tokens"
"""The probe that is made for each tokenizer: all its special tokens' spellings, which must be encoded as text."""
