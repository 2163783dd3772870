"""dedup: what is dropped is near what is kept, by the raw texts; nothing depends on order, division, or the size of pieces."""

from __future__ import annotations

import random
import tempfile
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from corpus.dedup import bands, near
from corpus.stages import dedup as stage
from tests.stages.duplicates import (
    Found,
    Row,
    Similar,
    clauses,
    counted,
    dialogue,
    document,
    make_rows,
    named,
    order_of,
    preference,
    prompt,
    run,
    sets,
    similar,
    stocks_of,
)

TABLES = ("dropped", "clusters", "pairs")


def equal(a: Row, b: Row, keys: Mapping[str, str]) -> bool:
    """Whether two rows are equal after folding case and white space: the texts that count, their places and roles."""

    def told(row: Row) -> Any:
        (texts, keyed), key = counted(row, keys.get(row.source, "whole")), keys.get(row.source, "whole")
        folded = ["".join(text.casefold().split()) for _, text in texts]
        return (keyed, row.kind, key if keyed else "", folded, [] if keyed else [(p, r) for p, r, _ in row.texts])

    return bool(told(a) == told(b))


def space(row: Row, keys: Mapping[str, str]) -> tuple[str, str]:
    """Only rows of one space can be near: of one kind, compared by the same key."""
    key = keys.get(row.source, "whole")
    return row.kind, key if counted(row, key)[1] else "whole"


def enough(found: Similar, threshold: float, prompts: float, answers: float) -> bool:
    """Whether two rows are near."""
    return (
        found.whole >= threshold
        and (found.prompts is None or found.prompts >= prompts)
        and (found.answers is None or found.answers >= answers)
    )


def check(
    rows: Sequence[Row],
    found: Found,
    *,
    threshold: float = 0.8,
    prompts: float = 0.5,
    answers: float = 0.8,
    keys: Mapping[str, str] | None = None,
    priority: Mapping[str, int] | None = None,
    protected: Sequence[str] = (),
    gone: Sequence[str] = (),
    share: float = 0.02,
) -> Counter[str]:
    """Replays every decision from the raw texts; returns how many of each kind there were."""
    keys = keys or {}
    by_id = {row.id: row for row in rows if row.id not in set(gone)}
    places = order_of(by_id.values(), priority, protected)
    stocks = stocks_of(rows, keys, share)
    seen: Counter[str] = Counter()

    for row_id, entry in found.dropped.items():
        row, keeper = by_id[row_id], by_id[entry["kept_row_id"]]
        assert entry["stage"] == "dedup"
        assert entry["source"] == row.source
        assert keeper.id not in found.dropped, "a keeper is kept"
        assert row.source not in protected, "what is protected is never dropped"
        assert places[keeper.id] < places[row.id], "the keeper comes first in the order of keeping"
        assert space(row, keys) == space(keeper, keys)
        seen[entry["reason"]] += 1
        if entry["reason"] == "exact_duplicate":
            assert entry["jaccard"] == 1
            assert entry["detail"] is None
            assert sets(row, keys.get(row.source, "whole")).keys() == sets(keeper, keys.get(keeper.source, "whole")).keys()
            assert equal(row, keeper, keys)
            continue
        assert entry["reason"] == "near_duplicate"
        assert "exact" not in (keys.get(keeper.source), "" if entry["detail"] else keys.get(row.source))
        if entry["detail"] and stocks:
            continue  # it was judged by a row that is equal to it; what is stock in that one's source is another matter
        again = similar(row, keeper, keys, stocks)
        assert entry["jaccard"] == pytest.approx(again.whole, abs=1e-12)
        assert enough(again, threshold, prompts, answers), (row, keeper, again)

    for pair in found.pairs:
        a, b = by_id[pair["row_id"]], by_id[pair["other_id"]]
        assert space(a, keys) == space(b, keys)
        if pair["jaccard"] == 1 and pair["prompts"] is None and equal(a, b, keys):
            assert pair["accepted"]
            continue
        again = similar(a, b, keys, stocks)
        if pair["accepted"]:
            assert pair["jaccard"] == pytest.approx(again.whole, abs=1e-12)
            for name, bound in (("prompts", prompts), ("answers", answers)):
                expected = getattr(again, name) if bound else None  # a part that may be as it likes is not compared
                assert pair[name] == (None if expected is None else pytest.approx(expected, abs=1e-12)), name
        assert pair["accepted"] == enough(again, threshold, prompts, answers)
        assert places[b.id] < places[a.id]

    by_cluster: dict[str, list[str]] = defaultdict(list)
    for row_id, (cluster, kept, size) in found.clusters.items():
        by_cluster[cluster].append(row_id)
        assert kept == (row_id not in found.dropped)
        assert size == sum(1 for c, _, _ in found.clusters.values() if c == cluster)
    for row_id, entry in found.dropped.items():
        assert found.clusters[row_id][0] == found.clusters[entry["kept_row_id"]][0], "a row is in the cluster of its keeper"
    for cluster, members in by_cluster.items():
        assert len(members) > 1
        assert min(members, key=places.__getitem__) == cluster, "a cluster is called by its best row"
    return seen


