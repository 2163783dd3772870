"""Segments of band entries on disk, and the rows that meet in them."""

from __future__ import annotations

import io
import json
import math
import zlib
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from corpus.dedup import bands
from corpus.dedup.bands import Segment, components, opened, write
from corpus.dedup.minhash import KEY_BITS, Scheme
from corpus.errors import WarehouseError

SCHEME = Scheme(0.8, 3, 4)
GOLDEN_SEGMENT = 1062257596
"""CRC-32 of a whole file."""


def segments_of(folder: Path, keys: np.ndarray, cuts: Sequence[int] = ()) -> list[Segment]:
    """The rows of `keys`, divided at `cuts` into segments."""
    edges = [0, *sorted(cuts), len(keys)]
    out = []
    for i, (start, end) in enumerate(pairwise(edges)):
        path = folder / f"{i}.bands"
        with path.open("wb") as file:
            write(file, keys[start:end], replace(SCHEME, bands=keys.shape[1]), "mixed")
        out.append(opened(path))
    return out


def expected(keys: np.ndarray, alive: np.ndarray) -> list[int]:
    """The smallest row of each row's component, by plain search."""
    owners: dict[tuple[int, int], list[int]] = {}
    for row in np.flatnonzero(alive).tolist():
        for band, key in enumerate(keys[row].tolist()):
            owners.setdefault((band, key), []).append(row)
    neighbours: list[set[int]] = [set() for _ in alive]
    for rows in owners.values():
        for row in rows:
            neighbours[row].update(rows)
    first = list(range(len(alive)))
    seen: set[int] = set()
    for row in range(len(alive)):
        todo = [row]
        while todo:
            other = todo.pop()
            if other not in seen:
                seen.add(other)
                first[other] = row
                todo.extend(neighbours[other])
    return first


def same_division(one: Sequence[int], other: Sequence[int]) -> bool:
    """Whether rows are together in one exactly where they are in the other."""
    return len(set(one)) == len(set(other)) == len(set(zip(one, other, strict=True)))


def few_keys(rows: int, bands_: int, values: int, seed: int) -> np.ndarray:
    """Keys of which many are equal, all over the range."""
    draw = np.random.default_rng(seed)
    pool = draw.integers(0, 1 << KEY_BITS, size=values, dtype=np.uint64)
    pool[:2] = 0, (1 << KEY_BITS) - 1
    return pool[draw.integers(0, values, size=(rows, bands_))]


