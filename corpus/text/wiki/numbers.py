"""Numbers, quantities and dates that templates write: `formatnum`, `convert`, `val`, dates.

Nothing is computed. `{{convert|80|km|mi}}` becomes "80 kilometres" (80公里 in a Chinese wiki): the number that its author wrote, its unit.
The converted one depends on MediaWiki's rounding rules and would be wrong where these are not followed to the letter.
"""

from __future__ import annotations

import re

from corpus.text.wiki.templates import Arguments

_NUMBER = re.compile(r"[-+−]?(?:\d[\d,]*(?:\.\d*)?|\.\d+)(?:[eE][-+−]?\d+)?(?:[ +]\d+/+\d+|/+\d+)?")
_PLAIN = re.compile(r"([-+−]?)(\d+)(\.\d*)?")
_SUPER = str.maketrans("0123456789+-−–=()n", "⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻⁻⁻⁼⁽⁾ⁿ")
_SUB = str.maketrans("0123456789+-−–=()", "₀₁₂₃₄₅₆₇₈₉₊₋₋₋₌₍₎")
_SMALL = re.compile(r"[0-9+\-−–=()]{1,12}")
_SMALL_OR_N = re.compile(r"[0-9+\-−–=()n]{1,12}")
_DIGITS = re.compile(r"\d+")
_YEAR = re.compile(r"-?[0-9]{1,5}")
_TWO_DIGITS = re.compile(r"[0-9]{0,2}")

MONTHS = (
    "January", "February", "March", "April", "May", "June", "July", "August", "September", "October", "November", "December",
)  # fmt: skip

# unit: (symbol, English singular, English plural, Chinese)
_UNITS: dict[str, tuple[str, str, str, str]] = {
    code: (symbol, one, many, chinese)
    for codes, symbol, one, many, chinese in (
        ("km", "km", "kilometre", "kilometres", "公里"),
        ("m", "m", "metre", "metres", "米"),
        ("cm", "cm", "centimetre", "centimetres", "厘米"),
        ("mm", "mm", "millimetre", "millimetres", "毫米"),
        ("mi", "mi", "mile", "miles", "英里"),
        ("ft foot", "ft", "foot", "feet", "英尺"),
        ("in inch", "in", "inch", "inches", "英寸"),
        ("yd", "yd", "yard", "yards", "码"),
        ("nmi", "nmi", "nautical mile", "nautical miles", "海里"),
        ("km2 sqkm", "km²", "square kilometre", "square kilometres", "平方公里"),
        ("m2 sqm", "m²", "square metre", "square metres", "平方米"),
        ("sqmi mi2", "sq mi", "square mile", "square miles", "平方英里"),
        ("sqft ft2", "sq ft", "square foot", "square feet", "平方英尺"),
        ("ha", "ha", "hectare", "hectares", "公顷"),
        ("acre acres", "acre", "acre", "acres", "英亩"),
        ("m3", "m³", "cubic metre", "cubic metres", "立方米"),
        ("km3", "km³", "cubic kilometre", "cubic kilometres", "立方公里"),
        ("L l", "L", "litre", "litres", "升"),
        ("kg", "kg", "kilogram", "kilograms", "千克"),
        ("g", "g", "gram", "grams", "克"),
        ("t", "t", "tonne", "tonnes", "吨"),
        ("lb lbs", "lb", "pound", "pounds", "磅"),
        ("oz", "oz", "ounce", "ounces", "盎司"),
        ("ST", "short tons", "short ton", "short tons", "短吨"),
        ("LT", "long tons", "long ton", "long tons", "长吨"),
        ("km/h", "km/h", "kilometre per hour", "kilometres per hour", "公里每小时"),
        ("mph", "mph", "mile per hour", "miles per hour", "英里每小时"),
        ("m/s", "m/s", "metre per second", "metres per second", "米每秒"),
        ("kn", "kn", "knot", "knots", "节"),
        ("W", "W", "watt", "watts", "瓦"),
        ("kW", "kW", "kilowatt", "kilowatts", "千瓦"),
        ("MW", "MW", "megawatt", "megawatts", "兆瓦"),
        ("hp", "hp", "horsepower", "horsepower", "马力"),
        ("C °C", "°C", "°C", "°C", "°C"),
        ("F °F", "°F", "°F", "°F", "°F"),
        ("PD/sqkm /km2", "/km²", "inhabitants per square kilometre", "inhabitants per square kilometre", "人每平方公里"),
        ("PD/sqmi /sqmi", "/sq mi", "inhabitants per square mile", "inhabitants per square mile", "人每平方英里"),
    )
    for code in codes.split()
}
_JOINERS = {
    "to": (" to ", "至"), "and": (" and ", "和"), "or": (" or ", "或"), "by": (" by ", "×"), "x": (" × ", "×"), "×": (" × ", "×"),
    "-": ("–", "–"), "–": ("–", "–"), "to(-)": ("–", "–"), "and(-)": (" and ", "和"), "+/-": (" ± ", "±"), "±": (" ± ", "±"),
    "*": (" × ", "×"),
    "+": (" + ", "+"), "to about": (" to about ", "至约"),
}  # fmt: skip


