"""What other tools forecast of single runs, with the intervals that they give or that their users make of what they give."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from scalelaw.fit import fit
from scalelaw.resample import Scheme, bootstrap
from scalelaw.trials import Trials

from ..fitting.apart import MISSING, VERSIONS, ask, installed

__all__ = ["LEVELS", "MISSING", "Quantiles", "installed", "peers", "recipe"]

Array: TypeAlias = NDArray[np.float64]
# From a probability to the quantile of ln loss at every point, `(points,)`.
Quantiles: TypeAlias = Callable[[float], Array]

LEVELS = (0.5, 0.6, 0.7, 0.8, 0.9, 0.95)
_PROBABILITIES = sorted({round(0.5 + sign * level / 2, 4) for level in LEVELS for sign in (-1, 1)})
_DRAWS = 1000


def peers(train: Trials, at: Mapping[str, Array]) -> dict[str, Quantiles]:
    """Every tool's forecasts by name and kind; empty without their environment."""
    if not installed():
        return {}
    found: dict[str, Quantiles] = {}
    with tempfile.TemporaryDirectory() as folder:
        table, points = Path(folder) / "table.csv", Path(folder) / "points.csv"
        _write(table, {name: train.numbers(name) for name in ("parameters", "tokens", "loss")})
        _write(points, {name: at[name] for name in ("parameters", "tokens")})
        for name, title in VERSIONS.items():
            answer = ask(name, table, points, ",".join(map(str, _PROBABILITIES)))
            found |= {f"{title}, {kind}": _given(np.array(each)) for kind, each in answer.items()}
    return found


def recipe(train: Trials, at: Mapping[str, Array]) -> Quantiles:
    """The published fit, refitted to resampled runs, with the scatter of the runs added: what OLMo-core's ladder analysis does,
    and many a notebook; no package on an index has it. The fits are ours."""
    law = fit("chinchilla", train)
    drawn = np.log(bootstrap(law, scheme=Scheme.CELL, draws=_DRAWS).predict(at))
    columns = {name: train.numbers(name) for name in ("parameters", "tokens", "loss")}
    residual = np.log(columns["loss"]) - np.log(law.predict(columns))
    drawn = drawn + np.random.default_rng(0).choice(residual, drawn.shape)
    return lambda probability: np.quantile(drawn, probability, axis=0)


def _given(table: Array) -> Quantiles:
    """Quantiles as columns of a table, in the order of `_PROBABILITIES`."""
    return lambda probability: table[:, int(np.argmin(np.abs(np.array(_PROBABILITIES) - probability)))]


def _write(path: Path, columns: Mapping[str, Array]) -> None:
    rows = np.stack(list(columns.values()), axis=1)
    np.savetxt(path, rows, delimiter=",", header=",".join(columns), comments="", fmt="%.17g")
