"""The split files of a build: what an export, or an encoding, of it consists of.

Which files a split has is told by the manifests, never by what lies in the folder.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from corpus.errors import UsageError, WarehouseError, nearest
from corpus.warehouse.builds import Build, Warehouse
from corpus.warehouse.manifest import FileEntry

PARTS = ("train", "eval", "test")

_NAME = re.compile(r"[a-z][a-z0-9_-]*")

Found = dict[tuple[str, str], list[FileEntry]]
"""(split, part) → its files, in the order of their names."""


def find(root: Path, recipe: str | None = None, splits: Sequence[str] = (), parts: Sequence[str] = ()) -> tuple[Build, Found]:
    """Finds the files of splits that have rows; opens none of them.

    Args:
        root: the warehouse.
        recipe: whose build; by default the last one.
        splits: which of its splits; by default all.
        parts: which parts of them; by default all.

    Returns:
        The build, and its files, in the order of the recipe.

    Raises:
        UsageError: for a split or part that there is not.
        WarehouseError: when there is no build, or files of it are missing.
    """
    for part in parts:
        if part not in PARTS:
            raise UsageError(f"there is no part {part!r}{nearest(part, PARTS)} (known are {', '.join(PARTS)})")
    build = _build(Warehouse(root), recipe)
    found = _files(root, build)
    for split in splits:
        if split not in {s for s, _ in found}:
            known = ", ".join(dict.fromkeys(s for s, _ in found)) or "none"
            hint = nearest(split, {s for s, _ in found})
            raise UsageError(f"the build of recipe {build.recipe!r} has no rows in a split {split!r}{hint} (it has rows in {known})")
    wanted = {key: files for key, files in found.items() if (not splits or key[0] in splits) and (not parts or key[1] in parts)}
    return build, wanted


def _build(warehouse: Warehouse, recipe: str | None) -> Build:
    builds = warehouse.builds()
    if not builds:
        raise WarehouseError(f"warehouse {warehouse.root}: nothing has been built there yet; run `corpus build` first")
    history = [h["recipe"] for h in warehouse.history() if h["recipe"] in builds]
    name = recipe or (history[-1] if history else next(iter(builds)))
    if name not in builds:
        raise WarehouseError(
            f"warehouse {warehouse.root}: no build of recipe {name!r}{nearest(name, builds)} (there are builds of {', '.join(builds)})"
        )
    build = builds[name]
    if len(build.made) < len(build.partitions):
        lost = len(build.partitions) - len(build.made)
        raise WarehouseError(f"warehouse {warehouse.root}: the manifests have lost {lost:,} partitions of recipe {name!r}; build again")
    return build


def _files(root: Path, build: Build) -> Found:
    found: Found = {}
    for file in sorted((f for p in build.made for f in p.files), key=lambda f: f.path):
        kind, _, place = file.table.partition(":")
        split, _, part = place.partition(":")
        if kind == "split" and file.rows and _NAME.fullmatch(split) and part in PARTS:
            path = root / file.path
            if not path.is_file() or path.stat().st_size != file.bytes:
                raise WarehouseError(f"{path}: is missing or not as it was written; `corpus build --verify` makes it again")
            found.setdefault((split, part), []).append(file)
    order = list(build.settings.get("splits", {}))

    def place_of(key: tuple[str, str]) -> tuple[int, str, int]:
        split, part = key
        return order.index(split) if split in order else len(order), split, PARTS.index(part)

    return {key: found[key] for key in sorted(found, key=place_of)}
