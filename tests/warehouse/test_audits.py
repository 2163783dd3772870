"""Audits: each one passes on a clean build, and finds exactly what it is there to find.

The catalog of a clean build is copied, its views become tables, and one statement makes them contradict each other.
"""

from __future__ import annotations

import shutil
from importlib import resources
from pathlib import Path

import duckdb
import pytest

from corpus.errors import AuditError, WarehouseError
from corpus.warehouse.audit import check, run

TABLES = ("rows", "rejects", "clean", "measures", "dropped", "clusters", "pairs", "assigned", "splits", "allocation", "preferences")
NAMES = {p.name.removesuffix(".sql") for p in resources.files("corpus.warehouse").joinpath("audits").iterdir() if p.name.endswith(".sql")}

DUPLICATE = "(SELECT min(row_id) FROM dropped WHERE reason = 'exact_duplicate' AND source = 'belle-0.5m')"
AS_DROPPED = {"accepted_pairs_are_dropped", "clusters_are_as_dropped"}
"""What a change to the ledger contradicts besides."""
NOBODY = "repeat('e', 32)"


def held(split: str) -> str:
    """A row of a split that is in no other."""
    others = f"(SELECT row_id FROM assigned WHERE split <> '{split}')"
    return f"(SELECT min(row_id) FROM assigned WHERE split = '{split}' AND row_id NOT IN {others})"


