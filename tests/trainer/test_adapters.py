"""Adapters: nothing at first, everything after merging."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from corpus.errors import CorpusError, DataError, UsageError
from corpus.splits.templates import TEMPLATES
from tests.trainer.small import KINDS, small_model
from trainer import adapters, models, vocabulary
from trainer.settings import Lora

CHATML = TEMPLATES["chatml"]


def prepared(kind: str, root: Path, **more):
    folder = small_model(kind, root / kind, **more)
    words = vocabulary.fitted(folder, CHATML, root / "words")
    model = models.load(folder, words, dropout=0.0, quantize="none", precision="fp32")
    return model, words, models.fresh(folder, words, models.read_config(folder).vocab_size)


def run_of(model, words, root: Path) -> Path:
    """A finished run's folder."""
    run = root / "runs" / "r" / "small" / "sft"
    model.save_pretrained(str(run / "model"))
    vocabulary.write(words, run / "model")
    (run / "manifest.json").write_text("{}")
    return run


def said(model, ids: torch.Tensor, *, loss: bool = False) -> torch.Tensor:
    model.eval()
    more = {"labels": ids} if loss else {"decoder_input_ids": ids} if models.is_seq2seq(model.config) else {}
    with torch.no_grad():
        found = model(input_ids=ids, attention_mask=torch.ones_like(ids), **more)
    return found.loss if loss else found.logits


@pytest.mark.parametrize("kind", KINDS)
def test_adapters_begin_as_nothing_and_end_in_the_weights(kind: str, tmp_path: Path) -> None:
    from transformers import AutoModelForCausalLM, AutoModelForSeq2SeqLM, AutoTokenizer

    model, words, new = prepared(kind, tmp_path)
    ids = torch.randint(words.size, (2, 12), generator=torch.Generator().manual_seed(1))
    before, loss = said(model, ids), said(model, ids, loss=True)
    tied = model.get_output_embeddings().weight is model.get_input_embeddings().weight
    torch.manual_seed(0)  # of the adapter's first factor: with some, rounding in T5 is more than is allowed below
    adapted = adapters.adapt(model, Lora(rank=4), new)
    assert torch.equal(said(adapted, ids, loss=True), loss)
    assert torch.equal(said(adapted, ids), before)
    generator = torch.Generator().manual_seed(2)
    trained = {name: p for name, p in adapted.named_parameters() if p.requires_grad}
    assert any("lora_A" in name for name in trained)
    assert any("token" in name for name in trained)  # ends of turns are new to all of them, or padding is
    with torch.no_grad():
        for parameter in trained.values():
            parameter.add_(torch.randn(parameter.shape, generator=generator) * 0.3)
    after = said(adapted, ids)
    assert (after - before).abs().max() > 0.1

    run = run_of(adapted, words, tmp_path)
    kept = sum(p.numel() for p in trained.values()) * 4
    assert (run / "model" / "adapter_model.safetensors").stat().st_size < kept + 20_000  # and no embeddings
    out = adapters.merge(run, tmp_path / "merged")
    with models.quiet():
        plain = (AutoModelForSeq2SeqLM if kind == "t5" else AutoModelForCausalLM).from_pretrained(str(out))
    assert (said(plain, ids) - after).abs().max() <= 1e-4 * after.abs().max()
    assert set(plain.generation_config.eos_token_id) == {words.end, words.eos}
    assert (plain.get_output_embeddings().weight is plain.get_input_embeddings().weight) == tied
    tokenizer = AutoTokenizer.from_pretrained(str(out))
    assert tokenizer.pad_token_id == words.pad
    assert vocabulary.read(out).sha256 == words.sha256


def test_the_next_stage_begins_with_the_merged_model_and_its_adapter_finds_it(tmp_path: Path) -> None:
    model, words, new = prepared("qwen3", tmp_path)
    adapted = adapters.adapt(model, Lora(rank=2), new)
    with torch.no_grad():
        for p in adapted.parameters():
            if p.requires_grad:
                p.add_(0.1)
    first = run_of(adapted, words, tmp_path / "first")
    ids = torch.arange(20).reshape(2, 10)
    expected = said(adapted, ids)
    model = models.load(first / "model", vocabulary.read(first / "model"), dropout=None, quantize="none", precision="fp32")
    assert (said(model, ids) - expected).abs().max() <= 1e-4 * expected.abs().max()
    assert all(p.requires_grad for p in model.parameters())  # the next stage may be one without an adapter
    again = adapters.adapt(model, Lora(rank=2))
    with torch.no_grad():
        for p in again.parameters():
            if p.requires_grad:
                p.add_(0.1)
    expected = said(again, ids)
    second = run_of(again, words, tmp_path / "second")
    out = adapters.merge(second, tmp_path / "out")
    model = models.load(out, vocabulary.read(out), dropout=None, quantize="none", precision="fp32")
    assert (said(model, ids) - expected).abs().max() <= 1e-4 * expected.abs().max()


def test_a_run_without_an_adapter_is_exported_alike(tmp_path: Path) -> None:
    model, words, _ = prepared("gpt2", tmp_path)
    run = run_of(model, words, tmp_path)
    out = adapters.merge(run, tmp_path / "out")
    again = models.load(out, vocabulary.read(out), dropout=None, quantize="none", precision="fp32")
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), again.parameters(), strict=True))
    with pytest.raises(UsageError, match="there is something already"):
        adapters.merge(run, out)
    with pytest.raises(UsageError, match=r"no config\.json"):
        adapters.merge(tmp_path, tmp_path / "elsewhere")


def test_a_merge_that_changes_anything_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model, words, _ = prepared("gpt2", tmp_path)
    run = run_of(adapters.adapt(model, Lora()), words, tmp_path)
    monkeypatch.setattr(adapters, "_TOLERANCE", -1.0)
    with pytest.raises(DataError, match="merging changes the logits"):
        adapters.merge(run, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_targets_are_checked(tmp_path: Path) -> None:
    model, _, _ = prepared("gpt2", tmp_path)
    with pytest.raises(UsageError, match=r"lora.targets: q_proj is not in this gpt2 model.*it has .*c_attn"):
        adapters.adapt(model, Lora(targets=("q_proj",)))
    model, _, _ = prepared("bloom", tmp_path / "bloom")
    names = [name for name, p in adapters.adapt(model, Lora(targets=("all-linear",))).named_parameters() if p.requires_grad]
    assert any("dense_h_to_4h" in name for name in names)


@pytest.mark.parametrize(
    "change",
    [
        lambda told: told | {"peft_type": "IA3"},
        lambda told: told | {"base_model_name_or_path": None},
        lambda told: told | {"base_model_name_or_path": "/nowhere/at/all"},
        lambda told: told | {"r": 3},
        lambda told: {"peft_type": "LORA", "base_model_name_or_path": told["base_model_name_or_path"], "r": "many"},
    ],
)
def test_broken_adapters_are_errors(change, tmp_path: Path) -> None:
    model, words, new = prepared("llama", tmp_path)
    run = run_of(adapters.adapt(model, Lora(rank=2), new), words, tmp_path)
    path = run / "model" / "adapter_config.json"
    path.write_text(json.dumps(change(json.loads(path.read_text()))))
    with pytest.raises(CorpusError):
        adapters.merge(run, tmp_path / "out")
    assert not (tmp_path / "out").exists()
