"""Recipes against scale: each on its own frontier, and their difference with the scale where it changes sign."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ..errors import DataError
from ..notation import QUANTITIES, Kind
from ._base import Axis, Band, Figure, FigureData, Line, Mark, Panel, Points, Role, Rule
from ._scales import name_of, number, point_text, round_axis, size_axis

if TYPE_CHECKING:
    from ..compare import Comparison
    from ..forecast import Forecast
    from ..trials import Trials
    from ..verdict import Verdict

__all__ = ["ArmsFigure"]

# Arms that are told apart without colour: solid, dashed, dotted. More than these are in the table, not in the figure.
_ROLES = (Role.FIXED_LAW, Role.TUNED_LAW, Role.KEPT)
# Columns that tell recipes apart, the likeliest first.
_COLUMNS = (
    "recipe",
    *(name for name, each in QUANTITIES.items() if each.text and each.kind is Kind.HYPERPARAMETER),
    "model",
    "task",
)


class ArmsFigure(Figure):
    """See `summary`."""

    name = "arms"
    summary = "Recipes at their own best settings against size, and their difference with the size where it changes sign."

    def data(
        self,
        trials: Trials,
        *,
        forecast: Forecast | None = None,
        verdicts: Iterable[Verdict] = (),  # noqa: ARG002  (every figure takes it)
        comparison: Comparison | None = None,
    ) -> FigureData:
        """See `Figure.data`.

        Args:
            comparison: what to draw; default of the first column that tells recipes apart, at the forecast's target or at four
                times the largest size.
        """
        found = _compared(trials, forecast) if comparison is None else comparison
        panels = (_losses(found), _differences(found))
        text = f"{self.summary} {' '.join(gap.crossing.message for gap in found.gaps)}"
        return FigureData(self.name, panels[0].title, panels, columns=2, description=text)


def _compared(trials: Trials, forecast: Forecast | None) -> Comparison:
    from ..cells import default_over
    from ..compare import compare

    several = trials.finished.varying(_COLUMNS)
    if not several:
        raise DataError("no column tells recipes apart", trials.source, "Add a column recipe, or draw loss_vs_scale")
    at = None if forecast is None else forecast.at
    if at is None:
        at = {name: 4.0 * float(np.nanmax(trials.finished.numbers(name))) for name in default_over(trials)}
    return compare(trials, several[0], at)


def _losses(found: Comparison) -> Panel:
    """The frontiers with their forecasts and intervals."""
    column, top = next(iter(found.at.items()))
    marks: list[Mark] = []
    laws: list[Mark] = []
    every: list[float] = []
    sizes: list[float] = []
    for place, (arm, role) in enumerate(zip(found.arms, _ROLES, strict=False)):
        edge = arm.forecast.frontier
        x, loss = edge.trials.numbers(column), edge.trials.numbers("loss")
        se = np.nan_to_num(edge.trials.numbers("loss_se"))
        curve = np.geomspace(x.min(), top, 60)
        points = {name: value * curve / top for name, value in found.at.items()}
        value, low, high = arm.forecast.predict(points)
        marks.append(Band(role, _plain(curve), _plain(low), _plain(high)))
        laws.append(Line(role, _plain(curve), _plain(value), label=arm.name))
        laws.append(Points(role, _plain(x), _plain(loss), _plain(loss - 1.645 * se), _plain(loss + 1.645 * se)))
        # Side by side, or their intervals would hide each other.
        there = top * 1.07 ** (place - (min(len(found.arms), len(_ROLES)) - 1) / 2)
        one = arm.forecast
        laws.append(Points(role, (there,), (one.loss,), (one.low,), (one.high,)))
        every += [*loss, one.loss, one.low, one.high]
        sizes += [*x]
    best = found.winner
    return Panel(
        "losses",
        f"{best.name} wins at {point_text((column,), (top,))} with probability {best.probability:.0%}",
        _axis(found, [*sizes, top]),
        round_axis("loss at the best settings", every),
        (*marks, *laws),
        legend="lower left",
        letter="a",
    )


def _differences(found: Comparison) -> Panel:
    """The law of each difference in percent of the loss, with the crossing and its interval."""
    column, top = next(iter(found.at.items()))
    marks: list[Mark] = [Rule(_ROLES[0], "y", 0.0, f"{found.reference}")]
    every: list[float] = [0.0]
    end = top * 1.1
    first = next(iter(found.gaps)).sizes
    for gap, role in zip(found.gaps, _ROLES[1:], strict=False):
        near = gap.sizes <= end
        x, low, middle, high = (each[near] for each in (gap.sizes, gap.low, gap.middle, gap.high))
        low, middle, high = (100 * np.expm1(each) for each in (low, middle, high))
        marks.append(Band(role, _plain(x), _plain(low), _plain(high)))
        marks.append(Line(role, _plain(x), _plain(middle), label=f"{gap.name} less {found.reference}"))
        measured = _measured(found, gap.name)
        marks.append(Points(role, *measured))
        every += [*np.clip(low, 3 * middle.min() - 1, 0), *np.clip(high, 0, 3 * middle.max() + 1), *measured[1]]
        cross = gap.crossing
        if math.isfinite(cross.value) and first[0] <= cross.value <= end:
            ends = "" if cross.low == 0 or math.isinf(cross.high) else f" ({number(cross.low)} to {number(cross.high)})"
            marks.append(Rule(role, "x", cross.value, f"crossing {number(cross.value)}{ends}"))
    gap = found.gaps[0]
    worth = (
        "no multiplier in reach"
        if math.isinf(gap.multiplier.value)
        else f"{number(gap.multiplier.value, 3)}x the {name_of(found.column)}"
    )
    sizes = [size for arm in found.arms for size in arm.forecast.frontier.trials.numbers(column)]
    return Panel(
        "difference",
        f"{gap.name} needs {worth} of {found.reference}",
        _axis(found, [*sizes, top]),
        round_axis(f"difference from {found.reference} (% of the loss)", every, room=0.1),
        tuple(marks),
        legend="upper left",
        letter="b",
    )


def _axis(found: Comparison, sizes: Sequence[float]) -> Axis:
    """The first scale column; with several the lines keep the ratios of the target."""
    column, *others = found.at
    axis = size_axis(column, sizes)
    told = f"{axis.label}; lines at the target's ratio to {', '.join(map(name_of, others))}" if others else axis.label
    return replace(axis, label=told)


def _measured(found: Comparison, name: str) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Sizes that both have, and the measured difference there in percent."""
    column = next(iter(found.at))
    tables: list[dict[tuple[float, ...], float]] = []
    for arm in (found.arms[0], next(arm for arm in found.arms if arm.name == name)):
        edge = arm.forecast.frontier
        keys: Sequence[tuple[float, ...]] = [tuple(np.round(row, 9)) for row in edge.scales]
        tables.append(dict(zip(keys, edge.trials.numbers("loss").tolist(), strict=True)))
    place = found.arms[0].forecast.frontier.over.index(column)
    both = [key for key in tables[0] if key in tables[1]]
    return tuple(math.exp(key[place]) for key in both), tuple(100 * (tables[1][key] / tables[0][key] - 1) for key in both)


def _plain(values: NDArray[np.float64]) -> tuple[float, ...]:
    return tuple(float(value) for value in values)