def missed(rows: Sequence[Row], found: Found, **bounds: Any) -> tuple[int, int]:
    """How many pairs of kept rows are near all the same, and how many rows were dropped as near."""
    kept = [row for row in rows if row.id not in found.dropped]
    stocks = stocks_of(rows, {})
    bad = 0
    for n, a in enumerate(kept):
        for b in kept[:n]:
            if a.kind == b.kind and enough(similar(a, b, {}, stocks), 0.8, 0.5, 0.8):
                bad += 1
    return bad, sum(e["reason"] == "near_duplicate" for e in found.dropped.values())


# --- decisions replayed from raw text


@given(st.integers(0, 1 << 32), st.integers(0, 70), st.sampled_from([0.5, 0.7, 0.8, 0.9, 1.0]), st.sampled_from([0.0, 0.5, 0.8]))
@settings(max_examples=15, deadline=None)
def test_every_decision_agrees_with_the_raw_texts(seed: int, count: int, threshold: float, bound: float) -> None:
    rows = make_rows(seed, count)
    rng = random.Random(seed)
    priority = {name: rng.choice([1, 100]) for name in ("one", "two", "three")}
    gone = [row.id for row in rows if rng.random() < 0.1]
    bounds = {"threshold": threshold, "prompts": bound, "answers": bound}
    with tempfile.TemporaryDirectory() as folder:
        found = run(Path(folder), rows, bounds, priority=priority, protected=["two"], gone=gone)
    check(rows, found, **bounds, priority=priority, protected=["two"], gone=gone)


@given(st.integers(0, 1 << 32))
@settings(max_examples=8, deadline=None)
def test_every_decision_agrees_with_the_raw_texts_by_every_key(seed: int) -> None:
    rows = make_rows(seed, 80, sources=("one", "two", "three", "four", "five"))
    keys = {"one": "prompt", "two": "answer", "three": "exact", "four": "prompt"}
    with tempfile.TemporaryDirectory() as folder:
        found = run(Path(folder), rows, keys=keys)
    check(rows, found, keys=keys)


def test_many_rows_and_their_stock(tmp_path: Path) -> None:
    rows = make_rows(5, 700, most=1000)
    assert any(stocks_of(rows, {}).values())
    found = run(tmp_path, rows)
    seen = check(rows, found)
    assert seen["near_duplicate"] > 40
    assert seen["exact_duplicate"] > 40
    bad, dropped = missed(rows, found)
    assert bad <= 0.02 * dropped, "bands miss one pair in 200 just at the threshold, and fewer above"


def test_the_order_of_keeping(tmp_path: Path) -> None:
    long = "山上的树林里有很多鸟，早上起来听见它们在叫，我看了很久也没有看见一只。"
    rows = [
        dialogue(0, "你听见了吗？", long, "low"),
        dialogue(1, "你听见了吗？", long + "啊", "low"),
        dialogue(2, "你听见了吗？", long + "啊啊", "low", damage=2),
        dialogue(3, "你听见了吗？", long[1:], "high"),
        dialogue(4, "你听见了吗？", long[2:], "low", upstream="test"),
        dialogue(5, "你听见了吗？", long[:-2], "guarded"),
    ]
    more = {"priority": {"high": 1}, "protected": ["guarded"]}

    def keeper(rows: list[Row]) -> str:
        found = run(tmp_path, rows, {"threshold": 0.7}, **more)
        assert len(found.dropped) == len(rows) - 1, found.dropped
        return next(e["kept_row_id"] for e in found.dropped.values())

    for best in (5, 4, 3, 1, 0):  # protected, evaluation, priority, more characters, fewer; the damaged one last
        by_hand = [row for row in rows if row.source != "guarded" or best == 5]
        by_hand = [row for row in by_hand if row.id != named(4) or best in (4,)]
        by_hand = [row for row in by_hand if row.source != "high" or best >= 3]
        by_hand = [row for row in by_hand if row.id != named(1) or best >= 1]
        assert keeper(by_hand) == named(best), best
    twins = [replace(rows[0], id=named(n)) for n in range(5)]
    assert keeper(twins) == min(row.id for row in twins), "the last word has the row_id"


