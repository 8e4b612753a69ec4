"""Other readings of the same runs: the best setting of each scale by its lowest run, or by a parabola of its own.

The response surface is the default because it errs least; what the exponents of a law owe to the estimator is shown beside it.
On one public grid the exponent of the best rate in tokens is 0.19 to 0.33, depending on who reads it (benchmarks/tuning), which
no interval of a single reading covers.

    argmin     the lowest setting; its error is half a grid step, and what noise hides: sqrt(2 sd / H)
    parabola   ln loss = c + g'd + 1/2 d'Hd, least squares of the settings within 4 % of the lowest (at least as many as it has
               coefficients); best = -H^-1 g, with the delta method's error
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from .axis import axis_of
from .cells import Cell
from .errors import InputError
from .estimate import Estimate, quantile_t, random_effects
from .response import Response
from .trials import place

__all__ = ["READINGS", "Reading", "read"]

Array: TypeAlias = NDArray[np.float64]

_WINDOW = 0.04
_TAU = 0.1
_TAUS = _TAU * np.geomspace(0.02, 20.0, 40)


@dataclass(frozen=True, eq=False)
class Reading:
    """Best settings and losses of the scales by one estimator, and the laws through them.

    Args:
        name: "response", "parabola" or "argmin".
        best, se: coordinates and their standard errors, `(scales, hyperparameters)`; NaN where a scale has no reading.
        log_loss, log_loss_se: of the best case, `(scales,)`.
        response: where the runs, the scales and the prior on bends come from.
    """

    name: str
    best: Array
    se: Array
    log_loss: Array
    log_loss_se: Array
    response: Response = field(repr=False)

    def exponent(self, hyper: str, column: str, level: float = 0.9) -> Estimate:
        """d ln best / d ln scale of a straight law, random effects, t(scales - coefficients)."""
        return self._coefficient(hyper, 1 + self.response.over.index(column), level, bent=False)

    def bend(self, hyper: str, column: str, level: float = 0.9) -> Estimate:
        """Change of that exponent per nat of scale, under the prior of `trend`."""
        return self._coefficient(hyper, 1 + len(self.response.over) + self.response.over.index(column), level, bent=True)

    def at(self, point: Mapping[str, float], hyper: str, level: float = 0.9) -> Estimate:
        """The straight law's value at a scale."""
        beta, covariance, degrees = self._law(hyper, bent=False)
        row = np.array([1.0, *self.response.trend.place(place(self.response.over, point))])
        mean, se = float(row @ beta), math.sqrt(float(row @ covariance @ row))
        half, axis = quantile_t(0.5 + 0.5 * level, degrees) * se, axis_of(hyper)
        return Estimate(axis.setting(mean), *axis.between(mean - half, mean + half), level, se)

    def profile(self, hyper: str, column: str, level: float = 0.9, *, bent: bool = False) -> Estimate:
        """Profile-likelihood interval of the exponent (straight law), or with `bent` of the change of the exponent.

        With the coefficient held at b, the others and tau maximise l = -1/2 sum(ln v_c + r_c^2 / v_c) + ln p(tau),
        v_c = tau^2 + se_c^2; the interval is {b: 2 (l_max - l(b)) <= t^2}, t Student's quantile with (scales - coefficients)
        degrees of freedom.
        """
        X, y, se, prior = self._design(hyper, bent=bent)
        k = (1 + len(self.response.over) if bent else 1) + self.response.over.index(column)
        estimate = self._coefficient(hyper, k, level, bent=bent)
        t = quantile_t(0.5 + 0.5 * level, max(len(y) - 1 - len(self.response.over), 1))

        def height(b: float) -> float:
            return _height(np.delete(X, k, axis=1), y - b * X[:, k], se, np.delete(prior, k)) - 0.5 * (b / prior[k]) ** 2

        # The likelihood's own maximum, by golden section around the estimate.
        ratio, low, high = (math.sqrt(5) - 1) / 2, estimate.value - 2 * estimate.stderr, estimate.value + 2 * estimate.stderr
        while high - low > 1e-4 * estimate.stderr:
            a, b = high - ratio * (high - low), low + ratio * (high - low)
            low, high = (low, b) if height(a) > height(b) else (a, high)
        top = 0.5 * (low + high)
        floor = height(top) - 0.5 * t**2
        ends = [_crossing(lambda b: height(b) - floor, top, sign * estimate.stderr) for sign in (-1.0, 1.0)]
        return Estimate(top, ends[0], ends[1], level, estimate.stderr)

    def _coefficient(self, hyper: str, k: int, level: float, *, bent: bool) -> Estimate:
        beta, covariance, degrees = self._law(hyper, bent=bent)
        se = math.sqrt(float(covariance[k, k]))
        half = quantile_t(0.5 + 0.5 * level, degrees) * se
        return Estimate(float(beta[k]), float(beta[k] - half), float(beta[k] + half), level, se)

    def _law(self, hyper: str, *, bent: bool) -> tuple[Array, Array, int]:
        X, y, se, prior = self._design(hyper, bent=bent)
        weight = 1 / (random_effects(X, y, se).tau ** 2 + se**2)
        precision = prior**-2.0
        covariance = np.asarray(np.linalg.inv((X.T * weight) @ X + np.diag(precision)), dtype=np.float64)
        # The intercept's prior stands about the surface's own value, so that units do not matter.
        centre = np.zeros(len(prior))
        centre[0] = self.response.trend[hyper].beta[0]
        beta = np.asarray(covariance @ (X.T @ (weight * y) + precision * centre), dtype=np.float64)
        return beta, covariance, max(len(y) - 1 - len(self.response.over), 1)

    def _design(self, hyper: str, *, bent: bool) -> tuple[Array, Array, Array, Array]:
        """Design, best settings, their errors, and standard deviations of the prior on the coefficients."""
        j, trend = self.response.hyper.index(hyper), self.response.trend
        used = np.isfinite(self.best[:, j]) & np.isfinite(self.se[:, j])
        used &= np.array([bowl.levels == self.response.level for bowl in self.response.bowls])
        s = np.array([trend.place(bowl.point) for bowl in self.response.bowls])[used]
        X = np.concatenate([np.ones((len(s), 1)), s, *([0.5 * s**2] if bent else [])], axis=1)
        p, width = self.response.solver.p, s.shape[1]
        prior = np.array([p.intercept, *[p.exponent] * width, *([p.bend or 1e-6] * width if bent else [])])
        return X, self.best[used, j], self.se[used, j], prior

    def to_dict(self, level: float = 0.9) -> dict[str, Any]:
        """Plain values, for JSON: per hyperparameter and scale column the exponent and the bend."""
        over = self.response.over
        return {
            name: {
                column: {
                    "exponent": self.exponent(name, column, level).to_dict(),
                    "bend": self.bend(name, column, level).to_dict(),
                }
                for column in over
            }
            for name in self.response.hyper
        }


