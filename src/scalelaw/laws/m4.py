"""A law with a plateau at both ends."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ._base import Array, Example, Law, Linear, Parameter, where
from ._grids import above, below
from ._jet import Jet, Number, exp, log, logaddexp, sigmoid, softplus

__all__ = ["M4"]


class M4(Law):
    """(L - E) / (S - L)^a = A x^-alpha: from the loss S of guessing down to E.

    L is the root of that equation; there is one, because the left side rises from 0 to infinity between E and S. With the odds
    v = ln((L - E) / (S - L)) the equation is F(v) = (1 - a) ln(S - E) - ln(1 + e^-v) + a ln(1 + e^v) - ln A + alpha ln x = 0,
    which rises with v and is convex or concave throughout, so Newton's method finds it. Derivatives: a Newton step from a root,
    taken in jets, is exact to first order, a second one to second order.
    """

    name = "m4"
    formula = "(L - E) / (S - L)^a = A x^-alpha"
    symbols = where(
        L="loss",
        x="any scale column",
        E="loss that no size removes",
        S="loss of guessing, at size 0",
        a="how sharply it leaves the upper plateau",
        A="scale of the power law",
        alpha="exponent",
    )
    reference = "Alabdulmohsin et al. 2022, arXiv:2209.06640, M4"
    parameters = (
        Parameter("E", "loss that no size removes", "loss", lower=0.0, log=True, zero=True, grid=(0.0, 1.0)),
        Parameter("S", "loss of guessing, at size 0", "loss", lower=0.0, log=True, grid=(1.0, 2.0)),
        Parameter(
            "a",
            "how sharply it leaves the upper plateau",
            lower=1e-3,
            upper=20.0,
            log=True,
            grid=tuple(np.geomspace(0.02, 10, 8)),
        ),
        Parameter("A", "scale of the power law", lower=0.0, log=True, linear=True),
        Parameter("alpha", "exponent", lower=0.0, upper=20.0, linear=True),
    )
    example = Example({"E": 1.2, "S": 7.0, "a": 0.8, "A": 9.0, "alpha": 0.5}, {"x": np.geomspace(1, 1e5, 21)})

    def evaluate(self, p: Mapping[str, Number], x: Mapping[str, Array]) -> Any:
        """See `Law.evaluate`."""
        span, a = p["S"] + log(1.0 - exp(p["E"] - p["S"])), exp(p["a"])
        goal = p["A"] - p["alpha"] * x["x"] - (1.0 - a) * span
        odds: Any = _root(_value(goal), _value(a))
        for _ in range(2 if isinstance(goal, Jet) else 0):
            height = a * softplus(odds) - softplus(-odds) - goal
            odds = odds - height / (sigmoid(-odds) + a * sigmoid(odds))
        return logaddexp(span - softplus(-odds), p["E"])

    def floors(self, x: Mapping[str, Array], y: Array) -> Mapping[str, float]:  # noqa: ARG002
        """See `Law.floors`: A is in the unit of the loss to the power 1 - a, so it may be as small as a double can say."""
        return {"A": -700.0}

    def grids(self, x: Mapping[str, Array], y: Array) -> Mapping[str, Sequence[float] | Array]:  # noqa: ARG002
        """See `Law.grids`."""
        return {"E": below(y, 12), "S": above(y, 12), "a": self.parameter("a").grid}

    def linearise(self, node: Mapping[str, Array], x: Mapping[str, Array], y: Array) -> Linear:
        """At fixed plateaus and a: ln(L - E) - a ln(S - L) = ln A - alpha ln x, weighted so that errors are relative in L."""
        a = np.exp(node["a"])
        low, high = y - np.exp(node["E"]), np.exp(node["S"]) - y
        inside = (low > 0) & (high > 0)
        low, high = np.where(inside, low, 1.0), np.where(inside, high, 1.0)
        target = np.log(low) - a * np.log(high)
        weight = np.where(inside, (y * (1 / low + a / high)) ** -2, np.inf)
        return Linear(("A", "alpha"), (np.ones_like(y), -x["x"]), target, weight, (False, True))


def _value(number: Number) -> Array:
    return number.value if isinstance(number, Jet) else np.asarray(number, dtype=np.float64)


def _root(goal: Array, a: Array) -> Array:
    """v with a ln(1 + e^v) - ln(1 + e^-v) = goal, by Newton's method from the side on which it cannot overshoot."""
    goal, a = np.broadcast_arrays(goal, a)
    v = np.where(goal < 0, goal, goal / a)
    for _ in range(60):
        slope = sigmoid(-v) + a * sigmoid(v)
        step = np.clip((a * softplus(v) - softplus(-v) - goal) / slope, -50.0, 50.0)
        v = v - step
        if not np.any(np.abs(step) > 1e-13 * (1 + np.abs(v))):
            break
    return v
