"""Lines: headings that become sections, list marks, and what was left empty.

A section vanishes with its heading when nothing is left in it and in the sections below it.
"""

from __future__ import annotations

import re

from corpus.text.wiki.marks import BROKEN
from corpus.text.wiki.policy import Section

_HEADING = re.compile(r"(={1,6})(.+?)\1\s*\Z")
_MARKS = re.compile(r"[*#:;]+")
_HEADS_A_PART = re.compile(r"[^.。!！?？]{0,40}[:：]?")
_DEEPEST = 8
_BLANKS = re.compile(r"\n{3,}")
_TERM = re.compile(r" ?[:：] ?(?!//)")
_LEADING_AWAY = (
    "see also|external links|external link|references|notes|footnotes|endnotes|citations|notes and references|references and notes|"
    "sources|further reading|links|bibliography and references|"
    "参见|參見|参看|參看|另见|另見|参阅|參閱|相关条目|相關條目|相关链接|相關連結|外部链接|外部連結|外部鏈接|外部联系|"
    "参考文献|參考文獻|参考资料|參考資料|参考来源|參考來源|参考|參考|参考书目|參考書目|参考链接|注释与参考|注释和参考|"
    "注释|註釋|注釋|注解|註解|脚注|腳註|註腳|来源|來源|资料来源|資料來源|延伸阅读|延伸閱讀|扩展阅读|擴展閱讀|"
    "脚註|関連項目|外部リンク|参照|出典"
)
_APPARATUS = frozenset(_LEADING_AWAY.split("|"))
"""Titles of sections that lead away from the page."""


class Lines:
    """A page's lines, as they come, in sections."""

    def __init__(self, *, chinese: bool, apparatus: bool) -> None:
        """Args: the language of the wiki; and whether sections that lead away from the page are kept."""
        self._colon = "：" if chinese else ": "
        self._apparatus = apparatus
        self._heads: list[tuple[int, str]] = [(0, "")]
        self._bodies: list[list[str]] = [[]]
        self._in_list = False
        self._numbers: list[int] = []  # of the item that came last, at each depth of the list

    def read(self, text: str) -> None:
        """Takes all lines of `text`."""
        for line in text.split("\n"):
            line = line.rstrip()
            first = line[:1]
            if not first:
                self._end_list()
                if self._bodies[-1]:
                    self._bodies[-1].append("")
            elif first == "=" and (found := _HEADING.fullmatch(line)) is not None and found[2].strip(" \t="):
                self._end_list()
                self._heads.append((len(found[1]), " ".join(found[2].split())))
                self._bodies.append([])
            elif first in "*#:;":
                self._marked(line)
            elif first == "-" and line.startswith("----"):
                self._paragraph(line.lstrip("-").lstrip())
            elif first != BROKEN:
                self._paragraph(line.lstrip(" ") if line[:2] != "  " else line[1:])

    def _end_list(self) -> None:
        self._in_list = False
        self._numbers.clear()

    def _paragraph(self, line: str) -> None:
        if self._in_list:
            self._bodies[-1].append("")  # a line right behind a list would be part of its last item in Markdown
        self._end_list()
        self._bodies[-1].append(line)

    def _marked(self, line: str) -> None:
        """A line of a list, with Markdown marks; an item that is left empty goes."""
        found = _MARKS.match(line)
        marks = found[0] if found is not None else ""
        content = line[len(marks) :].strip()
        if not content:
            return
        items = marks.rstrip(":;").replace(":", "").replace(";", "")[:_DEEPEST]
        if not items:
            self._paragraph(_TERM.sub(self._colon, content, count=1) if marks[-1] == ";" else content)
            return
        self._in_list = True
        indent = "  " * (len(items) - 1)
        del self._numbers[len(items) :]
        if marks[-1] in ":;":
            mark = "  "
        else:
            self._numbers += [0] * (len(items) - len(self._numbers))
            self._numbers[-1] = self._numbers[-1] + 1 if items[-1] == "#" else 0
            mark = f"{self._numbers[-1]}. " if items[-1] == "#" else "- "
        self._bodies[-1].append(f"{indent}{mark}{content}")

    def add(self, line: str) -> None:
        """Appends a line to the last section as it is."""
        self._bodies[-1].append(line)

    def finish(self) -> list[tuple[int, str, str]]:
        """(level, title, body) of all sections of which something is left, in order."""
        out: list[tuple[int, str, str]] = []
        for (level, title), lines in zip(reversed(self._heads), reversed(self._bodies), strict=True):
            body = _BLANKS.sub("\n\n", "\n".join(lines)).strip("\n")
            if body and not self._apparatus and level and title.lower() in _APPARATUS and _leads_away(body):
                body = ""
            if body or (level and out and out[-1][0] > level):
                out.append((level, title, body))
        out.reverse()
        return out


def _leads_away(body: str) -> bool:
    """Whether a body holds no sentence of its own: list items, and short lines that head a part of the list."""
    return all(
        line.startswith("[^") or line.lstrip().startswith("- ") or line.lstrip()[:1].isdecimal() or _HEADS_A_PART.fullmatch(line)
        for line in body.split("\n")
    )


def assemble(sections: list[tuple[int, str, str]]) -> tuple[str, tuple[Section, ...]]:
    """The text of all sections, headings in Markdown, and where each one is in it."""
    pieces: list[str] = []
    found: list[Section] = []
    at = 0
    for level, title, body in sections:
        text = f"{'#' * level} {title}\n\n{body}".rstrip() if level else body
        if not text:
            continue
        if pieces:
            pieces.append("\n\n")
            at += 2
        found.append(Section(level, title, at, at + len(text)))
        pieces.append(text)
        at += len(text)
    return "".join(pieces), tuple(found)