def _height(X: Array, y: Array, se: Array, prior: Array) -> float:
    """Log likelihood at the best coefficients and the best tau, up to a constant; the first coefficient has no prior."""
    precision = np.diag(np.array([0.0, *prior[1:] ** -2.0]))
    best = -math.inf
    for tau in _TAUS:
        variance = tau**2 + se**2
        beta = np.linalg.solve((X.T / variance) @ X + precision, X.T @ (y / variance))
        residual = y - X @ beta
        value = -0.5 * float(np.sum(np.log(variance) + residual**2 / variance) + beta @ precision @ beta)
        best = max(best, value + math.log(tau) - tau / _TAU)
    return best


def _crossing(gap: Callable[[float], float], top: float, step: float) -> float:
    """Where a concave gap, positive at the top, crosses zero in the direction of the step."""
    far = step
    while gap(top + far) > 0 and abs(far) < 1e4 * abs(step):
        far *= 2
    near = 0.0
    for _ in range(40):
        middle = 0.5 * (near + far)
        near, far = (middle, far) if gap(top + middle) > 0 else (near, middle)
    return top + 0.5 * (near + far)


def read(response: Response, name: str = "response") -> Reading:
    """The scales' best settings and losses by an estimator.

    Raises:
        InputError: no such estimator.
    """
    if name not in READINGS:
        raise InputError(f"no estimator {name!r}", "estimator", f"Use {', '.join(READINGS)}")
    return READINGS[name](response)


