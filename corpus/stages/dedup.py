"""dedup: which rows say the same, and which of them is kept.

Looks at the sketches of all rows at once: equal keys (in DuckDB, spilling to disk), and bands in which rows meet. Rows that meet are read
again and judged by exact similarity. Writes the ledger of what was dropped, the clusters and the compared pairs.

What was judged is remembered by component: a component in which nothing has changed since the last build is not read again, so that a new
source costs little more than its own rows.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import duckdb
import numpy as np
import pyarrow as pa

from corpus.executors.task import Report, Task
from corpus.schema import CLUSTERS, DROPPED, JUDGED, PAIRS, SKETCHED, Table
from corpus.stages import sketch, sql, stock
from corpus.stages.base import Context, parts
from corpus.warehouse.commit import PartitionWriter
from corpus.warehouse.manifest import FileEntry, Partition

if TYPE_CHECKING:
    from corpus.dedup.near import Piece, Verdicts

NAME = "dedup"
VERSION = 3
_ROWS_AT_ONCE = 100_000
_EXAMPLES = 3


def plan(
    context: Context, cleaned: list[Partition], ledgers: list[Partition], stocks: list[Partition], sketches: list[Partition]
) -> list[Task]:
    """One task for the whole recipe. `ledgers`: what the stages before dropped."""
    dedup = context.recipe.dedup.model_dump(mode="json", exclude={"limits", "template_share"})
    told = {
        "dedup": dedup, "keys": dict(context.keys), "priority": dict(context.priority), "protected": sorted(context.protected),
        "folder": context.folder,
    }  # fmt: skip
    inputs = (*cleaned, *ledgers, *stocks, *sketches) if dedup["exact"] else tuple(ledgers)
    return [
        Task(
            stage=NAME,
            key=context.folder,
            parts=parts(
                NAME,
                VERSION,
                writes=(DROPPED, CLUSTERS, PAIRS, JUDGED),
                inputs={f"{p.stage}:{p.key}": p.fingerprint for p in (*ledgers, *sketches)},
                libs=("pyarrow", "duckdb", "numpy"),
                **{k: v for k, v in told.items() if k != "folder"},
            ),
            run=run,
            inputs=inputs,
            spec={**told, "before": context.judged},
            size=sum(f.bytes for p in sketches for f in p.files),
        )
    ]


def run(task: Task, root: Path, report: Report) -> Partition:
    """Finds the duplicates of the recipe."""
    folder = task.spec["folder"]
    tables = _Tables.of(task, root)
    stem, number = f"dedup/{folder}", f"{task.fingerprint[:8]}.parquet"
    with sql.session(root) as db:
        report(task.size // 2, 0)
        judged = tables.fill(db)
        report(task.size // 2, tables.total)
        files = [
            save(db, sql.text("corpus.stages", f"dedup_{name}.sql"), root, path, table, table.name)
            for name, path, table in (
                ("ledger", f"dropped/{NAME}/{folder}.{number}", DROPPED),
                ("clusters", f"{stem}/clusters.{number}", CLUSTERS),
                ("pairs", f"{stem}/pairs.{number}", PAIRS),
            )
        ]
        stats = _figures(db)
    if judged is not None:
        with PartitionWriter(root, f"{stem}/judged.{number}", JUDGED.schema, "judged") as writer:
            writer.write(judged)
        files.append(writer.committed)
    return task.done(files, **stats)


@dataclass(frozen=True, slots=True)
class _Tables:
    """The rows of a recipe, by number: those of the first sketch partition come first."""

    root: Path
    spec: Mapping[str, Any]
    dropped: str
    clean: list[FileEntry]
    sketched: list[FileEntry]
    bands: list[FileEntry]
    sources: list[str]
    makings: list[str]
    stock: Mapping[str, np.ndarray]

    @classmethod
    def of(cls, task: Task, root: Path) -> _Tables:
        by_stage: dict[str, dict[str, Partition]] = {}
        for p in task.inputs:
            by_stage.setdefault(p.stage, {})[p.key] = p
        sketches = by_stage.get(sketch.NAME, {})
        return cls(
            root,
            task.spec,
            sql.ledger(root, task.inputs),
            [by_stage["clean"][key].one("clean") for key in sketches],
            [p.one("sketched") for p in sketches.values()],
            [f for p in sketches.values() for f in p.of("bands")],
            [key.partition("/")[0] for key in sketches],
            [p.fingerprint for p in sketches.values()],
            {key: stock.shingles_of(root, p) for key, p in by_stage.get(stock.NAME, {}).items()},
        )

    @property
    def total(self) -> int:
        """Rows of all partitions."""
        return sum(f.rows for f in self.sketched)

    @property
    def bases(self) -> np.ndarray:
        """The number of the first row of each partition, and of the row after the last (int64)."""
        return np.concatenate([[0], np.cumsum([f.rows for f in self.sketched])]).astype(np.int64)

    def fill(self, db: duckdb.DuckDBPyConnection) -> pa.Table | None:
        """Makes the tables `alive`, `found` and `pairs`; returns what was judged, of schema JUDGED, or None where nothing is near."""
        db.execute("CREATE TABLE parts(path VARCHAR, base BIGINT)")
        db.execute("CREATE TABLE sources(source VARCHAR, priority INTEGER, protected BOOLEAN)")
        protected = set(self.spec["protected"])
        for name, priority in self.spec["priority"].items():
            db.execute("INSERT INTO sources VALUES (?, ?, ?)", [name, priority, name in protected])
        if self.sketched:
            places = pa.table({"path": [str(self.root / f.path) for f in self.sketched], "base": self.bases[:-1]})
            db.register("places", places)
            db.execute("INSERT INTO parts SELECT * FROM places")
            rows = sql.read(self.root, self.sketched).replace("])", "], filename = true, file_row_number = true)")
        else:
            rows = sql.empty(SKETCHED, filename="VARCHAR", file_row_number="BIGINT")
        db.execute(sql.text("corpus.stages", "dedup.sql").format(sketched=rows, dropped=self.dropped))
        db.execute("CREATE TEMP TABLE verdicts(number BIGINT, keeper BIGINT, jaccard DOUBLE, component BIGINT)")
        db.execute("CREATE TEMP TABLE pairs(number BIGINT, other BIGINT, jaccard DOUBLE, prompts DOUBLE, answers DOUBLE, accepted BOOLEAN)")
        judged = _Near(self, db).run() if self.spec["dedup"]["near"] and self.bands else None
        db.execute(sql.text("corpus.stages", "dedup_result.sql"))
        return judged

    def read(self, wanted: np.ndarray | None = None) -> Iterator[Piece]:
        """See `corpus.dedup.near.Rows`."""
        from corpus.dedup.near import Piece
        from corpus.stages.compared import pieces

        for entry, source, start, end in zip(self.clean, self.sources, self.bases[:-1].tolist(), self.bases[1:].tolist(), strict=True):
            mask = None if wanted is None else wanted[start:end]
            if mask is not None and not mask.any():
                continue
            for numbers, part, _ in pieces(self.root / entry.path, self.spec["keys"][source], wanted=mask):
                yield Piece(numbers + start, part.texts, self.stock.get(source))


class _Near:
    """The near duplicates among the rows that go on."""

    def __init__(self, tables: _Tables, db: duckdb.DuckDBPyConnection) -> None:
        self._tables, self._db = tables, db

    def run(self) -> pa.Table:
        """Fills the tables `verdicts` and `pairs`, and returns what was judged by component."""
        import tempfile

        from corpus.dedup.bands import opened
        from corpus.dedup.minhash import Scheme
        from corpus.dedup.near import Measure, judged, meet
        from corpus.dedup.units import Unit
        from corpus.stages import remembered

        tables, db = self._tables, self._db
        dedup = tables.spec["dedup"]
        measure = Measure(Unit(dedup["unit"]), Scheme.of(dedup["threshold"]), (dedup["prompts"], dedup["answers"]))
        alive = np.zeros(tables.total, dtype=np.bool_)
        numbers = db.execute("SELECT number FROM alive ANTI JOIN (SELECT number FROM equal WHERE again) USING (number)").fetchnumpy()
        alive[numbers["number"]] = True
        for source, start, end in zip(tables.sources, tables.bases[:-1].tolist(), tables.bases[1:].tolist(), strict=True):
            if tables.spec["keys"][source] == "exact":
                alive[start:end] = False
        met, labels = meet([opened(tables.root / f.path) for f in tables.bands], alive)
        db.register("met", pa.table({"number": met}))
        known = db.sql(
            "SELECT row_id, row_number() OVER (ORDER BY place) AS place, protected FROM alive JOIN met USING (number) ORDER BY number"
        ).to_arrow_table()
        db.unregister("met")
        places, protected = known["place"].to_numpy(), known["protected"].to_numpy()
        components = remembered.components(
            known["row_id"], met, labels, places, protected, tables.bases, tables.makings, {**dedup, "version": VERSION}
        )  # fmt: skip
        old = remembered.load(tables.root, tables.spec["before"], components)
        new = np.flatnonzero(~old.known[components.of_row])
        made = [*old.verdicts]
        counts = self._counts(met[new])
        with tempfile.TemporaryDirectory(prefix=".spill-", dir=tables.root) as spill:
            for verdicts in judged(
                tables, measure, met[new], labels[new], places[new], protected[new], counts, Path(spill), tables.total
            ):  # fmt: skip
                made.append(verdicts)
                self._insert(verdicts)
        for verdicts in old.verdicts:
            self._insert(verdicts)
        return remembered.table(components, made)

    def _counts(self, rows: np.ndarray) -> np.ndarray:
        """How many shingles rows have (uint32)."""
        import pyarrow.parquet as pq

        out, bases = [], self._tables.bases
        cuts = np.searchsorted(rows, bases)
        for entry, base, start, end in zip(self._tables.sketched, bases.tolist(), cuts[:-1].tolist(), cuts[1:].tolist(), strict=False):
            if end > start:
                column = pq.read_table(self._tables.root / entry.path, columns=["shingles"])["shingles"].to_numpy()
                out.append(column[rows[start:end] - base])
        return np.concatenate(out) if out else np.zeros(0, dtype=np.uint32)

    def _insert(self, verdicts: Verdicts) -> None:
        keepers = pa.array(verdicts.keepers, mask=verdicts.keepers < 0)
        rows = {"number": verdicts.rows, "keeper": keepers, "jaccard": verdicts.jaccard, "component": verdicts.components}
        similar = {name: pa.array(verdicts.similarity[:, i], from_pandas=True) for i, name in enumerate(("jaccard", "prompts", "answers"))}
        pairs = {"number": verdicts.pairs[:, 0], "other": verdicts.pairs[:, 1], **similar, "accepted": verdicts.accepted}
        for table, columns in (("verdicts", rows), ("pairs", pairs)):
            self._db.register("new_rows", pa.table(columns))
            self._db.execute(f"INSERT INTO {table} SELECT * FROM new_rows")
            self._db.unregister("new_rows")


def _figures(db: duckdb.DuckDBPyConnection) -> dict[str, Any]:
    """What guards look at: rows and near drops of each source, with examples, and the largest component of near pairs."""
    near = db.execute(
        "SELECT a.source, count(*), count(f.number) FILTER (WHERE f.is_near) "
        "FROM alive AS a LEFT JOIN found AS f ON a.number = f.number GROUP BY 1 ORDER BY 1"
    ).fetchall()
    largest = db.execute(
        "SELECT count(*) AS size, min_by(a.row_id, a.place) FROM verdicts AS v JOIN alive AS a ON v.number = a.number "
        "GROUP BY v.component ORDER BY size DESC, 2 LIMIT 1"
    ).fetchone()
    examples = db.execute(
        "SELECT f.source, f.row_id, k.row_id, f.jaccard FROM found AS f JOIN alive AS k ON f.keeper = k.number WHERE f.is_near "
        "QUALIFY row_number() OVER (PARTITION BY f.source ORDER BY f.row_id) <= ? ORDER BY 1, 2",
        [_EXAMPLES],
    ).fetchall()
    return {
        "sources": {source: [rows, dropped] for source, rows, dropped in near},
        "largest": list(largest) if largest else [0, ""],
        "examples": [list(e) for e in examples],
    }


def save(
    db: duckdb.DuckDBPyConnection,
    query: str,
    root: Path,
    relative: str,
    table: Table,
    name: str,
    bound: Mapping[str, Any] | None = None,
) -> FileEntry:
    """Commits the result of an ordered query as one file of schema `table`, in row groups of bounded size. `bound`: its parameters."""
    with PartitionWriter(root, relative, table.schema, name) as writer:
        for batch in db.sql(query, params=bound).to_arrow_reader(_ROWS_AT_ONCE):
            writer.write(pa.table(batch.columns, names=table.schema.names).cast(table.schema))
    return writer.committed
