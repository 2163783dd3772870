"""The turn rules: what is taken for a placeholder, a marker or a broken alternation, and what is not."""

from __future__ import annotations

import time

import numpy as np
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from corpus.schema import MESSAGES
from corpus.text.alternation import ALTERNATION, joined, problems
from corpus.text.conversations import TURN_RULES, settled, talk_of
from corpus.text.placeholders import PLACEHOLDERS, without
from corpus.text.settings import TextSettings, Traits
from corpus.text.speakers import ROLES, split, without_tokens
from corpus.text.turns import CONTINUATION, WHITE, Talk, Turn, TurnRule

SPEAKERS = (
    ("Human:", "user"),
    ("Assistant:", "assistant"),
    ("问：", "user"),
    ("答：", "assistant"),
    ("<user>:", "user"),
    ("<bot>:", "assistant"),
)
PLAIN = TextSettings()
KNOWN = TextSettings(traits=Traits(speakers=SPEAKERS, placeholders=("无", "没有", "N/A", "None")))


def talk(*conversations: list[Turn], kind: str = "dialogue") -> Talk:
    array = pa.array([[{"role": role, "content": content} for role, content in turns] for turns in conversations], MESSAGES)
    return talk_of(array, pl.Series([kind] * len(conversations), dtype=pl.String))


def turns(pattern: str, *contents: str) -> list[Turn]:
    names = {"u": "user", "a": "assistant", "s": "system"}
    return [(names[letter], content) for letter, content in zip(pattern, contents, strict=True)]


# Placeholders


@pytest.mark.parametrize(
    "placeholder",
    [
        "No input", "Noinput", "noinput", "NoInput", "No Input.", "<noinput>", "<no input>", "< noinput >", '"<noinput>"', "`<noinput>`", "(no input)",
        "[No Input]", "<noinput", "<noinput>.", "No input required.", "No input is needed", "The <noinput>", "无输入", "（无输入）", "没有输入。",
        "无需输入。", "不需要输入", "“<无输入>”", "输入：无", "输入: 无。", "输入：\n（无）", "Input: None", "Input:\nN/A",
    ],
)  # fmt: skip
def test_no_input_goes_in_any_source(placeholder: str) -> None:
    assert without(f"Name three animals.\n{placeholder}") == "Name three animals."
    assert without(f"说出三种动物。\n\n{placeholder}\n") == "说出三种动物。"


@pytest.mark.parametrize("placeholder", ["无", "无。", "（无）", "没有。", "N/A", "<N/A>", "None", "n/a"])
def test_bare_placeholders_go_where_the_source_has_them(placeholder: str) -> None:
    question = f"写一首关于月亮的诗。\n{placeholder}"
    assert without(question) == question
    assert without(question, KNOWN.traits.placeholders) == "写一首关于月亮的诗。"


@pytest.mark.parametrize(
    "question",
    [
        "No input", "无", "  \n<noinput>", "", "\n",
        "Print `No input` when the user types nothing.\nNo input", "程序在没有输入时应当显示什么？\n没有输入",
        "句子里有否定词吗？回答“有”或“无”。\n无", "Answer with Yes, No or N/A.\nN/A", "选项：\n有\n无", "以下哪个字的意思是没有？\n甲\n无",
        "Translate the words.\nno inputs were given", "症状：无", "Has the player no input lag?", "家里无\n人", "Write None in Python.\nNone",
    ],
)  # fmt: skip
def test_what_is_asked_about_stays(question: str) -> None:
    assert without(question, KNOWN.traits.placeholders) == question


def test_only_users_leave_an_input_out() -> None:
    said = turns("ua", "Which message does it print?\nIt prints one.", "It prints:\nNo input")
    assert PLACEHOLDERS.mend(said, "dialogue", PLAIN) == said


def test_text_before_the_tag_on_its_line_stays() -> None:
    assert without("Write as Jane Austen.\nMy dearest Cassandra,<noinput>") == "Write as Jane Austen.\nMy dearest Cassandra,"


def test_a_wall_of_placeholders_is_left_alone() -> None:
    wall = "问题" + "\n输入：无" * 10_000
    assert without(wall) == wall


# Roles: words


