"""What the tests of the engine share: a small data folder in the publishers' formats, recipes over it, and a way to build them.

The folder is small enough for a build in about half a second and holds one of everything that the stages decide on: several files of one
source with records in common, equal rows in several sources, an evaluation set with a leak, pairs, documents, prompts and a reject.
"""

from __future__ import annotations

import csv
import gzip
import hashlib
import json
import os
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import duckdb
import pytest
from hypothesis import settings

from corpus import pipeline
from corpus.executors.local import LocalExecutor
from corpus.recipe import Recipe, parse
from corpus.stages import parse as parse_stage
from corpus.warehouse.builds import LAYERS

# The same examples every time: what a run finds must not depend on luck. `--hypothesis-profile=default` looks for new ones.
settings.load_profile("ci")


MANY = 1000

HUB_FILE = "belle/train_0.5M_CN.json"

RECIPE = """
name: small
seed: 7
sources: ["*"]
filter: [{measure: chars, min: 2}]
splits:
  pretrain: {}
  tokenizer: {shared: true, kinds: [document, dialogue], rows: 30}
  sft: {weight: 3, eval: 0.2}
  ppo: {}
  rm: {upstream: [train, validation, test]}
  dpo: {upstream: [train, validation, test]}
  test: {upstream: [validation, test]}
"""


def json_lines(path: Path, records: Iterable[Any]) -> None:
    """Writes records as JSON lines, compressed where the name ends in .gz."""
    path.parent.mkdir(parents=True, exist_ok=True)
    data = "".join(json.dumps(r, ensure_ascii=False) + "\n" for r in records).encode()
    path.write_bytes(gzip.compress(data, mtime=0) if path.suffix == ".gz" else data)


def instruction(question: str, answer: str, more: str = "") -> dict[str, str]:
    """A record of the Alpaca and BELLE layouts."""
    return {"instruction": question, "input": more, "output": answer}


def pair(question: str, good: str, bad: str) -> dict[str, str]:
    """A record of hh-rlhf."""
    opening = f"\n\nHuman: {question}\n\nAssistant:"
    return {"chosen": f"{opening} {good}", "rejected": f"{opening} {bad}"}


def make_data(root: Path) -> Path:
    """The data folder."""
    belle = [instruction(f"请用一句话解释第{i}个成语的意思。", f"这个成语的意思是第{i}种情形,常用来形容人。") for i in range(16)]
    belle += [belle[3], instruction("  请用一句话解释第4个成语的意思。", "这个成语的意思是第4种情形,常用来形容人。\r\n")]
    belle += [{"question": "a field that the publisher does not have"}]
    json_lines(root / "belle/train_0.5M_CN/Belle_open_source_0.5M.json", belle)
    # The hub's layout of the same set: some records are in both files.
    json_lines(root / "belle/train_0.5M_CN.json", [*belle[:4], *(instruction(f"写出数字{i}的中文。", f"数字{i}") for i in range(10))])
    evaluation = [{"question": f"What is {i} plus {i}?", "std_answer": str(2 * i), "class": "math"} for i in range(5)]
    json_lines(root / "belle/eval_set.json", [*evaluation, {"question": "Tell me a story.", "std_answer": "", "class": "open"}])

    alpaca = [instruction(f"Name {i} animals of the forest.", f"Here are {i}: fox, owl \n    and {i} deer.") for i in range(14)]
    alpaca += [instruction("what  is 3 plus 3?", "It is 6."), belle[5], instruction("Say nothing.", "")]
    (root / "alpaca").mkdir(parents=True)
    (root / "alpaca/alpaca_data.json").write_text(json.dumps(alpaca, indent=1, ensure_ascii=False), encoding="utf-8")

    pairs = [pair(f"How do I bake bread number {i}?", f"Knead it for {i} minutes.", f"No idea, {i}.") for i in range(14)]
    json_lines(root / "hh_rlhf/harmless-base/train.jsonl.gz", [*pairs, pairs[0]])
    json_lines(root / "hh_rlhf/harmless-base/test.jsonl.gz", [pair(f"Is tea {i} warm?", "Yes, it is.", "No.") for i in range(3)])

    json_lines(root / "c4/en/part.jsonl", [{"text": f"Page {i}.\n\nTwo lines of text, 两行。", "url": f"http://x/{i}"} for i in range(12)])
    prompts = root / "awesome-chatgpt-prompts/prompts.csv"
    prompts.parent.mkdir(parents=True)
    with prompts.open("w", encoding="utf-8", newline="") as f:
        csv.writer(f).writerows([["act", "prompt"], *([f"Guide {i}", f"I want you to act as a guide of city {i}."] for i in range(8))])
    return root


