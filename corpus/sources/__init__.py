"""The registry: every data set that Yuliao reads, by name, and which file of a data folder belongs to which."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from corpus.errors import RecipeError, nearest
from corpus.sources import (
    adopted,
    alpaca,
    belle,
    chinese,
    extraction,
    generic,
    hh,
    instructionwild,
    medical,
    medical_exams,
    mixtures,
    moss,
    oasst,
    pclue,
    preferences,
    prompts,
    qa_zh,
    sharegpt,
    webtext,
    wiki,
)
from corpus.sources.base import Source

_MODULES = (
    belle, pclue, instructionwild, hh, wiki, medical, medical_exams, alpaca, chinese, mixtures, sharegpt, oasst, moss, preferences, qa_zh,
    prompts, extraction, webtext,
)  # fmt: skip


def registry() -> dict[str, Source]:
    """All sources by name, family by family."""
    return {source.name: source for module in _MODULES for source in module.SOURCES}


def resolve(name: str, own: Mapping[str, Any] | None = None) -> Source:
    """The source called `name`: of the registry, that of what `corpus adopt` took in, or a user's own as its recipe declares it (`own`:
    files, shape, fields, license, about).

    Sources hold functions and cannot be sent to another process; their declarations can.
    """
    if own is not None:
        return generic.generic_source(name, **own)
    if name == adopted.NAME:
        return adopted.SOURCE
    return get(name, registry())


def get(name: str, sources: dict[str, Source]) -> Source:
    """The source called `name`.

    Raises:
        RecipeError: when there is none, with the nearest name.
    """
    if name not in sources:
        raise RecipeError(f"there is no source {name!r}{nearest(name, sources)} (`corpus sources` lists all)")
    return sources[name]


def claim(path: str, sources: Iterable[Source]) -> Source | None:
    """The source that a relative path belongs to: the one with the most specific matching pattern; ties go to the earlier one."""
    best: tuple[tuple[int, int], Source] | None = None
    for source in sources:
        found = source.match(path)
        if found is not None and (best is None or found.weight > best[0]):
            best = (found.weight, source)
    return best[1] if best else None
