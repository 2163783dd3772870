"""Which Chinese script a text is written in.

`hans` (simplified), `hant` (traditional) or `mixed`, told by the characters that exist in one script alone (see `scripts`). A script that makes up less than
one in ten of these does not count: a simplified text may spell a name from Hong Kong. A text whose Han characters both scripts share (`一二三`, `你好`) is `hans`:
it is simplified Chinese as it stands, and converting it would change nothing. Null: a text without Han, or one that is Japanese or Korean more than Chinese.
"""

from __future__ import annotations

import numpy as np
import polars as pl

from corpus.text.units import Units, units

SCRIPTS = ("hans", "hant", "mixed")
MINORITY = 10
"""The other script counts when it has at least one in so many of the characters that belong to one script alone."""


def scripts(texts: pl.Series) -> pl.Series:
    """The script of every text: an Enum of `SCRIPTS`, null where it is none of them."""
    return scripts_of(units(texts))


def scripts_of(found: Units) -> pl.Series:
    """The same for texts whose units have been counted."""
    both = found.simplified + found.traditional
    less = np.minimum(found.simplified, found.traditional)
    code = np.where(found.traditional > found.simplified, 1, 0)
    code = np.where((less * MINORITY >= both) & (less > 0), 2, code)
    chinese = (found.han > 0) & (found.han >= found.japanese + found.hangul)
    return pl.Series("script", np.array(SCRIPTS)[code]).set(~pl.Series(chinese), None).cast(pl.Enum(SCRIPTS))
