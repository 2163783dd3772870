"""What the verbs of the command line print: the summary of a build, a plan, the life of a row, answers, audits, sources."""

from __future__ import annotations

import codecs
import shlex
from collections import Counter
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from corpus.console import OUT, as_csv, command, count, table, to_json, visible, write
from corpus.pipeline import STAGES, Change, Outcome, Plan
from corpus.warehouse.audit import Audit
from corpus.warehouse.query import Answer, Question
from corpus.why import Life

if TYPE_CHECKING:
    from corpus.dedup.minhash import Scheme
    from corpus.near import Found
    from corpus.sources.fetch import Fetched  # imports the hub's client, which no other verb needs

_LISTED = 10
_SHOWN_CHARS = 1500
_EXCERPT = 200


def _say(text: str = "") -> None:
    OUT.print(text, markup=False)


def outcome(done: Outcome, root: Path, *, as_json: bool) -> None:
    """The summary of a build."""
    figures = done.build.figures
    if as_json:
        counts = {"built": dict(done.built), "reused": dict(done.unchanged), "seconds": round(done.seconds, 3), "changed": done.changed}
        told = {"unclaimed": done.unclaimed, "missing": dict(done.build.missing)}
        write(to_json({"recipe": done.build.recipe, **counts, **figures, **told}) + "\n")
        return
    recipe = done.build.recipe
    if not done.changed:
        _say(
            f"Nothing has changed: recipe {recipe} is up to date "
            f"({count(sum(done.unchanged.values()), 'partition')} checked in {done.seconds:.1f} s)."
        )
    else:
        _say(
            f"Built recipe {recipe} in {done.seconds:.1f} s: {count(sum(done.built.values()), 'partition')} made, "
            f"{sum(done.unchanged.values()):,} reused. All audits passed."
        )
    [totals] = figures["totals"]
    _say()
    table(
        ("sources", "files", "records", "rows", "rejects", "recovered", "dropped", "kept"),
        [[totals[k] for k in ("sources", "files", "records", "rows", "rejects", "recovered", "dropped", "kept")]],
        right=("sources", "files", "records", "rows", "rejects", "recovered", "dropped", "kept"),
    )
    if figures["splits"]:
        _say()
        table(("split", "part", "rows"), [[s["split"], s["part"], s["rows"]] for s in figures["splits"]], right=("rows",))
    for title, key in (("rejected records", "rejects"), ("dropped rows", "drops")):
        if figures[key]:
            _say()
            table((title, "", "count"), [[r["reason"], r["meaning"], r["count"]] for r in figures[key]], right=("count",))
    for row in figures["empty"]:
        _say(f"\nWarning: source {row['source']} gave no row at all: {count(row['rejects'], 'record')} rejected")
    for row in figures.get("lengthy", ()):  # builds of earlier versions did not ask
        _say(
            f"\nWarning: {row['split']} from {row['source']}: the longer side is the chosen one in {row['percent']:.0f} % of "
            f"{count(row['pairs'], 'pair')}: a model learns length from it (`{command()} sql pairs`)"
        )
    if done.unclaimed:
        _say()
        shown = ", ".join(visible(f) for f in done.unclaimed[:5])
        more = f" and {len(done.unclaimed) - 5:,} more" if len(done.unclaimed) > 5 else ""
        _say(f"{count(len(done.unclaimed), 'file')} that no source of the recipe claims, not read: {shown}{more}")
    _say()
    place = "" if root == Path("warehouse") else f" --warehouse {shlex.quote(str(root))}"
    corpus = command()
    hints = [
        *([(f"{corpus} sql reject-reasons{place}", "which records could not become rows, and why")] if figures["rejects"] else []),
        *([(f"{corpus} sql drops{place}", "what each source lost, and why")] if figures["drops"] else []),
        (f"{corpus} sql shares{place}", "what each split asked of each source, and what it got"),
        (f"{corpus} sql{place}", "all ready questions"),
        *((f"{corpus} why {row['row_id'][:12]}{place}", "the life of one row") for row in figures["example"]),
        (f"{corpus} audit{place}", "what must hold, and that it does"),
        (str(root / "corpus.duckdb"), "the catalog: rows, rejects, dropped, splits, lineage …"),
        (f"{root / 'splits' / recipe}/", "the training sets: a folder of parquet files each"),
    ]
    width = max(len(what) for what, _ in hints)
    _say("Where to look next:")
    for what, tells in hints:
        _say(f"  {what:{width}}  {tells}")
    if done.build.missing:
        _say()
        _missing(done.build.missing)


