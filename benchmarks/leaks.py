"""Recall and precision of the search for leaks, on real rows: `python -m benchmarks.leaks DATA [--show]`.

DATA is a folder of upstream files. Its evaluation rows are planted into its training rows in every way that leaks come about, and it is
counted how many are found, at several limits. Then the search looks at all training rows as they are: what it finds there, `--show`
prints, beside the evaluation row, for somebody to judge. And its speed is measured.
"""

from __future__ import annotations

import argparse
import random
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import opencc
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from benchmarks.measure import ROOT, table
from corpus import pipeline
from corpus.dedup import leaks
from corpus.dedup.spans import placed
from corpus.recipe import find, load
from corpus.schema import CLEAN
from corpus.stages import clean, evaluation
from corpus.stages.leaks import EvaluationItems, search
from corpus.stages.texts import PLACES, RowTexts, batches
from corpus.warehouse.builds import Warehouse
from corpus.warehouse.manifest import Partition

_COLUMNS = ("row_id", "source", "kind", "upstream_split", *PLACES)
_EACH = 100
"""Items of every evaluation set that are planted."""
_LOWEST = (0.5, 0.2)
_LIMITS = ((0.8, 0.7), (0.7, 0.5), (0.6, 0.4), (0.5, 0.3))
"""(near, containment)"""


@dataclass(frozen=True, slots=True)
class Item:
    """An evaluation row: the turns of its prompt, its options apart, its answer."""

    source: str
    question: list[str]
    options: str
    answer: str

    @property
    def prompt(self) -> str:
        """The whole prompt as one text."""
        return "\n".join(self.question) + self.options


@dataclass(frozen=True, slots=True)
class Row:
    """A training row to be searched: its prompt and its answer, or a document."""

    prompt: str = ""
    answer: str = ""
    text: str | None = None


def gather(data: Path, root: Path) -> tuple[list[Partition], Partition]:
    """Takes DATA through the stages up to the one that gathers the evaluation rows; the clean partitions, and what was gathered."""
    context, _ = pipeline.context(load(find("everything", ROOT / "recipes")), data, Warehouse(root).index)
    line = pipeline.steps(context)
    tasks, cleaned = next(line), []
    while True:
        done = {task.key: task.run(task, root, lambda size, rows: None) for task in tasks}
        if tasks and tasks[0].stage == clean.NAME:
            cleaned = list(done.values())
        if tasks and tasks[0].stage == evaluation.NAME:
            return cleaned, done[tasks[0].key]
        tasks = line.send(done)


def edited(text: Sequence[str], share: float, r: random.Random) -> list[str]:
    """The text with this share of its characters (or words) left out, replaced by others of it, or followed by one."""
    out = []
    for char in text:
        what = r.random()
        if what >= share:
            out.append(char)
        elif what < share / 3:
            out.append(r.choice(text))
        elif what < 2 * share / 3:
            out += [char, r.choice(text)]
    return out


def _shuffled(options: str, r: random.Random) -> str:
    lines = options.strip("\n").split("\n")
    heads, rest = zip(*((line[:2], line[2:]) for line in lines), strict=True)
    other = list(rest)
    while other == list(rest) and len(set(rest)) > 1:
        r.shuffle(other)
    return "".join(f"\n{head}{text}" for head, text in zip(heads, other, strict=True))


def _middle(outer: str, inner: str) -> str:
    half = len(outer) // 2
    return f"{outer[:half]}\n{inner}\n{outer[half:]}"


_NO_SIGNS = str.maketrans(dict.fromkeys('，。！？；：、“”《》（）,.!?;:"()', " "))

Plant = Callable[[Item, Row, random.Random], Row | None]


def _characters(share: float) -> Plant:
    return lambda item, row, r: Row("".join(edited(item.prompt, share, r)), "".join(edited(item.answer, share, r)))


def _words(share: float) -> Plant:
    def plant(item: Item, row: Row, r: random.Random) -> Row | None:
        if _group(item) == "zh" or item.prompt.count(" ") < len(item.prompt) / 10:
            return None
        return Row(*(" ".join(edited(text.split(" "), share, r)) for text in (item.prompt, item.answer)))

    return plant


_S2T = opencc.OpenCC("s2t")


def _traditional(item: Item) -> str | None:
    other = str(_S2T.convert(item.prompt))
    return other if other != item.prompt else None


