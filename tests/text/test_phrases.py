"""What counts as a model speaking of itself, and what as declining."""

from __future__ import annotations

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from corpus.text.phrases import _PATTERNS, counts


@pytest.mark.parametrize(
    ("text", "times"),
    [
        ("As an AI language model, I do not have feelings.", 1),
        ("I'm just an AI assistant, and as a large language model I cannot vote.", 2),
        ("As an artificial intelligence, I have no body.", 1),
        ("作为一个人工智能语言模型，我没有感情。", 1),
        ("作为AI助手，我可以帮您。我是一个AI，没有偏好。", 2),
        ("作为 AI 语言模型，我不能上网。", 1),
        ("我只是一个语言模型。", 1),
        ("作為一個人工智慧，我沒有身體。", 1),
        ("作为一名教师，我热爱学生。", 0),
        ("人工智能是计算机科学的一个分支。", 0),
        ("AI will change the world, as an assistant would.", 0),
        ("我是一个学生，研究语言模型。", 0),
        ("He works as an airline pilot.", 0),
        ("", 0),
    ],
)
def test_self_references(text: str, times: int) -> None:
    assert counts(pl.Series([text]))["self_reference"].tolist() == [times]


@pytest.mark.parametrize(
    ("text", "declines"),
    [
        ("I'm sorry, but I can't help with that.", True),
        ("I’m sorry, but as an AI I am unable to browse the web.", True),
        ("I cannot assist with this request.", True),
        ("Sorry, I won't do that.", True),
        ("I apologize, but I am not able to answer.", True),
        ("抱歉，我无法回答这个问题。", True),
        ("很抱歉，作为AI语言模型，我不能提供医疗建议。", True),
        ("对不起，我没有办法访问互联网。", True),
        ("我无法为您提供这样的帮助。", True),
        ("我拒绝回答这个问题。", True),
        ("I'm sorry to hear that. Rest well and drink water.", False),
        ("I am sorry for your loss.", False),
        ("抱歉让您久等了，您的订单已发货。", False),
        ("你不能这样做。", False),
        ("You cannot divide by zero.", False),
        ("The answer can't be known from the text.", False),
        ("他说他无法来。", False),
    ],
)
def test_refusals(text: str, declines: bool) -> None:
    assert bool(counts(pl.Series([text]))["refusals"][0]) is declines


_PIECES = st.sampled_from(
    ["I", "'m", " am", " sorry", ", but", " can't", " cannot", " help", " answer", " as an", " AI", " ai", " language model", "我", "们", "无法", "不能", "提供", "回答",
     "抱歉", "，", "作为", "一个", "人工智能", "是", "由", "公司", "开发的", "机器人", "助手", "拒绝", "。", " ", "没办法", "不便", "为您", "unable to", "大型"]
)  # fmt: skip


@given(st.lists(st.one_of(st.lists(_PIECES, max_size=10).map("".join), st.text()), max_size=5))
@settings(deadline=None, max_examples=300)
def test_no_text_that_holds_a_phrase_is_passed_over(texts: list[str]) -> None:
    series = pl.Series(texts, dtype=pl.String)
    for name, values in counts(series).items():
        assert values.tolist() == series.str.count_matches(_PATTERNS[name]).to_list()