def planned(found: Plan, *, everything: bool, as_json: bool) -> None:
    """What a build would do."""
    if not as_json:
        _planned(found, everything=everything)
        if found.missing:
            _say()
            _missing(found.missing)
        return
    listed = [{"stage": c.stage, "key": c.key, "why": c.why, "certain": c.certain} for c in found.changes]
    told = {
        "changes": listed,
        "unchanged": dict(found.unchanged),
        "unclaimed": found.unclaimed,
        "missing": dict(found.missing),
    }
    write(to_json({**told, "near": _bands(found.scheme) if found.scheme else None}) + "\n")


def _planned(found: Plan, *, everything: bool) -> None:
    if not found.changes:
        _say(f"Nothing would be rebuilt: {count(sum(found.unchanged.values()), 'partition')}, all up to date.")
        _curve(found.scheme)
        return
    rows = []
    for stage in [s for s in STAGES if found.unchanged[s] or any(c.stage == s for c in found.changes)]:
        changes = [c for c in found.changes if c.stage == stage]
        certain = sum(c.certain for c in changes)
        # Thousands of partitions that changed for one reason are one line, though each names itself in it.
        reasons = Counter(_general(c) for c in changes).most_common()
        why = "; ".join(f"{w} ({n:,})" if len(reasons) > 1 else w for w, n in reasons[:3])
        if len(reasons) > 3:
            why += f"; and {len(reasons) - 3} other reasons"
        rows.append([stage, certain, len(changes) - certain, found.unchanged[stage], why])
    table(("stage", "rebuild", "perhaps", "keep", "why"), rows, right=("rebuild", "perhaps", "keep"))
    if any(not c.certain for c in found.changes):
        _say("\nPerhaps: what an earlier stage finds will decide.")
    _say()
    named = found.changes if everything else found.changes[:_LISTED]
    for c in named:
        _say(visible(f"{c.stage} {c.key}: {c.why}{'' if c.certain else ' (perhaps)'}"))
    if len(named) < len(found.changes):
        _say(f"… and {len(found.changes) - len(named):,} more (--all)")
    _curve(found.scheme)


def _missing(missing: Mapping[str, str]) -> None:
    """What the recipe names and was not found, with the way to get it: what one command fetches on one line."""
    _say(f"{count(len(missing), 'source')} that the recipe names {'was' if len(missing) == 1 else 'were'} not found, to be had by:")
    fetched = [name for name, way in missing.items() if way == f"corpus fetch {name}"]
    if fetched:
        _say(f"  {command()} fetch {' '.join(fetched)}")
    for name, way in missing.items():
        if name not in fetched:
            _say(visible(f"  {name}: {way}"))


_SIMILARITIES = (0.5, 0.6, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95)


def _bands(scheme: Scheme) -> dict[str, Any]:
    """How near duplicates are looked for, and with which chance they are found; see `corpus.dedup.minhash`."""
    return {
        "threshold": scheme.threshold,
        "bands": scheme.bands,
        "rows": scheme.rows,
        "found": {f"{j:g}": scheme.found(j) for j in _SIMILARITIES},
        "missed_at": 1 - scheme.found(scheme.threshold),
        "missed_above": scheme.missed(),
    }


def _curve(scheme: Scheme | None) -> None:
    """The chance that bands find a pair of rows, by their similarity."""
    if scheme is None:
        return
    told = _bands(scheme)
    _say(
        f"\nNear duplicates, from {scheme.threshold:g} on: {count(scheme.bands, 'band')} of {count(scheme.rows, 'value')} bring pairs "
        f"together. Of pairs just at {scheme.threshold:g} they miss {_percent(told['missed_at'])}, of all from there to 1 "
        f"{_percent(told['missed_above'])}."
    )
    table(("similarity", *told["found"]), [["found", *map(_percent, told["found"].values())]], right=tuple(told["found"]))