PLANTS: dict[str, Plant] = {
    "verbatim": lambda item, row, r: Row(item.prompt, item.answer),
    "prompt only, another answer": lambda item, row, r: Row(item.prompt, row.answer),
    "capitals, no punctuation": lambda item, row, r: Row(item.prompt.upper().translate(_NO_SIGNS), row.answer),
    "1 % of characters changed": _characters(0.01),
    "2 % of characters changed": _characters(0.02),
    "4 % of characters changed": _characters(0.04),
    "8 % of characters changed": _characters(0.08),
    **{f"{share} % of words changed": _words(share / 100) for share in (1, 2, 4, 8)},
    "prompt in a longer prompt": lambda item, row, r: Row(_middle(row.prompt, item.prompt), row.answer),
    "whole in a longer text": lambda item, row, r: Row(text=_middle(row.prompt + row.answer, f"{item.prompt}\n{item.answer}")),
    "other script": lambda item, row, r: Row(other, row.answer) if (other := _traditional(item)) else None,
    "other script, in a longer text": lambda item, row, r: Row(text=_middle(row.answer, other)) if (other := _traditional(item)) else None,
    "without its options": lambda item, row, r: Row("\n".join(item.question), row.answer) if item.options else None,
    "options in another order": lambda item, row, r: (
        Row("\n".join(item.question) + _shuffled(item.options, r), row.answer) if item.options else None
    ),
    "answer only": lambda item, row, r: Row(row.prompt, item.answer) if len(placed(item.answer)) >= leaks.GRAM else None,
}


def as_rows(rows: list[Row]) -> pa.Table:
    """Rows as the stage reads them."""
    columns = {
        "row_id": [f"{n:032x}" for n in range(len(rows))],
        "source": ["planted"] * len(rows),
        "kind": ["dialogue" if row.text is None else "document" for row in rows],
        "upstream_split": [None] * len(rows),
        "messages": [
            [{"role": "user", "content": row.prompt}, {"role": "assistant", "content": row.answer}] if row.text is None else []
            for row in rows
        ],
        "chosen": [None] * len(rows),
        "rejected": [None] * len(rows),
        "title": [None] * len(rows),
        "text": [row.text for row in rows],
    }
    return pa.table([pa.array(columns[name], CLEAN[name].type) for name in _COLUMNS], names=list(_COLUMNS))


def scanned(rows: pa.Table, scanner: leaks.Scanner) -> tuple[np.ndarray, np.ndarray]:
    """The similarity of the nearest prompt and the greatest share that each row holds, 0 for none."""
    near, share = [np.zeros(0)], [np.zeros(0)]
    for start in range(0, rows.num_rows, 2000):
        piece = rows.slice(start, 2000).combine_chunks()
        spoken = RowTexts.of(piece)
        conversation = pc.not_equal(piece["kind"], "document").to_numpy()
        found = scanner.scan(spoken.some(np.ones(len(spoken.rows), dtype=bool)), spoken.some(spoken.asked & conversation[spoken.rows]))
        near.append(np.where(found.near >= 0, found.jaccard, 0))
        share.append(np.where(found.held >= 0, found.share, 0))
    return np.concatenate(near), np.concatenate(share)


def items_of(rows: pa.Table, r: random.Random) -> list[Item]:
    """Some evaluation rows of each set that ask something."""
    by_source: dict[str, list[Item]] = {}
    for row in rows.to_pylist():
        if row["question"] and not row["document"]:
            item = Item(row["source"], row["question"], row["options"] or "", "\n".join(row["answer"]))
            by_source.setdefault(row["source"], []).append(item)
    return [item for each in by_source.values() for item in r.sample(each, min(_EACH, len(each)))]


def carriers(root: Path, cleaned: list[Partition], held: EvaluationItems, count: int) -> list[Row]:
    """Training rows of one question and one answer that leak nothing, of all sources alike."""
    scanner = leaks.Scanner(held.index)
    found: list[Row] = []
    for partition in cleaned:
        table_ = pq.read_table(root / partition.one("clean").path, columns=list(_COLUMNS), partitioning=None).slice(0, 400)
        near, share = scanned(table_, scanner)
        for row, bad in zip(table_.to_pylist(), (near > 0) | (share > 0), strict=True):
            if row["kind"] == "dialogue" and row["upstream_split"] in (None, "train") and len(row["messages"]) == 2 and not bad:
                found.append(Row(row["messages"][0]["content"], row["messages"][1]["content"]))
    return random.Random(2).choices(found, k=count)


