"""The frontier: the loss of the best setting at each scale, with its error; or of one setting that was kept."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .axis import axis_of
from .cells import cells_of, default_factors, means_of, names_of
from .errors import DataError
from .factors import compare_levels
from .noise import seed_noise
from .readings import read
from .response import Array, Edge, Response, respond
from .trials import Trials

__all__ = ["Edge", "Frontier", "frontier", "frontier_at", "kept_setting"]


@dataclass(frozen=True, eq=False)
class Frontier:
    """Best-case loss per scale.

    Args:
        over: scale columns.
        hyper: hyperparameters that were tuned within scales.
        tuned: False where the rows stand as they are, at one setting per scale.
        trials: one row per scale with the columns of `over`, `loss`, `loss_se` (nats; NaN where nothing tells it), `count`,
            `argmin_loss`, `seed_sd` (of ln loss near the best setting; NaN without replicates), and per hyperparameter h: `h`
            (best value), `h_se` (standard error of its coordinate, ln h for most), `h_edge` (name of an `Edge`).
        curvature: d2 ln loss / d (ln h)^2, shared over the scales.
        seed_sd: standard deviation of ln loss between seeds at the largest scale, whose noise a larger run resembles most; None
            without replicates.
        noise: standard deviation of ln loss of one run about its bowl (seeds and lack of fit); None where not tuned.
        settings: the kept setting, where not tuned.
        response: the bowls behind it; None where not tuned.
        source: the trials it was made from.
    """

    over: tuple[str, ...]
    hyper: tuple[str, ...]
    tuned: bool
    trials: Trials
    curvature: Mapping[str, float]
    seed_sd: float | None
    settings: Mapping[str, float]
    source: Trials = field(repr=False)
    noise: float | None = None
    response: Response | None = field(default=None, repr=False)

    @property
    def scales(self) -> Array:
        """ln of the scale columns, `(rows, over)`."""
        return np.log(np.stack([self.trials.numbers(name) for name in self.over], axis=1))

    @property
    def run_sd(self) -> float:
        """Standard deviation of ln loss of one more run at a best setting."""
        return self.seed_sd if self.seed_sd is not None else self.noise or 0.0

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON: `per_scale` rows."""
        return {
            "over": list(self.over),
            "hyper": list(self.hyper),
            "tuned": self.tuned,
            "settings": dict(self.settings),
            "seed_sd": self.seed_sd,
            "curvature": dict(self.curvature),
            "per_scale": self.trials.rows(),
        }


def frontier(
    trials: Trials,
    *,
    over: str | Sequence[str] | None = None,
    hyper: str | Sequence[str] | None = None,
    fixed: bool = False,
    settings: Mapping[str, float] | None = None,
    estimator: str = "response",
) -> Frontier:
    """Estimate the best-case loss per scale.

    Args:
        trials: runs; those that diverged or stayed at chance bound a best setting but never shape a bowl.
        over: scale columns; default `default_over`.
        hyper: hyperparameters tuned within a scale; default `default_hyper`.
        fixed: take the runs at one setting as they stand.
        settings: that setting; default `kept_setting` where several settings were tried.
        estimator: "response", or another reading of the tuned runs: "parabola" or "argmin" (`readings.py`); scales that have
            none keep the response's.

    Raises:
        DataError: no finished run, no size, text among the numbers, or a loss that is not positive.
    """
    over, hyper = names_of(trials, over, hyper)
    if not len(trials.finished):
        raise DataError("no run finished with a finite loss", trials.source, "Check the loss column and the filter")
    if hyper and not fixed:
        response = respond(trials, over, hyper, factors=default_factors(trials, over, hyper))
        if response is not None:
            return _tuned(trials, response, estimator)
    kept = dict(settings or {}) or (kept_setting(trials, over=over, hyper=hyper) if hyper else {})
    return _fixed(trials, over, hyper, kept)


def _tuned(trials: Trials, response: Response, estimator: str) -> Frontier:
    first, other = read(response), read(response, estimator)
    rows, correction, variance = _at_best_levels(response)
    told = np.isfinite(other.log_loss_se)
    log_loss = np.where(told, other.log_loss, first.log_loss)[rows] - correction
    log_loss_se = np.sqrt(np.where(told, other.log_loss_se, first.log_loss_se)[rows] ** 2 + variance)
    best, best_se = (np.where(told[:, None], a, b)[rows] for a, b in ((other.best, first.best), (other.se, first.se)))
    bowls = [response.bowls[row] for row in rows]
    columns: dict[str, Any] = {name: [bowl.point[name] for bowl in bowls] for name in response.over}
    columns["loss"], columns["loss_se"] = np.exp(log_loss), np.exp(log_loss) * log_loss_se
    columns["count"] = [bowl.count for bowl in bowls]
    columns["argmin_loss"] = [bowl.argmin for bowl in bowls]
    columns["seed_sd"] = [bowl.seed_sd for bowl in bowls]
    for j, name in enumerate(response.hyper):
        columns[name] = [axis_of(name).setting(float(value)) for value in best[:, j]]
        columns[f"{name}_se"] = best_se[:, j]
        columns[f"{name}_edge"] = [bowl.edge[j].name for bowl in bowls]
    return Frontier(
        over=response.over,
        hyper=response.hyper,
        tuned=True,
        trials=Trials.from_columns(columns, trials.source),
        curvature=MappingProxyType({name: float(response.hessian[j, j]) for j, name in enumerate(response.hyper)}),
        seed_sd=bowls[-1].seed_sd if math.isfinite(bowls[-1].seed_sd) else None,
        settings=MappingProxyType({}),
        source=trials,
        noise=response.noise,
        response=response,
    )


