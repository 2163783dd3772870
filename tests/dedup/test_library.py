"""The library: one file or table in, what is kept and dropped out; nothing lost, whatever the types, and every figure by hand."""

from __future__ import annotations

import random
from collections import defaultdict
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from corpus.dedup import deduplicate, files, library, near
from corpus.dedup.library import TABLES, Result
from corpus.errors import DataError, UsageError
from tests.stages.duplicates import clauses, document, edited, similar


def make_texts(seed: int, count: int) -> list[str | None]:
    """Texts recombined from clauses, half of them made from an earlier one; some short, empty or missing."""
    rng = random.Random(seed)
    pool = clauses(rng, 80)
    out: list[str | None] = []
    for _ in range(count):
        if out and rng.random() < 0.5:
            text = rng.choice(out)
            out.append(text if text is None or rng.random() < 0.2 else edited(rng, text))
        else:
            out.append(
                rng.choice(["", None, "好的", "OK", "。。", "?", "  "])
                if rng.random() < 0.15
                else "".join(rng.choices(pool, k=rng.randint(1, 7)))
            )
    return out


def jaccard(a: str | None, b: str | None) -> float:
    """The similarity of two texts, by hand."""
    return similar(document(0, None, a or ""), document(1, None, b or ""), {}).whole


def check(texts: list[str | None], result: Result, threshold: float = 0.8, ids: list[Any] | None = None) -> None:
    """Holds a result against the texts."""
    names = list(range(len(texts))) if ids is None else ids
    number = {name: n for n, name in enumerate(names)}
    assert result.rows == len(texts)
    kept = result.kept["row_id"].to_pylist()
    dropped = {row["row_id"]: row for row in result.dropped.to_pylist()}
    assert len(dropped) == result.dropped.num_rows
    assert kept == [name for name in names if name not in dropped], "kept and dropped are all rows, in the order of the file"

    def place(name: Any) -> tuple[int, Any]:
        return (-len((texts[number[name]] or "").encode()), name)

    for name, row in dropped.items():
        keeper = row["kept_row_id"]
        assert keeper in number
        assert keeper not in dropped
        assert row["jaccard"] == pytest.approx(jaccard(texts[number[name]], texts[number[keeper]]), abs=1e-12)
        assert row["jaccard"] >= threshold
        assert place(keeper) < place(name), "the longest is kept, then the lowest id"
    by_cluster: dict[Any, list[Any]] = defaultdict(list)
    clusters = {row["row_id"]: row["cluster"] for row in result.clusters.to_pylist()}
    assert len(clusters) == result.clusters.num_rows
    for name, cluster in clusters.items():
        by_cluster[cluster].append(name)
    for name, row in dropped.items():
        assert clusters[name] == clusters[row["kept_row_id"]]
    for cluster, members in by_cluster.items():
        assert len(members) > 1
        assert min(members, key=place) == cluster
    for row in result.pairs.to_pylist():
        again = jaccard(texts[number[row["row_id"]]], texts[number[row["other_id"]]])
        assert row["jaccard"] == pytest.approx(again, abs=1e-12)
        assert row["accepted"] == (again >= threshold)
        if row["accepted"]:
            assert clusters[row["row_id"]] == clusters[row["other_id"]]


def table(texts: list[str | None], ids: list[Any] | None = None) -> pa.Table:
    """Texts with their ids."""
    columns: dict[str, Any] = {"text": pa.array(texts, pa.string())}
    return pa.table(columns if ids is None else {"id": ids, **columns})


def told(result: Result) -> list[Any]:
    """All of a result, for comparison."""
    return [getattr(result, name).to_pydict() for name in TABLES] + [result.rows, result.exact]


@given(st.integers(0, 1 << 32), st.integers(0, 90), st.sampled_from([0.5, 0.8, 1.0]))
@settings(max_examples=20, deadline=None)
def test_every_decision_agrees_with_the_texts(seed: int, count: int, threshold: float) -> None:
    texts = make_texts(seed, count)
    check(texts, deduplicate(table(texts), threshold=threshold), threshold)


def test_many_rows_and_what_is_missed() -> None:
    texts = make_texts(3, 600)
    result = deduplicate(table(texts))
    check(texts, result)
    assert result.exact > 50
    assert result.dropped.num_rows - result.exact > 25
    kept = [texts[n] for n in result.kept["row_id"].to_pylist()]
    assert sum(jaccard(a, b) >= 0.8 for n, a in enumerate(kept) for b in kept[:n]) <= 1


