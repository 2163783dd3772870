"""`corpus tokenizer train`: from a built warehouse to a folder, and what is told of it."""

from __future__ import annotations

import json
import shlex
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner
from tokenizers import Tokenizer

from corpus.cli import cli
from corpus.errors import CorpusError, DataError, RecipeError
from corpus.recipe import parse
from corpus.tokenizer.spec import Kind, TokenizerSpec
from corpus.tokenizer.text import HELD_BYTES, Texts, texts
from corpus.tokenizer.train import spec_of, train
from corpus.warehouse.builds import Build

RECIPE = "name: t\nsources: ['*']\ntraining: {{tokenizer: {{{}}}}}\n"


@pytest.fixture(scope="module")
def warehouse(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("tokenizer") / "warehouse"
    result = CliRunner().invoke(cli, ["build", "--warehouse", str(root), "--workers", "1"])
    assert result.exit_code == 0, result.output
    return root


def ids_and_texts(found: Texts) -> pl.DataFrame:
    return pl.concat([pl.read_parquet(path, columns=["row_id", "text"]) for path in found.files])


def trained_on(found: Texts, most: int, seed: int) -> list[str]:
    return pl.concat([column for column, _ in found.training(most, seed)]).to_list()


def test_rows_are_trained_on_or_held_out(warehouse: Path) -> None:
    found = texts(warehouse)
    every = ids_and_texts(found)
    held = found.held_out()
    trained = trained_on(replace(found, marks=()), 1 << 40, 0)
    assert held.columns == ["row_id", "source", "language", "text"]
    assert 0 < len(held) < len(every) / 16
    assert set(held["language"]) <= {"zh", "en", "other"}
    assert sorted([*trained, *every.filter(pl.col("row_id").is_in(held["row_id"].to_list()))["text"]]) == sorted(every["text"])
    assert found.rows == len(every)
    assert found.bytes == pytest.approx(every["text"].str.len_bytes().sum(), rel=0.02)


def test_a_sample_is_drawn_by_rows_and_seed(warehouse: Path) -> None:
    found = texts(warehouse)
    whole = trained_on(found, 1 << 40, 0)
    half = found.bytes // 2
    one, other, again = (trained_on(found, half, seed) for seed in (0, 1, 0))
    assert one == again != other
    assert set(one) <= set(whole)
    assert sum(len(t.encode()) for t in one) == pytest.approx(half, rel=0.35)
    smaller = trained_on(found, half // 2, 0)
    assert set(smaller) < set(one)  # a larger sample is the smaller one and more
    assert not set(found.held_out()["text"]) & set(one)


def test_marks_of_the_template_are_no_text(warehouse: Path) -> None:
    """The split holds rendered conversations: their `</s>` is a token, and what is learnt from and measured has none of it."""
    found = texts(warehouse)
    kinds = pl.concat([pl.read_parquet(path, columns=["row_id", "kind", "text"]) for path in found.files])
    assert found.marks == ("</s>",)
    assert kinds.filter(pl.col("kind") == "dialogue")["text"].str.contains("</s>").all()
    every = "".join(kinds["text"])
    assert len("".join(trained_on(replace(found, marks=()), 1 << 40, 0))) > len("".join(trained_on(found, 1 << 40, 0)))
    documents = "".join(kinds.filter(pl.col("kind") == "document")["text"])
    assert "".join(trained_on(found, 1 << 40, 0)).count("</s>") <= documents.count("</s>") < every.count("</s>")
    assert not found.held_out()["text"].str.contains("</s>").any()
    assert sum(rows for _, rows in found.training(1 << 40, 0)) == found.rows - len(found.held_out())


def test_held_out_text_is_bounded(tmp_path: Path, warehouse: Path) -> None:
    build = texts(warehouse).build
    found = Texts(build, (), (), 10, 1000 * HELD_BYTES)
    assert found.held_below / 2**64 == pytest.approx(1 / 1000)


def test_the_folder_and_its_manifest(warehouse: Path, tmp_path: Path) -> None:
    found = texts(warehouse)
    folder, told = train(found, TokenizerSpec(vocab_size=900), tmp_path / "out")
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    assert told["vocab_size"] == tokenizer.get_vocab_size() == 900
    assert told["tokenizer_sha256"] == sha256((folder / "tokenizer.json").read_bytes()).hexdigest()
    assert json.loads((folder / "manifest.json").read_bytes()) == {"format": "yuliao-tokenizer-1", **told}
    assert told["template"] == "human-assistant"
    assert {token: tokenizer.token_to_id(token) for token in told["specials"]} == told["specials"]
    assert told["trained"]["rows"] == found.rows - len(found.held_out())
    assert told["build"] == found.build.fingerprint
    again, retold = train(found, TokenizerSpec(vocab_size=900), tmp_path / "again")
    assert (again / "tokenizer.json").read_bytes() == (folder / "tokenizer.json").read_bytes()
    assert {k: v for k, v in retold.items() if k != "trained"} == {k: v for k, v in told.items() if k != "trained"}


def test_the_command(warehouse: Path, tmp_path: Path) -> None:
    out = tmp_path / "runs" / "tokenizer"
    given = ["tokenizer", "train", "--warehouse", str(warehouse), "--out", str(out), "--vocab", "700", "--symbol", "\n"]
    result = CliRunner().invoke(cli, [*given, "--json"])
    assert result.exit_code == 0, result.output
    told = json.loads(result.stdout)
    assert told["vocab_size"] == 700
    assert told["spec"]["symbols"] == ["\n"]
    report = json.loads((out / "report.json").read_bytes())
    assert report["tokenizers"][0]["size"] == 700
    result = CliRunner().invoke(cli, given)
    assert result.exit_code == 0, result.output
    assert "700 tokens, learnt from" in result.output
    side = CliRunner().invoke(cli, ["tokenizer", "report", str(out), str(out / "tokenizer.json"), "--warehouse", str(warehouse), "--json"])
    assert side.exit_code == 0, side.output
    assert len(json.loads(side.stdout)["tokenizers"]) == 2


@pytest.mark.parametrize(
    ("given", "says"),
    [
        (["--kind", "bep"], "did you mean 'bpe'"),
        (["--vocab", "12"], "greater than or equal to 300"),
        (["--recipe", "chatbloom"], "no build of recipe"),
        (["--symbol", ""], "one is empty"),
        (["--words", "my.txt"], "a dictionary is for the kind jieba-words"),
        (["--symbol", "\udcff"], "is no text"),
    ],
)
def test_mistakes_are_told(warehouse: Path, tmp_path: Path, given: list[str], says: str) -> None:
    result = CliRunner().invoke(cli, ["tokenizer", "train", "--warehouse", str(warehouse), "--out", str(tmp_path / "x"), *given])
    assert isinstance(result.exception, CorpusError)
    assert says in str(result.exception)
    assert not (tmp_path / "x").exists()


def test_a_recipe_that_is_a_file_names_its_build(warehouse: Path, tmp_path: Path) -> None:
    recipe = Path(__file__).parents[2] / "recipes" / "sample.yaml"
    out = tmp_path / "tokenizer"
    given = ["--recipe", str(recipe), "--warehouse", str(warehouse)]
    for _ in range(2):
        result = CliRunner().invoke(cli, ["tokenizer", "train", *given, "--vocab", "700", "--out", str(out)])
        assert result.exit_code == 0, result.output
    assert "takes the place of another: bpe, 700 tokens" in result.output
    assert "the figures say little" in result.output
    hint = result.output.split("encode the splits with it: corpus ")[1].strip()
    assert CliRunner().invoke(cli, [*shlex.split(hint), "--out", str(tmp_path / "encoded")]).exit_code == 0
    result = CliRunner().invoke(cli, ["encode", *given, "--tokenizer", str(out), "--out", str(tmp_path / "encoded"), "--split", "sft"])
    assert result.exit_code == 0, result.output


def test_a_build_without_the_split(tmp_path: Path) -> None:
    recipe = tmp_path / "few.yaml"
    recipe.write_text("name: few\nsources: [alpaca]\nsplits: {sft: {}}\n")
    root = tmp_path / "warehouse"
    assert CliRunner().invoke(cli, ["build", "--recipe", str(recipe), "--warehouse", str(root), "--workers", "1"]).exit_code == 0
    with pytest.raises(DataError, match="no rows in a split 'tokenizer'"):
        texts(root)


def test_the_recipes_section_and_the_command_line_over_it() -> None:
    recipe = parse(RECIPE.format('kind: jieba-words, vocab_size: 500, symbols: ["\\n"]'), "r")
    assert spec_of(recipe, {}) == TokenizerSpec(kind=Kind.JIEBA_WORDS, vocab_size=500, symbols=("\n",))
    assert spec_of(recipe, {"kind": "bpe"}).kind is Kind.BPE
    with pytest.raises(RecipeError, match=r"vocabsize.*its keys are kind, vocab_size"):
        spec_of(parse(RECIPE.format("vocabsize: 500"), "r"), {})


def test_memory_is_a_row_groups(tmp_path: Path, warehouse: Path) -> None:
    """Row groups are read one by one, however large the file is."""
    path = tmp_path / "train.parquet"
    ids = [f"{i:032x}" for i in range(5000)]
    table = pa.table({"row_id": ids, "source": ["s"] * 5000, "kind": ["document"] * 5000, "text": [f"text {i} " * 50 for i in range(5000)]})
    pq.write_table(table, path, row_group_size=500)
    build: Build = texts(warehouse).build
    found = Texts(build, (path,), ("",), 5000, 5000 * 450)
    sizes = [len(column) for column, _ in found.training(1 << 40, 0)]
    assert len(sizes) == 10
    assert all(0 < n <= 500 for n in sizes)


def test_every_kind_is_known() -> None:
    known: Any = set(Kind)
    assert {k.value for k in known} == {"bpe", "sentencepiece-bpe", "sentencepiece-unigram", "jieba-words"}
