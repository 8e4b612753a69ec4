"""Simulated N x D studies: six sizes, four ratios of tokens to parameters, 0.4 % noise; the target is ten times the largest."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from scalelaw.trials import Trials

__all__ = ["CORRECT", "NOISE", "SIZES", "TARGET", "TRUTHS", "study"]

Array: TypeAlias = NDArray[np.float64]
Truth: TypeAlias = Callable[[Array, Array], Array]

SIZES = 2e7 * 2.5 ** np.arange(6)
RATIOS = np.array([5.0, 15.0, 45.0, 135.0])
NOISE = 0.004
TARGET = {"parameters": 10 * float(SIZES[-1]), "tokens": 200 * float(SIZES[-1])}


def _chinchilla(n: Array, d: Array) -> Array:
    return 1.8 + 480 * n**-0.35 + 2100 * d**-0.37


def _skaling(n: Array, d: Array) -> Array:
    return 1.8 + (5e3 * n**-0.5 + 2e4 * d**-0.55) ** 0.6


def _log_linear(n: Array, d: Array) -> Array:
    return 9.5 - 0.14 * np.log(n) - 0.14 * np.log(d)


def _broken(at: float, change: float) -> Truth:
    """Chinchilla's reducible loss with slopes in ln N that change by `change` around N = at."""

    def loss(n: Array, d: Array) -> Array:
        return 1.8 + (480 * n**-0.35 + 2100 * d**-0.37) * (1 + (n / at) ** 4) ** (change / 4)

    return loss


TRUTHS: dict[str, Truth] = {
    "Chinchilla": _chinchilla,
    "Skaling .6": _skaling,
    "log-linear": _log_linear,
    "break 10x beyond the target": _broken(100 * float(SIZES[-1]), 0.05),
    "break before the target, .02": _broken(3 * float(SIZES[-1]), 0.02),
    "break before the target, .05": _broken(3 * float(SIZES[-1]), 0.05),
}
# The law that is right in each world, by its name here.
CORRECT = {
    "Chinchilla": "chinchilla",
    "Skaling .6": "skaling",
    "log-linear": "log_linear",
    "break 10x beyond the target": "chinchilla",
}


def study(truth: Truth, random: np.random.Generator) -> Trials:
    """One study: 24 runs."""
    n, ratio = (each.ravel() for each in np.meshgrid(SIZES, RATIOS))
    loss = truth(n, n * ratio) * np.exp(NOISE * random.standard_normal(len(n)))
    return Trials.from_columns({"parameters": n, "tokens": n * ratio, "loss": loss}, "simulated")
