"""How vocabularies spell what is no plain text: bytes, and the space.

A **byte-level** vocabulary (GPT-2, BLOOM, Qwen, Llama 3) has a character for every byte. A **marked** one (sentencepiece's: LLaMA 2,
Mistral, Gemma) has text with U+2581 for the space, and `<0x41>` for a byte that is **fallen back** to where a character has no token.
"""

from __future__ import annotations

import re
from functools import cache

SPACE = "▁"
"""What sentencepiece writes for a space (U+2581); one that stands in a text is therefore a space when it is decoded."""
FALLBACKS = tuple(f"<0x{byte:02X}>" for byte in range(256))
"""The tokens of the 256 bytes that a marked vocabulary falls back to."""

_FALLBACK = re.compile(r"<0x([0-9A-Fa-f]{2})>")


@cache
def alphabet() -> tuple[str, ...]:
    """The character that stands for each of the 256 bytes (GPT-2's table): itself where it is printable, others from U+0100 on."""
    printable = {*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)}
    others = iter(range(0x100, 0x200))
    return tuple(chr(byte if byte in printable else next(others)) for byte in range(256))


@cache
def _bytes() -> dict[str, int]:
    return {char: byte for byte, char in enumerate(alphabet())}


def spelled(token: bytes) -> str:
    """A token as a byte-level vocabulary spells it."""
    letters = alphabet()
    return "".join([letters[byte] for byte in token])


def unspelled(name: str) -> bytes | None:
    """The bytes of a token that a byte-level vocabulary spells so; None where a character of it stands for no byte."""
    known = _bytes()
    return bytes([known[char] for char in name]) if all(char in known for char in name) else None


def fallback(name: str) -> int | None:
    """The byte that `<0x41>` is; None for other names. Digits of either case: vocabularies have both."""
    found = _FALLBACK.fullmatch(name)
    return int(found[1], 16) if found else None
