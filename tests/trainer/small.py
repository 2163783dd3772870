"""Small random checkpoints of each architecture, laid out as the published ones are: names of weights, tokenizer files, padding rows, ids.

`small_model(kind, folder)` writes one. Widths are 32, blocks 2 and vocabularies some 300, so that loading one takes milliseconds.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

TEXTS = (
    "Human: What is the capital of France?\n\nAssistant: The capital of France is Paris.",
    "Human: 请用一句话解释这个成语。\n\nAssistant: 这个成语用来形容人。",
    "Water boils at 100 degrees; ice melts at 0. It's 12345.",
    "def add(a, b):\n    return a + b",
)
KINDS = ("bloom", "gpt2", "opt", "gpt_neo", "gptj", "gpt_neox", "llama", "qwen2", "qwen3", "t5")


def small_tokenizer(kind: str, folder: Path) -> Path:
    """Writes the tokenizer of a checkpoint alone, with a config.json that says as much as is asked of it."""
    folder.mkdir(parents=True, exist_ok=True)
    size, ids = _LAYOUTS[kind].tokenizer(folder)
    told = {"model_type": kind, "vocab_size": size, **{f"{what}_token_id": i for what, i in ids.items()}}
    (folder / "config.json").write_text(json.dumps(told))
    return folder


def own_tokenizer(folder: Path) -> Path:
    """Writes a tokenizer as `corpus tokenizer` does for template human-assistant."""
    from corpus.splits.templates import HUMAN_ASSISTANT
    from corpus.tokenizer.folder import write_folder
    from corpus.tokenizer.spec import Trained
    from corpus.tokenizer.specials import specials

    made = specials(HUMAN_ASSISTANT)
    tokenizer = _byte_level(made.special, ())
    write_folder(folder, Trained(tokenizer), made, HUMAN_ASSISTANT, {"template": HUMAN_ASSISTANT.name})
    return folder


def small_model(kind: str, folder: Path, *, seed: int = 0, tied: bool | None = None) -> Path:
    """Writes a random checkpoint with its tokenizer.

    Args:
        kind: one of `KINDS`.
        folder: where; made if need be.
        seed: of the weights.
        tied: whether input and output embeddings are one; by default as published models of this kind have it.

    Returns:
        `folder`.
    """
    import torch
    from transformers import AutoModelForCausalLM, AutoModelForSeq2SeqLM

    from trainer.shapes import Shape, configuration

    layout = _LAYOUTS[kind]
    folder.mkdir(parents=True, exist_ok=True)
    size, names = layout.tokenizer(folder)
    if tied is None and kind in ("qwen2", "qwen3"):
        tied = True  # their small ones are
    shape = Shape(
        type=kind, layers=2, d_model=32, heads=4, tied=tied, d_ff=None if kind == "bloom" else 64, kv_heads=2 if "qwen" in kind else None
    )
    config = configuration(shape, max_length=128)
    config.vocab_size = size + layout.padded
    for what in ("bos", "eos", "pad", "unk"):
        if what != "unk":
            setattr(config, f"{what}_token_id", names.get(what))
    if kind == "t5":
        config.decoder_start_token_id = names["pad"]
    auto = AutoModelForSeq2SeqLM if kind == "t5" else AutoModelForCausalLM
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = auto.from_config(config, dtype=torch.float32)
        # As they are initialised, all logits are nearly equal; a comparison of such is one of nothing.
        for parameter in model.parameters():
            parameter.data.add_(torch.randn_like(parameter) * 0.05)
    model.save_pretrained(str(folder))
    _rename(folder, layout)
    (folder / "generation_config.json").unlink(missing_ok=True)
    return folder


def _rename(folder: Path, layout: Layout) -> None:
    """Gives weights the names that they have in published files, adds the buffers that lie there, and pickles them where they are pickled."""
    import torch
    from safetensors.torch import load_file, save_file

    path = folder / "model.safetensors"
    weights = {name.removeprefix(layout.prefix): tensor.clone() for name, tensor in load_file(path).items()}
    weights |= {name: torch.ones(1, 1, 4, 4) for name in layout.buffers}
    if layout.pickled:
        torch.save(weights, folder / "pytorch_model.bin")
        path.unlink()
    else:
        save_file(weights, path, metadata={"format": "pt"})


def _byte_level(front: tuple[str, ...], behind: tuple[str, ...], pattern: str | None = None) -> Any:
    """A trained byte-level tokenizer with special tokens in front of the bytes, or behind the merges."""
    from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.BPE())
    level = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=pattern is None)
    tokenizer.pre_tokenizer = (
        level if pattern is None else pre_tokenizers.Sequence([pre_tokenizers.Split(Regex(pattern), "isolated"), level])
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=300, special_tokens=list(front), initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False
    )
    tokenizer.train_from_iterator(TEXTS, trainer)
    tokenizer.add_special_tokens(list(behind))
    return tokenizer


def _beside(folder: Path, tokenizer: Any) -> None:
    """vocab.json and merges.txt."""
    model = json.loads(tokenizer.to_str())["model"]
    (folder / "vocab.json").write_text(json.dumps(model["vocab"], ensure_ascii=False), encoding="utf-8")
    lines = [" ".join(pair) for pair in model["merges"]]
    (folder / "merges.txt").write_text("#version: 0.2\n" + "".join(f"{line}\n" for line in lines), encoding="utf-8")


def _config(folder: Path, **said: Any) -> None:
    (folder / "tokenizer_config.json").write_text(json.dumps(said), encoding="utf-8")


Made = tuple[int, dict[str, int]]
"""How many tokens a tokenizer has, and the ids of its special ones, as config.json tells them."""


def _bloom(folder: Path) -> Made:
    pattern = r" ?[^(\s|[.,!?…。，、।۔،])]+"
    tokenizer = _byte_level(("<unk>", "<s>", "</s>", "<pad>"), (), pattern)
    tokenizer.save(str(folder / "tokenizer.json"))
    _config(
        folder, tokenizer_class="BloomTokenizerFast", unk_token="<unk>", bos_token="<s>", eos_token="</s>", pad_token="<pad>",
        padding_side="left",
    )  # fmt: skip
    return tokenizer.get_vocab_size(), {"bos": 1, "eos": 2, "pad": 3}


def _gpt2(folder: Path) -> Made:
    """GPT-2's configuration of its tokenizer names no special token at all."""
    tokenizer = _byte_level((), ("<|endoftext|>",))
    tokenizer.save(str(folder / "tokenizer.json"))
    _beside(folder, tokenizer)
    _config(folder, model_max_length=1024)
    end = tokenizer.token_to_id("<|endoftext|>")
    return tokenizer.get_vocab_size(), {"bos": end, "eos": end}


