"""HTML of chat services and forums → Markdown-like text, as the model or the author once wrote it.

ShareGPT saved answers as the page showed them (`<div class="markdown prose …">`), and Stack Overflow questions come as `<p>…</p>`. The
text in them was Markdown before it was HTML; this brings it back: code blocks with their language and every character as it was, lists,
tables, emphasis, links. What only belongs to the page goes: buttons ("Copy code"), icons, page marks ("1 / 2"), character counts ("Copy17
chars / 3 words").
"""

from __future__ import annotations

import re

from corpus.text.markdown import Writer
from corpus.text.markup import BLOCKS, ELEMENTS, HEADINGS, INLINE, MARKS, attributes_of, decode, tokens

_PAGE_MARK = re.compile(r"\s*\d{1,3} / \d{1,3}\s*")
_COUNTS = re.compile(r"\d+ chars / \d+ words")
_COPIED = re.compile(r"Copy\d+ chars / \d+ words")
_COPY_HEADER = re.compile(r"\s*+([A-Za-z0-9+#._-]{0,30}?)\s*+(?:Copy code)+\s*")
_LANGUAGE_NAME = re.compile(r"[A-Za-z0-9+#._-]{1,30}")
_LANGUAGE_CLASS = re.compile(r"(?:language|lang)-([A-Za-z0-9+#._-]{1,30})")
_POWER = re.compile(r"[-+−]?(?:\d+|[A-Za-z])")
_NUMBER = re.compile(r"-?\d{1,9}")

_MOST_TABLES = 3

_FIRST_TAG = re.compile(r"\s*<([a-z][a-z0-9]*)(?:\s+[a-z-]+=[\"']|(?=(\s*/?>)))")
_LAST_TAG = re.compile(r"(?:</([a-z][a-z0-9]*)\s*|<(?:br|hr)\s*/?)>\Z")
_OPENERS = frozenset(
    ("p", "div", "pre", "ul", "ol", "dl", "blockquote", "table", "section", "article", "figure", "details", "hr", "h1", "h2", "h3", "h4",
    "h5", "h6")
)  # fmt: skip


def looks_like_html(text: str) -> bool:
    """Whether `text` is HTML, rather than text that speaks of HTML or merely contains `<`.

    HTML is what begins with the tag of a block element and either gives it an attribute or ends with a tag. The rule is strict because
    the other error costs more: HTML taken for text keeps its tags, text taken for HTML loses code that somebody wrote. Whole pages
    (`<!DOCTYPE`, `<html>`) are such code.
    """
    first = _FIRST_TAG.match(text)
    if first is None or first[1] not in _OPENERS:
        return False
    if first[2] is None:
        return True
    last = _LAST_TAG.search(text.rstrip()[-40:])
    return last is not None and (last[1] is None or last[1] in ELEMENTS)


def to_text(html: str) -> str:
    """HTML → Markdown-like text. Text without any tag only gets its character references decoded.

    Links keep their address when it is http or https; images become their alternative text; formulas (KaTeX) become `$…$`. Never raises,
    and takes time proportional to the length of `html`.
    """
    if "<" not in html:
        return decode(html)
    converter = _Converter()
    for kind, value, attributes in tokens(html):
        if kind == "text":
            converter.text(decode(value))
        elif kind == "formula":
            converter.formula(value)
        elif kind == "gone":
            converter.tags += 1
        else:
            converter.tag(kind == "start", value, attributes)
    return converter.finish() if converter.tags else decode(html)


def _language(attributes: str) -> str:
    found = _LANGUAGE_CLASS.search(attributes_of(attributes).get("class", "")) if "lang" in attributes else None
    return found[1] if found else ""


class _Pre:
    """A code block that is being read. What stands before its `<code>` is the header that the page puts above it."""

    __slots__ = ("code", "header", "language", "seen_code")

    def __init__(self, language: str) -> None:
        self.language = language
        self.header: list[str] = []
        self.code: list[str] = []
        self.seen_code = False

    def add(self, text: str) -> None:
        (self.code if self.seen_code else self.header).append(text)