def _at_best_levels(response: Response) -> tuple[NDArray[np.intp], Array, Array]:
    """The bowl that stands for each scale: that of the best levels, else the one whose levels' effects are known best.

    Returns:
        rows of `response.bowls`, what their levels cost in ln loss, and the variance of that.
    """
    effects = compare_levels(response.bests, response.level)
    cost, variance = np.zeros(len(response.bowls)), np.zeros(len(response.bowls))
    for row, bowl in enumerate(response.bowls):
        for factor, level in enumerate(bowl.levels):
            effect = effects.get((factor, level))
            if level != response.level[factor]:
                # A level that no scale compares costs what it may: its own bowls are then only used where there is no other.
                cost[row] += effect.value if effect else 0.0
                variance[row] += effect.stderr**2 if effect else 1.0
    chosen: dict[tuple[float, ...], int] = {}
    for row in sorted(range(len(response.bowls)), key=lambda row: (variance[row], row)):
        chosen.setdefault(tuple(response.bowls[row].point.values()), row)
    rows = np.array(sorted(chosen.values(), key=lambda row: tuple(response.bowls[row].point.values())))
    return rows, cost[rows], variance[rows]


def _fixed(trials: Trials, over: tuple[str, ...], hyper: tuple[str, ...], kept: Mapping[str, float]) -> Frontier:
    rows = trials
    for name, value in kept.items():
        rows = rows.where(np.isclose(rows.numbers(name), value, rtol=1e-6, atol=0.0))
    if not len(rows.finished):
        setting = ", ".join(f"{name}={value:g}" for name, value in kept.items())
        raise DataError(f"no finished run at {setting}", trials.source, "Name a setting that was tried")
    points, mean, count = means_of(rows, over)
    # Where every run is its own scale nothing was repeated, and a million of them need no cell each.
    cells = cells_of(rows, over, ()) if count.max() > 1 else []
    seeds = seed_noise(cells, [np.ones(len(cell.y)) for cell in cells]) if cells else None
    repeated = seeds is not None and seeds.degrees > 0
    seed_sd = np.sqrt(seeds.total) if seeds is not None and repeated else np.full(len(mean), np.nan)
    loss = np.exp(mean)
    columns: dict[str, Any] = dict(zip(over, points.T, strict=True))
    columns["loss"], columns["count"] = loss, count
    columns["loss_se"], columns["seed_sd"] = loss * seed_sd / np.sqrt(count), seed_sd
    return Frontier(
        over,
        hyper,
        False,
        Trials.from_columns(columns, trials.source),
        MappingProxyType({}),
        float(seed_sd[-1]) if repeated else None,
        MappingProxyType(dict(kept)),
        rows,
    )


def frontier_at(trials: Trials, over: Sequence[str], hyper: Sequence[str], settings: Mapping[str, float]) -> Frontier:
    """The fixed frontier at these settings where they name all of `hyper` and were run at two sizes, else at the kept setting.

    Raises:
        DataError: no setting was run at two sizes.
    """
    own = {name: settings[name] for name in hyper if name in settings}
    if own and len(own) == len(hyper):
        try:
            found = frontier(trials, over=over, hyper=hyper, fixed=True, settings=own)
            if len(found.trials) >= 2:
                return found
        except DataError:
            pass
    return frontier(trials, over=over, hyper=hyper, fixed=True)


def kept_setting(
    trials: Trials,
    *,
    over: str | Sequence[str] | None = None,
    hyper: str | Sequence[str] | None = None,
    scales: Sequence[float] | None = None,
) -> dict[str, float]:
    """The grid setting that is best on average over the three middle scales: what is tuned small and then kept.

    Settings are compared by mean ln loss over those scales, among settings that finished at all of them (at as many as any did).

    Args:
        scales: values of the first scale column to average over; default the middle three.
    """
    over, hyper = names_of(trials, over, hyper)
    if not hyper:
        return {}
    cells = cells_of(trials, over, hyper)
    if scales is None:
        cells = sorted(cells, key=lambda cell: sum(math.log(value) for value in cell.point.values()))
        first = max((len(cells) - 3) // 2, 0)
        cells = cells[first : first + 3]
    else:
        cells = [cell for cell in cells if any(math.isclose(cell.point[over[0]], value) for value in scales)]
    found: dict[tuple[float, ...], list[float]] = {}
    for cell in cells:
        for setting, loss in zip(cell.z, cell.y, strict=True):
            found.setdefault(tuple(np.round(setting, 6)), []).append(float(loss))
    if not found:
        return {}
    most = max(len(losses) for losses in found.values())
    best = min((key for key, losses in found.items() if len(losses) == most), key=lambda key: sum(found[key]))
    # The value as it stands in the table, not the exponential of a rounded logarithm.
    return {name: _nearest(trials.numbers(name), axis_of(name).setting(value)) for name, value in zip(hyper, best, strict=True)}


def _nearest(column: Array, value: float) -> float:
    finite = column[np.isfinite(column)]
    return float(finite[np.argmin(np.abs(finite - value))])