def _response(response: Response) -> Reading:
    bowls = response.bowls
    return Reading(
        "response",
        np.stack([bowl.best for bowl in bowls]),
        np.stack([np.sqrt(np.diag(bowl.best_cov)) for bowl in bowls]),
        np.array([bowl.log_loss for bowl in bowls]),
        np.array([bowl.log_loss_se for bowl in bowls]),
        response,
    )


def _argmin(response: Response) -> Reading:
    m = len(response.hyper)
    rows: list[tuple[Array, Array, float, float]] = []
    for cell, bowl in zip(response.cells, response.bowls, strict=True):
        lowest = int(np.argmin(cell.y))
        step = np.array([_step(cell.z[:, j]) for j in range(m)])
        hidden = 2 * response.noise / np.maximum(np.diag(bowl.hessian), 1e-12)
        rows.append((cell.z[lowest], np.sqrt(step**2 / 12 + hidden), float(cell.y[lowest]), response.noise))
    return Reading("argmin", *_stacked(rows), response)


def _parabola(response: Response) -> Reading:
    rows = [_vertex(cell, response.noise) for cell in response.cells]
    return Reading("parabola", *_stacked(rows), response)


def _vertex(cell: Cell, noise: float) -> tuple[Array, Array, float, float]:
    """One scale's own parabola; NaN where it has too few settings or no minimum."""
    m = cell.z.shape[1]
    pairs = [(i, j) for i in range(m) for j in range(i, m)]
    need = 1 + m + len(pairs)
    nothing = (np.full(m, np.nan), np.full(m, np.nan), math.nan, math.nan)
    if len(cell.y) < need:
        return nothing
    excess = np.sort(cell.y - cell.y.min())
    used = cell.y - cell.y.min() <= max(_WINDOW, float(excess[min(need, len(excess) - 1)]))
    middle = cell.z[used].mean(axis=0)
    d = cell.z[used] - middle
    X = np.column_stack([np.ones(len(d)), d, *(d[:, i] * d[:, j] * (0.5 if i == j else 1.0) for i, j in pairs)])
    if np.linalg.matrix_rank(X) < need:
        return nothing
    beta = np.linalg.lstsq(X, cell.y[used], rcond=None)[0]
    H = np.zeros((m, m))
    for (i, j), value in zip(pairs, beta[1 + m :], strict=True):
        H[i, j] = H[j, i] = value
    if np.linalg.eigvalsh(H)[0] <= 0:
        return nothing
    residual = cell.y[used] - X @ beta
    variance = max(float(residual @ residual) / max(len(d) - need, 1), noise**2 if len(d) == need else 0.0)
    covariance = variance * np.linalg.inv(X.T @ X)
    inverse = np.linalg.inv(H)
    shift = -inverse @ beta[1 : 1 + m]
    # best = middle - H^-1 g: its derivatives in g and in the entries of H.
    slopes = np.zeros((m, need))
    slopes[:, 1 : 1 + m] = -inverse
    for k, (i, j) in enumerate(pairs):
        change = np.zeros((m, m))
        change[i, j] = change[j, i] = 1.0
        slopes[:, 1 + m + k] = -inverse @ change @ shift
    spread = slopes @ covariance @ slopes.T
    lowest = float(beta[0] + 0.5 * beta[1 : 1 + m] @ shift)
    return middle + shift, np.sqrt(np.diag(spread)), lowest, math.sqrt(float(covariance[0, 0]))


def _stacked(rows: list[tuple[Array, Array, float, float]]) -> tuple[Array, Array, Array, Array]:
    best, se, loss, loss_se = zip(*rows, strict=True)
    return np.stack(best), np.stack(se), np.array(loss), np.array(loss_se)


def _step(column: Array) -> float:
    values = np.unique(column)
    return float(np.median(np.diff(values))) if len(values) > 1 else 1.0


READINGS: Mapping[str, Callable[[Response], Reading]] = {"response": _response, "parabola": _parabola, "argmin": _argmin}
