"""MediaWiki markup → plain text, the simple way: what is no prose goes, what is prose stays as it was written.

Templates are not expanded and language variants (`-{zh-hans:…;zh-hant:…}-`) not chosen: both need knowledge of the wiki that a page
alone does not have. Every step is one pass over the text with bounded look-back and without recursion, so a page of a million open
brackets costs as much as any other of its size. Markup that is opened and never closed stays in the text: losing the rest of a page
would be worse.
"""

from __future__ import annotations

import html
import re
from collections import deque
from collections.abc import Iterator

_DROPPED = (
    "ref", "references", "gallery", "timeline", "templatedata", "templatestyles", "score", "graph", "imagemap", "mapframe", "maplink",
    "hiero", "indicator",
)  # fmt: skip
"""Tags whose content is no prose."""
_DECODED = ("nowiki", "pre")
"""Tags whose content is shown as it stands, but for entities."""
_VERBATIM = ("math", "chem", "ce", "source", "syntaxhighlight")
"""Tags whose content is shown to the letter: formulas and programs."""
_BLOCKS = re.compile(rf"<!--|<({'|'.join(_DROPPED + _DECODED + _VERBATIM)})\b([^<>]*+)>|\0", re.IGNORECASE)
_ENDS = {name: re.compile(rf"</{name}[ \t\n]*+>", re.IGNORECASE) for name in _DROPPED + _DECODED + _VERBATIM}
_KEPT = re.compile(r"\0(\d+)\0")

_BRACES = re.compile(r"\{{2,}|\}{2,}")
_TABLE = re.compile(r"^[ \t:*#;]*+\{\||^[ \t]*+\|\}", re.MULTILINE)
_ROW = re.compile(r"^[ \t]*+\|[-}].*+\n?", re.MULTILINE)

_BRACKETS = re.compile(r"\[\[|\]\]")
_LINK_DEPTH = 16
"""Links within links that are followed: captions of images hold links, hardly ever images. Bounds the copying of nested labels."""
_NO_PROSE = re.compile(
    r"file|image|media|文件|檔案|档案|图像|圖像|图片|圖片|媒体|媒體|[kc]at[eé]gor\w*|категор\w*|分类|分類|カテゴリ", re.IGNORECASE
)
"""Namespaces of files and categories: in English and Chinese, and the name for category that most languages share."""
_FILE = re.compile(r"\.(?:jpe?g|png|svg|gif|tiff?|webp|og[agv]|webm|pdf|djvu|xcf|mid)\Z", re.IGNORECASE)
"""Files of wikis whose name for that namespace is not known here."""
_LANGUAGE = re.compile(r"simple|[a-z]{2,3}(?:-[a-z-]+)?")
_EXTERNAL = re.compile(r"\[(?:(?:https?:|ftp:)?//|mailto:)[^\s\[\]]*+[ \t]*+([^\[\]\n]*+)\]")

_BREAK = re.compile(r"<br[ \t]*+/?[ \t]*+>\n?", re.IGNORECASE)
_TAG = re.compile(
    r"</?(?:abbr|b|bdi|bdo|big|blockquote|br|caption|center|cite|code|dd|del|dfn|div|dl|dt|em|font|h[1-6]|hr|i|includeonly|ins|kbd|li|mark|"
    r"noinclude|nowiki|ol|onlyinclude|p|poem|pre|q|rb|ref|references|rp|rt|ruby|s|samp|section|small|span|strike|strong|sub|sup|table|tbody|td|th|time|"
    r"tr|tt|u|ul|var|wbr)\b[^<>]*+>",
    re.IGNORECASE,
)
_QUOTES = re.compile(r"'{2,}")
_ENTITY = re.compile(r"&(?:#\d{1,7}|#[xX][0-9a-fA-F]{1,6}|[A-Za-z][A-Za-z0-9]{1,31});")
_SWITCH = re.compile(
    r"__(?:NOTOC|FORCETOC|TOC|NOEDITSECTION|NEWSECTIONLINK|NONEWSECTIONLINK|NOGALLERY|HIDDENCAT|NOCONTENTCONVERT|NOCC|NOTITLECONVERT|NOTC|"
    r"INDEX|NOINDEX|STATICREDIRECT|DISAMBIG|无目录|無目錄|目录|目錄|不转换|不轉換)__"
)
_BLANKS = re.compile(r"\n{3,}")


def plain(wikitext: str) -> str:
    """The prose of a wiki page.

    Removed: comments, references, galleries, templates, tables, links to files and categories, links to the same page in other
    languages, bold and italic marks, HTML tags, indentation marks. Kept: the labels of links, headings as lines of their own,
    list marks, `-{…}-`, formulas and code to the letter. Entities are decoded.

    Args:
        wikitext: the text of a revision as a dump has it, after XML decoding.

    Returns:
        Lines without trailing spaces, at most one blank line between two, none at the ends.
    """
    kept: list[str] = []
    text = _lift_blocks(wikitext, kept)
    text = _without(text, _outermost(_brace_pairs(text)))
    text = _without(text, _outermost(_table_pairs(text)))
    text = _ROW.sub("", text)
    text = _EXTERNAL.sub(r"\1", _links(text))
    text = _TAG.sub("", _BREAK.sub("\n", text))
    text = _QUOTES.sub(_quotes, _SWITCH.sub("", text))
    text = "\n".join(_line(line) for line in _decode(text).split("\n"))
    text = _BLANKS.sub("\n\n", text).strip()
    return _KEPT.sub(lambda m: kept[int(m[1])], text)


