"""The command line: what every verb prints, and that a user's mistake is a sentence with exit status 2, never a traceback."""

from __future__ import annotations

import csv
import io
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from corpus import cli, console
from tests.conftest import RECIPE, instruction, json_lines, make_build, make_data, query

HERE = Path(__file__).resolve().parents[1]


@dataclass
class Said:
    """What a command said."""

    status: int
    out: str
    err: str


def corpus(*arguments: object, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Said:
    """Runs the entry point in this process, as `corpus arguments` would."""
    monkeypatch.setattr(sys, "argv", ["corpus", *map(str, arguments)])
    capsys.readouterr()
    status = 0
    try:
        cli.main()
    except SystemExit as e:
        status = e.code if isinstance(e.code, int) else 0 if e.code is None else 1
    captured = capsys.readouterr()
    return Said(status, captured.out, captured.err)


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path):  # type: ignore[no-untyped-def]
    """`run("sql", …)` in a folder of its own."""
    monkeypatch.chdir(tmp_path)
    # rich decides on the stream at the time it prints, but keeps the one that it was made with.
    monkeypatch.setattr(console.OUT, "_file", None)
    monkeypatch.setattr(console.ERR, "_file", None)

    def call(*arguments: object) -> Said:
        said = corpus(*arguments, capsys=capsys, monkeypatch=monkeypatch)
        assert "Traceback" not in said.err + said.out
        return said

    return call


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, Path]:
    """(recipe file, data folder, warehouse) of a build."""
    folder = tmp_path_factory.mktemp("cli")
    data = make_data(folder / "data")
    (folder / "small.yaml").write_text(RECIPE, encoding="utf-8")
    make_build(data, folder / "wh")
    return folder / "small.yaml", data, folder / "wh"


# --- the happy paths


def test_build_says_what_it_did_and_then_that_nothing_has_changed(run: Any, place: tuple[Path, Path, Path], tmp_path: Path) -> None:
    recipe, data, _ = place
    arguments = ("--recipe", recipe, "--data", data, "--warehouse", "my wh")
    said = run("build", *arguments)
    assert said.status == 0
    assert "Built recipe small" in said.out
    assert "All audits passed" in said.out
    for word in ("eval_leak", "exact_duplicate", "shape", "pretrain", "corpus why"):
        assert word in said.out
    assert "parse: " in said.err
    said = run("build", *arguments)
    assert said.status == 0
    assert "Nothing has changed: recipe small is up to date" in said.out
    assert said.err == ""
    figures = json.loads(run("build", *arguments, "--json").out)
    assert figures["changed"] is False
    assert figures["totals"][0]["rows"] == 93
    assert json.loads(run("plan", *arguments, "--json").out)["changes"] == []
    assert "Nothing would be rebuilt" in run("plan", *arguments).out
    changed = tmp_path / "changed.yaml"
    changed.write_text(RECIPE.replace("min: 2", "min: 2, max: 500"), encoding="utf-8")
    arguments = ("--recipe", changed, "--data", data, "--warehouse", "my wh")
    said = run("plan", *arguments)
    assert "filter.chars.max is new" in said.out
    assert "(--all)" in said.out
    assert "(--all)" not in run("plan", *arguments, "--all").out
    planned = json.loads(run("plan", *arguments, "--json").out)
    assert {c["stage"] for c in planned["changes"]} == {
        "filter",
        "evaluation",
        "leaks",
        "decontaminate",
        "dedup",
        "allocate",
        "render",
        "shards",
        "cards",
    }


