"""The data path of the trainer: rows per second, the first batch after a resume at ten million rows, and the share of padding.

`python -m benchmarks.trainer.loader [--rows N] [--tokens FOLDER]…`. A flat folder is generated below `benchmarks/out`: dialogues of some 20
tokens with one answer each, in 20 files, and samples of log-normal lengths as chat data has them, for a decoder and, in pairs, for an
encoder-decoder. `--tokens` names folders of `corpus encode --format flat` whose padding is told as well.

- first batch: opening, looking at all rows, and the first batch from the middle of an epoch, in a process that has loaded its libraries and
  kernels but has not seen the files. The files are in the page cache, from having been written; from a disk, its reading speed is added.
- rows/s: of the consumer, by threads that fill batches, 4,096 tokens a micro-batch; also by CPU second, since the machine may be shared.
"""

from __future__ import annotations

import argparse
import json
import shutil
import time
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.measure import OUT, fresh, table

MODULE = "benchmarks.trainer.loader"
FOLDER = OUT / "loader"
FILES = 20
TARGET = 1.0
HEAD = (
    "rows",
    "first batch, s",
    "steps of an epoch, s",
    "MB besides mapped files",
    "rows/s, 1 thread",
    "rows/s, 2 threads",
    "rows per CPU second",
)
PADDED = ("data", "model", "rows", "mean length", "longest", "padding")


def run(rows: int, folders: list[Path]) -> dict[str, Any]:
    """All figures; the generated folder is removed."""
    shutil.rmtree(FOLDER, ignore_errors=True)
    try:
        at = fresh(MODULE, "--make", "--rows", rows)["at"]
        return {"rows": rows, "speed": fresh(MODULE, "--speed", at), "padding": fresh(MODULE, "--padding", "--tokens", *folders)["padding"]}
    finally:
        shutil.rmtree(FOLDER, ignore_errors=True)


def show(found: dict[str, Any]) -> str:
    """The figures as Markdown tables."""
    s = found["speed"]
    line = (
        f"{found['rows']:,}", f"{s['first']:.2f}", f"{s['steps']:.2f}", f"{s['resident']:.0f}", f"{s['threads'][0]['rows']:,.0f}",
        f"{s['threads'][1]['rows']:,.0f}", f"{s['threads'][0]['rows_cpu']:,.0f}",
    )  # fmt: skip
    padded = [
        (p["data"], p["model"], f"{p['rows']:,}", f"{p['mean']:.0f}", f"{p['longest']:,}", f"{p['padding']:.2%}") for p in found["padding"]
    ]
    return f"{table(HEAD, [line])}\n\nTarget: the first batch within {TARGET:g} s.\n\n{table(PADDED, padded)}"


