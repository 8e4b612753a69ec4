"""Other packages, in their own environment, a process each; the last line printed is JSON.

`python rivals.py NAME TABLE.csv` times one fit: process time of the fit alone, imports are not counted.
`python rivals.py NAME TABLE.csv POINTS.csv P,P,...` forecasts a single run at every point: for each interval that the package
gives, `(points, P)` quantiles of ln loss. TABLE has the columns parameters, tokens, loss; POINTS the first two.
"""

from __future__ import annotations

import json
import logging
import sys
import tempfile
import time
import warnings
from collections.abc import Mapping
from typing import Any

import numpy as np

# The grid of chinchilla's README: five values on each of five axes.
GRID = {
    "E": np.linspace(1.1, 1.5, 5),
    "A": np.linspace(200, 1000, 5),
    "B": np.linspace(200, 1000, 5),
    "alpha": np.linspace(0.1, 0.5, 5),
    "beta": np.linspace(0.1, 0.5, 5),
}
DRAWS = 1000
# A refit takes chinchilla a twentieth of a second.
REFITS = 200
# Where lmfit starts: the law as Hoffmann et al. published it.
PUBLISHED = {"E": 1.69, "A": 406.4, "B": 410.7, "alpha": 0.34, "beta": 0.28}


def chinchilla(table: np.ndarray) -> dict[str, Any]:
    """Its fit from 32 of the 3,125 starts of its README, its default loss, one process."""
    fitted, spent = _chinchilla(table, _starts())
    return {"seconds": spent, "starts": 2 ** len(GRID), "theta": dict(fitted.params)}


def chinchilla_forecasts(table: np.ndarray, points: np.ndarray, probabilities: list[float]) -> dict[str, np.ndarray]:
    """The package gives a value and no interval, so its user takes the scatter of the runs about its law; or refits resampled
    runs, from its own solution, and adds that scatter."""
    fitted, _ = _chinchilla(table, _starts())
    residual = np.log(table[:, 2]) - np.log(fitted.predict_loss(table[:, 0], table[:, 1]))
    value = np.log(fitted.predict_loss(points[:, 0], points[:, 1]))
    random = np.random.default_rng(0)
    # In logarithms of A and B, so that one start has a scale to begin with.
    theta = fitted.params
    start = {"E": [theta["E"]], "a": [np.log(theta["A"])], "b": [np.log(theta["B"])]}
    start |= {name: [theta[name]] for name in ("alpha", "beta")}
    draws: list[np.ndarray] = []
    for _ in range(REFITS):
        again, _ = _chinchilla(table[random.integers(0, len(table), len(table))], start)
        there = np.log(again.predict_loss(points[:, 0], points[:, 1]))
        draws.append(there[:, None] + random.choice(residual, (len(points), 20)))
    return {
        "value and residuals": value[:, None] + np.quantile(residual, probabilities),
        "pairs bootstrap and residuals": np.quantile(np.concatenate(draws, axis=1), probabilities, axis=1).T,
    }


def _starts() -> dict[str, Any]:
    return {name: values[[1, 3]] for name, values in GRID.items()}


def _chinchilla(table: np.ndarray, starts: Mapping[str, Any]) -> tuple[Any, float]:
    """The package after its fit, and how long that took."""
    import pandas as pd
    from chinchilla import Chinchilla

    size, tokens, loss = table.T
    with tempfile.TemporaryDirectory() as folder:
        fitter = Chinchilla(folder, param_grid=dict(starts), log_level=50)
        # Its picture is not part of the time.
        fitter.visualizer.optim = _nothing
        fitter.database.df = pd.DataFrame({"C": 6 * size * tokens, "N": size, "D": tokens, "loss": loss})
        began = time.process_time()
        fitter.fit(parallel=False)
        return fitter, time.process_time() - began


def _nothing(*_: Any, **__: Any) -> None:
    """Draw no picture."""


def simple(table: np.ndarray) -> dict[str, Any]:
    """Its fit with 1,000 bootstrap draws."""
    model, spent = _simple(table)
    target = model.targets[0]
    draws = np.asarray(model.draws[target].params)
    theta = {name: float(value) for name, value in model.params(target).items()}
    return {"seconds": spent, "starts": DRAWS, "theta": theta, "stderr": np.std(draws, axis=0, ddof=1).tolist()}


def simple_forecasts(table: np.ndarray, points: np.ndarray, probabilities: list[float]) -> dict[str, np.ndarray]:
    """Both of its kinds: what one new run reaches, and its default, the mean curve. Quantiles are those it gives itself."""
    model, _ = _simple(table)
    at = {"model_size__n": points[:, 0], "dataset_size__d": points[:, 1]}
    found: dict[str, np.ndarray] = {}
    for kind in ("new-run", "mean"):
        frame = model.predict(at, kind=kind, quantiles=probabilities)
        columns = [name for name in frame.columns if name.startswith(model.targets[0])]
        found[f"kind={kind}"] = np.log(frame.select(columns).to_numpy())
    return found


def _simple(table: np.ndarray) -> tuple[Any, float]:
    """The package's model, and how long its fit took."""
    import polars as pl
    from simple_scaling_laws import fit

    size, tokens, loss = table.T
    frame = pl.DataFrame(
        {
            "training_run_id": [f"r{k}" for k in range(len(loss))],
            "model_size__n": size,
            "dataset_size__d": tokens,
            "test_loss__cross_entropy": loss,
        }
    )
    began = time.process_time()
    model = fit(frame, n_draws=DRAWS, seed=0)
    return model, time.process_time() - began


def lmfit_forecasts(table: np.ndarray, points: np.ndarray, probabilities: list[float]) -> dict[str, np.ndarray]:
    """Least squares of ln loss by Chinchilla's form, with its prediction interval (`dely_predicted`), central at every level."""
    from lmfit import Model

    def law(n: Any, d: Any, E: float, A: float, B: float, alpha: float, beta: float) -> Any:
        return np.log(E + A * n**-alpha + B * d**-beta)

    model = Model(law, independent_vars=["n", "d"])
    start = model.make_params(**{name: {"value": value, "min": 1e-6} for name, value in PUBLISHED.items()})
    result = model.fit(np.log(table[:, 2]), start, n=table[:, 0], d=table[:, 1])
    at = {"n": points[:, 0], "d": points[:, 1]}
    value = result.eval(**at)
    columns: list[np.ndarray] = []
    for each in probabilities:
        level = abs(2 * each - 1)
        if level > 0:
            result.eval_uncertainty(sigma=level, **at)
        columns.append(value + np.sign(each - 0.5) * (result.dely_predicted if level > 0 else 0.0))
    return {"dely_predicted": np.stack(columns, axis=1)}


def main() -> None:
    """Run one window, or forecast."""
    warnings.simplefilter("ignore")
    logging.disable(logging.CRITICAL)
    name, path, *rest = sys.argv[1:]
    table = np.loadtxt(path, delimiter=",", skiprows=1)
    if not rest:
        print(json.dumps({"chinchilla": chinchilla, "simple": simple}[name](table)))
        return
    points = np.loadtxt(rest[0], delimiter=",", skiprows=1, ndmin=2)
    probabilities = [float(each) for each in rest[1].split(",")]
    forecasts = {"chinchilla": chinchilla_forecasts, "simple": simple_forecasts, "lmfit": lmfit_forecasts}[name]
    print(json.dumps({kind: found.tolist() for kind, found in forecasts(table, points, probabilities).items()}))


if __name__ == "__main__":
    main()
