"""What a run costs at a scale, in FLOPs: by the runs' own count, else 6 N D."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from ..errors import DataError
from ..trials import Trials

__all__ = ["Costs", "costs_of"]

Array: TypeAlias = NDArray[np.float64]

# Compute is no exact power of the width: with four sizes or more its exponent may change.
_BENT = 4
# Powers of the width: a layer beside an input or output that stays, a layer, and as many tokens as weights with either.
_POWERS: Array = np.arange(1.0, 5.0)
_LAYERS, _ROUNDING = 3, 1e-18


@dataclass(frozen=True, eq=False)
class Costs:
    """FLOPs of a run by its scale.

    What was measured where it was measured. Elsewhere ln C = a + b' ln x (+ 1/2 c (ln x)^2 from four sizes of one column); over
    the width alone C = sum_k a_k width^k, k = 1 ... 4, a_k >= 0, which is what layers of a network cost.

    Args:
        over: scale columns. rule: how compute was counted, a sentence.
    """

    over: tuple[str, ...]
    rule: str
    _measured: Mapping[tuple[float, ...], float] = field(repr=False)
    _theta: Array = field(repr=False)
    _count: Callable[[Mapping[str, float]], float] | None = field(default=None, repr=False)

    @classmethod
    def counted(cls, over: Sequence[str], count: Callable[[Mapping[str, float]], float]) -> Costs:
        """Costs that a function counts from the structure of the network."""
        return cls(tuple(over), "Cost is counted from the network's structure.", {}, np.zeros(0), count)

    def at(self, point: Mapping[str, float]) -> float:
        """FLOPs of one run at a scale."""
        x = np.log([point[name] for name in self.over])
        key = tuple(np.round(x, 9))
        if key in self._measured:
            return self._measured[key]
        if self._count is not None:
            return self._count(point)
        return math.exp(min(float(_row(x, len(self._theta)) @ self._theta), 700.0))

    def slope(self, point: Mapping[str, float], direction: Array) -> float:
        """d ln C / dt at a scale that moves as ln x + t direction."""
        x = np.log([point[name] for name in self.over])
        if self._count is None:
            low, high = (float(_row(x + each * direction, len(self._theta)) @ self._theta) for each in (-0.05, 0.05))
        else:
            low, high = (math.log(self._count(self._named(x + each * direction))) for each in (-0.05, 0.05))
        return (high - low) / 0.1

    def _named(self, x: Array) -> dict[str, float]:
        return dict(zip(self.over, map(float, np.exp(x)), strict=True))


def costs_of(trials: Trials, over: Sequence[str]) -> Costs:
    """The cost of runs by their scale, from the column compute, else 6 N D with D = tokens, or steps times the batch.

    Raises:
        DataError: none of these columns.
    """
    compute, rule = _compute(trials)
    x = np.log(np.stack([trials.numbers(name) for name in over], axis=1))
    whole = np.isfinite(compute) & (compute > 0) & np.all(np.isfinite(x), axis=1)
    if not whole.any():
        raise DataError("no run says what it cost", trials.source, "Give a column compute, or parameters and tokens")
    points, inverse = np.unique(np.round(x[whole], 9), axis=0, return_inverse=True)
    count = np.bincount(inverse.reshape(-1))
    log_cost = np.bincount(inverse.reshape(-1), np.log(compute[whole])) / count
    width = 1 + len(over) + (1 if len(over) == 1 and len(points) >= _BENT else 0)
    X = np.stack([_row(point, width) for point in points])
    theta = np.asarray(np.linalg.lstsq(X, log_cost)[0], dtype=np.float64)
    if len(points) == 1:
        # One size says nothing of how cost grows: C = 6 N D, and N grows as the square of a width.
        b = np.array([2.0 if name == "width" else 1.0 for name in over])
        theta = np.concatenate([[log_cost[0] - b @ points[0]], b])
    measured = {tuple(point): math.exp(value) for point, value in zip(points, log_cost, strict=True)}
    count = (
        _by_width(np.asarray(points[:, 0], dtype=np.float64), log_cost)
        if tuple(over) == ("width",) and len(points) >= _LAYERS
        else None
    )
    return Costs(tuple(over), rule, measured, theta, count)


def _by_width(x: Array, log_cost: Array) -> Callable[[Mapping[str, float]], float]:
    """C = sum_k a_k width^k, the a_k >= 0 of least relative squares: the best of the unbounded solutions that are >= 0."""
    relative: Array = np.exp(x[:, None] * _POWERS - log_cost[:, None])
    found: tuple[float, Array, Array] = (math.inf, _POWERS[:1], np.ones(1))
    for count in range(1, len(_POWERS) + 1):
        for kept in map(list, itertools.combinations(range(len(_POWERS)), count)):
            a = np.asarray(np.linalg.lstsq(relative[:, kept], np.ones(len(x)))[0], dtype=np.float64)
            lost = float(np.sum((relative[:, kept] @ a - 1.0) ** 2))
            # A further power has to be seen to count: rounding alone makes none.
            if np.all(a > 0) and lost < 0.99 * found[0] - _ROUNDING:
                found = (lost, _POWERS[kept], a)
    _, powers, weights = found
    return lambda point: float(weights @ point["width"] ** powers)


def _row(x: Array, width: int) -> Array:
    return np.concatenate([[1.0], x, 0.5 * x**2])[:width]


def _compute(trials: Trials) -> tuple[Array, str]:
    """FLOPs of each run and how they were counted."""
    if "compute" in trials and np.isfinite(trials.numbers("compute")).any():
        return trials.numbers("compute"), "Cost is the column compute."
    for name in ("tokens", "steps"):
        if "parameters" in trials and name in trials:
            tokens, how = trials.numbers(name), "D = tokens"
            if name == "steps":
                batch = trials.numbers("batch_size") if "batch_size" in trials else np.ones(len(trials))
                context = trials.numbers("context") if "context" in trials else np.ones(len(trials))
                tokens, how = tokens * batch * context, "D = steps x batch size x context"
            return 6.0 * trials.numbers("parameters") * tokens, f"No costs were given: C = 6 N D, {how}."
    raise DataError(
        "no run says what it cost: there is neither compute, nor parameters with tokens or steps",
        trials.source,
        "Give a column compute in FLOPs, or parameters and tokens",
    )
