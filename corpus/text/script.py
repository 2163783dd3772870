"""Which Chinese script a text is written in.

`hans` (simplified), `hant` (traditional) or `mixed`, told by the characters that exist in one script alone (see `scripts`). A
script that makes up less than one in ten of these does not count: a simplified text may spell a name from Hong Kong. A text
whose Han characters both scripts share (`一二三`, `你好`) is `hans`: it is simplified Chinese as it stands, and converting it would
change nothing. Null: a text without Han, or one that is Japanese or Korean more than Chinese.
"""

from __future__ import annotations

import numpy as np
import polars as pl

from corpus.text.columns import WORDS
from corpus.text.units import Units, units

SCRIPTS = WORDS["script"]
MINORITY = 10
"""The other script counts when it has two or more characters, and at least one in so many of those that belong to one script alone."""


def scripts(texts: pl.Series) -> pl.Series:
    """The script of every text: an Enum of `SCRIPTS`, null where it is none of them."""
    return scripts_of(units(texts))


def scripts_of(found: Units) -> pl.Series:
    """The same for texts whose units have been counted."""
    code = lean(found.simplified, found.traditional)
    chinese = (found.han > 0) & (found.han > found.japanese + found.hangul)
    code[~chinese] = len(SCRIPTS)
    return pl.Series("script", [*SCRIPTS, None], dtype=pl.Enum(SCRIPTS)).gather(code)


def lean(simplified: np.ndarray, traditional: np.ndarray) -> np.ndarray:
    """The script of Chinese texts by their characters of one script alone: int64, positions in `SCRIPTS`."""
    less = np.minimum(simplified, traditional)
    mixed = (less > 1) & (less * MINORITY >= simplified + traditional)
    return np.where(mixed, 2, np.where(traditional > simplified, 1, 0))
