"""Generated files in the publishers' formats: seeded, so that every run measures the same bytes.

Sentences are drawn word by word from a vocabulary whose frequencies follow Zipf's law, so that every row is different and zstd finds about
as much to save as in the real sets (2.7 of real BELLE rows, 3.4 of Stanford Alpaca: see `compressibility` in tests/test_benchmarks.py).
Repeating a few rows would let a compressor, and whoever skips work on it, look several times faster than on data.
"""

from __future__ import annotations

import csv
import io
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.parquet as pq

SEED = 20240607
_BLOCK = 4096

Row = dict[str, str]


class Language:
    """Words and how often they occur.

    Args:
        words: the vocabulary, the most frequent first.
        gap: what stands between words.
        ends: what ends a sentence.
        steepness: exponent of Zipf's law, chosen so that zstd saves what it saves on real data.
    """

    def __init__(self, words: list[str], gap: str, ends: tuple[str, ...], steepness: float) -> None:
        self._words = np.array(words, dtype=object)
        self._gap = gap
        self._ends = ends
        weights = 1.0 / np.arange(3, len(words) + 3) ** steepness
        self._cumulative = np.cumsum(weights / weights.sum())

    def texts(self, rng: np.random.Generator, count: int, words: float) -> list[str]:
        """`count` texts of `words` words on average; lengths are log-normal, as those of real answers are."""
        lengths = np.maximum(2, rng.lognormal(np.log(words) - 0.32, 0.8, count).astype(np.int64))
        drawn = self._words[np.searchsorted(self._cumulative, rng.random(int(lengths.sum())))]
        breaks = rng.integers(7, 16, count)
        ends = rng.integers(0, len(self._ends), count)
        out, at = [], 0
        for length, each, end in zip(lengths.tolist(), breaks.tolist(), ends.tolist(), strict=True):
            pieces = [self._gap.join(drawn[i : min(i + each, at + length)]) for i in range(at, at + length, each)]
            out.append(self._ends[end].join(pieces) + self._ends[end].rstrip())
            at += length
        return out


def chinese() -> Language:
    """Words of one to four of the 3,755 common characters of GB 2312."""
    rng = np.random.default_rng(SEED)
    characters = [bytes((lead, trail)).decode("gb2312") for lead in range(0xB0, 0xD7) for trail in range(0xA1, 0xFF)]
    picked = np.array(characters)[rng.permutation(len(characters))[:1500]]
    lengths = rng.choice([1, 2, 3, 4], 12_000, p=[0.12, 0.62, 0.16, 0.10])
    words = ["".join(picked[(rng.random(n) ** 2 * len(picked)).astype(int)]) for n in lengths]
    return Language(list(dict.fromkeys(words)), "", ("，", "。", "。\n", "；"), 0.95)


def english() -> Language:
    """Words of letters in the frequencies of English; every fourth is a phrase."""
    rng = np.random.default_rng(SEED + 1)
    letters = np.array(list("etaoinshrdlcumwfgypbvkjxqz"))
    chances = np.array(
        [12.7, 9.1, 8.2, 7.5, 7.0, 6.7, 6.3, 6.1, 6.0, 4.3, 4.0, 2.8, 2.8, 2.4, 2.4, 2.2, 2.0, 2.0, 1.9, 1.5, 1.0, 0.8, 0.2, 0.2, 0.1, 0.1]
    )
    lengths = np.clip(rng.poisson(5.2, 6_000), 1, 14)
    single = ["".join(rng.choice(letters, n, p=chances / chances.sum())) for n in lengths]
    words = [f"{word} {single[(7 * at) % 500]}" if at % 4 == 1 else word for at, word in enumerate(single)]
    return Language(list(dict.fromkeys(words)), " ", (", ", ". ", ".\n", "; "), 0.9)


