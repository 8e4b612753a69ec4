"""Suspects: how much of a run's excess the distance of each hyperparameter from its predicted best explains, and how much it
does not."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from .axis import axis_of
from .forecast import Forecast
from .response import Array
from .stack import Mixture

__all__ = ["Suspect", "suspects"]

# Before the gap is seen: the chance that something else than the tuned hyperparameters is at fault, and its typical cost in ln
# loss.
_OTHER, _OTHER_COST = 0.2, 0.1
# Relative scatter of the curvature between scales.
_CURVATURE_SD = 0.3
_DRAWS = 4000


@dataclass(frozen=True)
class Suspect:
    """A hyperparameter that may explain the excess.

    Args:
        hyperparameter: its name.
        share: expected share of the gap (observed over expected loss) that its distance from the predicted best explains.
        probability: that this distance alone explains more than half of the gap.
        used, best: the run's value, and the law's.
    """

    hyperparameter: str
    share: float
    probability: float
    used: float
    best: float

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        names = ("hyperparameter", "share", "probability", "used", "best")
        return {name: getattr(self, name) for name in names}


def suspects(expected: Forecast, mixture: Mixture, gap: float, settings: Mapping[str, float]) -> tuple[Suspect, ...]:
    """Suspects by their expected share of the gap, which is taken apart as gap = sum_j phi_j + u + e:

    - phi_j = 1/2 d_j (H d)_j with d = ln used - ln best: what the distance of hyperparameter j from its best costs, its Shapley
      value for a quadratic. The best is drawn from its law, straight or bent, with the scatter of scales; H with 30 % scatter.
    - u: a cause that was not tuned; none (chance 0.8), or exponential with mean c = 10 % of the loss (chance 0.2).
    - e ~ N(0, s^2): the law's own error and the run's noise.

    A draw of phi counts by the likelihood of the rest r = gap - sum phi, which is 0.8 N(r; 0, s^2) + 0.2 G(r) with G the density
    of u + e (`_unknown`). Shares are of all that pushed the loss up: where e is negative, of more than the gap.

    Args:
        expected: the forecast that the run was judged against.
        mixture: its predictive distribution of ln loss at the run's scale.
        gap: ln observed - ln expected.
        settings: the run's hyperparameters.

    Returns:
        the most suspected first; none where nothing was tuned or the run does not say how it was set.
    """
    response, optima = expected.frontier.response, expected.optima
    used = {
        name: float(axis_of(name).coordinate(np.array(settings[name]))) for name in expected.frontier.hyper if name in settings
    }
    known = [name for name, place in used.items() if math.isfinite(place)]
    if response is None or optima is None or not known:
        return ()
    random = np.random.default_rng(0)
    columns = [expected.frontier.hyper.index(name) for name in known]
    H = response.hessian_at(expected.at)[np.ix_(columns, columns)]
    away = np.empty((_DRAWS, len(known)))
    for j, name in enumerate(known):
        best = optima[name].path.draw(_DRAWS, random)(response.trend.place(expected.at)[None])[:, 0]
        away[:, j] = used[name] - best
    scale = np.exp(_CURVATURE_SD * random.standard_normal(_DRAWS))
    phi = 0.5 * away * (away @ H) * scale[:, None]
    sd = float(mixture.sd()[0])
    rest = gap - phi.sum(axis=1)
    none = math.log(1 - _OTHER) - 0.5 * (rest / sd) ** 2 - math.log(sd * math.sqrt(2 * math.pi))
    some, cause = _unknown(rest, sd, random.uniform(size=_DRAWS))
    log = np.concatenate([none, math.log(_OTHER) + some])
    weight = np.exp(log - log.max())
    weight /= weight.sum()
    phi, rest = np.concatenate([phi, phi]), np.concatenate([rest, rest])
    cause = np.concatenate([np.zeros(_DRAWS), cause])
    parts = np.maximum(np.column_stack([phi, cause, rest - cause]), 0.0)
    share = parts / np.maximum(parts.sum(axis=1, keepdims=True), 1e-300)
    found = [
        Suspect(
            name,
            float(weight @ share[:, j]),
            float(weight @ (share[:, j] > 0.5)),
            settings[name],
            optima[name].at(expected.at).value,
        )
        for j, name in enumerate(known)
    ]
    return tuple(sorted(found, key=lambda each: -each.share))


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
