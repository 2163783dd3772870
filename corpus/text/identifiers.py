"""What looks like an e-mail address, an IP address, a telephone, identity or card number, and whether it is one.

Every kind is checked by what its issuer guarantees: check digits, dates of birth, regions, area codes, number plans, address ranges. Words
before a number can say that it is something else, or vouch for it where its form alone says too little.
"""

from __future__ import annotations

import datetime
import ipaddress
import re
from collections.abc import Iterator
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Hit:
    """One piece of personal data: its kind (one of `PERSONAL`), and where it begins and ends in the text."""

    kind: str
    start: int
    end: int


# What may say, up to here, that the number that follows is something else; read from the end of what stands before it.
_OTHER = re.compile(
    r"(?ai)(?:订单|訂單|单号|單號|编号|編號|流水|工号|学号|QQ|扣扣|群号|微信|快递|运单|包裹|条码|条形码|批号|型号|编码|代码|序列号|序号|案号|文号|批准文号"
    r"|国药准字|专利|时间戳|圆周率|发票|货号|商品|交易号|账单|库存|金额"
    r"|价格|售价|总额|余额|参考文献|页|ISBN|ISSN|DOI"
    r"|PMID|UPC|EAN|SKU|IMEI|order|tracking|invoice"
    r"|shipment|parcel|part|serial|model|timestamp|product|item|ticket|case|ref|reference"
    r"|transaction|receipt|barcode|patent|\bid|uid|number is"
    r"|\bNo|版本|房间号|uuid|hash|seed)"
    r"[\s\"'“‘《:：#=.,，是为為号號码碼是（(]{0,6}(?:(?:number|num|no|code|id|is|was)[\s.:#=是]{0,3}){0,3}\Z"
)
_CALL = re.compile(
    r"(?ai)(?:电话|電話|手机|手機|热线|傳真|传真|致电|拨打|撥打|联系方式|聯繫|座机|固话|联系|\btel|phone|\bcall|\bfax|mobile|cell|contact|ring|dial|\bat|text)"
    r"[^\d\n]{0,16}\Z"
)
_CARD = re.compile(r"(?ai)(?:卡|账户|账号|帳號|帳戶|银行|銀行|card|visa|master|amex|account|debit|credit|pay|unionpay)[^\d\n]{0,20}\Z")
_IDENTITY = re.compile(r"(?ai)(?:身份证|身份證|证件|證件|身分證|\bID\b)[^\d\n]{0,12}\Z")
_VERSION = re.compile(
    r"(?ai)(?:version|\bver|\bv|release|build|firmware|driver|update|upgrade[d]? to|assembly|culture|\bEC|chapter|section|§"
    r"|clause|chrome|python|固件|版本|驱动"
    r"|版|升级到|章节|小节|章|节|条|oid|表|图|figure|fig|table|step|步骤)[\s.:：=\"“(（]{0,3}\Z"
)
_VERSION_AFTER = re.compile(r"(?ai) ?(?:新版|版|正式版|build|version|release)")
_HOST = re.compile(r"(?ai)(?:\bip|地址|从|来自|host|server|服务器|网关|dns|ping|ssh|://|登录|user|from|address|connect)[^\d\n]{0,16}\Z")
_UNIT = re.compile(
    r"[ ]?(?:元|块|万|萬|亿|億|%|％|人民币|美元|个|個|人次|次|年|㎡|平方|公里|米|吨|千克|公斤|kg\b|km\b"
    r"|USD|RMB|dollars|people|℃|°|[*×÷^=]|[+](?!86[ -]?1[3-9]\d) ?\d|/ ?\d{1,6}(?!\d)|[-−] ?\d{1,2}(?!\d)|[-−] \d)"
)
_SUM = re.compile(r"(?:[=(]\s?[-−]|[$¥￥€£#^×÷*=<>]\s?|\d\s?[+−-]\s?|[a-zA-Z]\s?=\s?|[+*/]\s)\Z")

