"""The priors on the discrepancy: learned from public families, each scored with the priors learned from the others."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cache
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtr

from scalelaw.discrepancy import KAPPAS, LAMBDAS, Discrepancy, Held, evidence, posterior
from scalelaw.errors import DataError
from scalelaw.frontier import Frontier
from scalelaw.stack import Ladder, Stack

from .families import TWO, families, frontier_of, ladder

__all__ = ["alike", "coverage", "learned", "prior", "words"]

Array: TypeAlias = NDArray[np.float64]

_MEDIANS = np.geomspace(3e-4, 0.06, 40)
_SDS = np.linspace(0.3, 2.5, 23)
# A dozen families cannot tell the sd of a logarithm: it is drawn to 1.2 with sd 0.5.
_PULL = (1.2, 0.5)
_INFLATIONS = [round(0.5 + 0.1 * step, 1) for step in range(26)]
# Tokens per parameter are cut at these shares of a ladder's rows, and everything beyond is predicted; upwards, and downwards.
_CUTS = (0.3, 0.45, 0.6, 0.75, 0.9)
_LEAST = 8  # rows below a cut


@dataclass(frozen=True, eq=False)
class Later:
    """A stack of a ladder's first rows, what their rolling origins say of each discrepancy, and rows beyond them.

    Args:
        up: of a cut by tokens per parameter, whether the rows lie above it. held: their errors.
    """

    stack: Stack
    evidence: Array
    points: Mapping[str, Array]
    y: Array
    variance: Array
    up: bool = True
    held: tuple[Held, ...] = ()

    def level(self, discrepancy: Discrepancy) -> Array:
        """F(y) of each row, discrepancies being inflated as in an interval."""
        chances = posterior(discrepancy.log_density(), self.evidence)
        table = _levels(self, discrepancy.inflation)
        return (chances.sum(axis=1) if len(table) == len(KAPPAS) else chances.ravel()) @ table


@cache
def _levels(later: Later, inflation: float) -> Array:
    """F(y) of each row for each discrepancy on the grid, `(G, rows)`: the same whatever the prior."""
    flat = np.full_like(later.evidence, 1 / later.evidence.size)
    mixture = replace(later.stack, chances=flat, inflation=inflation).predict(later.points, later.variance)
    sd = np.sqrt(mixture.variance[:, None, :] + mixture.discrepancy**2)
    z = (later.y - mixture.mean[:, None, :]) / sd
    return np.einsum("k,kgp->gp", mixture.weights, stdtr(mixture.degrees[:, None, None], z)).astype(np.float32)


@cache
def evidences() -> Mapping[str, list[tuple[str, Array]]]:
    """Per family, the name of each ladder and the log likelihood of every discrepancy from its rolling origins."""
    found: dict[str, list[tuple[str, Array]]] = {}
    for family, name, rows in _ladders():
        try:
            held = rows.stack().held
        except DataError:
            continue
        if held:
            found.setdefault(family, []).append((name, evidence(held)))
    return found


@cache
def _ladders() -> list[tuple[str, str, Ladder]]:
    found: list[tuple[str, str, Ladder]] = []
    for family in families():
        with contextlib.suppress(DataError):
            found.append((family.family, family.name, ladder(family)))
    return found


@cache
def sideways() -> list[tuple[str, str, Later]]:
    """Per family and ladder of parameters and tokens, the cuts by tokens per parameter, and the rows beyond each."""
    return [
        (family.family, family.name, each)
        for family in families()
        if family.over == TWO
        for up in (True, False)
        for each in _cuts(frontier_of(family), up)
    ]


def _cuts(edge: Frontier, up: bool) -> list[Later]:
    x, loss = edge.scales, edge.trials.numbers("loss")
    side = (x[:, 1] - x[:, 0]) * (1 if up else -1)
    y, variance = np.log(loss), np.nan_to_num(edge.trials.numbers("loss_se") / loss) ** 2
    found: list[Later] = []
    for cut in np.unique(np.round(np.quantile(side, _CUTS), 3)):
        inside, beyond = side <= cut + 1e-3, side > cut + 0.2
        if inside.sum() < _LEAST or not beyond.any():
            continue
        try:
            stack = Ladder(replace(edge, trials=edge.trials.where(inside))).stack()
        except DataError:
            continue
        points = {name: edge.trials.numbers(name)[beyond] for name in TWO}
        mixture = stack.predict(points, variance[beyond])
        error = y[beyond] - mixture.weights @ mixture.mean
        told = (error, mixture.weights @ mixture.variance, np.full(len(error), mixture.weights @ mixture.degrees))
        away = (stack.hull.distance(x[beyond]), stack.hull.outside(x[beyond]))
        held = tuple(Held(0, row, 1.0, *map(float, each)) for row, each in enumerate(zip(*told, *away, strict=True)))
        found.append(Later(stack, evidence(stack.held), points, y[beyond], variance[beyond], up, held))
    return found


@cache
def _held_out() -> list[tuple[str, str, Later]]:
    """Per family, ladder and origin: the stack of the rows before, and those after that lie well beyond them."""
    found: list[tuple[str, str, Later]] = []
    for family, name, rows in _ladders():
        for count in rows.origins:
            if count < (12 if len(rows.over) == 2 else 5):
                continue
            try:
                stack = rows.stack(count)
            except DataError:
                continue
            after = slice(count, len(rows))
            far = stack.distance(rows.points(after)) > 0.3
            if far.any():
                points = {name: column[far] for name, column in rows.points(after).items()}
                each = Later(stack, evidence(stack.held), points, rows.y[after][far], rows.se[after][far] ** 2)
                found.append((family, name, each))
    return found


def _mean(shares: Mapping[tuple[str, str], list[float]]) -> float:
    """Over origins, then ladders, then families."""
    every: dict[str, list[float]] = {}
    for (family, _), each in shares.items():
        every.setdefault(family, []).append(float(np.mean(each)))
    return float(np.mean([np.mean(each) for each in every.values()])) if every else math.nan


@cache
def coverage(discrepancy: Discrepancy, without: tuple[str, ...] = ()) -> tuple[float, float]:
    """Of held-out scales beyond the data, the share inside 90 % intervals and that above their upper 5 %: means over families."""
    inside: dict[tuple[str, str], list[float]] = {}
    above: dict[tuple[str, str], list[float]] = {}
    for family, name, each in _held_out():
        if family not in without:
            level = each.level(discrepancy)
            inside.setdefault((family, name), []).append(float(np.mean(np.abs(level - 0.5) <= 0.45)))
            above.setdefault((family, name), []).append(float(np.mean(level > 0.95)))
    return _mean(inside), _mean(above)


def beyond(discrepancy: Discrepancy, up: bool, only: tuple[str, ...] = ()) -> float:
    """Of scales beyond a cut of tokens per parameter, the share above the upper 5 %: mean over families."""
    above: dict[tuple[str, str], list[float]] = {}
    for family, name, each in sideways():
        if each.up == up and (not only or family in only):
            above.setdefault((family, name), []).append(float(np.mean(each.level(discrepancy) > 0.95)))
    return _mean(above)


def _smallest(kept: Callable[[float], bool]) -> float:
    """The least inflation that keeps a promise; a larger one keeps it as well."""
    low, high = 0, len(_INFLATIONS) - 1
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if kept(_INFLATIONS[middle]) else (middle + 1, high)
    return _INFLATIONS[low]


def _best(likelihoods: Mapping[str, list[Array]], axis: Array) -> tuple[float, float]:
    """Median and sd of ln kappa, or ln lambda, over families, by marginal likelihood.

    Every family weighs as one draw, however many ladders it has: they are averaged.
    """
    best: tuple[float, float, float] | None = None
    for median in _MEDIANS:
        for sd in _SDS:
            log = -0.5 * (np.log(axis / median) / sd) ** 2
            log = log - np.logaddexp.reduce(log)
            score = sum(float(np.mean([np.logaddexp.reduce(log + each) for each in family])) for family in likelihoods.values())
            score -= 0.5 * ((sd - _PULL[0]) / _PULL[1]) ** 2
            if best is None or score > best[0]:
                best = (score, float(median), float(sd))
    assert best is not None
    return best[1:]


def _of_ratio(prior: Discrepancy, up: bool | None = None, below: float = 1.0) -> dict[str, list[Array]]:
    """Log likelihood of each lambda per family and ladder; kappa is what the ladder's own rolling origins leave of its prior.

    Args:
        up: cuts upwards or downwards alone. below: what distances below the data are multiplied by, on top of the shipped factor.
    """
    found: dict[tuple[str, str], Array] = {}
    for family, name, each in sideways():
        if up in (None, each.up):
            kappa = posterior(prior.log_density(), each.evidence).sum(axis=1)
            held = each.held if each.up else [replace(one, outside=below * one.outside) for one in each.held]
            log = np.logaddexp.reduce(np.log(kappa + 1e-300)[:, None] + evidence(held), axis=0)
            found[family, name] = found.get((family, name), np.zeros(len(LAMBDAS))) + log
    result: dict[str, list[Array]] = {}
    for (family, _), log in found.items():
        result.setdefault(family, []).append(log)
    return result


def alike(without: tuple[str, ...]) -> dict[str, float]:
    """The prior on lambda, were a nat too few tokens per parameter as bad as one too many."""
    every = _of_ratio(learned(without), below=0.5)
    ratio, ratio_sd = _best({name: each for name, each in every.items() if name not in without}, LAMBDAS)
    return {"ratio": ratio, "ratio_sd": ratio_sd}


@cache
def learned(without: tuple[str, ...] = ()) -> Discrepancy:
    """Medians and sds over families; then the least inflations whose mean coverage is 90 %, and whose mean share above is 5 %."""
    found = Discrepancy()
    for _ in range(2):
        log = found.log_density()[len(KAPPAS) // 2]
        sizes = {
            name: [np.logaddexp.reduce(each + log - np.logaddexp.reduce(log), axis=1) for _, each in family]
            for name, family in evidences().items()
            if name not in without
        }
        median, sd = _best(sizes, KAPPAS)
        found = replace(found, median=median, sd=sd)
        ratios = {name: each for name, each in _of_ratio(found).items() if name not in without}
        ratio, ratio_sd = _best(ratios, LAMBDAS)
        found = replace(found, ratio=ratio, ratio_sd=ratio_sd)
    inflation = _smallest(lambda tried: coverage(replace(found, inflation=tried), without)[0] >= 0.9)
    above = _smallest(lambda tried: coverage(replace(found, inflation=tried), without)[1] <= 0.05)
    return replace(found, inflation=inflation, above=above)


def prior() -> list[str]:
    """Constants from all families, and what each family says alone and is scored with."""
    whole = learned()
    lines = [
        "| family | ladders | kappa per nat, median and 90 % | priors learned from the others |",
        "|---|---|---|---|",
    ]
    log = whole.log_density()[len(KAPPAS) // 2]
    for name, members in evidences().items():
        told = np.mean([np.logaddexp.reduce(each + log, axis=1) for _, each in members], axis=0)
        lines.append(f"| {name} | {len(members)} | {_range(KAPPAS, told)} | {words(learned((name,)))} |")
    lines += [
        f"| all, as shipped | | | {words(whole)} |",
        "",
        "Priors: kappa's median and sd of ln; inflation of intervals, of the one-sided test; lambda's median and sd of ln.",
        "",
        "| cut by tokens per parameter | lambda per nat, median and 90 % | above the cut | below it, per half nat | over the "
        "5 %: above, below the cut | the same without lambda |",
        "|---|---|---|---|---|---|",
    ]
    every = [_of_ratio(whole, each) for each in (None, True, False)]
    for name in every[0]:
        told = " | ".join(_range(LAMBDAS, np.mean(each[name], axis=0)) for each in every)
        lines.append(f"| {name} | {told} | {_alarms(learned((name,)), (name,))} |")
    lines.append(f"| all, as shipped | | | | {_alarms(whole, ())} |")
    shipped = Discrepancy()
    names = ("median", "sd", "inflation", "above", "ratio", "ratio_sd")
    apart = any(abs(math.log(getattr(shipped, name) / getattr(whole, name))) > 0.15 for name in names)
    return [*lines, f"\nThe package ships {words(shipped)}: {'RERUN AND REPLACE' if apart else 'the same'}."]


def _alarms(found: Discrepancy, only: tuple[str, ...]) -> str:
    """Shares above the one-sided test's threshold, with the ratio's discrepancy and without."""
    cells: list[str] = []
    for each in (replace(found, inflation=found.above), replace(found, inflation=found.above, ratio=1e-9, ratio_sd=0.5)):
        cells.append(", ".join(f"{beyond(each, up, only):.2f}" for up in (True, False)))
    return " | ".join(cells)


def _range(axis: Array, log: Array) -> str:
    chance = posterior(np.zeros(len(axis)), log)
    low, middle, high = (float(axis[min(np.searchsorted(np.cumsum(chance), each), len(axis) - 1)]) for each in (0.05, 0.5, 0.95))
    return f"{middle:.4f} ({low:.4f} to {high:.4f})"


def words(found: Discrepancy) -> str:
    """Kappa's median and sd; the inflation of intervals and of the test; lambda's median and sd."""
    sizes = f"{found.median:.4f}, {found.sd:.2f}; {found.inflation:.1f}, {found.above:.1f}"
    return f"{sizes}; {found.ratio:.4f}, {found.ratio_sd:.2f}"
