"""Which template carries text, and how: names with their redirects, as the English and Chinese Wikipedia have them.

A template that is not here is dropped: citations, navigation boxes, notices and the like are no prose, and the text of the others is in
the wiki's template pages, which an article does not have.
"""

from __future__ import annotations

from corpus.text.wiki import carriers as c
from corpus.text.wiki import numbers
from corpus.text.wiki.marks import PIPE

_GROUPS: tuple[tuple[c.Carrier, str], ...] = (
    (
        c.first,
        "nowrap|nobr|nobreak|nowraplinks|不折行|nobold|noitalic|small|smaller|resize small|big|larger|large|huge|em|strong|bold|"
        "b|italic|i|italics|smallcaps|sc|sc2|allcaps|mono|monospace|code|mvar|math|var|kbd|key|keypress|tt|samp|serif|sans-serif|"
        "sans serif|strikethrough|underline|u|visible anchor|visibleanchor|vanchor|abbr|tooltip|hover title|term|unicode|"
        "polytonic|ipa-zh|hebrew|cyrl|不换行|小|大|粗体|raise|lower|align|center|left|right|sic2|not a typo|typo|as written|"
        "proper name|pinyin|拼音|py|僻字|rareword|罕用字|pua|需要解释|需要解釋|citation needed span|cn-span|fact span|"
        "clarify span|text|plain text|isbn text|kanji|hanja|hangul|wikt|wt|w|wikipedia link|lw|"
        "abbrlink|abbrv|vertical|竖排|noruby|user input|pre2|quote without source|首字放大|dropcap|drop cap|popup|cjkv|缩写|縮寫|"
        "tq",
    ),
    (
        c.second,
        "color|colour|font color|fontcolor|color text|font|fs|bg|background color|highlight|size|resize|ipa link|script|sclass|"
        "sclass2|native name|native phrase|longitem|rtl-lang|rtl-para|bidi",
    ),
    (c.around("⟨", "⟩"), "angbr|angle bracket"),
    (c.around("'", "'"), "gloss|lit gloss"),
    (c.around("{", "}"), "braces"),
    (c.around("[", "]"), "bracket"),
    (c.around("lit. '", "'"), "lit|literal translation|lit."),
    (c.last, "transl|transliteration|tlit|ipa|ipa-all|ipa link2|music text|zh-pinyin|lang-zh-pinyin|translit"),
    (c.raised, "sup|superscript|上标|上標"),
    (c.lowered, "sub|subscript|下标|下標"),
    (c.lang, "lang|语言|語言|lang2|foreign language"),
    (c.langx, "langx|lang-x"),
    (c.zh, "zh|lang-zh|zh2|chinese|cjk|zhi|zhongwen"),
    (c.nihongo, "nihongo|nihongo core|nihongo title|日文"),
    (c.nihongo_krt, "nihongo2|nihongo3|nihongo4|nihongo krt"),
    (c.ruby, "ruby|ruby-ja|ruby-zh-p|ruby-zh-b|ruby-py|rubyja|rt|振假名|注音|zy"),
    (c.link_text, "linktext|link text"),
    (
        c.link,
        "le|lj|lf|ld|lk|lr|internal link helper|ilh|liw|link-wd|illm-zh|link-interwiki|link interwiki|red link|redlink|red|rl",
    ),
    (c.tsl, "tsl|translink|translation link"),
    (c.ill, "ill|illm|interlanguage link|interlanguage link multi|ill-wd|illwd|link-interlang"),
    (c.kari, "仮リンク"),
    (c.url, "url|網址|网址"),
    (c.convert, "convert|換算|换算"),
    (c.convert_short, "cvt"),
    (c.val, "val"),
    (c.phonemes, "ipac-en"),
    (c.respelled, "respell|pronunciation respelling"),
    (c.music, "music|音乐|音樂"),
    (lambda args, at: numbers.formatnum(args[1]), "formatnum|num|commas|number|format price|formatprice"),
    (c.fraction, "frac|fraction|sfrac|分数|分數|分數2"),
    (c.power, "e|exp"),
    (lambda args, at: f"10{numbers.raised(args[1])}", "10^"),
    (c.gaps, "gaps|digits"),
    (c.formula, "chem|chemf"),
    (c.formula2, "chem2|chemical formula"),
    (c.ordinal, "ordinal|ord|nth"),
    (c.around("", "%"), "percent|pct"),
    (c.money("US$"), "us$|usd|us dollar"),
    (c.money("£"), "£|gbp|pound sign"),
    (c.money("€"), "€|eur|euro"),
    (c.money("¥"), "¥|jpy|cny|yen"),
    (c.money("₹"), "inr|indian rupee|indian rupees|₹"),
    (c.money("A$"), "a$|aud|au$"),
    (c.money("C$"), "c$|cad|ca$"),
    (c.money("HK$"), "hk$|hkd"),
    (c.money("NT$"), "nt$|twd"),
    (
        c.date,
        "birth date|birth-date|bda|birth date and age|birth date and age2|birth-date and age|dob|death date|death-date|"
        "death date and age|dda|death-date and age|start date|start date and age|end date|release date|film date|date|dts|"
        "date table sorting|birth year and age|出生日期和年龄|出生日期和年齡|出生日期|逝世日期|死亡日期|死亡日期和年龄|開始日期|"
        "开始日期|起始日期|结束日期",
    ),
    (c.as_of, "as of|asof|截至"),
    (c.lived, "bd|生卒|生卒年"),
    (c.circa, "circa|c.|ca.|约|約"),
    (c.reign("r."), "reign|r."),
    (c.reign("fl."), "floruit|fl.|fl"),
    (c.reign("born"), "born"),
    (c.reign("died"), "died"),
    (c.reign("m."), "married"),
    (c.flag, "flag|flagcountry|flag country|flagu|flagg|flaglist|country|nation"),
    (c.any_ship, "ship"),
    (c.ship("USS"), "uss"),
    (c.ship("HMS"), "hms"),
    (c.ship("RMS"), "rms"),
    (c.ship("SS"), "ss"),
    (c.ship("MV"), "mv"),
    (c.ship("HMAS"), "hmas"),
    (c.ship("HMCS"), "hmcs"),
    (c.ship("INS"), "ins"),
    (c.ship("SMS"), "sms"),
    (c.ship("USNS"), "usns"),
    (c.ship("GTS"), "gts"),
    (c.ship("MS"), "ms"),
    (c.quote, "quote|blockquote|cquote|quotation|quote frame|bquote|rquote|引用|引文|verse translation|poemquote|poem quote"),
    (
        c.raw,
        "plainlist|plain list|flatlist|flat list|startplainlist|列表|collapsible text|div|span|block indent|blockindent|indented|"
        "bulleted|hidden text|poem",
    ),
    (c.inline_items, "hlist|hlist-comma|flatlist2|comma separated entries|cslist"),
    (
        c.items,
        "unbulleted list|ubl|ubt|bulleted list|ordered list|columns-list|columnslist|numbered list|unordered list|項目列表|无序列表",
    ),
    (c.sic, "sic"),
    (lambda args, at: f"ISBN {args[1]}" if args[1] else "", "isbn"),
    (
        c.first,
        "usurped|railgauge|rail gauge|track gauge|enlink|要出典|要出典範囲|疑問点範囲|来源请求|來源請求|谁|誰|何时|何時|哪个|哪個",
    ),
)