class _Table:
    """A table that is being read: the writer that it will go to, the cells of its rows, and whether it holds another table."""

    __slots__ = ("cell", "nested", "outer", "rows")

    def __init__(self, outer: Writer) -> None:
        self.outer = outer
        self.rows: list[list[str]] = []
        self.cell = False
        self.nested = False


class _Converter:
    """Tokens in, text out."""

    def __init__(self) -> None:
        self.tags = 0
        self._writer = self._root = Writer()
        self._pre: _Pre | None = None
        self._code: list[str] | None = None
        self._tables: list[_Table] = []
        self._layout = 0
        self._after_span = False
        self._raised = False
        self._page_mark: tuple[int, int] | None = None

    def text(self, text: str) -> None:
        """Running text, decoded."""
        after_span, self._after_span = self._after_span, False
        if self._pre is not None:
            self._pre.add(text)
            return
        if self._code is not None:
            self._code.append(text)
            return
        writer = self._writer
        if _COUNTS.fullmatch(text):
            if writer.writes and writer.out[-1] == "Copy":
                del writer.out[writer.began :]
                writer.block(2)
            return
        if "Copy" in text:
            text = _COPIED.sub("", text)
        if self._raised and writer.tail and (writer.tail.isalnum() or writer.tail in ")]}") and _POWER.fullmatch(text):
            text = "^" + text
        self._raised = False
        if after_span and writer is self._root and writer.fresh and not writer.live and _PAGE_MARK.fullmatch(text):
            before = len(writer.out)
            writer.text(text)
            self._page_mark = (before, writer.writes)
            return
        writer.text(text)

    def formula(self, text: str) -> None:
        """A formula, which stays as it is."""
        if self._pre is not None or self._code is not None:
            self.text(text)
        else:
            for at, line in enumerate(text.split("\n")):
                if at:
                    self._writer.line()
                if line:
                    self._writer.write(line)

    def tag(self, start: bool, name: str, attributes: str) -> None:
        """A start tag or an end tag."""
        self.tags += 1
        self._after_span = start and name == "span"
        self._raised = start and name == "sup"
        if self._pre is not None:
            self._in_pre(start, name, attributes)
        elif self._code is not None and (name in INLINE or name in MARKS):
            pass
        elif name == "br" or (name == "wbr" and start):
            self._break(name)
        elif name == "pre":
            self._end_code()
            if start:
                self._pre = _Pre(_language(attributes))
        elif name == "code":
            self._end_code()
            self._code = [] if start else None
        elif name in MARKS:
            self._mark(start, MARKS[name])
        elif name == "a":
            self._link(start, attributes)
        elif name == "img":
            if start:
                self.text(attributes_of(attributes).get("alt", ""))
        elif name not in INLINE:
            self._end_code()
            self._structure(start, name, attributes)

    def finish(self) -> str:
        """The whole text."""
        self._end_pre()
        self._end_code()
        while self._tables:
            self._end_table()
        text = self._root.finish()
        if self._page_mark is not None and self._page_mark[1] == self._root.writes:
            text = "".join(self._root.out[: self._page_mark[0]])
        return text

    def _in_pre(self, start: bool, name: str, attributes: str) -> None:
        pre = self._pre
        if pre is None:
            return
        if name == "pre" and not start:
            self._end_pre()
        elif name == "code" and start:
            pre.language = _language(attributes) or pre.language
            pre.seen_code = True
        elif name == "br":
            pre.add("\n")

    def _end_pre(self) -> None:
        pre, self._pre = self._pre, None
        if pre is None:
            return
        code, header, language = "".join(pre.code), "".join(pre.header), pre.language
        if not pre.seen_code:
            code, header = header, ""
            marked = _COPY_HEADER.match(code)
            if marked is not None:
                code, header = code[marked.end() :], marked[1]
            else:
                code = code.removeprefix("\n")
        else:
            marked = _COPY_HEADER.fullmatch(header)
            header = marked[1] if marked is not None else header.strip()
        if header and _LANGUAGE_NAME.fullmatch(header):
            language = language or header
        elif header:
            self._writer.block(2)
            self._writer.text(header)
        if code.strip():
            self._writer.fence(code.removesuffix("\n"), language)
        else:
            self._writer.block(2)

    def _end_code(self) -> None:
        code, self._code = self._code, None
        if code:
            self._writer.code("".join(code))

    def _break(self, name: str) -> None:
        if name == "wbr":
            return
        if self._code is not None:
            self._code.append("\n")
        else:
            self._writer.line()

    def _mark(self, start: bool, sign: str) -> None:
        if start:
            self._writer.mark(sign, sign, sign)
        else:
            self._writer.end_mark(sign)

    def _link(self, start: bool, attributes: str) -> None:
        self._writer.end_mark("a")
        if start:
            address = attributes_of(attributes).get("href", "").strip()
            if address.lower().startswith(("http://", "https://")):
                address = re.sub(r"[\s<>]", lambda m: f"%{ord(m[0]):02X}", address)
                if address.count("(") != address.count(")"):
                    address = address.replace("(", "%28").replace(")", "%29")
                self._writer.mark("a", "[", f"]({address})")

    def _structure(self, start: bool, name: str, attributes: str) -> None:
        writer = self._writer
        if name in BLOCKS:
            writer.block(BLOCKS[name])
        elif name in HEADINGS:
            if start:
                writer.heading(HEADINGS[name])
            else:
                writer.end_heading()
        elif name in ("ul", "ol"):
            if start:
                number = attributes_of(attributes).get("start", "") if attributes else ""
                writer.list((int(number) if _NUMBER.fullmatch(number) else 1) if name == "ol" else None)
            else:
                writer.end("list")
        elif name == "li":
            if start:
                number = attributes_of(attributes).get("value", "") if attributes else ""
                writer.item(int(number) if _NUMBER.fullmatch(number) else None)
            else:
                writer.end("item")
        elif name == "blockquote":
            if start:
                writer.quote()
            else:
                writer.end("quote")
        elif name == "hr":
            writer.lines(["---"])
        elif name in ("table", "tr", "td", "th"):
            self._table(start, name)

    def _table(self, start: bool, name: str) -> None:
        if name == "table":
            if start and len(self._tables) < _MOST_TABLES:
                self._writer.block(2)
                if self._tables:
                    self._tables[-1].nested = True
                self._tables.append(_Table(self._writer))
            elif start:
                self._layout += 1
            elif self._layout:
                self._layout -= 1
            elif self._tables:
                self._end_table()
            return
        if self._layout or not self._tables:
            self._writer.block(1)
            return
        self._end_cell()
        table = self._tables[-1]
        if start and name == "tr":
            table.rows.append([])
        elif start:
            if not table.rows:
                table.rows.append([])
            table.cell = True
            self._writer = Writer()

    def _end_cell(self) -> None:
        table = self._tables[-1]
        if table.cell:
            table.rows[-1].append(self._writer.finish())
            table.cell = False
            self._writer = table.outer

    def _end_table(self) -> None:
        """Writes the innermost table: as a Markdown table, or, when its cells hold blocks, as those blocks one after the other."""
        self._end_cell()
        table = self._tables.pop()
        rows = [row for row in table.rows if row]
        if not rows:
            return
        if table.nested or any("\n\n" in cell or "```" in cell for row in rows for cell in row):
            for cell in (cell for row in rows for cell in row if cell):
                self._writer.lines(cell.split("\n"))
            return
        width = max(map(len, rows))
        rows[0] += [""] * (width - len(rows[0]))
        lines = ["| " + " | ".join(cell.replace("\n", " ").replace("|", "\\|") for cell in row) + " |" for row in rows]
        self._writer.lines([lines[0], "|" + " --- |" * width, *lines[1:]])
