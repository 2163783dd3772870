"""A warehouse as the pipeline sees it: which partitions can be reused, what the last build of each recipe is made of, and what can go.

Layout below the root:

    parsed/ rejects/ clean/ measures/ leaks/ sketches/ dropped/ dedup/ allocate/ rendered/<recipe>/
                                parquet (and band entries), the truth
    splits/<recipe>/<split>/    what people train on: parquet, README.md, manifest.json
    adopted/<recipe>/           what `corpus adopt` took in: inputs of the next build, which no build changes
    manifests/<stage>.jsonl     what counts (see `manifest`)
    builds/<recipe>.json        the partitions of the recipe's last complete build
    builds.jsonl                history of builds
    inputs.json verified.json   caches: what upstream files and committed files looked like when they were last hashed
    corpus.duckdb               the catalog: views over all this, which can be made again at any time
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from corpus.warehouse.commit import TMP_MARK, write_bytes
from corpus.warehouse.inputs import InputIndex
from corpus.warehouse.manifest import FileEntry, Manifests, Partition, fingerprint

if TYPE_CHECKING:
    from corpus.recipe import Recipe
    from corpus.stages.base import Context

LAYERS = (
    "parsed", "rejects", "clean", "measures", "leaks", "sketches", "dropped", "dedup", "offered", "preferences", "allocate",
    "rendered", "splits",
)  # fmt: skip


_OWN = re.compile(
    rf"(?:{'|'.join(n for n in LAYERS if n != 'splits')})/.+\.[0-9a-f]{{8}}(?:-renumbered)?\.(?:parquet|bands)(?:{re.escape(TMP_MARK)}\d+)?"
    rf"|splits/[^/]+/[a-z]+(?:-requests)?/(?:(?:train|eval|test)-[^/]+\.parquet|README\.md|manifest\.json)(?:{re.escape(TMP_MARK)}\d+)?"
)
"""Names that stages give to files. A file that was committed just before a kill is in no manifest, so its name must tell whose it is."""


_TOLD = {"recipe", "about", "data", "finished", "settings", "sources", "partitions"}
"""What `builds/<recipe>.json` must say to be one."""


@dataclass(frozen=True, slots=True)
class Build:
    """A complete build of a recipe: what it was made from, the partitions it consists of, and the figures of its summary.

    `missing` has the sources that the recipe names and of which nothing was found, each with how to get it.
    """

    recipe: str
    about: str
    data: str
    finished: str
    settings: Mapping[str, Any]
    sources: Mapping[str, Mapping[str, Any]]
    partitions: tuple[tuple[str, str, str], ...] = ()
    version: str = ""
    missing: Mapping[str, str] = field(default_factory=dict)
    figures: Mapping[str, Any] = field(default_factory=dict)
    made: tuple[Partition, ...] = field(default=(), compare=False, repr=False)

    @property
    def fingerprint(self) -> str:
        """Hash of its partitions: equal for equal warehouses."""
        return fingerprint({"recipe": self.recipe, "partitions": [list(p) for p in self.partitions]})

    def told(self) -> dict[str, Any]:
        """What is kept of it in `builds/<recipe>.json`."""
        names = ("recipe", "about", "data", "finished", "settings", "sources", "partitions", "version", "missing", "figures")
        return {name: getattr(self, name) for name in names}

    @classmethod
    def of(cls, recipe: Recipe, data: Path, context: Context, made: list[Partition]) -> Build:
        """The build that consists of the partitions `made`."""
        from corpus import __version__

        return cls(
            recipe=recipe.name,
            about=recipe.about,
            data=str(data.resolve()),
            finished=datetime.now(UTC).isoformat(timespec="seconds"),
            settings=recipe.model_dump(mode="json"),
            sources={
                s.name: {
                    "about": s.about,
                    "address": s.address,
                    "license": s.license,
                    "priority": context.priority[s.name],
                    "key": context.keys.get(s.name, "whole"),
                    "protect": s.name in context.protected,
                }
                for s in context.sources.values()
            },
            partitions=tuple((p.stage, p.key, p.fingerprint) for p in made),
            version=__version__,
            missing=dict(context.missing),
            made=tuple(made),
        )


class Warehouse:
    """The warehouse at `root`. Methods that write are for the holder of the writer lock."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.manifests = Manifests(root)
        self.index = InputIndex(root)
        self._verified_path = root / "verified.json"
        self._verified: dict[str, list[int]] = _load(self._verified_path)
        self._seen: dict[str, list[int]] = {}

    @property
    def catalog_path(self) -> Path:
        """Where the DuckDB catalog is."""
        return self.root / "corpus.duckdb"

    def reusable(self, stage: str, key: str, fingerprint: str, *, verify: bool = False) -> Partition | None:
        """The partition with this fingerprint, if it is in the manifest and its files are what the manifest says."""
        partition = self.manifests.get(stage, key, fingerprint)
        if partition is None or not all(self._intact(f, verify) for f in partition.files):
            return None
        return partition

    def _intact(self, file: FileEntry, verify: bool) -> bool:
        path = self.root / file.path
        try:
            stat = path.stat()
            if stat.st_size != file.bytes:
                return False
            mark = _mark(stat)
            if verify or self._verified.get(file.path) != [*mark, int(file.sha256[:12], 16)]:
                with path.open("rb") as f:
                    if hashlib.file_digest(f, "sha256").hexdigest() != file.sha256:
                        return False
        except OSError:
            return False
        self._seen[file.path] = [*mark, int(file.sha256[:12], 16)]
        return True

    def commit(self, partition: Partition) -> None:
        """Makes a partition count whose files are committed."""
        self.manifests.append(partition)
        for file in partition.files:
            self._seen[file.path] = [*_mark((self.root / file.path).stat()), int(file.sha256[:12], 16)]

    def save_verified(self) -> None:
        """Remembers what was hashed or written, so that the next build need not hash it again."""
        merged = {**self._verified, **self._seen}
        if merged != self._verified:
            write_bytes(self._verified_path, json.dumps(merged).encode())
            self._verified = merged

    def builds(self) -> dict[str, Build]:
        """The last complete build of every recipe, without partitions of which the manifest knows nothing any more."""
        found = {}
        for path in sorted((self.root / "builds").glob("*.json")):
            loaded = _load(path)
            if not loaded.keys() >= _TOLD:
                continue
            ids = tuple((str(s), str(k), str(f)) for s, k, f in loaded.pop("partitions"))
            made = tuple(p for p in (self.manifests.get(*i) for i in ids) if p is not None)
            found[loaded["recipe"]] = Build(**loaded, partitions=ids, made=made)
        return found

    def current(self, recipe: str) -> tuple[Partition, ...]:
        """The partitions of the recipe's last complete build."""
        build = self.builds().get(recipe)
        return build.made if build else ()

    def recorded(self, build: Build) -> bool:
        """Whether `build` is the one that was recorded last: the same partitions, and the same of all that is told of it."""
        history = self.history()
        if not history or history[-1]["fingerprint"] != build.fingerprint:
            return False
        known = _load(self.root / "builds" / f"{build.recipe}.json")
        told = json.loads(json.dumps(build.told()))
        return all(known.get(k) == told[k] for k in told if k not in ("finished", "figures"))

    def history(self) -> list[dict[str, Any]]:
        """All recorded builds, oldest first."""
        try:
            lines = (self.root / "builds.jsonl").read_text(encoding="utf-8").splitlines()
        except OSError:
            return []
        out = []
        for line in lines:
            try:
                loaded = json.loads(line)
            except ValueError:
                continue  # a line that a crash tore
            if isinstance(loaded, dict) and {"recipe", "fingerprint"} <= loaded.keys():
                out.append(loaded)
        return out

    def record(self, build: Build) -> None:
        """Makes `build` the last complete one of its recipe."""
        write_bytes(self.root / "builds" / f"{build.recipe}.json", json.dumps(build.told(), ensure_ascii=False).encode())
        line = {
            "recipe": build.recipe,
            "data": build.data,
            "finished": build.finished,
            "fingerprint": build.fingerprint,
            "version": build.version,
        }
        history = [*self.history(), line]
        write_bytes(self.root / "builds.jsonl", "".join(json.dumps(x, ensure_ascii=False) + "\n" for x in history).encode())

    def clear(self) -> None:
        """Removes what killed builds spilled: as much as the corpus each time, for whoever is short of space and tries again."""
        for left in self.root.glob(".spill-*"):
            shutil.rmtree(left, ignore_errors=True)

    def sweep(self) -> None:
        """Removes every partition and file that no recipe's last complete build consists of.

        Whatever else lies in the layers' folders is somebody's own and stays.
        """
        keep = [p for b in self.builds().values() for p in b.made]
        self.manifests.forget(keep)
        wanted = {f.path for p in keep for f in p.files}
        for layer in LAYERS:
            for folder, _, names in os.walk(self.root / layer, topdown=False):
                for name in names:
                    path = Path(folder) / name
                    relative = path.relative_to(self.root).as_posix()
                    if relative not in wanted and _OWN.fullmatch(relative):
                        path.unlink()
                if not any(Path(folder).iterdir()):
                    Path(folder).rmdir()
        self.clear()
        for left in (p for below in ("", "*/", "adopted/*/") for p in self.root.glob(f"{below}*{TMP_MARK}*")):
            left.unlink(missing_ok=True)
        self._verified = {k: v for k, v in self._verified.items() if k in wanted}
        self._seen = {k: v for k, v in self._seen.items() if k in wanted}


def _mark(stat: os.stat_result) -> list[int]:
    return [stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns, stat.st_ino]


def _load(path: Path) -> dict[str, Any]:
    try:
        loaded = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return {}
    return loaded if isinstance(loaded, dict) else {}
