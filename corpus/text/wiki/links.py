"""Links: what a reader sees of `[[target|label]]` and `[address label]`. Links to files, categories and other languages go.

A link within a link (in the caption of an image) is resolved first, which takes one pass over the page for every level; three levels are
followed, real pages have two.
"""

from __future__ import annotations

import re

from corpus.text.wiki.marks import FIXED, FIXED_END, GAP, gap
from corpus.text.wiki.site import CATEGORY, FILE, MEDIA, Site

_LINK = re.compile(r"\[\[([^\[\]|\n]*+)(?:\|((?:[^\[\]]++|\[(?!\[)|\](?!\]))*+))?\]\]")
_LEVELS = 4
_LEFT = re.compile(r"\[\[([^\[\]|\n:]{1,40}):[^\n]*|\[\[|\]\]")
_FILE_NAME = re.compile(r"\.(?:jpe?g|png|svg|gif|tiff?|webp|og[agv]|webm|mp[34]|wav|pdf|djvu|xcf|midi?)\s*\Z", re.IGNORECASE)
"""Files of wikis whose name for that namespace is not known."""
_LANGUAGE = re.compile(r"simple|[a-z]{2,3}(?:-[a-z-]+)?")
_NO_TITLE = re.compile(r"[{}<>\x02]")
_EXTERNAL = re.compile(
    r"\[((?:https?:|ftps?:|irc:|news:)?//[^\s\[\]]*+|mailto:[^\s\[\]]*+)(?:[ \t]++((?:[^\[\]\n]++|\[[^\[\]\n]{0,200}\])*+))?\]",
    re.IGNORECASE,
)


def resolve(text: str, site: Site) -> str:
    """Replaces all links of `text`; brackets that make no link go, those of the text stay."""
    if "[" not in text and "]" not in text:
        return text

    def shown(found: re.Match[str]) -> str:
        target, label = found[1], found[2]
        if ":" not in target and not _NO_TITLE.search(target):
            return label or target.replace("_", " ").lstrip("#").strip() or (label or "")
        return _elsewhere(found[0], target, label, site)

    for _ in range(_LEVELS):
        text, count = _LINK.subn(shown, text)
        if not count:
            break
    if "[[" in text or "]]" in text:
        text = _LEFT.sub(lambda m: _left(m, site), text)
    text = text.replace(_OPEN, "[[").replace(_CLOSE, "]]")
    return _EXTERNAL.sub(_external, text) if "//" in text or "mailto:" in text else text


_OPEN, _CLOSE = "\x10", "\x11"
"""Double brackets of the text."""


def _elsewhere(link: str, target: str, label: str | None, site: Site) -> str:
    """What a reader sees of a link whose target has a prefix or is no title."""
    if FIXED in target:
        target = target.replace(FIXED, "").replace(FIXED_END, "")
    if _NO_TITLE.search(target):
        if label is not None:
            return label
        return f"{_OPEN}{link[2:-2]}{_CLOSE}"
    prefix, colon, _ = target.partition(":")
    prefix = prefix.strip()
    if prefix and colon:
        number = site.namespace(prefix)
        if number in (FILE, CATEGORY, MEDIA) or _FILE_NAME.search(target) or (label is None and _LANGUAGE.fullmatch(prefix)):
            return gap(link)
    if label and label.strip():
        return label
    return target.strip().removeprefix(":").replace("_", " ")


def _left(found: re.Match[str], site: Site) -> str:
    """A bracket that is left over. That of a file takes the rest of its line along: it is a caption with the options of an image."""
    if found[1] is not None:
        if site.namespace(found[1]) in (FILE, CATEGORY, MEDIA):
            return gap(found[0])
        return found[0][2:].replace("]]", "")
    return ""


def _external(found: re.Match[str]) -> str:
    return (found[2] or "").strip() or GAP
