"""The compute-optimal size against compute by three approaches, and what deviating from it costs."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from ..errors import DataError
from ._base import Axis, Band, Figure, FigureData, Line, Mark, Note, Panel, Points, Role, Rule
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
    summary = "The compute-optimal size against compute by three approaches, and what another size costs at the budget."

    def data(
        self,
        trials: Trials,
        *,
        forecast: Forecast | None = None,  # noqa: ARG002  (every figure takes it)
        verdicts: Iterable[Verdict] = (),  # noqa: ARG002  (every figure takes it)
        allocation: Allocation | None = None,
    ) -> FigureData:
        """See `Figure.data`.

        Args:
            allocation: what to draw; default the allocation at ten times the largest compute of the trials, rounded to shapes of
                decoder-only transformers unless the trials are known to be other models.
        """
        from ..allocate import allocate

        finished = trials.finished
        if allocation is None:
            c = (
                finished.numbers("compute")
                if "compute" in finished
                else 6 * finished.numbers("parameters") * finished.numbers("tokens")
            )
            built = {*trials["model"]} if "model" in trials else {"transformer"}
            allocation = allocate(trials, 10 * float(np.nanmax(c)), shapes="transformer" if "transformer" in built else None)
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
    tolerance, top = 0.0, 0.0
    x: list[float] = []
    for each in answered[::-1]:
        if each.excess is None or each.basin is None or each.parameters is None:
            continue
        n = each.parameters.value * np.exp(u)
        cost = 100 * np.asarray(each.excess(u), dtype=np.float64)
        marks.append(Line(_ROLES[each.name], _plain(n), _plain(cost), label=_WORDS[each.name]))
        tolerance, top = each.basin.tolerance, max(top, 100 * max(each.basin.penalties.values()))
        x += [float(n[0]), float(n[-1])]
    marks.insert(0, Rule(Role.KEPT, "y", 100 * tolerance, f"{tolerance:.1%} of the loss"))
    high = max(1.5 * top, 150 * tolerance)
    low_n, high_n = min(x) / 1.05, max(x) * 1.05
    marks += _shapes(found, low_n, high_n, high)
    return Panel(
        "basin",
        f"What another size costs at {number(found.compute)} FLOPs",
        Axis("parameters", low_n, high_n, "log", log_ticks(low_n, high_n)),
        round_axis("excess loss (%)", [0.0, high]),
        tuple(marks),
        legend="upper right",
    )


def _shapes(found: Allocation, low: float, high: float, top: float) -> list[Mark]:
    """The shapes near the optimum with their regret, and the best one's in words."""
    choices = () if found.rounded is None else found.rounded.choices
    shown = [each for each in choices if each.regret is not None and low < each.shape.parameters < high]
    shown = [each for each in shown if each.regret is not None and 100 * each.regret.value < top]
    if not shown:
        return []
    regret = [each.regret for each in shown if each.regret is not None]
    x = tuple(each.shape.parameters for each in shown)
    value, below, above = (tuple(100 * getattr(each, end) for each in regret) for end in ("value", "low", "high"))
    first = shown[0].shape
    words = f"{first.width} x {first.depth}" if first.width is not None else number(first.parameters)
    label = f"can be built: regret, {found.level:.0%}"
    return [Points(Role.BEST, x, value, below, above, label=label), Note(Role.BEST, x[0], value[0], words, "above")]


def _plain(values: np.ndarray) -> tuple[float, ...]:
    return tuple(float(value) for value in values)
