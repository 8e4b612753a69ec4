"""Pools of runs whose losses are known: what each costs, which cells are to be judged, and what a setting costs there."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import LinearNDInterpolator

from scalelaw.axis import axis_of
from scalelaw.plan._candidates import Candidates
from scalelaw.store import load
from scalelaw.testing.surfaces import Surface, axes
from scalelaw.trials import Trials

__all__ = ["WORLDS", "Pool", "World", "languages", "steplaw", "width_study"]

Array: TypeAlias = NDArray[np.float64]
Judge: TypeAlias = Callable[[list[Array]], Array]


@dataclass(frozen=True, eq=False)
class Pool:
    """Runs to choose from.

    Args:
        name: of the pool.
        trials: every run, one row each.
        over, hyper: scale columns and hyperparameters.
        cost: FLOPs of each row.
        targets: the scales to be judged.
        judge: settings by target -> percent of the loss lost, `(targets,)`.
    """

    name: str
    trials: Trials
    over: tuple[str, ...]
    hyper: tuple[str, ...]
    cost: Array
    targets: tuple[Mapping[str, float], ...]
    judge: Judge = field(repr=False)

    @property
    def total(self) -> float:
        """FLOPs of the whole pool."""
        return float(self.cost.sum())

    def candidates(self, made: NDArray[np.bool_]) -> Candidates:
        """The pool as candidates, one a row; a row that was made has none left."""
        sizes = np.stack([self.trials.numbers(name) for name in self.over], axis=1)
        points, cell = np.unique(sizes, axis=0, return_inverse=True)
        z = np.stack([axis_of(name).coordinate(self.trials.numbers(name)) for name in self.hyper], axis=1)
        named = tuple(dict(zip(self.over, map(float, point), strict=True)) for point in points)
        return Candidates(self.over, self.hyper, named, cell.reshape(-1), z, self.cost, made.astype(float), (~made).astype(float))


def steplaw() -> Pool:
    """Step Law's first split: ten smaller cells to buy from at 6 N D a run, five larger ones to be judged."""
    from benchmarks.tuning.regret import Regret
    from benchmarks.tuning.steplaw import HYPER, OVER, cells, grid, splits

    split = splits(grid())[0]
    judge = Regret(split.judge)
    targets = tuple(dict(zip(OVER, point, strict=True)) for point, _ in cells(split.judge))

    def judged(settings: list[Array]) -> Array:
        found = {tuple(target.values()): setting for target, setting in zip(targets, settings, strict=True)}
        return judge.each(lambda n, d: (float(found[n, d][0]), float(found[n, d][1])))

    cost = 6.0 * split.train.numbers("parameters") * split.train.numbers("tokens")
    return Pool("Step Law", split.train, OVER, HYPER, cost, targets, judged)


STUDIES = Path(__file__).resolve().parents[2] / "studies"


def _judged_by_grid(
    trials: Trials, over: tuple[str, ...], hyper: tuple[str, ...]
) -> tuple[tuple[Mapping[str, float], ...], Judge]:
    """Targets of a table, and the percent that a setting loses there: means over seeds, piecewise linear in the settings'
    logarithms, the nearest run outside of them; less the lowest."""
    cells: list[tuple[Array, Array]] = []
    targets: list[Mapping[str, float]] = []
    for values, rows in trials.groups(over):
        z = np.stack([axis_of(name).coordinate(rows.numbers(name)) for name in hyper], axis=1)
        loss = np.where(np.isfinite(rows.numbers("loss")), rows.numbers("loss"), np.nan)
        settings, inverse = np.unique(np.round(z, 9), axis=0, return_inverse=True)
        mean = np.array([np.mean(loss[inverse.reshape(-1) == k]) for k in range(len(settings))])
        whole = np.isfinite(mean)
        cells.append((settings[whole], mean[whole]))
        targets.append(dict(zip(over, map(float, values), strict=True)))

    def judged(settings: list[Array]) -> Array:
        found: list[float] = []
        for (z, loss), each in zip(cells, settings, strict=True):
            at = np.array([float(axis_of(name).coordinate(np.array(v))) for name, v in zip(hyper, each, strict=True)])
            if z.shape[1] == 1:
                order = np.argsort(z[:, 0])
                value = float(np.interp(at[0], z[order, 0], loss[order]))
            else:
                value = float(LinearNDInterpolator(z, loss)(at)[0])
                value = float(loss[np.argmin(np.sum((z - at) ** 2, axis=1))]) if np.isnan(value) else value
            found.append(100 * (value / float(loss.min()) - 1))
        return np.array(found)

    return tuple(targets), judged


