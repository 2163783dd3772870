"""Templates: what is rendered, what is learned, and that text from data cannot forge a turn."""

from __future__ import annotations

import re

import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from corpus.schema import MESSAGES, ROLES, SPANS
from corpus.splits.templates import TEMPLATES, guard, opened, render

TEMPLATE = TEMPLATES["human-assistant"]


def column(*conversations: list[tuple[str, str]]) -> pa.ListArray:
    """Conversations of (role, content) as a column."""
    return pa.array([[{"role": r, "content": c} for r, c in turns] for turns in conversations], MESSAGES)


def rendered(*conversations: list[tuple[str, str]]) -> list[tuple[str, list[str]]]:
    """The text of each conversation, and the stretches of it that are learned."""
    texts, spans = render(TEMPLATE, column(*conversations))
    assert spans.type == SPANS
    assert len(texts) == len(spans) == len(conversations)
    return [(t, [t[s["start"] : s["end"]] for s in each]) for t, each in zip(texts.to_pylist(), spans.to_pylist(), strict=True)]


def test_human_assistant_to_the_letter() -> None:
    turns = [("system", "Be kind."), ("user", "Hello?"), ("assistant", "Hi!"), ("user", "Bye."), ("assistant", "再见 👋")]
    assert rendered(turns) == [
        ("Be kind.\n\nHuman: Hello?\n\nAssistant: Hi!</s>Human: Bye.\n\nAssistant: 再见 👋</s>", [" Hi!</s>", " 再见 👋</s>"])
    ]


def test_nothing_and_nobody() -> None:
    assert rendered() == []
    assert rendered([], [("user", "Q")], []) == [("", []), ("Human: Q\n\n", []), ("", [])]


def test_a_slice_renders_like_the_whole() -> None:
    whole = column(*[[("user", f"问{n}"), ("assistant", f"答{n}" * n)] for n in range(6)])
    texts, spans = render(TEMPLATE, whole)
    part, part_spans = render(TEMPLATE, whole.slice(2, 3))
    assert part.to_pylist() == texts.to_pylist()[2:5]
    assert part_spans.to_pylist() == spans.to_pylist()[2:5]


def test_prompts_end_where_the_assistant_speaks_and_begin_what_is_rendered_with_an_answer() -> None:
    prompt = [("system", "S"), ("user", "Q")]
    [text] = opened(TEMPLATE, column(prompt)).to_pylist()
    assert text == "S\n\nHuman: Q\n\nAssistant:"
    [(whole, [learned])] = rendered([*prompt, ("assistant", "A")])
    # The two strings join exactly: what is learned is what a model goes on with.
    assert whole == text + learned


PIECES = st.lists(
    st.sampled_from([
        "Human:", "Assistant:", "human:", " ", "\t", "\n", "\n\n", "</s>", "</", "s>", "<", "</s", ">", "Human", ":", "中", "x", "\r", "👋",
    ]),
    max_size=10,
).map("".join)  # fmt: skip
TURNS = st.lists(st.tuples(st.sampled_from(ROLES), PIECES), max_size=6)


@given(st.lists(TURNS, max_size=4))
@settings(max_examples=200, deadline=None)
def test_roles_and_ends_cannot_be_forged(conversations: list[list[tuple[str, str]]]) -> None:
    for turns, (text, learned) in zip(conversations, rendered(*conversations), strict=True):
        answers = [c for role, c in turns if role == "assistant"]
        assert text.count("</s>") == len(answers)
        # Every marker at the start of a line, or after the end of a turn, is one of the template's own.
        markers = re.findall(r"(?:^|(?<=</s>))[ \t]*(Human|Assistant):", text, re.MULTILINE)
        assert markers == [{"user": "Human", "assistant": "Assistant"}[role] for role, _ in turns if role != "system"]
        # What is learned is exactly the answers, each with its end of turn.
        assert learned == [f" {c}</s>" for c in guard(TEMPLATE, pl.Series(answers, dtype=pl.String)).to_list()]


@given(PIECES)
@settings(max_examples=200, deadline=None)
def test_the_guard_is_idempotent_and_leaves_plain_text_alone(text: str) -> None:
    once = guard(TEMPLATE, pl.Series([text], dtype=pl.String))
    assert guard(TEMPLATE, once).to_list() == once.to_list()
    if not re.search(r"^[ \t]*(Human|Assistant):|</s>", text, re.MULTILINE):
        assert once.to_list() == [text]


@pytest.mark.parametrize(
    ("text", "guarded"),
    [
        ("He said Human: no", "He said Human: no"),
        ("Human: give me", "Human:give me".replace("Human:", "Human\uff1a ")),
        ("a\n  Assistant: b", "a\n  Assistant\uff1a b"),
        ("end</s>go on", "end< /s>go on"),
    ],
)
def test_the_guard_keeps_text_readable(text: str, guarded: str) -> None:
    assert guard(TEMPLATE, pl.Series([text])).to_list() == [guarded]


def test_every_template_knows_every_role() -> None:
    for name, template in TEMPLATES.items():
        assert template.name == name
        assert set(template.before) == set(template.after) == set(ROLES)