def test_what_is_protected_stays_and_its_likes_go(tmp_path: Path) -> None:
    text = "春天来了，花开在门口，我们出去走走，看看水和山。"
    rows = [document(n, None, text + "花" * (n % 3), "guarded" if n < 4 else "other") for n in range(8)]
    found = run(tmp_path, rows, {"threshold": 0.6}, protected=["guarded"])
    assert set(found.dropped) == {named(n) for n in range(4, 8)}
    assert {e["kept_row_id"] for e in found.dropped.values()} <= {named(n) for n in range(4)}
    check(rows, found, threshold=0.6, protected=["guarded"])
    # Evaluation rows of a publisher come first, too, and lose to one another as any rows.
    rows = [document(n, None, text + "花" * (n % 3), "other", upstream="test" if n < 4 else None) for n in range(8)]
    found = run(tmp_path, rows, {"threshold": 0.6})
    assert len(found.dropped) == 7
    assert {e["kept_row_id"] for e in found.dropped.values()} <= {named(n) for n in range(4)}


# --- what is no duplicate

QUESTION = "请你写一句话，说说冬天早上的雪和风，里面要有门口的树，不要太长，也不要太短，让人看了想出去走走。"


def test_the_same_question_with_another_answer_stays(tmp_path: Path) -> None:
    answers = ["雪停了，树还在。", "风大，人小。", "今天不出去了，明天再说。"]
    rows = [dialogue(n, QUESTION * 3, answer, "two" if n else "one") for n, answer in enumerate(answers)]
    assert similar(rows[0], rows[1], {}).whole > 0.8, "as a whole they are near"
    assert run(tmp_path, rows).dropped == {}
    assert len(run(tmp_path, rows, {"answers": 0}).dropped) == 2, "the bound is what keeps them"


def test_the_same_answer_to_another_question_stays(tmp_path: Path) -> None:
    long = "".join(clauses(random.Random(1), 30))
    rows = [dialogue(0, "你听说了吗？今天有雨", long), dialogue(1, "时间过得太快，我写了一首", long)]
    assert similar(*rows, {}).whole > 0.8
    assert run(tmp_path, rows).dropped == {}
    assert len(run(tmp_path, rows, {"prompts": 0}).dropped) == 1


def test_a_preference_with_its_sides_swapped_stays(tmp_path: Path) -> None:
    good, bad = ("".join(clauses(random.Random(n), 12)) for n in (1, 2))
    rows = [preference(0, QUESTION, good, bad), preference(1, QUESTION, bad, good), preference(2, QUESTION, good, bad + "好")]
    found = run(tmp_path, rows)
    assert set(found.dropped) == {named(0)}
    assert found.dropped[named(0)]["kept_row_id"] == named(2)
    check(rows, found)


def test_rows_of_different_kinds_are_never_near(tmp_path: Path) -> None:
    text = "".join(clauses(random.Random(3), 10))
    rows = [
        document(0, None, text), prompt(1, text), Row(named(2), messages=(("user", text), ("assistant", ""))),
        Row(named(3), kind="preference", messages=(("user", text),), chosen=(), rejected=()),
    ]  # fmt: skip
    assert len({frozenset(sets(row)) for row in rows}) == 1
    found = run(tmp_path, rows)
    assert (found.dropped, found.clusters, found.pairs) == ({}, {}, [])


def test_sources_of_key_exact_lose_only_equal_rows(tmp_path: Path) -> None:
    rows = make_rows(11, 300)
    found = run(tmp_path, rows, keys=dict.fromkeys(("one", "two"), "exact"))
    seen = check(rows, found, keys=dict.fromkeys(("one", "two"), "exact"))
    assert seen["exact_duplicate"] > 10
    assert {e["source"] for e in found.dropped.values() if e["reason"] == "near_duplicate" and not e["detail"]} <= {"three"}
    assert {e["source"] for e in found.dropped.values()} == {"one", "two", "three"}


