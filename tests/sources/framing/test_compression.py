from __future__ import annotations

import bz2
import gzip
import json
import lzma
from pathlib import Path

import pyarrow as pa
import pytest

from tests.sources.framing.support import read, read_all_ways

LINES = [json.dumps({"a": i, "t": f"text number {i * 7919 % 1000}"}).encode() + b"\n" for i in range(20_000)]
HALVES = b"".join(LINES[:9_000]), b"".join(LINES[9_000:])


def zstd(data: bytes) -> bytes:
    return pa.compress(data, codec="zstd", asbytes=True)


PACK = {"gzip": gzip.compress, "bzip2": bz2.compress, "xz": lzma.compress, "zstd": zstd}


@pytest.mark.parametrize("kind", PACK)
def test_members_one_after_the_other_are_one_file(tmp_path: Path, kind: str) -> None:
    data = b"".join(map(PACK[kind], HALVES))
    seen = read(tmp_path / "x.json", data)
    assert seen.container == f"json lines ({kind})"
    assert [v["a"] for v in seen.values] == list(range(20_000))
    assert seen.offsets[1] == len(LINES[0])
    small = PACK[kind](HALVES[0][:300])
    assert read_all_ways(tmp_path / "x.json", small).ordinals[:3] == [0, 1, 2]


@pytest.mark.parametrize("kind", PACK)
def test_what_came_before_the_cut_is_read(tmp_path: Path, kind: str) -> None:
    packed = PACK[kind](b"".join(LINES))
    seen = read(tmp_path / "x.json", packed[: len(packed) * 2 // 3])
    n = len(seen.values)
    assert [v["a"] for v in seen.values] == list(range(n))
    assert seen.reasons == ["truncated"]
    assert seen.rejects[0].record == n
    if kind != "bzip2":  # its only block here is never finished
        assert n > 5_000
        assert LINES[n].startswith(seen.rejects[0].raw)


@pytest.mark.parametrize("kind", ["gzip", "bzip2", "xz"])
def test_damage_is_told_and_what_came_before_is_read(tmp_path: Path, kind: str) -> None:
    first, second = map(PACK[kind], HALVES)
    broken = bytearray(second)
    for at in range(len(broken) // 2, len(broken) // 2 + 40):
        broken[at] ^= 0xFF
    seen = read(tmp_path / "x.json", first + bytes(broken))
    assert [v["a"] for v in seen.values[:9_000]] == list(range(9_000))
    assert "corrupt" in seen.reasons[-1:]


def test_a_wrong_checksum_loses_nothing(tmp_path: Path) -> None:
    packed = bytearray(gzip.compress(b"".join(LINES)))
    packed[-6] ^= 1
    seen = read(tmp_path / "x.json", bytes(packed))
    assert len(seen.values) == 20_000
    assert seen.reasons == ["corrupt"]


def test_what_follows_the_last_member(tmp_path: Path) -> None:
    packed = gzip.compress(HALVES[0])
    assert not read(tmp_path / "x.json", packed + b"\0" * 512).rejects
    assert read(tmp_path / "x.json", packed + b"garbage").reasons == ["corrupt"]


def test_an_empty_member_and_compression_twice(tmp_path: Path) -> None:
    assert read(tmp_path / "x.json", gzip.compress(b"")).reasons == ["empty_file"]
    assert read(tmp_path / "x.json", gzip.compress(bz2.compress(HALVES[0]))).container == "json lines (gzip) (bzip2)"
    many = HALVES[0]
    for _ in range(6):
        many = gzip.compress(many)
    assert read(tmp_path / "x.json", many).reasons == ["unsafe_archive"]
