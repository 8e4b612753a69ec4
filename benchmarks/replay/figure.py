"""The figure of the replay: mean loss lost at larger cells against the share of the pool's FLOPs that was bought."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from scalelaw.figures import Axis, Band, FigureData, Line, Mark, Note, Panel, Points, Role, Shape, Tick
from scalelaw.render import paint

__all__ = ["PICTURE", "draw"]

Array: TypeAlias = NDArray[np.float64]
PICTURE = Path(__file__).resolve().parents[2] / "docs" / "figures" / "replay.png"
_LOW, _HIGH = 0.06, 7.0
# Names stand left of the lines' beginnings, at least so far apart.
_APART = 1.3


def draw(found: Mapping[str, Array], budgets: Sequence[float], required: Sequence[float]) -> None:
    """Paint `docs/figures/replay.png`: the mean of every policy over seeds, ours with its 10 to 90 % band, and what was asked."""
    x = tuple(float(each) for each in budgets)
    marks: list[Mark] = []
    names: list[tuple[float, str, Role]] = []
    for name, values in found.items():
        ours, mean = name == "scalelaw", tuple(float(each) for each in values.mean(axis=0))
        role = Role.FORECAST if ours else Role.OTHER
        if ours:
            low, high = (tuple(float(v) for v in np.quantile(values, q, axis=0)) for q in (0.1, 0.9))
            marks.insert(0, Band(role, x, low, high))
        marks += [Line(role, x, mean), *([Points(role, x, mean)] if ours else [])]
        names.append((mean[0], "scalelaw plan" if ours else name, role))
    marks.append(Points(Role.IDEAL, x, tuple(required), shapes=(Shape.OPEN,) * len(x), label="asked of scalelaw's mean"))
    place = _HIGH * _APART
    for start, name, role in sorted(names, reverse=True):
        place = min(start, place / _APART)
        marks.append(Note(role, x[0] * 0.93, place, name, "left"))
    shares = tuple(Tick(each, f"{each:.0%}") for each in x)
    losses = tuple(Tick(each, f"{each:g}%") for each in (0.1, 0.2, 0.5, 1, 2, 5))
    panel = Panel(
        "replay",
        "Step Law: what bought runs lose at larger cells",
        Axis("FLOPs bought, share of the pool (log scale)", 0.0030, 0.24, "log", shares),
        Axis("loss lost, mean over seeds", _LOW, _HIGH, "log", losses),
        tuple(marks),
        legend="upper right",
    )
    paint(FigureData("replay", panel.title, (panel,), columns=1), PICTURE, dpi=200)
