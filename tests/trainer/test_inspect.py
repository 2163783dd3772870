"""Inspection: what is shown is what the batches hold, and a run that would lose too much is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from corpus.errors import UsageError
from corpus.recipe_splits import Form
from corpus.splits.templates import TEMPLATES, render
from corpus.tokenizer.encode import Library, learned, prepared
from tests.tokenizer.made import ours
from tests.trainer.answering import PAIRS
from tests.trainer.flat import write
from trainer import inspect as module
from trainer.inspect import drawn, excess, inspect, show
from trainer.order import Order
from trainer.samples import Samples
from trainer.tokens import Tokens

TEMPLATE = TEMPLATES["human-assistant"]


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tokenizer")
    (folder / "tokenizer.json").write_text(ours("human-assistant"), "utf-8")
    return folder


@pytest.fixture(scope="module")
def warehouse(tmp_path_factory: pytest.TempPathFactory, tokenizer: Path) -> Path:
    """A dialogue split in two files, encoded below `ids`, with the split's own files where they are told to be."""
    from corpus.schema import MESSAGES

    root = tmp_path_factory.mktemp("warehouse")
    library, _ = prepared((tokenizer / "tokenizer.json").read_bytes(), tokenizer, TEMPLATE.specials)
    turns = [[{"role": "user", "content": q}, {"role": "assistant", "content": a}] for q, a in PAIRS.items()]
    turns.append([*turns[0], *turns[1]])
    texts, spans = render(TEMPLATE, pa.array(turns, type=MESSAGES))
    texts = texts.cast(pa.string())
    encoded = Library(library)(texts)
    found = learned(texts, spans, encoded)
    rows: list[Any] = []
    for i in range(len(turns)):
        ids = encoded.ids[encoded.offsets[i] : encoded.offsets[i + 1]].tolist()
        rows.append(([ids], [tuple(r) for r in found.ranges[found.offsets[i] : found.offsets[i + 1]].tolist()]))
    write(root / "ids", Form.DIALOGUE, [rows[:3], rows[3:]])
    told = json.loads((root / "ids/manifest.json").read_text())
    for number, file in enumerate(told["parts"]["train"]["files"]):
        path = root / file["of"]["path"]
        path.parent.mkdir(parents=True, exist_ok=True)
        names = [f"{3 * number + i:032x}" for i in range(file["rows"])]
        pq.write_table(pa.table({"row_id": names, "source": ["belle"] * len(names)}), path)
    return root


def order(warehouse: Path, *, max_length: int = 512, seq2seq: bool = False, overlong: str = "drop") -> Order:
    samples = Samples(Tokens.open(warehouse / "ids"), seq2seq=seq2seq, max_length=max_length, overlong=overlong)
    return Order(samples, seed=3, micro_tokens=2048)


def shown_text(piece: module.Piece, *, only: bool) -> str:
    """The bytes of tokens as text; of those alone that are learned."""
    out = b""
    for token, is_learned in zip(piece.tokens, piece.learned, strict=True):
        if is_learned or not only:
            whole = token.startswith("<") and token.endswith(">") and token not in ("</s>", "<", ">")
            out += bytes.fromhex(token[1:-1]) if whole else token.encode()
    return out.decode()


@pytest.mark.parametrize("seq2seq", [False, True])
def test_rows_show_as_text_and_labels_as_answers(warehouse: Path, tokenizer: Path, seq2seq: bool) -> None:
    report = inspect(order(warehouse, seq2seq=seq2seq), tokenizer, max_lost=0.05, rows=99, warehouse=warehouse)
    assert [row.number for row in report.shown] == [0, 1, 2, 3, 4]
    assert report.excess is None
    for row, (question, answer) in zip(report.shown, PAIRS.items(), strict=False):
        assert row.source == "belle"
        assert row.row_id == f"{row.number:032x}"
        (piece,) = row.samples
        assert shown_text(piece, only=True) == f" {answer}</s>"
        assert shown_text(piece, only=False) == f"Human: {question}\n\nAssistant: {answer}</s>"
        assert len(piece.tokens) == row.length
        assert (piece.source > 0) == seq2seq
    assert len(report.shown[4].samples) == (2 if seq2seq else 1)
    assert report.row_lengths[100] == max(row.length for row in report.shown)
    assert report.sample_lengths[0] == min(len(p.tokens) for row in report.shown for p in row.samples)
    assert report.learned == sum(sum(p.learned) for row in report.shown for p in row.samples)
    assert 0 <= report.padding < 1


def test_the_same_rows_for_the_same_seed_and_any_row_by_its_id(warehouse: Path, tokenizer: Path) -> None:
    chosen = [[row.number for row in inspect(order(warehouse), tokenizer, max_lost=0.05, rows=2).shown] for _ in range(2)]
    assert chosen[0] == chosen[1]
    assert len(set(chosen[0])) == 2
    report = inspect(order(warehouse), tokenizer, max_lost=0.05, row_id=f"{4:032x}", warehouse=warehouse)
    assert [row.number for row in report.shown] == [4]
    with pytest.raises(UsageError, match="has no row 'nothing'"):
        inspect(order(warehouse), tokenizer, max_lost=0.05, row_id="nothing", warehouse=warehouse)
    with pytest.raises(UsageError, match="leave out --row"):
        inspect(order(warehouse), tokenizer, max_lost=0.05, row_id="nothing")


def test_too_much_that_is_lost_is_refused_with_a_way_out_that_works(warehouse: Path, tokenizer: Path, capsys: Any) -> None:
    lengths = np.sort([row.length for row in inspect(order(warehouse), tokenizer, max_lost=0.0, rows=99).shown])
    report = inspect(order(warehouse, max_length=int(lengths[1])), tokenizer, max_lost=0.2, rows=99, warehouse=warehouse)
    assert report.lost.dropped == (lengths > lengths[1]).sum()
    assert any(not row.samples for row in report.shown)
    assert report.excess is not None
    advised = int(report.excess.split("set max_length to ")[1].split(",")[0].replace(",", ""))
    assert excess(order(warehouse, max_length=advised).samples, 0.2) is None
    assert show(report, as_json=True) == 2
    told = json.loads(capsys.readouterr().out)
    assert told["lost"]["dropped"] == report.lost.dropped
    assert told["shown"][0]["samples"] == [] or told["shown"][0]["samples"][0]["tokens"]


def test_what_is_printed_without_colour_says_what_is_learned(warehouse: Path, tokenizer: Path, capsys: Any) -> None:
    report = inspect(order(warehouse), tokenizer, max_lost=0.05, row_id=f"{0:032x}", warehouse=warehouse)
    text = drawn(report.shown[0].samples[0], colour=False).plain
    before, rest = text.split("[learned]")
    inside, after = rest.split("[/learned]")
    assert before.startswith("Human")
    assert inside.rstrip("|").endswith("</s>")
    assert after.strip("|") == ""
    coloured = drawn(report.shown[0].samples[0], colour=True)
    assert "[learned]" not in coloured.plain
    assert any(str(span.style) == "green" for span in coloured.spans)
    assert show(report) == 0


def test_tokens_cannot_steer_the_terminal() -> None:
    piece = module.Piece(("\x1b[2J", "[red]x"), (False, True))
    assert drawn(piece, colour=False).plain == "\\x1b[2J|[learned][red]x[/learned]"
