"""Models: built the same each time, loaded with nothing missing, grown without surprises, frozen as asked."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from corpus.errors import DataError, UsageError
from corpus.splits.templates import TEMPLATES
from tests.trainer import small
from tests.trainer.small import KINDS, small_model
from trainer import freezing, models, registry, vocabulary

PLAIN, CHATML = TEMPLATES["human-assistant"], TEMPLATES["chatml"]


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """One small checkpoint of each kind, made when it is asked for; read only."""
    root = tmp_path_factory.mktemp("checkpoints")
    return lambda kind: root / kind if (root / kind).is_dir() else small_model(kind, root / kind)


def loaded(folder: Path, template=PLAIN, **more):
    spec = registry.find(str(folder))
    words = vocabulary.fitted(registry.locate(spec), template, folder.parent / f"{folder.name}-{template.name}")
    return models.load(registry.locate(spec), words, **{"dropout": None, "quantize": "none", "precision": "fp32", **more}), words


def logits(model, ids: torch.Tensor) -> torch.Tensor:
    more = {"decoder_input_ids": ids} if models.is_seq2seq(model.config) else {}
    with torch.no_grad():
        return model.eval()(input_ids=ids, attention_mask=torch.ones_like(ids), **more).logits


@pytest.mark.parametrize("kind", KINDS)
def test_a_published_layout_says_what_it_said(kind: str, checkpoints: Callable[[str], Path]) -> None:
    from transformers import AutoModelForCausalLM, AutoModelForSeq2SeqLM

    folder = checkpoints(kind)
    model, words = loaded(folder)
    with models.quiet():
        plain = (AutoModelForSeq2SeqLM if kind == "t5" else AutoModelForCausalLM).from_pretrained(str(folder))
    ids = torch.randint(5, 60, (2, 12), generator=torch.Generator().manual_seed(1))
    rows = plain.get_input_embeddings().weight.shape[0]
    assert torch.allclose(
        logits(model, ids)[..., :rows][..., ~_new(model, words, folder, rows)],
        logits(plain, ids)[..., ~_new(model, words, folder, rows)],
        atol=1e-5,
    )
    assert {p.dtype for p in model.parameters()} == {torch.float32}
    end = model.generation_config
    assert set(end.eos_token_id) == {words.end, words.eos}
    assert (end.pad_token_id, model.config.pad_token_id) == (words.pad, words.pad)
    assert not models.is_seq2seq(model.config) or end.decoder_start_token_id == words.pad
    assert model.config.name_or_path == str(folder)
    assert (models.longest(model.config) is None) == (kind in ("bloom", "t5"))
    assert len(freezing.blocks(model)) == (4 if kind == "t5" else 2)


def _new(model, words, folder: Path, rows: int) -> torch.Tensor:
    mask = torch.zeros(rows, dtype=torch.bool)
    mask[[i for i in models.fresh(folder, words, rows) if i < rows]] = True
    return mask


@pytest.mark.parametrize("kind", ["bloom", "gpt2", "gptj", "llama", "qwen3", "t5"])
def test_new_tokens_begin_as_the_mean_of_those_that_are_known(kind: str, checkpoints: Callable[[str], Path]) -> None:
    folder = checkpoints(kind)
    state = torch.get_rng_state()
    model, words = loaded(folder, CHATML)
    assert torch.equal(state, torch.get_rng_state())
    before = dict(small.written(folder))
    weight = model.get_input_embeddings().weight
    name = next(n for n in before if n.endswith(("word_embeddings.weight", "wte.weight", "embed_tokens.weight", "shared.weight")))
    rows = before[name].shape[0]
    new = models.fresh(folder, words, rows)
    assert {words.pad} | ({words.end} if kind != "qwen3" else set()) <= set(new) | ({words.pad} if kind in ("bloom", "t5") else set())
    known = [i for i in range(words.size) if i not in new]
    assert torch.equal(weight[known], before[name][known])
    assert torch.allclose(weight[list(new)], before[name][known].mean(dim=0).expand(len(new), -1), atol=1e-6)
    assert torch.isfinite(weight).all()
    if words.size <= rows:
        assert weight.shape[0] == rows  # padding stays
    head = model.get_output_embeddings()
    if head.bias is not None:
        bias = before["lm_head.bias"]
        assert torch.allclose(head.bias[list(new)], bias[known].mean().expand(len(new)))
    if kind == "llama":
        assert head.weight is not weight
        assert torch.allclose(head.weight[list(new)], before["lm_head.weight"][known].mean(dim=0).expand(len(new), -1), atol=1e-6)


def test_extended_tokenizers_say_what_their_rows_begin_as(checkpoints: Callable[[str], Path], tmp_path: Path) -> None:
    """`new_embeddings.json` of `corpus tokenizer extend`."""
    base = checkpoints("gpt2")
    source = small.small_tokenizer("gpt2", tmp_path / "extended")
    told = json.loads((source / "tokenizer.json").read_text())
    vocab = told["model"]["vocab"]
    vocab |= {"<|endoftext|>": 300, "newtoken": 301}
    (source / "tokenizer.json").write_text(json.dumps(told))
    (source / "new_embeddings.json").write_text(json.dumps({"rows": 302, "tokens": [{"id": 301, "text": "newtoken", "from": [5, 5, 7]}]}))
    words = vocabulary.fitted(source, PLAIN, tmp_path / "out")
    model = models.load(base, words, dropout=None, quantize="none", precision="fp32")
    before = dict(small.written(base))["wte.weight"]
    assert torch.allclose(model.get_input_embeddings().weight[301], (2 * before[5] + before[7]) / 3)
    (words.folder / "new_embeddings.json").write_text(json.dumps({"tokens": [{"id": 301, "from": [999999]}]}))
    with pytest.raises(DataError, match="corpus tokenizer extend"):
        models.load(base, words, dropout=None, quantize="none", precision="fp32")


def test_rows_that_were_trained_are_not_begun_again(checkpoints: Callable[[str], Path], tmp_path: Path) -> None:
    model, words = loaded(checkpoints("gpt2"))
    with torch.no_grad():
        model.get_input_embeddings().weight[words.end] = 7.0
    with models.quiet():
        model.save_pretrained(str(tmp_path / "model"))
    vocabulary.write(words, tmp_path / "model")
    again = models.load(tmp_path / "model", words, dropout=None, quantize="none", precision="fp32")
    assert (again.get_input_embeddings().weight[words.end] == 7.0).all()


def test_another_models_tokenizer_is_refused(checkpoints: Callable[[str], Path]) -> None:
    _, words = loaded(checkpoints("llama"))
    with pytest.raises(DataError, match="is not the tokenizer of"):
        models.load(checkpoints("gpt2"), words, dropout=None, quantize="none", precision="fp32")


def _single(folder: Path, change: Callable[[dict[str, torch.Tensor]], None]) -> None:
    weights = load_file(folder / "model.safetensors")
    change(weights)
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})


DAMAGES = {
    "missing": (lambda f: _single(f, lambda w: w.pop("model.layers.1.mlp.up_proj.weight")), r"lack model.layers.1.mlp.up_proj.weight"),
    "headless": (lambda f: _single(f, lambda w: w.pop("lm_head.weight")), r"lack lm_head.weight"),
    "shape": (lambda f: _single(f, lambda w: w.update({"model.norm.weight": torch.ones(5)})), r"another shape"),
    "more blocks": (lambda f: _single(f, lambda w: w.update({"model.layers.2.mlp.up_proj.weight": torch.ones(5)})), r"have model.layers.2"),
    "cut": (lambda f: (f / "model.safetensors").write_bytes((f / "model.safetensors").read_bytes()[:-4000]), r"download the model again"),
    "noise": (lambda f: (f / "model.safetensors").write_bytes(b"\xff" * 64), r"download the model again"),
    "none": (lambda f: (f / "model.safetensors").unlink(), r"lacks weights"),
    "no JSON": (lambda f: (f / "config.json").write_text("{"), r"cannot be read as JSON"),
    "another kind": (lambda f: _say(f, model_type="evil"), r"'evil' is no language model of transformers"),
    "code": (lambda f: _say(f, auto_map={"AutoModelForCausalLM": "evil.Model"}), r"auto_map"),
    "quantized": (lambda f: _say(f, quantization_config={"quant_method": "gptq"}), r"are quantized"),
    "no encoder": (lambda f: _say(f, is_encoder_decoder=True), r"is_encoder_decoder is True"),
    "no heads": (lambda f: _say(f, num_attention_heads=0), r"download the model again"),
    "a billion blocks": (lambda f: _say(f, num_hidden_layers=10**9), r"1,000,000,000 is no number of blocks"),
    "blocks below none": (lambda f: _say(f, num_hidden_layers=-1), r"is no number of blocks|is no configuration"),
    "nonsense": (lambda f: _say(f, num_attention_heads="many"), r"download the model again"),
}


def _say(folder: Path, **said: object) -> None:
    told = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(told | said))


@pytest.mark.parametrize("damage", DAMAGES)
def test_damaged_and_hostile_checkpoints_are_named(damage: str, tmp_path: Path) -> None:
    change, expected = DAMAGES[damage]
    folder = small_model("llama", tmp_path / "llama")
    words = vocabulary.fitted(folder, PLAIN, tmp_path / "words")
    (folder / "evil.py").write_text("raise SystemExit('ran')")
    change(folder)
    with pytest.raises((DataError, UsageError), match=expected):
        models.load(folder, words, dropout=None, quantize="none", precision="fp32")


def test_pickles_are_read_as_weights_alone(tmp_path: Path) -> None:
    import pickle

    folder = small_model("opt", tmp_path / "opt")
    words = vocabulary.fitted(folder, PLAIN, tmp_path / "words")

    class Evil:
        def __reduce__(self):
            return (Path(tmp_path / "ran").touch, ())

    (folder / "pytorch_model.bin").write_bytes(pickle.dumps({"a": Evil()}))
    with pytest.raises(DataError, match="download the model again"):
        models.load(folder, words, dropout=None, quantize="none", precision="fp32")
    assert not (tmp_path / "ran").exists()


def test_attention_is_not_what_a_configuration_asks_for(tmp_path: Path) -> None:
    folder = small_model("llama", tmp_path / "llama")
    _say(folder, attn_implementation="someone/kernel", _attn_implementation="someone/kernel")
    model, _ = loaded(folder)
    assert model.config._attn_implementation == "sdpa"


def test_settings_reach_the_model(checkpoints: Callable[[str], Path]) -> None:
    model, _ = loaded(checkpoints("gpt2"), dropout=0.25)
    assert {m.p for m in model.modules() if isinstance(m, torch.nn.Dropout)} == {0.25}
    model, _ = loaded(checkpoints("t5"), dropout=0.0)
    assert {m.p for m in model.modules() if isinstance(m, torch.nn.Dropout)} == {0.0}
    frozen, _ = loaded(checkpoints("gpt2"), precision="bf16", frozen=True)
    assert {p.dtype for p in frozen.parameters()} == {torch.bfloat16}
    if not torch.cuda.is_available():
        with pytest.raises(UsageError, match="nf4 needs a CUDA device"):
            loaded(checkpoints("gpt2"), quantize="nf4")


@pytest.mark.parametrize("name", ["tiny", "tiny-t5"])
def test_building_is_repeatable_and_draws_nothing_of_others(name: str, tmp_path: Path) -> None:
    words = vocabulary.own(small.own_tokenizer(tmp_path / "own"), PLAIN)
    torch.manual_seed(3)
    random.seed(3)
    np.random.seed(3)
    states = torch.get_rng_state(), random.getstate(), np.random.get_state()[1].tolist()
    spec = registry.find(name)
    first = models.build(spec, words, max_length=64, dropout=None, seed=5)
    assert torch.equal(states[0], torch.get_rng_state())
    assert (states[1], states[2]) == (random.getstate(), np.random.get_state()[1].tolist())
    torch.manual_seed(99)
    second = models.build(spec, words, max_length=64, dropout=None, seed=5)
    third = models.build(spec, words, max_length=64, dropout=None, seed=6)
    same = [torch.equal(a, b) for a, b in zip(first.parameters(), second.parameters(), strict=True)]
    assert all(same)
    assert not all(torch.equal(a, b) for a, b in zip(first.parameters(), third.parameters(), strict=True))
    assert first.config.vocab_size == 320  # 300 tokens
    assert set(first.generation_config.eos_token_id) == {words.end}
    assert first.config.pad_token_id == words.pad
    with pytest.raises(UsageError, match="loaded and not built"):
        models.build(registry.find("gpt2"), words, max_length=64, dropout=None, seed=5)


def test_tiny_models_are_tiny(tmp_path: Path) -> None:
    words = vocabulary.own(small.own_tokenizer(tmp_path / "own"), PLAIN)
    from dataclasses import replace

    for name, low, high in (("tiny", 1.4e6, 2.1e6), ("tiny-t5", 1.4e6, 2.1e6)):
        model = models.build(registry.find(name), replace(words, size=4096), max_length=64, dropout=None, seed=5)
        assert low < freezing.counts(model)[0] < high
        assert model.get_output_embeddings().weight is model.get_input_embeddings().weight


def test_chatlms_fine_tuning_trains_its_decoder_alone(checkpoints: Callable[[str], Path]) -> None:
    model, _ = loaded(checkpoints("t5"))
    frozen = freezing.freeze(model, ("shared", "encoder.*"), 0.0)
    assert "shared.weight" in frozen
    trained = [name for name, p in model.named_parameters() if p.requires_grad]
    assert trained
    assert all(name.startswith("decoder.") for name in trained)
    model, _ = loaded(checkpoints("t5"))
    assert "shared.weight" not in freezing.freeze(model, ("encoder.*",), 0.0)
    assert freezing.freeze(model, ("lm_head",), 0.0).count("shared.weight") == 1


@pytest.mark.parametrize("kind", KINDS)
def test_the_lower_half_is_embeddings_and_the_lower_blocks(kind: str, checkpoints: Callable[[str], Path]) -> None:
    model, _ = loaded(checkpoints(kind))
    frozen = set(freezing.freeze(model, (), 0.5))
    assert frozen == {name for name, p in model.named_parameters() if not p.requires_grad}
    embedding = model.get_input_embeddings().weight
    assert not embedding.requires_grad
    found = freezing.blocks(model)
    half = len(found) // 2
    assert not any(p.requires_grad for block in found[:half] for p in block.parameters())
    assert all(p.requires_grad for block in found[half:] for p in block.parameters())
    total, trained = freezing.counts(model)
    assert trained == sum(p.numel() for p in model.parameters() if p.requires_grad) < total


def test_freezing_says_what_it_cannot(checkpoints: Callable[[str], Path]) -> None:
    model, _ = loaded(checkpoints("gpt2"))
    with pytest.raises(UsageError, match=r"'transformer.x' matches nothing .*there are .*transformer.h"):
        freezing.freeze(model, ("transformer.x",), 0.0)
    with pytest.raises(UsageError, match="leaves nothing"):
        freezing.freeze(model, ("*",), 0.0)
    assert all(p.requires_grad for p in model.parameters())
    assert freezing.freeze(model, ("transformer.h.0",), 0.0) == [n for n, _ in model.named_parameters() if n.startswith("transformer.h.0.")]
