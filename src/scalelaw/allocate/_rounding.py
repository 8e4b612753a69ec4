"""Rounding: a shape that can be built near N*, whole steps within the budget, and what that costs.

A shape of N parameters is trained for S = floor(C / (k N b)) steps of b tokens, so D = S b and k N D <= C. Against the best there
is at the same budget it loses

    excess = L(N, D) / L(N*, C / (k N*)) - 1

once with the estimated N* (what rounding adds), and once, in each draw of the law, with that draw's own N* (the regret: rounding
and not knowing N*).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from ..errors import InputError
from ..estimate import Estimate, number
from ._compare import contradiction
from ._parametric import LawPath
from ._runs import Array
from ._shapes import USUAL_ASPECT, Family, Shape, Shapes, read_shapes
from ._special import DRAWS, drawn_laws, n_star

if TYPE_CHECKING:
    from ._result import Allocation, Approach

__all__ = ["Choice", "Rounded", "preferred", "round_to"]

# ln L at (ln N, ln D) `(m,)`, in each draw but for a constant of the draw, and at each draw's own optimum: `(1 + draws, m)` and
# `(1 + draws, 1)`; row 0 is the estimate.
Losses: TypeAlias = Callable[[Array, Array], tuple[Array, Array]]

_KEPT = 5
# Excess losses that differ by less than a thousandth of a percent are one.
_SAME = 1e-5


@dataclass(frozen=True)
class Choice:
    """A shape, how long to train it within the budget, and what it costs.

    Args:
        shape: what to build. tokens: D, whole steps. steps: None where no batch was given. compute: k N D, FLOPs.
        excess: relative excess loss over the estimated optimum; the interval is over draws of the law.
        regret: over each draw's own optimum; its value is the mean over draws. Both None where the approach knows no losses.
    """

    shape: Shape
    tokens: float
    steps: int | None
    compute: float
    excess: Estimate | None
    regret: Estimate | None

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        found = {"excess": self.excess, "regret": self.regret}
        interval = {name: [number(each.low), number(each.high)] for name, each in found.items() if each is not None}
        return {
            "parameters": self.shape.parameters,
            "width": self.shape.width,
            "depth": self.shape.depth,
            "heads": self.shape.heads,
            "tokens": self.tokens,
            "steps": self.steps,
            "compute": self.compute,
            **{name: None if each is None else number(each.value) for name, each in found.items()},
            "interval": interval or None,
        }


@dataclass(frozen=True)
class Rounded:
    """Shapes near the optimum, the best first.

    Args:
        approach: whose optimum and losses they are; empty where none applies.
        batch: tokens of a step; None where none was given.
        choices: shapes, cheapest first. reason: how they were chosen, or why there are none.
    """

    approach: str
    batch: float | None
    choices: tuple[Choice, ...]
    reason: str

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        rows = [each.to_dict() for each in self.choices]
        return {"approach": self.approach or None, "batch_tokens": self.batch, "shapes": rows, "reason": self.reason}


def preferred(found: Allocation) -> tuple[Approach | None, str]:
    """The approach to build by, and why: the fitted law, unless the profiles contradict it.

    In the worlds of docs/allocation.md approach 3 is the sharpest where its law holds, and biased where it does not; approach 2
    assumes no law and its intervals cover. So approach 3 is taken, unless it has no answer or approach 2 speaks against it
    (`contradiction`); then approach 2; and approach 1 where it is alone.
    """
    first, second, third = found.approaches
    if third.parameters is not None:
        if second.parameters is None:
            return third, "approach_3"
        against = contradiction(second, third, found.compute, found.per_token, found.level)
        if not against:
            return third, "approach_3, whose law fits the profiles of approach_2 and has its N* inside their interval"
        return second, f"approach_2, as approach_3 {against}"
    if second.parameters is not None:
        return second, "approach_2, as approach_3 has no answer"
    return (first, "approach_1, the only one with an answer") if first.parameters is not None else (None, "")


def round_to(found: Allocation, shapes: Shapes, batch: float | None = None) -> Rounded:
    """Shapes near the optimum of an allocation with D in whole steps, the cheapest in loss first.

    Args:
        found: the allocation. shapes: what can be built, see `read_shapes`. batch: tokens of a step; default D in whole tokens.

    Excess losses less than a thousandth of a percent apart count as equal; among these the width that is nearest to 100 times the
    depth is first.

    Raises:
        InputError: shapes or batch mean nothing.
    """
    if batch is not None and not (batch >= 1 and math.isfinite(batch)):
        raise InputError(f"a step of {batch:g} tokens", "batch_tokens", "Give the tokens of a step, for example 4e6")
    allowed = read_shapes(shapes)
    approach, why = preferred(found)
    if approach is None or approach.parameters is None:
        return Rounded("", batch, (), "No approach has an optimum to round.")
    best = approach.parameters.value
    listed = allowed.near(best, found.count) if isinstance(allowed, Family) else allowed
    fits = [(each, _steps(each, found, batch)) for each in listed]
    fits = [(each, steps) for each, steps in fits if steps >= 1]
    if not fits:
        reason = f"Not one step of any shape fits into {found.compute:.3g} FLOPs: take smaller shapes or a smaller batch."
        return Rounded(approach.name, batch, (), reason)
    losses = _losses(found, approach)
    n = np.log([each.parameters for each, _ in fits])
    d = np.log([steps * (batch or 1.0) for _, steps in fits])
    away = np.abs(n - math.log(best))
    cost = away if losses is None else np.round(_over(losses, found, approach, n, d)[0][0] / _SAME)
    form = np.array([0.0 if each.aspect is None else abs(math.log(each.aspect / USUAL_ASPECT)) for each, _ in fits])
    order = np.lexsort(np.stack([away, form, cost]))[:_KEPT]
    choices = tuple(_choice(fits[k], found, approach, losses, batch) for k in order)
    what = "The losses are those of" if losses is not None else "It knows no losses, so the nearest size is first. By"
    counted = " N is taken to leave embeddings out." if _open(allowed, found) else ""
    return Rounded(approach.name, batch, choices, f"{what} {why}.{counted}")


def _open(allowed: Family | tuple[Shape, ...], found: Allocation) -> bool:
    return isinstance(allowed, Family) and not allowed.vocabulary and found.count.name == "AS_GIVEN"


def _steps(shape: Shape, found: Allocation, batch: float | None) -> int:
    steps = found.compute / (found.per_token * shape.parameters * (batch or 1.0))
    # A quotient that is whole but for rounding is that number of steps.
    return math.floor(steps * (1 + 1e-12))


def _losses(found: Allocation, approach: Approach) -> Losses | None:
    """Losses by an approach in draws of it; None where it knows no losses around N*."""
    path = approach.path
    nd = math.log(found.compute / found.per_token)
    if isinstance(path, LawPath):
        theta = drawn_laws(path)
        own = n_star(theta, nd)

        def law(n: Array, d: Array) -> Array:
            names = path.fit.law.names
            return np.log(
                path.fit.law.predict({name: theta[name] for name in names}, {"parameters": np.exp(n), "tokens": np.exp(d)})
            )

        return lambda n, d: (law(n, d), law(own, nd - own))
    size, excess = approach.parameters, approach.excess
    if size is None or excess is None or path is None:
        return None
    drawn = np.random.default_rng(0).standard_t(max(path.degrees, 1.0), (DRAWS, 1))
    centre = math.log(size.value) + np.concatenate([np.zeros((1, 1)), drawn * np.nan_to_num(size.stderr)])
    # Compute that whole steps leave over costs along the trend of the lowest losses.
    used = [each for each in approach.budgets if each.used]
    lowest = np.log([each.lowest for each in used])
    slope = min(float(np.polyfit(np.log([each.compute for each in used]), lowest, 1)[0]), 0.0)

    def bowl(n: Array, d: Array) -> tuple[Array, Array]:
        return np.log1p(excess(n - centre)) + slope * (n + d - nd), np.zeros((len(centre), 1))

    return bowl


def _over(losses: Losses, found: Allocation, approach: Approach, n: Array, d: Array) -> tuple[Array, Array]:
    """Excess over the estimated optimum, and over each draw's own, `(1 + draws, m)`."""
    assert approach.parameters is not None
    star = np.array([math.log(approach.parameters.value)])
    here, own = losses(n, d)
    estimated, _ = losses(star, math.log(found.compute / found.per_token) - star)
    return np.expm1(here - estimated), np.expm1(here - own)


def _choice(fit: tuple[Shape, int], found: Allocation, approach: Approach, losses: Losses | None, batch: float | None) -> Choice:
    shape, steps = fit
    tokens = steps * (batch or 1.0)
    compute = found.per_token * shape.parameters * tokens
    excess = regret = None
    if losses is not None:
        n, d = np.array([math.log(shape.parameters)]), np.array([math.log(tokens)])
        rounding, every = (each[:, 0] for each in _over(losses, found, approach, n, d))
        excess = _told(float(rounding[0]), rounding[1:], found.level)
        regret = _told(float(np.mean(every[1:])), every[1:], found.level)
    return Choice(shape, tokens, None if batch is None else steps, compute, excess, regret)


def _told(value: float, drawn: Array, level: float) -> Estimate:
    low, high = (float(each) for each in np.quantile(drawn, [0.5 - 0.5 * level, 0.5 + 0.5 * level]))
    return Estimate(value, min(low, value), max(high, value), level, float(np.std(drawn)))
