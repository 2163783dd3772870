"""Any number of rows with known near-duplicates, recombined from the clauses of real rows.

`python -m benchmarks.dedup.synth --rows FILE --out FILE [--count ROWS] [--shape long|short]`.

A row is a few clauses in a row, 70 % Chinese and the rest English. 15 % of the rows are near-duplicates of an earlier row;
`FILE.planted.parquet` names that row, the kind and the rate: `edit` (1 to 8 % of the characters replaced, inserted or deleted), `swap`
(two neighbouring clauses exchanged), `append` (a clause more), `punct` (punctuation and width changed) and `script` (simplified to
traditional; Chinese only).

Everything about a row is computed from the seed and the number of the row, so nothing is kept in memory, and the first rows of a larger
file are the smaller file. Two rules hold that number of near-duplicates to what was planted: no clause is more than 60 % of a row,
since two rows that share one long clause would be near by accident; and every block of a million rows has an alphabet of its own, a
permutation of the Han characters of about the same frequency, of the vowels and of the consonants (the first block keeps them). Without
the latter, ten times the rows would give each row ten times as many others that share a clause with it, and a measurement of growth
would measure that.
"""

from __future__ import annotations

import argparse
import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import opencc
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
from numba import njit

KINDS = ("edit", "edit", "edit", "swap", "append", "punct", "script")
"""Each as likely as its share of this list."""
_EDIT, _SWAP, _APPEND, _PUNCT, _SCRIPT = 2, 3, 4, 5, 6
_SHARE, _CHINESE = 0.15, 0.7
BLOCK = 1_000_000
_BATCH = 1 << 16
_ROOM = 1 << 26
_MOST = 12
"""Clauses of the longest row."""
_LONGEST = 176
"""Code points of the longest clause, and some more for its edits."""
_TRIES = 8

_ZH = re.compile(r"[^。！？；\n]{6,90}[。！？；]")
_EN = re.compile(r"[A-Z][^.!?\n]{12,160}[.!?]")
_HAN = re.compile(r"[\u4e00-\u9fff]")
_ASCII = str.maketrans("，。！？；：（）“”", ',.!?;:()""')


@dataclass(frozen=True, slots=True)
class Shape:
    """Fewest and most clauses of a Chinese and of an English row."""

    zh: tuple[int, int]
    en: tuple[int, int]


SHAPES = {"long": Shape((2, 8), (2, 5)), "short": Shape((2, 5), (2, 3))}
"""`long` for the comparison with the peers; `short` has some 155 characters a row, as chat sets have, and serves for growth."""


@dataclass(frozen=True, slots=True)
class Clauses:
    """Code points of all clauses (Chinese, the same in traditional script, English), where each begins, and two counts."""

    codes: np.ndarray
    starts: np.ndarray
    chinese: int
    english: int


def clauses(texts: list[str]) -> Clauses:
    """The distinct clauses of texts. A text counts as Chinese when a quarter of its beginning is Han."""
    zh: dict[str, None] = {}
    en: dict[str, None] = {}
    for text in (text[:4000] for text in texts):
        if len(_HAN.findall(text[:200])) * 4 > len(text[:200]):
            zh.update(dict.fromkeys(_ZH.findall(text)))
        else:
            en.update(dict.fromkeys(clause + " " for clause in _EN.findall(text)))
    traditional = opencc.OpenCC("s2t").convert("\n".join(zh)).split("\n")
    every = [*zh, *traditional, *en]
    if len(traditional) != len(zh) or not en or not zh:
        raise ValueError(f"{len(zh)} Chinese and {len(en)} English clauses were found; there must be some of both")
    starts = np.zeros(len(every) + 1, np.int64)
    starts[1:] = np.cumsum([len(clause) for clause in every])
    return Clauses(np.frombuffer("".join(every).encode("utf-32-le"), np.uint32), starts, len(zh), len(en))


def _alphabets(codes: np.ndarray, blocks: int, seed: int) -> np.ndarray:
    """What each character below U+10000 becomes in each block (blocks × 65,536)."""
    found, counts = np.unique(codes[(codes >= 0x4E00) & (codes <= 0x9FFF)], return_counts=True)
    han = found[np.argsort(-counts, kind="stable")]
    letters = [np.array([ord(c) for c in group], np.uint32) for group in ("aeiou", "bcdfghjklmnpqrstvwxyz")]
    maps = np.tile(np.arange(1 << 16, dtype=np.uint32), (blocks, 1))
    for block in range(1, blocks):
        rng = np.random.default_rng((seed, block))
        for group in [*(han[i : i + 256] for i in range(0, len(han), 256)), *letters]:
            maps[block, group] = rng.permutation(group)
        for group in letters:
            maps[block, group - 32] = maps[block, group] - 32
    return maps


