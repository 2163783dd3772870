"""JSON that its publisher damaged in ways that can be undone without guessing.

Everything here is the slow path: orjson has refused the record (or would have rounded a number), and what follows finds out why. Each
repair leaves a note that goes into the row's `recovered` column. What would need a guess, such as a quote that is not escaped, is not
repaired.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any

import orjson

from corpus.sources.framing.encoding import NotText, decode, mend_surrogates

LONG_DIGITS = re.compile(rb"[0-9]{19}")
_ESCAPE = re.compile(r'\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4}|(.|\Z))', re.DOTALL)
_SURROGATE_ESCAPE = re.compile(r"\\u[dD][89a-fA-F]")
_BETWEEN = re.compile(r"[\s,\0]*")
_MOST_NUMBER = 18446744073709551615  # what orjson can write
_LEAST_NUMBER = -9223372036854775808
_MOST_DIGITS = 4000


class Unrepairable(Exception):
    """A record that stays broken. `incomplete` when it may go on in the next line."""

    def __init__(self, reason: str, detail: str, *, incomplete: bool = False) -> None:
        super().__init__(reason, detail)
        self.reason = reason
        self.detail = detail
        self.incomplete = incomplete


@dataclass(frozen=True, slots=True)
class Repaired:
    """The values that a damaged record holds (more than one where several stand on one line), and what was done."""

    values: list[Any]
    note: str | None


_DIGIT_TABLE = bytes(0x30 if 0x30 <= c <= 0x39 else c for c in range(256))


def has_long_digits(data: bytes) -> bool:
    """Whether there may be integers beyond 64 bits, which orjson would round. Two passes of memory speed: a regex is ten times slower."""
    return data.translate(_DIGIT_TABLE).find(b"0" * 19) >= 0


def loads(raw: bytes, encoding: str) -> Any:
    """Strict JSON, except that a number that orjson would round is refused too.

    Raises:
        ValueError: for anything else.
    """
    if LONG_DIGITS.search(raw):
        raise ValueError("a number of 19 digits or more")
    return orjson.loads(raw if encoding == "utf-8" else raw.decode(encoding))


def repair(raw: bytes, encoding: str, *, several: bool = False) -> Repaired:
    """Decodes a record that :func:`loads` refused.

    Args:
        raw: its bytes.
        encoding: of the file.
        several: whether more than one value may stand in it.

    Raises:
        Unrepairable: with reason `encoding` or `json` and the first parser's message.
    """
    notes: list[str] = []
    try:
        text, note = decode(raw, encoding)
    except NotText as e:
        raise Unrepairable("encoding", str(e)) from e
    if note:
        notes.append(note)
    stripped = text.strip(" \t\r\n")
    if "\0" in (stripped[:1], stripped[-1:]):
        stripped = stripped.strip("\0 \t\r\n")
        notes.append("NUL bytes around the record")
        if not stripped:
            raise Unrepairable("json", "nothing but NUL bytes")
    if stripped.startswith("\ufeff"):
        stripped = stripped.lstrip("\ufeff")
        notes.append("byte order mark within the file")
    bare = stripped.strip(", \t")
    if bare != stripped and bare[:1] in ("{", "["):
        notes.append("comma around the record")
        stripped = bare
    parser = _Parser()
    try:
        values = parser.parse(stripped, several)
    except ValueError as e:
        raise Unrepairable("json", _message(e), incomplete=_is_incomplete(e, stripped)) from e
    except RecursionError as e:
        raise Unrepairable("json", "nested too deeply") from e
    return Repaired(values, "; ".join([*notes, *parser.notes]) or None)


class _Parser:
    """The standard library's parser, ever more lenient, with everything that it did noted."""

    def __init__(self) -> None:
        self.notes: list[str] = []

    def parse(self, text: str, several: bool) -> list[Any]:
        try:
            return self._values(text, several, strict=True)
        except ValueError as e:
            first = e
        lenient = _lenient(text)
        for candidate, strict, note in (
            (text, False, "control character in string"),
            (lenient, True, "invalid escape"),
            (lenient, False, "invalid escape; control character in string"),
        ):
            if lenient == text and note.startswith("invalid escape"):
                continue
            try:
                values = self._values(candidate, several, strict=strict)
            except ValueError:
                continue
            self.notes.insert(0, note)
            return values
        raise first

    def _values(self, text: str, several: bool, *, strict: bool) -> list[Any]:
        self.notes = []
        decoder = json.JSONDecoder(strict=strict, parse_int=self._int, parse_float=self._float, parse_constant=self._constant)
        value, end = decoder.raw_decode(text)
        values = [value]
        end = _BETWEEN.match(text, end).end()  # type: ignore[union-attr]
        while several and end < len(text) and isinstance(values[-1], dict):
            value, end = decoder.raw_decode(text, end)
            values.append(value)
            end = _BETWEEN.match(text, end).end()  # type: ignore[union-attr]
        if end < len(text) or (len(values) > 1 and not isinstance(values[-1], dict)):
            raise json.JSONDecodeError("Extra data", text, end)
        if len(values) > 1:
            self._note("several objects on one line")
        if _SURROGATE_ESCAPE.search(text):
            values = [self._mend(v) for v in values]
        return values

    def _note(self, note: str) -> None:
        if note not in self.notes:
            self.notes.append(note)

    def _int(self, digits: str) -> Any:
        if len(digits) <= _MOST_DIGITS and _LEAST_NUMBER <= (number := int(digits)) <= _MOST_NUMBER:
            return number
        self._note("number beyond 64 bits")
        return digits

    def _float(self, digits: str) -> Any:
        number = float(digits)
        if number in (float("inf"), float("-inf")):
            self._note("number beyond 64 bits")
            return digits
        return number

    def _constant(self, name: str) -> None:
        self._note("NaN" if name == "NaN" else "Infinity")

    def _mend(self, value: Any) -> Any:
        if isinstance(value, str):
            try:
                value.encode()
            except UnicodeEncodeError:
                self._note("lone surrogate")
                return mend_surrogates(value)
            return value
        if isinstance(value, list):
            return [self._mend(v) for v in value]
        if isinstance(value, dict):
            return {self._mend(k): self._mend(v) for k, v in value.items()}
        return value


def _lenient(text: str) -> str:
    """The text with the backslash doubled before every character that JSON does not let it stand before.

    Also before b and f: whoever wrote `\\d` as it stands wrote `\\b` so too, and meant no backspace.
    """
    return _ESCAPE.sub(lambda m: m[0] if m[1] is None and m[0] not in ("\\b", "\\f") else "\\" + m[0], text)


def _message(error: ValueError) -> str:
    if isinstance(error, json.JSONDecodeError):
        around = error.doc[max(0, error.pos - 20) : error.pos + 20]
        return f"character {error.pos}: {error.msg}; found {around!r}"
    return str(error)


def _is_incomplete(error: ValueError, text: str) -> bool:
    """Whether the text, read leniently, simply stops too early."""
    if text[:1] not in ("{", "["):
        return False
    try:
        json.JSONDecoder(strict=False, parse_int=str).raw_decode(_lenient(text))
    except json.JSONDecodeError as e:
        return e.msg.startswith("Unterminated string") or e.pos >= len(e.doc) - 1
    except (ValueError, RecursionError):
        return False
    return False
