"""offer: every split is offered what it takes, with the length that the rendered row will have, and the reason why not."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Split

from corpus.recipe import Recipe
from corpus.recipe_splits import Form, form_of
from corpus.schema import CLEAN
from corpus.splits.forms import shape
from corpus.splits.templates import TEMPLATES
from corpus.stages.offer import Slice, offer

Turns = list[tuple[str, str]]
TURNS = st.lists(st.tuples(st.sampled_from(["system", "user", "assistant"]), st.text(max_size=30)), max_size=7)


def rows(*given: dict[str, Any]) -> pa.Table:
    """Clean rows."""
    filler = {
        "source": "s", "license": "", "file": "", "record": 0, "kind": "dialogue", "messages": [], "row_key": b"\0" * 16,
        "prompt_key": b"\0" * 16, "opening_key": b"\0" * 16, "asks": True, "changed_by": [],
    }  # fmt: skip
    # What is drawn hangs on the first half of an identity, which is a hash; the second half says here which row it is.
    made = [{**filler, "row_id": f"{n * 0x9E3779B97F4A7C15 % 2**64:016x}{n:016x}", **values} for n, values in enumerate(given)]
    return pa.table([[row.get(c.name) for row in made] for c in CLEAN.columns], schema=CLEAN.schema)


def said(turns: Turns) -> list[dict[str, str]]:
    """A conversation as it is in a row."""
    return [{"role": role, "content": content} for role, content in turns]


def offered(table: pa.Table, split: str, spec: dict[str, Any], *, template: str = "human-assistant", count: Any = None, **more: Any) -> Any:
    """What is offered to one split, as dictionaries by row number."""
    recipe = Recipe.model_validate({"name": "r", "sources": ["s"], "template": template, "splits": {split: spec}, **more})
    found = offer(Slice.of(table, recipe, count, measured=True), split, recipe.splits[split], held=False)
    return {int(line["row_id"][16:], 16): line for line in found.to_pylist()}


def rendered(table: pa.Table, split: str, template: str, starts: list[int]) -> list[str]:
    """The text of every row in the split."""
    form = form_of(split, Recipe.model_validate({"name": "r", "sources": ["s"], "splits": {split: {}}}).splits[split])
    made = shape(table, form, TEMPLATES[template], None, pa.array(starts, pa.int32()).to_numpy())
    texts: list[str] = made["text"].to_pylist()
    if form is Form.PREFERENCE:
        texts = [a + "|" + b for a, b in zip(texts, made["rejected_text"].to_pylist(), strict=True)]
    return texts


@pytest.mark.parametrize("template", sorted(TEMPLATES))
@given(st.lists(TURNS, min_size=1, max_size=4), st.integers(20, 200), st.sampled_from(["sft", "ppo"]))
@settings(max_examples=25, deadline=None)
def test_lengths_are_those_of_the_rendered_rows_and_fit(template: str, talks: list[Turns], most: int, split: str) -> None:
    table = rows(*({"messages": said(turns)} for turns in talks))
    free = offered(table, split, {}, template=template)
    texts = rendered(table, split, template, [0] * len(talks))
    led = [not any(role == "system" for role, _ in turns) or (bool(turns) and turns[0][0] == "system") for turns in talks]
    for n, line in free.items():
        assert line["reason"] is None
        assert line["start"] == 0
        assert len(texts[n]) == line["chars"] if led[n] else len(texts[n]) <= line["chars"]
        assert len(texts[n].encode()) == line["bytes"] or not led[n]
    bounded = offered(table, split, {"length": {"chars": most}}, template=template)
    starts = [bounded[n]["start"] if n in bounded else 0 for n in range(len(talks))]
    for n, text in enumerate(rendered(table, split, template, starts)):
        line = bounded[n]
        assert line["reason"] in (None, "too_long")
        assert line["reason"] == "too_long" or len(text) <= most
        assert line["chars"] >= len(text)
        assert line["start"] == 0 or free[n]["chars"] > most, "nothing is cut that fits"
    kept = offered(table, split, {"length": {"chars": most, "over": "keep"}}, template=template)
    assert all(line["reason"] is None for line in kept.values())


def test_a_split_is_offered_its_kinds_and_what_asks() -> None:
    talk = said([("user", "Who?"), ("assistant", "Me.")])
    table = rows(
        {"messages": talk},
        {"messages": talk, "asks": False},
        {"messages": talk[:1], "kind": "prompt"},
        {"kind": "document", "text": "A text.", "title": None, "asks": False},
        {"kind": "document", "text": "A text. And more.", "title": "Texts"},
        {
            "messages": talk[:1],
            "chosen": said([("assistant", "Good one.")]),
            "rejected": said([("assistant", "Bad!")]),
            "kind": "preference",
        },
        {"messages": talk, "upstream_split": "test"},
    )
    assert set(offered(table, "sft", {})) == {0, 1}
    assert set(offered(table, "ppo", {})) == {0, 2}
    assert set(offered(table, "rm", {})) == {5}
    assert set(offered(table, "pretrain", {})) == {3, 4}
    assert set(offered(table, "instruct", {"kinds": ["document"]})) == {4}
    assert set(offered(table, "test", {})) == {6}
    both = offered(table, "rm", {"kinds": ["preference", "dialogue"], "upstream": ["train", "test"]})
    assert {n: line["request"] for n, line in both.items()} == {0: True, 5: False, 6: True}
    assert {n: line["held"] for n, line in both.items()} == {0: False, 5: False, 6: True}


def test_poor_pairs_are_told_with_their_reason() -> None:
    def sides(good: str, bad: str, **meta: Any) -> dict[str, Any]:
        return {
            "kind": "preference", "messages": said([("user", "Which one?")]), "chosen": said([("assistant", good)]),
            "rejected": said([("assistant", bad)]), "meta": json.dumps(meta),
        }  # fmt: skip

    table = rows(
        sides("The first of them, of course.", "I do not know which one."),
        sides("The SAME words.", "the same  words."),
        sides("Long " * 50, "Short."),
        sides("Best of three answers.", "The worst of them all.", ranks=[0, 2], ranked=3),
        sides("Best of three answers.", "Neither good nor bad.", ranks=[0, 1], ranked=3),
    )
    found = offered(table, "rm", {"pairs": {"ratio": 5, "choice": "best-worst"}})
    assert [found[n]["reason"] for n in range(5)] == [None, "same_sides", "length_ratio", None, "not_chosen"]
    assert all(found[n]["detail"] for n in (1, 2, 4))


def test_short_answers_are_drawn_by_row_and_seed() -> None:
    table = rows(*({"messages": said([("user", "Why?"), ("assistant", "word " * (n % 40))])} for n in range(400)))
    thin = {"rule": "short-answers", "below": {10: 0.2, 30: 0.6}}
    found = offered(table, "sft", {"thin": thin}, seed=4)
    again = offered(table.slice(0, 100), "sft", {"thin": thin}, seed=4)
    assert {n: found[n]["reason"] for n in range(100)} == {n: again[n]["reason"] for n in range(100)}
    assert offered(table, "sft", {"thin": thin}, seed=5) != found
    for low, high, share in ((0, 10, 0.2), (10, 30, 0.6), (30, 40, 1.0)):
        mine = [found[n]["reason"] is None for n in range(400) if low <= n % 40 < high]
        assert abs(sum(mine) / len(mine) - share) < 0.2
    assert all(found[n]["short"] == (n % 40 < 30) for n in range(400))


def test_lengths_are_in_tokens_where_there_is_a_tokenizer(tmp_path: Path) -> None:
    from corpus.splits.budget import counter

    tokenizer = Tokenizer(WordLevel({"[UNK]": 0}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = Split(" ", "removed")  # type: ignore[assignment]
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    talk = [("user", "one two three"), ("assistant", "four five"), ("user", "six"), ("assistant", "seven eight nine ten")]
    table = rows({"messages": said(talk)}, {"messages": said([("user", "a"), ("assistant", "b " * 50)])})
    more = {"count": counter(tmp_path), "tokenizer": str(tmp_path)}
    whole = offered(table, "sft", {}, **more)
    assert whole[0]["tokens"] == sum(len(f"{who} {text}".split()) for who, text in talk)
    found = offered(table, "sft", {"length": {"tokens": 8, "chars": 3}}, **more)
    assert (found[0]["start"], found[0]["tokens"], found[0]["reason"]) == (2, 7, None)
    assert found[1]["reason"] == "too_long"
    assert found[1]["detail"] == "sft: 54 tokens without any turn before, at most 8"
