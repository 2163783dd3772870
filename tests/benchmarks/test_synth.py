"""The generated rows: the same for every number of rows, what was planted is what the account says."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from benchmarks.dedup import synth
from benchmarks.dedup.__main__ import schedule


@pytest.fixture(name="real", scope="module")
def _real(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Rows of random clauses: 400 Chinese, 400 English."""
    rng = np.random.default_rng(5)
    zh = ["".join(map(chr, rng.integers(0x4E00, 0x5200, rng.integers(8, 60)))) + "。" for _ in range(400)]
    en = ["A" + "".join(rng.choice(list("abcdefgh  ,"), rng.integers(20, 100))) + "." for _ in range(400)]
    path = tmp_path_factory.mktemp("real") / "rows.parquet"
    pl.DataFrame(
        {"text": ["".join(zh[i : i + 4]) for i in range(0, 400, 4)] + [" ".join(en[i : i + 4]) for i in range(0, 400, 4)]}
    ).write_parquet(path)
    return path


def made(real: Path, out: Path, count: int) -> tuple[pl.DataFrame, pl.DataFrame]:
    synth.make(real, out, count, synth.SHAPES["short"])
    return pl.read_parquet(out), pl.read_parquet(synth.planted_of(out))


def test_fewer_rows_are_the_first_of_more(real: Path, tmp_path: Path) -> None:
    more, planted = made(real, tmp_path / "more.parquet", 3000)
    fewer, planted_fewer = made(real, tmp_path / "fewer.parquet", 1000)
    assert more.head(1000).equals(fewer)
    assert planted.filter(pl.col("row_id") < 1000).equals(planted_fewer)


def test_planted_rows_come_from_earlier_new_rows(real: Path, tmp_path: Path) -> None:
    rows, planted = made(real, tmp_path / "rows.parquet", 3000)
    assert rows["row_id"].to_list() == list(range(3000))
    assert 0.13 < len(planted) / 3000 < 0.17
    assert set(planted["kind"]) == set(synth.KINDS)
    assert (planted["origin"] < planted["row_id"]).all()
    assert not set(planted["origin"]) & set(planted["row_id"])
    text = rows["text"].to_list()
    for row, origin, kind, rate in planted.iter_rows():
        new, old = text[row], text[origin]
        assert (0.01 <= rate <= 0.08) if kind == "edit" else rate == 0
        if kind == "append":
            assert new.startswith(old)
            assert len(new) > len(old)
        elif kind == "swap":
            assert sorted(new) == sorted(old)
        elif kind in ("punct", "script"):
            assert len(new) == len(old)


def test_no_clause_is_most_of_a_row(real: Path, tmp_path: Path) -> None:
    found = synth.clauses(pl.read_parquet(real)["text"].to_list())
    rows, planted = made(real, tmp_path / "rows.parquet", 500)
    codes = found.codes.tobytes().decode("utf-32-le")
    known = [codes[a:b] for a, b in zip(found.starts[:-1], found.starts[1:], strict=True)]
    new = rows.filter(~pl.col("row_id").is_in(planted["row_id"].to_list()))["text"].to_list()
    assert all(len(clause) <= 0.6 * len(text) for text in new for clause in known if clause in text)


def test_blocks_have_alphabets_of_their_own(real: Path) -> None:
    found = synth.clauses(pl.read_parquet(real)["text"].to_list())
    maps = synth._alphabets(found.codes, 3, 7)
    plain = np.arange(1 << 16)
    assert (maps[0] == plain).all()
    for block in (1, 2):
        assert (np.sort(maps[block]) == plain).all()
        assert (maps[block] != plain).sum() > 1000
        assert chr(maps[block, ord("A")]) == chr(maps[block, ord("a")]).upper()
        assert chr(maps[block, ord("e")]) in "aeiou"


def test_ours_goes_before_the_others() -> None:
    assert schedule(["exact", "ours", "rensa"], 2, False) == ["ours", "exact", "rensa"] * 2
    assert schedule(["exact", "ours", "rensa"], 1, True) == ["ours", "exact", "ours", "rensa"]
    assert schedule(["exact"], 2, True) == ["exact", "exact"]
    assert schedule(["ours"], 2, True) == ["ours", "ours"]
