"""Which container a file is, by its content. File endings are not looked at: `.json` is JSON lines more often than JSON."""

from __future__ import annotations

import re

import orjson

from corpus.sources.framing.delimited import find_dialect, rows_of
from corpus.sources.framing.repair import Unrepairable, repair

JSON_LINES, JSON_ARRAY, JSON_OBJECTS, TABLE = "json lines", "json array", "json objects", "table"
LFS_MAGIC = b"version https://git-lfs.github.com/spec/"
_NAME = re.compile(r"[\w][\w .:/()（）?#-]{0,63}")
_CONTROLS = bytes(c for c in range(32) if c not in b"\t\n\r\f\x1b\0")


def is_binary(head: bytes) -> bool:
    """Whether a file is no text at all: more than one control character in fifty bytes, and more than eight."""
    head = head[:4096]
    return len(head) - len(head.translate(None, _CONTROLS)) > max(8, len(head) // 50)


def find_container(text: str, *, whole: bool) -> str | None:
    """The container of a text that begins with `text`; None when it is none that has records. `whole` when that is all of it."""
    text = text.lstrip(" \t\r\n\0,\ufeff")
    if text[:1] == "{":
        return JSON_LINES if _is_json_lines(text, whole) else JSON_OBJECTS
    if text[:1] == "[":
        lines = _lines(text, whole)
        return JSON_LINES if len(lines) > 1 and all(_is_value(line) for line in lines[:2]) else JSON_ARRAY
    if text[:1] in ('"', "-") or text[:1].isdigit() or text.startswith(("null", "true", "false")):
        lines = _lines(text, whole)[:20]
        if lines and all(_is_value(line) for line in lines) and not text[:1].isdigit():
            return JSON_LINES
    return TABLE if _is_table(text) else None


def is_single(text: str, *, whole: bool) -> bool:
    """Whether a file that looks like JSON lines has only one of them, and so may be one object."""
    return len(_lines(text, whole)) == 1


def _lines(text: str, whole: bool) -> list[str]:
    """The lines of the sample that are not blank, without one that the sample cuts off."""
    lines = text.split("\n")
    if not whole and len(lines) > 1:
        lines.pop()
    return [line for line in lines if line and not line.isspace()]


def _is_value(line: str) -> bool:
    try:
        orjson.loads(line)
    except ValueError:
        return False
    return True


def _is_json_lines(text: str, whole: bool) -> bool:
    """Whether the first line is a record, if need be a damaged one, or looks like one while later lines are records."""
    lines = _lines(text, whole)
    first = lines[0]
    if "\n" not in text and not whole:
        return False
    try:
        repair(first.encode(), "utf-8", several=True)
    except Unrepairable:
        pass
    else:
        return True
    return any(line.startswith("{") and _is_value(line) for line in lines[1:200])


def _is_table(text: str) -> bool:
    """Whether the first record looks like a header, and those behind it have as many fields."""
    dialect = find_dialect(text)
    rows = rows_of(text[: 1 << 18], dialect)[:50]
    if not rows or not all(len(n) <= 64 and "<" not in n and "{" not in n for n in rows[0]):
        return False
    names = [n.strip() for n in rows[0]]
    if len(names) > 1:
        alike = sum(len(row) == len(names) for row in rows)
        return sum(1 for n in names if _NAME.fullmatch(n)) * 2 > len(names) and 2 * alike >= len(rows)
    return bool(re.fullmatch(r"\w{1,40}", names[0])) and len(rows) > 1
