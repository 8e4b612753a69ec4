"""Recipes compared at a target scale: which arm wins, from which scale on, and what it is worth in compute.

Each arm is judged at its own tuned frontier and forecast from it. Where arms share scales, the difference of their frontiers has
a law of its own (`_pairing.py`), far sharper than the difference of two forecasts, and sharper still where they share seeds. The
two predictions of the difference are pooled by the densities they gave to held-out scales:

    P(difference) = w P_paired + (1 - w) P_unpaired,    ln(w / (1 - w)) = ln 4 + sum over origins of ln(p_paired / p_unpaired)

where all scales held out from one origin count as one (their mean), and the prior odds of 4 are for the law that lets drop out
what the arms have in common: a handful of origins tells little, and on simulated arms it covers as well at half the width. Where
no scale could be held out, w is the unpaired share of the two variances at the target. It is a mixture, not a product: both come
from the same runs.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from ._balance import assess, unequal
from ._comparison import Arm, Comparison, Crossing, Gap, Pairing
from ._pairing import Differences, Pairs, pair
from ._ray import Currency, Draws, Ray, crossings, currency, draw, factors, slope
from .cells import default_over
from .diagnostics import Finding
from .errors import DataError, UnknownNameError
from .estimate import Estimate
from .forecast import Forecast, forecast
from .frontier import frontier
from .laws import Law
from .notation import quantity
from .trials import Trials, place

__all__ = ["Comparison", "compare"]

Array: TypeAlias = NDArray[np.float64]

_DRAWS = 4000
_POWER = 0.8
_RECENT = 0.5
# Prior odds of the paired law against the difference of forecasts.
_ODDS = 4.0
# A crossing is looked for up to this factor beyond the target.
_BEYOND = 10.0
_MOST = 12


def compare(
    trials: Trials,
    by: str,
    at: Mapping[str, float],
    *,
    reference: str | None = None,
    over: str | Sequence[str] | None = None,
    hyper: str | Sequence[str] | None = None,
    law: str | Law | Sequence[str | Law] | None = None,
    level: float = 0.9,
) -> Comparison:
    """Compare the recipes that a column tells apart, each at its own best settings, at a target scale.

    Args:
        trials: runs of all arms.
        by: the column; text or numbers.
        at: the target in scale columns.
        reference: the arm that multipliers and differences are against; default the first in the data.
        over, hyper, law: see `forecast`; hyperparameters are those that vary within a scale, arm by arm.
        level: of every interval.

    Raises:
        DataError: no such column, one arm only, more than twelve, or an arm that carries no law.
        UnknownNameError: no such reference.
    """
    if not 0 < level < 1:
        raise DataError(f"a level of {level:g} is no probability", "level", "Give a number between 0 and 1, such as 0.9")
    known = quantity(by)
    by = known.column if known is not None and by not in trials else by
    tables = _arms(trials, by, reference)
    over = tuple(default_over(trials, at)) if over is None else (over,) if isinstance(over, str) else tuple(over)
    point = place(over, at)
    forecasts = [_forecast(name, table, by, point, hyper=hyper, law=law, level=level) for name, table in tables.items()]
    return _compared(tuple(tables), forecasts, by, level)


def _arms(trials: Trials, by: str, reference: str | None) -> dict[str, Trials]:
    """The rows of each arm with runs that finished, the reference first."""
    column, rows = trials[by], trials.finished[by]
    if by in trials.scales or by == "loss":
        raise DataError(
            f"{by} is no recipe", trials.source, "Name a column that tells recipes apart, such as recipe or optimiser"
        )
    values = [value for value in dict.fromkeys(rows.tolist()) if value == value and value != ""]
    if len(values) < 2:
        told = f" ({_label(values[0])})" if values else ""
        raise DataError(f"the column {by!r} has one value only{told}: nothing to compare", trials.source, "Add runs of another")
    if len(values) > _MOST:
        raise DataError(
            f"the column {by!r} has {len(values)} values, too many to compare", trials.source, "Keep a few of them with --where"
        )
    names = {_label(value): value for value in values}
    if reference is not None and reference not in names:
        raise UnknownNameError(f"value of {by}", reference, names)
    order = sorted(names, key=lambda name: name != reference)
    return {name: trials.where(np.array([value == names[name] for value in column.tolist()])) for name in order}


def _label(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def _forecast(
    name: str,
    table: Trials,
    by: str,
    point: Mapping[str, float],
    *,
    hyper: str | Sequence[str] | None,
    law: str | Law | Sequence[str | Law] | None,
    level: float,
) -> Forecast:
    # A column that tells arms apart is constant within each: it must not be looked for among the settings.
    table = Trials(
        {key: each for key, each in table.columns.items() if key != by}, table.source, table.ignored, table.notes, table.hyper
    )
    try:
        return forecast(frontier(table, over=tuple(point), hyper=hyper), point, law=law, level=level)
    except DataError as error:
        raise DataError(f"{by} {name}: {error.what}", error.where, error.mend) from error


def _compared(names: tuple[str, ...], forecasts: list[Forecast], by: str, level: float) -> Comparison:
    edges = [each.frontier for each in forecasts]
    over, point = edges[0].over, forecasts[0].at
    smallest = {name: min(float(edge.trials.numbers(name).min()) for edge in edges) for name in over}
    ray, pairs = Ray.through(point, smallest), pair(edges)
    differences = Differences.learn(pairs, slope(forecasts, pairs.points)) if len(pairs) > 1 and _everyone(pairs) else None
    pairing = _pairing(forecasts, pairs, differences, ray)
    found = draw(forecasts, ray, differences, pairing.weight, _DRAWS)
    cost = currency(forecasts, ray)
    gaps = tuple(_gap(names[k], k, (found, ray, cost), (names[0], smallest), level) for k in range(1, len(names)))
    best = np.argmin(found.gap[:, :, ray.zero], axis=0)
    none: list[Mapping[tuple[float, ...], float]] = [{} for _ in names]
    tunings = [
        assess(edge, [other for other in edges if other is not edge], lost, each.variance.get("tuning", 0.0))
        for edge, lost, each in zip(edges, pairs.lost or none, forecasts, strict=True)
    ]
    middle = np.array([0.0, *(gap.difference.value for gap in gaps)])
    apart = {(i, j): float(middle[j] - middle[i]) for j in range(len(names)) for i in range(j)}
    arms = tuple(
        Arm(name, each, float(np.mean(best == k)), tuning)
        for k, (name, each, tuning) in enumerate(zip(names, forecasts, tunings, strict=True))
    )
    findings = (*unequal(names, edges, tunings, apart, point), *_own(arms))
    return Comparison(by, point, level, arms, gaps, cost.column, cost.message, pairing, findings)


def _everyone(pairs: Pairs) -> bool:
    """Whether every arm shares two scales with others: an arm that shares none has no law of its difference."""
    return bool(np.all(np.sum(np.isfinite(pairs.y), axis=1) > 1))


def _pairing(forecasts: list[Forecast], pairs: Pairs, differences: Differences | None, ray: Ray) -> Pairing:
    """The weight of the paired prediction, and what it stands on."""
    if differences is None:
        text = "The arms share fewer than two sizes, so each is forecast by itself: sizes in common would tell far more."
        return Pairing(len(pairs), pairs.seeds, pairs.share, 0.0, None, None, {}, text)
    held = _held(forecasts, pairs, differences)
    if len(held):
        # Recent origins resemble the target most, as in the stack of laws; all rows of one origin count as one.
        origin = held[:, 0]
        recent = np.exp(_RECENT * (origin - origin.max()))
        one, two = (math.sqrt(float(np.average(held[:, place] ** 2, weights=recent))) for place in (1, 3))
        score = sum(float(np.mean((held[:, 2] - held[:, 4])[origin == each])) for each in np.unique(origin))
        weight = 1.0 / (1.0 + math.exp(-min(max(score, -50.0), 50.0)) / _ODDS)
        told = f" On held-out sizes the paired law missed by {one:.2%}, the forecasts by {two:.2%}; it weighs {weight:.0%}."
    else:
        both = [draw(forecasts, ray, differences, share, 400).gap[1:, :, ray.zero] for share in (0.0, 1.0)]
        alone, paired = (float(np.mean(_spread(each))) for each in both)
        one = two = None
        weight = alone**2 / (alone**2 + paired**2)
        told = f" No size could be held out; the paired law weighs {weight:.0%}, by its spread."
    seeds = f" and {pairs.seeds} seed{'s' if pairs.seeds != 1 else ''}" if pairs.seeds else ""
    lucky = f" ({pairs.share:.0%} of a seed's luck is common to the arms)" if pairs.seeds > 1 else ""
    text = f"Paired at {len(pairs)} sizes{seeds}{lucky}.{told}"
    return Pairing(len(pairs), pairs.seeds, pairs.share, weight, one, two, differences.weights, text)


def _held(forecasts: list[Forecast], pairs: Pairs, differences: Differences) -> Array:
    """Rolling origins, `(rows, 5)`: sizes known, then error and log density of the paired law and of the forecasts.

    The forecasts' density is normal, with the variance of both and of both discrepancies.
    """
    if any(len(each.frontier.trials) != len(pairs) for each in forecasts) or not np.all(np.isfinite(pairs.y)):
        return np.zeros((0, 5))
    tables = [{(held.origin, held.row): held for held in each.stack.held} for each in forecasts]
    kappas = [each.stack.kappa * _nats(each) for each in forecasts]
    rows: list[tuple[float, ...]] = []
    for key, ours in differences.held.items():
        if not all(key in table for table in tables):
            continue
        found = [table[key] for table in tables]
        variance = [
            each.variance + (kappa * math.log(max(each.ratio, 1.0))) ** 2 for each, kappa in zip(found, kappas, strict=True)
        ]
        for k, (error, density) in enumerate(ours, start=1):
            other, spread = found[k].error - found[0].error, variance[k] + variance[0]
            theirs = -0.5 * (other**2 / spread + math.log(2 * math.pi * spread))
            rows.append((key[0], float(error), float(density), other, theirs))
    return np.array(rows).reshape(-1, 5)


def _nats(found: Forecast) -> float:
    """Nats of the forecast's distance per nat of scale, beyond the data."""
    top = {name: float(found.frontier.trials.numbers(name).max()) * math.e for name in found.at}
    return float(found.stack.distance(top)[0])


