"""An encoding as a whole: which files, in which order, what is kept and made again, what is refused, and what a kill leaves."""

from __future__ import annotations

import hashlib
import json
import pickle
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner

from corpus.cli import cli
from corpus.errors import DataError, UsageError, WarehouseError
from corpus.recipe_splits import Form
from corpus.schema import Table
from corpus.splits.templates import TEMPLATES
from corpus.tokenizer import encode_run
from corpus.tokenizer.encode import prepared
from corpus.tokenizer.encoded import SEQUENCES, Flat, Layout, encoded_table, files, manifest, open_flat
from corpus.warehouse.lock import writer_lock
from tests.export.made import answer, make_warehouse, turns
from tests.tokenizer.made import gpt2, ours

MARKS = TEMPLATES["human-assistant"].specials
SPLITS: dict[str, list[list[dict[str, Any]]]] = {
    "pretrain:train": [
        [
            {"text": "长江流经中国。</s> <|pad|>", "kind": "document"},
            {"text": ""},
            {"text": "Two lines\r\n    and code", "kind": "document"},
        ],
        [{"text": "𠮷野家", "kind": "document"}, {"text": "Human: 问\n\nAssistant: 答 <|pad|></s>", "kind": "dialogue"}],
    ],
    "sft:train": [
        [{"messages": turns(f"question {n}?", "答" * n, "more", f"Answer {n}.")} for n in range(1, 8)],
        [{"messages": turns("再来", "好 👩‍👩‍👧‍👦", system="Be brief.")}],
    ],
    "sft:eval": [[{"messages": turns("held out", "yes")}]],
    "rm:train": [
        [{"prompt": turns("which?"), "chosen": answer("good 好"), "rejected": answer("bad " * n)} for n in range(1, 5)],
    ],
    "ppo:train": [[{"prompt": turns("say 说")}]],
    "pairs:train": [[{"prompt": "Human: 问\n\nAssistant:", "response": " 答</s>"}, {"prompt": "", "response": "</s>"}]],
    "dpo-requests:train": [[{"prompt": turns("which?"), "chosen": answer("good")}]],
}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return make_warehouse(tmp_path / "wh", SPLITS)


@pytest.fixture
def tokenizer(tmp_path: Path) -> Path:
    folder = tmp_path / "tok"
    folder.mkdir()
    (folder / "tokenizer.json").write_text(ours("human-assistant"), encoding="utf-8")
    return folder


def below(folder: Path) -> dict[str, str]:
    found = (p for p in sorted(folder.rglob("*")) if p.is_file() and p.name != ".lock")
    return {p.relative_to(folder).as_posix(): hashlib.sha256(p.read_bytes()).hexdigest() for p in found}


def inodes(folder: Path) -> dict[str, int]:
    return {p.relative_to(folder).as_posix(): p.stat().st_ino for p in folder.glob("*/*") if "-of-" in p.name}


def test_every_row_of_every_form_in_its_place(root: Path, tokenizer: Path, tmp_path: Path) -> None:
    outcome = encode_run.run(root, tokenizer=tokenizer, out=tmp_path / "out")
    assert (outcome.made, outcome.reused) == (9, 0)
    marked, _ = prepared((tokenizer / "tokenizer.json").read_bytes(), tokenizer, MARKS)
    bare, _ = prepared((tokenizer / "tokenizer.json").read_bytes(), tokenizer)
    eos = bare.token_to_id("</s>")
    for path in (root / "splits" / "small").rglob("*.parquet"):
        split, form = path.parent.name, Form(outcome.splits[path.parent.name]["form"])
        before, after = pq.read_table(path).to_pylist(), pq.read_table(tmp_path / "out" / split / path.name).to_pylist()
        assert len(before) == len(after)
        for row, made in zip(before, after, strict=True):
            assert {k: row[k] for k in ("row_id", "source", "repeat")} == {k: made[k] for k in ("row_id", "source", "repeat")}
            for text, spans, ids, learned in SEQUENCES[form]:
                if form is Form.TEXT:
                    # A conversation ends with the end of its last turn, and gets no second one.
                    used = bare if row["kind"] == "document" else marked
                    expected = used.encode(row[text], add_special_tokens=False).ids
                    assert made[ids] == (expected if expected[-1:] == [eos] else [*expected, eos])
                    if row["kind"] == "document":
                        assert made[ids].count(eos) == 1
                    assert bare.decode(made[ids], skip_special_tokens=False).removesuffix("</s>") == row[text].removesuffix("</s>")
                    continue
                assert made[ids] == marked.encode(row[text], add_special_tokens=False).ids
                if learned:
                    said = [marked.decode(made[ids][r["start"] : r["end"]], skip_special_tokens=False) for r in made[learned]]
                    assert said == [row[text][s["start"] : s["end"]] for s in row[spans]]


