"""Factors: hyperparameters compared by level, such as the schedule or the precision, each level at its own best settings.

With y_ck = ln best loss of scale c at levels k, and its standard error from the response,

    y_ck = scale_c + sum_f effect_f[k_f] + scatter + e_ck

so a level is judged within scales, on re-tuned runs, and pooled over scales; the lowest run of many would flatter the level that
was tried most. Effects are weighted least squares with random effects, t(values - coefficients).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from .estimate import Effects, Estimate, quantile_t, random_effects

__all__ = ["Level", "best_levels", "compare_levels"]

Array: TypeAlias = NDArray[np.float64]
# (scale, levels, ln loss, its standard error)
Best: TypeAlias = tuple[tuple[float, ...], tuple[str, ...], float, float]

# Scatter of a level's effect between scales, in ln loss: the scale of a weak prior.
_SCATTER = 0.003


@dataclass(frozen=True)
class Level:
    """One level of a factor against the best one.

    Args:
        factor, level: names. best: whether it is the best.
        effect: on ln loss at re-tuned settings, against the best level; None where no scale has both.
        shift: of each hyperparameter's best setting, in its coordinate (ln for most), against the best level.
        scales: at how many scales it was run.
    """

    factor: str
    level: str
    best: bool
    effect: Estimate | None
    shift: dict[str, Estimate]
    scales: int

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return {
            "factor": self.factor,
            "level": self.level,
            "best": self.best,
            "effect": None if self.effect is None else self.effect.to_dict(),
            "shift": {name: each.to_dict() for name, each in self.shift.items()},
            "scales": self.scales,
        }


def best_levels(rows: Sequence[Best]) -> tuple[str, ...]:
    """The level of each factor with the lowest effect, among those that share a scale with another; else the most often run."""
    if not rows or not rows[0][1]:
        return ()
    names, effects, known = _effects(rows)
    best: list[str] = []
    for factor in range(len(rows[0][1])):
        mine = [k for k, (f, _) in enumerate(names) if f == factor]
        told = [k for k in mine if known[k]]
        often = [sum(levels[factor] == names[k][1] for _, levels, _, _ in rows) for k in mine]
        best.append(names[min(told, key=lambda k: effects.beta[k])][1] if told else names[mine[int(np.argmax(often))]][1])
    return tuple(best)


def compare_levels(rows: Sequence[Best], best: tuple[str, ...], level: float = 0.9) -> dict[tuple[int, str], Estimate]:
    """Effect of each level on ln loss against the best one, by (factor, level); those that no scale ties to it are left out."""
    if not rows or not rows[0][1]:
        return {}
    names, effects, known = _effects(rows)
    found: dict[tuple[int, str], Estimate] = {}
    t = quantile_t(0.5 + 0.5 * level, effects.degrees)
    for k, (factor, name) in enumerate(names):
        reference = names.index((factor, best[factor]))
        if not known[k] or not known[reference]:
            continue
        contrast = np.zeros(len(effects.beta))
        contrast[k] += 1.0
        contrast[reference] -= 1.0
        value = float(contrast @ effects.beta)
        se = float(np.sqrt(max(contrast @ effects.covariance @ contrast, 0.0)))
        found[factor, name] = Estimate(value, value - t * se, value + t * se, level, se)
    return found


def _effects(rows: Sequence[Best]) -> tuple[list[tuple[int, str]], Effects, list[bool]]:
    """Levels by name, their effects within scales, and which of them any scale compares.

    Scales are taken out by their weighted means, so a coefficient is a level's alone; the system is singular by one constant for
    each factor, and its least-norm solution gives contrasts.
    """
    names = sorted({(f, each) for _, levels, _, _ in rows for f, each in enumerate(levels)})
    X = np.array([[float(levels[f] == name) for f, name in names] for _, levels, _, _ in rows])
    y, se = np.array([row[2] for row in rows]), np.array([row[3] for row in rows])
    scales = sorted({row[0] for row in rows})
    inside = np.array([[float(row[0] == scale) for scale in scales] for row in rows])
    effects = random_effects(np.concatenate([X, inside], axis=1), y, np.maximum(se, 1e-6), _SCATTER)
    at = slice(0, len(names))
    compared = [any(np.ptp(X[inside[:, c] > 0, k]) > 0 for c in range(len(scales))) for k in range(len(names))]
    degrees = max(len(y) - int(np.linalg.matrix_rank(np.concatenate([X, inside], axis=1))), 1)
    return names, Effects(effects.beta[at], effects.covariance[at, at], effects.tau, degrees), compared
