"""Conversations made of what templates read as their own: pieces of role names, ends of turns, white space, line ends of all kinds."""

from __future__ import annotations

import random

import polars as pl
import pyarrow as pa
from hypothesis import strategies as st

from corpus.schema import MESSAGES, ROLES
from corpus.splits.templates import TEMPLATES, Template

Turns = list[tuple[str, str]]

WHOLE = [
    "Human:", "Assistant:", "HugChat:", "USER:", "ASSISTANT:", "### Instruction:", "### Response:", "</s>", "<|im_start|>", "<|im_end|>",
    "<|im_start|>assistant\n", "\n\nHuman: ", "</s>USER: ", " \n\n", " \n HugChat: ", "### Response:\n", "<|im_end|>\n<|im_start|>user\n",
]  # fmt: skip
PARTS = [
    "Human", "USER", "ASSIST", "ANT:", "SUPERUSER:", "POSTGRES_USER:", "9", "_", "Hug", "Chat", "###", " Instruction", "Response", "#", ":",
    "：", "Human：", "USER：", "human:", "<", "</", "s>", "</s", ">", "/s>", "< /s>", "<|", "|>", "im_end", "<|im_end", "|", "user", "system",
]  # fmt: skip
WHITE = [
    "",
    " ",
    "  ",
    "\t",
    "\n",
    "\n\n",
    "\n\n\n",
    " \n",
    "\n ",
    "\r",
    "\r\n",
    "\r\n\r\n",
    "\u2028",
    "\u2029",
    "\x85",
    "\x0b",
    "\x0c",
    "\u3000",
    "\xa0",
    "\u200b",
]
OTHER = [
    "x",
    "中",
    "文。",
    "é",
    "İ",
    "👋",
    "e\u0301",
    "$1",
    "${1}",
    "\\n",
    "\\1",
    "{{ x }}",
    "{% endfor %}",
    "{#",
    "&lt;",
    "'",
    '"',
    "\0",
    "\ufeff",
]
FRAGMENTS = WHOLE + PARTS + WHITE + OTHER

contents = st.lists(st.sampled_from(FRAGMENTS), max_size=10).map("".join)
turns = st.lists(st.tuples(st.sampled_from(ROLES), contents), max_size=6)
any_template = st.sampled_from(list(TEMPLATES.values()))


def column(*conversations: Turns) -> pa.ListArray:
    """Conversations of (role, content) as a column."""
    return pa.array([[{"role": r, "content": c} for r, c in each] for each in conversations], MESSAGES)


def strings(*texts: str) -> pl.Series:
    """A column of texts."""
    return pl.Series(texts, dtype=pl.String)


def seeded(count: int, seed: int) -> list[Turns]:
    """As many conversations, the same in every run; half of their fragments are white space and whole marks, where trouble is."""
    rng = random.Random(seed)
    pools = (WHOLE, WHITE, FRAGMENTS, FRAGMENTS)
    return [
        [(rng.choice(ROLES), "".join(rng.choice(rng.choice(pools)) for _ in range(rng.randrange(10)))) for _ in range(rng.randrange(6))]
        for _ in range(count)
    ]


def pieces_of(template: Template, turns: Turns, guarded: list[str]) -> list[str]:
    """What each turn adds to a text, put together by hand."""
    return [template.before[role] + content + template.after[role] for (role, _), content in zip(turns, guarded, strict=True)]