def _spread(values: Array) -> Array:
    low, high = np.quantile(values, [0.1586553, 0.8413447], axis=1)
    return 0.5 * (high - low)


def _gap(name: str, arm: int, drawn: tuple[Draws, Ray, Currency], against: tuple[str, Mapping[str, float]], level: float) -> Gap:
    found, ray, cost = drawn
    gap = found.gap[arm][:, ray.zero]
    low, middle, high, power = (float(np.quantile(gap, each)) for each in (0.5 - level / 2, 0.5, 0.5 + level / 2, 1 - _POWER))
    value, least, most = (math.exp(each) for each in _quantiles(factors(found, ray, cost.along, arm), level))
    near = (ray.t >= math.log(min(against[1][name] / value for name, value in ray.at.items())) - 1e-9) & (
        ray.t <= math.log(_BEYOND)
    )
    band = np.quantile(found.law[arm][:, near], [0.5 - level / 2, 0.5, 0.5 + level / 2], axis=0)
    column = next(iter(ray.at))
    return Gap(
        name,
        Estimate(middle, low, high, level, float(gap.std())),
        Estimate(value, least, most, level),
        _crossing(found, ray, arm, (name, *against), level),
        float(np.mean(gap < 0)),
        0.5 * (high - low) + middle - power,
        ray.points[column][near],
        band[0],
        band[1],
        band[2],
    )