def test_sql_audit_catalog_and_sources(run: Any, place: tuple[Path, Path, Path]) -> None:
    _, data, root = place
    said = run("sql")
    assert "duplicate-of" in said.out
    assert "row_id=…" in said.out
    assert {q["name"] for q in json.loads(run("sql", "--format", "json").out)} >= {"drops", "overview"}
    assert "exact_duplicate" in run("sql", "drops", "--warehouse", root).out
    [(dropped,)] = query(root, "SELECT min(row_id) FROM dropped WHERE kept_row_id IS NOT NULL")
    found = json.loads(run("sql", "duplicate-of", f"row_id={dropped}", "--warehouse", root, "--format", "json").out)
    assert found[0]["row_id"] == dropped
    said = run("sql", "FROM rows", "--limit", 2, "--warehouse", root)
    assert "(the first 2 rows; --limit shows more)" in said.out
    assert run("sql", "SELECT count(*) FROM rows", "--recipe", "small", "--warehouse", root).out.split()[-1] == "93"

    said = run("audit", "--warehouse", root)
    assert said.status == 0
    assert "audits, all passed" in said.out
    assert all(a["wrong"] == 0 for a in json.loads(run("audit", "--warehouse", root, "--json").out))

    (root / "corpus.duckdb").unlink()
    said = run("catalog", "--warehouse", root)
    assert said.status == 0
    assert "made anew, with the last build of small" in said.out
    assert query(root, "SELECT count(*) FROM rows") == [(93,)]

    said = run("sources")
    assert "belle-1m" in said.out
    assert "sources; `corpus sources NAME` tells more" in said.out
    said = run("sources", "--data", data, "--found")
    assert "hh-rlhf" in said.out
    assert "belle-2m" not in said.out
    listed = json.loads(run("sources", "--json", "--data", data).out)
    assert {s["name"] for s in listed["sources"] if s["files"]} >= {"alpaca", "c4"}
    assert "to get it" in run("sources", "belle-1m", "lima").out


def test_help_and_version(run: Any) -> None:
    said = run("--help")
    assert said.status == 0
    for verb in ("build", "plan", "why", "sql", "audit", "catalog", "sources", "fetch"):
        assert verb in said.out
        assert run(verb, "--help").status == 0
    assert run("--version").out.startswith("corpus, version")


def test_the_summary_names_commands_that_work(run: Any, place: tuple[Path, Path, Path]) -> None:
    """Also for a warehouse whose name a shell would take apart."""
    recipe, data, _ = place
    said = run("build", "--recipe", recipe, "--data", data, "--warehouse", "it's mine")
    for line in said.out.splitlines():
        if line.strip().startswith("corpus "):
            command = re.split(r"\s{2,}", line.strip())[0]
            done = subprocess.run(
                ["/bin/sh", "-c", command.replace("corpus", f"{sys.executable} -m corpus.cli", 1)],
                capture_output=True, text=True, env={**os.environ, "PYTHONPATH": str(HERE)}, check=False,
            )  # fmt: skip
            assert done.returncode == 0, (command, done.stderr)


def test_plan_says_with_which_chance_near_duplicates_are_found(run: Any, place: tuple[Path, Path, Path], tmp_path: Path) -> None:
    from corpus.dedup.minhash import Scheme

    recipe, data, root = place
    told = json.loads(run("plan", "--recipe", recipe, "--data", data, "--warehouse", root, "--json").out)["near"]
    scheme = Scheme.of(0.8)
    assert (told["threshold"], told["bands"], told["rows"]) == (0.8, scheme.bands, scheme.rows)
    assert list(told["found"]) == ["0.5", "0.6", "0.7", "0.75", "0.8", "0.85", "0.9", "0.95"]
    assert all(chance == scheme.found(float(jaccard)) for jaccard, chance in told["found"].items())
    assert told["missed_at"] == 1 - scheme.found(0.8)
    assert told["missed_above"] == scheme.missed() < told["missed_at"] <= 0.005
    said = run("plan", "--recipe", recipe, "--data", data, "--warehouse", root).out
    assert f"{scheme.bands} bands of {scheme.rows} values" in said
    (tmp_path / "without.yaml").write_text(RECIPE.replace("small", "without") + "dedup: {near: false}\n", encoding="utf-8")
    arguments = ("--recipe", tmp_path / "without.yaml", "--data", data, "--warehouse", root)
    assert json.loads(run("plan", *arguments, "--json").out)["near"] is None
    assert "Near duplicates" not in run("plan", *arguments).out


# --- mistakes


