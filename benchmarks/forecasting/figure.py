"""The figure of the README: nominal levels against what intervals held, on public scales held out; ours and others'."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from scalelaw.errors import DataError
from scalelaw.figures import Axis, FigureData, Line, Mark, Note, Panel, Points, Role, Rule, Shape, Tick
from scalelaw.figures.calibration import LEVELS, reliability
from scalelaw.render import paint

from ..fitting.apart import ROOT
from .families import families, ladder
from .peers import MISSING, Quantiles, installed
from .prior import learned
from .tables import bare, beside_ours, score, shipped, splits, without_discrepancy

__all__ = ["PICTURE", "figure"]

Array: TypeAlias = NDArray[np.float64]
PICTURE = Path(ROOT) / "docs" / "figures" / "calibration.png"
# Family -> ladder -> origin -> where each held-out loss fell, as a probability, `(points,)`.
Places: TypeAlias = Mapping[str, Mapping[str, Sequence[Array]]]
_DRAWS = 2000


def figure() -> list[str]:
    """Draw the picture and print its numbers."""
    ours, alone = _held_out()
    whole, without = _shares(ours), _shares(alone)
    panels = (_families(whole, without, len(ours)), _points())
    data = FigureData("calibration", panels[0].title, panels, columns=2)
    paint(data, PICTURE, dpi=200)
    lines = [
        f"Drew {PICTURE.relative_to(ROOT)}.{'' if installed() else ' ' + MISSING}\n",
        "| nominal | ours, mean over families held out (90 % over families) | parameters, noise and forms alone |",
        "|---|---|---|",
    ]
    for level in LEVELS:
        told = [f"{each[level][0]:.2f} ({each[level][1]:.2f} to {each[level][2]:.2f})" for each in (whole, without)]
        lines.append(f"| {level:.2f} | {' | '.join(told)} |")
    return lines


def _held_out() -> tuple[Places, Places]:
    """Rolling origins of every public family with the prior learned from the others, on points 0.3 nats or more beyond the data:
    what `prior` scores; and the same without the discrepancy."""
    ours: dict[str, dict[str, list[Array]]] = {}
    alone: dict[str, dict[str, list[Array]]] = {}
    for each in families():
        try:
            rows = ladder(each, learned((each.family,)))
        except DataError:
            continue
        for count in rows.origins:
            if count < (12 if len(rows.over) == 2 else 5):
                continue
            try:
                stack = rows.stack(count)
            except DataError:
                continue
            after = slice(count, len(rows))
            far = stack.distance(rows.points(after)) > 0.3
            if not far.any():
                continue
            mixture = stack.predict(rows.points(after), rows.se[after] ** 2)
            for kept, found in ((ours, mixture), (alone, without_discrepancy(mixture))):
                kept.setdefault(each.family, {}).setdefault(each.name, []).append(found.cdf(rows.y[after])[far])
    return ours, alone


def _shares(places: Places) -> dict[float, tuple[float, float, float]]:
    """By level the share inside, averaged over origins, then ladders, then families; and 90 % of its draws over families."""
    random = np.random.default_rng(0)
    drawn = random.integers(0, len(places), (_DRAWS, len(places)))
    found: dict[float, tuple[float, float, float]] = {}
    for level in LEVELS:
        each = [
            np.mean([np.mean([np.mean(np.abs(origin - 0.5) <= level / 2) for origin in origins]) for origins in ladders.values()])
            for ladders in places.values()
        ]
        low, high = np.quantile(np.array(each)[drawn].mean(axis=1), (0.05, 0.95))
        found[level] = (float(np.mean(each)), float(low), float(high))
    return found


def _families(ours: Mapping[float, tuple[float, ...]], alone: Mapping[float, tuple[float, ...]], count: int) -> Panel:
    marks: list[Mark] = []
    for role, shares, label, shift in (
        (Role.OTHER, alone, "parameters, noise and forms alone", 0.004),
        (Role.FORECAST, ours, "scalelaw", -0.004),
    ):
        # Side by side, or their intervals would hide each other.
        x = tuple(level + shift for level in LEVELS)
        y, low, high = (tuple(shares[level][k] for level in LEVELS) for k in range(3))
        marks += [Line(role, x, y, label=label), Points(role, x, y, low, high)]
    title = f"90% intervals hold {ours[0.9][0]:.0%} on {count} public families held out"
    every = [value for shares in (ours, alone) for each in shares.values() for value in each]
    return reliability("families", title, marks, every, letter="a")


def _points() -> Panel:
    """Chinchilla's points at nominal 90 %: a row for each forecaster with the three splits, their mean, and the mean score; of a
    tool's intervals the one that scores best."""
    found: dict[str, list[Quantiles]] = {
        "scalelaw": [shipped()(split.train, split.at).quantile for split in splits()],
        "parameters and noise alone": [bare(split.train, split.at).quantile for split in splits()],
    } | beside_ours()
    best: dict[str, tuple[float, str, tuple[float, ...]]] = {}
    for name, each in found.items():
        scored = [score(quantiles, split.y) for quantiles, split in zip(each, splits(), strict=True)]
        tool, _, kind = name.partition(", ")
        told = (float(np.mean([least for _, _, least in scored])), kind, tuple(share for share, _, _ in scored))
        best[tool] = min(best.get(tool, told), told)
    top = len(best) - 1
    marks: list[Mark] = [Rule(Role.IDEAL, "x", 0.9), Note(Role.IDEAL, 1.02, top + 0.55, "interval score")]
    for place, (least, _, shares) in zip(range(top, -1, -1), best.values(), strict=True):
        role = Role.FORECAST if place == top else Role.OTHER
        marks.append(Line(role, (min(shares), max(shares)), (place, place)))
        marks.append(Points(role, shares, (place,) * 3, shapes=(Shape.OPEN,) * 3))
        marks.append(Points(role, (float(np.mean(shares)),), (place,)))
        marks.append(Note(role, 1.02, place, f"{100 * least:.1f} %"))
    names = [f"{tool}\n{kind.replace(' and ', ' + ')}" if kind else tool for tool, (_, kind, _) in best.items()]
    ticks = tuple(Tick(top - place, name) for place, name in enumerate(names))
    x = Axis(
        "larger runs inside, three splits and mean", 0.0, 1.04, ticks=tuple(Tick(at, f"{at:.0%}") for at in (0, 0.3, 0.6, 0.9))
    )
    return Panel(
        "points",
        f"Chinchilla's larger runs: 90% intervals of {len(best)} forecasters",
        x,
        Axis(" ", -0.6, top + 0.7, "cells", ticks),
        tuple(marks),
        letter="b",
    )
