"""Which language a text is in: `zh`, `en`, `mixed` or `other`.

The scripts decide most texts. A Han character is one unit and a word of letters is one (see `units`); what has half of all
units, or less than one in ten, is clear. In between, a Chinese text that uses English words is Chinese, and one that holds
English sentences (a translation with its source) is mixed: function words tell sentences from words. Latin words are English or
not by the commonest words of each, and only the lines without enough of them (names, headings, lists) go to a detector, CLD2,
which sees about one English line in twenty and no longer text. It is compiled in, offline and deterministic, and was the best
of three on just these lines: 12 µs each and 93 % right, against 85 µs and 64 % of English ones for py3langid; lingua took 3,300
µs and 1.3 GB for 83 %.

Code has no language of its own to be told, and its words are English: a text of nothing but code is `en`; beside Chinese, code
counts for nothing, so that a question in Chinese with an answer in Python is `zh`. Null: texts without words (numbers, formulas
of single letters).
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import polars as pl
import pycld2

from corpus.text.columns import WORDS
from corpus.text.units import Units, units

LANGUAGES = WORDS["language"]
_ZH, _EN, _MIXED, _OTHER, _NONE, _ASK = range(6)
_READ = 1000
"""Characters that the detector reads."""


def languages(texts: pl.Series) -> pl.Series:
    """The language of every text: an Enum of `LANGUAGES`, null where a text has no words."""
    return languages_of(units(texts), texts.gather)


def languages_of(found: Units, texts: Callable[[np.ndarray], pl.Series]) -> pl.Series:
    """The same where the units have been counted; `texts` gives the texts at some positions, for the detector."""
    code = _decide(found)
    ask = np.flatnonzero(code == _ASK)
    if len(ask):
        code[ask] = np.where(_english(texts(ask)), _EN, _OTHER)
    return pl.Series("language", [*LANGUAGES, None], dtype=pl.Enum(LANGUAGES)).gather(code)


def _decide(u: Units) -> np.ndarray:
    """What the counts say: int64[texts], with `_ASK` where the detector has to."""
    foreign = u.japanese + u.hangul + u.others
    # Where every other Latin word touches the signs of code, the others are code as well.
    words = np.where((u.code >= u.words) & (u.han + foreign > 0), 0, u.words)
    total = u.han + foreign + words
    strange = u.foreign + u.accented
    english = (
        (u.english * 5 >= words) & (u.english > 2 * strange)
        | (strange == 0) & (u.english > 0) & (u.english * 10 >= words)
        | (u.code >= words)
    )
    stranger = (strange * 5 >= words) & (strange > 2 * u.english) | (u.english == 0) & (strange > 0)
    two = (words >= 16) & (u.english * 6 >= words) & (strange * 6 >= words)
    latin = np.select([two, english, stranger], [_MIXED, _EN, _OTHER], _ASK)
    sentences = (u.english * 5 >= words) & (u.english > 1) | (words * 2 >= total)
    return np.select(
        [
            total == 0,
            (foreign * 2 >= total) | (foreign * 4 >= total) & (u.han * 10 < total) & (latin == _OTHER),
            foreign * 4 >= total,
            u.han * 10 < total,
            (words * 10 >= total) & sentences,
        ],
        [np.where(u.code > 0, _EN, _NONE), _OTHER, _MIXED, latin, _MIXED],
        _ZH,
    )


def _english(texts: pl.Series) -> np.ndarray:
    """Whether the detector takes a text for English, or cannot tell: what is neither is mostly a list of names, and English by its
    surroundings."""
    letters = texts.str.slice(0, _READ).str.replace_all(r"[^\p{Latin}']+", " ")
    return np.array([_ask(text) in ("en", "un") for text in letters], dtype=bool)


def _ask(letters: str) -> str:
    try:
        return str(pycld2.detect(letters, bestEffort=True)[2][0][1])
    except pycld2.error:  # characters that CLD2's own, older Unicode does not have
        return "un"
