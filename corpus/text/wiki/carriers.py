"""Templates that carry the reader's text in their arguments, by name, and what of it a reader sees.

The names are those of the English and Chinese Wikipedia with their common redirects. A template that is not here is dropped: citations,
navigation boxes, notices and the like are no prose, and the text of the others is in the wiki's template pages, which an article does not have.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

from corpus.text.wiki import numbers
from corpus.text.wiki.languages import LANGUAGES
from corpus.text.wiki.marks import PIPE
from corpus.text.wiki.templates import Arguments


@dataclass(frozen=True, slots=True)
class Setting:
    """Where a template stands: in a page of a Chinese wiki or not, in traditional characters or not, under which title.

    `labels`: whether the names of languages are known in the language of the wiki, so that `{{lang-de|…}}` can say its own.
    """

    chinese: bool = False
    traditional: bool = False
    title: str = ""
    labels: bool = True

    def brackets(self, text: str) -> str:
        """The text in the brackets of the language, "" for none."""
        return "" if not text else f"（{text}）" if self.chinese else f" ({text})"

    @property
    def comma(self) -> str:
        """The comma of the language, with its space."""
        return "，" if self.chinese else ", "

    @property
    def colon(self) -> str:
        """The colon of the language, with its space."""
        return "：" if self.chinese else ": "


Carrier = Callable[[Arguments, Setting], str]

_CODE = re.compile(r"[a-z]{2,3}(?:-[a-z-]{2,12})?")
_HAN = re.compile(r"[\u3400-\u9fff]")
_FLAG = re.compile(r"[A-Z]{3}")


def _first(args: Arguments, at: Setting) -> str:
    return args.any(1, "text", "content")


def _second(args: Arguments, at: Setting) -> str:
    return args.any(2, "text", 1)


def _last(args: Arguments, at: Setting) -> str:
    return args.last


def _raw(args: Arguments, at: Setting) -> str:
    """The first argument with the line breaks around it, on which lists in it depend."""
    return args.named.get("1", "")


def _all(args: Arguments, at: Setting) -> str:
    return "".join(args.numbered())


def _spaced(args: Arguments, at: Setting) -> str:
    return " ".join(filter(None, args.numbered()))


def _named(text: str) -> Carrier:
    return lambda args, at: text


def _before(text: str) -> Carrier:
    return lambda args, at: f"{text}{args[1]}" if args[1] else ""


def _around(before: str, after: str) -> Carrier:
    return lambda args, at: f"{before}{args[1]}{after}" if args[1] else ""


def _items(args: Arguments, at: Setting) -> str:
    items = [item for item in args.numbered() if item]
    return "" if not items else "\n" + "".join(f"* {item}\n" for item in items) if "\n" not in items[0] else _raw(args, at)


def _inline_items(args: Arguments, at: Setting) -> str:
    return ("、" if at.chinese else ", ").join(filter(None, args.numbered()))


def _language(code: str, at: Setting) -> str:
    """The name of a language, in the language of the wiki; "" when it is not known."""
    if not at.labels:
        return ""
    names = LANGUAGES.get(code.lower()) or LANGUAGES.get(code.lower().partition("-")[0])
    if names is None:
        return ""
    return (
        (names[1].replace("语", "語").replace("罗", "羅").replace("兰", "蘭") if at.traditional else names[1]) if at.chinese else names[0]
    )


def labelled(code: str, args: Arguments, at: Setting, text: str = "") -> str:
    """`{{lang-de|Wort}}`: the text after the name of its language."""
    text = text or args[1]
    name = "" if args["label"] == "none" or args["links"] == "none" else _language(code, at)
    out = f"{name}{at.colon}{text}" if name and text else text
    if out and (roman := args.any(2, "translit", "tr")) and "(" not in roman:
        out += f"{at.comma}{roman}"
    meaning = args.any(3, "lit", "translation")
    return f"{out}{at.comma}'{meaning}'" if out and meaning and not at.chinese else out


def _langx(args: Arguments, at: Setting) -> str:
    code, text = args[1], args.any(2, "text")
    name = _language(code, at) if args["label"] != "none" else ""
    return f"{name}{at.colon}{text}" if name and text else text


def _lang(args: Arguments, at: Setting) -> str:
    return args.any(2, "text") or ("" if _CODE.fullmatch(args[1]) else args[1])


_ZH_FORMS = (
    ("s", "simplified Chinese", "简体"), ("t", "traditional Chinese", "繁体"), ("c", "Chinese", "中文"), ("p", "pinyin", "拼音"),
    ("hp", "pinyin", "拼音"), ("w", "Wade–Giles", "威妥玛拼音"), ("j", "Jyutping", "粤拼"), ("poj", "Pe̍h-ōe-jī", "白话字"),
    ("l", "lit.", "直译"),
)  # fmt: skip


def _zh(args: Arguments, at: Setting) -> str:
    """`{{zh|s=…|t=…|p=…}}`."""
    bare = args["labels"] == "no"
    out = []
    for key, english, chinese in _ZH_FORMS:
        if value := args[key]:
            label = "" if bare else f"{chinese if at.chinese else english}{at.colon if english != 'lit.' else ' '}"
            out.append(f"{label}{value}")
    return ("；" if at.chinese else "; ").join(out) or args[1]


def link(args: Arguments, at: Setting) -> str:
    """`{{link-en|local title|foreign title|label}}`: a link to a page that only another wiki has."""
    if at.chinese and not args[3] and _HAN.search(args[2]) and not _HAN.search(args[1]):
        return args[2]  # its author took the one for the other
    return args.any("d", "label", "lt", 3, 1, 2)


def _tsl(args: Arguments, at: Setting) -> str:
    """`{{tsl|en|foreign title|local title|label}}`."""
    return args.any(4, 3, 2)


def _ill(args: Arguments, at: Setting) -> str:
    """`{{ill|title|de|foreign title|lt=label}}`, or the older `{{ill|de|title|foreign title}}`."""
    return args["lt"] or args["d"] or (args[2] if _CODE.fullmatch(args[1]) and args[2] and not _CODE.fullmatch(args[2]) else args[1])


def _kari(args: Arguments, at: Setting) -> str:
    return args.any("label", 4, 1)


def _nihongo(args: Arguments, at: Setting) -> str:
    """`{{nihongo|English|kanji|romaji|extra|extra2}}`."""
    words, inside = args[1], at.comma.join(filter(None, (args[2], args[3], args.any(4, "extra"))))
    after = args.any(5, "extra2")
    return f"{words}{at.brackets(inside) if words else inside}{'' if at.chinese or not after else ' '}{after}"


def _nihongo_krt(args: Arguments, at: Setting) -> str:
    """`{{nihongo2|kanji}}`, `{{nihongo3|romaji|kanji|English}}`: the first word, the others in brackets."""
    words, *inside = [*args.numbered(), ""]
    return words + at.brackets(at.comma.join(filter(None, inside)))


def _ruby(args: Arguments, at: Setting) -> str:
    return f"{args[1]}（{args[2]}）" if args[2] else args[1]


def _date(args: Arguments, at: Setting) -> str:
    first = args["df"] in ("y", "yes", "1") or args["dateformat"] == "dmy"
    return numbers.date(args.any(1, "year"), args.any(2, "month"), args.any(3, "day"), chinese=at.chinese, day_first=first)


def _as_of(args: Arguments, at: Setting) -> str:
    when = args["alt"]
    if when:
        return when
    when = numbers.date(args[1], args[2], args[3], chinese=at.chinese, day_first=True)
    if not when:
        return ""
    return f"截至{when}" if at.chinese else f"{'as' if args['lc'] else 'As'} of {when}"


def _lived(args: Arguments, at: Setting) -> str:
    """`{{bd|1900年|1月1日|1980年|2月2日}}`: dates of birth and death."""
    birth, death = f"{args[1]}{args[2]}", f"{args[3]}{args[4]}"
    return f"（{birth}－{death}）" if birth or death else ""


def _circa(args: Arguments, at: Setting) -> str:
    if not args[1]:
        return "约" if at.chinese else "c."
    out = f"约{args[1]}" if at.chinese else f"c. {args[1]}"
    return f"{out} – {'约' if at.chinese else 'c. '}{args[2]}" if args[2] else out


def _reign(prefix: str) -> Carrier:
    def carrier(args: Arguments, at: Setting) -> str:
        years = "–".join(filter(None, (args[1], args[2])))
        return f"{prefix} {years}" if years else ""

    return carrier


def _fraction(args: Arguments, at: Setting) -> str:
    values = args.numbered()
    if len(values) >= 3:
        return f"{values[0]} {values[1]}/{values[2]}"
    return f"{values[0]}/{values[1]}" if len(values) == 2 else f"1/{values[0]}" if values else ""


def _quote(args: Arguments, at: Setting) -> str:
    text = args.any("text", "quote", 1)
    by = args.any("author", "by", "sign", 2)
    source = args.any("source", "title", 3)
    credit = at.comma.join(filter(None, (by, source)))
    return f"\n{text}\n" + (f"— {credit}\n" if credit else "") if text else ""


def _raised(args: Arguments, at: Setting) -> str:
    return numbers.raised(_first(args, at))


def _lowered(args: Arguments, at: Setting) -> str:
    return numbers.lowered(_first(args, at))


def _power(args: Arguments, at: Setting) -> str:
    return f"×10{numbers.raised(args[1])}" if args[1] else ""


def _formula(args: Arguments, at: Setting) -> str:
    return "".join(numbers.lowered(part) for part in args.numbered())


def _formula2(args: Arguments, at: Setting) -> str:
    return numbers.lowered_digits(args[1])


def _convert(args: Arguments, at: Setting) -> str:
    return numbers.convert(args, chinese=at.chinese)


def _convert_short(args: Arguments, at: Setting) -> str:
    args.named.setdefault("abbr", "on")
    return numbers.convert(args, chinese=at.chinese)


def _val(args: Arguments, at: Setting) -> str:
    return numbers.val(args)


def _money(symbol: str) -> Carrier:
    return lambda args, at: f"{symbol}{args[1]}" if args[1] else symbol


def _ship(prefix: str) -> Carrier:
    """`{{USS|Enterprise|CV-6}}`."""
    return lambda args, at: f"{prefix} {args[1]}" + (f" ({args[2]})" if args[2] and args[3] != "2" else "") if args[1] else ""


def _any_ship(args: Arguments, at: Setting) -> str:
    return " ".join(filter(None, (args[1], args[2]))) + (f" ({args[3]})" if args[3] and args[4] not in ("2", "3") else "")


def _ordinal(args: Arguments, at: Setting) -> str:
    number = args[1]
    if not number.isdecimal():
        return number
    tail = number[-2:]
    return number + ("th" if tail in ("11", "12", "13") else {"1": "st", "2": "nd", "3": "rd"}.get(tail[-1], "th"))


def _url(args: Arguments, at: Setting) -> str:
    return args.any(2, 1)


def _sic(args: Arguments, at: Setting) -> str:
    return "".join(args.numbered()) + ("" if args["hide"] else " [sic]" if args[1] else "[sic]")


def _gaps(args: Arguments, at: Setting) -> str:
    return "".join(args.numbered()) + args["e"]


def _link_text(args: Arguments, at: Setting) -> str:
    return args.any("text") or "".join(args.numbered()) if at.chinese else " ".join(args.numbered())


_NO_PHONEME = frozenset(("lang", "local", "audio", "also", "uk", "us", "au", "nz", "ca", "ie", "pron", "small", "or"))
_LONGEST_PHONEME = 4


def _phonemes(args: Arguments, at: Setting) -> str:
    sounds = [sound for sound in args.numbered() if len(sound) <= _LONGEST_PHONEME and sound.lower() not in _NO_PHONEME]
    return f"/{''.join(sounds).replace('_', ' ')}/" if sounds else ""


def _respelled(args: Arguments, at: Setting) -> str:
    return "-".join(args.numbered()).replace("-_-", " ")


_ACCIDENTALS = {"flat": "♭", "b": "♭", "sharp": "♯", "#": "♯", "natural": "♮", "doubleflat": "𝄫", "doublesharp": "𝄪"}


def _music(args: Arguments, at: Setting) -> str:
    return _ACCIDENTALS.get(args[1], "")


_COUNTRIES = {
    "USA": ("United States", "美国"), "CHN": ("China", "中国"), "GBR": ("United Kingdom", "英国"), "FRA": ("France", "法国"),
    "GER": ("Germany", "德国"), "DEU": ("Germany", "德国"), "JPN": ("Japan", "日本"), "KOR": ("South Korea", "韩国"), "PRK": ("North Korea", "朝鲜"),
    "RUS": ("Russia", "俄罗斯"), "ITA": ("Italy", "意大利"), "ESP": ("Spain", "西班牙"), "CAN": ("Canada", "加拿大"), "AUS": ("Australia", "澳大利亚"),
    "BRA": ("Brazil", "巴西"), "IND": ("India", "印度"), "NED": ("Netherlands", "荷兰"), "NLD": ("Netherlands", "荷兰"), "SUI": ("Switzerland", "瑞士"),
    "SWE": ("Sweden", "瑞典"), "NOR": ("Norway", "挪威"), "POL": ("Poland", "波兰"), "UKR": ("Ukraine", "乌克兰"), "MEX": ("Mexico", "墨西哥"),
    "ARG": ("Argentina", "阿根廷"), "POR": ("Portugal", "葡萄牙"), "BEL": ("Belgium", "比利时"), "AUT": ("Austria", "奥地利"),
    "DEN": ("Denmark", "丹麦"), "FIN": ("Finland", "芬兰"), "GRE": ("Greece", "希腊"), "TUR": ("Turkey", "土耳其"), "EGY": ("Egypt", "埃及"),
    "RSA": ("South Africa", "南非"), "NZL": ("New Zealand", "新西兰"), "IRL": ("Ireland", "爱尔兰"), "THA": ("Thailand", "泰国"),
    "VIE": ("Vietnam", "越南"), "SGP": ("Singapore", "新加坡"), "MAS": ("Malaysia", "马来西亚"), "IDN": ("Indonesia", "印度尼西亚"),
    "HKG": ("Hong Kong", "香港"), "TWN": ("Taiwan", "台湾"), "TPE": ("Chinese Taipei", "中华台北"), "MAC": ("Macau", "澳门"),
}  # fmt: skip


def country(code: str, at: Setting) -> str:
    """The name of a country from its code of three letters, "" when it is not known."""
    names = _COUNTRIES.get(code) if _FLAG.fullmatch(code) else None
    return names[at.chinese] if names else ""


def _flag(args: Arguments, at: Setting) -> str:
    return args["name"] or country(args[1], at) or args[1]


def _table() -> dict[str, Carrier]:
    groups: dict[str, Carrier] = {
        # Text with a look.
        "nowrap|nobr|nobreak|nowraplinks|不折行|nobold|noitalic|small|smaller|resize small|big|larger|large|huge|em|strong|bold|b|italic|i|italics|"
        "smallcaps|sc|sc2|allcaps|mono|monospace|code|mvar|math|var|kbd|key|keypress|tt|samp|serif|sans-serif|sans serif|strikethrough|underline|u|"
        "visible anchor|visibleanchor|vanchor|abbr|tooltip|hover title|term|unicode|polytonic|ipa-zh|hebrew|cyrl|不换行|小|大|粗体|"
        "raise|lower|align|center|left|right|sic2|not a typo|typo|as written|proper name|pinyin|拼音|py|僻字|rareword|罕用字|pua|"
        "需要解释|需要解釋|citation needed span|cn-span|fact span|clarify span|text|plain text|isbn text|keep|"
        "kanji|hanja|okii|hangul|nobel|wikt|wt|w|wikipedia link|lw|nihongo foot|abbrlink|abbrv|vertical|竖排|"
        "noruby|user input|pre2|quote without source|首字放大|dropcap|drop cap|popup|cjkv|缩写|縮寫|tq": _first,
        "color|colour|font color|fontcolor|color text|font|fs|bg|background color|highlight|size|resize|ipa link|script|sclass|sclass2|native name|native phrase|longitem|rtl-lang|rtl-para|bidi": _second,
        "angbr|angle bracket": _around("⟨", "⟩"),
        "gloss|lit gloss": _around("'", "'"),
        "braces": _around("{", "}"),
        "bracket": _around("[", "]"),
        "lit|literal translation|lit.": _around("lit. '", "'"),
        "transl|transliteration|tlit|ipa|ipa-all|ipa link2|music text|zh-pinyin|lang-zh-pinyin|translit": _last,
        "sup|superscript|上标|上標": _raised,
        "sub|subscript|下标|下標": _lowered,
        # Languages.
        "lang|语言|語言|lang2|foreign language": _lang,
        "langx|lang-x": _langx,
        "zh|lang-zh|zh2|chinese|cjk|zhi|zhongwen": _zh,
        "nihongo|nihongo core|nihongo title|日文": _nihongo,
        "nihongo2|nihongo3|nihongo4|nihongo krt": _nihongo_krt,
        "ruby|ruby-ja|ruby-zh-p|ruby-zh-b|ruby-py|rubyja|rt|振假名|注音|zy": _ruby,
        "linktext|link text": _link_text,
        # Links to pages elsewhere.
        "le|lj|lf|ld|lk|lr|internal link helper|ilh|liw|link-wd|illm-zh|link-interwiki|link interwiki|red link|redlink|red|rl": link,
        "tsl|translink|translation link": _tsl,
        "ill|illm|interlanguage link|interlanguage link multi|ill-wd|illwd|link-interlang": _ill,
        "仮リンク": _kari,
        "url|網址|网址": _url,
        # Numbers and formulas.
        "convert|換算|换算": _convert,
        "cvt": _convert_short,
        "val": _val,
        "ipac-en": _phonemes,
        "respell|pronunciation respelling": _respelled,
        "music|音乐|音樂": _music,
        "formatnum|num|commas|number|format price|formatprice": lambda args, at: numbers.formatnum(args[1]),
        "frac|fraction|sfrac|分数|分數|分數2": _fraction,
        "e|exp": _power,
        "10^": lambda args, at: f"10{numbers.raised(args[1])}",
        "gaps|digits": _gaps,
        "chem|chemf": _formula,
        "chem2|chemical formula": _formula2,
        "ordinal|ord|nth": _ordinal,
        "percent|pct": _around("", "%"),
        "us$|usd|us dollar": _money("US$"),
        "£|gbp|pound sign": _money("£"),
        "€|eur|euro": _money("€"),
        "¥|jpy|cny|yen": _money("¥"),
        "inr|indian rupee|indian rupees|₹": _money("₹"),
        "a$|aud|au$": _money("A$"),
        "c$|cad|ca$": _money("C$"),
        "hk$|hkd": _money("HK$"),
        "nt$|twd": _money("NT$"),
        # Dates.
        "birth date|birth-date|bda|birth date and age|birth date and age2|birth-date and age|dob|death date|death-date|death date and age|dda|death-date and age|"
        "start date|start date and age|end date|release date|film date|date|dts|date table sorting|birth year and age|"
        "出生日期和年龄|出生日期和年齡|出生日期|逝世日期|死亡日期|死亡日期和年龄|開始日期|开始日期|起始日期|结束日期": _date,
        "as of|asof|截至": _as_of,
        "bd|生卒|生卒年": _lived,
        "circa|c.|ca.|约|約": _circa,
        "reign|r.": _reign("r."),
        "floruit|fl.|fl": _reign("fl."),
        "born": _reign("born"),
        "died": _reign("died"),
        "married": _reign("m."),
        # Places and ships.
        "flag|flagcountry|flag country|flagu|flagg|flaglist|country|nation": _flag,
        "ship": _any_ship,
        "uss": _ship("USS"), "hms": _ship("HMS"), "rms": _ship("RMS"), "ss": _ship("SS"), "mv": _ship("MV"), "hmas": _ship("HMAS"),
        "hmcs": _ship("HMCS"), "ins": _ship("INS"), "sms": _ship("SMS"), "usns": _ship("USNS"), "gts": _ship("GTS"), "ms": _ship("MS"),
        # Quotations and lists.
        "quote|blockquote|cquote|quotation|quote frame|bquote|rquote|引用|引文|verse translation|poemquote|poem quote": _quote,
        "plainlist|plain list|flatlist|flat list|startplainlist|列表|collapsible text|div|span|block indent|blockindent|indented|bulleted|hidden text|poem": _raw,
        "hlist|hlist-comma|flatlist2|comma separated entries|cslist": _inline_items,
        "unbulleted list|ubl|ubt|bulleted list|ordered list|columns-list|columnslist|numbered list|unordered list|項目列表|无序列表": _items,
        "sic": _sic,
        "isbn": lambda args, at: f"ISBN {args[1]}" if args[1] else "",
        "usurped|railgauge|rail gauge|track gauge|enlink|要出典|要出典範囲|疑問点範囲|来源请求|來源請求|谁|誰|何时|何時|哪个|哪個": _first,
    }  # fmt: skip
    signs = {
        "ndash|en dash|–": "–", "mdashb|mdash|em dash|emdash|—": "—", "snd|spnd|spaced ndash|spaced en dash|sndash|dash": " – ",
        "spaced mdash|smd|spaced em dash": " — ", "·|dot|middot|bullet|•|\\|bold middot": " · ", "'": "'", "'s": "'s", '"': '"', "'\"": "'\"",
        "\"'": "\"'", "`": "ʻ", "okina|ʻokina|hamza": "ʻ", "ayin|ayn": "ʿ", "prime|′": "′", "colon|:": ":", "hash": "#", "*|asterisk": "*",
        "(": "{", ")": "}", "((": "{{", "))": "}}", "!": PIPE, "!!": PIPE * 2, "pipe": PIPE, "(!": "{" + PIPE, "!)": PIPE + "}", "!-": PIPE + "-",
        "!+": PIPE + "+", "=": "=", "thinsp|nbsp|space|sp|spaces|thinspace|thin space|hsp|0ws|zwsp|shy|wbr": " ", "clear|-|clr|br": "\n", "pi": "π", "phi": "φ",
        "extinct|dagger|†": "†", "flat|music flat": "♭", "sharp": "♯", "natural": "♮", "bce": "BCE", "ce": "CE", "bc": "BC", "ad": "AD", "co2": "CO₂", "h2o": "H₂O", "lambda": "λ",
        "mu": "μ", "alpha": "α", "beta": "β", "gamma": "γ", "infty|infinity": "∞", "times": "×", "minus": "−", "plus": "+", "+-|±": "±", "deg|degree": "°",
        "ie|i.e.": "i.e.", "eg|e.g.": "e.g.", "tm": "™", "check mark|tick|yes|yes2|aye": "✓", "cross|x mark|no mark": "✗", "ellipsis|...": "…",
    }  # fmt: skip
    table: dict[str, Carrier] = {}
    for names, carrier in groups.items():
        table.update(dict.fromkeys(names.split("|"), carrier))
    for names, sign in signs.items():
        table.update(dict.fromkeys(names.split("|"), _named(sign)))
    return table


CARRIERS: dict[str, Carrier] = _table()
"""Folded name → what a reader sees of the template."""
