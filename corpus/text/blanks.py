"""Blanks in a text: which of them say something, and which are only left over.

Left over are blanks at line ends, odd widths, and runs of blanks in a line, but for those that somebody meant: the two behind an English
sentence, columns and heads of tables, blanks to be filled in, pauses in a verse, Markdown's two at the end of a line.
"""

from __future__ import annotations

import re
from itertools import pairwise

_ODD = "\u00a0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u202f\u205f"
BLANKS = rf"[{_ODD}]|[ \t\u3000]\n|[^ \n] {{2}}|[^\u3000\n]\u3000{{2}}"
"""Texts that `spaced` may change (a regex of polars)."""
_BLANK = " \t\u3000"
_GAP = re.compile(r"(?<=[^ \t\u3000\n])(?: [ \u3000]++|\u3000[ \u3000]++)(?=[^ \t\u3000\n])")
_SENTENCE = re.compile(r"[.!?:;][\"')\]”’]?$")
_SENTENCE_NEXT = re.compile(r"[A-Za-z0-9\"'(\[“‘$*_-]")
_ABOUT_BLANKS = re.compile(r"空格|(?i:\bspaces\b|white ?space)")
_MARKER = re.compile(r"[ \t]*(?:[-*+•]|[0-9]{1,3}[.)、])$")
_VERSE = re.compile("[ \u3000]*[\u4e00-\u9fff][\u4e00-\u9fff，、；？！· \u3000]{2,24}")
_FILL = 4
_CELL = 12
_PAIR = 4
_DRAWN = "|│┃┆+/\\_"
_BRACKETS = {"(": ")", "（": "）", "[": "]", "【": "】", "“": "”", "《": "》", "_": "_"}


def spaced(text: str) -> str:
    """The text with even blanks: odd ones become spaces, runs one blank, those at line ends go. Applied to free text."""
    if not text.isascii():
        for odd in _ODD:
            text = text.replace(odd, " ")
    trailing = " \n" in text or "\t\n" in text or "\u3000\n" in text
    inside = "  " in text or "\u3000" in text
    if not trailing and not inside:
        return text
    lines = text.split("\n")
    if trailing:
        for i in range(len(lines) - 1):
            line = lines[i]
            if line and line[-1] in _BLANK:
                lines[i] = _line_end(line, lines[i + 1])
    gaps = {i: found for i, line in enumerate(lines) if ("  " in line or "\u3000" in line) and (found := _gaps(line))} if inside else {}
    if gaps and not _ABOUT_BLANKS.search(text):
        filled = [i for i, line in enumerate(lines) if line.strip()]
        kept = {i for pair in pairwise(filled) if _columns(lines, pair, gaps) for i in pair}
        for i, found in gaps.items():
            if i not in kept and not _cells(lines[i], found):
                lines[i] = _closed(lines[i], found)
    return "\n".join(lines)


def _columns(lines: list[str], pair: tuple[int, int], gaps: dict[int, list[tuple[int, int]]]) -> bool:
    """Whether two lines that follow each other are rows of columns, or short lines of a poem whose blanks are pauses."""
    return gaps.keys() >= set(pair) or (not gaps.keys().isdisjoint(pair) and all(_VERSE.fullmatch(lines[i]) for i in pair))


def _cells(line: str, gaps: list[tuple[int, int]]) -> bool:
    """Whether a line is a row of short cells, as the head of a table is."""
    if len(gaps) < 3 and min(end - start for start, end in gaps) < 3:
        return False
    if len(gaps) == 1:  # a pair of single values, as in a tree that is drawn with blanks
        [(start, end)] = gaps
        return line.isascii() and len(line[:start].lstrip()) <= _PAIR and len(line[end:].rstrip()) <= _PAIR
    starts, ends = (0, *(end for _, end in gaps)), (*(start for start, _ in gaps), len(line.rstrip()))
    return all(end - start <= _CELL for start, end in zip(starts, ends, strict=True))


def _line_end(line: str, following: str) -> str:
    """Two blanks or more at the end of a line that another line follows are Markdown for a line break that shall be seen."""
    shown = line.rstrip(_BLANK)
    return shown + "  " if shown and line.endswith("  ") and following.strip() and line[len(shown) :].strip(" ") == "" else shown


def _gaps(line: str) -> list[tuple[int, int]]:
    """Runs of blanks in a line that have no reason of their own."""
    out = []
    for m in _GAP.finditer(line):
        start, end = m.span()
        before, after = line[max(0, start - 2) : start], line[end]
        if end - start == 2 and _SENTENCE.search(before) and _SENTENCE_NEXT.match(after) and "\u3000" not in m[0]:
            continue
        if _BRACKETS.get(before[-1]) == after or (end - start >= _FILL and before[-1] in "：:"):
            continue
        if before[-1] in _DRAWN or after in _DRAWN:
            continue
        if before in ("\\n", "\\t"):
            continue  # the indentation of code in which line breaks are written so
        if start < _FILL * 3 and _MARKER.match(line[:start]):
            continue
        out.append((start, end))
    return out


def _closed(line: str, gaps: list[tuple[int, int]]) -> str:
    out, at = [], 0
    for start, end in gaps:
        out += [line[at:start], "\u3000" if set(line[start:end]) == {"\u3000"} else " "]
        at = end
    return "".join(out) + line[at:]
