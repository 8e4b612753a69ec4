"""What the curves of smaller, tuned runs say about a larger one's: the expected course and its error, look by look.

A run's course is g(x) = ln (loss at progress x / the run's final loss). Members that predict it for another size:

- collapse (E, drift): l(x) = (L(x) - E) / (L(1) - E) per look, without drift or linear in ln size (supercollapse), for floors E
  of 0 to 97 % of the lowest loss. They need runs under the watched run's own schedule.
- multi_power, tissue: laws that know the schedule (`_curve_laws`); they read runs under every schedule.

Each member is scored by leaving out one size at a time, and they are averaged with weights (1 / mean squared error)^2. Where no
smaller run had the watched schedule, a left-out course is also predicted without its own schedule's runs.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from ._curve_laws import LAWS, CurveLaw, Fitted, Setup, fit_law
from .curves import Plan

__all__ = ["Course", "Transported", "transport"]

Array: TypeAlias = NDArray[np.float64]

_FLOORS = (0.0, 0.5, 0.75, 0.9, 0.97)
# A plan counts as the same up to this difference of its shares.
_SAME = 0.021
# Errors of ln loss below this do not tell members apart.
_LEAST = 5e-4


@dataclass(frozen=True, eq=False)
class Course:
    """One run, or the mean of several of one size and plan.

    Args:
        size: 1 and ln size in every scale, `(p,)`.
        plan, total: its schedule and steps.
        log_final: ln final loss.
        g: ln (loss / final loss) at the looks, `(J,)`.
    """

    size: Array
    plan: Plan
    total: float
    log_final: float
    g: Array

    @property
    def place(self) -> tuple[float, ...]:
        """Its size, to compare by."""
        return tuple(np.round(self.size, 9).tolist())


@dataclass(frozen=True, eq=False)
class Transported:
    """The course expected of a run.

    Args:
        g: expected ln (loss / final loss), `(J,)`.
        errors: of the runs whose size was left out, `(runs, J)`: what each ran above its prediction.
        judged: those runs.
        places: the size of each of those runs, as a number from 0.
        stretch: variance of a prediction for the target over that of a left-out run's, at least 1.
        weights: member -> weight.
        same: whether runs under the watched schedule were there.
    """

    g: Array
    errors: Array
    judged: tuple[Course, ...]
    places: NDArray[np.intp]
    stretch: float
    weights: dict[str, float]
    same: bool


def same_plan(one: Plan, other: Plan) -> bool:
    """Whether two runs' schedules are the same for the purpose of laying their curves over each other."""
    close = abs(one.warmup - other.warmup) <= _SAME and abs(one.final_fraction - other.final_fraction) <= _SAME
    return one.schedule == other.schedule and close


def transport(courses: Sequence[Course], target: Course, x: Array) -> Transported | None:
    """The course of `target` (whose `g` is not read), or None where fewer than three sizes have curves.

    Args:
        courses: of tuned runs, one each.
        x: progress at the centres of the looks, `(J,)`.
    """
    same = len({each.place for each in courses if same_plan(each.plan, target.plan)}) >= 3
    if len({each.place for each in courses}) < 3:
        return None
    eligible = [each for each in courses if same_plan(each.plan, target.plan)] if same else list(courses)
    judged = [each for each in eligible if each.place in _resembling(eligible, target)]
    places = sorted({each.place for each in judged})
    members = _members(courses, target.plan, x, same)
    found: dict[str, tuple[Array, Array]] = {}
    for name, member in members.items():
        at_target = member(means(courses), target)
        held = _held_out(member, courses, judged, same)
        if at_target is not None and held is not None and np.isfinite(at_target).all() and np.isfinite(held).all():
            found[name] = (at_target, held)
    if not found:
        return None
    index = np.array([places.index(each.place) for each in judged], dtype=np.intp)
    score = np.array([_score(held, index) for _, held in found.values()]) + _LEAST**2
    weight = (score.min() / score) ** 2
    weight /= weight.sum()
    g = np.asarray(sum(w * each[0] for w, each in zip(weight, found.values(), strict=True)))
    errors = np.asarray(sum(w * each[1] for w, each in zip(weight, found.values(), strict=True)))
    weights = {name: float(w) for name, w in zip(found, weight, strict=True)}
    stretch = _stretch(eligible, target, {place: errors[index == k] for k, place in enumerate(places)})
    return Transported(g, errors, tuple(judged), index, stretch, weights, same)


def _score(errors: Array, index: NDArray[np.intp]) -> float:
    """Mean squared error of what lasts (`_blocks`), sizes counted alike: the records' own noise is every member's."""
    return float(np.mean([np.mean(_blocks(errors[index == place]) ** 2) for place in np.unique(index)]))


def means(courses: Sequence[Course]) -> list[Course]:
    """Runs of one size, plan and length as their mean."""
    groups: dict[object, list[Course]] = {}
    for each in courses:
        groups.setdefault((each.place, each.plan, each.total), []).append(each)
    return [
        Course(
            group[0].size,
            group[0].plan,
            group[0].total,
            float(np.mean([each.log_final for each in group])),
            np.asarray(np.mean([each.g for each in group], axis=0)),
        )
        for group in groups.values()
    ]


def _along(place: Sequence[float]) -> float:
    """How large: the sum of ln size over the scales."""
    return sum(place[1:])


