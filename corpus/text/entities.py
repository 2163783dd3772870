"""Character references and tags of HTML in texts that are not HTML.

Three cases, told apart by what the source is known for (`Traits`):

- `escaped`: a publisher escaped whole texts, code and all. Then no `<`, `>` or `"` is left in a text and each `&` begins a reference; a
  text of which this holds is decoded as a whole, once.
- `html`: the texts are snippets of pages. Known tags become line breaks or go, and all references are decoded.
- elsewhere: only references that nobody writes on purpose in prose (`&quot;`, `&#39;`), and only in texts that neither speak of HTML nor
  hold any.
"""

from __future__ import annotations

import html as _html
import re

from corpus.text.html import looks_like_html, to_text
from corpus.text.markup import BLOCKS, ELEMENTS, HEADINGS

PROSE = r"&(?:amp;|#38;)*(?:quot|amp|lt|gt|nbsp|hellip|[lr][ds]quo|[mn]dash|middot|bull|apos|#[0-9]{2,7}|#[xX][0-9A-Fa-f]{2,6});"
"""References that are decoded wherever the text is prose (a regex for polars and for re alike)."""
ANY = r"&(?:#[0-9]{1,7}|#[xX][0-9A-Fa-f]{1,6}|[A-Za-z][A-Za-z0-9]{1,31});"
ABOUT_HTML = r"(?i)html|xml|entit|escap|jsp|php|css|标签|实体|转义|代码|前端|网页源"
"""Texts that may speak of markup."""

_PROSE, _ANY, _ABOUT = re.compile(PROSE), re.compile(ANY), re.compile(ABOUT_HTML)
_NESTED = re.compile(r"&(?:(?:amp|AMP|#0{0,3}38|#[xX]26);)++(?=#?[A-Za-z0-9]{1,31};)")
_ANGLES = re.compile(r"&(?:[lg]t|[LG]T|#0{0,3}6[02]|#[xX]3[cCeE]);")
_UNESCAPED = re.compile(r"[<>\"]|&(?!(?:#[0-9]{1,7}|#[xX][0-9A-Fa-f]{1,6}|[A-Za-z][A-Za-z0-9]{1,31});)")
_TWICE = re.compile(r"&amp;(?:[A-Za-z][A-Za-z0-9]{1,31}|#[0-9xX][0-9A-Fa-f]{0,6});")

_ATTRIBUTES = (
    r"(?:\s++(?:[A-Za-z_:@][-\w:.]*+\s*+=\s*+(?:\"[^\"<>]*+\"|'[^'<>]*+'|[^\s\"'<>=]++)"
    r"|(?:nowrap|checked|disabled|selected|hidden|open|controls)))*+"
)
"""What may stand in a tag: without a value only what HTML itself knows so. `a<b and c>d` is no tag."""
_TAG = re.compile(rf"<(/?)({'|'.join(sorted(ELEMENTS, key=len, reverse=True))}){_ATTRIBUTES}\s*+/?>", re.IGNORECASE)
_COMMENT = re.compile(r"<!--[^<>]*+-->")
_AROUND = re.compile(r"[ \t]*+\n?[ \t]*+\ue000(?:[ \t]*+\n?[ \t]*+\ue000)*+[ \t]*+\n?")
_BREAK = "\ue000"
_LINES = {"br": 1, "hr": 1, "li": 1, "tr": 1, "ul": 1, "ol": 1, "table": 1, "pre": 1, "blockquote": 1} | BLOCKS | dict.fromkeys(HEADINGS, 2)


def decode_prose(text: str) -> str:
    """Decodes what is unmistakable, where it takes no guess."""
    return text if _ABOUT.search(text) else _decode(_PROSE, text)


def decode_html(text: str) -> str:
    """Decodes all references, but none of which a tag would come that `remove_tags` removes."""
    decoded = _decode(_ANY, text)
    if "<" in decoded and remove_tags(decoded) != decoded:
        kept = _ANGLES.sub(lambda m: f"\ue001{m[0][1:]}", _NESTED.sub("&", text))
        return _decode(_ANY, kept).replace("\ue001", "&") if "\ue001" not in text else text
    return decoded


def decode_whole(text: str) -> str | None:
    """Decodes a text that was escaped as a whole; None for any other."""
    if _UNESCAPED.search(text) or _TWICE.search(text):
        return None
    return _ANY.sub(_character, text)


def remove_tags(text: str) -> str:
    """Tags of blocks and `<br>` become line breaks, other known tags go. A text that speaks of HTML stays as it is."""
    if looks_like_html(text):
        return to_text(text)
    if _ABOUT.search(text) or _BREAK in text:
        return text
    marked = _TAG.sub(lambda m: _BREAK * _LINES.get(m[2].lower(), 0), _COMMENT.sub("", text))
    return text if marked == text else _AROUND.sub(lambda m: "\n" * min(2, m[0].count(_BREAK)), marked)


def _decode(pattern: re.Pattern[str], text: str) -> str:
    return pattern.sub(_character, _NESTED.sub("&", text))


def _character(m: re.Match[str]) -> str:
    """The character, unless it is none that a text can hold."""
    found = _html.unescape(m[0])
    return (
        m[0] if found == m[0] or any(c == "\ufffd" or (c < " " and c not in "\t\n") or "\ue000" <= c <= "\uf8ff" for c in found) else found
    )
