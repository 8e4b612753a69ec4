"""Each kind of mark in matplotlib."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import Colormap, ListedColormap, Normalize
from matplotlib.patheffects import withStroke

from ..figures import Band, Cells, CellState, Line, Mark, Note, Panel, Points, Role, Rule, Shape
from ._style import SIZES, Stroke, Theme

__all__ = ["Pen", "draw_mark", "key_of_cells"]


@dataclass(frozen=True)
class Pen:
    """What a mark is drawn with: the axes, the panel's numbers, the theme, and the colours that values take."""

    axes: Axes
    panel: Panel
    theme: Theme
    ramp: tuple[Colormap, Normalize] | None

    def stroke(self, role: Role) -> Stroke:
        """The stroke of a role."""
        return self.theme.strokes[role]

    def colours(self, values: Any, role: Role) -> Any:
        """Colours of values on the ramp; the role's own where there is no ramp or no value."""
        if self.ramp is None or values is None or not np.size(values):
            return self.stroke(role).colour
        colours, norm = self.ramp
        return colours(norm(np.asarray(values, float)))


def draw_mark(pen: Pen, mark: Mark, order: float) -> None:
    """Draw one mark at drawing order `order`."""
    _DRAW[type(mark)](pen, mark, order)


def _points(pen: Pen, mark: Points, order: float) -> None:
    stroke = pen.stroke(mark.role)
    x, y = np.asarray(mark.x, float), np.asarray(mark.y, float)
    colours = pen.colours(mark.values, mark.role)
    cells = pen.panel.x.scale == "cells"
    if mark.low:
        low, high = np.asarray(mark.low, float), np.asarray(mark.high, float)
        known = np.isfinite(low) & np.isfinite(high)
        pen.axes.errorbar(
            x[known],
            y[known],
            [np.maximum(y - low, 0)[known], np.maximum(high - y, 0)[known]],
            fmt="none",
            ecolor=stroke.colour,
            elinewidth=stroke.width,
            capsize=2.6 if mark.role is Role.FORECAST else 1.6,
            capthick=stroke.width,
            zorder=order,
        )
    shapes = np.array([shape.name for shape in mark.shapes] or [Shape.CLOSED.name] * len(x))
    told: set[str] = set()
    for shape in Shape:
        rows = shapes == shape.name
        if not rows.any():
            continue
        look = _look(pen, mark.role, shape, stroke)
        if mark.role in (Role.RUN, Role.OFFER):
            edge = pen.theme.paper if mark.role is Role.RUN else "none"
            look |= {"c": colours[rows] if np.ndim(colours) == 2 else colours, "edgecolors": edge}
        size = stroke.size * (0.75 if cells else 1.0)
        bound = shape in (Shape.LOW, Shape.HIGH)
        label = "at the grid's edge: a bound" if bound else mark.label
        pen.axes.scatter(x[rows], y[rows], s=size**2, zorder=order, label=label if label and label not in told else None, **look)
        told.add(label)


def _look(pen: Pen, role: Role, shape: Shape, stroke: Stroke) -> dict[str, Any]:
    """Marker, face and edge of points. The best cases are rings, so that the run inside stays visible."""
    marker = {Shape.LOW: "v", Shape.HIGH: "^"}.get(shape, stroke.marker)
    if role in (Role.RUN, Role.OFFER):
        return {"marker": marker, "linewidths": 0.3}
    if role is Role.FAILED:
        return {"marker": marker, "color": stroke.colour, "linewidths": stroke.width}
    cells = pen.panel.x.scale == "cells"
    solid = role in (Role.FORECAST, Role.MISSED, Role.JUDGED, Role.OTHER, Role.CHOSEN) or (role is Role.BEST and not cells)
    filled = solid and shape is Shape.CLOSED
    edge = pen.theme.paper if role is Role.MISSED else stroke.colour
    inside = stroke.colour if filled else "none" if shape is Shape.OPEN else pen.theme.paper
    return {"marker": marker, "facecolors": inside, "edgecolors": edge, "linewidths": 0.9}


def _line(pen: Pen, mark: Line, order: float) -> None:
    stroke = pen.stroke(mark.role)
    colour = pen.colours(mark.value, mark.role)
    thin = mark.role is Role.RUN
    pen.axes.plot(
        mark.x,
        mark.y,
        color=colour,
        linewidth=stroke.width,
        linestyle=(0, stroke.dash) if stroke.dash else "-",
        alpha=0.55 if thin else 1.0,
        label=mark.label or None,
        zorder=order,
        solid_capstyle="round",
    )


def _band(pen: Pen, mark: Band, order: float) -> None:
    colour = pen.theme.danger if mark.role is Role.CLIFF else pen.theme.band
    pen.axes.fill_between(
        mark.x, mark.low, mark.high, color=colour, alpha=0.75, linewidth=0, label=mark.label or None, zorder=order
    )


