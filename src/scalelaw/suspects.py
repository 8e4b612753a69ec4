"""Suspects: how much of a run's excess the distance of each hyperparameter from its predicted best explains, and how much it
does not."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from .axis import axis_of
from .estimate import Estimate
from .forecast import Forecast
from .response import Array, Response, skewed
from .stack import Mixture

__all__ = ["Attribution", "Suspect", "apportion", "attribute", "suspects"]

# Before the gap is seen: the chance that something else than the tuned hyperparameters is at fault, and its typical cost in ln
# loss.
_OTHER, _OTHER_COST = 0.2, 0.1
_DRAWS = 4000


@dataclass(frozen=True)
class Suspect:
    """A hyperparameter that may explain the excess.

    Args:
        hyperparameter: its name.
        share: expected share of the gap (observed over expected loss) that its distance from the predicted best explains.
        probability: that this distance alone explains more than half of the gap.
        used, best: the run's value, and the law's.
        cost: ln loss that this distance costs by the law, before the gap is seen: see `apportion`.
    """

    hyperparameter: str
    share: float
    probability: float
    used: float
    best: float
    cost: float = math.nan

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        names = ("hyperparameter", "share", "probability", "used", "best", "cost")
        return {name: getattr(self, name) for name in names}


@dataclass(frozen=True)
class Attribution:
    """A gap shared out.

    Args:
        gap: ln observed - ln expected loss.
        suspects: the most suspected first.
        predicted: ln loss that the suspects' distances cost together, before the gap is seen.
        limit: the largest gap that they, the law's own error and chance explain, at the upper end of the level's interval.
    """

    gap: float
    suspects: tuple[Suspect, ...]
    predicted: Estimate
    limit: float

    @property
    def unexplained(self) -> float:
        """Expected share of the gap that no suspect explains: a cause that was not tuned, the law's error, or chance."""
        return max(1.0 - sum(each.share for each in self.suspects), 0.0)


def apportion(response: Response, point: Mapping[str, float], away: Array, sharpness: Array | float = 1.0) -> Array:
    """Shapley values of the hyperparameters in the cost of a setting: they sum to `response.cost(point, away)`.

    In a quadratic a hyperparameter's Shapley value is phi_j = 1/2 d_j (H d)_j, half of each cross term going to each of its two
    sides; the bowl's skew is a sum over the hyperparameters, so each bears its own.

    Args:
        away: coordinates less those of the best setting, `(.., hyperparameters)`; the result has the same shape.
        sharpness: see `skewed`.
    """
    away = np.asarray(away, dtype=np.float64)
    factor = np.broadcast_to(sharpness, away.shape)
    H, skew, scaled = response.hessian_at(point), response.skew_at(point), np.sqrt(factor) * away
    quadratic = 0.5 * scaled * (scaled @ H)
    diagonal = np.diag(np.diag(H))
    alone = np.zeros_like(away)
    for j in range(away.shape[-1]):
        one = np.zeros_like(away)
        one[..., j] = away[..., j]
        alone[..., j] = skewed(diagonal, skew, one, factor) - 0.5 * H[j, j] * scaled[..., j] ** 2
    return quadratic + alone


def suspects(expected: Forecast, mixture: Mixture, gap: float, settings: Mapping[str, float]) -> tuple[Suspect, ...]:
    """The suspects of `attribute`; none where nothing was tuned or the run does not say how it was set."""
    found = attribute(expected, mixture, gap, settings)
    return () if found is None else found.suspects


