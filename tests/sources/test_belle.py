r"""BELLE's two readings that can go wrong: the history in one string, and line breaks written as backslash and n."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from corpus.sources.base import Reject
from corpus.sources.belle import decode_breaks, split_history


def joined(*turns: str) -> str:
    """The publisher's notation: turns from the user's first to the user's last, then the open marker."""
    named = [f"{'Assistant' if i % 2 else 'Human'}:{turn}" for i, turn in enumerate(turns)]
    return "\n".join([*named, "Assistant:"])


@pytest.mark.parametrize(
    ("turns", "quoted"),
    [
        (["你好"], 0),
        (["问", "答", "再问"], 0),
        (["问", "", "再问"], 0),
        (["问", "第一行\n\n第三行\n", "再问"], 0),
        # In the middle of a line the words are text.
        (["问", "他说 Human: 你好，又说 Assistant: 再见。", "再问"], 0),
        (["请解释 Assistant: 的意思", "答", "再问"], 0),
        # Other spellings are text.
        (["问", "human:小写\nHuman：全角\n Human:缩进\nHuman :空格", "再问"], 0),
        # A line of an answer begins like a turn: the alternation shows that it is none.
        (["问", "示例：\nHuman: 你好\n就是这样。", "再问"], 1),
        (["问", "两人说：\nAssistant: 我先说\nAssistant: 我再说", "再问"], 2),
        (["问", "例一：\nHuman:甲\nHuman:乙", "再问", "答", "又问"], 2),
        (["问", "剧本：\nAssistant: 欢迎\n（门开）", "再问", "格式：\nHuman: 文字", "又问"], 2),
        # In the first turn and before the open marker the quotes can only be the user's.
        (["续写：\nHuman:早\nHuman:好", "答", "再问"], 2),
        (["问", "答", "下面是谁说的？\nAssistant:早"], 1),
    ],
)
def test_history_is_split_at_turns_and_not_at_quotes(turns: list[str], quoted: int) -> None:
    messages, found = split_history(joined(*turns))
    assert [content for _, content in messages] == turns
    assert [role for role, _ in messages] == ["assistant" if i % 2 else "user" for i in range(len(turns))]
    assert found == quoted


@pytest.mark.parametrize(
    "text",
    [
        "",
        "你好",
        "Assistant:先说\nHuman:问\nAssistant:",
        "序言\nHuman:问\nAssistant:",
        "Human:问",
        "Human:问\nAssistant:答",
        "Assistant:",
        "Human:",
    ],
)
def test_history_of_another_form_is_rejected(text: str) -> None:
    with pytest.raises(Reject) as info:
        split_history(text)
    assert info.value.reason == "shape"


_TURN = st.text(st.sampled_from("问答 \n:：HumanAssistant")).filter(
    lambda t: not any(x.startswith(("Human:", "Assistant:")) for x in t.split("\n"))
)


@given(st.integers(0, 4).flatmap(lambda n: st.lists(_TURN, min_size=2 * n + 1, max_size=2 * n + 1)))
def test_history_survives_the_round_trip(turns: list[str]) -> None:
    messages, quoted = split_history(joined(*turns))
    assert joined(*(content for _, content in messages)) == joined(*turns)
    assert len(messages) == len(turns)
    assert quoted == 0


@given(st.lists(st.sampled_from(["Human:", "Assistant:", "\n", "文"])).map("".join))
def test_no_character_of_a_history_is_lost(text: str) -> None:
    try:
        messages, _ = split_history(text)
    except Reject:
        return
    assert joined(*(content for _, content in messages)).rstrip("\n") == text.strip("\n")


@pytest.mark.parametrize(
    ("text", "decoded"),
    [
        ("没有换行", "没有换行"),
        (r"第一行\n第二行", "第一行\n第二行"),
        ("混合：\\n\n下一段\\n ", "混合：\n\n下一段\n "),
        (r"nine\nno\nnever", "nine\nno\nnever"),
        (r"$a \neq b$\n$\nabla f$", "$a \\neq b$\n$\\nabla f$"),
        (r"已转义 \\n 不动", r"已转义 \\n 不动"),
    ],
)
def test_literal_line_breaks_are_decoded(text: str, decoded: str) -> None:
    assert decode_breaks(text) == decoded
