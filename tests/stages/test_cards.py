"""cards: what the folder of a split says of itself, and that loaders understand it."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import yaml

from corpus.stages import cards
from tests.conftest import hashes
from tests.stages.rendering import Made, Row, context_of, dialogue, make, recipe_of, turns

SPLITS = {
    "sft": {"eval": 0.1}, "pretrain": {"form": "pair", "kinds": ["dialogue"]}, "rm": {"kinds": ["preference", "dialogue"]}, "ppo": {},
    "tokenizer": {"shared": True, "kinds": ["document", "dialogue"]}, "test": {},
}  # fmt: skip
HOSTILE = (
    "MIT | <script>alert(1)</script> [x](javascript:alert) `code`\n# heading\n---\nlicense: cc0 ![i](http://x.y/i.png) {{ x }} \u202eabc"
)


def rows() -> list[list[Row]]:
    """Some rows of every form."""
    chats = [
        dialogue(f"chat {n}", ("sft", ("train", "eval")[n % 4 == 0], 0, 1 + n % 2), language="zh" if n % 2 else "en") for n in range(24)
    ]
    chats += [dialogue(f"pair {n}", ("pretrain", "train", 0, 1), ("tokenizer", "train", 0, 1)) for n in range(6)]
    chats += [dialogue(f"request {n}", ("rm-requests", "train", 0, 1)) for n in range(3)]
    chats += [dialogue(f"prompt {n}", ("ppo", "train", 0, 1)) for n in range(3)]
    chats += [dialogue(f"test {n}", ("test", "test", 0, 1)) for n in range(3)]
    sides = {"chosen": [{"role": "assistant", "content": "Yes."}], "rejected": [{"role": "assistant", "content": "No."}]}
    others = [
        Row(
            f"judged {n}",
            {"kind": "preference", "messages": turns(f"Is it {n}?"), **sides},
            [("rm", ("train", "eval")[n % 3 == 0], 0, 1)],
            "two",
        )
        for n in range(9)
    ]
    others += [
        Row(f"page {n}", {"kind": "document", "title": f"Page {n}", "text": "Some text."}, [("tokenizer", "train", 0, 1)], "two")
        for n in range(4)
    ]
    return [chats, others]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    """A warehouse with splits of every form, in several shards each."""
    return make(tmp_path_factory.mktemp("cards"), rows(), recipe_of(splits=SPLITS, about="For *tests*"), shard_bytes=2000)


def read(made: Made, split: str) -> tuple[dict[str, Any], str, dict[str, Any]]:
    """Front matter and text of the card, and the manifest."""
    folder = made.root / "splits/r" / split
    _, front, text = (folder / "README.md").read_text(encoding="utf-8").split("---\n", 2)
    return yaml.safe_load(front), text, json.loads((folder / "manifest.json").read_text(encoding="utf-8"))


SPLIT_NAMES = ["pretrain", "ppo", "rm", "rm-requests", "sft", "test", "tokenizer"]


@pytest.mark.parametrize("split", SPLIT_NAMES)
def test_a_manifest_is_right_about_its_files(made: Made, split: str) -> None:
    _, _, told = read(made, split)
    folder = made.root / "splits/r" / split
    listed = {f["path"]: f for part in told["parts"].values() for f in part["files"]}
    assert sorted(listed) == sorted(p.name for p in folder.glob("*.parquet"))
    lines = ""
    for name in sorted(listed):
        content = (folder / name).read_bytes()
        assert (listed[name]["bytes"], listed[name]["sha256"]) == (len(content), hashlib.sha256(content).hexdigest())
        lines += f"{listed[name]['sha256']} {name}\n"
    assert told["fingerprint"] == hashlib.sha256(lines.encode()).hexdigest()
    found = {part: made.rows(split, part) for part in told["parts"]}
    assert {part: each["rows"] for part, each in told["parts"].items()} == {part: len(each) for part, each in found.items()}
    every = [row for each in found.values() for row in each]
    for by in ("source", "kind", "license"):
        assert {k: v["rows"] for k, v in told["counts"][by].items()} == {v: sum(r[by] == v for r in every) for v in {r[by] for r in every}}
        assert sum(v["distinct"] for v in told["counts"][by].values()) == len({r["row_id"] for r in every})
    chars = sum(len(r["text"]) if "text" in r else len(r["prompt"] + r["response"]) for r in every)
    assert sum(v["chars"] for v in told["counts"]["source"].values()) == chars
    assert (told["format"], told["recipe"], told["split"], told["seed"], told["tokenizer"]) == (1, "r", split, 5, None)
    assert told["template"] == {"name": "human-assistant", "version": 1}
    assert "training" not in told["settings"]


def test_forms_are_told(made: Made) -> None:
    assert {s: read(made, s)[2]["form"] for s in SPLIT_NAMES} == {
        "pretrain": "pair", "ppo": "prompt", "rm": "preference", "rm-requests": "request", "sft": "dialogue", "test": "dialogue", "tokenizer": "text",
    }  # fmt: skip


def test_a_card_says_what_it_is(made: Made) -> None:
    front, text, told = read(made, "sft")
    assert front["configs"][0]["data_files"] == [{"split": "train", "path": "train-*.parquet"}, {"split": "eval", "path": "eval-*.parquet"}]
    assert (front["language"], front["license"], front["size_categories"]) == (["zh", "en"], ["mit"], ["n<1K"])
    assert "For &#42;tests&#42;." in text
    for each in ("## Sources", "## Template", "## Columns", "## How to load it", "## Limitations", told["fingerprint"], "eval: 0.1"):
        assert each in text
    assert "Human: (user)\n\nAssistant: (assistant)</s>" in text
    assert "`spans`" in text
    assert "pretrain:" not in text, "other splits' settings are the manifest's"
    assert "The split is shared" in read(made, "tokenizer")[1]


def test_cards_hold_no_path_and_no_date(made: Made) -> None:
    for split in SPLIT_NAMES:
        for name in ("README.md", "manifest.json"):
            text = (made.root / "splits/r" / split / name).read_text(encoding="utf-8")
            assert str(made.root) not in text
            assert not re.search(r"\b20\d\d-\d\d", text)


def test_the_same_split_has_the_same_card(made: Made, tmp_path: Path) -> None:
    again = make(tmp_path / "again", rows(), recipe_of(splits=SPLITS, about="For *tests*"), shard_bytes=2000, mixed=lambda p: p[::-1])
    assert again.files() == made.files()


@pytest.mark.parametrize(
    ("change", "same"),
    [({"training": {"sft": {"x": 1}}}, True), ({"data": "/home/me"}, True), ({"dedup": {"limits": {"component": 9}}}, True), ({"about": "x"}, False),
     ({"license": "commercial"}, False), ({"dedup": {"threshold": 0.7}}, False)],
)  # fmt: skip
def test_a_card_is_written_again_when_what_it_says_changes(made: Made, change: dict[str, Any], same: bool) -> None:
    plans = [
        cards.plan(context_of(made.root, recipe_of(**{"splits": SPLITS, **more})), made.rendered, made.sharded) for more in ({}, change)
    ]
    assert ([t.fingerprint for t in plans[0]] == [t.fingerprint for t in plans[1]]) == same


def test_hostile_terms_and_descriptions_are_text(tmp_path: Path) -> None:
    row = dialogue("a", ("sft", "train", 0, 1))
    row.content["license"] = HOSTILE
    recipe = recipe_of(about="</td><img src=x onerror=alert(1)> ```\n---\n# x")
    made = make(tmp_path, [[row]], recipe, one={"about": "a | b\n\n| c |", "license": HOSTILE})
    front, text, told = read(made, "sft")
    assert front["license"] == ["other"]
    assert told["counts"]["license"] == {HOSTILE: {"rows": 1, "distinct": 1, "chars": told["counts"]["source"]["one"]["chars"]}}
    assert told["sources"]["one"]["license"] == HOSTILE
    prose = re.sub(r"^(`{3,}).*?^\1$", "", text, flags=re.S | re.M)
    assert "<script" not in prose
    assert "<img" not in prose
    assert "](" not in prose
    assert "\u202e" not in prose
    assert [line for line in prose.splitlines() if line.startswith("#")] == [
        "# r: sft", "## Parts", "## Sources", "## How it was made", "## Template", "## Columns", "## How to load it", "## Limitations", "## Settings",
        "## Fingerprints",
    ]  # fmt: skip
    tables = [line for line in prose.splitlines() if line.startswith("| one")]
    assert len(tables) == 1
    assert tables[0].count("|") == 7, "no cell more than there are columns"


def test_a_split_without_rows_has_no_folder(tmp_path: Path) -> None:
    made = make(tmp_path, [[dialogue("a", ("sft", "train", 0, 1))]])
    assert [p.name for p in (tmp_path / "splits/r").iterdir()] == ["sft"]
    assert [p.key for p in made.cards] == ["r:sft"]
    assert sorted(p.name for p in (tmp_path / "splits/r/sft").iterdir()) == ["README.md", "manifest.json", "train-00000-of-00001.parquet"]


@pytest.mark.parametrize("split", SPLIT_NAMES)
def test_the_datasets_library_loads_a_folder(made: Made, split: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HF_HUB_OFFLINE", "HF_DATASETS_OFFLINE", "HF_HUB_DISABLE_TELEMETRY"):
        monkeypatch.setenv(name, "1")
    monkeypatch.setenv("HF_HOME", str(tmp_path))
    datasets = pytest.importorskip("datasets")
    datasets.disable_progress_bars()
    folder = str(made.root / "splits/r" / split)
    _, _, told = read(made, split)
    loaded = datasets.load_dataset(folder, cache_dir=str(tmp_path / "cache"))
    assert {name: each.num_rows for name, each in loaded.items()} == {name: each["rows"] for name, each in told["parts"].items()}
    for part in told["parts"]:
        assert loaded[part].to_list() == made.rows(split, part), "in the order of the files"
    plain = datasets.load_dataset("parquet", data_dir=folder, cache_dir=str(tmp_path / "plain"))
    assert sum(each.num_rows for each in plain.values()) == sum(each["rows"] for each in told["parts"].values())
    # Without the card, loaders take "eval" in a name for a test split.
    assert set(plain) == {{"eval": "test"}.get(part, part) for part in told["parts"]}
    streamed = datasets.load_dataset(folder, split=next(iter(told["parts"])), streaming=True)
    assert next(iter(streamed))["row_id"] == made.rows(split, next(iter(told["parts"])))[0]["row_id"]


def test_loaders_that_cache_by_name_tell_two_splits_apart(made: Made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`datasets` finds what it has loaded by the folder's last name and the name of the configuration, whatever the files are."""
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    datasets = pytest.importorskip("datasets")
    datasets.disable_progress_bars()
    cache = str(tmp_path / "cache")
    first, other = made.root / "splits/r/sft", tmp_path / "another/sft"
    shutil.copytree(first, other)
    for file in other.glob("*.parquet"):
        pq.write_table(pq.read_table(file, partitioning=None).slice(0, 1), file)
    name = (other / "README.md").read_text(encoding="utf-8")
    [config] = re.findall("config_name: (.+)", name)
    (other / "README.md").write_text(name.replace(config, f"{config[:-1]}x"), encoding="utf-8")  # as another fingerprint does
    files = len(list(other.glob("train-*.parquet")))
    assert len(datasets.load_dataset(str(first), split="train", cache_dir=cache)) > files
    assert len(datasets.load_dataset(str(other), split="train", cache_dir=cache)) == files


def test_the_hub_understands_the_front_matter(made: Made) -> None:
    from huggingface_hub import DatasetCard

    card = DatasetCard.load(made.root / "splits/r/sft/README.md")
    assert card.data.language == ["zh", "en"]
    assert re.fullmatch("r-sft-[0-9a-f]{12}", card.data.configs[0]["config_name"])


def test_a_card_is_swept_with_its_split(made: Made) -> None:
    from corpus.warehouse.builds import _OWN

    assert [name for name in hashes(made.root, layers=["splits", "rendered"]) if not _OWN.fullmatch(name)] == []
