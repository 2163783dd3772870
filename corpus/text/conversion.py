"""The rule `script`: Chinese text into the script that the recipe asks for.

OpenCC converts; what it may touch is decided here, for every text by itself:

- Japanese stays: a text that is Japanese more than Chinese as it is, and in a Chinese text every run with kana (see `units`).
- Code, addresses and whatever else `protect.pieces` protects stay, tables aside.
- A text of the other script, or of both, is converted. In a text that is in the wanted script already, only the characters that
  exist in the other script alone are: a stray 愛 becomes 爱, and nothing that is right already can go wrong (范先生 in a traditional
  text does not become 範先生).
- Nothing but Han characters changes, whatever OpenCC says.

So afterwards no character of the other script is left outside of what stays, and a second pass finds nothing to do.

Texts are joined, converted in one call (a third faster than one by one) and cut by position: conversion of characters keeps their
number. Where it did not, the characters are converted one by one. OpenCC reads up to U+0000 in some conversions, so that one is
hidden from it.
"""

from __future__ import annotations

import numpy as np
import polars as pl
from numba import njit

from corpus.text import characters as c
from corpus.text.protect import outside
from corpus.text.rules import Rule
from corpus.text.script import SCRIPTS, lean
from corpus.text.scripts import SIMPLIFIED, TO_SIMPLIFIED, TO_TRADITIONAL, TRADITIONAL, converter, single
from corpus.text.settings import TextSettings
from corpus.text.units import HAN, JAPANESE_SHARE, KANA, KIND, kinds_of_characters, units

_BATCH = 1 << 20
"""Bytes converted at a time."""


def script(texts: pl.Series, settings: TextSettings) -> pl.Series:
    """Chinese text becomes simplified or traditional, as `settings.script` says."""
    if settings.script == "keep":
        return texts
    simplified = settings.script == "simplified"
    found = units(texts)
    at = np.flatnonzero((found.traditional if simplified else found.simplified) > 0)
    if not len(at):
        return texts
    return texts.clone().scatter(at, outside(texts.gather(at), lambda free: _convert(free, simplified), tables=False))


RULES = (Rule("script", "Chinese text in the other script is converted", script, c.HAN, lambda settings: settings.script != "keep"),)


def _convert(texts: pl.Series, simplified: bool) -> pl.Series:
    """Converts texts to simplified or else to traditional script."""
    name, unwanted = (TO_SIMPLIFIED, TRADITIONAL) if simplified else (TO_TRADITIONAL, SIMPLIFIED)
    found = units(texts)
    other = found.traditional if simplified else found.simplified
    at = np.flatnonzero((other > 0) & (found.han > found.japanese + found.hangul))
    if not len(at):
        return texts
    whole = (lean(found.simplified, found.traditional) != SCRIPTS.index("hans" if simplified else "hant"))[at]
    chosen = texts.gather(at)
    batches = np.cumsum(chosen.str.len_bytes().to_numpy().astype(np.int64)) // _BATCH
    out: list[str] = []
    for batch in np.unique(batches):
        mine = np.flatnonzero(batches == batch)
        out += _convert_batch(chosen.gather(mine).to_list(), whole[mine], name, unwanted)
    return texts.clone().scatter(at, pl.Series(out, dtype=pl.String))


def _convert_batch(texts: list[str], whole: np.ndarray, name: str, unwanted: int) -> list[str]:
    """Converts a few texts in one call."""
    joined = "\n".join(texts)
    before = _codes(joined)
    table = single(name)
    after = _codes(converter(name).convert(joined.replace("\0", "\x1f")))
    if len(after) != len(before):
        after = table[before]
    ends = np.cumsum([len(text) + 1 for text in texts])
    _keep(before, after, ends, whole, kinds_of_characters(), table, unwanted)
    converted = after.tobytes().decode("utf-32-le")
    return [converted[start:end] for start, end in zip([0, *ends.tolist()], (ends - 1).tolist(), strict=False)]


def _codes(text: str) -> np.ndarray:
    return np.frombuffer(bytearray(text.encode("utf-32-le")), dtype=np.uint32)


@njit(cache=True, nogil=True)
def _keep(
    before: np.ndarray, after: np.ndarray, ends: np.ndarray, whole: np.ndarray, kinds: np.ndarray, table: np.ndarray, unwanted: int
) -> None:
    """Takes back, in `after`, what the converter changed and must stay.

    Args:
        before: code points of the joined texts.
        after: the same converted, as many.
        ends: where the next text begins, for every text; one line feed stands before it.
        whole: for every text, whether all of it is converted, or only the characters that are `unwanted`.
        kinds: what every character is.
        table: what every character alone is converted to.
        unwanted: the bit in `kinds` of the characters that must not be left.
    """
    start = 0
    for i in range(len(ends)):
        run = start
        kana = 0
        for j in range(start, ends[i]):
            kind = kinds[before[j]] & KIND if j < len(before) else 0
            if kind == HAN:
                if not whole[i] and not kinds[before[j]] & unwanted:
                    after[j] = before[j]
                if (after[j] >= 0x20000 or 0x3400 <= after[j] < 0x4DC0) and before[j] < 0x20000:
                    after[j] = before[j]
                if kinds[after[j]] & unwanted:  # a slip in a dictionary: 不可貲計 becomes 不可赀計
                    after[j] = table[after[j]]
                continue
            if j < len(before):
                after[j] = before[j]
            if kind == KANA:
                kana += 1
                continue
            if kana and kana * JAPANESE_SHARE >= j - run:
                after[run:j] = before[run:j]
            run = j + 1
            kana = 0
        start = ends[i]
