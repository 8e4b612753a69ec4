"""The contract of every figure. A plug-in's own tests call `check_figure` with trials that it can be drawn from."""

from __future__ import annotations

import json
import math
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterable

from ..figures import Axis, Band, Cells, Figure, FigureData, Line, Points, Rule
from ..forecast import Forecast
from ..render import inline_svg, paint
from ..trials import Trials
from ..verdict import Verdict

__all__ = ["check_figure", "check_numbers"]


def check_figure(
    figure: Figure, trials: Trials, *, forecast: Forecast | None = None, verdicts: Iterable[Verdict] = ()
) -> FigureData:
    """Assert what every painter and page relies on, and return the figure's numbers.

    Args:
        figure: the member.
        trials, forecast, verdicts: what it is drawn from; warnings should be errors while this runs.

    Raises:
        AssertionError: the figure breaks the contract; the message says how.
    """
    assert figure.name, "a figure has a name, its file's"
    assert figure.summary, "a figure says what it shows"
    verdicts = tuple(verdicts)
    digest = trials.digest
    data = figure.data(trials, forecast=forecast, verdicts=verdicts)
    again = figure.data(trials, forecast=forecast, verdicts=verdicts)
    assert _text(data) == _text(again), "the same trials give the same numbers"
    assert trials.digest == digest, "drawing changes nothing"
    assert data.name == figure.name, "the numbers carry the figure's name"
    check_numbers(data)
    assert paint(data, format="png", dpi=60).startswith(b"\x89PNG\r\n\x1a\n"), "it paints as PNG"
    assert paint(data, format="pdf").startswith(b"%PDF"), "it paints as PDF"
    svg = paint(data, format="svg")
    assert svg == paint(data, format="svg"), "painting twice gives the same bytes"
    assert ElementTree.fromstring(svg).tag.endswith("svg"), "it paints as SVG"
    assert "<script" not in inline_svg(data, theme="dark"), "its inline SVG runs nothing"
    return data


def check_numbers(data: FigureData) -> None:
    """Assert that a figure's numbers can be painted and written as JSON.

    Raises:
        AssertionError: they cannot; the message says why.
    """
    assert data.title, "a figure has a title"
    assert data.panels, "a figure has a panel"
    json.loads(json.dumps(data.to_dict(), allow_nan=False))
    names = [panel.name for panel in data.panels]
    assert len(set(names)) == len(names), "panels have names of their own"
    for panel in data.panels:
        assert panel.title, f"{panel.name} has a title"
        for axis in (panel.x, panel.y):
            _check_axis(panel.name, axis)
        if panel.ramp is not None:
            assert panel.ramp.low < panel.ramp.high, f"the ramp of {panel.name} spans something"
        for mark in panel.marks:
            _check_mark(panel.name, mark)


def _check_axis(name: str, axis: Axis) -> None:
    assert axis.label, f"an axis of {name} says what it measures"
    assert math.isfinite(axis.low), f"an axis of {name} has a lower limit"
    assert axis.low < axis.high < math.inf, f"an axis of {name} spans something"
    assert axis.scale in ("linear", "log", "cells"), f"an axis of {name} has an unknown scale"
    assert axis.scale != "log" or axis.low > 0, f"a log axis of {name} is positive"
    assert all(axis.low <= tick.at <= axis.high for tick in axis.ticks), f"ticks of {name} lie on the axis"
    assert all(tick.label for tick in axis.ticks), f"ticks of {name} have labels"


def _check_mark(name: str, mark: object) -> None:
    if isinstance(mark, Points):
        assert len(mark.x) == len(mark.y), f"points of {name} have x and y"
        for extra in (mark.low, mark.high, mark.values, mark.shapes):
            assert len(extra) in (0, len(mark.x)), f"points of {name} have as many values as places"
    elif isinstance(mark, Line):
        assert len(mark.x) == len(mark.y), f"a line of {name} has x and y"
    elif isinstance(mark, Band):
        assert len(mark.x) == len(mark.low) == len(mark.high), f"a band of {name} has both edges"
        assert all(low <= high for low, high in zip(mark.low, mark.high, strict=True)), f"a band of {name} is not inside out"
    elif isinstance(mark, Cells):
        for table in (mark.values, mark.states, mark.counts):
            assert len(table) == len(mark.rows), f"cells of {name} have every row"
            assert all(len(row) == len(mark.columns) for row in table), f"cells of {name} have every column"
    elif isinstance(mark, Rule):
        assert mark.axis in ("x", "y"), f"a rule of {name} stands on an axis"


def _text(data: FigureData) -> str:
    return json.dumps(data.to_dict(), sort_keys=True)
