"""What counts as an answer that says which model the assistant is, and what is only about a model."""

from __future__ import annotations

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from corpus.text.identity import _WAYS, statements


@pytest.mark.parametrize(
    "text",
    [
        "我是MOSS，很高兴见到你。",
        "您好，我是您的智能助手Open Assistant！",
        "我是由OpenAI训练的大型语言模型。",
        "作为由 OpenAI 开发的语言模型，我没有身体。",
        "作为ChatGPT，我不能上网。",
        "我的名字是文心一言。",
        "我叫小冰，是一个聊天机器人。",
        "我是一个名叫阿木的人工智能助手。",
        "我由百度研发，会写诗。",
        "我是由华东师范大学的团队开发的对话机器人。",
        "我的开发者是 LAION。",
        "你可以叫我 ChatGLM。",
        "OpenAI创造了我。",
        "作为百度的人工智能助手，我会尽力。",
        "I am ChatGPT.",
        "Hello! I'm Open Assistant, and I like questions.",
        "My name is Vicuna.",
        "You can call me Vicuna, a language model.",
        "As an AI developed by OpenAI, I have no opinion.",
        "As an AI language model created by Anthropic, I cannot smell.",
        "I was trained by researchers from LMSYS on many texts.",
        "I am Claude, an AI assistant made to help.",
        "I'm an AI assistant called Pebble.",
        "As ChatGPT, I can write poems.",
        "I am an AI chatbot built by Greenfield Labs.",
        "My creators at OpenAI gave me no eyes.",
        "My makers are some people of the laboratory of Anthropic.",
        "I am Bard, a large language model.",
        "I'm a large language model trained by Google.",
    ],
)
def test_statements_of_ones_own_identity(text: str) -> None:
    assert statements(pl.Series([text])).tolist() == [1]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "ChatGPT 是 OpenAI 推出的聊天机器人。",
        "ChatGPT is a chatbot that was developed by OpenAI.",
        "A GPT disk has a backup of its partition table at its end.",
        "I am converting the disk from MBR to GPT now.",
        "我是一名研究 ChatGPT 的学生。",
        "我用ChatGPT写周报。",
        "我不是ChatGPT。",
        "作为ChatGPT的用户，我很满意。",
        "As an AI language model, I do not have feelings.",
        "作为一个人工智能语言模型，我没有感情。",
        "我是一名人工智能助手。",
        "I work at Google as an engineer.",
        "我在百度工作，负责推荐系统。",
        "I am Claude, a painter from Lyon.",
        "我叫小爱，今年七岁，喜欢画画。",
        "The moss on my roof is trained by nobody.",
        "Alpaca wool is warm, as I told you.",
        "这款手机是由华为公司开发的。",
        "本草纲目由李时珍编写，我读过。",
        "They are language models trained by OpenAI.",
        "GPT-4 与我之前说的模型不同。",
    ],
)
def test_what_is_only_about_a_model(text: str) -> None:
    assert statements(pl.Series([text])).tolist() == [0]


def test_every_statement_of_one_way_counts() -> None:
    assert statements(pl.Series(["I am ChatGPT. As I said: I am ChatGPT.", "none", "我是MOSS。"])).tolist() == [2, 0, 1]


_PIECES = st.sampled_from(
    ["I am ", "I'm ", "my name is ", "As ", "as an AI ", "language model ", "assistant ", "called ", "named ", "ChatGPT", "GPT-4", "Claude", "Vicuna",
     " developed by ", "trained by ", "OpenAI", "Google", "Acme", "me", ", I ", "我", "是", "叫", "作为", "由", "开发的", "训练的", "人工智能", "助手", "一个", "名叫",
     "小冰", "小白", "的", "文心一言", "百度", "大学", "公司", "，", "。", " ", "语言模型", "了我", "我的开发者是", "这里是"]
)  # fmt: skip


@given(st.lists(st.one_of(st.lists(_PIECES, max_size=12).map("".join), st.text()), max_size=5))
@settings(deadline=None, max_examples=400)
def test_no_text_that_states_an_identity_is_passed_over(texts: list[str]) -> None:
    series = pl.Series(texts, dtype=pl.String)
    ways = [series.str.count_matches(pattern).to_list() for pattern in _WAYS.values()]
    assert statements(series).tolist() == [max(counts) for counts in zip(*ways, strict=True)]