def test_a_history_in_one_text_becomes_turns() -> None:
    text = "Human: What is tea?\nAssistant: A drink.\nHuman: And coffee?"
    assert split("user", text, SPEAKERS) == turns("uau", "What is tea?", "A drink.", "And coffee?")
    assert split("user", "问：茶是什么？\n答：饮料。\n问：咖啡呢？", SPEAKERS) == turns("uau", "茶是什么？", "饮料。", "咖啡呢？")
    assert split("assistant", "A drink.\n <user>: And coffee?\n <bot>: Too.", SPEAKERS) == turns("aua", "A drink.", "And coffee?", "Too.")


@pytest.mark.parametrize("marker", ["Human: ", "Assistant: ", "Human:Assistant: ", "\nHuman:\n"])
def test_a_marker_at_the_very_beginning_changes_no_speaker(marker: str) -> None:
    assert split("assistant", f"{marker}You mean a cat?", SPEAKERS) == [("assistant", "You mean a cat?")]


def test_a_marker_of_the_speaker_joins() -> None:
    assert split("assistant", "I will go.  \nAssistant:   By the way, stay.", SPEAKERS) == [
        ("assistant", "I will go.\n\nBy the way, stay.")
    ]


@pytest.mark.parametrize(
    "text",
    [
        "A dialogue:\n```\nHuman: hello\nAssistant: hi\n```", "~~~\nHuman: hello\n~~~", "He said Human: and left.", "Humans: all of us", "```\nHuman: no end",
        "Inline ```code``` here\nhuman: lower case",
    ],
)  # fmt: skip
def test_code_and_running_text_have_no_markers(text: str) -> None:
    assert split("assistant", text, SPEAKERS) == [("assistant", text)]


def test_words_stay_where_the_source_is_not_known_for_them() -> None:
    said = turns("ua", "写一段用户与助手的对话。", "用户：你好！\n助手：您好！\n\nHuman: hello\nAssistant: hi")
    assert ROLES.mend(said, "dialogue", PLAIN) == said


def test_the_last_turn_of_a_prompt_and_of_an_answer_keeps_its_speaker() -> None:
    answer = [("assistant", "Tea is a drink.\nHuman: And coffee?")]
    assert ROLES.mend(answer, CONTINUATION, KNOWN) == answer
    assert ROLES.mend(answer, "dialogue", KNOWN) == turns("au", "Tea is a drink.", "And coffee?")
    longer = [("assistant", answer[0][1] + "\nAssistant: Too.")]
    assert ROLES.mend(longer, CONTINUATION, KNOWN) == turns("aua", "Tea is a drink.", "And coffee?", "Too.")
    prompt = [("user", "Human: What is tea?\nAssistant:")]
    assert ROLES.mend(prompt, "prompt", KNOWN) == [("user", "What is tea?")]


# Roles: special tokens


@pytest.mark.parametrize(
    ("text", "after"),
    [
        ("It is 42.</s>", "It is 42."), ("答案是四十二<|endoftext|>", "答案是四十二"), ("Yes.<|im_end|>\n<|endoftext|>", "Yes."),
        ("<|im_start|>assistant\nYes.<|im_end|>", "Yes."), ("<s> [INST] Why? [/INST]", "Why?"), ("好的。<eoa>", "好的。"), ("Done. [EOS]", "Done."),
        ("<|start_header_id|>user<|end_header_id|>\n\nHi<|eot_id|>", "Hi"), ("<|Human|>: 你好<eoh>", "你好"), ("<s>old</s>", "old"),
        ("One.</s> \nTwo.", "One.< /s> \nTwo."), ("a <|im_end|>\n<|im_start|>user\nb", "a < |im_end|>\n< |im_start|>user\nb"),
        ("<|endoftext|>", "< |endoftext|>"), ("The token is: <|endoftext|>", "The token is: < |endoftext|>"),
        ("<s> is the first token.", "< s> is the first token."), ("结束符是</s>", "结束符是< /s>"), ("q [/INST] a", "q [ /INST] a"),
    ],
)  # fmt: skip
def test_special_tokens_go_from_the_ends_and_are_defused_between(text: str, after: str) -> None:
    assert without_tokens(text) == after


@pytest.mark.parametrize(
    "text",
    [
        "`</s>` ends it.", "```python\neos = '</s>'\n```", "```\n<|im_end|>", "Now <s>9</s> 7 dollars", "<|custom|> stays", "a <- b |> c", "[CLS] and [SEP]",
        "x < s > y", "List[int]s",
    ],
)  # fmt: skip
def test_code_and_other_signs_stay(text: str) -> None:
    assert without_tokens(text) == text


