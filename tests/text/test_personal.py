"""Personal data: what is found, what is left alone, and what masking leaves behind."""

from __future__ import annotations

import os
import time
from pathlib import Path

import polars as pl
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from benchmarks.personal import judge
from corpus.text.marks import marks, utf8
from corpus.text.personal import RULES, counts, find, mask, suspects
from corpus.text.rules import clean
from corpus.text.settings import PERSONAL, TextSettings

EVERYTHING = TextSettings(mask=PERSONAL)


def test_precision_and_recall_on_generated_sentences() -> None:
    figures, wrong = judge(5000, seed=20)
    for kind, (precision, recall) in figures.items():
        assert precision >= 0.99, (kind, wrong[:5])
        assert recall >= 0.99, (kind, wrong[:5])


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ("请联系 li.ming@qq.com。", "请联系 <email>。"),
        ("邮箱是abc123@163.com谢谢", "邮箱是<email>谢谢"),
        ("Mail <john.doe+news@mail.example-firm.co.uk>, please.", "Mail <<email>>, please."),
        ("手机13812345678，座机010-62781234。", "手机<phone>，座机<phone>。"),
        ("电话：138 1234 5678 或 +86-139-8765-4321", "电话：<phone> 或 <phone>"),
        ("13812345678 13912345678/15812345678", "<phone> <phone>/<phone>"),
        ("Call (415) 267-3344 or +44 20 7946 0958.", "Call <phone> or <phone>."),
        ("身份证11010519491231002X，卡号6222 0212 3456 7890 128", "身份证<id_number>，卡号<bank_card>"),
        ("邮箱a.li@qq.com/b.wu@163.com", "邮箱<email>/<email>"),
        ("Visa 4539 5787 6362 1486 was charged", "Visa <bank_card> was charged"),
        ("ping 202.108.22.5:80", "ping <ip>:80"),
        ("+86 13812345678 +86 13912345678 +8613712345678", "<phone> <phone> <phone>"),
        ("地址2408:8207:7850:1a2b:3c4d:5e6f:1234:5678。", "地址<ip>。"),
    ],
)
def test_masks(text: str, masked: str) -> None:
    assert mask(pl.Series([text]), EVERYTHING).to_list() == [masked]


@pytest.mark.parametrize(
    "text",
    [
        "订单号：13812345678", "QQ：1381234567", "ISBN 978-7-115-54608-1", "圆周率3.14159265358979", "version 10.15.7.44 is out", "升级到v2.30.8.41",
        "https://www.zhihu.com/question/13812345678", "13812345678元", "1381234567890", "SF13812345678", "2023-05-06 12:30:45", "1683360000000",
        "someone@example.com", "127.0.0.1 and 192.168.1.20", "4111 1111 1111 1111", "身份证110105194912310021", "卡号6222 0212 3456 7890 127",
        "std::vector", "12:30:45::", "EC 3.1.1.11", "客服 400-810-8888", "call 1-800-555-0199", "550e8400-e29b-41d4-a716-446655440000", "a@b", "@user",
        "x = 13812345678", "13812345678 - 5", "13812345678 + 13912345678", "git@github.com:a/b.git", "https://a.com/li@b.com", "256.100.50.25", "1.2.3.4 概述", "12345678901",
        "", "0.13812345678", "１３８１２３４５６７８", "13812345678.5", "1,381,234,567", "8.8.8.8",
    ],
)  # fmt: skip
def test_leaves_alone(text: str) -> None:
    assert find(text) == []


def test_only_the_kinds_that_the_recipe_names() -> None:
    texts = pl.Series(["a.li@qq.com 13812345678"])
    assert mask(texts, TextSettings(mask=("phone",))).to_list() == ["a.li@qq.com <phone>"]
    assert clean(texts, RULES, TextSettings())[0].to_list() == texts.to_list()
    assert clean(texts, RULES, EVERYTHING)[0].to_list() == ["<email> <phone>"]


def test_counts_per_text() -> None:
    found = counts(pl.Series(["", "a.li@qq.com", "13812345678 13912345678", "没有"]))
    assert found["email"].tolist() == [0, 1, 0, 0]
    assert found["phone"].tolist() == [0, 0, 2, 0]
    assert set(found) == set(PERSONAL)


_PIECES = st.sampled_from(
    ["13812345678", "１３８１２３４５６７８", "010-62781234", "(415) 267-3344", "a.li@qq.com", "11010519491231002X", "6222021234567890128", "202.108.22.5", "+86", "电话", "1", "23",
     ".", "-", " ", "@", ":", "::", "/", "(", ")", "+", "a", "x", "我", "é", "\u0301", "\n", "2408:8207:7850:1a2b:3c4d:5e6f:1234:5678", "4539 5787 6362 1486"]
)  # fmt: skip


@given(st.one_of(st.lists(_PIECES, max_size=14).map("".join), st.text(max_size=40)))
@example("13812345678-13912345678-010-62781234-1")
@settings(max_examples=400, deadline=None)
def test_masking_is_idempotent_selected_by_marks_and_touches_nothing_else(text: str) -> None:
    texts = pl.Series([text])
    hits = find(text)
    once = mask(texts, EVERYTHING)
    assert mask(once, EVERYTHING).to_list() == once.to_list()
    if hits:
        assert suspects(*utf8(texts)).tolist() == [0]
        assert int(marks(texts)[0]) & RULES[0].marks
    else:
        assert once.to_list() == [text]
    ends = 0
    for hit in hits:
        assert ends <= hit.start < hit.end <= len(text)
        ends = hit.end
    left = once[0]
    for kind in PERSONAL:
        left = left.replace(f"<{kind}>", "\0")
    for piece in left.split("\0"):
        assert piece in text


@pytest.mark.parametrize(
    "text",
    ["1" * 400_000, "1 " * 200_000, "1.1." * 100_000, "a@" * 200_000, "a" * 400_000 + "@", "a.a@" * 100_000, ":1" * 200_000, "138 1234 5678 " * 20_000,
     "+1(" * 130_000, "1" + " " * 400_000, "a@" + "a-" * 200_000, "@" + "a." * 200_000, "http://" + "1381234567/" * 30_000, "(" * 400_000,
     "+86 13812345678 " * 12_000, "123.123.123.123/" * 12_000],
    ids=lambda text: text[:12],
)  # fmt: skip
def test_hostile_texts_are_not_quadratic(text: str) -> None:
    find("warm up")
    started = time.process_time()
    mask(pl.Series([text]), EVERYTHING)
    assert time.process_time() - started < 5


@pytest.mark.real
@pytest.mark.skipif("DATA_REAL" not in os.environ, reason="DATA_REAL names no folder")
def test_real_exercises_hold_no_bank_cards() -> None:
    folder = Path(os.environ["DATA_REAL"]) / "belle"
    lines = [line for path in sorted(folder.glob("**/*.json*")) for line in path.read_text(encoding="utf-8", errors="replace").splitlines()]
    found = counts(pl.Series(lines))
    assert int(found["bank_card"].sum()) == int(found["id_number"].sum()) == 0
    assert int(found["phone"].sum()) < 20
