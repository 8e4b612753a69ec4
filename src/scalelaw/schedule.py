"""Learning-rate schedules: the rate of every step as a share of the peak rate. NumPy only, so that a worker can import it."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

__all__ = ["DECAY", "SCHEDULES", "matching", "shares", "warmup_share"]

Array: TypeAlias = NDArray[np.float64]

# Share of the steps after warmup over which a warmup-stable-decay schedule falls; 0.1 (Hu et al., 2404.06395) to 0.2 are common.
DECAY = 0.2


def _constant(p: Array, final: float) -> Array:  # noqa: ARG001  (every schedule is called alike)
    return np.ones_like(p)


def _linear(p: Array, final: float) -> Array:
    return 1.0 - (1.0 - final) * p


def _cosine(p: Array, final: float) -> Array:
    return final + (1.0 - final) * 0.5 * (1.0 + np.cos(np.pi * p))


def _stable(p: Array, final: float) -> Array:
    return 1.0 - (1.0 - final) * np.clip((p - (1.0 - DECAY)) / DECAY, 0.0, 1.0)


# Schedule -> share of the peak at progress p in [0, 1) after warmup. inverse_square_root counts steps instead: see `shares`.
SCHEDULES: Mapping[str, Callable[[Array, float], Array] | None] = {
    "constant": _constant,
    "linear": _linear,
    "cosine": _cosine,
    "warmup_stable_decay": _stable,
    "inverse_square_root": None,
}
_ALIASES = {"wsd": "warmup_stable_decay", "trapezoidal": "warmup_stable_decay", "inverse_sqrt": "inverse_square_root"}


def shares(schedule: str, steps: int, *, warmup: float = 0.0, final_fraction: float = 0.0) -> Array:
    """The rate of each step over the peak rate, `(steps,)`.

    With S steps, w = round(warmup S) of them warmup, step t from 1, and p = (t - 1 - w) / (S - w) after warmup:

        warmup                t / w
        constant              1
        linear                1 - (1 - f) p
        cosine                f + (1 - f) (1 + cos(pi p)) / 2
        warmup_stable_decay   1 up to p = 1 - d, then falling linearly to f at p = 1, d = `DECAY`
        inverse_square_root   max(f, sqrt(m / (m + t - 1 - w))), m = max(w, 1)

    The first step after warmup has the peak rate.

    Args:
        schedule: a name in `SCHEDULES`, or a common other name of one.
        steps: S, at least 1.
        warmup: share of the steps, from 0 to below 1.
        final_fraction: f, share of the peak to which the rate falls, from 0 to 1.

    Raises:
        KeyError: no such schedule.
    """
    name = matching(schedule)
    if name is None:
        raise KeyError(schedule)
    w = round(warmup * steps)
    after = np.arange(max(steps - w, 0), dtype=np.float64)
    shape = SCHEDULES[name]
    if shape is None:
        m = max(w, 1)
        rest = np.maximum(final_fraction, np.sqrt(m / (m + after)))
    else:
        rest = shape(after / max(steps - w, 1), final_fraction)
    return np.concatenate([np.arange(1, min(w, steps) + 1) / max(w, 1), rest])


def matching(name: str) -> str | None:
    """The schedule that a name means, its own or another (wsd, inverse_sqrt, "cosine with warmup"); None if none does."""
    plain = name.strip().lower().replace("-", "_").replace(" ", "_")
    plain = plain.removesuffix("_with_warmup").removesuffix("_schedule")
    plain = _ALIASES.get(plain, plain)
    return plain if plain in SCHEDULES else None


def warmup_share(settings: Mapping[str, Any], steps: float) -> float:
    """Share of `steps` that is warmup, by the settings `warmup` (a share) or `warmup_steps`; 0 where neither is a number."""
    for name, unit in (("warmup", 1.0), ("warmup_steps", max(steps, 1.0))):
        value = settings.get(name)
        if isinstance(value, int | float) and math.isfinite(value):
            return min(max(float(value) / unit, 0.0), 1.0)
    return 0.0
