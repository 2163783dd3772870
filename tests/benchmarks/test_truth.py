"""The exact join against brute force on Python sets."""

from __future__ import annotations

import random

import numpy as np
import pytest

from benchmarks.dedup.join import WIDTH, components, exact_pairs, first_come
from benchmarks.dedup.truth import bare, fold, tables


def shingles(text: str) -> set[str]:
    return {text[i : i + WIDTH] for i in range(len(text) - WIDTH + 1)} if len(text) >= WIDTH else {text}


def brute(texts: list[str], threshold: float) -> dict[tuple[int, int], float]:
    sets = [shingles(text) for text in texts]
    similar = {(a, b): len(sets[a] & sets[b]) / len(sets[a] | sets[b]) for b in range(len(sets)) for a in range(b) if sets[a] & sets[b]}
    return {pair: value for pair, value in similar.items() if value >= threshold - 1e-12}


def some(seed: int) -> list[str]:
    """Sixty texts of six characters of one to four bytes, short and empty ones among them, and sixty copies with errors."""
    rng = random.Random(seed)
    base = ["".join(rng.choices("ab你好，𠀀", k=rng.choice((0, 1, 3, 4, 5, 6, 9, 40)))) for _ in range(60)]
    return base + ["".join(c if rng.random() > 0.05 else "x" for c in rng.choice(base)) for _ in range(60)]


@pytest.mark.parametrize("threshold", [0.5, 0.7, 0.8, 0.95, 1.0])
@pytest.mark.parametrize("seed", range(4))
def test_join_finds_what_brute_force_finds(threshold: float, seed: int) -> None:
    texts = some(seed)
    found = exact_pairs(texts, threshold)
    got = {(int(a), int(b)): float(j) for a, b, j in zip(found.left, found.right, found.jaccard, strict=True)}
    wanted = brute(texts, threshold)
    assert len(wanted) > 50
    assert got.keys() == wanted.keys()
    assert all(got[pair] == pytest.approx(wanted[pair], abs=1e-12) for pair in wanted)
    assert found.sizes.tolist() == [len(shingles(text)) for text in texts]


def test_components_are_named_by_their_smallest_row() -> None:
    assert components(7, np.array([5, 2, 0]), np.array([6, 5, 3])).tolist() == [0, 1, 2, 0, 4, 2, 2]


def test_components_of_random_graphs() -> None:
    rng = np.random.default_rng(3)
    for _ in range(50):
        left, right = np.sort(rng.integers(0, 30, (2, 15)), axis=0)
        label = list(range(30))
        for _ in range(30):  # the slow way: the smallest label of any neighbour, until nothing changes
            for a, b in zip(left, right, strict=True):
                label[a] = label[b] = min(label[a], label[b])
        assert components(30, left, right).tolist() == label


def test_first_come_keeps_what_only_a_dropped_row_is_near() -> None:
    assert first_come(4, np.array([1, 0]), np.array([2, 1])).tolist() == [True, False, True, True]


def test_folding() -> None:
    assert fold("Straße\u3000A\n b") == "strasseab"
    assert bare("Ｈi，你好！") == bare("hi, 你好") == "hi你好"


def test_tables_count_two_right_numbers_of_drops() -> None:
    row = "".join(chr(0x4E00 + i) for i in range(100))
    near = row[:-5] + "abcde", row[:-10] + "abcdefghij"  # 0.90 and 0.82 to the row
    pairs, nodes, summary = tables([row, near[0], "x", near[1], row + " "], ["a", "a", "b", "b", "b"])
    assert len(pairs.left) == len(brute([row, *near, row], 0.7))
    assert nodes["component_80"].to_list() == [0, 0, 2, 0, 0]
    assert nodes["same_text"].to_list() == [0, 1, 2, 3, 4]
    assert nodes["same_fold"].to_list() == [0, 1, 2, 3, 0]
    assert summary["equal_folded_rows"] == 1
    assert summary["levels"]["0.8"]["drop_first_come"] == summary["levels"]["0.8"]["drop_closure"] == 3