def _gpt_neo(folder: Path) -> Made:
    made = _gpt2(folder)
    _config(folder, tokenizer_class="GPT2Tokenizer", unk_token="<|endoftext|>", bos_token="<|endoftext|>", eos_token="<|endoftext|>")
    return made


def _gptj(folder: Path) -> Made:
    size, ids = _gpt_neo(folder)
    from tokenizers import AddedToken, Tokenizer

    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.add_tokens([AddedToken(f"<|extratoken_{i}|>", special=False, normalized=True) for i in (1, 2, 3)])
    tokenizer.save(str(folder / "tokenizer.json"))
    return size + 3, ids


def _gpt_neox(folder: Path) -> Made:
    tokenizer = _byte_level(("<|endoftext|>", "<|padding|>"), ())
    tokenizer.save(str(folder / "tokenizer.json"))
    _config(
        folder, tokenizer_class="GPTNeoXTokenizer", unk_token="<|endoftext|>", bos_token="<|endoftext|>", eos_token="<|endoftext|>",
    )  # fmt: skip
    return tokenizer.get_vocab_size(), {"bos": 0, "eos": 0}


def _opt(folder: Path) -> Made:
    """OPT has vocab.json and merges.txt alone, and its special tokens in front of them."""
    tokenizer = _byte_level(("<s>", "<pad>", "</s>", "<unk>"), ())
    _beside(folder, tokenizer)
    token = {"__type": "AddedToken", "lstrip": False, "normalized": True, "rstrip": False, "single_word": False}
    _config(
        folder, tokenizer_class="GPT2Tokenizer", add_bos_token=True, add_prefix_space=False, errors="replace",
        bos_token={**token, "content": "</s>"}, eos_token={**token, "content": "</s>"}, pad_token={**token, "content": "<pad>"},
        unk_token={**token, "content": "</s>"},
    )  # fmt: skip
    (folder / "special_tokens_map.json").write_text(
        json.dumps({"bos_token": "</s>", "eos_token": "</s>", "unk_token": "</s>", "pad_token": "<pad>"})
    )
    return tokenizer.get_vocab_size(), {"bos": 2, "eos": 2, "pad": 1}


