"""The question about preference pairs, on pairs whose answers are known."""

from __future__ import annotations

from typing import Any

import duckdb
import pyarrow as pa

from corpus.schema import ASSIGNED, PREFERENCES
from corpus.warehouse.query import questions


def asked(preferences: list[dict[str, Any]], assigned: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """What the question says of these tables."""
    usual = {"source": "s", "rejected_chars": 10, "similarity": 0.1, "chosen_refuses": False, "rejected_refuses": False, "turns": 1}
    with duckdb.connect() as db:
        db.register("preferences", pa.Table.from_pylist([{**usual, **p} for p in preferences], schema=PREFERENCES.schema))
        usual = {"source": "s", "part": "train", "start": 0, "copies": 1}
        db.register("assigned", pa.Table.from_pylist([{**usual, **a} for a in assigned], schema=ASSIGNED.schema))
        result = db.execute(questions()["pairs"].sql)
        names = [d[0] for d in result.description]
        return [dict(zip(names, row, strict=True)) for row in result.fetchall()]


def test_what_pairs_teach_besides_preference() -> None:
    preferences = [
        {"row_id": "a", "chosen_chars": 20, "similarity": 1.0},
        {"row_id": "b", "chosen_chars": 30, "similarity": 0.97, "chosen_refuses": True},
        {"row_id": "c", "chosen_chars": 40, "rejected_refuses": True, "turns": 3},
        {"row_id": "d", "chosen_chars": 5, "turns": 2},
        {"row_id": "e", "chosen_chars": 10, "source": "t"},
        {"row_id": "f", "chosen_chars": 99, "source": "t"},
    ]
    assigned = [
        *({"row_id": i, "split": "rm"} for i in "abcd"), {"row_id": "e", "split": "dpo", "part": "eval"}, {"row_id": "f", "split": "tokenizer"},
        {"row_id": "g", "split": "dpo-requests"},
    ]  # fmt: skip
    [dpo, rm] = asked(preferences, assigned)
    assert rm == {
        "split": "rm", "source": "s", "pairs": 4, "longer_chosen_percent": 75.0, "mark": "long is good", "median_ratio": 2.5,
        "equal_percent": 25.0, "near_percent": 25.0, "chosen_refuses_percent": 25.0, "rejected_refuses_percent": 25.0,
        "several_turns_percent": 50.0,
    }  # fmt: skip
    # Sides of one length say nothing of length.
    assert dpo == {
        "split": "dpo", "source": "t", "pairs": 1, "longer_chosen_percent": None, "mark": None, "median_ratio": 1.0, "equal_percent": 0.0,
        "near_percent": 0.0, "chosen_refuses_percent": 0.0, "rejected_refuses_percent": 0.0, "several_turns_percent": 0.0,
    }  # fmt: skip


def test_the_mark_begins_above_seventy_percent() -> None:
    def marked(longer: int) -> Any:
        preferences = [{"row_id": str(n), "chosen_chars": 20 if n < longer else 5} for n in range(10)]
        return asked(preferences, [{"row_id": str(n), "split": "dpo"} for n in range(10)])[0]["mark"]

    assert marked(7) is None
    assert marked(8) == "long is good"


def test_empty_sides_and_no_pairs_at_all() -> None:
    [found] = asked([{"row_id": "a", "chosen_chars": 9, "rejected_chars": 0}], [{"row_id": "a", "split": "rm"}])
    assert (found["median_ratio"], found["longer_chosen_percent"]) == (None, 100.0)
    assert asked([], []) == []
