"""The pre-tokenizers of published byte-level tokenizers, compiled: GPT-2's, GPT-4's as LLaMA 3 and Qwen have it, and BLOOM's.

Which one a tokenizer has is not guessed: its tokenizer.json must say exactly one of these, to the letter of the regular expression. What
is a letter, a number or white space is asked of the library's own regular expressions (`pieces.seen`).
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from numba import njit

from corpus.tokenizer.pieces import code_at, seen

_SIGN, _LETTER, _NUMBER, _BLANK, _BREAK, _STOP = 0, 1, 2, 3, 4, 5
"""What a character is; the stops are BLOOM's, to which white space belongs."""

_GPT2, _GPT4, _BLOOM = 0, 1, 2
"""Whose rules: apostrophes and blanks differ."""

QWEN = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
LLAMA3 = QWEN.replace(r"|\p{N}|", r"|\p{N}{1,3}|")
BLOOM = r" ?[^(\s|[.,!?…。，、।۔،])]+"
_KNOWN = {QWEN: (_GPT4, 1), LLAMA3: (_GPT4, 3), BLOOM: (_BLOOM, 0)}
"""Regular expressions in files: whose rules they are, and how many digits go together."""

_NO_LIMIT = 1 << 62


@dataclass(frozen=True, slots=True)
class Splitter:
    """Cuts texts into pieces as `pieces.split` does, by a published pattern.

    Attributes:
        rules: whose.
        digits: of a number in a piece, at most.
    """

    rules: int
    digits: int

    def __call__(self, bounds: np.ndarray, data: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Where pieces end, and how many there are before each text; see `pieces.split`."""
        counts = np.zeros(len(bounds), dtype=np.int64)
        ends = np.empty(int(bounds[-1] - bounds[0]), dtype=np.int64)
        table = _stops() if self.rules == _BLOOM else _classes()
        return ends[: _split(bounds, data, table, self.rules, self.digits, ends, counts)].copy(), counts


def splitter(pre_tokenizer: Any) -> Callable[[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]] | None:
    """What cuts as a pre-tokenizer of tokenizer.json does, where it is one of those that are known; else None."""
    told = json.loads(json.dumps(pre_tokenizer))
    for each in (told, *(told.get("pretokenizers") or ())) if isinstance(told, dict) else ():
        each.pop("trim_offsets", None)  # says where tokens are, not which
    if told == {"type": "ByteLevel", "add_prefix_space": False, "use_regex": True}:
        return Splitter(_GPT2, _NO_LIMIT)
    for pattern, (rules, digits) in _KNOWN.items():
        cut = {"type": "Split", "pattern": {"Regex": pattern}, "behavior": "Isolated", "invert": False}
        as_bytes = {"type": "ByteLevel", "add_prefix_space": False, "use_regex": False}
        if told == {"type": "Sequence", "pretokenizers": [cut, as_bytes]}:
            return Splitter(rules, digits)
    return None


@cache
def _classes() -> np.ndarray:
    table = seen(((_LETTER, r"\p{L}"), (_NUMBER, r"\p{N}"), (_BLANK, r"\s")))
    table[[0x0A, 0x0D]] = _BREAK
    return table


@cache
def _stops() -> np.ndarray:
    return seen(((_STOP, r"[(\s|[.,!?…。，、।۔،])]"),))


@njit(cache=True, nogil=True)
def _run(data: np.ndarray, at: int, end: int, table: np.ndarray, kind: int, most: int) -> int:
    """Where a run of characters of a class ends, after `most` of them at the latest."""
    while at < end and most > 0:
        code, after = code_at(data, at)
        if table[code] != kind:
            break
        at = after
        most -= 1
    return at


@njit(cache=True, nogil=True)
def _contraction(data: np.ndarray, at: int, end: int, rules: int) -> int:
    """Where a contraction ends whose apostrophe ends at `at`; -1 where there is none. GPT-4's are of any case."""
    if at >= end:
        return -1
    a = data[at]
    if rules == _GPT4 and a >= 0x41:
        if a == 0xC5 and data[at + 1] == 0xBF:  # the long s, whose capital is S
            return at + 2
        a |= 0x20
    if a == 0x73 or a == 0x74 or a == 0x6D or a == 0x64:  # s t m d
        return at + 1
    if at + 1 >= end:
        return -1
    b = data[at + 1]
    if rules == _GPT4 and b >= 0x41:
        b |= 0x20
    return at + 2 if (a == 0x72 and b == 0x65) or (a == 0x76 and b == 0x65) or (a == 0x6C and b == 0x6C) else -1  # re ve ll


@njit(cache=True, nogil=True)
def _piece(data: np.ndarray, at: int, end: int, table: np.ndarray, rules: int, digits: int) -> int:
    """Where the piece that begins at `at` ends: the alternatives of GPT-2's or GPT-4's pattern, in their order."""
    code, after = code_at(data, at)
    kind = table[code]
    if code == 0x27:
        found = _contraction(data, after, end, rules)
        if found > 0:
            return found
    if kind == _LETTER:
        return _run(data, at, end, table, _LETTER, _NO_LIMIT)
    if kind == _NUMBER:
        return _run(data, at, end, table, _NUMBER, digits)
    if code == 0x20 or (rules == _GPT4 and kind != _BREAK):
        found = _run(data, after, end, table, _LETTER, _NO_LIMIT)
        if found > after:
            return found
    if code == 0x20 and rules == _GPT2:
        found = _run(data, after, end, table, _NUMBER, digits)
        if found > after:
            return found
    if kind == _SIGN or code == 0x20:
        found = _run(data, after, end, table, _SIGN, _NO_LIMIT)
        if kind == _SIGN or found > after:
            if rules == _GPT4:
                found = _run(data, found, end, table, _BREAK, _NO_LIMIT)
            return found
    # White space: GPT-4's up to its last line break; without one all but the last, which goes with what follows.
    last_break, last, here = -1, at, at
    while here < end:
        code, after = code_at(data, here)
        kind = table[code]
        if kind < _BLANK:
            break
        last = here
        here = after
        if kind == _BREAK:
            last_break = here
    if rules == _GPT4 and last_break > 0:
        return last_break
    return last if here < end and last > at else here


@njit(cache=True, nogil=True)
def _clause(data: np.ndarray, at: int, end: int, table: np.ndarray) -> int:
    """Where the piece that begins at `at` ends: a run without stops and the blank before it, or what is between two of these."""
    begin = at
    while at < end:
        code, after = code_at(data, at)
        found = _run(data, after if code == 0x20 else at, end, table, _SIGN, _NO_LIMIT)
        if found > (after if code == 0x20 else at):
            return found if at == begin else at
        at = after
    return end


@njit(cache=True, nogil=True)
def _split(bounds: np.ndarray, data: np.ndarray, table: np.ndarray, rules: int, digits: int, ends: np.ndarray, counts: np.ndarray) -> int:
    found = 0
    for i in range(len(bounds) - 1):
        at, end = bounds[i], bounds[i + 1]
        while at < end:
            at = _clause(data, at, end, table) if rules == _BLOOM else _piece(data, at, end, table, rules, digits)
            ends[found] = at
            found += 1
        counts[i + 1] = found
    return found
