"""The window through which JSON documents are read, and where a value in it ends."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass

from corpus.sources.framing.repair import has_long_digits
from corpus.sources.framing.stream import Stream

_NEAR_END = 16
"""Where a scan fails so near to the end of what was read, a token may be cut: \\uXXXX is the longest that has no closing quote."""

scan = json.JSONDecoder().scan_once  # type: ignore[attr-defined]
"""The C scanner: (text, start) → (value, end)."""


class Incomplete(Exception):
    """The value goes on behind what was read."""


@dataclass(slots=True)
class Buffer:
    """A window over the stream, as Latin-1 text: one character per byte."""

    stream: Stream
    text: str = ""
    base: int = 0
    at: int = 0
    ended: bool = False
    long_digits: bool = False

    def more(self) -> bool:
        """Reads on, as much again as is waiting, so that a long record is not scanned over and over; False at the end."""
        waiting = len(self.text) - self.at
        blocks: list[str] = []
        size = 0
        while not self.ended and size <= waiting:
            block = next(self.stream, None)
            if block is None:
                self.ended = True
            else:
                blocks.append(block.decode("latin-1"))
                size += len(block)
        if blocks:
            self.text = self.text[self.at :] + "".join(blocks)
            self.long_digits = has_long_digits(self.text.encode("latin-1"))
            self.base += self.at
            self.at = 0
        return size > 0

    def skip(self, pattern: re.Pattern[str]) -> tuple[int, bool]:
        """Goes over what a pattern of single characters matches, reading on where it reaches the end.

        Returns:
            How many commas were among it, and whether a NUL was.
        """
        commas, nul = 0, False
        while True:
            end = pattern.match(self.text, self.at).end()  # type: ignore[union-attr]
            commas += self.text.count(",", self.at, end)
            nul = nul or self.text.find("\0", self.at, end) >= 0
            self.at = end  # What was gone over is let go of: a gap may be as long as the file.
            if end < len(self.text) or not self.more():
                return commas, nul

    def peek(self) -> str:
        """The next character; "" at the end."""
        if self.at >= len(self.text):
            self.more()
        return self.text[self.at : self.at + 1]

    def window(self, size: int) -> tuple[str, bool]:
        """The next `size` characters, and whether the stream ends with them."""
        while len(self.text) - self.at <= size and self.more():
            pass
        return self.text[self.at : self.at + size], self.at + size >= len(self.text)

    def raw(self, start: int, end: int) -> bytes:
        return self.text[start:end].encode("latin-1")


def end_of_value(text: str, start: int, ended: bool) -> int:
    """Where the value at `start` ends; `ended` when no more text follows.

    Raises:
        Incomplete: it may go on behind the text.
        ValueError: it is damaged.
    """
    try:
        value, end = scan(text, start)
    except StopIteration as e:
        if not ended and e.value >= len(text) - _NEAR_END:
            raise Incomplete from None
        raise ValueError("no JSON value") from None
    except json.JSONDecodeError as e:
        if not ended and (e.msg.startswith("Unterminated") or e.pos >= len(text) - _NEAR_END):
            raise Incomplete from None
        raise
    if end == len(text) and not ended and not isinstance(value, (dict, list, str)):
        raise Incomplete  # a number may have more digits
    return end
