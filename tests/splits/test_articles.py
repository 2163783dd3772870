"""Articles as questions and answers: an answer ends where a sentence ends, and no row is lost."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from corpus.schema import CLEAN
from corpus.splits.articles import as_dialogues
from corpus.text.excerpt import question
from tests.conftest import json_lines, make_build, query, recipe_of

STONE = "青石桥是一座石拱桥。它建于1652年，长约30米。桥上有三座石亭。"
ALDER = "Alder Hall is a house near Elmford. It was built c. 1652 by J. Smith. It has 3.5 acres of garden."


def rows(*documents: tuple[str | None, str]) -> pa.Table:
    """Documents of schema CLEAN by title and text."""
    filler: dict[str, Any] = {
        "source": "s", "license": "l", "file": "f", "record": 0, "kind": "document", "messages": [], "row_key": b"\0" * 16,
        "prompt_key": b"\0" * 16, "opening_key": b"\0" * 16, "asks": True, "changed_by": [],
    }  # fmt: skip
    usual = {**dict.fromkeys(CLEAN.schema.names), **filler}
    made = [{**usual, "row_id": f"{n:032x}", "title": title, "text": text} for n, (title, text) in enumerate(documents)]
    return pa.Table.from_pylist(made, schema=CLEAN.schema)


@pytest.mark.parametrize(
    ("title", "text", "most", "answer"),
    [
        ("青石桥", STONE, 512, STONE),
        ("青石桥", STONE, 30, "青石桥是一座石拱桥。它建于1652年，长约30米。"),
        ("青石桥", STONE, 12, "青石桥是一座石拱桥。"),
        ("Alder Hall", ALDER, 75, "Alder Hall is a house near Elmford. It was built c. 1652 by J. Smith."),
        ("Alder Hall", ALDER, 60, "Alder Hall is a house near Elmford."),
        ("Alder Hall", ALDER, 20, "Alder Hall is a house near Elmford."),  # the first sentence is never cut
        ("List", "no sentence at all", 20, "no sentence at all"),
    ],
)
def test_an_answer_is_whole_sentences(title: str, text: str, most: int, answer: str) -> None:
    [messages] = as_dialogues(rows((title, text)), most)["messages"].to_pylist()
    assert [m["role"] for m in messages] == ["user", "assistant"]
    assert title in messages[0]["content"]
    assert messages[1]["content"] == answer


@pytest.mark.parametrize(
    ("title", "text", "asked"),
    [
        ("FORTRAN", "FORTRAN是一种程序设计语言，最早由一个小组在五十年代设计，今天仍用于科学计算。", "zh"),
        ("FORTRAN", "FORTRAN 是一種程式設計語言，最早由一個小組在五十年代設計，今天仍用於科學計算。", "hant"),
        ("FORTRAN", "FORTRAN is a language for programs. It was designed by a small team in the fifties.", "en"),
        ("北京", "北京 is the capital of the country. It has many parks, and the streets of the old town are narrow.", "en"),
        ("青石桥", "…", "zh"),
        ("Alder Hall", "…", "en"),
    ],
)
def test_an_article_is_asked_for_in_its_own_language(title: str, text: str, asked: str) -> None:
    ways = {"zh": {}, "hant": {"traditional": True}, "en": {"chinese": False}}
    expected = {question(title, n, **{"chinese": True, **ways[asked]}) for n in range(24)}  # type: ignore[arg-type]
    found = {m[0]["content"] for m in as_dialogues(numbered([(title, text)] * 200), 512)["messages"].to_pylist()}
    assert found <= expected
    assert len(found) >= 20, "all wordings are in use"


def numbered(documents: list[tuple[str, str]]) -> pa.Table:
    """Documents whose row ids are as hashes are: different in their first characters."""
    table = rows(*documents)
    ids = pa.array([f"{n * 2654435761 % 2**32:08x}{n:024x}" for n in range(len(documents))])
    return table.set_column(table.schema.get_field_index("row_id"), table.schema.field("row_id"), ids)


def test_the_question_hangs_on_the_row_alone() -> None:
    documents = [(f"青石桥{n}", STONE) for n in range(30)]
    table = numbered(documents)
    asked = [m[0]["content"] for m in as_dialogues(table, 512)["messages"].to_pylist()]
    backwards = table.take(list(range(29, -1, -1)))
    assert [m[0]["content"] for m in as_dialogues(backwards, 512)["messages"].to_pylist()][::-1] == asked


def test_rows_of_other_kinds_stay() -> None:
    table = rows(("青石桥", STONE))
    talk = table.set_column(table.schema.get_field_index("kind"), table.schema.field("kind"), pa.array(["dialogue"]))
    assert as_dialogues(talk, 512).equals(talk)


def test_a_split_of_dialogues_takes_articles_with_a_title(tmp_path: Path) -> None:
    articles = [("青石桥", STONE), ("Alder Hall", ALDER), ("", "没有标题的文章。它有两句话。")]
    pages = [{"id": str(n), "url": "", "title": title, "text": f"{title}\n\n{text}"} for n, (title, text) in enumerate(articles)]
    json_lines(tmp_path / "data/wikiextractor/AA/wiki_00", pages)
    root = tmp_path / "wh"
    make_build(tmp_path / "data", root, recipe_of(splits={"instruct": {"kinds": ["document"], "answer": 40}, "sft": {}}))
    files = f"'{root}/splits/small/instruct/*.parquet'"
    answers = query(root, f"SELECT messages[2].content FROM {files} ORDER BY 1")
    assert answers == [("Alder Hall is a house near Elmford.",), (STONE,)]
    assert query(root, f"SELECT count(*) FROM {files} WHERE len(messages) <> 2 OR len(spans) <> 1") == [(0,)]
    assert query(root, "SELECT reason FROM dropped") == [("not_asked",)]
