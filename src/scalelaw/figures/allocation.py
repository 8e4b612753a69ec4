"""The compute-optimal size against compute by three approaches, and what deviating from it costs."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from ..errors import DataError
from ._base import Axis, Band, Figure, FigureData, Line, Mark, Panel, Points, Role, Rule, Tick
from ._scales import log_ticks, number, round_axis

if TYPE_CHECKING:
    from ..allocate import Allocation, Approach
    from ..forecast import Forecast
    from ..trials import Trials
    from ..verdict import Verdict

__all__ = ["AllocationFigure"]

# Three lines that are told apart without colour: solid with a band, dashed, dotted.
_ROLES = {"approach_1": Role.KEPT, "approach_2": Role.FIXED_LAW, "approach_3": Role.TUNED_LAW}
_WORDS = {"approach_1": "1 envelope", "approach_2": "2 isoFLOP minima", "approach_3": "3 fitted law"}


class AllocationFigure(Figure):
    """See `summary`."""

    name = "allocation"
    summary = "The compute-optimal size against compute by three approaches, and what deviating from it costs."

    def data(
        self,
        trials: Trials,
        *,
        forecast: Forecast | None = None,  # noqa: ARG002  (every figure takes it)
        verdicts: Iterable[Verdict] = (),  # noqa: ARG002
        allocation: Allocation | None = None,
    ) -> FigureData:
        """See `Figure.data`.

        Args:
            allocation: what to draw; default the allocation at ten times the largest compute of the trials.
        """
        from ..allocate import allocate

        finished = trials.finished
        if allocation is None:
            c = (
                finished.numbers("compute")
                if "compute" in finished
                else 6 * finished.numbers("parameters") * finished.numbers("tokens")
            )
            allocation = allocate(trials, 10 * float(np.nanmax(c)))
        answered = [each for each in allocation.approaches if each.parameters is not None]
        if not answered:
            raise DataError("no approach has an answer", trials.source, allocation.approaches[-1].reason)
        panels = [_paths(allocation, answered)]
        if any(each.excess is not None for each in answered):
            panels.append(_basins(allocation, answered))
        lettered = tuple(
            Panel(each.name, each.title, each.x, each.y, each.marks, each.ramp, each.legend, letter)
            for each, letter in zip(panels, "ab", strict=False)
        )
        text = f"{self.summary} {allocation.disagreement.message}"
        return FigureData(self.name, panels[0].title, lettered, columns=len(panels), description=text)


def _paths(found: Allocation, answered: Sequence[Approach]) -> Panel:
    budgets = [each for each in found.approach("approach_2").budgets if each.used]
    low = min([each.compute for each in budgets], default=found.compute / found.reach / 100)
    c = np.linspace(math.log(low / 2), math.log(found.compute * 3), 60)
    marks: list[Mark] = []
    every: list[float] = []
    for each in answered[::-1]:
        assert each.path is not None
        n, se = each.path.at(c)
        if each.name == "approach_3" or len(answered) == 1:
            marks.insert(
                0, Band(_ROLES[each.name], _plain(np.exp(c)), _plain(np.exp(n - 1.645 * se)), _plain(np.exp(n + 1.645 * se)))
            )
        marks.append(Line(_ROLES[each.name], _plain(np.exp(c)), _plain(np.exp(n)), label=_WORDS[each.name]))
        every += [math.exp(n[0]), math.exp(n[-1])]
    if budgets:
        n = np.array([each.best for each in budgets])
        se = np.array([each.best_se for each in budgets])
        x = tuple(each.compute for each in budgets)
        marks.append(
            Points(Role.BEST, x, _plain(np.exp(n)), _plain(np.exp(n - se)), _plain(np.exp(n + se)), label="minimum, 1 s.e.")
        )
    # Side by side, or their intervals would hide each other.
    for place, each in enumerate(answered):
        assert each.parameters is not None
        at = found.compute * 1.5 ** (place - (len(answered) - 1) / 2)
        size = each.parameters
        marks.append(Points(Role.FORECAST, (at,), (size.value,), (size.low,), (size.high,)))
        every += [value for value in (size.low, size.high) if math.isfinite(value)]
    y_low, y_high = min(every) / 1.4, max(every) * 1.4
    x_low, x_high = math.exp(c[0]), math.exp(c[-1])
    values = sorted(each.parameters.value for each in answered if each.parameters)
    best = f"{number(values[0])} to {number(values[-1])}" if len(values) > 1 else number(values[0])
    return Panel(
        "optimum",
        f"At {number(found.compute)} FLOPs the best size is {best}",
        Axis("compute (FLOPs)", x_low, x_high, "log", log_ticks(x_low, x_high)),
        Axis("compute-optimal parameters", y_low, y_high, "log", log_ticks(y_low, y_high)),
        tuple(marks),
        legend="upper left",
    )


def _basins(found: Allocation, answered: Sequence[Approach]) -> Panel:
    u = np.linspace(-math.log(4), math.log(4), 121)
    marks: list[Mark] = []
    tolerance = 0.0
    top = 0.0
    for each in answered[::-1]:
        if each.excess is None or each.basin is None:
            continue
        cost = 100 * np.asarray(each.excess(u), dtype=np.float64)
        marks.append(Line(_ROLES[each.name], _plain(np.exp(u)), _plain(cost), label=_WORDS[each.name]))
        tolerance, top = each.basin.tolerance, max(top, 100 * max(each.basin.penalties.values()))
    marks.insert(0, Rule(Role.KEPT, "y", 100 * tolerance, f"{tolerance:.1%} of the loss"))
    ticks = tuple(Tick(value, f"{value:g}") for value in (0.25, 0.5, 1, 2, 4))
    return Panel(
        "basin",
        f"What another size costs at {number(found.compute)} FLOPs",
        Axis("parameters / optimum", 0.24, 4.2, "log", ticks),
        round_axis("excess loss (%)", [0.0, max(1.5 * top, 150 * tolerance)]),
        tuple(marks),
        legend="upper right",
    )


def _plain(values: np.ndarray) -> tuple[float, ...]:
    return tuple(float(value) for value in values)
