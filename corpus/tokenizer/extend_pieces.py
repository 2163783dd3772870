"""What a tokenizer makes of text, cut into the pieces that further merges are learnt from.

A piece is a run of the tokens of one pre-token. They meet in characters of one class (Han, letters with the blank before them, signs), so
that no new token joins what the tokenizer's own pre-tokenizer happens to leave together; digits are never joined, since how numbers are cut
is the model's arithmetic. No piece is longer than those of `corpus.tokenizer.pattern`.

A character that the tokenizer writes with several tokens is one symbol here, an **atom**, numbered behind the tokens: so nothing learnt
ends or begins inside of a character. What it takes to make an atom one token is added by `extend`. Where the tokenizer itself has a token
of the end of one character and the beginning of the next (0.1% of the tokens of Chinese text, where that was measured), pieces end.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numba import njit

from corpus.tokenizer.counts import Counter
from corpus.tokenizer.extend_base import Base
from corpus.tokenizer.pattern import HAN_RUN, RUN
from corpus.tokenizer.pieces import BLANK, BREAK, IDEOGRAPH, LETTER, NUMBER, classes

_BAR, _WHOLE, _OPEN, _INNER = 0, 1, 2, 3
"""What a token is: nothing that can be joined, whole characters, the first bytes of a character, further bytes of one."""
_KNOWN = -2
_PARTS = 4
"""Tokens of an atom, at most: as many as a character has bytes."""


@dataclass(frozen=True, slots=True)
class Pieces:
    """Distinct pieces, and the atoms in them.

    Attributes:
        symbols: of all pieces, one piece after another: ids, and atoms behind them (int32[s]).
        offsets: which symbols each piece has (int64[p + 1]).
        weights: how often each occurs (int64[p]).
        codes: the character of each atom (int64[a]).
        parts: the tokens of each atom, -1 behind the last (int32[a, 4]).
        counts: how often each atom occurs (int64[a]).
    """

    symbols: np.ndarray
    offsets: np.ndarray
    weights: np.ndarray
    codes: np.ndarray
    parts: np.ndarray
    counts: np.ndarray


class Cutter:
    """Cuts streams of ids into pieces, and counts them.

    Args:
        base: the tokenizer.
        texts: of its ids (`Base.texts`).
    """

    def __init__(self, base: Base, texts: list[bytes]) -> None:
        self._rows = len(texts)
        shown = list(texts)
        for i, byte in base.fallbacks().items():
            shown[i] = bytes([byte])
        self._kind, self._head, self._tail, self._chars = _properties(shown)
        self._ends = np.cumsum([0, *map(len, shown)], dtype=np.int64)
        self._arena = np.frombuffer(b"".join(shown), dtype=np.uint8)
        self._atom_of = np.full(0x110000, -1, dtype=np.int32)
        for text in texts:  # characters that are tokens, though text may come out as others: there is nothing to be gained
            if 1 < len(text) <= 4 and text[0] >= 0xC2 and len(decoded := _decoded(text)) == 1:
                self._atom_of[ord(decoded)] = _KNOWN
        self._codes = np.zeros(1 << 10, dtype=np.int64)
        self._parts = np.full((1 << 10, _PARTS), -1, dtype=np.int32)
        self._atoms = 0
        self._counter = Counter()

    def add(self, ids: np.ndarray, begins: np.ndarray) -> None:
        """Cuts and counts some more.

        Args:
            ids: tokens (int32[t]).
            begins: whether each begins a pre-token (bool[t]).
        """
        if self._atoms + len(ids) > len(self._codes):
            room = 2 * (self._atoms + len(ids))
            codes, parts = np.zeros(room, dtype=np.int64), np.full((room, _PARTS), -1, dtype=np.int32)
            codes[: self._atoms], parts[: self._atoms] = self._codes[: self._atoms], self._parts[: self._atoms]
            self._codes, self._parts = codes, parts
        symbols = np.empty(len(ids), dtype=np.int32)
        ends = np.empty(len(ids), dtype=np.int64)
        found, self._atoms = _cut(
            ids, begins, self._kind, self._head, self._tail, self._chars, self._ends, self._arena, classes(), self._rows,
            self._atom_of, self._codes, self._parts, self._atoms, symbols, ends,
        )  # fmt: skip
        bounds = 4 * np.concatenate([np.zeros(1, dtype=np.int64), ends[:found]])
        self._counter.add(symbols.view(np.uint8), bounds[:-1], bounds[1:])

    def pieces(self) -> Pieces:
        """The distinct pieces, in the order in which they came first."""
        counted = self._counter.counts()
        symbols = counted.data.copy().view(np.int32)
        offsets = counted.offsets // 4
        atoms = symbols >= self._rows
        weights = np.repeat(counted.counts, np.diff(offsets))
        counts = np.zeros(self._atoms, dtype=np.int64)
        np.add.at(counts, symbols[atoms] - self._rows, weights[atoms])
        return Pieces(symbols, offsets, counted.counts, self._codes[: self._atoms], self._parts[: self._atoms], counts)


def _decoded(text: bytes) -> str:
    """The text, or an empty one where it does not end and begin with a character."""
    try:
        return text.decode()
    except UnicodeDecodeError:
        return ""


def _properties(texts: list[bytes]) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """What each token is, the classes of its first and last character, and how many characters it has."""
    kinds = np.full(len(texts), _BAR, dtype=np.uint8)
    heads, tails = np.zeros(len(texts), dtype=np.uint8), np.zeros(len(texts), dtype=np.uint8)
    chars = np.zeros(len(texts), dtype=np.int32)
    table = classes()
    for i, text in enumerate(texts):
        whole = _decoded(text)
        if whole:
            kinds[i], chars[i] = _WHOLE, len(whole)
            heads[i], tails[i] = table[ord(whole[0])], table[ord(whole[-1])]
        elif 0xC2 <= text[0] <= 0xF4 and all(b & 0xC0 == 0x80 for b in text[1:]):
            kinds[i] = _OPEN
        elif all(b & 0xC0 == 0x80 for b in text):
            kinds[i] = _INNER
    return kinds, heads, tails, chars


@njit(cache=True, nogil=True)
def _cut(
    ids: np.ndarray,
    begins: np.ndarray,
    kinds: np.ndarray,
    heads: np.ndarray,
    tails: np.ndarray,
    chars: np.ndarray,
    ends: np.ndarray,
    arena: np.ndarray,
    table: np.ndarray,
    rows: int,
    atom_of: np.ndarray,
    codes: np.ndarray,
    parts: np.ndarray,
    atoms: int,
    out: np.ndarray,
    stops: np.ndarray,
) -> tuple[int, int]:
    found = 0
    size = 0  # symbols written
    begin = 0  # where the piece that grows began
    length = 0  # its characters
    tail = 0
    first = 0  # token with which the character began that is not whole yet
    missing = 0
    code = 0
    for i in range(len(ids) + 1):
        token = ids[i] if i < len(ids) else 0
        kind = kinds[token] if i < len(ids) else _BAR
        if i < len(ids) and begins[i]:
            missing = 0
        bar = kind == _BAR or (i < len(ids) and begins[i])
        symbol = -1
        head = last = count = 0
        if kind == _WHOLE:
            bar = bar or missing > 0
            missing = 0
            symbol, head, last, count = token, heads[token], tails[token], chars[token]
        elif kind == _OPEN:
            bar = bar or missing > 0
            first = i
            lead = int(arena[ends[token]])
            total = 2 if lead < 0xE0 else 3 if lead < 0xF0 else 4
            missing = total - int(ends[token + 1] - ends[token])
            code = lead & (0x7F >> total)
            for k in range(ends[token] + 1, ends[token + 1]):
                code = code << 6 | (int(arena[k]) & 0x3F)
        elif kind == _INNER:
            if missing <= 0 or ends[token + 1] - ends[token] > missing:
                bar, missing = True, 0
            else:
                for k in range(ends[token], ends[token + 1]):
                    code = code << 6 | (int(arena[k]) & 0x3F)
                missing -= int(ends[token + 1] - ends[token])
                if missing == 0:
                    atom = atom_of[code] if code < 0x110000 else _KNOWN
                    if atom == _KNOWN:
                        bar = True
                    else:
                        if atom < 0:
                            atom = np.int32(atoms)
                            atom_of[code] = atom
                            codes[atoms] = code
                            for k in range(i - first + 1):
                                parts[atoms, k] = ids[first + k]
                            atoms += 1
                        symbol, head, last, count = rows + atom, table[code], table[code], 1
        else:
            missing = 0
        joins = False
        if symbol >= 0 and not bar and size > begin:
            most = HAN_RUN if head == IDEOGRAPH else RUN
            same = tail == head and head != NUMBER and head != BLANK and head != BREAK
            blank = tail == BLANK and head == LETTER and length == 1
            joins = (same or blank) and length + count <= most
        # Nothing is known yet of a character that has only begun.
        if bar or (symbol >= 0 and not joins):
            if size - begin > 1 or (size > begin and out[begin] >= rows):
                stops[found] = size
                found += 1
            else:
                size = begin
            begin = size
            length = 0
        if symbol >= 0 and (joins or size == begin):
            out[size] = symbol
            size += 1
            length += count
            tail = last
    return found, atoms
