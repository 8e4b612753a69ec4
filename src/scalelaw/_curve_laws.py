"""Laws of a training curve that know its learning-rate schedule: the multi-power law and the law of Tissue et al.

Both are fitted to several curves at once, on losses over the run's final loss, with the coefficients linear in ln size.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from .curves import Plan

__all__ = ["LAWS", "CurveLaw", "Fitted", "Setup", "fit_law", "multi_power", "tissue"]

Array: TypeAlias = NDArray[np.float64]

# Pieces into which the decay of a schedule is cut: steps of a rate that nobody could tell from a smooth fall.
_PIECES = 64


@dataclass(frozen=True, eq=False)
class Setup:
    """What a law needs of a run: see `Setup.of`.

    Args:
        size: ln size, or several, with a one before them, `(p,)`.
        area: sum of the rate shares up to each look, in units of a reference area, `(J,)`.
        drops: falls of the rate share, `(K,)`; rate: the share after each fall; since: area since then at each look, `(J, K)`.
        passed: steps since each fall, in the same unit, `(J, K)`.
    """

    size: Array
    area: Array
    drops: Array
    rate: Array
    since: Array
    passed: Array

    @classmethod
    def of(cls, plan: Plan, total: float, x: Array, size: Array, unit: float) -> Setup:
        """The run of `total` steps under `plan` at progress `x`; areas are counted in `unit` steps at the peak rate."""
        steps = max(round(total), 2)
        u = plan.shares(steps)
        area = np.concatenate([[0.0], np.cumsum(u)])
        at = np.clip(x, 0, 1) * steps
        S = np.interp(at, np.arange(steps + 1), area)
        w = round(plan.warmup * steps)
        # The fall in each piece, taken at its middle.
        cuts = np.unique(np.round(np.linspace(w, steps, _PIECES + 1)).astype(int))
        rates = np.concatenate([u, u[-1:]])[cuts]
        fall = -np.diff(rates)
        kept = fall > 1e-12
        middle = 0.5 * (cuts[1:] + cuts[:-1])[kept]
        after = at[:, None] - middle
        since = np.maximum(S[:, None] - np.interp(middle, np.arange(steps + 1), area), 0.0)
        share = np.where(after > 0, 1.0, 0.0)
        return cls(
            size, S / unit, fall[kept], np.maximum(rates[1:][kept], 1e-3), since * share / unit, np.maximum(after, 0.0) / unit
        )


@dataclass(frozen=True)
class CurveLaw:
    """A curve law as linear terms given its exponents.

    Args:
        name: of the law. start, low, high: of the coordinates of its exponents.
    """

    name: str
    start: tuple[float, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]

    def terms(self, coordinates: Array, setup: Setup) -> Array:
        """Columns that the loss is linear in, `(J, 3)`: 1, the power of the area, and minus what the falls of the rate gain."""
        shift = float(setup.size[1]) if len(setup.size) > 1 else 0.0
        power = np.maximum(setup.area, 1e-9) ** -math.exp(coordinates[0] + coordinates[1] * shift)
        gain = (multi_power if self.name == "multi_power" else tissue)(coordinates[2:], setup)
        return np.stack([np.ones_like(power), power, -gain], axis=1)


def multi_power(coordinates: Array, setup: Setup) -> Array:
    """sum_k (u_{k-1} - u_k) G(u_k^-gamma S_k(t)), G(x) = 1 - (1 + C x)^-beta (Luo et al., 2503.12811), `(J,)`.

    Coordinates: ln C, ln beta, ln gamma. u is the rate over the peak rate, S_k the sum of u since the fall k.
    """
    C, beta, gamma = np.exp(coordinates)
    return (1.0 - (1.0 + C * setup.rate**-gamma * setup.since) ** -beta) @ setup.drops


def tissue(coordinates: Array, setup: Setup) -> Array:
    """S2 = sum_i sum_{k <= i} (u_{k-1} - u_k) lambda^(i - k) (Tissue et al., 2408.11029), `(J,)`.

    A fall k adds (1 - lambda^n) / (1 - lambda) after n steps: with lambda = exp(-1 / tau), 1 - exp(-n / tau) up to a factor that
    the law's coefficient takes. Coordinate: ln tau, in the unit of the areas.
    """
    return (1.0 - np.exp(-setup.passed / math.exp(coordinates[0]))) @ setup.drops


LAWS = (
    # exponent of the area and its drift; C, beta, gamma
    CurveLaw("multi_power", (-0.7, 0.0, 1.0, -0.5, -0.5), (-3.0, -0.5, -3.0, -3.0, -4.0), (1.0, 0.5, 6.0, 1.0, 0.3)),
    CurveLaw("tissue", (-0.7, 0.0, -3.0), (-3.0, -0.5, -7.0), (1.0, 0.5, 1.0)),
)


@dataclass(frozen=True, eq=False)
class Fitted:
    """A curve law fitted to several curves: exponents and coefficients, `(3, p)`."""

    law: CurveLaw
    coordinates: Array
    coefficients: Array

    def predict(self, setup: Setup) -> Array:
        """ln (loss / final loss) at the looks of a run, `(J,)`; NaN where the law has left the positive losses."""
        value = self.law.terms(self.coordinates, setup) @ (self.coefficients @ setup.size)
        return np.where(value > 0.05, np.log(np.maximum(value, 0.05)), np.nan)


def fit_law(law: CurveLaw, setups: Sequence[Setup], ratios: Sequence[Array], start: Array | None = None) -> Fitted:
    """Fit loss / final loss of several curves, `(J,)` each, by variable projection: exponents outside, coefficients inside.

    The coefficients of the three terms are linear in ln size, with a weak pull of their drifts to zero.
    """
    from scipy.optimize import least_squares

    y = np.concatenate([ratio / ratio for ratio in ratios])
    scale = [1.0 / ratio for ratio in ratios]
    p = len(setups[0].size)
    pull = 1e-3 * np.kron(np.eye(3), np.diag([0.0] + [1.0] * (p - 1)))

    def design(coordinates: Array) -> Array:
        blocks = [
            (law.terms(coordinates, setup) * each[:, None])[:, :, None] * setup.size
            for setup, each in zip(setups, scale, strict=True)
        ]
        return np.concatenate(blocks).reshape(len(y), 3 * p)

    def solve(coordinates: Array) -> tuple[Array, Array]:
        X = np.concatenate([design(coordinates), pull])
        target = np.concatenate([y, np.zeros(len(pull))])
        theta = np.linalg.lstsq(X, target, rcond=1e-9)[0]
        return np.asarray(theta, dtype=np.float64), np.asarray(X @ theta - target, dtype=np.float64)

    first = np.array(law.start) if start is None else np.clip(start, law.low, law.high)
    weak = 1e-3

    def residual(coordinates: Array) -> Array:
        return np.concatenate([solve(coordinates)[1], weak * (coordinates - np.array(law.start))])

    found = least_squares(residual, first, bounds=(law.low, law.high), max_nfev=12 if start is not None else 40, x_scale=1.0)
    theta, _ = solve(found.x)
    return Fitted(law, found.x, theta.reshape(3, p))
