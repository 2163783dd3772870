"""The line of an export: a build's split files → the files of a format, in bounded memory.

Which files a split consists of is told by the manifests, never by what lies in the folder.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from corpus import __version__
from corpus.errors import UsageError, WarehouseError, nearest
from corpus.executors.task import Report
from corpus.export.formats import FORMATS, LINEAGE, TOLD, Layout, Shape, form_of, with_lineage
from corpus.export.terms import Exported, File, as_json, as_markdown, count, terms
from corpus.export.turns import reason
from corpus.export.write import ExportFile
from corpus.recipe_splits import Form
from corpus.splits.templates import TEMPLATES, Template
from corpus.warehouse.builds import Build
from corpus.warehouse.commit import TMP_MARK, reading, write_bytes
from corpus.warehouse.manifest import FileEntry
from corpus.warehouse.splits import PARTS, find

_PIECE = 16 << 20
"""Bytes of a row group that are worked on at a time: a few copies of them are held, as columns and as JSON."""

_OURS = re.compile(r"[a-z][a-z0-9_-]*\.(?:json|jsonl|parquet)|LICENSES\.md")
"""Names of files that an export may have written."""


@dataclass(frozen=True, slots=True)
class Chosen:
    """A part of a split that is to be exported."""

    split: str
    part: str
    form: Form
    files: tuple[FileEntry, ...]
    shape: Shape

    @property
    def name(self) -> str:
        """The name of its file."""
        return f"{self.split}-{self.part}.{self.shape.layout}"


@dataclass(frozen=True, slots=True)
class Plan:
    """What is to be exported, and what is not: split → what it holds."""

    build: Build
    chosen: tuple[Chosen, ...]
    skipped: dict[str, str]

    @property
    def bytes(self) -> int:
        """Size of the files that are to be read."""
        return sum(f.bytes for c in self.chosen for f in c.files)


def plan(root: Path, format: str, recipe: str | None = None, splits: Sequence[str] = (), parts: Sequence[str] = ()) -> Plan:
    """Finds what an export of a build consists of; writes nothing.

    Args:
        root: the warehouse.
        format: one of FORMATS.
        recipe: whose build; by default the last one.
        splits: which of its splits; by default all that the format can say, requests only where it says everything.
        parts: which parts of them; by default all.

    Raises:
        UsageError: for a format, split or part that there is not, and for a split that the format cannot say.
        WarehouseError: when there is no build, or files of it are missing.
    """
    if format not in FORMATS:
        raise UsageError(f"there is no format {format!r}{nearest(format, FORMATS)} (known are {', '.join(FORMATS)})")
    build, found = find(root, recipe, splits, parts)
    chosen, skipped = [], {}
    for (split, part), files in found.items():
        form = form_in(root, files[0])
        if form in FORMATS[format]:
            chosen.append(Chosen(split, part, form, tuple(files), FORMATS[format][form]))
        elif splits:
            others = ", ".join(name for name, forms in FORMATS.items() if form in forms)
            adopt = "; `corpus adopt` takes the answers in" if form is Form.REQUEST else ""
            raise UsageError(f"split {split!r} holds {TOLD[form]}, which {format} cannot say{adopt}; formats that can: {others}")
        else:
            skipped[split] = TOLD[form]
    if not chosen:
        asked = f"parts {', '.join(parts)} of " if parts else ""
        where = ", ".join(splits) if splits else f"all splits of recipe {build.recipe!r}"
        held = "".join(f"; {split} holds {what}" for split, what in skipped.items())
        raise UsageError(f"nothing to export as {format} in {asked}{where}{held}")
    return Plan(build, tuple(chosen), skipped)


def export(
    root: Path, plan: Plan, format: str, out: Path, *, lineage: bool = False, force: bool = False, progress: Report | None = None
) -> Exported:
    """Writes what was planned into a folder: a file for each part of each split, LICENSES.md and, at last, export.json.

    Args:
        root: the warehouse.
        plan: see `plan`.
        format: the format that it was made for.
        out: the folder.
        lineage: whether every object says which row it is, and of which source and terms.
        force: write into a folder that is not empty; what an earlier export wrote there is removed.
        progress: is told of what was read.

    Raises:
        UsageError: when the folder is not empty, or is in the warehouse.
        WarehouseError: when a file is not what the manifest says.
    """
    check_out(out, root, force=force)
    out.mkdir(parents=True, exist_ok=True)
    _clear(out)
    template = TEMPLATES.get(str(plan.build.settings.get("template")))
    counts: Counter[tuple[str, str]] = Counter()
    files = []
    for chosen in plan.chosen:
        left: Counter[str] = Counter()
        with ExportFile(out, chosen.name, chosen.shape.layout) as file:
            for rows in _read(root, chosen, progress):
                for made in _made(rows, chosen.shape, template, lineage, left, counts):
                    file.add(made)
        entry = file.entry
        name, size, digest = (chosen.name, entry.bytes, entry.sha256) if entry else ("", 0, "")
        files.append(File(chosen.split, chosen.part, name, file.rows, size, digest, dict(sorted(left.items()))))
    exported = Exported(
        format=format,
        recipe=plan.build.recipe,
        build=plan.build.fingerprint,
        version=__version__,
        lineage=lineage or format == "jsonl",
        files=tuple(files),
        terms=terms(counts, plan.build.sources),
        skipped=plan.skipped,
    )
    described = {
        Path(f.name).stem: {"file_name": f.name, **c.shape.info}
        for f, c in zip(files, plan.chosen, strict=True)
        if f.name and c.shape.info is not None
    }
    if described:
        write_bytes(out / "dataset_info.json", (json.dumps(described, ensure_ascii=False, indent=2) + "\n").encode())
    write_bytes(out / "LICENSES.md", as_markdown(exported))
    write_bytes(out / "export.json", as_json(exported))
    return exported


def check_out(out: Path, root: Path, *, force: bool) -> None:
    """Sees to it that nothing is lost by an export into a folder.

    Raises:
        UsageError: when it is no folder, not empty without `force`, or in the warehouse.
    """
    if out.resolve().is_relative_to(root.resolve()):
        raise UsageError(f"{out} is in the warehouse {root}, whose folders are its own; choose another folder with --out")
    if not out.exists():
        return
    if not out.is_dir():
        raise UsageError(f"{out} is no folder; choose another one with --out")
    if not force and any(out.iterdir()):
        raise UsageError(
            f"{out} is not empty; choose another folder with --out, or replace what an earlier export wrote there with --force"
        )


def _clear(out: Path) -> None:
    """Removes what an earlier export wrote, and what a killed one left behind; nothing else."""
    try:
        told = json.loads((out / "export.json").read_bytes())
        names = {f["name"] for f in told["files"]} | {"dataset_info.json", "LICENSES.md"} if "build" in told else set()
    except (OSError, ValueError, KeyError, TypeError):
        names = set()
    for name in sorted(n for n in names if isinstance(n, str) and _OURS.fullmatch(n)):
        (out / name).unlink(missing_ok=True)
    if names:
        (out / "export.json").unlink(missing_ok=True)
    for left in out.glob(f"*{TMP_MARK}*"):
        base, _, process = left.name.rpartition(TMP_MARK)
        if _OURS.fullmatch(base) and process.isdigit():
            left.unlink(missing_ok=True)


def form_in(root: Path, file: FileEntry) -> Form:
    """The form of a split file.

    Raises:
        WarehouseError: when it cannot be read.
    """
    with reading(root / file.path):
        schema = pq.read_schema(root / file.path)
    return form_of(schema.names, schema.field("prompt").type if "prompt" in schema.names else None)


def _read(root: Path, chosen: Chosen, progress: Report | None) -> Iterator[pa.Table]:
    """The rows of a part of a split, some megabytes at a time, with the columns that are needed."""
    needs = None if chosen.shape.needs is None else [*LINEAGE, *chosen.shape.needs]
    for entry in chosen.files:
        path = root / entry.path
        seen = 0
        with reading(path), pq.ParquetFile(path) as file:
            groups = file.num_row_groups
            for number in range(groups):
                rows = file.read_row_group(number, columns=needs)
                seen += rows.num_rows
                yield from _pieces(rows)
                if progress is not None:
                    progress(entry.bytes // max(1, groups), rows.num_rows)
        if seen != entry.rows:
            raise WarehouseError(f"{path}: has {seen:,} rows, {entry.rows:,} were written; `corpus build --verify` makes it again")


def _pieces(rows: pa.Table) -> Iterable[pa.Table]:
    count = max(1, min(rows.num_rows, -(-rows.nbytes // _PIECE)))
    each = max(1, -(-rows.num_rows // count))
    return (rows.slice(start, each) for start in range(0, rows.num_rows, each))


def _made(
    rows: pa.Table, shape: Shape, template: Template | None, lineage: bool, left: Counter[str], counts: Counter[Any]
) -> Iterator[pa.Table]:
    fit = shape.fit(rows)
    for code, number in zip(*np.unique(fit[fit != 0], return_counts=True), strict=True):
        left[reason(int(code))] += int(number)
    if fit.any():
        rows = rows.filter(pa.array(fit == 0))
    if not rows.num_rows:
        return
    count(rows, counts)
    made = shape.make(rows, template)
    yield with_lineage(made, rows) if lineage else made


__all__ = ["FORMATS", "PARTS", "Layout", "Plan", "check_out", "export", "plan"]
