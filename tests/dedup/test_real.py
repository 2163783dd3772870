"""Real rows: what the bands find, and what the judge says, against all pairs in plain Python."""

from __future__ import annotations

import json
import math
import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from corpus.dedup.bands import components, opened, write
from corpus.dedup.judge import judge, sets
from corpus.dedup.minhash import Scheme, keys, signatures
from corpus.dedup.shingles import shingles
from corpus.dedup.texts import ANSWER, PROMPT
from corpus.dedup.units import Unit
from tests.dedup.reference import Talk, marked_grams, texts_of

pytestmark = [pytest.mark.real, pytest.mark.skipif("DATA_REAL" not in os.environ, reason="DATA_REAL names no folder")]

LONGEST = 3000
"""Characters; longer rows only take time."""
SUBSETS = [("", 2500, 1), ("", 2500, 2), ("chatdoctor_zh", 800, 3), ("pclue", 1500, 4), ("huatuo", 1500, 5), ("belle", 2500, 6)]
"""What the names of files contain, rows, seed."""


def strings(value: Any) -> Iterator[str]:
    """Every string in a record."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list):
        for part in value.values() if isinstance(value, dict) else value:
            yield from strings(part)


def records_of(path: Path) -> Iterator[Any]:
    """The records of a file that is one JSON document, or has one in each line; some lines of some files are broken."""
    text = path.read_text(encoding="utf-8", errors="replace")
    try:
        whole = json.loads(text)
        yield from whole if isinstance(whole, list) else [whole]
    except ValueError:
        for line in text.split("\n"):
            try:
                yield json.loads(line)
            except ValueError:
                continue


@cache
def rows_of(name: str) -> list[Talk]:
    """The records of all JSON files whose name contains `name`: of each its strings, the last of which is an answer."""
    rows: list[Talk] = []
    folder = Path(os.environ["DATA_REAL"])
    for path in sorted(folder.rglob("*.json*")):
        if path.suffix not in (".json", ".jsonl") or name not in path.relative_to(folder).as_posix():
            continue
        for record in records_of(path):
            found = [one.encode("utf-8", "replace").decode() for one in strings(record)]
            if found and sum(map(len, found)) <= LONGEST:
                rows.append([*((one, PROMPT) for one in found[:-1]), (found[-1], ANSWER)])
    return rows


@dataclass(frozen=True)
class Truth:
    """Some rows, their sets of shingles, what is answered in them, and the similarity of any two that share something."""

    rows: list[Talk]
    whole: list[set[Any]]
    answers: list[set[Any]]
    similar: dict[tuple[int, int], float]


@cache
def truth(name: str, many: int, seed: int) -> Truth:
    """A random subset of the rows, and all its pairs; the later row of a pair first."""
    everything = rows_of(name)
    rows = [everything[i] for i in np.random.default_rng(seed).permutation(len(everything))[:many]]
    grams = [marked_grams(row, Unit.MIXED) for row in rows]
    whole = [{gram for gram, _ in row} for row in grams]
    owners: dict[Any, list[int]] = {}
    shared: Counter[tuple[int, int]] = Counter()
    for row, mine in enumerate(whole):
        for gram in mine:
            others = owners.setdefault(gram, [])
            shared.update((row, other) for other in others)
            others.append(row)
    similar = {(row, other): common / (len(whole[row]) + len(whole[other]) - common) for (row, other), common in shared.items()}
    return Truth(rows, whole, [{gram for gram, part in row if part == ANSWER} for row in grams], similar)


@pytest.mark.parametrize("threshold", [0.5, 0.8])
@pytest.mark.parametrize(("name", "many", "seed"), SUBSETS)
def test_real_rows(tmp_path: Path, name: str, many: int, seed: int, threshold: float) -> None:
    known = truth(name, many, seed)
    rows, answers, similar = known.rows, known.answers, known.similar
    assert len(rows) > 500
    scheme = Scheme.of(threshold)

    found = shingles(texts_of(rows), Unit.MIXED)
    keyed = keys(signatures(found.hashes, found.bounds, scheme.values), np.zeros(len(rows), dtype=np.uint8), scheme)
    path = tmp_path / "rows.bands"
    with path.open("wb") as file:
        write(file, keyed, scheme, Unit.MIXED)
    together = components([opened(path)], np.ones(len(rows), dtype=np.bool_))
    judged = judge(sets(found), keyed, np.zeros(len(rows), dtype=np.bool_), threshold, (0.0, threshold))

    # Every pair that was compared has the similarity of the sets themselves.
    edges = set()
    for left, right, (jaccard, _, answered), accepted in zip(
        judged.left.tolist(), judged.right.tolist(), judged.similarity.tolist(), judged.accepted.tolist(), strict=True
    ):
        assert jaccard == similar.get((left, right), 0.0)
        one, other = answers[left], answers[right]
        expected = len(one & other) / len(one | other) if jaccard >= threshold and one | other else math.nan
        assert answered == expected or (math.isnan(answered) and math.isnan(expected))
        assert accepted == (jaccard >= threshold and not expected < threshold)
        assert together[left] == together[right]
        if accepted:
            edges.add((left, right))
    dropped = np.flatnonzero(judged.keepers >= 0).tolist()
    assert all((row, int(judged.keepers[row])) in edges for row in dropped)
    assert (judged.keepers[judged.keepers[dropped]] == -1).all()

    # Pairs meet as often as the S-curve says. Of every row one pair, so that they have nothing to do with each other.
    close = sorted(pair for pair, jaccard in similar.items() if 0.15 <= jaccard < 1.0)
    used: set[int] = set()
    chances, met = [], 0
    for left, right in np.random.default_rng(seed).permutation(close).tolist():
        if left not in used and right not in used:
            used |= {left, right}
            chances.append(scheme.found(similar[left, right]))
            met += bool((keyed[left] == keyed[right]).any())
    deviation = math.sqrt(sum(chance * (1 - chance) for chance in chances))
    assert len(chances) > 30
    assert abs(met - sum(chances)) <= 4 * deviation

    # And of the pairs that are near, all but those that it says are missed.
    wanted = [pair for pair, jaccard in similar.items() if jaccard >= threshold]
    missed = sum(not (keyed[left] == keyed[right]).any() for left, right in wanted)
    misses = [1 - scheme.found(similar[pair]) for pair in wanted]
    assert missed <= sum(misses) + 4 * math.sqrt(sum(chance * (1 - chance) for chance in misses))