def test_flat_files_hold_the_same(root: Path, tokenizer: Path, tmp_path: Path) -> None:
    encode_run.run(root, tokenizer=tokenizer, out=tmp_path / "parquet")
    encode_run.run(root, tokenizer=tokenizer, out=tmp_path / "flat", layout=Layout.FLAT)
    for place in SPLITS:
        split, part = place.split(":")
        form = Form(manifest(tmp_path / "flat" / split)["form"])
        flat = open_flat(tmp_path / "flat" / split, part)
        want = [row for path in files(tmp_path / "parquet" / split, part) for row in pq.read_table(path).to_pylist()]
        assert len(flat) == len(want)
        assert flat.sides == len(SEQUENCES[form])
        for number, row in enumerate(want):
            for side, (_, _, ids, learned) in enumerate(SEQUENCES[form]):
                assert flat.ids(number, side).dtype == np.uint16
                assert flat.ids(number, side).tolist() == row[ids]
                assert flat.lengths()[number, side] == len(row[ids])
                assert flat.learned(number, side).tolist() == ([[r["start"], r["end"]] for r in row[learned]] if learned else [])
        again = pickle.loads(pickle.dumps(flat))
        assert again.ids(0).tolist() == flat.ids(0).tolist()
        for row, side in ((len(flat), 0), (-1, 0), (0, flat.sides)):
            with pytest.raises(IndexError, match="there is no sequence"):
                flat.ids(row, side)
        with pytest.raises(ValueError, match="read-only"):
            flat.ids(0)[0] = 1


