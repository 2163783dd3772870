"""The rows of a warehouse that are most like a text: `corpus near`.

Three ways lead to a row, and none of them sketches the warehouse anew. The bands that the build stored bring the text together with rows
that are like it as a whole. The key of a prompt finds rows in which it is exactly what is asked. And with `scan` every row is read, and
compared as a whole, with what it asks and with what it answers: that takes as long as reading the texts does, and misses nothing. A
warehouse for which that is a matter of seconds is read in any case.

However a row was found, what is told of it is its exact similarity, computed from the two sets of shingles as a build does it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa

from corpus.dedup.bands import opened
from corpus.dedup.judge import against, sets
from corpus.dedup.minhash import Scheme, keys, signatures
from corpus.dedup.near import Measure
from corpus.dedup.shingles import unmarked
from corpus.dedup.texts import ANSWER, PROMPT, REJECTED, Texts
from corpus.dedup.units import Unit
from corpus.errors import DataError, UsageError, WarehouseError
from corpus.recipe import Clean, Key
from corpus.schema import ROWS, Kind
from corpus.stages import clean, sketch, stock
from corpus.stages.compared import pieces, spaces_of
from corpus.stages.spoken import CONVERSATIONS, TEXTS, Flat, Spoken
from corpus.text.difference import difference
from corpus.text.settings import Traits
from corpus.warehouse.audit import open_catalog, said, use
from corpus.warehouse.builds import Build, Warehouse
from corpus.warehouse.manifest import Partition

MOST_BYTES = 16 << 20
"""Of a file whose text is looked for."""
SCANNED_ROWS = 100_000
"""Warehouses of so many rows are read whole unless that is not wanted: it takes about two seconds."""
HELD = 0.9
"""A row that is like the text in no way is found all the same when it holds this share of it: then the text is a passage of it."""
WAYS = ("whole", "prompt", "answer", "rejected", "held")


@dataclass(slots=True)
class Neighbour:
    """A row that is like the text.

    Attributes:
        row_id, source, kind: the row.
        similarity: of the text to what is compared of the row by the source's key (`compared`), as a build would have it.
        compared: the key: whole, prompt, answer or exact.
        prompt, answer, rejected: of the text to what the row asks, answers, and is not to answer; None where the row has nothing of the
            kind, or where the key leaves it out and nothing was read beyond it.
        held: the share of the text's shingles that the row holds: 1 for a passage of the row.
        best: the greatest similarity, by which rows are ordered; `held` where none is as great as was asked for, and such rows come last.
        way: which of them it is.
        dropped: the row's entry in the ledger (stage, reason, kept_row_id …), or None.
        splits: the splits that hold it, each with the part.
        text: what of the row is most like the text.
        differs: what differs between the text and that.
    """

    row_id: str
    source: str
    kind: str
    similarity: float
    compared: str
    prompt: float | None
    answer: float | None
    rejected: float | None
    held: float
    best: float
    way: str
    dropped: dict[str, Any] | None = None
    splits: list[str] = field(default_factory=list)
    text: str = ""
    differs: str = ""


@dataclass(slots=True)
class Found:
    """What was found.

    Attributes:
        rows: the most similar ones, best first.
        more: how many further ones reach `least`.
        least: the similarity that was asked for.
        scanned: whether every row was read.
        compared: rows whose texts were read and compared.
        scheme: how the stored bands were made, which says what they find.
    """

    rows: list[Neighbour]
    more: int
    least: float
    scanned: bool
    compared: int
    scheme: Scheme


@dataclass(frozen=True, slots=True)
class _Part:
    """A clean partition with what the build made of it."""

    source: str
    key: Key
    clean: Partition
    sketch: Partition
    stock: np.ndarray | None


def text_of(path: Path) -> str:
    """The text of a file.

    Raises:
        DataError: when it is missing, too large, or not UTF-8.
    """
    if not path.is_file():
        raise DataError(f"{path}: no such file; expected a text to look for")
    if path.stat().st_size > MOST_BYTES:
        raise DataError(f"{path}: {path.stat().st_size:,} bytes are more than the {MOST_BYTES:,} of a text that can be looked for")
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as e:
        raise DataError(f"{path}: byte {e.start:,} is not UTF-8; convert the file first") from e


def near(root: Path, text: str, *, recipe: str | None = None, least: float = 0.5, limit: int = 10, scan: bool | None = None) -> Found:
    """The rows that are most like `text`.

    Args:
        root: the warehouse.
        text: is cleaned by the recipe's rules first, as rows are.
        recipe: whose build to look at; by default the last one.
        least: similarity that a row must reach.
        limit: at most so many rows.
        scan: read every row; None to do so where they are few (SCANNED_ROWS).

    Raises:
        WarehouseError: when nothing was built, or the build did without near duplicates.
        UsageError: for a text without anything in it.
    """
    if not text.strip():
        raise UsageError("the text is empty; give one to look for, or name its file with --file")
    warehouse = Warehouse(root)
    with open_catalog(warehouse.catalog_path) as db:
        if recipe is not None:
            use(db, recipe)
        try:
            build = _build(warehouse, recipe)
            cleaned, prompt_key = _cleaned(text, build)
            parts = _parts(root, build)
            measure = _measure(build)
            total = sum(p.clean.one("clean").rows for p in parts)
            scan = total <= SCANNED_ROWS if scan is None else scan
            wanted = None if scan else _candidates(root, parts, measure, cleaned, prompt_key, db)
            rows = list(_compared(root, parts, measure, cleaned, least, wanted))
            rows.sort(key=lambda r: (r.way == "held", -r.best, -r.similarity, r.row_id))
            shown = rows[:limit]
            _tell(db, cleaned, shown)
        except duckdb.Error as e:
            raise WarehouseError(said(e, root)) from e
        except FileNotFoundError as e:
            raise WarehouseError(f"{e.filename} is gone; `corpus build --verify` makes it again") from e
    compared = total if wanted is None else sum(int(w.sum()) for w in wanted)
    return Found(shown, len(rows) - len(shown), least, scan, compared, measure.scheme)


def _build(warehouse: Warehouse, recipe: str | None) -> Build:
    history, builds = warehouse.history(), warehouse.builds()
    name = recipe or (str(history[-1]["recipe"]) if history else "")
    if name not in builds:
        raise WarehouseError(f"warehouse {warehouse.root}: the record of its last build is gone; run `corpus build` again")
    build = builds[name]
    dedup = build.settings.get("dedup", {})
    if not dedup.get("near") or not any(p.stage == sketch.NAME for p in build.made):
        raise WarehouseError(
            f"recipe {name!r} was built without near duplicates, so there is nothing to look a text up in; "
            "set `dedup: {near: true}` in it and build again"
        )
    return build


def _measure(build: Build) -> Measure:
    dedup = build.settings["dedup"]
    return Measure(Unit(dedup["unit"]), Scheme.of(dedup["threshold"]))


def _cleaned(text: str, build: Build) -> tuple[str, bytes]:
    """The text after the recipe's rules, and the key of a prompt that says it."""
    row = {
        "kind": "prompt",
        "messages": [{"role": "user", "content": text}],
        "source": "",
        "row_id": "",
        "license": "",
        "file": "",
        "record": 0,
    }
    table = pa.Table.from_pylist([{c.name: row.get(c.name) for c in ROWS.columns}], schema=ROWS.schema)
    settings = Clean.model_validate({k: tuple(v) if isinstance(v, list) else v for k, v in build.settings["clean"].items()})
    content = clean.rewrite(table, settings.active, settings.settings(Traits())).content
    whole = {name: content[name] for name in (*CONVERSATIONS, *TEXTS)}
    spoken = Spoken.of(whole, {name: Flat.of(whole[name]) for name in CONVERSATIONS})
    [key] = clean.keys(table["kind"].combine_chunks(), spoken)["prompt_key"].to_pylist()
    return str(content["messages"][0].as_py()[0]["content"]), key


