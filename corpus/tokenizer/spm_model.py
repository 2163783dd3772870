"""Sentencepiece's `.model`: read, mended, and run by the `tokenizers` library with the same ids.

The file is a protocol buffer whose first field, repeated, is a piece: its text, a score and a type. Nothing else of it is needed, so
reading it takes a few lines of the wire format (developers.google.com/protocol-buffers/docs/encoding) and no package for it.

What it takes that two programs agree to the last token:

- BPE: sentencepiece joins the two neighbours whose joint text has the best score, leftmost first. The library wants pairs in their order:
  every way to divide a piece into two pieces, by the piece's score.
- Unigram: sentencepiece adds scores up in 32-bit floats, the library in 64-bit ones, and where two ways to divide a text are nearly as
  good they choose differently. `quantised` rounds the scores to eighths, so that sums are exact in both up to 2²¹ (some 200,000 pieces in
  one text), and makes symbols ordinary pieces with scores that nothing beats, since what sentencepiece adds for a symbol (-0.1) has no
  exact sum. Ties are settled alike in both: the first that was found, the longest of those that begin at one place.
- Unigram: the library's trie holds special tokens and bytes too, sentencepiece's does not. They get a score here that no text reaches.
- Unigram: the library joins neighbouring characters that no piece has before it spells them in bytes, and gives each byte the place of
  all of them. They are isolated before the model, so that a byte's place is its character.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from enum import IntEnum
from typing import TYPE_CHECKING

from corpus.errors import DataError

if TYPE_CHECKING:
    from tokenizers import Tokenizer

    from corpus.tokenizer.specials import Specials

SPACE = "▁"
"""What sentencepiece writes for a space (U+2581); one that stands in a text is therefore a space when it is decoded."""

_QUANTUM = 8
_SURE = 512.0
"""Score of a symbol's character: more than breaking two pieces of sixteen characters into single ones can cost (30 times some -17)."""
_NEVER = -1e5
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5


class Type(IntEnum):
    """What a piece is, by sentencepiece's numbers."""

    NORMAL = 1
    UNKNOWN = 2
    CONTROL = 3
    USER_DEFINED = 4
    UNUSED = 5
    BYTE = 6


@dataclass(frozen=True, slots=True)
class Piece:
    """A piece of a `.model`.

    Attributes:
        text: with U+2581 for spaces.
        score: the better, the higher.
        type: what it is.
    """

    text: str
    score: float = 0.0
    type: Type = Type.NORMAL


def pieces(model: bytes) -> list[Piece]:
    """The pieces of a `.model`, in the order of their ids.

    Raises:
        DataError: when the bytes are not a `.model`.
    """
    found = []
    for field, wire, value in _fields(model):
        if field == 1:
            if wire != _BYTES:
                raise _broken()
            found.append(_piece(value))
    if not found:
        raise _broken()
    return found


def rewritten(model: bytes, new: Iterable[Piece]) -> bytes:
    """The `.model` with other pieces; the rest of it stays as it is."""
    out = bytearray()
    for piece in new:
        text = piece.text.encode()
        body = b"\x0a" + _varint(len(text)) + text + b"\x15" + struct.pack("<f", piece.score)
        if piece.type is not Type.NORMAL:
            body += b"\x18" + _varint(int(piece.type))
        out += b"\x0a" + _varint(len(body)) + body
    for field, wire, value in _fields(model):
        if field != 1:
            out += _varint(field << 3 | wire) + (_varint(len(value)) + value if wire == _BYTES else value)
    return bytes(out)


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

    Symbols are pieces of the model here, not added tokens: added tokens are cut out from left to right, the model's best way through
    three line breaks may take a symbol of two at the end.

    Args:
        found: the pieces, `quantised`.
        given: the special tokens and symbols that it was trained with.
    """
    from tokenizers import Regex, Tokenizer
    from tokenizers.models import Unigram
    from tokenizers.pre_tokenizers import Split

    scores = [(p.text, p.score if p.type is Type.NORMAL else _NEVER) for p in found]
    tokenizer = Tokenizer(Unigram(scores, unk_id=0, byte_fallback=True))
    _spaces(tokenizer)
    alphabet = "".join(sorted({p.text for p in found if p.type is Type.NORMAL and len(p.text) == 1}))
    tokenizer.pre_tokenizer = Split(Regex(f"[^{ranges(alphabet)}]"), "isolated")
    tokenizer.add_special_tokens(given.added()[: len(given.special)])
    return tokenizer


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


def _fields(message: bytes) -> Iterator[tuple[int, int, bytes]]:
    """Number, wire type and value of each field of a message; a varint's value is its bytes."""
    at, end = 0, len(message)
    while at < end:
        key, at = _number(message, at)
        wire = key & 7
        if wire == _VARINT:
            _, after = _number(message, at)
        elif wire == _BYTES:
            size, at = _number(message, at)
            after = at + size
        elif wire in (_FIXED32, _FIXED64):
            after = at + (4 if wire == _FIXED32 else 8)
        else:
            raise _broken()
        if after > end:
            raise _broken()
        yield key >> 3, wire, message[at:after]
        at = after


def _piece(message: bytes) -> Piece:
    text, score, kind = "", 0.0, Type.NORMAL
    try:
        for field, wire, value in _fields(message):
            if (field, wire) == (1, _BYTES):
                text = value.decode()
            elif (field, wire) == (2, _FIXED32):
                (score,) = struct.unpack("<f", value)
            elif (field, wire) == (3, _VARINT):
                kind = Type(_number(value, 0)[0])
    except ValueError as error:
        raise _broken() from error
    return Piece(text, score, kind)


def _number(message: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while at < len(message) and shift < 64:
        byte = message[at]
        value |= (byte & 127) << shift
        at += 1
        if byte < 128:
            return value, at
        shift += 7
    raise _broken()


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    out.append(value)
    return bytes(out)


def _broken() -> DataError:
    return DataError(
        "this is not a sentencepiece model: its bytes are not the pieces of one; expected the `.model` that sentencepiece wrote"
    )
