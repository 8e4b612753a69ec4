"""The ladder of training runs that pins the compute-optimal size best: `pin(compute, experiment, trials) -> Ladder`."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from ..errors import InputError
from ..fit import Objective
from ..laws import laws
from ..trials import Trials
from ._design import Belief, Grid, best_size, choose, excess, log_loss, slopes, summed
from ._ladder import Experiment, Known, Ladder, Rung
from ._parametric import collinear, fitted, usable
from ._runs import Array, Count, Runs, budgets_of, gather, offers
from ._shapes import Family, Shape, read_shapes

__all__ = ["Start", "believed", "pin", "pinned"]

# Share of the spend that is spread evenly.
EVEN = 0.3
# Budgets lie three a decade over two decades below the largest run, or down to the cheapest run so far where that is lower, over
# four at most; sizes within a factor 8 of each budget's optimum.
_DECADES, _FURTHEST, _A_DECADE, _REACH, _SIZES = 2.0, 4.0, 3, math.log(8.0), 13
# Sizes of each budget in a plain isoFLOP design, whose budgets lie over the same range.
_PROFILE = 7
_DRAWS = 32
_NOISE = 0.005
# The prior: Chinchilla's law as refitted by Besiroglu et al. 2024 (arXiv:2404.10102), with standard errors of ln E, of the two
# reducible terms in logarithm where the ladder will lie, and of the two exponents. Loss may be in other units and on other data.
_PRIOR = {"E": 1.8172, "A": 482.01, "B": 2085.43, "alpha": 0.3478, "beta": 0.3658}
_PRIOR_SD = (0.5, 1.0, 1.0, 0.1, 0.1)
_EXPONENTS = (0.03, 1.5)


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

    The runs are chosen on Chinchilla's law (`_design`) for what they tell about ln N* where it holds. That it does not quite hold
    is nothing that its errors know, and a choice that trusts it sits on the few points from which the law sees furthest. This
    model error is why at least 30 % of the spend goes to an even spread over budgets and sizes: it shows where the law bends, and
    gives approach 2 its profiles.

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
    belief = start.belief
    if offered is None:
        levels = _levels(top, per_token, runs)
        grid, shapes = _grid(belief.theta, levels, per_token, experiment, count)
        decades, places = float(np.ptp(levels)) / math.log(10), [None] * len(grid.n)
    else:
        grid, places = _pool(belief.theta, offered, per_token, top)
        decades, shapes = max(float(np.ptp(np.log(grid.cost))) / math.log(10), 0.5), [None] * len(grid.n)
    rows, even = choose(belief, grid, experiment.spend, experiment.most, EVEN)
    if not rows:
        raise InputError("the spend pays no run", "spend", "Spend more, or allow smaller runs")
    plain = _isoflop(belief.theta[:1], experiment.spend, per_token, decades)
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
        noise=start.noise,
        degrees=start.degrees,
        per_token=per_token,
        before=_known(belief, belief.information),
        after=_known(belief, belief.after(grid.n[rows], grid.d[rows])),
        isoflop=_known(belief, belief.after(*plain)),
        plain=tuple(Rung(n, d, per_token * n * d, True) for n, d in zip(*(np.exp(each).tolist() for each in plain), strict=True)),
        parameters=math.exp(float(best_size(belief.theta[:1], belief.target)[0])),
        reason=start.reason,
    )


@dataclass(frozen=True, eq=False)
class Start:
    """What is believed before the runs, the noise behind it and its degrees of freedom, and in words."""

    belief: Belief
    noise: float
    degrees: float
    reason: str


def believed(compute: float, experiment: Experiment, runs: Runs | None, objective: Objective | None, top: float) -> Start:
    """What the data and the prior say before the runs; `top` is ln(C / k) of the largest."""
    theta = np.array([[math.log(_PRIOR["E"]), math.log(_PRIOR["A"]), math.log(_PRIOR["B"]), _PRIOR["alpha"], _PRIOR["beta"]]])
    precision = _prior(theta, top)
    noise, degrees = experiment.noise or _NOISE, math.inf
    told = "published coefficients with wide errors, as there are no runs"
    shown = laws["chinchilla"].objective if objective is None else objective
    if runs is not None:
        found = None if collinear(runs) else fitted(runs, "chinchilla", objective)
        if found is None or isinstance(found, str) or not usable(found):
            theta = _pulled(theta, precision, runs, noise)
            told = f"published coefficients with wide errors and {len(runs)} points, from which alone no law can be fitted"
        else:
            t = found.theta
            # A floor at 0 has no logarithm: a thousandth of the lowest loss tells nothing either.
            floor = max(math.log(max(t["E"], 1e-300)), float(runs.y.min()) - 7)
            theta = np.array([[floor, math.log(t["A"]), math.log(t["B"]), t["alpha"], t["beta"]]])
            told = f"Chinchilla's law fitted to {len(runs)} points"
            if experiment.noise is None:
                noise, degrees = max(found.residual_sd, 1e-6), float(max(found.freedom, 1))
    worth = noise * math.sqrt(_price(shown, noise))
    weight = None if runs is None else runs.repeats / np.mean(runs.repeats) / worth**2
    nd = math.log(compute / (6.0 if runs is None else runs.per_token))

    def information(at: Array) -> Array:
        data = 0.0 if runs is None or weight is None else summed(at, runs.n, runs.d, weight)
        return np.broadcast_to(precision, (len(at), 5, 5)) + data

    every = _drawn(theta, information(theta)[0])
    reason = f"The choice rests on {told}, with noise of {noise:.2%}."
    return Start(Belief(every, information(every), worth, nd), noise, degrees, reason)


def _prior(theta: Array, top: float) -> Array:
    """Precision of the prior, `(5, 5)`: independent in the terms where the ladder lies, not in A and B at N = D = 1."""
    middle = top - 0.5 * _DECADES * math.log(10)
    n = float(best_size(theta, middle)[0])
    T = np.eye(5)
    T[1, 3], T[2, 4] = -n, -(middle - n)
    return T.T @ np.diag(np.array(_PRIOR_SD) ** -2.0) @ T


def _pulled(theta: Array, precision: Array, runs: Runs, noise: float) -> Array:
    """The prior's theta after the data: the mode, by Levenberg's steps."""
    first, damping = theta, 1.0

    def value(at: Array) -> float:
        off = (at - first)[0]
        return float(np.sum(((runs.y - log_loss(at, runs.n, runs.d)[0]) / noise) ** 2) + off @ precision @ off)

    now = value(theta)
    for _ in range(60):
        J = slopes(theta, runs.n, runs.d)[0] / noise
        pull = J.T @ ((runs.y - log_loss(theta, runs.n, runs.d)[0]) / noise) - precision @ (theta - first)[0]
        M = J.T @ J + precision
        step = np.linalg.solve(M + damping * np.diag(np.diag(M)), pull)
        trial = theta + step
        trial[:, 3:] = np.clip(trial[:, 3:], *_EXPONENTS)
        then = value(trial)
        if then < now:
            small = now - then < 1e-9 * now
            theta, now, damping = trial, then, damping / 4
            if small:
                break
        else:
            damping *= 4
    return theta


def _price(objective: Objective, noise: float) -> float:
    """Variance of an estimate by the objective over that by least squares, under normal noise.

    E psi^2 / (s^2 (E psi')^2) with psi = r clipped at delta and c = delta / s: pi / 2 for absolute values, 1 for squares (Huber
    1964).
    """
    c = float(objective.delta) / noise
    if c > 8:
        return 1.0
    density = math.exp(-0.5 * c * c) / math.sqrt(2 * math.pi)
    inside = math.erf(c / math.sqrt(2))
    if c < 1e-4:
        return math.pi / 2
    return (inside - 2 * c * density + c * c * (1 - inside)) / inside**2


def _drawn(theta: Array, information: Array) -> Array:
    """The estimate and draws about it, `(1 + draws, 5)`."""
    root = np.linalg.cholesky(np.linalg.inv(information))
    half = np.random.default_rng(0).standard_normal((_DRAWS // 2, 5))
    every = theta + np.concatenate([np.zeros((1, 5)), half, -half]) @ root.T
    every[:, 3:] = np.clip(every[:, 3:], *_EXPONENTS)
    return every


def _known(belief: Belief, information: Array) -> Known:
    size, exponent = belief.variance(information)
    regret = excess(belief.theta, belief.target, size)
    # Over draws the geometric mean, which is what was minimised: an arithmetic one is that of the wildest draw.
    return Known(*(math.exp(float(np.mean(np.log(each)))) for each in (np.sqrt(size), np.sqrt(exponent), regret)))


def _levels(top: float, per_token: float, runs: Runs | None) -> Array:
    """ln(C / k) of the budgets, the cheapest first."""
    lowest = math.inf if runs is None else float(runs.c.min())
    decades = float(np.clip((math.log(top) - lowest) / math.log(10), _DECADES, _FURTHEST))
    return math.log(top / per_token) - math.log(10) * np.linspace(decades, 0, round(_A_DECADE * decades) + 1)


def _grid(theta: Array, levels: Array, per_token: float, experiment: Experiment, count: Count) -> tuple[Grid, list[Shape | None]]:
    """Every budget with every allowed size near its optimum."""
    shares = np.linspace(-1, 1, _SIZES)
    allowed = None if experiment.sizes is None else read_shapes(experiment.sizes)
    rows: list[tuple[float, float, int, float]] = []
    shapes: list[Shape | None] = []
    for place, level in enumerate(levels):
        best = float(best_size(theta[:1], level)[0])
        for n, shape in _sizes(best, shares, allowed, count):
            if abs(n - best) <= 1.05 * _REACH:
                rows.append((n, level - n, place, (n - best) / _REACH))
                shapes.append(shape)
    if not rows:
        low, high = (float(np.exp(best_size(theta[:1], each)[0])) for each in (levels[0], levels[-1]))
        what = f"no size lies within a factor 8 of the optima, {low:.3g} to {high:.3g}"
        raise InputError(what, "sizes", "Allow sizes there, or another spend")
    n, d, level, share = np.array(rows).T
    return Grid(n, d, per_token * np.exp(n + d), level.astype(np.intp), share), shapes


def _pool(theta: Array, offered: tuple[Array, Array, Array], per_token: float, top: float) -> tuple[Grid, list[int | None]]:
    """The runs that are offered and may be afforded, and their rows."""
    rows = np.flatnonzero(np.exp(offered[2]) <= top * (1 + 1e-9))
    if not len(rows):
        what = f"the cheapest run that is offered costs {math.exp(float(offered[2].min())):.3g} FLOPs, more than {top:.3g}"
        raise InputError(what, "spend", "Spend more, or offer smaller runs")
    n, d, c = (each[rows] for each in offered)
    level = np.zeros(len(rows), dtype=np.intp)
    for place, group in enumerate(sorted(budgets_of(c), key=lambda group: float(c[group[0]]))):
        level[group] = place
    share = (n - best_size(theta[:1], c - math.log(per_token))) / _REACH
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


def _isoflop(theta: Array, spend: float, per_token: float, decades: float) -> tuple[Array, Array]:
    """ln N and ln D of a plain isoFLOP design that costs the spend: budgets half a decade apart, 7 sizes within a factor 8."""
    count = round(2 * decades) + 1
    ratio = 10 ** (decades / (count - 1))
    top = spend / (_PROFILE * sum(ratio**-k for k in range(count)))
    nd = np.repeat(np.log(top / per_token) - math.log(ratio) * np.arange(count), _PROFILE)
    n = best_size(theta, nd) + np.tile(np.linspace(-_REACH, _REACH, _PROFILE), count)
    return n, nd - n
