"""An export as a whole: which rows, which files, under which terms; what is refused, and what a kill leaves."""

from __future__ import annotations

import hashlib
import json
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from corpus.errors import UsageError, WarehouseError
from corpus.export import formats, run, write
from corpus.export.formats import FORMATS
from corpus.export.terms import Exported
from corpus.sources import registry
from corpus.sources.read import Occurrences, read_file
from corpus.warehouse.builds import Warehouse
from tests.export.conftest import ODD
from tests.export.made import SOURCES, answer, make_warehouse, turns


def exported(root: Path, out: Path, format: str, **more: Any) -> Exported:
    planned = {k: more.pop(k) for k in ("recipe", "splits", "parts") if k in more}
    return run.export(root, run.plan(root, format, **planned), format, out, **more)


def files(out: Path) -> dict[str, bytes]:
    return {p.name: p.read_bytes() for p in sorted(out.iterdir())}


def objects(path: Path) -> list[dict[str, Any]]:
    if path.suffix == ".parquet":
        return pq.read_table(path).to_pylist()
    text = path.read_text(encoding="utf-8")
    return json.loads(text) if path.suffix == ".json" else [json.loads(line) for line in text.split("\n")[:-1]]


NAMES = {
    "alpaca": ["sft-train.json", "sft-eval.json", "rm-train.json", "test-test.json"],
    "sharegpt": ["sft-train.json", "sft-eval.json", "rm-train.json", "test-test.json"],
    "openai": ["sft-train.jsonl", "sft-eval.jsonl", "rm-train.jsonl", "test-test.jsonl"],
    "hugchat": ["sft-train.jsonl", "sft-eval.jsonl", "test-test.jsonl"],
    "chatlm": ["sft-train.parquet", "sft-eval.parquet", "rm-train.json", "test-test.parquet", "pairs-train.parquet"],
    "llama-factory": [
        "pretrain-train.jsonl", "sft-train.jsonl", "sft-eval.jsonl", "rm-train.jsonl", "ppo-train.json", "test-test.jsonl",
    ],
    "jsonl": [
        "pretrain-train.jsonl", "sft-train.jsonl", "sft-eval.jsonl", "rm-train.jsonl", "ppo-train.jsonl", "test-test.jsonl",
        "pairs-train.jsonl", "dpo-requests-train.jsonl",
    ],
}  # fmt: skip


@pytest.mark.parametrize("format", FORMATS)
def test_every_split_that_a_format_can_say(root: Path, tmp_path: Path, format: str) -> None:
    out = tmp_path / "out"
    done = exported(root, out, format)
    assert [f.name for f in done.files] == NAMES[format]
    more = {"LICENSES.md", "export.json"} | ({"dataset_info.json"} if format == "llama-factory" else set())
    assert set(files(out)) == {*NAMES[format], *more}
    for file in done.files:
        held = objects(out / file.name)
        assert len(held) == file.rows
        data = (out / file.name).read_bytes()
        assert (file.bytes, file.sha256) == (len(data), hashlib.sha256(data).hexdigest())
    by_name = {f.name.partition(".")[0]: f for f in done.files}
    assert by_name["sft-train"].rows == 4
    left = {"jsonl": {}}.get(format, {"no_answer": 1})
    assert by_name["test-test"].left_out == left
    if "rm-train" in by_name:
        assert by_name["rm-train"].left_out == ({} if format == "jsonl" else {"sides": 1})
    if format != "jsonl":
        assert done.skipped["dpo-requests"].startswith("requests")
    assert sum(t.rows for t in done.terms) == done.rows


def test_rows_are_in_the_order_of_the_files_and_odd_characters_stay(root: Path, tmp_path: Path) -> None:
    exported(root, tmp_path / "out", "alpaca", splits=["sft"])
    held = objects(tmp_path / "out/sft-train.json")
    assert [r["instruction"] for r in held] == ["Q1", "Q3", ODD, "last"]
    assert held[1]["output"] == ODD
    data = (tmp_path / "out/sft-train.json").read_bytes()
    assert "中文".encode() in data
    assert b"\\u4e2d" not in data
    assert data.startswith(b"[\n{")
    assert data.endswith(b"}\n]\n")


