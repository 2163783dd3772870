"""render: clean rows in the form of each split."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from corpus.recipe_splits import SPLIT_FORMS, Form
from corpus.schema import CLEAN
from corpus.splits.templates import TEMPLATES
from corpus.stages.render import FORM_TABLES, shape
from tests.conftest import query

TEMPLATE = TEMPLATES["human-assistant"]


def turns(*contents: str, first: str = "user") -> list[dict[str, str]]:
    roles = ("user", "assistant") if first == "user" else ("assistant", "user")
    return [{"role": roles[n % 2], "content": c} for n, c in enumerate(contents)]


def shaped(form: Form, *rows: dict[str, Any]) -> list[dict[str, Any]]:
    """Rows of schema CLEAN, of which only these columns are given, in a form."""
    filler = {
        "source": "s", "license": "l", "file": "f", "record": 0, "kind": "dialogue", "messages": [], "row_key": b"\0" * 16,
        "prompt_key": b"\0" * 16, "changed_by": [], "asks": True,
    }  # fmt: skip
    full = [{**dict.fromkeys(CLEAN.schema.names), **filler, "row_id": str(n), **r} for n, r in enumerate(rows)]
    table = shape(pa.Table.from_pylist(full, schema=CLEAN.schema), form, TEMPLATE)
    assert table.schema == FORM_TABLES[form].schema
    table.validate(full=True)
    return table.to_pylist()


def learned(row: dict[str, Any], text: str = "text", spans: str = "spans") -> list[str]:
    return [row[text][s["start"] : s["end"]] for s in row[spans]]


def test_dialogues() -> None:
    [row] = shaped(Form.DIALOGUE, {"messages": turns("Q", "A", "Q2", "A2")})
    assert row["messages"] == turns("Q", "A", "Q2", "A2")
    assert learned(row) == [" A</s>", " A2</s>"]


def test_preferences_share_the_prompt_and_learn_only_what_follows_it() -> None:
    rows = shaped(
        Form.PREFERENCE,
        {"messages": turns("Q", "A", "Q2"), "chosen": turns("good", first="assistant"), "rejected": turns("bad", first="assistant")},
        {"messages": turns("P"), "chosen": turns("x", "y", "z", first="assistant"), "rejected": turns("w", first="assistant")},
        {"messages": [], "chosen": turns("only", first="assistant"), "rejected": turns("other", first="assistant")},
    )
    first, second, third = rows
    assert first["prompt"] == turns("Q", "A", "Q2")
    assert first["text"] == "Human: Q\n\nAssistant: A</s>Human: Q2\n\nAssistant: good</s>"
    assert first["rejected_text"] == "Human: Q\n\nAssistant: A</s>Human: Q2\n\nAssistant: bad</s>"
    # The answer within the prompt is not what the pair is about.
    assert learned(first) == [" good</s>"]
    assert learned(first, "rejected_text", "rejected_spans") == [" bad</s>"]
    assert learned(second) == [" x</s>", " z</s>"]
    assert learned(second, "rejected_text", "rejected_spans") == [" w</s>"]
    assert learned(third) == [" only</s>"]


def test_prompts_end_where_the_assistant_speaks() -> None:
    rows = shaped(
        Form.PROMPT, {"messages": turns("Q", "A")}, {"messages": turns("Q")}, {"messages": turns("Q", "A", "Q2")}, {"messages": []}
    )
    assert [r["prompt"] for r in rows] == [turns("Q"), turns("Q"), turns("Q", "A", "Q2"), []]
    assert [r["text"] for r in rows] == [
        "Human: Q\n\nAssistant:", "Human: Q\n\nAssistant:", "Human: Q\n\nAssistant: A</s>Human: Q2\n\nAssistant:", "Assistant:",
    ]  # fmt: skip


def test_texts_are_documents_with_their_title_or_rendered_dialogues() -> None:
    rows = shaped(Form.TEXT, {"title": "T", "text": "body"}, {"text": "body"}, {"messages": turns("Q", "A")})
    assert [r["text"] for r in rows] == ["T\n\nbody", "body", "Human: Q\n\nAssistant: A</s>"]
    assert [r["title"] for r in rows] == ["T", None, None]


@pytest.mark.parametrize("split", sorted(SPLIT_FORMS))
def test_files_of_a_split_have_its_schema_and_names_that_loaders_understand(built: tuple[Path, Path], split: str) -> None:
    files = sorted((built[1] / "splits/small" / split).glob("*.parquet"))
    expected = FORM_TABLES[SPLIT_FORMS[split]].schema
    rows = 0
    for path in files:
        part = path.name.partition("-")[0]
        assert part in ("train", "eval", "test")
        table = pq.read_table(path, partitioning=None)
        assert table.schema.equals(expected)
        rows += table.num_rows
    assert [(rows,)] == query(built[1], f"SELECT count(*) FROM assigned WHERE split = '{split}'")
    assert bool(files) == (split != "instruct")