def mistakes(root: Path, data: Path, recipe: Path) -> list[tuple[tuple[object, ...], str]]:
    with_recipe = ("--recipe", recipe, "--warehouse", "new")
    return [
        (("build", *with_recipe, "--data", "missing"), "corpus: data folder missing: there is no such folder"),
        (("build", *with_recipe, "--data", "empty"), "corpus: empty: no file there belongs to a source of recipe 'small'"),
        (("build", *with_recipe, "--data", recipe), f"corpus: data folder {recipe}: it is not a folder"),
        (("plan", *with_recipe, "--data", "missing"), "corpus: data folder missing: there is no such folder"),
        (("build", "--recipe", "smpale", "--data", data), "did you mean 'sample'?"),
        (("build", "--recipe", "nowhere.yaml", "--data", data), "corpus: recipe nowhere.yaml: there is no such file"),
        (("build", "--recipe", "wrong.yaml", "--data", data), "corpus: wrong.yaml:2: there is no source 'belle-1n'; did you"),
        (("build", "--recipe", recipe, "--data", data, "--warehouse", f"{recipe}/x"), "cannot be written: Not a directory; choose another"),
        (("build", "--workers", "0"), "Invalid value for '--workers'"),
        (("build", "--recipes", "x"), "No such option"),
        (("bulid",), "No such command 'bulid'"),
        (("sources", "belle-1n"), "corpus: there is no source 'belle-1n'; did you mean 'belle-1m'"),
        (("sources", "--data", "missing"), "corpus: data folder missing: there is no such folder"),
        (("sql", "FROM rows", "--warehouse", "new"), "corpus: warehouse new: there is no catalog; run `corpus build`"),
        (("audit", "--warehouse", "new"), "corpus: warehouse new: there is no catalog"),
        (("why", "abcdef", "--warehouse", "new"), "corpus: warehouse new: there is no catalog"),
        (("catalog", "--warehouse", "new"), "corpus: warehouse new: nothing has been built there yet; run `corpus build` first"),
        (("sql", "dropz", "--warehouse", root), "corpus: there is no query 'dropz'; did you mean 'drops'?"),
        (("sql", "SELEC 1", "--warehouse", root), "corpus: Parser Error"),
        (("sql", "DROP VIEW rows", "--warehouse", root), "read-only"),
        (("sql", "", "--warehouse", root), "corpus: '' holds no statement; give SQL, or the name of a query"),
        (("sql", "/* nothing */", "--warehouse", root), "holds no statement"),
        (("sql", "drops", "noequals", "--warehouse", root), "corpus: parameter 'noequals': expected NAME=VALUE"),
        (("sql", "FROM rows", "--recipe", "smal", "--warehouse", root), "recipe 'smal' was never built in this warehouse; did you"),
        (("audit", "--recipe", "smal", "--warehouse", root), "did you mean 'small'?"),
        (("why", "xyz", "--warehouse", root), "corpus: 'xyz' is no row_id: expected 32 hex characters"),
        (("why", "abc", "--warehouse", root), "at least the first 6"),
        (("why", "0" * 32, "--warehouse", root), "corpus: no row begins with 0000"),
        (("why", "abcdef", "--recipe", "smal", "--warehouse", root), "did you mean 'small'?"),
        (("fetch",), "Missing argument"),
        (("fetch", "belle-1n"), "did you mean 'belle-1m'"),
    ]  # fmt: skip


def test_mistakes_are_sentences(run: Any, place: tuple[Path, Path, Path], tmp_path: Path) -> None:
    recipe, data, root = place
    (tmp_path / "empty").mkdir()
    (tmp_path / "wrong.yaml").write_text("name: r\nsources: [belle-1n]\n", encoding="utf-8")
    for arguments, expected in mistakes(root, data, recipe):
        said = run(*arguments)
        assert said.status == 2, (arguments, said)
        assert expected in said.err, arguments
        assert said.out == "", arguments
    assert not (tmp_path / "new").is_file()


def test_too_many_rejects(run: Any, place: tuple[Path, Path, Path], tmp_path: Path) -> None:
    json_lines(tmp_path / "data/train_0.5M_CN.json", [{"\x1b[31mred": "\x07"}] * 3 + [instruction(f"{n}", f"a{n}") for n in range(17)])
    said = run("build", "--recipe", place[0], "--data", "data", "--warehouse", "wh")
    assert said.status == 2
    assert "3 of 20 records rejected (shape 3)" in said.err
    assert "mend the file, leave the source out, or raise the limit" in said.err
    assert "\x1b" not in said.err
    assert "\\x1b[31mred" in said.err


def test_a_failed_audit_is_told(run: Any, place: tuple[Path, Path, Path], tmp_path: Path) -> None:
    import duckdb

    shutil.copytree(place[2], tmp_path / "wh")
    with duckdb.connect(str(tmp_path / "wh/corpus.duckdb")) as db:
        db.execute("UPDATE files SET rows = rows + 1 WHERE source = 'c4'")
    said = run("audit", "--warehouse", "wh")
    assert said.status == 1
    assert "some FAILED" in said.out
    assert "rows_and_rejects_are_as_reported: {'source': 'c4'" in said.out
    found = json.loads(run("audit", "--warehouse", "wh", "--json").out)
    assert [a["audit"] for a in found if a["wrong"]] == ["rows_and_rejects_are_as_reported"]


