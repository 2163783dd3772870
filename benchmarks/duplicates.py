"""What duplicate removal took from a built warehouse, for a person to judge: `python -m benchmarks.duplicates WAREHOUSE [--recipe NAME]`.

Two Markdown lists come out: of each source how many of its rows are equal and how many near to a row that was kept, and the largest
clusters, each with a kept row, and what differs in the dropped one that is least similar to it. There is no figure that says whether
that is right; one has to read it.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from benchmarks.measure import table
from corpus.console import visible
from corpus.text.difference import difference
from corpus.warehouse.query import ask

_CLUSTERS = 20
_EXCERPT = 160

_LARGEST = """
WITH largest AS (
    SELECT cluster_id, any_value(size) AS size, count(*) FILTER (WHERE kept) AS kept, list(DISTINCT source ORDER BY source) AS sources
    FROM clusters GROUP BY cluster_id ORDER BY size DESC, cluster_id LIMIT $most::INTEGER
),
lost AS (
    SELECT c.cluster_id, count(*) FILTER (WHERE d.reason = 'exact_duplicate') AS exact,
        count(*) FILTER (WHERE d.reason = 'near_duplicate') AS near, min(d.jaccard) AS least,
        arg_min(d.row_id, (d.jaccard, d.row_id)) AS row_id, arg_min(d.kept_row_id, (d.jaccard, d.row_id)) AS kept_row_id
    FROM clusters AS c JOIN dropped AS d USING (row_id) SEMI JOIN largest AS l ON c.cluster_id = l.cluster_id
    WHERE d.stage = 'dedup' GROUP BY c.cluster_id
),
said AS (
    SELECT row_id,
        coalesce(text, array_to_string(list_transform(list_concat(messages, chosen, rejected), lambda m: m.content), ' ⏎ ')) AS text
    FROM clean SEMI JOIN (SELECT row_id FROM lost UNION SELECT kept_row_id FROM lost) USING (row_id)
)
SELECT l.cluster_id, l.size, l.kept, l.sources, x.exact, x.near, x.least, x.row_id, a.text, b.text
FROM largest AS l JOIN lost AS x USING (cluster_id) JOIN said AS a ON x.row_id = a.row_id JOIN said AS b ON x.kept_row_id = b.row_id
ORDER BY l.size DESC, l.cluster_id
"""


def sources(catalog: Path, recipe: str | None) -> str:
    """Rows, exact and near drops of each source that lost any, and of all together."""
    answer = ask(catalog, "duplicates-by-source", {}, recipe=recipe)
    rows = [dict(zip(answer.columns, row, strict=True)) for row in answer.rows]
    lost = [r for r in rows if r["exact"] or r["near"]]
    total = {name: sum(r[name] for r in rows) for name in ("rows", "exact", "near")}
    shown = [*lost, {"source": "all", "key": "", **total}]
    columns = [(r["source"], r["key"], f"{r['rows']:,}", f"{r['exact']:,}", f"{r['near']:,}", *_shares(r)) for r in shown]
    return table(("source", "key", "rows", "exact", "near", "exact, %", "near, %"), columns)


def _shares(row: dict[str, object]) -> tuple[str, str]:
    whole = int(str(row["rows"])) or 1
    exact, near = (100 * int(str(row[name])) / whole for name in ("exact", "near"))
    return f"{exact:.2f}", f"{near:.2f}"


def clusters(catalog: Path, recipe: str | None) -> str:
    """The largest clusters with excerpts."""
    out = []
    for _, size, kept, names, exact, near, least, row_id, one, other in ask(
        catalog, _LARGEST, {"most": str(_CLUSTERS)}, recipe=recipe
    ).rows:
        told = difference(one, other)
        out.append(
            f"- {size:,} rows of {', '.join(names)}: {kept:,} kept, {exact:,} equal, {near:,} near; "
            f"least similar {least:.3f} (`{row_id[:12]}`)\n"
            f"  - kept: {_code(other)}\n"
            f"  - differs: {_code(told, 400) if told else 'in nothing but white space'}"
        )
    return "\n".join(out)


def _code(text: str, most: int = _EXCERPT) -> str:
    """Text in a line of Markdown, as code."""
    line = visible(" ".join(text.split()))
    line = line if len(line) <= most else line[: most - 1] + "…"
    fence = "``" if "`" in line else "`"
    return f"{fence} {line} {fence}" if fence == "``" else f"{fence}{line}{fence}"


def main() -> None:
    """Prints both lists."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.duplicates", description=__doc__)
    parser.add_argument("warehouse", type=Path, metavar="WAREHOUSE", help="a built warehouse")
    parser.add_argument("--recipe", help="the recipe whose build to look at; by default the last one built")
    given = parser.parse_args()
    catalog = given.warehouse / "corpus.duckdb"
    print(sources(catalog, given.recipe), f"\nThe {_CLUSTERS} largest clusters:\n", clusters(catalog, given.recipe), sep="\n")


if __name__ == "__main__":
    main()