def test_what_llama_factory_is_told(root: Path, tmp_path: Path) -> None:
    exported(root, tmp_path / "out", "llama-factory")
    told = json.loads((tmp_path / "out/dataset_info.json").read_bytes())
    assert set(told) == {Path(n).stem for n in NAMES["llama-factory"]}
    # The keys that data/README.md of LLaMA-Factory documents; it ignores others without a word.
    columns = {"prompt", "query", "response", "history", "messages", "system", "tools", "images", "chosen", "rejected", "kto_tag"}
    tags = {"role_tag", "content_tag", "user_tag", "assistant_tag", "observation_tag", "function_tag", "system_tag"}
    for each in told.values():
        assert set(each) <= {"file_name", "formatting", "ranking", "columns", "tags"}
        assert each["formatting"] in ("alpaca", "sharegpt")
        assert set(each["columns"]) <= columns
        assert set(each.get("tags", ())) <= tags
        for row in objects(tmp_path / "out" / each["file_name"]):
            assert set(each["columns"].values()) <= set(row)
    assert told["rm-train"]["ranking"] is True
    assert told["rm-train"]["columns"] == {"messages": "conversations", "chosen": "chosen", "rejected": "rejected"}
    assert told["pretrain-train"] == {"file_name": "pretrain-train.jsonl", "formatting": "alpaca", "columns": {"prompt": "text"}}
    assert "ranking" not in told["sft-train"]
    assert told["sft-train"]["tags"]["user_tag"] == "human"
    # Without a response it takes a row for a prompt.
    assert "response" not in told["ppo-train"]["columns"]


def converted(example: dict[str, Any], attr: dict[str, Any]) -> tuple[list[Any], list[str], str]:
    """(prompt, responses, system) as LLaMA-Factory's documentation says it reads a row; the role is told by the place."""
    columns, tags = attr["columns"], attr.get("tags", {})
    if attr["formatting"] == "alpaca":
        prompt = [t for pair in example.get(columns.get("history", ""), ()) for t in pair]
        prompt.append("\n".join(example[columns[c]] for c in ("prompt", "query") if c in columns and example[columns[c]]))
        return prompt, [example[columns["response"]]] if "response" in columns else [], example.get(columns.get("system", ""), "")
    messages = example[columns["messages"]]
    system = ""
    if messages[0][tags["role_tag"]] == tags["system_tag"]:
        system, messages = messages[0][tags["content_tag"]], messages[1:]
    for n, message in enumerate(messages):
        assert message[tags["role_tag"]] == tags["assistant_tag" if n % 2 else "user_tag"]
    assert len(messages) % 2 == bool(attr.get("ranking"))
    texts = [m[tags["content_tag"]] for m in messages]
    if attr.get("ranking"):
        assert all(example[s][tags["role_tag"]] == tags["assistant_tag"] for s in ("chosen", "rejected"))
        return texts, [example[columns[s]][tags["content_tag"]] for s in ("chosen", "rejected")], system
    return texts[:-1], texts[-1:], system


def test_llama_factory_reads_what_the_splits_say(root: Path, tmp_path: Path) -> None:
    exported(root, tmp_path / "out", "llama-factory")
    told = json.loads((tmp_path / "out/dataset_info.json").read_bytes())
    read = {name: [converted(r, attr) for r in objects(tmp_path / "out" / attr["file_name"])] for name, attr in told.items()}
    assert read["sft-train"][1] == (["Q1", "A1", "Q2", "A2", "Q3"], [ODD], "S")
    assert read["rm-train"] == [(["Q", "A", ODD], ["good", "bad"], ""), (["P"], [ODD, ""], "Be brief.")]
    assert read["ppo-train"] == [(["Q", "A", "Q2"], [], "S"), ([ODD], [], "")]
    assert read["pretrain-train"][0] == ([ODD], [], "")


