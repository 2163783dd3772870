"""The text and the scores of the benchmark of tokenizers: seeded, of the size asked for, counted as straight code counts."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow.parquet as pq
import pytest
from tokenizers import Tokenizer, decoders, models, pre_tokenizers

from benchmarks.tokenizers import __main__ as command
from benchmarks.tokenizers import score, text
from benchmarks.tokenizers.chain import Chain, novelty
from corpus.schema import TEXT_SPLIT


def words(count: int, seed: int) -> list[str]:
    """Rows of words of few letters, some rows Chinese."""
    rng = np.random.default_rng(seed)
    known = {"en": ["".join(rng.choice(list("abcdefgh"), rng.integers(2, 8))) for _ in range(400)]}
    known["zh"] = ["".join(map(chr, rng.integers(0x4E00, 0x4E60, rng.integers(1, 5)))) for _ in range(400)]
    out = []
    for row in range(count):
        language, gap = ("zh", "，") if row % 2 else ("en", " ")
        out.append(gap.join(known[language][i] for i in rng.integers(0, 400, rng.integers(3, 40))) + f" {row}")
    return out


@pytest.fixture(name="train", scope="module")
def _train() -> pl.DataFrame:
    rows = words(3000, 1)
    return pl.DataFrame(
        {
            "row_id": [f"f{i:031x}" for i in range(len(rows))],
            "source": "made",
            "license": "CC0",
            "kind": "document",
            "text": rows,
            "language": ["zh" if i % 2 else "en" for i in range(len(rows))],
            "bytes": [len(row.encode()) for row in rows],
        }
    )


def some(chain: Chain, seed: int, characters: int) -> list[str]:
    out: list[str] = []
    for rows in chain.rows(seed):
        out += rows
        if sum(map(len, out)) >= characters:
            return out
    raise AssertionError("rows have no end")


def test_a_chain_writes_nothing_but_what_followed_the_same_characters() -> None:
    rows = ["abcabd", "abx", "cabd。"]
    padded = ["\0\0" + row + "\0" for row in rows]
    known = {row[i : i + 3] for row in padded for i in range(len(row) - 2)}
    made = some(Chain.learn(rows, 2), 3, 10)
    assert len(set(made)) > 3
    for row in (f"\0\0{row}\0" for row in made[:2000]):
        assert {row[i : i + 3] for i in range(len(row) - 2)} <= known


def test_a_chain_draws_by_frequency() -> None:
    made = some(Chain.learn(["ab"] * 3 + ["ac"], 1), 5, 10)
    assert made.count("ab") / len(made) == pytest.approx(0.75, abs=0.01)


def test_a_chain_is_seeded() -> None:
    chain = Chain.learn(words(200, 2), 3)
    assert some(chain, 1, 10) == some(Chain.learn(words(200, 2), 3), 1, 10)
    assert some(chain, 1, 10) != some(chain, 2, 10)


def test_a_chain_ends_rows_that_never_end_themselves() -> None:
    chain = Chain.learn(["a" * 100_000], 2)
    assert max(map(len, some(chain, 1, 10))) < 5000


def test_a_chain_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="no rows"):
        Chain.learn([], 3)


def test_a_chain_writes_words_that_were_never_seen() -> None:
    rows = pl.Series(words(400, 3))
    made = pl.Series(some(Chain.learn(rows.to_list(), 2), 1, 10)).head(400)
    assert novelty(rows, rows)["new"] == 0
    assert novelty(rows, made)["new"] > 0.05 * novelty(rows, made)["distinct"] > 0


def test_novelty_counts_runs() -> None:
    found = novelty(pl.Series(["一二，three four"]), pl.Series(["一二 三四 four five", "three 三四"]))
    size = len("一二 三四 four fivethree 三四".encode()) / 1e6
    assert found == {"distinct": pytest.approx(5 / size), "new": pytest.approx(2 / size)}


@pytest.mark.parametrize("share", [100, 25])
def test_text_has_its_size_and_its_schema_and_is_the_same_again(train: pl.DataFrame, tmp_path: Path, share: int) -> None:
    made = text.make(train, tmp_path / "a", 1, share)
    again = text.make(train, tmp_path / "b", 1, share)
    assert made.rows.read_bytes() == again.rows.read_bytes()
    assert made.lines.read_bytes() == again.lines.read_bytes()
    table = pq.read_table(made.rows)
    assert table.schema.equals(TEXT_SPLIT.schema)
    rows = table["text"].to_pylist()
    assert made.lines.read_text() == "".join(f"{row}\n" for row in rows)
    assert (made.count, made.bytes) == (len(rows), sum(len(row.encode()) for row in rows))
    assert made.bytes == pytest.approx(1e6 * share / 100, rel=0.1 if share < 100 else 0.01)
    assert text.make(train, tmp_path / "a", 1, share) == made


def test_all_real_rows_come_first_then_chains_of_both_languages(train: pl.DataFrame, tmp_path: Path) -> None:
    made = text.make(train, tmp_path, 2)
    table = pl.read_parquet(made.rows)
    assert table["text"].head(len(train)).to_list() == train["text"].to_list()
    assert made.real == train["bytes"].sum()
    more = table.slice(len(train))
    assert table["row_id"].is_unique().all()
    sizes = dict(more.group_by("source").agg(pl.col("text").str.len_bytes().sum()).iter_rows())
    assert set(sizes) == {"chain-zh", "chain-en"}


def test_less_text_is_the_first_rows(train: pl.DataFrame, tmp_path: Path) -> None:
    few = text.make(train.head(100), tmp_path, 1)
    rows = pl.read_parquet(few.rows)["text"].to_list()
    assert rows[:100] == train["text"].head(100).to_list()


def test_what_is_held_out_is_not_trained_on(train: pl.DataFrame) -> None:
    held, rest = text.hold_out(train, 10_000)
    assert len(held) + len(rest) == len(train)
    assert not set(held["row_id"]) & set(rest["row_id"])
    for language in text.LANGUAGES:
        assert 10_000 <= held.filter(pl.col("language") == language)["bytes"].sum() < 11_000
    tenth, _ = text.hold_out(train.head(50))
    assert 0 < tenth["bytes"].sum() < 0.4 * train.head(50)["bytes"].sum()


def test_texts_of_a_warehouse_are_distinct_and_drawn_by_chance(tmp_path: Path) -> None:
    message = pl.List(pl.Struct({"role": pl.String, "content": pl.String}))
    said = [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}]
    rows = [
        {"row_id": "2", "text": "same"},
        {"row_id": "1", "text": "same"},
        {"row_id": "3", "title": "t", "text": "x"},
        {"row_id": "4", "messages": said},
        {"row_id": "5", "messages": said[:1], "chosen": [{"role": "assistant", "content": "汉字"}]},
        {"row_id": "6", "text": ""},
    ]
    schema = dict.fromkeys(("row_id", "source", "license", "kind", "title", "text"), pl.String) | {
        "messages": message,
        "chosen": message,
    }
    (tmp_path / "clean" / "made").mkdir(parents=True)
    pl.DataFrame(rows, schema=schema).write_parquet(tmp_path / "clean" / "made" / "a.parquet")
    found = text.read(tmp_path)
    assert sorted(found.select("row_id", "text").rows()) == [("1", "same"), ("3", "t\nx"), ("4", "q\na"), ("5", "q\n汉字")]
    assert dict(found.select("row_id", "language").iter_rows())["5"] == "zh"
    assert dict(found.select("row_id", "bytes").iter_rows())["5"] == 8
    with pytest.raises(FileNotFoundError, match="corpus build"):
        text.read(tmp_path / "nothing")


@pytest.fixture(name="bytewise")
def _bytewise(tmp_path: Path) -> Path:
    """A tokenizer whose tokens are the bytes and one pair of them; `x` is missing from its alphabet."""
    alphabet = sorted(set(pre_tokenizers.ByteLevel.alphabet()) - {"x"})
    vocabulary = {"<unk>": 0, **{letter: i + 1 for i, letter in enumerate(alphabet)}, "ab": len(alphabet) + 1}
    tokenizer = Tokenizer(models.BPE(vocabulary, [("a", "b")], unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    return tmp_path


def test_scores_are_what_straight_code_counts(bytewise: Path) -> None:
    held = {"zh": ["汉字", "ab汉"], "en": ["abab", "a b", "xa"]}
    found = score.score(score.load(bytewise), held)
    # 汉字 6 bytes in 6 tokens; ab汉 5 bytes in 4.
    assert found["zh"]["bytes_per_token"] == pytest.approx(11 / 10)
    assert (found["zh"]["exact"], found["zh"]["unknown"]) == (1.0, 0.0)
    # abab in 2, "a b" in 3, "xa" in 2, of which one is unknown.
    assert found["en"]["bytes_per_token"] == pytest.approx(9 / 7)
    assert found["en"]["exact"] == pytest.approx(2 / 3)
    assert found["en"]["unknown"] == pytest.approx(1000 / 7)
    assert all("x" in probe or "X" in probe for probe in found["failed"])
    assert found["probes"] + len(found["failed"]) == len(score.PROBES)
    assert found["failed"] == [probe for probe in score.PROBES if "x" in probe]
    assert json.dumps(found)


def test_a_missing_tokenizer_is_told(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"tokenizer\.json"):
        score.load(tmp_path)


def test_tables_have_all_columns() -> None:
    text_of = {"folder": "50mb-10", "bytes": 5_000_000, "real": 0, "count": 1}
    language = {"bytes_per_token": 4.5, "exact": 1.0, "unknown": 0.0, "mb_per_s": 3.0}
    good = {
        "tokenizer": "bpe",
        "text": text_of,
        "wall_s": 1.0,
        "cpu_s": 2.0,
        "peak_mb": 3.0,
        "score": {"zh": language, "en": language, "probes": 17, "failed": []},
    }
    bad = {"tokenizer": "bpe", "text": text_of, "failed": "stopped"}
    for run in (good, bad):
        assert len(command.line(run)) == len(command.HEAD)
        assert len(command.share_line(run)) == len(command.SHARES)
    assert command.share_line(good)[1] == "10 % of 50mb"
    assert command.share_line({**good, "text": {**text_of, "folder": "50mb"}})[1] == "100 % of 50mb"
