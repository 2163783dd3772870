"""Jinja: the chat template of a tokenizer gives the same text as the renderer."""

from __future__ import annotations

import itertools
from typing import Any

import jinja2
import pytest
from hypothesis import given, settings
from jinja2.ext import loopcontrols
from jinja2.sandbox import ImmutableSandboxedEnvironment

from corpus.splits.jinja import jinja
from corpus.splits.templates import TEMPLATES, Template, opened, render
from tests.splits.conversations import Turns, any_template, column, seeded, turns


def compiled(template: Template) -> jinja2.Template:
    """As transformers compiles a chat template."""
    environment = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True, extensions=[loopcontrols])
    return environment.from_string(jinja(template))


COMPILED = {name: compiled(template) for name, template in TEMPLATES.items()}


def messages(turns: Turns) -> list[dict[str, str]]:
    return [{"role": role, "content": content} for role, content in turns]


def by_jinja(template: Template, conversations: list[Turns], **given: Any) -> list[str]:
    return [COMPILED[template.name].render(messages=messages(each), **given) for each in conversations]


@pytest.mark.parametrize("template", TEMPLATES.values(), ids=TEMPLATES.keys())
def test_thousands_of_conversations(template: Template) -> None:
    conversations = seeded(2500, seed=7)
    whole = column(*conversations)
    assert by_jinja(template, conversations) == render(template, whole)[0].to_pylist()
    assert by_jinja(template, conversations, add_generation_prompt=False) == render(template, whole)[0].to_pylist()
    assert by_jinja(template, conversations, add_generation_prompt=True) == opened(template, whole).to_pylist()


@given(any_template, turns)
@settings(max_examples=300, deadline=None)
def test_any_conversation(template: Template, each: Turns) -> None:
    assert by_jinja(template, [each]) == render(template, column(each))[0].to_pylist()
    assert by_jinja(template, [each], add_generation_prompt=True) == opened(template, column(each)).to_pylist()


@pytest.mark.parametrize("template", TEMPLATES.values(), ids=TEMPLATES.keys())
def test_gaps_and_line_ends_of_every_kind(template: Template) -> None:
    """All strings of seven characters of three: where a chain of gaps begins and ends is easily wrong by one."""
    conversations = [[("assistant", "".join(each)), ("system", "".join(each))] for each in itertools.product("a \n", repeat=7)]
    assert by_jinja(template, conversations) == render(template, column(*conversations))[0].to_pylist()


@pytest.mark.parametrize("template", TEMPLATES.values(), ids=TEMPLATES.keys())
def test_surroundings_do_not_matter(template: Template) -> None:
    """What tokenizers and servers pass along, or leave out, changes nothing; nor do other settings of white space."""
    talk = messages([("user", "Q"), ("assistant", "A")])
    [text] = render(template, column([("user", "Q"), ("assistant", "A")]))[0].to_pylist()
    environment = ImmutableSandboxedEnvironment()
    assert environment.from_string(jinja(template)).render(messages=talk) == text
    assert COMPILED[template.name].render(messages=talk, tools=None, documents=None, bos_token="<s>", eos_token="</s>") == text
