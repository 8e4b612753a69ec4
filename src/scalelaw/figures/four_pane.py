"""The study in one figure: loss against size, loss against rate, every cell, and the law of the best rate."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import TYPE_CHECKING

from ._base import Figure, FigureData
from ._inferred import tell
from ._panels import bowls, heatmap, ladder, optima

if TYPE_CHECKING:
    from ..forecast import Forecast
    from ..trials import Trials
    from ..verdict import Verdict

__all__ = ["FourPane"]


class FourPane(Figure):
    """Pane (a) shows the miss, (b) and (c) where it comes from, (d) the law that mends it.

    Where no hyperparameter varies within a size there is only (a).
    """

    name = "four_pane"
    summary = "The study in one figure: loss against size, loss against rate, every cell, and the law of the best rate."

    def data(self, trials: Trials, *, forecast: Forecast | None = None, verdicts: Iterable[Verdict] = ()) -> FigureData:
        """See `Figure.data`."""
        story = tell(trials, forecast, verdicts)
        makers = (ladder, bowls, heatmap, optima) if story.rate is not None else (ladder,)
        panels = tuple(replace(make(story), letter=letter) for make, letter in zip(makers, "abcd", strict=False))
        words = "; ".join(f"({panel.letter}) {panel.title}" for panel in panels)
        return FigureData(self.name, panels[0].title, panels, columns=min(2, len(panels)), description=f"{words}.")
