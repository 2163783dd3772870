"""What a scan of a data folder finds, and that its index gives the answers of `claim`."""

from __future__ import annotations

import os
import socket
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from corpus.errors import DataError
from corpus.schema import REJECT_REASONS
from corpus.sources import claim
from corpus.sources import registry as all_sources
from corpus.sources.base import Files, Hub, Source
from corpus.sources.found import Claims, is_data, listing, scan
from corpus.sources.shapes import alpaca


def source(name: str, *globs: str, hub: Hub | None = None) -> Source:
    return Source(name, f"about {name}", f"https://example.org/{name}", "MIT", name, tuple(Files(g) for g in globs), alpaca(), hub=hub)


SOURCES = {
    s.name: s
    for s in (
        source("belle", "Belle_open_source_*.json", "train_2M_CN*", hub=Hub("org/belle")),
        source("medical", "medical/dev.json", "medical/**/*.csv"),
        source("moss", "conversations/*/*.json"),
        source("rest", "*.jsonl"),
    )
}


def fill(root: Path, *names: str) -> Path:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(name)
    return root


def test_files_are_sorted_out_in_path_order(tmp_path: Path) -> None:
    names = [
        "b/Belle_open_source_1M.json", "a/train_2M_CN.json", "a-b/train_2M_CN.json", "medical/dev.json", "medical/内科/问答.csv",
        "dev.json", "x/conversations/a/1.json", "more.jsonl", "odd.bin",
    ]  # fmt: skip
    found = scan(fill(tmp_path, *names), SOURCES)
    assert {name: [f.path for f in files] for name, files in found.files.items()} == {
        "belle": ["a-b/train_2M_CN.json", "a/train_2M_CN.json", "b/Belle_open_source_1M.json"],
        "medical": ["medical/dev.json", "medical/内科/问答.csv"],
        "moss": ["x/conversations/a/1.json"],
        "rest": ["more.jsonl"],
    }
    assert list(found.files) == ["belle", "medical", "moss", "rest"]
    assert [f.path for f in found.unclaimed] == ["dev.json", "odd.bin"]
    assert found.faults == ()
    assert found.of("medical")[1].bytes == len("medical/内科/问答.csv".encode())
    assert found.of("nothing") == ()
    assert found.bytes == sum(len(n.encode()) for n in names if n not in ("dev.json", "odd.bin"))


def test_hidden_things_and_notes_are_passed_over(tmp_path: Path) -> None:
    notes = [
        ".cache/huggingface/a.jsonl", "a/.git/b.jsonl", ".gitattributes", "a/README.jsonl", "readme_zh.txt", "LICENSE-DATA", "SHA256SUMS",
        "a/notes.md", "__MACOSX/._a.jsonl",
    ]  # fmt: skip
    found = scan(fill(tmp_path, *notes), SOURCES)
    assert found.files == {}
    assert found.unclaimed == ()
    assert not any(is_data(n) for n in notes)
    assert is_data("a/b.jsonl")


def test_a_folder_with_the_name_of_a_file_is_a_fault(tmp_path: Path) -> None:
    fill(tmp_path, "Belle_open_source_1M.json/part-0", "train_2M_CN/train_2M_CN.json", "x.jsonl/Belle_open_source_2M.json")
    found = scan(tmp_path, SOURCES)
    assert [(f.path, f.source, f.reason) for f in found.faults] == [
        ("Belle_open_source_1M.json", "belle", "not_a_file"),
        ("x.jsonl", "rest", "not_a_file"),
    ]
    assert [f.path for f in found.of("belle")] == ["train_2M_CN/train_2M_CN.json", "x.jsonl/Belle_open_source_2M.json"]
    assert [f.path for f in found.unclaimed] == ["Belle_open_source_1M.json/part-0"]
    assert all(f.reason in REJECT_REASONS for f in found.faults)


