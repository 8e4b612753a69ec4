"""The law of the best setting against scale: where to set a hyperparameter at a size that was never tuned."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from types import MappingProxyType
from typing import Any

import numpy as np

from .axis import axis_of
from .cells import default_over
from .cliff import Cliff, cliff
from .errors import DataError, ScalelawError
from .estimate import Estimate, quantile_t
from .frontier import Frontier, frontier
from .lookahead import keep
from .readings import READINGS, Reading, read
from .redraw import LEAST_SCALES, Redrawn, redraw
from .response import Array, Response
from .transfer import Transfer, transfer
from .trend import Path, Trend
from .trials import Trials, place

__all__ = ["Optima", "Optimum", "optimum"]

_DRAWS = 2000
# Redrawn tables: 0.1 s on a hundred runs, 1.4 s on two thousand.
REDRAWN = 200
_NO_FAILURE = "No run failed on the far side of its size's best setting: the cliff lies beyond every setting tried."


@dataclass(frozen=True, eq=False)
class Optimum:
    """The law of one hyperparameter's best value against scale.

    Args:
        hyper: the hyperparameter.
        level: of the intervals.
        frontier: the best values with their errors, and the response behind them.
    """

    hyper: str
    level: float
    frontier: Frontier = field(repr=False)

    @property
    def response(self) -> Response:
        """The surface behind it."""
        assert self.frontier.response is not None
        return self.frontier.response

    @property
    def trend(self) -> Trend:
        """The laws of all hyperparameters."""
        return self.response.trend

    @property
    def path(self) -> Path:
        """This one's law, straight and bent."""
        return self.trend[self.hyper]

    @property
    def reading(self) -> Reading:
        """The best settings scale by scale, and laws through them."""
        return read(self.response)

    @property
    def tau(self) -> float:
        """Standard deviation, between scales, of the best's coordinate about the law."""
        return self.path.tau

    @property
    def coefficients(self) -> dict[str, float]:
        """Of the straight law, best = c x^-p; with several scale columns the exponents are p_<column>."""
        beta, middle = self.path.beta, self.trend.middle
        names = ["p"] if len(middle) == 1 else [f"p_{name}" for name in self.frontier.over]
        powers = {name: -float(b) for name, b in zip(names, beta[1:], strict=True)}
        return {"c": _exp(float(beta[0] - beta[1:] @ middle)), **powers}

    @property
    def formula(self) -> str:
        """The straight law in words: `learning_rate = c width^-p`."""
        names = list(self.coefficients)[1:]
        powers = " ".join(f"{column}^-{name}" for column, name in zip(self.frontier.over, names, strict=True))
        return f"{axis_of(self.hyper).words(self.hyper)} = c {powers}"

    def at(self, point: Mapping[str, float], level: float | None = None) -> Estimate:
        """The law's own value at a scale: the average of the straight and the bent law, t(tuned scales - coefficients)."""
        return self._estimate(point, level, 0.0)

    def run_at(self, point: Mapping[str, float], level: float | None = None) -> Estimate:
        """The best value of one scale itself: the law's value and the scatter of scales about it."""
        return self._estimate(point, level, self.tau)

    def _estimate(self, point: Mapping[str, float], level: float | None, extra: float) -> Estimate:
        level = self.level if level is None else level
        s = self.trend.place(place(self.frontier.over, point))
        low, high = self.path.quantiles(s, (0.5 - 0.5 * level, 0.5 + 0.5 * level), extra)
        mean, sd = self.path.moments(s)
        axis = axis_of(self.hyper)
        return Estimate(axis.setting(mean), *axis.between(low, high), level, math.hypot(sd, extra))

    def band(self, points: Mapping[str, Any], level: float | None = None) -> tuple[Array, Array, Array]:
        """Value, low and high of `at` at arrays of points, for drawing."""
        columns = np.broadcast_arrays(*(np.asarray(points[name], dtype=np.float64) for name in self.frontier.over))
        found = [
            self.at(dict(zip(self.frontier.over, map(float, point), strict=True)), level) for point in zip(*columns, strict=True)
        ]
        return tuple(np.array([getattr(each, name) for each in found]) for name in ("value", "low", "high"))  # pyright: ignore[reportReturnType]

    def exponent(self, column: str | None = None) -> Estimate:
        """The straight law's exponent in one scale column, d ln best / d ln scale, with its interval."""
        return self.trend.exponent(self.hyper, column or self.frontier.over[0], self.level)

    def bend(self, column: str | None = None) -> Estimate:
        """Change of that exponent per nat of scale, with its interval, from the bent law."""
        return self.trend.bend(self.hyper, column or self.frontier.over[0], self.level)

    def safe_ratio(self, tolerance: float = 0.02) -> Estimate:
        """How much larger (in the first scale column) than the largest scale a model may be before keeping that scale's best
        costs `tolerance` of the loss: see `lookahead`."""
        return keep(self.response, (self.hyper,), level=self.level).safe_ratio(tolerance)

    def to_dict(self) -> dict[str, Any]:
        """`coefficients` and their `interval`, in the signs of best = c x^-p, and the bends beside them."""
        names, path, middle = list(self.coefficients), self.path, self.trend.middle
        t = quantile_t(0.5 + 0.5 * self.level, path.degrees)
        row = np.array([1.0, *(-middle)])
        half = t * math.sqrt(float(row @ path.covariance @ row))
        interval = {"c": [_exp(math.log(self.coefficients["c"]) + sign * half) for sign in (-1, 1)]}
        for k, name in enumerate(names[1:], start=1):
            half = t * math.sqrt(float(path.covariance[k, k]))
            interval[name] = [float(-path.beta[k] + sign * half) for sign in (-1, 1)]
        return {
            "coefficients": self.coefficients,
            "interval": interval,
            "of": axis_of(self.hyper).words(self.hyper),
            "profile": {column: self.reading.profile(self.hyper, column, self.level).to_dict() for column in self.frontier.over},
            "bend": {column: self.bend(column).to_dict() for column in self.frontier.over},
            "straight": path.straight,
            "prior_share": dict(zip(self.frontier.over, map(float, path.prior_share), strict=True)),
            "tau": self.tau,
            "scales": len(self.frontier.trials),
        }


