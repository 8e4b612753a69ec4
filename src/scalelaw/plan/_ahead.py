"""What a target will lose by settings predicted from the runs of a plan, before these are made.

The error of the law at the target is drawn as now (straight or bent law, Student's t) and shrunk, hyperparameter by
hyperparameter, by the ratio of the belief's standard deviations after and before; the target's own scatter, which no other run
can tell, stays. Each draw costs what the bowl says, with the curvature's own error. Tests on simulated worlds hold the band to
its word (benchmarks/replay).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from ..response import Response
from ._belief import Belief

__all__ = ["Ahead"]

Array: TypeAlias = NDArray[np.float64]

_DRAWS = 2000
_FURTHEST, _POINTS = 1e4, 80


class Ahead:
    """Regret at one target, now and after more runs.

    Args:
        response: the bowls as they are now. target: the scale. belief: before any fantasy.
        most: ln loss that a setting can lose at most: a run that learns nothing stays at chance.
    """

    def __init__(self, response: Response, target: Mapping[str, float], belief: Belief, most: float) -> None:
        random = np.random.default_rng(0)
        trend = response.trend
        s = trend.place(target)[None]
        self._response, self._target, self._most = response, target, most
        self._error = trend.draw(_DRAWS, random, tau=False)(s)[:, 0] - trend.best(target)
        degrees = np.array([path.degrees for path in trend.paths])
        scale = np.sqrt(degrees / random.chisquare(degrees, (_DRAWS, len(degrees))))
        tau = np.array([path.tau for path in trend.paths])
        self._own = tau * scale * random.standard_normal(self._error.shape)
        root = np.linalg.cholesky(trend.covariance(target, tau=False) + 1e-15 * np.eye(len(tau)))
        self._plain = random.standard_normal(self._error.shape) @ root.T, tau * random.standard_normal(self._error.shape)
        self._sharp = response.sharpness([target], _DRAWS, random)[:, 0]
        self._before = self._sd(belief)
        self.tau = tau

    @staticmethod
    def _sd(belief: Belief) -> Array:
        return np.sqrt(np.maximum(np.diag(belief.covariance()[0]), 1e-18))

    def draws(self, belief: Belief) -> Array:
        """Share of the loss lost, `(draws,)`."""
        return self._lost(belief, self._error, self._own)

    def expected(self, belief: Belief) -> float:
        """Its mean, under normal errors: the band's Student's t has no variance from a handful of scales, and its
        tails would make the mean."""
        return float(self._lost(belief, *self._plain).mean())

    def _lost(self, belief: Belief, error: Array, own: Array) -> Array:
        shrunk = error * np.minimum(self._sd(belief) / self._before, 1.0)
        return np.expm1(np.minimum(self._response.cost(self._target, -(shrunk + own), self._sharp), self._most))

    def safe_ratio(self, belief: Belief, start: Mapping[str, float], tolerance: float) -> float:
        """How many times `start`, in all scale columns that the target moves, until `tolerance` is expected to be lost."""
        over = self._response.over
        along = np.array([math.log(self._target[name] / start[name]) for name in over])
        along = along / max(float(np.max(np.abs(along))), 1e-12)
        steps = np.linspace(0.0, math.log(_FURTHEST), _POINTS)
        points = [{name: start[name] * math.exp(step * a) for name, a in zip(over, along, strict=True)} for step in steps]
        covariance = belief.covariance_at(points) + np.diag(self.tau**2)
        H = np.stack([self._response.hessian_at(point) for point in points])
        lost = 0.5 * np.einsum("pij,pji->p", H, covariance)
        past = np.flatnonzero(lost > tolerance)
        if not len(past):
            return math.inf
        k = int(past[0])
        if k == 0:
            return 1.0
        share = (tolerance - lost[k - 1]) / (lost[k] - lost[k - 1])
        return math.exp(float(steps[k - 1] + share * (steps[k] - steps[k - 1])))