def _rule(pen: Pen, mark: Rule, order: float) -> None:
    stroke = pen.stroke(mark.role)
    upright = mark.axis == "x"
    put = pen.axes.axvline if upright else pen.axes.axhline
    cells = pen.panel.x.scale == "cells"
    if cells:  # seen on dark and on light cells alike
        put(mark.at, color=pen.theme.paper, linewidth=2.2, alpha=0.55, zorder=order)
    put(
        mark.at, color=pen.theme.ink if cells else stroke.colour, linewidth=stroke.width, linestyle=(0, stroke.dash), zorder=order
    )
    if cells:
        return
    pen.axes.annotate(
        mark.label,
        (mark.at, 1) if upright else (1, mark.at),
        (3, -2) if upright else (-2, 3),
        ("data", "axes fraction") if upright else ("axes fraction", "data"),
        "offset points",
        ha="left" if upright else "right",
        va="top" if upright else "bottom",
        color=stroke.colour,
        **_words_at(pen, order),
    )


def _words_at(pen: Pen, order: float) -> dict[str, Any]:
    """Small text with a halo of paper, above what it stands on."""
    halo = [withStroke(linewidth=2.4, foreground=pen.theme.paper)]
    return {"fontsize": SIZES.small, "linespacing": 1.2, "zorder": order + 1, "gid": "note", "path_effects": halo}


def _note(pen: Pen, mark: Note, order: float) -> None:
    across = {"left": (-7, 0, "right", "center"), "right": (7, 0, "left", "center")}
    along = {"above": (0, 6, "center", "bottom"), "below": (0, -6, "center", "top")}
    dx, dy, horizontal, vertical = (across | along)[mark.side]
    pen.axes.annotate(
        mark.text,
        (mark.x, mark.y),
        (dx, dy),
        textcoords="offset points",
        ha=horizontal,
        va=vertical,
        color=pen.stroke(mark.role).colour,
        **_words_at(pen, order),
    )


def _cells(pen: Pen, mark: Cells, order: float) -> None:
    values = np.asarray(mark.values, float)
    rows, columns = values.shape
    edges = np.arange(columns + 1) - 0.5, np.arange(rows + 1) - 0.5
    states = np.array([[state.name for state in row] for row in mark.states])
    colours, norm = pen.ramp or (ListedColormap([pen.theme.void]), Normalize())
    gap: dict[str, Any] = {"edgecolors": pen.theme.paper, "linewidth": 0.9 if max(rows, columns) <= 24 else 0.3}
    void = np.where(states == CellState.DIVERGED.name, 1.0, np.nan)
    pen.axes.pcolormesh(*edges, np.ma.masked_invalid(void), cmap=ListedColormap([pen.theme.void]), zorder=order, **gap)
    pen.axes.pcolormesh(*edges, np.ma.masked_invalid(values), cmap=colours, norm=norm, zorder=order, **gap)
    for state, marker in _signs(pen.theme).items():
        y, x = np.nonzero(states == state.name)
        shift = 0.27 if state is CellState.PARTLY else 0.0
        if len(x):
            pen.axes.plot(x + shift, y + shift, linestyle="none", zorder=order + 0.005, **marker)


def _signs(theme: Theme) -> dict[CellState, dict[str, Any]]:
    cross: dict[str, Any] = {"marker": "x", "color": theme.muted, "markeredgewidth": 1.0}
    return {
        CellState.DIVERGED: {**cross, "markersize": 4.6},
        CellState.PARTLY: {**cross, "markersize": 2.6, "color": theme.ink, "markeredgewidth": 0.8},
        CellState.CHANCE: {"marker": "_", "color": theme.muted, "markersize": 4.5, "markeredgewidth": 0.9},
    }


def key_of_cells(panel: Panel, theme: Theme) -> list[tuple[dict[str, Any], str]]:
    """The signs that a panel's heat map uses, as (marker settings, words); empty where it has none."""
    found = [mark for mark in panel.marks if isinstance(mark, Cells)]
    if not found:
        return []
    states = {state for mark in found for row in mark.states for state in row}
    signs = _signs(theme)
    ring = {"marker": "o", "markersize": 3.6, "color": theme.paper, "markeredgecolor": theme.ink, "markeredgewidth": 0.8}
    dots = {"marker": "|", "markersize": 6, "color": theme.muted, "markeredgewidth": 1.1}
    key: list[tuple[dict[str, Any], str]] = [(ring, "best of row")] if panel.marks_of(Role.BEST) else []
    key += [(dots, rule.label) for rule in panel.marks_of(Role.KEPT, Rule)]
    return key + [(signs[state], text) for state, text in _NAMES.items() if state in states]


_NAMES = {CellState.DIVERGED: "diverged", CellState.PARTLY: "some seeds\ndiverged", CellState.CHANCE: "at chance"}
_DRAW: dict[type[Any], Callable[[Pen, Any, float], None]] = {
    Points: _points,
    Line: _line,
    Band: _band,
    Rule: _rule,
    Note: _note,
    Cells: _cells,
}