@dataclass(frozen=True, eq=False)
class Optima:
    """The laws of all tuned hyperparameters, and their values at one scale where one was asked for.

    Args:
        optima: hyperparameter -> its law, always the surface's.
        frontier: the best case of each scale, by `estimator`.
        at: the scale asked for.
        level: of the intervals.
        estimator: which of `readings.READINGS` the frontier's rows are by.
    """

    optima: Mapping[str, Optimum]
    frontier: Frontier
    at: Mapping[str, float] | None = None
    level: float = 0.9
    estimator: str = "response"

    def __getitem__(self, hyper: str) -> Optimum:
        return self.optima[hyper]

    def estimates(self, point: Mapping[str, float]) -> dict[str, Estimate]:
        """The law's value of each hyperparameter at a scale."""
        return {name: each.at(point, self.level) for name, each in self.optima.items()}

    @property
    def response(self) -> Response:
        """The surface behind the laws."""
        assert self.frontier.response is not None
        return self.frontier.response

    def regret(self, point: Mapping[str, float]) -> Estimate:
        """ln loss that a run at the predicted settings loses, because the scale's own best is elsewhere.

        The value is 1/2 tr(H Cov z*), Cov with the scatter of scales; low and high are quantiles over draws of the law.
        """
        point = place(self.frontier.over, point)
        response, trend = self.response, self.response.trend
        value = 0.5 * float(np.trace(response.hessian_at(point) @ trend.covariance(point)))
        draws = trend.draw(_DRAWS, np.random.default_rng(0))(trend.place(point)[None])[:, 0]
        cost = response.cost(point, trend.best(point) - draws)
        low, high = (float(each) for each in np.quantile(cost, [0.5 - self.level / 2, 0.5 + self.level / 2]))
        return Estimate(value, low, high, self.level)

    def spread(self) -> dict[str, dict[str, Any]]:
        """The laws by other readings of the same runs (`readings.py`): what the exponents owe to the estimator."""
        return {name: read(self.response, name).to_dict(self.level) for name in READINGS}

    @cached_property
    def cliff(self) -> Cliff | None:
        """Where runs fail along the learning rate, or the first hyperparameter without one; None where no run did."""
        return cliff(self.response, level=self.level, trials=self.frontier.source)

    @cached_property
    def transfer(self) -> Transfer:
        """How the settings tuned below the largest size serve there and at the scale asked for.

        Raises:
            DataError: too few sizes below the largest for a law.
        """
        return transfer(self.frontier, at=self.at, level=self.level)

    def redrawn(self, draws: int = REDRAWN) -> Redrawn | None:
        """The cell-cluster bootstrap of the laws; None with fewer scales than its percentiles need, `LEAST_SCALES`."""
        return redraw(self.response, draws) if draws and len(self.frontier.trials) >= LEAST_SCALES else None

    def to_dict(self, draws: int = REDRAWN) -> dict[str, Any]:
        """The JSON object of `scalelaw optimum`; what does not apply is None, with a sentence under `reasons`.

        Args:
            draws: of the bootstrap; 0 leaves it out.
        """
        at: dict[str, Any] | None = None
        if self.at is not None:
            at = {**self.at, **{name: each.to_dict() for name, each in self.estimates(self.at).items()}}
            at["regret"] = self.regret(self.at).to_dict()
        extra, reasons = self._beside(draws)
        return {
            "over": list(self.frontier.over),
            "law": {name: each.to_dict() for name, each in self.optima.items()},
            "per_scale": self.frontier.trials.rows(),
            "estimator": self.estimator,
            "at": at,
            "safe_ratio": {name: each.safe_ratio().to_dict() for name, each in self.optima.items()},
            "factors": [each.to_dict() for each in self.response.levels(self.level)],
            "estimators": self.spread(),
            **extra,
            "reasons": reasons,
            "level": self.level,
        }

    def _beside(self, draws: int) -> tuple[dict[str, Any], dict[str, str]]:
        """Cliff, transfer and bootstrap for JSON, and why one of them is None."""
        found: dict[str, Any] = {"cliff": None, "transfer": None, "bootstrap": None}
        reasons: dict[str, str] = {}
        if self.cliff is None:
            reasons["cliff"] = _NO_FAILURE
        else:
            found["cliff"] = self.cliff.to_dict()
        try:
            found["transfer"] = self.transfer.to_dict()
        except ScalelawError as error:
            reasons["transfer"] = str(error)
        redrawn = self.redrawn(draws)
        if redrawn is None:
            few = f"{len(self.frontier.trials)} tuned sizes: below {LEAST_SCALES} its percentiles are too narrow."
            reasons["bootstrap"] = few if draws else "Not asked for."
        else:
            at = self.at
            found["bootstrap"] = {
                "draws": draws,
                "exponent": {
                    name: {column: redrawn.exponent(name, column, self.level).to_dict() for column in self.frontier.over}
                    for name in self.optima
                },
                "at": None if at is None else {name: redrawn.at(dict(at), name, self.level).to_dict() for name in self.optima},
            }
        return found, reasons


