"""The rule `mojibake` on real lines: `PYTHONPATH=. python -m benchmarks.mojibake DATA [--ftfy]`.

Recall: lines of the chat sources with anything beyond ASCII in them, Chinese (with Han characters) and English (without), are damaged in a
known way, repaired and compared with what they were. A line counts for a kind when the damage changes it and can be undone: when encoding
the damaged line in the encoding that it was wrongly read in gives back the bytes that it was written in. (Where bytes were lost, as most
Chinese lines lose some as GBK, nothing can give the line back.) A line is restored when all of it is as it was; it is wrong when it was
changed into something else.

Precision: every text of all sources, undamaged, dumps of Wikipedia in other languages included. All changes are printed: each is to be
looked at, for the data holds some true mojibake.

With `--ftfy`, the same with `ftfy.fix_encoding` in place of the rule, as far as it goes.
"""

from __future__ import annotations

import argparse
import bz2
import csv
import gzip
import io
import json
import random
import re
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import polars as pl

from benchmarks.measure import table
from corpus.text.marks import marks
from corpus.text.mojibake import RULES, repair
from corpus.text.rules import clean
from corpus.text.settings import TextSettings

CHAT = (
    "alpaca", "alpaca_gpt4", "awesome_chatgpt_prompts", "baike_qa2019", "belle", "c4", "firefly", "gpteacher", "lima", "llama2_chinese",
    "medicalgpt", "mnbvc", "moss", "oasst1", "oasst_zh", "preference_demo", "self_instruct_zh", "sharegpt_vicuna", "wikiextractor",
    "wikipedia_cn_filtered", "zhihu_kol",
)  # fmt: skip
"""Folders that lines are damaged from."""
LINES = 10_000
_HAN = re.compile("[\u4e00-\u9fff]")
_UNDEFINED = dict.fromkeys((0x81, 0x8D, 0x8F, 0x90, 0x9D))


def sloppy(data: bytes) -> str:
    """Bytes as cp1252, with C1 controls for the five that it leaves undefined."""
    return "".join(chr(byte) if byte in _UNDEFINED else bytes((byte,)).decode("cp1252") for byte in data)


def unsloppy(text: str) -> bytes:
    """The reverse of `sloppy`."""
    return b"".join(bytes((ord(char),)) if ord(char) in _UNDEFINED else char.encode("cp1252") for char in text)


def _reads(encoding: str) -> tuple[Callable[[bytes], str], Callable[[str], bytes]]:
    return lambda data: data.decode(encoding, errors="replace"), lambda text: text.encode(encoding)


WRONG: dict[str, tuple[Callable[[bytes], str], Callable[[str], bytes]]] = {
    "latin-1": _reads("latin-1"),
    "cp1252": (sloppy, unsloppy),
    "mac_roman": _reads("mac_roman"),
    "gbk": _reads("gb18030"),
}
KINDS = (
    ("utf-8", "latin-1"), ("utf-8", "cp1252"), ("utf-8", "mac_roman"), ("utf-8", "gbk"), ("gbk", "latin-1"), ("gbk", "cp1252"),
    ("gbk", "mac_roman"), ("big5", "latin-1"), ("big5", "cp1252"),
)  # fmt: skip


def damage(line: str, right: str, wrong: str) -> str | None:
    """The line as it looks when its bytes in `right` are read in `wrong`; None when that changes nothing or loses something."""
    read, undo = WRONG[wrong]
    try:
        data = line.encode(right)
        damaged = read(data)
        return damaged if damaged != line and undo(damaged) == data else None
    except UnicodeError:
        return None


