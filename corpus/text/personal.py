"""Personal data in texts: e-mail addresses, telephone numbers, Chinese identity numbers, bank cards, IP addresses.

Chat data is full of numbers that look like these and are none: orders, parcels, ISBNs, versions, dates, sums. So every kind is checked by
what its issuer guarantees (check digits, dates, regions, area codes, number plans, address ranges), must not be part of a longer number
or word, and gives way to a word before it that says what the number is instead (`订单号`, `QQ`, `version`).

Not personal, and not found: documentation addresses and names (RFC 2606, RFC 5737), private, loopback and other addresses that are not
routed, numbers that anybody may call (400 and 800 lines, 95xxx, North American toll-free), test card numbers made of one or two digits.
A kernel selects the texts that can hold a hit; only these are searched in Python.
"""

from __future__ import annotations

import numpy as np
import polars as pl
from numba import njit

from corpus.text import characters as c
from corpus.text.identifiers import Hit, addresses, emails, numbers
from corpus.text.marks import utf8
from corpus.text.rules import Rule
from corpus.text.settings import PERSONAL, TextSettings


def find(text: str) -> list[Hit]:
    """All personal data in a text, in order of position; hits do not overlap."""
    hits = []
    taken = bytearray(len(text))
    for search in (emails, addresses, numbers):  # of two that overlap, the surer one counts
        for hit in search(text):
            if not any(taken[hit.start : hit.end]):
                taken[hit.start : hit.end] = b"\x01" * (hit.end - hit.start)
                hits.append(hit)
    return sorted(hits, key=lambda hit: hit.start)


def counts(texts: pl.Series, at: np.ndarray | None = None) -> dict[str, np.ndarray]:
    """How much personal data of every kind there is in every text (none null): int32.

    Args:
        texts: the texts.
        at: their `suspects`, where the caller has them.
    """
    out = {kind: np.zeros(len(texts), dtype=np.int32) for kind in PERSONAL}
    at = suspects(*utf8(texts)) if at is None else at
    for i, text in zip(at.tolist(), texts.gather(at).to_list(), strict=True):
        for hit in find(text):
            out[hit.kind][i] += 1
    return out


def mask(texts: pl.Series, settings: TextSettings) -> pl.Series:
    """Replaces personal data of the kinds in `settings.mask` by `<email>`, `<phone>`, `<id_number>`, `<bank_card>`, `<ip>`."""
    wanted = frozenset(settings.mask)
    at = suspects(*utf8(texts))
    masked = [_masked(text, wanted) for text in texts.gather(at).to_list()]
    return texts.clone().scatter(at, pl.Series(masked, dtype=pl.String)) if len(at) else texts  # scatter changes its series


_ROUNDS = 16
"""Rounds of masking: a chain of addresses between slashes shows one more in each, and 60,000 rounds over a megabyte would take a day."""


def _masked(text: str, kinds: frozenset[str]) -> str:
    for _ in range(_ROUNDS):  # again: without one number its neighbour may be another
        hits = [hit for hit in find(text) if hit.kind in kinds]
        if not hits:
            break
        pieces, end = [], 0
        for hit in hits:
            pieces += [text[end : hit.start], f"<{hit.kind}>"]
            end = hit.end
        text = "".join(pieces) + text[end:]
    return text


def suspects(offsets: np.ndarray, data: np.ndarray) -> np.ndarray:
    """The positions (int64, ascending) of the texts, given as by `marks.utf8`, that can hold personal data. Python reads no others."""
    return np.flatnonzero(_suspects(offsets, data))


_LOOK = np.zeros(256, dtype=np.bool_)
_LOOK[[*b"0123456789@:"]] = True


@njit(cache=True, nogil=True)
def _suspects(offsets: np.ndarray, data: np.ndarray) -> np.ndarray:
    """True where a text has an @ behind ASCII, 7 digits or 4 numbers with at most 3 signs between two, `::` near a digit or 7 colons."""
    out = np.zeros(len(offsets) - 1, dtype=np.bool_)
    for i in range(len(out)):
        begin, end = offsets[i], offsets[i + 1]
        colons, last = 0, begin
        at = begin
        while at < end:
            byte = data[at]
            if not _LOOK[byte]:
                at += 1
                continue
            if byte == 64:
                if at > begin and 32 < data[at - 1] < 128:
                    out[i] = True
                    break
            elif byte == 58:
                colons = colons + 1 if at - last <= 5 else 1
                last = at
                if colons >= 7:
                    out[i] = True
                    break
                if at + 1 < end and data[at + 1] == 58:
                    near = False
                    for k in range(max(begin, at - 5), min(end, at + 7)):
                        near |= 48 <= data[k] <= 57
                    if near:
                        out[i] = True
                        break
            else:
                digits = between = dots = 0
                while at < end:
                    byte = data[at]
                    if 48 <= byte <= 57:
                        digits += 1
                        between = 0
                    elif between < 3 and (byte == 32 or byte == 40 or byte == 41 or byte == 45 or byte == 46):
                        between += 1
                        dots += byte == 46
                    else:
                        break
                    at += 1
                if digits >= 7 or (dots >= 3 and digits >= 4):
                    out[i] = True
                    break
                continue
            at += 1
    return out


RULES = (
    Rule(
        "mask",
        "personal data of the kinds that the recipe names becomes the name of its kind in angle brackets",
        mask,
        c.AT | c.DIGIT | c.COLON,
        lambda settings: bool(settings.mask),
    ),
)
