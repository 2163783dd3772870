"""A tiny random model of every architecture, as transformers builds it from its configuration."""

from __future__ import annotations

from typing import Any

SIZE = 97
CAUSAL = ("bloom", "gpt2", "gpt_neo", "gpt_neox", "gptj", "llama", "opt", "qwen2", "qwen3")
ALL = (*CAUSAL, "t5")


def model(kind: str, *, size: int = SIZE, seed: int = 0, **more: Any) -> Any:
    """A model with two layers of width 16, without dropout, in evaluation mode.

    Args:
        kind: `config.model_type`.
        size: ids.
        seed: of its weights.
        more: of the configuration.
    """
    import torch
    import transformers

    usual = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 24, "max_position_embeddings": 64}
    grouped = {**usual, "num_key_value_heads": 1}
    own: dict[str, Any] = {
        "bloom": {"hidden_size": 16, "n_layer": 2, "n_head": 2},
        "gpt2": {"n_embd": 16, "n_layer": 2, "n_head": 2, "n_positions": 64},
        "gpt_neo": {
            "hidden_size": 16, "num_layers": 2, "num_heads": 2, "intermediate_size": 24, "max_position_embeddings": 64,
            "attention_types": [[["global", "local"], 1]], "window_size": 4,
        },
        "gpt_neox": usual, "gptj": {"n_embd": 16, "n_layer": 2, "n_head": 2, "n_positions": 64, "rotary_dim": 4}, "llama": grouped,
        "opt": {**usual, "ffn_dim": 24, "word_embed_proj_dim": 8}, "qwen2": {**grouped, "tie_word_embeddings": True},
        "qwen3": {**grouped, "head_dim": 8}, "gemma2": {**grouped, "head_dim": 8}, "granite": {**grouped, "logits_scaling": 2.0},
        "cohere": grouped, "mistral": grouped,
        "t5": {"d_model": 16, "d_kv": 8, "d_ff": 24, "num_layers": 2, "num_heads": 2, "decoder_start_token_id": 0},
    }[kind]  # fmt: skip
    ids = {"bos_token_id": 1, "eos_token_id": 1, "pad_token_id": 0, "vocab_size": size}
    config = transformers.AutoConfig.for_model(kind, **{**ids, **own, **more})
    for name in (
        "attention_dropout",
        "hidden_dropout",
        "dropout",
        "attn_pdrop",
        "embd_pdrop",
        "resid_pdrop",
        "embed_dropout",
        "dropout_rate",
    ):
        if hasattr(config, name):
            setattr(config, name, 0.0)
    torch.manual_seed(seed)
    made = transformers.AutoModelForSeq2SeqLM if config.is_encoder_decoder else transformers.AutoModelForCausalLM
    model = made.from_config(config).eval()
    with torch.no_grad():  # norms and biases that are ones and zeros would hide what is done to them, and small logits a cap
        for weight in model.parameters():
            weight.add_(torch.randn_like(weight) * 0.2)
    return model
