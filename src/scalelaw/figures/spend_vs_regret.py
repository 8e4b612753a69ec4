"""What further spending brings: the expected regret at the target with its band, and the total cost whose least says stop."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from ._base import Axis, Band, Figure, FigureData, Line, Mark, Note, Panel, Points, Role, Tick
from ._planned import planned
from ._scales import log_ticks, number, point_text

if TYPE_CHECKING:
    from ..forecast import Forecast
    from ..plan import Plan, Spend
    from ..trials import Trials
    from ..verdict import Verdict

__all__ = ["SpendVsRegret"]

# No spending stands so many times below the first run's; and of the band that much below the least mean is shown.
_LEFT, _BELOW = 4.0, 8.0


class SpendVsRegret(Figure):
    """See `summary`."""

    name = "spend_vs_regret"
    summary = "What further spending brings: the expected regret at the target, and the total cost whose least says stop."

    def data(
        self,
        trials: Trials,
        *,
        forecast: Forecast | None = None,
        verdicts: Iterable[Verdict] = (),  # noqa: ARG002  (every figure takes it)
        plan: Plan | None = None,
    ) -> FigureData:
        """See `Figure.data`.

        Args:
            plan: what to draw; default the plan for the forecast's target, or for four times the largest size, with a budget of
                what that run costs itself.
        """
        found = planned(trials, forecast, plan)
        stop = next(each for each in found.curve if each.runs == found.stop)
        x = _places(found)
        panels = (_regret(found, stop, x), _total(found, stop, x))
        words = f"At {point_text(tuple(found.target), tuple(found.target.values()))}: {found.reason}"
        return FigureData(self.name, panels[0].title, panels, columns=2, description=f"{self.summary} {words}")


def _places(found: Plan) -> list[float]:
    """Where the curve's rows stand: nothing spent has no place on a logarithmic axis and stands left of the first run."""
    spend = [found.price.of(each.spend) for each in found.curve]
    first = min((each for each in spend if each > 0), default=found.price.of(found.cost))
    return [max(each, first / _LEFT) for each in spend]


def _axis(found: Plan, x: Sequence[float]) -> Axis:
    low, high = x[0] / 1.5, max(x[-1], x[0] * _LEFT) * 1.6
    ticks = tuple(tick for tick in log_ticks(x[0] * 1.5, high) if tick.at > x[0] * 1.5)
    return Axis(f"spend from now on ({found.price.unit})", low, high, "log", (Tick(x[0], "0"), *ticks))


def _regret(found: Plan, stop: Spend, x: Sequence[float]) -> Panel:
    rows = found.curve
    least = min(each.regret for each in rows)
    floor = 100 * least / _BELOW
    low, high = ([max(100 * value, floor) for value in column] for column in ([r.low for r in rows], [r.high for r in rows]))
    words = "90 % band" if 100 * min(each.low for each in rows) >= floor else "90 % band, its low end beneath the axis"
    marks: list[Mark] = [
        Band(Role.TUNED_LAW, tuple(x), tuple(low), tuple(high), label=words),
        Line(Role.TUNED_LAW, tuple(x), tuple(100 * each.regret for each in rows), label="expected regret"),
        _end(found, stop, x, [100 * each.regret for each in rows]),
    ]
    first, last = rows[0], rows[-1]
    top = max(high) * (max(high) / floor) ** 0.16
    for row, at, side in ((first, x[0], "right"), (last, x[-1], "left")):
        if row is first or len(rows) > 1:
            text = (
                f"P(off the law) {row.off_law:.1%}\nsafe ratio {'any' if math.isinf(row.safe_ratio) else number(row.safe_ratio)}"
            )
            marks.append(Note(Role.KEPT, at, top * (floor / top) ** 0.05, text, side))
    if found.stop:
        runs = "1 run" if found.stop == 1 else f"{found.stop} runs"
        title = f"{runs} should take the regret from {first.regret:.2%} to {stop.regret:.2%}"
    else:
        title = f"{first.regret:.2%} is expected to be lost: no run pays for itself"
    y = Axis("regret at the target (% of its loss)", floor, top, "log", log_ticks(floor, top))
    return Panel("regret", title, _axis(found, x), y, tuple(marks), legend="lower left", letter="a")


def _total(found: Plan, stop: Spend, x: Sequence[float]) -> Panel:
    """Spend and the worth of the regret that is left, and their sum."""
    rows, price = found.curve, found.price
    spend = [price.of(each.spend) for each in rows]
    total = [price.of(each.total) for each in rows]
    left = [t - s for t, s in zip(total, spend, strict=True)]
    shown = [value for value in (*total, *left, *spend[1:], price.of(found.cost)) if value > 0]
    axis, own = _axis(found, x), price.of(found.cost)
    marks: list[Mark] = [
        Line(Role.KEPT, (axis.low, axis.high), (own, own)),
        Note(Role.KEPT, axis.high, own * 1.25, "the target's own run", "left"),
        Line(Role.KEPT, tuple(x[1:]), tuple(spend[1:]), label="spend"),
        Line(Role.FIXED_LAW, tuple(x), tuple(left), label="worth of the regret left"),
        Line(Role.TUNED_LAW, tuple(x), tuple(total), label="total"),
        _end(found, stop, x, total),
    ]
    low, high = min(max(min(shown), min(total) / 30) / 1.6, min(total) / 5), max(shown) * 2.2
    y = Axis(f"cost ({price.unit})", low, high, "log", log_ticks(low, high))
    title = f"The total is least after {number(price.of(stop.spend))} {price.unit}" if found.stop else "The total is least now"
    return Panel("total", title, axis, y, tuple(marks), legend="lower right", letter="b")


def _end(found: Plan, stop: Spend, x: Sequence[float], y: Sequence[float]) -> Points:
    k = found.curve.index(stop)
    return Points(Role.CHOSEN, (x[k],), (y[k],), label="where the total is least")
