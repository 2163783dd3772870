"""shares: a total is given out to the last row, nobody gets more than there is, and what one lacks goes to the others by weight."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from corpus.splits.shares import Part, Want, divide, fill

COUNTS = st.dictionaries(st.sampled_from("abcdef"), st.integers(0, 50), min_size=1)
WEIGHTS = st.lists(st.sampled_from([0.1, 1.0, 2.0, 7.0]), min_size=6, max_size=6)


@given(COUNTS, WEIGHTS, st.integers(0, 200))
def test_a_total_is_given_out_exactly(most: dict[str, int], weights: list[float], total: int) -> None:
    weight = dict(zip("abcdef", weights, strict=True))
    got = fill(total, most, {name: weight[name] for name in most})
    assert sum(got.values()) == min(total, sum(most.values()))
    assert all(0 <= got[name] <= most[name] for name in most)
    # Whoever has something left got as much for its weight as anybody, but for the rounding.
    levels = [got[name] / weight[name] for name in most if got[name] < most[name]]
    for name in most:
        for level in levels:
            assert got[name] / weight[name] <= level + 1 / weight[name] + max(1 / w for w in weight.values())


def test_what_one_lacks_goes_to_the_others_by_weight() -> None:
    wants = {"a": Want(1000, 1.0), "b": Want(10, 1.0), "c": Want(1000, 2.0)}
    assert divide(100, wants) == {"a": Part(30, 25), "b": Part(10, 25), "c": Part(60, 50)}


def test_without_weights_every_source_gives_the_same_share_of_what_it_has() -> None:
    assert divide(30, {"a": Want(100), "b": Want(200)}) == {"a": Part(10), "b": Part(20)}
    assert divide(None, {"a": Want(100), "b": Want(200)}) == {"a": Part(100), "b": Part(200)}


def test_a_share_is_of_the_total_or_of_what_there_is() -> None:
    assert divide(100, {"a": Want(1000, share=0.2), "b": Want(50)}) == {"a": Part(20), "b": Part(50)}
    found = divide(None, {"a": Want(1000, share=0.2), "b": Want(80)})
    assert found["b"].got == 80
    assert found["a"].got == 20, "a fifth of a hundred"


@given(COUNTS, st.dictionaries(st.sampled_from("abcdef"), st.sampled_from([0.1, 0.25, 0.5, 1.0])), st.none() | st.integers(0, 200))
def test_no_share_is_exceeded(most: dict[str, int], shares: dict[str, float], total: int | None) -> None:
    found = divide(total, {name: Want(n, share=shares.get(name)) for name, n in most.items()})
    whole = sum(p.got for p in found.values())
    assert total is None or whole <= total
    for name, part in found.items():
        assert 0 <= part.got <= most[name]
        assert part.got <= shares.get(name, 1) * (whole if total is None else total)
