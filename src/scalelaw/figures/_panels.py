"""The panels that figures share, each made from a `Story`."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ._base import Axis, Band, Cells, CellState, Line, Mark, Note, Panel, Points, Ramp, Role, Rule, Shape, Tick
from ._scales import log_ticks, name_of, number, rate_axis, round_axis, size_axis, size_ticks, spread_ticks
from ._story import Cell, Curve, Run, Story

__all__ = ["bowls", "heatmap", "ladder", "optima"]

_NAN = float("nan")
_EMPTY = Cell(_NAN, _NAN, 0, 0, CellState.MISSING)


def ladder(story: Story) -> Panel:
    """Loss against size: every run coloured by its rate, the laws, and what became of the target."""
    marks: list[Mark] = []
    for rate in story.rates:
        rows = [(size.x, size.cells[rate].loss) for size in story.sizes if rate in size.cells]
        if len(story.over) == 1:
            marks.append(Line(Role.RUN, *_columns(rows), value=rate))
    for rate in story.rates or (_NAN,):
        rows = [(size.x, cell.loss) for size in story.sizes for key, cell in size.cells.items() if key == rate or key != key]
        marks.append(Points(Role.RUN, *_columns(rows), values=(rate,) * len(rows) if story.rates else ()))
    marks += _laws(story)
    marks += _target(story)
    shown = [cell.loss for size in story.sizes for cell in size.cells.values() if math.isfinite(cell.loss)]
    below = [value for curve in (story.fixed, story.tuned) if curve and curve.at for value in curve.at[1:]]
    y = _loss_axis([*_typical(shown), *below])
    x = size_axis(story.column, [*(size.x for size in story.sizes), *(run.x for run in story.runs), *_reach(story)], 0.07)
    return Panel("loss_vs_scale", _ladder_title(story), x, y, tuple(marks), _rate_ramp(story), legend="lower left")


def bowls(story: Story) -> Panel:
    """Loss against rate: the runs of each size, the surface fitted through them (where none was, their own line), its optimum."""
    name = story.need_rate()
    marks: list[Mark] = []
    if story.kept is not None:
        marks.append(Rule(Role.KEPT, "x", story.kept, f"kept {number(story.kept)}"))
    for size in story.sizes:
        rows = [(rate, size.cells[rate].loss) for rate in story.rates if rate in size.cells]
        marks.append(Line(Role.RUN, *_columns(rows), value=size.x))
    fitted = [size for size in story.sizes if size.bowl[0]]
    marks += [
        Line(Role.TUNED_LAW, *size.bowl, value=size.x, label="fitted surface" if size is fitted[-1] else "") for size in fitted
    ]
    for size in story.sizes:
        rows = [(rate, size.cells[rate].loss) for rate in story.rates if rate in size.cells]
        marks.append(Points(Role.RUN, *_columns(rows), values=(size.x,) * len(rows)))
    best = [(size.best.rate, size.best.loss) for size in story.sizes if size.best]
    shapes = tuple(size.best.shape if size.best.fitted else Shape.OPEN for size in story.sizes if size.best)
    label = "best (open: not fitted)" if Shape.OPEN in shapes else "best case of each size"
    marks.append(Points(Role.BEST, *_columns(best), shapes=shapes, label=label))
    marks += [
        Points(Role.MISSED, (run.rate,), (run.loss,)) for run in story.runs if run.off and math.isfinite(run.rate + run.loss)
    ]
    shown = [cell.loss for size in story.sizes for cell in size.cells.values() if math.isfinite(cell.loss)]
    rates = [rate for rate, _ in best]
    first, last = number(rates[0]), number(rates[-1])
    title = (
        f"The best {name_of(name)} moves from {first} to {last}"
        if first != last
        else f"The best {name_of(name)} stays at {first}"
    )
    x = rate_axis(name, [*story.rates, *rates])
    y = _loss_axis([*_typical(shown), *(loss for _, loss in best)])
    # Clear of the kept setting's line.
    left = story.kept is not None and story.kept < math.sqrt(x.low * x.high)
    return Panel("loss_vs_rate", title, x, y, tuple(marks), _size_ramp(story), legend="lower right" if left else "lower left")


def heatmap(story: Story) -> Panel:
    """Every cell of the study: rows are sizes, columns are rates, and the best of each row is marked."""
    name = story.need_rate()
    cells = [[size.cells.get(rate, _EMPTY) for rate in story.rates] for size in story.sizes]
    grid = Cells(
        Role.RUN,
        story.rates,
        tuple(size.point for size in story.sizes),
        tuple(tuple(cell.loss for cell in row) for row in cells),
        tuple(tuple(cell.state for cell in row) for row in cells),
        tuple(tuple(cell.count for cell in row) for row in cells),
    )
    best = [
        (float(min(range(len(row)), key=lambda place: _or_infinite(row[place].loss))), float(index))
        for index, row in enumerate(cells)
        if any(math.isfinite(cell.loss) for cell in row)
    ]
    marks: list[Mark] = [grid]
    if story.kept in story.rates:
        marks.append(Rule(Role.KEPT, "x", float(story.rates.index(story.kept)), f"kept {number(story.kept)}"))
    marks.append(Points(Role.BEST, *_columns(best), label="best of the row"))
    title = _count_title(story, [cell for row in cells for cell in row])
    rates = [number(rate) for rate in story.rates]
    digits = 3 if len(story.over) == 1 else 2
    labels = [" / ".join(number(value, digits) for value in size.point) for size in story.sizes]
    return Panel(
        "rate_heatmap",
        title,
        _cell_axis(name_of(name), rates, (73 - max(map(len, labels))) / (1.5 + max(map(len, rates)))),
        _cell_axis(" / ".join(name_of(each) for each in story.over), labels),
        tuple(marks),
        _loss_ramp([cell.loss for row in cells for cell in row if math.isfinite(cell.loss)]),
    )


def _count_title(story: Story, cells: list[Cell]) -> str:
    """How many runs a heat map stands for."""
    runs, measured = sum(cell.runs for cell in cells), sum(cell.runs > 0 for cell in cells)
    diverged = sum(cell.diverged for cell in cells)
    if story.tuned_also:
        return f"{runs} training runs; each cell is the best {' and '.join(map(name_of, story.tuned_also))}"
    text = f"{runs} training runs" + (f" in {measured} cells" if runs != measured else "")
    return text + (f", {diverged} of them diverged" if diverged else ": every cell is one" if runs == measured else "")


def optima(story: Story) -> Panel:
    """The best rate of each size, the law through them, and what it says at the target."""
    name = story.need_rate()
    marks: list[Mark] = []
    if story.kept is not None:
        marks.append(Rule(Role.KEPT, "y", story.kept, f"kept {number(story.kept)}"))
    law = story.optimum
    marks += _cliff(story)
    if law is not None and law.x:
        marks.append(Band(Role.TUNED_LAW, law.x, law.low, law.high))
        marks.append(Line(Role.TUNED_LAW, law.x, law.y, label=f"law of the best rate, {story.level:.0%} band"))
    known = [(size.x, size.best) for size in story.sizes if size.best is not None and math.isfinite(size.best.rate)]
    for fitted, role, label in ((True, Role.BEST, "best rate"), (False, Role.UNSEEN, "best rate, not fitted")):
        rows = [(x, best.rate, best.rate_low, best.rate_high) for x, best in known if best.fitted is fitted]
        shapes = tuple(best.shape for _, best in known if best.fitted is fitted)
        if rows:
            marks.append(Points(role, *_columns(rows), shapes=shapes, label=label))
    if law is not None and law.at is not None:
        x, value, low, high = law.at
        marks.append(Points(Role.FORECAST, (x,), (value,), (low,), (high,), label=f"forecast, {story.level:.0%} interval"))
    title = law.text if law is not None else ""
    if not title:
        says = f"; the law says {number(law.at[1])} at the target" if law is not None and law.at is not None else " of each size"
        title = f"Best {name_of(name)}{says}"
    values = [value for mark in marks for value in _heights(mark)]
    if story.failed:
        # Failures fill the top and the law runs to the right: a corner for the legend.
        values.append(min(values) * (min(values) / max(values)) ** 0.35)
    x = size_axis(story.column, [*(size.x for size in story.sizes), *_reach(story)], 0.07)
    return Panel("optimum_vs_scale", title, x, rate_axis(f"best {name_of(name)}", values), tuple(marks), legend="lower left")


def _cliff(story: Story) -> list[Mark]:
    """The cliff with its band, held to the rates that were tried, and the settings that failed."""
    marks: list[Mark] = []
    wall = story.cliff
    if wall is not None:
        bottom, top = story.rates[0] / 3, 3 * max(*story.rates, *(rate for _, rate in story.failed))
        keep = [k for k, value in enumerate(wall.y) if bottom <= value <= top]
        x, y, low, high = (tuple(each[k] for k in keep) for each in (wall.x, wall.y, wall.low, wall.high))
        if keep:
            marks.append(Band(Role.CLIFF, x, tuple(max(each, bottom) for each in low), tuple(min(each, top) for each in high)))
            marks.append(Line(Role.CLIFF, x, y, label=wall.text))
    if story.failed:
        marks.append(Points(Role.FAILED, *_columns(list(story.failed)), label="setting that failed"))
    return marks


def _laws(story: Story) -> list[Mark]:
    marks: list[Mark] = []
    for curve, role in ((story.tuned, Role.TUNED_LAW), (story.fixed, Role.FIXED_LAW)):
        if curve is None or not curve.x:
            continue
        if curve.low:
            marks.append(Band(role, curve.x, curve.low, curve.high))
        marks.append(Line(role, curve.x, curve.y, label=curve.text))
    return [*marks, *_best_cases(story, True)]


def _best_cases(story: Story, fitted: bool) -> list[Mark]:
    rows = [
        (size.x, size.best.loss, size.best.loss_low, size.best.loss_high)
        for size in story.sizes
        if size.best is not None and size.best.fitted is fitted
    ]
    if not rows or not story.rates:
        return []
    role, shape = (Role.BEST, Shape.CLOSED) if fitted else (Role.UNSEEN, Shape.OPEN)
    label = "best case of each size" if fitted else "best case, not fitted"
    return [Points(role, *_columns(rows), shapes=(shape,) * len(rows), label=label)]


def _target(story: Story) -> list[Mark]:
    marks: list[Mark] = []
    law = story.tuned or story.fixed
    if law is not None and law.at is not None:
        x, value, low, high = law.at
        marks.append(Points(Role.FORECAST, (x,), (value,), (low,), (high,), label=f"forecast, {story.level:.0%} interval"))
    marks += _best_cases(story, False)
    fine = [(run.x, run.loss) for run in story.runs if not run.off]
    if fine:
        marks.append(Points(Role.JUDGED, *_columns(fine), label="judged, not off the law"))
    off = [run for run in story.runs if run.off]
    finished = [run for run in off if math.isfinite(run.loss)]
    if finished:
        marks.append(Points(Role.MISSED, *_columns([(run.x, run.loss) for run in finished])))
    if off:
        x, promised, got = _miss(off)
        if math.isfinite(got):
            marks.insert(0, Line(Role.MISSED, (x, x), (promised, got)))
            marks.append(Note(Role.MISSED, x, got, f"got {_loss(got, story)}", "left"))
        words = f"promised {_loss(promised, story)}" + ("" if math.isfinite(got) else ", diverged")
        marks.append(Note(Role.MISSED, x, promised, words, "left"))
    return marks


def _miss(off: list[Run]) -> tuple[float, float, float]:
    """Where runs missed, what was promised there and what they gave on average (NaN: all diverged). The largest size counts."""
    x = max(run.x for run in off)
    here = [run for run in off if run.x == x]
    promised = max(here, key=lambda run: -run.promised).promised
    losses = [run.loss for run in here if run.promised == promised and math.isfinite(run.loss)]
    return x, promised, sum(losses) / len(losses) if losses else math.nan


def _ladder_title(story: Story) -> str:
    off = [run for run in story.runs if run.off]
    if off:
        _, promised, got = _miss(off)
        held = "The law" if story.kept is None else f"Kept at {number(story.kept)}, the law"
        gave = f"gave {_loss(got, story)}" if math.isfinite(got) else "diverged"
        return f"{held} promised {_loss(promised, story)} and the run {gave}"
    law = story.tuned or story.fixed
    if law is not None and law.at is not None:
        x, value, low, high = law.at
        size = f"{name_of(story.column)} {number(x, 3)}"
        span = f"{_loss(value, story)} ({_loss(low, story)} to {_loss(high, story)})"
        return f"Tuned, {size} should reach {span}" if story.tuned else f"As they stand, {size} should reach {span}"
    best = [size.best.loss for size in story.sizes if size.best]
    return f"Best loss: from {_loss(best[0], story)} to {_loss(best[-1], story)} over {len(best)} sizes"


def _loss(value: float, story: Story) -> str:
    """A loss to as many places as its range over the study calls for, at least two."""
    best = [size.best.loss for size in story.sizes if size.best]
    span = max(best) - min(best) or abs(best[0]) or 1.0
    return f"{value:.{min(6, max(2, 2 - math.floor(math.log10(span)) - 1))}f}"


def _columns(rows: list[tuple[float, ...]]) -> Any:
    """Rows as columns, to be unpacked into a mark: x, y and perhaps low and high."""
    return tuple(zip(*rows, strict=True)) if rows else ((), ())


def _heights(mark: Mark) -> list[float]:
    found: list[float] = []
    if isinstance(mark, Points):
        found = [*mark.y, *mark.low, *mark.high]
    elif isinstance(mark, Line):
        found = list(mark.y)
    elif isinstance(mark, Band):
        found = [*mark.low, *mark.high]
    elif isinstance(mark, Rule):
        found = [mark.at]
    return [value for value in found if math.isfinite(value) and value > 0]


def _reach(story: Story) -> list[float]:
    curves: list[Curve | None] = [story.fixed, story.tuned, story.optimum]
    return [curve.at[0] for curve in curves if curve is not None and curve.at is not None]


def _typical(losses: list[float]) -> list[float]:
    """The losses without those of runs that all but diverged, which would press the rest into a corner."""
    low, middle = min(losses), float(np.quantile(losses, 0.75))
    top = middle + 3 * (middle - low) if middle > low else math.inf
    return [loss for loss in losses if loss <= top]


def _loss_axis(values: list[float]) -> Axis:
    label = "loss (nats)"
    if min(values) > 0 and max(values) / min(values) > 12:
        axis = rate_axis(label, values)
        return Axis(label, axis.low, axis.high, "log", axis.ticks)
    return round_axis(label, values, below=0.14)


def _cell_axis(label: str, names: list[str], most: float = 16) -> Axis:
    """An axis of cells; every second, third, ... is named where all `most` that fit abreast are too few."""
    step = math.ceil(len(names) / most)
    ticks = tuple(Tick(float(place), name) for place, name in enumerate(names))
    return Axis(label, -0.5, len(names) - 0.5, "cells", ticks[::-1][::step][::-1])


def _rate_ramp(story: Story) -> Ramp | None:
    if story.rate is None or len(story.rates) < 2:
        return None
    low, high = story.rates[0], story.rates[-1]
    return Ramp("rate", name_of(story.rate), low, high, "log", log_ticks(low, high))


def _size_ramp(story: Story) -> Ramp:
    sizes = [size.x for size in story.sizes]
    return Ramp("size", name_of(story.column), min(sizes), max(sizes), "log", size_ticks(sizes))


def _loss_ramp(losses: list[float]) -> Ramp:
    shown = _typical(losses)
    low, high = min(shown), max(shown)
    high = high if high > low else low + (abs(low) or 1.0)
    return Ramp("loss", "loss (nats)", low, high, "linear", spread_ticks(low, high, 6))


def _or_infinite(value: float) -> float:
    return value if math.isfinite(value) else math.inf
