"""Small made-up studies on which the diagnostics are shown and tested."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..trials import Trials

__all__ = ["study"]


def study(
    widths: Sequence[float] = (16, 32, 64, 128, 256),
    rates: Sequence[float] = (1e-4, 2e-4, 4e-4, 8e-4, 1.6e-3, 3.2e-3, 6.4e-3),
    seeds: int = 3,
    *,
    best: float = 3e-3,
    noise: float = 0.002,
) -> Trials:
    """A clean study with known truth: best rate `best` (width / 16)^-0.3, loss 1 + 3 (width / 16)^-0.3 there, curvature 0.05."""
    random = np.random.default_rng(0)
    columns: dict[str, list[Any]] = {name: [] for name in ("width", "learning_rate", "seed", "loss")}
    for width in widths:
        for rate in rates:
            away = np.log(rate / best) + 0.3 * np.log(width / 16)
            for seed in range(seeds):
                loss = (1 + 3 * (width / 16) ** -0.3) * np.exp(0.025 * away**2 + noise * random.normal())
                for name, value in zip(columns, (width, rate, seed, loss), strict=True):
                    columns[name].append(float(value))
    return Trials.from_columns(columns, "example")
