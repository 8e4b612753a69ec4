"""What each run that might come next is worth for its cost, the runs a plan makes, and the law of the best setting."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
from numpy.typing import NDArray

from ..axis import axis_of
from ..errors import DataError
from ._base import Axis, Band, Figure, FigureData, Line, Mark, Panel, Points, Ramp, Role, Shape, Tick
from ._planned import planned
from ._scales import log_ticks, name_of, point_text, rate_axis, size_axis

if TYPE_CHECKING:
    from ..forecast import Forecast
    from ..optimum import Optimum
    from ..plan import Plan
    from ..trials import Trials
    from ..verdict import Verdict

__all__ = ["GainPerCost"]

Array: TypeAlias = NDArray[np.float64]

# Settings of a size stand in so many steps from the lowest to the highest; gains are told over so many decades.
_STEPS, _DECADES = 44, 2.0


class GainPerCost(Figure):
    """See `summary`."""

    name = "gain_per_cost"
    summary = "What each run that might come next is worth for its cost, the runs a plan makes, and the law of the best setting."

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
        name = "learning_rate" if "learning_rate" in found.hyper else found.hyper[0]
        panel = _Grid(trials, found, name).panel()
        where = point_text(tuple(found.target), tuple(found.target.values()))
        text = f"{self.summary} Colour is the expected fall of the regret at {where} for each FLOP. {found.reason}"
        return FigureData(self.name, panel.title, (panel,), description=text)


class _Grid:
    """The panel's parts. Sizes of one column stand at it; over several columns, at what a run costs there."""

    def __init__(self, trials: Trials, found: Plan, name: str) -> None:
        if found.offered is None:
            raise DataError("the plan offers no runs to choose from", trials.source, "Make the first runs: scalelaw plan")
        self.trials, self.found, self.name = trials, found, name
        self.pool, self.gains = found.offered
        self.over = self.pool.over
        self.cost = np.array([float(self.pool.cost[self.pool.cell == c].min()) for c in range(len(self.pool.points))])

    def place(self, point: dict[str, float], cost: float) -> float:
        """Where a size stands."""
        return float(point[self.over[0]]) if len(self.over) == 1 else cost

    def panel(self) -> Panel:
        offers = self.offers()
        law, made, chosen = self.law(), self.made(), self.chosen()
        marks = [*law[:1], offers, *law[1:], *made, *chosen, self.target()]
        heights = [value for mark in (offers, *made, *chosen, self.target()) for value in (*mark.y, *mark.low, *mark.high)]
        across = [value for mark in (offers, *made, *chosen, self.target()) for value in mark.x]
        one = len(self.over) == 1
        cost = (min(across) / 1.6, max(across) * 1.6)
        x = size_axis(self.over[0], across) if one else Axis("FLOPs of one run", *cost, "log", log_ticks(*cost))
        best = max(offers.values)
        ticks = tuple(Tick(best * 10.0**-k, "best" if k == 0 else f"1/{10**k}") for k in range(int(_DECADES) + 1))
        ramp = Ramp("gain", "fall of the regret per FLOP", best * 10**-_DECADES, best, "log", ticks)
        y = rate_axis(name_of(self.name), [value for value in heights if value > 0 and math.isfinite(value)])
        return Panel("gain_per_cost", self.title(), x, y, tuple(marks), ramp, legend="lower left")

    def offers(self) -> Points:
        """The best gain per FLOP of each size in each step of the hyperparameter."""
        j, pool = self.pool.hyper.index(self.name), self.pool
        worth = np.where(pool.left > 0, self.gains, 0.0) / pool.cost
        z = pool.z[:, j]
        step = np.clip(((z - z.min()) / max(float(np.ptp(z)), 1e-9) * _STEPS).astype(int), 0, _STEPS - 1)
        found: dict[tuple[int, int], float] = {}
        for c, k, value in zip(pool.cell.tolist(), step.tolist(), worth.tolist(), strict=True):
            found[c, k] = max(found.get((c, k), 0.0), value)
        middle = z.min() + (np.arange(_STEPS) + 0.5) / _STEPS * np.ptp(z)
        setting = [axis_of(self.name).setting(float(each)) for each in middle]
        # From the least to the greatest, so that where sizes stand close the better run is seen.
        order = sorted(found, key=lambda key: found[key])
        x = tuple(self.place(dict(pool.points[c]), float(self.cost[c])) for c, _ in order)
        top = max(found.values(), default=0.0) or 1.0
        values = tuple(max(found[key], top * 10**-_DECADES) for key in order)
        return Points(Role.OFFER, x, tuple(float(setting[k]) for _, k in order), values=values)

    def law(self) -> list[Mark]:
        """The law of the best setting with its band; none over several columns, where cost does not tell the size."""
        from ..optimum import optimum

        column, *others = self.over
        if others:
            return []
        try:
            law: Optimum = optimum(self.trials, over=self.over, hyper=self.found.hyper)[self.name]
        except DataError:
            return []
        sizes = [point[column] for point in (*self.pool.points, self.found.target)]
        x = np.geomspace(min(sizes), max(sizes), 60)
        value, low, high = (tuple(map(float, each)) for each in law.band({self.over[0]: x}))
        words = f"predicted best, {law.level:.0%} band"
        return [
            Band(Role.TUNED_LAW, tuple(map(float, x)), low, high),
            Line(Role.TUNED_LAW, tuple(map(float, x)), value, label=words),
        ]

    def made(self) -> list[Points]:
        """Runs so far."""
        rows = self.trials.where(np.all([np.isfinite(self.trials.numbers(name)) for name in (*self.over, self.name)], axis=0))
        if not len(rows):
            return []
        if len(self.over) == 1:
            x = rows.numbers(self.over[0])
        else:
            known = {tuple(round(math.log(point[n]), 9) for n in self.over): k for k, point in enumerate(self.pool.points)}
            keys = np.round(np.log(np.stack([rows.numbers(name) for name in self.over], axis=1)), 9)
            place = [known.get(tuple(key)) for key in keys.tolist()]
            x = np.array([math.nan if k is None else self.cost[k] for k in place])
        y = rows.numbers(self.name)
        there = np.isfinite(x) & (y > 0)
        pairs = sorted({(float(a), float(b)) for a, b in zip(x[there], y[there], strict=True)})
        return [Points(Role.RUN, tuple(a for a, _ in pairs), tuple(b for _, b in pairs), label="made so far")]

    def chosen(self) -> list[Points]:
        """The plan's runs: for their gain, and to fill space."""
        found: list[Points] = []
        for filling, shape, words in ((False, Shape.CLOSED, "next, for its gain"), (True, Shape.OPEN, "next, fills space")):
            runs = [run for run in self.found.runs if run.filling is filling]
            if runs:
                x = tuple(self.place(dict(run.values), run.cost) for run in runs)
                y = tuple(float(run.values[self.name]) for run in runs)
                found.append(Points(Role.CHOSEN, x, y, shapes=(shape,) * len(runs), label=words))
        return found

    def target(self) -> Points:
        """The setting to take at the target, with its interval."""
        best = self.found.setting[self.name]
        x = self.place(dict(self.found.target), self.found.cost)
        return Points(Role.FORECAST, (x,), (best.value,), (best.low,), (best.high,), label="the target's best setting")

    def title(self) -> str:
        where = point_text(tuple(self.found.target), tuple(self.found.target.values()))
        if not self.found.runs:
            return f"No further run pays for itself before {where}"
        n = len(self.found.runs)
        return f"The next {n} runs for {where}" if n > 1 else f"The next run for {where}"