@pytest.mark.parametrize("budget", [1, 200, 3000, 64 << 20])
@pytest.mark.parametrize(("rows", "number", "values"), [(1, 3, 3), (40, 1, 60), (60, 3, 40), (300, 4, 1500), (500, 2, 5000)])
def test_rows_that_meet(tmp_path: Path, rows: int, number: int, values: int, budget: int) -> None:
    keys = few_keys(rows, number, values, seed=rows)
    draw = np.random.default_rng(budget)
    for share in (1.0, 0.6, 0.0):
        alive = draw.random(rows) < share
        found = components(segments_of(tmp_path, keys, [rows // 3, rows // 2]), alive, budget=budget)
        assert found.dtype == np.int64
        assert same_division(found.tolist(), expected(keys, alive))
        alone = ~alive
        assert (found[alone] == np.flatnonzero(alone)).all()
        assert (found[found] == found).all()  # a row of the component itself


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_any_rows_and_any_division(tmp_path: Path, data: st.DataObject) -> None:
    rows, number = data.draw(st.integers(0, 20)), data.draw(st.integers(1, 3))
    key = st.sampled_from([0, 1, 5, 1 << 36, (1 << 36) + 1, (1 << KEY_BITS) - 2, (1 << KEY_BITS) - 1]) | st.integers(0, (1 << KEY_BITS) - 1)
    keys = np.array(data.draw(st.lists(key, min_size=rows * number, max_size=rows * number)), dtype=np.uint64).reshape(rows, number)
    alive = np.array(data.draw(st.lists(st.booleans(), min_size=rows, max_size=rows)), dtype=np.bool_)
    cuts = data.draw(st.lists(st.integers(0, rows), max_size=4))
    whole = components(segments_of(tmp_path, keys), alive)
    divided = components(segments_of(tmp_path, keys, cuts), alive, budget=data.draw(st.sampled_from([1, 100, 1 << 20])))
    assert divided.tolist() == whole.tolist()
    assert same_division(whole.tolist(), expected(keys, alive))


def test_a_chain_is_one_component(tmp_path: Path) -> None:
    rows = 1000
    keys = np.arange(2 * rows, dtype=np.uint64).reshape(rows, 2) << np.uint64(20)
    keys[1::2, 0] = keys[0::2, 0]  # 0-1, 2-3, …
    keys[2::2, 1] = keys[1:-1:2, 1]  # 1-2, 3-4, …
    assert len(set(components(segments_of(tmp_path, keys, [10, 500]), np.ones(rows, dtype=np.bool_)).tolist())) == 1
    alive = np.ones(rows, dtype=np.bool_)
    alive[499] = False
    assert len(set(components(segments_of(tmp_path, keys, [10, 500]), alive).tolist())) == 3


def test_no_segments() -> None:
    assert components([], np.ones(3, dtype=np.bool_)).tolist() == [0, 1, 2]


def test_more_rows_than_a_segment_can_number(tmp_path: Path) -> None:
    # The first segment counts 2^24 rows, of which all but five have no entries: the numbers behind it need 25 bits.
    top = np.uint64(1) << np.uint64(KEY_BITS - 1)
    first, second = segments_of(tmp_path, np.array([[7], [top], [41], [20], [101], [8], [top], [40], [22], [101]], dtype=np.uint64), [5])
    first = replace(first, rows=bands.MOST_ROWS)
    alive = np.zeros(bands.MOST_ROWS + 5, dtype=np.bool_)
    alive[[0, 1, 2, 3, 4]] = alive[bands.MOST_ROWS :] = True
    found = components([first, second], alive, budget=1)
    base = bands.MOST_ROWS
    assert found[[1, base + 1, 4, base + 4]].tolist() == [1, 1, 4, 4]
    assert found[[0, 3, base, base + 3]].tolist() == [0, 3, base, base + 3]  # 7 and 8, do not meet, nor do 20 and 22
    assert found[base + 2] == found[2] == 2  # 41 and 40 do: the last bit of the key is what the row's number took
    assert (found[5:base] == np.arange(5, base)).all()


def test_too_many_rows_are_refused() -> None:
    with pytest.raises(ValueError, match="too many for one segment"):
        write(io.BytesIO(), np.empty((bands.MOST_ROWS + 1, 0), dtype=np.uint64), SCHEME, "mixed")


def test_what_is_written_is_read(tmp_path: Path) -> None:
    keys = few_keys(200, 3, 90, seed=5)
    (segment,) = segments_of(tmp_path, keys)
    assert (segment.rows, segment.scheme, segment.unit) == (200, SCHEME, "mixed")
    for band in range(3):
        entries = np.concatenate([segment.section(band, prefix) for prefix in range(16)])
        assert entries.tolist() == sorted(key << 24 | row for row, key in enumerate(keys[:, band].tolist()))
        for prefix in range(16):
            assert (segment.section(band, prefix) >> np.uint64(60) == prefix).all()


def test_the_same_rows_are_the_same_bytes(tmp_path: Path) -> None:
    made = []
    for _ in range(2):
        file = io.BytesIO()
        write(file, few_keys(50, 3, 20, seed=1), SCHEME, "char")
        made.append(file.getvalue())
    assert made[0] == made[1]
    assert zlib.crc32(made[0]) == GOLDEN_SEGMENT


def read_all(path: Path) -> list[int]:
    segment = opened(path)
    return components([segment], np.ones(segment.rows, dtype=np.bool_)).tolist()  # type: ignore[no-any-return]


def test_every_flipped_bit_is_found(tmp_path: Path) -> None:
    (segment,) = segments_of(tmp_path, few_keys(60, 3, 30, seed=2))
    good = segment.path.read_bytes()
    assert len(good) == segment.head + 60 * 3 * 8
    path = tmp_path / "flipped"
    draw = np.random.default_rng(3)
    places = [*range(segment.head), *draw.integers(segment.head, len(good), 200).tolist()]
    for place in places:
        for bit in {int(draw.integers(8)), 0, 4}:
            path.write_bytes(good[:place] + bytes([good[place] ^ 1 << bit]) + good[place + 1 :])
            with pytest.raises(WarehouseError, match="flipped"):
                read_all(path)


def test_every_torn_file_is_found(tmp_path: Path) -> None:
    (segment,) = segments_of(tmp_path, few_keys(60, 3, 30, seed=2))
    good = segment.path.read_bytes()
    path = tmp_path / "torn"
    for length in {*range(segment.head + 20), *range(segment.head, len(good), 7), len(good) - 1}:
        path.write_bytes(good[:length])
        with pytest.raises(WarehouseError, match="torn"):
            read_all(path)


def test_swapped_sections_are_found(tmp_path: Path) -> None:
    (segment,) = segments_of(tmp_path, few_keys(60, 2, 30, seed=2))
    good = segment.path.read_bytes()
    middle = segment.head + 60 * 8
    segment.path.write_bytes(good[: segment.head] + good[middle:] + good[segment.head : middle])
    with pytest.raises(WarehouseError):
        read_all(segment.path)


def framed(head: bytes, body: bytes = b"") -> bytes:
    """A file with a header of which the sum is right."""
    return b"YLBANDS1" + len(head).to_bytes(4, "little") + zlib.crc32(head + body).to_bytes(4, "little") + head + body


HEAD = {"rows": 1, "threshold": 0.8, "bands": 1, "values": 4, "seed": 1, "unit": "mixed"}


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"PAR1",
        b"PAR1" * 100,
        b"YLBANDS2" + bytes(500),
        b"YLBANDS1",
        b"YLBANDS1" + bytes(500),
        b"YLBANDS1" + b"\xff" * 500,
        framed(b"[1]"),
        framed(b"[" * 60_000),
        framed(b"5"),
        framed(b"{}"),
        framed(b"\xff\xfe"),
        framed(json.dumps(HEAD).encode()),
        framed(json.dumps({**HEAD, "bands": 1e300}).encode()),
        framed(json.dumps({**HEAD, "bands": math.inf}).encode()),
        framed(json.dumps({**HEAD, "bands": 1e10}).encode()),
        framed(json.dumps({**HEAD, "bands": -1}).encode(), bytes(500)),
        framed(json.dumps({**HEAD, "rows": None}).encode(), bytes(200)),
        framed(json.dumps({**HEAD, "rows": math.nan}).encode(), bytes(200)),
    ],
    ids=range(19),
)
def test_files_of_another_kind_are_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "other"
    path.write_bytes(content)
    with pytest.raises(WarehouseError, match="other: not a segment of band entries"):
        opened(path)


def test_segments_that_do_not_belong_together_are_refused(tmp_path: Path) -> None:
    (one,) = segments_of(tmp_path, few_keys(9, 3, 30, seed=2))
    for other in (replace(SCHEME, threshold=0.7), replace(SCHEME, seed=2), replace(SCHEME, bands=2, rows=6)):
        path = tmp_path / "other.bands"
        with path.open("wb") as file:
            write(file, few_keys(9, other.bands, 30, seed=2), other, "mixed")
        with pytest.raises(WarehouseError, match=r"other\.bands: made with"):
            components([one, opened(path)], np.ones(18, dtype=np.bool_))
    with pytest.raises(ValueError, match="18 rows, and 17"):
        components([one, one], np.ones(17, dtype=np.bool_))
