"""Loss and gradients are those of a plain loop in float64, for every architecture, however rows are put together."""

from __future__ import annotations

import copy
import inspect
import random
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch.nn import functional
from torch.overrides import TorchFunctionMode

from tests.trainer.architectures import ALL, CAUSAL, SIZE, model
from trainer import losses
from trainer.losses import IGNORED, Learned, loss_and_bits, supervise, supervised_sum
from trainer.probe import APART, isolation

Row = tuple[list[int], list[int]]
"""A decoder's ids and labels; an encoder-decoder's source and target."""


class Doubled(TorchFunctionMode):
    """float64 also where transformers computes in float32 whatever the weights are (norms, softmax, rotations): 1e-8 otherwise."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        def double(value: Any) -> Any:
            return torch.float64 if value is torch.float32 else value

        func = torch.Tensor.double if func is torch.Tensor.float else func
        return func(*map(double, args), **{name: double(value) for name, value in (kwargs or {}).items()})


def rows(kind: str, count: int = 6, seed: int = 0) -> list[Row]:
    """Rows of unequal lengths, with unequal numbers of labels; one has none in the middle, one is short."""
    draw = random.Random(seed)
    out: list[Row] = []
    for number in range(count):
        ids = [draw.randrange(2, SIZE) for _ in range(2 if number == 1 else draw.randint(4, 13))]
        if kind == "t5":
            out.append((ids, [draw.randrange(2, SIZE) for _ in range(draw.randint(1, 7))]))
        else:
            learned = [i > 0 and (number % 3 == 0 or i > len(ids) // 2) for i in range(len(ids))]
            out.append((ids, [t if yes else IGNORED for t, yes in zip(ids, learned, strict=True)]))
    return out


def plain(own: Any, kind: str, some: list[Row]) -> tuple[torch.Tensor, dict[str, torch.Tensor], int]:
    """Sum of nats, its gradients, and the number of labels: row by row without padding, position by position."""
    own.zero_grad()
    total, count = torch.zeros((), dtype=torch.float64), 0
    for ids, labels in some:
        if kind == "t5":
            logits = own(input_ids=torch.tensor([ids]), decoder_input_ids=torch.tensor([[0, *labels[:-1]]])).logits[0]
            targets = labels
        else:
            logits, targets = own(input_ids=torch.tensor([ids]), use_cache=False).logits[0], [*labels[1:], IGNORED]
        for scores, target in zip(logits, targets, strict=True):
            if target != IGNORED:
                total = total + torch.log(torch.exp(scores - scores.max()).sum()) + scores.max() - scores[target]
                count += 1
    total.backward()
    return total.detach(), gradients(own), count


def gradients(of: Any) -> dict[str, torch.Tensor]:
    return {name: p.grad.clone() for name, p in of.named_parameters() if p.grad is not None}


def padded(kind: str, some: list[Row], extra: int = 0) -> dict[str, torch.Tensor]:
    """Rows as a batch with padding behind them."""

    def wide(lists: list[list[int]], fill: int) -> torch.Tensor:
        size = max(map(len, lists)) + extra
        return torch.tensor([each + [fill] * (size - len(each)) for each in lists])

    return {
        "input_ids": wide([ids for ids, _ in some], 0), "attention_mask": wide([[1] * len(ids) for ids, _ in some], 0),
        "labels": wide([labels for _, labels in some], IGNORED),
    }  # fmt: skip


def packed(some: list[Row]) -> dict[str, torch.Tensor]:
    return {
        "input_ids": torch.tensor([[t for ids, _ in some for t in ids]]), "labels": torch.tensor([[t for _, labels in some for t in labels]]),
        "position_ids": torch.tensor([[i for ids, _ in some for i in range(len(ids))]]),
    }  # fmt: skip


def near(found: dict[str, torch.Tensor], wanted: dict[str, torch.Tensor], tolerance: float) -> None:
    scale = max(float(g.abs().max()) for g in wanted.values())
    assert found.keys() == wanted.keys()
    for name, gradient in wanted.items():
        assert float((found[name] - gradient).abs().max()) <= tolerance * scale, name


@pytest.fixture(params=ALL)
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def doubled() -> Iterator[None]:
    with Doubled():
        yield


@pytest.mark.usefixtures("doubled")
def test_equal_to_a_plain_loop(kind: str) -> None:
    own = model(kind).double()
    ours = copy.deepcopy(own)
    assert supervise(ours)
    some = rows(kind)
    total, wanted, count = plain(own, kind, some)
    ordered = sorted(some, key=lambda row: len(row[0]))
    compositions = {
        "one batch": [padded(kind, some)],
        "more padding": [padded(kind, some, extra=3)],
        "bucketed": [padded(kind, ordered[:4]), padded(kind, ordered[4:])],
        "accumulated": [padded(kind, some[:1]), padded(kind, some[1:4]), padded(kind, some[4:])],
    }
    if kind != "t5" and isolation(own, SIZE) < APART:
        compositions["packed"] = [packed(some)]
        compositions["packed, accumulated"] = [packed(some[:2]), packed(some[2:])]
    for name, batches in compositions.items():
        ours.zero_grad()
        found = torch.zeros((), dtype=torch.float64)
        for tensors in batches:
            out = ours(**tensors, num_items_in_batch=torch.tensor(count))
            out.loss.backward()
            found += out.loss.detach()
        assert abs(float(found * count - total)) <= 1e-10 * float(total), name
        near(gradients(ours), {k: g / count for k, g in wanted.items()}, 1e-10)


@pytest.mark.usefixtures("doubled")
def test_the_mean_without_a_count(kind: str) -> None:
    own = model(kind).double()
    ours = copy.deepcopy(own)
    supervise(ours)
    some = rows(kind)
    total, wanted, count = plain(own, kind, some)
    out = ours(**padded(kind, some))
    out.loss.backward()
    assert abs(float(out.loss.detach() - total / count)) <= 1e-10
    near(gradients(ours), {k: g / count for k, g in wanted.items()}, 1e-10)
    assert len(out.nats) == count
    assert abs(float(out.nats.sum() - total)) <= 1e-9


def test_float32_agrees_with_the_models_own(kind: str) -> None:
    own = model(kind)
    ours = copy.deepcopy(own)
    supervise(ours)
    tensors = padded(kind, rows(kind))
    theirs, mine = own(**tensors).loss, ours(**tensors).loss
    assert abs(float((theirs - mine).detach())) <= 1e-6 * float(theirs.detach())
    theirs.backward()
    mine.backward()
    near(gradients(ours), gradients(own), 1e-5)


def test_without_labels_it_is_the_models_own(kind: str) -> None:
    own = model(kind)
    ours = copy.deepcopy(own)
    supervise(ours)
    tensors = padded(kind, rows(kind))
    del tensors["labels"]
    if kind == "t5":
        tensors["decoder_input_ids"] = torch.tensor([[0, 3, 4]] * len(tensors["input_ids"]))
    assert torch.equal(own(**tensors).logits, ours(**tensors).logits)
    assert torch.equal(own.generate(tensors["input_ids"][:1], max_new_tokens=3), ours.generate(tensors["input_ids"][:1], max_new_tokens=3))
    assert inspect.signature(ours.forward) == inspect.signature(own.forward)


def test_supervising_changes_nothing_else(kind: str) -> None:
    ours = model(kind)
    ours.train()
    frozen = next(m for m in ours.modules() if not list(m.children()))
    frozen.eval()
    modes = [m.training for m in ours.modules()]
    state, weights = torch.get_rng_state(), copy.deepcopy(ours.state_dict())
    assert supervise(ours)
    assert supervise(ours)
    assert torch.equal(state, torch.get_rng_state())
    assert [m.training for m in ours.modules()] == modes
    assert all(p.grad is None for p in ours.parameters())
    assert all(torch.equal(weights[k], v) for k, v in ours.state_dict().items())


@pytest.mark.parametrize("kind", ["gemma2", "cohere", "granite"])
def test_logits_that_are_changed_behind_the_head_keep_their_own_forward(kind: str) -> None:
    capped = model(kind)
    assert not supervise(capped)
    assert "forward" not in vars(capped)
    assert capped(**padded(kind, rows(kind))).logits is not None


def test_a_trunk_that_is_not_in_the_tests_is_taken_when_it_agrees() -> None:
    assert supervise(model("mistral"))


@pytest.mark.parametrize("tied", [True, False])
def test_t5_scales_when_tied(tied: bool) -> None:
    own = model("t5", tie_word_embeddings=tied).double()
    ours = copy.deepcopy(own)
    assert supervise(ours)
    tensors = padded("t5", rows("t5"))
    assert abs(float((own(**tensors).loss - ours(**tensors).loss).detach())) < 1e-12


def test_a_copy_is_supervised_with_its_own_weights() -> None:
    ours = model("llama")
    supervise(ours)
    other = copy.deepcopy(ours)
    with torch.no_grad():
        other.lm_head.weight.zero_()
    tensors = padded("llama", rows("llama"))
    assert float(other(**tensors).loss.detach()) == pytest.approx(torch.log(torch.tensor(float(SIZE))).item(), rel=1e-6)
    assert isinstance(other(**tensors), Learned)


@pytest.mark.parametrize("kind", ["llama", "gpt2", "t5"])
@pytest.mark.parametrize("before", [True, False])
def test_adapters(kind: str, before: bool) -> None:
    from peft import LoraConfig, get_peft_model

    config = LoraConfig(r=2, target_modules="all-linear")
    tensors = padded(kind, rows(kind))
    own = get_peft_model(model(kind), config)
    ours = model(kind)
    if before:
        assert supervise(ours)
    ours = get_peft_model(ours, config)
    if not before:
        assert supervise(ours)
    ours.load_state_dict(own.state_dict())
    base = model(kind)(**tensors).loss
    theirs, mine = own(**tensors).loss, ours(**tensors)
    assert isinstance(mine, Learned)
    assert float((base - mine.loss).detach().abs()) <= 1e-6 * float(base.detach())
    theirs.backward()
    mine.loss.backward()
    near(gradients(ours), gradients(own), 1e-5)


def test_an_adapter_on_the_head_is_not_passed_over() -> None:
    from peft import LoraConfig, get_peft_model

    ours = get_peft_model(model("llama"), LoraConfig(r=2, target_modules=["lm_head"], init_lora_weights=False))
    own = copy.deepcopy(ours)
    assert supervise(ours)
    tensors = padded("llama", rows("llama"))
    own(**tensors).loss.backward()
    ours(**tensors).loss.backward()
    near(gradients(ours), gradients(own), 1e-5)
    assert any("lm_head" in name for name in gradients(ours))


def test_a_frozen_head_has_no_gradient() -> None:
    ours = model("llama")
    supervise(ours)
    ours.lm_head.weight.requires_grad_(False)
    ours(**padded("llama", rows("llama"))).loss.backward()
    assert ours.lm_head.weight.grad is None
    assert ours.model.layers[0].mlp.up_proj.weight.grad is not None


def test_checkpointed_activations(kind: str) -> None:
    own = model(kind)
    ours = copy.deepcopy(own)
    supervise(ours)
    tensors = padded(kind, rows(kind))
    own(**tensors).loss.backward()
    ours.train()
    ours.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
    ours(**tensors).loss.backward()
    near(gradients(ours), gradients(own), 1e-5)


def test_bfloat16_has_logarithms_in_float32(kind: str) -> None:
    own = model(kind)
    ours = copy.deepcopy(own)
    supervise(ours)
    tensors = padded(kind, rows(kind))
    with torch.autocast("cpu", torch.bfloat16):
        theirs, mine = own(**tensors).loss, ours(**tensors).loss
    assert mine.dtype == torch.float32
    assert float(mine.detach()) == pytest.approx(float(theirs.detach()), rel=2e-3)
    theirs.backward()
    mine.backward()
    near(gradients(ours), gradients(own), 0.05)


def test_half_weights() -> None:
    own = model("llama").to(torch.bfloat16)
    ours = copy.deepcopy(own)
    assert supervise(ours)
    tensors = padded("llama", rows("llama"))
    theirs, mine = own(**tensors).loss, ours(**tensors).loss
    assert float(mine.detach()) == pytest.approx(float(theirs.detach()), rel=2e-2)


def test_a_batch_without_labels_costs_nothing() -> None:
    ours = model("llama")
    supervise(ours)
    tensors = padded("llama", rows("llama"))
    tensors["labels"][:] = IGNORED
    out = ours(**tensors)
    assert float(out.loss.detach()) == 0
    out.loss.backward()
    assert all(float(g.abs().max()) == 0 for g in gradients(ours).values())


def test_a_second_backward_is_refused() -> None:
    ours = model("llama")
    supervise(ours)
    out = ours(**padded("llama", rows("llama")))
    out.loss.backward(retain_graph=True)
    with pytest.raises(RuntimeError, match="goes backward once"):
        out.loss.backward()


@pytest.mark.parametrize("rows_at_once", [1, 3, 100])
def test_chunks_do_not_matter(monkeypatch: pytest.MonkeyPatch, rows_at_once: int) -> None:
    monkeypatch.setattr(losses, "_CHUNK_BYTES", 0)
    monkeypatch.setattr(losses, "_CHUNK_ROWS", {"cpu": rows_at_once})
    torch.manual_seed(1)
    head = torch.nn.Linear(5, 11, bias=False).double()
    hidden = torch.randn(17, 5, dtype=torch.float64, requires_grad=True)
    targets = torch.randint(11, (17,))
    scale = 0.37
    (losses._cross_entropy(hidden, head, targets)[0] * scale).backward()
    found = hidden.grad, head.weight.grad
    hidden.grad = head.weight.grad = None
    (functional.cross_entropy(head(hidden), targets, reduction="sum") * scale).backward()
    for mine, theirs in zip(found, (hidden.grad, head.weight.grad), strict=True):
        assert mine is not None
        torch.testing.assert_close(mine, theirs, rtol=1e-12, atol=1e-14)


def test_a_count_over_processes_divides() -> None:
    ours = model("llama")
    supervise(ours)
    tensors = padded("llama", rows("llama"))
    mean = float(ours(**tensors).loss.detach())
    count = int((tensors["labels"][:, 1:] != IGNORED).sum())
    for items in (7 * count, torch.tensor(7 * count)):
        assert float(ours(**tensors, num_items_in_batch=items).loss.detach()) == pytest.approx(mean / 7)


def test_meta_weights_are_supervised_by_name() -> None:
    import transformers

    with torch.device("meta"):
        known = transformers.AutoModelForCausalLM.from_config(model("llama").config)
        other = transformers.AutoModelForCausalLM.from_config(model("gemma2").config)
    assert supervise(known)
    assert not supervise(other)


@pytest.mark.usefixtures("doubled")
@pytest.mark.parametrize("supervised", [True, False])
def test_sums_for_bits_per_byte(kind: str, supervised: bool) -> None:
    own = model(kind).double()
    some = rows(kind)
    total, _, count = plain(own, kind, some)
    if supervised:
        supervise(own)
    sizes = torch.arange(SIZE) % 4
    own.train()
    sums = torch.zeros(4, dtype=torch.float64)
    for tensors in (padded(kind, some[:2]), padded(kind, some[2:])):
        sums += supervised_sum(own, tensors, sizes)
    assert own.training
    targets = [t for _, labels in some for t in (labels if kind == "t5" else labels[1:]) if t != IGNORED]
    assert float(sums[0]) == pytest.approx(float(total), rel=1e-10)
    assert sums[1] == count
    assert sums[3] == sum(t % 4 for t in targets)
    loss, bits = loss_and_bits(sums)
    assert loss == pytest.approx(float(total) / count)
    assert bits == pytest.approx(float(sums[2]) / 0.6931471805599453 / float(sums[3]))
    only = supervised_sum(own, padded(kind, some), torch.zeros(SIZE, dtype=torch.int64))
    assert only[2:].tolist() == [0, 0]
    assert loss_and_bits(only)[1] != loss_and_bits(only)[1]


def test_every_known_architecture_is_tested() -> None:
    assert set(ALL) == losses.KNOWN
    assert set(CAUSAL) < losses.KNOWN