# Alternation


@pytest.mark.parametrize(
    ("kind", "before", "after"),
    [
        ("dialogue", turns("sua", " ", "q", "a"), turns("ua", "q", "a")),
        ("dialogue", turns("uua", "q", "更多", "a"), turns("ua", "q\n\n更多", "a")),
        ("dialogue", turns("uuaa", "q", " q\n", "a", "a"), turns("ua", "q", "a")),
        ("dialogue", turns("uaua", "q", "a", "\u3000", "b"), turns("ua", "q", "a\n\nb")),
        ("dialogue", turns("uaua", "q", "", "r", "b"), turns("ua", "r", "b")),
        ("dialogue", turns("uaua", "q", "a", "r", "\n"), turns("ua", "q", "a")),
        ("dialogue", turns("uaau", "q", "", "a", "r"), turns("ua", "q", "a")),
        ("dialogue", turns("aua", "您好！", "q", "a"), turns("ua", "q", "a")),
        ("dialogue", turns("saua", "s", "Hello!", "q", "a"), turns("sua", "s", "q", "a")),
        ("dialogue", turns("uau", "q", "a", "谢谢"), turns("ua", "q", "a")),
        ("dialogue", turns("uas", "q", "a", "end"), turns("ua", "q", "a")),
        ("prompt", turns("uau", "q", "a", "r"), turns("uau", "q", "a", "r")),
        ("prompt", turns("auu", "hi", "q", "r"), turns("u", "q\n\nr")),
        ("prompt", turns("ua", "q", ""), turns("u", "q")),
        ("preference", turns("su", "", "q"), turns("u", "q")),
        ("preference", turns("aua", "hi", "q", "a"), turns("aua", "hi", "q", "a")),
        ("preference", turns("uaau", "q", "a", "b", "r"), turns("uau", "q", "a\n\nb", "r")),
        (CONTINUATION, turns("aua", "a", "", "b"), turns("a", "a\n\nb")),
        (CONTINUATION, turns("ua", "q", "a"), turns("ua", "q", "a")),
    ],
)
def test_repairs(kind: str, before: list[Turn], after: list[Turn]) -> None:
    assert ALTERNATION.mend(before, kind, PLAIN) == after
    assert ALTERNATION.suspects(talk(before, kind=kind), PLAIN).tolist() == [before != after]


@pytest.mark.parametrize(
    ("kind", "said", "problem"),
    [
        ("dialogue", turns("ua", "q", " "), "no_answer"), ("dialogue", turns("u", "q"), "no_answer"), ("dialogue", turns("ua", "", "a"), "no_question"),
        ("dialogue", turns("au", "a", "q"), "no_answer"), ("dialogue", turns("ua", "", "\n"), "empty"), ("dialogue", [], "empty"),
        ("dialogue", turns("usua", "q", "s", "r", "a"), "not_alternating"), ("prompt", turns("ua", "q", "a"), "no_question"),
        ("prompt", turns("s", "s"), "no_question"), ("preference", turns("u", ""), "empty"), (CONTINUATION, turns("a", ""), "empty"),
    ],
)  # fmt: skip
def test_what_cannot_be_repaired_stays_as_it_is_and_is_named(kind: str, said: list[Turn], problem: str) -> None:
    assert ALTERNATION.mend(said, kind, PLAIN) == said
    assert problems(talk(said, kind=kind)).to_list() == [problem]


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("dialogue", turns("ua", "q", "a")), ("dialogue", turns("suaua", "s", "问", "答", "q", "a")), ("prompt", turns("u", "q")), ("preference", []),
        ("preference", turns("u", "q")), (CONTINUATION, turns("a", "a")), ("document", []),
    ],
)  # fmt: skip
def test_what_is_in_order_has_no_problem(kind: str, said: list[Turn]) -> None:
    assert problems(talk(said, kind=kind)).to_list() == [None]
    assert not ALTERNATION.suspects(talk(said, kind=kind), PLAIN).any()


def test_problems_stay_with_their_conversations() -> None:
    many = talk(turns("ua", "q", "a"), [], turns("uu", "q", "r"), turns("ua", "q", ""), turns("ua", "q", "a"))
    assert problems(many).to_list() == [None, "empty", "no_answer", "no_answer", None]