@pytest.mark.parametrize("of", [pa.int64(), pa.int8(), pa.uint64(), pa.string(), pa.large_string()])
def test_ids_of_any_type(of: pa.DataType) -> None:
    texts = make_texts(4, 100)
    numbers = random.Random(1).sample(range(100), 100)
    ids = [f"row-{n:03d}" for n in numbers] if pa.types.is_string(of) or pa.types.is_large_string(of) else numbers
    result = deduplicate(table(texts, pa.array(ids, of)), id="id")
    check(texts, result, ids=ids)
    of = pa.large_string() if pa.types.is_string(of) else of
    for name, columns in {
        "kept": {"row_id": of}, "dropped": {"row_id": of, "kept_row_id": of, "jaccard": pa.float64()},
        "clusters": {"row_id": of, "cluster": of}, "pairs": {"row_id": of, "other_id": of, "jaccard": pa.float64(), "accepted": pa.bool_()},
    }.items():  # fmt: skip
        assert getattr(result, name).schema == pa.schema(columns), name


@pytest.mark.parametrize("texts", [[], [None], [""], ["一行"], ["同样的话"] * 50, [None, "", "  ", None], ["a", "b"]])
def test_edges(texts: list[str | None]) -> None:
    for ids in (None, [f"{n:03d}" for n in range(len(texts))]):
        result = deduplicate(table(texts, None if ids is None else pa.array(ids, pa.string())), id="id" if ids is not None else None)
        check(texts, result, ids=ids)
        assert result.dropped.num_rows == result.exact
        assert result.kept.num_rows == (len(texts) if texts == ["a", "b"] else min(1, len(texts)))
        kind = pa.int64() if ids is None else pa.large_string()
        assert result.kept.schema == pa.schema({"row_id": kind})
        assert result.clusters.schema == pa.schema({"row_id": kind, "cluster": kind})


@pytest.mark.parametrize(
    "of", [pa.large_string(), pa.string_view(), pa.dictionary(pa.int32(), pa.string()), pa.dictionary(pa.int8(), pa.large_string())]
)
def test_columns_of_text_of_any_type(of: pa.DataType) -> None:
    texts = make_texts(6, 60)
    column = pa.array(texts, pa.string())
    cast = column.dictionary_encode().cast(of) if pa.types.is_dictionary(of) else column.cast(of)
    assert told(deduplicate(pa.table({"text": cast}))) == told(deduplicate(table(texts)))


def test_slices_and_chunks() -> None:
    texts = make_texts(7, 120)
    whole = table(["before", *texts, "after"])
    expected = told(deduplicate(table(texts)))
    assert told(deduplicate(whole.slice(1, 120))) == expected
    parts = [whole.slice(1 + a, b - a) for a, b in ((0, 1), (1, 1), (1, 50), (50, 120))]
    assert told(deduplicate(pa.concat_tables(parts))) == expected
    # A null may have bytes below it.
    hidden = pa.StringArray.from_buffers(
        3, pa.py_buffer(b"\0\0\0\0\6\0\0\0\14\0\0\0\22\0\0\0"), pa.py_buffer("一二三四五六".encode()), pa.py_buffer(b"\5")
    )
    assert hidden.to_pylist() == ["一二", None, "五六"]
    assert told(deduplicate(pa.table({"text": hidden}))) == told(deduplicate(table(["一二", None, "五六"])))


def test_texts_beyond_the_basic_plane() -> None:
    rare = "".join(chr(0x20000 + n * 7) for n in range(60))
    texts = [rare, rare + "😀", rare[:-20], "😀😀", "😀😀", "𝒜𝒷", "\U0010ffff" * 9, "\0\0"]
    result = deduplicate(table(texts))
    assert {r["row_id"]: r["kept_row_id"] for r in result.dropped.to_pylist()} == {0: 1, 4: 3}
    assert result.dropped.to_pylist()[0]["jaccard"] == 56 / 57


def test_a_row_of_ten_megabytes() -> None:
    rng = random.Random(1)
    huge = "".join(rng.choices([chr(c) for c in range(0x4E00, 0x9000)], k=3_400_000))
    texts = ["短", huge, "短", huge[:-1] + "尾巴", "别的"]
    result = deduplicate(table(texts))
    assert {r["row_id"]: r["kept_row_id"] for r in result.dropped.to_pylist()} == {2: 0, 1: 3}
    [near_one] = [r["jaccard"] for r in result.dropped.to_pylist() if r["row_id"] == 1]
    assert 0.99999 < near_one < 1


def test_a_file_is_as_good_as_a_table(tmp_path: Path) -> None:
    texts = make_texts(8, 200)
    ids = [f"x{n * 7 % 200:03d}" for n in range(200)]
    whole = table(texts, ids).append_column("other", pa.array(range(200)))
    pq.write_table(whole, tmp_path / "rows.parquet", row_group_size=33)
    expected = told(deduplicate(whole, id="id"))
    for source in (tmp_path / "rows.parquet", str(tmp_path / "rows.parquet")):
        assert told(deduplicate(source, id="id")) == expected
    before = (tmp_path / "rows.parquet").read_bytes()
    result = deduplicate(tmp_path / "rows.parquet", id="id", work=tmp_path / "work")
    assert list((tmp_path / "work").iterdir()) == [], "what it needed is gone"
    assert (tmp_path / "rows.parquet").read_bytes() == before
    result.write(tmp_path / "a" / "b")
    assert sorted(p.name for p in (tmp_path / "a/b").iterdir()) == sorted(f"{name}.parquet" for name in TABLES)
    for name in TABLES:
        assert pq.read_table(tmp_path / f"a/b/{name}.parquet").to_pydict() == getattr(result, name).to_pydict()


