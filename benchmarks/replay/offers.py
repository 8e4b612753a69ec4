"""Pools of runs to buy from: published isoFLOP experiments, and simulated ones whose choices and constants they are tried on."""

from __future__ import annotations

import csv
import math
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import numpy as np
from benchmarks.allocation.ladder import World, lawful, walled
from benchmarks.allocation.worlds import valley
from numpy.typing import NDArray

from scalelaw import Trials

__all__ = ["WORLDS", "Offer", "made_of", "published"]

Array: TypeAlias = NDArray[np.float64]

FOLDER = Path(os.environ.get("SCALELAW_REFERENCE_DATA") or Path(__file__).resolve().parents[2].parent / "shared" / "data")
CHINCHILLA, PORIAN = "chinchilla_epoch_svg_extracted.csv", "porian_isoflop_points.csv"


@dataclass(frozen=True, eq=False)
class Offer:
    """A pool: its runs, what each costs in FLOPs, and the compute at which N* is asked for."""

    name: str
    trials: Trials
    target: float

    @property
    def cost(self) -> Array:
        """FLOPs of each run."""
        return self.trials.numbers("compute")


def _data(name: str) -> list[dict[str, str]]:
    with (FOLDER / name).open(encoding="utf-8") as file:
        return list(csv.DictReader(file))


def made_of(name: str, n: Array, c: Array, loss: Array, target: float) -> Offer:
    """A pool of runs of N, compute and loss."""
    columns = {"parameters": n, "tokens": c / (6 * n), "compute": c, "loss": loss}
    return Offer(name, Trials.from_columns(columns), target)


def published() -> list[Offer]:
    """Chinchilla's 240 points at its own 5.76e23 FLOPs, and each recipe of Porian et al. at its largest budget.

    Runs that are listed once more with attention in N are one experiment already.
    """
    rows = [(float(row["Model Size"]), float(row["Training FLOP"]), float(row["loss"])) for row in _data(CHINCHILLA)]
    n, c, loss = np.array(sorted(rows, key=lambda row: row[2])[:-5]).T
    pools = [made_of("Chinchilla", n, c, loss, 5.76e23)]
    groups: dict[str, list[tuple[float, float, float]]] = {}
    for row in _data(PORIAN):
        if row["loss"] and row["n_params"] and row["param_count"] != "attention":
            name = f"{row['dataset']} {row['hparams']} {row['warmup']} {row['decay']} {row['param_count']}"
            groups.setdefault(name, []).append((float(row["n_params"]), float(row["flops"]), float(row["loss"])))
    for name, points in groups.items():
        n, c, loss = np.array(points).T
        pools.append(made_of(name, n, c, loss, float(c.max())))
    return pools


def simulated(kind: Callable[[np.random.Generator], World], scattered: bool = False) -> Callable[[int], Offer]:
    """Pools with a drawn truth: 12 budgets that double from 1.25e16 FLOPs, or sizes and computes scattered over them.

    Sizes lie within a factor of about 10 of the best and thin out with the budget, as published ones do. N* is asked for at the
    largest budget, and at a hundred times it where they scatter.
    """

    def draw(seed: int) -> Offer:
        rng = np.random.default_rng([seed, 23])
        world = kind(rng)
        c = np.repeat(1.25e16 * 2.0 ** np.arange(12), np.linspace(14, 6, 12).astype(int))
        if scattered:
            c = 1.25e16 * 2.0 ** rng.uniform(0, 11, 2 * len(c))
        best = np.array([world.best(float(each)) for each in np.log(c / 6)])
        n = best + rng.uniform(-2.3, 2.3, len(c)) + 0.3 * rng.standard_normal()
        y = world.log_loss(n, np.log(c / 6) - n) + 0.003 * rng.standard_normal(len(c))
        return made_of("simulated", np.exp(n), c, np.exp(y), (100 if scattered else 1) * float(c.max()))

    return draw


# ln(C / 6) of the cheapest budget.
_FIRST = math.log(1.25e16 / 6)


