"""What is learned of real conversations, from their text through `corpus encode` to the batch: the assistant's turns with their ends."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from tokenizers import Tokenizer

from corpus.schema import MESSAGES
from corpus.splits.templates import TEMPLATES, Template, render
from tests.export.made import make_warehouse
from tests.splits.conversations import seeded
from tests.tokenizer.made import ours, pieces
from trainer.loader import Loader, collate
from trainer.order import Order
from trainer.samples import Samples
from trainer.tokens import Tokens, ensure

WORDS = [
    "你好",
    "长江流经中国",
    "，",
    "。",
    "Hello",
    " world",
    "don't",
    "👩‍👩‍👧‍👦",
    "🇨🇳",
    "e\u0301",
    "𠮷野家",
    " 3.14",
    "\n- item",
    "：",
    "?",
    "def f(x):\n    return x",
]

Turns = list[dict[str, str]]


def conversations(n: int, seed: int) -> list[Turns]:
    """As people have them: some begin with a system turn, then question and answer by turns."""
    draw = random.Random(seed)

    def said(role: str) -> dict[str, str]:
        return {"role": role, "content": draw.choice(["问", "A", "好"]) + "".join(draw.choices(WORDS, k=draw.randrange(0, 12)))}

    made = []
    for _ in range(n):
        head = [said("system")] if draw.random() < 0.2 else []
        made.append(head + [said(role) for _ in range(draw.randrange(1, 5)) for role in ("user", "assistant")])
    return made


def encoded(tmp_path: Path, template: Template, kind: Callable[[str], str], rows: list[Turns]) -> tuple[Tokens, Tokenizer]:
    folder = tmp_path / "tokenizer"
    folder.mkdir()
    settings = kind(template.name).encode()
    (folder / "tokenizer.json").write_bytes(settings)
    splits: dict[str, Any] = {"sft:train": [[{"messages": m} for m in rows[::2]], [{"messages": m} for m in rows[1::2]]]}
    warehouse = make_warehouse(tmp_path / "warehouse", splits, template=template)
    vocabulary: Any = SimpleNamespace(folder=folder, sha256=hashlib.sha256(settings).hexdigest(), template=template)
    return Tokens(ensure(warehouse, "small", "sft", vocabulary)), Tokenizer.from_str(settings.decode())


def texts_of(template: Template, rows: list[Turns]) -> list[list[str]]:
    """What is to be learned of each."""
    texts, spans = render(template, pa.array(rows, MESSAGES))
    return [[text[s["start"] : s["end"]] for s in each] for text, each in zip(texts.to_pylist(), spans.to_pylist(), strict=True)]


def runs(labels: list[int]) -> list[list[int]]:
    """What stands together among labels."""
    found: list[list[int]] = []
    for at, label in enumerate(labels):
        if label != -100:
            if not at or labels[at - 1] == -100:
                found.append([])
            found[-1].append(label)
    return found


@pytest.mark.parametrize("kind", [ours, pieces], ids=["byte-level", "sentencepiece"])
@pytest.mark.parametrize("template", TEMPLATES.values(), ids=lambda t: t.name)
def test_labels_decode_to_the_assistant_turns(
    template: Template, kind: Callable[[str], str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    said = conversations(120, seed=3)
    forged = [[{"role": r, "content": c} for r, c in each] for each in seeded(120, seed=4)]
    rows = said + [each for each in forged if any(m["role"] == "assistant" for m in each)]
    tokens, tokenizer = encoded(tmp_path, template, kind, rows)
    rows = rows[::2] + rows[1::2]  # as the files have them
    end = tokenizer.token_to_id(template.end)
    pad = tokenizer.get_vocab_size()
    turns = [sum(m["role"] == "assistant" for m in each) for each in rows]

    samples = Samples(tokens, seq2seq=False, max_length=4096, overlong="drop")
    assert (samples.rows, samples.lost.dropped) == (len(rows), 0)
    picked = samples.of_rows(np.arange(samples.rows))
    tensors = collate(samples, picked, pad=pad)
    expected = texts_of(template, rows)
    for number, row in enumerate(picked.rows.tolist()):
        labels = tensors["labels"][number].tolist()
        assert pad not in labels
        assert labels[0] == -100
        # Where a template has no headers, an empty answer that comes first is nothing but its end, which nothing precedes.
        assert sum(label == end for label in labels) == turns[row] - int(tensors["input_ids"][number, 0] == end)
        if rows[row] in said:
            assert [tokenizer.decode(run, skip_special_tokens=False) for run in runs(labels)] == expected[row]
    assert {rows.index(each) for each in said} <= set(picked.rows.tolist())

    ends = 0
    for batch in Loader(Order(samples, seed=1, micro_tokens=4096, pack=True), pad=pad, limit=samples.count):
        ends += int((batch.tensors["labels"] == end).sum())
    assert ends == int((tensors["labels"] == end).sum())

    both = Samples(tokens, seq2seq=True, max_length=4096, overlong="drop")
    picked = both.of_rows(np.arange(both.rows))
    tensors = collate(both, picked, pad=pad)
    for number, row in enumerate(picked.rows.tolist()):
        if rows[row] in said:
            answer = [label for label in tensors["labels"][number].tolist() if label != -100]
            assert tokenizer.decode(answer, skip_special_tokens=False) in expected[row]
            assert (answer[-1], answer.count(end)) == (end, 1)
    assert len(picked) >= sum(turns) - sum(rows[n][0]["role"] == "assistant" for n in range(len(rows)))
