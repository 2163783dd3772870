"""A writer of Markdown-like text: blocks, inline marks and containers, written front to back.

It is a list that only grows, never a tree: nothing is indented or joined a second time, so that the cost of a document depends on its
length alone, however deep it nests. Containers beyond `MOST_CONTAINERS` no longer indent, because a prefix as long as the nesting is deep
would make the output quadratic.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

MOST_CONTAINERS = 16
_BLANKS = re.compile(r"[ \t\r\f]+")
_BACKTICKS = re.compile(r"`+")


@dataclass(slots=True)
class _Container:
    """Something that puts a prefix before each of its lines: `first` before the first one, `rest` before the others."""

    first: str
    rest: str
    pending: bool = True


@dataclass(slots=True)
class _Mark:
    """An inline mark that is open in the source. It is `live` once it was written; before a blank line it is closed, and after it written
    again."""

    kind: str
    open: str
    close: str
    live: bool = False


class Writer:
    """Collects text.

    White space follows the rules of HTML (runs collapse, none at the edges of a block) except that a line break within a block stays:
    chat services render Markdown whose line breaks the source still has.

    Attributes:
        out: what is written so far, in pieces.
        fresh: whether nothing was written in the current block yet.
        writes: how often visible text was written.
        began: position in `out` where the last visible piece begins, with the breaks before it.
        tail: the last visible character.
    """

    __slots__ = (
        "_containers",
        "_flat",
        "_gap",
        "_lists",
        "_low",
        "_marks",
        "_open",
        "_opener",
        "_soft",
        "_space",
        "_stack",
        "began",
        "fresh",
        "out",
        "tail",
        "writes",
    )

    def __init__(self) -> None:
        self.out: list[str] = []
        self.fresh = True
        self.writes = 0
        self.began = 0
        self.tail = ""
        self._gap = 0
        self._soft = 0
        self._space = False
        self._flat = False
        self._opener = ""
        self._containers: list[_Container] = []
        self._low = 0
        self._marks: list[_Mark] = []
        self._stack: list[tuple[str, bool]] = []
        self._open: dict[str, int] = {}
        self._lists: list[int | None] = []

    @property
    def live(self) -> bool:
        """Whether an inline mark is written and not closed."""
        return any(mark.live for mark in self._marks)

    def block(self, gap: int) -> None:
        """Ends the current block; at least `gap` line breaks (1 or 2) come before the next text."""
        for mark in reversed(self._marks):
            if mark.live:
                self.out.append(mark.close)
                mark.live = False
        self._gap = max(self._gap, gap)
        self._soft = 0
        self._space = self._flat = False
        self.fresh = True

    def line(self) -> None:
        """A line break within a block."""
        if self._flat:
            self._space = True
        elif not self.fresh:
            self._soft += 1

    def text(self, text: str) -> None:
        """Running text; its white space collapses, its line breaks stay."""
        for at, line in enumerate(text.split("\n")):
            if at:
                self.line()
            flat = _BLANKS.sub(" ", line)
            body = flat.strip(" ")
            if flat[:1] == " ":
                self._space = True
            if body:
                self.write(body)
                self._space = flat[-1] == " "

    def write(self, body: str, *, bare: bool = False) -> None:
        """Text without a line break, as it is. With `bare`, open marks are not written before it."""
        if self._soft > 1:
            self.block(2)
        gap = max(self._gap, self._soft)
        self.began = len(self.out)
        if not self.out:
            self.out.append(self._prefix())
        elif gap:
            for _ in range(gap - 1):
                self.out.append("\n" + "".join(c.rest for c in self._containers[: self._low]).rstrip())
            self.out.append("\n" + self._prefix())
        elif self._space and not self.fresh:
            self.out.append(" ")
        self._gap = self._soft = 0
        self._space = self.fresh = False
        self._low = len(self._containers)
        if self._opener:
            self.out.append(self._opener)
            self._opener = ""
        if not bare:
            for mark in self._marks:
                if not mark.live:
                    self.out.append(mark.open)
                    mark.live = True
        self.out.append(body)
        self.writes += 1
        self.tail = body[-1:]

    def lines(self, lines: list[str]) -> None:
        """A block whose lines are written as they are, each after the prefix of its containers."""
        self.block(2)
        self.write(lines[0], bare=True)
        rest = "".join(c.rest for c in self._containers)
        self.out += ["\n" + (rest + line if line else rest.rstrip()) for line in lines[1:]]
        self.block(2)

    def fence(self, code: str, language: str = "") -> None:
        """A fenced code block; `code` is not touched."""
        longest = max((len(run) for run in _BACKTICKS.findall(code)), default=0)
        ticks = "`" * max(3, longest + 1)
        self.lines([ticks + language, *code.split("\n"), ticks])

    def code(self, code: str) -> None:
        """Inline code. A line break in it makes it a block."""
        if not code.strip():
            self.text(code)
        elif "\n" in code.strip("\n"):
            self.fence(code.strip("\n"))
        else:
            code = code.strip("\n")
            runs = {len(run) for run in _BACKTICKS.findall(code)}
            ticks = "`" * next(n for n in range(1, len(runs) + 2) if n not in runs)
            pad = " " if code[0] == "`" or code[-1] == "`" else ""
            self.write(ticks + pad + code + pad + ticks)

    def heading(self, level: int) -> None:
        """Begins a heading, which is one line; `end_heading` ends it."""
        self.block(2)
        self._opener = "#" * level + " "
        self._flat = True

    def end_heading(self) -> None:
        """Ends a heading."""
        self._opener = ""
        self.block(2)

    def mark(self, kind: str, open: str, close: str) -> None:
        """Begins an inline mark; the same kind within itself only counts."""
        count = self._open[kind] = self._open.get(kind, 0) + 1
        if count == 1:
            self._marks.append(_Mark(kind, open, close))

    def end_mark(self, kind: str) -> None:
        """Ends an inline mark. What was opened within it and is still open is closed and opened again."""
        count = self._open.get(kind, 0)
        if not count:
            return
        self._open[kind] = count - 1
        if count > 1:
            return
        at = next(i for i, mark in enumerate(self._marks) if mark.kind == kind)
        if self._marks[at].live:
            for mark in reversed(self._marks[at:]):
                if mark.live:
                    self.out.append(mark.close)
                    mark.live = False
        del self._marks[at]

    def list(self, first: int | None) -> None:
        """Begins a list: numbered from `first`, or with dashes."""
        self.block(1 if self._lists else 2)
        self._lists.append(first)
        self._push("list", None)

    def item(self, number: int | None = None) -> None:
        """Begins a list item and ends the one before."""
        if self._stack and self._stack[-1][0] == "item":
            self._pop()
        self.block(1)
        marker = "- "
        if self._lists and (count := self._lists[-1]) is not None:
            count = count if number is None else number
            marker = f"{count}. "
            self._lists[-1] = count + 1
        self._push("item", _Container(marker, " " * len(marker)))

    def quote(self) -> None:
        """Begins a quotation."""
        self.block(2)
        self._push("quote", _Container("> ", "> "))

    def end(self, kind: str) -> None:
        """Ends the innermost `list`, `item` or `quote`, and whatever is open within it; does nothing when none is open."""
        if not self._open.get("<" + kind):
            return
        while self._pop() != kind:
            pass
        self.block(2 if kind == "quote" or (kind == "list" and not self._lists) else 1)

    def finish(self) -> str:
        """Everything that was written."""
        self.block(0)
        return "".join(self.out)

    def _push(self, kind: str, container: _Container | None) -> None:
        shown = container is not None and len(self._containers) < MOST_CONTAINERS
        if container is not None and shown:
            self._containers.append(container)
        self._stack.append((kind, shown))
        self._open["<" + kind] = self._open.get("<" + kind, 0) + 1

    def _pop(self) -> str:
        kind, shown = self._stack.pop()
        if shown:
            self._containers.pop()
            self._low = min(self._low, len(self._containers))
        if kind == "list":
            self._lists.pop()
        self._open["<" + kind] -= 1
        return kind

    def _prefix(self) -> str:
        text = "".join(c.first if c.pending else c.rest for c in self._containers)
        for c in self._containers:
            c.pending = False
        return text