def optimum(
    data: Trials | Frontier,
    *,
    over: str | Sequence[str] | None = None,
    hyper: str | Sequence[str] | None = None,
    at: Mapping[str, float] | None = None,
    level: float = 0.9,
    estimator: str = "response",
) -> Optima:
    """Fit the law of each tuned hyperparameter's best value against scale.

    The law is the surface's; `estimator` chooses whose best settings and losses the frontier's rows hold (see `frontier`). Laws
    through the other readings: `Optima.spread`. A frontier that is passed in is taken as it is.

    A best value at the edge of its grid takes part with the place its bowl points to (its curvature is shared with the other
    scales) and a standard error widened by the distance beyond the outermost run: neither taken as exact nor dropped.

    Raises:
        DataError: no hyperparameter varies within a scale, or fewer scales than coefficients.
    """
    over = default_over(data, at) if over is None and isinstance(data, Trials) else over
    edge = data if isinstance(data, Frontier) else frontier(data, over=over, hyper=hyper, estimator=estimator)
    if not edge.tuned:
        raise DataError(
            "no hyperparameter takes three values within a scale, so no best value can be told",
            edge.source.source,
            "Run at least three learning rates at two sizes or more",
        )
    if len(edge.trials) < 1 + len(edge.over):
        raise DataError(
            f"{len(edge.trials)} tuned size(s), too few for a law", edge.source.source, "Tune at one more size at least"
        )
    found = {name: Optimum(name, level, edge) for name in edge.hyper}
    return Optima(MappingProxyType(found), edge, None if at is None else place(edge.over, at), level, estimator)


def _exp(value: float) -> float:
    return math.exp(value) if value < 700 else math.inf
