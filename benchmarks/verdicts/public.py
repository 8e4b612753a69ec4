"""Verdicts on public grids: runs at and away from a cell's best setting, judged by the law of smaller ones."""

from __future__ import annotations

import csv
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import TypeAlias

import numpy as np

from scalelaw.discrepancy import Discrepancy
from scalelaw.forecast import Forecast, forecast
from scalelaw.frontier import Frontier, frontier
from scalelaw.response import Bowl, respond
from scalelaw.stack import Ladder, Stack
from scalelaw.trials import Trials
from scalelaw.verdict import Verdict, judge, tuned

from ..forecasting import prior
from ..tuning.steplaw import FOLDER, HYPER, OVER, grid
from . import exponents
from .counts import rulings, share

__all__ = ["steplaw", "widths"]

# What a run is judged against: the stack of laws that a frontier carries.
Stacker: TypeAlias = Callable[[Frontier], Stack]

# Kinds of runs: nats of the rate from the cell's fitted best, and how near they must lie. The batch lies within half a nat.
KINDS = {
    "tuned": (0.0, 0.36),
    "4x above": (math.log(4), 0.2),
    "4x below": (-math.log(4), 0.2),
    "2x above": (math.log(2), 0.2),
    "2x below": (-math.log(2), 0.2),
}
BATCH = 0.5
_SHORT = ("tuned", "4x above")  # of every variant
HEAD = [
    "| judged on | runs | OFF_LAW (95 %) | UNDECIDED | ON_LAW | mean excess | smallest visible, rate |",
    "|---|---|---|---|---|---|---|",
]
_NEEDED = 6


@dataclass(frozen=True, eq=False)
class Case:
    """A cell to be judged from the frontier of smaller ones."""

    edge: Frontier
    rows: Trials
    bowl: Bowl


def steplaw(_: int) -> list[str]:
    """The Step Law grid, each cell judged from smaller cells with priors learned from other families, and every variant.

    Each cell's best is that of the surface fitted to all of them.
    """
    known = prior.learned(("Step Law",))
    sets = _sets()
    lines = [f"Priors learned from the other families: {prior.words(known)}.", "", *HEAD]
    for name, cases in sets.items():
        lines += _table(name, cases, lambda edge: Ladder(edge, None, known).stack())
    return [*lines, "", *_variants(sets, known)]


def _sets() -> dict[str, list[Case]]:
    trials = grid()
    whole = respond(trials, OVER, HYPER)
    assert whole is not None
    size, tokens = trials.numbers("parameters"), trials.numbers("tokens")
    bowls = {(b.point["parameters"], b.point["tokens"]): b for b in whole.bowls}
    edges: dict[bytes, Frontier] = {}

    def case(train: np.ndarray, n: float, d: float) -> Case:
        key = train.tobytes()
        edge = edges[key] = edges.get(key) or frontier(trials.where(train), over=OVER)
        return Case(edge, trials.where((size == n) & (tokens == d)), bowls[n, d])

    following = [case(size < n, n, d) for n, d in bowls if _cells(trials.where(size < n)) >= _NEEDED]
    split = [case((size <= 4.3e8) & (tokens < 6e10), n, d) for n, d in bowls if n > 4.3e8]
    further = [case(tokens < d, n, d) for n, d in bowls if _cells(trials.where(tokens < d)) >= _NEEDED]
    beyond = [each for each in further if _ratio(each.bowl.point) > max(map(_ratio, each.edge.trials.rows()))]
    return {
        "next size in N, from all smaller": following,
        "N > 4.3e8, from N <= 4.3e8 and D < 6e10": split,
        "larger D than any, beyond the tokens per parameter seen": beyond,
    }


def _ratio(row: Mapping[str, float]) -> float:
    return row["tokens"] / row["parameters"]


def _variants(sets: Mapping[str, Sequence[Case]], known: Discrepancy) -> list[str]:
    """Every variant that was considered, in short."""
    flat = {"ratio": 1e-9, "ratio_sd": 0.5}
    alike = replace(known, **prior.alike(("Step Law",)))
    plain = {
        "**as shipped**": known,
        "the test as wide as the interval": replace(known, above=known.inflation),
        "no tokens per parameter": replace(known, **flat),
        "neither: the verdict before": replace(known, above=known.inflation, **flat),
        "tokens per parameter, too few as bad as too many": alike,
    }
    stackers: dict[str, Stacker] = {name: _with(each) for name, each in plain.items()}
    told = exponents.learned(("Step Law",))
    stackers["priors on the exponents, learned likewise"] = lambda edge: exponents.Informed(edge, told, known).stack()
    stackers["and the test as wide as the interval"] = lambda edge: exponents.Informed(
        edge, told, replace(known, above=known.inflation)
    ).stack()
    stackers["Chinchilla's form alone"] = _with(known, ["chinchilla"])
    stackers["Skaling as well"] = _with(known, ["chinchilla", "chinchilla_shared", "log_linear", "skaling"])
    stackers["Chinchilla's form, exponents' priors, kappa 0.005"] = lambda edge: exponents.Informed(
        edge, {"chinchilla": told["chinchilla"]}, Discrepancy(0.005, 0.05, 1.0, 1.0, **flat), ["chinchilla"]
    ).stack()
    heads = [f"{name}: {kind}" for name in ("next N", "split", "beyond D/N") for kind in _SHORT]
    lines = [f"| variant | {' | '.join(heads)} | threshold, next N |", "|---" * (len(heads) + 2) + "|"]
    for name, stacker in stackers.items():
        cells: list[str] = []
        high: list[float] = []
        for place, cases in enumerate(sets.values()):
            off: dict[str, list[bool]] = {kind: [] for kind in _SHORT}
            for expected, case in zip(_expected(cases, stacker), cases, strict=True):
                middle, top = (float(tuned(expected).quantile(each)[0]) for each in (0.5, 0.95))
                high += [100 * math.expm1(top - middle)] if not place else []
                for kind, row in _runs(case):
                    if kind in off:
                        off[kind].append(math.log(row["loss"]) > top)
            cells += [share(sum(each), len(each)) for each in off.values()]
        lines.append(f"| {name} | {' | '.join(cells)} | {np.mean(high):.2f} % |")
    return lines


