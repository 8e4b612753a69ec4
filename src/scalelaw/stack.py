"""Laws stacked by how well they predicted larger scales, and the predictive distribution that follows.

At a point x the logarithm of the loss is predicted by a mixture over laws k and discrepancies kappa,

    ln loss ~ sum_k w_k sum_g p_g  t_nu_k( m_k(x), v_k(x) + s_k^2 + kappa_g^2 r(x)^2 + lambda_g^2 q(x)^2 + extra )

with m_k a law's value, v_k its parameters' variance, s_k the scatter of scales about it, r and q the distances beyond the data
in nats of parameters and of tokens per parameter, and `extra` the variance of the run itself. Four choices, made on simulated
studies and on public families other than those that a table is about (benchmarks/forecasting and benchmarks/verdicts print the
alternatives):

- w_k is proportional to 1 / (e_k^3 s_k^2), with e_k the root mean square error of law k in rolling origins (fit on the first j
  scales, predict the others up to the last), recent origins counted more by a factor exp(1/2) each, for they resemble the
  target most. 1 / e_k^2 leaves a wrong form a few percent, which doubles the interval where the truth is log-linear; stacking
  by the log score of so few origins leaves it more. A form that misses the rows it was fitted to is no candidate, however
  uncertain its extrapolations make everything look: hence s_k.
- Single runs are fitted with Huber's loss: on public runs least squares follows the outliers of small compute upwards.
- s_k^2 is the residual variance beyond the estimates' own, drawn to (0.3 %)^2 with the weight of one degree of freedom: laws of
  tuned losses miss by 0.2-0.5 %, and three or four points cannot tell.
- kappa and lambda have the priors of `Discrepancy`, times the likelihood of the rolling-origin errors, where all errors of one
  origin count as one, for they share the shift of one law.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from .discrepancy import KAPPAS, LAMBDAS, Discrepancy, Held, Hull, evidence, hull, posterior
from .errors import DataError
from .fit import Fit, FitStatus, LeastSquares, fit
from .frontier import Frontier
from .laws import Law, resolve
from .trials import Trials

__all__ = ["Ladder", "Member", "Mixture", "Stack"]

Array: TypeAlias = NDArray[np.float64]

_SCATTER, _SCATTER_DEGREES = 0.003, 1.0
_RECENT = 0.5
# The laws' own objective, Huber's loss of width 1e-3, where noise is normal with 0.4 %: near the absolute loss.
_EFFICIENCY = 0.7
_SHARP = 1.5
# Laws of one scale in the stack: a line, a power, a power with a floor. They differ in what they promise far out.
_ONE = ("log_linear", "power", "saturating")
# Of parameters and tokens: on public runs the second form supplied the cover that the first alone lacked, and a plane in
# logarithms stands for worlds without a floor in reach.
_TWO = ("chinchilla", "chinchilla_shared", "log_linear")
# Forecasts are checked from so many origins at most, evenly spaced along the ladder; neighbours say the same again.
_ORIGINS = 8


@dataclass(frozen=True, eq=False)
class Member:
    """One fitted law: its fit, the covariance of its coordinates, the scatter about it and the degrees of freedom of both."""

    fit: Fit
    covariance: Array = field(repr=False)
    scatter: float
    degrees: float

    def log(self, points: Mapping[str, Any]) -> tuple[Array, Array]:
        """ln prediction and its variance from the parameters, `(points,)`. A law below zero there predicts -inf."""
        value, first = self.slopes(points)
        return value, np.einsum("pn,pq,qn->n", first, self.covariance, first)

    def slopes(self, points: Mapping[str, Any]) -> tuple[Array, Array]:
        """ln prediction `(points,)` and its derivatives `(p, points)` in the coordinates of the covariance."""
        return _slopes(self.fit, points)


@dataclass(frozen=True, eq=False)
class Mixture:
    """A predictive distribution of ln loss at P points: `(laws, P)` means and variances, and the discrepancy on top.

    Args:
        weights, mean, variance, degrees: per law.
        discrepancy: its standard deviations, `(G, P)`, and their chances, `(G,)`.
    """

    weights: Array
    mean: Array
    variance: Array
    degrees: Array
    discrepancy: Array
    chances: Array

    def cdf(self, y: Array) -> Array:
        """P(ln loss <= y), `(P,)`."""
        from scipy.special import stdtr

        sd = np.sqrt(self.variance[:, None, :] + self.discrepancy**2)
        z = (y - self.mean[:, None, :]) / sd
        return np.einsum("k,g,kgp->p", self.weights, self.chances, stdtr(self.degrees[:, None, None], z))

    def quantile(self, probability: float) -> Array:
        """y with P(ln loss <= y) = probability, `(P,)`, by bisection."""
        sd = np.sqrt(self.variance.max(axis=0) + self.discrepancy.max(axis=0) ** 2)
        low, high = self.mean.min(axis=0) - 60 * sd, self.mean.max(axis=0) + 60 * sd
        for _ in range(60):
            middle = 0.5 * (low + high)
            below = self.cdf(middle) < probability
            low, high = np.where(below, middle, low), np.where(below, high, middle)
        return 0.5 * (low + high)

    def loss(self, probability: float) -> Array:
        """The loss with P(loss <= value) = probability, `(P,)`, kept finite where the data say nothing."""
        return np.exp(np.clip(self.quantile(probability), -700.0, 700.0))

    def sd(self) -> Array:
        """Half the width of the central 68.3 %, `(P,)`: what a standard deviation would be, without the tails' say."""
        return 0.5 * (self.quantile(0.8413447) - self.quantile(0.1586553))


