from __future__ import annotations

import gzip
import io
import json
import tarfile
import zipfile
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from corpus.sources.framing import Limits
from tests.sources.framing.support import Seen, read_path

ROWS = b'{"a": 1}\n{"a": 2}\n'
ARRAY = json.dumps([{"a": 3}]).encode()


def parquet() -> bytes:
    out = io.BytesIO()
    pq.write_table(pa.table({"a": [4, 5]}), out)
    return out.getvalue()


FILES = {
    "set/train.json": ROWS,
    "set/dev.json": ARRAY,
    "set/deep/x.parquet": parquet(),
    "set/y.jsonl.gz": gzip.compress(ROWS),
    "__MACOSX/set/._train.json": b"noise",
    "set/.DS_Store": b"noise",
}
VALUES = {"set/train.json": [1, 2], "set/dev.json": [3], "set/deep/x.parquet": [4, 5], "set/y.jsonl.gz": [1, 2]}


def tar(files: dict[str, bytes], mode: str = "w") -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode=mode) as archive:  # type: ignore[call-overload]
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return out.getvalue()


def zipped(files: dict[str, bytes]) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return out.getvalue()


def read_archive(tmp_path: Path, data: bytes, **limits: int) -> dict[str, Seen]:
    path = tmp_path / "x"
    path.write_bytes(data)
    seen = read_path(path, limits=Limits(**limits))
    assert sum(s.bytes for s in seen) <= len(data)
    return {s.name: s for s in seen}


@pytest.mark.parametrize("data", [tar(FILES), tar(FILES, "w:gz"), tar(FILES, "w:bz2"), tar(FILES, "w:xz"), zipped(FILES)])
@pytest.mark.parametrize("block_bytes", [100, 1 << 20])
def test_members_are_files(tmp_path: Path, data: bytes, block_bytes: int) -> None:
    seen = read_archive(tmp_path, data, block_bytes=block_bytes)
    assert {name: [v["a"] for v in s.values] for name, s in seen.items()} == {f"x!{n}": v for n, v in VALUES.items()}
    assert not any(s.rejects for s in seen.values())


def test_archives_in_archives(tmp_path: Path) -> None:
    inner = zipped({"in.json": ROWS})
    assert list(read_archive(tmp_path, tar({"a/b.zip": inner}, "w:gz"))) == ["x!a/b.zip!in.json"]
    for n in range(6):
        inner = zipped({f"{n}.zip": inner})
    (seen,) = read_archive(tmp_path, inner).values()
    assert seen.reasons == ["unsafe_archive"]


def test_unsafe_members_are_rejected_and_the_others_read(tmp_path: Path) -> None:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        for name in ("../up.json", "/etc/x.json", "ok/../../x.json"):
            info = tarfile.TarInfo(name)
            info.size = len(ROWS)
            archive.addfile(info, io.BytesIO(ROWS))
        for kind in (tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE):
            info = tarfile.TarInfo(f"special{kind.decode()}")
            info.type, info.linkname = kind, "/etc/passwd"
            archive.addfile(info)
        info = tarfile.TarInfo("good.json")
        info.size = len(ROWS)
        archive.addfile(info, io.BytesIO(ROWS))
    seen = read_archive(tmp_path, out.getvalue())
    assert [s.reasons for s in seen.values()] == [["unsafe_archive"]] * 7 + [[]]
    assert seen["x!good.json"].records == 2
    assert [p.name for p in tmp_path.iterdir()] == ["x"]
    for each in read_archive(tmp_path, zipped({"../a.json": ROWS, "C:/b.json": ROWS, "\\c.json": ROWS})).values():
        assert each.reasons == ["unsafe_archive"]


def test_bounds(tmp_path: Path) -> None:
    files = {f"{i}.json": ROWS for i in range(10)}
    for data in (tar(files), zipped(files)):
        seen = list(read_archive(tmp_path, data, archive_members=5).values())
        assert [s.records for s in seen] == [2, 2, 2, 2, 2, 1]
        assert seen[-1].reasons == ["unsafe_archive"]
        seen = list(read_archive(tmp_path, data, archive_bytes=4 * len(ROWS)).values())
        assert [s.records for s in seen] == [2, 2, 2, 2, 1]
        assert seen[-1].reasons == ["unsafe_archive"]
    bomb = zipped({"bomb.json": b"0" * (32 << 20)})
    (one,) = read_archive(tmp_path, bomb, archive_bytes=1 << 20, record_bytes=1 << 16).values()
    assert "unsafe_archive" in one.reasons


def test_cut_archives(tmp_path: Path) -> None:
    files = {f"{i}.json": ROWS * 500 for i in range(4)}
    cut = read_archive(tmp_path, tar(files)[: 3 * len(ROWS) * 500])
    assert next(iter(cut.values())).records == 1000
    assert list(cut.values())[-1].reasons[-1:] == ["truncated"]
    packed = tar(files, "w:gz")
    assert list(read_archive(tmp_path, packed[: len(packed) // 2]).values())[-1].reasons[-1:] == ["truncated"]
    (seen,) = read_archive(tmp_path, zipped(files)[:-30]).values()
    assert seen.reasons == ["truncated"]


def test_a_damaged_member_costs_only_itself(tmp_path: Path) -> None:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr("a.json", ROWS)
        archive.writestr("b.json", ROWS)
    data = out.getvalue().replace(b'{"a": 1}', b'{"a": 9}', 1)
    seen = read_archive(tmp_path, data)
    assert seen["x!a.json"].reasons == ["corrupt"]
    assert seen["x!b.json"].records == 2


def test_an_archive_without_a_file(tmp_path: Path) -> None:
    (seen,) = read_archive(tmp_path, zipped({})).values()
    assert seen.reasons == ["empty_file"]
