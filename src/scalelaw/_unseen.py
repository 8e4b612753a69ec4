"""What losses alone say of a mistuning that grows with scale, and what it does to a law's forecast.

Let rows i of a ladder carry ln losses y_i with errors sigma_i, J the slopes of the fitted law's ln loss in its parameters, and
c e_i an excess of known shape e and unknown size c. The law absorbs the part of e in the span of J; with weights 1 / sigma^2 and
M the projection on the rest, the best test of c > 0 (Neyman and Pearson: shape, form and noise all known) has at level alpha

    power(c) = Phi(c delta - z_(1 - alpha)),    delta^2 = e' W M e,

and the forecast at a target with slopes g moves by c b, b = g' (J' W J)^-1 J' W e: the absorbed part, extrapolated. A tuned run
reaches a loss lower than the law by that. Uncertainty of the form only lowers the power. A large excess bends the law's other
parameters too, and c delta becomes the distance of law plus excess from the nearest law, found by refitting (`unseen`).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from statistics import NormalDist
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from .errors import DataError
from .fit import LeastSquares, fit
from .frontier import Frontier
from .stack import Ladder, Member, Stack
from .trials import Trials

__all__ = ["Absorbed", "Lever", "absorbed", "fitted", "levers", "unseen"]

Array: TypeAlias = NDArray[np.float64]

# More rows than this are thinned; the noise is lowered so that they say as much.
_ROWS = 2000
_MOST = math.log(2.0)
_NORMAL = NormalDist()


@dataclass(frozen=True, eq=False)
class Lever:
    """How a law fitted to rows moves at other points when the rows move, in ln loss.

    Args:
        member: the fitted law. points: its rows. residual: of the rows, `(rows,)`. sd: their errors.
    """

    member: Member
    points: Mapping[str, Array]
    residual: Array
    sd: Array

    @property
    def slopes(self) -> Array:
        """J' over the errors, `(parameters, rows)`."""
        return self.member.fit._slopes(self.points, True)[1] / self.sd

    def moved(self, shift: Array, points: Mapping[str, Any]) -> Array:
        """What shifts of the rows `(.., rows)` do at P points, `(.., P)`."""
        to = {name: np.atleast_1d(np.asarray(points[name], dtype=np.float64)) for name in self.points}
        first = self.member.fit._slopes(to, True)[1]
        moved, *_ = np.linalg.lstsq(self.slopes.T, np.atleast_2d(shift / self.sd).T, rcond=1e-9)
        return (moved.T @ first).reshape(*np.shape(shift)[:-1], first.shape[1])

    def distance(self, shift: Array) -> float:
        """Of the law shifted by `(rows,)` from the nearest law of its form, in standard deviations."""
        value, _ = self.member.log(self.points)
        law, weight = self.member.fit.law, (self.sd.min() / self.sd) ** 2
        table = Trials.from_columns({**self.points, "loss": np.exp(value + shift)})
        found = fit(law, table, over=tuple(self.points), weights=weight, objective=LeastSquares())
        near, _ = replace(self.member, fit=found).log(self.points)
        return float(np.linalg.norm((value + shift - near) / self.sd))


@dataclass(frozen=True, eq=False)
class Absorbed:
    """An excess of one shape seen through the law.

    Args:
        delta: signal in standard deviations for an excess of 1 in ln loss. share: of the shape's length that is not absorbed.
        estimate, error: of the excess by the rows, and its standard error.
    """

    delta: float
    share: float
    estimate: float
    error: float

    def power(self, excess: float, level: float = 0.95) -> float:
        """Of the best test of an excess, in ln loss."""
        return _NORMAL.cdf(excess * self.delta - _NORMAL.inv_cdf(level))


def fitted(edge: Frontier, law: str | None = None) -> Lever | None:
    """The law with a floor fitted to a frontier's rows as they stand; None where they cannot carry it with a row to spare."""
    if law is None:
        law = "saturating" if len(edge.over) == 1 else "chinchilla" if edge.over == ("parameters", "tokens") else "log_linear"
    try:
        ladder = Ladder(_thinned(edge), law)
    except DataError:
        return None
    rows = len(ladder)
    member = ladder.member(0, rows)
    if member is None or rows <= len(ladder.laws[0].parameters):
        return None
    points = ladder.points(slice(0, rows))
    value, _ = member.log(points)
    sd = np.sqrt(ladder.se**2 + member.scatter**2) * math.sqrt(rows / len(edge.trials))
    return Lever(member, points, ladder.y - value, sd)


def unseen(lever: Lever, shape: Array, power: float = 0.5, level: float = 0.95) -> float:
    """The excess of a shape that the best test finds with a power, in ln loss; infinite beyond a factor of two in the loss."""
    wanted = _NORMAL.inv_cdf(level) + _NORMAL.inv_cdf(power)
    low, high = 0.0, _MOST
    if lever.distance(high * shape) < wanted:
        return math.inf
    for _ in range(8):
        middle = 0.5 * (low + high)
        low, high = (low, middle) if lever.distance(middle * shape) > wanted else (middle, high)
    return 0.5 * (low + high)


def levers(edge: Frontier, stack: Stack) -> list[tuple[float, Lever]]:
    """The laws of a stack with their weights, over a frontier's rows in their own order."""
    points = {name: edge.trials.numbers(name) for name in edge.over}
    loss = edge.trials.numbers("loss")
    y, se = np.log(loss), np.nan_to_num(edge.trials.numbers("loss_se") / loss)
    found: list[tuple[float, Lever]] = []
    for weight, member in zip(stack.weights, stack.members, strict=True):
        value, _ = member.log(points)
        found.append((float(weight), Lever(member, points, y - value, np.sqrt(se**2 + member.scatter**2))))
    return found


def _thinned(edge: Frontier) -> Frontier:
    if len(edge.trials) <= _ROWS:
        return edge
    kept = np.zeros(len(edge.trials), dtype=bool)
    kept[np.linspace(0, len(kept) - 1, _ROWS).astype(int)] = True
    return replace(edge, trials=edge.trials.where(kept))


def absorbed(lever: Lever, shape: Array) -> Absorbed:
    """See an excess of a shape `(rows,)` through the law."""
    e = shape / lever.sd
    basis, _ = np.linalg.qr(lever.slopes.T)
    rest = e - basis @ (basis.T @ e)
    delta = float(np.linalg.norm(rest))
    if delta < 1e-9:
        return Absorbed(0.0, 0.0, 0.0, math.inf)
    estimate = float(rest @ (lever.residual / lever.sd)) / delta**2
    return Absorbed(delta, delta / float(np.linalg.norm(e)), estimate, 1 / delta)
