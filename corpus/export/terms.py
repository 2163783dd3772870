"""Under which terms exported rows are: the account beside the files, for people (LICENSES.md) and for programs (export.json).

Nothing here depends on the time or on the machine, so the same build gives the same bytes.
"""

from __future__ import annotations

import html
import json
import re
from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import polars as pl
import pyarrow as pa

from corpus.export.turns import LEFT_OUT
from corpus.licenses import commercial


@dataclass(frozen=True, slots=True)
class File:
    """A file of an export, and the rows of its split that the format could not say."""

    split: str
    part: str
    name: str
    rows: int
    bytes: int
    sha256: str
    left_out: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Terms:
    """Rows of a source under the terms that its publisher states; `commercial` as `corpus.licenses` reads them."""

    license: str
    source: str
    rows: int
    commercial: bool | None
    about: str
    address: str


@dataclass(frozen=True, slots=True)
class Exported:
    """What an export wrote, and from what.

    Attributes:
        format: of the files.
        recipe: whose build it is.
        build: its fingerprint.
        version: of this program.
        lineage: whether every object says which row it is.
        files: what was written; a file without a name was not, as no row of it fits.
        terms: of all rows in them.
        skipped: split → what it holds, for splits that the format cannot say and that nobody asked for by name.
    """

    format: str
    recipe: str
    build: str
    version: str
    lineage: bool
    files: tuple[File, ...]
    terms: tuple[Terms, ...]
    skipped: Mapping[str, str] = field(default_factory=dict)

    @property
    def rows(self) -> int:
        """Rows of all files."""
        return sum(f.rows for f in self.files)

    @property
    def left_out(self) -> Counter[str]:
        """Rows that the format could not say, by reason."""
        return sum((Counter(f.left_out) for f in self.files), Counter())

    def told(self) -> dict[str, Any]:
        """All of it in the types of JSON."""
        return {
            "format": self.format, "recipe": self.recipe, "build": self.build, "version": self.version, "lineage": self.lineage,
            "rows": self.rows, "files": [asdict(f) for f in self.files], "terms": [asdict(t) for t in self.terms],
            "skipped": dict(self.skipped),
        }  # fmt: skip


COMMERCIAL = {True: "allowed", False: "not allowed", None: "not clear"}
"""What the terms say of commercial use, in words. A reading of words, and no legal advice."""


def count(rows: pa.Table, into: Counter[tuple[str, str]]) -> None:
    """Adds the rows of a table to the counts by (license, source)."""
    frame = pl.DataFrame({name: pl.Series(rows[name]) for name in ("license", "source")})
    for license, source, number in frame.group_by("license", "source").len().iter_rows():
        into[license, source] += number


def terms(counts: Mapping[tuple[str, str], int], sources: Mapping[str, Mapping[str, Any]]) -> tuple[Terms, ...]:
    """The counts with what the build says of the sources, by license and source."""
    known = {source: sources.get(source, {}) for _, source in counts}
    return tuple(
        Terms(license, source, rows, commercial(license), str(known[source].get("about", "")), str(known[source].get("address", "")))
        for (license, source), rows in sorted(counts.items())
    )


def as_json(exported: Exported) -> bytes:
    """export.json."""
    return (json.dumps(exported.told(), ensure_ascii=False, indent=2) + "\n").encode()


def as_markdown(exported: Exported) -> bytes:
    """LICENSES.md."""
    by_license: dict[str, list[Terms]] = defaultdict(list)
    for each in exported.terms:
        by_license[each.license].append(each)
    lines = [
        "# Terms of the exported rows",
        "",
        f"{exported.rows:,} rows of recipe {_escaped(exported.recipe)} (build {exported.build}), as {exported.format}.",
        "The terms are those that the publishers state. A file with rows of several sources is under the terms of all of them.",
        "What is said of commercial use is a reading of these words, and no legal advice.",
        "",
    ]
    for license, found in sorted(by_license.items()):
        lines += [
            f"## {_escaped(license)}",
            "",
            f"Commercial use: {COMMERCIAL[commercial(license)]}.",
            "",
            "| source | rows | what it is | address |",
            "| --- | ---: | --- | --- |",
        ]
        lines += [f"| {_escaped(t.source)} | {t.rows:,} | {_escaped(t.about)} | {_link(t.address)} |" for t in found]
        lines.append("")
    if exported.left_out:
        lines += ["## Left out", "", "Rows of the splits that the format cannot say:", ""]
        lines += [f"- {n:,} × {_escaped(reason)}: {LEFT_OUT[reason]}" for reason, n in sorted(exported.left_out.items())]
        lines.append("")
    return "\n".join(lines).encode()


def _link(address: str) -> str:
    return f"<{address}>" if re.fullmatch(r"https?://[^\s<>|\\`]+", address) else _escaped(address)


def _escaped(text: str) -> str:
    """Text that Markdown shows as it is, in one line."""
    return re.sub(r"([\\`*_\[\]|#~])", r"\\\1", html.escape(" ".join(text.split()), quote=False))
