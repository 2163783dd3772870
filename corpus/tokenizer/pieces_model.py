"""Sentencepiece's `.model`, as far as pieces are appended to it: a protobuf message, read and written without its compiler.

A message is fields one after another: a key (number of the field, and how its value is written), the value. Repeated fields are in the
order in which they stand, and a piece that is written behind everything else is the last piece (protocolbuffers, "Encoding"). The numbers
of the fields are those of `sentencepiece_model.proto`.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator
from enum import IntEnum

from corpus.errors import DataError

_PIECES, _TRAINER, _MODEL_TYPE, _PIECE_TYPE = 1, 2, 3, 3
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
BPE = 2
_UNIGRAM = 1


class PieceType(IntEnum):
    """What a piece is: the numbers of `SentencePiece.Type`."""

    NORMAL = 1
    UNKNOWN = 2
    CONTROL = 3
    USER_DEFINED = 4
    UNUSED = 5
    BYTE = 6


def model_type(model: bytes) -> int:
    """Which model it is: 1 for unigram (what it is when nothing is said), 2 for BPE.

    Raises:
        DataError: when it is not such a message.
    """
    for number, value in _fields(model):
        if number == _TRAINER and isinstance(value, bytes):
            for inner, kind in _fields(value):
                if inner == _MODEL_TYPE and isinstance(kind, int):
                    return kind
    return _UNIGRAM


def piece_types(model: bytes) -> list[int]:
    """The type of each piece, by id: `PieceType`, and normal where nothing is said.

    Raises:
        DataError: when it is not such a message.
    """
    pieces = (value for number, value in _fields(model) if number == _PIECES and isinstance(value, bytes))
    return [next((int(v) for n, v in _fields(p) if n == _PIECE_TYPE and isinstance(v, int)), PieceType.NORMAL) for p in pieces]


def appended(model: bytes, pieces: Iterable[tuple[str, float, PieceType]]) -> bytes:
    """A model with pieces behind those that it has.

    Args:
        model: the bytes of a `.model`.
        pieces: text, score and type of each.
    """
    return model + b"".join(_field(_PIECES, _piece(text, score, kind)) for text, score, kind in pieces)


def _piece(text: str, score: float, kind: PieceType) -> bytes:
    weight = _varint(2 << 3 | _FIXED32) + struct.pack("<f", score)
    return _field(1, text.encode()) + weight + _varint(_PIECE_TYPE << 3 | _VARINT) + _varint(kind)


def _field(number: int, value: bytes) -> bytes:
    return _varint(number << 3 | _BYTES) + _varint(len(value)) + value


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def _read(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while at < len(data) and shift < 64:
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7
    raise DataError(f"not a sentencepiece model: a number at byte {at} does not end")


def _fields(data: bytes) -> Iterator[tuple[int, int | bytes]]:
    """Number and value of each field of a message; values of fixed size as their bytes."""
    at = 0
    while at < len(data):
        key, at = _read(data, at)
        kind = key & 7
        if kind == _VARINT:
            value, at = _read(data, at)
            yield key >> 3, value
            continue
        size = {_FIXED64: 8, _FIXED32: 4}.get(kind)
        if kind == _BYTES:
            size, at = _read(data, at)
        if size is None or at + size > len(data):
            raise DataError(f"not a sentencepiece model: a field of kind {kind} at byte {at}, or the end is missing")
        yield key >> 3, data[at : at + size]
        at += size
