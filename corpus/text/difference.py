"""What differs between two texts, in a line: `the same [-only in the first-]{+only in the second+} the same`, as Git shows words.

For people who want to see why two rows count as near: so it is short, words stay whole, Han characters stand alone, and of what is the
same only the surroundings of a difference are shown.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterator
from difflib import SequenceMatcher
from itertools import islice, zip_longest

_TOKENS = re.compile(r"[^\W\d_\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff\U00020000-\U000323af]+|\d+|\s+|.", re.DOTALL)
_COMPARED = 1500
"""Tokens of each text that are compared after the first difference: comparing takes time that grows with their square."""


def difference(one: str, other: str, *, around: int = 16, most: int = 400) -> str:
    """What differs between two texts; white space counts as one blank.

    Args:
        one: the first text.
        other: the second.
        around: tokens of the surroundings of a difference that are shown.
        most: characters of the result; what is more is cut, with an ellipsis.

    Returns:
        "" for texts that are the same but for white space.
    """
    # Texts may be long: no more of them is taken apart than is shown.
    before: deque[str] = deque(maxlen=around)
    start = False
    tails = _tokens(one), _tokens(other)
    for x, y in zip_longest(*tails):
        if x != y:
            break
        start |= len(before) == around
        before.append(x)
    else:
        return ""
    a, b = ([*before, *([first] if first is not None else []), *islice(tail, _COMPARED)] for first, tail in zip((x, y), tails, strict=True))
    cut = max(len(a), len(b)) > _COMPARED + len(before)
    pieces = ["…"] if start else []
    steps = SequenceMatcher(None, a, b, autojunk=False).get_opcodes()
    for number, (kind, a1, a2, b1, b2) in enumerate(steps):
        if kind == "equal":
            tail = 0 if number == 0 else around
            lead = 0 if number == len(steps) - 1 else around
            same = a[a1:a2]
            pieces += same if len(same) <= tail + lead else [*same[:tail], "…", *(same[len(same) - lead :] if lead else [])]
            continue
        pieces.append(_marked("[-", a[a1:a2], "-]", most) + _marked("{+", b[b1:b2], "+}", most))
    told = "".join([*pieces, "…"] if cut and pieces[-1] != "…" else pieces)
    return told if len(told) <= most else told[: most - 1] + "…"


def _marked(before: str, tokens: list[str], after: str, most: int) -> str:
    text = "".join(tokens)
    if len(text) > most // 4:
        text = text[: most // 4] + "…"
    return f"{before}{text}{after}" if text else ""


def _tokens(text: str) -> Iterator[str]:
    found = (token[0] for token in _TOKENS.finditer(text.strip()))
    return (" " if token.isspace() else token for token in found)
