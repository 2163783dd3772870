"""No rule does anything but what it is for: over the real data, and a check of the checks."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from benchmarks.damage import CHECKS, account
from corpus.text.settings import ALL_RULES

GOLDEN = [json.loads(line) for line in (Path(__file__).parent / "golden/rules.jsonl").read_text(encoding="utf-8").splitlines()]


def _talk(turns: list[list[str]]) -> list[dict[str, str]]:
    return [{"role": role, "content": content} for role, content in turns]


def test_every_rule_has_a_check() -> None:
    assert tuple(CHECKS) == ALL_RULES


@pytest.mark.parametrize("case", GOLDEN, ids=[f"{case['rule']}-{i}" for i, case in enumerate(GOLDEN)])
def test_checks_pass_what_a_rule_does_and_nothing_else(case: dict[str, object]) -> None:
    rule, before, after = str(case["rule"]), case["before"], case["after"]
    if isinstance(before, str) and isinstance(after, str):
        assert CHECKS[rule](before, after)
        for wrong in (after + "多", after[:3] + "Q" + after[3:], after[::-1]):
            assert not CHECKS[rule](before, wrong)
    elif isinstance(before, list) and isinstance(after, list):
        assert CHECKS[rule](_talk(before), _talk(after))
        made_up = [[role, content + "多"] for role, content in after]
        assert not CHECKS[rule](_talk(before), _talk(made_up))


@pytest.mark.real
@pytest.mark.skipif("DATA_REAL" not in os.environ, reason="DATA_REAL is not set")
def test_real_rows_lose_nothing_else() -> None:
    found = account(Path(os.environ["DATA_REAL"]))
    assert sum(found.rows.values()) > 100_000
    assert found.violations == []
