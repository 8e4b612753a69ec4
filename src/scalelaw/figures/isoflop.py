"""Loss against size at each compute budget, with the fitted minimum of each."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from ..errors import DataError
from ._base import Axis, Figure, FigureData, Line, Mark, Panel, Points, Ramp, Role, Shape, Tick
from ._scales import log_ticks, number, round_axis

if TYPE_CHECKING:
    from ..allocate import Allocation, Budget
    from ..forecast import Forecast
    from ..trials import Trials
    from ..verdict import Verdict

__all__ = ["Isoflop"]


class Isoflop(Figure):
    """See `summary`."""

    name = "isoflop"
    summary = "Loss against size at each compute budget (isoFLOP profiles), with the minimum that approach 2 reads off each."

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
            allocation: whose profiles to draw; default those of the trials.
        """
        from ..allocate import allocate

        found = allocation or allocate(trials, 10 * float(np.nanmax(_computes(trials))))
        second = found.approach("approach_2")
        if not second.budgets:
            raise DataError(second.reason, trials.source, "An isoFLOP figure needs several sizes at equal compute")
        panel = _panel(second.budgets)
        return FigureData(self.name, panel.title, (panel,), description=f"{self.summary} {second.reason}")


def _computes(trials: Trials) -> np.ndarray:
    finished = trials.finished
    if "compute" in finished:
        return finished.numbers("compute")
    return 6 * finished.numbers("parameters") * finished.numbers("tokens")


def _panel(budgets: Sequence[Budget]) -> Panel:
    marks: list[Mark] = []
    for each in budgets:
        order = np.argsort(each.parameters)
        x, y = _plain(each.parameters[order]), _plain(each.loss[order])
        marks.append(Points(Role.RUN, x, y, values=(each.compute,) * len(x)))
        marks.append(_curve(each))
    inside = [each for each in budgets if each.used]
    marks.append(
        Points(
            Role.BEST,
            tuple(math.exp(each.best) for each in budgets if math.isfinite(each.best)),
            tuple(each.lowest for each in budgets if math.isfinite(each.best)),
            shapes=tuple(_shape(each) for each in budgets if math.isfinite(each.best)),
            label="minimum of a budget",
        )
    )
    sizes = np.concatenate([each.parameters for each in budgets])
    low, high = float(sizes.min()) / 1.3, float(sizes.max()) * 1.3
    known = [each.lowest for each in budgets if math.isfinite(each.lowest)] or [float(each.loss.min()) for each in budgets]
    # Runs far off a profile's minimum would press the minima together.
    x = Axis("parameters", low, high, "log", log_ticks(low, high))
    y = round_axis("loss", [*known, 1.12 * max(known)])
    computes = [each.compute for each in budgets]
    ends = (min(computes) / 1.2, max(computes) * 1.2)
    ramp = Ramp("size", "compute (FLOPs)", *ends, "log", tuple(Tick(c, f"{c:.0e}".replace("e+", "e")) for c in _few(computes)))
    title = f"{len(inside)} of {len(budgets)} budgets have a bracketed minimum"
    if len(inside) > 1:
        title = f"The best size moves from {number(math.exp(inside[0].best))} to {number(math.exp(inside[-1].best))}"
    return Panel("isoflop", title, x, y, tuple(marks), ramp, legend="lower left")


def _curve(each: Budget) -> Line:
    """The fitted profile over the sizes whose loss shaped it."""
    if not math.isfinite(each.best):
        return Line(Role.RUN, (), (), value=each.compute)
    logs = np.log(each.parameters)
    n = np.linspace(logs.min(), logs.max(), 80)
    u, (h, k) = n - each.best, each.curve
    y = each.lowest * np.exp(0.5 * h * u**2 + k * u**3)
    keep = y < 1.08 * each.lowest
    return Line(Role.RUN, _plain(np.exp(n[keep])), _plain(y[keep]), value=each.compute)


def _shape(each: Budget) -> Shape:
    if each.used:
        return Shape.CLOSED
    return Shape.LOW if "smallest" in each.reason else Shape.HIGH


def _few(values: Sequence[float], most: int = 6) -> list[float]:
    step = -(-len(values) // most)
    return list(values)[::-1][::step][::-1]


def _plain(values: np.ndarray) -> tuple[float, ...]:
    return tuple(float(value) for value in values)
