"""Rolling origin by scale: fit on the sizes up to one, predict the larger ones, compare."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from .errors import DataError
from .estimate import Estimate, number
from .frontier import Frontier, frontier
from .laws import Law
from .stack import Ladder
from .trials import Trials

__all__ = ["Backtest", "Predict", "Reached", "Row", "backtest"]

# From a table of best-case losses (columns of `Frontier.trials`) to the loss at a larger scale.
Predict = Callable[[Trials, Mapping[str, float]], Estimate]
_LEAST = 3


@dataclass(frozen=True)
class Row:
    """One held-out scale: predicted from the `sizes` smallest, `ratio` times the largest of them."""

    sizes: int
    at: Mapping[str, float]
    ratio: float
    predicted: float
    low: float
    high: float
    observed: float

    @property
    def error(self) -> float:
        """ln observed - ln predicted; negative where the loss came in lower than predicted."""
        return math.log(self.observed / self.predicted)

    @property
    def inside(self) -> bool:
        """Whether the interval holds the observation."""
        return self.low <= self.observed <= self.high


@dataclass(frozen=True)
class Reached:
    """Held-out scales at most `ratio` times the largest size used, and more than half of that."""

    ratio: float
    n: int
    coverage: float
    error: float
    bias: float
    interval_score: float


@dataclass(frozen=True)
class Backtest:
    """How forecasts from the smaller sizes did on the larger ones.

    Rows of one origin share the error of one law, so they are fewer observations than they are rows.

    Args:
        rows: every held-out scale of every origin.
        level: of the intervals.
        message: why there are no rows, where there are none.
    """

    rows: tuple[Row, ...] = field(repr=False)
    level: float = 0.9
    message: str = ""

    @property
    def n(self) -> int:
        """Number of held-out predictions."""
        return len(self.rows)

    @property
    def coverage(self) -> float:
        """Share of observations inside their intervals; NaN where there are none."""
        return float(np.mean([row.inside for row in self.rows])) if self.rows else math.nan

    @property
    def error(self) -> float:
        """Root mean square error of ln loss."""
        return float(np.sqrt(np.mean([row.error**2 for row in self.rows]))) if self.rows else math.nan

    @property
    def bias(self) -> float:
        """Mean error of ln loss."""
        return float(np.mean([row.error for row in self.rows])) if self.rows else math.nan

    @property
    def interval_score(self) -> float:
        """Mean interval score of ln loss (Gneiting and Raftery 2007): width, and 2 / (1 - level) times what is missed."""
        if not self.rows:
            return math.nan
        penalty = 2 / (1 - self.level)
        scores = [
            math.log(row.high / row.low)
            + penalty * (max(math.log(row.low / row.observed), 0.0) + max(math.log(row.observed / row.high), 0.0))
            for row in self.rows
        ]
        return float(np.mean(scores))

    def by_ratio(self) -> tuple[Reached, ...]:
        """The same by how far ahead: up to 2, 4, 8, ... times the largest size used."""
        found: list[Reached] = []
        bins = sorted({max(math.ceil(math.log2(row.ratio) - 1e-9), 1) for row in self.rows})
        for each in bins:
            rows = tuple(row for row in self.rows if max(math.ceil(math.log2(row.ratio) - 1e-9), 1) == each)
            part = Backtest(rows, self.level)
            found.append(Reached(2.0**each, part.n, part.coverage, part.error, part.bias, part.interval_score))
        return tuple(found)

    @property
    def horizon(self) -> float:
        """The largest ratio of sizes over which a forecast was checked; 1 where none was."""
        return max((row.ratio for row in self.rows), default=1.0)

    def to_dict(self) -> dict[str, Any]:
        """The JSON object of `scalelaw backtest`, and of `backtest` in a forecast."""
        names = ("sizes", "ratio", "predicted", "low", "high", "observed")
        return {
            "coverage": number(self.coverage),
            "error": number(self.error),
            "bias": number(self.bias),
            "interval_score": number(self.interval_score),
            "by_ratio": [vars(each) for each in self.by_ratio()],
            "n": self.n,
            "horizon": self.horizon,
            "level": self.level,
            "message": self.message,
            "rows": [{"at": dict(row.at), **{name: getattr(row, name) for name in names}} for row in self.rows],
        }


def backtest(
    data: Trials | Frontier | Ladder,
    *,
    predict: Predict | None = None,
    over: str | Sequence[str] | None = None,
    hyper: str | Sequence[str] | None = None,
    law: str | Law | Sequence[str | Law] | None = None,
    fixed: bool = False,
    level: float = 0.9,
) -> Backtest:
    """Check forecasts on scales held out.

    Args:
        data: runs, their frontier, or its ladder. The best cases of the held-out scales are measurements here: they are
            estimated once.
        predict: any forecaster `(train, at) -> Estimate`; default the stack of laws that `forecast` uses, with everything
            (weights, discrepancy) learned again from the sizes before each origin.
        over, hyper, fixed: see `frontier`.
        law: see `forecast`.
        level: of the intervals.

    Raises:
        DataError: fewer than two sizes.
    """
    if isinstance(data, Ladder):
        ladder = data
    else:
        edge = data if isinstance(data, Frontier) else frontier(data, over=over, hyper=hyper, fixed=fixed)
        ladder = Ladder(edge, law)
    rows: list[Row] = []
    for count in (each for each in ladder.origins if each >= _LEAST):
        try:
            found = _stacked(ladder, count, level) if predict is None else _asked(ladder, count, predict)
        except DataError:
            continue
        for place, estimate in enumerate(found, start=count):
            ratio = math.exp(float(np.max(ladder.x[place] - ladder.x[:count].max(axis=0))))
            at = {name: float(column[0]) for name, column in ladder.points(slice(place, place + 1)).items()}
            rows.append(Row(count, at, ratio, estimate.value, estimate.low, estimate.high, float(np.exp(ladder.y[place]))))
    message = "" if rows else f"{len(ladder)} sizes are too few to hold one out: a forecast from them is unchecked."
    return Backtest(tuple(rows), level, message)


def _stacked(ladder: Ladder, count: int, level: float) -> list[Estimate]:
    stack = ladder.stack(count)
    rows = slice(count, len(ladder))
    mixture = stack.predict(ladder.points(rows), ladder.se[rows] ** 2)
    low, middle, high = (mixture.loss(each) for each in (0.5 - level / 2, 0.5, 0.5 + level / 2))
    return [Estimate(float(m), float(a), float(b), level) for a, m, b in zip(low, middle, high, strict=True)]


def _asked(ladder: Ladder, count: int, predict: Predict) -> list[Estimate]:
    train = ladder.trials.where(np.arange(len(ladder)) < count)
    points = ladder.points(slice(count, len(ladder)))
    return [predict(train, dict(zip(points, map(float, point), strict=True))) for point in zip(*points.values(), strict=True)]
