"""`corpus near`: what is like a text, found by the stored bands, by prompts and by reading everything, with exact similarities."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from corpus import near as module
from corpus.errors import CorpusError, DataError, UsageError, WarehouseError
from corpus.near import near, text_of
from corpus.warehouse.query import ask
from tests.conftest import json_lines, make_build, query, recipe_of

WORDS = ("river", "stone", "maple", "quiet", "lantern", "copper", "meadow", "winter", "harbor", "silver", "thunder", "garden", "window")
LONG = " ".join(WORDS[i * 7 % 13] + str(i) for i in range(60))
"""60 words that follow each other nowhere else: 120 units."""


def changed(words: int) -> str:
    """LONG with its last words replaced."""
    kept = LONG.split()[: 60 - words]
    return " ".join([*kept, *(f"other{i}" for i in range(words))])


def talk(question: str, answer: str) -> dict[str, str]:
    return {"prompt": question, "response": answer}


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A warehouse of dialogues, of a source that is compared by its prompts, of one whose rows share a template, and of documents."""
    folder = tmp_path_factory.mktemp("near")
    dialogues = [
        talk("学吉他手指疼正常吗？", "正常，初学时左手指尖会疼，练几周就好了。"),
        talk(LONG, "Those are words."),
        talk("Say them.", LONG),
    ]
    dialogues += [talk(f"Question number {i}, is it odd?", f"It is {'odd' if i % 2 else 'even'}.") for i in range(40)]
    json_lines(folder / "data/talks/a.jsonl", dialogues)
    json_lines(
        folder / "data/asked/a.jsonl", [talk(f"Asked of old: {LONG}", "No answer that anybody knows of."), talk("How many?", "Three.")]
    )
    template = "You are given a passage and a question; answer it in one word from the passage, and say nothing else, please."
    json_lines(folder / "data/forms/a.jsonl", [talk(f"{template} passage{i} mentions item{i}", f"item{i}") for i in range(150)])
    pages = [{"text": LONG}, {"text": changed(3)}, {"text": "A page about nothing in particular."}]
    json_lines(folder / "data/pages/a.jsonl", pages)
    own = [
        {"name": "talks", "files": "talks/*.jsonl", "shape": "prompt_response"},
        {"name": "asked", "files": "asked/*.jsonl", "shape": "prompt_response", "key": "prompt"},
        {"name": "forms", "files": "forms/*.jsonl", "shape": "prompt_response"},
        {"name": "pages", "files": "pages/*.jsonl", "shape": "text"},
    ]
    make_build(folder / "data", folder / "wh", recipe_of(name="mine", sources=own, splits={"sft": {}, "pretrain": {}}))
    return folder / "wh"


def similarity(one: str, other: str) -> float:
    """Jaccard similarity of sets of five words and numbers that follow each other, of texts in plain English."""
    import re

    a, b = ({tuple(u[i : i + 5]) for i in range(len(u) - 4)} for u in (re.findall(r"[a-z]+|\d+", t.lower()) for t in (one, other)))
    return len(a & b) / len(a | b)


@pytest.mark.parametrize("scan", [False, True])
def test_a_page_is_found_by_a_text_that_is_like_it(root: Path, scan: bool) -> None:
    text = changed(2)
    found = near(root, text, scan=scan)
    pages = [r for r in found.rows if r.source == "pages"]
    assert [r.similarity for r in pages] == pytest.approx(sorted((similarity(text, LONG), similarity(text, changed(3))), reverse=True))
    assert all(r.way == "whole" and r.best == r.similarity for r in pages)
    assert {bool(r.dropped) for r in pages} == {True, False}, "one of the two pages is a near duplicate of the other"
    [dropped] = [r for r in pages if r.dropped]
    [kept] = [r for r in pages if not r.dropped]
    assert dropped.dropped
    assert (dropped.dropped["reason"], dropped.dropped["kept_row_id"]) == ("near_duplicate", kept.row_id)
    assert (kept.splits, dropped.splits) == (["pretrain/train"], [])
    assert "other" in kept.differs
    assert found.scanned is scan


def test_a_question_is_found_by_its_prompt_alone(root: Path) -> None:
    found = near(root, " 学吉他 手指疼正常吗？\n", scan=False)
    [row] = found.rows
    assert (row.source, row.prompt, row.way, row.text) == ("talks", 1.0, "prompt", "学吉他手指疼正常吗？")
    assert row.similarity < 0.5
    assert found.compared == 1, "only the row with that prompt was read"


def test_other_wordings_and_answers_need_a_scan(root: Path) -> None:
    asked = "學吉他手指疼，正常吗"  # another script and punctuation: the same units
    assert near(root, asked, scan=False).rows == []
    [row] = near(root, asked, scan=True).rows
    assert (row.source, row.prompt) == ("talks", 1.0)
    answers = [r for r in near(root, changed(1), scan=True).rows if r.way == "answer"]
    assert [r.text for r in answers] == [LONG]
    assert answers[0].answer == pytest.approx(similarity(LONG, changed(1)))


def test_what_a_source_compares_is_what_bands_find(root: Path) -> None:
    found = near(root, f"Asked of old: {changed(1)}", scan=False)
    [row] = [r for r in found.rows if r.source == "asked"]
    assert (row.compared, row.way) == ("prompt", "whole")
    assert row.similarity == row.prompt == pytest.approx(similarity(f"Asked of old: {changed(1)}", f"Asked of old: {LONG}"))


def test_a_passage_is_found_in_what_holds_it(root: Path) -> None:
    passage = " ".join(LONG.split()[20:30])
    rows = near(root, passage, scan=True).rows
    assert {(r.source, r.way, r.held) for r in rows} == {(s, "held", 1.0) for s in ("talks", "asked", "pages")}
    assert all(r.similarity < 0.5 for r in rows)


