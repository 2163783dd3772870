"""Which JSON parser: orjson, msgspec (if it is installed) and the standard library, one line at a time, as JSON lines are read.

Also what the canonical form of a record costs with each, which every row id is a hash of.
"""

from __future__ import annotations

import importlib
import json
import time
from collections.abc import Callable
from typing import Any

from benchmarks import data
from benchmarks.measure import OUT


def run(megabytes: int, times: int) -> dict[str, Any]:
    """The best of `times` runs of each parser, in seconds of CPU time: parsing, and writing with sorted keys."""
    folder = data.make(OUT / "data", "jsonl", megabytes)
    raw = next(folder.iterdir()).read_bytes()
    lines = raw.split(b"\n")[:-1]
    values = [json.loads(line) for line in lines]
    return {
        "bytes": len(raw),
        "seconds": {
            name: [min(_seconds(parse, lines) for _ in range(times)), min(_seconds(write, values) for _ in range(times))]
            for name, (parse, write) in _parsers().items()
        },
    }


def _parsers() -> dict[str, tuple[Callable[[Any], Any], Callable[[Any], Any]]]:
    import orjson

    def canonical(value: Any) -> bytes:
        return orjson.dumps(value, option=orjson.OPT_SORT_KEYS)

    def standard(value: Any) -> bytes:
        return json.dumps(value, ensure_ascii=False, sort_keys=True, separators=(",", ":")).encode()

    found: dict[str, tuple[Callable[[Any], Any], Callable[[Any], Any]]] = {"orjson": (orjson.loads, canonical)}
    try:
        msgspec = importlib.import_module("msgspec")
    except ImportError:
        pass
    else:
        found["msgspec"] = (msgspec.json.Decoder().decode, msgspec.json.Encoder(order="deterministic").encode)
    found["json"] = (json.loads, standard)
    return found


def _seconds(work: Callable[[Any], Any], items: list[Any]) -> float:
    began = time.process_time()
    for item in items:
        work(item)
    return time.process_time() - began


def rows(found: dict[str, Any]) -> list[tuple[str, ...]]:
    """The lines of the table."""
    size = found["bytes"] / 1e6
    return [(name, f"{size / parse:.0f}", f"{size / write:.0f}") for name, (parse, write) in found["seconds"].items()]


HEAD = ("parser", "parse, MB/s", "write with sorted keys, MB/s")