_SIGNS: tuple[tuple[str, str], ...] = (
    ("–", "ndash|en dash|–"),
    ("—", "mdashb|mdash|em dash|emdash|—"),
    (" – ", "snd|spnd|spaced ndash|spaced en dash|sndash|dash"),
    (" — ", "spaced mdash|smd|spaced em dash"),
    (" · ", "·|dot|middot|bullet|•|\\|bold middot"),
    ("'", "'"),
    ("'s", "'s"),
    ('"', '"'),
    ("'\"", "'\""),
    ("\"'", "\"'"),
    ("ʻ", "`"),
    ("ʻ", "okina|ʻokina|hamza"),
    ("ʿ", "ayin|ayn"),
    ("′", "prime|′"),
    (":", "colon|:"),
    ("#", "hash"),
    ("*", "*|asterisk"),
    ("{", "("),
    ("}", ")"),
    ("{{", "(("),
    ("}}", "))"),
    (PIPE, "!"),
    (PIPE * 2, "!!"),
    (PIPE, "pipe"),
    ("{" + PIPE, "(!"),
    (PIPE + "}", "!)"),
    (PIPE + "-", "!-"),
    (PIPE + "+", "!+"),
    ("=", "="),
    (" ", "thinsp|nbsp|space|sp|spaces|thinspace|thin space|hsp|0ws|zwsp|shy|wbr"),
    ("\n", "clear|-|clr|br"),
    ("π", "pi"),
    ("φ", "phi"),
    ("†", "extinct|dagger|†"),
    ("♭", "flat|music flat"),
    ("♯", "sharp"),
    ("♮", "natural"),
    ("BCE", "bce"),
    ("CE", "ce"),
    ("BC", "bc"),
    ("AD", "ad"),
    ("CO₂", "co2"),
    ("H₂O", "h2o"),
    ("λ", "lambda"),
    ("μ", "mu"),
    ("α", "alpha"),
    ("β", "beta"),
    ("γ", "gamma"),
    ("∞", "infty|infinity"),
    ("×", "times"),
    ("−", "minus"),
    ("+", "plus"),
    ("±", "+-|±"),
    ("°", "deg|degree"),
    ("i.e.", "ie|i.e."),
    ("e.g.", "eg|e.g."),
    ("™", "tm"),
    ("✓", "check mark|tick|yes|yes2|aye"),
    ("✗", "cross|x mark|no mark"),
    ("…", "ellipsis|..."),
)
"""Templates that are a character or two."""


def _table() -> dict[str, c.Carrier]:
    table: dict[str, c.Carrier] = {}
    for carrier, names in _GROUPS:
        table.update(dict.fromkeys(names.split("|"), carrier))
    for sign, names in _SIGNS:
        table.update(dict.fromkeys(names.split("|"), c.named(sign)))
    return table


CARRIERS = _table()
"""Folded name → what a reader sees of the template."""