def recipe(rng: np.random.Generator) -> World:
    """Profiles that follow no law: N* ~ C^a with a of 0.45 to 0.85, bent and scattered a little, skewed, some with a wall."""
    a, decay = rng.uniform(0.45, 0.85), rng.uniform(0.08, 0.18)
    E, K = rng.uniform(1.5, 2.5), rng.uniform(1.5, 2.5)
    first, bend = math.log(5e6) + 0.7 * rng.standard_normal(), 0.004 * rng.standard_normal()
    bowl = valley(*rng.uniform(0.2, 0.5, 2))
    height, steep = rng.uniform(0, 0.02), rng.uniform(1.0, 1.8)
    scatter, seed = float(rng.choice([0.0, 0.03, 0.06])), int(rng.integers(2**31))

    def best(nd: float) -> float:
        x = nd - _FIRST
        return first + a * x + bend * x * x

    def log_loss(x: Array, z: Array) -> Array:
        nd = x + z
        # Runs of one budget are off by one draw.
        off = [np.random.default_rng([seed, round(1000 * each)]).standard_normal() for each in nd]
        u = x - best(nd) - scatter * np.array(off)
        return np.log(E + K * np.exp(-decay * (nd - _FIRST)) * (bowl(u) + height * (np.exp(steep * u) - 1 - steep * u)))

    return World(log_loss, best)


def bent(rng: np.random.Generator) -> World:
    """Chinchilla's law, and a penalty on short runs, as too long a warmup is, so that the line of N* is bent."""
    world, height, power = lawful(rng), rng.uniform(0.01, 0.08), rng.uniform(0.6, 1.2)
    middle = 0.5 * (_FIRST + math.log(20)) + rng.uniform(-1.0, 2.0)

    def log_loss(x: Array, z: Array) -> Array:
        return world.log_loss(x, z) + height / (1 + np.exp(power * (z - middle)))

    def best(nd: float) -> float:
        n = world.best(nd) + np.linspace(-3, 3, 2401)
        return float(n[np.argmin(log_loss(n, nd - n))])

    return World(log_loss, best)


def profiles(kind: Callable[[np.random.Generator], World]) -> Callable[[int], Offer]:
    """Pools as isoFLOP experiments are laid: 10 to 13 budgets that double, sizes of one ladder about the best of each.

    The range of sizes narrows with the budget, and noise is 0.1 to 0.4 %. N* is asked for at the largest budget.
    """

    def draw(seed: int) -> Offer:
        rng = np.random.default_rng([seed, 41])
        world = kind(rng)
        count, step, origin = int(rng.integers(10, 14)), rng.uniform(0.25, 0.45), rng.uniform(0, 1)
        noise, off = float(rng.choice([0.001, 0.002, 0.004])), 0.3 * rng.standard_normal()
        ladder = (np.arange(200) + origin) * step
        sizes: list[Array] = []
        for place, half in enumerate(np.linspace(rng.uniform(1.5, 3.0), rng.uniform(0.9, 1.3), count)):
            centre = world.best(_FIRST + place * math.log(2)) + off
            sizes.append(ladder[np.abs(ladder - centre) < half])
        n = np.concatenate(sizes)
        nd = _FIRST + math.log(2) * np.repeat(np.arange(count), [len(each) for each in sizes])
        y = world.log_loss(n, nd - n) + noise * rng.standard_normal(len(n))
        return made_of("simulated", np.exp(n), 6 * np.exp(nd), np.exp(y), 6 * math.exp(nd.max()))

    return draw


WORLDS = {
    "the law, budgets": simulated(lawful),
    "the law, scattered": simulated(lawful, scattered=True),
    "a wall, budgets": simulated(walled),
    "a wall, scattered": simulated(walled, scattered=True),
    "the law, profiles": profiles(lawful),
    "a wall, profiles": profiles(walled),
    "a recipe, profiles": profiles(recipe),
    "a bent recipe, profiles": profiles(bent),
}
