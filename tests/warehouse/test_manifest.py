"""Manifests: a line counts or it does not, and a fingerprint says what it is made of."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from corpus.warehouse.manifest import FileEntry, Manifests, Partition, differences, fingerprint


def partition(key: str, stage: str = "parse", version: int = 1) -> Partition:
    parts = {"version": version, "inputs": {"a\n.json": "语"}}
    return Partition(stage, key, fingerprint(parts), parts, (FileEntry("rows", f"parsed/{key}", 1, 2, "00"),), {"note": 'line\nend"'})


def test_lines_are_read_back_as_they_were_written(tmp_path: Path) -> None:
    manifests = Manifests(tmp_path)
    made = [partition("a"), partition("b"), partition("a", version=2), partition("a", stage="clean")]
    for each in made:
        manifests.append(each)
    found = Manifests(tmp_path).all()
    assert len(found) == len(made)
    assert all(each in found for each in made)
    assert Manifests(tmp_path).get("parse", "b", made[1].fingerprint) == made[1]
    assert Manifests(tmp_path).get("parse", "b", "another") is None


@pytest.mark.parametrize("keep", [0, 1, 10, 17, -2, -1])
def test_a_torn_line_is_nothing_and_what_comes_after_counts(tmp_path: Path, keep: int) -> None:
    manifests = Manifests(tmp_path)
    manifests.append(partition("a"))
    path = tmp_path / "manifests/parse.jsonl"
    whole = path.read_bytes()
    manifests.append(partition("b"))
    torn = path.read_bytes()[len(whole) :][:keep]
    path.write_bytes(whole + torn)
    again = Manifests(tmp_path)
    # All but the line end is a whole line.
    assert [p.key for p in again.all()] == (["a", "b"] if keep == -1 else ["a"])
    again.append(partition("c"))
    assert [p.key for p in Manifests(tmp_path).all()] == (["a", "b", "c"] if keep == -1 else ["a", "c"])


@given(st.integers(0, 200), st.integers(1, 255))
@settings(max_examples=40, deadline=None)
def test_an_altered_byte_makes_a_line_nothing(at: int, by: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        manifests = Manifests(Path(folder))
        manifests.append(partition("a"))
        path = Path(folder) / "manifests/parse.jsonl"
        content = bytearray(path.read_bytes())
        content[at % (len(content) - 1)] ^= by
        path.write_bytes(bytes(content))
        assert Manifests(Path(folder)).all() == []


def test_forgetting_leaves_what_is_kept_and_writes_only_what_changes(tmp_path: Path) -> None:
    manifests = Manifests(tmp_path)
    for each in (partition("a"), partition("b"), partition("c", stage="clean")):
        manifests.append(each)
    before = (tmp_path / "manifests/clean.jsonl").stat()
    manifests.forget([partition("b"), partition("c", stage="clean")])
    assert [p.key for p in Manifests(tmp_path).all()] == ["c", "b"]
    after = (tmp_path / "manifests/clean.jsonl").stat()
    assert (after.st_ino, after.st_mtime_ns) == (before.st_ino, before.st_mtime_ns)
    assert manifests.get("parse", "a", partition("a").fingerprint) is None


def test_fingerprints_know_values_and_not_the_order_of_keys() -> None:
    assert fingerprint({"a": 1, "b": {"c": [1, 2], "d": "语"}}) == fingerprint({"b": {"d": "语", "c": [1, 2]}, "a": 1})
    different = [{"a": 1}, {"a": "1"}, {"a": 1.5}, {"a": True}, {"a": None}, {"a": [1]}, {"a": {}}, {"b": 1}, {}]
    assert len({fingerprint(parts) for parts in different}) == len(different)


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ({"clean": {"max_chars": None}}, {"clean": {"max_chars": 500}}, "clean.max_chars None → 500"),
        ({"inputs": {"a.json": "x"}}, {"inputs": {"a.json": "y"}}, "input a.json changed"),
        ({"inputs": {"a": "x"}}, {"inputs": {"b": "x"}}, "input b new; input a gone"),
        (
            {"version": 1, "libraries": {"pyarrow": "1"}},
            {"version": 2, "libraries": {"pyarrow": "2"}},
            "libraries.pyarrow 1 → 2; version 1 → 2",
        ),
        ({"x": "a" * 100}, {"x": "b" * 100}, "x changed"),
        (dict.fromkeys("abcde", 1), dict.fromkeys("abcde", 2), "a 1 → 2; b 1 → 2; c 1 → 2; and 2 more"),
        ({"a": 1}, {"a": 1}, ""),
    ],
)
def test_differences_in_words(old: dict[str, object], new: dict[str, object], said: str) -> None:
    assert differences(old, new) == said


def test_one_file_of_a_table() -> None:
    assert partition("a").one("rows").path == "parsed/a"
    with pytest.raises(LookupError, match="parse/a has 0 files of table rejects"):
        partition("a").one("rejects")