def _resembling(courses: Sequence[Course], target: Course) -> set[tuple[float, ...]]:
    """The sizes whose leaving-out resembles the target: not the end away from it, which nobody asks to extrapolate to.

    Both ends where the target lies within. At least three sizes stay.
    """
    places = sorted({each.place for each in courses}, key=_along)
    first, last, here = _along(places[0]), _along(places[-1]), _along(target.place)
    if here > first and len(places) > 3:
        places = places[1:]
    if here < last and len(places) > 3:
        places = places[:-1]
    return set(places)


def _stretch(courses: Sequence[Course], target: Course, errors: Mapping[tuple[float, ...], Array]) -> float:
    """Variance of what lasts of the target's error over that of the left-out runs.

    The larger of (1 + leverage of the target) / mean (1 + leverage of a left-out size), for a line in ln size; and, where the
    target lies beyond the sizes, the squared error of the end size beside it over the mean, times the square of how much farther
    the target lies beyond the end than the end beyond its neighbour.
    """
    X = np.array(sorted({each.place for each in courses}, key=_along))
    rows = np.arange(len(X))
    left = [1.0 + _leverage(X[rows != row], X[row]) for row in rows]
    stretch = (1.0 + _leverage(X, target.size)) / float(np.mean(left))
    s, here = [_along(tuple(place)) for place in X], _along(target.place)
    beyond, step, end = (here - s[-1], s[-1] - s[-2], X[-1]) if here > s[-1] else (s[0] - here, s[1] - s[0], X[0])
    mine = errors.get(tuple(end.tolist()))
    if beyond > 0 and step > 0 and mine is not None:
        blocks = {place: _blocks(each) for place, each in errors.items()}
        mean = float(np.mean([np.mean(each**2) for each in blocks.values()]))
        ratio = float(np.mean(blocks[tuple(end.tolist())] ** 2)) / max(mean, _LEAST**2)
        stretch = max(stretch, ratio * max(beyond / step, 1.0) ** 2)
    return max(stretch, 1.0)


def _blocks(errors: Array) -> Array:
    """Mean errors of a size over its runs and five looks at a time: what lasts of them."""
    mean = errors.mean(axis=0)
    return np.array([float(part.mean()) for part in np.array_split(mean, max(len(mean) // 5, 1))])


def _leverage(X: Array, x: Array) -> float:
    return float(x @ np.linalg.pinv(X.T @ X) @ x)


Member = Callable[[Sequence[Course], Course], Array | None]


def _held_out(member: Member, courses: Sequence[Course], judged: Sequence[Course], same: bool) -> Array | None:
    """Errors of every judged run when its size is left out, `(runs, J)`; without its schedule too where that is new."""
    predicted: dict[object, Array | None] = {}
    errors: list[Array] = []
    for each in judged:
        key = (each.place, each.plan, each.total)
        if key not in predicted:
            others = [one for one in courses if one.place != each.place and (same or not same_plan(one.plan, each.plan))]
            group = next(one for one in means(judged) if (one.place, one.plan, one.total) == key)
            predicted[key] = member(means(others), group) if len({one.place for one in others}) >= 2 else None
        course = predicted[key]
        if course is None:
            return None
        errors.append(each.g - course)
    return np.array(errors)


def _members(courses: Sequence[Course], plan: Plan, x: Array, same: bool) -> dict[str, Member]:
    lowest = math.exp(min(each.log_final for each in courses))
    members: dict[str, Member] = {}
    if same:
        for floor in _FLOORS:
            for drift in (False, True):
                members[f"collapse E={floor:g}{' drift' if drift else ''}"] = _collapse(plan, floor * lowest, drift)
    unit = float(np.median([each.total for each in courses]))
    for law in LAWS:
        members[law.name] = _law(law, x, unit)
    return members


def _collapse(plan: Plan, floor: float, drift: bool) -> Member:
    """l(x) at each look, constant or linear in ln size."""

    def predict(cells: Sequence[Course], target: Course) -> Array | None:
        mine = [each for each in cells if same_plan(each.plan, plan)]
        # The floor stays below what is left of the smaller runs, and below the target.
        E = min(floor, 0.99 * math.exp(min(target.log_final, *(each.log_final for each in mine)))) if mine else 0.0
        X = np.array([each.size if drift else each.size[:1] for each in mine])
        if len(mine) < (X.shape[1] + 1 if drift else 1):
            return None
        final = np.array([math.exp(each.log_final) for each in mine])
        curves = np.array([(f * np.exp(each.g) - E) / (f - E) for f, each in zip(final, mine, strict=True)])
        at = target.size if drift else target.size[:1]
        ratio = at @ np.linalg.lstsq(X, curves, rcond=1e-9)[0]
        share = E / math.exp(target.log_final)
        return np.log(np.maximum(share + (1.0 - share) * ratio, 1e-3))

    return predict


def _law(law: CurveLaw, x: Array, unit: float) -> Member:
    starts: list[Array] = []

    def predict(cells: Sequence[Course], target: Course) -> Array | None:
        if len(cells) < 3:
            return None
        # Sizes about their own middle, so that a drift is one about the runs' centre.
        centre = np.mean([each.size for each in cells], axis=0)
        centre[0] = 0.0
        setups = [Setup.of(each.plan, each.total, x, each.size - centre, unit) for each in cells]
        fitted: Fitted = fit_law(law, setups, [np.exp(each.g) for each in cells], starts[0] if starts else None)
        if not starts:
            starts.append(fitted.coordinates)
        return fitted.predict(Setup.of(target.plan, target.total, x, target.size - centre, unit))

    return predict
