"""Are the intervals of forecasts to be believed: their nominal level against how often they held sizes that were held out."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from ..errors import DataError
from ._base import Axis, Band, Figure, FigureData, Line, Mark, Panel, Points, Role, Tick

if TYPE_CHECKING:
    from ..forecast import Forecast
    from ..trials import Trials
    from ..verdict import Verdict

__all__ = ["LEVELS", "CalibrationFigure", "reliability"]

LEVELS = (0.5, 0.6, 0.7, 0.8, 0.9, 0.95)
_TOLD = 0.9


class CalibrationFigure(Figure):
    """See `summary`."""

    name = "calibration"
    summary = "Nominal level of forecasts' intervals against the share of held-out larger sizes that fell inside."

    def data(
        self,
        trials: Trials,
        *,
        forecast: Forecast | None = None,
        verdicts: Iterable[Verdict] = (),  # noqa: ARG002  (every figure takes it)
    ) -> FigureData:
        """See `Figure.data`. Every size is held out from the smaller ones, as `backtest` does; `forecast` tells the scales."""
        from ..backtest import backtest
        from ..frontier import frontier
        from ..stack import Ladder

        ladder = Ladder(frontier(trials, over=None if forecast is None else forecast.frontier.over))
        checks = [backtest(ladder, level=level) for level in LEVELS]
        if not checks[0].n:
            raise DataError(checks[0].message, trials.source, "Add runs at other sizes")
        shares = [check.coverage for check in checks]
        origins = len({row.sizes for row in checks[0].rows})
        told = checks[LEVELS.index(_TOLD)]
        inside = sum(row.inside for row in told.rows)
        title = f"{inside} of {told.n} held-out sizes fell inside their {_TOLD:.0%} interval"
        marks = (
            _chance(origins),
            Line(Role.FORECAST, LEVELS, tuple(shares)),
            Points(Role.FORECAST, LEVELS, tuple(shares), label="measured"),
        )
        panel = reliability(self.name, title, marks, shares)
        text = f"{self.summary} {title}; forecasts from {origins} origins, whose errors go together."
        return FigureData(self.name, title, (panel,), description=text)


def reliability(name: str, title: str, marks: Sequence[Mark], shares: Iterable[float], letter: str = "") -> Panel:
    """A panel of nominal level against observed share, with the line where the two agree.

    Args:
        name, title, letter: of the panel.
        marks: what is drawn over that line.
        shares: those that the axis must hold.
    """
    ideal = Line(Role.IDEAL, (LEVELS[0], LEVELS[-1]), (LEVELS[0], LEVELS[-1]), label="as often as they say")
    bands = tuple(mark for mark in marks if isinstance(mark, Band))
    others = tuple(mark for mark in marks if not isinstance(mark, Band))
    least = min([*shares, *(value for band in bands for value in band.low), LEVELS[0]])
    bottom = max(0.2 * np.floor(least / 0.2), 0.0)
    x = Axis("nominal level of the interval", 0.48, 0.97, ticks=tuple(Tick(level, f"{level:.0%}") for level in LEVELS))
    steps = [float(each) for each in np.arange(bottom, 1.01, 0.1 if bottom > 0.35 else 0.2)]
    y = Axis("share inside", float(bottom) - 0.02, 1.03, ticks=tuple(Tick(round(each, 2), f"{each:.0%}") for each in steps))
    return Panel(name, title, x, y, (*bands, ideal, *others), legend="lower right", letter=letter)


def _chance(count: int) -> Band:
    """Where the share of `count` independent predictions lies 90 % of the time if levels hold: quantiles of the binomial.

    The predictions of one origin share one law's error, so origins are counted and not predictions.
    """
    from scipy.special import bdtr

    successes = np.arange(count + 1)
    ends = [np.searchsorted(bdtr(successes, count, level), (0.05, 0.95)) / count for level in LEVELS]
    low, high = (tuple(float(each[place]) for each in ends) for place in (0, 1))
    return Band(Role.IDEAL, LEVELS, low, high, label=f"90% range of chance, {count} origins")
