"""filter: which of the clean rows go on, by what was measured of them.

Reads measures, never texts, and writes entries of the ledger: the rule, the row's value and the limit. So a changed threshold costs a
look at some narrow columns.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from corpus.executors.task import Report, Task
from corpus.licenses import commercial
from corpus.recipe import Limit
from corpus.schema import DROPPED
from corpus.stages.base import Context, parts
from corpus.warehouse.commit import PartitionWriter
from corpus.warehouse.manifest import Partition

NAME = "filter"
VERSION = 1


_PROBLEMS = {
    "empty": "nothing is left of a text that a row of this kind must have",
    "no_answer": "the last turn is not an answer with text",
    "no_question": "no turn of the user has text, or the last turn of a prompt is not the user's",
    "not_alternating": "two turns of one role follow each other, or the assistant begins",
}
"""What is behind a problem of a row's structure."""


def plan(context: Context, cleaned: list[Partition]) -> list[Task]:
    """One task per clean partition."""
    tasks = []
    for partition in cleaned:
        source = partition.key.partition("/")[0]
        limits = tuple(limit for limit in context.recipe.filter if limit.covers(source))
        measured = partition.of("measures")
        terms = context.barred.get(source)
        own = source in context.barred and terms is None
        # Only what bars a source is told, so that a recipe without `license` has the fingerprints that it always had.
        barred: dict[str, Any] = {"license": terms} if source in context.barred else {}
        told: dict[str, Any] = {}
        for limit in limits:
            name, again = limit.measure, sum(m.measure == limit.measure for m in limits[: len(told)])
            # Which sources a limit names is of no account to those that it covers.
            told[f"{name}.{again + 1}" if again else name] = limit.model_dump(
                mode="json", exclude={"sources", "measure"}, exclude_defaults=True
            )
        tasks.append(
            Task(
                stage=NAME,
                key=partition.key,
                parts=parts(NAME, VERSION, writes=(DROPPED,), inputs={partition.key: partition.fingerprint}, filter=told, **barred),
                run=run,
                inputs=(partition,),
                spec={"limits": limits, "terms": terms, "own": own},
                size=measured[0].bytes if measured else 0,
            )
        )
    return tasks


def run(task: Task, root: Path, report: Report) -> Partition:
    """Decides over one partition. It has a file only where rows are dropped."""
    entry = task.inputs[0].one("measures")
    limits: tuple[Limit, ...] = task.spec["limits"]
    needed = sorted({"row_id", "source", "kind", "excluded", "problem", *(limit.measure for limit in limits)})
    file = pq.ParquetFile(root / entry.path)
    whole = pq.read_table(root / task.inputs[0].one("clean").path, columns=["license"]) if task.spec["own"] else None
    dropped = []
    start = 0
    for group in range(file.num_row_groups):
        table = file.read_row_group(group, columns=needed)
        terms = task.spec["terms"]
        bars = [terms] * table.num_rows if whole is None else barring(whole["license"].slice(start, table.num_rows))
        start += table.num_rows
        dropped.append(decide(table, limits, bars))
        report(entry.bytes // file.num_row_groups, dropped[-1].num_rows)
    found = pa.concat_tables(dropped) if dropped else DROPPED.schema.empty_table()
    if not found.num_rows:
        return task.done([])
    with PartitionWriter(root, f"dropped/{NAME}/{task.key}.{task.fingerprint[:8]}.parquet", DROPPED.schema, "dropped") as ledger:
        ledger.write(found.combine_chunks())
    return task.done([ledger.committed])


def barring(licenses: pa.ChunkedArray) -> list[str | None]:
    """Of the terms of rows those that do not say that commercial use is allowed; None for the others."""
    allowed = {terms for terms in pc.unique(licenses).to_pylist() if commercial(terms) is True}
    return [None if terms in allowed else terms for terms in licenses.to_pylist()]


def decide(table: pa.Table, limits: Sequence[Limit], terms: Sequence[str | None] = ()) -> pa.Table:
    """Entries of the ledger (schema DROPPED) for those rows of `table` (columns of schema MEASURED) that do not go on.

    What the publisher excludes comes first, then what is wrong with the row's structure, then the limits in the recipe's order: a
    row has one entry, with the first reason. Terms that bar a row (`terms`, one for every row, or none at all) come before all else:
    duplicates are looked for among the rows that go on, so that a copy with other terms is kept.
    """
    n = table.num_rows
    reasons = np.full(n, None, dtype=object)
    details, rules = reasons.copy(), reasons.copy()
    values, bounds = np.full(n, np.nan), np.full(n, np.nan)
    excluded, problem = _objects(table["excluded"]), _objects(table["problem"])
    kinds = _objects(table["kind"])

    if len(terms):
        details[:] = terms
        barred = details != None  # noqa: E711 (elementwise)
        reasons[barred] = rules[barred] = "license"
    for found in (excluded, problem):
        new = (reasons == None) & (found != None)  # noqa: E711 (elementwise)
        reasons[new] = found[new]
        details[new] = ["marked by the publisher" if found is excluded else _PROBLEMS.get(what) for what in found[new]]

    for name in dict.fromkeys(limit.measure for limit in limits):
        mine = [limit for limit in limits if limit.measure == name]
        deciding = np.full(n, -1)
        for number, limit in enumerate(mine):
            deciding[np.isin(kinds, [str(k) for k in limit.kinds]) if limit.kinds else slice(None)] = number
        for number, limit in enumerate(mine):
            covered = (deciding == number) & (reasons == None)  # noqa: E711
            if limit.among:
                words = _objects(table[name])
                out = covered & (words != None) & ~np.isin(words.astype(str), limit.among)  # noqa: E711
                reasons[out], rules[out] = "limit", f"{name}.among"
                details[out] = [f"{name} is {w}, expected {' or '.join(limit.among)}" for w in words[out]]
                continue
            if limit.min is None and limit.max is None:
                continue  # a limit without bounds lifts an earlier one, for words too
            numbers = table[name].cast(pa.float64()).to_numpy()
            for side, bound in (("min", limit.min), ("max", limit.max)):
                if bound is None:
                    continue
                out = covered & ((numbers < bound) if side == "min" else (numbers > bound)) & (reasons == None)  # noqa: E711
                reasons[out], rules[out] = "limit", f"{name}.{side}"
                values[out], bounds[out] = numbers[out], bound
                details[out] = [f"{name} is {v:g}, {'at least' if side == 'min' else 'at most'} {bound:g}" for v in numbers[out]]

    keep = pa.array(reasons != None)  # noqa: E711
    nothing = {"kept_row_id": pa.nulls(n, pa.string()), "jaccard": pa.nulls(n, pa.float64())}
    told = {"reason": reasons, "detail": details, "rule": rules}
    columns = {
        "row_id": table["row_id"],
        "source": table["source"],
        "stage": pa.repeat(NAME, n),
        **{name: pa.array(column, pa.string()) for name, column in told.items()},
        **{name: pa.array(column, pa.float64(), from_pandas=True) for name, column in (("value", values), ("bound", bounds))},
        **nothing,
    }
    return pa.table([columns[c.name] for c in DROPPED.columns], names=DROPPED.schema.names).filter(keep).cast(DROPPED.schema)


def _objects(column: pa.ChunkedArray) -> np.ndarray:
    return np.array(pc.cast(column, pa.string()).to_pylist(), dtype=object)
