"""Estimators of the best rate and batch at a larger scale: from runs to a rule."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from scalelaw.optimum import optimum
from scalelaw.trials import Trials

from .regret import Predict
from .steplaw import HYPER, OVER, SEQUENCE, Array, cells

__all__ = ["ESTIMATORS", "Exponents", "Rule"]

Exponents = Mapping[tuple[str, str], tuple[float, float, float]]


@dataclass(frozen=True)
class Rule:
    """A forecast of the best setting.

    Args:
        predict: (parameters, tokens) to (rate, batch in sequences).
        exponents: by hyperparameter and scale, in the signs of best = c N^a D^b: value, low, high (NaN where none is given).
    """

    predict: Predict
    exponents: Exponents


def _rule(lines: Mapping[str, Array]) -> Rule:
    """From (ln c, a, b) of each hyperparameter."""

    def predict(parameters: float, tokens: float) -> tuple[float, float]:
        row = np.array([1.0, math.log(parameters), math.log(tokens)])
        # Rules from a handful of runs can leave the range of floats; the nearest run judges them all the same.
        rate, batch = (math.exp(float(np.clip(row @ lines[name], -700, 700))) for name in HYPER)
        return rate, batch

    exponents = {(h, s): (float(lines[h][1 + k]), math.nan, math.nan) for h in HYPER for k, s in enumerate(OVER)}
    return Rule(predict, exponents)


def _lines(points: Array, best: Array) -> Rule:
    """Least squares of ln best, `(rows, 2)`, on the ln of parameters and tokens."""
    X = np.concatenate([np.ones((len(points), 1)), points], axis=1)
    found, _, rank, _ = np.linalg.lstsq(X, best)
    if rank < X.shape[1]:
        raise np.linalg.LinAlgError("fewer scales than coefficients")
    return _rule(dict(zip(HYPER, found.T, strict=True)))


def _logs(rows: Trials, names: tuple[str, ...]) -> Array:
    return np.log(np.stack([rows.numbers(name) for name in names], axis=1))


def published(_: Trials) -> Rule:
    """Rate 1.79 N^-0.713 D^0.307, batch 0.58 D^0.571 tokens: arXiv:2503.04715, from all the cells and more."""
    return _rule(
        {
            "learning_rate": np.array([math.log(1.79), -0.713, 0.307]),
            "batch_size": np.array([math.log(0.58 / SEQUENCE), 0.0, 0.571]),
        }
    )


def argmin(trials: Trials) -> Rule:
    """The best run of each cell, then least squares of logs."""
    points, best = [], []
    for point, rows in cells(trials):
        points.append(np.log(point))
        best.append(_logs(rows, HYPER)[np.argmin(rows.numbers("loss"))])
    return _lines(np.array(points), np.array(best))


def band(trials: Trials, width: float = 0.0025, draws: int = 1000) -> Rule:
    """Step Law's own estimator: least squares through every run within 0.25 % of its cell's best, averaged over row bootstraps.

    As in its `fit_tool.py`: the band is taken once, the rows are redrawn 1,000 times, ln rate is regressed on ln N and ln D and
    ln batch on ln D alone, and coefficients are averaged. A redraw without full rank gets the smallest-norm slope, as there.
    """
    near = [rows.where(rows.numbers("loss") < (1 + width) * rows.numbers("loss").min()) for _, rows in cells(trials)]
    X, Z = (np.concatenate([_logs(rows, names) for rows in near]) for names in (OVER, HYPER))
    counts = np.random.default_rng(0).multinomial(len(X), np.full(len(X), 1 / len(X)), size=draws) / len(X)
    lines: dict[str, Array] = {}
    for name, z, used in zip(HYPER, Z.T, ([0, 1], [1]), strict=True):
        x = X[:, used]
        middle, level = counts @ x, counts @ z
        covariance = np.einsum("dr,ri,rj->dij", counts, x, x) - middle[:, :, None] * middle[:, None, :]
        slopes = np.einsum(
            "dij,dj->di", np.linalg.pinv(covariance, rcond=1e-9, hermitian=True), (counts * z) @ x - middle * level[:, None]
        )
        lines[name] = np.zeros(1 + len(OVER))
        lines[name][0] = np.mean(level - np.sum(slopes * middle, axis=1))
        lines[name][[1 + k for k in used]] = slopes.mean(axis=0)
    return _rule(lines)


def parabola(trials: Trials, window: float = 0.02) -> Rule:
    """A full parabola of ln loss through each cell's runs within 2 % of its best, then least squares of logs.

    A cell whose runs do not determine a bowl (fewer than six, no minimum, or one outside the rectangle of its runs) gives its
    best run instead, which serves this estimator better than leaving the cell out.
    """
    points, best = [], []
    for point, rows in cells(trials):
        z, y = _logs(rows, HYPER), np.log(rows.numbers("loss"))
        points.append(np.log(point))
        best.append(_vertex(z[y < y.min() + math.log1p(window)], y[y < y.min() + math.log1p(window)], z))
    return _lines(np.array(points), np.array(best))


def _vertex(z: Array, y: Array, all_runs: Array) -> Array:
    lowest = z[np.argmin(y)]
    u, v = (z - lowest).T
    X = np.stack([np.ones_like(u), u, v, 0.5 * u * u, u * v, 0.5 * v * v], axis=1)
    found, _, rank, _ = np.linalg.lstsq(X, y)
    hessian = np.array([[found[3], found[4]], [found[4], found[5]]])
    if rank < X.shape[1] or np.linalg.eigvalsh(hessian)[0] <= 0:
        return lowest
    vertex = lowest - np.linalg.solve(hessian, found[1:3])
    inside = np.all((vertex >= all_runs.min(axis=0)) & (vertex <= all_runs.max(axis=0)))
    return vertex if inside else lowest


def ours(trials: Trials) -> Rule:
    """`scalelaw.optimum` as it comes."""
    found = optimum(trials, over=OVER, hyper=HYPER)

    def predict(parameters: float, tokens: float) -> tuple[float, float]:
        point: dict[str, float] = {"parameters": parameters, "tokens": tokens}
        rate, batch = (found[name].at(point).value for name in HYPER)
        return rate, batch

    exponents: dict[tuple[str, str], tuple[float, float, float]] = {}
    for name in HYPER:
        law = found[name].to_dict()
        for scale in OVER:  # the law is c x^-p
            low, high = law["interval"][f"p_{scale}"]
            exponents[name, scale] = (-law["coefficients"][f"p_{scale}"], -high, -low)
    return Rule(predict, exponents)


ESTIMATORS: Mapping[str, Callable[[Trials], Rule]] = {
    "argmin": argmin,
    "top 0.25 % band (Step Law's)": band,
    "parabola per cell, 2 %": parabola,
    "scalelaw": ours,
    "published law": published,
}