CASES: list[tuple[str, set[str], list[str]]] = [
    ("a dropped row is in a split", {"dropped_rows_are_in_no_split"} | AS_DROPPED, [
        "UPDATE dropped SET row_id = (SELECT min(row_id) FROM assigned AS a WHERE a.source = dropped.source "
        f"AND a.row_id NOT IN (SELECT kept_row_id FROM dropped WHERE kept_row_id IS NOT NULL)) WHERE row_id = {DUPLICATE}",
    ]),
    ("a training row of a shared split asks what the test asks", {"splits_share_no_prompt"}, [
        f"UPDATE clean SET prompt_key = (SELECT prompt_key FROM clean WHERE row_id = {held('test')}) WHERE row_id = {held('pretrain')}",
        "UPDATE split_list SET shared = true WHERE split = 'pretrain'",
    ]),
    ("one first question in two splits", {"splits_share_no_opening"}, [
        f"UPDATE clean SET opening_key = (SELECT opening_key FROM clean WHERE row_id = {held('ppo')}) WHERE row_id = {held('pretrain')}",
    ]),
    ("one prompt in two splits, whatever its keys say", {"splits_share_no_exact_prompt"}, [
        f"UPDATE clean SET messages = (SELECT messages FROM clean WHERE row_id = {held('ppo')}) WHERE row_id = {held('sft')}",
    ]),
    ("one cluster in two splits", {"splits_share_no_cluster"}, [
        f"INSERT INTO clusters SELECT {held('ppo')}, row_id, source, true, 2 FROM assigned WHERE row_id IN ({held('ppo')}, {held('pretrain')}) "
        "AND split IN ('ppo', 'pretrain')",
    ]),
    ("one row in two splits", {
        "splits_share_no_row", "splits_share_no_prompt", "splits_share_no_opening", "splits_share_no_exact_prompt", "splits_are_as_assigned",
        "allocation_adds_up",
    }, ["INSERT INTO assigned BY NAME SELECT * REPLACE ('sft' AS split) FROM assigned WHERE row_id = "
        "(SELECT min(row_id) FROM assigned WHERE split = 'ppo' AND row_id NOT IN (SELECT row_id FROM clusters) "
        "AND row_id NOT IN (SELECT row_id FROM assigned WHERE split <> 'ppo'))",
    ]),
    ("an allocation that says more than was assigned", {"allocation_adds_up"}, ["UPDATE allocation SET rows = rows + 1 WHERE split = 'sft' AND rows > 0"]),
    ("a pair with one side", {"pairs_differ"}, ["UPDATE preferences SET similarity = 1"]),
    ("a conversation that is too long", {"lengths_are_kept"}, [
        "INSERT INTO settings VALUES ('splits.sft.length.chars', '5'), ('splits.sft.length.over', 'drop')",
    ]),
    ("a row that is held out is trained on", {"evaluation_is_not_trained_on"}, [
        "UPDATE clean SET upstream_split = 'validation' WHERE row_id IN (SELECT row_id FROM assigned WHERE split = 'sft' AND part = 'train')",
    ]),
    ("a ledger entry without a row", {"ledger_has_no_orphans"} | AS_DROPPED, [f"UPDATE dropped SET row_id = {NOBODY} WHERE row_id = {DUPLICATE}"]),
    ("a row dropped twice", {"ledger_has_no_orphans"} | AS_DROPPED, [
        f"UPDATE dropped SET row_id = (SELECT min(row_id) FROM dropped AS d WHERE d.source = dropped.source AND d.row_id > {DUPLICATE} "
        f"AND d.row_id NOT IN (SELECT kept_row_id FROM dropped WHERE kept_row_id IS NOT NULL)) WHERE row_id = {DUPLICATE}",
    ]),
    ("a keeper that does not exist", {"ledger_has_no_orphans"} | {"clusters_are_as_dropped"}, [f"UPDATE dropped SET kept_row_id = {NOBODY} WHERE row_id = {DUPLICATE}"]),
    ("a keeper that was dropped before", {"ledger_has_no_orphans"} | {"clusters_are_as_dropped", "duplicates_name_a_kept_row"}, [
        f"UPDATE dropped SET kept_row_id = (SELECT min(row_id) FROM dropped WHERE stage = 'filter') WHERE row_id = {DUPLICATE}",
    ]),
    ("a row twice in a split", {"no_row_twice_in_a_split"}, ["INSERT INTO splits SELECT * FROM splits LIMIT 1"]),
    ("an unknown drop reason", {"reasons_are_documented"}, [f"UPDATE dropped SET reason = 'whim' WHERE row_id = {DUPLICATE}"]),
    ("an unknown reject reason", {"reasons_are_documented"}, ["UPDATE rejects SET reason = 'exact_duplicate'"]),
    ("a record that was counted and is nowhere", {"records_are_accounted_for"}, [
        "UPDATE files SET records = records + 1 WHERE source = 'c4'",
    ]),
    ("a record that is said to be in rows and is not", {"records_are_accounted_for"}, [
        "UPDATE files SET records = records + 1, row_records = row_records + 1 WHERE source = 'c4'",
    ]),
    ("a record in two rows in place of another", {"records_are_accounted_for"}, [
        "UPDATE rows SET record = 1, byte_offset = (SELECT byte_offset FROM rows WHERE source = 'c4' AND record = 1) "
        "WHERE source = 'c4' AND record = 2",
    ]),
    ("two rows with one id", {"row_ids_are_unique", "split_rows_exist_upstream"}, [
        f"UPDATE rows SET row_id = {held('ppo')} WHERE row_id = {held('pretrain')}",
    ]),
    ("fewer rows than reported", {"rows_and_rejects_are_as_reported"}, ["UPDATE files SET rows = rows + 1 WHERE source = 'c4'"]),
    ("more rejects than reported", {"rows_and_rejects_are_as_reported", "records_are_accounted_for"}, [
        "INSERT INTO rejects BY NAME SELECT 'c4' AS source, file, 99 AS record, 'json' AS reason FROM files WHERE source = 'c4'",
    ]),
    ("a row that is lost at clean", {"rows_are_kept_or_dropped"}, [f"DELETE FROM clean WHERE row_id = {DUPLICATE}"]),
    ("a row that was not measured", {"rows_are_kept_or_dropped"}, [f"DELETE FROM measures WHERE row_id = {DUPLICATE}"]),
    ("a row that is lost at the filter", {"rows_are_kept_or_dropped"}, ["DELETE FROM dropped WHERE stage = 'filter'"]),
    ("a row that is lost later", {"rows_are_kept_or_dropped"} | AS_DROPPED, [f"DELETE FROM dropped WHERE row_id = {DUPLICATE}"]),
    ("a row of a split from nowhere", {"split_rows_exist_upstream"}, [
        f"CREATE TEMP TABLE x AS SELECT {held('ppo')} AS row_id",
        f"UPDATE splits SET row_id = {NOBODY} WHERE row_id = (FROM x)",
        f"UPDATE assigned SET row_id = {NOBODY} WHERE row_id = (FROM x)",
    ]),
    ("a row that was assigned and not written", {"splits_are_as_assigned"}, [f"DELETE FROM splits WHERE row_id = {held('ppo')}"]),
    ("a row in the wrong part", {"splits_are_as_assigned"}, [f"UPDATE splits SET part = 'eval' WHERE row_id = {held('ppo')}"]),
    ("a duplicate of nothing", {"duplicates_name_a_kept_row", "clusters_are_as_dropped"}, [
        f"UPDATE dropped SET kept_row_id = NULL WHERE row_id = {DUPLICATE}",
    ]),
    ("a near duplicate that is not near", {"near_duplicates_are_near"}, [
        "UPDATE dropped SET jaccard = 0.79 WHERE reason = 'near_duplicate'", "UPDATE pairs SET jaccard = 0.79 WHERE jaccard < 1",
        "UPDATE pairs SET accepted = false WHERE jaccard < 1",
    ]),
    ("a near duplicate that was not compared", {"near_duplicates_are_near"}, ["DELETE FROM pairs WHERE jaccard < 1"]),
    ("a near duplicate with another similarity than its pair", {"near_duplicates_are_near"}, [
        "UPDATE dropped SET jaccard = jaccard + 0.001 WHERE reason = 'near_duplicate' AND detail IS NOT NULL",
    ]),
    ("two rows that are near and were kept", {"accepted_pairs_are_dropped"}, [
        "INSERT INTO pairs BY NAME SELECT min(row_id) AS row_id, max(row_id) AS other_id, 0.9 AS jaccard, true AS accepted FROM assigned "
        "WHERE source = 'c4'",
    ]),
    ("a pair that was accepted below a bound", {"accepted_pairs_are_dropped"}, ["UPDATE pairs SET answers = 0.79 WHERE answers IS NOT NULL"]),
    ("a cluster that says what the ledger does not", {"clusters_are_as_dropped"}, [
        f"UPDATE clusters SET kept = true WHERE row_id = {DUPLICATE}",
    ]),
    ("an evaluation set that lost a row", {"evaluation_sets_lose_no_duplicates", "evaluation_is_not_trained_on"}, [
        "UPDATE source_list SET protect = true WHERE source = 'belle-1m'",
    ]),
    ("one prompt in two splits", {"splits_share_no_prompt"}, [
        f"UPDATE clean SET prompt_key = (SELECT prompt_key FROM clean WHERE row_id = {held('ppo')}) WHERE row_id = {held('pretrain')}",
    ]),
]  # fmt: skip


