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
_BLANK = frozenset((" ", "\t"))
_LINE_STARTS = frozenset(("", "\n", "*", "#"))
_TIGHT = frozenset((" ", "", "\n")) | _SOFT | _STOPS | _CLOSERS
"""What a space does not stand before, once the brackets in between are gone."""
_LABEL = re.compile(r"(?<=[（(，,、;；])[ ]?[^\W\d_][^，,、;；:：（()）\n。]{0,24}\Z")
_LOOK_BACK = 32
_CONTEXT = 64
"""Characters on each side of a gap that are looked at: bounds the copying, however many gaps a page has."""


def mend(text: str) -> str:
    """Closes the gaps of `text`."""
    if GAP not in text:
        return text
    first, *pieces = text.split(GAP)
    out = [first[:-_CONTEXT], first[-_CONTEXT:]]
    for piece in pieces:
        _join(out, piece)
    return "".join(out)


def _join(out: list[str], piece: str) -> None:
    """Appends `piece` to `out`, with a gap between them. Looks at the end of `out` and the beginning of `piece` only."""
    left, right, rest = _tail(out, ""), piece[:_CONTEXT], piece[_CONTEXT:]
    while True:
        before, after = left.rstrip(" \t"), right.lstrip(" \t")
        last, first = before[-1:], after[:1]
        if last in _CLOSING and first == _CLOSING[last]:
            # Nothing is left in the brackets: they go, and one of the spaces around them.
            left, right = before[:-1], after[1:]
            if left[-1:] in _BLANK and right[:1] in _TIGHT:
                left = left.rstrip(" \t")
        elif last in _CLOSING and first in _SOFT:
            left, right = before, after[1:].lstrip(" \t")
        elif last in _SOFT and (first in _BRACKET_CLOSERS or first in _SEPARATORS or first in _STOPS):
            left = _without_label(before[:-1]) if last in "：:" else before[:-1]
            right = after
        elif first in _SOFT and last in _LINE_STARTS:
            left, right = before, after[1:].lstrip(" \t") if last in ("", "\n") else " " + after[1:].lstrip(" \t")
        else:
            break
        left = _tail(out, left)
    if (
        left[-1:] in _BLANK
        and last not in _LINE_STARTS
        and (first in _SOFT or first in _STOPS or first in _BRACKET_CLOSERS or right[:1] in _BLANK)
    ):
        left = before
    if last in _CLOSING and last not in "“‘":
        right = after
    out += (left, right) if not rest else (left, right + rest[:-_CONTEXT], rest[-_CONTEXT:])


def _tail(out: list[str], left: str) -> str:
    """Takes from the end of `out` what there is to be seen before `left`, up to some characters; returns it with `left`."""
    while len(left) < _LOOK_BACK and out:
        before = out.pop()
        if len(before) > 2 * _CONTEXT:
            out.append(before[:-_CONTEXT])
            before = before[-_CONTEXT:]
        left = before + left
    return left


def _without_label(text: str) -> str:
    """Without the label whose colon stood at the end, within brackets: of `（英语` remains `（`."""
    tail = text[-_LOOK_BACK:]
    found = _LABEL.search(tail)
    if found is None or LIFTED_END in found[0]:
        return text
    kept = text[: len(text) - len(found[0])]
    return kept.rstrip(" \t")