@dataclass(frozen=True, eq=False)
class Stack:
    """Weighted laws with the discrepancy learned from their own rolling origins.

    Args:
        chances: of each discrepancy on the grid `KAPPAS` x `LAMBDAS`. inflation: what both are multiplied by.
        above: the same for the one-sided test, see `one_sided`.
    """

    over: tuple[str, ...]
    members: tuple[Member, ...]
    weights: Array
    chances: Array
    inflation: float
    above: float
    hull: Hull = field(repr=False)
    held: tuple[Held, ...] = field(repr=False)

    @property
    def kappa(self) -> float:
        """Mean discrepancy per nat of parameters beyond the data."""
        return self.inflation * float(self.chances.sum(axis=1) @ KAPPAS)

    def one_sided(self) -> Stack:
        """The same for a test of losses that are too high: its upper quantiles hold their share over public families."""
        return replace(self, inflation=self.above)

    def distance(self, points: Mapping[str, Any]) -> Array:
        """Nats of parameters beyond the range of the data, `(P,)`."""
        return self.hull.distance(_logs(self.over, points))

    def predict(self, points: Mapping[str, Any], extra: float | Array = 0.0) -> Mixture:
        """The predictive distribution at points; `extra` is the variance of ln loss of one run about the best case."""
        points = {name: np.atleast_1d(np.asarray(points[name], dtype=np.float64)) for name in self.over}
        found = [member.log(points) for member in self.members]
        mean = np.stack([value for value, _ in found])
        weights = self.weights
        if not np.all(np.isfinite(mean)):
            # A line that has reached zero predicts no loss at all there: the others speak for it.
            alive = np.all(np.isfinite(mean), axis=1)
            if not alive.any():
                raise DataError("the law has fallen to zero loss at this size", "at", "Use the saturating law, or a nearer size")
            mean, weights = mean[alive], weights[alive] / weights[alive].sum()
            found = [each for each, keep in zip(found, alive, strict=True) if keep]
            members = [each for each, keep in zip(self.members, alive, strict=True) if keep]
        else:
            members = list(self.members)
        scatter = np.array([member.scatter for member in members])
        variance = np.stack([each for _, each in found]) + scatter[:, None] ** 2 + extra
        degrees = np.array([member.degrees for member in members])
        return Mixture(weights, mean, variance, degrees, *self._discrepancy(points))

    def reach(self, points: Mapping[str, Any]) -> NDArray[np.bool_]:
        """Where `predict` has a law that has not fallen to zero, `(P,)`: all points where one law serves them all."""
        points = {name: np.atleast_1d(np.asarray(points[name], dtype=np.float64)) for name in self.over}
        finite = np.isfinite([member.log(points)[0] for member in self.members])
        return finite[int(np.argmax(finite.sum(axis=1)))]

    def _discrepancy(self, points: Mapping[str, Any]) -> tuple[Array, Array]:
        """Standard deviations `(G, P)` and chances; lambda is only told apart where a point lies outside."""
        x = _logs(self.over, points)
        size = self.inflation * np.outer(KAPPAS, self.hull.distance(x))
        outside = self.hull.outside(x)
        if not outside.any():
            return size, self.chances.sum(axis=1)
        ratio = self.inflation * np.outer(LAMBDAS, outside)
        every = np.sqrt(size[:, None, :] ** 2 + ratio**2).reshape(-1, len(x))
        kept = self.chances.ravel() > 1e-4 * self.chances.max()
        return every[kept], self.chances.ravel()[kept] / self.chances.ravel()[kept].sum()


