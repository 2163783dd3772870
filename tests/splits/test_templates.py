"""Templates: what is rendered, and what is learned."""

from __future__ import annotations

import dataclasses

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from corpus.schema import ROLES, SPANS
from corpus.splits.templates import TEMPLATES, Template, guard, opened, pieces, render
from tests.splits.conversations import Turns, any_template, column, strings, turns

TEMPLATE = TEMPLATES["human-assistant"]
VICUNA = TEMPLATES["vicuna-v1.1"]
ALL = pytest.mark.parametrize("template", TEMPLATES.values(), ids=TEMPLATES.keys())
TALK = [("system", "Be kind."), ("user", "Hello?"), ("assistant", "Hi!"), ("user", "Bye."), ("assistant", "再见 👋")]
CURIOUS = (
    "A chat between a curious user and an artificial intelligence assistant. "
    "The assistant gives helpful, detailed, and polite answers to the user's questions."
)
BELOW = "Below is an instruction that describes a task. Write a response that appropriately completes the request."


def rendered(template: Template, *conversations: Turns) -> list[tuple[str, list[str]]]:
    """The text of each conversation, and the stretches of it that are learned."""
    texts, spans = render(template, column(*conversations))
    assert spans.type == SPANS
    assert texts.type == pa.string()
    assert len(texts) == len(spans) == len(conversations)
    return [(t, [t[s["start"] : s["end"]] for s in each]) for t, each in zip(texts.to_pylist(), spans.to_pylist(), strict=True)]


GOLDEN: dict[str, tuple[str, list[str]]] = {
    "human-assistant": (
        "Be kind.\n\nHuman: Hello?\n\nAssistant: Hi!</s>Human: Bye.\n\nAssistant: 再见 👋</s>",
        [" Hi!</s>", " 再见 👋</s>"],
    ),
    "human-assistant-single": (
        "Be kind.\nHuman: Hello?\nAssistant: Hi!</s>Human: Bye.\nAssistant: 再见 👋</s>",
        [" Hi!</s>", " 再见 👋</s>"],
    ),
    "vicuna-v1.1": (
        "Be kind. USER: Hello? ASSISTANT: Hi!</s>USER: Bye. ASSISTANT: 再见 👋</s>",
        [" Hi!</s>", " 再见 👋</s>"],
    ),
    "hugchat": (
        "Be kind. \n Human: Hello? \n HugChat: Hi! \n\nHuman: Bye. \n HugChat: 再见 👋 \n\n",
        [" Hi! \n\n", " 再见 👋 \n\n"],
    ),
    "chatml": (
        "<|im_start|>system\nBe kind.<|im_end|>\n<|im_start|>user\nHello?<|im_end|>\n<|im_start|>assistant\nHi!<|im_end|>\n"
        "<|im_start|>user\nBye.<|im_end|>\n<|im_start|>assistant\n再见 👋<|im_end|>\n",
        ["Hi!<|im_end|>", "再见 👋<|im_end|>"],
    ),
    "alpaca": (
        "Be kind.\n\n### Instruction:\nHello?\n\n### Response:\nHi!</s>### Instruction:\nBye.\n\n### Response:\n再见 👋</s>",
        ["Hi!</s>", "再见 👋</s>"],
    ),
    "plain": ("Be kind.\nHello?\nHi!</s>Bye.\n再见 👋</s>", ["Hi!</s>", "再见 👋</s>"]),
}
OPENED = {
    "human-assistant": "Human: Q\n\nAssistant:",
    "human-assistant-single": "Human: Q\nAssistant:",
    "vicuna-v1.1": f"{CURIOUS} USER: Q ASSISTANT:",
    "hugchat": "Human: Q \n HugChat:",
    "chatml": "<|im_start|>user\nQ<|im_end|>\n<|im_start|>assistant\n",
    "alpaca": f"{BELOW}\n\n### Instruction:\nQ\n\n### Response:\n",
    "plain": "Q\n",
}


def test_there_are_golden_texts_of_every_template() -> None:
    assert set(GOLDEN) == set(OPENED) == set(TEMPLATES)