def _changed() -> np.ndarray:
    """Punctuation and width changed: for Chinese text, for English text (2 × 65,536)."""
    maps = np.tile(np.arange(1 << 16, dtype=np.uint32), (2, 1))
    maps[0, list(_ASCII)] = list(_ASCII.values())
    maps[1, 0x21:0x7F] += 0xFEE0
    return maps


@njit(cache=True)
def _draw(seed, row, which, below):
    """A number from 0 to below - 1 that depends on nothing but the seed, the row and which of its numbers it is (splitmix64)."""
    x = np.uint64(seed) + np.uint64(row) * np.uint64(0x9E3779B97F4A7C15) + np.uint64(which) * np.uint64(0xD1342543DE82EF95)
    for _ in range(2):
        x ^= x >> np.uint64(30)
        x *= np.uint64(0xBF58476D1CE4E5B9)
        x ^= x >> np.uint64(27)
        x *= np.uint64(0x94D049BB133111EB)
        x ^= x >> np.uint64(31)
    return np.int64(((x >> np.uint64(32)) * np.uint64(below)) >> np.uint64(32))


@njit(cache=True)
def _is_new(seed, row):
    return row == 0 or _draw(seed, row, 0, 1_000_000) >= _SHARE * 1_000_000


@njit(cache=True)
def _origin(seed, row):
    """The earlier row that a row is made from; a new row is its own."""
    if not _is_new(seed, row):
        for each in range(_TRIES):
            earlier = _draw(seed, row, 1 + each, row)
            if _is_new(seed, earlier):
                return earlier
    return row


@njit(cache=True)
def _choose(seed, row, starts, chinese, english, low, high, picked):
    """Writes the clauses of a new row into picked and returns how many there are, and whether they are Chinese."""
    is_chinese = _draw(seed, row, 20, 1_000_000) < _CHINESE * 1_000_000
    which = 0 if is_chinese else 1
    wanted = low[which] + _draw(seed, row, 21, high[which] - low[which] + 1)
    count, total, longest = 0, 0, 0
    while count < _MOST and (count < wanted or longest * 10 > total * 6):
        one = _draw(seed, row, 32 + count, chinese) if is_chinese else 2 * chinese + _draw(seed, row, 32 + count, english)
        picked[count] = one
        length = starts[one + 1] - starts[one]
        total += length
        longest = max(longest, length)
        count += 1
    return count, is_chinese


@njit(cache=True)
def _edit(seed, row, text, n):
    """Replaces, inserts and deletes 1 to 8 % of n characters; returns the new length and the rate."""
    rate = 0.01 + 0.07 * _draw(seed, row, 64, 1 << 20) / (1 << 20)
    for each in range(max(1, round(rate * n))):
        at = _draw(seed, row, 128 + 3 * each, n)
        what = _draw(seed, row, 129 + 3 * each, 4)
        other = text[_draw(seed, row, 130 + 3 * each, n)]
        if what < 2:
            text[at] = other
        elif what == 2:
            text[at + 1 : n + 1] = text[at:n].copy()
            text[at] = other
            n += 1
        elif n > 1:
            text[at : n - 1] = text[at + 1 : n].copy()
            n -= 1
    return n, rate


@njit(cache=True)
def _utf8(text, n, out, at):
    for i in range(n):
        c = text[i]
        if c < 0x80:
            out[at] = c
            at += 1
            continue
        if c < 0x800:
            out[at] = 0xC0 | (c >> 6)
            at += 1
        else:
            if c < 0x10000:
                out[at] = 0xE0 | (c >> 12)
                at += 1
            else:
                out[at] = 0xF0 | (c >> 18)
                out[at + 1] = 0x80 | ((c >> 12) & 0x3F)
                at += 2
            out[at] = 0x80 | ((c >> 6) & 0x3F)
            at += 1
        out[at] = 0x80 | (c & 0x3F)
        at += 1
    return at


