"""What all stages share: the context they plan in, and the parts of a fingerprint."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from hashlib import blake2b
from importlib.metadata import version
from pathlib import Path
from typing import Any

from corpus.recipe import Key, Recipe
from corpus.schema import Table
from corpus.sources.base import Source
from corpus.text.settings import Traits
from corpus.warehouse.inputs import InputIndex


@dataclass(frozen=True, slots=True)
class UpstreamFile:
    """A file of the data folder that belongs to a source of the recipe.

    `fault` is (reason, detail) for what should be a file and is not: a folder, a link out of the data folder. It is never opened,
    and becomes a reject with that reason.
    """

    source: Source
    name: str
    path: Path
    fault: tuple[str, str] | None = None


@dataclass(frozen=True, slots=True)
class Context:
    """What stages plan from. `priority` and `sources` cover exactly the sources of the recipe that have files;
    `own` declares those that are a user's own (see `corpus.sources.resolve`); `traits` is what is known of their texts; `keys` is what
    of their rows is compared; `protected` are evaluation sets. `barred` has the terms of those sources of which the recipe takes no row
    because of its `license`. `missing` has the sources that the recipe names and of which
    nothing was found, with how to get them. `judged` is the file in which the last build of the recipe remembered what it judged: it
    saves work and changes nothing."""

    recipe: Recipe
    sources: Mapping[str, Source]
    priority: Mapping[str, int]
    own: Mapping[str, Mapping[str, Any]]
    traits: Mapping[str, Traits]
    files: tuple[UpstreamFile, ...]
    index: InputIndex
    keys: Mapping[str, Key] = field(default_factory=dict)
    most_near: Mapping[str, float] = field(default_factory=dict)
    protected: frozenset[str] = frozenset()
    barred: Mapping[str, str] = field(default_factory=dict)
    missing: Mapping[str, str] = field(default_factory=dict)
    judged: Mapping[str, Any] | None = None

    @property
    def folder(self) -> str:
        """The folder of a layer that belongs to this recipe alone."""
        return self.recipe.name


@cache
def _installed(name: str) -> str:
    return version(name)  # reads a file of the distribution: a millisecond each time, for every task


def libraries(*names: str) -> dict[str, str]:
    """Installed versions of the libraries whose version can change a partition's bytes."""
    return {name: _installed(name) for name in names}


def parts(
    stage: str, number: int, *, inputs: Mapping[str, Any], writes: tuple[Table, ...], libs: tuple[str, ...] = ("pyarrow",), **settings: Any
) -> dict[str, Any]:
    """The parts of a fingerprint: `inputs` are fingerprints or digests by name, `settings` the part of the recipe that matters.

    The schemas of the tables that a stage writes are among the parts, so that a changed contract can never meet old files.
    """
    schemas = {t.name: blake2b(str(t.schema).encode(), digest_size=8).hexdigest() for t in writes}
    return {"stage": stage, "version": number, "libraries": libraries(*libs), "schemas": schemas, "inputs": dict(inputs), **settings}