def attribute(
    expected: Forecast, mixture: Mixture, gap: float, settings: Mapping[str, float], level: float = 0.9
) -> Attribution | None:
    """Suspects by their expected share of the gap, which is taken apart as gap = sum_j phi_j + u + e:

    - phi_j, the Shapley value of hyperparameter j in the cost of d = used - best (`apportion`). The best is drawn from its law,
      straight or bent, with the scatter of scales; H with its own and the error of its trend.
    - u: a cause that was not tuned; none (chance 0.8), or exponential with mean c = 10 % of the loss (chance 0.2).
    - e ~ N(0, s^2): the law's own error and the run's noise.

    A draw of phi counts by the likelihood of the rest r = gap - sum phi, which is 0.8 N(r; 0, s^2) + 0.2 G(r) with G the density
    of u + e (`_unknown`). Shares are of all that pushed the loss up: where e is negative, of more than the gap.

    Args:
        expected: the forecast that the run was judged against.
        mixture: its predictive distribution of ln loss at the run's scale.
        gap: ln observed - ln expected.
        settings: the run's hyperparameters.
        level: of the interval of the predicted cost.

    Returns:
        None where nothing was tuned or the run does not say how it was set.
    """
    response, optima = expected.frontier.response, expected.optima
    used = {
        name: float(axis_of(name).coordinate(np.array(settings[name]))) for name in expected.frontier.hyper if name in settings
    }
    known = [name for name, place in used.items() if math.isfinite(place)]
    if response is None or optima is None or not known:
        return None
    random = np.random.default_rng(0)
    columns = [expected.frontier.hyper.index(name) for name in known]
    away = np.zeros((_DRAWS, len(expected.frontier.hyper)))
    for j, name in zip(columns, known, strict=True):
        best = optima[name].path.draw(_DRAWS, random)(response.trend.place(expected.at)[None])[:, 0]
        away[:, j] = used[name] - best
    sharpness = response.sharpness([expected.at], _DRAWS, random)[:, 0]
    phi = apportion(response, expected.at, away, sharpness)[:, columns]
    sd, total = float(mixture.sd()[0]), phi.sum(axis=1)
    share, weight = _posterior(phi, gap, sd, random)
    middle = np.zeros(away.shape[1])
    middle[columns] = [used[name] - response.trend.best(expected.at)[j] for j, name in zip(columns, known, strict=True)]
    cost = apportion(response, expected.at, middle)[columns]
    found = [
        Suspect(
            name,
            float(weight @ share[:, j]),
            float(weight @ (share[:, j] > 0.5)),
            settings[name],
            axis_of(name).setting(response.trend.best(expected.at)[j]),
            float(cost[j]),
        )
        for j, name in enumerate(known)
    ]
    low, value, high = (float(each) for each in np.quantile(total, [0.5 - level / 2, 0.5, 0.5 + level / 2]))
    limit = float(np.quantile(total + sd * random.standard_normal(_DRAWS), 0.5 + level / 2))
    return Attribution(
        gap, tuple(sorted(found, key=lambda each: -each.share)), Estimate(value, low, high, level, float(total.std())), limit
    )


def _posterior(phi: Array, gap: float, sd: float, random: np.random.Generator) -> tuple[Array, Array]:
    """Shares of each draw, `(draws, hyperparameters + 2)` with the unknown cause and the rest last, and the draws' weights."""
    rest = gap - phi.sum(axis=1)
    none = math.log(1 - _OTHER) - 0.5 * (rest / sd) ** 2 - math.log(sd * math.sqrt(2 * math.pi))
    some, cause = _unknown(rest, sd, random.uniform(size=len(phi)))
    log = np.concatenate([none, math.log(_OTHER) + some])
    weight = np.exp(log - log.max())
    weight /= weight.sum()
    phi, rest = np.concatenate([phi, phi]), np.concatenate([rest, rest])
    cause = np.concatenate([np.zeros(len(cause)), cause])
    parts = np.maximum(np.column_stack([phi, cause, rest - cause]), 0.0)
    return parts / np.maximum(parts.sum(axis=1, keepdims=True), 1e-300), weight


def _unknown(rest: Array, sd: float, uniform: Array) -> tuple[Array, Array]:
    """ln density of rest = u + e, with u exponential of mean c and e ~ N(0, sd^2), and one draw of u given rest.

    G(r) = exp(sd^2 / 2 c^2 - r / c) Phi(m / sd) / c with m = r - sd^2 / c, and u given r is N(m, sd^2) cut to u > 0.
    """
    from scipy.special import log_ndtr, ndtr, ndtri

    c = _OTHER_COST
    middle = rest - sd**2 / c
    log = 0.5 * (sd / c) ** 2 - rest / c + log_ndtr(middle / sd) - math.log(c)
    z = np.maximum(middle / sd, -30.0)
    return log, np.maximum(sd * (z - ndtri(uniform * ndtr(z))), 0.0)