def test_pipes_and_sockets_are_faults(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.jsonl")
    with socket.socket(socket.AF_UNIX) as s:
        s.bind(os.path.relpath(tmp_path / "socket"))
        found = scan(tmp_path, SOURCES)
    assert [(f.path, f.source, f.reason) for f in found.faults] == [("pipe.jsonl", "rest", "not_a_file"), ("socket", None, "not_a_file")]


def test_links_are_followed_within_the_folder_only(tmp_path: Path) -> None:
    data = fill(tmp_path / "data", "blobs/abc", "sub/a.jsonl")
    fill(tmp_path, "outside/secret.jsonl")
    (data / "linked.jsonl").symlink_to("blobs/abc")
    (data / "medical").symlink_to("sub")
    (data / "out.jsonl").symlink_to(tmp_path / "outside/secret.jsonl")
    (data / "outdir").symlink_to(tmp_path / "outside")
    (data / "gone.jsonl").symlink_to("nowhere")
    (data / "sub/up").symlink_to("..")
    (data / "twice").symlink_to("sub")
    found = scan(data, SOURCES)
    assert [f.path for f in found.of("rest")] == ["linked.jsonl", "medical/a.jsonl", "sub/a.jsonl"]
    assert {(f.path, f.source) for f in found.faults} == {
        ("out.jsonl", "rest"), ("outdir", None), ("gone.jsonl", "rest"), ("sub/up", None), ("medical/up", None), ("twice", None),
    }  # fmt: skip
    assert "copy the files" in next(f for f in found.faults if f.path == "out.jsonl").detail


def test_a_name_that_is_not_utf8_is_a_fault(tmp_path: Path) -> None:
    with open(os.path.join(os.fsencode(tmp_path), "内科.jsonl".encode("gbk")), "wb"):
        pass
    found = scan(tmp_path, SOURCES)
    assert found.files == {}
    assert [(f.path, f.source, f.reason) for f in found.faults] == [("\\xc4ڿ\\xc6.jsonl", "rest", "unreadable")]


def test_a_data_folder_that_is_none(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"there is no such folder; name the folder .* --data"):
        scan(tmp_path / "nowhere", SOURCES)
    fill(tmp_path, "file")
    with pytest.raises(DataError, match="it is not a folder"):
        scan(tmp_path / "file", SOURCES)
    (tmp_path / "empty").mkdir()
    assert scan(tmp_path / "empty", SOURCES).files == {}


def test_listing(tmp_path: Path) -> None:
    rows = listing(SOURCES, scan(fill(tmp_path, "a/train_2M_CN.json"), SOURCES))
    assert [r["name"] for r in rows] == list(SOURCES)
    assert rows[0] == {
        "name": "belle",
        "about": "about belle",
        "address": "https://example.org/belle",
        "license": "MIT",
        "kinds": ["dialogue"],
        "languages": ["en"],
        "patterns": ["Belle_open_source_*.json", "train_2M_CN*"],
        "folder": "belle",
        "files": 1,
        "bytes": len("a/train_2M_CN.json"),
        "missing": False,
        "faults": 0,
        "fetch": True,
        "get": "corpus fetch belle",
    }
    assert rows[1]["missing"] is True
    assert rows[1]["get"] == "download it by hand from https://example.org/medical"
    assert listing(SOURCES)[0]["files"] is None


_PIECES = st.sampled_from(["a", "b", "ab", "train", ".json", ".jsonl", ".gz", ".", "-", "医", "[", "]", "!", "\n", "**"])
_NAMES = st.lists(_PIECES, min_size=1, max_size=4).map("".join)
_PATHS = st.lists(_NAMES, min_size=1, max_size=4).map("/".join)
_GLOBS = st.lists(
    st.one_of(
        st.just("**"), st.lists(st.one_of(_PIECES, st.sampled_from(["*", "?", "[ab]", "[!a]", "[.]"])), min_size=1, max_size=4).map("".join)
    ),
    min_size=1,
    max_size=3,
).map("/".join)


@settings(max_examples=200, deadline=None)
@given(globs=st.lists(st.lists(_GLOBS, min_size=1, max_size=3), min_size=1, max_size=6), paths=st.lists(_PATHS, min_size=1, max_size=8))
def test_the_index_answers_like_claim(globs: list[list[str]], paths: list[str]) -> None:
    sources = [source(f"s{i}", *each) for i, each in enumerate(globs)]
    claims = Claims(sources)
    own = [g.replace("**/", "").replace("*", "x") for each in globs for g in each]
    for path in [*paths, *own, *(f"{p}/{o}" for p in paths for o in own)]:
        expected = claim(path, sources)
        assert claims.owner(path) is expected, path


def test_the_index_answers_like_claim_for_the_real_sources() -> None:
    sources = list(all_sources().values())
    claims = Claims(sources)
    for glob in [f.glob for s in sources for f in s.files]:
        for path in (glob.replace("*", "x").replace("?", "y"), glob.replace("**/", "").replace("*", ""), f"data/{glob.replace('*', '0')}"):
            assert claims.owner(path) is claim(path, sources), path


def test_many_files_are_matched_quickly() -> None:
    sources = [source(f"s{i}", f"s{i}_*.json", f"data_{i}.jsonl", f"*_{i}.csv", f"part{i}/*.parquet") for i in range(120)]
    claims = Claims(sources)
    paths = [
        f"some/folder/{i}/{name}" for i in range(5_000) for name in (f"s{i % 120}_{i}.json", f"x{i}.csv", f"{i}.parquet", f"data_{i}.jsonl")
    ]
    start = time.perf_counter()
    owners = [claims.owner(p) for p in paths]
    assert time.perf_counter() - start < 5  # 20,000 paths; 0.4 s were measured
    assert sum(o is not None for o in owners) > 5_000
