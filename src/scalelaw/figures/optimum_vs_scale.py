"""The best learning rate of each size, the law through them to the target, and the cliff where runs fail."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from ._base import Figure, FigureData
from ._inferred import tell, with_cliff
from ._panels import optima

if TYPE_CHECKING:
    from ..forecast import Forecast
    from ..trials import Trials
    from ..verdict import Verdict

__all__ = ["OptimumVsScale"]


class OptimumVsScale(Figure):
    """See `summary`."""

    name = "optimum_vs_scale"
    summary = "The best learning rate of each size, the law through them to the target, and the cliff where runs fail."

    def data(self, trials: Trials, *, forecast: Forecast | None = None, verdicts: Iterable[Verdict] = ()) -> FigureData:
        """See `Figure.data`."""
        panel = optima(with_cliff(tell(trials, forecast, verdicts)))
        return FigureData(self.name, panel.title, (panel,), description=self.summary)