_EMAIL_LEFT = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._%+-"
_EMAIL_RIGHT = re.compile(r"((?:[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?\.){1,8})([A-Za-z]{2,18})(?![A-Za-z0-9_@-]|\.[A-Za-z0-9])")
_GENERIC = """
    com net org edu gov mil int info biz name pro mobi asia tel jobs museum coop aero xyz top site online shop store club
    vip work wang ltd group ink live life world cloud email tech space website fun news blog art design agency studio
    company solutions services systems network app dev page link click center academy university school digital media global
    today zone social
"""
_NAMES = frozenset(_GENERIC.split())
_NATIONAL = """
    ac ad ae af ag ai al am ao ar as at au aw az ba bb bd be bf bg bh bi bj bm bn bo br bs bt bw by bz ca cc cd cf cg ch ci
    ck cl cm cn co cr cu cv cw cx cy cz de dj dk dm do dz ec ee eg es et eu fi fj fk fm fo fr ga gd ge gg gh gi gl gm gn gp
    gq gr gt gu gy hk hn hr ht hu id ie il im in io iq ir is it je jm jo jp ke kg kh ki km kn kp kr kw ky kz la lb lc li lk
    lr ls lt lu lv ly ma mc md me mg mh mk ml mm mn mo mp mq mr ms mt mu mv mw mx my mz na nc ne nf ng ni nl no np nr nu nz
    om pa pe pf pg ph pk pl pm pn pr ps pt pw py qa re ro rs ru rw sa sb sc sd se sg sh si sk sl sm sn so sr ss st su sv sx
    sy sz tc td tf tg th tj tk tl tm tn to tr tt tv tw tz ua ug uk us uy uz va vc ve vg vi vn vu wf ws ye yt za zm zw
"""
_NATIONS = frozenset(_NATIONAL.split())

_AREA = re.compile(r"\d(?:[ ().-]{0,3}\d){6,}[Xx]?", re.ASCII)
_BEGIN = r"(?<![\dA-Za-z_+])(?<!\d[.,:-])"
_FINISH = r"(?![\dA-Za-z_])(?![.,:]\d)(?!-[\dA-Za-z])"
_MOBILE = re.compile(
    _BEGIN
    + r"(?:(?:\+|00)86[ -]?|\(\+?86\) ?|86[ -]?)?1[3-9]\d(?:\d{8}|([ -])\d{4}\1\d{4}|\d[ -]\d{3}[ -]\d{4}|\d{2}[ -]\d{3}[ -]\d{3})"
    + _FINISH,
    re.ASCII,
)
_LANDLINE = re.compile(
    _BEGIN + r"(?:(?:\+|00)86[ -]?\(?0?(?:10|2\d|[3-9]\d\d)\)?[ -]|\(0(?:10|2\d|[3-9]\d\d)\)[ -]?|0(?:10|2\d|[3-9]\d\d)-"
    r"|0(?:10|2\d|[3-9]\d\d)( ?))[2-8]\d{2,3}[ -]?\d{4}(?:-\d{1,5})?" + _FINISH,
    re.ASCII,
)
_AMERICAN = re.compile(
    _BEGIN + r"(?:\+?1[-. ]?)?(?:\(([2-9]\d\d)\)[ -]?\d{3}[-. ]\d{4}|([2-9]\d\d)([-. ])\d{3}\3\d{4})" + _FINISH, re.ASCII
)
_ABROAD = re.compile(
    r"(?<![\dA-Za-z_)+])(?<!\d )\+(?!86)(?:1|7|2[07]|2[1-689]\d|3[0-469]|3[578]\d|4[013-9]|42\d|5[1-8]"
    r"|5[09]\d|6[0-6]|6[789]\d|8[1246]|8[0578]\d|9[0-58]|9[679]\d)"
    r"[ .-]?(?:\(\d{1,4}\)[ .-]?)?\d{1,4}(?:[ .-]?\d{1,4}){1,6}" + _FINISH,
    re.ASCII,
)
_FREE = frozenset(("800", "833", "844", "855", "866", "877", "888"))
_CITIZEN = re.compile(_BEGIN + r"[1-9]\d{5}([ -]?)(?:18|19|20)\d{6}\1\d{3}[\dXx]" + _FINISH, re.ASCII)
_OLD_CITIZEN = re.compile(_BEGIN + r"[1-9]\d{14}" + _FINISH, re.ASCII)
_REGIONS = frozenset(
    map(str, (*range(11, 16), *range(21, 24), *range(31, 38), *range(41, 47), *range(50, 55), *range(61, 66), 71, 81, 82, 83, 91))
)
_BANK_CARD = re.compile(
    _BEGIN + r"(?:\d{13,19}|\d{4}([ -])\d{4}\1\d{4}\1\d{4}(?:\1?\d{1,3})?|\d{6}([ -])\d{13}"
    r"|3[47]\d\d([ -])\d{6}\3\d{5}|3[068]\d\d([ -])\d{6}\4\d{4})" + _FINISH,
    re.ASCII,
)
_LINK = re.compile(r"(?:://|www\.)[!-~]*\Z")
_WEIGHTS = (7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2)
_LONGEST_NAME = 66
_FOUR = re.compile(r"(?<![\w.+-])(?<![\w.][/-])(?<![\d.]:)(\d{1,3})\.(\d{1,3})\.(\d{1,3})\.(\d{1,3})(?![\w-]|\.\w)", re.ASCII)
# This and _AREA are searched for, so they begin with one character of a set: for that the engine looks fast.
_FOUR_NUMBERS = re.compile(r"\d\d?\d?\.\d{1,3}\.\d{1,3}\.\d{1,3}", re.ASCII)
_SIX_DIGITS = "0123456789abcdefABCDEF:"
_SEVEN_GROUPS = re.compile(r":[0-9A-Fa-f]{1,4}(?::[0-9A-Fa-f]{1,4}){6}")
_SIX = re.compile(r"(?<![\w:.])[0-9A-Fa-f]{1,4}(?::[0-9A-Fa-f]{0,4}){2,7}(?![\w:]|\.\d)", re.ASCII)
_UNROUTED = tuple(
    map(
        ipaddress.ip_network,
        ("0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12", "192.0.0.0/24", "192.0.2.0/24",
         "192.168.0.0/16", "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24", "224.0.0.0/3"),
    )
)  # fmt: skip
_SIX_ROUTED = ipaddress.ip_network("2000::/3")
_SIX_EXAMPLES = (ipaddress.ip_network("2001:db8::/32"), ipaddress.ip_network("3fff::/20"))


