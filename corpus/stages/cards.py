"""cards: what is in the folder of every split, for people (README.md) and for programs (manifest.json).

The manifest is what a trainer checks a split by: its files with their hashes, its template and its tokenizer. The card is written as the
Hugging Face hub expects it, so that `datasets.load_dataset(folder)` finds each part under its own name: without it, loaders guess that
files called eval-… are a test split.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from pathlib import Path, PurePosixPath
from typing import Any

from corpus.executors.task import Report, Task
from corpus.recipe_splits import Form, form_of
from corpus.splits.card import PARTS, About, Count, Facts, ShardFile, card, manifest
from corpus.splits.forms import FORM_TABLES
from corpus.splits.templates import TEMPLATES
from corpus.stages.base import Context, parts
from corpus.warehouse.commit import binary_file
from corpus.warehouse.manifest import Partition

NAME = "cards"
VERSION = 2

_UNTOLD: dict[str, Any] = {
    **dict.fromkeys(("name", "about", "data", "seed", "tokenizer", "strict", "limits", "training"), True),
    "dedup": {"limits"},
    "sources": {"__all__": {"most_near"}},
    "splits": {"__all__": {"exact"}},
}
"""Settings of a recipe that decide nothing about a row, or stand elsewhere in the manifest; paths of this machine would be among them."""

_LEAST_SHARE = 0.01
"""A language is named when at least this share of the rows is in it: fewer are quotations and mistakes of the detection."""


def plan(context: Context, rendered: list[Partition], sharded: list[Partition]) -> list[Task]:
    """One task per split that has a shard."""
    recipe = context.recipe
    tokenizer = None
    if recipe.tokenizer is not None:
        from corpus.splits.budget import fingerprint

        tokenizer = fingerprint(Path(recipe.tokenizer))
    settings = recipe.model_dump(mode="json", exclude=_UNTOLD)
    settings["clean"] = {**settings["clean"], "rules": list(recipe.clean.active)}
    del settings["clean"]["without"]
    chosen = [s.model_dump(mode="json", exclude_defaults=True, exclude={"most_near"}) for s in recipe.sources]
    every = any(s.name == "*" for s in recipe.sources)  # a source of which nothing more is said is then among all
    settings["sources"] = [s for s in chosen if not (every and set(s) == {"name"} and s["name"] != "*")]
    template = TEMPLATES[recipe.template]
    spoken = _languages(rendered)
    by_split: dict[str, list[Partition]] = defaultdict(list)
    for partition in sharded:
        by_split[partition.key.split(":")[1]].append(partition)
    told = {s.name: {"about": s.about, "address": s.address, "license": s.license} for s in context.sources.values()}
    tasks = []
    for split, partitions in sorted(by_split.items()):
        if all("counts" in p.stats and not p.files for p in partitions):
            continue
        form = form_of(split, recipe.splits.get(split))
        named = {count[0] for p in partitions for count in p.stats.get("counts", ())}
        tasks.append(
            Task(
                stage=NAME,
                key=f"{context.folder}:{split}",
                parts=parts(
                    NAME,
                    VERSION,
                    writes=(FORM_TABLES[form],),
                    inputs={p.key: p.fingerprint for p in partitions},
                    libs=("PyYAML", "polars"),
                    recipe={"name": recipe.name, "about": recipe.about, "seed": recipe.seed},
                    settings=settings,
                    sources={name: told[name] for name in sorted(named & told.keys())},
                    form=str(form),
                    template={"name": template.name, "version": template.version},
                    languages=spoken.get(split, []),
                    tokenizer=tokenizer,
                ),
                run=run,
                inputs=tuple(partitions),
                spec={"folder": context.folder, "split": split},
            )
        )
    return tasks


def _languages(rendered: list[Partition]) -> dict[str, list[str]]:
    """The languages of every split, that of most rows first."""
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    for partition in rendered:
        for place, told in partition.stats.get("parts", {}).items():
            counts[place.split(":")[0]].update(told["languages"])
    found = {}
    for split, each in counts.items():
        # A row in both is counted for both.
        rows = {language: each[language] + each["mixed"] for language in ("zh", "en")}
        found[split] = [name for name, n in sorted(rows.items(), key=lambda item: -item[1]) if n and n >= _LEAST_SHARE * each.total()]
    return found


def facts(task: Task) -> Facts:
    """What is told of the split of a task."""
    told: dict[str, Any] = dict(task.parts)
    recipe, split = told["recipe"], task.spec["split"]
    form = Form(told["form"])
    files, sums = [], Counter[tuple[str, str, str, str, int]]()
    for partition in task.inputs:
        for entry in partition.files:
            part = entry.table.split(":")[2]
            files.append(ShardFile(part, PurePosixPath(entry.path).name, entry.rows, entry.bytes, entry.sha256))
        for source, license, kind, *numbers in partition.stats["counts"]:
            part = partition.key.split(":")[2]
            for at, number in enumerate(numbers):
                sums[part, source, license, kind, at] += number
    places = sorted({key[:4] for key in sums}, key=lambda key: (PARTS.index(key[0]), key))
    counts = tuple(Count(*place, *(sums[*place, at] for at in range(3))) for place in places)
    return Facts(
        recipe=recipe["name"],
        about=recipe["about"],
        split=split,
        form=form,
        table=FORM_TABLES[form],
        template=TEMPLATES[told["template"]["name"]],
        seed=recipe["seed"],
        settings=told["settings"],
        files=tuple(sorted(files, key=lambda f: (PARTS.index(f.part), f.path))),
        counts=counts,
        sources={name: About(**each) for name, each in told["sources"].items()},
        languages=tuple(told["languages"]),
        tokenizer=told["tokenizer"],
    )


def run(task: Task, root: Path, report: Report) -> Partition:
    """Writes both files of a split."""
    found = facts(task)
    folder = f"splits/{task.spec['folder']}/{task.spec['split']}"
    entries = []
    for name, text in (("README.md", card(found)), ("manifest.json", manifest(found))):
        with binary_file(root, f"{folder}/{name}", f"card:{task.spec['split']}") as held:
            held.sink.write(text.encode())
        entries.append(held.committed)
    report(0, found.rows)
    return task.done(entries, fingerprint=found.fingerprint)
