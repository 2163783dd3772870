"""Sentencepiece's models, mended, and run by the `tokenizers` library with the same ids.

What it takes that two programs agree to the last token:

- BPE: sentencepiece joins the two neighbours whose joint text has the best score, leftmost first. The library wants pairs in their order:
  every way to divide a piece into two pieces, by the piece's score.
- Unigram: sentencepiece adds scores up in 32-bit floats, the library in 64-bit ones, and where two ways to divide a text are nearly as
  good they choose differently (1 of 3,000 rows). `quantised` rounds the scores to eighths, so that sums are exact in both up to 2²¹, some
  260,000 pieces in one text (860,000 pieces, 3.8 MB of real text, did not differ either); bytes per token stay the same to the fourth
  digit. And it makes symbols ordinary pieces with scores that nothing beats, since what sentencepiece adds for a symbol (-0.1) has no
  exact sum. Ties are settled alike in both: the first that was found, the longest of those that begin at one place.
- Unigram: the library's trie holds special tokens and bytes too, sentencepiece's does not. They get a score here that no text reaches.
- Unigram: the library joins neighbouring characters that no piece has before it spells them in bytes, and gives each byte the place of
  all of them. They are isolated before the model, so that a byte's place is its character.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from corpus.tokenizer.spelling import SPACE
from corpus.tokenizer.spm_format import Piece, Type

if TYPE_CHECKING:
    from tokenizers import Tokenizer

    from corpus.tokenizer.specials import Specials

_QUANTUM = 8
_SURE = 512.0
"""Score of a symbol's character: more than breaking two pieces of sixteen characters into single ones can cost (30 times some -17)."""
_NEVER = -1e5


def quantised(found: list[Piece]) -> list[Piece]:
    """A unigram model's pieces with scores whose sums are exact in 32-bit floats, and with symbols that are never divided.

    A symbol all of whose characters are symbols too needs no more than 0, the best score there is: no other piece has these characters.
    Any other one has so much for each character that no pieces that overlap it are worth breaking it.
    """
    symbols = {p.text for p in found if p.type is Type.USER_DEFINED}

    def new(piece: Piece) -> Piece:
        if piece.type is Type.NORMAL:
            return replace(piece, score=min(round(piece.score * _QUANTUM) / _QUANTUM, -1 / _QUANTUM))
        if piece.type is Type.USER_DEFINED:
            alone = all(char in symbols for char in piece.text)
            return Piece(piece.text, 0.0 if alone else _SURE * len(piece.text))
        return piece

    return [new(piece) for piece in found]


def bpe(found: list[Piece], given: Specials) -> Tokenizer:
    """A BPE model as the `tokenizers` library runs it.

    Args:
        found: the pieces.
        given: the special tokens and symbols that it was trained with.
    """
    from tokenizers import AddedToken, Tokenizer
    from tokenizers.models import BPE

    spelled = {text.replace(" ", SPACE): text for text in given.plain}
    ids = {spelled.get(p.text, p.text) if p.type is Type.USER_DEFINED else p.text: i for i, p in enumerate(found)}
    merges = []
    normal = {p.text for p in found if p.type is Type.NORMAL}
    for piece in sorted((p for p in found if p.type is Type.NORMAL), key=lambda p: -p.score):
        cuts = ((piece.text[:at], piece.text[at:]) for at in range(1, len(piece.text)))
        merges += [(left, right) for left, right in cuts if left in normal and right in normal]
    tokenizer = Tokenizer(BPE(vocab=ids, merges=merges, unk_token=given.unk, byte_fallback=True, fuse_unk=False))
    _spaces(tokenizer)
    tokenizer.add_special_tokens(given.added()[: len(given.special)])
    # Sentencepiece looks for symbols where spaces are U+2581 already: so do these, which makes a difference for symbols that have one.
    tokenizer.add_tokens([AddedToken(text, normalized=True, special=False) for text in given.plain])
    return tokenizer


def unigram(found: list[Piece], given: Specials) -> Tokenizer:
    """A quantised unigram model as the `tokenizers` library runs it.

    Symbols are pieces of the model here, not added tokens: those are cut out from left to right, while the model's best way through three
    line breaks may have a symbol of two at the end. Only a symbol with a space is added, so that it is found by its own name, and only
    where no other symbol can overlap it.

    Args:
        found: the pieces, `quantised`.
        given: the special tokens and symbols that it was trained with.
    """
    from tokenizers import AddedToken, Regex, Tokenizer
    from tokenizers.models import Unigram
    from tokenizers.pre_tokenizers import Split

    first = len(given.special)
    symbols = [p.text for p in found[first : first + len(given.plain)]]
    added = [text for text in given.plain if " " in text and not _overlapped(text.replace(" ", SPACE), symbols)]
    names = {text.replace(" ", SPACE): text for text in added}
    scores = [(names.get(p.text, p.text), p.score if p.type is Type.NORMAL else _NEVER) for p in found]
    tokenizer = Tokenizer(Unigram(scores, unk_id=0, byte_fallback=True))
    _spaces(tokenizer)
    alphabet = "".join(sorted({p.text for p in found if p.type is Type.NORMAL and len(p.text) == 1}))
    tokenizer.pre_tokenizer = Split(Regex(f"[^{ranges(alphabet)}]"), "isolated")
    tokenizer.add_special_tokens(given.added()[:first])
    tokenizer.add_tokens([AddedToken(text, normalized=True, special=False) for text in added])
    return tokenizer


def _overlapped(symbol: str, symbols: list[str]) -> bool:
    """Whether a symbol can begin within another one, or within itself, and end behind it, or the other way round."""

    def runs_over(first: str, second: str) -> bool:
        return any(first.endswith(second[:size]) for size in range(1, min(len(first), len(second))))

    return any(runs_over(symbol, other) or runs_over(other, symbol) for other in symbols)


def _spaces(tokenizer: Tokenizer) -> None:
    from tokenizers import decoders, normalizers

    tokenizer.normalizer = normalizers.Replace(" ", SPACE)
    tokenizer.decoder = decoders.Sequence([decoders.Replace(SPACE, " "), decoders.ByteFallback(), decoders.Fuse()])


def ranges(alphabet: str) -> str:
    """The inside of a regular expression's class of these characters, which are in their order."""
    codes = [ord(char) for char in alphabet]
    starts = [c for i, c in enumerate(codes) if i == 0 or codes[i - 1] != c - 1]
    ends = [c for i, c in enumerate(codes) if i + 1 == len(codes) or codes[i + 1] != c + 1]
    return "".join(f"\\x{{{a:X}}}-\\x{{{b:X}}}" for a, b in zip(starts, ends, strict=True))
