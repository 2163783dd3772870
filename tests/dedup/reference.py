"""What the kernels must compute, in plain Python: units one character after the other, shingles as tuples, sets as sets."""

from __future__ import annotations

import unicodedata
from collections.abc import Hashable, Iterable, Sequence
from functools import cache

import numpy as np
import pyarrow as pa

from corpus.dedup.judge import Sets
from corpus.dedup.shingles import Shingles
from corpus.dedup.texts import Texts
from corpus.dedup.units import Unit
from corpus.text import scripts

INVISIBLE = {
    0xAD, 0x180E, *range(0x200B, 0x2010), *range(0x202A, 0x202F), *range(0x2060, 0x2065), *range(0x2066, 0x206A), 0xFEFF,
    *range(0xFE00, 0xFE10), *range(0xE0100, 0xE01F0), ord("'"), 0x2019,
}  # fmt: skip
EAST_ASIAN = (
    (0x3005, 0x3005), (0x303B, 0x303B), (0x3400, 0x4DBF), (0x4E00, 0x9FFF), (0xF900, 0xFAFF), (0x20000, 0x323AF),  # Han
    (0x3041, 0x3096), (0x309D, 0x309F), (0x30A1, 0x30FA), (0x30FC, 0x30FF), (0x31F0, 0x31FF),  # kana
    (0x1100, 0x11FF), (0x3131, 0x318E), (0xAC00, 0xD7A3),  # Hangul
)  # fmt: skip

Talk = Sequence[tuple[str, int]]
"""A row: its texts, and which part of it each is (PROMPT, ANSWER, REJECTED, or 0)."""

Gram = tuple[str, ...]
"""A shingle: its units."""


def texts_of(rows: Iterable[Talk]) -> Texts:
    """Rows of several texts as the kernels want them."""
    rows = list(rows)
    flat = [text.encode() for row in rows for text, _ in row]
    return Texts(
        np.cumsum([0, *map(len, flat)], dtype=np.int64),
        np.frombuffer(b"".join(flat), dtype=np.uint8),
        np.cumsum([0, *map(len, rows)], dtype=np.int64),
        np.array([part for row in rows for _, part in row], dtype=np.uint8),
        np.zeros(len(rows), dtype=np.uint8),
    )


def column_of(texts: Iterable[str | None]) -> Texts:
    """Rows of one text."""
    return Texts.of(pa.array(list(texts), pa.large_string()))


def row_of(found: Shingles, row: int) -> list[int]:
    """The shingles of a row as Python's numbers."""
    return found.hashes[found.bounds[row] : found.bounds[row + 1]].tolist()  # type: ignore[no-any-return]


def set_of(sets: Sets, row: int) -> np.ndarray:
    """The set of a row."""
    return sets.hashes[sets.starts[row] : sets.starts[row] + sets.sizes[row]]


def units(text: str, unit: Unit, *, signs: bool = False) -> list[str]:
    """The units of a text as strings."""
    if unit is Unit.CHAR:
        return list("".join(text.casefold().split()))
    out: list[str] = []
    running = ""
    for to, kind in (one for char in text for one in folded(char, signs)):
        if kind == "nothing":
            continue
        if kind in ("letter", "digit") and kind == running:
            out[-1] += to
        elif kind != "break":
            out.append(to)
        running = kind
    return out


@cache
def folded(char: str, signs: bool) -> list[tuple[str, str]]:
    """What a character becomes, and what kind each part is."""
    simple = scripts.single(scripts.TO_SIMPLIFIED)
    wide = ord(char) == 0x3000 or 0xFF00 <= ord(char) < 0xFFF0
    out = [
        chr(simple[simple[ord(part)]])
        for part in (unicodedata.normalize("NFKC", char) if wide else char).casefold()  # 麼 → 么 → 幺
    ]
    return [(to, kind_of(to, signs)) for to in out]


def kind_of(char: str, signs: bool) -> str:
    """What a folded character is."""
    code, category = ord(char), unicodedata.category(char)
    if code in INVISIBLE:
        return "nothing"
    if any(first <= code <= last for first, last in EAST_ASIAN) and category in ("Lo", "Lm"):
        return "one"
    if category[0] in "LM":
        return "letter"
    if category == "Nd":
        return "digit"
    if category[0] == "P" and char not in "*/%&#@\\-":
        return "one" if signs else "break"
    if category[0] == "Z" or category == "Cc":
        return "break"
    return "one"


def sequence(row: Talk, unit: Unit) -> list[list[str]]:
    """The units of each text of a row; punctuation among them where the row has nothing else."""
    found = [units(text, unit) for text, _ in row]
    return found if any(found) else [units(text, unit, signs=True) for text, _ in row]


def marked_grams(row: Talk, unit: Unit, n: int = 5) -> list[tuple[Gram, int]]:
    """The shingles of a row as tuples of units, as often as they occur, and the part that each is from."""
    out: list[tuple[Gram, int]] = []
    for found, (_, part) in zip(sequence(row, unit), row, strict=True):
        if found:
            out += [(tuple(found[i : i + n]), part) for i in range(max(1, len(found) - n + 1))]
    return out or [((), 0)]


def marked_set(row: Talk, unit: Unit) -> dict[Gram, int]:
    """The set of a row's shingles, and the parts that each is from."""
    out: dict[Gram, int] = {}
    for gram, part in marked_grams(row, unit):
        out[gram] = out.get(gram, 0) | part
    return out


def grams(row: Talk, unit: Unit, n: int = 5) -> list[Gram]:
    """`marked_grams` without the marks."""
    return [gram for gram, _ in marked_grams(row, unit, n)]


def same_structure(hashes: Sequence[Sequence[int]], expected: Sequence[Sequence[Hashable]]) -> None:
    """Fails unless hashes are equal exactly where what they stand for is equal, over all rows."""
    meaning: dict[int, Hashable] = {}
    code: dict[Hashable, int] = {}
    for row, (mine, theirs) in enumerate(zip(hashes, expected, strict=True)):
        assert len(mine) == len(theirs), (row, theirs)
        for value, thing in zip(mine, theirs, strict=True):
            assert meaning.setdefault(value, thing) == thing, row
            assert code.setdefault(thing, value) == value, (row, thing)
