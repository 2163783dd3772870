"""`corpus encode` beside `datasets.map` with the same tokenizer, two processors each.

`python -m benchmarks.encode [--mb N] [--pairs N]`. The split is generated: conversations, half Chinese, half English, in the template
`human-assistant`, with their spans. The tokenizer is trained on a tenth of it, byte-level BPE with 32,000 tokens at most, and is the same
file on all sides.

- ours: `corpus.tokenizer.encode_run.run` with two threads: ids, and the tokens that are to be learned, to parquet, and to flat files.
- library: the same line with the tokenizers library in place of the compiled encoder: what other tokenizers are encoded by.
- datasets: `load_dataset("parquet")` and `map(batched=True, num_proc=2)` over `AutoTokenizer`, with the columns of the split removed: ids
  and attention mask, to Arrow files. Nothing is said there of what is to be learned.

Every side runs in a process of its own, in turn; seconds of wall time from the start of the work, imports left out, with all files written;
peak memory of the largest process. Before anything is timed, the ids of all sides are held to be the same.
"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
import sys
import time
from pathlib import Path
from typing import Any

from benchmarks.measure import OUT, fresh, table, watch

MODULE = "benchmarks.encode"
FOLDER = OUT / "encode"
SIDES = ("ours", "flat", "library", "datasets")
TARGET = 2
PROCESSORS = 2
HEAD = ("side", "seconds", "million tokens/s", "MB/s", "times datasets.map", "peak MB")


def run(megabytes: int, pairs: int) -> dict[str, Any]:
    """Seconds and tokens of every side, `pairs` times."""
    made = fresh(MODULE, "--make", "--mb", megabytes)
    runs: dict[str, list[dict[str, Any]]] = {side: [] for side in SIDES}
    for _ in range(pairs):
        for side in SIDES:
            watched = watch([sys.executable, "-m", MODULE, "--side", side])
            if watched.status:
                raise RuntimeError(f"side {side} failed:\n{watched.output}")
            runs[side].append({**json.loads(watched.output.splitlines()[-1]), "peak": watched.peak})
    if len({(r["tokens"], r["digest"]) for each in runs.values() for r in each}) != 1:
        raise RuntimeError("the sides differ in their ids")
    return {"bytes": made["bytes"], "runs": runs}


def show(found: dict[str, Any]) -> str:
    """The result as a Markdown table of medians."""
    seconds = {side: statistics.median(r["seconds"] for r in runs) for side, runs in found["runs"].items()}
    rows = []
    for side, runs in found["runs"].items():
        took = seconds[side]
        rows.append((
            side, f"{took:.1f}", f"{runs[0]['tokens'] / took / 1e6:.2f}", f"{found['bytes'] / took / 1e6:.1f}",
            f"{seconds['datasets'] / took:.1f}", f"{max(r['peak'] for r in runs):.0f}",
        ))  # fmt: skip
    return table(HEAD, rows) + f"\n\nTarget: {TARGET} times the tokens per second of datasets.map."


def make(megabytes: int) -> dict[str, Any]:
    """A warehouse with one split, and a tokenizer for it."""
    import polars as pl
    import pyarrow as pa
    import pyarrow.compute as pc

    from benchmarks.render import conversations
    from corpus.schema import DIALOGUE_SPLIT, MESSAGES
    from corpus.splits.groups import cuts, row_bytes
    from corpus.splits.templates import HUMAN_ASSISTANT, render
    from corpus.tokenizer.bpe import train
    from corpus.tokenizer.spec import TokenizerSpec
    from corpus.tokenizer.specials import specials
    from corpus.warehouse.builds import Build, Warehouse
    from corpus.warehouse.commit import PartitionWriter
    from corpus.warehouse.manifest import Partition

    shutil.rmtree(FOLDER, ignore_errors=True)
    messages = pa.array(conversations(megabytes * 1_000_000, marked=False), MESSAGES)
    text, spans = render(HUMAN_ASSISTANT, messages)
    n = len(messages)
    fixed = {name: pa.array([value] * n) for name, value in (("source", "generated"), ("license", "CC0-1.0"), ("kind", "dialogue"))}
    columns = {
        "row_id": pa.array([f"{i:032x}" for i in range(n)]), "subset": pa.nulls(n, pa.string()), "repeat": pa.array([0] * n, pa.int32()),
        "messages": messages, "text": text, "spans": spans, **fixed,
    }  # fmt: skip
    rows = pa.table([columns[c.name] for c in DIALOGUE_SPLIT.columns], schema=DIALOGUE_SPLIT.schema)
    warehouse = Warehouse(FOLDER / "warehouse")
    relative = "splits/benchmark/sft/train-00000-of-00001.parquet"
    with PartitionWriter(warehouse.root, relative, rows.schema, "split:sft:train") as writer:
        for first, after in cuts(row_bytes(rows), 4 << 20, 1000):
            writer.write(rows.slice(first, after - first).combine_chunks())
    partition = Partition("shards", "benchmark", "f" * 32, {}, (writer.committed,))
    warehouse.commit(partition)
    settings = {"template": HUMAN_ASSISTANT.name, "splits": {"sft": {}}}
    warehouse.record(Build("benchmark", "", "", "", settings, {}, (("shards", "benchmark", "f" * 32),)))
    tokenizer = train([pl.Series(text[: n // 10])], TokenizerSpec(), specials(HUMAN_ASSISTANT)).tokenizer
    (FOLDER / "tokenizer").mkdir()
    tokenizer.save(str(FOLDER / "tokenizer" / "tokenizer.json"))
    (FOLDER / "tokenizer" / "tokenizer_config.json").write_text(
        json.dumps({"tokenizer_class": "PreTrainedTokenizerFast", "eos_token": "</s>"}), encoding="utf-8"
    )
    return {"bytes": pc.sum(pc.binary_length(text)).as_py()}


def side(name: str) -> dict[str, Any]:
    """Runs one side; seconds, tokens, and a digest of all ids."""
    out = FOLDER / name
    shutil.rmtree(out, ignore_errors=True)
    return _datasets(out) if name == "datasets" else _ours(name, out)


def _ours(name: str, out: Path) -> dict[str, Any]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    from corpus.tokenizer import encode, encode_run, fast
    from corpus.tokenizer.encoded import Layout, open_flat

    if name == "library":
        fast.tables = lambda settings: None
    settings = (FOLDER / "tokenizer" / "tokenizer.json").read_bytes()
    encode.prepared(settings, FOLDER)[1](pa.array(["a </s>", "长江"]))  # loads what is compiled, as an import does
    layout = Layout.FLAT if name == "flat" else Layout.PARQUET
    began = time.perf_counter()
    encode_run.run(FOLDER / "warehouse", tokenizer=FOLDER / "tokenizer", out=out, layout=layout, workers=PROCESSORS)
    seconds = time.perf_counter() - began
    if layout is Layout.FLAT:
        flat = open_flat(out / "sft")
        return _told(seconds, (flat.ids(row) for row in range(len(flat))))
    ids = pq.read_table(out / "sft" / "train-00000-of-00001.parquet", columns=["input_ids"])["input_ids"]
    return _told(seconds, (chunk.flatten().to_numpy() for chunk in ids.chunks))


def _datasets(out: Path) -> dict[str, Any]:
    import os

    os.environ |= {"HF_HUB_OFFLINE": "1", "HF_DATASETS_CACHE": str(out), "TOKENIZERS_PARALLELISM": "false"}
    import datasets
    from transformers import AutoTokenizer

    datasets.disable_progress_bars()
    tokenizer = AutoTokenizer.from_pretrained(FOLDER / "tokenizer")
    path = FOLDER / "warehouse" / "splits" / "benchmark" / "sft" / "train-00000-of-00001.parquet"
    rows = datasets.load_dataset("parquet", data_files=str(path), split="train", cache_dir=str(out))
    began = time.perf_counter()
    found = rows.map(
        lambda batch: tokenizer(batch["text"], add_special_tokens=False),
        batched=True,
        num_proc=PROCESSORS,
        remove_columns=rows.column_names,
    )
    seconds = time.perf_counter() - began
    return _told(seconds, (chunk.flatten().to_numpy() for chunk in found.data.column("input_ids").chunks))


def _told(seconds: float, ids: Any) -> dict[str, Any]:
    from hashlib import sha256

    import numpy as np

    digest, tokens = sha256(), 0
    for each in ids:
        digest.update(np.ascontiguousarray(each, dtype=np.uint32))
        tokens += len(each)
    return {"seconds": seconds, "tokens": tokens, "digest": digest.hexdigest()}


def main() -> None:
    """Prints the table, or as JSON what one side took."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.encode", description=__doc__)
    parser.add_argument("--mb", type=int, default=100, help="MB of contents [100]")
    parser.add_argument("--pairs", type=int, default=3, help="runs of each side [3]")
    parser.add_argument("--side", choices=SIDES, help=argparse.SUPPRESS)
    parser.add_argument("--make", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.make:
        print(json.dumps(make(given.mb)))
    elif given.side is not None:
        print(json.dumps(side(given.side)))
    else:
        print(show(run(given.mb, given.pairs)))


if __name__ == "__main__":
    main()