def recall(items: list[Item], rows: list[Row], scanner: leaks.Scanner) -> str:
    """The table of what is found of what is planted, at all limits: of prompts of 13 units or more by language, and of shorter ones."""
    r = random.Random(3)
    groups = [_group(item) for item in items]
    out = []
    for group in ("zh", "en", "short"):
        for name, plant in PLANTS.items():
            planted = [p for item, row, mine in zip(items, rows, groups, strict=True) if mine == group and (p := plant(item, row, r))]
            if not planted:
                continue
            near, share = scanned(as_rows(planted), scanner)
            found = [f"{np.mean((near >= a - 1e-9) | (share >= b - 1e-9)):.3f}" for a, b in _LIMITS]
            out.append((name, group, len(planted), *found))
    return table(("planted", "prompt", "rows", *(f"near {a}, containment {b}" for a, b in _LIMITS)), out)


def _group(item: Item) -> str:
    """The language of a prompt of 13 units or more; short for others."""
    if len(placed(item.prompt)) < leaks.GRAM:
        return "short"
    return "zh" if sum("\u4e00" <= char <= "\u9fff" for char in item.prompt) > len(item.prompt) / 4 else "en"


def control(root: Path, cleaned: list[Partition], held: EvaluationItems, show: bool) -> Iterator[str]:
    """What is found in the training rows as they are, at all limits."""
    scanner = leaks.Scanner(held.index)
    at: Counter[tuple[float, float]] = Counter()
    total = 0
    rows = {id_: n for n, id_ in enumerate(held.rows["row_id"].to_pylist())}
    for partition in cleaned:
        for batch in batches(root / partition.one("clean").path, _COLUMNS, 1 << 20):
            total += int(pc.sum(pc.invert(pc.is_in(batch["upstream_split"], pa.array(evaluation.HELD_OUT)))).as_py() or 0)
            for leak in search(batch, scanner, held).to_pylist():
                near, share = leak["jaccard"] or 0.0, leak["value"] or 0.0
                at.update(limit for limit in _LIMITS if near >= limit[0] or share >= limit[1])
                if show:
                    row = batch.slice(batch["row_id"].to_pylist().index(leak["row_id"]), 1)
                    texts = " | ".join(RowTexts.of(row).texts.to_pylist())
                    yield f"{leak['source']}: {leak['rule']} {near or share:.2f} {leak['detail']}"
                    yield f"    row:  {texts[:400]!r}"
                    yield f"    item: {' | '.join(held.texts(rows[leak['evaluation_id']]))[:400]!r}"
    yield f"Of {total:,} training rows as they are: " + ", ".join(
        f"{at[limit]} at near {limit[0]}, containment {limit[1]}" for limit in _LIMITS
    )


def speed(root: Path, cleaned: list[Partition], held: EvaluationItems) -> str:
    """Seconds of one core for 100 MB of text, reading aside."""
    scanner = leaks.Scanner(held.index)
    size, spent = 0, 0.0
    for partition in cleaned:
        for batch in batches(root / partition.one("clean").path, _COLUMNS, 1 << 20):
            spoken = RowTexts.of(batch)
            everything, asked = spoken.some(np.ones(len(spoken.rows), dtype=bool)), spoken.some(spoken.asked)
            began = time.process_time()
            scanner.scan(everything, asked)
            spent += time.process_time() - began
            size += int(everything.offsets[-1] - everything.offsets[0])
    return (
        f"Speed: {size / 1e6:.0f} MB of text against {held.rows.num_rows:,} items in {spent:.2f} s: {spent / size * 1e8:.2f} s for 100 MB"
    )


def main() -> None:
    """Prints the tables."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.leaks", description=__doc__)
    parser.add_argument("data", type=Path, metavar="DATA", help="a folder of upstream files")
    parser.add_argument("--show", action="store_true", help="print what is found in the training rows as they are, to be judged")
    given = parser.parse_args()
    r = random.Random(1)
    with tempfile.TemporaryDirectory() as scratch:
        root = Path(scratch)
        cleaned, gathered = gather(given.data, root)
        rows = pq.read_table(root / gathered.one("evaluation").path, partitioning=None)
        began = time.process_time()
        held = EvaluationItems.of(rows, *_LOWEST)
        print(f"{rows.num_rows:,} evaluation rows, indexed in {time.process_time() - began:.1f} s")
        items = items_of(rows, r)
        print(recall(items, carriers(root, cleaned, held, len(items)), leaks.Scanner(held.index)))
        for line in control(root, cleaned, held, given.show):
            print(line)
        print(speed(root, cleaned, held))


if __name__ == "__main__":
    main()
