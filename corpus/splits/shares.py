"""How much of each source a split gets: caps, shares, and a total that is filled like water.

A split asks at most so much of a source. Where it has a total, the sources are given theirs by weight; what one of them lacks is divided
among the others by their weights, until the total is reached or nothing is left. Without weights a total takes of every source the
same share of what it has. All numbers are in the unit of the split's total.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction


@dataclass(frozen=True, slots=True)
class Want:
    """What there is of a source and how it is to be taken.

    Attributes:
        available: how much there is, below the source's own cap.
        weight: among the sources of the split; None where none is given.
        share: at most this share of the split's total; where it has none, of what it gets, rounded up to a whole row.
    """

    available: int
    weight: float | None = None
    share: float | None = None


@dataclass(frozen=True, slots=True)
class Part:
    """What a source gets, and what would have been its due had every source had enough (None without a total and weights)."""

    got: int
    due: int | None = None


def divide(total: int | None, wants: Mapping[str, Want]) -> dict[str, Part]:
    """Divides a split among its sources.

    Args:
        total: how much the split may have; None for as much as there is.
        wants: by source.

    Returns:
        For every source its part. The parts add up to the total wherever caps and shares allow it, and never to more; no part is larger
        than what is available.
    """
    most = {name: w.available for name, w in wants.items()}
    if total is not None:
        for name, w in wants.items():
            if w.share is not None:
                most[name] = min(most[name], math.floor(_exact(w.share) * total))
        weights = _weights(wants, most)
        got = fill(total, most, weights)
        if all(w.weight is None for w in wants.values()):
            return {name: Part(got[name]) for name in wants}
        whole = sum(weights.values())
        due = {name: round(total * weight / whole) for name, weight in weights.items()}
        return {name: Part(got[name], due[name] if w.share is None else min(due[name], most[name])) for name, w in wants.items()}
    shares = {name: _exact(w.share) for name, w in wants.items() if w.share is not None}
    bound = _bounded(most, shares)
    return {name: Part(min(n, math.ceil(shares[name] * bound)) if name in shares else n) for name, n in most.items()}


def _exact(share: float) -> Fraction:
    """A share as it was written: 0.29 of 100 is 29, and not the 28 that binary fractions make of it."""
    return Fraction(repr(share))


def _bounded(most: Mapping[str, int], shares: Mapping[str, Fraction]) -> Fraction:
    """The largest w with w = Σ min(most, share · w): what a split without a total gets when some sources have a share of it.

    From the most that there is downwards, those whose share is less than they have are bound; the others alone say how much that can be.
    Every round binds one more, or is the last.
    """
    whole = Fraction(sum(most.values()))
    while True:
        bound = [name for name, share in shares.items() if share * whole < most[name]]
        left = 1 - sum((shares[name] for name in bound), Fraction(0))
        free = sum(n for name, n in most.items() if name not in bound)
        # Shares that are 1 together are kept by any amount; below 1 they are kept by nothing, unless somebody else is there.
        less = min(whole, Fraction(free) / left) if left > 0 else whole
        if less == whole:
            return whole
        whole = less


def _weights(wants: Mapping[str, Want], most: Mapping[str, int]) -> dict[str, float]:
    if all(w.weight is None for w in wants.values()):
        return {name: float(n) for name, n in most.items()}
    return {name: 1.0 if w.weight is None else w.weight for name, w in wants.items()}


def fill(total: int, most: Mapping[str, int], weights: Mapping[str, float]) -> dict[str, int]:
    """Water-filling: everyone gets min(most, level · weight), with the level at which all is given out.

    Rounded by largest remainders, ties by name, so that the parts add up to min(total, Σ most) exactly.
    """
    if total >= sum(most.values()):
        return dict(most)
    level = 0.0
    open_, left = [name for name in most if weights[name] > 0], float(total)
    exact = dict.fromkeys(most, 0.0)
    while open_:
        level = left / sum(weights[name] for name in open_)
        full = [name for name in open_ if most[name] <= level * weights[name]]
        if not full:
            break
        for name in full:
            exact[name] = float(most[name])
            left -= most[name]
        open_ = [name for name in open_ if name not in full]
    for name in open_:
        exact[name] = level * weights[name]
    got = {name: min(most[name], int(amount)) for name, amount in exact.items()}
    short = total - sum(got.values())
    for name in sorted(most, key=lambda name: (got[name] - exact[name], name)):
        if short <= 0:
            break
        if got[name] < most[name]:
            got[name] += 1
            short -= 1
    return got