@pytest.mark.parametrize("name", GOLDEN)
def test_to_the_letter(name: str) -> None:
    assert rendered(TEMPLATES[name], TALK) == [GOLDEN[name]]
    assert opened(TEMPLATES[name], column([("user", "Q")])).to_pylist() == [OPENED[name]]


@ALL
def test_nothing_and_nobody(template: Template) -> None:
    assert rendered(template) == []
    assert opened(template, column()).to_pylist() == []
    empty, (asked, learned), again = rendered(template, [], [("user", "Q")], [])
    assert empty == again == (template.preamble, [])
    assert asked == template.preamble + template.before["user"] + "Q" + template.after["user"]
    assert learned == []


@ALL
def test_a_slice_renders_like_the_whole(template: Template) -> None:
    whole = column(*[[("system", "S")] * (n % 2) + [("user", f"问{n}"), ("assistant", f"答{n}</s>" * n)] for n in range(6)])
    texts, spans = render(template, whole)
    part, part_spans = render(template, whole.slice(2, 3))
    assert part.to_pylist() == texts.to_pylist()[2:5]
    assert part_spans.to_pylist() == spans.to_pylist()[2:5]
    assert opened(template, whole.slice(2, 3)).to_pylist() == opened(template, whole).to_pylist()[2:5]


@given(any_template, st.lists(turns, min_size=1, max_size=4), st.data())
@settings(max_examples=200, deadline=None)
def test_what_is_rendered_with_an_answer_begins_with_the_prompt(template: Template, prompts: list[Turns], data: st.DataObject) -> None:
    answers = [data.draw(turns.map(lambda each: next((c for _, c in each), ""))) for _ in prompts]
    starts = opened(template, column(*prompts)).to_pylist()
    whole = rendered(template, *[[*p, ("assistant", a)] for p, a in zip(prompts, answers, strict=True)])
    for start, (text, learned) in zip(starts, whole, strict=True):
        assert text.startswith(start)
        # The two join exactly: what is learned is what a model goes on with; what follows the end of the turn is not.
        rest = template.after["assistant"].removeprefix(template.end)
        assert text == start + learned[-1] + rest


@given(any_template, st.lists(turns, max_size=4))
@settings(max_examples=200, deadline=None)
def test_what_is_learned_is_the_answers_each_with_its_end(template: Template, conversations: list[Turns]) -> None:
    for each, (_, learned) in zip(conversations, rendered(template, *conversations), strict=True):
        answers = guard(template, strings(*(c for role, c in each if role == "assistant"))).to_list()
        blank = template.before["assistant"].removeprefix(template.opens)
        assert learned == [f"{blank}{answer}{template.end}" for answer in answers]


@given(any_template, st.lists(turns, max_size=4))
@settings(max_examples=200, deadline=None)
def test_pieces_add_up_to_the_text(template: Template, conversations: list[Turns]) -> None:
    parts, front = pieces(template, column(*conversations))
    texts, _ = render(template, column(*conversations))
    assert front.dtype == np.int64
    assert len(front) == len(conversations)
    left = parts.to_list()
    for each, extra, text in zip(conversations, front.tolist(), texts.to_pylist(), strict=True):
        mine, left = left[: len(each)], left[len(each) :]
        assert text[extra:] == "".join(mine)
        assert extra in (0, len(template.preamble))
        assert len(text) == extra + sum(map(len, mine))
    assert left == []


def test_which_messages_are_learned_can_be_said() -> None:
    talk = column([("user", "Q"), ("assistant", "A"), ("user", "Q2"), ("assistant", "B")], [("assistant", "C")])
    _, spans = render(VICUNA, talk, np.array([False, False, False, True, False]))
    [text, _] = render(VICUNA, talk)[0].to_pylist()
    assert [len(each) for each in spans.to_pylist()] == [1, 0]
    [[span], _] = spans.to_pylist()
    assert text[span["start"] : span["end"]] == " B</s>"


