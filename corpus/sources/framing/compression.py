"""Decompression by magic number, streaming: what can be decompressed is handed on, then a fault says why it ends.

Files of several members (gzip), streams (bzip2, as in Wikipedia's multistream dumps; xz) or frames (zstd) are one file. Input is fed in
small pieces, because a decoder that meets damage throws away everything it decoded in the same call.
"""

from __future__ import annotations

import bz2
import io
import lzma
import zlib
from collections.abc import Callable, Iterator
from typing import Any

import pyarrow as pa

from corpus.sources.framing.stream import Blocks, Fault, Reader

MAGIC = {b"\x1f\x8b": "gzip", b"BZh": "bzip2", b"\xfd7zXZ\x00": "xz", b"\x28\xb5\x2f\xfd": "zstd"}
_PIECE = 16 << 10
_OUTPUT = 1 << 20


def sniff(head: bytes) -> str | None:
    """The name of the compression that a file begins with, or None."""
    for magic, name in MAGIC.items():
        if head.startswith(magic):
            # "BZh" is also three letters of text; a level and a block magic follow in a real file.
            return name if name != "bzip2" or head[4:10] in (b"1AY&SY", b"\x17rE8P\x90") else None
    return None


def decompress(blocks: Blocks, name: str) -> Iterator[bytes]:
    """Yields decompressed blocks of about 1 MiB.

    Raises:
        Fault: truncated or corrupt, after everything that came before it was yielded.
    """
    if name == "zstd":
        pieces = _zstd(blocks)
    else:
        magic = next(m for m, n in MAGIC.items() if n == name)
        pieces = _expand(blocks, _DECODERS[name], magic, name)
    out: list[bytes] = []
    size = 0
    fault: Fault | None = None
    try:
        for piece in pieces:
            out.append(piece)
            size += len(piece)
            if size >= _OUTPUT:
                yield b"".join(out)
                out, size = [], 0
    except Fault as e:
        fault = e
    if out:
        yield b"".join(out)
    if fault is not None:
        raise fault


def _expand(blocks: Blocks, new: Callable[[], Any], magic: bytes, name: str) -> Iterator[bytes]:
    """Drives decoders of the interface of bz2 (decompress, eof, needs_input, unused_data) over any number of members."""
    pieces = (block[i : i + _PIECE] for block in blocks for i in range(0, len(block), _PIECE))
    decoder = new()
    for piece in pieces:
        data = piece
        while True:
            if decoder.eof:
                # Padding with zeros is what tape tools and xz leave behind members.
                data = data.lstrip(b"\0")
                while data and len(data) < len(magic) and (more := next(pieces, None)) is not None:
                    data += more
                if not data:
                    break
                if not data.startswith(magic):
                    raise Fault("corrupt", f"what follows the end of the {name} stream is no {name} stream; found {data[:8]!r}")
                decoder = new()
            try:
                yield decoder.decompress(data, _OUTPUT)
            except (OSError, EOFError, lzma.LZMAError, zlib.error) as e:
                if name == "gzip":
                    yield decoder.salvage()
                raise Fault("corrupt", f"{name} stream is damaged: {e}") from e
            if decoder.eof:
                data = decoder.unused_data
            elif decoder.needs_input:
                break
            else:
                data = b""
    if not decoder.eof:
        raise Fault("truncated", f"{name} stream ends before its end mark")


class _Gzip:
    """zlib's decoder with the interface of bz2's, and a way to get at what came before damage."""

    def __init__(self) -> None:
        self._zlib = zlib.decompressobj(31)
        self._before = self._zlib
        self._piece = b""
        self._rest = b""

    eof = property(lambda self: self._zlib.eof)
    needs_input = property(lambda self: not self._rest)
    unused_data = property(lambda self: self._zlib.unused_data)

    def decompress(self, data: bytes, most: int) -> bytes:
        self._before, self._piece = self._zlib.copy(), self._rest + data
        out = self._zlib.decompress(self._piece, most)
        self._rest = self._zlib.unconsumed_tail
        return out

    def salvage(self) -> bytes:
        """The output of the call that failed, up to the byte at which it failed."""
        out: list[bytes] = []
        try:
            for at in range(len(self._piece)):
                out.append(self._before.decompress(self._piece[at : at + 1]))
        except zlib.error:
            pass  # The caller tells of it: this is the same error once more.
        return b"".join(out)


_DECODERS: dict[str, Callable[[], Any]] = {
    "gzip": _Gzip,
    "bzip2": bz2.BZ2Decompressor,
    "xz": lambda: lzma.LZMADecompressor(lzma.FORMAT_XZ),
}


def _zstd(blocks: Blocks) -> Iterator[bytes]:
    reader = Reader(blocks)
    with pa.CompressedInputStream(pa.PythonFile(io.BufferedReader(reader), "r"), "zstd") as stream:
        while True:
            try:
                block = stream.read(_PIECE)  # a longer read that fails would lose what it has
            except (OSError, pa.ArrowInvalid) as e:
                if reader.fault is not None:
                    raise reader.fault from e
                short = "truncated" in str(e).lower()
                raise Fault("truncated" if short else "corrupt", f"zstd stream is damaged: {e}") from e
            if not block:
                break
            yield block
    if reader.fault is not None:
        raise reader.fault
