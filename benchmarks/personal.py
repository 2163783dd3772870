"""Precision and recall of the search for personal data, on generated sentences: `python -m benchmarks.personal [ROUNDS]`.

Every kind is written in all forms that people use for it, into Chinese and English sentences, with valid check digits, dates and ranges.
Beside them stand numbers that look alike and are none: orders, parcels, ISBNs, versions, timestamps, decimals, sums, QQ numbers, UUIDs,
hashes, dates, prices, numbers with a wrong check digit. The same generator, with another seed, feeds the tests.
"""

from __future__ import annotations

import random
import sys
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator

import polars as pl

from benchmarks.measure import table
from corpus.text.personal import counts, find
from corpus.text.settings import PERSONAL

_CARRIERS = {
    "email": (
        "请发送到{}，谢谢。",
        "邮箱：{}",
        "我的邮件地址是{}。",
        "联系人 {}；",
        "Write to {} for details.",
        "My email is {}.",
        "Contact: <{}>",
        "({})",
    ),
    "phone": (
        "请拨打{}。",
        "电话：{}",
        "我的手机号是{}，谢谢",
        "联系方式:{}\n",
        "有事找小王{}",
        "Call me at {}.",
        "Phone: {}",
        "You can reach her on {}, thanks",
        "{}",
    ),
    "id_number": (
        "身份证号码：{}",
        "我的身份证是{}，请核对。",
        "证件号 {}\n",
        "她叫李红，{}。",
        "ID number: {}",
        "His Chinese ID is {}.",
        "{}",
    ),
    "bank_card": (
        "银行卡号：{}",
        "请转到{}。",
        "卡号是{}，户名张三",
        "工行 {}\n",
        "My card number is {}.",
        "Visa: {}",
        "Pay with {}, please",
        "{}",
    ),
    "ip": (
        "服务器地址是{}。",
        "IP：{}",
        "从{}登录",
        "ping {}",
        "The host {} does not answer.",
        "http://{}/index.html",
        "Connect to {}, then log in",
        "{}",
    ),
}
_SURNAMES = ("zhang", "li.ming", "wang_wei", "john.doe", "mary-jane", "chen88", "a.b.c", "info", "sales+cn", "x2019", "Tom_Lee", "z")
_DOMAINS = (
    "qq.com",
    "163.com",
    "gmail.com",
    "126.com",
    "mail.tsinghua.edu.cn",
    "sina.com.cn",
    "outlook.com",
    "foxmail.com",
    "web.de",
    "my-firm.co.uk",
    "uni.edu",
    "startup.io",
)
_REGIONS = ("110101", "310104", "440305", "330106", "510107", "420111", "610113", "230102", "650102", "810000")
_TENTHS = "10X98765432"
_WEIGHTS = (7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2)


def _digits(r: random.Random, n: int) -> str:
    return "".join(r.choice("0123456789") for _ in range(n))


def _luhn(number: str) -> str:
    """Appends Luhn's check digit."""
    total = 0
    for at, digit in enumerate(reversed(number)):
        value = int(digit) * (2 if at % 2 == 0 else 1)
        total += value // 10 + value % 10
    return number + str(-total % 10)


def email(r: random.Random) -> str:
    """An e-mail address."""
    local = r.choice((r.choice(_SURNAMES), r.choice(_SURNAMES) + _digits(r, r.randint(1, 4)), _digits(r, r.randint(5, 10))))
    return f"{local}@{r.choice(_DOMAINS)}"


