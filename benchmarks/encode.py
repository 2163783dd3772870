"""`corpus encode` beside `datasets.map` with the same tokenizer, two processors each, for every kind of tokenizer.

`python -m benchmarks.encode [--mb N] [--pairs N] [--kinds …]`. The split is generated: conversations, half Chinese, half English, in the
template `human-assistant`, with their spans. Tokenizers are trained on a tenth of it, with 32,000 tokens at most; each is the same file on
all sides. Beside the kinds that are trained here there are two with the pre-tokenizers of published ones, GPT-2's and Qwen's.

- ours: `corpus.tokenizer.encode_run.run` with two threads: ids, and the tokens that are to be learned, to parquet, and to flat files.
- library: the same line with the tokenizers library in place of the compiled encoders: what unknown tokenizers are encoded by.
- datasets: `load_dataset("parquet")` and `map(batched=True, num_proc=2)` over `AutoTokenizer`, with the columns of the split removed: ids
  and attention mask, to Arrow files. Nothing is said there of what is to be learned.

Every side runs in a process of its own, in turn; seconds of wall time from the start of the work, imports left out, with all files written;
peak memory of the largest process. The ids of all sides are held to be the same.
"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.measure import OUT, fresh, table, watch

MODULE = "benchmarks.encode"
FOLDER = OUT / "encode"
SIDES = ("ours", "flat", "library", "datasets")
TARGET = 2
PROCESSORS = 2
KINDS = ("bpe", "sentencepiece-bpe", "sentencepiece-unigram", "gpt2", "qwen")
HEAD = ("tokenizer", "side", "seconds", "million tokens/s", "MB/s", "times datasets.map", "peak MB")


def run(megabytes: int, pairs: int, kinds: Sequence[str]) -> dict[str, Any]:
    """Seconds and tokens of every side with every kind of tokenizer, `pairs` times."""
    made = fresh(MODULE, "--make", "--mb", megabytes, "--kinds", *kinds)
    runs: dict[str, dict[str, list[dict[str, Any]]]] = {kind: {side: [] for side in SIDES} for kind in kinds}
    for _ in range(pairs):
        for kind in kinds:
            for side in SIDES:
                watched = watch([sys.executable, "-m", MODULE, "--side", side, "--kinds", kind])
                if watched.status:
                    raise RuntimeError(f"side {side} failed with {kind}:\n{watched.output}")
                runs[kind][side].append({**json.loads(watched.output.splitlines()[-1]), "peak": watched.peak})
    for kind, sides in runs.items():
        if len({(r["tokens"], r["digest"]) for each in sides.values() for r in each}) != 1:
            raise RuntimeError(f"the sides differ in their ids with {kind}")
    return {"bytes": made["bytes"], "runs": runs}


def show(found: dict[str, Any]) -> str:
    """The result as a Markdown table of medians."""
    rows = []
    for kind, sides in found["runs"].items():
        seconds = {side: statistics.median(r["seconds"] for r in runs) for side, runs in sides.items()}
        for side, runs in sides.items():
            took = seconds[side]
            rows.append((
                kind, side, f"{took:.1f}", f"{runs[0]['tokens'] / took / 1e6:.2f}", f"{found['bytes'] / took / 1e6:.1f}",
                f"{seconds['datasets'] / took:.1f}", f"{max(r['peak'] for r in runs):.0f}",
            ))  # fmt: skip
    return table(HEAD, rows) + f"\n\nTarget: {TARGET} times the tokens per second of datasets.map."


def make(megabytes: int, kinds: Sequence[str]) -> dict[str, Any]:
    """A warehouse with one split, and tokenizers for it."""
    import pyarrow as pa
    import pyarrow.compute as pc

    from benchmarks.render import conversations
    from corpus.schema import DIALOGUE_SPLIT, MESSAGES
    from corpus.splits.groups import cuts, row_bytes
    from corpus.splits.templates import HUMAN_ASSISTANT, render
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
    for kind in kinds:
        folder = _tokenizer(kind)
        folder.mkdir()
        _trained(kind, text[: n // 10]).save(str(folder / "tokenizer.json"))
        config = {"tokenizer_class": "PreTrainedTokenizerFast", "eos_token": "</s>"}
        (folder / "tokenizer_config.json").write_text(json.dumps(config), encoding="utf-8")
    return {"bytes": pc.sum(pc.binary_length(text)).as_py()}


def _tokenizer(kind: str) -> Path:
    return FOLDER / f"tokenizer-{kind}"


def _trained(kind: str, text: Any) -> Any:
    """A tokenizer of a kind that is trained here, or with a published pre-tokenizer."""
    import polars as pl
    from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

    from corpus.splits.templates import HUMAN_ASSISTANT
    from corpus.tokenizer import bpe, published, spm
    from corpus.tokenizer.spec import TokenizerSpec
    from corpus.tokenizer.specials import specials

    given = specials(HUMAN_ASSISTANT)
    if kind == "bpe":
        return bpe.train([pl.Series(text)], TokenizerSpec(), given).tokenizer
    if kind.startswith("sentencepiece"):
        return spm.train([pl.Series(text)], TokenizerSpec(kind=kind), given).tokenizer
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    if kind == "qwen":
        tokenizer.normalizer = normalizers.NFC()
        cut = pre_tokenizers.Split(Regex(published.QWEN), "isolated")
        as_bytes = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
        tokenizer.pre_tokenizer = pre_tokenizers.Sequence([cut, as_bytes])
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(vocab_size=32_000, show_progress=False, initial_alphabet=pre_tokenizers.ByteLevel.alphabet())
    tokenizer.train_from_iterator(text.to_pylist(), trainer)
    tokenizer.add_tokens(given.added())
    return tokenizer


def side(name: str, kind: str) -> dict[str, Any]:
    """Runs one side; seconds, tokens, and a digest of all ids."""
    out = FOLDER / name
    shutil.rmtree(out, ignore_errors=True)
    return _datasets(out, _tokenizer(kind)) if name == "datasets" else _ours(name, out, _tokenizer(kind))


def _ours(name: str, out: Path, tokenizer: Path) -> dict[str, Any]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    from corpus.tokenizer import composed, encode, encode_run, fast, fast_spm
    from corpus.tokenizer.encoded import Layout, open_flat

    if name == "library":
        fast.encoder = fast_spm.encoder = composed.encoder = lambda *given: None
    settings = (tokenizer / "tokenizer.json").read_bytes()
    encode.prepared(settings, tokenizer)[1](pa.array(["a </s>", "长江"]))  # loads what is compiled, as an import does
    layout = Layout.FLAT if name == "flat" else Layout.PARQUET
    began = time.perf_counter()
    encode_run.run(FOLDER / "warehouse", tokenizer=tokenizer, out=out, layout=layout, workers=PROCESSORS)
    seconds = time.perf_counter() - began
    if layout is Layout.FLAT:
        flat = open_flat(out / "sft")
        return _told(seconds, (flat.ids(row) for row in range(len(flat))))
    ids = pq.read_table(out / "sft" / "train-00000-of-00001.parquet", columns=["input_ids"])["input_ids"]
    return _told(seconds, (chunk.flatten().to_numpy() for chunk in ids.chunks))


def _datasets(out: Path, folder: Path) -> dict[str, Any]:
    import os

    os.environ |= {"HF_HUB_OFFLINE": "1", "HF_DATASETS_CACHE": str(out), "TOKENIZERS_PARALLELISM": "false"}
    import datasets
    from transformers import AutoTokenizer

    datasets.disable_progress_bars()
    tokenizer = AutoTokenizer.from_pretrained(folder)
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
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=KINDS, help="kinds of tokenizers [all]")
    parser.add_argument("--side", choices=SIDES, help=argparse.SUPPRESS)
    parser.add_argument("--make", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.make:
        print(json.dumps(make(given.mb, given.kinds)))
    elif given.side is not None:
        print(json.dumps(side(given.side, given.kinds[0])))
    else:
        print(show(run(given.mb, given.pairs, given.kinds)))


if __name__ == "__main__":
    main()
