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

    def _coefficient(self, hyper: str, k: int, level: float, *, bent: bool) -> Estimate:
        beta, covariance, degrees = self._law(hyper, bent=bent)
        se = math.sqrt(float(covariance[k, k]))
        half = quantile_t(0.5 + 0.5 * level, degrees) * se
        return Estimate(float(beta[k]), float(beta[k] - half), float(beta[k] + half), level, se)

    def _law(self, hyper: str, *, bent: bool) -> tuple[Array, Array, int]:
        j, trend = self.response.hyper.index(hyper), self.response.trend
        used = np.isfinite(self.best[:, j]) & np.isfinite(self.se[:, j])
        s = np.array([trend.place(bowl.point) for bowl in self.response.bowls])[used]
        X = np.concatenate([np.ones((len(s), 1)), s, *([0.5 * s**2] if bent else [])], axis=1)
        effects = random_effects(X, self.best[used, j], self.se[used, j])
        settings = self.response.solver.p
        prior = [settings.intercept, *[settings.exponent] * s.shape[1], *([settings.bend or 1e-6] * s.shape[1] if bent else [])]
        weight = 1 / (effects.tau**2 + self.se[used, j] ** 2)
        # The intercept's prior stands about the surface's own value, so that units do not matter.
        centre = np.array([trend.paths[j].beta[0], *[0.0] * (len(prior) - 1)])
        precision = np.diag(np.array(prior) ** -2.0)
        covariance = np.asarray(np.linalg.inv((X.T * weight) @ X + precision), dtype=np.float64)
        beta = np.asarray(covariance @ (X.T @ (weight * self.best[used, j]) + precision @ centre), dtype=np.float64)
        return beta, covariance, max(int(used.sum()) - 1 - s.shape[1], 1)

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
