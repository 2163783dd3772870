"""Byte-pair merges, learnt from counted pieces.

Where the time and the memory of training go: the library's trainer needs 68 s and 2.3 GB for 50 MB of Chinese and English, because it
keeps 32 bytes for every byte of every distinct piece.

A symbol is a number; what it stands for is known by a hash made of the hashes of its parts, so that two ways to one text give one
symbol. Ties are settled by the numbers of the pair, lowest first, as the library settles them: the same pieces give the same merges.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, slots=True)
class Merges:
    """m merges in the order in which they are learnt, and applied.

    Attributes:
        left: first symbol (int32[m]).
        right: second symbol (int32[m]).
        made: the symbol that they become (int32[m]): a new one, numbered on from those that there were, or one that was there already.
        counts: how often the pair stood in the text when it was merged (int64[m]).
    """

    left: np.ndarray
    right: np.ndarray
    made: np.ndarray
    counts: np.ndarray


def learn(symbols: np.ndarray, offsets: np.ndarray, weights: np.ndarray, hashes: np.ndarray, room: int, least: int = 2) -> Merges:
    """Learns merges from pieces of text.

    Args:
        symbols: of all pieces, one piece after another (int32[s]).
        offsets: which symbols each piece has (int64[pieces + 1]).
        weights: how often each piece occurs (int64[pieces]).
        hashes: of each symbol that there is (uint64[2, k]: hash and multiplier, see `hashed`).
        room: how many new symbols there may be.
        least: pairs that occur less often are not merged.
    """
    raise NotImplementedError


def hashed(texts: list[bytes]) -> np.ndarray:
    """The hashes of symbols, as `learn` wants them (uint64[2, k]).

    Args:
        texts: what each symbol stands for.
    """
    raise NotImplementedError
