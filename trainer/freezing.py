"""Which weights stay: by name, or the lower share of the blocks."""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from corpus.errors import UsageError, nearest

if TYPE_CHECKING:
    from torch import nn
    from transformers import PreTrainedModel

_FRONT = ("wpe", "embed_positions", "word_embeddings_layernorm", "project_in")
"""Modules between a token and the first block, beside its embedding: GPT-2's, OPT's, BLOOM's."""


def freeze(model: PreTrainedModel, patterns: tuple[str, ...], bottom: float) -> list[str]:
    """Keeps weights from being trained.

    A weight that has several names (tied embeddings) goes by the first, so `encoder.*` leaves T5's shared embeddings alone and `shared`
    means them; a pattern that matches nothing else may mean another of its names (`lm_head`).

    Args:
        model: its parameters' requires_grad is set.
        patterns: names of modules or parameters, with * and ?: `shared`, `encoder.*`, `transformer.h.0`.
        bottom: the share of the blocks, in the order in which they are passed, that stays, with the embeddings before them; an encoder's
            blocks come before its decoder's. Rounded to whole blocks.

    Returns:
        Names of all parameters that stay.

    Raises:
        UsageError: when a pattern matches nothing, or nothing is left to be trained.
    """
    first = {id(p): name for name, p in model.named_parameters()}
    names = list(first.values())
    aliases = [(name, first[id(p)]) for name, p in model.named_parameters(remove_duplicate=False)]
    chosen: set[str] = set()
    for pattern in patterns:
        found = {name for name in names if _matches(name, pattern)} or {own for name, own in aliases if _matches(name, pattern)}
        if not found:
            parts = {".".join(name.split(".")[:depth]) for name in names for depth in (1, 2, 3)}
            shown = ", ".join(sorted(name for name in parts if name.count(".") < 2 and not name.endswith((".weight", ".bias")))[:12])
            raise UsageError(f"freeze: {pattern!r} matches nothing of the model{nearest(pattern, parts)}; there are {shown}")
        chosen |= found
    if bottom > 0:
        chosen |= {first[id(p)] for p in _lower(model, bottom)}
    if len(chosen) == len(names):
        raise UsageError("freeze leaves nothing to be trained; freeze less")
    for name, parameter in model.named_parameters():
        if name in chosen:
            parameter.requires_grad_(False)
    return [name for name in names if name in chosen]


def counts(model: nn.Module) -> tuple[int, int]:
    """Parameters of a model, and those of them that are trained; tied ones once."""
    sizes = [(_size(p), p.requires_grad) for p in model.parameters()]
    return sum(size for size, _ in sizes), sum(size for size, trained in sizes if trained)


def blocks(model: PreTrainedModel) -> list[nn.Module]:
    """A model's blocks, in the order in which they are passed.

    Raises:
        UsageError: when none are found.
    """
    from torch import nn

    held = [(name, module) for name, module in model.named_modules() if isinstance(module, nn.ModuleList) and len(module)]
    # Lists within blocks (T5's layers of a block) are not stacks.
    stacks = [module for name, module in held if not any(name.startswith(other + ".") for other, _ in held)]
    if not stacks:
        raise UsageError(f"freeze_bottom: no blocks are found in {type(model).__name__}; freeze by names instead")
    return [block for stack in stacks for block in stack]


def _lower(model: PreTrainedModel, bottom: float) -> list[nn.Parameter]:
    found = blocks(model)
    lower: list[nn.Module] = [model.get_input_embeddings(), *found[: round(bottom * len(found))]]
    lower += [module for name, module in model.named_modules() if name.rpartition(".")[2] in _FRONT]
    return [p for module in lower for p in module.parameters()]


def _matches(name: str, pattern: str) -> bool:
    parts = name.split(".")
    return any(fnmatchcase(".".join(parts[:depth]), pattern) for depth in range(1, len(parts) + 1))


def _size(parameter: nn.Parameter) -> int:
    """Numbers in a parameter; those of four bits lie two in a byte."""
    state = getattr(parameter, "quant_state", None)
    return int(state.shape.numel()) if state is not None else parameter.numel()