@njit(cache=True)
def _write(seed, first, codes, starts, chinese, english, low, high, alphabets, changed, out, ends, origins, kinds, rates, spoken):
    """Writes rows from number `first` on as UTF-8 until the batch or the room is full; returns how many."""
    picked = np.empty(_MOST + 1, np.int64)
    text = np.empty((_MOST + 1) * _LONGEST, np.uint32)
    at = 0
    for i in range(len(origins)):
        if len(out) - at < 4 * len(text):
            return i
        row = first + i
        origin = _origin(seed, row)
        count, is_chinese = _choose(seed, origin, starts, chinese, english, low, high, picked)
        kind = -1
        if origin != row:
            kind = max(_EDIT, _draw(seed, row, 10, 7))
            if kind == _SCRIPT and not is_chinese:
                kind = _EDIT
        if kind == _SWAP:
            j = _draw(seed, row, 11, count - 1)
            picked[j], picked[j + 1] = picked[j + 1], picked[j]
        elif kind == _APPEND:
            picked[count] = _draw(seed, row, 12, chinese) if is_chinese else 2 * chinese + _draw(seed, row, 12, english)
            count += 1
        elif kind == _SCRIPT:
            picked[:count] += chinese
        alphabet = alphabets[origin // BLOCK]
        n = 0
        for j in range(count):
            for k in range(starts[picked[j]], starts[picked[j] + 1]):
                c = codes[k]
                if c < 0x10000:
                    c = alphabet[c]
                    if kind == _PUNCT:
                        c = changed[0 if is_chinese else 1, c]
                text[n] = c
                n += 1
        rates[i] = 0.0
        if kind == _EDIT:
            n, rates[i] = _edit(seed, row, text, n)
        at = _utf8(text, n, out, at)
        ends[i + 1], origins[i], kinds[i], spoken[i] = at, origin, kind, 0 if is_chinese else 1
    return len(origins)


def make(rows: Path, out: Path, count: int, shape: Shape, seed: int = 7) -> dict[str, float]:
    """Writes `count` rows from the clauses of the file `rows`, and what was planted; returns rows, planted rows, mean characters."""
    found = clauses(pl.read_parquet(rows, columns=["text"])["text"].to_list())
    alphabets, changed = _alphabets(found.codes, -(-count // BLOCK), seed), _changed()
    low, high = np.array([shape.zh[0], shape.en[0]]), np.array([shape.zh[1], shape.en[1]])
    buffer = np.empty(_ROOM, np.uint8)
    ends = np.zeros(_BATCH + 1, np.int64)
    origins, kinds, rates, spoken = (np.empty(_BATCH, kind) for kind in (np.int64, np.int8, np.float64, np.int8))
    fields = pa.schema({"row_id": pa.int64(), "source": pa.string(), "text": pa.large_string()})
    about = pa.schema({"row_id": pa.int64(), "origin": pa.int64(), "kind": pa.string(), "rate": pa.float64()})
    languages, names = pa.array(["zh", "en"]), pa.array(KINDS)
    out.parent.mkdir(parents=True, exist_ok=True)
    first, planted, characters = 0, 0, 0
    with pq.ParquetWriter(out, fields, compression="zstd") as table, pq.ParquetWriter(planted_of(out), about) as account:
        while first < count:
            n = min(_BATCH, count - first)
            parts = (found.codes, found.starts, found.chinese, found.english, low, high, alphabets, changed, buffer, ends)
            n = _write(seed, first, *parts, origins[:n], kinds[:n], rates[:n], spoken[:n])
            ids = np.arange(first, first + n)
            data = pa.py_buffer(buffer[: ends[n]].tobytes())
            text = pa.LargeStringArray.from_buffers(n, pa.py_buffer(ends[: n + 1].tobytes()), data)
            table.write_batch(pa.record_batch([pa.array(ids), languages.take(pa.array(spoken[:n])), text], schema=fields))
            new = np.flatnonzero(kinds[:n] >= 0)
            values = [pa.array(ids[new]), pa.array(origins[new]), names.take(pa.array(kinds[new])), pa.array(rates[new])]
            account.write_batch(pa.record_batch(values, schema=about))
            first, planted = first + n, planted + len(new)
            characters += int(((buffer[: ends[n]] & 0xC0) != 0x80).sum())
    return {"rows": count, "planted": planted, "mean_characters": round(characters / count, 1)}


def planted_of(rows: Path) -> Path:
    """Where the account of the planted rows of a file lies."""
    return rows.with_suffix(".planted.parquet")


def main() -> None:
    """Makes one file."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.dedup.synth", description=__doc__)
    parser.add_argument("--rows", type=Path, required=True, help="parquet file of real rows, for their clauses")
    parser.add_argument("--out", type=Path, required=True, help="parquet file to write")
    parser.add_argument("--count", type=int, default=1_000_000, help="rows [1000000]")
    parser.add_argument("--shape", choices=SHAPES, default="long", help="length of the rows [long]")
    parser.add_argument("--seed", type=int, default=7, help="[7]")
    given = parser.parse_args()
    print(make(given.rows, given.out, given.count, SHAPES[given.shape], given.seed))


if __name__ == "__main__":
    main()
