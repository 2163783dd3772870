"""Mends the text around what was dropped: `（；）`, `，，`, double spaces, a label with nothing behind it.

Only gaps are looked at. The same characters elsewhere are the author's, who may well write of `()`.
"""

from __future__ import annotations

import re

from corpus.text.wiki.marks import GAP, LIFTED_END

_CLOSING = {
    "（": "）",
    "(": ")",
    "[": "]",
    "［": "］",
    "【": "】",
    "「": "」",
    "『": "』",
    "《": "》",
    "〈": "〉",
    "“": "”",
    "‘": "’",
    "〔": "〕",
}
_CLOSERS = frozenset(_CLOSING.values())
_BRACKET_CLOSERS = frozenset("）)]］】〕")
_SEPARATORS = frozenset("，,、;；:：·/–—")
_SOFT = frozenset("，,、;；:：")
_STOPS = frozenset("。.！!？?")
_LABEL = re.compile(r"(?<=[（(，,、;；])[ ]?[^\W\d_][^，,、;；:：（()）\n。]{0,24}\Z")
_LOOK_BACK = 32


def mend(text: str) -> str:
    """Closes the gaps of `text`."""
    if GAP not in text:
        return text
    pieces = text.split(GAP)
    out = [pieces[0]]
    for piece in pieces[1:]:
        _join(out, piece)
    return "".join(out)


def _join(out: list[str], right: str) -> None:
    """Appends `right` to `out`, with a gap between them."""
    while len(out) > 1 and not out[-1]:
        out.pop()
    left = out[-1]
    while True:
        l_text, r_text = left.rstrip(" \t"), right.lstrip(" \t")
        l_char, r_char = l_text[-1:], r_text[:1]
        if l_char in _CLOSING and r_char == _CLOSING[l_char]:
            # Nothing is left in the brackets: they go, and at most one of the spaces around them.
            left, right = l_text[:-1], r_text[1:]
            if left.endswith((" ", "\t")) and right[:1] in (" ", "", "\n", *_SOFT, *_STOPS, *_CLOSERS):
                left = left.rstrip(" \t")
            if out[-1] != left and len(left) == 0 and len(out) > 1:
                out.pop()
                left = out[-1] + left
            continue
        if l_char in _CLOSING and r_char in _SOFT:
            left, right = l_text, r_text[1:].lstrip(" \t")
            continue
        if l_char in _SOFT and (r_char in _BRACKET_CLOSERS or r_char in _SEPARATORS or (r_char in _STOPS and r_char)):
            left = _without_label(l_text[:-1]) if l_char in ":：" else l_text[:-1]
            right = r_text
            if left.endswith(tuple(_CLOSING)) and right[:1] in _SOFT:
                right = right[1:].lstrip(" \t")
            continue
        if r_char in _SOFT and (not l_text or l_char in "\n*#"):
            right = r_text[1:].lstrip(" \t")
            if l_char in "*#":
                right = " " + right
            continue
        break
    if (
        left.endswith((" ", "\t"))
        and (right[:1] in (" ", "\t") or r_char in _SOFT or r_char in _STOPS or r_char in _BRACKET_CLOSERS)
        and r_char
    ):
        left = left.rstrip(" \t") if l_char not in ("*", "#", "", "\n") else left
    if l_char in _CLOSING and l_char not in "“‘":
        right = right.lstrip(" \t")
    out[-1] = left
    out.append(right)


def _without_label(text: str) -> str:
    """Without the label whose colon stood at the end, within brackets: of `（英语` remains `（`."""
    tail = text[-_LOOK_BACK:]
    found = _LABEL.search(tail)
    if found is None or LIFTED_END in found[0]:
        return text
    kept = text[: len(text) - len(found[0])]
    return kept.rstrip(" \t")
