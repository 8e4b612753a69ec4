"""From frontier, forecast and verdicts to the plain curves of a `Story`."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from ..axis import axis_of
from ..cliff import cliff
from ..errors import DataError
from ..estimate import quantile_t
from ..frontier import Edge, Frontier
from ..optimum import Optima, Optimum, optimum
from ..response import Response, skewed
from ._base import CellState, Shape
from ._scales import name_of, number
from ._story import Best, Curve, Run, Size, Story, gather, grid, numbers

if TYPE_CHECKING:
    from ..forecast import Forecast
    from ..trials import Trials
    from ..verdict import Verdict

__all__ = ["tell", "with_cliff"]

_SHAPES = {Edge.INSIDE.name: Shape.CLOSED, Edge.LOW.name: Shape.LOW, Edge.HIGH.name: Shape.HIGH, Edge.ALONE.name: Shape.CLOSED}
_BOWL = 120
_NORMAL = 1e6  # degrees of freedom at which Student's t is the normal distribution


def tell(trials: Trials, forecast: Forecast | None = None, verdicts: Iterable[Verdict] = ()) -> Story:
    """The story of a study; the arguments are those of `Figure.data`.

    Without a forecast, the best cases and the law of the best rate are those of all the trials.
    """
    verdicts = tuple(verdicts)
    if forecast is None and verdicts:
        forecast = verdicts[0].forecast
    story = gather(trials, forecast)
    if forecast is None and story.rate is not None:
        optima = _optima(trials, story)
        if optima is not None:
            story = with_frontier(story, optima.frontier)
            story = replace(story, optimum=optimum_curve(story, optima[str(story.rate)], None))
    elif forecast is not None:
        story = replace(story, level=forecast.level)
        story = with_frontier(story, forecast.frontier)
        story = _with_laws(story, forecast)
    runs = tuple(run for verdict in verdicts if (run := _run(story, verdict)) is not None)
    return replace(story, runs=runs)


def _optima(trials: Trials, story: Story) -> Optima | None:
    """The optima of all the trials; None where they have no law, such as for two sizes alone."""
    try:
        return optimum(trials, over=story.over)
    except DataError:
        return None


def with_frontier(story: Story, frontier: Frontier) -> Story:
    """The best case of each size as the frontier has it, with its interval; sizes outside it keep their best run."""
    story = replace(story, frontier=frontier)
    if not frontier.tuned or story.rate is None:
        fitted = {_key(row) for row in zip(*(frontier.trials[name] for name in frontier.over), strict=True)}
        return replace(story, sizes=tuple(_marked(size, _key(size.point) in fitted) for size in story.sizes))
    rows = {_key([row[name] for name in story.over]): row for row in frontier.trials.rows()}
    z = quantile_t(0.5 + 0.5 * story.level, _NORMAL)
    sizes: list[Size] = []
    for size in story.sizes:
        row = rows.get(_key(size.point))
        sizes.append(_marked(size, False) if row is None else replace(size, best=_best(row, story.rate, z)))
    if frontier.response is not None:
        places = {_key([bowl.point[name] for name in frontier.over]): c for c, bowl in enumerate(frontier.response.bowls)}
        sizes = [_bowl(story, size, frontier.response, places.get(_key(size.point))) for size in sizes]
    return replace(story, sizes=tuple(sizes))


def _bowl(story: Story, size: Size, response: Response, place: int | None) -> Size:
    """The size with the fitted loss at each rate, as far as the fit's window reaches; of the others the best at that rate.

    With d_u the rate's distance from its best, the others' is -H_oo^-1 H_ou d_u, the lowest point of the parabola there.
    """
    if place is None:
        return size
    bowl, cell, p = response.bowls[place], response.cells[place], response.solver.p
    axis, j = axis_of(str(story.rate)), response.hyper.index(str(story.rate))
    # The window of `_surface.weights`, out to where a run weighs a twentieth.
    excess, unknowns = np.sort(np.maximum(cell.y - bowl.log_loss, 0.0)), 1 + len(response.hyper)
    least = p.window * unknowns
    window = float(np.clip(excess[min(2 * unknowns, len(excess)) - 1], least, max(p.widest, least))) * math.sqrt(
        math.sqrt(20) - 1
    )
    reach = [*cell.z[:, j], bowl.best[j]]
    u = np.linspace(min(reach), max(reach), _BOWL)
    others = [k for k in range(len(response.hyper)) if k != j]
    away = np.zeros((len(u), len(response.hyper)))
    away[:, j] = u - bowl.best[j]
    away[:, others] = -away[:, [j]] * np.linalg.solve(bowl.hessian[np.ix_(others, others)], bowl.hessian[others, j])
    cost = skewed(bowl.hessian, response.skew, away)
    inside = cost <= min(window, max(float(excess[-1]), least))
    values = numbers([axis.setting(float(each)) for each in u[inside]])
    return replace(size, bowl=(values, numbers(np.exp(bowl.log_loss + cost[inside]))))


def with_cliff(story: Story) -> Story:
    """The story with the cliff where runs begin to fail; as it is where none did."""
    edge = story.frontier
    if edge is None or edge.response is None or story.rate is None:
        return story
    rate = str(story.rate)
    diverged = {(size.x, value) for size in story.sizes for value, cell in size.cells.items() if cell.state is CellState.DIVERGED}
    found = cliff(edge.response, rate, story.level, trials=edge.source)
    if found is None:
        return replace(story, failed=tuple(sorted(diverged)))
    j, axis = edge.response.hyper.index(rate), axis_of(rate)
    told = {(float(f"{s[0]:.9g}"), float(f"{axis.setting(float(z[j])):.9g}")) for s, z in zip(*found.bad, strict=True)}
    failed = tuple(sorted({(float(f"{x:.9g}"), float(f"{y:.9g}")) for x, y in diverged} | told))
    if len(story.over) > 1:
        return replace(story, failed=failed)
    target = {story.column: story.optimum.at[0]} if story.optimum is not None and story.optimum.at is not None else None
    # Where the smallest models never failed, nothing but the line's slope tells of a cliff.
    x = _span(story, target)
    x = x[x >= min(each for each, _ in failed) * 0.999]
    value, low, high = found.band([{story.column: float(each)} for each in x])
    words = f"half the runs fail, {story.level:.0%} band"
    return replace(story, cliff=Curve(numbers(x), numbers(value), numbers(low), numbers(high), text=words), failed=failed)


def optimum_curve(story: Story, law: Optimum, target: Mapping[str, float] | None) -> Curve:
    """The law of the best rate with its band, up to the target; over several scale columns its value there alone."""
    at = None
    if target is not None:
        there = law.at(target)
        at = (float(target[story.column]), there.value, there.low, there.high)
    if len(story.over) > 1:
        return Curve((), (), at=at)
    power = law.exponent()
    words = f"{name_of(story.column)}^{power.value:.2f}"
    if law.path.straight < law.response.solver.p.straight:
        # A power law alone would say the wrong thing of a curve whose runs speak for a bend.
        half = 0.5 * (power.high - power.low)
        words = f"Best {name_of(law.hyper)} bends: midway \N{PROPORTIONAL TO} {words} \N{PLUS-MINUS SIGN} {half:.2f}"
    else:
        words = f"Best {name_of(law.hyper)} \N{PROPORTIONAL TO} {words} ({law.level:.0%}: {power.low:.2f} to {power.high:.2f})"
    x = _span(story, target)
    value, low, high = law.band({story.column: x})
    return Curve(numbers(x), numbers(value), numbers(low), numbers(high), at, words.replace("-", "\N{MINUS SIGN}"))


def _with_laws(story: Story, forecast: Forecast) -> Story:
    target = {name: float(forecast.at[name]) for name in story.over}
    place = target[story.column]
    own = (place, forecast.loss, forecast.low, forecast.high)
    fixed = forecast.fixed
    kept = None if fixed is None or story.rate is None else fixed.setting.get(story.rate)
    held = "" if kept is None else f" at {number(kept)}"
    tuned = broken = None
    x = _span(story, target) if len(story.over) == 1 else np.empty(0)
    value, low, high = forecast.predict({story.column: x}) if len(x) else (x, x, x)
    there = np.isfinite(value)
    x_, value_, low_, high_ = (numbers(each[there]) for each in (x, value, low, high))
    curve = Curve(x_, value_, low_, high_, own)
    if forecast.frontier.tuned:
        tuned = replace(curve, text=f"law of the best cases, {forecast.level:.0%} band")
    else:
        broken = replace(curve, text=f"law of the runs{held}, {forecast.level:.0%} band")
    if fixed is not None and forecast.frontier.tuned:
        at = (place, fixed.loss, fixed.low, fixed.high)
        line = fixed.predict({story.column: x})[0] if len(x) else x
        there = np.isfinite(line)
        broken = Curve(numbers(x[there]), numbers(line[there]), at=at, text=f"law of the runs{held}")
    law = None
    if forecast.optima is not None and story.rate is not None and story.rate in forecast.optima.optima:
        law = optimum_curve(story, forecast.optima[story.rate], target)
    return replace(story, kept=kept, fixed=broken, tuned=tuned, optimum=law)


def _run(story: Story, verdict: Verdict) -> Run | None:
    """A judged run; what was promised is the fixed law's word where the run kept that setting, else the best case's."""
    if any(name not in verdict.at for name in story.over):
        return None
    rate = float(verdict.settings.get(story.rate or "", math.nan))
    kept = story.kept is None or math.isclose(rate, story.kept, rel_tol=1e-6)
    promised = story.fixed.at[1] if kept and story.fixed is not None and story.fixed.at is not None else verdict.expected
    loss = math.nan if verdict.observed is None else verdict.observed
    return Run(float(verdict.at[story.column]), loss, promised, rate, verdict.verdict.name == "OFF_LAW")


def _best(row: Mapping[str, Any], rate: str, z: float) -> Best:
    loss, best = float(row["loss"]), float(row[rate])
    se, rate_se = (math.nan if row.get(name) is None else float(row[name]) for name in ("loss_se", f"{rate}_se"))
    spread = math.exp(min(z * rate_se, 50.0)) if math.isfinite(rate_se) else math.nan
    return Best(
        best,
        loss,
        best / spread,
        best * spread,
        loss - z * se,
        loss + z * se,
        _SHAPES[str(row[f"{rate}_edge"])],
    )


def _marked(size: Size, fitted: bool) -> Size:
    """The size with its best run marked as used by the laws or not."""
    if size.best is None:
        return size
    shape = Shape.OPEN if not fitted and size.best.shape is Shape.CLOSED else size.best.shape
    return replace(size, best=replace(size.best, fitted=fitted, shape=shape))


def _span(story: Story, target: Mapping[str, float] | None) -> Any:
    sizes = [size.x for size in story.sizes] + ([] if target is None else [target[story.column]])
    return grid(min(sizes), max(sizes))


def _key(point: Sequence[float]) -> tuple[float, ...]:
    """A point that compares equal across tables: ten significant digits."""
    return tuple(float(np.format_float_scientific(value, precision=9)) for value in point)