def emails(text: str) -> Iterator[Hit]:
    """E-mail addresses (the forms of RFC 5321 that people use), at domains that exist."""
    at = text.find("@")
    done = 0
    while at >= 0:
        left = text[max(done, at - _LONGEST_NAME) : at]
        local = left[len(left.rstrip(_EMAIL_LEFT)) :]
        right = _EMAIL_RIGHT.match(text, at + 1)
        start = at - len(local.lstrip(".%+-"))
        if right and 0 < at - start <= 64 and text[at - 1] != "." and ".." not in local and (start == 0 or text[start - 1] != "@"):
            name, top = right.group(1).lower(), right.group(2).lower()
            known = top in _NAMES or top in _NATIONS
            example = name.split(".")[-2] == "example" or set(name) <= {"x", "."} or set(local.lower()) <= {"x"}
            linked = start > 0 and text[start - 1] == "/" and _LINK.search(text, max(0, start - 200), start)
            if known and not example and local not in ("git", "example") and not linked:
                yield Hit("email", start, right.end())
                done = right.end()
        at = text.find("@", at + 1)


def addresses(text: str) -> Iterator[Hit]:
    """IP addresses that are routed in public, not versions, sections or enzymes."""
    for found in _FOUR_NUMBERS.finditer(text):
        match = _FOUR.match(text, found.start())
        if match is None:
            continue
        parts = match.groups()
        octets = [int(part) for part in parts]
        if any(part != str(octet) or octet > 255 for part, octet in zip(parts, octets, strict=True)) or octets[3] == 0:
            continue
        if max(octets) < 10:  # a section or a version; of addresses, public resolvers
            continue
        address = ipaddress.IPv4Address(match.group())
        start = match.start()
        line = text.rfind("\n", max(0, start - 8), start) + 1 or (0 if start <= 8 else -1)
        heading = max(octets) < 32 and line >= 0 and not text[line:start].strip(" #*\t")
        if heading or any(address in net for net in _UNROUTED) or _VERSION.search(text, max(0, start - 16), start):
            continue
        if _VERSION_AFTER.match(text, match.end()) or (sum(map(len, parts)) < 8 and not _HOST.search(text, max(0, start - 32), start)):
            continue  # most addresses have ten digits
        yield Hit("ip", start, match.end())
    places = [match.start() for match in _SEVEN_GROUPS.finditer(text)] if text.count(":") > 6 else []
    at = text.find("::")
    while at >= 0:
        places.append(at)
        at = text.find("::", at + 2)
    done = 0
    for place in sorted(places):
        left = text[max(done, place - 40) : place]
        match = _SIX.match(text, place - len(left) + len(left.rstrip(_SIX_DIGITS)))
        if match is None:
            continue
        done = match.end()
        groups = match.group()
        if groups.count(":") < 7 and (groups.count("::") != 1 or len(groups) < 9):
            continue
        try:
            address6 = ipaddress.IPv6Address(groups)
        except ValueError:
            continue
        if address6 in _SIX_ROUTED and not any(address6 in net for net in _SIX_EXAMPLES):
            yield Hit("ip", match.start(), match.end())


def numbers(text: str) -> Iterator[Hit]:
    """Identity, card and telephone numbers; the same digits may be hit as several kinds, the surest first within each run of digits."""
    for area in _AREA.finditer(text):
        start, end = max(0, area.start() - 2), min(len(text), area.end() + 2)  # what must not follow, and `(+`
        for kind, pattern, valid in _KINDS:
            for match in pattern.finditer(text, start, end):
                if valid(match) and not _LINK.search(text, max(0, match.start() - 200), match.start()):
                    yield Hit(kind, match.start(), match.end())


