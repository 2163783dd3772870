"""The order of samples: any position continues what the beginning would have come to, for any number of processes and threads."""

from __future__ import annotations

import random
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from corpus.errors import DataError, UsageError
from corpus.recipe_splits import Form
from tests.trainer import flat
from tests.trainer.reading import small
from trainer.loader import Batch, Loader
from trainer.order import Order
from trainer.samples import Samples
from trainer.tokens import Tokens


def folder_of(folder: Path, rows: int, *, form: Form = Form.DIALOGUE, seed: int = 1, files: int = 3) -> Path:
    draw = random.Random(seed)

    def row() -> flat.Row:
        n = draw.randrange(2, 20)
        ids = [draw.randrange(3, 60000) for _ in range(n)]
        return ([ids[: n // 2], ids[n // 2 :]], []) if form is Form.PAIR else ([ids], [(n // 2, n)] if form is Form.DIALOGUE else [])

    return flat.write(folder, form, [[row() for _ in range(rows // files)] for _ in range(files)])


@pytest.fixture(scope="module")
def tokens(tmp_path_factory: pytest.TempPathFactory) -> Tokens:
    return Tokens.open(folder_of(tmp_path_factory.mktemp("tokens"), 90))


def order_of(tokens: Tokens, *, seed: int = 1, pack: bool = False, per_step: int = 4, shuffle: bool = True) -> Order:
    samples = Samples(tokens, seq2seq=False, max_length=20, overlong="drop")
    return Order(samples, seed=seed, micro_tokens=50, per_step=per_step, pack=pack, shuffle=shuffle)


def same(a: Batch, b: Batch) -> bool:
    facts = (a.rows, a.real, a.padded, a.learned, a.consumed, a.epoch) == (b.rows, b.real, b.padded, b.learned, b.consumed, b.epoch)
    return facts and a.tensors.keys() == b.tensors.keys() and all(torch.equal(t, b.tensors[name]) for name, t in a.tensors.items())


@given(seed=st.integers(0, 2**32 - 1), pack=st.booleans(), at=st.integers(0, 120), workers=st.integers(0, 3))
def test_any_position_continues_bit_for_bit(tokens: Tokens, seed: int, pack: bool, at: int, workers: int) -> None:
    with small():
        order = order_of(tokens, seed=seed, pack=pack)
        whole = list(islice(Loader(order, pad=0, workers=0), at + 12))
        begun = list(islice(Loader(order, pad=0, consumed=whole[at].consumed, workers=workers), 11))
    assert all(same(a, b) for a, b in zip(whole[at + 1 :], begun, strict=True))


@given(
    seed=st.integers(0, 99),
    per_step=st.sampled_from([4, 8]),
    steps=st.integers(1, 9),
    first=st.sampled_from([1, 2, 4]),
    then=st.sampled_from([1, 2, 4]),
)
def test_processes_share_what_one_would_read(tokens: Tokens, seed: int, per_step: int, steps: int, first: int, then: int) -> None:
    """Some steps by a number of processes, then some by another: each step holds what it holds for one process."""
    with small():
        order = order_of(tokens, seed=seed, per_step=per_step)
        one = [(b.tensors["input_ids"].tolist(), b.rows) for b in islice(Loader(order, pad=0, workers=0), 2 * steps * per_step)]
        found, consumed = [], 0
        for world in (first, then):
            ranks = [
                list(islice(Loader(order, pad=0, consumed=consumed, rank=r, world=world, workers=0), steps * per_step // world))
                for r in range(world)
            ]
            for shares in zip(*ranks, strict=True):
                assert len({b.consumed for b in shares}) == 1
                found += [(b.tensors["input_ids"].tolist(), b.rows) for b in shares]
            consumed = ranks[0][-1].consumed
    assert found == one
    assert consumed == sum(rows for _, rows in one)


@pytest.mark.parametrize("pack", [False, True])
def test_epochs_are_counted_as_they_come(tokens: Tokens, pack: bool) -> None:
    with small():
        order = order_of(tokens, pack=pack, per_step=3)
        micro = list(islice(order.start(), 400))
        for epoch in range(3):
            assert order.per_epoch(epoch) == sum(m.epoch == epoch for m in micro)
        assert len({tuple(m.picked.rows.tolist()) for m in micro if m.epoch < 2}) > order.per_epoch(0)  # another order each time
        for epochs in (0.3, 1, 1.5, 2.0):
            target = round(epochs * order.samples.count)
            needed = next(n for n, m in enumerate(micro, 1) if m.consumed >= target)
            assert order.steps(epochs) == -(-needed // 3)


def test_windows_hold_whole_blocks_and_seeds_differ(tokens: Tokens) -> None:
    with small(block=4, window=10):
        micro = list(islice(order_of(tokens, seed=1).start(), 8))
        again = list(islice(order_of(tokens, seed=1).start(), 8))
        other = list(islice(order_of(tokens, seed=2).start(), 8))
    rows = [r for m in micro for r in m.picked.rows.tolist()]
    assert rows == [r for m in again for r in m.picked.rows.tolist()]
    assert rows != [r for m in other for r in m.picked.rows.tolist()]
    assert len({r // 30 * 8 + r % 30 // 4 for r in rows[:10]}) <= 4  # 30 rows a file, 4 a block: the first window is three blocks or so


def test_golden_order(tokens: Tokens) -> None:
    """A run that is resumed next year finds the order that it began with."""
    with small():
        first = [micro.picked.rows.tolist() for micro in islice(order_of(tokens, seed=7).start(), 4)]
    assert first == GOLDEN


GOLDEN = [[48, 56], [46, 57, 42, 55], [47, 54, 44], [45, 49, 43]]


def test_unshuffled_is_in_the_order_of_blocks(tokens: Tokens) -> None:
    with small():
        micro = list(islice(order_of(tokens, shuffle=False).start(), 5))
    assert max(r for r in micro[0].picked.rows) < 12


def test_threads_and_random_states(tokens: Tokens) -> None:
    """Whatever reads ahead, nothing is drawn from a generator that dropout or a user's code draws from."""
    before = torch.get_rng_state(), np.random.get_state()[1].copy(), random.getstate()  # type: ignore[index]
    with small():
        order = order_of(tokens)
        lists = [list(islice(Loader(order, pad=0, workers=w), 60)) for w in (0, 1, 2, 5)]
    assert all(same(a, b) for other in lists[1:] for a, b in zip(lists[0], other, strict=True))
    assert torch.equal(before[0], torch.get_rng_state())
    assert (before[1] == np.random.get_state()[1]).all()  # type: ignore[index]
    assert before[2] == random.getstate()


@pytest.mark.parametrize("world", [1, 2, 4])
def test_a_limit_gives_every_process_as_many_batches(tokens: Tokens, world: int) -> None:
    """Those that find nothing left get one that does not count, so that processes that wait for each other come to an end."""
    with small():
        order = order_of(tokens, shuffle=False)
        ranks = [list(Loader(order, pad=0, rank=r, world=world, limit=order.samples.count)) for r in range(world)]
    assert len({len(batches) for batches in ranks}) == 1
    assert sum(b.rows for batches in ranks for b in batches) == order.samples.count
    assert sum(b.learned for batches in ranks for b in batches) == order.samples.learned
    assert all((b.tensors["labels"] == -100).all() for batches in ranks for b in batches if not b.rows)


def test_what_cannot_be(tokens: Tokens, tmp_path: Path) -> None:
    with small():
        order = order_of(tokens)
        with pytest.raises(UsageError, match="cannot share evenly"):
            Loader(order, pad=0, world=3)
        inside = next(n for n in range(1, 99) if n not in {m.consumed for m in islice(order.start(), 60)})
        with pytest.raises(UsageError, match="no micro-batch ends at sample"):
            next(order.start(inside))
        with pytest.raises(UsageError, match="raise micro_tokens"):
            Order(order.samples, seed=1, micro_tokens=10)
        empty = Tokens.open(flat.write(tmp_path, Form.DIALOGUE, [[([[1, 2]], [])]]))
        with pytest.raises(DataError, match="1 with nothing to learn"):
            Order(Samples(empty, seq2seq=False, max_length=5, overlong="drop"), seed=1, micro_tokens=10)


@pytest.mark.parametrize("seq2seq", [False, True])
def test_little_is_padded(tmp_path: Path, seq2seq: bool) -> None:
    """Lengths as chat data has them, log-normal, in windows of the real size."""
    draw = np.random.default_rng(1)
    n = 20_000
    lengths = np.clip(np.exp(draw.normal(4.5, 0.9, (n, 2))), 4, 1024).astype(np.int64)
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    arrays = {"ids": np.zeros(offsets[-1], dtype="<u2"), "offsets": offsets.astype("<i8")}
    flat.manifest(tmp_path, Form.PAIR, [flat.save(tmp_path, "train-00000-of-00001", n, arrays)])
    samples = Samples(Tokens.open(tmp_path), seq2seq=seq2seq, max_length=1024 if seq2seq else 2048, overlong="drop")
    share = Order(samples, seed=1, micro_tokens=8192).padding()
    assert share < (0.10 if seq2seq else 0.02)