def _parts(root: Path, build: Build) -> list[_Part]:
    by_key = {(p.stage, p.key): p for p in build.made}
    shared: dict[str, np.ndarray | None] = {}
    parts = []
    for sketched in build.made:
        if sketched.stage != sketch.NAME:
            continue
        key, source = sketched.key, sketched.key.partition("/")[0]
        if source not in shared:
            made = by_key.get((stock.NAME, source))
            hashes = stock.shingles_of(root, made) if made else None
            shared[source] = hashes if hashes is not None and len(hashes) else None
        parts.append(_Part(source, sketched.parts["dedup"]["key"], by_key[clean.NAME, key], sketched, shared[source]))
    return parts


def _candidates(
    root: Path, parts: list[_Part], measure: Measure, text: str, prompt_key: bytes, db: duckdb.DuckDBPyConnection
) -> list[np.ndarray]:
    """Of each partition which rows are worth a look (bool): those that meet the text in a band, and those that ask just that."""
    kinds: dict[str, list[Kind]] = {}
    for source, kind in db.execute("SELECT DISTINCT source, kind FROM measures").fetchall():
        kinds.setdefault(source, []).append(Kind(kind))
    known: dict[tuple[str, tuple[int, ...]], np.ndarray] = {}
    wanted = []
    for part in parts:
        mask = np.zeros(part.clean.one("clean").rows, dtype=np.bool_)
        spaces = tuple(sorted(s for kind in kinds.get(part.source, ()) for s in spaces_of(kind, part.key)))
        name = (part.source if part.stock is not None else "", spaces)
        if name not in known:
            known[name] = _keys(measure, text, part.stock, spaces)
        for file in part.sketch.of("bands") if spaces else ():
            segment = opened(root / file.path)
            mask[segment.lookup(known[name])] = True
        wanted.append(mask)
    base = {str((root / p.clean.one("clean").path).resolve()): i for i, p in enumerate(parts)}
    query = "SELECT filename, file_row_number FROM read_parquet($paths, filename = true, file_row_number = true) WHERE prompt_key = $key"
    if base:
        for path, number in db.execute(query, {"paths": list(base), "key": prompt_key}).fetchall():
            wanted[base[path]][number] = True
    return wanted


