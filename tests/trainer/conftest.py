"""What the trainer's tests share: one thread, so that tiny models are not slowed down by waking others, and sums are the same each time."""

from __future__ import annotations

import pytest


@pytest.fixture(autouse=True, scope="session")
def one_thread() -> None:
    """Sets torch to a single thread."""
    import torch

    torch.set_num_threads(1)