def test_keys_say_what_counts(tmp_path: Path) -> None:
    rng = random.Random(4)
    a, b, c = ("".join(clauses(rng, 12)) for _ in range(3))
    rows = [
        dialogue(0, a, b), dialogue(1, a + "吗", c), dialogue(2, c, b + "吧"),
        document(3, a, b), document(4, a + "吗", c), document(5, c, b + "吧"), document(6, None, b + "啊"),
    ]  # fmt: skip

    def gone(key: str) -> set[tuple[str, str]]:
        return {(row, e["kept_row_id"]) for row, e in run(tmp_path, rows, keys={"one": key}).dropped.items()}

    def expected(*pairs: tuple[int, int]) -> set[tuple[str, str]]:
        return {(named(x), named(y)) for x, y in pairs}

    assert gone("whole") == gone("exact") == set()
    found = {frozenset(pair) for pair in gone("prompt")}
    assert found == {frozenset(pair) for pair in expected((0, 1), (3, 4))}, "the document without a title is compared as a whole"
    found = {frozenset((row, keeper)) for row, keeper in gone("answer")}
    assert frozenset((named(0), named(2))) in found
    assert {x for pair in found for x in pair} == {named(n) for n in (0, 2, 3, 5, 6)}


# --- what nothing depends on


def outcome(found: Found) -> dict[str, str]:
    """The bytes of what was decided."""
    return {name: found.files[name] for name in TABLES}


