"""Recipes: every mistake is an error with file, line, what is wrong and the nearest right word."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from corpus.errors import RecipeError
from corpus.recipe import find, load, parse
from corpus.recipe_splits import Ask

HERE = Path(__file__).resolve().parents[1]


def mistake(text: str) -> str:
    """What is said of a wrong recipe."""
    with pytest.raises(RecipeError) as caught:
        parse(text, "my.yaml")
    message = str(caught.value)
    assert message.startswith("my.yaml"), message
    assert caught.value.exit_code == 2
    return message


GOOD = "name: r\nsources: [belle-1m]\n"

MISTAKES = {
    # unknown keys
    "nmae: r\nname: r\nsources: [belle-1m]": ["my.yaml:1: unknown key 'nmae'", "did you mean 'name'?"],
    GOOD + "clean:\n  scrip: keep": ["my.yaml:4: unknown key 'clean.scrip'", "'script'", "known here are rules, without"],
    GOOD + "dedup:\n  limits: {near_shar: 1}": ["my.yaml:4: unknown key 'dedup.limits.near_shar'; did you mean 'near_share'"],
    GOOD + "filter:\n  - measure: char\n    min: 3": ["my.yaml:4: filter.0.measure: there is no measure 'char'", "did you mean 'chars'"],
    GOOD + "filter: [{measure: chars, most: 3}]": ["my.yaml:3: unknown key 'filter.0.most'", "known here are measure, min, max"],
    GOOD + "filter: [{measure: chars, among: [zh]}]": ["my.yaml:3: filter.0: measure 'chars' is a number: limit it with min and max"],
    GOOD + "filter: [{measure: language, max: 3}]": ["my.yaml:3: filter.0: measure 'language' has words for values"],
    GOOD + "filter: [{measure: chars, min: 1, sources: [lima]}]": ["my.yaml:3: filter.0.sources: the recipe does not take source 'lima'"],
    GOOD + "clean: {rules: [trim], mask: [phone]}": ["my.yaml:3: clean: 'mask' is asked for, and the rule of that name is off"],
    GOOD + "clean: {without: script, script: simplified}": ["my.yaml:3: clean: 'script' is asked for"],
    GOOD + "filter: [{measure: chars}]": ["my.yaml:3: filter: a limit of 'chars' without a bound, and none before it to lift: give it min or max"],
    GOOD + "filter: [{measure: chars, min: 10, max: 3}]": ["my.yaml:3: filter.0: min 10 is above max 3: nothing would be left"],
    GOOD + "filter: [{measure: han_share, min: 30}]": ["my.yaml:3: filter.0: measure 'han_share' is a share: its bounds are from 0 to 1"],
    GOOD + "filter: [{measure: language, among: [zh, cn]}]": ["measure 'language' is never 'cn'", "it is zh, en, mixed, other"],
    GOOD + "clean: {mask: [mail]}": ["my.yaml:3: clean.mask: there is no kind 'mail' of personal data", "known are email"],
    GOOD + "clean: {without: [trimm]}": ["my.yaml:3: clean.without: there is no rule 'trimm'; did you mean 'trim'"],
    "name: r\nsources:\n  - name: lima\n    traits: {htm: true}": ["my.yaml:4: unknown key 'sources.0.traits.htm'", "'html'"],
    GOOD + "splits:\n  sft:\n    wieght: 3": ["my.yaml:5: unknown key 'splits.sft.wieght'", "did you mean 'weight'?"],
    GOOD + "limits: {reject_shares: 0.5}": ["my.yaml:3: unknown key 'limits.reject_shares'", "'reject_share'"],
    "name: r\nsources:\n  - belle-1m\n  - name: lima\n    priorty: 3": ["my.yaml:5: unknown key 'sources.1.priorty'", "'priority'"],
    "name: r\nsources:\n  - {name: hh-rlhf, subsets: [harmles-base]}": ["my.yaml:3: source 'hh-rlhf' has no subset", "did you mean 'harmless-base'?"],
    "name: r\nsources: [{name: lima, subsets: x}]": ["my.yaml:2: source 'lima' has no subset 'x'; its files are of no subset"],
    "name: r\nsources: [{name: belle-1m, commercial: maybe}]": ["my.yaml:2: sources.0.commercial: expected true or false"],
    # missing
    "sources: [belle-1m]": ["my.yaml:1: key 'name' is missing"],
    "name: r": ["my.yaml:1: key 'sources' is missing"],
    # wrong types and values
    "name: r\nsources: []": ["my.yaml:2: sources: expected a list of source names"],
    "name: r\nsources: {belle-1m: {}}": ["my.yaml:2: sources: expected a list of source names"],
    "name: r\nsources: [[belle-1m]]": ["my.yaml:2: sources.0"],
    "name: r\nsources: [null]": ["my.yaml:2: sources.0"],
    "name: 3\nsources: [belle-1m]": ["my.yaml:1: name: expected a word or text (found 3)"],
    "name: Big Name\nsources: [belle-1m]": ["my.yaml:1: name: String should match pattern", "found 'Big Name'"],
    "name: ../up\nsources: [belle-1m]": ["my.yaml:1: name"],
    "name: main\nsources: [belle-1m]": ["my.yaml:1: name: 'main' means something else in the catalog"],
    "name: corpus\nsources: [belle-1m]": ["my.yaml:1: name: 'corpus' means something else"],
    GOOD + "seed: '7'": ["my.yaml:3: seed: expected a whole number, without a unit (found '7')"],
    GOOD + "seed: -1": ["my.yaml:3: seed: expected greater than or equal to 0"],
    GOOD + "dedup: {exact: 1}": ["my.yaml:3: dedup.exact: expected true or false (found 1)"],
    GOOD + "filter: [{measure: chars, max: lots}]": ["my.yaml:3: filter.0.max", "found 'lots'"],
    GOOD + "clean: [trim]": ["my.yaml:3: clean"],
    GOOD + "splits: {sft: {eval: 1.0}}": ["my.yaml:3: splits.sft.eval: expected less than 1"],
    GOOD + "splits: {sft: {weight: 0}}": ["my.yaml:3: splits.sft.weight: expected greater than or equal to"],
    GOOD + "splits: {sft: {weight: .inf}}": ["my.yaml:3: splits.sft.weight: expected less than or equal to"],
    GOOD + "splits: {sft: {weight: .nan}}": ["my.yaml:3: splits.sft.weight"],
    GOOD + "splits: {sft: {upstream: [training]}}": ["my.yaml:3: splits.sft.upstream.0"],
    GOOD + "limits: {reject_share: 1.5}": ["my.yaml:3: limits.reject_share"],
    # what pydantic alone would say in words of its own
    GOOD + "decontaminate: off": ["my.yaml:3: decontaminate: to do without it write decontaminate: {enabled: false} (found False)"],
    GOOD + "dedup: off": ["my.yaml:3: dedup: to do without it write dedup: {exact: false, near: false}"],
    GOOD + "dedup: on": ["my.yaml:3: dedup: expected keys such as exact, near, threshold"],
    GOOD + "dedup: {threshold: 80}": ["my.yaml:3: dedup.threshold: expected less than or equal to 1 (found 80.0)"],
    GOOD + "splits: {sft: {thin: {rule: short-answers}}}": ["my.yaml:3: key 'splits.sft.thin.below' is missing"],
    GOOD + "splits: {sft: {length: 500}}": ["my.yaml:3: splits.sft.length: expected keys such as tokens, chars, over (found 500)"],
    GOOD + "splits: {sft: {sources: [{belle-1m: {rows: 3}}]}}": ["my.yaml:3: splits.sft.sources: a list holds names alone"],
    GOOD + "splits: {sft: {sources: [[belle-1m]]}}": ["my.yaml:3: splits.sft.sources: a list holds names alone"],
    GOOD + "splits: {sft: {sources: {belle-1m: 5000}}}": ["splits.sft.sources.belle-1m: expected keys such as rows, tokens"],
    GOOD + "splits: {sft: {per_source: 5000}}": ["unknown key 'splits.sft.per_source'; write sources: {belle-1m: {rows: 5000}"],
    GOOD + "splits: {5: {}}": ["my.yaml:3: splits.5: expected a word or text"],
    GOOD + "splits: {pretrain: {form: dialogue}}": ["my.yaml:3: splits.pretrain.form: expected text or pair (found 'dialogue')"],
    GOOD + "tokenizer: ''": ["my.yaml:3: tokenizer: expected a path (found '')"],
    GOOD + 'tokenizer: "a\\0b"': ["my.yaml:3: tokenizer: expected a path"],
    # what cannot be
    GOOD + "splits: {sft: {rows: 99999999999999999999}}": ["my.yaml:3: splits.sft.rows: expected less than or equal to 9007199254740992"],
    GOOD + "splits: {sft: {sources: {belle-1m: {weight: 1.0e+300}}}}": ["splits.sft.sources.belle-1m.weight: expected less than"],
    GOOD + "splits: {sft: {sources: {belle-1m: {share: 0.5}}}}": ["my.yaml:3: splits.sft: the shares of its sources are 0.5 together"],
    GOOD + "splits:\n  ppo: {}\n  sft: {kinds: [preference]}": [
        "my.yaml:5: splits.sft.kinds: nothing for it can be made of a preference; it takes dialogue, document",
    ],
    GOOD + "splits: {rm: {kinds: [prompt]}}": ["splits.rm.kinds: nothing for it can be made of a prompt; it takes preference, dialogue"],
    GOOD + "splits: {pretrain: {form: pair, kinds: [prompt]}}": ["my.yaml:3: splits.pretrain.kinds: nothing for it can be made of a prompt"],
    # unknown names
    "name: r\nsources:\n  - lima\n  - belle-1n": ["my.yaml:4: there is no source 'belle-1n'; did you mean 'belle-1m'"],
    GOOD + "template: human-asistant": ["my.yaml:3: template: there is no template 'human-asistant'; did you mean 'human-assistant' or "],
    GOOD + "splits: {stf: {}}": ["my.yaml:3: splits: there is no split 'stf'; did you mean 'sft'?"],
    GOOD + "clean:\n  rules: [trim, control]": ["my.yaml:4: clean.rules: there is no rule 'control'; did you mean 'controls'?"],
    GOOD + "splits: {sft: {kinds: [dialog]}}": ["my.yaml:3: splits.sft.kinds: there is no kind 'dialog'; did you mean 'dialogue'?"],
    GOOD + "splits:\n  sft:\n    sources:\n      belle-1n: {rows: 3}": ["my.yaml:6: splits.sft.sources: there is no source 'belle-1n'; did"],
    GOOD + "splits:\n  sft:\n    sources: {lima: {rows: 3}}": ["my.yaml:5: splits.sft.sources: the recipe does not take source 'lima'"],
    GOOD + "splits:\n  sft:\n    sources:\n    - belle-1m\n    - lima": ["my.yaml:7: splits.sft.sources: the recipe does not take"],
    # the same twice
    "name: r\nsources: [lima, belle-1m, lima]": ["my.yaml:2: sources: source 'lima' is named twice"],
    "name: r\nsources: [lima, {name: lima, priority: 3}]": ["source 'lima' is named twice"],
    'name: r\nsources: ["*", "*"]': ["source '*' is named twice"],
    GOOD + "seed: 1\nclean: {}\nseed: 2": ["my.yaml:5: key 'seed' is here a second time; the first is on line 3"],
    GOOD + "splits:\n  sft: {}\n  ppo: {}\n  sft: {rows: 3}": ["my.yaml:6: key 'sft' is here a second time; the first is on line 4"],
    GOOD + "splits: {sft: {rows: 3, rows: 4}}": ["my.yaml:3: key 'rows' is here a second time"],
    "name: r\nsources:\n- {name: mine, name: mine, files: a}": ["my.yaml:3: key 'name' is here a second time"],
    # a user's own source
    "name: r\nsources:\n- name: my-test\n  files: a.json": ["my.yaml:3: sources.0", "'test', from which loaders would guess a split"],
    "name: r\nsources:\n- name: mine\n  files: ../a.json": ["my.yaml:4: sources.0.files: '../a.json' is no glob below the data folder"],
    "name: r\nsources:\n- name: mine\n  files: /etc/passwd": ["is no glob below the data folder"],
    "name: r\nsources:\n- name: mine\n  files: a.json\n  shape: alpacca": ["my.yaml:3: ", "there is no shape 'alpacca'; did you"],
    "name: r\nsources:\n- name: mine\n  files: a.json\n  shape: alpaca\n  fields: {instructions: q}": [
        "my.yaml:3", "has no field 'instructions'; did you mean 'instruction'",
    ],
    # not a recipe at all
    "": ["my.yaml: found NoneType, expected keys such as name and sources"],
    "# only a comment": ["found NoneType"],
    "- name: r\n- sources": ["my.yaml: found list, expected keys"],
    "name": ["my.yaml: found str, expected keys"],
    "name: r\n\tsources: [belle-1m]": ["my.yaml:2: not valid YAML"],
    "name: r\nsources: [belle-1m": ["not valid YAML"],
    "name: 'r\nsources: [belle-1m]": ["not valid YAML"],
    "name: !!python/object/apply:os.system [ls]": ["my.yaml:1: not valid YAML"],
    "name: r\x00": ["not valid YAML"],
    "name: r\nabout: 2024-13-45\nsources: [lima]": ["my.yaml: not valid YAML"],
    "---\nname: r\n---\nname: s\n": ["my.yaml:3: not valid YAML"],
}  # fmt: skip


@pytest.mark.parametrize("text", MISTAKES)
def test_mistakes(text: str) -> None:
    message = mistake(text)
    for part in MISTAKES[text]:
        assert part in message


@pytest.mark.parametrize("marker", ["", " ", "\\n"])
def test_a_marker_that_begins_every_line_is_none(marker: str) -> None:
    with pytest.raises(RecipeError, match="a marker needs a character"):
        parse(f'name: r\nsources: [{{name: lima, traits: {{speakers: {{"{marker}": user}}}}}}]\n', "r.yaml")


def test_all_mistakes_are_told_at_once() -> None:
    assert len(mistake("name: 3\nsede: 1\nsources: [belle-1m]\ndedup: {exact: 1}").splitlines()) == 3


def bomb(levels: int, wide: int) -> str:
    lines = [f"a0: &a0 [{', '.join(['lol'] * wide)}]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * wide)}]" for n in range(1, levels)]
    return "\n".join(lines)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (bomb(9, 9), "its aliases expand to more than 100,000 values"),
        (bomb(60, 60), "its aliases expand to more than 100,000 values"),
        ("name: &a [*a]", "an alias that holds itself"),
        ("a: &a {b: *a}", "an alias that holds itself"),
        ("name: " + "[" * 50_000, "nested too deeply"),
        ("name: " + "[" * 3_000 + "]" * 3_000, "nested too deeply"),
        ("name: " + "x" * 1_000_001, "characters are no recipe"),
        ("m: &m {" + ", ".join(f"k{n}: 1" for n in range(2000)) + "}\nl: [" + ", ".join(["{<<: *m}"] * 2000) + "]", "expand to more than"),
    ],
    ids=["laughs", "more laughs", "list in itself", "mapping in itself", "open brackets", "brackets", "long", "merges"],
)
def test_hostile_recipes_end_soon(text: str, expected: str) -> None:
    started = time.monotonic()
    assert expected in mistake(text)
    assert time.monotonic() - started < 10


def test_anchors_and_merges_of_a_sane_recipe_work() -> None:
    recipe = parse(GOOD + "splits:\n  rm: &pairs {eval: 0.1, rows: 5}\n  dpo: *pairs\n  sft: {<<: *pairs, rows: 7}", "my.yaml")
    assert recipe.splits["rm"] == recipe.splits["dpo"]
    assert (recipe.splits["sft"].eval, recipe.splits["sft"].rows) == (0.1, 7)


def test_a_recipe_of_two_lines_has_defaults() -> None:
    recipe = parse(GOOD, "my.yaml")
    assert [s.name for s in recipe.sources] == ["belle-1m"]
    assert set(recipe.splits) == {"sft", "test"}
    assert parse("name: r\nsources: belle-1m", "my.yaml") == recipe


def test_a_source_of_ones_own_may_be_capped_by_name() -> None:
    text = "name: r\nsources:\n- '*'\n- {name: mine, files: 'a/*.json', shape: alpaca}\nsplits: {sft: {sources: {mine: {rows: 3}, lima: }}}"
    assert parse(text, "my.yaml").splits["sft"].sources == {"mine": Ask(rows=3), "lima": Ask()}


@pytest.mark.parametrize("path", sorted((HERE / "recipes").glob("*.yaml")), ids=lambda p: p.name)
def test_the_recipes_of_the_project_load(path: Path) -> None:
    assert path.name == "models.yaml" or load(path).name == path.stem


def test_recipes_are_found_by_name_or_path(tmp_path: Path) -> None:
    (tmp_path / "sample.yaml").write_text(GOOD, encoding="utf-8")
    assert find("sample", tmp_path) == tmp_path / "sample.yaml"
    assert find(str(tmp_path / "sample.yaml"), Path("elsewhere")) == tmp_path / "sample.yaml"
    with pytest.raises(RecipeError, match=r"there is no recipe 'sampel' in .*; did you mean 'sample'\?; known are sample"):
        find("sampel", tmp_path)
    with pytest.raises(RecipeError, match="there is no such file"):
        find("nowhere.yaml", tmp_path)
    (tmp_path / "inner").mkdir()
    with pytest.raises(RecipeError, match="there is no recipe"):
        find("../sample", tmp_path / "inner")


def test_a_tokenizer_is_beside_the_recipe_wherever_one_stands(tmp_path: Path) -> None:
    path = tmp_path / "r.yaml"
    path.write_text(GOOD + "tokenizer: mine/tokenizer.json\n", encoding="utf-8")
    assert load(path).tokenizer == str(tmp_path / "mine/tokenizer.json")
    path.write_text(GOOD + "tokenizer: /elsewhere/tokenizer.json\n", encoding="utf-8")
    assert load(path).tokenizer == "/elsewhere/tokenizer.json"


@pytest.mark.parametrize("content", [None, b"\xff\xfe\x00", b"name: \xe9"])
def test_unreadable_files_are_said_to_be(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "r.yaml"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(RecipeError, match=r"r\.yaml: cannot be read"):
        load(path)
    with pytest.raises(RecipeError, match="cannot be read"):
        load(tmp_path)
