"""Whether terms, as publishers state them, allow commercial use.

Terms are free text, and the same data set often has several: a licence of the repository, a sentence in the README, the rights of those who
wrote what was scraped. The answer is the strictest of them, and none where they say nothing clear: a code licence is not one of the data,
and a repository cannot give away what belongs to the users of a web site. This is a reading of words, and no legal advice.
"""

from __future__ import annotations

import re

_FORBIDS = re.compile(
    r"non[- ]?commercial|(?<![a-z0-9])nc(?![a-z0-9])"
    r"|\b(?:no|not|never|prohibit\w*|forbid\w*|without)\b[^;.]{0,40}\bcommercial"
    r"|\bcommercial\b[^;.]{0,30}\b(?:not|prohibited|forbidden|no)\b"
    r"|\b(?:research|academic|educational?|study|evaluation)\b(?: (?:use|purposes?))?,? only\b"
    r"|\bonly for\b[^;.]{0,40}\b(?:research|academic)"
    r"|\b(?:for|: ?) ?(?:academic |scientific )?(?:research|study)\b(?![^;.]{0,40}\bcommercial)"
    r"|all rights reserved|\bproprietary\b"
    r"|非商|[禁不](?:止|得|可|能|允许|允許|许|許)[^；。]{0,8}商[用业業]"
    r"|[仅僅][供限用][^；。]{0,12}(?:研究|学习|學習|科研)"
)
_UNCLEAR = re.compile(
    r"none stated|no licen[cs]e|not stated|unknown|\bweb content\b|\buser content\b|\bscraped\b|\bother\b|(?<![a-z0-9])nd(?![a-z0-9])"
)
_ALLOWS = re.compile(
    r"\bmit\b|\bapache\b|\bcc0\b|public domain|\bunlicense\b|\bbsd\b|\bisc\b|\b[al]?gpl\b|\bgfdl\b|\bmpl\b|\bpddl\b|\bodbl\b"
    r"|\bodc[- ]by\b|\bcdla\b|\bcc[- ]by\b|\bcommercial use (?:is )?(?:allowed|permitted)|\b(?:for|and) commercial\b"
    r"|(?:允许|允許|可以?)(?:用于)?商[用业業]"
)
_CODE = re.compile(r"\(?\bcode\)?\s*\Z")


def commercial(license: str) -> bool | None:
    """Whether terms allow commercial use; None where they say nothing clear about it.

    A word that forbids it, or that confines use to research, outweighs any permissive licence named beside it. So does, for None, whatever
    says that the licence is not of the texts themselves. A licence that ends in "code" counts for nothing.

    Args:
        license: the terms as `Source.license` has them; clauses are parted by semicolons.
    """
    told = license.casefold().replace("_", "-").replace("‑", "-")
    if _FORBIDS.search(told):
        return False
    clauses = [c for c in re.split(r"[;；]", told) if not _CODE.search(c.strip())]
    if any(_UNCLEAR.search(c) for c in clauses):
        return None
    return True if any(_ALLOWS.search(c) for c in clauses) else None
