"""What `corpus export` tells when it is done."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path

from corpus.console import OUT, table, to_json, write
from corpus.export.terms import COMMERCIAL, Exported
from corpus.export.turns import LEFT_OUT
from corpus.licenses import commercial


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
