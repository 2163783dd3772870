"""HTML as a flat run of tokens: text, tags, and what has no text.

A scanner of our own, not `html.parser`: that one is quadratic on unclosed markup in the Python versions that are in use, and its treatment
of comments changed between patch releases, while the same bytes must give the same text everywhere. This one reads its input once, front
to back, and takes as markup only what is: known elements, and unknown ones that are opened and closed. `a < b`, `List<int>` and
`<your-name>` are text.
"""

from __future__ import annotations

import html as _html
import re
from collections.abc import Iterator
from typing import NamedTuple


def _names(text: str) -> tuple[str, ...]:
    return tuple(text.split())


VOID = frozenset(_names("area base br col embed hr img input link meta source track wbr"))
BLOCKS = {
    **dict.fromkeys(_names("p figure details fieldset dl caption"), 2),
    **dict.fromkeys(_names("address article aside body center dd div dt figcaption footer form head header html legend main nav"), 1),
    **dict.fromkeys(_names("section summary"), 1),
}
"""Elements that begin and end a block, and the line breaks that part it from others."""
MARKS = {"b": "**", "strong": "**", "i": "*", "em": "*", "s": "~~", "del": "~~", "strike": "~~"}
HEADINGS = {f"h{n}": n for n in range(1, 7)}
INLINE = frozenset(
    _names(
        """a abbr annotation bdi bdo big cite data dfn font ins kbd label mark math mi mn mo mrow msub msup q rp rt ruby samp semantics
        small span sub sup time tt u var"""
    )
)
_OTHER = _names(
    """audio blockquote canvas code colgroup iframe li noscript object ol option pre select table tbody td textarea tfoot th thead title tr
    ul video"""
)
_WITHOUT_TEXT = frozenset(("script", "style", "svg", "button", "template"))
ELEMENTS = frozenset((*VOID, *BLOCKS, *MARKS, *HEADINGS, *INLINE, *_OTHER, *_WITHOUT_TEXT))

_MARKUP = re.compile(r"<(?:(!--)|([!?])|(/?)([A-Za-z][A-Za-z0-9:_-]*)(?=[\s/>]))")
_NAMES = re.compile(r"<(/?)([A-Za-z][A-Za-z0-9:_-]*)(?=[\s/>])")
_REST = re.compile(r"(?:[^>=]++|=[ \t\r\n\f]*+(?:\"[^\"]*+\"|'[^']*+')|=)*+>")
_REST_BLIND = re.compile(r"[^<>]*+>")
_ATTRIBUTE = re.compile(r"([^\s\"'>/=]++)(?:[ \t\r\n\f]*+=[ \t\r\n\f]*+(?:\"([^\"]*+)\"|'([^']*+)'|([^\s\"'>]++)))?")
_ENTITY = re.compile(r"&(?:#[0-9]{1,7}|#[xX][0-9A-Fa-f]{1,6}|[A-Za-z][A-Za-z0-9]{1,31});")
_SPAN = re.compile(r"<(/?)span(?=[\s/>])", re.IGNORECASE)
_CLOSE = {name: re.compile(rf"</{name}\s*>", re.IGNORECASE) for name in (*_WITHOUT_TEXT, "math")}
_TEX = re.compile(r"<annotation[^<>]*+>", re.IGNORECASE)


class Token(NamedTuple):
    """A piece of HTML.

    `kind` is `text` (value: the text as it stands), `formula` (value: TeX between dollar signs), `start` or `end` (value: the element's
    name, attributes: as they stand), or `gone` (a comment, or an element without text).
    """

    kind: str
    value: str
    attributes: str = ""


_GONE = Token("gone", "")


def decode(text: str) -> str:
    """Character references, decoded once. Only those that end in a semicolon: `?a=1&copy=2` is an address, not a copyright sign."""
    return _ENTITY.sub(lambda m: _html.unescape(m[0]), text) if "&" in text else text


def attributes_of(text: str) -> dict[str, str]:
    """A tag's attributes, decoded; the first of equal names counts, as in browsers."""
    found: dict[str, str] = {}
    for m in _ATTRIBUTE.finditer(text):
        found.setdefault(m[1].lower(), decode(m[2] or m[3] or m[4] or ""))
    return found


