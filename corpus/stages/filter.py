"""filter: which of the clean rows go on, by what was measured of them.

Reads measures, never texts, and writes entries of the ledger: the rule, the row's value and the limit. So a changed threshold costs a
look at some narrow columns.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from corpus.executors.task import Report, Task
from corpus.licenses import commercial
from corpus.recipe import Limit
from corpus.schema import DROPPED
from corpus.sources import adopted
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
        # Only what bars a source is told, so that a recipe without `license` has the fingerprints that it always had.
        barred: dict[str, Any] = {} if terms is None else {"license": terms}
        each = _by_row(context, source) if terms is None else None
        if each is not None:
            barred = {"licenses": each}
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
                spec={"limits": limits, "terms": terms, "each": each},
                size=measured[0].bytes if measured else 0,
            )
        )
    return tasks


def _by_row(context: Context, source: str) -> dict[str, str | None] | None:
    """For the source of adopted rows, which have the terms of others: what bars these, by source, or None where terms do not count."""
    said = any(choice.name == source and choice.commercial is not None for choice in context.recipe.sources)
    if source != adopted.NAME or context.recipe.license != "commercial" or said:
        return None
    return {name: context.barred.get(name) for name in sorted(context.sources) if name != source}


def _terms(clean: pa.Table, barred: Mapping[str, str | None]) -> np.ndarray:
    """Of adopted rows (columns license and meta) the terms that bar each, or None. Those of a source that is gone are read again."""
    licenses = clean["license"].to_pylist()
    sources = [orjson.loads(meta).get("source") for meta in clean["meta"].to_pylist()]
    allowed = {terms: commercial(terms) is True for terms in set(licenses)}
    found = [
        barred[source] and terms if source in barred else None if allowed[terms] else terms
        for source, terms in zip(sources, licenses, strict=True)
    ]
    return np.array([*found, None], dtype=object)[:-1]


def run(task: Task, root: Path, report: Report) -> Partition:
    """Decides over one partition. It has a file only where rows are dropped."""
    entry = task.inputs[0].one("measures")
    limits: tuple[Limit, ...] = task.spec["limits"]
    needed = sorted({"row_id", "source", "kind", "excluded", "problem", *(limit.measure for limit in limits)})
    file = pq.ParquetFile(root / entry.path)
    dropped = []
    # Both files of a clean partition have the same rows in the same row groups.
    rows = pq.ParquetFile(root / task.inputs[0].one("clean").path) if task.spec["each"] is not None else None
    for group in range(file.num_row_groups):
        terms = task.spec["terms"] if rows is None else _terms(rows.read_row_group(group, columns=["license", "meta"]), task.spec["each"])
        dropped.append(decide(file.read_row_group(group, columns=needed), limits, terms))
        report(entry.bytes // file.num_row_groups, dropped[-1].num_rows)
    whole = pa.concat_tables(dropped) if dropped else DROPPED.schema.empty_table()
    if not whole.num_rows:
        return task.done([])
    with PartitionWriter(root, f"dropped/{NAME}/{task.key}.{task.fingerprint[:8]}.parquet", DROPPED.schema, "dropped") as ledger:
        ledger.write(whole.combine_chunks())
    return task.done([ledger.committed])


def decide(table: pa.Table, limits: Sequence[Limit], terms: str | np.ndarray | None = None) -> pa.Table:
    """Entries of the ledger (schema DROPPED) for those rows of `table` (columns of schema MEASURED) that do not go on.

    What the publisher excludes comes first, then what is wrong with the row's structure, then the limits in the recipe's order: a
    row has one entry, with the first reason. Where `terms` are given (for all rows, or for each its own or None), they bar the row and come
    before all else: duplicates are looked for among the rows that go on, so that a copy with other terms is kept.
    """
    n = table.num_rows
    reasons = np.full(n, None, dtype=object)
    details, rules = reasons.copy(), reasons.copy()
    values, bounds = np.full(n, np.nan), np.full(n, np.nan)
    excluded, problem = _objects(table["excluded"]), _objects(table["problem"])
    kinds = _objects(table["kind"])

    if terms is not None:
        out = np.ones(n, dtype=bool) if isinstance(terms, str) else terms != None  # noqa: E711 (elementwise)
        reasons[out], rules[out] = "license", "license"
        details[out] = terms if isinstance(terms, str) else terms[out]
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
