"""What the cores deliver: a loop that needs nothing but a processor, in one process and in two at once.

Two workers can be twice as fast as one only where this says so. On shared machines it often does not, and then no figure of two workers
says much about the program.
"""

from __future__ import annotations

import multiprocessing
import time
from typing import Any

_ROUNDS = 20_000_000


def loop(rounds: int = _ROUNDS) -> float:
    """Seconds of wall time for the loop."""
    began = time.perf_counter()
    n = 1
    for _ in range(rounds):
        n = n * 1103515245 + 12345 & 0x7FFFFFFF
    return time.perf_counter() - began


def run(times: int) -> dict[str, Any]:
    """The best times of one process alone, and of the slower of two at once."""
    with multiprocessing.get_context("spawn").Pool(2) as pool:
        pool.map(loop, [1000] * 2)
        alone = min(pool.apply(loop) for _ in range(times))
        both = min(max(pool.map(loop, [_ROUNDS] * 2, chunksize=1)) for _ in range(times))
    return {"alone": alone, "both": both, "cores": 2 * alone / both}


def show(found: dict[str, Any]) -> str:
    """The result as a sentence."""
    return f"Two processes at once do the work of {found['cores']:.2f} (1.00 would be one core, 2.00 two)."
