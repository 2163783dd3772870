"""Framing: the bytes of an upstream file → its records, in order, with nothing lost.

This room knows containers and encodings, not data sets. `frames(path, name, format)` opens a file whatever it is (plain, gzip, bzip2, xz,
zstd; a tar or zip archive yields its members), finds the encoding, detects the container by content (the ending tells nothing: `.json` is
usually JSON lines), and yields :class:`~corpus.sources.base.Frame` objects of bounded size, so that memory does not depend on the file's.

Formats, by the name that a source declares:

==================  ================================================================================================
records             dicts, from whichever container the content shows: JSON lines, a JSON array, concatenated or
                    pretty-printed JSON objects, CSV or TSV with a header, parquet
object              the whole file is one JSON object and one record (MOSS conversations, LMFlow files)
keyed               one JSON object whose members are the records: value = {"_key": key, **member} (PubMedQA)
rows                CSV or TSV without a header: lists of str
lines               text, one record per non-blank line: str
paragraphs          text, one record per run of non-blank lines: str
mediawiki           MediaWiki XML export: dict of title, ns, id, redirect, revision, timestamp, model, format, text, lang, dbname
wikiextractor       `<doc id= url= title=>` blocks or JSON lines: dict of id, url, title, text
(a callable)        a frame transformer of the source's own: called with the file's `records` frames, gives the frames
                    that are parsed. It may fold records that stand next to each other, so such a file has one reader
==================  ================================================================================================
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from corpus.sources.base import Frame


@dataclass(frozen=True, slots=True)
class Part:
    """A byte range of an uncompressed JSON lines file, cut at line ends, so that several workers can share one file.

    `first` is the ordinal of its first line; `end` is exclusive, None for the end of the file.
    """

    start: int
    end: int | None
    first: int


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds that hostile files cannot pass: bytes of one record, bytes and members of an expanded archive."""

    record_bytes: int = 64 << 20
    archive_bytes: int = 64 << 30
    archive_members: int = 1_000_000


@dataclass(slots=True)
class Opened:
    """One logical file: a plain or compressed file, or a member of an archive. Exhaust `frames` before asking for the next one."""

    name: str
    container: str
    encoding: str | None
    frames: Iterator[Frame]


def open_file(
    path: Path, name: str, format: str | Callable[..., Iterator[Frame]] = "records", *, part: Part | None = None, limits: Limits = Limits()
) -> Iterator[Opened]:
    """Provisional framing: whole files, no damage handled."""
    data = path.read_bytes()
    if data[:2] == b"\x1f\x8b":
        import gzip

        data = gzip.decompress(data)
    values: list = []
    if data[:4] == b"PAR1":
        import pyarrow.parquet as pq

        values = pq.read_table(path).to_pylist()
    else:
        text = data.decode("utf-8-sig", errors="strict") if not name.endswith(".gbk.csv") else data.decode("gb18030")
        if format == "lines":
            values = [x for x in text.split("\n") if x.strip()]
        elif format == "object":
            values = [json.loads(text)]
        elif format == "keyed":
            values = [{"_key": k, **v} for k, v in json.loads(text).items()]
        elif text.lstrip()[:1] == "[":
            values = json.loads(text)
        elif text.lstrip()[:1] == "{":
            values = [json.loads(x) for x in text.split("\n") if x.strip()]
        elif format == "rows":
            values = list(csv.reader(io.StringIO(text), delimiter="\t" if "\t" in text else ","))
        else:
            csv.field_size_limit(1 << 30)
            values = list(csv.DictReader(io.StringIO(text, newline="")))
    frames: Iterator[Frame] = iter([Frame(values=values, ordinals=range(len(values)), records=len(values), bytes=len(data))])
    yield Opened(name, "?", "utf-8", format(frames) if callable(format) else frames)
