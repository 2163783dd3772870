"""stock: what a source says in row after row neither makes rows near nor brings them together."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from corpus.dedup import near
from corpus.dedup.shingles import BARE, shingles
from corpus.dedup.units import Unit
from corpus.stages import stock
from corpus.stages.compared import compared
from corpus.warehouse.manifest import Partition
from tests.stages.duplicates import (
    Row,
    clauses,
    cleaned,
    context_of,
    dialogue,
    document,
    edited,
    make_rows,
    named,
    run,
    sets,
    similar,
    stocks_of,
    table_of,
)
from tests.stages.test_dedup import check

TEMPLATE = (
    "阅读以下对话并回答问题，答案要短，只写一句话，不要写别的，也不要重复问题。如果对话里没有提到，就说没有提到；"
    "如果提到了两次，以后一次为准。人名地名照抄原文，数字用阿拉伯数字，时间写到分钟，钱写到元，标点用中文的。"
    "对话从下一行开始，每行先写说话的人，再写他说了什么；空行不算，括号里的是旁白，不是说话，回答时请忽略它们。"
)


def template_rows(count: int, seed: int = 1, source: str = "one") -> list[Row]:
    """Rows with the same long opening, each with a content of its own."""
    rng = random.Random(seed)
    return [document(f"{source} {n}", None, TEMPLATE + "".join(clauses(rng, 4)), source) for n in range(count)]


def made(root: Path, rows: list[Row], settings: dict[str, Any] | None = None, divided: int = 1, **more: Any) -> dict[str, Partition]:
    """The partitions of the stage, by source."""
    context = context_of(root, {r.source for r in rows}, settings, **more)
    return {t.key: t.run(t, root, lambda size, rows: None) for t in stock.plan(context, cleaned(root, rows, divided, groups=50))}


def hashes_of(text: str) -> set[int]:
    """The shingles of a text as they are hashed."""
    found = shingles(compared(table_of([document(0, None, text)]), "whole").texts, Unit.MIXED)
    return set((found.hashes & BARE).tolist())


def test_rows_of_one_template_are_not_merged(tmp_path: Path) -> None:
    rows = template_rows(150)
    assert similar(rows[0], rows[1], {}).whole > 0.5
    without = run(tmp_path, rows, {"threshold": 0.5, "template_share": 1})
    assert len(without.dropped) > 100, "but for the stock they would be"
    assert without.done.stats["largest"][0] > 100
    found = run(tmp_path, rows, {"threshold": 0.5})
    assert found.dropped == {}
    assert found.pairs == [], "and they do not even meet"


def test_near_rows_of_one_template_still_are(tmp_path: Path) -> None:
    rows = template_rows(150)
    rng = random.Random(7)
    long = "".join(clauses(rng, 12))
    rows += [document(f"near {n}", None, TEMPLATE + long + "好" * n) for n in range(2)]
    found = run(tmp_path, rows)
    assert set(found.dropped) == {named("near 0")}
    assert found.dropped[named("near 0")]["kept_row_id"] == named("near 1")
    check(rows, found)


def test_the_same_template_in_two_sources_is_stock_in_both(tmp_path: Path) -> None:
    rows = template_rows(120) + template_rows(120, 2, "two")
    parts = made(tmp_path, rows)
    assert set(stock.digests(list(parts.values()))) == {"one", "two"}
    assert run(tmp_path, rows, {"threshold": 0.5}).dropped == {}


def test_shingles_and_shares_are_those_of_the_rows(tmp_path: Path) -> None:
    rows = template_rows(200) + make_rows(4, 300, sources=("two", "three"))
    parts = made(tmp_path, rows)
    expected = stocks_of(rows, {})
    for source, partition in parts.items():
        of = [row for row in rows if row.source == source]
        table = pq.read_table(tmp_path / partition.one("stock").path, partitioning=None)
        assert table.num_rows == len(expected[source])
        assert set(table["source"].to_pylist()) == {source}
        found = stock.shingles_of(tmp_path, partition)
        assert (np.diff(found.astype(object)) > 0).all(), "ascending"
        assert (found & ~BARE == 0).all(), "without parts"
        assert table["shingle"].to_numpy().tolist() == found.tolist()
        assert min(table["share"].to_pylist()) > 0.02
        assert partition.stats["rows"] <= len(of)
    one = {row["shingle"]: row["share"] for row in pq.read_table(tmp_path / parts["one"].one("stock").path).to_pylist()}
    inside = hashes_of(TEMPLATE)
    assert inside <= set(one)
    assert all(one[shingle] == 1 for shingle in inside)


@pytest.mark.parametrize(("share", "stocked"), [(0.01, True), (0.124, True), (0.125, False), (0.5, False)])
def test_the_share_is_a_bound_that_must_be_passed(share: float, stocked: bool, tmp_path: Path) -> None:
    rng = random.Random(3)
    opening = "请你写一首五行的诗"
    rows = [document(n, None, (opening if n % 8 == 0 else "") + "".join(clauses(rng, 6))) for n in range(200)]
    partition = made(tmp_path, rows, {"template_share": share})["one"]
    assert bool(hashes_of(opening) <= set(stock.shingles_of(tmp_path, partition).tolist())) == stocked


def test_of_few_rows_nothing_is_said(tmp_path: Path) -> None:
    [partition] = made(tmp_path, template_rows(99)).values()
    assert partition.files == ()
    assert partition.stats == {"rows": 99}
    assert stock.digests([partition]) == {}
    assert len(stock.shingles_of(tmp_path, partition)) == 0
    rows = template_rows(99) + [document(f"again {n}", None, template_rows(1)[0].text or "") for n in range(50)]
    assert made(tmp_path, rows)["one"].files == (), "rows that are equal count once"
    assert made(tmp_path, template_rows(100))["one"].files != ()


def test_what_few_rows_say_is_no_template(tmp_path: Path) -> None:
    # A row and some rows made from it are none, even in a source so small that they are a share of it.
    rng = random.Random(8)
    rows = [document(n, None, "".join(clauses(rng, 8))) for n in range(100)]
    text = "".join(clauses(rng, 16))
    rows += [document(f"near {n}", None, edited(random.Random(n), text) + "好" * n) for n in range(4)]
    found = run(tmp_path, rows)
    assert len(found.dropped) == 3, "three of the four go"
    check(rows, found)


def test_it_is_not_planned_without_use(tmp_path: Path) -> None:
    rows = template_rows(120)
    assert made(tmp_path, rows, {"near": False}) == {}
    assert made(tmp_path, rows, {"template_share": 1}) == {}


def test_the_sample_depends_on_neither_order_nor_partitions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = make_rows(6, 400, sources=("one",))

    assert len({row["row_key"] for row in table_of(rows).to_pylist()}) < len(rows), "some are equal"

    def files(rows: list[Row], divided: int, sample: int) -> tuple[str, str, int]:
        monkeypatch.setattr(stock, "_SAMPLE", sample)
        [partition] = made(tmp_path, rows, divided=divided).values()
        return partition.one("stock").sha256, partition.stats["digest"], partition.stats["rows"]

    sampled, whole = files(rows, 1, 150), files(rows, 1, 4000)
    assert sampled != whole
    assert 140 <= sampled[2] <= 150
    for seed, divided in ((1, 1), (2, 3), (3, 60)):
        assert files(random.Random(seed).sample(rows, len(rows)), divided, 150) == sampled
        monkeypatch.setattr(near, "PIECE_BYTES", 1 + seed * 99)


def test_a_row_that_is_nothing_but_stock_keeps_its_shingles(tmp_path: Path) -> None:
    rows = [*template_rows(150), document("bare", None, TEMPLATE), document("bare too", None, f"{TEMPLATE}！ ")]
    stocks = stocks_of(rows, {})
    assert set(sets(rows[-1])) <= stocks["one"]
    found = run(tmp_path, rows)
    assert set(found.dropped) in ({named("bare")}, {named("bare too")}), "punctuation is all that they differ in"
    check(rows, found)


def test_a_key_counts_what_it_compares(tmp_path: Path) -> None:
    rng = random.Random(5)
    rows = [dialogue(n, TEMPLATE, "".join(clauses(rng, 6))) for n in range(150)]
    by_key = {key: made(tmp_path, rows, keys={"one": key})["one"] for key in ("whole", "prompt", "answer")}
    inside = hashes_of(TEMPLATE)
    assert inside <= set(stock.shingles_of(tmp_path, by_key["whole"]).tolist())
    assert by_key["prompt"].files == (), "by their prompts all rows are equal, and equal rows count once"
    assert not inside & set(stock.shingles_of(tmp_path, by_key["answer"]).tolist())