def _rows(language: Language, fields: dict[str, float], seed: int) -> Iterator[list[Row]]:
    """Blocks of rows without end: `fields` gives the mean number of words of each field."""
    rng = np.random.default_rng(SEED + 2 + seed)
    while True:
        columns = [language.texts(rng, _BLOCK, words) if words else [""] * _BLOCK for words in fields.values()]
        yield [dict(zip(fields, row, strict=True)) for row in zip(*columns, strict=True)]


def belle(path: Path, size: int, seed: int) -> None:
    """JSON lines as BELLE's train_2M_CN: instruction, input (mostly empty), output; some 780 bytes a row."""
    _json_lines(path, size, _rows(chinese(), {"instruction": 16, "input": 0, "output": 90}, seed))


def alpaca(path: Path, size: int, seed: int) -> None:
    """JSON lines of English instructions, inputs and outputs; some 390 bytes a row."""
    _json_lines(path, size, _rows(english(), {"instruction": 8, "input": 5, "output": 32}, seed))


def medical(path: Path, size: int, seed: int) -> None:
    """CSV as Chinese-medical-dialogue-data: department, title, ask, answer; most rows have quoted line breaks."""
    _until(path, size, _csv_blocks(_rows(chinese(), {"department": 2, "title": 5, "ask": 45, "answer": 65}, seed)))


def prompt_response(path: Path, size: int, seed: int) -> None:
    """Parquet of prompt and response, as ChatLM-mini-Chinese; `size` counts the text before compression."""
    schema = pa.schema([("prompt", pa.string()), ("response", pa.string())])
    done = 0
    with pq.ParquetWriter(path, schema, compression="zstd") as writer:
        for rows in _rows(chinese(), {"prompt": 16, "response": 90}, seed):
            if done >= size:
                break
            table = pa.Table.from_pylist(rows, schema)
            writer.write_table(table)
            done += table.nbytes


def _json_lines(path: Path, size: int, blocks: Iterator[list[Row]]) -> None:
    _until(path, size, (b"".join(orjson.dumps(row) + b"\n" for row in rows) for rows in blocks))


def _csv_blocks(blocks: Iterator[list[Row]]) -> Iterator[bytes]:
    header = True
    for rows in blocks:
        text = io.StringIO(newline="")
        writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
        if header:
            writer.writeheader()
        header = False
        writer.writerows(rows)
        yield text.getvalue().encode()


def _until(path: Path, size: int, blocks: Iterator[bytes]) -> None:
    done = 0
    with path.open("wb") as file:
        for block in blocks:
            if done >= size:
                break
            file.write(block)
            done += len(block)


@dataclass(frozen=True, slots=True)
class Kind:
    """Files of one kind: the source whose format they have, their names, and what writes one of a given size and seed."""

    source: str
    names: tuple[str, ...]
    write: Callable[[Path, int, int], None]


FILES: dict[str, Kind] = {
    "jsonl": Kind("belle-2m", ("train_2M_CN.json",), belle),
    "jsonl-en": Kind("alpaca", ("alpaca_data.json",), alpaca),
    "csv": Kind(
        "chinese-medical-dialogue", tuple(f"{d}5-14000.csv" for d in ("内科", "外科", "儿科", "男科", "妇产科", "肿瘤科")), medical
    ),
    "parquet": Kind("chatlm-mini", tuple(f"my_train_dataset_{n}.parquet" for n in range(4)), prompt_response),
}
"""What is measured. A publisher's CSV comes as several files, and so does parquet on the hub."""


def make(folder: Path, kind: str, megabytes: int) -> Path:
    """The folder with the files of one kind, `megabytes` together, generated once."""
    what = FILES[kind]
    target = folder / f"{kind}-{megabytes}"
    if not target.exists():
        tmp = folder / f"{kind}-{megabytes}.tmp"
        shutil.rmtree(tmp, ignore_errors=True)
        tmp.mkdir(parents=True)
        for seed, name in enumerate(what.names):
            what.write(tmp / name, megabytes * 1_000_000 // len(what.names), seed)
        tmp.rename(target)
    return target