def _with(known: Discrepancy, laws: list[str] | None = None) -> Stacker:
    return lambda edge: Ladder(edge, laws, known).stack()


def widths(_: int) -> list[str]:
    """The digitised width grid: every width from 256 judged from all smaller, and 8192 from widths up to 512."""
    with (FOLDER / "metz_blog_lr_width_digitised.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    columns = {"width": "hidden_size", "learning_rate": "lr", "loss": "loss_digitised"}
    trials = Trials.from_columns({name: [float(row[key]) for row in rows] for name, key in columns.items()}, "digitised grid")
    whole = respond(trials, ("width",), ("learning_rate",))
    assert whole is not None
    width = trials.numbers("width")
    bowls = {bowl.point["width"]: bowl for bowl in whole.bowls}
    following = [_wide(trials, width < n, n, bowls) for n in bowls if n >= 256]
    far = [_wide(trials, width <= 512, n, bowls) for n in bowls if n > 512]
    return [*HEAD, *_table("next width, from all smaller", following), *_table("1024 to 8192, from widths up to 512", far)]


def _wide(trials: Trials, train: np.ndarray, width: float, bowls: Mapping[float, Bowl]) -> Case:
    edge = frontier(trials.where(train), over=("width",))
    return Case(edge, trials.where(trials.numbers("width") == width), bowls[width])


def _cells(trials: Trials) -> int:
    names = [name for name in OVER if name in trials]
    return len({tuple(row) for row in zip(*(trials.numbers(name) for name in names), strict=True)}) if len(trials) else 0


# Per kind of run the verdicts, with the excess of each over its cell's best.
_Judged: TypeAlias = dict[str, list[tuple[Verdict, float]]]


@cache
def _forecast(edge: Frontier, at: tuple[float, ...]) -> Forecast:
    return forecast(edge, dict(zip(edge.over, at, strict=True)), level=0.9)


def _expected(cases: Sequence[Case], stacker: Stacker | None) -> list[Forecast]:
    """The forecast of each cell, with another stack of laws where one is asked for."""
    found: list[Forecast] = []
    stacks: dict[Frontier, Stack] = {}
    for case in cases:
        expected = _forecast(case.edge, tuple(case.bowl.point.values()))
        if stacker is not None:
            if case.edge not in stacks:
                stacks[case.edge] = stacker(case.edge)
            expected = replace(expected, stack=stacks[case.edge])
        found.append(expected)
    return found


def _judged(cases: Sequence[Case], stacker: Stacker | None) -> tuple[_Judged, list[float]]:
    """The verdicts, and the law's error at each cell's best."""
    found: _Judged = {kind: [] for kind in KINDS}
    errors: list[float] = []
    for expected, case in zip(_expected(cases, stacker), cases, strict=True):
        errors.append(case.bowl.log_loss - float(tuned(expected).quantile(0.5)[0]))
        for kind, row in _runs(case):
            away = float(math.log(row["loss"]) - case.bowl.log_loss)
            found[kind].append((judge(expected, row, row, 0.95), away))
    return found, errors


def _threshold(judged: _Judged) -> float:
    """Mean over the runs, in per cent above the law."""
    return 100 * float(np.mean([v.high / v.expected - 1 for each in judged.values() for v, _ in each]))


def _table(label: str, cases: Sequence[Case], stacker: Stacker | None = None) -> list[str]:
    found, errors = _judged(cases, stacker)
    lines: list[str] = []
    for kind, judged in found.items():
        if not judged:
            continue
        excess = 100 * float(np.mean([away for _, away in judged]))
        seen = float(np.median([v.detectable["learning_rate"] for v, _ in judged]))
        counts = rulings([verdict.verdict for verdict, _ in judged])
        lines.append(f"| {label} ({len(cases)} cells) | {kind} | {counts} | {excess:.2f} % | {seen:.1f}x |")
    spread = ", ".join(f"{100 * each:+.1f}" for each in errors)
    told = f"errors of the law at the cells' best, %: {spread}; mean threshold {_threshold(found):.2f} % above the law"
    return [*lines, f"| | {told} | | | | | |"]


def _runs(case: Case) -> list[tuple[str, Mapping[str, float]]]:
    """The cell's runs that are of a kind."""
    found: list[tuple[str, Mapping[str, float]]] = []
    best = case.bowl.pooled
    for row in case.rows.rows():
        near = len(best) == 1 or abs(math.log(row["batch_size"]) - best[1]) <= BATCH
        away = math.log(row["learning_rate"]) - best[0]
        plain = {name: float(value) for name, value in row.items() if isinstance(value, float | int)}
        found += [(kind, plain) for kind, (where, within) in KINDS.items() if near and abs(away - where) <= within]
    return found