def test_a_locked_warehouse(run: Any, place: tuple[Path, Path, Path]) -> None:
    from corpus.warehouse.lock import writer_lock

    with writer_lock(place[2]):
        said = run("build", "--recipe", place[0], "--data", place[1], "--warehouse", place[2])
        assert said.status == 2
        assert f"process {os.getpid()} is building in it" in said.err
        assert run("catalog", "--warehouse", place[2]).status == 2
        # Readers need no lock.
        assert run("sql", "overview", "--warehouse", place[2]).status == 0
        assert run("plan", "--recipe", place[0], "--data", place[1], "--warehouse", place[2]).status == 0


def test_ctrl_c_and_a_closed_pipe(place: tuple[Path, Path, Path], tmp_path: Path) -> None:
    recipe, _, root = place
    env = {**os.environ, "PYTHONPATH": str(HERE)}
    for number in range(4):  # enough work that the signal comes in the middle of it
        json_lines(tmp_path / f"data/{number}/train_0.5M_CN.json", [instruction(f"问题{n} {number}", "答案" * 40) for n in range(20_000)])
    command = [sys.executable, "-m", "corpus.cli", "build", "--recipe", recipe, "--data", tmp_path / "data", "--warehouse", tmp_path / "wh"]
    process = subprocess.Popen(
        [*command, "--workers", "2"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=env, start_new_session=True
    )
    assert process.stderr
    assert process.stderr.readline().startswith("parse: ")
    time.sleep(0.3)
    os.killpg(process.pid, signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130
    assert said.strip() == "interrupted; what was committed is kept; run the same command again"

    reader = subprocess.Popen(
        [sys.executable, "-m", "corpus.cli", "sql", "FROM rows, range(500)", "--format", "csv", "--warehouse", root],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=env,
    )  # fmt: skip
    assert reader.stdout
    assert reader.stderr
    reader.stdout.readline()
    reader.stdout.close()
    reader.wait(timeout=60)
    assert reader.stderr.read().strip() == b"", "the reader has what it wants, which is no mistake"


# --- what reaches the terminal, and what reaches other programs

HOSTILE = [
    "[red]x[/red]", "[/nothing]", "\\[/x]", "\\\\[bold]", "[link=http://x]y[/link]", "[", "\x1b[31mred\x1b[0m", "\x1b]0;title\x07", "a\rb",
    "\x9b31m",
    "\u202eright to left", "bell\x07", "\x08\x7f", "tab\tnew\nline", "语料", "👋", "'\"", "", " ", "NULL", "=1+1", ",;|", "\ufeff",
]  # fmt: skip


def values(texts: list[str]) -> str:
    """A query that returns these texts."""
    rows = ", ".join(
        "(" + ", ".join([str(n), "concat(" + ", ".join(f"chr({ord(c)})" for c in text) + ")" if text else "''"]) + ")"
        for n, text in enumerate(texts)
    )
    return f"SELECT v FROM (VALUES {rows}) AS t(n, v) ORDER BY n"


def test_text_from_data_cannot_reach_the_terminal_as_control_or_markup(run: Any, place: tuple[Path, Path, Path]) -> None:
    said = run("sql", values(HOSTILE), "--warehouse", place[2])
    assert said.status == 0
    allowed = {"\n"}
    assert {c for c in said.out if not c.isprintable()} <= allowed
    for text in (
        "[red]x[/red]",
        "[/nothing]",
        "\\[/x]",
        "\\\\[bold]",
        "[link=http://x]y[/link]",
        "\\x1b[31mred\\x1b[0m",
        "\\x9b31m",
        "a\\x0db",
    ):
        assert text in said.out
    said = run("sql", 'SELECT 1 AS "[/x]", 2 AS "\x1b[1m"', "--warehouse", place[2])
    assert "[/x]" in said.out
    assert "\x1b" not in said.out


def test_csv_and_json_round_trip(run: Any, place: tuple[Path, Path, Path], tmp_path: Path) -> None:
    said = run("sql", values(HOSTILE), "--format", "csv", "--warehouse", place[2])
    assert list(csv.reader(io.StringIO(said.out, newline=""))) == [["v"], *([text] for text in HOSTILE)]
    said = run("sql", values(HOSTILE), "--format", "json", "--warehouse", place[2])
    assert [row["v"] for row in json.loads(said.out)] == HOSTILE
    # NULL and an empty text differ.
    sql = "SELECT * FROM (VALUES (1, NULL, ''), (2, 'a,\"b\"', 'x')) AS t(n, a, b) ORDER BY n"
    (tmp_path / "out.csv").write_text(run("sql", sql, "--format", "csv", "--warehouse", place[2]).out, encoding="utf-8")
    assert query(place[2], f"SELECT * FROM read_csv('{tmp_path / 'out.csv'}', allow_quoted_nulls = false)") == [
        (1, None, ""),
        (2, 'a,"b"', "x"),
    ]


def test_every_value_of_duckdb_is_valid_json(run: Any, place: tuple[Path, Path, Path]) -> None:
    sql = """SELECT 'nan'::DOUBLE AS a, 'inf'::DOUBLE AS b, 1.5::DECIMAL(5, 2) AS c, DATE '2024-01-02' AS d, '\\x00\\xff'::BLOB AS e,
        [1, NULL] AS f, {'x': 'nan'::FLOAT} AS g, MAP {DATE '2024-01-02': 2} AS h, INTERVAL 1 DAY AS i, uuid() AS j, NULL AS k, true AS l,
        170141183460469231731687303715884105727 AS m"""

    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is no JSON")

    said = run("sql", sql, "--format", "json", "--warehouse", place[2])
    [row] = json.loads(said.out, parse_constant=refuse)
    assert (row["a"], row["b"], row["e"], row["f"], row["k"], row["l"]) == (None, None, "00ff", [1, None], None, True)
    for how in ("csv", "table"):
        assert run("sql", sql, "--format", how, "--warehouse", place[2]).status == 0
    for table in ("rows", "clean", "partitions", "lineage"):
        json.loads(run("sql", f"FROM {table}", "--format", "json", "--warehouse", place[2]).out, parse_constant=refuse)


def test_file_names_with_control_characters_do_not_reach_the_terminal(run: Any, place: tuple[Path, Path, Path], tmp_path: Path) -> None:
    name = "c4/\x1b[31m\n[/x].jsonl"
    json_lines(tmp_path / "data" / name, [{"text": "Some text.", "url": ""}])
    (tmp_path / "data/\x1b]0;unclaimed\x07.bin").write_bytes(b"x")
    os.mkdir(os.fsencode(tmp_path) + b"/data/\xff\xfe")
    (tmp_path / "data").joinpath("c4/folder\x1b.jsonl").mkdir()
    arguments = ("--recipe", place[0], "--data", "data", "--warehouse", "wh")
    for command in (("plan", *arguments, "--all"), ("build", *arguments), ("plan", *arguments), ("sources", "--data", "data")):
        said = run(*command)
        assert said.status == 0, said
        assert not [c for c in said.out + said.err if not c.isprintable() and c != "\n"], command
    for command in (("plan", *arguments, "--json"), ("build", *arguments, "--json"), ("sources", "--data", "data", "--json")):
        json.loads(run(*command).out)
    for (row_id,) in query(tmp_path / "wh", "SELECT row_id FROM rows"):
        said = run("why", row_id, "--warehouse", "wh")
        assert said.status == 0
        assert "\x1b" not in said.out


def test_file_names_are_read_as_utf_8_or_not_at_all() -> None:
    environment = {**os.environ, "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "LC_ALL": "C"}
    done = subprocess.run([sys.executable, "-m", "corpus.cli", "sources"], env=environment, capture_output=True, text=True, check=False)
    if "reads file names as" not in done.stderr:
        pytest.skip("this system's file names are UTF-8 under any locale")
    assert (done.returncode, done.stdout) == (2, "")
    assert "PYTHONUTF8=1" in done.stderr


# --- one file without a warehouse


@pytest.fixture
def rows(tmp_path: Path) -> Path:
    """A parquet file: of five rows one is equal to another, and one near a third."""
    long = "春天的早上，门口的树下有三只鸟，它们在雨后的草里找吃的，听见脚步声就飞走了。" * 2
    texts = ["同一句话", "另一句，和谁都不一样", "同一句话。", long, long + "再见"]
    pq.write_table(pa.table({"id": ["a", "b", "c", "d", "e"], "text": texts, "n": [1, 1, 2, 3, 4]}), tmp_path / "rows.parquet")
    return tmp_path / "rows.parquet"


def test_dedup_writes_four_tables_and_says_what_it_found(run: Any, rows: Path, tmp_path: Path) -> None:
    before = rows.read_bytes()
    said = run("dedup", rows, "--id", "id", "--out", "made/it")
    assert (said.status, said.err) == (0, "")
    assert said.out == (
        "5 rows: 3 kept, 1 dropped as equal and 1 as near, in 2 clusters; 1 pairs compared exactly.\n"
        "Wrote kept, dropped, clusters, pairs.parquet to made/it\n"
    )
    out = {p.stem: pq.read_table(p).to_pylist() for p in (tmp_path / "made/it").iterdir()}
    assert sorted(out) == ["clusters", "dropped", "kept", "pairs"], "nothing else is left"
    assert [row["row_id"] for row in out["kept"]] == ["b", "c", "e"]
    assert [(row["row_id"], row["kept_row_id"]) for row in out["dropped"]] == [("a", "c"), ("d", "e")]
    assert out["dropped"][0]["jaccard"] == 1
    assert rows.read_bytes() == before


def test_dedup_as_json_and_without_ids(run: Any, rows: Path, tmp_path: Path) -> None:
    said = run("dedup", rows, "--out", "out", "--json")
    assert (said.status, said.err) == (0, "")
    assert json.loads(said.out) == {
        "rows": 5, "kept": 3, "dropped": 2, "exact": 1, "near": 1, "clusters": 2, "pairs": 1, "out": "out",
    }  # fmt: skip
    assert pq.read_table(tmp_path / "out/kept.parquet")["row_id"].to_pylist() == [1, 2, 4]
    said = run("dedup", rows, "--out", "out", "--json", "--threshold", "1", "--unit", "char")
    assert json.loads(said.out)["dropped"] == 0, "the full stop is a character, and the file is written anew"
    assert pq.read_table(tmp_path / "out/kept.parquet").num_rows == 5


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["none.parquet", "--out", "out"], "corpus: none.parquet: no such file; expected a parquet file"),
        ([".", "--out", "out"], "corpus: .: no such file; expected a parquet file"),
        (["text.txt", "--out", "out"], "corpus: text.txt: cannot be read as parquet: "),
        (["rows.parquet", "--out", "out", "--text", "txt"], "corpus: rows.parquet: there is no column 'txt'; did you mean 'text'?"),
        (["rows.parquet", "--out", "out", "--text", "n"], "corpus: rows.parquet: column 'n' is int64, expected text"),
        (["rows.parquet", "--out", "out", "--id", "key"], "corpus: rows.parquet: there is no column 'key'"),
        (
            ["rows.parquet", "--out", "out", "--id", "n"],
            "corpus: rows.parquet: column 'n': rows 0 and 1 have the same id 1; ids must be unique",
        ),
        (["nulls.parquet", "--out", "out", "--id", "id"], "corpus: nulls.parquet: column 'id': row 1 has no id"),
        (["rows.parquet", "--out", "text.txt"], "corpus: text.txt is a file; expected a folder"),
        (["rows.parquet", "--out", "text.txt/in"], "corpus: text.txt/in: Not a directory"),
        (
            ["rows.parquet", "--out", "out", "--threshold", "0.4"],
            "Error: Invalid value for '--threshold': 0.4 is not in the range 0.5<=x<=1.",
        ),
        (["rows.parquet", "--out", "out", "--threshold", "nan"], "corpus: threshold nan is not between 0.5 and 1"),
        (["rows.parquet", "--out", "out", "--threshold", "much"], "Error: Invalid value for '--threshold': 'much' is not a valid float"),
        (["rows.parquet", "--out", "out", "--unit", "word"], "Error: Invalid value for '--unit': 'word' is not one of 'mixed', 'char'."),
        (["rows.parquet"], "Error: Missing option '--out'."),
        ([], "Error: Missing argument 'FILE'."),
    ],
)
def test_what_dedup_cannot_do_is_one_sentence(run: Any, rows: Path, tmp_path: Path, arguments: list[str], sentence: str) -> None:
    (tmp_path / "text.txt").write_text("no parquet")
    pq.write_table(pa.table({"id": ["a", None], "text": ["x", "y"]}), tmp_path / "nulls.parquet")
    said = run("dedup", *arguments)
    assert said.status == 2
    assert said.out == ""
    last = said.err.strip().splitlines()[-1]
    assert last.startswith(sentence), said.err
    assert sentence.startswith("Error") or len(said.err.splitlines()) == 1
    assert not (tmp_path / "out").exists() or list((tmp_path / "out").iterdir()) == []


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_dedup_into_a_folder_that_may_not_be_written(run: Any, rows: Path, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir(mode=0o500)
    said = run("dedup", rows, "--out", "out")
    assert said.status == 2
    assert "Permission denied" in said.err
