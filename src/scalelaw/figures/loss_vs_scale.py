"""Loss against size, coloured by learning rate, with the laws and what became of the target."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from ._base import Figure, FigureData
from ._inferred import tell
from ._panels import ladder

if TYPE_CHECKING:
    from ..forecast import Forecast
    from ..trials import Trials
    from ..verdict import Verdict

__all__ = ["LossVsScale"]


class LossVsScale(Figure):
    """See `summary`."""

    name = "loss_vs_scale"
    summary = "Loss against size, coloured by learning rate, with the laws and what became of the target."

    def data(self, trials: Trials, *, forecast: Forecast | None = None, verdicts: Iterable[Verdict] = ()) -> FigureData:
        """See `Figure.data`."""
        panel = ladder(tell(trials, forecast, verdicts))
        return FigureData(self.name, panel.title, (panel,), description=self.summary)