@pytest.fixture(scope="module")
def tables(near_built: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A catalog whose views have become tables."""
    path = tmp_path_factory.mktemp("audits") / "corpus.duckdb"
    shutil.copy(near_built[1] / "corpus.duckdb", path)
    with duckdb.connect(str(path)) as db:
        for name in TABLES:
            db.execute(f"CREATE TABLE copied AS FROM {name}")
            db.execute(f"DROP VIEW {name}")
            db.execute(f"ALTER TABLE copied RENAME TO {name}")
    return path


def failing(path: Path) -> set[str]:
    return {a.name for a in run(path) if a.rows}


def test_a_clean_build_passes(built: tuple[Path, Path], tables: Path) -> None:
    for path in (built[1] / "corpus.duckdb", tables):
        found = list(run(path))
        assert {a.name for a in found} == NAMES
        assert [a.name for a in found if a.rows] == []
        assert all(a.about.endswith(".") for a in found)
        check(path)


@pytest.mark.parametrize(("expected", "statements"), [c[1:] for c in CASES], ids=[c[0] for c in CASES])
def test_a_contradiction_is_found_by_its_audit_and_no_other(
    tables: Path, tmp_path: Path, expected: set[str], statements: list[str]
) -> None:
    path = tmp_path / "corpus.duckdb"
    shutil.copy(tables, path)
    with duckdb.connect(str(path)) as db:
        for statement in statements:
            changed = db.execute(statement).fetchone()
            assert changed is None or changed[0] > 0, f"nothing changed: {statement}"
    assert failing(path) == expected
    with pytest.raises(AuditError) as caught:
        check(path)
    assert all(f"{name}: " in str(caught.value) for name in expected)
    assert "the warehouse contradicts itself" in str(caught.value)


def test_every_audit_is_proved_able_to_fail() -> None:
    assert set().union(*(expected for _, expected, _ in CASES)) == NAMES


def test_no_catalog_and_no_database(tmp_path: Path) -> None:
    with pytest.raises(WarehouseError, match="there is no catalog; run `corpus build`"):
        list(run(tmp_path / "corpus.duckdb"))
    (tmp_path / "corpus.duckdb").write_bytes(b"no database " * 1000)
    with pytest.raises(WarehouseError, match="`corpus catalog` makes it again"):
        list(run(tmp_path / "corpus.duckdb"))