def make(rows: int) -> None:
    """Writes the flat folders."""
    draw = np.random.default_rng(1)
    lengths = [np.clip(np.exp(draw.normal(2.85, 0.6, rows // FILES)), 4, 512).astype(np.int64) for _ in range(FILES)]
    _write(FOLDER / "short", "dialogue", lengths, draw)
    wide = np.clip(np.exp(draw.normal(4.8, 0.9, 100_000)), 4, 1024).astype(np.int64)
    _write(FOLDER / "log-normal", "dialogue", [wide], draw)
    pairs = np.clip(np.exp(draw.normal((3.5, 4.5), (0.9, 0.9), (100_000, 2))), 4, 512).astype(np.int64)
    _write(FOLDER / "log-normal pairs", "pair", [pairs.ravel()], draw)


def _write(folder: Path, form: str, files: list[np.ndarray], draw: np.random.Generator) -> None:
    folder.mkdir(parents=True)
    sides = 2 if form == "pair" else 1
    listed = []
    for number, lengths in enumerate(files):
        stem = f"train-{number:05d}-of-{len(files):05d}"
        offsets = np.concatenate([[0], np.cumsum(lengths)])
        arrays = {"ids": draw.integers(5, 30_000, offsets[-1]).astype("<u2"), "offsets": offsets.astype("<i8")}
        if form == "dialogue":
            arrays["learned"] = np.stack([lengths // 2, lengths], axis=1).astype("<i4")
            arrays["ranges"] = np.arange(len(lengths) + 1, dtype="<i8")
        for end, array in arrays.items():
            array.tofile(folder / f"{stem}.{end}")
        made = [{"path": f"{stem}.{end}", "bytes": array.nbytes, "sha256": ""} for end, array in arrays.items()]
        listed.append({"of": {"path": stem, "sha256": ""}, "rows": len(lengths) // sides, "files": made})
    told = {
        "layout": "flat", "form": form, "split": "sft", "ids": "uint16", "tokenizer": "", "template": None, "end_of_text": None,
        "parts": {"train": {"files": listed}},
    }  # fmt: skip
    (folder / "manifest.json").write_text(json.dumps(told), encoding="utf-8")


def _order(folder: Path, *, seq2seq: bool = False, most: int = 512, micro: int = 4096) -> Any:
    from trainer.order import Order
    from trainer.samples import Samples
    from trainer.tokens import Tokens

    return Order(Samples(Tokens.open(folder), seq2seq=seq2seq, max_length=most, overlong="drop"), seed=1, micro_tokens=micro)


def middle() -> int:
    """A position in the middle of the first epoch at which a micro-batch ends."""
    order = _order(FOLDER / "short")
    begins = order.begins()
    window = int(begins[len(begins) // 2])
    return int(list(islice(order.start(window), 100))[-1].consumed)


def speed(at: int) -> dict[str, Any]:
    """Seconds until the first batch from a position, and rows per second."""
    import torch

    from trainer.loader import Loader

    torch.set_num_threads(1)
    next(iter(Loader(_order(FOLDER / "log-normal", most=1024), pad=0)))  # loads the kernels
    began = time.perf_counter()
    order = _order(FOLDER / "short")
    next(iter(Loader(order, pad=0, consumed=at)))
    first = time.perf_counter() - began
    began = time.perf_counter()
    order.steps(1)
    steps = time.perf_counter() - began
    threads = []
    for workers in (1, 2):
        batches = iter(Loader(order, pad=0, workers=workers))
        next(batches)
        began, cpu, rows = time.perf_counter(), time.process_time(), 0
        while rows < 1_000_000:
            rows += next(batches).rows
        threads.append({"rows": rows / (time.perf_counter() - began), "rows_cpu": rows / (time.process_time() - cpu)})
    return {"first": first, "steps": steps, "threads": threads, "resident": _resident()}


def _resident() -> float:
    """MB of the process now, without what is mapped from files."""
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return int(status["RssAnon"].split()[0]) / 1024


def padding(folders: list[Path]) -> list[dict[str, Any]]:
    """The share of padding of each folder."""
    found = []
    given = [(FOLDER / "log-normal", "log-normal", (False,)), (FOLDER / "log-normal pairs", "log-normal pairs", (False, True))]
    for folder, name, models in [*given, *((f, f.name, (False, True)) for f in folders)]:
        for seq2seq in models:
            for micro in (4096, 16384):
                order = _order(folder, seq2seq=seq2seq, most=1024, micro=micro)
                s = order.samples
                model = f"{'encoder-decoder' if seq2seq else 'decoder'}, {micro:,} tokens"
                found.append(
                    {
                        "data": name,
                        "model": model,
                        "rows": s.count,
                        "mean": s.read / s.count,
                        "longest": s.longest,
                        "padding": order.padding(),
                    }
                )
    return found


def main() -> None:
    """Prints the tables, or as JSON what one part found."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.trainer.loader", description=__doc__)
    parser.add_argument("--rows", type=int, default=10_000_000, help="rows of the large split [10,000,000]")
    parser.add_argument("--tokens", type=Path, nargs="*", default=[], help="flat folders whose padding is told as well")
    parser.add_argument("--make", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--speed", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--padding", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    folders = [folder.resolve() for folder in given.tokens]
    if given.make:
        make(given.rows)
        print(json.dumps({"at": middle()}))
    elif given.speed is not None:
        print(json.dumps(speed(given.speed)))
    elif given.padding:
        print(json.dumps({"padding": padding(folders)}))
    else:
        print(show(run(given.rows, folders)))


if __name__ == "__main__":
    main()
