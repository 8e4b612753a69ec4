"""What a kept setting costs against scale: predicted with its band, measured where it was run, and how far it is safe."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from ..cliff import cliff
from ..errors import DataError
from ..estimate import Estimate, quantile_t
from ..frontier import Frontier, kept_setting
from ..lookahead import Kept, keep
from ._base import Band, Figure, FigureData, Line, Mark, Note, Panel, Points, Role, Rule, Shape
from ._inferred import tell
from ._scales import name_of, number, round_axis, size_axis
from ._story import Story, grid, numbers

if TYPE_CHECKING:
    from ..forecast import Forecast
    from ..trials import Trials
    from ..verdict import Verdict

__all__ = ["ExcessVsScale"]

# Share of the loss that a kept setting may cost before it is called unsafe; that of `scalelaw optimum`.
_TOLERANCE = 0.02
_NORMAL = 1e6  # degrees of freedom at which Student's t is the normal distribution


class ExcessVsScale(Figure):
    """The kept setting is the forecast's, else the grid's best over the middle scales (`kept_setting`).

    Its safe ratio counts from the size at which it costs least. Measured points are means over seeds, above the frontier's best
    case where the fit has one, else above the best run of their size.
    """

    name = "excess_vs_scale"
    summary = "The loss that a kept setting gives away against size: predicted, measured, and how far it is safe to keep."

    def data(self, trials: Trials, *, forecast: Forecast | None = None, verdicts: Iterable[Verdict] = ()) -> FigureData:
        """See `Figure.data`."""
        story = tell(trials, forecast, verdicts)
        story.need_rate()
        edge = story.frontier
        if edge is None or edge.response is None:
            raise DataError(
                "no setting was tuned at two sizes, so what a kept one costs cannot be told",
                trials.source,
                "Run three learning rates at two sizes or more",
            )
        fixed = None if forecast is None else forecast.fixed
        setting = dict(fixed.setting) if fixed is not None else kept_setting(edge.source, over=edge.over, hyper=edge.hyper)
        # Hyperparameters of the recipe that were never tuned are no part of the surface.
        setting = {name: value for name, value in setting.items() if name in edge.hyper}
        target = None if forecast is None else {name: float(forecast.at[name]) for name in story.over}
        kept = _look(edge, setting, story.level)
        panel = _panel(story, kept, _measured(trials, edge, setting), target)
        if len(story.over) == 1:
            panel = replace(panel, marks=(*panel.marks, *_wall(story, kept, panel)))
        return FigureData(self.name, panel.title, (panel,), description=self.summary)


@dataclass(frozen=True)
class _Run:
    """The kept setting as it was run at one size: x, ln loss above the best case with its interval, and if the fit saw it."""

    x: float
    excess: float
    low: float
    high: float
    fitted: bool


def _look(edge: Frontier, setting: Mapping[str, float], level: float) -> Kept:
    """Look ahead from the scale where the setting costs least."""
    assert edge.response is not None
    kept = keep(edge.response, setting, level=level)
    start = min((bowl.point for bowl in edge.response.bowls), key=lambda point: kept.mean(point))
    return keep(edge.response, setting, start, level=level)


def _measured(trials: Trials, edge: Frontier, setting: Mapping[str, float]) -> list[_Run]:
    """Every size at which the kept setting was run to its end."""
    done = trials.finished
    same = np.all([np.isclose(done.numbers(name), value, rtol=1e-6, atol=0.0) for name, value in setting.items()], axis=0)
    best = {tuple(f"{row[name]:.9g}" for name in edge.over): row for row in edge.trials.rows()}
    z = quantile_t(0.95, _NORMAL)
    found: list[_Run] = []
    for point, rows in done.where(same).groups(edge.over):
        if not all(math.isfinite(each) and each > 0 for each in point):
            continue
        losses = rows.numbers("loss")
        row = best.get(tuple(f"{each:.9g}" for each in point))
        if row is not None:
            floor, spread = float(row["loss"]), float(row["loss_se"]) / float(row["loss"])
            half = z * math.hypot(spread if math.isfinite(spread) else 0.0, (edge.noise or 0.0) / math.sqrt(len(losses)))
        else:
            here = np.all([np.isclose(done.numbers(name), value) for name, value in zip(edge.over, point, strict=True)], axis=0)
            floor, half = float(done.numbers("loss")[here].min()), math.nan
        value = float(np.mean(np.log(losses))) - math.log(floor)
        found.append(_Run(float(point[0]), value, value - half, value + half, row is not None))
    return found


def _panel(story: Story, kept: Kept, runs: list[_Run], target: Mapping[str, float] | None) -> Panel:
    sizes = [size.x for size in story.sizes] + ([] if target is None else [target[story.column]])
    predicted, top = _predicted(story, kept, sizes)
    safe = _safe(kept, story.column, max(sizes)) if len(story.over) == 1 else []
    marks: list[Mark] = [Rule(Role.KEPT, "y", _rise(_TOLERANCE), "" if safe else f"{_TOLERANCE:.0%} tolerated"), *predicted]
    for fitted, role, shape in ((True, Role.BEST, Shape.CLOSED), (False, Role.UNSEEN, Shape.OPEN)):
        rows = [run for run in runs if run.fitted is fitted]
        if rows:
            x, y = tuple(run.x for run in rows), _percent(run.excess for run in rows)
            low, high = _percent(run.low for run in rows), _percent(run.high for run in rows)
            label = "measured" if fitted else "measured, not fitted (above the best run)"
            marks.append(Points(role, x, y, low, high, shapes=(shape,) * len(rows), label=label))
    at = None if target is None else kept.excess(target)
    if at is not None and target is not None:
        value, low, high = (_percent([each]) for each in (at.value, at.low, at.high))
        marks.append(
            Points(Role.FORECAST, (target[story.column],), value, low, high, label=f"forecast, {story.level:.0%} interval")
        )
        top = max(top, 0.5 * (at.value + at.high))
    marks += safe
    top = max([top, 1.5 * _TOLERANCE, *(run.excess for run in runs)])
    bottom = min([0.0, *(max(run.low, -0.3 * top) for run in runs if run.fitted), *(run.excess for run in runs)])
    ends = [_rise(bottom), _rise(top)]
    y = round_axis("loss above the best case (%)", ends, room=0.3, below=0.05)
    x = size_axis(story.column, sizes, 0.07)
    shown = tuple(_below(mark, y.high) for mark in marks)
    return Panel("excess_vs_scale", _title(story, kept, at, target), x, y, shown, legend="upper left")


def _predicted(story: Story, kept: Kept, sizes: list[float]) -> tuple[list[Mark], float]:
    """The predicted excess: a curve with its band; over several scale columns, a point with its interval at each fitted size."""
    column = story.column
    if len(story.over) == 1:
        x = grid(min(sizes), max(sizes))
        value, low, high = kept.curve([{column: float(each)} for each in x])
        band = Band(Role.FIXED_LAW, numbers(x), _percent(low), _percent(high))
        line = Line(Role.FIXED_LAW, numbers(x), _percent(value), label=f"predicted, {story.level:.0%} band")
        return [band, line], float(value.max())
    points = [dict(zip(story.over, size.point, strict=True)) for size in story.sizes if size.best and size.best.fitted]
    value, low, high = kept.curve(points)
    # A little beside the measured ones.
    aside = (max(sizes) / min(sizes)) ** 0.02
    x = tuple(point[column] * aside for point in points)
    label = f"predicted, {story.level:.0%} interval"
    return [Points(Role.TUNED_LAW, x, _percent(value), _percent(low), _percent(high), label=label)], float(value.max())


def _safe(kept: Kept, column: str, largest: float) -> list[Mark]:
    """The size at which the tolerance is met, on the tolerance's line, as far as the panel shows it."""
    ratio, start = kept.safe_ratio(_TOLERANCE), kept.start[column]
    if not math.isfinite(ratio.value) or start * ratio.value > largest * 1.3:
        return []
    low, value, high = (start * each for each in (ratio.low, ratio.value, ratio.high))
    span = f"{_short(low)} to {_short(high)}" if math.isfinite(high) else f"at least {_short(low)}"
    words = f"{_TOLERANCE:.0%} reached at {name_of(column)} {_short(value)} ({span})"
    line, points = (low, min(high, largest * 1.3)), (value,)
    return [
        Line(Role.TUNED_LAW, line, (_rise(_TOLERANCE),) * 2),
        Points(Role.TUNED_LAW, points, (_rise(_TOLERANCE),), label=words),
    ]


