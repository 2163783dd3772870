"""The benchmark of rendering: its sides do the same work. The loop over turns also is a plain reference for the renderer."""

from __future__ import annotations

import pyarrow as pa
import pytest

from benchmarks.render import Talk, by_column, by_jinja, by_loop, conversations
from corpus.schema import MESSAGES
from corpus.splits.templates import TEMPLATES, Template
from tests.splits.conversations import seeded

ODD: list[Talk] = [[{"role": role, "content": content} for role, content in each] for each in seeded(2000, seed=3)]
"""Conversations of pieces of marks; with system turns, and with assistants who begin."""


def check(template: Template, talks: list[Talk]) -> None:
    texts, spans = by_column(template, pa.array(talks, MESSAGES))
    expected, expected_spans = by_loop(template)(talks)
    assert texts.to_pylist() == expected
    assert [[(span["start"], span["end"]) for span in each] for each in spans.to_pylist()] == expected_spans
    assert by_jinja(template)(talks) == expected


@pytest.mark.parametrize("template", TEMPLATES.values(), ids=TEMPLATES.keys())
def test_all_sides_give_the_same(template: Template) -> None:
    check(template, conversations(100_000, marked=False))
    check(template, conversations(100_000, marked=True))
    check(template, ODD)


def test_conversations_are_of_typical_length_and_marked_when_asked() -> None:
    clean, marked = (conversations(100_000, marked=which) for which in (False, True))
    assert len(clean) == len(marked)
    for talk, other in zip(clean, marked, strict=True):
        assert 300 <= sum(len(each["content"]) for each in talk) <= 2000
        assert all("</s>" in each["content"] for each in other)
        assert not any("</s>" in each["content"] for each in talk)
