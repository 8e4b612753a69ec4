"""The table of tuning studies with several hyperparameters: does the interval of the optimum's law hold?"""

from __future__ import annotations

import math
import time

import numpy as np

from scalelaw.errors import ScalelawError
from scalelaw.optimum import optimum
from scalelaw.testing.surfaces import Surface, axes

__all__ = ["WORLDS", "surfaces"]

_TWO = {"over": ("parameters", "tokens"), "smallest": (1e7, 1e9)}
_FOUR = {**_TWO, "sizes": 2, "horizons": 2, "ragged": 0}
# As where a parametrisation carries the settings over; and against what is published, each exponent by two standard deviations.
_STILL = {"learning_rate": {"exponents": (0.0, 0.0)}, "batch_size": {"exponents": (0.0, 0.0)}}
_ODD = {"learning_rate": {"exponents": (0.4, -0.7)}, "batch_size": {"exponents": (0.5, 0.0)}}
WORLDS = {
    "1 hyperparameter, 8 sizes, tau .1": Surface(axes(1), sizes=8),
    "1, 5 sizes, tau .25, 2 seeds": Surface(axes(1), sizes=5, tau=0.25, seeds=2),
    "2, 5 sizes, tau .02": Surface(axes(2), sizes=5, tau=0.02),
    "2, 6 sizes, tau .1, divergence": Surface(axes(2), cliff=1.3),
    "2, 8 sizes, tau .1, edges": Surface(axes(2, learning_rate={"shift": 2.5}), sizes=8),
    "2, 12 cells of 2 scales, tau .1": Surface(axes(2), **_TWO, sizes=5, ragged=2),
    "the same, nothing moves": Surface(axes(2, **_STILL), **_TWO, sizes=5, ragged=2),
    "the same, exponents nobody saw": Surface(axes(2, **_ODD), **_TWO, sizes=5, ragged=2),
    "2, 4 cells of 2 scales, tau .1": Surface(axes(2), **_FOUR),
    "the same 4, nothing moves": Surface(axes(2, **_STILL), **_FOUR),
    "the same 4, exponents nobody saw": Surface(axes(2, **_ODD), **_FOUR),
    "3, 5 sizes, tau .02, edges": Surface(axes(3, learning_rate={"shift": 1.5}), sizes=5, tau=0.02),
    "3, 6 sizes, tau .1, divergence, 20 % missing": Surface(axes(3), cliff=1.0, missing=0.2),
    "3, 2 scales, tau .1, cells missing": Surface(axes(3), **_TWO, sizes=5, ragged=2, missing=0.1, missing_cells=0.15),
    "4, 6 sizes, tau .1": Surface(axes(4)),
    "4, 8 sizes, tau .25, 2 seeds": Surface(axes(4), sizes=8, tau=0.25, seeds=2),
    "6, 6 sizes, tau .1": Surface(axes(6)),
    "6, 8 sizes, tau .1, divergence, 2 seeds": Surface(axes(6), sizes=8, cliff=1.0, seeds=2),
}
RATIO = 4.0


def _share(hits: np.ndarray) -> str:
    """Share of hits over `(replicates, hyperparameters)`; its standard error counts a replicate once."""
    rate, count = float(hits.mean()), len(hits)
    return f"{rate:.3f} ({math.sqrt(max(rate * (1 - rate), 0.25 / count) / count):.3f})"


def _one(world: Surface, seed: int) -> tuple[list[list[float]], float]:
    """Per hyperparameter: law's value covered, exponents covered (share), error, half-width and floor; and seconds."""
    at = world.target(RATIO)
    trials, truth = world.draw(np.random.default_rng(seed))
    start = time.perf_counter()
    found = optimum(trials, over=world.over, hyper=world.names, at=at)
    seconds = time.perf_counter() - start
    X = np.column_stack([np.ones(len(truth.points)), np.log(truth.points)])
    line = np.linalg.lstsq(X, truth.best, rcond=None)[0]
    floor = np.array([1.0, *(math.log(at[name]) for name in world.over)]) @ line - world.best(at)
    rows: list[list[float]] = []
    for j, (name, best, power) in enumerate(zip(world.names, world.best(at), world.exponents, strict=True)):
        value = found[name].at(at)
        ends = [found[name].exponent(column) for column in world.over]
        held = np.mean([each.low <= p <= each.high for p, each in zip(power, ends, strict=True)])
        error, half = math.log(value.value) - best, 0.5 * math.log(value.high / value.low)
        rows.append([float(value.low <= math.exp(best) <= value.high), float(held), error, half, float(floor[j])])
    return rows, seconds


def surfaces(replicates: int) -> list[str]:
    """Coverage of the 90 % intervals of the law's optimum and its exponents, averaged over hyperparameters; target 4x.

    Errors and half-widths are nats of the law's optimum at the target, the bias is in steps of the settings tried. The floor is
    the error left where every scale's own best settings are known: only their scatter.
    """
    lines = [
        "| world | law's value | worst | exponents | worst | rms error | floor | worst bias | half-width | ms a fit | refused |",
        "|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    every: list[np.ndarray] = []
    for name, world in WORLDS.items():
        rows: list[list[list[float]]] = []
        seconds: list[float] = []
        for seed in range(replicates):
            try:
                row, took = _one(world, seed)
            except ScalelawError:
                continue
            rows.append(row)
            seconds.append(took)
        if not rows:
            lines.append(f"| {name} |{' - |' * 9} {replicates} |")
            continue
        table = np.array(rows)
        cover = table.mean(axis=0)[:, :2]
        every.append(cover.mean(axis=0))
        worst = [f"{cover[:, k].min():.2f} {world.names[int(cover[:, k].argmin())]}" for k in (0, 1)]
        rms = np.sqrt(np.mean(table[:, :, (2, 4)] ** 2, axis=(0, 1)))
        bias = table[:, :, 2].mean(axis=0) / np.array([axis.step for axis in world.axes])
        lines.append(
            f"| {name} | {_share(table[:, :, 0])} | {worst[0]} | {_share(table[:, :, 1])} | {worst[1]} "
            f"| {rms[0]:.3f} | {rms[1]:.3f} | {bias[np.abs(bias).argmax()]:+.2f} | {np.median(table[:, :, 3]):.2f} "
            f"| {1000 * np.median(seconds):.0f} | {replicates - len(rows)} |"
        )
    if every:
        mean = np.mean(every, axis=0)
        lines.append(f"| mean of worlds | {mean[0]:.3f} | | {mean[1]:.3f} | | | | | | | |")
    return lines
