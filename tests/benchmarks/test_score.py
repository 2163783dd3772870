"""Scores of results made by hand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import polars as pl
import pytest

from benchmarks.dedup import truth as truths
from benchmarks.dedup.score import Truth, score

ROW = "".join(chr(0x4E00 + i) for i in range(200))
OTHER = "".join(chr(0x6E00 + i) for i in range(200))
TEXTS = [ROW, ROW, ROW[:-10] + "abcdefghij", OTHER, OTHER[:50] + "，" + OTHER[50:100] + "；" + OTHER[100:], "alone, and of no length"]
"""0, 1 and 2 are near (1.0, 0.9, 0.9), 3 and 4 too (0.9), 5 is alone."""


@pytest.fixture(name="truth")
def _truth(tmp_path: Path) -> Truth:
    rows = tmp_path / "rows.parquet"
    pl.DataFrame({"row_id": range(len(TEXTS)), "source": list("aabbcc"), "text": TEXTS}).write_parquet(rows)
    truths.make(rows, tmp_path / "truth")
    return Truth(tmp_path / "truth")


def result(
    folder: Path,
    kept: list[int],
    dropped: dict[int, int | None],
    similar: dict[int, float] | None = None,
    clusters: dict[int, Any] | None = None,
) -> Path:
    folder.mkdir(exist_ok=True)
    pl.DataFrame({"row_id": kept}, schema={"row_id": pl.Int64}).write_parquet(folder / "kept.parquet")
    columns = {"row_id": list(dropped), "kept_row_id": list(dropped.values()), "jaccard": [(similar or {}).get(row) for row in dropped]}
    pl.DataFrame(columns, schema={"row_id": pl.Int64, "kept_row_id": pl.Int64, "jaccard": pl.Float64}).write_parquet(
        folder / "dropped.parquet"
    )
    if clusters:
        pl.DataFrame({"row_id": list(clusters), "cluster": list(clusters.values())}).write_parquet(folder / "clusters.parquet")
    return folder


def test_all_right(truth: Truth, tmp_path: Path) -> None:
    exact = float(truth.similarity(*pl.DataFrame({"a": [4], "b": [3]}).to_numpy().T)[0])
    clusters = {0: "x", 1: "x", 2: "x", 3: "y", 4: "y", 5: "z"}
    found = score(truth, result(tmp_path / "out", [0, 3, 5], {1: 0, 2: 0, 4: 3}, {1: 1.0, 4: exact - 0.01}, clusters))
    level = found["levels"]["0.8"]
    assert (found["kept"], found["dropped"], found["lost_silently"], found["unexcused"]) == (3, 3, 0, 0)
    assert (level["precision"], level["recall"], level["named_ok"]) == (1, 1, 1)
    assert (level["left_over"], level["wiped_components"], level["lone_lost"]) == (0, 0, 0)
    assert (level["pair_precision"], level["pair_recall"]) == (1, 1)
    assert found["jaccard_error"] == pytest.approx(0.01)


def test_recall_does_not_ask_which_copy_stays(truth: Truth, tmp_path: Path) -> None:
    found = score(truth, result(tmp_path / "out", [2, 4, 5], {0: None, 1: None, 3: None}))
    assert found["levels"]["0.8"]["recall"] == found["levels"]["0.8"]["precision"] == 1
    assert "named_ok" not in found["levels"]["0.8"]


def test_nothing_dropped(truth: Truth, tmp_path: Path) -> None:
    level = score(truth, result(tmp_path / "out", [0, 1, 2, 3, 4, 5], {}))["levels"]["0.8"]
    assert (level["precision"], level["recall"], level["left_over"]) == (None, 0, 3)


def test_what_is_lost(truth: Truth, tmp_path: Path) -> None:
    """A whole component goes, one of its rows without a word, and so does the row that is like no other."""
    found = score(truth, result(tmp_path / "out", [3, 4], {0: 1, 1: 0, 5: 3}))
    level = found["levels"]["0.8"]
    assert (found["dropped"], found["lost_silently"]) == (3, 1)
    assert (level["precision"], level["wrong_drops"]) == (0, 4)
    assert (level["wiped_components"], level["wiped_rows"], level["lone_lost"]) == (1, 3, 1)
    assert level["named_ok"] == 0
    assert found["unexcused"] == 4
    assert found["unexcused_by_source"] == {"a": 2, "b": 1, "c": 1}


def test_equal_but_for_punctuation_is_excused(tmp_path: Path) -> None:
    texts = ["你，好。世；界", "你好世界"]
    pl.DataFrame({"row_id": [0, 1], "source": ["a", "a"], "text": texts}).write_parquet(tmp_path / "rows.parquet")
    truths.make(tmp_path / "rows.parquet", tmp_path / "truth")
    found = score(Truth(tmp_path / "truth"), result(tmp_path / "out", [0], {1: None}))
    assert (found["levels"]["0.7"]["wrong_drops"], found["unexcused"]) == (1, 0)


def test_planted_rows(truth: Truth, tmp_path: Path) -> None:
    """The planted row 5 is not near its origin 0, but of its family; rows beyond the file are left out of the account."""
    planted = tmp_path / "planted.parquet"
    kinds = {"row_id": [1, 5, 99], "origin": [0, 0, 3], "kind": ["swap", "script", "edit"], "rate": [0.0, 0.0, 0.1]}
    pl.DataFrame(kinds).write_parquet(planted)
    found = score(Truth(tmp_path / "truth", planted), result(tmp_path / "out", [0, 1, 3], {2: 0, 4: 3, 5: 0}))
    assert found["unexcused"] == 0
    assert found["planted"] == {"script": {"rows": 1, "caught": 1, "near": 0}, "swap": {"rows": 1, "caught": 0, "near": 1}}
    assert found["caught_by_similarity"]["0.9-1.0"] == [0, 1]


def test_rows_that_there_are_not_are_refused(truth: Truth, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="rows 0 to 5"):
        score(truth, result(tmp_path / "out", [0, 6], {}))


def test_verified_pairs_are_held_against_the_truth(truth: Truth, tmp_path: Path) -> None:
    """One pair is right, one is near and was rejected, one is not near and was accepted."""
    folder = result(tmp_path / "out", [0, 3, 5], {1: 0, 2: 0, 4: 3})
    pairs = {"row_id": [1, 4, 5], "other_id": [0, 3, 0], "jaccard": [1.0, 0.79, 0.9], "accepted": [True, False, True]}
    pl.DataFrame(pairs).write_parquet(folder / "pairs.parquet")
    exact = float(truth.similarity(*pl.DataFrame({"a": [4], "b": [3]}).to_numpy().T)[0])
    found = score(truth, folder)["pairs"]
    assert (found["pairs"], found["accepted"], found["misjudged"]) == (3, 2, 2)
    assert found["jaccard_error"] == pytest.approx(exact - 0.79)
