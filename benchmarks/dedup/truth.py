"""The truth about a file of rows: `python -m benchmarks.dedup.truth --rows FILE --out FOLDER`.

The measure is the Jaccard similarity of the sets of character 5-grams of the text, casefolded and without white space. Written are
`pairs.parquet` (a < b, jaccard: every pair of rows at 0.7 or more), `nodes.parquet` (of every row its source, language, number of
shingles, the smallest row of its component at 0.7, 0.8 and 0.85, and the smallest row with the same text: as it is, folded, and letters
and digits alone) and `summary.json`.
"""

from __future__ import annotations

import argparse
import json
import re
import time
import unicodedata
from collections.abc import Hashable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from benchmarks.dedup.join import WIDTH, Pairs, components, exact_pairs, first_come

LEVELS = (0.7, 0.8, 0.85)
"""Similarities at which results are judged; pairs below the first are not looked for."""
SLACK = 1e-9
"""A similarity is a quotient of whole numbers: this much below a level is the level."""
_HAN = re.compile(r"[\u3400-\u9fff]")


def fold(text: str) -> str:
    """The text as it is compared: without case and white space."""
    return "".join(text.casefold().split())


def bare(text: str) -> str:
    """Letters and digits without case and width: the same for rows that differ in punctuation alone."""
    return "".join(char for char in unicodedata.normalize("NFKC", text).casefold() if char.isalnum())


def _language(folded: str) -> str:
    return "zh" if len(_HAN.findall(folded)) > 0.3 * len(folded) else "other"


def _first_equal(keys: Sequence[Hashable]) -> np.ndarray:
    seen: dict[Hashable, int] = {}
    return np.array([seen.setdefault(key, i) for i, key in enumerate(keys)], np.int64)


def _level(n: int, left: np.ndarray, right: np.ndarray, label: np.ndarray) -> dict[str, int]:
    """Counts of one level. Two right numbers of drops: with a kept row near each, and one kept row for each component."""
    sizes = np.bincount(label, minlength=n)
    return {
        "pairs": len(left),
        "components": int((sizes > 1).sum()),
        "largest_component": int(sizes.max(initial=0)),
        "drop_first_come": int((~first_come(n, left, right)).sum()),
        "drop_closure": int(n - (sizes > 0).sum()),
    }


def tables(texts: list[str], sources: list[str]) -> tuple[Pairs, pl.DataFrame, dict[str, Any]]:
    """The pairs, the nodes and the summary of rows whose ids are their positions."""
    n = len(texts)
    started = time.perf_counter()
    folded = [fold(text) for text in texts]
    pairs = exact_pairs(folded, LEVELS[0])
    seconds = time.perf_counter() - started
    same_text, same_fold, every = _first_equal(texts), _first_equal(folded), np.arange(n)
    nodes: dict[str, Any] = {
        "row_id": every,
        "source": sources,
        "language": [_language(text) for text in folded],
        "shingles": pairs.sizes,
        "same_text": same_text,
        "same_fold": same_fold,
        "same_bare": _first_equal([bare(text) for text in texts]),
    }
    levels = {}
    for level in LEVELS:
        near = pairs.jaccard >= level - SLACK
        left, right = pairs.left[near], pairs.right[near]
        label = nodes[f"component_{round(level * 100)}"] = components(n, left, right)
        levels[str(level)] = _level(n, left, right, label)
    summary = {
        "rows": n,
        "characters": sum(map(len, texts)),
        "bytes": sum(len(text.encode()) for text in texts),
        "distinct_shingles": pairs.distinct,
        "shingles": int(pairs.sizes.sum()),
        f"rows_under_{WIDTH}_characters": sum(len(text) < WIDTH for text in folded),
        "equal_rows": int((same_text != every).sum()),
        "equal_folded_rows": int((same_fold != every).sum()),
        "candidates_counted": pairs.checked,
        "join_seconds": round(seconds, 1),
        "levels": levels,
    }
    return pairs, pl.DataFrame(nodes), summary


def make(rows: Path, out: Path) -> dict[str, Any]:
    """Writes the truth about a file of rows and returns its summary.

    Raises:
        ValueError: when row ids are not 0, 1, 2, …
    """
    frame = pl.read_parquet(rows, columns=["row_id", "source", "text"])
    if not (frame["row_id"] == pl.int_range(len(frame), eager=True)).all():
        raise ValueError(f"{rows}: row_id must be the position of the row, 0 to {len(frame) - 1}")
    pairs, nodes, summary = tables(frame["text"].to_list(), frame["source"].to_list())
    order = np.lexsort((pairs.right, pairs.left))
    out.mkdir(parents=True, exist_ok=True)
    columns = {"a": pairs.left[order], "b": pairs.right[order], "jaccard": pairs.jaccard[order]}
    pl.DataFrame(columns).write_parquet(out / "pairs.parquet")
    nodes.write_parquet(out / "nodes.parquet")
    (out / "summary.json").write_text(json.dumps(summary, indent=1) + "\n", encoding="utf-8")
    return summary


def main() -> None:
    """Makes the truth of one file and prints its summary."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.dedup.truth", description=__doc__)
    parser.add_argument("--rows", type=Path, required=True, help="parquet file with row_id, source, text")
    parser.add_argument("--out", type=Path, required=True, help="folder to write")
    given = parser.parse_args()
    print(json.dumps(make(given.rows, given.out), indent=1))


if __name__ == "__main__":
    main()