ROWS = make_rows(21, 260)


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The outcome for `ROWS`, undivided."""
    found = run(tmp_path_factory.mktemp("plain"), ROWS)
    assert len(found.dropped) > 50
    return outcome(found)


@pytest.mark.parametrize("divided", [2, 7, 40])
def test_it_does_not_depend_on_partitions(plain: dict[str, str], divided: int, tmp_path: Path) -> None:
    assert outcome(run(tmp_path, ROWS, divided=divided)) == plain


@pytest.mark.parametrize("seed", [1, 2])
def test_it_does_not_depend_on_the_order_of_rows(plain: dict[str, str], seed: int, tmp_path: Path) -> None:
    rows = random.Random(seed).sample(ROWS, len(ROWS))
    assert outcome(run(tmp_path, rows, divided=seed, groups=30)) == plain


@pytest.mark.parametrize("size", [1, 300, 20_000])
def test_it_does_not_depend_on_the_size_of_pieces(
    plain: dict[str, str], size: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(near, "PIECE_BYTES", size)
    assert outcome(run(tmp_path, ROWS, groups=17)) == plain


@pytest.mark.parametrize("size", [1, 4096])
def test_it_does_not_depend_on_what_is_judged_together(
    plain: dict[str, str], size: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []
    real = near.judged

    def judged(*arguments: Any, **more: Any) -> Any:
        for verdicts in real(*arguments, **{**more, "budget": size}):
            asked.append(len(verdicts.rows))
            yield verdicts

    monkeypatch.setattr(near, "judged", judged)
    assert outcome(run(tmp_path, ROWS)) == plain
    assert len(asked) > 3, "several groups were judged"


def test_it_does_not_depend_on_what_lies_in_memory(plain: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # A group that is far larger than the budget stays on disk while it is judged.
    monkeypatch.setattr(near, "GROUP_BYTES", 1)
    real, budgets = bands.components, []

    def components(segments: Any, alive: Any, **_: Any) -> Any:
        budgets.append(len(segments))
        return real(segments, alive, budget=1)

    monkeypatch.setattr(near, "components", components)
    assert outcome(run(tmp_path, ROWS, divided=3)) == plain
    assert budgets


def test_another_source_changes_nothing_of_the_others(tmp_path: Path) -> None:
    before = run(tmp_path, ROWS)
    rng = random.Random(9)
    others = [document(f"new {n}", None, "".join(chr(rng.randrange(0x6000, 0x9000)) for _ in range(80)), "aa") for n in range(150)]
    others += [document(f"again {n}", None, (row.text or "") + "。", "zz") for n, row in enumerate(others[:20])]
    after = run(tmp_path, [*others, *ROWS])
    mine = {row.id for row in ROWS}
    assert {i: e for i, e in after.dropped.items() if i in mine} == before.dropped
    assert {i: e for i, e in after.clusters.items() if i in mine} == before.clusters
    assert [p for p in after.pairs if p["row_id"] in mine] == before.pairs
    assert len(after.dropped) == len(before.dropped) + 20
    for key, partition in before.built.items():
        assert after.built[key].fingerprint == partition.fingerprint, "stock and sketches of the others are as they were"


# --- edges


def test_no_row_and_no_row_that_goes_on(tmp_path: Path) -> None:
    found = run(tmp_path, [])
    assert (found.dropped, found.clusters, found.pairs) == ({}, {}, [])
    rows = [dialogue(n, "你好", "你好吗") for n in range(4)]
    found = run(tmp_path, rows, gone=[row.id for row in rows])
    assert (found.dropped, found.clusters, found.pairs) == ({}, {}, [])


def test_rows_that_were_dropped_before_take_no_part(tmp_path: Path) -> None:
    rows = [dialogue(n, QUESTION, "好" * (9 - n)) for n in range(3)] + [dialogue("x", QUESTION, "好" * 20)]
    found = run(tmp_path, rows, {"threshold": 0.5, "answers": 0}, gone=[named("x")])
    assert set(found.dropped) == {named(1), named(2)}
    assert {e["kept_row_id"] for e in found.dropped.values()} == {named(0)}


@pytest.mark.parametrize("text", ["", " ", "。", "？？？", "\u200b"])
def test_rows_with_nothing_to_compare_are_equal_to_their_likes_alone(text: str, tmp_path: Path) -> None:
    rows = [prompt(n, text) for n in range(3)] + [prompt(9, "好")]
    found = run(tmp_path, rows)
    assert len(found.dropped) == 2
    assert named(9) not in found.clusters


def test_without_near_only_equal_rows_go_and_without_exact_none(tmp_path: Path) -> None:
    seen = Counter(e["reason"] for e in run(tmp_path, ROWS, {"near": False}).dropped.values())
    assert set(seen) == {"exact_duplicate"}
    found = run(tmp_path, ROWS, {"near": False, "exact": False})
    assert (found.dropped, found.clusters, found.pairs) == ({}, {}, [])
    assert found.built == {}


def test_figures_count_what_was_dropped(tmp_path: Path) -> None:
    found = run(tmp_path, ROWS)
    near_of = Counter(e["source"] for e in found.dropped.values() if e["reason"] == "near_duplicate")
    assert found.done.stats["sources"] == {s: [sum(r.source == s for r in ROWS), near_of[s]] for s in ("one", "two", "three")}
    joined: dict[str, int] = defaultdict(int)
    for pair in found.pairs:
        joined[pair["other_id"]] += pair["accepted"]
    assert found.done.stats["largest"][0] <= max(size for _, _, size in found.clusters.values())
    assert found.done.stats["largest"][1] in found.clusters
    for source, row, keeper, jaccard in found.done.stats["examples"]:
        entry = found.dropped[row]
        assert (entry["source"], entry["kept_row_id"], entry["jaccard"], entry["reason"]) == (source, keeper, jaccard, "near_duplicate")


def test_a_long_chain_of_likes_names_keepers_that_are_near(tmp_path: Path) -> None:
    rng = random.Random(2)
    words = [f"{a}{b}" for a in "abcdefghij" for b in "klmnopqrst"]
    text = [rng.choice(words) for _ in range(60)]
    rows = []
    for n in range(40):
        rows.append(document(n, None, " ".join(text)))
        text[(n * 3) % 60] = rng.choice(words)
    found = run(tmp_path, rows, {"threshold": 0.7})
    check(rows, found, threshold=0.7)
    assert found.done.stats["largest"][0] > 30
    assert 0 < len([row for row in rows if row.id not in found.dropped]) < 20


def test_the_fingerprint_leaves_out_guards_and_the_memory(tmp_path: Path) -> None:
    from tests.stages.duplicates import context_of

    def fingerprint(changes: dict[str, Any], **more: Any) -> str:
        [task] = stage.plan(context_of(tmp_path, ["one"], changes, **more), [], [], [], [])
        return task.fingerprint

    plain = fingerprint({})
    assert fingerprint({"limits": {"near_share": 0.9, "near_least": 5, "component": 9}}) == plain
    assert fingerprint({}, judged={"path": "x"}) == plain
    for changes in ({"threshold": 0.7}, {"unit": "char"}, {"prompts": 0.1}, {"answers": 0.1}, {"near": False}):
        assert fingerprint(changes) != plain
    for more in ({"keys": {"one": "answer"}}, {"priority": {"one": 3}}, {"protected": ["one"]}):
        assert fingerprint({}, **more) != plain