@pytest.mark.parametrize("layout", Layout)
def test_the_same_bytes_with_any_number_of_threads(
    root: Path, tokenizer: Path, tmp_path: Path, layout: Layout, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(encode_run, "BATCH_BYTES", 40)
    found = []
    for workers in (1, 2, 5):
        out = tmp_path / f"out{workers}"
        encode_run.run(root, tokenizer=tokenizer, out=out, layout=layout, workers=workers)
        found.append({name: digest for name, digest in below(out).items() if name != "verified.json"})
    assert found[0] == found[1] == found[2]


def test_what_a_manifest_tells(root: Path, tokenizer: Path, tmp_path: Path) -> None:
    encode_run.run(root, tokenizer=tokenizer, out=tmp_path / "out")
    told = manifest(tmp_path / "out" / "sft")
    assert told["tokenizer"] == hashlib.sha256((tokenizer / "tokenizer.json").read_bytes()).hexdigest()
    assert told["template"] == {"name": "human-assistant", "version": 1}
    assert told["ids"] == "uint16"
    assert told["end_of_text"] is None
    assert list(told["parts"]) == ["train", "eval"]
    train = told["parts"]["train"]
    assert train["rows"] == 8
    assert train["straddling"] == {"start": 0, "end": 0}
    split_file = root / train["files"][0]["of"]["path"]
    assert train["files"][0]["of"]["sha256"] == hashlib.sha256(split_file.read_bytes()).hexdigest()
    tables = [pq.read_table(path) for path in files(tmp_path / "out" / "sft")]
    rows = [row for t in tables for row in t.to_pylist()]
    texts = [text for f in train["files"] for text in pq.read_table(root / f["of"]["path"])["text"].to_pylist()]
    for source in ("alpaca", "belle"):
        mine = [(r, t) for r, t in zip(rows, texts, strict=True) if r["source"] == source]
        assert train["sources"][source] == {
            "rows": len(mine),
            "tokens": sum(len(r["input_ids"]) for r, _ in mine),
            "learned": sum(s["end"] - s["start"] for r, _ in mine for s in r["learned"]),
            "bytes": sum(len(t.encode()) for _, t in mine),
        }
    assert train["tokens"] == sum(len(r["input_ids"]) for r in rows) == sum(f["tokens"] for f in train["files"])
    assert train["longest"] == max(len(r["input_ids"]) for r in rows)
    assert manifest(tmp_path / "out" / "pretrain")["end_of_text"] == {"token": "</s>", "id": 2}


def test_only_what_has_changed_is_made_again(root: Path, tokenizer: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    first = encode_run.run(root, splits=["sft"], tokenizer=tokenizer, out=out)
    assert first.made == 3
    before, hashes = inodes(out), below(out)
    again = encode_run.run(root, splits=["sft"], parts=["train"], tokenizer=tokenizer, out=out)
    assert (again.made, again.reused) == (0, 2)
    assert inodes(out) == before
    assert below(out) == hashes
    (out / "sft" / "notes.txt").write_text("mine")
    (out / "sft" / "train-00001-of-00002.parquet").write_bytes(b"damaged")
    assert encode_run.run(root, splits=["sft"], tokenizer=tokenizer, out=out).made == 1
    assert {k: v for k, v in below(out).items() if "-of-" in k} == {k: v for k, v in hashes.items() if "-of-" in k}
    (tokenizer / "tokenizer.json").write_text(gpt2("human-assistant"), encoding="utf-8")
    changed = encode_run.run(root, splits=["sft"], parts=["eval"], tokenizer=tokenizer, out=out)
    assert changed.made == 1
    assert list(manifest(out / "sft")["parts"]) == ["eval"]
    assert {p.name for p in (out / "sft").iterdir()} == {"notes.txt", "manifest.json", "eval-00000-of-00001.parquet"}
    flat = encode_run.run(root, splits=["sft"], tokenizer=tokenizer, out=out, layout=Layout.FLAT)
    assert flat.made == 3
    assert not list((out / "sft").glob("*.parquet"))
    assert (out / "sft" / "notes.txt").read_text() == "mine"


def test_other_splits_stay(root: Path, tokenizer: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    encode_run.run(root, splits=["rm"], tokenizer=tokenizer, out=out)
    before = inodes(out)
    encode_run.run(root, splits=["sft"], tokenizer=tokenizer, out=out)
    assert before.items() <= inodes(out).items()
    assert encode_run.run(root, splits=["rm"], tokenizer=tokenizer, out=out).made == 0


def test_folders_that_are_somebody_elses(root: Path, tokenizer: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    (other / "thesis.txt").write_text("mine")
    with pytest.raises(UsageError, match=r"did not write \(thesis\.txt\)"):
        encode_run.run(root, tokenizer=tokenizer, out=other)
    with pytest.raises(UsageError, match="is no folder"):
        encode_run.run(root, tokenizer=tokenizer, out=other / "thesis.txt")
    with pytest.raises(UsageError, match="is in the warehouse"):
        encode_run.run(root, tokenizer=tokenizer, out=root / "splits")
    assert [p.name for p in other.iterdir()] == ["thesis.txt"]
    (tmp_path / "busy").mkdir()
    with writer_lock(tmp_path / "busy"), pytest.raises(WarehouseError, match="another process encodes into it"):
        encode_run.run(root, tokenizer=tokenizer, out=tmp_path / "busy")


def test_what_is_asked_for_and_is_not_there(root: Path, tokenizer: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    for wrong, says in (({"splits": ["sfft"]}, "did you mean 'sft'"), ({"parts": ["tain"]}, "did you mean 'train'")):
        with pytest.raises(UsageError, match=says):
            encode_run.run(root, tokenizer=tokenizer, out=out, **wrong)
    with pytest.raises(UsageError, match="has no rows in what was asked for"):
        encode_run.run(root, splits=["ppo"], parts=["eval"], tokenizer=tokenizer, out=out)
    with pytest.raises(DataError, match=r"nowhere.*make tokenizer"):
        encode_run.run(root, tokenizer=tmp_path / "nowhere", out=out)
    (tokenizer / "tokenizer_config.json").write_text('{"eos_token": {"content": "<|none|>"}}')
    with pytest.raises(DataError, match="which token ends a document"):
        encode_run.run(root, splits=["pretrain"], tokenizer=tokenizer, out=out)
    assert not out.exists()


def test_the_end_of_documents_is_what_the_tokenizer_says(root: Path, tokenizer: Path, tmp_path: Path) -> None:
    (tokenizer / "tokenizer_config.json").write_text('{"eos_token": {"content": "<|bos|>"}}')
    encode_run.run(root, splits=["pretrain"], tokenizer=tokenizer / "tokenizer.json", out=tmp_path / "out")
    assert manifest(tmp_path / "out" / "pretrain")["end_of_text"] == {"token": "<|bos|>", "id": 1}


def test_folders_that_are_not_whole(root: Path, tokenizer: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    encode_run.run(root, splits=["sft"], tokenizer=tokenizer, out=out)
    with pytest.raises(WarehouseError, match="--format flat"):
        Flat(out / "sft")
    with pytest.raises(WarehouseError, match="has no part 'test'; it has train, eval"):
        files(out / "sft", "test")
    (out / "sft" / "train-00000-of-00002.parquet").unlink()
    with pytest.raises(WarehouseError, match="is missing"):
        files(out / "sft")
    (out / "sft" / "manifest.json").unlink()
    with pytest.raises(WarehouseError, match="no whole encoded split"):
        files(out / "sft")


def test_a_split_file_that_lost_rows(root: Path, tokenizer: Path, tmp_path: Path) -> None:
    path = root / "splits/small/ppo/train-00000-of-00001.parquet"
    size = path.stat().st_size
    path.write_bytes(b"x" * size)
    with pytest.raises(WarehouseError, match="not as it was written"):
        encode_run.run(root, splits=["ppo"], tokenizer=tokenizer, out=tmp_path / "out")


SLOW = """
import os, signal, sys, time
from pathlib import Path
from corpus.tokenizer import encode_run
from corpus.tokenizer.encoded import Layout
left = int(sys.argv[5])
def point(*args, real):
    global left
    left -= 1
    if not left:
        os.kill(os.getpid(), signal.SIGKILL)
    return real(*args)
for name in ("replace", "fsync"):
    real = getattr(os, name)
    setattr(os, name, lambda *a, real=real: point(*a, real=real))
encode_run.run(Path(sys.argv[1]), tokenizer=Path(sys.argv[2]), out=Path(sys.argv[3]), layout=Layout(sys.argv[4]), splits=["sft", "rm"], workers=2)
"""


@pytest.mark.parametrize(("layout", "points"), [("parquet", (2, 5, 16)), ("flat", (3, 8))])
def test_a_kill_leaves_only_what_is_whole(root: Path, tokenizer: Path, tmp_path: Path, layout: str, points: tuple[int, ...]) -> None:
    encode_run.run(root, splits=["sft", "rm"], tokenizer=tokenizer, out=tmp_path / "want", layout=Layout(layout))
    want = {name: digest for name, digest in below(tmp_path / "want").items() if name.count("/") and "manifests" not in name}
    out = tmp_path / "out"
    died = 0
    for point in points:
        done = subprocess.run(
            [sys.executable, "-c", SLOW, root, tokenizer, out, layout, str(point)], capture_output=True, text=True, check=False
        )
        died += done.returncode == -signal.SIGKILL
        assert done.returncode in (0, -signal.SIGKILL), done.stderr
        for split in ("sft", "rm"):
            if (out / split / "manifest.json").is_file():
                files(out / split)
    assert died == len(points)
    encode_run.run(root, splits=["sft", "rm"], tokenizer=tokenizer, out=out, layout=Layout(layout))
    assert {name: digest for name, digest in below(out).items() if name.count("/") and "manifests" not in name} == want
    assert not list(out.rglob("*.tmp-*"))


def test_the_command(root: Path, tokenizer: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    tokenizer.rename(tmp_path / "there")
    (tmp_path / "runs" / "small").mkdir(parents=True)
    (tmp_path / "there").rename(tmp_path / "runs" / "small" / "tokenizer")
    said = CliRunner().invoke(cli, ["encode", "--warehouse", str(root), "--split", "sft", "--json"], catch_exceptions=False)
    assert said.exit_code == 0
    told = json.loads(said.stdout)
    assert told["splits"]["sft"]["parts"]["train"]["rows"] == 8
    assert len(files(tmp_path / "runs/small/encoded/sft")) == 2
    said = CliRunner().invoke(cli, ["encode", "--warehouse", str(root), "--split", "sft"], catch_exceptions=False)
    assert said.exit_code == 0


def test_rows_are_found_in_microseconds(root: Path, tokenizer: Path, tmp_path: Path) -> None:
    encode_run.run(root, splits=["sft"], tokenizer=tokenizer, out=tmp_path / "out", layout=Layout.FLAT)
    flat = open_flat(tmp_path / "out" / "sft")
    best = min(_seconds(flat) for _ in range(5))
    assert best < 50e-6


def _seconds(flat: Flat) -> float:
    began = time.perf_counter()
    for _ in range(200):
        flat.ids(3)
        flat.learned(3)
    return (time.perf_counter() - began) / 200


@pytest.mark.parametrize("form", Form)
def test_every_column_is_explained(form: Form) -> None:
    import pyarrow as pa

    table = encoded_table(form, pa.uint32())
    assert isinstance(table, Table)
    assert all(column.comment and not column.nullable for column in table.columns)
