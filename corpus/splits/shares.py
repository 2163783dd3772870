"""How much of each source a split gets: caps, shares, and a total that is filled like water.

A split asks at most so much of a source. Where it has a total, the sources are given theirs by weight; what one of them lacks is divided
among the others by their weights, until the total is reached or nothing is left. Without weights a total takes of every source the
same share of what it has. All numbers are in the unit of the split's total.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Want:
    """What there is of a source and how it is to be taken.

    Attributes:
        available: how much there is, below the source's own cap.
        weight: among the sources of the split; None where none is given.
        share: at most this share of what the split gets (of its total, where it has one).
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
                most[name] = min(most[name], int(w.share * total))
        weights = _weights(wants, most)
        got = fill(total, most, weights)
        if all(w.weight is None for w in wants.values()):
            return {name: Part(got[name]) for name in wants}
        whole = sum(weights.values())
        return {name: Part(got[name], round(total * weights[name] / whole)) for name in wants}
    got = dict(most)
    while True:  # a share of what the split gets is a smaller number when the split gets less
        whole = sum(got.values())
        less = {name: min(n, int(share * whole)) if (share := wants[name].share) is not None else n for name, n in got.items()}
        if less == got:
            return {name: Part(n) for name, n in got.items()}
        got = less


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
