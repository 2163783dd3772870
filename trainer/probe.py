"""Looked at before hours are spent: whether packed rows see one another, whether labels are what they should be, and what ids stand for."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import nn

APART = 1e-4
"""Packing is right where logits differ by less. In float32, isolated rows differ by some 1e-7 and Bloom's by 1e-2 and more."""

_LENGTHS = (9, 1, 14)
"""Tokens of the sequences that are packed; one of a single token, the hardest to tell from its neighbours by its positions."""


def isolation(model: nn.Module, size: int) -> float:
    """The largest difference of logits between random sequences that are packed behind one another and the same apart.

    A packed batch is one row with `position_ids` that begin again, without attention mask and cache: only then does transformers (5.23,
    `masking_utils._preprocess_mask_arguments`) keep the sequences apart. Bloom takes no position ids, so every sequence reads all that
    stand before it, without a word of warning. Mode and random state of the model are left as they are.

    Args:
        model: a model of transformers, wrapped or not.
        size: ids to draw from, from 0.

    Returns:
        The difference; infinite for models that cannot read a packed row: encoder-decoders, and those that refuse position ids.
    """
    import torch

    from trainer.losses import evaluated

    config = getattr(model, "config", None) or model.module.config
    if config.is_encoder_decoder:
        return float("inf")
    device = next(model.parameters()).device
    drawn = torch.Generator().manual_seed(0)
    apart = [torch.randint(size, (1, length), generator=drawn).to(device) for length in _LENGTHS]
    positions = torch.cat([torch.arange(length) for length in _LENGTHS])[None].to(device)
    with torch.no_grad(), evaluated(model):
        try:
            packed = model(input_ids=torch.cat(apart, dim=1), position_ids=positions, use_cache=False)["logits"][0]
        except TypeError:
            return float("inf")
        alone = torch.cat([model(input_ids=ids, use_cache=False)["logits"][0] for ids in apart])
    return float((packed.double() - alone.double()).abs().max())