def strings(value: Any) -> Iterator[str]:
    """All strings in a JSON value."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for each in value.values():
            yield from strings(each)
    elif isinstance(value, list):
        for each in value:
            yield from strings(each)


def texts_of(path: Path) -> Iterator[str]:
    """All texts of a data file, whatever its format."""
    if path.suffix == ".parquet":
        for column in pl.read_parquet(path).iter_columns():
            if column.dtype == pl.String:
                yield from column.drop_nulls()
        return
    raw = {".gz": gzip.decompress, ".bz2": bz2.decompress}.get(path.suffix, bytes)(path.read_bytes())
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError:
        text = raw.decode("gb18030", errors="replace")
    if path.suffix == ".csv":
        csv.field_size_limit(1 << 30)
        for row in csv.reader(io.StringIO(text, newline="")):
            yield from row
    elif text.lstrip()[:1] in ("{", "["):
        try:
            yield from strings(json.loads(text))
        except ValueError:
            for line in text.split("\n"):
                try:
                    yield from strings(json.loads(line))
                except ValueError:
                    yield line
    else:
        yield from text.split("\n")


def load(folder: Path) -> dict[str, list[str]]:
    """All texts of a data folder, by source. Lone surrogates, which some JSON holds, become question marks."""
    found: dict[str, list[str]] = {}
    for path in sorted(folder.rglob("*")):
        if path.is_file() and path.parent != folder:
            texts = found.setdefault(path.relative_to(folder).parts[0], [])
            texts.extend(text.encode(errors="replace").decode() for text in texts_of(path) if text)
    return found


def sample(sources: dict[str, list[str]], lines: int = LINES) -> dict[str, list[str]]:
    """Lines with anything beyond ASCII, half of them Chinese and half English (or as many as there are), each once."""
    every = sorted({line for name in CHAT for text in sources.get(name, ()) for line in text.split("\n") if not line.isascii()})
    random.Random(0).shuffle(every)
    chinese = [line for line in every if _HAN.search(line)][: lines // 2]
    english = [line for line in every if not _HAN.search(line)][: lines - len(chinese)]
    return {"zh": chinese, "en": english}


def recall(lines: Iterable[str], right: str, wrong: str, fix: Callable[[str], str] = repair) -> tuple[int, int, list[tuple[str, str, str]]]:
    """(lines that count, lines restored, the others as (line, damaged, made of it))."""
    count, missed = 0, []
    for line in lines:
        damaged = damage(line, right, wrong)
        if damaged is None:
            continue
        count += 1
        fixed = fix(damaged)
        if fixed != line:
            missed.append((line, damaged, fixed))
    return count, count - len(missed), missed


def changes(sources: dict[str, list[str]], fix: Callable[[str], str] | None = None) -> Iterator[tuple[str, str, str]]:
    """(source, before, after) of every line that the rule changes in undamaged data."""
    for name, texts in sources.items():
        before = pl.Series(texts, dtype=pl.String)
        if fix is None:
            after, changed, _ = clean(before, RULES, TextSettings())
            at = changed["mojibake"].tolist()
            new = after.gather(at).to_list()
        else:
            new = [fix(text) if not text.isascii() else text for text in texts]
            at = list(range(len(texts)))
        for index, text in zip(at, new, strict=True):
            if text != texts[index]:
                old_lines, new_lines = texts[index].split("\n"), text.split("\n")
                if len(old_lines) != len(new_lines):
                    old_lines, new_lines = [texts[index]], [text]
                yield from ((name, old, line) for old, line in zip(old_lines, new_lines, strict=True) if old != line)


def rate(texts: list[str]) -> float:
    """MB/s of the whole rule, marks not counted: all rules share those."""
    series = pl.Series(texts, dtype=pl.String)
    found = marks(series)
    size = series.str.len_bytes().sum()
    best = 1e9
    for _ in range(5):
        began = time.process_time()
        RULES[0].apply(series.filter(pl.Series((found & RULES[0].marks) != 0)), TextSettings())
        best = min(best, time.process_time() - began)
    return size / best / 1e6


def _window(old: str, new: str) -> tuple[str, str]:
    start = next((i for i, (a, b) in enumerate(zip(old, new, strict=False)) if a != b), 0)
    return old[max(0, start - 20) : start + 40], new[max(0, start - 20) : start + 40]


def main() -> None:
    """Prints the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("--ftfy", action="store_true")
    parser.add_argument("--missed", type=int, default=0, help="how many missed lines of each kind to print")
    arguments = parser.parse_args()
    fix: Callable[[str], str] | None = None
    if arguments.ftfy:
        import ftfy

        only = ftfy.TextFixerConfig(restore_byte_a0=False, replace_lossy_sequences=False)
        fix = lambda text: ftfy.fix_encoding(text, only)  # noqa: E731
    sources = load(arguments.data)
    picked = sample(sources)
    rows = []
    for right, wrong in KINDS:
        for language, lines in picked.items():
            count, restored, missed = recall(lines, right, wrong, fix or repair)
            wrongly = sum(made != damaged for _, damaged, made in missed)
            rows.append((f"{right} as {wrong}", language, count, f"{restored / max(1, count):.4f}", len(missed) - wrongly, wrongly))
            for line, damaged, made in missed[: arguments.missed]:
                print(f"{right} as {wrong}\n   {line[:160]!r}\n   {damaged[:160]!r}\n   {made[:160]!r}")
    print(table(("kind", "language", "lines", "recall", "left", "made wrong"), rows))
    undamaged = [line for lines in picked.values() for line in lines]
    print(f"\nof these {len(undamaged)} lines, undamaged, {sum((fix or repair)(line) != line for line in undamaged)} are changed")
    if fix is None:
        chat = {name: sources[name] for name in CHAT if name in sources}
        for name in ("belle", "self_instruct_zh", "alpaca", "gpteacher"):
            if name in chat:
                print(f"{name}: {rate(chat[name]):.0f} MB/s")
    changed: Counter[str] = Counter()
    for name, old, new in changes(sources, fix):
        changed[name] += 1
        if changed[name] <= 40:
            print(name, *map(repr, _window(old, new)), sep="  ")
    total = sum(text.count("\n") + 1 for texts in sources.values() for text in texts)
    print(f"\nlines changed of {total} undamaged ones: {changed.total()} {dict(changed)}")


if __name__ == "__main__":
    main()
