"""What the tests of duplicate removal share: rows, the stages run over them, and the similarity of two rows from their raw text.

The similarity is computed by the simplest means, without the project's own kernels: units by a regular expression, shingles as tuples,
sets as Python's. The alphabet of `make_rows` is one for which that expression is exact.
"""

from __future__ import annotations

import hashlib
import random
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from corpus.recipe import Recipe
from corpus.schema import CLEAN, DROPPED, MEASURED
from corpus.stages import dedup, sketch, stock
from corpus.stages.base import Context
from corpus.stages.clean import keys
from corpus.stages.spoken import CONVERSATIONS, TEXTS, Flat, Spoken
from corpus.warehouse.commit import write_table
from corpus.warehouse.inputs import InputIndex
from corpus.warehouse.manifest import Partition

Turns = tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Row:
    """A clean row, as far as duplicates are concerned."""

    id: str
    source: str = "one"
    kind: str = "dialogue"
    messages: Turns = ()
    chosen: Turns | None = None
    rejected: Turns | None = None
    title: str | None = None
    text: str | None = None
    upstream: str | None = None
    damage: int = 0

    @property
    def texts(self) -> list[tuple[str, str, str]]:
        """(place, role, text) of all texts of the row, in their order."""
        said = [(place, role, text) for place in CONVERSATIONS for role, text in getattr(self, place) or ()]
        return said + [(place, "", text) for place in TEXTS if (text := getattr(self, place)) is not None]

    @property
    def chars(self) -> int:
        """Characters of all texts."""
        return sum(len(text) for _, _, text in self.texts)


def named(number: object) -> str:
    """A row_id."""
    return hashlib.blake2b(str(number).encode(), digest_size=16).hexdigest()


def dialogue(number: object, question: str, answer: str, source: str = "one", **more: Any) -> Row:
    """A question with its answer."""
    return Row(named(number), source, "dialogue", (("user", question), ("assistant", answer)), **more)


def document(number: object, title: str | None, text: str, source: str = "one", **more: Any) -> Row:
    """A document."""
    return Row(named(number), source, "document", title=title, text=text, **more)


def prompt(number: object, question: str, source: str = "one", **more: Any) -> Row:
    """A prompt."""
    return Row(named(number), source, "prompt", (("user", question),), **more)


def preference(number: object, question: str, good: str, bad: str, source: str = "one", **more: Any) -> Row:
    """A question with two answers."""
    return Row(named(number), source, "preference", (("user", question),), (("assistant", good),), (("assistant", bad),), **more)


# --- the similarity of two rows, from their raw text

_UNIT = re.compile(r"[\u4e00-\u9fff]|[a-z]+|[0-9]+|[+=😀]")
_SIGNS = re.compile(r"[\u4e00-\u9fff]|[a-z]+|[0-9]+|[+=😀]|[^\w\s]")
N = 5


def _folded(text: str) -> str:
    return unicodedata.normalize("NFKC", text).casefold()


def shingles(text: str, pattern: re.Pattern[str] = _UNIT) -> list[tuple[str, ...]]:
    """Five units in a row; of a shorter text all of them."""
    units = pattern.findall(_folded(text))
    if not units:
        return []
    if len(units) < N:
        return [(f"of {len(units)}", *units)]
    return [tuple(units[i : i + N]) for i in range(len(units) - N + 1)]


def part_of(place: str, role: str) -> str:
    """What a text is in a conversation."""
    if place in TEXTS:
        return ""
    return (
        "answer" if place == "chosen" or (place == "messages" and role == "assistant") else "rejected" if place == "rejected" else "prompt"
    )


def counted(row: Row, key: str = "whole") -> tuple[list[tuple[str, str]], bool]:
    """(parts, text) of the texts that a key compares, and whether it is the key's own texts rather than the whole row."""
    last = len(row.messages) - 1
    asked = max((n for n, (place, role, _) in enumerate(row.texts) if place == "messages" and role == "user"), default=-1)
    texts, chosen = [], []
    for n, (place, role, text) in enumerate(row.texts):
        answers = place in ("chosen", "rejected", "text") or (place == "messages" and n == last and role == "assistant")
        parts = part_of(place, role)
        if n == asked:
            parts += "+last question"
        if place == "chosen" or (place == "messages" and n == last and role == "assistant"):
            parts += "+last answer"
        texts.append((parts, text))
        if key in ("prompt", "answer") and answers == (key == "answer"):
            chosen.append(("", text))
    return (chosen, True) if any(text for _, text in chosen) else (texts, False)


