"""Every cell of the study: size by learning rate, coloured by loss, diverged cells marked."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from ._base import Figure, FigureData
from ._inferred import tell
from ._panels import heatmap

if TYPE_CHECKING:
    from ..forecast import Forecast
    from ..trials import Trials
    from ..verdict import Verdict

__all__ = ["RateHeatmap"]


class RateHeatmap(Figure):
    """See `summary`."""

    name = "rate_heatmap"
    summary = "Every cell of the study: size by learning rate, coloured by loss, diverged cells marked."

    def data(self, trials: Trials, *, forecast: Forecast | None = None, verdicts: Iterable[Verdict] = ()) -> FigureData:
        """See `Figure.data`."""
        panel = heatmap(tell(trials, forecast, verdicts))
        return FigureData(self.name, panel.title, (panel,), description=self.summary)
