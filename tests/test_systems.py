"""The recipes after public systems: valid, disjoint by stage, with a stage of training for what they build, and honest about differences."""

from __future__ import annotations

from pathlib import Path

import pytest

from corpus.recipe import Recipe, load
from corpus.recipe_splits import SPLIT_FORMS, Form
from corpus.schema import Kind
from corpus.sources import registry

FOLDER = Path(__file__).resolve().parents[1] / "recipes"
SYSTEMS = {
    "chatbloom": ("human-assistant", {"instruct", "sft", "rm", "ppo", "test"}),
    "hugchat": ("hugchat", {"sft", "test"}),
    "bloomz-rlhf": ("vicuna-v1.1", {"sft", "rm", "ppo", "test"}),
    "open-chatgpt": ("human-assistant", {"instruct", "sft", "rm", "ppo", "test"}),
    "chatlm-mini": ("plain", {"tokenizer", "pretrain", "sft", "dpo", "instruct", "test"}),
}
TRAINED = {
    "rm": "reward",
    "tokenizer": "tokenizer",
    "pretrain": "pretrain",
    "instruct": "instruct",
    "sft": "sft",
    "dpo": "dpo",
    "ppo": "ppo",
}
EACH = pytest.mark.parametrize("name", SYSTEMS)


def recipe(name: str) -> Recipe:
    return load(FOLDER / f"{name}.yaml")


@pytest.mark.parametrize("path", sorted(p for p in FOLDER.glob("*.yaml") if p.stem != "models"), ids=lambda path: path.stem)
def test_every_recipe_is_valid_and_named_as_its_file(path: Path) -> None:
    assert load(path).name == path.stem


@EACH
def test_stages_and_template_are_those_of_the_system(name: str) -> None:
    found = recipe(name)
    assert (found.template, set(found.splits)) == SYSTEMS[name]


@EACH
def test_stages_that_are_trained_on_are_disjoint(name: str) -> None:
    assert {split for split, spec in recipe(name).splits.items() if spec.shared} <= {"tokenizer"}


@EACH
def test_every_source_is_taken_by_a_split_in_a_kind_that_it_has(name: str) -> None:
    found = recipe(name)
    known = registry()
    used = {source for source in (s.name for s in found.sources) if any(spec.ask(source) is not None for spec in found.splits.values())}
    assert used == {s.name for s in found.sources}
    for split, spec in found.splits.items():
        form = spec.form or SPLIT_FORMS[split]
        usual = {Form.PAIR: {Kind.DIALOGUE}, Form.PREFERENCE: {Kind.PREFERENCE}, Form.TEXT: {Kind.DOCUMENT}}
        kinds = set(spec.kinds) or usual.get(form, {Kind.DIALOGUE, Kind.PROMPT})
        for source in spec.sources:
            assert source == "*" or kinds & set(known[source].kinds), f"{split} takes no kind of row that {source} has"


@EACH
def test_answers_that_name_another_model_are_dropped(name: str) -> None:
    assert any(limit.measure == "identity" and limit.max == 0 and not limit.sources and not limit.kinds for limit in recipe(name).filter)


@EACH
def test_training_has_a_section_for_every_stage(name: str) -> None:
    found = recipe(name)
    assert {TRAINED[split] for split in found.splits if split != "test"} <= set(found.training)
    requests = any(SPLIT_FORMS[split] is Form.PREFERENCE and Kind.DIALOGUE in spec.kinds for split, spec in found.splits.items())
    assert ("rejected" in found.training) == requests


@EACH
def test_every_trained_split_holds_something_out(name: str) -> None:
    assert all(spec.eval > 0 for split, spec in recipe(name).splits.items() if split not in ("test", "tokenizer"))


@EACH
def test_the_file_says_whom_it_follows_and_where_it_differs(name: str) -> None:
    lines = (FOLDER / f"{name}.yaml").read_text(encoding="utf-8").splitlines()
    head = lines[: next(n for n, line in enumerate(lines) if not line.startswith("#"))]
    assert head[0].startswith("# After ")
    assert any(line.startswith("# Where it differs, and why:") for line in head)
    assert sum(line.startswith("# - ") for line in head) >= 4


def test_asks_are_those_of_chatbloom() -> None:
    splits = recipe("chatbloom").splits
    asked = {split: {source: ask.rows for source, ask in spec.sources.items()} for split, spec in splits.items()}
    assert asked["instruct"] == {"belle-generated-chat": 200_000, "belle-2m": 500_000, "pclue": 300_000}
    assert asked["sft"] == {"belle-1m": 40_000, "belle-multiturn": 200_000, "instructionwild": 60_000}
    assert asked["rm"] == {"belle-1m": 10_000, "belle-multiturn": 20_000, "instructionwild": 20_000, "hh-rlhf": 10_000}
    assert (splits["sft"].rows, splits["rm"].rows) == (300_000, 60_000)
    thin = {split: spec.thin for split, spec in splits.items() if spec.thin is not None}
    assert {split: (rule.below, rule.most) for split, rule in thin.items()} == {"sft": ({30: 0.5}, 0.25), "rm": ({60: 0.5}, 0.25)}
    assert "hh-rlhf" not in thin["rm"].sources
