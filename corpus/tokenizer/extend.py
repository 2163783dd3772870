"""Adds tokens to somebody else's tokenizer: Chinese to one that has little, words of medicine or law to one that knows none.

The training of the tokenizer is continued. It encodes the text itself, its tokens are what merges are learnt from, and what is made is
appended behind its own: whatever the text, the tokenizer cuts it as it always did, and some of what it makes is merged further. So no id
changes, no text gets longer, and what has none of the new tokens is encoded as before. (Tokens that are merely added, as with `add_tokens`,
are cut out of text before the tokenizer sees it, also from within words.) New ids follow the highest that there is, added tokens included:
rows of a model's embeddings behind them, where it was padded to a round number, were never trained, and the new tokens take them.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl

from corpus.errors import UsageError
from corpus.tokenizer import extend_base
from corpus.tokenizer.extend_base import Base, Layout
from corpus.tokenizer.extend_pieces import Cutter, Pieces
from corpus.tokenizer.extended import Extended, NewToken
from corpus.tokenizer.merges import LEAST, Merges, learn


def extend(folder: Path, texts: Iterable[pl.Series], add: int) -> Extended:
    """Learns further tokens for a tokenizer.

    Args:
        folder: of the tokenizer (`corpus.tokenizer.extend_base.read`).
        texts: what to learn from, columns of some MB; the more of another language there is in it, the more is learnt for that one.
        add: how many tokens; there may be fewer where the text has no more.

    Raises:
        DataError: when the tokenizer cannot be read or extended.
        UsageError: when nothing is to be added.
    """
    if add < 1:
        raise UsageError(f"{add} tokens to add; expected at least 1")
    base = extend_base.read(folder)
    known = base.texts()
    cutter = Cutter(base, known)
    encoder = base.encoder()
    size = tokens = 0
    for column in texts:
        size += int(column.str.len_bytes().sum() or 0)
        for ids, begins in encoder.pieces(column):
            tokens += len(ids)
            cutter.add(ids, begins)
    pieces = cutter.pieces()
    atoms = [chr(c).encode() for c in pieces.codes.tolist()]
    merges = learn(pieces.symbols.copy(), pieces.offsets, pieces.weights, known + atoms, add)
    growth = _Growth(base, known, add)
    characters = _characters(pieces, known) if base.layout == Layout.BYTES else _fallbacks(pieces)
    _assemble(growth, merges, known + atoms, characters)
    facts = {"bytes": size, "base_tokens": tokens, "pieces": len(pieces.weights), "asked": add, "added": len(growth.tokens)}
    return Extended(base, tuple(growth.tokens), tuple(growth.merges), facts)


@dataclass(frozen=True, slots=True)
class _Characters:
    """What makes characters one token that were several, in the order of learning.

    Attributes:
        steps: left, right and made text; for a fallback the parts in place of left and right.
        counts: how often each step is taken.
        done: after how many steps a character is one token, by its text.
    """

    steps: list[tuple[bytes, bytes] | tuple[bytes, tuple[int, ...]]]
    counts: list[int]
    done: dict[bytes, int]


def _characters(pieces: Pieces, known: list[bytes]) -> _Characters:
    """Merges within characters, from how often each of these occurs."""
    inside = pieces.parts >= 0
    symbols = pieces.parts[inside]
    offsets = np.concatenate([[0], np.cumsum(inside.sum(axis=1))]).astype(np.int64)
    merges = learn(symbols.copy(), offsets, pieces.counts, known, len(symbols))
    texts = list(known)
    steps: list[tuple[bytes, bytes] | tuple[bytes, tuple[int, ...]]] = []
    done: dict[bytes, int] = {}
    for left, right, made in _triples(merges):
        whole = texts[left] + texts[right]
        if made == len(texts):
            texts.append(whole)
        steps.append((texts[left], texts[right]))
        done.setdefault(whole, len(steps))
    return _Characters(steps, merges.counts.tolist(), done)


def _fallbacks(pieces: Pieces) -> _Characters:
    """Characters that a marked tokenizer writes byte by byte: each is a piece of its own, with nothing to merge."""
    order = np.lexsort((pieces.codes, -pieces.counts))
    order = order[pieces.counts[order] >= LEAST]
    texts = [chr(c).encode() for c in pieces.codes[order].tolist()]
    parts = [tuple(i for i in row if i >= 0) for row in pieces.parts[order].tolist()]
    return _Characters(list(zip(texts, parts, strict=True)), pieces.counts[order].tolist(), {t: k + 1 for k, t in enumerate(texts)})


class _Growth:
    """The tokens and merges that there are so far."""

    def __init__(self, base: Base, known: list[bytes], add: int) -> None:
        self._base = base
        self._first = base.rows
        self._parts: dict[bytes, tuple[int, ...]] = {text: (i,) for i, text in enumerate(known)}
        self._taken = {*base.names.values(), *base.added.values()}
        self._add = add
        self.tokens: list[NewToken] = []
        self.merges: list[tuple[str, str]] = []

    @property
    def full(self) -> bool:
        return len(self.tokens) >= self._add

    def merge(self, left: bytes, right: bytes) -> None:
        """Joins two tokens, unless one of them is none, or the name of what they make is another's: a special token's."""
        if left in self._parts and right in self._parts and self.token(left + right, self._parts[left] + self._parts[right]):
            self.merges.append((self._base.name(left), self._base.name(right)))

    def token(self, text: bytes, parts: tuple[int, ...]) -> bool:
        """Adds a token, unless there is one of this text; False where there is no room, or its name is another's."""
        if text in self._parts:
            return True
        name = self._base.name(text)
        if self.full or name in self._taken:
            return False
        self._parts[text] = parts
        self.tokens.append(NewToken(self._first + len(self.tokens), name, text, parts))
        return True


def _assemble(growth: _Growth, merges: Merges, texts: list[bytes], characters: _Characters) -> None:
    """Puts merges of characters and of their runs in one order, the more frequent first, until there is no more room.

    A character is made before it is merged with another: it occurs at least as often as any pair that it is in.
    """
    texts = list(texts)
    taken = 0
    counts = merges.counts.tolist()
    for k, (left, right, made) in enumerate(_triples(merges)):
        whole = texts[left] + texts[right]
        if made == len(texts):
            texts.append(whole)
        needed = max(characters.done.get(texts[left], 0), characters.done.get(texts[right], 0))
        while taken < len(characters.steps) and (taken < needed or characters.counts[taken] >= counts[k]):
            _step(growth, characters.steps[taken])
            taken += 1
        if growth.full:
            return
        growth.merge(texts[left], texts[right])
    for step in characters.steps[taken:]:
        if growth.full:
            return
        _step(growth, step)


def _step(growth: _Growth, step: tuple[bytes, bytes] | tuple[bytes, tuple[int, ...]]) -> None:
    text, rest = step
    if isinstance(rest, bytes):
        growth.merge(text, rest)
    else:
        growth.token(text, rest)


def _triples(merges: Merges) -> Iterable[tuple[int, int, int]]:
    return zip(merges.left.tolist(), merges.right.tolist(), merges.made.tolist(), strict=True)
