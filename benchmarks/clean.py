"""The whole clean stage beside the rules of a public pipeline run row by row.

Ours is the clean stage as `corpus build` runs it, in one process with one thread: it reads the parsed rows of every chat source, applies
all rules of recipe `everything`, measures every row, computes its keys, and commits two parquet files a partition (zstd 3, sha256, fsync).

The baseline is labelled as what it is: the cleaning that ChatLM-mini-Chinese does to the same kind of rows, written anew here from its
description and as a careful Python programmer would write it, one row at a time. It turns spaces into commas, collapses runs of
punctuation,
converts traditional characters, drops short texts and texts with certain words, and cuts what is left at 512 characters. It damages text
(that
is why it is here and not in the package), measures nothing and writes one parquet file. Its input is read from the same parquet files.

Both are timed inside their process, around the work, in CPU seconds of that process; each run is a process of its own, alternately.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import statistics
import tempfile
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from benchmarks.measure import OUT, ROOT, fresh, spread, table

MODULE = "benchmarks.clean"
TARGET_MB, TARGET_RATIO = 15, 10
HEAD = ("side", "rows", "MB of text", "CPU, s", "MB/s", "rows/s")


def run(folder: Path | None, pairs: int) -> dict[str, Any]:
    """Parses `folder` once, then cleans what was parsed; returns what was measured."""
    if folder is None:
        return {}
    root = OUT / "clean"
    fresh(MODULE, "parse", folder, root)
    runs: dict[str, list[dict[str, Any]]] = {"ours": [], "rows": []}
    fresh(MODULE, "ours", folder, root)  # a warm-up: caches, bytecode, compiled kernels
    for _ in range(pairs):
        for side in runs:
            runs[side].append(fresh(MODULE, side, folder, root))
    ours, peer = ([r["cpu"] for r in runs[side]] for side in runs)
    return {"runs": runs, "ratios": [b / a for a, b in zip(ours, peer, strict=True)]}


def show(found: dict[str, Any]) -> str:
    """The result as a Markdown table."""
    if not found:
        return "needs --data: a folder of upstream files"
    rows = []
    for side, runs in found["runs"].items():
        cpu = statistics.median(r["cpu"] for r in runs)
        rows.append((
            {"ours": "clean stage", "rows": "ChatLM's rules, row by row"}[side], f"{runs[0]['rows']:,}", f"{runs[0]['bytes'] / 1e6:.1f}",
            spread([r["cpu"] for r in runs]), f"{runs[0]['bytes'] / cpu / 1e6:.1f}", f"{runs[0]['rows'] / cpu:,.0f}",
        ))  # fmt: skip
    targets = f"Targets: {TARGET_MB} MB/s of UTF-8 a core, and {TARGET_RATIO} times the rows."
    return table(HEAD, rows) + f"\n\nRatio of rows per second: {spread(found['ratios'])}. {targets}"


def _partitions(folder: Path, root: Path) -> Iterator[Any]:
    """The parsed partitions of chat sources (every source but the encyclopaedias), and the tasks that clean them."""
    from corpus import pipeline
    from corpus.recipe import find, load
    from corpus.stages import clean, parse
    from corpus.warehouse.builds import Warehouse

    warehouse = Warehouse(root)
    context, _ = pipeline.context(load(find("everything", ROOT / "recipes")), folder, warehouse.index)
    parsed = []
    for task in parse.plan(context):
        if task.key.startswith("wiki"):
            continue
        known = warehouse.reusable(task.stage, task.key, task.fingerprint)
        if known is None:
            known = task.run(task, root, _silent)
            warehouse.commit(known)
        parsed.append((known, known.one("rows"), known.fingerprint))
    warehouse.index.save()
    return iter(clean.plan(context, parsed))


def _silent(size: int, rows: int) -> None:
    pass


def parse_all(folder: Path, root: Path) -> dict[str, Any]:
    """Parses what is not parsed yet."""
    return {"partitions": len(list(_partitions(folder, root)))}


def ours(folder: Path, root: Path) -> dict[str, Any]:
    """Cleans all partitions into a folder that is thrown away."""
    tasks = list(_partitions(folder, root))
    size, rows = _size(root, tasks)
    with tempfile.TemporaryDirectory(dir=root) as scratch:
        place = Path(scratch)
        (place / "parsed").symlink_to((root / "parsed").resolve())
        tasks[0].run(tasks[0], place, _silent)  # loads compiled kernels and dictionaries
        began = time.process_time()
        for task in tasks:
            task.run(task, place, _silent)
        return {"cpu": time.process_time() - began, "bytes": size, "rows": rows}


def _size(root: Path, tasks: Iterable[Any]) -> tuple[int, int]:
    """Bytes of text and number of rows."""
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    size = rows = 0
    for task in tasks:
        found = pq.read_table(root / task.spec["rows"].path, columns=["messages", "chosen", "rejected", "title", "text"])
        rows += found.num_rows
        for name in ("messages", "chosen", "rejected"):
            size += pc.sum(pc.binary_length(found[name].combine_chunks().flatten().field("content"))).as_py() or 0
        for name in ("title", "text"):
            size += pc.sum(pc.binary_length(found[name])).as_py() or 0
    return size, rows


_PUNCTUATION = set("!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~，。！？；：、（）《》【】“”‘’…—～·s")
_SPACE = re.compile("[ \u3000]")
_WORDS = ("翻译", "translate", "表格")


def one_by_one(folder: Path, root: Path) -> dict[str, Any]:
    """The baseline."""
    import opencc
    import pyarrow as pa
    import pyarrow.parquet as pq

    tasks = list(_partitions(folder, root))
    size, rows = _size(root, tasks)
    convert = opencc.OpenCC("t2s").convert

    def normal(text: str) -> str:
        text = _SPACE.sub("，", text)
        out = []
        inside = False
        for char in text:
            mark = char in _PUNCTUATION
            if not (mark and inside):
                out.append(char)
            inside = mark
        return convert("".join(out))

    with tempfile.TemporaryDirectory(dir=root) as scratch:
        began = time.process_time()
        schema = pa.schema([("prompt", pa.string()), ("response", pa.string())])
        with pq.ParquetWriter(Path(scratch) / "out.parquet", schema, compression="zstd", compression_level=3) as writer:
            for task in tasks:
                found = pq.read_table(root / task.spec["rows"].path, columns=["messages", "chosen", "rejected", "title", "text"])
                kept: dict[str, list[str]] = {"prompt": [], "response": []}
                for row in found.to_pylist():
                    turns = [m["content"] for name in ("messages", "chosen", "rejected") for m in row[name] or ()]
                    turns = turns or [row["title"] or "", row["text"] or ""]
                    texts = [normal(turn) for turn in turns]
                    prompt, response = "".join(texts[:-1]), texts[-1]
                    if len(prompt) < 3 or len(response) < 3 or any(word in prompt for word in _WORDS) or "-----" in response:
                        continue
                    kept["prompt"].append(prompt[:512])
                    kept["response"].append(response[:512])
                writer.write_table(pa.table(kept, schema=schema))
        return {"cpu": time.process_time() - began, "bytes": size, "rows": rows}


def main() -> None:
    """One run of one side, as a process of its own."""
    parser = argparse.ArgumentParser()
    parser.add_argument("side", choices=["parse", "ours", "rows"])
    parser.add_argument("folder", type=Path)
    parser.add_argument("root", type=Path)
    given = parser.parse_args()
    print(json.dumps({"parse": parse_all, "ours": ours, "rows": one_by_one}[given.side](given.folder, given.root)))


if __name__ == "__main__":
    os.environ.update(POLARS_MAX_THREADS="1", OMP_NUM_THREADS="1")
    main()
