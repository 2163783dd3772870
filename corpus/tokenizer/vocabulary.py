"""A vocabulary, and what it is made of: its tokens by script, the longest of each, and those that a text does not use."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from corpus.text import characters as c

SCRIPTS = ("Han", "Latin", "kana", "Hangul", "other", "digits", "signs", "white space", "mixed", "bytes", "special")
"""What a token can be: characters of one script (other: letters of all others, combining marks, numbers like ½), digits, signs
(punctuation and symbols) or white space alone; several of these (white space beside others does not count: ` the` is Latin); a part of a
character or a byte to fall back to; a special token."""

_LONGEST = 5
_UNUSED = 20
_MIXED, _BYTES, _SPECIAL = (SCRIPTS.index(name) for name in ("mixed", "bytes", "special"))
_WHITE = SCRIPTS.index("white space")


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """What the ids stand for. Ids are the positions in every array, from 0 to the highest; there may be holes.

    Attributes:
        tokens: the bytes of every token: what it is in the text, `▁` a space and `<0x41>` an `A`; of a special token its spelling.
        there: which ids there are (bool[n]).
        special: which are special: no text gives them (bool[n]).
        unknown: which say that something could not be encoded (bool[n]).
        fallback: which are one byte that sentencepiece falls back to, `<0x41>` (bool[n]).
    """

    tokens: tuple[bytes, ...]
    there: np.ndarray
    special: np.ndarray
    unknown: np.ndarray
    fallback: np.ndarray


@dataclass(frozen=True, slots=True)
class Token:
    """A token: its id, and its text (of bytes that are no text: their hexadecimal digits, as in <E4B8>)."""

    id: int
    text: str


@dataclass(frozen=True, slots=True)
class Shape:
    """What the tokens are.

    Attributes:
        scripts: how many tokens of each of `SCRIPTS`.
        longest: of each that has some, those with the most characters.
        usable: tokens that are not special.
        unused: those of them that the text does not use.
        examples: some of these, single bytes aside: the lowest ids, which most kinds learn first, so that one would expect to see them.
    """

    scripts: dict[str, int]
    longest: dict[str, tuple[Token, ...]]
    usable: int
    unused: int
    examples: tuple[Token, ...]


def partial(vocabulary: Vocabulary) -> np.ndarray:
    """Which tokens are a part of a character, or one byte to fall back to (bool[n])."""
    cut = np.array([not _is_text(token) for token in vocabulary.tokens], dtype=bool)
    return (cut | vocabulary.fallback) & ~vocabulary.special & vocabulary.there


def shape(vocabulary: Vocabulary, used: np.ndarray) -> Shape:
    """Describes a vocabulary.

    Args:
        vocabulary: its tokens.
        used: how often a text uses each (int64[n]).
    """
    script, lengths = _scripts(vocabulary)
    there = np.flatnonzero(vocabulary.there)
    longest = {}
    for at, name in enumerate(SCRIPTS):
        ids = there[script[there] == at]
        if len(ids):
            # Longest first, then the lowest id.
            longest[name] = tuple(_token(vocabulary, i) for i in ids[np.argsort(-lengths[ids], kind="stable")][:_LONGEST])
    usable = vocabulary.there & ~vocabulary.special
    unused = np.flatnonzero(usable & (used == 0))
    counts = np.bincount(script[there], minlength=len(SCRIPTS))
    single = np.array([len(vocabulary.tokens[i]) < 2 for i in unused], dtype=bool)
    examples = unused[~single & (script[unused] != _BYTES)][:_UNUSED]
    return Shape(
        {name: int(n) for name, n in zip(SCRIPTS, counts, strict=True)},
        longest,
        int(usable.sum()),
        len(unused),
        tuple(_token(vocabulary, i) for i in examples),
    )


def _scripts(vocabulary: Vocabulary) -> tuple[np.ndarray, np.ndarray]:
    """The place in `SCRIPTS` of every token, and its characters (of bytes: how many)."""
    bytes_only = partial(vocabulary)
    texts = ["" if alone else token.decode() for token, alone in zip(vocabulary.tokens, bytes_only, strict=True)]
    lengths = np.array([len(text) for text in texts], dtype=np.int64)
    kinds = _kinds()[np.frombuffer("".join(texts).encode("utf-32-le"), dtype=np.uint32)]
    token = np.repeat(np.arange(len(texts)), lengths)
    held = np.zeros((len(texts), _WHITE + 1), dtype=bool)
    held[token, kinds] = True
    named = held[:, :_WHITE]
    many = named.sum(axis=1)
    script = np.select([many == 1, many > 1], [named.argmax(axis=1), _MIXED], _WHITE)
    script[bytes_only] = _BYTES
    script[vocabulary.special] = _SPECIAL
    lengths[bytes_only] = [len(vocabulary.tokens[i]) for i in np.flatnonzero(bytes_only)]
    return script, lengths


def _kinds() -> np.ndarray:
    """The place in `SCRIPTS` of every character (int64[0x110000])."""
    bits = c.table()
    order = (
        (c.HAN, "Han"), (c.LATIN, "Latin"), (c.KANA, "kana"), (c.HANGUL, "Hangul"), (c.DIGIT, "digits"), (c.LETTER, "other"),
        (c.BLANK | c.ODD_BLANK | c.LINE_FEED | c.CR, "white space"), (c.PUNCTUATION | c.SYMBOL | c.CONTROL | c.INVISIBLE, "signs"),
    )  # fmt: skip
    # What is left: combining marks, numbers that are no digits, private use.
    return np.select([bits & bit != 0 for bit, _ in order], [SCRIPTS.index(name) for _, name in order], SCRIPTS.index("other"))


def _token(vocabulary: Vocabulary, at: int) -> Token:
    token = vocabulary.tokens[at]
    if vocabulary.fallback[at] or not _is_text(token):
        return Token(int(at), f"<{token.hex().upper()}>")
    return Token(int(at), token.decode())


def _is_text(token: bytes) -> bool:
    try:
        token.decode()
    except UnicodeDecodeError:
        return False
    return True