def _keys(measure: Measure, text: str, common: np.ndarray | None, spaces: tuple[int, ...]) -> np.ndarray:
    """The keys of the text in each of some spaces (uint64[spaces, bands])."""
    found = measure.shingles(Texts.of(pa.array([text])), common)
    if common is not None:
        found = unmarked(found)
    scheme = measure.scheme
    signed = signatures(found.hashes, found.bounds, scheme.values, scheme.seed)
    return keys(np.repeat(signed, len(spaces), axis=0), np.array(spaces, dtype=np.uint8), scheme)


def _compared(
    root: Path, parts: list[_Part], measure: Measure, text: str, least: float, wanted: list[np.ndarray] | None
) -> Iterator[Neighbour]:
    """Rows that reach `least`, with their similarities."""
    sized: dict[int, np.ndarray] = {}
    for number, part in enumerate(parts):
        mask = None if wanted is None else wanted[number]
        if mask is not None and not mask.any():
            continue
        key = id(part.stock)
        if key not in sized:
            found = measure.shingles(Texts.of(pa.array([text])), part.stock)
            sized[key] = sets(found).hashes | np.uint64(PROMPT | ANSWER | REJECTED)
        path = root / part.clean.one("clean").path
        ways = _similar(path, part, measure, sized[key], mask)
        for row_id, kind, values in ways:
            best = int(np.argmax(values[:4]))
            if values[best] < least and values[4] >= HELD:
                best = 4
            if values[best] >= least:
                prompt, answer, rejected = (float(v) or None for v in values[1:4])
                whole, held, most = (float(values[at]) for at in (0, 4, best))
                yield Neighbour(row_id, part.source, kind, whole, part.key, prompt, answer, rejected, held, most, WAYS[best])


def _similar(path: Path, part: _Part, measure: Measure, text: np.ndarray, mask: np.ndarray | None) -> Iterator[tuple[str, str, np.ndarray]]:
    """The similarities of a text to rows (float64[5], see `judge.against`), with their ids and kinds. What a source's key leaves out is
    compared as well: its rows are read a second time for it."""
    by_key = _read(path, part.key, part.stock, measure, text, mask)
    if part.key in ("whole", "exact"):
        yield from by_key
        return
    for (row_id, kind, values), (_, _, whole) in zip(by_key, _read(path, "whole", part.stock, measure, text, mask), strict=True):
        values[1:] = whole[1:]
        yield row_id, kind, values


def _read(
    path: Path, key: Key, common: np.ndarray | None, measure: Measure, text: np.ndarray, mask: np.ndarray | None
) -> Iterator[tuple[str, str, np.ndarray]]:
    for _, found, extra in pieces(path, key, "row_id", "kind", wanted=mask):
        values = against(text, sets(measure.shingles(found.texts, common)))
        yield from zip(extra["row_id"].to_pylist(), extra["kind"].to_pylist(), values, strict=True)


def _tell(db: duckdb.DuckDBPyConnection, text: str, rows: Iterable[Neighbour]) -> None:
    """Adds what became of each row, and what differs."""
    rows = list(rows)
    ids = [r.row_id for r in rows]
    dropped = {d["row_id"]: d for d in _all(db, "SELECT * FROM dropped WHERE row_id IN (SELECT unnest($ids))", ids)}
    splits: dict[str, list[str]] = {}
    for a in _all(
        db, "SELECT row_id, split || '/' || part AS place FROM assigned WHERE row_id IN (SELECT unnest($ids)) ORDER BY split", ids
    ):
        splits.setdefault(a["row_id"], []).append(a["place"])
    query = "SELECT row_id, messages, chosen, rejected, title, text FROM clean WHERE row_id IN (SELECT unnest($ids))"
    contents = {c["row_id"]: c for c in _all(db, query, ids)}
    for row in rows:
        row.dropped = dropped.get(row.row_id)
        row.splits = splits.get(row.row_id, [])
        row.text = _nearest(contents[row.row_id], row)
        row.differs = difference(text, row.text)


def _nearest(content: Mapping[str, Any], row: Neighbour) -> str:
    """What of a row is most like the text that was looked for."""
    turns = [(m["role"] == "assistant", m["content"]) for m in content["messages"] or ()]
    way = row.compared if row.way == "whole" and row.compared in ("prompt", "answer") else row.way
    chosen = [m["content"] for m in content["chosen"] or ()]
    if way == "rejected":
        return "\n".join(m["content"] for m in content["rejected"] or ())
    if way == "prompt":
        told = [said for answers, said in turns if not answers]
        return "\n".join(told) if told else content["title"] or content["text"] or ""
    if way == "answer":
        return "\n".join([*(said for answers, said in turns if answers), *chosen]) or content["text"] or ""
    documents = [content[name] for name in TEXTS if content[name]]
    return "\n".join([*(said for _, said in turns), *chosen, *documents])


def _all(db: duckdb.DuckDBPyConnection, query: str, ids: list[str]) -> list[dict[str, Any]]:
    result = db.execute(query, {"ids": ids})
    columns = [d[0] for d in result.description or ()]
    return [dict(zip(columns, row, strict=True)) for row in result.fetchall()]
