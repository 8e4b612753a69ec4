"""Is one arm better tuned than another, and how much of their gap may that explain?

What is held against an arm: hyperparameters that others swept and it did not, scales with one setting, best settings at the edge
of their grid, few settings, and a large error of its best-case losses from tuning alone. The price of a hyperparameter that was
kept is read off the arm that swept it: what that setting would cost there at the target (`lookahead.keep`), as if both arms'
best settings were the same; there is nothing else to read it off.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from .cells import cells_of, means_of
from .diagnostics import Finding
from .errors import InputError
from .estimate import Estimate
from .frontier import Edge, Frontier
from .lookahead import keep

__all__ = ["Tuning", "assess", "unequal"]

# One arm's settings per scale, edge optima or tuning error must differ by this much before it is worth a line ...
_SETTINGS, _EDGES, _ERROR = 3.0, 1.0 / 3.0, 3.0
# ... and such an error must be able to explain this much of the gap.
_SHARE = 0.25


@dataclass(frozen=True)
class Tuning:
    """How well one arm was tuned.

    Args:
        hyper: hyperparameters that were swept within a scale.
        kept: those that another arm swept and this one did not, with their value at its largest scale (None: not recorded).
        settings: settings tried at a scale, the median over scales.
        swept: share of the scales with more than one setting.
        edges: share of the scales whose best setting lies at an edge of its grid.
        error: root mean square error of ln best-case loss from tuning, seeds' common luck left out; None where nothing was swept.
        expected: ln loss that the error of the predicted best setting costs at the target on average; None likewise.
    """

    hyper: tuple[str, ...]
    kept: Mapping[str, float | None]
    settings: float
    swept: float
    edges: float
    error: float | None
    expected: float | None

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return {
            "hyper": list(self.hyper),
            "kept": dict(self.kept),
            "settings": self.settings,
            "swept": self.swept,
            "edges": self.edges,
            "error": self.error,
            "expected": self.expected,
        }


def assess(arm: Frontier, others: Sequence[Frontier], lost: Mapping[tuple[float, ...], float], tuning: float) -> Tuning:
    """How well an arm was tuned.

    Args:
        arm, others: their frontiers.
        lost: variance of ln loss per scale that comes from seeds' luck and not from tuning.
        tuning: variance of ln loss at the target from the predicted best setting (`Forecast.variance`).
    """
    elsewhere = dict.fromkeys(name for other in others if other.tuned for name in other.hyper)
    kept = {name: _value(arm, name) for name in elsewhere if not (arm.tuned and name in arm.hyper)}
    if arm.response is None:
        names = [name for name in elsewhere if name in arm.source and arm.source[name].dtype != object]
        counts = [len(cell.y) for cell in cells_of(arm.source, arm.over, names)] if names else []
        counts = counts or [1] * len(means_of(arm.source, arm.over)[0])
        return Tuning((), kept, float(np.median(counts)), 0.0, 0.0, None, None)
    bowls = arm.response.bowls
    open_ended = [any(edge in (Edge.LOW, Edge.HIGH) for edge in bowl.edge) for bowl in bowls]
    alone = [all(edge is Edge.ALONE for edge in bowl.edge) for bowl in bowls]
    left = [max(bowl.log_loss_se**2 - lost.get(tuple(bowl.point.values()), 0.0), 0.0) for bowl in bowls]
    return Tuning(
        arm.hyper,
        kept,
        float(np.median([len(cell.y) for cell in arm.response.cells])),
        1.0 - float(np.mean(alone)),
        float(np.mean(open_ended)),
        math.sqrt(float(np.mean(left))),
        math.sqrt(max(tuning, 0.0) / 2.0),
    )


def _value(arm: Frontier, name: str) -> float | None:
    """The arm's setting at its largest scale; None where it is not recorded or is no number."""
    rows = arm.source.finished
    if name in arm.settings:
        return float(arm.settings[name])
    if name not in rows or rows[name].dtype == object:
        return None
    size = np.sum(np.log(np.stack([rows.numbers(column) for column in arm.over], axis=1)), axis=1)
    values = rows.numbers(name)[size >= size.max() - 1e-9]
    values = values[np.isfinite(values)]
    return float(np.median(values)) if len(values) else None