def _quantiles(draws: Array, level: float) -> tuple[float, float, float]:
    """Median, low and high as order statistics: infinities are values like others."""
    ordered = np.sort(draws)
    ends = [float(ordered[min(int(each * len(ordered)), len(ordered) - 1)]) for each in (0.5, 0.5 - level / 2, 0.5 + level / 2)]
    return ends[0], ends[1], ends[2]


def _crossing(found: Draws, ray: Ray, arm: int, names: tuple[str, str, Mapping[str, float]], level: float) -> Crossing:
    name, other, smallest = names
    column, start = next(iter(ray.at.items()))
    least = min(math.log(smallest[each] / value) for each, value in ray.at.items())
    t = crossings(found, ray, arm, least, math.log(_BEYOND))
    chance = float(np.mean(np.isfinite(t)))
    value, low, high = (start * math.exp(each) for each in _quantiles(t, level))
    reach = (float(f"{start * math.exp(least):.10g}"), start * _BEYOND)
    first = name if np.mean(found.law[arm][:, ray.zero] < 0) > 0.5 else other
    if math.isinf(value) or value == 0:
        where = f"between {column} {_size(reach[0])} and {_size(reach[1])}"
        text = f"{name} and {other} do not cross {where} (probability {1 - chance:.0%}): {first} leads."
    else:
        late = name if np.mean(found.law[arm][:, -1] < 0) > 0.5 else other
        text = f"{name} and {other} cross near {column} {_size(float(f'{value:.3g}'))}; {late} leads above."
    return Crossing(column, value, low, high, chance, reach, text)


def _size(value: float) -> str:
    """Four digits, plain below a million."""
    text = f"{float(f'{value:.4g}'):.0f}" if 1000 <= value < 1e6 else f"{value:.4g}"
    return text.replace("e+0", "e").replace("e+", "e")


def _own(arms: Sequence[Arm]) -> tuple[Finding, ...]:
    """The arms' own findings, each told once, with the arms it holds of."""
    told: dict[str, tuple[Finding, list[str]]] = {}
    for arm in arms:
        for each in arm.forecast.findings:
            told.setdefault(each.name, (each, []))[1].append(arm.name)
    return tuple(Finding(each.name, f"{', '.join(names)}: {each.message}", each.action) for each, names in told.values())