def sets(row: Row, key: str = "whole") -> dict[tuple[str, ...], set[str]]:
    """The shingles of a row, with the parts in which each is."""
    out: dict[tuple[str, ...], set[str]] = {}
    for pattern in (_UNIT, _SIGNS):
        for parts, text in counted(row, key)[0]:
            for shingle in shingles(text, pattern):
                out.setdefault(shingle, set()).update(parts.split("+"))
        if out:
            return out
    return {(): {""}}


def ratio(one: set[Any], other: set[Any]) -> float | None:
    """Jaccard similarity; None of nothing."""
    return len(one & other) / len(one | other) if one | other else None


@dataclass(frozen=True)
class Similar:
    """How similar two rows are."""

    whole: float
    prompts: float | None
    answers: float | None


def similar(a: Row, b: Row, keys: Mapping[str, str], stocks: Mapping[str, set[tuple[str, ...]]] | None = None) -> Similar:
    """The similarity of two rows: as a whole with and without what is stock, the lower of both; of what is asked, and answered."""
    both = [sets(row, keys.get(row.source, "whole")) for row in (a, b)]
    whole = ratio(set(both[0]), set(both[1])) or 0.0
    marked: set[tuple[str, ...]] = set()
    for row, found in zip((a, b), both, strict=True):
        own = set(found) & (stocks or {}).get(row.source, set())
        marked |= own if len(own) < len(found) else set()
    rest = [set(found) - marked for found in both]
    without = ratio(*rest)

    def lowest(*names: str) -> float | None:
        of = [ratio(*({s for s, parts in found.items() if part in parts} for found in both)) for part in names]
        return min((x for x in of if x is not None), default=None)

    asked, answered = lowest("prompt", "last question"), lowest("answer", "last answer", "rejected")
    return Similar(min(whole, 1.0 if without is None else without), asked, answered)


def stocks_of(rows: Iterable[Row], keys: Mapping[str, str], share: float = 0.02) -> dict[str, set[tuple[str, ...]]]:
    """What each source says in more than a share of its distinct rows, and in 20 at least. Of rows equal after folding the first by id
    speaks, and what rows of the same units say counts once."""
    by_source: dict[str, dict[Any, Row]] = {}
    for row in sorted(rows, key=lambda row: row.id):
        folded = (row.kind, tuple((p, r, "".join(t.casefold().split())) for p, r, t in row.texts))
        by_source.setdefault(row.source, {}).setdefault(folded, row)
    out = {}
    for source, rows_of in by_source.items():
        key = keys.get(source, "whole")
        distinct = {_spelled(row, key): sets(row, key) for row in rows_of.values()}
        counts = Counter(s for found in distinct.values() for s in found)
        if len(distinct) >= 100:
            out[source] = {s for s, n in counts.items() if n > share * len(distinct) and n >= 20}
    return out


def _spelled(row: Row, key: str) -> Any:
    """The units of a row, text by text."""
    for pattern in (_UNIT, _SIGNS):
        units = tuple(tuple(pattern.findall(_folded(text))) for _, text in counted(row, key)[0])
        if any(units):
            return units
    return units


# --- rows

_HAN = "天地人你我他大小多少上中下山水火土木金日月星风云雨雪春夏秋冬花草树林鸟鱼牛羊马车路门口手足心目耳来去出入开关左右前后早晚今明年时分读写听说看想吃喝走跑"
_WORDS = [
    "river",
    "stone",
    "bread",
    "winter",
    "morning",
    "garden",
    "paper",
    "engine",
    "silver",
    "window",
    "answer",
    "question",
    "market",
    "letter",
    "village",
    "summer",
    "copper",
    "music",
    "number",
]


