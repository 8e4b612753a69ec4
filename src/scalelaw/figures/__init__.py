"""Figures, an open set: one file, one figure. A figure computes numbers; `render` paints them.

data = figures["four_pane"].data(trials, forecast=forecast, verdicts=[verdict])
render.paint(data, "four_pane.png")
"""

from __future__ import annotations

from ..registry import OpenSet
from ._base import (
    Axis,
    Band,
    Cells,
    CellState,
    Figure,
    FigureData,
    Line,
    Mark,
    Note,
    Panel,
    Points,
    Ramp,
    Role,
    Rule,
    Shape,
    Tick,
)

__all__ = [
    "Axis",
    "Band",
    "CellState",
    "Cells",
    "Figure",
    "FigureData",
    "Line",
    "Mark",
    "Note",
    "Panel",
    "Points",
    "Ramp",
    "Role",
    "Rule",
    "Shape",
    "Tick",
    "figures",
]

figures: OpenSet[Figure] = OpenSet("scalelaw.figures", __path__, "figure", Figure)
