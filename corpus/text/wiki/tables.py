"""Tables: dropped, or written in Markdown."""

from __future__ import annotations

import re
from collections.abc import Iterator

from corpus.text.wiki.marks import gap

_BORDERS = re.compile(r"^[ \t:*#;]*+(?:\{\||(\|\})(?!\}))|(<table\b[^<>]*+>)|(</table[ \t\n]*+>)", re.MULTILINE | re.IGNORECASE)
_ATTRIBUTES = re.compile(r"[^\[\]|{}<>]*=[^\[\]|{}<>]*\|(?!\|)|[^\[\]|{}<>=]{0,3}\|(?!\|)")
_STRAY = re.compile(r"^[ \t:]*+(?:\{\||\|).*+\n?|^[ \t]*+!.*?(?:!!|\|).*+\n?", re.MULTILINE)
_OPEN_AT_END = re.compile(r"\{\|[ \t]*+$", re.MULTILINE)


def drop(text: str) -> str:
    """Without tables and all that is in them."""
    if "{|" not in text and "|}" not in text and "<table" not in text.lower():
        return text
    return _replaced(text, outermost(_pairs(text)), as_markdown=False)


def markdown(text: str) -> str:
    """With tables in Markdown; a table in a table becomes words of its cell. Spans of cells over rows and columns are not repeated."""
    if "{|" not in text:
        return text
    return _replaced(text, outermost(_pairs(text)), as_markdown=True)


def strays(text: str) -> str:
    """Without rows of tables that began in a template. A line of prose does not begin with a pipe."""
    if "|" not in text:
        return text
    text = _STRAY.sub("", text)
    return _OPEN_AT_END.sub("", text) if "{|" in text else text


def _pairs(text: str) -> Iterator[tuple[int, int]]:
    """Spans of tables, inner ones first; wiki borders count at the beginning of a line only."""
    stacks: dict[bool, list[int]] = {False: [], True: []}
    for found in _BORDERS.finditer(text):
        is_html = bool(found[2] or found[3])
        if found[1] or found[3]:
            if stacks[is_html]:
                yield stacks[is_html].pop(), found.end()
        else:
            stacks[is_html].append(found.start())


def outermost(spans: Iterator[tuple[int, int]]) -> list[tuple[int, int]]:
    """Of spans, each of which ends behind those before it, those that are in no other, in order."""
    out: list[tuple[int, int]] = []
    for start, end in spans:
        while out and out[-1][1] > start:
            start = min(start, out.pop()[0])
        out.append((start, end))
    return out


def _replaced(text: str, spans: list[tuple[int, int]], *, as_markdown: bool) -> str:
    pieces: list[str] = []
    done = 0
    for start, end in spans:
        table = text[start:end]
        pieces += (text[done:start], _written(table) if as_markdown and "{|" in table[:40] else gap(table))
        done = end
    pieces.append(text[done:])
    return "".join(pieces)


def _written(table: str) -> str:
    """One table in Markdown: the first row is its head."""
    rows: list[list[str]] = [[]]
    caption = ""
    depth = 0
    for raw in table.split("\n")[1:]:
        line = raw.strip()
        if line.startswith("{|"):
            depth += 1
        elif line.startswith("|}"):
            depth -= 1
        elif depth > 0:
            words = " ".join(_cells(line.lstrip("|!+-"))) if not line.startswith(("|-", "|+")) else ""
            if rows[-1] and words:
                rows[-1][-1] += f" {words}"
        elif line.startswith("|-"):
            rows.append([])
        elif line.startswith("|+"):
            caption = _content(line[2:])
        elif line.startswith(("|", "!")):
            rows[-1] += _cells(line[1:], header=line[0] == "!")
        elif rows[-1] and line:
            rows[-1][-1] += f" {line}"
    rows = [row for row in rows if any(cell.strip() for cell in row)]
    if not rows:
        return gap(table)
    width = max(map(len, rows))
    lines = [_row(row, width) for row in rows]
    lines.insert(1, "|" + " --- |" * width)
    head = f"{caption}\n\n" if caption else ""
    return "\n\n" + head + "\n".join(lines) + "\n\n"


def _row(cells: list[str], width: int) -> str:
    return "".join(f"| {cell.strip()} " for cell in cells) + "|  " * (width - len(cells)) + "|"


def _cells(line: str, *, header: bool = False) -> list[str]:
    if header:
        line = line.replace("!!", "||")
    return [_content(cell) for cell in line.split("||")]


def _content(cell: str) -> str:
    """A cell without its attributes."""
    found = _ATTRIBUTES.match(cell)
    return (cell[found.end() :] if found else cell).strip().replace("|", "\\|")
