"""Samples as lists of numbers, made by hand: what the compiled loops are held to."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from unittest.mock import patch

from hypothesis import strategies as st

from corpus.recipe_splits import Form
from tests.trainer.flat import Row
from trainer import order, samples
from trainer.loader import Batch

Sample = tuple[tuple[int, ...], tuple[int, ...]]
"""What is read, and the labels: of a decoder one for each position, otherwise the target."""

FORMS = (Form.TEXT, Form.DIALOGUE, Form.PAIR)


@contextmanager
def small(block: int = 4, window: int = 10) -> Iterator[None]:
    """Blocks of a few rows and windows of some samples."""
    with patch.object(samples, "BLOCK", block), patch.object(order, "WINDOW", window):
        yield


@st.composite
def rows_of(draw: st.DrawFn, form: Form, longest: int = 24) -> Row:
    """A row of a form."""
    sides = 2 if form is Form.PAIR else 1
    row = [draw(st.lists(st.integers(3, 60000), max_size=longest)) for _ in range(sides)]
    cuts = sorted(draw(st.lists(st.integers(0, len(row[0])), max_size=6)))
    learned = list(zip(cuts[0::2], cuts[1::2], strict=False))
    return row, learned if form is Form.DIALOGUE else []


def files_of(form: Form, files: int = 3, rows: int = 14) -> st.SearchStrategy[list[list[Row]]]:
    """Some files of rows of a form."""
    return st.lists(st.lists(rows_of(form), max_size=rows), min_size=1, max_size=files)


def of_row(form: Form, row: Row, *, seq2seq: bool, most: int, overlong: str) -> list[Sample]:
    """The samples of a row."""
    return _two(form, row, most, overlong) if seq2seq else _one(form, row, most, overlong)


def _one(form: Form, row: Row, most: int, overlong: str) -> list[Sample]:
    sequences, learned = row
    ids = [i for s in sequences for i in s]
    if form is Form.TEXT:
        marked = set(range(len(ids)))
    elif form is Form.PAIR:
        marked = set(range(len(sequences[0]), len(ids)))
    else:
        marked = {i for a, b in learned for i in range(a, b)}
    pieces = [(0, len(ids))]
    if len(ids) > most:
        pieces = [(0, most)]
        if overlong == "drop":
            pieces = []
        elif overlong == "split" and form is Form.TEXT:
            pieces = [(a, min(a + most, len(ids))) for a in range(0, len(ids) - 1, most - 1)]
    made = [(tuple(ids[a:b]), tuple(ids[i] if i in marked and i > a else -100 for i in range(a, b))) for a, b in pieces]
    return [(read, labels) for read, labels in made if any(label != -100 for label in labels)]


def _two(form: Form, row: Row, most: int, overlong: str) -> list[Sample]:
    sequences, learned = row
    ids = sequences[0]
    if form is Form.TEXT:
        pieces = [(a, min(len(ids), a + 2 * most)) for a in range(0, len(ids), 2 * most)]
        if len(ids) > 2 * most and overlong != "split":
            pieces = pieces[:1] if overlong == "truncate" else []
        elif len(pieces) > 1 and pieces[-1][1] - pieces[-1][0] == 1:
            pieces[-1] = (len(ids) - 2, len(ids))
        return [(tuple(ids[a : (a + b) // 2]), tuple(ids[(a + b) // 2 : b])) for a, b in pieces if b - a > 1]
    pairs = [(sequences[0], sequences[1])] if form is Form.PAIR else [(ids[:a], ids[a:b]) for a, b in learned]
    if overlong == "drop":
        pairs = [(s, t) for s, t in pairs if max(len(s), len(t)) <= most]
    return [(tuple(s[-most:]), tuple(t[:most])) for s, t in pairs if s and t]


def of_batch(batch: Batch, *, seq2seq: bool) -> list[Sample]:
    """The samples of a batch, padding taken away."""
    tensors = {name: tensor.tolist() for name, tensor in batch.tensors.items()}
    if "position_ids" in tensors:
        begins = [i for i, place in enumerate(tensors["position_ids"][0]) if place == 0]
        cuts = list(zip(begins, [*begins[1:], len(tensors["position_ids"][0])], strict=True))
        for a, b in cuts:
            assert tensors["position_ids"][0][a:b] == list(range(b - a))
        return [(tuple(tensors["input_ids"][0][a:b]), tuple(tensors["labels"][0][a:b])) for a, b in cuts]
    found = []
    for ids, mask, labels in zip(tensors["input_ids"], tensors["attention_mask"], tensors["labels"], strict=True):
        n = sum(mask)
        assert mask == [1] * n + [0] * (len(mask) - n)
        assert set(ids[n:]) <= {0}
        if seq2seq:
            m = sum(label != -100 for label in labels)
            assert labels[m:] == [-100] * (len(labels) - m)
            found.append((tuple(ids[:n]), tuple(labels[:m])))
        else:
            assert labels[n:] == [-100] * (len(labels) - n)
            found.append((tuple(ids[:n]), tuple(labels[:n])))
    return found
