"""Every source against a small file in its publisher's exact format.

`golden/<source>/data/…` is a data folder as `--data` expects it, `golden/<source>/expected.jsonl` what comes out: one line per
row and per reject, in order. After looking at every line of the difference, write expectations anew with `python -m
tests.sources.test_golden SOURCE…`.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from corpus.sources import claim, registry
from corpus.sources.base import Source
from corpus.sources.read import Occurrences, read_file

GOLDEN = Path(__file__).parent / "golden"
SOURCES = registry()
_SHOWN = ("kind", "subset", "upstream_split", "messages", "chosen", "rejected", "title", "text", "meta", "recovered", "skip", "records")


def read_folder(source: Source, data: Path) -> list[dict[str, Any]]:
    """Rows and rejects of all files below `data` that `source` claims, in path order."""
    out: list[dict[str, Any]] = []
    seen = Occurrences()
    for path in sorted(p for p in data.rglob("*") if p.is_file()):
        name = path.relative_to(data).as_posix()
        owner = claim(name, SOURCES.values())
        assert owner is not None, f"no source claims {name}"
        assert owner.name == source.name, f"{name} is claimed by {owner.name}, not by {source.name}"
        stats = []
        for batch in read_file(source, path, name, seen, on_file=stats.append):
            for row in batch.rows.to_pylist() if batch.rows is not None else []:
                shown = {k: row[k] for k in _SHOWN if row[k] is not None and row[k] != []}
                if "meta" in shown:
                    shown["meta"] = json.loads(shown["meta"])
                for key in ("messages", "chosen", "rejected"):
                    if key in shown:
                        shown[key] = [[m["role"], m["content"]] for m in shown[key]]
                out.append({"file": row["file"], "record": row["record"], **shown})
            out += [{k: r[k] for k in ("file", "record", "reason", "detail")} for r in batch.rejects]
        for s in stats:
            assert s.records == s.row_records + s.rejects, f"{s.file}: {s.records} records, {s.row_records} in rows, {s.rejects} rejected"
    return out


@pytest.mark.parametrize("name", sorted(SOURCES))
def test_source_reads_its_golden_file(name: str) -> None:
    folder = GOLDEN / name
    assert folder.is_dir(), f"source {name} has no golden file: tests/sources/golden/{name}/"
    expected = [json.loads(line) for line in (folder / "expected.jsonl").read_text(encoding="utf-8").splitlines()]
    assert read_folder(SOURCES[name], folder / "data") == expected


def test_no_golden_without_a_source() -> None:
    assert {p.name for p in GOLDEN.iterdir() if p.is_dir()} <= set(SOURCES)


if __name__ == "__main__":
    for each in sys.argv[1:] or sorted(SOURCES):
        lines = [json.dumps(row, ensure_ascii=False) for row in read_folder(SOURCES[each], GOLDEN / each / "data")]
        (GOLDEN / each / "expected.jsonl").write_text("".join(line + "\n" for line in lines), encoding="utf-8")
        print(f"{each}: {len(lines)} lines")