def grouped(number: str) -> str:
    """The number with commas between groups of three digits, as `formatnum` writes it in English and Chinese; else as it is."""
    found = _PLAIN.fullmatch(number)
    if found is None or len(found[2]) > 60:
        return number
    return f"{found[1]}{int(found[2]):,}{found[3] or ''}" if len(found[2]) > 3 and found[2][0] != "0" else number


def formatnum(argument: str) -> str:
    """`{{formatnum:1234|R}}`: R takes the commas away, NOSEP adds none."""
    number, *options = (part.strip() for part in argument.split("|"))
    if "R" in options:
        return number.replace(",", "")
    return number if "NOSEP" in options else grouped(number)


def raised(text: str) -> str:
    """Superscript digits where Unicode has them; otherwise the text as it is."""
    return text.translate(_SUPER) if _SMALL_OR_N.fullmatch(text) else text


def lowered(text: str) -> str:
    """Subscript digits where Unicode has them; otherwise the text as it is."""
    return text.translate(_SUB) if _SMALL.fullmatch(text) else text


def lowered_digits(formula: str) -> str:
    """A chemical formula with its numbers as subscripts."""
    return _DIGITS.sub(lambda m: m[0].translate(_SUB), formula)


def convert(args: Arguments, *, chinese: bool) -> str:
    """`{{convert|5|to|8|km|mi}}` → "5 to 8 kilometres"; "" when it is no quantity."""
    values = args.numbered()
    short = args["abbr"] in ("on", "in", "y", "yes") or args["adj"] in ("on", "mid")
    out = ""
    at = 0
    while at < len(values):
        start, quantity = at, ""
        while at < len(values) and _NUMBER.fullmatch(values[at]):
            quantity += _fraction(grouped(values[at].replace(",", "")) if "," not in values[at] else values[at])
            at += 1
            joiner = _JOINERS.get(values[at]) if at + 1 < len(values) and _NUMBER.fullmatch(values[at + 1]) else None
            if joiner is None:
                break
            quantity += joiner[chinese]
            at += 1
        if at == start or at >= len(values):
            break
        plural = quantity not in ("1", "1.0")
        out += (
            ("" if chinese or not out else " ") + quantity + _unit(values[at], plural=plural, chinese=chinese, short=short, first=not out)
        )
        at += 1
    return out


def _fraction(number: str) -> str:
    return number.replace("//", "/").replace("+", " ") if "/" in number else number


def _unit(code: str, *, plural: bool, chinese: bool, short: bool, first: bool) -> str:
    known = _UNITS.get(code)
    if known is None:
        return f" {code}" if code else ""
    symbol, one, many, zh = known
    if symbol.startswith("°"):
        return f" {symbol}"
    if chinese:
        return zh
    return f" {symbol}" if short else f" {many if plural else one}"


def val(args: Arguments) -> str:
    """`{{val|1.5|0.2|e=3|u=m/s}}` → "(1.5±0.2)×10³ m/s"."""
    values = args.numbered()
    if not values or not values[0]:
        return f"10{raised(args['e'])}{_after(args)}" if args["e"] else ""
    commas = args["fmt"] == "commas"
    number = grouped(values[0]) if commas else values[0]
    more = [v for v in values[1:] if v]
    if more and more[0].startswith("("):
        number += more[0]
    elif more and more[0][0] in "+-–—−to" and len(more) > 1:
        number += f"{more[0]}{more[1]}" if more[0][0] == "+" else f" {more[0]} {more[1]}"
    elif len(more) > 1:
        number += f"+{more[0]}−{more[1].lstrip('-−')}"
    elif more:
        number += f"±{more[0]}"
    if args["e"]:
        number = f"({number})×10{raised(args['e'])}" if "±" in number or "+" in number[1:] else f"{number}×10{raised(args['e'])}"
    return f"{args.any('p', 'pre')}{number}{_after(args)}"


def _after(args: Arguments) -> str:
    unit = args.any("u", "ul")
    per = args.any("up", "upl")
    suffix = args.any("s", "suf", "end")
    text = suffix
    if unit:
        text += unit if unit[0] in "%°′″" and unit not in ("°C", "°F") else f" {unit}"
    return f"{text}/{per}" if per else text


def date(year: str, month: str, day: str, *, chinese: bool, day_first: bool = False) -> str:
    """A date as the wiki's templates write it, as far as it is given."""
    year, month, day = year.strip(), month.strip(), day.strip()
    if not _YEAR.fullmatch(year) or not all(_TWO_DIGITS.fullmatch(part) for part in (month, day)):
        return " ".join(part for part in (day, month, year) if part) if not chinese else f"{year}{month}{day}"
    number = int(month or 0)
    if chinese:
        return f"{year}年" + (f"{number}月" if number else "") + (f"{int(day)}日" if number and day else "")
    if not 1 <= number <= 12:
        return year
    name = MONTHS[number - 1]
    if not day:
        return f"{name} {year}"
    return f"{int(day)} {name} {year}" if day_first else f"{name} {int(day)}, {year}"