class Ladder:
    """A frontier's rows from small to large, with every fit of their beginnings made once."""

    def __init__(
        self,
        frontier: Frontier,
        law: str | Law | Sequence[str | Law] | None = None,
        prior: Discrepancy | None = None,
    ) -> None:
        self.prior = prior or Discrepancy()
        scales = frontier.scales
        order = np.lexsort((scales[:, 0], np.round(scales.sum(axis=1), 9)))
        self.over = frontier.over
        self.trials = Trials({name: column[order] for name, column in frontier.trials.columns.items()}, frontier.trials.source)
        self.x = scales[order]
        loss = self.trials.numbers("loss")
        self.y = np.log(loss)
        self.se = np.nan_to_num(self.trials.numbers("loss_se") / loss)
        self.laws = _chosen(law, self.over)
        self._members: dict[tuple[int, int], Member | None] = {}
        self._errors: dict[tuple[int, int], tuple[Array, Array] | None] = {}
        if len(self.y) < 2:
            raise DataError("only one size, and a law needs several", self.trials.source, "Add runs at other sizes")
        self.origins = self._origins()

    def __len__(self) -> int:
        return len(self.y)

    def _origins(self) -> tuple[int, ...]:
        """Numbers of smallest rows from which the others are predicted: all, or a few evenly spaced along the ladder."""
        size = self.x.sum(axis=1)
        counts = [j for j in range(2, len(self)) if size[j] - size[j - 1] > 1e-6]
        if len(counts) <= 2 * _ORIGINS:
            return tuple(counts)
        wanted = np.linspace(size[counts[0]], size[counts[-1]], _ORIGINS)
        return tuple(sorted({counts[int(np.argmin(np.abs(size[counts] - each)))] for each in wanted}))

    def points(self, rows: slice) -> dict[str, Array]:
        """Scale columns of some rows."""
        return {name: self.trials.numbers(name)[rows] for name in self.over}

    def member(self, place: int, count: int) -> Member | None:
        """Law `place` fitted to the first `count` rows; None where they cannot carry it."""
        key = (place, count)
        if key not in self._members:
            self._members[key] = self._fit(self.laws[place], count)
        return self._members[key]

    def _fit(self, law: Law, count: int) -> Member | None:
        free = len(law.parameters)
        if count < free:
            return None
        table = Trials({name: column[:count] for name, column in self.trials.columns.items()}, self.trials.source)
        y, se = self.y[:count], self.se[:count]
        points, degrees = self.points(slice(0, count)), count - free + _SCATTER_DEGREES
        # Outliers can be told where single runs are many; averages of seeds have none, and few rows cannot spare any.
        robust = count >= 4 * free and not se.any()
        scatter, found, first = _SCATTER, None, np.zeros((free, count))
        # The scatter decides how far small errors are trusted, and from where on a row is an outlier.
        for _ in range(4):
            before = scatter
            found = self._weighted(law, table, np.sqrt(se**2 + scatter**2), robust)
            value, first = _slopes(found, points)
            if found.status is FitStatus.NOT_CONVERGED or not np.all(np.isfinite(value)):
                return None
            scatter = _scatter(y - value, se, free, robust)
            if abs(math.log(scatter / before)) < 0.1:
                break
        assert found is not None
        weight = 1.0 / (se**2 + scatter**2)
        weight *= _EFFICIENCY if robust else 1.0
        information = (first * weight) @ first.T + np.diag([_precision(law, k) for k in range(free)])
        return Member(found, np.asarray(np.linalg.inv(information), dtype=np.float64), scatter, degrees)

    def _weighted(self, law: Law, table: Trials, sd: Array, robust: bool) -> Fit:
        """The law's robust loss or least squares of ln loss with deviations `sd`; of the loss where the law is straight."""
        if law.objective.log:
            objective = law.objective if robust else LeastSquares()
            return fit(law, table, over=self.over, weights=(sd.min() / sd) ** 2, objective=objective)
        plain = sd * math.exp(float(self.y[: len(sd)].mean()))
        return fit(law, table, over=self.over, weights=(plain.min() / plain) ** 2)

    def errors(self, place: int, origin: int) -> tuple[Array, Array] | None:
        """ln errors (observed less predicted) and variances of law `place` from `origin` on all later rows."""
        key = (place, origin)
        if key not in self._errors:
            member = self.member(place, origin)
            if member is None:
                self._errors[key] = None
            else:
                mean, variance = member.log(self.points(slice(origin, len(self))))
                error = self.y[origin:] - np.where(np.isfinite(mean), mean, self.y[origin:] - 1.0)
                self._errors[key] = (error, variance + member.scatter**2 + self.se[origin:] ** 2)
        return self._errors[key]

    def stack(self, count: int | None = None, only: str | None = None) -> Stack:
        """The stack that the first `count` rows support; of one law alone where `only` names it.

        Raises:
            DataError: no law can be fitted to them.
        """
        count = len(self) if count is None else count
        named = [k for k, law in enumerate(self.laws) if only in (None, law.name)]
        places = [k for k in named if self.member(k, count) is not None]
        if not places:
            needed = min(len(law.parameters) for law in self.laws)
            raise DataError(f"{count} sizes, and the law has {needed} parameters", self.trials.source, "Add runs at other sizes")
        # A law counts when it could be scored: with one row more than parameters at some origin.
        scored = [k for k in places if len(self.laws[k].parameters) + 1 < count]
        simple = min(len(self.laws[k].parameters) for k in places)
        places = scored or [k for k in places if len(self.laws[k].parameters) == simple]
        first = max(len(self.laws[k].parameters) for k in places) + 1
        origins = [j for j in self.origins if first <= j < count and all(self.errors(k, j) is not None for k in places)]
        weights = self._weights(places, origins, count)
        held = self._held(places, weights, origins, count)
        members = tuple(member for k in places if (member := self.member(k, count)) is not None)
        chances = posterior(self.prior.log_density(), evidence(held))
        reach = hull(self.over, self.x[:count])
        return Stack(self.over, members, weights, chances, self.prior.inflation, self.prior.above, reach, held)

    def _weights(self, places: list[int], origins: list[int], count: int) -> Array:
        score = np.full(len(places), 1e-12)
        total = 0.0
        for j in origins:
            recent = math.exp(_RECENT * (j - count + 1))
            total += recent
            for i, k in enumerate(places):
                found = self.errors(k, j)
                assert found is not None
                score[i] += recent * float(np.mean(found[0][: count - j] ** 2))
        if not total:
            return np.full(len(places), 1.0 / len(places))
        # Errors below half the least scatter do not tell laws apart.
        least = (0.5 * _SCATTER) ** 2
        scatter = np.array([member.scatter for k in places if (member := self.member(k, count)) is not None])
        inverse = 1.0 / ((score / total + least) ** _SHARP * (scatter**2 + least))
        return inverse / inverse.sum()

    def _held(self, places: list[int], weights: Array, origins: list[int], count: int) -> tuple[Held, ...]:
        result: list[Held] = []
        for j in origins:
            found = [each for k in places if (each := self.errors(k, j)) is not None]
            error = sum(w * each[0] for w, each in zip(weights, found, strict=True))
            variance = sum(w * each[1] for w, each in zip(weights, found, strict=True))
            degrees = sum(w * member.degrees for w, k in zip(weights, places, strict=True) if (member := self.member(k, j)))
            assert not isinstance(error, int)
            assert not isinstance(variance, int)
            reach = hull(self.over, self.x[:j])
            distance, outside = (each(self.x[j:count]) for each in (reach.distance, reach.outside))
            for i in range(count - j):
                ratio = math.exp(float(np.max(self.x[j + i] - self.x[:j].max(axis=0))))
                away = float(distance[i]), float(outside[i])
                result.append(Held(j, j + i, ratio, float(error[i]), float(variance[i]), float(degrees), *away))
        return tuple(result)