def phone(r: random.Random) -> str:
    """A telephone number: mobile, landline, North American, elsewhere."""
    mobile = "1" + r.choice("3456789") + _digits(r, 9)
    area = r.choice(("010", "021", "020", "0755", "0571", "028", "0311"))
    local = r.choice("2345678") + _digits(r, 7)
    us = (r.choice("2345679") + r.choice("123") + r.choice("123456789"), r.choice("23456789") + _digits(r, 2), _digits(r, 4))
    sep = r.choice("- ")
    return r.choice(
        (
            mobile,
            mobile,
            f"{mobile[:3]}{sep}{mobile[3:7]}{sep}{mobile[7:]}",
            f"+86 {mobile}",
            f"+86{mobile}",
            f"(+86) {mobile}",
            f"86-{mobile}",
            f"+86 {mobile[:3]} {mobile[3:7]} {mobile[7:]}",
            f"{area}-{local}",
            f"({area}){local}",
            f"({area}) {local}",
            f"+86-{area[1:]}-{local}",
            f"{area}-{local}-{_digits(r, 3)}",
            f"({us[0]}) {us[1]}-{us[2]}",
            f"{us[0]}-{us[1]}-{us[2]}",
            f"{us[0]}.{us[1]}.{us[2]}",
            f"+1 {us[0]}-{us[1]}-{us[2]}",
            f"+1{us[0]}{us[1]}{us[2]}",
            f"+44 20 7{_digits(r, 3)} {_digits(r, 4)}",
            f"+33 6 {_digits(r, 2)} {_digits(r, 2)} {_digits(r, 2)} {_digits(r, 2)}",
            f"+49 30 {_digits(r, 7)}",
            f"+65 9{_digits(r, 3)} {_digits(r, 4)}",
            f"+852 9{_digits(r, 3)} {_digits(r, 4)}",
            f"+81-90-{_digits(r, 4)}-{_digits(r, 4)}",
        )
    )


def id_number(r: random.Random) -> str:
    """A Chinese identity number of 18 digits."""
    first = f"{r.choice(_REGIONS)}{r.randint(1930, 2015)}{r.randint(1, 12):02}{r.randint(1, 28):02}{_digits(r, 3)}"
    number = first + _TENTHS[sum(int(d) * w for d, w in zip(first, _WEIGHTS, strict=True)) % 11]
    return r.choice((number, number, number.lower(), f"{number[:6]} {number[6:14]} {number[14:]}"))


def bank_card(r: random.Random) -> str:
    """A bank card of UnionPay, Visa, Mastercard or American Express."""
    prefix, length = r.choice(
        (("622202", 19), ("621700", 19), ("625907", 16), ("6226", 16), ("4", 16), ("53", 16), ("37", 15), ("62284", 19))
    )
    number = _luhn(prefix + _digits(r, length - len(prefix) - 1))
    if length == 15:
        return f"{number[:4]} {number[4:10]} {number[10:]}"
    sep = r.choice(("", "", " ", "-"))
    return sep.join(number[at : at + 4] for at in range(0, length, 4))


def ip(r: random.Random) -> str:
    """A routed address, version 4 or 6."""
    if r.random() < 0.25:
        groups = [f"{r.choice((0x2001, 0x2408, 0x240E, 0x2A00)):x}", *(f"{r.randint(1, 0xFFFF):x}" for _ in range(7))]
        return r.choice((":".join(groups), ":".join(groups[:4]) + "::" + groups[7]))
    while True:
        first = r.randint(1, 223)
        if first not in (10, 100, 127, 169, 172, 192, 198, 203):
            return f"{first}.{r.randint(40, 255)}.{r.randint(0, 255)}.{r.randint(1, 254)}"


MAKERS: dict[str, Callable[[random.Random], str]] = {
    "email": email,
    "phone": phone,
    "id_number": id_number,
    "bank_card": bank_card,
    "ip": ip,
}


def positives(kind: str, n: int, seed: int) -> Iterator[tuple[str, int, int]]:
    """Sentences with one piece of personal data of a kind, and where it is."""
    r = random.Random(f"{kind} {seed}")
    for _ in range(n):
        what, carrier = MAKERS[kind](r), r.choice(_CARRIERS[kind])
        if ":" in what and "http" in carrier:
            what = "8.42.7.9"
        start = carrier.index("{}")
        yield carrier.format(what), start, start + len(what)


def _wrong(number: str, r: random.Random) -> str:
    """The number with another last digit."""
    return number[:-1] + r.choice([d for d in "0123456789" if d != number[-1]])