def _llama(folder: Path) -> Made:
    """LLaMA 2's: sentencepiece's pieces with bytes to fall back on, and no padding."""
    from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers

    letters = sorted({c for text in TEXTS[:1] for c in text if c.isalpha()})
    names = ["<unk>", "<s>", "</s>", *(f"<0x{i:02X}>" for i in range(256)), "▁", *letters, "▁t", "▁th", "▁the", "an"]
    merges = [("▁", "t"), ("▁t", "h"), ("▁th", "e"), ("a", "n")]
    model = models.BPE({name: i for i, name in enumerate(names)}, merges, unk_token="<unk>", fuse_unk=True, byte_fallback=True)
    tokenizer = Tokenizer(model)
    tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    tokenizer.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)])
    tokenizer.add_special_tokens([AddedToken(t, normalized=False) for t in ("<unk>", "<s>", "</s>")])
    tokenizer.save(str(folder / "tokenizer.json"))
    token = {"__type": "AddedToken", "lstrip": False, "normalized": False, "rstrip": False, "single_word": False}
    _config(
        folder, tokenizer_class="LlamaTokenizer", add_bos_token=True, add_eos_token=False, legacy=False,
        bos_token={**token, "content": "<s>"}, eos_token={**token, "content": "</s>"}, unk_token={**token, "content": "<unk>"},
        chat_template="{% for m in messages %}[INST] {{ m.content }} [/INST]{% endfor %}",
    )  # fmt: skip
    return len(names), {"bos": 1, "eos": 2}


_QWEN = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"


def _qwen(folder: Path) -> Made:
    """Qwen's: marks of ChatML behind the merges, and padding that is the end."""
    tokenizer = _byte_level((), ("<|endoftext|>", "<|im_start|>", "<|im_end|>"), _QWEN)
    tokenizer.save(str(folder / "tokenizer.json"))
    _beside(folder, tokenizer)
    _config(
        folder, tokenizer_class="Qwen2Tokenizer", eos_token="<|endoftext|>", pad_token="<|endoftext|>", bos_token=None, unk_token=None,
        chat_template="{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}",
    )  # fmt: skip
    return tokenizer.get_vocab_size(), {"eos": tokenizer.token_to_id("<|endoftext|>")}


def _t5(folder: Path) -> Made:
    """T5's: a unigram model of pieces with scores, sentinels behind them."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers

    letters = sorted({c for text in TEXTS for c in text if not c.isspace()})
    pieces = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), ("▁", -2.0), *((c, -4.0) for c in letters), ("▁the", -3.0), ("▁is", -3.0)]
    tokenizer = Tokenizer(models.Unigram(pieces, 2))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="always", split=True)
    tokenizer.decoder = decoders.Metaspace(prepend_scheme="always")
    sentinels = [f"<extra_id_{i}>" for i in (2, 1, 0)]
    tokenizer.add_special_tokens(["<pad>", "</s>", "<unk>", *sentinels])
    tokenizer.save(str(folder / "tokenizer.json"))
    _config(
        folder, tokenizer_class="T5Tokenizer", eos_token="</s>", pad_token="<pad>", unk_token="<unk>", extra_ids=3,
        additional_special_tokens=sentinels[::-1],
    )  # fmt: skip
    return tokenizer.get_vocab_size(), {"eos": 1, "pad": 0}


@dataclass(frozen=True)
class Layout:
    """How published files of a kind look.

    Attributes:
        tokenizer: writes its files.
        prefix: what names of weights lack there.
        buffers: names of old buffers that are there besides.
        padded: rows of embeddings beyond the tokens.
        pickled: whether weights are pytorch_model.bin.
    """

    tokenizer: Callable[[Path], Made]
    prefix: str = ""
    buffers: tuple[str, ...] = ()
    padded: int = 0
    pickled: bool = False


def _each(form: str) -> tuple[str, ...]:
    return tuple(form.format(i) for i in range(2))


_LAYOUTS = {
    "bloom": Layout(_bloom, "transformer.", padded=20),
    "gpt2": Layout(_gpt2, "transformer.", _each("h.{}.attn.bias")),
    "opt": Layout(_opt, pickled=True),
    "gpt_neo": Layout(
        _gpt_neo, "", (*_each("transformer.h.{}.attn.attention.bias"), *_each("transformer.h.{}.attn.attention.masked_bias"))
    ),
    "gptj": Layout(_gptj, "", _each("transformer.h.{}.attn.masked_bias"), padded=5),
    "gpt_neox": Layout(
        _gpt_neox, "", (*_each("gpt_neox.layers.{}.attention.rotary_emb.inv_freq"), *_each("gpt_neox.layers.{}.attention.bias"))
    ),
    "llama": Layout(_llama, "", _each("model.layers.{}.self_attn.rotary_emb.inv_freq")),
    "qwen2": Layout(_qwen, padded=10),
    "qwen3": Layout(_qwen, padded=10),
    "t5": Layout(_t5, padded=2),
}


def written(folder: Path) -> Iterator[tuple[str, Any]]:
    """The weights of a checkpoint in a single file, by name."""
    import torch
    from safetensors.torch import load_file

    pickled = folder / "pytorch_model.bin"
    weights = torch.load(pickled, weights_only=True) if pickled.is_file() else load_file(folder / "model.safetensors")
    yield from sorted(weights.items())
