"""HTML tags, quotes and switches within prose."""

from __future__ import annotations

import re

from corpus.text.wiki import numbers

_SMALL = re.compile(r"<(su[pb])\b[^<>]*+>([^<>\n]{1,60})</\1[ \t]*+>", re.IGNORECASE)
_NOTE_OF_RUBY = re.compile(r"<rp\b[^<>]*+>[^<>]{0,8}</rp[ \t]*+>", re.IGNORECASE)
_RUBY = re.compile(r"<rt\b[^<>]*+>([^<>]{0,80})</rt[ \t]*+>", re.IGNORECASE)
_BREAK = re.compile(r"<(?:br|hr)\b[^<>]*+>\n?|</br[ \t]*+>\n?", re.IGNORECASE)
_BLOCK = re.compile(
    r"</?(?:p|div|blockquote|center|table|tbody|thead|tr|ul|ol|dl|dt|dd|h[1-6]|caption|section|article|poem)\b[^<>]*+>", re.IGNORECASE
)
_ITEM = re.compile(r"<li\b[^<>]*+>[ \t]*+", re.IGNORECASE)
_CODE = re.compile(r"</?code\b[^<>]*+>", re.IGNORECASE)
_TAG = re.compile(
    r"</?(?:abbr|b|bdi|bdo|big|cite|code|data|del|dfn|em|font|gallery|i|includeonly|ins|kbd|li|link|mark|math|meta|noinclude|nowiki|onlyinclude|pre|q|"
    r"rb|rbc|rtc|ref|references|rp|rt|ruby|s|samp|small|source|span|strike|strong|sub|sup|syntaxhighlight|td|templatestyles|th|time|timeline|tt|u|var|"
    r"wbr|chem|ce|dynamicpagelist|section|translate|tvar|languages)\b[^<>]*+>",
    re.IGNORECASE,
)
_COMMENT_MARK = re.compile(r"<!--|-->")
_QUOTES = re.compile(r"'{2,}")
_SWITCH = re.compile(
    r"__(?:NOTOC|FORCETOC|TOC|NOEDITSECTION|NEWSECTIONLINK|NONEWSECTIONLINK|NOGALLERY|HIDDENCAT|EXPECTUNUSEDCATEGORY|NOCONTENTCONVERT|NOCC|NOTITLECONVERT|"
    r"NOTC|INDEX|NOINDEX|STATICREDIRECT|DISAMBIG|ARCHIVEDTALK|NOTALK|EXPECTED_UNCONNECTED_PAGE|无目录|無目錄|强显目录|強顯目錄|目录|目錄|不转换|不轉換|"
    r"不转换标题|不轉換標題|不转换内容|不轉換內容|无编辑段落|無編輯段落|新段落链接|新段落連結)__",
    re.IGNORECASE,
)


def tags(text: str) -> str:
    """Without the tags that wikis allow: block tags break the line, `H<sub>2</sub>O` becomes H₂O. Other tags are text."""
    if "<" not in text:
        return text
    if "<su" in text or "<SU" in text:
        text = _SMALL.sub(_small, text)
    if "<rt" in text:
        text = _RUBY.sub(r"（\1）", _NOTE_OF_RUBY.sub("", text))
    text = _ITEM.sub("\n* ", _BREAK.sub("\n", text))
    text = _BLOCK.sub("\n", _CODE.sub("`", text))
    return _COMMENT_MARK.sub("", _TAG.sub("", text))


def _small(found: re.Match[str]) -> str:
    return numbers.raised(found[2]) if found[1].lower() == "sup" else numbers.lowered(found[2])


def quotes(text: str) -> str:
    """Without bold and italic marks and switches (`__NOTOC__`)."""
    if "''" in text:
        text = _QUOTES.sub(_quotes, text)
    return _SWITCH.sub("", text) if "__" in text else text


def _quotes(found: re.Match[str]) -> str:
    """Apostrophes that are not marks: two, three and five in a row are (italic, bold, both); any more are apostrophes before these."""
    count = len(found[0])
    return "'" * (1 if count == 4 else max(0, count - 5))