def unequal(
    names: Sequence[str],
    arms: Sequence[Frontier],
    tunings: Sequence[Tuning],
    gaps: Mapping[tuple[int, int], float],
    at: Mapping[str, float],
) -> tuple[Finding, ...]:
    """A finding for every pair of arms of which one is better tuned; `gaps` are ln loss at the target, second less first."""
    found: list[Finding] = []
    for i in range(len(arms)):
        for j in range(len(arms)):
            worse = None if i == j else _worse(names, arms, tunings, (i, j), gaps[min(i, j), max(i, j)], at)
            if worse is not None:
                found.append(worse)
    return tuple(found)


def _worse(
    names: Sequence[str],
    arms: Sequence[Frontier],
    tunings: Sequence[Tuning],
    pair: tuple[int, int],
    gap: float,
    at: Mapping[str, float],
) -> Finding | None:
    """What is to say where the first arm of the pair is less well tuned than the second."""
    i, j = pair
    one, two, name, other, gap = tunings[i], tunings[j], names[i], names[j], abs(gap)
    unswept = [each for each in one.kept if each in two.hyper]
    if unswept:
        price = _price(arms[j], {each: one.kept[each] for each in unswept}, at)
        text = ", ".join(unswept)
        head = f"{other} was tuned over {text} and {name} was not{_at(one, unswept)}."
        return Finding(
            "unequal_tuning", f"{head} {_explains(price, gap, name, other)}", f"Vary {text} of {name} at two sizes or more."
        )
    if two.swept - one.swept > _EDGES:
        head = f"{name} was swept at {one.swept:.0%} of its sizes, {other} at {two.swept:.0%}"
        text = f"{head}; the rest leans on the law of best settings."
        return Finding("unequal_tuning", text, f"Try three settings or more of {name} at the other sizes.")
    if one.edges - two.edges > _EDGES:
        head = f"{name} has its best setting at the edge of its grid at {one.edges:.0%} of its sizes, {other} at {two.edges:.0%}"
        return Finding("unequal_tuning", f"{head}: {name} may gain from a wider grid.", f"Extend the grid of {name}.")
    mine, theirs = one.error or 0.0, two.error or 0.0
    if one.error is not None and mine > _ERROR * max(theirs, 1e-5) and mine > _SHARE * gap:
        head = f"The best cases of {name} are known to {mine:.2%}, those of {other} to {theirs:.2%}"
        text = f"{head}: tuning alone may explain {_part(mine, gap)} of the gap of {gap:.2%}."
        return Finding("unequal_tuning", text, f"Add settings of {name} near its best.")
    if one.hyper and two.settings >= _SETTINGS * one.settings:
        text = f"{other} had {two.settings:g} settings a size, {name} {one.settings:g}."
        return Finding("unequal_tuning", text, f"Give {name} as many.")
    return None


def _at(one: Tuning, unswept: Sequence[str]) -> str:
    told = [f"{each} {value:.3g}" for each in unswept if (value := one.kept[each]) is not None]
    return f" (kept at {', '.join(told)})" if told else ""


def _price(other: Frontier, kept: Mapping[str, float | None], at: Mapping[str, float]) -> Estimate | None:
    """ln loss that the kept settings would cost the other arm at the target; None where it cannot tell."""
    known = {name: value for name, value in kept.items() if value is not None}
    if other.response is None or not known:
        return None
    try:
        return keep(other.response, known).excess(at)
    except InputError:
        return None


def _explains(price: Estimate | None, gap: float, name: str, other: str) -> str:
    if price is None:
        return f"How much of the gap of {gap:.2%} that explains these data cannot say."
    value, low, high = (f"{100 * math.expm1(min(each, 50.0)):.2g}" for each in (price.value, price.low, price.high))
    part = _part(price.value, gap)
    return (
        f"If {name} has the best settings of {other}, that costs it {value} % ({low} to {high}) at the target: "
        f"{part} of the gap of {gap:.2%}."
    )


def _part(cost: float, gap: float) -> str:
    """A cost as a share of the gap."""
    return "all" if cost >= gap else f"{cost / gap:.0%}"
