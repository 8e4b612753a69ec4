"""The ladder of training runs that pins the compute-optimal size best: `pin(compute, experiment, trials) -> Ladder`."""

from __future__ import annotations

import math

import numpy as np

from ..errors import InputError
from ..fit import Objective
from ..trials import Trials
from ._choice import Best, chosen_by
from ._design import Grid
from ._ladder import Experiment, Ladder, Rung
from ._runs import Array, Count, Runs, budgets_of, gather, offers
from ._shapes import Family, Shape, read_shapes
from ._start import DECADES, believed

__all__ = ["pin", "pinned"]

# Budgets lie three a decade over two decades below the largest run, or down to the cheapest run so far where that is lower, over
# four at most; sizes within a factor 8 of each budget's optimum.
_FURTHEST, _A_DECADE, _REACH, _SIZES = 4.0, 3, math.log(8.0), 13
# Sizes of each budget in a plain isoFLOP design, whose budgets lie over the same range.
_PROFILE = 7


def pin(
    compute: float,
    experiment: Experiment,
    trials: Trials | None = None,
    *,
    count: str = "parameters",
    fixed: bool = False,
    objective: Objective | None = None,
) -> Ladder:
    """The runs that lower the error of ln N* at `compute` FLOPs most for what they cost.

    They are chosen for the approach that will read them. While the profiles do not contradict Chinchilla's law that is approach
    3, and runs are chosen for what they tell about ln N* where the law holds (`_design`). That it does not quite hold is nothing
    that its errors know, and a choice that trusts it sits on the few points from which the law sees furthest. This model error
    is why 50 % of the spend then completes profiles for approach 2 (`_fill`), which show where the law bends. Before there are
    profiles, at least 30 % goes to an even spread over budgets and sizes instead. Where the profiles contradict the law, all of
    the spend completes profiles.

    Args:
        compute: budget of the allocation, FLOPs.
        experiment: what may be spent.
        trials: runs so far; None starts from the prior, published coefficients with wide errors.
        count, fixed, objective: as in `allocate`; the objective that the law will be fitted with decides what a run is worth.

    Raises:
        DataError: a table lacks a column, or holds a scale or a loss that is not positive.
        InputError: the experiment is none, or no allowed size lies near the optimum of any budget.
    """
    runs = None if trials is None else gather(trials, count, fixed=fixed)
    return pinned(compute, experiment, runs, objective)


def pinned(compute: float, experiment: Experiment, runs: Runs | None, objective: Objective | None = None) -> Ladder:
    """`pin` from points that are gathered already."""
    experiment.check()
    if not (compute > 0 and math.isfinite(compute)):
        raise InputError(f"compute is {compute:g}", "compute", "Give a positive number of FLOPs, for example 1e24")
    per_token, count = (6.0, Count.PARAMETERS) if runs is None else (runs.per_token, runs.count)
    offered = None
    if experiment.offered is not None:
        offered = offers(experiment.offered, "total" if count is Count.TOTAL else "parameters")
    if offered is None:
        top = min(experiment.largest or experiment.spend / 10, experiment.spend / 5, compute)
    else:
        top = min(experiment.largest or experiment.spend, experiment.spend, math.exp(float(offered[2].max())))
    start = believed(compute, experiment, runs, objective, math.log(top / per_token))
    choice = chosen_by(start, compute, runs, objective)
    if offered is None:
        levels = _levels(top, per_token, runs)
        grid, shapes = _grid(choice.best, levels, per_token, experiment, count)
        decades, places = float(np.ptp(levels)) / math.log(10), [None] * len(grid.n)
    else:
        grid, places = _pool(choice.best, offered, per_token, top)
        decades, shapes = max(float(np.ptp(np.log(grid.cost))) / math.log(10), 0.5), [None] * len(grid.n)
    rows, even = choice.choose(grid, experiment)
    if not rows:
        raise InputError("the spend pays no run", "spend", "Spend more, or allow smaller runs")
    plain = _isoflop(choice.best, experiment.spend, per_token, decades)
    order = [*sorted(rows[:even], key=lambda row: grid.cost[row]), *sorted(rows[even:], key=lambda row: grid.cost[row])]
    rungs = tuple(
        Rung(math.exp(grid.n[row]), math.exp(grid.d[row]), float(grid.cost[row]), place < even, shapes[row], places[row])
        for place, row in enumerate(order)
    )
    cost = float(grid.cost[rows].sum())
    return Ladder(
        compute=compute,
        spend=experiment.spend,
        cost=cost,
        runs=rungs,
        even=float(grid.cost[rows[:even]].sum()) / cost,
        noise=choice.noise,
        degrees=choice.degrees,
        per_token=per_token,
        before=choice.known(np.empty(0), np.empty(0)),
        after=choice.known(grid.n[rows], grid.d[rows]),
        isoflop=choice.known(*plain),
        plain=tuple(Rung(n, d, per_token * n * d, True) for n, d in zip(*(np.exp(each).tolist() for each in plain), strict=True)),
        parameters=math.exp(choice.best(math.log(compute / per_token))),
        approach=choice.approach,
        reason=choice.reason,
    )


