"""The source `adopted`: which files are its own, and what its records become."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from corpus.errors import RecipeError
from corpus.sources import claim, registry, resolve
from corpus.sources.adopted import NAME, SOURCE, found
from corpus.sources.generic import generic_source
from corpus.sources.read import FileStats, Occurrences, read_file

RECORD: dict[str, Any] = {
    "request": "0123456789abcdef" * 2, "split": "rm", "n": 1, "run": "sft-1", "model": "m", "settings": {"temperature": 1.0},
    "source": "alpaca", "subset": "en", "license": "CC BY-NC 4.0", "upstream_split": "validation",
    "prompt": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "为什么？"}],
    "chosen": [{"role": "assistant", "content": "因为。"}], "rejected": "不知道。", "finished": False, "more": {"score": 0.5},
}  # fmt: skip


def read(path: Path, records: list[Any]) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Rows and rejects of an adopted file with these records."""
    path.write_text("".join(json.dumps(r, ensure_ascii=False) + "\n" for r in records), encoding="utf-8")
    rows, rejects = [], []
    stats: list[FileStats] = []
    for batch in read_file(SOURCE, path, "adopted/r/sft-1.jsonl", Occurrences(), on_file=stats.append):
        rows += batch.rows.to_pylist() if batch.rows is not None else []
        rejects += batch.rejects
    assert [s.records for s in stats] == [len(records)]
    return rows, rejects


def test_a_record_is_a_pair_with_the_terms_of_its_request(tmp_path: Path) -> None:
    bare = {k: v for k, v in RECORD.items() if k not in ("upstream_split", "finished", "more")} | {"subset": None, "license": "MIT", "n": 0}
    [row, other], rejects = read(tmp_path / "a.jsonl", [RECORD, bare])
    assert rejects == []
    assert (row["source"], row["kind"], row["license"], row["subset"], row["upstream_split"]) == (
        "adopted", "preference", "CC BY-NC 4.0", "en", "validation",
    )  # fmt: skip
    assert (row["messages"], row["chosen"]) == (RECORD["prompt"], RECORD["chosen"])
    assert row["rejected"] == [{"role": "assistant", "content": "不知道。"}]
    kept = ("request", "split", "n", "run", "model", "settings", "source", "finished", "more")
    assert json.loads(row["meta"]) == {k: RECORD[k] for k in kept}
    assert (other["license"], other["subset"], other["upstream_split"]) == ("MIT", None, None)
    assert "finished" not in json.loads(other["meta"])


def test_identities_hang_on_the_record_alone(tmp_path: Path) -> None:
    more = [RECORD | {"n": n} for n in range(4)]
    one, _ = read(tmp_path / "a.jsonl", more)
    other, _ = read(tmp_path / "b.jsonl", [dict(reversed(r.items())) for r in reversed(more)])
    assert [r["row_id"] for r in one] == [r["row_id"] for r in reversed(other)]
    assert len({r["row_id"] for r in one}) == 4


@pytest.mark.parametrize(
    "change",
    [
        {"request": "xyz"}, {"request": None}, {"request": "0" * 33}, {"split": "sft"}, {"split": ["rm"]}, {"n": -1}, {"n": "1"}, {"n": True},
        {"upstream_split": "other"}, {"prompt": []}, {"prompt": "text"}, {"prompt": [{"role": "root", "content": "x"}]}, {"chosen": []},
        {"rejected": " "}, {"rejected": 5}, {"license": ""}, {"license": None}, {"subset": 5}, {"run": 5}, {"model": []},
    ],
)  # fmt: skip
def test_what_no_adoption_wrote_is_rejected(tmp_path: Path, change: dict[str, Any]) -> None:
    rows, rejects = read(tmp_path / "a.jsonl", [RECORD | change, RECORD])
    assert len(rows) == len(rejects) == 1
    assert rejects[0]["reason"] in ("shape", "no_rows")
    assert rows[0]["license"] == "CC BY-NC 4.0"


def test_its_files_lie_in_the_warehouse_and_nowhere_else(tmp_path: Path) -> None:
    folder = tmp_path / NAME / "r"
    assert found(tmp_path, "r") == ()
    folder.mkdir(parents=True)
    for name in ("b.jsonl", "a.jsonl", "a.refused.jsonl", "a.manifest.json", ".c.jsonl", "d.jsonl.tmp-7", "readme.jsonl"):
        (folder / name).write_text("")
    assert [(f.name, f.fault) for f in found(tmp_path, "r")] == [(f"adopted/r/{n}.jsonl", None) for n in ("a", "b", "readme")]
    assert NAME not in registry()
    assert resolve(NAME) is SOURCE
    assert SOURCE.match("adopted/r/a.jsonl") is None
    owner = claim("adopted/r/a.jsonl", registry().values())
    assert owner is None
    with pytest.raises(RecipeError, match="corpus adopt"):
        generic_source(NAME, ["*.jsonl"])
