"""Texts for the tests of tokenizers."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import polars as pl
import pytest

ALPHABET = (
    [*"  \n\r\t'’sStTlLvVeErRdDmM" "abc中文々〇⼀123４.,!?，。—=éè" "\u0301\u200d\ufe0f\u00a0\u3000\x85\u2028" "👍🏽❤かなह", "हिन्", "𠮷", "𰻝"]
    + ["'ll", "'re", "  ", "\r\n", "</s>", "<|im_end|>", "１２３", "\x00", "\ufeff", "\U0010fffd"]
)
"""What pre-tokenizers and tokenizers stumble over."""


@pytest.fixture(scope="session")
def sentences() -> Callable[[int, int], list[str]]:
    """`sentences(n, seed)`: n texts of Chinese and English words that repeat as words do, with numbers, code and line breaks between."""

    def make(n: int, seed: int) -> list[str]:
        rng = np.random.default_rng(seed)
        han = [chr(c) for c in range(0x4E00, 0x4E00 + 300)]
        chinese = ["".join(rng.choice(han, rng.integers(1, 4))) for _ in range(400)]
        english = ["".join(rng.choice(list("etaoinshrdlu"), rng.integers(2, 8))) for _ in range(400)]
        weights = 1 / np.arange(1, 401)
        weights /= weights.sum()
        out = []
        for _ in range(n):
            parts: list[str] = []
            for _ in range(rng.integers(1, 12)):
                kind = rng.integers(0, 6)
                if kind < 3:
                    parts += [*rng.choice(chinese, rng.integers(1, 8), p=weights), str(rng.choice(list("，。！？：\n")))]
                elif kind < 5:
                    parts.append(" ".join(rng.choice(english, rng.integers(1, 8), p=weights)) + str(rng.choice([". ", ", ", "\n\n", "'s "])))
                else:
                    parts.append(str(rng.integers(0, 100000)) + "\n    return x\n")
            out.append("".join(parts))
        return out

    return make


@pytest.fixture(scope="session")
def columns() -> Callable[[list[str]], list[pl.Series]]:
    """Texts as columns of ten."""
    return lambda texts: [pl.Series(texts[i : i + 10], dtype=pl.String) for i in range(0, len(texts), 10)]