def _wall(story: Story, kept: Kept, panel: Panel) -> list[Mark]:
    """Where the kept setting meets the cliff, if the panel shows it: from there on half the runs fail and no excess counts."""
    assert story.frontier is not None
    rate, x = str(story.rate), panel.x
    found = cliff(kept.response, rate, story.level, trials=story.frontier.source) if rate in kept.settings else None
    met = None if found is None else found.meets(kept).scale
    if met is None or not met.value <= x.ticks[-1].at:
        return []
    # Short of the legend above.
    top = panel.y.low + 0.5 * (panel.y.high - panel.y.low)
    span = f"{_short(met.low)} to {_short(met.high)}" if math.isfinite(met.high) else f"at least {_short(met.low)}"
    words = f"meets the cliff at\n{name_of(story.column)} {_short(met.value)} ({span})"
    edge = math.log(met.value / x.low) / math.log(x.high / x.low) > 0.75
    return [
        Line(Role.CLIFF, (met.value, met.value), (panel.y.low, top)),
        Note(Role.CLIFF, met.value, top, words, "left" if edge else "above"),
    ]


def _title(story: Story, kept: Kept, at: Estimate | None, target: Mapping[str, float] | None) -> str:
    several = len(kept.settings) > 1
    held = ", ".join(f"{name_of(name)} {number(value)}" if several else number(value) for name, value in kept.settings.items())
    if at is None or target is None:
        ratio = kept.safe_ratio(_TOLERANCE)
        far = f"up to {number(ratio.value)} times the size" if math.isfinite(ratio.value) else "as far as can be seen"
        return f"Kept at {held}: within {_TOLERANCE:.0%} of the best {far}"
    value, low, high = (f"{_rise(each):.{0 if _rise(each) >= 10 else 1}f}" for each in (at.value, at.low, at.high))
    return f"Kept at {held}, {name_of(story.column)} {number(target[story.column], 3)} loses {value}% ({low} to {high})"


def _short(size: float) -> str:
    """A size to two digits: an interval's ends are not known better."""
    return number(float(f"{size:.2g}"))


def _rise(excess: float) -> float:
    """ln loss lost as a percentage of the loss."""
    return 100 * math.expm1(excess)


def _percent(values: Iterable[float]) -> tuple[float, ...]:
    return tuple(_rise(float(each)) for each in values)


def _below(mark: Mark, high: float) -> Mark:
    """The mark with what lies far above the picture brought down to just beyond its rim."""
    if isinstance(mark, Band):
        rim = 1.5 * high
        return Band(mark.role, mark.x, tuple(min(e, rim) for e in mark.low), tuple(min(e, rim) for e in mark.high), mark.label)
    return mark
