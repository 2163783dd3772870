"""Sentencepiece's `.model` as a file: its pieces read, written anew, and appended to.

It is a protocol buffer: fields one after another, each a key (its number, and how its value is written) and a value. The first field,
repeated, is a piece, in the order of ids: text, score, type. The second tells what it was trained with. Nothing else of it is needed, so
reading it takes a few lines of the wire format (protobuf.dev, "Encoding") and no package for it; numbers of fields are those of
`sentencepiece_model.proto`.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING

from corpus.errors import DataError
from corpus.tokenizer.extra import missing

if TYPE_CHECKING:
    from sentencepiece import SentencePieceProcessor

BPE = 2
"""The number of a model that is BPE."""

_PIECES, _TRAINER, _MODEL_TYPE = 1, 2, 3
"""Fields: of a model its pieces and what it was trained with; of the latter which kind of model."""
_UNIGRAM = 1
_SEEDS = (14, 54)
"""Fields of what it was trained with: how many seeds, and the path of their file."""
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
        if field == _PIECES:
            if wire != _BYTES:
                raise _broken()
            found.append(_piece(value))
    if not found:
        raise _broken()
    return found


def processor(model: bytes) -> SentencePieceProcessor:
    """A `.model` as sentencepiece itself runs it.

    Raises:
        CorpusError: when sentencepiece is not installed.
        DataError: when it cannot read the bytes.
    """
    try:
        from sentencepiece import SentencePieceProcessor
    except ImportError as error:
        raise missing("a `.model`", "sentencepiece") from error
    found = SentencePieceProcessor()
    try:
        loaded = found.LoadFromSerializedProto(model)
    except RuntimeError as error:
        raise DataError(f"not a sentencepiece model: {error}") from error
    if not loaded or not found.GetPieceSize():
        raise DataError("not a sentencepiece model: there are no pieces in it")
    return found


def rewritten(model: bytes, new: Iterable[Piece], line: str) -> bytes:
    """The `.model` with other pieces.

    The rest of it stays as it is, but for what would tell of a temporary file (the seeds') and for line breaks under another name.

    Args:
        model: the bytes.
        new: its pieces.
        line: how a line break was called in training.
    """
    out = bytearray(appended(b"", new))
    for field, wire, value in _fields(model):
        if field == _TRAINER:
            parts = ((n, w, v.replace(line.encode(), b"\n") if w == _BYTES else v) for n, w, v in _fields(value) if n not in _SEEDS)
            value = b"".join(_field(*part) for part in parts)
        if field != _PIECES:
            out += _field(field, wire, value)
    return bytes(out)


def model_type(model: bytes) -> int:
    """Which kind of model it is: 1 for unigram (what it is when nothing is said), 2 for BPE.

    Raises:
        DataError: when the bytes are not a `.model`.
    """
    for field, wire, value in _fields(model):
        if (field, wire) == (_TRAINER, _BYTES):
            for inner, kind, number in _fields(value):
                if (inner, kind) == (_MODEL_TYPE, _VARINT):
                    return _number(number, 0)[0]
    return _UNIGRAM


def appended(model: bytes, new: Iterable[Piece]) -> bytes:
    """The `.model` with pieces behind those that it has: a repeated field is in the order in which it stands."""
    return model + b"".join(_field(_PIECES, _BYTES, _written(piece)) for piece in new)


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


def _written(piece: Piece) -> bytes:
    kind = b"" if piece.type is Type.NORMAL else _field(3, _VARINT, _varint(int(piece.type)))
    return _field(1, _BYTES, piece.text.encode()) + _field(2, _FIXED32, struct.pack("<f", piece.score)) + kind


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


def _field(number: int, wire: int, value: bytes) -> bytes:
    """A field's bytes, as `_fields` reads them."""
    return _varint(number << 3 | wire) + (_varint(len(value)) if wire == _BYTES else b"") + value


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
