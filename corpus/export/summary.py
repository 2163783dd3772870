"""What `corpus export` tells while it works and when it is done."""

from __future__ import annotations

import sys
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from corpus.console import ERR, OUT, table, to_json, write
from corpus.export.run import Progress
from corpus.export.terms import COMMERCIAL, Exported
from corpus.export.turns import LEFT_OUT
from corpus.licenses import commercial


@contextmanager
def progress(total: int, *, quiet: bool, what: str = "export") -> Iterator[Progress | None]:
    """What is told of bytes and rows as they are read: a bar on a terminal, nothing elsewhere."""
    if quiet or not sys.stderr.isatty():
        yield None
        return
    from rich.progress import BarColumn, TaskProgressColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bar

    columns = (
        TextColumn("{task.description:14}"), BarColumn(), TaskProgressColumn(), TextColumn("{task.fields[rows]:>12,} rows"),
        TextColumn("{task.fields[speed]:>7.1f} MB/s"), TimeRemainingColumn(),
    )  # fmt: skip
    with Bar(*columns, console=ERR, transient=True) as bar:
        task = bar.add_task(what, total=max(1, total), rows=0, speed=0.0)

        def tell(size: int, rows: int) -> None:
            state = bar.tasks[0]
            speed = (state.completed + size) / 1e6 / state.elapsed if state.elapsed else 0.0
            bar.update(task, advance=size, rows=state.fields["rows"] + rows, speed=speed)

        yield tell


def told(exported: Exported, out: Path, *, as_json: bool) -> None:
    """Prints what was written, what was not, and under which terms the rows are."""
    if as_json:
        write(to_json({**exported.told(), "out": str(out)}) + "\n")
        return
    files = [
        [f.name or f"({f.split}-{f.part}: no row fits)", f.rows, f"{f.bytes / 1e6:,.1f}", sum(f.left_out.values())] for f in exported.files
    ]
    table(("file", "rows", "MB", "left out"), files, right=("rows", "MB", "left out"))
    for reason, number in sorted(exported.left_out.items()):
        OUT.print(f"left out, {reason}: {number:,} ({LEFT_OUT[reason]})", markup=False)
    for split, what in exported.skipped.items():
        OUT.print(f"{split} is not among them: it holds {what}, which {exported.format} cannot say", markup=False)
    by_license: dict[str, tuple[int, list[str]]] = defaultdict(lambda: (0, []))
    for each in exported.terms:
        rows, sources = by_license[each.license]
        by_license[each.license] = (rows + each.rows, [*sources, each.source])
    OUT.print()
    terms = [[license, COMMERCIAL[commercial(license)], rows, sources] for license, (rows, sources) in by_license.items()]
    table(("terms of the rows", "commercial use", "rows", "sources"), terms, right=("rows",))
    OUT.print()
    OUT.print(f"Wrote {exported.rows:,} rows to {out}; LICENSES.md there says under which terms they are.", markup=False)
