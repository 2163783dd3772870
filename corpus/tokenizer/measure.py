"""What a tokenizer does to text that it has not seen.

Every figure is a ratio of two counts, and the counts are kept: figures of groups can be added up, and shown beside what they rest on.
Memory does not grow with the text: it goes through in batches of about 1 MB, and of every row four numbers remain.
"""

from __future__ import annotations

from dataclasses import dataclass
from time import process_time

import numpy as np

from corpus.tokenizer.load import Loaded
from corpus.tokenizer.probes import PROBES, SPECIALS
from corpus.tokenizer.sizes import Sized
from corpus.tokenizer.text import LANGUAGES
from corpus.tokenizer.vocabulary import Shape, partial, shape


@dataclass(frozen=True, slots=True)
class Figures:
    """The counts of some rows, and the ratios.

    Attributes:
        rows: how many.
        bytes: their size in UTF-8.
        chars: their characters.
        tokens: what they become.
        words: words of those whose words are counted, see `sizes`.
        word_tokens: tokens of these rows.
        unknown: tokens that say that something could not be encoded.
        partial: tokens that are a part of a character, or one byte of sentencepiece's fallback.
        exact: rows that decode to what they were.
    """

    rows: int
    bytes: int
    chars: int
    tokens: int
    words: int
    word_tokens: int
    unknown: int
    partial: int
    exact: int

    @property
    def bytes_per_token(self) -> float | None:
        """Bytes of text for a token."""
        return _ratio(self.bytes, self.tokens)

    @property
    def chars_per_token(self) -> float | None:
        """Characters of text for a token."""
        return _ratio(self.chars, self.tokens)

    @property
    def fertility(self) -> float | None:
        """Tokens for a word; None where no words were counted."""
        return _ratio(self.word_tokens, self.words)

    @property
    def unknown_share(self) -> float | None:
        """Share of the tokens that are unknown."""
        return _ratio(self.unknown, self.tokens)

    @property
    def partial_share(self) -> float | None:
        """Share of the tokens that are a part of a character or a byte."""
        return _ratio(self.partial, self.tokens)

    @property
    def exact_share(self) -> float | None:
        """Share of the rows that come back as they were."""
        return _ratio(self.exact, self.rows)


@dataclass(frozen=True, slots=True)
class Probed:
    """What became of a probe.

    Attributes:
        name: which, see `probes`.
        tokens: what it became.
        exact: whether it came back as it was; for literal special tokens also: whether no special token was among them.
    """

    name: str
    tokens: int
    exact: bool


@dataclass(frozen=True, slots=True)
class Measured:
    """All figures of a tokenizer.

    Attributes:
        name: as the user gave it.
        what: what it is.
        size: its tokens, special ones included.
        everything: the figures of all rows.
        languages: by language, in the order of `LANGUAGES`; those that have rows.
        sources: by source.
        probes: the standing probes.
        speed: million bytes of text encoded in a second of one processor's time (not of the clock, on which other programs count),
            from texts to ids, in batches of 1 MB.
        vocabulary: what its tokens are, and which of them the text does not use.
    """

    name: str
    what: str
    size: int
    everything: Figures
    languages: dict[str, Figures]
    sources: dict[str, Figures]
    probes: tuple[Probed, ...]
    speed: float
    vocabulary: Shape


def measure(loaded: Loaded, held: Sized) -> Measured:
    """Measures a tokenizer.

    Args:
        loaded: the tokenizer.
        held: the text.
    """
    vocabulary = loaded.vocabulary
    marks = np.stack([vocabulary.unknown, partial(vocabulary)])
    used = np.zeros(len(vocabulary.tokens), dtype=np.int64)
    counts = np.zeros((4, len(held.bytes)), dtype=np.int64)  # tokens, unknown, partial, exact
    seconds = 0.0
    # What is made once, at the first text, is not speed.
    loaded.encode(["", *held.texts[:1]])
    for batch in held.batches:
        texts = held.texts[batch].to_list()
        began = process_time()
        ids, offsets = loaded.encode(texts)
        seconds += process_time() - began
        counts[0, batch] = np.diff(offsets)
        for row, marked in zip(counts[1:3], marks, strict=True):
            row[batch] = np.diff(np.concatenate([[0], np.cumsum(marked[ids])])[offsets])
        used += np.bincount(ids, minlength=len(used))
        back = loaded.decode_all(ids, offsets)
        counts[3, batch] = [a == b for a, b in zip(texts, back, strict=True)]
    columns = np.vstack(
        [np.ones_like(held.bytes), held.bytes, held.chars, counts[0], held.words, np.where(held.counted, counts[0], 0), counts[1:]]
    )
    by_language, by_source = _grouped(columns, held.language, len(LANGUAGES)), _grouped(columns, held.source, len(held.sources))
    return Measured(
        loaded.name,
        loaded.what,
        loaded.size,
        _figures(columns.sum(axis=1)),
        {name: figures for name, figures in zip(LANGUAGES, by_language, strict=True) if figures.rows},
        dict(zip(held.sources, by_source, strict=True)),
        _probes(loaded),
        float(held.bytes.sum()) / 1e6 / max(seconds, 1e-9),
        shape(vocabulary, used),
    )


def _grouped(columns: np.ndarray, group: np.ndarray, groups: int) -> list[Figures]:
    """The sums of each group. Whole numbers up to 2^53, so sums in doubles are exact."""
    sums = np.stack([np.bincount(group, weights=column, minlength=groups) for column in columns])
    return [_figures(sums[:, i]) for i in range(groups)]


def _figures(sums: np.ndarray) -> Figures:
    return Figures(*(int(n) for n in sums))


def _ratio(a: int, b: int) -> float | None:
    return a / b if b else None


def _probes(loaded: Loaded) -> tuple[Probed, ...]:
    special = loaded.vocabulary.special
    spelled = [loaded.vocabulary.tokens[i].decode() for i in np.flatnonzero(special)]
    texts = {**PROBES, SPECIALS: " ".join(["a", *spelled, "b"])}
    ids, offsets = loaded.encode(list(texts.values()))
    back = loaded.decode_all(ids, offsets)
    found = [
        Probed(name, int(end - start), text == got)
        for (name, text), start, end, got in zip(texts.items(), offsets[:-1], offsets[1:], back, strict=True)
    ]
    # A spelling that was taken for the token decodes to itself, too.
    taken = bool(special[ids[offsets[-2] :]].any())
    last = found[-1]
    return (*found[:-1], Probed(last.name, last.tokens, last.exact and not taken))
