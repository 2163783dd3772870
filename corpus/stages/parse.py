"""parse: upstream files → `parsed` rows and `rejects`.

A partition is one file, a range of a large file (of JSON lines, or of a Wikipedia dump in many bzip2 streams), or a bundle of small
files of one source. Partitions are named by content, not by file name, so that renaming files changes nothing but the `file` column.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import orjson

from corpus.executors.task import Report, Task
from corpus.schema import REJECTS, ROWS
from corpus.sources import resolve
from corpus.sources.base import Source
from corpus.sources.framing import Limits, Part, compression
from corpus.sources.read import BATCH_BYTES, FileStats, Occurrences, faulty, read_file, rejects_table
from corpus.stages.base import Context, UpstreamFile, parts
from corpus.warehouse.commit import PartitionWriter, write_table
from corpus.warehouse.inputs import Input
from corpus.warehouse.manifest import Partition

NAME = "parse"
VERSION = 2

_SMALL = 1 << 20
_BUNDLE = 64 << 20
_FEW = 1
_REJECTS_AT_ONCE = 50_000


def plan(context: Context) -> list[Task]:
    """One task per partition of every source, in the order of sources and content."""
    by_source: dict[str, list[tuple[UpstreamFile, Input]]] = defaultdict(list)
    for file in context.files:
        by_source[file.source.name].append((file, Input("", 0) if file.fault else context.index.look(file.path)))
    tasks = []
    for name in sorted(by_source):
        # By content, then by name for copies: file names must not decide which of two equal records comes first.
        files = sorted(by_source[name], key=lambda f: (f[1].digest, f[0].name))
        tasks += list(_tasks(context, context.sources[name], files))
    return tasks


def _tasks(context: Context, source: Source, files: list[tuple[UpstreamFile, Input]]) -> Iterable[Task]:
    small = [f for f in files if f[1].bytes < _SMALL]
    bundled = small if len(small) > _FEW else []
    bundles = _bundles(bundled)
    for key, members in sorted(bundles.items()):
        yield _task(context, source, key, [(f, i, None) for f, i in members])
    copies: dict[str, int] = defaultdict(int)
    in_bundle = {f.name for f, _ in bundled}
    for file, known in files:
        if file.name in in_bundle:
            continue
        stem = known.digest[:16] or "unreadable"
        stem = f"{stem}-{copies[stem]}" if copies[stem] else stem
        copies[known.digest[:16] or "unreadable"] += 1
        for number, part in enumerate(_ranges(source, file.path, known)):
            yield _task(context, source, f"{stem}-{number:04d}", [(file, known, part)])


def _bundles(files: list[tuple[UpstreamFile, Input]]) -> dict[str, list[tuple[UpstreamFile, Input]]]:
    """Groups small files by the first bits of their digest: a new file changes one bundle, not all that come after it."""
    total = sum(i.bytes for _, i in files)
    bits = max(0, (total // _BUNDLE).bit_length())
    bundles: dict[str, list[tuple[UpstreamFile, Input]]] = defaultdict(list)
    for file, known in files:
        head = int(known.digest[:8] or "0", 16) >> (32 - bits) if bits else 0
        bundles[f"bundle-{bits}-{head:04d}"].append((file, known))
    return bundles


def _ranges(source: Source, path: Path, known: Input) -> list[Part | None]:
    """The ranges into which a file is cut: more than one only for large JSON lines, uncompressed, and dumps in many bzip2 streams."""
    if not known.cuts or not (_is_json_lines(path) if source.format == "records" else source.format == "mediawiki" and _is_bzip2(path)):
        return [None]
    starts = [(0, 0), *known.cuts]
    ends: list[int | None] = [offset for offset, _ in known.cuts]
    return [Part(start, end, first) for (start, first), end in zip(starts, [*ends, None], strict=True)]


def _is_json_lines(path: Path) -> bool:
    with path.open("rb") as f:
        line = f.readline(1 << 20)
    if not line.startswith(b"{"):
        return False
    try:
        orjson.loads(line)
    except orjson.JSONDecodeError:
        return False
    return True


def _is_bzip2(path: Path) -> bool:
    with path.open("rb") as f:
        return compression.sniff(f.read(16)) == "bzip2"


def _task(context: Context, source: Source, key: str, files: list[tuple[UpstreamFile, Input, Part | None]]) -> Task:
    limits = context.recipe.limits
    bounds = Limits(limits.record_mb << 20, limits.archive_gb << 30, limits.archive_members)
    inputs = {f.name: [i.digest, *(f.fault or ()), *(asdict(p).values() if p else ())] for f, i, p in files}
    own = context.own.get(source.name)
    script = context.recipe.clean.script if source.by_script else None
    size = sum(((p.end if p.end is not None else i.bytes) - p.start) if p else i.bytes for _, i, p in files)
    return Task(
        stage=NAME,
        key=f"{source.name}/{key}",
        parts=parts(
            NAME,
            VERSION,
            writes=(ROWS, REJECTS),
            inputs=inputs,
            source={"name": source.name, "version": source.version, "license": source.license, "own": own},
            limits=asdict(bounds),
            script=script,
        ),
        run=run,
        spec={
            "source": source.name,
            "own": own,
            "files": [(f.name, f.path, p, f.fault) for f, _, p in files],
            "limits": bounds,
            "script": script,
        },
        size=size,
    )


def run(task: Task, root: Path, report: Report) -> Partition:
    """Reads the files of one partition."""
    source = resolve(task.spec["source"], task.spec["own"])
    if source.by_script and task.spec["script"]:
        source = replace(source, parse=source.by_script(task.spec["script"]))
    seen = Occurrences()
    accounts: list[FileStats] = []
    stem = f"{task.key}.{task.fingerprint[:8]}.parquet"
    with (
        PartitionWriter(root, f"parsed/{stem}", ROWS.schema, "rows", group_bytes=BATCH_BYTES) as rows,
        _RejectWriter(root, f"rejects/{stem}") as rejected,
    ):
        for name, path, part, fault in task.spec["files"]:
            if fault:
                account, reject = faulty(source, name, *fault)
                accounts.append(account)
                rejected.add([reject])
                continue
            for batch in read_file(source, path, name, seen, part=part, limits=task.spec["limits"], on_file=accounts.append):
                if batch.rows is not None:
                    rows.add(batch.rows)
                rejected.add(batch.rejects)
                report(batch.bytes, batch.rows.num_rows if batch.rows is not None else 0)
    files = [rows.committed, *rejected.entries]
    return task.done(files, source=source.name, accounts=[asdict(a) for a in accounts])


class _RejectWriter:
    """Writes rejects only when there are any: a file that nobody needs is not made."""

    def __init__(self, root: Path, relative: str) -> None:
        self._root, self._relative = root, relative
        self._pending: list[dict[str, Any]] = []
        self._writer: PartitionWriter | None = None
        self.entries: list[Any] = []

    def add(self, rejects: list[dict[str, Any]]) -> None:
        self._pending += rejects
        if len(self._pending) >= _REJECTS_AT_ONCE:
            if self._writer is None:
                self._writer = PartitionWriter(self._root, self._relative, REJECTS.schema, "rejects")
            self._writer.write(rejects_table(self._pending))
            self._pending.clear()

    def __enter__(self) -> _RejectWriter:
        return self

    def __exit__(self, kind: Any, error: Any, trace: Any) -> None:
        if kind is not None:
            if self._writer is not None:
                self._writer.__exit__(kind, error, trace)
            return
        if self._writer is not None:
            self._writer.write(rejects_table(self._pending))
            self._writer.__exit__(None, None, None)
            self.entries.append(self._writer.committed)
        elif self._pending:
            self.entries.append(write_table(self._root, self._relative, rejects_table(self._pending), "rejects"))