def _study(name: str, trials: Trials, over: tuple[str, ...], hyper: tuple[str, ...], small: NDArray[np.bool_]) -> Pool:
    targets, judge = _judged_by_grid(trials.where(~small), over, hyper)
    pool = trials.where(small)
    return Pool(name, pool, over, hyper, pool.numbers("compute"), targets, judge)


def width_study() -> Pool:
    """Our width study: widths to 128 to buy from, larger ones to be judged."""
    trials = load(STUDIES / "width")
    return _study("the width study", trials, ("width",), ("learning_rate",), trials.numbers("width") <= 128)


def languages() -> Pool:
    """Our language ladder: cells of less than an eighth of the largest compute to buy from, the others to be judged."""
    trials = load(STUDIES / "language")
    compute = trials.numbers("compute")
    small = compute <= compute.max() / 8
    return _study("the language ladder", trials, ("parameters", "tokens"), ("learning_rate", "batch_size"), small)


@dataclass(frozen=True)
class World:
    """A kind of simulated pool: a study whose smaller sizes may be bought, and whose larger ones are to be judged.

    Args:
        surface: the study. bought: sizes of the first scale column that belong to the pool.
    """

    surface: Surface
    bought: int

    def draw(self, seed: int) -> Pool:
        """A pool, with the truth of its targets behind the judge: what their own best settings, scatter included, would lose."""
        random = np.random.default_rng([seed, 11])
        surface = replace(self.surface, missing_cells=0.0)
        trials, truth = surface.draw(random)
        first = surface.smallest[0] * surface.ratio ** (self.bought - 0.5)
        ahead = np.flatnonzero(truth.points[:, 0] > first)
        targets = tuple(surface.point(truth.points[k]) for k in ahead)

        def judged(settings: list[Array]) -> Array:
            cost = [
                float(surface.cost(surface.point(truth.points[k]), np.log(each) - truth.best[k], float(truth.uneven[k])))
                for k, each in zip(ahead, settings, strict=True)
            ]
            return 100 * np.expm1(np.array(cost))

        pool = trials.where(trials.numbers(surface.over[0]) < first)
        size = pool.numbers(surface.over[0])
        cost = 6.0 * size * pool.numbers("tokens") if "tokens" in pool else 6e4 * size**2
        return Pool("simulated", pool, surface.over, surface.names, cost, targets, judged)


_FINE = axes(2, learning_rate={"step": 0.4, "points": 11}, batch_size={"step": 0.4, "points": 9})
_TWO = Surface(
    axes=_FINE, over=("parameters", "tokens"), sizes=5, horizons=4, ratio=1.8, smallest=(2e8, 4e9), noise=0.0025, uneven=0.25
)
_ONE = Surface(axes=axes(1, learning_rate={"step": 0.5, "points": 12}), sizes=9, seeds=3, noise=0.004, uneven=0.2)
WORLDS = {
    "two scales, two hyperparameters": World(_TWO, 3),
    "the same, scales uneven": World(replace(_TWO, uneven=0.5, tau=0.2, noise=0.005), 3),
    "the same, bent": World(
        replace(
            _TWO, axes=axes(2, learning_rate={"step": 0.4, "points": 11, "bend": -0.04}, batch_size={"step": 0.4, "points": 9})
        ),
        3,
    ),
    "width, a cliff": World(replace(_ONE, cliff=1.2), 6),
    "width, bent": World(replace(_ONE, axes=axes(1, learning_rate={"step": 0.5, "points": 12, "bend": -0.03}), tau=0.15), 6),
}
