"""What the trainer's tests share: one thread, so that tiny models are not slowed down by waking others, and sums are the same each time."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from unittest.mock import patch

import pytest


@pytest.fixture(autouse=True, scope="session")
def one_thread() -> None:
    """Sets torch to a single thread."""
    import torch

    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def quick() -> Iterator[None]:
    """No pictures, and nothing for the collector to look through again: together most of the time of a tiny run."""
    from transformers.models.gpt2 import modeling_gpt2  # noqa: F401
    from trl import SFTConfig, SFTTrainer  # noqa: F401

    from trainer import hf, kernels  # noqa: F401

    gc.collect()
    gc.freeze()
    with patch("trainer.plots.draw"):
        yield
    gc.unfreeze()
