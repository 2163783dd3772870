"""Templates that carry the reader's text in their arguments: what of it a reader sees. Their names are in :mod:`corpus.text.wiki.known`."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

from corpus.text.wiki import numbers
from corpus.text.wiki.languages import LANGUAGES
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


def first(args: Arguments, at: Setting) -> str:
    return args.any(1, "text", "content")


def second(args: Arguments, at: Setting) -> str:
    return args.any(2, "text", 1)


def last(args: Arguments, at: Setting) -> str:
    return args.last


def raw(args: Arguments, at: Setting) -> str:
    """The first argument with the line breaks around it, on which lists in it depend."""
    return args.named.get("1", "")


def _all(args: Arguments, at: Setting) -> str:
    return "".join(args.numbered())


def _spaced(args: Arguments, at: Setting) -> str:
    return " ".join(filter(None, args.numbered()))


def named(text: str) -> Carrier:
    return lambda args, at: text


def _before(text: str) -> Carrier:
    return lambda args, at: f"{text}{args[1]}" if args[1] else ""


def around(before: str, after: str) -> Carrier:
    return lambda args, at: f"{before}{args[1]}{after}" if args[1] else ""


def items(args: Arguments, at: Setting) -> str:
    items = [item for item in args.numbered() if item]
    return "" if not items else "\n" + "".join(f"* {item}\n" for item in items) if "\n" not in items[0] else raw(args, at)


def inline_items(args: Arguments, at: Setting) -> str:
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


def langx(args: Arguments, at: Setting) -> str:
    code, text = args[1], args.any(2, "text")
    name = _language(code, at) if args["label"] != "none" else ""
    return f"{name}{at.colon}{text}" if name and text else text


def lang(args: Arguments, at: Setting) -> str:
    return args.any(2, "text") or ("" if _CODE.fullmatch(args[1]) else args[1])


_ZH_FORMS = (
    ("s", "simplified Chinese", "简体"),
    ("t", "traditional Chinese", "繁体"),
    ("c", "Chinese", "中文"),
    ("p", "pinyin", "拼音"),
    ("hp", "pinyin", "拼音"),
    ("w", "Wade–Giles", "威妥玛拼音"),
    ("j", "Jyutping", "粤拼"),
    ("poj", "Pe̍h-ōe-jī", "白话字"),
    ("l", "lit.", "直译"),
)


def zh(args: Arguments, at: Setting) -> str:
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


def tsl(args: Arguments, at: Setting) -> str:
    """`{{tsl|en|foreign title|local title|label}}`."""
    return args.any(4, 3, 2)


def ill(args: Arguments, at: Setting) -> str:
    """`{{ill|title|de|foreign title|lt=label}}`, or the older `{{ill|de|title|foreign title}}`."""
    return args["lt"] or args["d"] or (args[2] if _CODE.fullmatch(args[1]) and args[2] and not _CODE.fullmatch(args[2]) else args[1])


def kari(args: Arguments, at: Setting) -> str:
    return args.any("label", 4, 1)


def nihongo(args: Arguments, at: Setting) -> str:
    """`{{nihongo|English|kanji|romaji|extra|extra2}}`."""
    words, inside = args[1], at.comma.join(filter(None, (args[2], args[3], args.any(4, "extra"))))
    after = args.any(5, "extra2")
    return f"{words}{at.brackets(inside) if words else inside}{'' if at.chinese or not after else ' '}{after}"


def nihongo_krt(args: Arguments, at: Setting) -> str:
    """`{{nihongo2|kanji}}`, `{{nihongo3|romaji|kanji|English}}`: the first word, the others in brackets."""
    words, *inside = [*args.numbered(), ""]
    return words + at.brackets(at.comma.join(filter(None, inside)))


def ruby(args: Arguments, at: Setting) -> str:
    return f"{args[1]}（{args[2]}）" if args[2] else args[1]


def date(args: Arguments, at: Setting) -> str:
    first = args["df"] in ("y", "yes", "1") or args["dateformat"] == "dmy"
    return numbers.date(args.any(1, "year"), args.any(2, "month"), args.any(3, "day"), chinese=at.chinese, day_first=first)


def as_of(args: Arguments, at: Setting) -> str:
    when = args["alt"]
    if when:
        return when
    when = numbers.date(args[1], args[2], args[3], chinese=at.chinese, day_first=True)
    if not when:
        return ""
    return f"截至{when}" if at.chinese else f"{'as' if args['lc'] else 'As'} of {when}"


def lived(args: Arguments, at: Setting) -> str:
    """`{{bd|1900年|1月1日|1980年|2月2日}}`: dates of birth and death."""
    birth, death = f"{args[1]}{args[2]}", f"{args[3]}{args[4]}"
    return f"（{birth}－{death}）" if birth or death else ""


def circa(args: Arguments, at: Setting) -> str:
    if not args[1]:
        return "约" if at.chinese else "c."
    out = f"约{args[1]}" if at.chinese else f"c. {args[1]}"
    return f"{out} – {'约' if at.chinese else 'c. '}{args[2]}" if args[2] else out


def reign(prefix: str) -> Carrier:
    def carrier(args: Arguments, at: Setting) -> str:
        years = "–".join(filter(None, (args[1], args[2])))
        return f"{prefix} {years}" if years else ""

    return carrier


def fraction(args: Arguments, at: Setting) -> str:
    values = args.numbered()
    if len(values) >= 3:
        return f"{values[0]} {values[1]}/{values[2]}"
    return f"{values[0]}/{values[1]}" if len(values) == 2 else f"1/{values[0]}" if values else ""


def quote(args: Arguments, at: Setting) -> str:
    text = args.any("text", "quote", 1)
    by = args.any("author", "by", "sign", 2)
    source = args.any("source", "title", 3)
    credit = at.comma.join(filter(None, (by, source)))
    return f"\n{text}\n" + (f"— {credit}\n" if credit else "") if text else ""


def raised(args: Arguments, at: Setting) -> str:
    return numbers.raised(first(args, at))


def lowered(args: Arguments, at: Setting) -> str:
    return numbers.lowered(first(args, at))


def power(args: Arguments, at: Setting) -> str:
    return f"×10{numbers.raised(args[1])}" if args[1] else ""


def formula(args: Arguments, at: Setting) -> str:
    return "".join(numbers.lowered(part) for part in args.numbered())


def formula2(args: Arguments, at: Setting) -> str:
    return numbers.lowered_digits(args[1])


def convert(args: Arguments, at: Setting) -> str:
    return numbers.convert(args, chinese=at.chinese)


def convert_short(args: Arguments, at: Setting) -> str:
    args.named.setdefault("abbr", "on")
    return numbers.convert(args, chinese=at.chinese)


def val(args: Arguments, at: Setting) -> str:
    return numbers.val(args)


def money(symbol: str) -> Carrier:
    return lambda args, at: f"{symbol}{args[1]}" if args[1] else symbol


def ship(prefix: str) -> Carrier:
    """`{{USS|Enterprise|CV-6}}`."""
    return lambda args, at: f"{prefix} {args[1]}" + (f" ({args[2]})" if args[2] and args[3] != "2" else "") if args[1] else ""


def any_ship(args: Arguments, at: Setting) -> str:
    return " ".join(filter(None, (args[1], args[2]))) + (f" ({args[3]})" if args[3] and args[4] not in ("2", "3") else "")


def ordinal(args: Arguments, at: Setting) -> str:
    number = args[1]
    if not number.isdecimal():
        return number
    tail = number[-2:]
    return number + ("th" if tail in ("11", "12", "13") else {"1": "st", "2": "nd", "3": "rd"}.get(tail[-1], "th"))


def url(args: Arguments, at: Setting) -> str:
    return args.any(2, 1)


def sic(args: Arguments, at: Setting) -> str:
    return "".join(args.numbered()) + ("" if args["hide"] else " [sic]" if args[1] else "[sic]")


def gaps(args: Arguments, at: Setting) -> str:
    return "".join(args.numbered()) + args["e"]


def link_text(args: Arguments, at: Setting) -> str:
    return args.any("text") or "".join(args.numbered()) if at.chinese else " ".join(args.numbered())


_NO_PHONEME = frozenset(("lang", "local", "audio", "also", "uk", "us", "au", "nz", "ca", "ie", "pron", "small", "or"))
_LONGEST_PHONEME = 4


def phonemes(args: Arguments, at: Setting) -> str:
    sounds = [sound for sound in args.numbered() if len(sound) <= _LONGEST_PHONEME and sound.lower() not in _NO_PHONEME]
    return f"/{''.join(sounds).replace('_', ' ')}/" if sounds else ""


def respelled(args: Arguments, at: Setting) -> str:
    return "-".join(args.numbered()).replace("-_-", " ")


_ACCIDENTALS = {"flat": "♭", "b": "♭", "sharp": "♯", "#": "♯", "natural": "♮", "doubleflat": "𝄫", "doublesharp": "𝄪"}


def music(args: Arguments, at: Setting) -> str:
    return _ACCIDENTALS.get(args[1], "")


_COUNTRIES = {
    "USA": ("United States", "美国"),
    "CHN": ("China", "中国"),
    "GBR": ("United Kingdom", "英国"),
    "FRA": ("France", "法国"),
    "GER": ("Germany", "德国"),
    "DEU": ("Germany", "德国"),
    "JPN": ("Japan", "日本"),
    "KOR": ("South Korea", "韩国"),
    "PRK": ("North Korea", "朝鲜"),
    "RUS": ("Russia", "俄罗斯"),
    "ITA": ("Italy", "意大利"),
    "ESP": ("Spain", "西班牙"),
    "CAN": ("Canada", "加拿大"),
    "AUS": ("Australia", "澳大利亚"),
    "BRA": ("Brazil", "巴西"),
    "IND": ("India", "印度"),
    "NED": ("Netherlands", "荷兰"),
    "NLD": ("Netherlands", "荷兰"),
    "SUI": ("Switzerland", "瑞士"),
    "SWE": ("Sweden", "瑞典"),
    "NOR": ("Norway", "挪威"),
    "POL": ("Poland", "波兰"),
    "UKR": ("Ukraine", "乌克兰"),
    "MEX": ("Mexico", "墨西哥"),
    "ARG": ("Argentina", "阿根廷"),
    "POR": ("Portugal", "葡萄牙"),
    "BEL": ("Belgium", "比利时"),
    "AUT": ("Austria", "奥地利"),
    "DEN": ("Denmark", "丹麦"),
    "FIN": ("Finland", "芬兰"),
    "GRE": ("Greece", "希腊"),
    "TUR": ("Turkey", "土耳其"),
    "EGY": ("Egypt", "埃及"),
    "RSA": ("South Africa", "南非"),
    "NZL": ("New Zealand", "新西兰"),
    "IRL": ("Ireland", "爱尔兰"),
    "THA": ("Thailand", "泰国"),
    "VIE": ("Vietnam", "越南"),
    "SGP": ("Singapore", "新加坡"),
    "MAS": ("Malaysia", "马来西亚"),
    "IDN": ("Indonesia", "印度尼西亚"),
    "HKG": ("Hong Kong", "香港"),
    "TWN": ("Taiwan", "台湾"),
    "TPE": ("Chinese Taipei", "中华台北"),
    "MAC": ("Macau", "澳门"),
}


def country(code: str, at: Setting) -> str:
    """The name of a country from its code of three letters, "" when it is not known."""
    names = _COUNTRIES.get(code) if _FLAG.fullmatch(code) else None
    return names[at.chinese] if names else ""


def flag(args: Arguments, at: Setting) -> str:
    return args["name"] or country(args[1], at) or args[1]