def _levels(top: float, per_token: float, runs: Runs | None) -> Array:
    """ln(C / k) of the budgets, the cheapest first."""
    lowest = math.inf if runs is None else float(runs.c.min())
    decades = float(np.clip((math.log(top) - lowest) / math.log(10), DECADES, _FURTHEST))
    return math.log(top / per_token) - math.log(10) * np.linspace(decades, 0, round(_A_DECADE * decades) + 1)


def _grid(where: Best, levels: Array, per_token: float, experiment: Experiment, count: Count) -> tuple[Grid, list[Shape | None]]:
    """Every budget with every allowed size near its optimum."""
    shares = np.linspace(-1, 1, _SIZES)
    allowed = None if experiment.sizes is None else read_shapes(experiment.sizes)
    rows: list[tuple[float, float, int, float]] = []
    shapes: list[Shape | None] = []
    for place, level in enumerate(levels):
        best = where(float(level))
        for n, shape in _sizes(best, shares, allowed, count):
            if abs(n - best) <= 1.05 * _REACH:
                rows.append((n, level - n, place, (n - best) / _REACH))
                shapes.append(shape)
    if not rows:
        low, high = (math.exp(where(float(each))) for each in (levels[0], levels[-1]))
        what = f"no size lies within a factor 8 of the optima, {low:.3g} to {high:.3g}"
        raise InputError(what, "sizes", "Allow sizes there, or another spend")
    n, d, level, share = np.array(rows).T
    return Grid(n, d, per_token * np.exp(n + d), level.astype(np.intp), share), shapes


def _pool(where: Best, offered: tuple[Array, Array, Array], per_token: float, top: float) -> tuple[Grid, list[int | None]]:
    """The runs that are offered and may be afforded, and their rows."""
    rows = np.flatnonzero(np.exp(offered[2]) <= top * (1 + 1e-9))
    if not len(rows):
        what = f"the cheapest run that is offered costs {math.exp(float(offered[2].min())):.3g} FLOPs, more than {top:.3g}"
        raise InputError(what, "spend", "Spend more, or offer smaller runs")
    n, d, c = (each[rows] for each in offered)
    level = np.zeros(len(rows), dtype=np.intp)
    for place, group in enumerate(sorted(budgets_of(c), key=lambda group: float(c[group[0]]))):
        level[group] = place
    share = (n - [where(float(each)) for each in c - math.log(per_token)]) / _REACH
    return Grid(n, d, np.exp(c), level, share), [int(row) for row in rows]


def _sizes(
    best: float, shares: Array, allowed: Family | tuple[Shape, ...] | None, count: Count
) -> list[tuple[float, Shape | None]]:
    wanted = best + _REACH * shares
    if allowed is None:
        return [(math.log(float(f"{math.exp(each):.3g}")), None) for each in wanted]
    listed = allowed
    if isinstance(allowed, Family):
        listed = tuple(dict.fromkeys(allowed.usual(float(size), count) for size in np.exp(wanted)))
    assert not isinstance(listed, Family)
    return [(math.log(each.parameters), each) for each in listed]


def _isoflop(where: Best, spend: float, per_token: float, decades: float) -> tuple[Array, Array]:
    """ln N and ln D of a plain isoFLOP design that costs the spend: budgets half a decade apart, 7 sizes within a factor 8."""
    count = round(2 * decades) + 1
    ratio = 10 ** (decades / (count - 1))
    top = spend / (_PROFILE * sum(ratio**-k for k in range(count)))
    nd = np.repeat(np.log(top / per_token) - math.log(ratio) * np.arange(count), _PROFILE)
    n = np.array([where(float(each)) for each in nd]) + np.tile(np.linspace(-_REACH, _REACH, _PROFILE), count)
    return n, nd - n