def test_it_depends_on_neither_order_nor_sizes(monkeypatch: pytest.MonkeyPatch) -> None:
    texts = make_texts(9, 200)
    ids = [f"{n:03d}" for n in range(200)]

    def by_id(texts: list[str | None], ids: list[str]) -> list[Any]:
        result = deduplicate(table(texts, ids), id="id")
        return [sorted(map(tuple, (r.values() for r in getattr(result, name).to_pylist()))) for name in TABLES]

    expected = by_id(texts, ids)
    for seed in (1, 2):
        order = random.Random(seed).sample(range(200), 200)
        assert by_id([texts[n] for n in order], [ids[n] for n in order]) == expected
    for module, name, value in (
        (near, "PIECE_BYTES", 1), (near, "PIECE_BYTES", 999), (files, "_BATCH", 7), (near, "_SEGMENT_ROWS", 20), (near, "GROUP_BYTES", 1),
    ):  # fmt: skip
        with monkeypatch.context() as patch:
            patch.setattr(module, name, value)
            assert by_id(texts, ids) == expected, name
    real = library.judged
    monkeypatch.setattr(library, "judged", lambda *a, **m: real(*a, **{**m, "budget": 1}))
    assert by_id(texts, ids) == expected


def test_it_tells_of_rows_as_they_are_read() -> None:
    rows: list[int] = []
    deduplicate(table(make_texts(1, 77)), report=rows.append)
    assert sum(rows) == 77


def test_units_are_another_measure() -> None:
    texts: list[str | None] = ["it is raining again to day", "it is raining again today", "ＡB", "AB"]
    assert [(r["row_id"], r["kept_row_id"]) for r in deduplicate(table(texts)).dropped.to_pylist()] == [(3, 2)]
    assert [(r["row_id"], r["kept_row_id"]) for r in deduplicate(table(texts), unit="char").dropped.to_pylist()] == [(1, 0)]


@pytest.mark.parametrize(
    ("ids", "message"),
    [
        (["a", "b", "c", None], "row 3 has no id"),
        (["a", None, "c", "d"], "row 1 has no id"),
        (["a", "b", "c", "c"], "rows 2 and 3 have the same id 'c'"),
        (["a", "a", "c", "d"], "rows 0 and 1 have the same id 'a'"),
        ([5, 6, 7, 5], "rows 0 and 3 have the same id 5"),
    ],
)
def test_ids_that_are_none(ids: list[Any], message: str) -> None:
    # The first two rows are equal, the others like nothing: ids of rows without duplicates count as well.
    with pytest.raises(DataError, match=message):
        deduplicate(table(["同一句话", "同一句话", "第三句", "fourth"], ids), id="id")


def test_what_is_wrong_is_said(tmp_path: Path) -> None:
    good = table(["a"], [1]).append_column("many", pa.array([["x"]]))
    for message, arguments in {
        "no column 'txt'; did you mean 'text'": {"text": "txt"},
        "no column 'ID'": {"id": "ID"},
        "column 'id' is int64, expected text": {"text": "id"},
        "column 'many' is list<.*>, expected integers or text": {"id": "many"},
    }.items():
        with pytest.raises(DataError, match=message):
            deduplicate(good, **arguments)  # type: ignore[arg-type]
    for bad in (0.49, 1.01, float("nan"), -1.0):
        with pytest.raises(UsageError, match="not between"):
            deduplicate(good, threshold=bad)
    with pytest.raises(UsageError, match="'words'"):
        deduplicate(good, unit="words")
    with pytest.raises(DataError, match="no such file"):
        deduplicate(tmp_path / "none.parquet")
    (tmp_path / "text.parquet").write_text("no parquet")
    with pytest.raises(DataError, match="cannot be read as parquet"):
        deduplicate(tmp_path / "text.parquet")
    pq.write_table(table(make_texts(1, 500)), tmp_path / "rows.parquet", compression="zstd")
    data = (tmp_path / "rows.parquet").read_bytes()
    (tmp_path / "rows.parquet").write_bytes(data[:40] + bytes(200) + data[240:])
    with pytest.raises(DataError, match=r"rows\.parquet"):
        deduplicate(tmp_path / "rows.parquet")


def test_both_scripts_of_chinese_are_one() -> None:
    # 麼 is 么 in simplified script, and what is simplified already stays what it is.
    texts: list[str | None] = ["这是什么？为什么说它重要？", "這是什麼？為什麼說它重要？"]
    assert deduplicate(table(texts)).dropped["jaccard"].to_pylist() == [1]