def test_joining_keeps_indentation_and_drops_nothing_else() -> None:
    assert joined(turns("aa", "Code:\n", "\n    x = 1\n")) == [("assistant", "Code:\n\n    x = 1")]
    assert joined([]) == []


# Properties

WORDS = st.sampled_from([
    "", " ", "\n", "q", "无", "No input", "<noinput>", "输入：无", "N/A", "Human:", "Assistant:", "问：", "<user>:", "</s>", "<s>", "<|im_start|>user",
    "<|im_end|>", "[INST]", "[/INST]", "[EOS]", "```", "~~~", "`", ":", "是", "\u3000", "\x1c", "\x85", "有", "“", "e\u0301", "\u0301", "ſ", "İ",
])  # fmt: skip
TEXT = st.one_of(
    st.lists(st.tuples(WORDS, st.sampled_from(["", " ", "\n"])), max_size=8).map(lambda parts: "".join(a + b for a, b in parts)),
    st.text(max_size=20),
)
TURNS = st.lists(st.tuples(st.sampled_from(["user", "assistant", "system"]), TEXT), max_size=6)
KINDS = st.sampled_from(["dialogue", "prompt", "preference", CONTINUATION])
EITHER = st.sampled_from([PLAIN, KNOWN])
CALM = settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.too_slow])


@pytest.mark.parametrize("rule", TURN_RULES, ids=lambda rule: rule.name)
@CALM
@given(said=TURNS, kind=KINDS, how=EITHER)
def test_rules_are_idempotent_and_suspect_what_they_change(rule: TurnRule, said: list[Turn], kind: str, how: TextSettings) -> None:
    once = rule.mend(said, kind, how)
    assert rule.mend(once, kind, how) == once
    if once != said:
        assert rule.suspects(talk(said, kind=kind), how).tolist() == [True]


@CALM
@given(said=TURNS, kind=KINDS, how=EITHER)
def test_all_rules_together_are_idempotent(said: list[Turn], kind: str, how: TextSettings) -> None:
    once, _ = settled(said, kind, TURN_RULES, how)
    assert settled(once, kind, TURN_RULES, how) == (once, set())


@CALM
@given(said=TURNS, kind=KINDS, how=EITHER)
def test_what_alternation_changes_is_in_order(said: list[Turn], kind: str, how: TextSettings) -> None:
    after = ALTERNATION.mend(said, kind, how)
    assert {role for role, _ in after} <= {role for role, _ in said}
    if after != said and kind in ("dialogue", "prompt"):
        assert problems(talk(after, kind=kind)).to_list() == [None]


@CALM
@given(said=TURNS, how=EITHER)
def test_a_turn_never_becomes_empty(said: list[Turn], how: TextSettings) -> None:
    for rule in (PLACEHOLDERS, ROLES):
        after = rule.mend(said, "dialogue", how)
        assert sum(not content.strip(WHITE) for _, content in after) <= sum(not content.strip(WHITE) for _, content in said)


@CALM
@given(contents=st.lists(TEXT, max_size=6))
def test_blank_is_the_same_for_columns_and_texts(contents: list[str]) -> None:
    assert talk([("user", content) for content in contents]).blank().tolist() == [not content.strip(WHITE) for content in contents]


def test_suspects_of_nothing() -> None:
    for rule in TURN_RULES:
        assert rule.suspects(talk(), KNOWN).dtype == np.bool_
        assert rule.suspects(talk([], []), KNOWN).tolist() == [False, False]


@pytest.mark.parametrize(
    "text",
    [
        "<s>" * 100_000, "a</s>" * 100_000, "Human:" * 100_000, "Human: a\n" * 100_000, "```\nHuman: x\n" * 30_000, "`" * 100_000, "<" * 100_000,
        " " * 100_000 + "x", "q\n" + "No input\n" * 100_000, "q\n" + "输入：无\n" * 100_000, "问题\n" + "无\n" * 100_000, "[INST]" * 100_000,
    ],
)  # fmt: skip
def test_rules_take_linear_time(text: str) -> None:
    began = time.perf_counter()
    settled([("user", text), ("assistant", text)], "dialogue", TURN_RULES, KNOWN)
    assert time.perf_counter() - began < 5