def clauses(rng: random.Random, n: int) -> list[str]:
    """Clauses, half of them Chinese."""
    zh = ["".join(rng.choices(_HAN, k=rng.randint(6, 18))) + rng.choice("，。！？") for _ in range(n // 2)]
    return zh + [
        " ".join(rng.choices(_WORDS, k=rng.randint(4, 10))) + rng.choice([", ", ". ", "? ", " 42 + 7 = 49. "]) for _ in range(n - n // 2)
    ]


def edited(rng: random.Random, text: str) -> str:
    """A text with some of its characters, its case or its punctuation changed."""
    chars = list(text)
    for _ in range(rng.choice([0, 1, 1, 2, 4])):
        at = rng.randrange(len(chars) + 1)
        chars[at : at + rng.randint(0, 1)] = rng.choice([[rng.choice(_HAN)], [rng.choice("abc ")], [], [rng.choice("，, ")]])
    out = "".join(chars)
    return rng.choice([out, out, out.upper(), out.replace("，", ","), f" {out}\n", out + "😀"])


_SHORT = ("", "好的", "OK", "ok.", "。。。", "?", "！", "谢谢你", "  ")


def make_rows(seed: int, count: int, sources: Sequence[str] = ("one", "two", "three"), most: int = 60) -> list[Row]:
    """Rows of every kind, recombined from at most so many clauses, many of them made from an earlier one."""
    rng = random.Random(seed)
    pool = clauses(rng, most)

    def text(least: int = 1, most: int = 6) -> str:
        return rng.choice(_SHORT) if rng.random() < 0.08 else "".join(rng.choices(pool, k=rng.randint(least, most)))

    rows: list[Row] = []
    for n in range(count):
        source, upstream = rng.choice(sources), rng.choice([None, None, None, None, "train", "test", "validation"])
        more = {"upstream": upstream, "damage": rng.choice([0, 0, 0, 1, 3])}
        if rows and rng.random() < 0.5:
            rows.append(_again(rng, rng.choice(rows), n, source, more, text))
            continue
        kind = rng.choice(["dialogue", "dialogue", "document", "preference", "prompt"])
        if kind == "dialogue" and rng.random() < 0.3:
            turns = (("system", text()),) if rng.random() < 0.3 else ()
            turns += tuple(t for _ in range(rng.randint(1, 3)) for t in (("user", text()), ("assistant", text())))
            rows.append(Row(named(n), source, messages=turns, **more))
        elif kind == "dialogue":
            rows.append(dialogue(n, text(), text(2, 8), source, **more))
        elif kind == "document":
            rows.append(document(n, rng.choice([None, "", text(1, 1)]), text(2, 8), source, **more))
        elif kind == "preference":
            rows.append(preference(n, text(), text(2, 6), text(2, 6), source, **more))
        else:
            rows.append(prompt(n, text(2, 5), source, **more))
    return rows


def _again(rng: random.Random, row: Row, n: int, source: str, more: dict[str, Any], text: Any) -> Row:
    """A row made from another: equal, edited, with another answer, with its sides swapped, of another kind."""
    row = replace(row, id=named(n), source=source, **more)
    what = rng.random()
    if what < 0.15:
        return row
    if what < 0.25 and row.kind == "preference":
        return replace(row, chosen=row.rejected, rejected=row.chosen)
    if what < 0.35 and row.kind == "dialogue":
        return replace(row, messages=(*row.messages[:-1], ("assistant", text(2, 8))))
    if what < 0.4 and row.kind == "dialogue":
        return replace(row, kind="prompt")
    return replace(
        row,
        **{p: tuple((r, edited(rng, t)) for r, t in turns) for p in CONVERSATIONS if (turns := getattr(row, p)) is not None},
        **{p: edited(rng, t) for p in TEXTS if (t := getattr(row, p)) is not None},
    )


# --- the stages

KEYS: dict[str, str] = {}


@dataclass
class Found:
    """What the stages made.

    `dropped`: the ledger by row_id; `clusters`: (cluster_id, kept, size) by row_id; `pairs`: as they were written; `files`: hash of every
    file by its table; `done`: the partition of the stage dedup; `built`: the partitions of the stages before it, by stage and key.
    """

    dropped: dict[str, dict[str, Any]]
    clusters: dict[str, tuple[str, bool, int]]
    pairs: list[dict[str, Any]]
    files: dict[str, str]
    done: Partition
    built: dict[tuple[str, str], Partition] = field(default_factory=dict)


def table_of(rows: Sequence[Row]) -> pa.Table:
    """Clean rows."""

    def turns(said: Turns | None) -> list[dict[str, str]] | None:
        return None if said is None else [{"role": role, "content": text} for role, text in said]

    values: dict[str, Any] = {
        "row_id": [r.id for r in rows], "source": [r.source for r in rows], "kind": [r.kind for r in rows],
        "upstream_split": [r.upstream for r in rows], **{p: [turns(getattr(r, p)) for r in rows] for p in CONVERSATIONS},
        **{p: [getattr(r, p) for r in rows] for p in TEXTS}, "asks": [True] * len(rows), "changed_by": [[]] * len(rows),
        "license": [""] * len(rows), "file": [""] * len(rows), "record": list(range(len(rows))),
    }  # fmt: skip
    content = {name: pa.array(values[name], CLEAN[name].type) for name in (*CONVERSATIONS, *TEXTS)}
    spoken = Spoken.of(content, {name: Flat.of(content[name]) for name in CONVERSATIONS})
    values |= content | keys(pa.array(values["kind"], pa.string()), spoken)
    values["opening_key"] = values["prompt_key"]
    return pa.table([values.get(c.name, [None] * len(rows)) for c in CLEAN.columns], schema=CLEAN.schema)


def cleaned(root: Path, rows: Sequence[Row], divided: int = 1, *, groups: int = 1 << 20) -> list[Partition]:
    """Partitions of the stage clean, `divided` of every source, with row groups of `groups` rows."""
    from corpus.warehouse.commit import PartitionWriter

    out = []
    for source in sorted({r.source for r in rows}):
        mine = [r for r in rows if r.source == source]
        for number in range(divided):
            part = mine[number::divided]
            if not part:
                continue
            table = table_of(part)
            stem = hashlib.blake2b(repr(part).encode(), digest_size=16).hexdigest()
            with PartitionWriter(root, f"clean/{stem}.{groups}.parquet", CLEAN.schema, "clean") as writer:
                for start in range(0, len(part), groups):
                    writer.write(table.slice(start, groups))
            own = {"row_id": [r.id for r in part], "source": [r.source for r in part], "kind": [r.kind for r in part]}
            own |= {"chars": [r.chars for r in part], "replacement": [r.damage for r in part]}
            measured = pa.table([own.get(c.name, [None] * len(part)) for c in MEASURED.columns], schema=MEASURED.schema)
            measures = write_table(root, f"clean/{stem}.measures.parquet", measured, "measures")
            out.append(Partition("clean", f"{source}/{number}", stem, {}, (writer.committed, measures)))
    return out


def ledger_of(root: Path, ids: Iterable[str]) -> Partition:
    """What a stage before dropped."""
    ids = sorted(ids)
    values = {"row_id": ids, **{name: ["x"] * len(ids) for name in ("source", "stage", "reason")}}
    table = pa.table([values.get(c.name, [None] * len(ids)) for c in DROPPED.columns], schema=DROPPED.schema)
    stem = hashlib.blake2b(repr(ids).encode(), digest_size=8).hexdigest()
    return Partition("filter", "all", stem, {}, (write_table(root, f"dropped/{stem}.parquet", table, "dropped"),))


def context_of(
    root: Path,
    sources: Iterable[str],
    settings: Mapping[str, Any] | None = None,
    *,
    keys: Mapping[str, Any] = KEYS,
    priority: Mapping[str, int] | None = None,
    protected: Iterable[str] = (),
    judged: Mapping[str, Any] | None = None,
) -> Context:
    """The context of a recipe with these settings of dedup."""
    names = sorted({*sources}) or ["one"]
    recipe = Recipe.model_validate({"name": "r", "sources": names, "splits": {"sft": {}}, "dedup": dict(settings or {})})
    places = {name: (priority or {}).get(name, 100) for name in names}
    return Context(
        recipe, dict.fromkeys(names), places, {}, {}, (), InputIndex(root),  # type: ignore[arg-type]
        keys={name: keys.get(name, "whole") for name in names}, protected=frozenset(protected), judged=judged,
    )  # fmt: skip


def run(
    root: Path,
    rows: Sequence[Row],
    settings: Mapping[str, Any] | None = None,
    *,
    divided: int = 1,
    groups: int = 1 << 20,
    gone: Iterable[str] = (),
    **more: Any,
) -> Found:
    """Runs stock, sketch and dedup over rows. `gone`: rows that were dropped before; `more`: see `context_of`."""
    context = context_of(root, {r.source for r in rows}, settings, **more)
    parts = cleaned(root, rows, divided, groups=groups)
    ledgers = [ledger_of(root, gone)]

    def each(tasks: list[Any]) -> list[Partition]:
        return [task.run(task, root, lambda size, rows: None) for task in tasks]

    stocks = each(stock.plan(context, parts))
    sketches = each(sketch.plan(context, parts, stocks))
    [done] = each(dedup.plan(context, parts, ledgers, stocks, sketches))

    def table(name: str) -> list[dict[str, Any]]:
        return pq.read_table(root / done.one(name).path, partitioning=None).to_pylist()

    ledger = table("dropped")
    assert len({e["row_id"] for e in ledger}) == len(ledger)
    return Found(
        {e["row_id"]: e for e in ledger},
        {e["row_id"]: (e["cluster_id"], e["kept"], e["size"]) for e in table("clusters")},
        table("pairs"),
        {f.table: f.sha256 for f in done.files},
        done,
        {(p.stage, p.key): p for p in (*stocks, *sketches)},
    )


def order_of(rows: Iterable[Row], priority: Mapping[str, int] | None = None, protected: Iterable[str] = ()) -> dict[str, int]:
    """The place of every row in the order of keeping."""

    def best(row: Row) -> tuple[Any, ...]:
        evaluation = row.source in protected or row.upstream in ("validation", "test")
        return (not evaluation, (priority or {}).get(row.source, 100), row.damage, -row.chars, row.id)

    return {row.id: n for n, row in enumerate(sorted(rows, key=best))}
