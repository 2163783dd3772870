"""Cleaning rules: columns of strings in, columns of strings out.

Each rule is a named, idempotent function over a polars Series of strings. White space that carries meaning (indentation, blank lines
between paragraphs, spaces between English words, U+3000 at the start of a Chinese paragraph) is left alone.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import polars as pl

RULE_NAMES = ("line_ends", "controls", "trim")
"""Names of all rules, in the order in which they make sense."""


def line_ends(texts: pl.Series) -> pl.Series:
    """CRLF and CR become LF."""
    return texts.str.replace_all("\r\n", "\n", literal=True).str.replace_all("\r", "\n", literal=True)


def controls(texts: pl.Series) -> pl.Series:
    """Removes control characters (except tab and line feed) and byte order marks inside text."""
    return texts.str.replace_all("[\\x00-\\x08\\x0b\\x0c\\x0e-\\x1f\\x7f\ufeff]", "")


def trim(texts: pl.Series) -> pl.Series:
    """Removes blank lines at the beginning and white space at the end.

    One or two leading blanks (hh-rlhf answers start with one) go as well; a deeper indentation of the first line stays, because
    it may be code.
    """
    return (
        texts.str.replace(r"\A(?:[ \t\u3000\u00a0]*\n)+", "")
        .str.replace(r"\A[ \u00a0]{1,2}([^ \t\u00a0]|\z)", "$1")
        .str.replace(r"\s+\z", "")
    )


def rules(names: tuple[str, ...]) -> list[tuple[str, Callable[[pl.Series], pl.Series]]]:
    """The rules with these names, in the order given."""
    known = {"line_ends": line_ends, "controls": controls, "trim": trim}
    return [(name, known[name]) for name in names]


def fold(texts: pl.Series) -> pl.Series:
    """Folds texts for comparison: lower case, no white space. Never written to a split."""
    return texts.str.to_lowercase().str.replace_all(r"\s+", "")
