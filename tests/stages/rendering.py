"""Clean partitions with their assignment, for the stages that come after allocation: made here row by row, without the line before."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from hashlib import blake2b
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from corpus.executors.local import LocalExecutor
from corpus.executors.task import Task
from corpus.recipe import Recipe
from corpus.schema import ASSIGNED, CLEAN, MEASURED
from corpus.sources.generic import generic_source
from corpus.stages import cards, render, shards
from corpus.stages.base import Context
from corpus.warehouse.commit import PartitionWriter, write_table
from corpus.warehouse.inputs import InputIndex
from corpus.warehouse.manifest import Partition
from tests.conftest import hashes

FILLER = {"license": "MIT", "file": "f", "record": 0, "row_key": b"\0" * 16, "prompt_key": b"\0" * 16, "opening_key": b"\0" * 16}


@dataclass
class Row:
    """A clean row, and where it goes: (split, part, start, copies) as often as it is assigned."""

    name: str
    content: dict[str, Any]
    places: list[tuple[str, str, int, int]] = field(default_factory=list)
    source: str = "one"
    language: str = "en"

    @property
    def row_id(self) -> str:
        return blake2b(self.name.encode(), digest_size=16).hexdigest()


def turns(*contents: str, system: str | None = None) -> list[dict[str, str]]:
    said = [{"role": ("user", "assistant")[n % 2], "content": c} for n, c in enumerate(contents)]
    return [*([{"role": "system", "content": system}] if system is not None else []), *said]


def dialogue(name: str, *places: tuple[str, str, int, int], words: int = 3, **more: Any) -> Row:
    content = {"kind": "dialogue", "messages": turns(f"What is {name}?", f"It is {name}. " + "words " * words)}
    return Row(name, content, list(places), **more)


def recipe_of(**more: Any) -> Recipe:
    told = {"name": "r", "seed": 5, "sources": ["one", "two"], "splits": {"sft": {}, "tokenizer": {"shared": True}}}
    return Recipe.model_validate({**told, **more})


def context_of(root: Path, recipe: Recipe, **own: dict[str, str]) -> Context:
    """A context with the sources one and two; `own` has what is told of them."""
    sources = {
        name: generic_source(name, files=("x.json",), shape="auto", fields={}, **{"license": "MIT", "about": "", **own.get(name, {})})
        for name in ("one", "two")
    }
    return Context(recipe, sources, dict.fromkeys(sources, 100), {}, {}, (), InputIndex(root))


def cleaned(root: Path, partitions: list[list[Row]], *, group: int = 7) -> tuple[list[Partition], Partition]:
    """Clean partitions of these rows in row groups of so many, and what allocation would have made of them."""
    made, files = [], []
    for number, rows in enumerate(partitions):
        key = f"{rows[0].source}/{number}"
        full = [
            {**dict.fromkeys(CLEAN.schema.names), **FILLER, "messages": [], "asks": True, "changed_by": [], **r.content}
            | {"row_id": r.row_id, "source": r.source}
            for r in rows
        ]
        with PartitionWriter(root, f"clean/{key}.00000000.parquet", CLEAN.schema, "clean") as writer:
            for at in range(0, len(full), group):
                writer.write(pa.Table.from_pylist(full[at : at + group], schema=CLEAN.schema))
        blank = {c.name: None if c.nullable else ("" if pa.types.is_string(c.type) else 0) for c in MEASURED.columns}
        measured = [{**blank, "row_id": r.row_id, "language": r.language} for r in rows]
        measures = write_table(root, f"measures/{key}.00000000.parquet", pa.Table.from_pylist(measured, MEASURED.schema), "measures")
        digest = blake2b(writer.committed.sha256.encode(), digest_size=16).hexdigest()
        made.append(Partition("clean", key, digest, {}, (writer.committed, measures)))
        given = [
            {"row_id": r.row_id, "source": r.source, "split": s, "part": p, "start": start, "copies": copies}
            for r in rows
            for s, p, start, copies in r.places
        ]
        given.sort(key=lambda g: (g["split"], g["row_id"]))
        table = pa.Table.from_pylist(given, schema=ASSIGNED.schema)
        files.append(write_table(root, f"allocate/r/{key}.00000000.parquet", table, f"assigned:{key}"))
    return made, Partition("allocate", "r", "0" * 32, {}, tuple(files))


def done(tasks: list[Task], root: Path, workers: int = 1) -> list[Partition]:
    """What tasks make, in their order."""
    with LocalExecutor(workers, inline=0) as executor:
        found = {p.key: p for p in executor.run(tasks, root, lambda size, rows: None)}
    return [found[t.key] for t in tasks]


@dataclass
class Made:
    """What the three stages made."""

    rendered: list[Partition]
    sharded: list[Partition]
    cards: list[Partition]
    root: Path

    def rows(self, split: str, part: str) -> list[dict[str, Any]]:
        """Rows of a part in the order of its files."""
        paths = sorted((self.root / "splits/r" / split).glob(f"{part}-*.parquet"))
        return [row for path in paths for row in pq.read_table(path, partitioning=None).to_pylist()]

    def files(self) -> dict[str, str]:
        """Hashes of all that people train on."""
        return hashes(self.root, layers=["splits"])


def make(
    root: Path,
    partitions: list[list[Row]],
    recipe: Recipe | None = None,
    *,
    workers: int = 1,
    shard_bytes: int = shards.SHARD_BYTES,
    run_bytes: int = render.RUN_BYTES,
    mixed: Callable[[list[Partition]], Iterable[Partition]] = list,
    **own: dict[str, str],
) -> Made:
    """Runs the three stages; `mixed` puts the partitions into another order between them."""
    recipe = recipe or recipe_of()
    context = context_of(root, recipe, **own)
    clean, allocated = cleaned(root, partitions)
    rendered = done(render.plan(context, list(mixed(clean)), allocated, run_bytes=run_bytes), root, workers)
    sharded = done(shards.plan(context, list(mixed(rendered)), shard_bytes=shard_bytes), root, workers)
    carded = done(cards.plan(context, list(mixed(rendered)), list(mixed(sharded))), root, workers)
    return Made(rendered, sharded, carded, root)
