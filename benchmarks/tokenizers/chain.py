"""More text of the kind of some rows: a Markov chain over their characters.

What makes training a tokenizer take time and memory is how many distinct pieces a text has, and in real text their number never stops
growing. Repeating rows adds none; drawing characters by frequency adds far too many. A chain that draws each character from those that
follow the same few characters before it somewhere in the rows writes words and runs that were never seen, of the right length and
spelling, beside those that were. How many it remembers (`ORDER`) was found by comparing what is new in a further MB of real rows and of
the chain (`novelty`).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import polars as pl
from numba import njit

ORDER = {"zh": 3, "en": 5}
"""Characters that decide on the next, by language.

New runs a MB in real text are 23,200 after 15 MB of Chinese and 22,500 after 32; in the chain behind 34 MB of real text they are 21,500,
and 17,100 after 70 MB of its own. English has 4,000 new words a MB after 15 MB and 3,200 after 21, falling by the power -0.37 of the size,
which is 1,900 after 92; the chain behind 23 MB of real text begins with twice as many, has as many after 20 MB of its own, and 1,300 after
68. With one more character it has a third of that. Its words are less faithful to a topic: 20 to 40 % more distinct ones a MB.
"""
_AT_ONCE = 100_000
_MOST = 4000
"""Characters after which a row is ended, in case a chain runs in a circle."""
_PIECES = r"\p{Han}+|[\p{L}&&[^\p{Han}]]+"
_BEGIN, _COUNT, _NEXT, _CODE = range(4)


@dataclass(frozen=True, slots=True)
class Chain:
    """What was learnt of n characters.

    Attributes:
        table: a line for each place in the rows, ordered by the context that ends there (int32[n, 4]): the first line with this context,
            how many there are, the line of the next place, and the code point of its character (0 where the row ends). All that a step
            reads lies together, or in one line near by.
        start: a line at which a row is about to begin.
    """

    table: np.ndarray
    start: int

    @classmethod
    def learn(cls, texts: list[str], order: int) -> Chain:
        """Learns from rows how `order` characters go on.

        Raises:
            ValueError: when there are none.
        """
        if not texts:
            raise ValueError("there are no rows to learn a chain from")
        gap = "\0" * order  # so that no context spans two rows
        whole = gap + gap.join(text.replace("\0", " ") for text in texts) + gap
        codes = np.frombuffer(whole.encode("utf-32-le"), np.int32)
        contexts = _contexts(codes, order)
        n = len(contexts)
        lines = np.argsort(contexts, kind="stable").astype(np.int32)
        firsts = np.flatnonzero(np.diff(contexts[lines], prepend=~contexts[lines[:1]]))
        counts = np.diff(np.append(firsts, n))
        line_of = np.empty(n + 1, np.int32)
        line_of[lines] = np.arange(n, dtype=np.int32)
        line_of[n] = line_of[0]  # after the last row comes what comes before the first
        table = np.empty((n, 4), np.int32)
        table[:, _BEGIN] = np.repeat(firsts, counts)
        table[:, _COUNT] = np.repeat(counts, counts)
        table[:, _NEXT] = line_of[lines + 1]
        table[:, _CODE] = codes[order + lines]
        return cls(table, int(line_of[0]))

    def rows(self, seed: int) -> Iterator[list[str]]:
        """Rows without end, about 100,000 characters at a time; the same for the same seed."""
        state = np.array([seed], np.uint64)
        out = np.empty(_AT_ONCE + _MOST + 1, np.int32)
        while True:
            n = _walk(self.table, self.start, state, out)
            yield [row for row in out[:n].tobytes().decode("utf-32-le").split("\0") if row]


def _contexts(codes: np.ndarray, order: int) -> np.ndarray:
    """For every place with `order` characters before it and one after it, 64 bits that tell what is before it (uint64[len - order]).

    Two different contexts of ten million are equal in one text of 400,000.
    """
    n = len(codes) - order
    key = np.zeros(n, np.uint64)
    for at in range(order):
        key *= np.uint64(0x9E3779B97F4A7C15)
        key += codes[at : at + n].astype(np.uint64)
        key ^= key >> np.uint64(32)
    return key


@njit(cache=True, nogil=True)
def _walk(table, start, state, out):
    """Writes whole rows, a zero after each, until `out` has no room for another; returns how many characters."""
    n, length, line = 0, 0, start
    while n < len(out) - _MOST - 1 or length:
        state[0] += np.uint64(0x9E3779B97F4A7C15)  # splitmix64
        x = state[0]
        x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        drawn = table[line, _BEGIN] + np.int64(((x >> np.uint64(32)) * np.uint64(table[line, _COUNT])) >> np.uint64(32))
        line, code = table[drawn, _NEXT], table[drawn, _CODE]
        if length >= _MOST:
            code = np.int32(0)
        out[n] = code
        n += 1
        length += 1
        if code == 0:
            length, line = 0, start
    return n


def pieces(texts: pl.Series) -> pl.Series:
    """The distinct runs of Han characters and of other letters in texts, in no order."""
    return texts.str.extract_all(_PIECES).explode().drop_nulls().unique()


def novelty(known: pl.Series, more: pl.Series) -> dict[str, float]:
    """How many distinct runs further texts have a MB, and how many of these are not in the texts that are known."""
    megabytes = int(more.str.len_bytes().cast(pl.Int64).sum()) / 1e6
    found = pieces(more)
    new = found.len() - int(found.is_in(pieces(known).implode()).sum())
    return {"distinct": found.len() / megabytes, "new": new / megabytes}
