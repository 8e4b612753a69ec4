"""What this package is asked to do, and the scipy loop it replaces."""

from __future__ import annotations

import csv
import functools
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from scalelaw._newton import minimise
from scalelaw._search import refit
from scalelaw.fit import Fit, LeastSquares, fit
from scalelaw.laws import laws
from scalelaw.resample import bootstrap
from scalelaw.testing.laws import Points

Array: TypeAlias = NDArray[np.float64]

FOLDER = Path(os.environ.get("SCALELAW_REFERENCE_DATA") or Path(__file__).resolve().parents[2].parent / "shared" / "data")


def clock(call: Callable[[], Any]) -> float:
    """Process time of one call, in seconds."""
    began = time.process_time()
    call()
    return time.process_time() - began


@functools.cache
def chinchilla() -> Points:
    """The 240 public points: the extracted table less its five highest losses."""
    with (FOLDER / "chinchilla_epoch_svg_extracted.csv").open(encoding="utf-8") as file:
        rows = sorted(csv.DictReader(file), key=lambda row: float(row["loss"]))[:240]
    size, flops, loss = (np.array([float(row[key]) for row in rows]) for key in ("Model Size", "Training FLOP", "loss"))
    return Points({"parameters": size, "tokens": flops / (6 * size), "loss": loss})


def with_outlier(points: Points) -> Points:
    """The same points with one loss in the middle of the sizes half as large again, as a slip of a digit makes it."""
    loss = np.array(points.columns["loss"])
    loss[np.argsort(points.columns["parameters"])[len(loss) // 2]] *= 1.5
    return Points({**points.columns, "loss": loss})


def write(points: Points, path: Path) -> None:
    """The points as CSV."""
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(points.columns)
        writer.writerows(zip(*(map(repr, map(float, column)) for column in points.columns.values()), strict=True))


def gaps(found: Fit, draws: int = 4000, starts: int = 12) -> Array:
    """How far each bootstrap refit lies above the best of `starts` random starts and itself, as a share of the objective."""
    rng = np.random.default_rng(0)
    rows = found.n
    weight = rng.multinomial(rows, np.full(rows, 1 / rows), size=draws).astype(np.float64)
    own = refit(found.problem, np.tile(found.u, (draws, 1)), weight=weight)
    best = np.array(own.value)
    for _ in range(starts):
        start = found.u + rng.normal(0, 1, (draws, len(found.u))) * np.array([0.3, 0.5, 0.5, 0.1, 0.1])
        best = np.minimum(best, minimise(found.problem, start, weight=weight).value)
    return np.where(own.converged, own.value / best - 1, np.inf)


def line(scatter: float, squares: bool = False) -> Callable[[], Any]:
    """10,000 refits of E + A x^-alpha to resamples of ten points of a given scatter."""
    x = np.geomspace(4, 4096, 10)
    loss = (1.7 + 12 * x**-0.35) * np.exp(scatter * np.random.default_rng(0).standard_normal(10))
    points = Points({"width": x, "loss": loss})
    found = fit("saturating", points, over="width", objective=LeastSquares() if squares else None)
    return lambda: bootstrap(found, draws=10_000)


def bent() -> Points:
    """25 points about the broken law's example, 0.3 % scatter."""
    law = laws["broken"]
    x = law.example.x["x"]
    loss = law.predict(law.example.theta, {"x": x}) * np.exp(0.003 * np.random.default_rng(0).standard_normal(len(x)))
    return Points({"width": x, "loss": loss})


def many(rows: int) -> Points:
    """Random points about the Chinchilla law, 0.3 % scatter."""
    rng = np.random.default_rng(0)
    size, tokens = np.exp(rng.uniform(np.log(5e7), np.log(2e10), rows)), np.exp(rng.uniform(np.log(1e9), np.log(1e12), rows))
    loss = (1.82 + 478 * size**-0.347 + 2143 * tokens**-0.367) * np.exp(0.003 * rng.standard_normal(rows))
    return Points({"parameters": size, "tokens": tokens, "loss": loss})


def scipy_window(points: Points, starts: int = 12, seed: int = 0) -> tuple[float, list[float]]:
    """L-BFGS-B with numeric gradients from random nodes of Hoffmann's grid of 4,500 starts: seconds, and objectives reached.

    The objective is the published one, the sum of Huber losses (1e-3) of log residuals, in the fewest NumPy calls.
    """
    from scipy.optimize import minimize

    size, tokens, loss = (np.asarray(points.columns[name]) for name in ("parameters", "tokens", "loss"))
    log_n, log_d, log_l = np.log(size), np.log(tokens), np.log(loss)

    def objective(u: Array) -> float:
        a, b, e, alpha, beta = u
        value = np.logaddexp(np.logaddexp(a - alpha * log_n, b - beta * log_d), e)
        size = np.abs(value - log_l)
        return float(np.sum(np.where(size <= 1e-3, 0.5 * size**2, 1e-3 * (size - 0.5e-3))))

    grid = np.meshgrid(np.arange(0, 30, 5), np.arange(0, 30, 5), np.arange(-1, 1.5, 0.5), *(np.arange(0, 2.5, 0.5),) * 2)
    nodes = np.stack([axis.ravel() for axis in grid], axis=1)
    assert len(nodes) == 4500
    ends: list[float] = []
    began = time.process_time()
    for start in nodes[np.random.default_rng(seed).choice(len(nodes), starts, replace=False)]:
        ends.append(float(minimize(objective, start, method="L-BFGS-B").fun))
    return time.process_time() - began, ends