def by_fastchat(system: str | None, messages: list[tuple[str, str]]) -> str:
    """FastChat's `vicuna_v1.1` conversation in the style ADD_COLON_TWO, from its description: the system text and a separator; then each
    message as role, colon, blank, text, and in turn the first separator (a blank) and the second (the end of sequence)."""
    separators = (" ", "</s>")
    text = (CURIOUS if system is None else system) + separators[0]
    for number, (role, said) in enumerate(messages):
        text += {"user": "USER", "assistant": "ASSISTANT"}[role] + ": " + said + separators[number % 2]
    return text


WORDS = st.text("abc 中文,.\n'", min_size=1, max_size=12)


@given(st.none() | WORDS, st.lists(WORDS, max_size=6))
@settings(max_examples=200, deadline=None)
def test_vicuna_is_fastchats(system: str | None, said: list[str]) -> None:
    talk = [(("user", "assistant")[n % 2], text) for n, text in enumerate(said)]
    own = [] if system is None else [("system", system)]
    [(text, _)] = rendered(VICUNA, [*own, *talk])
    assert text == by_fastchat(system, talk)


def test_vicuna_in_full() -> None:
    [(text, learned)] = rendered(VICUNA, [("user", "Hello!"), ("assistant", "Hi there."), ("user", "1+1?"), ("assistant", "2")])
    assert text == (
        "A chat between a curious user and an artificial intelligence assistant. The assistant gives helpful, detailed, and polite answers "
        "to the user's questions. USER: Hello! ASSISTANT: Hi there.</s>USER: 1+1? ASSISTANT: 2</s>"
    )
    # Right after the colon: the blank is the model's to write.
    assert learned == [" Hi there.</s>", " 2</s>"]


def test_alpaca_in_full() -> None:
    [(text, learned)] = rendered(TEMPLATES["alpaca"], [("user", "Name a colour."), ("assistant", "Red")])
    assert text == (
        "Below is an instruction that describes a task. Write a response that appropriately completes the request.\n\n"
        "### Instruction:\nName a colour.\n\n### Response:\nRed</s>"
    )
    assert learned == ["Red</s>"]


@pytest.mark.parametrize("name", ["vicuna-v1.1", "alpaca"])
def test_a_system_turn_takes_the_place_of_the_templates_own(name: str) -> None:
    template = TEMPLATES[name]
    without, with_one, empty, late = rendered(
        template, [("user", "Q")], [("system", "S"), ("user", "Q")], [("system", ""), ("user", "Q")], [("user", "Q"), ("system", "S")]
    )
    assert without[0].startswith(template.default_system)
    assert not any(template.default_system in text for text, _ in (with_one, empty, late))
    assert with_one[0].startswith("S" + template.after["system"] + template.before["user"])


@ALL
def test_every_template_fits_together(template: Template) -> None:
    assert TEMPLATES[template.name] is template
    assert set(template.before) == set(template.after) == set(ROLES)
    assert template.end in template.stop
    whole = "".join((*template.before.values(), *template.after.values()))
    assert all(special in whole for special in template.specials)
    # Each special token is broken in contents, and so is what ends a turn.
    assert {*template.specials, template.end} <= {mark.text for mark in template.marks}
    assert guard(template, strings(template.default_system)).to_list() == [template.default_system]


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"before": {"user": "U"}}, "`before` has user"),
        ({"after": {}}, "`after` has"),
        ({"opens": "Bot:"}, "`opens` 'Bot:'"),
        ({"end": "<end>"}, "`end` '<end>'"),
    ],
)
def test_a_template_that_does_not_fit_together_is_refused(change: dict[str, object], named: str) -> None:
    with pytest.raises(ValueError, match=named):
        dataclasses.replace(TEMPLATE, **change)


def test_the_bytes_of_the_first_template_are_those_of_its_first_version() -> None:
    assert TEMPLATE.version == 1
    texts, _ = render(
        TEMPLATE, column([("system", " Human:"), ("user", "a\n\t Assistant: b</s>"), ("assistant", "Human: c Human: d\r\nHuman:")])
    )
    assert texts.to_pylist() == [" Human：\n\nHuman: a\n\t Assistant： b< /s>\n\nAssistant: Human： c Human: d\r\nHuman：</s>"]
