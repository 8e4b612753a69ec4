"""A variant that is not shipped: priors on the exponents of laws of parameters and tokens, learned from public families."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cache
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from scalelaw.discrepancy import Discrepancy
from scalelaw.frontier import Frontier
from scalelaw.laws import Law
from scalelaw.stack import Ladder, Member

from ..forecasting.families import TWO, families, ladder

__all__ = ["Informed", "learned"]

Array: TypeAlias = NDArray[np.float64]
# Law -> exponent -> mean and standard deviation of its logarithm.
Exponents: TypeAlias = Mapping[str, Mapping[str, tuple[float, float]]]
_LAWS = ("chinchilla", "chinchilla_shared")
_FLOOR, _NEAR = 0.02, 1e-3


@cache
def learned(without: tuple[str, ...]) -> Exponents:
    """Mean and sd of each exponent's logarithm over families, a family's ladders averaged; the sd at least 0.3."""
    values: dict[tuple[str, str], dict[str, list[float]]] = {}
    for family in families():
        if family.over != TWO or family.family in without:
            continue
        rows = ladder(family, law=_LAWS)
        for place, law in enumerate(rows.laws):
            member = rows.member(place, len(rows))
            if member is not None:
                for item in law.parameters:
                    if not item.log:
                        own = values.setdefault((law.name, item.name), {}).setdefault(family.family, [])
                        own.append(math.log(member.fit.theta[item.name]))
    found: dict[str, dict[str, tuple[float, float]]] = {}
    for (law, name), each in values.items():
        means = [float(np.mean(own)) for own in each.values()]
        found.setdefault(law, {})[name] = (float(np.mean(means)), max(float(np.std(means, ddof=1)), 0.3))
    return found


class Informed(Ladder):
    """A ladder whose laws end at the most likely parameters under the prior, with the covariance there."""

    def __init__(self, frontier: Frontier, exponents: Exponents, prior: Discrepancy, laws: Sequence[str] | None = None) -> None:
        self.exponents = exponents
        super().__init__(frontier, laws, prior)

    def _fit(self, law: Law, count: int) -> Member | None:
        member = super()._fit(law, count)
        known = self.exponents.get(law.name)
        if member is None or known is None:
            return member
        weight = 1.0 / (self.se[:count] ** 2 + member.scatter**2)
        points, y, items = self.points(slice(0, count)), self.y[:count], law.parameters
        mean = np.array([known[item.name][0] if item.name in known else math.nan for item in items])
        sd = np.array([known[item.name][1] if item.name in known else math.nan for item in items])

        def at(u: Array) -> tuple[float, Array, Array, Member]:
            theta = {item.name: float(item.outer(value)) for item, value in zip(items, u, strict=True)}
            moved = replace(member, fit=replace(member.fit, theta=theta))
            value, first = moved.fit._slopes(points, True)
            off = np.where(np.isnan(mean), 0.0, np.log(np.maximum(u, _NEAR)) - mean)
            slope = np.where(np.isnan(mean), 0.0, 1 / np.maximum(u, _NEAR))
            pull = np.where(np.isnan(mean), 1 / 25 * (u - start), off * slope / sd**2)
            bend = np.where(np.isnan(mean), 1 / 25, (slope / sd) ** 2)
            total = 0.5 * float(np.sum(weight * (y - value) ** 2) + np.nansum((off / sd) ** 2))
            information = (first * weight) @ first.T + np.diag(bend)
            covariance = np.asarray(np.linalg.inv(information), dtype=np.float64)
            return total, pull - (first * weight) @ (y - value), information, replace(moved, covariance=covariance)

        start = np.array([float(item.inner(max(member.fit.theta[item.name], 1e-12))) for item in items])
        u, (value, gradient, bend, best), damping = start, at(start), 1e-3
        for _ in range(60):
            step = -np.linalg.solve(bend + damping * np.diag(np.diag(bend)), gradient)
            trial = u + np.clip(step, -1.0, 1.0)
            trial = np.where(np.isnan(mean), trial, np.maximum(trial, _FLOOR))
            told = at(trial)
            if told[0] <= value:
                done = value - told[0] < 1e-9 * (1 + abs(value))
                u, (value, gradient, bend, best), damping = trial, told, max(damping / 5, 1e-9)
                if done:
                    break
            else:
                damping *= 6
        return best
