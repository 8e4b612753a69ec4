"""The table of looking ahead: does what a kept setting is predicted to cost hold, and how far it may be kept?"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from scalelaw.errors import ScalelawError
from scalelaw.lookahead import keep
from scalelaw.response import respond
from scalelaw.testing.surfaces import Surface, axes

from .tables import share

__all__ = ["WORLDS", "ahead"]

_BENT = axes(1, learning_rate={"bend": -0.03})


def _drawn(seed: int) -> Surface:
    """A bend of its own for each study, exponents that change by N(0, 0.05^2) per nat."""
    bend = 0.025 * np.random.default_rng([1, seed]).standard_normal()
    return Surface(axes(1, learning_rate={"bend": bend}), growth=0.0, uneven=0.2, sizes=8)


# Growth: change of ln curvature per nat of size. Uneven: standard deviation of one size's ln curvature about that.
WORLDS: dict[str, Surface | Callable[[int], Surface]] = {
    "even curvature, 6 sizes": Surface(axes(1), growth=0.0),
    "growth .1": Surface(axes(1), growth=0.1),
    "growth .2": Surface(axes(1), growth=0.2),
    "growth -.1": Surface(axes(1), growth=-0.1),
    "uneven .3": Surface(axes(1), growth=0.0, uneven=0.3),
    "growth .2, uneven .3": Surface(axes(1), growth=0.2, uneven=0.3),
    "uneven .3, 4 sizes": Surface(axes(1), growth=0.0, uneven=0.3, sizes=4),
    "growth .2, uneven .2, 4 sizes": Surface(axes(1), growth=0.2, uneven=0.2, sizes=4),
    "growth .15, uneven .2, tau .25": Surface(axes(1), growth=0.15, uneven=0.2, tau=0.25),
    "growth .15, uneven .2, tau .02, 5 sizes": Surface(axes(1), growth=0.15, uneven=0.2, tau=0.02, sizes=5),
    "2 hyperparameters, uneven .2": Surface(axes(2), growth=0.0, uneven=0.2),
    "2, growth .15, uneven .2": Surface(axes(2), growth=0.15, uneven=0.2),
    "2, growth .25 and .05, uneven .2": Surface(
        axes(2, learning_rate={"growth": 0.1}, batch_size={"growth": -0.1}), growth=0.15, uneven=0.2
    ),
    "bend, 8 sizes, uneven .2": Surface(_BENT, growth=0.0, uneven=0.2, sizes=8),
    "bend, 8, growth .15, uneven .2": Surface(_BENT, growth=0.15, uneven=0.2, sizes=8),
    "bend, 8, growth -.1, uneven .2": Surface(_BENT, growth=-0.1, uneven=0.2, sizes=8),
    "bend drawn, 8, uneven .2": _drawn,
}
RATIOS = (4.0, 16.0)
TOLERANCE = 0.02
_GRID = np.geomspace(1.0, 1e6, 400)


def _one(world: Surface, seed: int) -> list[float]:
    """One study: of the excess at each ratio and of the safe ratio whether the truth is covered, lies above the middle, and
    beyond the end that matters; and the interval's width."""
    random = np.random.default_rng(seed)
    trials, _ = world.draw(random)
    response = respond(trials, world.over, world.names)
    assert response is not None
    first, column = world.names[0], world.over[0]
    start = world.point(world.ladder[-1])
    kept = keep(response, (first,), start)
    # The scale at which the setting is kept has a scatter and a curvature of its own.
    eta, xi = world.tau * random.normal(), world.uneven * random.normal()

    def cost(ratio: float) -> float:
        point = {column: ratio * start[column]}
        away = np.zeros(len(world.axes))
        away[0] = math.log(kept.settings[first]) - world.best(point)[0] - eta
        return float(world.cost(point, away, xi))

    row: list[float] = []
    for ratio in RATIOS:
        found, truth = kept.excess({column: ratio * start[column]}), cost(ratio)
        row += [found.low <= truth <= found.high, truth > found.value, truth > found.high, found.high - found.low]
    safe = kept.safe_ratio(TOLERANCE)
    over = np.array([cost(ratio) for ratio in _GRID]) > TOLERANCE
    truth = float(_GRID[max(int(over.argmax()) - 1, 0)]) if over.any() else math.inf
    return [*row, safe.low <= truth <= safe.high, truth < safe.value, truth < safe.low, safe.high / safe.low]


def ahead(replicates: int) -> list[str]:
    """A learning rate kept at the law's best of the largest size: its excess 4 and 16 times larger, and the safe ratio for 2 %.

    Cover: the 90 % interval holds the truth of a scale with its own scatter and curvature. Beyond the middle: the truth is worse
    than the middle, nominal .5. Beyond the end: worse than the upper end of the excess or the low end of the safe ratio, nominal
    .05. Widths are medians, of the safe ratio high over low.
    """
    what = ("excess 4x", "excess 16x", "safe ratio")
    head = " | ".join(f"{each}: cover | beyond middle | beyond end | width" for each in what)
    lines = [f"| world | {head} | refused |", "|" + "---|" * 14]
    every: list[np.ndarray] = []
    for name, world in WORLDS.items():
        rows: list[list[float]] = []
        for seed in range(replicates):
            try:
                rows.append(_one(world if isinstance(world, Surface) else world(seed), seed))
            except ScalelawError:
                continue
        table = np.array(rows)
        every.append(table.mean(axis=0))
        cells: list[str] = []
        for k in (0, 4, 8):
            width = float(np.median(table[:, k + 3]))
            told = f"{100 * width:.1f} %" if k < 8 else f"{width:.1f}"
            cells += [share(table[:, k]), f"{table[:, k + 1].mean():.2f}", f"{table[:, k + 2].mean():.3f}", told]
        lines.append(f"| {name} | {' | '.join(cells)} | {replicates - len(rows)} |")
    mean, least = np.mean(every, axis=0), np.min(every, axis=0)
    told = [f"{mean[k]:.3f}, least {least[k]:.2f} | {mean[k + 1]:.2f} | {mean[k + 2]:.3f} | " for k in (0, 4, 8)]
    return [*lines, f"| mean of worlds | {' | '.join(told)} | |"]
