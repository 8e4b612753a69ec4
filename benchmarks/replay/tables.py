"""The tables: each function replays and returns lines of markdown."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Sequence
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from scalelaw.plan import Policy

from .figure import PICTURE, draw
from .game import play
from .policies import POLICIES, ours
from .pools import WORLDS, Pool, languages, steplaw, width_study

__all__ = ["BUDGETS", "VARIANTS", "policies_table", "replayed", "steplaw_table", "studies_table", "worlds_table"]

Array: TypeAlias = NDArray[np.float64]

BUDGETS = (0.01, 0.02, 0.05, 0.1, 0.2)
# Percent: required, and aimed at, of our mean on Step Law; and how close to the best of the others.
REQUIRED, AIM, NEAR = (0.15, 0.14, 0.11, 0.11, 0.10), (0.12, 0.12, 0.095, 0.095, 0.085), 0.02


def replayed(pools: Callable[[int], Pool], seeds: int, budgets: Sequence[float] = BUDGETS) -> dict[str, Array]:
    """Percent of the loss lost, `(seeds, budgets)`, by policy; seed k plays the same pool for all policies."""
    found: dict[str, list[Array]] = {name: [] for name in POLICIES}
    for seed in range(seeds):
        pool = pools(seed)
        for name, choice in POLICIES.items():
            found[name].append(play(pool, choice, budgets, seed))
    return {name: np.array(each) for name, each in found.items()}


def _table(found: dict[str, Array], budgets: Sequence[float] = BUDGETS) -> list[str]:
    """Mean, median and 90th percentile of each policy at each budget."""
    lines = ["| policy | " + " | ".join(f"{share:.0%}" for share in budgets) + " |", "|---|" + "---|" * len(budgets)]
    for name, values in found.items():
        cells = [
            f"{values[:, k].mean():.3f}, {np.median(values[:, k]):.3f}, {np.quantile(values[:, k], 0.9):.3f}"
            for k in range(len(budgets))
        ]
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return lines


def _beside(found: dict[str, Array]) -> list[str]:
    """Our mean and 90th percentile less the least of the others."""
    ours = found["scalelaw"]
    others = [values for name, values in found.items() if name != "scalelaw"]
    mean = ours.mean(axis=0) - np.min([each.mean(axis=0) for each in others], axis=0)
    high = np.quantile(ours, 0.9, axis=0) - np.min([np.quantile(each, 0.9, axis=0) for each in others], axis=0)
    return [
        "| mean less the best other's | " + " | ".join(f"{each:+.3f}" for each in mean) + " |",
        "| 90th percentile less the best other's | " + " | ".join(f"{each:+.3f}" for each in high) + " |",
    ]


def steplaw_table(seeds: int) -> list[str]:
    """Step Law: buy from ten smaller cells, be judged at five larger ones; draws `docs/figures/replay.png`."""
    pool = steplaw()
    start = time.perf_counter()
    found = replayed(lambda _: pool, seeds)
    draw(found, BUDGETS, REQUIRED)
    lines = _table(found)
    lines.append("| required of scalelaw's mean | " + " | ".join(f"{each:g}" for each in REQUIRED) + " |")
    lines.append("| aimed at | " + " | ".join(f"{each:g}" for each in AIM) + " |")
    lines += _beside(found)
    ours = found["scalelaw"].mean(axis=0)
    held = ["yes" if mean <= most else "NO" for mean, most in zip(ours, REQUIRED, strict=True)]
    lines.append("| required holds | " + " | ".join(held) + " |")
    return [
        "Mean, median and 90th percentile over seeds of the percent of the loss lost at the five larger cells, by share of the "
        "pool's FLOPs.",
        "",
        *lines,
        "",
        f"{seeds} seeds, {time.perf_counter() - start:.0f} s. Drew {PICTURE.name}.",
    ]


def worlds_table(seeds: int) -> list[str]:
    """Simulated pools: a new world for each seed, the truth known exactly."""
    lines: list[str] = []
    for name, world in WORLDS.items():
        found = replayed(world.draw, seeds)
        lines += [f"**{name}**", "", *_table(found), *_beside(found), ""]
    return lines


# What the constants of the planner and the prior on exponents were chosen among.
VARIANTS: dict[str, dict[str, float]] = {
    "as shipped": {},
    "cost^1 first": {"first": 1.0},
    "cost^0.5 first": {"first": 0.5},
    "cost^0.8 then": {"then": 0.8},
    "nothing fills space": {"fill": 0.0, "idle": 0.0},
    "60 % fills space": {"fill": 0.6},
}


def policies_table(seeds: int) -> list[str]:
    """Our own constants against others on the simulated pools, means over seeds and worlds; a new world for each seed."""
    lines = ["| constants | " + " | ".join(f"{share:.0%}" for share in BUDGETS) + " |", "|---|" + "---|" * len(BUDGETS)]
    pools = [[world.draw(seed) for seed in range(seeds)] for world in WORLDS.values()]
    for name, changes in VARIANTS.items():
        choice = functools.partial(ours, policy=Policy(**changes))
        found = np.mean([[play(pool, choice, BUDGETS, seed) for seed, pool in enumerate(row)] for row in pools], axis=(0, 1))
        lines.append(f"| {name} | " + " | ".join(f"{each:.3f}" for each in found) + " |")
    return lines


def studies_table(seeds: int) -> list[str]:
    """Our own studies: small sizes to buy from, larger ones to be judged by their own grids."""
    lines: list[str] = []
    for pool in (width_study(), languages()):
        found = replayed(lambda _, pool=pool: pool, seeds)
        lines += [f"**{pool.name}**, 1 % of whose FLOPs pay {0.01 * pool.total / pool.cost.max():.2f} of its dearest runs", ""]
        lines += [*_table(found), *_beside(found), ""]
    return lines