def misses(n: int, seed: int) -> Iterator[str]:
    """Sentences without personal data that look as if they had some."""
    r = random.Random(f"misses {seed}")
    d = _digits

    def isbn13() -> str:
        body = "978" + r.choice("0137") + d(r, 8)
        number = body + str(-sum(int(x) * (1, 3)[at % 2] for at, x in enumerate(body)) % 10)
        return r.choice((number, f"{number[:3]}-{number[3]}-{number[4:8]}-{number[8:12]}-{number[12]}"))

    def isbn10() -> str:
        body = r.choice("017") + d(r, 8)
        total = sum(int(x) * (10 - at) for at, x in enumerate(body))
        number = body + "0123456789X"[-total % 11]
        return r.choice((number, f"{number[0]}-{number[1:4]}-{number[4:9]}-{number[9]}"))

    def bad_id() -> str:
        first = f"{r.choice(_REGIONS)}{r.randint(1930, 2015)}{r.randint(1, 12):02}{r.randint(1, 28):02}{d(r, 3)}"
        right = _TENTHS[sum(int(x) * w for x, w in zip(first, _WEIGHTS, strict=True)) % 11]
        return first + r.choice([x for x in "0123456789X" if x != right])

    makers: tuple[Callable[[], str], ...] = (
        lambda: f"订单号：{d(r, r.randint(10, 20))}",
        lambda: f"您的订单{d(r, 18)}已发货。",
        lambda: f"Order number {d(r, r.randint(9, 16))} has shipped.",
        lambda: f"快递单号 {r.choice(('SF', 'YT', 'JD'))}{d(r, 13)}",
        lambda: f"运单号是{d(r, 12)}",
        lambda: f"Tracking number: 1Z{d(r, 16)}",
        lambda: f"ISBN {isbn13()}",
        lambda: f"ISBN：{isbn10()}",
        lambda: f"书号{isbn13()}，定价39.80元",
        lambda: f"See {isbn10()} for the book.",
        lambda: f"version {r.randint(0, 20)}.{r.randint(0, 40)}.{r.randint(0, 99)}.{r.randint(1, 255)}",
        lambda: f"升级到v{r.randint(0, 9)}.{r.randint(0, 9)}.{r.randint(0, 9)}.{r.randint(1, 99)}",
        lambda: f"Chrome/{r.randint(50, 120)}.0.{r.randint(1000, 5000)}.{r.randint(1, 200)} Safari/537.36",
        lambda: f"{r.randint(1, 9)}.{r.randint(1, 9)}.{r.randint(1, 9)}.{r.randint(1, 9)} 系统设计",
        lambda: f"时间戳 {r.randint(10**9, 2 * 10**9)}",
        lambda: f"timestamp: {r.randint(10**12, 2 * 10**12)}",
        lambda: f"created at {r.randint(1_500_000_000, 1_700_000_000)}",
        lambda: f"π≈3.{d(r, r.randint(8, 20))}",
        lambda: f"0.{d(r, r.randint(7, 18))} is the result.",
        lambda: f"约等于{d(r, 3)}.{d(r, 11)}",
        lambda: f"计算 {d(r, 11)} + {d(r, 11)} = ?",
        lambda: f"{d(r, 8)} × {d(r, 7)}",
        lambda: f"What is {d(r, 11)} - {d(r, 10)}?",
        lambda: f"x = {d(r, 11)}",
        lambda: f"2^64 = 1844674407370955{d(r, 4)}",
        lambda: f"QQ：{r.randint(10000, 3 * 10**9)}",
        lambda: f"加QQ群{d(r, 9)}",
        lambda: f"QQ号1{d(r, 10)}",
        lambda: str(uuid.UUID(int=r.getrandbits(128), version=4)),
        lambda: f"md5: {r.getrandbits(128):032x}",
        lambda: f"commit {r.getrandbits(160):040x}",
        lambda: f"{r.randint(1900, 2030)}-{r.randint(1, 12):02}-{r.randint(1, 28):02}",
        lambda: f"{r.randint(1990, 2024)}{r.randint(1, 12):02}{r.randint(1, 28):02}{d(r, 6)}",
        lambda: f"于2023-05-06 {r.randint(10, 23)}:{r.randint(10, 59)}:{r.randint(10, 59)}开始",
        lambda: f"2001-{r.randint(2002, 2023)}年",
        lambda: f"价格￥{d(r, 4)}.{d(r, 2)}",
        lambda: f"$1,{d(r, 3)},{d(r, 3)}.00",
        lambda: f"共计1{d(r, 10)}元",
        lambda: f"人口 {d(r, 9)} 人",
        lambda: f"身份证号 {bad_id()}",
        lambda: f"银行卡号 {_wrong(_luhn('622202' + d(r, 12)), r)}",
        lambda: f"card {_wrong(_luhn('4' + d(r, 14)), r)}",
        lambda: f"doi:10.{d(r, 4)}/{d(r, 4)}.{d(r, 8)}",
        lambda: f"https://www.zhihu.com/question/{d(r, 9)}/answer/1{r.choice('3456789')}{d(r, 9)}",
        lambda: f"http://shop.cn/item?id=1{r.choice('3456789')}{d(r, 9)}",
        lambda: f"条形码 69{d(r, 11)}",
        lambda: f"0x{r.getrandbits(64):016x}",
        lambda: f"国药准字H{d(r, 8)}",
        lambda: f"客服热线 400-{d(r, 3)}-{d(r, 4)}",
        lambda: f"Call 1-800-{d(r, 3)}-{d(r, 4)}",
        lambda: f"192.168.{r.randint(0, 255)}.{r.randint(1, 254)}",
        lambda: f"10.0.{r.randint(0, 255)}.{r.randint(1, 254)}",
        lambda: "127.0.0.1:8080",
        lambda: f"{r.randint(256, 999)}.{r.randint(1, 255)}.{r.randint(1, 255)}.1",
        lambda: "user@example.com",
        lambda: "@media (max-width: 600px)",
        lambda: "icon@2x.png",
        lambda: "A@B = C",
        lambda: "@username 你好",
        lambda: "git@github.com:me/repo.git",
        lambda: "std::vector<int>::iterator",
        lambda: f"{r.randint(0, 23):02}:{r.randint(0, 59):02}:{r.randint(0, 59):02}",
        lambda: ":".join(f"{r.randint(0, 255):02X}" for _ in range(6)),
        lambda: f"[{', '.join(d(r, 3) for _ in range(8))}]",
        lambda: " ".join(str(r.randint(1, 99)) for _ in range(12)),
        lambda: f"第{d(r, 7)}号",
        lambda: f"股票代码 {d(r, 6)}.SZ",
        lambda: f"邮编{d(r, 6)}",
        lambda: f"编号{d(r, 16)}",
        lambda: f"流水号 62{d(r, 14)}",
        lambda: f"专利号ZL{d(r, 12)}.{d(r, 1)}",
        lambda: f"{d(r, 30)}",
        lambda: f"学号 20{d(r, 8)}",
        lambda: f"坐标 {r.randint(70, 130)}.{d(r, 7)}, {r.randint(3, 53)}.{d(r, 7)}",
        lambda: f"{r.randint(10, 99)}-{d(r, 7)}",
    )
    for _ in range(n):
        text = r.choice(makers)()
        yield r.choice(("{}", "{}", "说明：{}。", "see {} there", "（{}）")).format(text)