def test_datasets_loads_what_llama_factory_is_told(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    datasets = pytest.importorskip("datasets")
    exported(root, tmp_path / "out", "llama-factory", lineage=True)
    told = json.loads((tmp_path / "out/dataset_info.json").read_bytes())
    for attr in told.values():
        path = tmp_path / "out" / attr["file_name"]
        loaded = datasets.load_dataset("json", data_files=str(path), split="train", cache_dir=str(tmp_path / "cache"))
        assert loaded.to_list() == objects(path)


def test_terms(root: Path, tmp_path: Path) -> None:
    done = exported(root, tmp_path / "out", "alpaca", splits=["sft"], parts=["train"])
    assert [(t.license, t.source, t.rows, t.commercial) for t in done.terms] == [
        ("CC BY-NC 4.0", "alpaca", 3, False), ("GPL-3.0", "belle", 1, True),
    ]  # fmt: skip
    told = json.loads((tmp_path / "out/export.json").read_bytes())
    assert told == {
        "format": "alpaca", "recipe": "small", "build": Warehouse(root).builds()["small"].fingerprint, "version": done.version,
        "lineage": False, "rows": 4, "skipped": {},
        "files": [{
            "split": "sft", "part": "train", "name": "sft-train.json", "rows": 4, "left_out": {},
            "bytes": done.files[0].bytes, "sha256": done.files[0].sha256,
        }],
        "terms": [
            {"license": "CC BY-NC 4.0", "source": "alpaca", "rows": 3, "commercial": False, **{k: SOURCES["alpaca"][k] for k in ("about", "address")}},
            {"license": "GPL-3.0", "source": "belle", "rows": 1, "commercial": True, **{k: SOURCES["belle"][k] for k in ("about", "address")}},
        ],
    }  # fmt: skip
    page = (tmp_path / "out/LICENSES.md").read_text(encoding="utf-8")
    assert "| alpaca | 3 | 52,000 \\| instructions | <https://example.org/alpaca> |" in page
    assert "<javascript" not in page
    assert "Commercial use: not allowed." in page


@pytest.mark.parametrize("format", FORMATS)
def test_lineage(root: Path, tmp_path: Path, format: str) -> None:
    exported(root, tmp_path / "out", format, splits=["sft"], lineage=True)
    for row in objects(next((tmp_path / "out").glob("sft-train*"))):
        assert row["source"] in SOURCES
        assert row["license"] == SOURCES[row["source"]]["license"]
        assert len(row["row_id"]) == 32
    exported(root, tmp_path / "other", format, splits=["sft"])
    assert ("row_id" in objects(next((tmp_path / "other").glob("sft-train*")))[0]) == (format == "jsonl")


@pytest.mark.parametrize("format", FORMATS)
def test_same_bytes_every_time_whatever_the_pieces(root: Path, tmp_path: Path, format: str, monkeypatch: pytest.MonkeyPatch) -> None:
    exported(root, tmp_path / "a", format)
    exported(root, tmp_path / "b", format)
    assert files(tmp_path / "a") == files(tmp_path / "b")
    monkeypatch.setattr(run, "_PIECE", 100)
    exported(root, tmp_path / "c", format)
    assert files(tmp_path / "a") == files(tmp_path / "c")


def test_row_groups_of_parquet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [{"messages": turns(f"Q{n}", "A" * 100)} for n in range(11)]
    root = make_warehouse(tmp_path / "wh", {"sft:train": [rows]})
    monkeypatch.setattr(write, "GROUP_ROWS", 3)
    exported(root, tmp_path / "rows", "chatlm")
    file = pq.ParquetFile(tmp_path / "rows/sft-train.parquet")
    assert [file.metadata.row_group(n).num_rows for n in range(file.num_row_groups)] == [3, 3, 3, 2]
    assert {file.metadata.row_group(0).column(c).compression for c in range(2)} == {"GZIP"}
    monkeypatch.setattr(write, "GROUP_ROWS", 1000)
    monkeypatch.setattr(write, "GROUP_BYTES", 300)
    exported(root, tmp_path / "bytes", "chatlm")
    file = pq.ParquetFile(tmp_path / "bytes/sft-train.parquet")
    assert file.num_row_groups > 2
    assert file.read().to_pylist() == objects(tmp_path / "rows/sft-train.parquet")


def test_a_part_of_which_no_row_fits_has_no_file(tmp_path: Path) -> None:
    root = make_warehouse(tmp_path / "wh", {"test:test": [[{"messages": turns("only a prompt")}]]})
    [file] = exported(root, tmp_path / "out", "sharegpt").files
    assert (file.name, file.rows, file.left_out) == ("", 0, {"no_answer": 1})
    assert set(files(tmp_path / "out")) == {"LICENSES.md", "export.json"}


# --- our own sources read it back


def read_back(source: str, path: Path, name: str) -> Iterator[dict[str, Any]]:
    for batch in read_file(registry()[source], path, name, Occurrences()):
        assert not batch.rejects
        if batch.rows is not None:
            yield from batch.rows.to_pylist()


def test_hugchat_is_read_back_by_the_source_of_it(tmp_path: Path) -> None:
    talks = [turns("Q1", "A1"), turns("一", "二", "three\nlines", "四"), turns("Human: x", "HugChat: y\n\nz")]
    root = make_warehouse(tmp_path / "wh", {"sft:train": [[{"messages": m} for m in talks]]})
    exported(root, tmp_path / "out", "hugchat")
    read = [r["messages"] for r in read_back("hugnlp", tmp_path / "out/sft-train.jsonl", "hugnlp/train.json")]
    assert read[:2] == talks[:2]
    # Neither a name at the start of a line nor a blank line within a turn can be said: the one is broken, the other is one line break.
    assert [m["role"] for m in read[2]] == ["user", "assistant"]


def test_chatlm_is_read_back_by_the_sources_of_it(tmp_path: Path) -> None:
    talks = [turns("Q1", "A1"), turns(ODD.strip(), "答\n\n案")]
    sides = [{"prompt": turns("P"), "chosen": answer("good"), "rejected": answer("bad")}]
    root = make_warehouse(tmp_path / "wh", {"sft:train": [[{"messages": m} for m in talks]], "dpo:train": [sides]})
    exported(root, tmp_path / "out", "chatlm")
    rows = read_back("chatlm-mini", tmp_path / "out/sft-train.parquet", "chatlm_mini/my_train_dataset.parquet")
    assert [r["messages"] for r in rows] == talks
    [row] = read_back("chatlm-mini-preference", tmp_path / "out/dpo-train.json", "chatlm_mini/my_dpo_data.json")
    assert {"prompt": row["messages"], "chosen": row["chosen"], "rejected": row["rejected"]} == sides[0]


# --- what is refused


@pytest.mark.parametrize(
    ("format", "more", "words"),
    [
        ("alpaka", {}, ["'alpaka'", "did you mean 'alpaca'"]),
        ("alpaca", {"splits": ["ppo"]}, ["'ppo'", "prompts without an answer", "jsonl, llama-factory"]),
        ("openai", {"splits": ["sft", "pretrain"]}, ["'pretrain' holds texts", "jsonl, llama-factory"]),
        ("alpaca", {"splits": ["dpo-requests"]}, ["corpus adopt", "jsonl"]),
        ("alpaca", {"splits": ["stf"]}, ["'stf'", "did you mean 'sft'"]),
        ("alpaca", {"splits": ["sft"], "parts": ["test"]}, ["nothing to export", "test", "sft"]),
        ("alpaca", {"parts": ["dev"]}, ["'dev'", "train, eval, test"]),
    ],
)  # fmt: skip
def test_what_there_is_not(root: Path, format: str, more: dict[str, Any], words: list[str]) -> None:
    with pytest.raises(UsageError) as raised:
        run.plan(root, format, **more)
    for word in words:
        assert word in str(raised.value)


def test_warehouses_without_a_build(root: Path, tmp_path: Path) -> None:
    with pytest.raises(WarehouseError, match="corpus build"):
        run.plan(tmp_path / "nowhere", "alpaca")
    with pytest.raises(WarehouseError, match="did you mean 'small'"):
        run.plan(root, "alpaca", "smal")


def test_only_what_the_manifests_say_is_exported(root: Path, tmp_path: Path) -> None:
    folder = root / "splits/small/sft"
    (folder / "train-99999-of-00002.parquet").write_bytes((folder / "train-00000-of-00002.parquet").read_bytes())
    assert exported(root, tmp_path / "out", "alpaca", splits=["sft"]).rows == 5
    target = folder / "train-00001-of-00002.parquet"
    with target.open("r+b") as f:
        f.truncate(100)
    with pytest.raises(WarehouseError, match="--verify"):
        run.plan(root, "alpaca")
    target.unlink()
    with pytest.raises(WarehouseError, match="--verify"):
        run.plan(root, "alpaca")


def test_a_file_that_is_damaged_in_the_middle_leaves_no_half_export(root: Path, tmp_path: Path) -> None:
    target = root / "splits/small/sft/train-00001-of-00002.parquet"
    planned = run.plan(root, "alpaca", splits=["sft"])
    data = bytearray(target.read_bytes())
    data[4:400] = b"\xff" * 396
    target.write_bytes(data)
    with pytest.raises(WarehouseError, match="--verify"):
        run.export(root, planned, "alpaca", tmp_path / "out")
    assert files(tmp_path / "out") == {}


def test_folders_that_are_refused(root: Path, tmp_path: Path) -> None:
    planned = run.plan(root, "alpaca")
    for inside in (root, root / "splits/export", tmp_path / "wh/../wh/x"):
        with pytest.raises(UsageError, match="in the warehouse"):
            run.export(root, planned, "alpaca", inside, force=True)
    (tmp_path / "link").symlink_to(root / "splits")
    with pytest.raises(UsageError, match="in the warehouse"):
        run.export(root, planned, "alpaca", tmp_path / "link/small", force=True)
    (tmp_path / "file").write_text("x")
    with pytest.raises(UsageError, match="no folder"):
        run.export(root, planned, "alpaca", tmp_path / "file", force=True)
    out = tmp_path / "mine"
    out.mkdir()
    (out / "notes.txt").write_text("mine")
    with pytest.raises(UsageError, match="--force"):
        run.export(root, planned, "alpaca", out)
    assert set(files(out)) == {"notes.txt"}


def test_force_replaces_an_earlier_export_and_nothing_else(root: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    exported(root, out, "llama-factory")
    (out / "notes.txt").write_text("mine")
    (out / "mine.json.tmp-x").write_text("mine")
    (out / "sft-train.json.tmp-123").write_text("what a killed export left")
    exported(root, out, "alpaca", splits=["sft"], force=True)
    assert set(files(out)) == {"notes.txt", "mine.json.tmp-x", "sft-train.json", "sft-eval.json", "LICENSES.md", "export.json"}
    told = json.loads((out / "export.json").read_bytes())
    told["files"][0]["name"] = "../wh/builds.jsonl"
    (out / "export.json").write_text(json.dumps(told))
    exported(root, out, "alpaca", splits=["sft"], force=True)
    assert (root / "builds.jsonl").exists()


_KILLED = """
import os, signal, sys
from pathlib import Path
from corpus.export import run, write
at, root, out, format = int(sys.argv[1]), Path(sys.argv[2]), Path(sys.argv[3]), sys.argv[4]
calls = 0
def step(real):
    def call(*args, **more):
        global calls
        calls += 1
        if calls == at:
            os.kill(os.getpid(), signal.SIGKILL)
        return real(*args, **more)
    return call
write.json_lines = step(write.json_lines)
write._Parquet._group = step(write._Parquet._group)
os.replace = step(os.replace)
run.export(root, run.plan(root, format, splits=["sft", "rm"]), format, out, force=True)
print(calls)
"""


@pytest.mark.parametrize("format", ["alpaca", "chatlm"])
def test_a_kill_leaves_only_whole_files(root: Path, tmp_path: Path, format: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if format == "chatlm" and "plain" not in _TEMPLATES:
        pytest.skip("the template that it is written in is not there")
    exported(root, tmp_path / "whole", format, splits=["sft", "rm"])
    whole = files(tmp_path / "whole")
    steps = 0
    for at in range(1, 40):
        out = tmp_path / f"out{at}"
        done = subprocess.run(
            [sys.executable, "-c", _KILLED, str(at), str(root), str(out), format], capture_output=True, text=True, check=False
        )
        if done.returncode == 0:
            steps = at
            break
        assert done.returncode == -signal.SIGKILL, done.stderr
        left = {n: b for n, b in files(out).items() if ".tmp-" not in n}
        assert left.items() <= whole.items()
        assert "export.json" not in left
        exported(root, out, format, splits=["sft", "rm"], force=True)
        assert files(out) == whole
    assert steps > 5


_TEMPLATES = frozenset(formats.TEMPLATES)


# --- the command


@pytest.fixture
def command(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Callable[..., tuple[int, str, str]]:
    """`command("--format", "alpaca", …)`: status, output, errors."""
    from corpus import cli, console

    monkeypatch.setattr(console.OUT, "_file", None)
    monkeypatch.setattr(console.ERR, "_file", None)

    def call(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["corpus", "export", *map(str, arguments)])
        status = 0
        try:
            cli.main()
        except SystemExit as e:
            status = int(e.code or 0)
        captured = capsys.readouterr()
        assert "Traceback" not in captured.out + captured.err
        return status, captured.out, captured.err

    return call


def test_the_command(root: Path, tmp_path: Path, command: Any) -> None:
    out = tmp_path / "out"
    status, said, errors = command("--format", "sharegpt", "--warehouse", root, "--out", out)
    assert (status, errors) == (0, "")
    for word in ("sft-train.json", "no_answer: 1", "ppo is not among them", "CC BY-NC 4.0", "not allowed", "LICENSES.md", str(out)):
        assert word in said
    status, said, errors = command("--format", "sharegpt", "--warehouse", root, "--out", out)
    assert status == 2
    assert "--force" in errors
    status, said, errors = command(
        "--format",
        "sharegpt",
        "--warehouse",
        root,
        "--out",
        out,
        "--force",
        "--json",
        "--split",
        "sft",
        "--part",
        "train",
        "--part",
        "eval",
    )
    told = json.loads(said)
    assert told["rows"] == 5
    assert told == {**json.loads((out / "export.json").read_bytes()), "out": str(out)}
    status, said, errors = command("--format", "alpaca", "--warehouse", root, "--out", tmp_path / "new", "--split", "ppo")
    assert status == 2
    assert "cannot say" in errors
    assert not (tmp_path / "new").exists()


def test_the_command_knows_all_formats_and_parts() -> None:
    from corpus import cli

    options = {p.name: p.type for p in cli.cli.commands["export"].params}
    assert tuple(options["how"].choices) == tuple(FORMATS)
    assert tuple(options["parts"].choices) == run.PARTS