def _chosen(law: str | Law | Sequence[str | Law] | None, over: tuple[str, ...]) -> list[Law]:
    if law is not None:
        several = [law] if isinstance(law, str | Law) else list(law)
        return [resolve(each).over(over) for each in several]
    if len(over) == 1:
        return [resolve(name).over(over) for name in _ONE]
    if over == ("parameters", "tokens"):
        return [resolve(name).over(over) for name in _TWO]
    return [resolve("log_linear").over(over)]


def _scatter(residual: Array, se: Array, free: int, robust: bool) -> float:
    """Standard deviation beyond the estimates' own errors; robust: residuals beyond 2.5 median deviations count as 2.5."""
    count, degrees = len(residual), len(residual) - free + _SCATTER_DEGREES
    middle = 1.4826 * float(np.median(np.abs(residual))) * math.sqrt(count / max(count - free, 1))
    kept = np.minimum(np.abs(residual), 2.5 * max(middle, 1e-4)) if robust else residual
    squares = max(float(np.sum(kept**2) - np.sum(se**2) * (1 - free / count)), 0.0)
    return math.sqrt((_SCATTER_DEGREES * _SCATTER**2 + squares) / degrees)


def _precision(law: Law, place: int) -> float:
    """Weak prior on a coordinate of the fit, about the fitted value: it only bounds variances that the data leave open."""
    item = law.parameters[place]
    if item.log:
        return 1.0 / 5.0**2
    return 1e-8 if item.linear else 1.0 / 0.5**2


def _slopes(found: Fit, points: Mapping[str, Any]) -> tuple[Array, Array]:
    """ln prediction `(n,)` and its derivatives `(p, n)` in the coordinates of the fit."""
    value, first = found._slopes(points, True)
    return np.atleast_1d(value), first


def _logs(over: tuple[str, ...], points: Mapping[str, Any]) -> Array:
    return np.stack([np.log(np.atleast_1d(np.asarray(points[name], dtype=np.float64))) for name in over], axis=1)
