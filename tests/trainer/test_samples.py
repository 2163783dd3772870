"""What rows give to read and to learn: each form by hand, and every kept token exactly once."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from corpus.errors import UsageError, WarehouseError
from corpus.recipe_splits import Form
from tests.trainer import flat
from tests.trainer.reading import FORMS, files_of, of_batch, of_row, small
from trainer.loader import Loader, collate
from trainer.order import Order
from trainer.samples import Lost, Samples
from trainer.tokens import Tokens


def made(folder: Path, form: Form, rows: list[flat.Row], *, seq2seq: bool = False, most: int = 6, overlong: str = "drop") -> Samples:
    return Samples(Tokens.open(flat.write(folder, form, [rows])), seq2seq=seq2seq, max_length=most, overlong=overlong)


def read(samples: Samples) -> list[tuple[list[int], list[int]]]:
    picked = samples.of_rows(np.arange(samples.rows))
    found = []
    for i in range(len(picked)):
        tensors = collate(samples, picked.take(np.array([i])), pad=0)
        found.append((tensors["input_ids"][0].tolist(), tensors["labels"][0].tolist()))
    return found


def test_document_split_learns_each_token_but_the_first_once(tmp_path: Path) -> None:
    samples = made(tmp_path, Form.TEXT, [([[1, 2, 3, 4, 5, 6, 7, 8]], [])], most=4, overlong="split")
    assert read(samples) == [
        ([1, 2, 3, 4], [-100, 2, 3, 4]),
        ([4, 5, 6, 7], [-100, 5, 6, 7]),
        ([7, 8], [-100, 8]),
    ]
    assert samples.lost == Lost(rows=1, kept=1, dropped=0, cut=0, unlabelled=0, tokens=8, lost=0)
    assert (samples.read, samples.learned, samples.longest) == (10, 7, 4)


def test_dialogue_learns_its_ranges_and_never_position_zero(tmp_path: Path) -> None:
    rows: list[flat.Row] = [
        ([[1, 2, 3, 4, 5]], [(0, 2), (4, 5)]),
        ([[1, 2, 3]], [(0, 1)]),
        ([[1, 2, 3, 4, 5, 6, 7]], [(1, 2)]),
        ([[1, 2, 3, 4, 5, 6, 7]], [(6, 7)]),
    ]
    samples = made(tmp_path, Form.DIALOGUE, rows)
    assert read(samples) == [([1, 2, 3, 4, 5], [-100, 2, -100, -100, 5])]
    assert samples.lost == Lost(rows=4, kept=1, dropped=2, cut=0, unlabelled=1, tokens=22, lost=14)
    cut = made(tmp_path, Form.DIALOGUE, rows, overlong="truncate")
    assert read(cut)[1] == ([1, 2, 3, 4, 5, 6], [-100, 2, -100, -100, -100, -100])
    assert cut.lost == Lost(rows=4, kept=2, dropped=1, cut=1, unlabelled=1, tokens=22, lost=8)
    assert cut.lost.share == 0.5


def test_pair_learns_its_response(tmp_path: Path) -> None:
    rows: list[flat.Row] = [([[1, 2], [3, 4]], []), ([[], [5, 6]], []), ([[7], []], []), ([[1, 2, 3, 4, 5, 6], [7, 8]], [])]
    samples = made(tmp_path, Form.PAIR, rows)
    assert read(samples) == [([1, 2, 3, 4], [-100, -100, 3, 4]), ([5, 6], [-100, 6])]
    assert samples.lost == Lost(rows=4, kept=2, dropped=1, cut=0, unlabelled=1, tokens=15, lost=8)


def test_encoder_decoder_reads_what_is_before_an_answer(tmp_path: Path) -> None:
    rows: list[flat.Row] = [([[1, 2, 3, 4, 5, 6, 7, 8]], [(0, 1), (2, 4), (7, 8)])]
    assert read(made(tmp_path, Form.DIALOGUE, rows, seq2seq=True)) == [([1, 2], [3, 4])]
    cut = made(tmp_path, Form.DIALOGUE, rows, seq2seq=True, overlong="truncate")
    assert read(cut) == [([1, 2], [3, 4]), ([2, 3, 4, 5, 6, 7], [8])]
    assert cut.lost == Lost(rows=1, kept=1, dropped=0, cut=1, unlabelled=0, tokens=8, lost=1)
    pairs = made(tmp_path, Form.PAIR, [([[1, 2], [3, 4, 5]], []), ([[], [1]], [])], seq2seq=True)
    assert read(pairs) == [([1, 2], [3, 4, 5])]
    assert pairs.lost.unlabelled == 1


def test_encoder_decoder_writes_the_second_half_of_a_document(tmp_path: Path) -> None:
    samples = made(tmp_path, Form.TEXT, [([[1, 2, 3, 4, 5, 6, 7, 8, 9]], [])], seq2seq=True, most=2, overlong="split")
    assert read(samples) == [([1, 2], [3, 4]), ([5, 6], [7, 8]), ([8], [9])]
    assert samples.lost.lost == 0


@pytest.mark.parametrize("seq2seq", [False, True])
@pytest.mark.parametrize("form", FORMS)
def test_an_epoch_is_every_sample_once(form: Form, seq2seq: bool, tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("tokens")

    @settings(max_examples=50)
    @given(
        files=files_of(form),
        most=st.integers(2, 14),
        overlong=st.sampled_from(["drop", "truncate", "split"]),
        pack=st.booleans(),
        wide=st.booleans(),
        seed=st.integers(0, 99),
    )
    def check(files: list[list[flat.Row]], most: int, overlong: str, pack: bool, wide: bool, seed: int) -> None:
        flat.write(folder, form, files, kind="uint32" if wide else "uint16")
        expected = [s for rows in files for row in rows for s in of_row(form, row, seq2seq=seq2seq, most=most, overlong=overlong)]
        with small():
            samples = Samples(Tokens.open(folder), seq2seq=seq2seq, max_length=most, overlong=overlong)
            assert samples.count == len(expected)
            lost = samples.lost
            assert lost.kept + lost.dropped + lost.unlabelled == lost.rows == sum(map(len, files))
            if not samples.count:
                return
            order = Order(samples, seed=seed, micro_tokens=2 * most + 9, pack=pack and not seq2seq)
            batches = list(Loader(order, pad=0, workers=0, limit=samples.count))
        assert Counter(s for batch in batches for s in of_batch(batch, seq2seq=seq2seq)) == Counter(expected)
        assert sum(batch.rows for batch in batches) == samples.count
        assert sum(batch.real for batch in batches) == samples.read
        assert sum(batch.learned for batch in batches) == samples.learned
        assert all(batch.real <= batch.padded <= order.micro_tokens for batch in batches)
        assert all(batch.learned == int((batch.tensors["labels"] != -100).sum()) for batch in batches)
        if pack:
            assert all(batch.real == batch.padded for batch in batches) or seq2seq
        picked = samples.of_rows(np.arange(samples.rows))
        assert len(picked) == samples.count

    check()


def test_values_that_there_are_not(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="truncate, split"):
        made(tmp_path, Form.TEXT, [], overlong="shorten")


@pytest.mark.parametrize(
    ("end", "place", "value"), [("learned", 0, -1), ("learned", 1, 9), ("ranges", 1, 7), ("offsets", 1, 99), ("offsets", 1, -3)]
)
def test_files_that_contradict_themselves(tmp_path: Path, end: str, place: int, value: int) -> None:
    flat.write(tmp_path, Form.DIALOGUE, [[([[1, 2, 3]], [(1, 2)]), ([[4, 5, 6]], [(0, 3)])]])
    path = tmp_path / f"train-00000-of-00001.{end}"
    numbers = np.fromfile(path, dtype="<i4" if end == "learned" else "<i8")
    numbers[place] = value
    numbers.tofile(path)
    with pytest.raises(WarehouseError, match="encode again"):
        Samples(Tokens.open(tmp_path), seq2seq=False, max_length=9, overlong="drop")
