"""The matplotlib painter: `FigureData` to a matplotlib figure, through its object interface and without pyplot."""

from __future__ import annotations

import math
import re
import textwrap
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import Colormap, LinearSegmentedColormap, LogNorm, Normalize
from matplotlib.figure import Figure
from matplotlib.ticker import FixedFormatter, FixedLocator, NullLocator

from ..figures import Axis, FigureData, Panel, Ramp
from ._marks import Pen, draw_mark, key_of_cells
from ._style import SIZES, Theme

__all__ = ["draw"]

_LEGEND: dict[str, Any] = {"fontsize": SIZES.small, "frameon": False, "handlelength": 2.0, "labelspacing": 0.35, "borderpad": 0.2}


def draw(figure: FigureData, theme: Theme) -> Figure:
    """A matplotlib figure with one slot per panel, all of one size."""
    size = SIZES
    columns = max(1, figure.columns)
    rows = -(-len(figure.panels) // columns)
    width, height = columns * size.width, rows * size.height
    canvas = Figure(figsize=(width, height), facecolor=theme.paper)
    FigureCanvasAgg(canvas)
    for index, panel in enumerate(figure.panels):
        row, column = divmod(index, columns)
        left = column * size.width + size.left
        bottom = height - (row + 1) * size.height + size.bottom
        # Long names of rows need more room than numbers.
        names = [len(line) for tick in panel.y.ticks for line in tick.label.split("\n")] if panel.y.scale == "cells" else []
        more = 0.055 * max(0, max(names, default=0) - 5)
        left += more
        inner = (size.width - size.left - more - size.right, size.height - size.bottom - size.top)
        axes = canvas.add_axes((left / width, bottom / height, inner[0] / width, inner[1] / height))
        _panel(axes, panel, theme)
        _title(axes, panel, theme, more)
        if panel.ramp is not None:
            cells = key_of_cells(panel, theme)
            share = min(0.66, 0.97 - 0.075 * len(cells)) if cells else 1.0  # the key's lines are 0.075 apart
            part = (bottom + inner[1] * (1 - share)) / height
            bar = canvas.add_axes(((left + inner[0] + 0.10) / width, part, 0.09 / width, share * inner[1] / height))
            _bar(bar, panel.ramp, theme)
            _key(axes, cells, theme)
    for axes in list(canvas.axes):
        _legend(axes, canvas, theme)
    return canvas


def _panel(axes: Axes, panel: Panel, theme: Theme) -> None:
    axes.set_facecolor("none")
    _axis(axes, panel.x, "x", theme)
    _axis(axes, panel.y, "y", theme)
    cells = "cells" in (panel.x.scale, panel.y.scale)
    for side, spine in axes.spines.items():
        spine.set_visible(side in ("left", "bottom") and not cells)
        spine.set(color=theme.muted, linewidth=0.7)
    axes.tick_params(
        which="both", color=theme.muted, labelcolor=theme.ink, labelsize=SIZES.small, length=0 if cells else 3, width=0.7
    )
    if not cells:
        axes.grid(True, color=theme.faint, linewidth=0.6)
        axes.set_axisbelow(True)
    pen = Pen(axes, panel, theme, None if panel.ramp is None else ramp_map(panel.ramp, theme))
    for order, mark in enumerate(panel.marks):
        draw_mark(pen, mark, 2.0 + order / 100)
    axes.set_gid(panel.legend)


def _axis(axes: Axes, axis: Axis, which: str, theme: Theme) -> None:
    put = {name: getattr(axes, name.format(which)) for name in ("set_{}scale", "set_{}lim", "set_{}label")}
    put["set_{}scale"]("log" if axis.scale == "log" else "linear")
    put["set_{}lim"](axis.low, axis.high)
    put["set_{}label"](axis.label, fontsize=SIZES.text, color=theme.ink, labelpad=3)
    line = axes.xaxis if which == "x" else axes.yaxis
    line.set_major_locator(FixedLocator([tick.at for tick in axis.ticks]))
    line.set_major_formatter(FixedFormatter([tick.label for tick in axis.ticks]))
    line.set_minor_locator(NullLocator())


def _title(axes: Axes, panel: Panel, theme: Theme, more: float) -> None:
    text = "\n".join(textwrap.wrap(panel.title, 62)[:2])
    text = re.sub(r"\^([-\N{MINUS SIGN}\d.]+)", r"$^{\1}$", text.replace("$", r"\$"))
    places = [(text, -72 * more, SIZES.title, "normal"), (panel.letter, 6 - (SIZES.left + more) * 72, SIZES.title + 1.5, "bold")]
    for words, shift, size, weight in places:
        axes.annotate(
            words,
            (0, 1),
            (shift, 9),
            "axes fraction",
            "offset points",
            fontsize=size,
            weight=weight,
            color=theme.ink,
            linespacing=1.15,
        )


def ramp_map(ramp: Ramp, theme: Theme) -> tuple[Colormap, Normalize]:
    """The colours of a ramp and where a value lies on it."""
    colours = LinearSegmentedColormap.from_list(ramp.name, list(theme.ramps[ramp.name]))
    return colours, (LogNorm if ramp.scale == "log" else Normalize)(ramp.low, ramp.high, clip=True)


def _bar(axes: Axes, ramp: Ramp, theme: Theme) -> None:
    colours, _ = ramp_map(ramp, theme)
    log = ramp.scale == "log"
    edges = np.geomspace(ramp.low, ramp.high, 65) if log else np.linspace(ramp.low, ramp.high, 65)
    mesh = axes.pcolormesh(
        [0, 1], edges, np.linspace(0, 1, 64)[:, None], cmap=colours, vmin=0, vmax=1, edgecolors="face", linewidth=0.2
    )
    mesh.set_zorder(1)
    axes.set_yscale("log" if log else "linear")
    axes.set_ylim(ramp.low, ramp.high)
    axes.xaxis.set_major_locator(NullLocator())
    axes.yaxis.tick_right()
    axes.yaxis.set_label_position("right")
    axes.yaxis.set_major_locator(FixedLocator([tick.at for tick in ramp.ticks]))
    axes.yaxis.set_major_formatter(FixedFormatter([tick.label for tick in ramp.ticks]))
    axes.yaxis.set_minor_locator(NullLocator())
    axes.tick_params(axis="y", length=2, width=0.6, pad=2, color=theme.muted, labelcolor=theme.ink, labelsize=SIZES.small - 0.4)
    axes.set_ylabel(ramp.label, fontsize=SIZES.small, color=theme.ink, labelpad=3)
    for spine in axes.spines.values():
        spine.set_visible(False)


def _key(axes: Axes, entries: list[tuple[dict[str, Any], str]], theme: Theme) -> None:
    """The signs of a heat map, beside it and below its colour bar."""
    place = 0.05 + 0.075 * (len(entries) - 1)
    for marker, text in entries:
        axes.plot([1.045], [place], transform=axes.transAxes, clip_on=False, linestyle="none", **marker)
        axes.text(1.075, place, text, transform=axes.transAxes, fontsize=SIZES.small - 0.9, color=theme.ink, va="center")
        place -= 0.075


def _legend(axes: Axes, canvas: Figure, theme: Theme) -> None:
    """The legend in the corner that covers the fewest points; its own corner where several are free."""
    preferred = axes.get_gid()
    handles, labels = axes.get_legend_handles_labels()
    if not preferred or not handles:
        axes.set_gid(None)
        return
    axes.set_gid(None)
    points = _occupied(axes)
    corners = (preferred, *(each for each in ("lower left", "upper right", "lower right", "upper left") if each != preferred))
    best = (math.inf, preferred)
    for corner in (*corners, ""):
        place = corner or best[1]
        settings: dict[str, Any] = {**_LEGEND, "loc": place, "labelcolor": theme.ink}
        legend = axes.legend(handles, labels, **settings)
        legend.set_zorder(5)
        if not corner:
            if best[0]:
                _room(axes, legend.get_window_extent(canvas.canvas.get_renderer()).height, place)  # pyright: ignore[reportAttributeAccessIssue]
            break
        box = legend.get_window_extent(canvas.canvas.get_renderer())  # pyright: ignore[reportAttributeAccessIssue]
        inside = (points[:, 0] > box.x0) & (points[:, 0] < box.x1) & (points[:, 1] > box.y0) & (points[:, 1] < box.y1)
        best = min(best, (float(inside.sum()), corner), key=lambda each: each[0])


def _room(axes: Axes, height: float, corner: str) -> None:
    """Lengthen the vertical axis by what a legend needs, so that it covers nothing where no corner is free."""
    share = min((height + 8.0) / axes.get_window_extent().height, 0.5)
    scale = axes.yaxis.get_transform()
    low, high = scale.transform(axes.get_ylim())
    more = (high - low) * share / (1 - share)
    ends = (low, high + more) if corner.startswith("upper") else (low - more, high)
    axes.set_ylim(*scale.inverted().transform(ends))


def _occupied(axes: Axes) -> Any:
    """Display positions of everything drawn in data coordinates; lines are filled in between their points."""
    found = [np.empty((0, 2))]
    for line in axes.lines:
        if line.get_transform() == axes.transData:
            points = axes.transData.transform(np.asarray(line.get_xydata(), float))
            points = points[np.isfinite(points).all(axis=1)]
            steps = np.linspace(0, 1, 8)[:, None, None]
            found.append((points[:-1] * (1 - steps) + points[1:] * steps).reshape(-1, 2) if len(points) > 1 else points)
    for group in axes.collections:
        offsets = np.asarray(group.get_offsets(), float)
        if len(offsets) and np.any(offsets):
            found.append(axes.transData.transform(offsets))
    for text in axes.texts:
        if text.get_gid() == "note":
            box = text.get_window_extent()
            across, along = np.meshgrid(np.linspace(box.x0, box.x1, 8), np.linspace(box.y0, box.y1, 3))
            found.append(np.stack([across.ravel(), along.ravel()], axis=1))
    return np.concatenate(found)
