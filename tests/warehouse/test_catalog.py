"""The catalog: views with comments, a schema per recipe, anywhere."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import duckdb
import pytest

from corpus.errors import WarehouseError
from corpus.warehouse.builds import Warehouse
from corpus.warehouse.catalog import make
from corpus.warehouse.commit import TMP_MARK
from corpus.warehouse.query import ask, questions
from tests.conftest import make_build, make_data, query, recipe_of

VIEWS = {"rows", "rejects", "dropped", "clusters", "pairs", "splits", "sources", "allocation", "lineage", "builds"}


def test_everything_has_a_comment(built: tuple[Path, Path]) -> None:
    with duckdb.connect(str(built[1] / "corpus.duckdb"), read_only=True) as db:
        for schema in ("main", "small"):
            found = {
                n for (n,) in db.execute("SELECT table_name FROM information_schema.tables WHERE table_schema = ?", [schema]).fetchall()
            }
            assert found >= VIEWS
            bare = "SELECT {} FROM {} WHERE schema_name = ? AND NOT internal AND comment IS NULL"
            for names, catalog in (
                ("view_name", "duckdb_views()"),
                ("table_name", "duckdb_tables()"),
                ("table_name, column_name", "duckdb_columns()"),
            ):
                assert db.execute(bare.format(names, catalog), [schema]).fetchall() == []


def test_views_show_what_was_built(built: tuple[Path, Path]) -> None:
    root = built[1]
    assert query(root, "SELECT count(*) FROM lineage") == query(root, "SELECT count(*) FROM rows")
    assert query(
        root, "SELECT count(*) FROM lineage WHERE (fate = 'kept') = (splits IS NULL) OR (fate = 'dropped') = (reason IS NULL)"
    ) == [(0,)]
    assert query(root, "SELECT sum(rows), sum(rejects), sum(dropped), sum(kept) FROM sources") == [(93, 1, 10, 83)]
    assert query(root, "SELECT sum(got) FROM allocation") == query(root, "SELECT count(*) FROM splits")
    assert query(root, "SELECT recipe, data FROM builds") == [("small", str(built[0]))]
    assert query(root, "SELECT count(*) FROM clusters WHERE NOT kept") == query(root, "SELECT count(*) FROM pairs WHERE accepted")


def test_it_opens_from_any_folder(data: Path, tmp_path: Path) -> None:
    """Also when it was built under a relative name."""
    code = "import sys; from pathlib import Path; from tests.conftest import make_build; make_build(Path('data'), Path('wh'))"
    here = Path(__file__).resolve().parents[2]
    env = {**os.environ, "PYTHONPATH": str(here)}
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=env, check=True)
    path = str(tmp_path / "wh/corpus.duckdb")
    code = f"import duckdb; print(len(duckdb.connect({path!r}, read_only=True).execute('FROM lineage').fetchall()))"
    done = subprocess.run([sys.executable, "-c", code], cwd="/", capture_output=True, text=True, check=True)
    assert int(done.stdout) == 93


def test_a_schema_per_recipe_and_main_is_the_last(data: Path, root: Path) -> None:
    make_build(data, root, recipe_of(name="a"))
    make_build(data, root, recipe_of(name="b-2.x", sources=["alpaca", "c4"], splits={"pretrain": {"rows": 3}}))
    sources = "SELECT count(DISTINCT source) FROM "
    for name, count in (("a", 6), ('"b-2.x"', 2), ("main", 2)):
        # Views over views too must mean the recipe's own.
        for view in ("rows", "lineage", "source_list"):
            assert query(root, f"{sources} {name}.{view}") == [(count,)], (name, view)
        assert query(root, f"SELECT count(*) FROM {name}.sources WHERE rows > 0") == [(count,)]
        assert len(query(root, f"SELECT recipe FROM {name}.builds")) == 2
    assert query(root, 'SELECT count(*) FROM "b-2.x".splits') == [(3,)]
    assert query(root, "SELECT count(*) FROM a.splits WHERE split = 'ppo'")[0][0] > 0
    # Building the first again, which changes nothing in it, makes it the last.
    outcome = make_build(data, root, recipe_of(name="a"))
    assert not outcome.built
    assert query(root, f"{sources} rows") == [(6,)]
    assert query(root, f'{sources} "b-2.x".rows') == [(2,)]


@pytest.mark.parametrize("name", ["with space", 'it\'s "quoted"', "语料仓库", "wh [v1]", "100%_{x}", "semi;colon -- $HOME", "star*"])
def test_warehouses_with_difficult_names(tmp_path: Path, name: str) -> None:
    data = tmp_path / f"data {name}"
    (data / "c4").mkdir(parents=True)
    for number in range(2):
        (data / f"c4/{name}-{number}.jsonl").write_text(json.dumps({"text": f"Text {number}", "url": ""}) + "\n", encoding="utf-8")
    root = tmp_path / name / "wh"
    outcome = make_build(data, root, recipe_of(splits={"pretrain": {}}))
    assert outcome.built["identify"] == 1
    assert query(root, "SELECT count(*) FROM splits") == [(2,)]
    assert query(root, "SELECT file FROM rows ORDER BY file") == [(f"c4/{name}-{n}.jsonl",) for n in range(2)]
    assert not make_build(data, root, recipe_of(splits={"pretrain": {}})).changed


def test_a_moved_warehouse_works_again_after_catalog(built: tuple[Path, Path], tmp_path: Path) -> None:
    shutil.copytree(built[1], tmp_path / "first")
    make(Warehouse(tmp_path / "first"))
    (tmp_path / "first").rename(tmp_path / "second")
    with pytest.raises(duckdb.IOException):
        query(tmp_path / "second", "FROM rows")
    make(Warehouse(tmp_path / "second"))
    assert query(tmp_path / "second", "SELECT count(*) FROM rows") == [(93,)]
    assert str(tmp_path / "second") in query(tmp_path / "second", "SELECT sql FROM duckdb_views() WHERE view_name = 'rows'")[0][0]


def test_a_catalog_is_not_made_of_half_a_warehouse(data: Path, root: Path) -> None:
    make_build(data, root, recipe_of(name="a", sources=["c4"]))
    make_build(data, root, recipe_of(name="b", sources=["alpaca"]))
    shutil.rmtree(root / "splits/b")
    with pytest.raises(WarehouseError, match=r"partitions of recipe 'b' are missing.*run `corpus build --recipe b` again"):
        make(Warehouse(root))
    # The damage of one recipe does not keep the other from being built.
    make_build(data, root, recipe_of(name="a", sources=["c4"], seed=5))
    assert query(root, "SELECT DISTINCT source FROM rows") == [("c4",)]
    make_build(data, root, recipe_of(name="b", sources=["alpaca"]))
    make(Warehouse(root))
    (root / "manifests/render.jsonl").unlink()
    with pytest.raises(WarehouseError, match="1 partitions of recipe 'a' are missing"):
        make(Warehouse(root))
    assert not [p for p in root.iterdir() if TMP_MARK in p.name]


def test_a_damaged_file_is_an_error_and_no_catalog(data: Path, root: Path) -> None:
    make_build(data, root, recipe_of(sources=["c4"]))
    next((root / "parsed").rglob("*.parquet")).write_bytes(b"PAR1 nothing of the kind PAR1")
    with pytest.raises(WarehouseError, match="`corpus build --verify` finds damaged files"):
        make(Warehouse(root))
    assert not [p for p in root.iterdir() if TMP_MARK in p.name]


def test_a_build_without_rejects_pairs_or_splits_has_all_views(tmp_path: Path) -> None:
    data = tmp_path / "data"
    make_data(data)
    make_build(data, tmp_path / "wh", recipe_of(sources=["c4"], splits={"dpo": {}}, dedup={"exact": False, "near": False}))
    for view in sorted(VIEWS):
        query(tmp_path / "wh", f"FROM {view}")
    assert query(tmp_path / "wh", "FROM splits") == []
    types = "SELECT column_name, data_type FROM duckdb_columns() WHERE table_name = '{}' AND schema_name = 'main' ORDER BY 1"
    make_build(data, tmp_path / "full")
    for view in sorted(VIEWS):
        assert query(tmp_path / "wh", types.format(view)) == query(tmp_path / "full", types.format(view)), view


@pytest.mark.parametrize("name", questions())
def test_every_ready_question_has_an_answer(near_built: tuple[Path, Path], name: str) -> None:
    catalog = near_built[1] / "corpus.duckdb"
    question = questions()[name]
    [(dropped,)] = query(near_built[1], "SELECT min(row_id) FROM dropped WHERE kept_row_id IS NOT NULL")
    values = {"row_id": dropped, "source": "alpaca", "split": "sft", "rule": "trim", "measure": "chars"}
    answer = ask(catalog, name, {n: values[n] for n in question.needs})
    assert question.about
    assert answer.columns
    assert answer.rows or name in ("recovered", "limits", "stock", "adopted")  # see test_near for stock
    assert ask(catalog, name, {n: values[n] for n in question.needs}, recipe="small") == answer


def test_a_question_mark_in_the_path_is_refused_at_once(data: Path, tmp_path: Path) -> None:
    with pytest.raises(WarehouseError, match="question mark"):
        make_build(data, tmp_path / "wh?" / "x")
    assert not (tmp_path / "wh?").exists()