def _lift_blocks(text: str, kept: list[str]) -> str:
    r"""Removes comments and blocks without prose, and puts verbatim blocks into `kept`, leaving `\0index\0` in their place.

    A NUL of the text itself is lifted too, so that nothing in the text can pass for such a mark.
    """
    out: list[str] = []
    endless: set[str] = set()  # what is opened but not closed from here to the end: looked for once, not for every opening
    done = at = 0
    while (found := _BLOCKS.search(text, at)) is not None:
        start, at = found.span()
        name = (found[1] or found[0]).lower()
        content: str | None = None
        if name == "\0":
            content = name
        elif name == "<!--":
            end = -1 if name in endless else text.find("-->", at)
            if end < 0:
                endless.add(name)
                continue
            at = end + len("-->")
        elif not found[2].endswith("/"):
            close = None if name in endless else _ENDS[name].search(text, at)
            if close is None:
                endless.add(name)
                continue
            if name not in _DROPPED:
                content = text[at : close.start()]
                content = _decode(content) if name in _DECODED else content
            at = close.end()
        out.append(text[done:start])
        if content is not None:
            out.append(f"\0{len(kept)}\0")
            kept.append(content)
        done = at
    out.append(text[done:])
    return "".join(out)


def _brace_pairs(text: str) -> Iterator[tuple[int, int]]:
    """Spans of `{{…}}` and `{{{…}}}`, inner ones first. A run of braces closes as much of the run before it as it has braces for."""
    stack: list[tuple[int, int]] = []
    for found in _BRACES.finditer(text):
        at, end = found.span()
        if text[at] == "{":
            stack.append((at, end - at))
            continue
        while end - at >= 2 and stack:
            start, count = stack.pop()
            used = min(count, end - at)
            yield start + count - used, at + used
            at += used
            if count - used >= 2:
                stack.append((start, count - used))


def _table_pairs(text: str) -> Iterator[tuple[int, int]]:
    """Spans of `{|…|}`, inner ones first; both marks count at the beginning of a line only."""
    stack: list[int] = []
    for found in _TABLE.finditer(text):
        if found[0].endswith("{|"):
            stack.append(found.start())
        elif stack:
            yield stack.pop(), found.end()


def _outermost(spans: Iterator[tuple[int, int]]) -> list[tuple[int, int]]:
    """Of nested spans (inner ones first) those that are in no other, in order."""
    out: list[tuple[int, int]] = []
    for start, end in spans:
        while out and out[-1][0] >= start:
            out.pop()
        out.append((start, end))
    return out


def _without(text: str, spans: list[tuple[int, int]]) -> str:
    pieces: list[str] = []
    done = 0
    for start, end in spans:
        pieces.append(text[done:start])
        done = end
    pieces.append(text[done:])
    return "".join(pieces)


def _links(text: str) -> str:
    """Replaces `[[target|label]]` by its label, and links to files and categories by nothing, with all that is in them."""
    out: list[str] = []
    opened: deque[int] = deque(maxlen=_LINK_DEPTH)  # the oldest opening is forgotten and stays in the text
    done = 0
    for found in _BRACKETS.finditer(text):
        out.append(text[done : found.start()])
        done = found.end()
        if found[0] == "[[":
            opened.append(len(out))
            out.append("[[")
        elif opened:
            start = opened.pop()
            label = _label("".join(out[start + 1 :]))
            del out[start:]
            out.append(label)
        else:
            out.append("]]")
    out.append(text[done:])
    return "".join(out)


def _label(link: str) -> str:
    """What a reader sees of the link `target|label`."""
    target, piped, label = link.partition("|")
    prefix, colon, _ = target.partition(":")
    prefix = prefix.strip()
    elsewhere = _NO_PROSE.fullmatch(prefix) or _FILE.search(target.rstrip()) or (not piped and _LANGUAGE.fullmatch(prefix))
    if colon and prefix and elsewhere:
        return ""
    return label if label.strip() else target.strip().removeprefix(":")


def _quotes(found: re.Match[str]) -> str:
    """Apostrophes that are not marks: two, three and five in a row are (italic, bold, both); any more are apostrophes before these."""
    count = len(found[0])
    return "'" * (1 if count == 4 else max(0, count - 5))


def _decode(text: str) -> str:
    """Decodes entities that end in a semicolon: without one, `&copy` in an address would become a copyright sign."""
    return _ENTITY.sub(lambda m: html.unescape(m[0]), text)


def _line(line: str) -> str:
    """One line without trailing spaces, heading, rule and indentation marks."""
    line = line.rstrip()
    if line.startswith("=") and line.endswith("="):
        marks = min(len(line) - len(line.lstrip("=")), len(line) - len(line.rstrip("=")), 6)
        return line[marks:-marks].strip() if 2 * marks < len(line) else line
    if line.startswith("----"):
        return line.lstrip("-").lstrip()
    return line.lstrip(":;").lstrip(" ") if line.startswith((":", ";")) else line