def judge(rounds: int, seed: int) -> tuple[dict[str, tuple[float, float]], list[tuple[str, str]]]:
    """Precision and recall of every kind over `rounds` positives of each and twice as many misses, and what was wrong."""
    right: Counter[str] = Counter()
    false: Counter[str] = Counter()
    wrong: list[tuple[str, str]] = []
    for kind in PERSONAL:
        for text, start, end in positives(kind, rounds, seed):
            hits = [(hit.kind, hit.start, hit.end) for hit in find(text)]
            if (kind, start, end) in hits:
                right[kind] += 1
            else:
                wrong.append((f"missed {kind}", text))
            for other in hits:
                if other != (kind, start, end):
                    false[other[0]] += 1
                    wrong.append((f"false {other[0]}", text))
    for text in misses(2 * rounds, seed):
        for hit in find(text):
            false[hit.kind] += 1
            wrong.append((f"false {hit.kind}", text))
    return {kind: (right[kind] / max(1, right[kind] + false[kind]), right[kind] / rounds) for kind in PERSONAL}, wrong


def main() -> None:
    """Prints the table."""
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 5000
    found, wrong = judge(rounds, 1)
    print(table(("kind", "precision", "recall"), [(kind, f"{p:.4f}", f"{r:.4f}") for kind, (p, r) in found.items()]))
    for what, text in random.Random(1).sample(wrong, min(40, len(wrong))):
        print(f"  {what}: {text!r}")
    texts = pl.Series([text for kind in PERSONAL for text, _, _ in positives(kind, rounds, 2)])
    started = time.perf_counter()
    counts(texts)
    print(f"{len(texts) / (time.perf_counter() - started):,.0f} texts with a hit a second")


if __name__ == "__main__":
    main()
