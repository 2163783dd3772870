"""The life of one row: where it comes from, what each rule changed, what dropped it or which splits hold it.

Everything is told from the warehouse, except the record as it is in the upstream file, which is read there again; a file that is
gone or has changed is said to be, and the rest is told all the same. What the rules did is found by applying them to the parsed
row once more, one by one.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa

from corpus.errors import WarehouseError
from corpus.recipe import OWN_FIELDS
from corpus.schema import ROWS
from corpus.sources import adopted, resolve
from corpus.sources.base import RAW_BOUND
from corpus.sources.framing import BZIP2_XML, open_file, stream_of
from corpus.stages.clean import NAME, rewrite
from corpus.text.difference import difference
from corpus.text.settings import TextSettings, Traits
from corpus.warehouse.audit import open_catalog, said, use
from corpus.warehouse.builds import Build, Warehouse

_LEAST_PREFIX = 6
_NEARLY = 5


@dataclass(slots=True)
class Life:
    """What is known of a row.

    Attributes:
        row: the parsed row, by column of schema ROWS.
        raw: the record's first bytes as text, or None with `raw_problem` saying why.
        changes: (rule, place, before, after) for every text that a rule changed, in order.
        dropped: its entry in the ledger, or None.
        kept_instead: the row that was kept in its place, or None.
        cluster: the members of its cluster: (row_id, source, kept).
        pair: for a duplicate the pair with the kept row as it was compared: jaccard, prompts, answers (None where it was not).
        differs: what differs between a near duplicate and the kept row, text by text that is not the same: (place, difference).
        stands_for: the rows that were dropped for this one: row_id, source, reason, detail, jaccard; the least similar first.
        nearly: for a kept row those that it was compared with and is not near to, nearest first: row_id, source, jaccard, prompts, answers.
        splits: (split, part, text, turns left out at the front) for every split that holds it.
        measures: what was measured of it, by column of schema MEASURED.
    """

    row: dict[str, Any]
    raw: str | None = None
    raw_problem: str = ""
    changes: list[tuple[str, str, str, str]] = field(default_factory=list)
    dropped: dict[str, Any] | None = None
    kept_instead: dict[str, Any] | None = None
    cluster: list[tuple[str, str, bool]] = field(default_factory=list)
    pair: dict[str, Any] | None = None
    differs: list[tuple[str, str]] = field(default_factory=list)
    stands_for: list[dict[str, Any]] = field(default_factory=list)
    nearly: list[dict[str, Any]] = field(default_factory=list)
    splits: list[tuple[str, str, str, int]] = field(default_factory=list)
    measures: dict[str, Any] = field(default_factory=dict)
    template: str = ""


def why(root: Path, row_id: str, *, recipe: str | None = None) -> Life:
    """The life of the row whose id is, or begins with, `row_id`.

    Raises:
        WarehouseError: when there is no such row, or the beginning fits several.
    """
    warehouse = Warehouse(root)
    with open_catalog(warehouse.catalog_path) as db:
        if recipe is not None:
            use(db, recipe)
        history, builds = warehouse.history(), warehouse.builds()
        name = recipe or (str(history[-1]["recipe"]) if history else "")
        if name not in builds:
            raise WarehouseError(f"warehouse {root}: the record of its last build is gone; run `corpus build` again")
        build = builds[name]
        try:
            life = Life(_find(db, row_id), template=str(build.settings["template"]))
            full = life.row["row_id"]
            life.measures = (
                _one(db, "SELECT * EXCLUDE (row_id, source, kind, excluded, problem) FROM measures WHERE row_id = ?", full) or {}
            )
            life.dropped = _one(db, "SELECT * FROM dropped WHERE row_id = ?", full)
            if life.dropped and life.dropped["kept_row_id"]:
                life.kept_instead = _one(
                    db, "SELECT row_id, source, file, record, kind, messages, text FROM rows WHERE row_id = ?", life.dropped["kept_row_id"]
                )
            _neighbours(db, life)
            query = (
                "SELECT row_id, source, kept FROM clusters WHERE cluster_id = (SELECT cluster_id FROM clusters WHERE row_id = ?) "
                "ORDER BY NOT kept, row_id"
            )
            life.cluster = db.execute(query, [full]).fetchall()
            query = (
                "SELECT DISTINCT s.split, s.part, s.text, a.start FROM splits AS s JOIN assigned AS a USING (row_id, split) "
                "WHERE row_id = ? ORDER BY s.split"
            )
            life.splits = db.execute(query, [full]).fetchall()
            query = "SELECT container, encoding FROM files WHERE source = $source AND file = $file"
            account = _one(db, query, {"source": life.row["source"], "file": life.row["file"]})
        except duckdb.IOException as e:
            raise WarehouseError(f"{said(e, root)}") from e
    life.raw, life.raw_problem = _raw(warehouse, build, life.row, account)
    life.changes = list(_changes(build, life.row))
    return life


def _neighbours(db: duckdb.DuckDBPyConnection, life: Life) -> None:
    """What the row was compared with."""
    full, dropped = life.row["row_id"], life.dropped
    if dropped and dropped["stage"] == "dedup":
        # A row that is equal to another shares its fate: then that one was compared.
        query = (
            "SELECT jaccard, prompts, answers FROM pairs WHERE accepted AND other_id = $kept AND (row_id = $row OR row_id IN "
            "(SELECT other_id FROM pairs WHERE row_id = $row AND accepted AND jaccard = 1)) ORDER BY row_id <> $row LIMIT 1"
        )
        life.pair = _one(db, query, {"row": full, "kept": dropped["kept_row_id"]})
        if dropped["reason"] == "near_duplicate":
            life.differs = list(_differs(db, full, dropped["kept_row_id"]))
        return
    query = "SELECT row_id, source, reason, detail, jaccard FROM dropped WHERE stage = 'dedup' AND kept_row_id = ? ORDER BY jaccard, row_id"
    life.stands_for = _all(db, query, [full])
    query = (
        "SELECT p.row_id, c.source, p.jaccard, p.prompts, p.answers FROM (SELECT other_id AS row_id, * EXCLUDE (row_id, other_id) "
        "FROM pairs WHERE row_id = $row AND NOT accepted UNION ALL SELECT row_id, * EXCLUDE (row_id, other_id) FROM pairs "
        "WHERE other_id = $row AND NOT accepted) AS p JOIN rows AS c USING (row_id) ORDER BY p.jaccard DESC, p.row_id LIMIT $most"
    )
    life.nearly = _all(db, query, {"row": full, "most": _NEARLY})


def _differs(db: duckdb.DuckDBPyConnection, row_id: str, kept_id: str) -> Iterator[tuple[str, str]]:
    """Where the texts of two clean rows differ, and how."""
    columns = "messages, chosen, rejected, title, text"
    one, other = (_one(db, f"SELECT {columns} FROM clean WHERE row_id = ?", each) or {} for each in (row_id, kept_id))
    for name in columns.split(", "):
        a, b = one.get(name), other.get(name)
        if isinstance(a, list) and isinstance(b, list) and [m["role"] for m in a] == [m["role"] for m in b]:
            for number, (x, y) in enumerate(zip(a, b, strict=True)):
                if told := difference(x["content"], y["content"]):
                    yield f"{name}[{number}] ({x['role']})", told
            continue
        before, after = (_spoken(x) if isinstance(x, list) else x or "" for x in (a, b))
        if told := difference(before, after):
            yield name, told


def _find(db: duckdb.DuckDBPyConnection, row_id: str) -> dict[str, Any]:
    wanted = row_id.strip().lower()
    if len(wanted) < _LEAST_PREFIX or any(c not in "0123456789abcdef" for c in wanted):
        raise WarehouseError(f"{row_id!r} is no row_id: expected 32 hex characters, or at least the first {_LEAST_PREFIX}")
    found = db.execute("SELECT * FROM rows WHERE row_id >= ? AND row_id <= ? LIMIT 5", [wanted, wanted + "g"])
    columns = [d[0] for d in found.description or ()]
    rows = found.fetchall()
    if not rows:
        raise WarehouseError(f'no row begins with {wanted}; `corpus sql "SELECT row_id, source FROM rows LIMIT 10"` shows some')
    if len(rows) > 1:
        raise WarehouseError(f"{wanted} fits several rows: {', '.join(r[0] for r in rows)}; give more of it")
    return dict(zip(columns, rows[0], strict=True))


def _one(db: duckdb.DuckDBPyConnection, query: str, bound: str | dict[str, str]) -> dict[str, Any] | None:
    found = _all(db, query, [bound] if isinstance(bound, str) else bound)
    return found[0] if found else None


def _all(db: duckdb.DuckDBPyConnection, query: str, bound: Any) -> list[dict[str, Any]]:
    found = db.execute(query, bound)
    columns = [d[0] for d in found.description or ()]
    return [dict(zip(columns, row, strict=True)) for row in found.fetchall()]


def _raw(warehouse: Warehouse, build: Build, row: dict[str, Any], account: dict[str, Any] | None) -> tuple[str | None, str]:
    """The upstream record of a row as text, read again from its file, or None and why not."""
    outer = row["file"].partition("!")[0]
    path = (warehouse.root if row["source"] == adopted.NAME else Path(build.data)) / outer
    if not path.is_file():
        return None, f"{path} is not there any more"
    read = {p.parts["inputs"][outer][0] for p in build.made if p.stage == "parse" and outer in p.parts["inputs"]}
    if warehouse.index.look(path).digest not in read:
        return None, f"{path} has changed since it was read"
    if account and account["encoding"] == "utf-8" and "(" not in account["container"] and row["byte_length"] and row["file"] == outer:
        with path.open("rb") as f:
            f.seek(row["byte_offset"])
            return _decode(f.read(min(row["byte_length"], RAW_BOUND))), ""
    # A record of a dump names the stream that holds it: the others need not be decompressed.
    packed = account and account["encoding"] == "utf-8" and account["container"] == BZIP2_XML and row["file"] == outer
    part = stream_of(row["record"]) if packed else None
    own = next((c for c in build.settings["sources"] if c["name"] == row["source"] and c["files"]), None)
    declared = {k: own[k] for k in OWN_FIELDS} if own else None
    for opened in open_file(path, outer, resolve(row["source"], declared).format, part=part):
        for frame in opened.frames:
            if opened.name != row["file"]:
                continue
            for at, ordinal in enumerate(frame.ordinals):
                if ordinal == row["record"]:
                    value = frame.values[at]
                    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
                    return text[:RAW_BOUND], ""
    return None, f"{path} holds no record {row['record']}"


def _decode(data: bytes) -> str:
    """UTF-8 that may have been cut within its last character."""
    return (
        data.decode("utf-8", errors="backslashreplace")
        if len(data) < RAW_BOUND
        else data.decode("utf-8", errors="replace").rstrip("\ufffd")
    )


def _changes(build: Build, row: dict[str, Any]) -> Iterator[tuple[str, str, str, str]]:
    """What each rule changes in each text of a parsed row."""
    made = next((p for p in build.made if p.stage == NAME and p.key.partition("/")[0] == row["source"]), None)
    if made is None:
        return
    told = made.parts["clean"]
    settings = TextSettings(Traits.of(made.parts["traits"]), told["script"], tuple(told["mask"]))
    table = pa.Table.from_pylist([{c.name: row[c.name] for c in ROWS.columns}], schema=ROWS.schema)
    for rule in told["rules"]:
        written = rewrite(table, (rule,), settings)
        if not written.masks[rule].any():
            continue
        for name, column in written.content.items():
            before, after = table[name][0].as_py(), column[0].as_py()
            if before == after:
                continue
            if isinstance(before, list) and [m["role"] for m in before] == [m["role"] for m in after]:
                for number, (old, new) in enumerate(zip(before, after, strict=True)):
                    if old != new:
                        yield rule, f"{name}[{number}] ({old['role']})", old["content"], new["content"]
            elif isinstance(before, list):
                yield rule, name, _spoken(before), _spoken(after)
            else:
                yield rule, name, before, after
            table = table.set_column(table.schema.get_field_index(name), ROWS.schema.field(name), column)


def _spoken(messages: list[dict[str, str]]) -> str:
    return "\n".join(f"{m['role']}: {m['content']}" for m in messages)
