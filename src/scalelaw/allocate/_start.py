"""What is believed of Chinchilla's law before the runs of a ladder: published coefficients with wide errors, and the data."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from ..fit import Objective
from ..laws import laws
from ._design import Belief, best_size, log_loss, slopes, summed
from ._ladder import Experiment
from ._parametric import collinear, fitted, usable
from ._runs import Array, Runs

__all__ = ["DECADES", "Start", "believed"]

# The ladder reaches at least so far below its largest run.
DECADES = 2.0
_DRAWS = 32
_NOISE = 0.005
# The prior: Chinchilla's law as refitted by Besiroglu et al. 2024 (arXiv:2404.10102), with standard errors of ln E, of the two
# reducible terms in logarithm where the ladder will lie, and of the two exponents. Loss may be in other units and on other data.
_PRIOR = {"E": 1.8172, "A": 482.01, "B": 2085.43, "alpha": 0.3478, "beta": 0.3658}
_PRIOR_SD = (0.5, 1.0, 1.0, 0.1, 0.1)
_EXPONENTS = (0.03, 1.5)


@dataclass(frozen=True, eq=False)
class Start:
    """What is believed before the runs, the noise behind it and its degrees of freedom, and in words."""

    belief: Belief
    noise: float
    degrees: float
    reason: str


def believed(compute: float, experiment: Experiment, runs: Runs | None, objective: Objective | None, top: float) -> Start:
    """What the data and the prior say before the runs; `top` is ln(C / k) of the largest."""
    theta = np.array([[math.log(_PRIOR["E"]), math.log(_PRIOR["A"]), math.log(_PRIOR["B"]), _PRIOR["alpha"], _PRIOR["beta"]]])
    precision = _prior(theta, top)
    noise, degrees = experiment.noise or _NOISE, math.inf
    told = "published coefficients with wide errors, as there are no runs"
    shown = laws["chinchilla"].objective if objective is None else objective
    if runs is not None:
        found = None if collinear(runs) else fitted(runs, "chinchilla", objective)
        if found is None or isinstance(found, str) or not usable(found):
            theta = _pulled(theta, precision, runs, noise)
            told = f"published coefficients with wide errors and {len(runs)} points, from which alone no law can be fitted"
        else:
            t = found.theta
            # A floor at 0 has no logarithm: a thousandth of the lowest loss tells nothing either.
            floor = max(math.log(max(t["E"], 1e-300)), float(runs.y.min()) - 7)
            theta = np.array([[floor, math.log(t["A"]), math.log(t["B"]), t["alpha"], t["beta"]]])
            told = f"Chinchilla's law fitted to {len(runs)} points"
            if experiment.noise is None:
                noise, degrees = max(found.residual_sd, 1e-6), float(max(found.freedom, 1))
    worth = noise * math.sqrt(_price(shown, noise))
    weight = None if runs is None else runs.repeats / np.mean(runs.repeats) / worth**2
    nd = math.log(compute / (6.0 if runs is None else runs.per_token))

    def information(at: Array) -> Array:
        data = 0.0 if runs is None or weight is None else summed(at, runs.n, runs.d, weight)
        return np.broadcast_to(precision, (len(at), 5, 5)) + data

    every = _drawn(theta, information(theta)[0])
    reason = f"The choice rests on {told}, with noise of {noise:.2%}."
    return Start(Belief(every, information(every), worth, nd), noise, degrees, reason)


def _prior(theta: Array, top: float) -> Array:
    """Precision of the prior, `(5, 5)`: independent in the terms where the ladder lies, not in A and B at N = D = 1."""
    middle = top - 0.5 * DECADES * math.log(10)
    n = float(best_size(theta, middle)[0])
    T = np.eye(5)
    T[1, 3], T[2, 4] = -n, -(middle - n)
    return T.T @ np.diag(np.array(_PRIOR_SD) ** -2.0) @ T


def _pulled(theta: Array, precision: Array, runs: Runs, noise: float) -> Array:
    """The prior's theta after the data: the mode, by Levenberg's steps."""
    first, damping = theta, 1.0

    def value(at: Array) -> float:
        off = (at - first)[0]
        return float(np.sum(((runs.y - log_loss(at, runs.n, runs.d)[0]) / noise) ** 2) + off @ precision @ off)

    now = value(theta)
    for _ in range(60):
        J = slopes(theta, runs.n, runs.d)[0] / noise
        pull = J.T @ ((runs.y - log_loss(theta, runs.n, runs.d)[0]) / noise) - precision @ (theta - first)[0]
        M = J.T @ J + precision
        step = np.linalg.solve(M + damping * np.diag(np.diag(M)), pull)
        trial = theta + step
        trial[:, 3:] = np.clip(trial[:, 3:], *_EXPONENTS)
        then = value(trial)
        if then < now:
            small = now - then < 1e-9 * now
            theta, now, damping = trial, then, damping / 4
            if small:
                break
        else:
            damping *= 4
    return theta


def _price(objective: Objective, noise: float) -> float:
    """Variance of an estimate by the objective over that by least squares, under normal noise.

    E psi^2 / (s^2 (E psi')^2) with psi = r clipped at delta and c = delta / s: pi / 2 for absolute values, 1 for squares (Huber
    1964).
    """
    c = float(objective.delta) / noise
    if c > 8:
        return 1.0
    density = math.exp(-0.5 * c * c) / math.sqrt(2 * math.pi)
    inside = math.erf(c / math.sqrt(2))
    if c < 1e-4:
        return math.pi / 2
    return (inside - 2 * c * density + c * c * (1 - inside)) / inside**2


def _drawn(theta: Array, information: Array) -> Array:
    """The estimate and draws about it, `(1 + draws, 5)`."""
    root = np.linalg.cholesky(np.linalg.inv(information))
    half = np.random.default_rng(0).standard_normal((_DRAWS // 2, 5))
    every = theta + np.concatenate([np.zeros((1, 5)), half, -half]) @ root.T
    every[:, 3:] = np.clip(every[:, 3:], *_EXPONENTS)
    return every
