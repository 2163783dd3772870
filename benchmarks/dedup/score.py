"""What one tool kept and dropped, held against the truth.

With "near" for an exact similarity at or above a level (0.7, 0.8, 0.85), "gone" for not kept:

- precision: gone rows that have a kept row near them / gone rows. A drop that fails this loses text that nothing kept resembles.
- recall: D / (D + L), where D are the gone rows with a kept row near them, L the kept rows with a near kept row of lower number. It
  does not depend on which copy a tool keeps.
- wiped: components of two rows or more of which nothing is kept, and their rows.
- lone_lost: gone rows that no row of the file is near.
- named_ok: dropped rows whose named keeper is kept and near / dropped rows with a named keeper.
- pair_precision, pair_recall: pairs of rows in one cluster of the tool against near pairs (only where it tells clusters).
- unexcused (one figure, no level): rows gone with no kept row near at 0.7, none that is equal but for punctuation, width and case, and,
  where near-duplicates were planted, none of the same planted family.
- jaccard_error: the largest difference between a similarity that the tool reports for a drop and the exact one.
- pairs (only where the tool writes the pairs that it verified): how many, how many accepted, how many of them wrongly accepted or wrongly
  rejected at 0.8, and the largest error of their similarities.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from benchmarks.dedup.truth import LEVELS, SLACK

BANDS = ((0.7, 0.75), (0.75, 0.8), (0.8, 0.85), (0.85, 0.9), (0.9, 1.01))


def ratio(part: float, whole: float) -> float | None:
    """Part of the whole to five digits; None of nothing."""
    return round(float(part) / float(whole), 5) if whole else None


class Truth:
    """The truth about a file of rows, as `truth.make` wrote it; `planted` is the account of planted rows, where there is one."""

    def __init__(self, folder: Path, planted: Path | None = None) -> None:
        self.nodes = pl.read_parquet(folder / "nodes.parquet")
        self.n = len(self.nodes)
        pairs = pl.read_parquet(folder / "pairs.parquet")
        self.a, self.b, self.jaccard = (pairs[name].to_numpy() for name in ("a", "b", "jaccard"))
        self._keys = self.a * self.n + self.b  # sorted, since the pairs are
        self.planted = pl.read_parquet(planted).filter(pl.col("row_id") < self.n) if planted else None
        self.summary: dict[str, Any] = json.loads((folder / "summary.json").read_text())

    def similarity(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        """Exact similarities of rows x and y; 0 where it is below the lowest level."""
        wanted = np.minimum(x, y) * self.n + np.maximum(x, y)
        if not len(self._keys):
            return np.zeros(len(wanted))
        at = np.minimum(np.searchsorted(self._keys, wanted), len(self._keys) - 1)
        return np.where(self._keys[at] == wanted, self.jaccard[at], 0.0)

    def near(self, level: float) -> tuple[np.ndarray, np.ndarray]:
        """The pairs at or above a level."""
        which = self.jaccard >= level - SLACK
        return self.a[which], self.b[which]


def score(truth: Truth, result: Path) -> dict[str, Any]:
    """The figures of the result in a folder (see `adapters.contract`).

    Raises:
        ValueError: when it speaks of rows that there are not.
    """
    n = truth.n
    kept = _flags(n, _ids(pl.read_parquet(result / "kept.parquet")["row_id"], n))
    dropped = pl.read_parquet(result / "dropped.parquet")
    reported = _flags(n, _ids(dropped["row_id"], n))
    gone = ~kept
    named = dropped.filter(pl.col("kept_row_id").is_not_null())
    row, keeper = _ids(named["row_id"], n), _ids(named["kept_row_id"], n)
    similar = truth.similarity(row, keeper)
    labels = _clusters(result / "clusters.parquet", n)
    out: dict[str, Any] = {
        "rows": n,
        "kept": int(kept.sum()),
        "dropped": int((reported & gone).sum()),
        "lost_silently": int((gone & ~reported).sum()),
        "kept_and_dropped": int((kept & reported).sum()),
        "levels": {},
    }
    for level in LEVELS:
        out["levels"][str(level)] = found = _level(truth, kept, level)
        if len(row):
            found["named_ok"] = ratio((kept[keeper] & (similar >= level - SLACK)).sum(), len(row))
        if labels is not None:
            found |= _pairs(truth, labels, level)
    said = named["jaccard"].cast(pl.Float64).to_numpy()
    out["jaccard_error"] = _error(said, similar)
    if (result / "pairs.parquet").exists():
        out["pairs"] = _verified(truth, pl.read_parquet(result / "pairs.parquet"))
    out |= _unexcused(truth, kept)
    if truth.planted is not None:
        out |= _planted(truth, gone)
    return out


def _error(said: np.ndarray, exact: np.ndarray) -> float | None:
    """The largest difference, where the tool says a similarity and the truth knows one."""
    both = ~np.isnan(said) & (exact > 0)
    return float(np.abs(said - exact)[both].max()) if both.any() else None


def _verified(truth: Truth, table: pl.DataFrame) -> dict[str, Any]:
    exact = truth.similarity(_ids(table["row_id"], truth.n), _ids(table["other_id"], truth.n))
    accepted = table["accepted"].to_numpy()
    return {
        "pairs": len(table),
        "accepted": int(accepted.sum()),
        "misjudged": int((accepted != (exact >= 0.8 - SLACK)).sum()),
        "jaccard_error": _error(table["jaccard"].cast(pl.Float64).to_numpy(), exact),
    }


def _ids(column: pl.Series, n: int) -> np.ndarray:
    ids = column.cast(pl.Int64).to_numpy()
    if len(ids) and (ids.min() < 0 or ids.max() >= n):
        raise ValueError(f"the result has row {ids.min()} or {ids.max()}, and there are rows 0 to {n - 1}")
    return ids


def _flags(n: int, ids: np.ndarray) -> np.ndarray:
    flags = np.zeros(n, bool)
    flags[ids] = True
    return flags


def _clusters(path: Path, n: int) -> np.ndarray | None:
    """The cluster of every row, -1 for none; None when the tool tells no clusters."""
    if not path.exists():
        return None
    table = pl.read_parquet(path).select("row_id", pl.col("cluster").rank("dense").cast(pl.Int64))
    labels = np.full(n, -1, np.int64)
    labels[_ids(table["row_id"], n)] = table["cluster"].to_numpy()
    return labels


def _backed(n: int, a: np.ndarray, b: np.ndarray, kept: np.ndarray) -> np.ndarray:
    """Which rows have a kept row near them."""
    backed = np.zeros(n, bool)
    backed[a[kept[b]]] = True
    backed[b[kept[a]]] = True
    return backed


def _level(truth: Truth, kept: np.ndarray, level: float) -> dict[str, Any]:
    n, gone = truth.n, ~kept
    a, b = truth.near(level)
    right = int((gone & _backed(n, a, b, kept)).sum())
    left_over = len(np.unique(b[kept[a] & kept[b]]))
    component = truth.nodes[f"component_{round(level * 100)}"].to_numpy()
    size, alive = np.bincount(component, minlength=n), np.bincount(component[kept], minlength=n)
    wiped = (size > 1) & (alive == 0)
    return {
        "precision": ratio(right, gone.sum()),
        "wrong_drops": int(gone.sum()) - right,
        "recall": ratio(right, right + left_over),
        "left_over": left_over,
        "wiped_components": int(wiped.sum()),
        "wiped_rows": int(size[wiped].sum()),
        "lone_lost": int((gone & (size[component] == 1)).sum()),
    }


def _pairs(truth: Truth, labels: np.ndarray, level: float) -> dict[str, Any]:
    a, b = truth.near(level)
    together = int(((labels[a] == labels[b]) & (labels[a] >= 0)).sum())
    sizes = np.unique(labels[labels >= 0], return_counts=True)[1]
    claimed = int((sizes * (sizes - 1) // 2).sum())
    return {"pair_precision": ratio(together, claimed), "pair_recall": ratio(together, len(a))}


def _unexcused(truth: Truth, kept: np.ndarray) -> dict[str, Any]:
    n = truth.n
    wrong = ~kept & ~_backed(n, *truth.near(LEVELS[0]), kept)
    bare = truth.nodes["same_bare"].to_numpy()
    excused = np.bincount(bare[kept], minlength=n)[bare] > 0
    if truth.planted is not None:
        family = np.arange(n)
        family[truth.planted["row_id"].to_numpy()] = truth.planted["origin"].to_numpy()
        excused |= np.bincount(family[kept], minlength=n)[family] > 0
    lost = wrong & ~excused
    spoken = truth.nodes["language"].to_numpy()
    sources = truth.nodes.filter(pl.Series(lost))["source"].value_counts(sort=True).head(5)
    return {
        "unexcused": int(lost.sum()),
        "unexcused_by_language": {name: int((lost & (spoken == name)).sum()) for name in ("zh", "other")},
        "unexcused_by_source": dict(sources.iter_rows()),
    }


def _planted(truth: Truth, gone: np.ndarray) -> dict[str, Any]:
    """Planted rows of which they or their origin are gone, by kind and by true similarity, with how many there are."""
    table = truth.planted
    row, origin, kinds = (table[name].to_numpy() for name in ("row_id", "origin", "kind"))
    similar = truth.similarity(row, origin)
    caught = gone[row] | gone[origin]
    by_kind = {kind: kinds == kind for kind in sorted(set(kinds.tolist()))}
    by_similarity = {f"{low}-{min(high, 1.0)}": (similar >= low) & (similar < high) for low, high in BANDS}
    return {
        "planted": {
            kind: {
                "rows": int(which.sum()),
                "caught": ratio(caught[which].sum(), which.sum()),
                "near": ratio((similar[which] >= 0.8).sum(), which.sum()),
            }
            for kind, which in by_kind.items()
        },
        "caught_by_similarity": {
            band: [ratio(caught[which].sum(), which.sum()), int(which.sum())] for band, which in by_similarity.items()
        },
    }
