"""Loss against learning rate, one bowl per size, its optimum marked."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from ._base import Figure, FigureData
from ._inferred import tell
from ._panels import bowls

if TYPE_CHECKING:
    from ..forecast import Forecast
    from ..trials import Trials
    from ..verdict import Verdict

__all__ = ["LossVsRate"]


class LossVsRate(Figure):
    """See `summary`."""

    name = "loss_vs_rate"
    summary = "Loss against learning rate, one bowl per size, its optimum marked."

    def data(self, trials: Trials, *, forecast: Forecast | None = None, verdicts: Iterable[Verdict] = ()) -> FigureData:
        """See `Figure.data`."""
        panel = bowls(tell(trials, forecast, verdicts))
        return FigureData(self.name, panel.title, (panel,), description=self.summary)
