"""What the figures of a study have in common: its runs as a table of cells, and what was inferred from them as plain curves.

The panels read this and nothing else, so that only this file knows how trials and forecasts are laid out.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..errors import DataError
from ..trial import Status
from ._base import CellState, Shape

if TYPE_CHECKING:
    from ..forecast import Forecast
    from ..frontier import Frontier
    from ..trials import Trials

__all__ = ["Best", "Cell", "Curve", "Run", "Size", "Story", "gather", "grid", "numbers"]

_POINTS = 80
_SMALLEST = 1e-40
_NAN = float("nan")


@dataclass(frozen=True)
class Cell:
    """The runs at one size and rate.

    Args:
        loss, spread: mean and standard deviation over seeds; of the best setting where other hyperparameters are tuned too.
        count, diverged: seeds with a loss, and without one, behind `loss`.
        state: what is known.
        runs: every run at this size and rate, at any setting of the others.
    """

    loss: float
    spread: float
    count: int
    diverged: int
    state: CellState
    runs: int = 0


@dataclass(frozen=True)
class Best:
    """The tuned case of a size: its best rate and loss, with intervals where the frontier gives them."""

    rate: float
    loss: float
    rate_low: float = _NAN
    rate_high: float = _NAN
    loss_low: float = _NAN
    loss_high: float = _NAN
    shape: Shape = Shape.CLOSED
    fitted: bool = True


@dataclass(frozen=True)
class Size:
    """One size: its point in the scale columns, its cells by rate, its best case, and its fitted bowl (rates, losses)."""

    point: tuple[float, ...]
    cells: Mapping[float, Cell]
    best: Best | None
    bowl: tuple[tuple[float, ...], tuple[float, ...]] = ((), ())

    @property
    def x(self) -> float:
        """The value of the column it is drawn at."""
        return self.point[0]


@dataclass(frozen=True)
class Curve:
    """A law as a curve, with a band where it has one, and its value at the target."""

    x: tuple[float, ...]
    y: tuple[float, ...]
    low: tuple[float, ...] = ()
    high: tuple[float, ...] = ()
    at: tuple[float, float, float, float] | None = None
    text: str = ""


@dataclass(frozen=True)
class Run:
    """A run at the target that was judged: what it gave (NaN: it diverged), what was promised, and whether it is off the law."""

    x: float
    loss: float
    promised: float
    rate: float
    off: bool


@dataclass(frozen=True)
class Story:
    """A study: sizes in ascending order, the rates tried, and what was inferred.

    `kept` is the setting of the fixed law (absent: nothing was held fixed); `level` that of every band and interval. `cliff` is
    the rate at which half the runs fail, and `failed` the (size, rate) of those that did. `frontier` is what all was inferred
    from.
    """

    over: tuple[str, ...]
    rate: str | None
    sizes: tuple[Size, ...]
    rates: tuple[float, ...]
    tuned_also: tuple[str, ...]
    kept: float | None = None
    fixed: Curve | None = None
    tuned: Curve | None = None
    optimum: Curve | None = None
    runs: tuple[Run, ...] = ()
    level: float = 0.9
    cliff: Curve | None = None
    failed: tuple[tuple[float, float], ...] = ()
    frontier: Frontier | None = field(default=None, repr=False, compare=False)

    @property
    def column(self) -> str:
        """The column that sizes are drawn at."""
        return self.over[0]

    def need_rate(self) -> str:
        """The hyperparameter that varies.

        Raises:
            DataError: none does.
        """
        if self.rate is None:
            raise DataError(
                "no hyperparameter varies within a size, so there is no optimum to draw",
                "figure",
                "Draw loss_vs_scale, or run other learning rates",
            )
        return self.rate


def gather(trials: Trials, forecast: Forecast | None = None) -> Story:
    """The runs of a study as a story; what `forecast` was made over decides the columns."""
    over = _over(trials, forecast)
    rate = _rate(trials, forecast, over)
    others = tuple(name for name in trials.varying(trials.hyperparameters) if name != rate and trials[name].dtype != object)
    table = _cells(trials, over, rate, others)
    sizes = tuple(Size(point, cells, _best(cells)) for point, cells in sorted(table.items()))
    if not any(math.isfinite(cell.loss) for size in sizes for cell in size.cells.values()):
        raise DataError("no run has a finite loss, so there is nothing to draw", trials.source, "Check the loss column")
    rates = tuple(sorted({value for size in sizes for value in size.cells if math.isfinite(value)}))
    return Story(over, rate, sizes, rates, others)


def _over(trials: Trials, forecast: Forecast | None) -> tuple[str, ...]:
    from ..cells import default_over

    return tuple(forecast.frontier.over) if forecast is not None else default_over(trials)


def _rate(trials: Trials, forecast: Forecast | None, over: Sequence[str]) -> str | None:
    """The hyperparameter that varies within a size; the learning rate where several do."""
    from ..cells import default_hyper

    hyper = forecast.frontier.hyper if forecast is not None and forecast.frontier.hyper else default_hyper(trials, over)
    return min(hyper, key=lambda name: name != "learning_rate", default=None)


def _cells(
    trials: Trials, over: Sequence[str], rate: str | None, others: Sequence[str]
) -> dict[tuple[float, ...], dict[float, Cell]]:
    """Cells by size and rate. Seeds are averaged; of several settings of `others` the best one counts."""
    names = [*over, *([rate] if rate else []), *others]
    keys = np.stack([trials.numbers(name) for name in names], axis=1)
    # Sizes and rates are drawn on logarithmic axes; a rate may be unknown.
    sizes, rates = keys[:, : len(over)], keys[:, len(over) : len(over) + bool(rate)]
    known = np.asarray((np.isfinite(sizes) & (sizes > 0)).all(axis=1) & ~(rates <= 0).any(axis=1))
    if np.any((sizes[known] < _SMALLEST) | (sizes[known] > 1 / _SMALLEST)):
        raise DataError(
            f"a size beyond {_SMALLEST:g} to {1 / _SMALLEST:g} cannot be drawn", trials.source, "Use another unit, or mend it"
        )
    trials, keys = trials.where(known), keys[known]
    loss = trials.numbers("loss")
    status = trials["status"] if "status" in trials else np.full(len(trials), Status.COMPLETE.name, dtype=object)
    chance = np.nan_to_num(trials.numbers("at_chance")) > 0 if "at_chance" in trials else np.zeros(len(trials), bool)
    complete = (status == Status.COMPLETE.name) & np.isfinite(loss)
    diverged = status == Status.DIVERGED.name
    unique, inverse = np.unique(keys, axis=0, return_inverse=True, equal_nan=True)
    order = np.argsort(inverse.reshape(-1), kind="stable")
    members = np.split(order, np.searchsorted(inverse.reshape(-1)[order], np.arange(1, len(unique))))
    table: dict[tuple[float, ...], dict[float, Cell]] = {}
    for key, rows in zip(unique.tolist(), members, strict=True):
        done = rows[complete[rows]]
        cell = _cell(loss[done], int(diverged[rows].sum()), bool(chance[done].all()))
        cells = table.setdefault(tuple(key[: len(over)]), {})
        value = key[len(over)] if rate else _NAN
        other = cells.get(value)
        if other is not None and math.isfinite(other.loss) and not cell.loss < other.loss:
            cell, other = other, cell
        cells[value] = replace(cell, runs=cell.runs + (other.runs if other is not None else 0))
    return table


def _cell(losses: NDArray[np.float64], diverged: int, chance: bool) -> Cell:
    count = len(losses)
    if not count:
        return Cell(_NAN, _NAN, 0, diverged, CellState.DIVERGED if diverged else CellState.MISSING, diverged)
    state = CellState.PARTLY if diverged else CellState.CHANCE if chance else CellState.MEASURED
    return Cell(float(losses.mean()), float(losses.std(ddof=1)) if count > 1 else _NAN, count, diverged, state, count + diverged)


def _best(cells: Mapping[float, Cell]) -> Best | None:
    """The best cell as it stands; at the edge of the finite cells it says so."""
    finite = {rate: cell for rate, cell in cells.items() if math.isfinite(cell.loss)}
    if not finite:
        return None
    rate = min(finite, key=lambda value: finite[value].loss)
    shape = Shape.CLOSED
    if math.isfinite(rate):
        # A diverged neighbour encloses the optimum just as a higher loss does.
        shape = Shape.LOW if rate == min(cells) else Shape.HIGH if rate == max(cells) else Shape.CLOSED
    return Best(rate, finite[rate].loss, shape=shape)


def grid(low: float, high: float) -> NDArray[np.float64]:
    """Points of a smooth curve on a log axis."""
    return np.geomspace(low, high, _POINTS)


def numbers(values: Any) -> tuple[float, ...]:
    """An array as plain floats."""
    return tuple(float(value) for value in np.atleast_1d(np.asarray(values, dtype=np.float64)))