def _percent(share: float) -> str:
    return f"{100 * share:.2g} %" if share < 0.1 else f"{100 * share:.0f} %" if share < 0.985 or share == 1 else f"{100 * share:.4g} %"


def _general(change: Change) -> str:
    """Why a partition would be built, without its own name, so that all with the same reason say the same."""
    own = f"input {change.key.partition(':')[2] or change.key} changed"
    pieces = ["its rows changed" if piece == own else piece for piece in change.why.split("; ")]
    return "; ".join(sorted(pieces, key=lambda piece: piece == "its rows changed"))


def life(found: Life, *, as_json: bool) -> None:
    """The life of a row."""
    row = found.row
    if as_json:
        from dataclasses import asdict

        write(to_json(asdict(found)) + "\n")
        return
    _say(f"row       {row['row_id']}")
    _say(f"source    {row['source']}" + (f", {visible(row['subset'])}" if row["subset"] else "") + f"  ({row['license']})")
    place = f", byte {row['byte_offset']:,}" if row["byte_offset"] is not None else ""
    _say(
        f"upstream  {visible(row['file'])}, record {row['record']:,}{place}"
        + (f", marked {row['upstream_split']}" if row["upstream_split"] else "")
    )
    if row["first_id"]:
        _say(f"repeats   {row['first_id']}")
    if row["recovered"]:
        _say(f"recovered {row['recovered']}")
    _block("raw record", found.raw if found.raw is not None else f"({found.raw_problem})")
    _block(f"as parsed ({row['kind']})", _content(row))
    if row["meta"]:
        _block("meta", row["meta"])
    for rule, where, before, after in found.changes:
        _block(f"rule {rule} changed {where}", f"before: {_excerpt(before, after)!r}\nafter:  {_excerpt(after, before)!r}")
    if not found.changes:
        _say("\nno rule changed anything")
    told = [f"{name} {value:.3g}" if isinstance(value, float) else f"{name} {value}" for name, value in found.measures.items() if value]
    if told:
        _block("measured, where it is not nothing", ", ".join(told))
    if found.cluster:
        _say(f"\ncluster of {len(found.cluster):,} rows that are equal or near")
        for other, source, kept in found.cluster[:_LISTED]:
            _say(f"  {other}  {source}  {'kept' if kept else 'dropped'}")
        if len(found.cluster) > _LISTED:
            _say(f"  … and {len(found.cluster) - _LISTED:,} more")
    if found.dropped:
        d = found.dropped
        detail = f" ({d['detail']})" if d["detail"] else ""
        _say(f"\ndropped by {d['stage']}: {d['reason']}{detail}")
        if found.kept_instead:
            k = found.kept_instead
            _say(f"kept instead: {k['row_id']}, {k['source']}, {visible(k['file'])} record {k['record']:,}")
        if found.pair and d["reason"] == "near_duplicate":
            _say(f"similarity: {_similarity(found.pair)}")
        for place, difference in found.differs:
            _block(f"differs in {place}: [-only here-]{{+only in the kept row+}}", difference)
    if found.stands_for:
        _say(f"\nstands for {count(len(found.stands_for), 'dropped row')}")
        for twin in found.stands_for[:_LISTED]:
            near = f"near, Jaccard {twin['jaccard']:.3f}" if twin["reason"] == "near_duplicate" else "equal"
            _say(f"  {twin['row_id']}  {twin['source']}  {near}")
        if len(found.stands_for) > _LISTED:
            _say(f"  … and {len(found.stands_for) - _LISTED:,} more")
    if found.nearly:
        _say("\ncompared, and not near enough")
        for neighbour in found.nearly:
            _say(f"  {neighbour['row_id']}  {neighbour['source']}  {_similarity(neighbour)}")
    for split, part, text, start in found.splits:
        cut = f", without its first {count(start, 'turn')}, to keep the split's length" if start else ""
        _block(f"in split {split}/{part}, template {found.template}{cut}", text)


