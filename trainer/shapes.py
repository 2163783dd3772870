"""Shapes of models that are trained from scratch, and which names each architecture has for them.

A shape is what recipes and models.yaml say: `{type: qwen3, layers: 4, d_model: 128, d_ff: 512, heads: 4}`. Every architecture of
transformers calls the same things otherwise; what is not said stays as its configuration has it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field, field_validator, model_validator

from corpus.errors import nearest
from corpus.recipe_base import Model

if TYPE_CHECKING:
    from transformers import PretrainedConfig

Whole = Annotated[int, Field(ge=1, le=1 << 20)]


@dataclass(frozen=True, slots=True)
class Names:
    """What an architecture's configuration calls the parts of a shape; None where it has no choice."""

    layers: str
    d_model: str
    heads: str
    d_ff: str | None
    length: str | None = "max_position_embeddings"
    kv_heads: str | None = None
    head_dim: str | None = None


_LLAMA = Names(
    "num_hidden_layers", "hidden_size", "num_attention_heads", "intermediate_size", kv_heads="num_key_value_heads", head_dim="head_dim"
)
_GPT = Names("n_layer", "n_embd", "n_head", "n_inner", "n_positions")
TYPES: dict[str, Names] = {
    "bloom": Names("n_layer", "hidden_size", "n_head", None, None),
    "gpt2": _GPT,
    "gptj": _GPT,
    "gpt_neo": Names("num_layers", "hidden_size", "num_heads", "intermediate_size"),
    "gpt_neox": Names("num_hidden_layers", "hidden_size", "num_attention_heads", "intermediate_size"),
    "llama": _LLAMA,
    "opt": Names("num_hidden_layers", "hidden_size", "num_attention_heads", "ffn_dim"),
    "qwen2": Names("num_hidden_layers", "hidden_size", "num_attention_heads", "intermediate_size", kv_heads="num_key_value_heads"),
    "qwen3": _LLAMA,
    "t5": Names("num_layers", "d_model", "num_heads", "d_ff", None, head_dim="d_kv"),
}
"""Architectures that can be built."""


class Shape(Model):
    """A model's shape.

    Attributes:
        type: its architecture, as transformers' `model_type`.
        layers: blocks; of an encoder-decoder in each half.
        d_model: width.
        d_ff: width within the feed-forward parts; by default the architecture's own.
        heads: of attention.
        kv_heads: of keys and values, where several heads share them; by default as many.
        head_dim: width of a head; by default d_model / heads.
        tied: whether the output has the input's embeddings; by default as the architecture says.
        gated: T5 only: gated GELU (T5 v1.1, mT5) in place of ReLU (T5, ChatLM), for half as many parameters more in feed-forward parts.
        spread: standard deviation of the weights at the beginning; by default the architecture's, which is 0.02 for most and meant for
            widths of a thousand and more. A model of width 192 that begins with 0.1 has learnt the sample's conversations to a loss of
            0.5 where one that begins with 0.02 is at 5.9.
    """

    type: str
    layers: Whole
    d_model: Whole
    d_ff: Whole | None = None
    heads: Whole
    kv_heads: Whole | None = None
    head_dim: Whole | None = None
    tied: bool | None = None
    gated: bool = False
    spread: Annotated[float, Field(gt=0, le=1)] | None = None

    @field_validator("type")
    @classmethod
    def _known(cls, value: str) -> str:
        if value not in TYPES:
            raise ValueError(f"there is no architecture {value!r}{nearest(value, TYPES)}; known are {', '.join(TYPES)}")
        return value

    @model_validator(mode="after")
    def _fit(self) -> Shape:
        names = TYPES[self.type]
        for key in ("d_ff", "kv_heads", "head_dim"):
            if getattr(self, key) is not None and getattr(names, key) is None:
                raise ValueError(f"{self.type} has no {key} to choose; leave it out")
        if self.head_dim is None and self.d_model % self.heads:
            raise ValueError(f"d_model {self.d_model} is not a multiple of heads {self.heads}")
        if self.heads % (self.kv_heads or self.heads):
            raise ValueError(f"heads {self.heads} is not a multiple of kv_heads {self.kv_heads}")
        if self.tied is not None and self.type == "t5":
            raise ValueError("t5 always has its output tied to the embeddings; leave tied out")
        if self.spread is not None and self.type == "t5":
            raise ValueError("t5 draws each of its weights with a spread of its own; leave spread out")
        if self.gated and self.type != "t5":
            raise ValueError(f"gated is T5's; {self.type} has its own feed-forward parts")
        return self


def configuration(shape: Shape, *, max_length: int) -> PretrainedConfig:
    """A shape as a configuration of transformers.

    Args:
        shape: the shape.
        max_length: tokens of a sample; positions are made for at least 2,048.
    """
    from transformers import AutoConfig

    names = TYPES[shape.type]
    width = shape.head_dim or shape.d_model // shape.heads
    said: dict[str, Any] = {names.layers: shape.layers, names.d_model: shape.d_model, names.heads: shape.heads}
    if names.d_ff and shape.d_ff:
        said[names.d_ff] = shape.d_ff
    if names.kv_heads:
        said[names.kv_heads] = shape.kv_heads or shape.heads
    if names.head_dim:
        said[names.head_dim] = width
    if names.length:
        said[names.length] = max(2048, max_length)
    match shape.type:
        case "gpt_neo":  # global and local attention by turns, as all published ones
            said["attention_types"] = [[["global", "local"], (shape.layers + 1) // 2]]
            if shape.layers % 2:
                said["attention_types"] = [[["global", "local"], shape.layers // 2], [["global"], 1]]
        case "gptj":
            said["rotary_dim"] = min(64, width // 2 * 2)
        case "opt":
            said["word_embed_proj_dim"] = shape.d_model
        case "t5":
            said |= {"num_decoder_layers": shape.layers, "feed_forward_proj": "gated-gelu" if shape.gated else "relu"}
    if shape.spread is not None:
        said["init_std" if shape.type == "opt" else "initializer_range"] = shape.spread
    if shape.tied is not None:
        said["tie_word_embeddings"] = shape.tied
    return AutoConfig.for_model(shape.type, **said)
