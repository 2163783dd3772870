from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from corpus.schema import REJECT_REASONS
from corpus.sources.base import Frame
from corpus.sources.framing import open_file, sniff
from tests.sources.framing.support import read, read_path

POINTER = (
    b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a214614ab2935c943f9e0ff69d22eadbb8f32b1258daaa5e2ca24d17e2393\nsize 12345\n"
)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "empty_file"),
        (b" \n\n", "empty_file"),
        (POINTER, "lfs_pointer"),
        (b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 20, "unknown_format"),
        (b"<html><body>404</body></html>", "unknown_format"),
        ("这是一段普通的文字，不是表格。\n".encode() * 5, "unknown_format"),
        (b"a,b\n", "empty_file"),
    ],
)
def test_files_without_records_are_one_reject(tmp_path: Path, data: bytes, reason: str) -> None:
    seen = read(tmp_path / "x.jsonl.gz", data)
    assert seen.reasons == [reason]
    assert reason in REJECT_REASONS
    assert seen.rejects[0].detail


def test_what_is_no_file(tmp_path: Path) -> None:
    assert read_path(tmp_path)[0].reasons == ["not_a_file"]
    assert read_path(tmp_path / "none")[0].reasons == ["unreadable"]
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    assert read_path(tmp_path / "loop")[0].reasons == ["unreadable"]
    os.mkfifo(tmp_path / "pipe")
    assert read_path(tmp_path / "pipe")[0].reasons == ["not_a_file"]
    with socket.socket(socket.AF_UNIX) as s:
        s.bind(str(tmp_path / "s"))
        assert read_path(tmp_path / "s")[0].reasons == ["not_a_file"]


def test_a_file_that_may_not_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "x.json"
    path.write_bytes(b'{"a": 1}\n')

    def refuse(self: Path, *args: object) -> object:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", refuse)
    (seen,) = read_path(path)
    assert (seen.reasons, seen.rejects[0].detail) == (["unreadable"], "Permission denied")


def test_an_unknown_format_is_the_callers_mistake(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="unknown format"):
        list(open_file(tmp_path, "x", "recrods"))


def test_a_framer_of_the_sources_own_folds_frames(tmp_path: Path) -> None:
    class Joined:
        base = "lines"

        def __call__(self, frames: Iterator[Frame]) -> Iterator[Frame]:
            for frame in frames:
                frame.values = [v.upper() for v in frame.values]
                yield frame

    assert read(tmp_path / "x.txt", b"a\nb\n", Joined()).values == ["A", "B"]


@pytest.mark.parametrize(
    ("data", "container", "parts"),
    [
        (b'{"a": 1}\n{"a": 2}\n', "json lines", True),
        (b'[{"a": 1}]', "json array", False),
        (b'{"a":\n1}', "json objects", False),
        (b"[1, 2]\n[3, 4]\n", "json lines", True),
        (b"a,b\n1,2\n", "table", False),
        (b'{"a": "\\d"}\n', "json lines", True),
        (b'{"a": "x "y""}\n{"a": 1}\n', "json lines", True),
        (b"\xff\xfe{\0}\0\n\0", None, False),
        (POINTER, None, False),
        (b"", None, False),
    ],
)
def test_sniff(tmp_path: Path, data: bytes, container: str | None, parts: bool) -> None:
    path = tmp_path / "x"
    path.write_bytes(data)
    found = sniff(path)
    if not data.startswith(b"\xff"):
        assert found.container == container
    assert found.parts == parts
    assert sniff(tmp_path).container is None
