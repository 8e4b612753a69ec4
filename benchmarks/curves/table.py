"""The curves, our certified fits of them, and the published and rerun errors beside them."""

from __future__ import annotations

import csv
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from scalelaw import fit
from scalelaw.fit import Fit, LeastSquares
from scalelaw.trials import Trials

from .estimators import Published, published_m2, published_m3

__all__ = ["LAWS", "Curve", "Row", "curves", "rows"]

Array = NDArray[np.float64]
LAWS = {"M1": "power", "M2": "saturating", "M3": "m3", "M4": "m4"}


@dataclass(frozen=True, eq=False)
class Curve:
    """One curve: examples seen and loss, to fit and to predict. Rows written twice count once, as in the official code."""

    domain: str
    model: str
    task: str
    x: Array
    y: Array
    later_x: Array
    later_y: Array

    @property
    def name(self) -> str:
        """As the published table calls it."""
        return f"{self.domain} {_label(self)}"

    def error(self, predicted: Array) -> float:
        """Root mean square of ln predicted - ln observed on the held-out points (the paper's RMSLE)."""
        return math.sqrt(float(np.mean((np.log(predicted) - np.log(self.later_y)) ** 2)))


@dataclass(frozen=True, eq=False)
class Row:
    """One curve under one law. Values are half the squared errors of ln L on the points fitted.

    Args:
        ours, value: RMSLE and value of the certified fit.
        stops, stops_value: those of the published estimator where it stops; None for M1 (a straight line) and M4.
        printed, rerun: RMSLE in the paper's tables, and of the official code run again; None where there is none.
    """

    curve: Curve
    form: str
    fit: Fit
    ours: float
    value: float
    stops: float | None
    stops_value: float | None
    printed: float | None
    rerun: float | None

    @property
    def same(self) -> bool:
        """Whether the published estimator stops at the certified minimum."""
        return self.stops_value is None or self.stops_value <= self.value * (1 + 1e-6)


def curves(folder: Path) -> list[Curve]:
    """The 20 curves, in the order of the file."""
    points: dict[tuple[str, str, str], tuple[dict[float, float], dict[float, float]]] = {}
    for row in _read(folder / "revisiting_nsl_lang.csv"):
        key = (row["Domain"], row["Model"], row["Task"])
        points.setdefault(key, ({}, {}))[row["Training"] == "0"][float(row["Seen Examples"])] = float(row["Loss"])
    return [Curve(*key, *_columns(early), *_columns(late)) for key, (early, late) in points.items()]


def rows(folder: Path, forms: tuple[str, ...] = tuple(LAWS)) -> Iterator[Row]:
    """Every curve under every form."""
    printed = {(row["domain"], row["model_or_task"]): row for row in _read(folder / "revisiting_nsl_published_rmse.csv")}
    rerun = {
        (row["domain"], row["model"], row["task"], row["estimator"]): float(row["rmsle"])
        for row in _read(folder / "revisiting_nsl_official_code_rerun.csv")
    }
    estimators = {"M2": published_m2, "M3": published_m3}
    for curve in curves(folder):
        table = Trials.from_columns({"dataset_size": curve.x, "loss": curve.y})
        for form in forms:
            found = fit(LAWS[form], table, over="dataset_size", objective=LeastSquares())
            stop: Published | None = estimators[form](curve.x, curve.y) if form in estimators else None
            yield Row(
                curve,
                form,
                found,
                curve.error(found.predict({"dataset_size": curve.later_x})),
                found.value,
                curve.error(stop.predict(curve.later_x)) if stop else None,
                stop.value if stop else None,
                float(printed[curve.domain, _label(curve)][f"{form}_rmse"]),
                rerun.get((curve.domain, curve.model, curve.task, form)),
            )


def _label(curve: Curve) -> str:
    if curve.domain != "BB":
        return curve.model
    # The task of a BIG-Bench curve is written ('date', '1-shot').
    return " ".join(part.strip(" ()'") for part in curve.task.split(","))


def _columns(points: dict[float, float]) -> tuple[Array, Array]:
    x = np.array(sorted(points))
    return x, np.array([points[each] for each in x])


def _read(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8") as file:
        return list(csv.DictReader(file))
