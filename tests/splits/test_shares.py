"""shares: a total is given out to the last row, nobody gets more than there is, and what one lacks goes to the others by weight."""

from __future__ import annotations

import math
import time
from fractions import Fraction

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
        share = Fraction(repr(shares.get(name, 1)))
        assert part.got <= (math.ceil(share * whole) if total is None else share * total)


def test_shares_are_counted_as_they_are_written() -> None:
    """0.29 * 100 is 28.999999999999996: a split lost a row of its total, and a tenth of its rows where it had none."""
    wants = {"a": Want(29_000, share=0.29), "b": Want(71_000, share=0.71)}
    assert divide(None, wants) == {"a": Part(29_000), "b": Part(71_000)}
    assert divide(100, wants) == {"a": Part(29), "b": Part(71)}
    # Thirds with three digits are no whole rows of a small set; it was rounded down to nothing.
    assert divide(None, {"a": Want(90, share=0.333), "b": Want(90, share=0.667)}) == {"a": Part(45), "b": Part(90)}


def test_shares_that_leave_a_part_to_nobody_end_soon() -> None:
    started = time.monotonic()
    assert divide(None, {name: Want(10**7, share=0.3333333) for name in "abc"}) == {name: Part(0) for name in "abc"}
    found = divide(None, {"a": Want(10**9, share=0.5), "b": Want(10**9, share=0.4999999), "c": Want(10)})
    assert found == {"a": Part(50_000_000), "b": Part(49_999_990), "c": Part(10)}
    assert time.monotonic() - started < 1


@given(st.lists(st.tuples(st.integers(0, 200), st.sampled_from([None, 0.05, 0.29, 0.3333333, 0.5, 0.71, 1.0])), min_size=1, max_size=5))
def test_without_a_total_as_much_is_taken_as_shares_allow(given_: list[tuple[int, float | None]]) -> None:
    found = divide(None, {str(n): Want(most, share=share) for n, (most, share) in enumerate(given_)})
    whole = sum(p.got for p in found.values())

    def allowed(w: int) -> int:
        """What all of them may have together, exactly, where the split gets `w`."""
        return sum(most if share is None else min(most, Fraction(repr(share)) * w) for most, share in given_)  # type: ignore[misc]

    assert not any(allowed(w) >= w for w in range(whole + 1, sum(most for most, _ in given_) + 1)), "no more could have been taken"
