"""The benchmark of training: sides that differ in what they train on, or in the loss, have no result."""

from __future__ import annotations

from typing import Any

import pytest

from benchmarks.trainer.__main__ import NEAR, check, lines


def run(side: str, **other: Any) -> dict[str, Any]:
    """What a side says."""
    same = {"rows": 8, "tokens": 100, "learned": 50, "padded": 125, "steps": 4, "loss": 9.0, "per_wall_s": 10.0, "per_cpu_s": 5.0}
    return {"side": side, **same, **other}


def test_equal_sides_pass() -> None:
    """Rounding is no difference."""
    check({"trl": [run("trl")], "ours": [run("ours", loss=9.0 * (1 + NEAR / 2))]})


@pytest.mark.parametrize("other", [{"learned": 51}, {"tokens": 99}, {"rows": 7}, {"loss": 9.0 * (1 + 2 * NEAR)}])
def test_different_sides_have_no_result(other: dict[str, Any]) -> None:
    """Also in a later round."""
    with pytest.raises(RuntimeError, match="ours"):
        check({"trl": [run("trl")] * 2, "ours": [run("ours"), run("ours", **other)]})


def test_ratios_are_of_the_same_round() -> None:
    """A slow round is slow for all."""
    runs = {
        "trl": [run("trl"), run("trl", per_wall_s=5.0)],
        "ours": [run("ours", per_wall_s=40.0), run("ours", per_wall_s=20.0)],
    }
    theirs, ours = lines(32_000, runs)
    assert theirs[1:4] == ["trl", "25", "20%"]
    assert theirs[6:8] == ["4.00 (4.00 to 4.00)", "1.00 (1.00 to 1.00)"]
    assert ours[6:8] == ["", ""]