def neighbours(found: Found, *, as_json: bool) -> None:
    """The rows that are like a text."""
    if as_json:
        from dataclasses import asdict

        told = {k: v for k, v in asdict(found).items() if k != "scheme"} | {"chance": found.scheme.found(found.least)}
        write(to_json(told) + "\n")
        return
    for row in found.rows:
        parts = [
            (name, value)
            for name, value in (
                ("prompt", row.prompt),
                ("answer", row.answer),
                ("rejected answer", row.rejected),
                ("holds", row.held if row.way == "held" else None),
            )
            if value
        ]
        compared = row.compared if row.compared in ("prompt", "answer") else "whole row"
        values = ", ".join(f"{name} {value:.3f}" for name, value in [(compared, row.similarity), *(p for p in parts if p[0] != compared)])
        _say(f"{row.row_id}  {row.source}  {values}")
        d = row.dropped
        if d:
            detail = f" ({visible(d['detail'])})" if d["detail"] else ""
            kept = f", for {d['kept_row_id']}" if d["kept_row_id"] else ""
            _say(f"  dropped by {d['stage']}: {d['reason']}{detail}{kept}")
        else:
            _say(f"  kept: {', '.join(row.splits)}")
        _say(f"  {visible(row.differs or row.text[:_EXCERPT] + ('…' if len(row.text) > _EXCERPT else ''))}".replace("\n", " "))
    if found.more:
        _say(f"… and {found.more:,} more (--limit)")
    if not found.rows:
        _say(f"no row of a similarity of {found.least:g} or more")
    how = "every row was read" if found.scanned else "by bands and prompts"
    _say(f"\n{count(found.compared, 'row')} compared exactly, {how}")
    if not found.scanned:
        chances = ", ".join(f"{100 * found.scheme.found(j):.1f} % at {j:g}" for j in sorted({found.least, found.scheme.threshold}))
        _say(
            f"Of rows that are similar as a whole, bands find {chances}; of prompts, answers and passages alone only "
            "prompts that are equal: --scan reads every row and misses none."
        )


def _similarity(pair: Mapping[str, Any]) -> str:
    """The similarities of a pair."""
    names = (("whole", "jaccard"), ("prompts", "prompts"), ("answers", "answers"))
    return ", ".join(f"{name} {pair[key]:.3f}" for name, key in names if pair[key] is not None)


def _content(row: Mapping[str, Any]) -> str:
    pieces = []
    for name in ("messages", "chosen", "rejected"):
        pieces += [f"{name} {m['role']}: {m['content']}" for m in row[name] or ()]
    pieces += [f"{name}: {row[name]}" for name in ("title", "text") if row[name] is not None]
    return "\n".join(pieces)


def _block(title: str, text: str) -> None:
    _say(f"\n{title}")
    cut = text[:_SHOWN_CHARS]
    for line in visible(cut).split("\n"):
        _say(f"  {line}")
    if len(text) > len(cut):
        _say(f"  … ({len(text):,} characters; --json has all)")


def _excerpt(text: str, other: str, around: int = 60) -> str:
    """The stretch of `text` in which it first differs from `other`."""
    at = next((i for i, (a, b) in enumerate(zip(text, other, strict=False)) if a != b), min(len(text), len(other)))
    start = max(0, at - around)
    return ("…" if start else "") + text[start : at + around] + ("…" if at + around < len(text) else "")


def questions(known: Mapping[str, Question], how: str) -> None:
    """The ready questions."""
    if how == "json":
        write(to_json([{"name": q.name, "about": q.about, "needs": q.needs, "takes": q.takes} for q in known.values()]) + "\n")
        return
    table(("query", "parameters", "what it answers"), [[q.name, q.parameters, q.about] for q in known.values()])


def answer(found: Answer, how: str, most: int | None) -> None:
    """What a query returned."""
    if how == "csv":
        write(as_csv(found.columns, found.rows))
    elif how == "json":
        write(to_json([dict(zip(found.columns, row, strict=True)) for row in found.rows]) + "\n")
    else:
        numeric = [c for i, c in enumerate(found.columns) if any(isinstance(r[i], (int, float)) for r in found.rows)]
        table(found.columns, [[_short(v) for v in row] for row in found.rows], right=numeric)
        if most is not None and len(found.rows) == most:
            _say(f"(the first {most:,} rows; --limit shows more)")