def _digits(text: str) -> str:
    return "".join(character for character in text if character.isdigit())


def _says(what: re.Pattern[str], match: re.Match[str]) -> bool:
    """Whether the words before a number say that it is `what`."""
    return what.search(match.string, max(0, match.start() - 32), match.start()) is not None


def _amount(match: re.Match[str]) -> bool:
    """Whether a number is part of a sum or counts something."""
    return _UNIT.match(match.string, match.end()) is not None or _says(_SUM, match)


def _citizen(match: re.Match[str]) -> bool:
    """GB 11643: region, date of birth, order, check digit."""
    number = match.group().replace(" ", "").replace("-", "").upper()
    if number[:2] not in _REGIONS or not _date(int(number[6:10]), int(number[10:12]), int(number[12:14])):
        return False
    return "10X98765432"[sum(int(d) * w for d, w in zip(number[:17], _WEIGHTS, strict=True)) % 11] == number[17]


def _old_citizen(match: re.Match[str]) -> bool:
    """The form before 1999 has no check digit, so a word must say what it is."""
    number = match.group()
    return number[:2] in _REGIONS and _date(1900 + int(number[6:8]), int(number[8:10]), int(number[10:12])) and _says(_IDENTITY, match)


def _date(year: int, month: int, day: int) -> bool:
    try:
        datetime.date(year, month, day)
    except ValueError:
        return False
    return 1880 <= year < 2040


def _bank_card(match: re.Match[str]) -> bool:
    """ISO/IEC 7812: a known issuer's prefix, its length, Luhn's check digit."""
    number = _digits(match.group())
    if not _issued(number) or len(set(number)) < 3 or _luhn(number) % 10:
        return False
    grouped = len(match.group()) > len(number)
    if _says(_CARD, match):
        return True
    return not _says(_OTHER, match) and not _amount(match) and (grouped or len(number) in (16, 19))


def _issued(number: str) -> bool:
    n, first, two, four = len(number), number[0], int(number[:2]), int(number[:4])
    if first == "4":
        return n in (13, 16, 19)
    if 51 <= two <= 55 or 2221 <= four <= 2720 or 3528 <= four <= 3589 or four == 6011 or 644 <= four // 10 <= 649 or two == 65:
        return n == 16
    if two in (34, 37):
        return n == 15
    if two in (36, 38) or 300 <= four // 10 <= 305:
        return n == 14
    return (two == 62 and 16 <= n <= 19) or (
        two in (60, 69, 94, 95, 98) and n in (16, 18, 19) and four in (6013, 6858, 9400, 9558, 9843, 9888)
    )


def _luhn(number: str) -> int:
    return sum(int(d) if at % 2 == 0 else sum(divmod(2 * int(d), 10)) for at, d in enumerate(reversed(number)))


def _mobile(match: re.Match[str]) -> bool:
    return _says(_CALL, match) or not (_says(_OTHER, match) or _amount(match))


def _landline(match: re.Match[str]) -> bool:
    number = _digits(re.sub(r"-\d{1,5}\Z", "", match.group()) if match.group().count("-") > 1 else match.group())
    number = number.removeprefix("0086")
    number = (number[2:] if number.startswith("86") else number).removeprefix("0")
    if len(number) != 10 and (number[0] in "12" or len(number) != 11):
        return False
    joined = match.group(1) is not None  # area and number without a hyphen or brackets
    return _says(_CALL, match) or not (joined or _says(_OTHER, match) or _amount(match))


def _american(match: re.Match[str]) -> bool:
    area, spaced = match.group(1) or match.group(2), match.group(3) == " "
    if area in _FREE or area.endswith("00"):
        return False
    return _says(_CALL, match) or match.group().startswith("+1") or not (spaced or _says(_OTHER, match) or _amount(match))


def _abroad(match: re.Match[str]) -> bool:
    """E.164: at most 15 digits with the country's; less than 8 are no subscriber's."""
    number = _digits(match.group())
    if number[0] == "1" and (len(number) != 11 or number[1:4] in _FREE):
        return False
    grouped = len(match.group()) > len(number) + 1
    return 9 <= len(number) <= (15 if grouped else 13) and not _amount(match)


_KINDS = (
    ("id_number", _CITIZEN, _citizen),
    ("bank_card", _BANK_CARD, _bank_card),
    ("id_number", _OLD_CITIZEN, _old_citizen),
    ("phone", _MOBILE, _mobile),
    ("phone", _LANDLINE, _landline),
    ("phone", _ABROAD, _abroad),
    ("phone", _AMERICAN, _american),
)
