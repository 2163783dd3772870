"""Merges against the straight way, and against the library."""

from __future__ import annotations

from collections import Counter as Tally

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from corpus.tokenizer.merges import learn


def straight(pieces: list[list[int]], weights: list[int], texts: list[bytes], room: int, least: int, longest: int) -> list[tuple[int, int, int, int]]:
    """Counts all pairs anew for every merge."""
    pieces, texts = [list(p) for p in pieces], list(texts)
    known, out, first = {t: i for i, t in enumerate(texts)}, [], len(texts)
    while len(texts) - first < room:
        pairs: Tally[tuple[int, int]] = Tally()
        for piece, weight in zip(pieces, weights, strict=True):
            for pair in zip(piece, piece[1:], strict=False):
                pairs[pair] += weight
        fit = [(-n, pair) for pair, n in pairs.items() if n >= least and len(texts[pair[0]] + texts[pair[1]]) <= longest]
        if not fit:
            break
        n, (a, b) = min(fit)
        text = texts[a] + texts[b]
        if text not in known:
            known[text] = len(texts)
            texts.append(text)
        c = known[text]
        out.append((a, b, c, -n))
        for piece in pieces:
            i = 0
            while i + 1 < len(piece):
                if piece[i] == a and piece[i + 1] == b:
                    piece[i : i + 2] = [c]
                i += 1
    return out


def learnt(pieces: list[list[int]], weights: list[int], texts: list[bytes], room: int, least: int, longest: int) -> list[tuple[int, int, int, int]]:
    symbols = np.array([s for p in pieces for s in p], dtype=np.int32)
    offsets = np.cumsum([0, *map(len, pieces)], dtype=np.int64)
    found = learn(symbols, offsets, np.array(weights, dtype=np.int64), texts, room, least=least, longest=longest)
    return list(zip(found.left.tolist(), found.right.tolist(), found.made.tolist(), found.counts.tolist(), strict=True))


_pieces = st.lists(st.tuples(st.lists(st.integers(0, 3), min_size=1, max_size=14), st.integers(1, 50)), min_size=1, max_size=25)


@settings(max_examples=400)
@given(_pieces, st.integers(1, 60), st.sampled_from([1, 2, 7]), st.sampled_from([3, 5, 100]))
def test_merges_are_those_of_the_straight_way(pieces: list[tuple[list[int], int]], room: int, least: int, longest: int) -> None:
    given_ = ([p for p, _ in pieces], [w for _, w in pieces], [b"a", b"b", b"c", b"d"], room, least, longest)
    assert learnt(*given_) == straight(*given_)


@given(_pieces, st.integers(1, 30))
def test_symbols_that_spell_alike_are_one(pieces: list[tuple[list[int], int]], room: int) -> None:
    """`ab` is there from the beginning, so that merging a and b makes no new symbol, and its pairs are counted with those of the old."""
    given_ = ([p for p, _ in pieces], [w for _, w in pieces], [b"a", b"b", b"ab", b"ba"], room, 1, 100)
    assert learnt(*given_) == straight(*given_)


@pytest.mark.parametrize("run", range(3, 20))
def test_runs_of_one_symbol(run: int) -> None:
    given_ = ([[0] * run, [1, 0, 0, 0]], [3, 2], [b"a", b"b"], 20, 1, 100)
    assert learnt(*given_) == straight(*given_)


def test_many_pairs_below_the_first_bound() -> None:
    """More pairs than there is room for, so that the bound is lowered several times."""
    rng = np.random.default_rng(5)
    pieces = [rng.integers(0, 40, rng.integers(2, 9)).tolist() for _ in range(1500)]
    weights = (rng.pareto(0.7, 1500) * 20 + 1).astype(int).tolist()
    texts = [bytes([65 + i]) for i in range(40)]
    given_ = (pieces, weights, texts, 250, 1, 100)
    assert learnt(*given_) == straight(*given_)


def test_nothing_to_merge() -> None:
    assert learnt([[0], [1]], [5, 5], [b"a", b"b"], 10, 1, 100) == []
    assert learnt([], [], [b"a"], 10, 1, 100) == []
    assert learnt([[0, 1]], [5], [b"a", b"b"], 0, 1, 100) == []