def _short(value: Any) -> Any:
    if isinstance(value, bytes):  # a rejected record is text, mostly; its end may lie within a character
        with suppress(UnicodeDecodeError):
            text = codecs.getincrementaldecoder("utf-8")().decode(value)
            value = text if all(c.isprintable() or c.isspace() for c in text) else value
    if isinstance(value, str) and len(value) > 300:
        return value[:300] + "…"
    return value


def audits(results: Iterable[Audit], *, as_json: bool) -> bool:
    """What the audits found; returns whether any failed."""
    found = list(results)
    failed = any(a.rows for a in found)
    if as_json:
        write(
            to_json([{"audit": a.name, "about": a.about, "wrong": a.rows, "columns": a.columns, "examples": a.examples} for a in found])
            + "\n"
        )
        return failed
    table(("audit", "wrong rows", "what must hold"), [[a.name, a.rows, a.about] for a in found], right=("wrong rows",))
    for a in found:
        for example in a.examples:
            _say(f"{a.name}: {dict(zip(a.columns, example, strict=True))}")
    _say(f"\n{count(len(found), 'audit')}, " + ("some FAILED" if failed else "all passed"))
    return failed


def sources(rows: list[dict[str, Any]], scanned: Any, *, detailed: bool, as_json: bool) -> None:
    """The list of sources."""
    if as_json:
        unclaimed = [f.path for f in scanned.unclaimed] if scanned else None
        faults = [{"path": f.path, "source": f.source, "reason": f.reason, "detail": f.detail} for f in scanned.faults] if scanned else None
        write(to_json({"sources": rows, "unclaimed": unclaimed, "faults": faults}) + "\n")
        return
    if detailed:
        for r in rows:
            _say(f"{r['name']}: {r['about']}")
            _say(
                (f"  address    {r['address']}\n" if r["address"] else "") + f"  licence    {r['license']}\n"
                f"  languages  {', '.join(r['languages'])}\n  yields     {', '.join(r['kinds'])}"
            )
            if r["patterns"]:
                _say(f"  files      {', '.join(r['patterns'])}  (below --data, in {r['folder']}/)")
            else:
                _say(f"  files      {r['folder']}/<recipe>/<run>.jsonl in the warehouse")
            if r["files"] is not None:
                _say(f"  found      {count(r['files'], 'file')}, {r['bytes'] / 1e6:,.1f} MB")
            _say(f"  to get it  {r['get']}\n")
        return
    columns = ["source", "what it is", "licence as stated upstream", *(["files", "MB"] if scanned else []), "get"]
    body = []
    for r in rows:
        get = "" if scanned and r["files"] else "fetch" if r["fetch"] else "by hand"
        have = [r["files"], f"{r['bytes'] / 1e6:,.1f}" if r["files"] else ""] if scanned else []
        body.append([r["name"], r["about"], r["license"], *have, get])
    table(columns, body, right=("files", "MB"))
    corpus = command()
    _say(f"\n{count(len(rows), 'source')}; `{corpus} sources NAME` tells more of one; `{corpus} fetch NAME` downloads what says fetch")
    if scanned:
        files = sum(map(len, scanned.files.values()))
        _say(f"{count(files, 'file')} of {count(len(scanned.files), 'source')} found in {scanned.root}")
        for fault in scanned.faults:
            _say(visible(f"{fault.path}: {fault.detail}"))
        if scanned.unclaimed:
            _say(
                "belongs to no source: "
                + ", ".join(visible(f.path) for f in scanned.unclaimed[:20])
                + (" …" if len(scanned.unclaimed) > 20 else "")
            )


def fetched(results: Iterable[Fetched]) -> bool:
    """What was fetched; returns whether anything is missing."""
    failed = False
    for result in results:
        failed |= not result.ok
        _say(visible(str(result)))
    return failed
