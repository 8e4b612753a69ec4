"""One window of another package, in its own environment: `python rivals.py NAME TABLE.csv` prints one line of JSON.

The table has the columns parameters, tokens, loss. Process time of the fit alone is reported; imports are not counted.
"""

from __future__ import annotations

import json
import logging
import sys
import tempfile
import time
import warnings
from typing import Any

import numpy as np

# The grid of the package's README: five values on each of five axes.
GRID = {
    "E": np.linspace(1.1, 1.5, 5),
    "A": np.linspace(200, 1000, 5),
    "B": np.linspace(200, 1000, 5),
    "alpha": np.linspace(0.1, 0.5, 5),
    "beta": np.linspace(0.1, 0.5, 5),
}
DRAWS = 1000


def chinchilla(table: np.ndarray) -> dict[str, Any]:
    """The package `chinchilla`: its fit from 32 of the 3,125 starts of its README, its default loss, one process."""
    import pandas as pd
    from chinchilla import Chinchilla

    size, tokens, loss = table.T
    with tempfile.TemporaryDirectory() as folder:
        grid = {name: values[[1, 3]] for name, values in GRID.items()}
        fitter = Chinchilla(folder, param_grid=grid, log_level=50)
        # Its picture is not part of the time.
        fitter.visualizer.optim = _nothing
        fitter.database.df = pd.DataFrame({"C": 6 * size * tokens, "N": size, "D": tokens, "loss": loss})
        began = time.process_time()
        fitter.fit(parallel=False)
        spent = time.process_time() - began
    starts = int(np.prod([len(values) for values in grid.values()]))
    return {"seconds": spent, "starts": starts, "theta": {name: float(value) for name, value in fitter.params.items()}}


def _nothing(*_: Any, **__: Any) -> None:
    """Draw no picture."""


def simple(table: np.ndarray) -> dict[str, Any]:
    """The package `simple-scaling-laws`: its fit with 1,000 bootstrap draws."""
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
    spent = time.process_time() - began
    target = model.targets[0]
    draws = np.asarray(model.draws[target].params)
    theta = {name: float(value) for name, value in model.params(target).items()}
    return {"seconds": spent, "starts": DRAWS, "theta": theta, "stderr": np.std(draws, axis=0, ddof=1).tolist()}


def main() -> None:
    """Run one window."""
    warnings.simplefilter("ignore")
    logging.disable(logging.CRITICAL)
    name, path = sys.argv[1:]
    table = np.loadtxt(path, delimiter=",", skiprows=1)
    print(json.dumps({"chinchilla": chinchilla, "simple": simple}[name](table)))


if __name__ == "__main__":
    main()