def test_a_template_is_not_what_makes_rows_alike(root: Path) -> None:
    template = "You are given a passage and a question; answer it in one word from the passage, and say nothing else, please."
    assert query(root, "SELECT count(*) > 10 FROM stock WHERE source = 'forms'") == [(True,)]
    text = f"{template} passage7 mentions item9"
    rows = near(root, text, scan=True, limit=200).rows
    assert all(r.way == "prompt" for r in rows), "as a whole they are not: what is left of them without the template differs"


def test_the_ready_question_of_stock(root: Path) -> None:
    answer = ask(root / "corpus.duckdb", "stock", {})
    [row] = [dict(zip(answer.columns, r, strict=True)) for r in answer.rows if r[0] == "forms"]
    assert row["most"] == 1
    assert row["shingles"] > 10


def test_all_that_is_found_fast_is_found_by_reading_everything(root: Path) -> None:
    for text in (LONG, changed(5), "Question number 7, is it odd?"):
        fast, slow = (near(root, text, scan=scan, limit=1000) for scan in (False, True))
        assert {(r.row_id, r.best) for r in fast.rows} <= {(r.row_id, r.best) for r in slow.rows}
        assert fast.rows
        assert fast.compared < slow.compared == query(root, "SELECT count(*) FROM clean")[0][0]


def test_best_first_and_bounded(root: Path) -> None:
    every = near(root, changed(4), least=0.01, limit=1000, scan=True)
    assert len(every.rows) > 4
    few = near(root, changed(4), least=0.01, limit=2, scan=True)
    assert [r.row_id for r in few.rows] == [r.row_id for r in every.rows[:2]]
    assert (few.more, every.more) == (len(every.rows) - 2, 0)
    assert [r.best for r in every.rows] == sorted((r.best for r in every.rows), reverse=True)
    assert all(r.best >= 0.9 for r in near(root, LONG, least=0.9, scan=True).rows)


def test_few_rows_are_all_read(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert near(root, LONG).scanned
    monkeypatch.setattr(module, "SCANNED_ROWS", 10)
    assert not near(root, LONG).scanned


def test_what_cannot_be_looked_for(root: Path, tmp_path: Path) -> None:
    for empty in ("", " \n\t"):
        with pytest.raises(UsageError, match="the text is empty"):
            near(root, empty)
    with pytest.raises(WarehouseError, match="run `corpus build`"):
        near(tmp_path / "nothing", "text")
    with pytest.raises(WarehouseError, match="recipe 'other' was never built"):
        near(root, "text", recipe="other")
    with pytest.raises(DataError, match="no such file"):
        text_of(tmp_path / "missing.txt")
    (tmp_path / "gbk.txt").write_bytes("学吉他".encode("gbk"))
    with pytest.raises(DataError, match="is not UTF-8"):
        text_of(tmp_path / "gbk.txt")
    (tmp_path / "text.txt").write_text("\ufeff学吉他", encoding="utf-8")
    assert text_of(tmp_path / "text.txt") == "学吉他"


def test_signs_alone_are_a_text(root: Path) -> None:
    assert near(root, "？！", scan=True).rows == []


def test_a_build_without_near_duplicates_says_so(tmp_path: Path) -> None:
    json_lines(tmp_path / "data/a.jsonl", [talk("Why?", "Because.")])
    own = [{"name": "mine", "files": "*.jsonl", "shape": "prompt_response"}]
    make_build(tmp_path / "data", tmp_path / "wh", recipe_of(name="exact", sources=own, splits={"sft": {}}, dedup={"near": False}))
    with pytest.raises(WarehouseError, match=r"recipe 'exact' was built without near duplicates.*near: true"):
        near(tmp_path / "wh", "Why?")


def test_damaged_bands_are_said_to_be(root: Path, tmp_path: Path) -> None:
    import shutil

    shutil.copytree(root, tmp_path / "wh")
    for path in (tmp_path / "wh").rglob("*.bands"):
        data = bytearray(path.read_bytes())
        data[len(data) // 2 :] = bytes(len(data) - len(data) // 2)
        path.write_bytes(data)
    with pytest.raises(CorpusError, match="build again with --verify"):
        near(tmp_path / "wh", LONG, scan=False)


def test_the_verb(root: Path, tmp_path: Path, capfdbinary: pytest.CaptureFixture[bytes], monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    from corpus import cli

    def run(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["corpus", "near", *map(str, arguments), "--warehouse", str(root)])
        try:
            cli.main()
            status = 0
        except SystemExit as e:
            status = int(e.code or 0)
        sys.stdout.flush()
        out, err = capfdbinary.readouterr()
        return status, out.decode(), err.decode()

    (tmp_path / "question.txt").write_text("学吉他手指疼正常吗？\n", encoding="utf-8")
    status, out, _ = run("--file", tmp_path / "question.txt", "--json")
    assert status == 0
    told: dict[str, Any] = json.loads(out)
    [row] = told["rows"]
    assert (row["source"], row["prompt"], row["way"], told["scanned"]) == ("talks", 1.0, "prompt", True)
    for arguments, said in (
        ((), "give either a TEXT"),
        (("x", "--file", "y"), "give either a TEXT"),
        (("",), "the text is empty"),
        (("--file", tmp_path / "no.txt"), "no such file"),
        (("x", "--recipe", "mime"), "did you mean 'mine'"),
    ):
        status, _, err = run(*arguments)
        assert (status, "Traceback" in err) == (2, False), arguments
        assert said in err, arguments
