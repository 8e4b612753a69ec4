"""The prior on the discrepancy: learned from public families, each scored with the prior learned from the others."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from functools import cache
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from scalelaw.discrepancy import KAPPAS, Discrepancy, evidence, posterior
from scalelaw.errors import DataError
from scalelaw.stack import Stack

from .families import families, ladder

__all__ = ["coverage", "learned", "prior"]

Array: TypeAlias = NDArray[np.float64]

_MEDIANS = np.geomspace(3e-4, 0.06, 40)
_SDS = np.linspace(0.3, 2.5, 23)
_INFLATIONS = np.arange(1.0, 3.01, 0.1)


@cache
def evidences() -> Mapping[str, list[tuple[str, Array]]]:
    """Per family, the name of each ladder and the log likelihood of every kappa from its rolling origins."""
    found: dict[str, list[tuple[str, Array]]] = {}
    for family in families():
        try:
            held = ladder(family).stack().held
        except DataError:
            continue
        if held:
            found.setdefault(family.family, []).append((family.name, evidence(held, KAPPAS)))
    return found


@cache
def _held_out() -> list[tuple[str, Stack, Mapping[str, Array], Array, Array]]:
    """Per family and origin: the stack of the rows before, and the points, ln losses and their variance of the rows after."""
    found: list[tuple[str, Stack, Mapping[str, Array], Array, Array]] = []
    for family in families():
        try:
            rows = ladder(family)
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
            found.append((family.family + "\n" + family.name, stack, rows.points(after), rows.y[after], rows.se[after] ** 2))
    return found


def coverage(discrepancy: Discrepancy, without: tuple[str, ...] = ()) -> float:
    """Share of held-out scales beyond the data inside 90 % intervals: mean over origins, then ladders, then families."""
    shares: dict[str, list[float]] = {}
    for name, stack, points, y, variance in _held_out():
        if name.split("\n")[0] in without:
            continue
        chances = posterior(discrepancy.log_density(), evidence(stack.held, KAPPAS))
        mixture = replace(stack, kappas=discrepancy.inflation * KAPPAS, chances=chances).predict(points, variance)
        far = mixture.distance > 0.3
        if far.any():
            inside = np.abs(mixture.cdf(y) - 0.5) <= 0.45
            shares.setdefault(name, []).append(float(np.mean(inside[far])))
    ladders: dict[str, list[float]] = {}
    for name, each in shares.items():
        ladders.setdefault(name.split("\n")[0], []).append(float(np.mean(each)))
    return float(np.mean([np.mean(each) for each in ladders.values()]))


@cache
def learned(without: tuple[str, ...] = ()) -> Discrepancy:
    """Median and sd of ln kappa over families, by marginal likelihood; then the least inflation whose mean coverage is 90 %.

    Every family weighs as one draw of kappa, however many ladders it has: they are averaged. A weak prior keeps the sd near 1.2,
    for a dozen families cannot tell it.
    """
    used = {name: each for name, each in evidences().items() if name not in without}
    best: tuple[float, Discrepancy] | None = None
    for median in _MEDIANS:
        for sd in _SDS:
            log = Discrepancy(float(median), float(sd)).log_density()
            log = log - np.logaddexp.reduce(log)
            score = sum(float(np.mean([np.logaddexp.reduce(log + each) for _, each in family])) for family in used.values())
            score -= 0.5 * ((sd - 1.2) / 0.5) ** 2
            if best is None or score > best[0]:
                best = (score, Discrepancy(float(median), float(sd), 1.0))
    assert best is not None
    for inflation in _INFLATIONS:
        found = replace(best[1], inflation=float(inflation))
        if coverage(found, without) >= 0.9:
            return found
    return found


def prior() -> list[str]:
    """Constants from all families, and what each family says alone and is scored with."""
    whole = learned()
    lines = [
        "| family | ladders | kappa per nat, median and 90 % | prior learned from the others: median, sd of ln, inflation |",
        "|---|---|---|---|",
    ]
    flat = np.zeros(len(KAPPAS))
    for name, members in evidences().items():
        chance = posterior(flat, np.mean([each for _, each in members], axis=0))
        low, middle, high = (float(KAPPAS[np.searchsorted(np.cumsum(chance), each)]) for each in (0.05, 0.5, 0.95))
        alone = f"{middle:.4f} ({low:.4f} to {high:.4f})"
        lines.append(f"| {name} | {len(members)} | {alone} | {_words(learned((name,)))} |")
    lines.append(f"| all, as shipped | | | {_words(whole)} |")
    shipped = Discrepancy()
    apart = abs(math.log(shipped.median / whole.median)) > 0.15 or abs(shipped.sd - whole.sd) > 0.15
    apart |= abs(shipped.inflation - whole.inflation) > 0.15
    lines.append(
        f"\nThe package ships median {shipped.median:g}, sd {shipped.sd:g}: {'RERUN AND REPLACE' if apart else 'the same'}."
    )
    return lines


def _words(found: Discrepancy) -> str:
    return f"{found.median:.4f}, {found.sd:.2f}, {found.inflation:.1f}"