def add_near(data: Path) -> None:
    """Adds to the data folder: a row, two equal ones that are near to it, one that asks the same and is answered otherwise."""
    question = "Which tools does a gardener need in spring to bring a wild meadow of half an acre back into shape"
    answer = "A scythe, a rake, two buckets, gloves that keep thorns away, a saw for dry branches and a lot of patience, every year."
    near = instruction(question, answer.replace("every", "each"))
    json_lines(
        data / "belle/Belle_open_source_1M.json",
        [
            instruction(f"{question}, exactly?", answer),
            near,
            near,
            instruction(f"{question}, exactly?", "None at all: sheep do that better."),
        ],
    )


def recipe_of(text: str = RECIPE, **changes: Any) -> Recipe:
    """The recipe in `text` with some of its top-level keys replaced."""
    import yaml

    return parse(yaml.safe_dump({**yaml.safe_load(text), **changes}, allow_unicode=True), "recipe.yaml")


def make_build(data: Path, root: Path, recipe: Recipe | None = None, *, workers: int = 1, **more: Any) -> pipeline.Outcome:
    """Builds `recipe` (by default the small one) over `data` into `root`."""
    with LocalExecutor(workers, inline=0) as executor:
        return pipeline.build(recipe or recipe_of(), data, root, executor, **more)


def hashes(root: Path, *, layers: Iterable[str] = LAYERS) -> dict[str, str]:
    """sha256 of every file in the layers of a warehouse, by relative path."""
    return {
        p.relative_to(root).as_posix(): hashlib.sha256(p.read_bytes()).hexdigest()
        for layer in layers
        for p in sorted((root / layer).rglob("*"))
        if p.is_file()
    }


def marks(root: Path) -> dict[str, tuple[int, int]]:
    """Inode and time of change of every file in the layers: equal when a file was not written again."""
    return {name: ((root / name).stat().st_ino, (root / name).stat().st_mtime_ns) for name in hashes(root)}


def everything_below(folder: Path) -> dict[str, tuple[str, int, int]]:
    """Every file of a folder: hash, inode and time of change."""
    return {
        p.relative_to(folder).as_posix(): (hashlib.sha256(p.read_bytes()).hexdigest(), p.stat().st_ino, p.stat().st_mtime_ns)
        for p in folder.rglob("*")
        if p.is_file()
    }


def query(root: Path, sql: str) -> list[tuple[Any, ...]]:
    """The rows of a query against the catalog of a warehouse."""
    with duckdb.connect(str(root / "corpus.duckdb"), read_only=True) as db:
        return db.execute(sql).fetchall()


@pytest.fixture(scope="session", autouse=True)
def a_partition_for_every_file() -> Iterator[None]:
    """Small files are not bundled: the line is to be tested with sources of several partitions, without megabytes of data."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(parse_stage, "_FEW", MANY)
        yield


@pytest.fixture(scope="session", autouse=True)
def nothing_waits_for_the_disk() -> Iterator[None]:
    """A build syncs some two hundred files, and the suite makes hundreds of builds. No test here can cut the power, so none sees a difference;
    what is not an open file still fails. Processes that tests start sync as ever."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", os.fstat)
        yield


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A data folder of the test's own."""
    return make_data(tmp_path / "data")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Where the test's own warehouse goes."""
    return tmp_path / "wh"


@pytest.fixture
def build(data: Path, root: Path) -> Callable[..., pipeline.Outcome]:
    """`build(recipe, workers=…)`: builds the data folder into the warehouse of the test."""

    def run(recipe: Recipe | None = None, **more: Any) -> pipeline.Outcome:
        return make_build(data, root, recipe, **more)

    return run


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """(data folder, warehouse) of a clean build, for tests that only read."""
    folder = tmp_path_factory.mktemp("built")
    data = make_data(folder / "data")
    make_build(data, folder / "wh")
    return data, folder / "wh"


@pytest.fixture(scope="session")
def near_built(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """(data folder, warehouse) of a build with near duplicates, see `add_near`."""
    folder = tmp_path_factory.mktemp("near_built")
    data = make_data(folder / "data")
    add_near(data)
    make_build(data, folder / "wh")
    return data, folder / "wh"