def tokens(html: str) -> Iterator[Token]:
    """Yields the tokens of `html` in their order. Takes time proportional to its length, whatever it is."""
    return _Scanner(html).tokens()


class _Scanner:
    """Where a search can fail, it is remembered that it failed, so that no part of the input is searched for the same thing twice."""

    def __init__(self, html: str) -> None:
        self.html = html
        names: tuple[set[str], set[str]] = (set(), set())
        for m in _NAMES.finditer(html):
            names[bool(m[1])].add(m[2].lower())
        self.paired = names[0] & names[1]
        self.unclosed: set[str] = set()
        self.rest = _REST
        self.plain_math = 0

    def tokens(self) -> Iterator[Token]:
        html, last = self.html, self.html.rfind(">")
        at = pos = 0
        while True:
            m = _MARKUP.search(html, pos)
            if m is None or m.start() > last:
                break
            end = self._end(m)
            if end is None:
                pos = m.end()
                continue
            if m.start() > at:
                yield Token("text", html[at : m.start()])
            name = m[4].lower() if m[4] else ""
            attributes = html[m.end() : end - 1]
            at = pos = end
            if not name:
                yield _GONE
            elif m[3]:
                yield Token("end", name)
            elif (skipped := self._without_text(name, attributes, end)) is not None:
                token, at = skipped
                pos = at
                yield token
            else:
                yield Token("start", name, attributes)
        if at < len(html):
            yield Token("text", html[at:])

    def _end(self, m: re.Match[str]) -> int | None:
        """Where the markup that begins with `m` ends; None when it is none."""
        if m[1]:
            end = -1 if "!--" in self.unclosed else self.html.find("-->", m.end() - 2)
            if end < 0:
                self.unclosed.add("!--")
                return None
            return end + 3
        if m[2]:
            found = _REST_BLIND.match(self.html, m.end())
            return found.end() if found else None
        name = m[4].lower()
        # Pages have their tags in lower case; `<Object>` alone is a type parameter.
        known = name in ELEMENTS and (m[4] == name or name in VOID)
        if not known and name not in self.paired:
            return None
        found = self.rest.match(self.html, m.end())
        if found is None and self.rest is _REST:
            # A quotation mark that never closes. From here on quotation marks mean nothing, or each further tag would search to the end.
            self.rest = _REST_BLIND
            found = self.rest.match(self.html, m.end())
        return found.end() if found else None

    def _without_text(self, name: str, attributes: str, pos: int) -> tuple[Token, int] | None:
        """For an element that has no text, or whose text is not what it shows: its token and its end."""
        if name in self.unclosed or (name == "svg" and attributes.endswith("/")):
            return None
        if name in _WITHOUT_TEXT:
            close = _CLOSE[name].search(self.html, pos)
            if close is not None:
                return _GONE, close.end()
            self.unclosed.add(name)
        elif name == "math" and pos >= self.plain_math:
            return self._formula(attributes, pos)
        elif name == "span" and "katex-html" in attributes and "katex-html" not in self.unclosed:
            # KaTeX writes a formula twice; this is the drawing.
            end = self._after_span(pos)
            if end is not None:
                return _GONE, end
            self.unclosed.add("katex-html")
        return None

    def _formula(self, attributes: str, pos: int) -> tuple[Token, int] | None:
        """A formula's TeX, which KaTeX and MathJax keep as an annotation. Without one, the elements of the formula are read as text."""
        close = _CLOSE["math"].search(self.html, pos)
        if close is None:
            self.unclosed.add("math")
            return None
        tex = _TEX.search(self.html, pos, close.start())
        until = self.html.find("</annotation", tex.end(), close.start()) if tex else -1
        if tex is None or until < 0:
            self.plain_math = close.start()
            return None
        sign = "$$" if attributes_of(attributes).get("display") == "block" else "$"
        return Token("formula", sign + decode(self.html[tex.end() : until]).strip() + sign), close.end()

    def _after_span(self, pos: int) -> int | None:
        """Where a span that was opened before `pos` ends."""
        depth = 1
        for m in _SPAN.finditer(self.html, pos):
            depth += -1 if m[1] else 1
            if not depth:
                end = self.html.find(">", m.end())
                return end + 1 if end >= 0 else None
        return None
