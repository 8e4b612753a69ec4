"""The tables: each function measures and returns lines of markdown."""

from __future__ import annotations

import csv
import math
import time
from collections.abc import Callable

import numpy as np

from scalelaw.errors import ScalelawError
from scalelaw.frontier import frontier
from scalelaw.optimum import optimum
from scalelaw.response import respond
from scalelaw.trials import Trials

from .estimators import ESTIMATORS
from .regret import Regret
from .steplaw import FOLDER, HYPER, OVER, Array, Split, grid, splits

__all__ = ["exponents", "regret", "speed", "widths"]

SHARES = (0.25, 0.12)
# Percent: what the project aims at, on all runs and on random 12 % subsets.
TARGETS = {
    ("1", "all", "scalelaw"): "mean 0.09, required 0.105",
    ("2", "all", "scalelaw"): "mean 0.10, required 0.112",
    ("1", "12 %", "scalelaw"): "mean 0.16, required half of argmin's",
    ("2", "12 %", "scalelaw"): "median 0.16, required half of argmin's",
    ("1", "12 %", "argmin"): "0.37 measured before",
    ("2", "12 %", "argmin"): "median 1.2 measured before",
    ("1", "all", "published law"): "0.095 measured before",
    ("2", "all", "published law"): "0.102 measured before",
}


def regret(draws: int) -> list[str]:
    """Mean regret over the judged cells, percent, on all training runs and on random subsets, the same for every estimator.

    A draw on which an estimator gives no rule counts as infinite in the median and the 90th percentile; the mean is over the
    others. Split 2 takes 8/5 as many draws.
    """
    trials = grid()
    lines = ["| split | runs | estimator | mean | median | p90 | worst | failed | aim |", "|---|---|---|---|---|---|---|---|---|"]
    notes: list[str] = []
    for split, number in zip(splits(trials), (draws, round(1.6 * draws)), strict=True):
        judge = Regret(split.judge)
        for name in ESTIMATORS:
            lines.append(_row(split, "all", name, _judged(name, [split.train], judge, notes)))
        for share in SHARES:
            subsets = [_subset(split, share, draw) for draw in range(number)]
            for name in ESTIMATORS:
                if name != "published law":
                    lines.append(_row(split, f"{100 * share:.0f} %", name, _judged(name, subsets, judge, notes)))
    stretched = [
        Regret(split.judge, batch_stretch=2.0).mean(ESTIMATORS["published law"](trials).predict) for split in splits(trials)
    ]
    return [
        *lines,
        "",
        f"Published law with the batch axis stretched twofold before triangulating: {stretched[0]:.3f} %, {stretched[1]:.3f} %.",
        *(f"Failed, first of its kind: {note}" for note in dict.fromkeys(notes)),
    ]


def _subset(split: Split, share: float, draw: int) -> Trials:
    random = np.random.default_rng([int(split.name), round(1000 * share), draw])
    chosen = random.choice(len(split.train), size=round(share * len(split.train)), replace=False)
    return split.train.where(np.isin(np.arange(len(split.train)), chosen))


def _judged(name: str, pools: list[Trials], judge: Regret, notes: list[str]) -> Array:
    found: list[float] = []
    for pool in pools:
        try:
            value = judge.mean(ESTIMATORS[name](pool).predict)
        except (ScalelawError, np.linalg.LinAlgError) as error:
            notes.append(f"{name}: {error}")
            value = math.inf
        found.append(value if math.isfinite(value) else math.inf)
    return np.array(found)


def _row(split: Split, runs: str, name: str, values: Array) -> str:
    answered = values[np.isfinite(values)]
    mean = f"{answered.mean():.3f}" if len(answered) else "none"
    ranked = [f"{x:.3f}" for x in (*np.quantile(values, (0.5, 0.9), method="inverted_cdf"), values.max())]
    if len(values) == 1:
        ranked = ["", "", ""]
    failed = f"{len(values) - len(answered)} of {len(values)}"
    aim = TARGETS.get((split.name, runs, name), "")
    return f"| {split.name} | {runs} | {name} | {mean} | {' | '.join(ranked)} | {failed} | {aim} |"


def exponents(_: int) -> list[str]:
    """Exponents of best = c N^a D^b on all 17 cells, ours with its 90 % interval."""
    trials = grid()
    rules = {name: estimator(trials).exponents for name, estimator in ESTIMATORS.items()}
    pairs = [(hyper, scale) for hyper in HYPER for scale in OVER]
    lines = ["| estimator | " + " | ".join(f"{h.replace('_', ' ')} in {s}" for h, s in pairs) + " |", "|" + "---|" * 5]
    for name, found in rules.items():
        lines.append(f"| {name} | " + " | ".join(_exponent(*found[pair]) for pair in pairs) + " |")
    spread = [[found[pair][0] for name, found in rules.items() if name != "published law"] for pair in pairs]
    return [
        *lines,
        "| least to most, published law aside | " + " | ".join(f"{min(x):.3f} to {max(x):.3f}" for x in spread) + " |",
    ]


def _exponent(value: float, low: float, high: float) -> str:
    return f"{value:.3f}" if math.isnan(low) else f"{value:.3f} ({low:.3f} to {high:.3f})"


TOP = 8192.0
BEST = 6.5e-5  # vertex of the parabola in ln rate through the three lowest runs of the widest column; its grid says 6e-5


def widths(_: int) -> list[str]:
    """The digitised width grid: the law of the best rate from small widths, beside what the larger ones measured."""
    with (FOLDER / "metz_blog_lr_width_digitised.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    columns = {"width": "hidden_size", "learning_rate": "lr", "loss": "loss_digitised"}
    trials = Trials.from_columns({name: [float(row[key]) for row in rows] for name, key in columns.items()}, "digitised grid")
    lines = ["| from widths | what | forecast | 90 % | measured | holds |", "|---|---|---|---|---|---|"]
    for most in (512.0, 2048.0):
        found = optimum(trials.where(trials.numbers("width") <= most), over="width", hyper="learning_rate")["learning_rate"]
        low, high = found.to_dict()["interval"]["p"]
        head = f"| up to {most:.0f} |"
        lines.append(f"{head} exponent of the best rate | {-found.coefficients['p']:.3f} | {-high:.3f} to {-low:.3f} | | |")
        for label, value in (("law's rate at 8192", found.at({"width": TOP})), ("8192's own rate", found.run_at({"width": TOP}))):
            factor = max(value.value / BEST, BEST / value.value)
            holds = f"interval {_yes(value.low <= BEST <= value.high)}; factor {factor:.2f}, within 1.7 {_yes(factor <= 1.7)}"
            lines.append(f"{head} {label} | {value.value:.3g} | {value.low:.3g} to {value.high:.3g} | {BEST:.2g} | {holds} |")
        ratio = found.safe_ratio(0.02)
        column = trials.where(trials.numbers("width") == most)
        kept = {"law's": found.at({"width": most}).value, "grid's best": _best_rate(column)}
        for label, rate in kept.items():
            seen = _observed_ratio(trials, rate, most, 0.02)
            lines.append(
                f"{head} safe ratio for 2 %, the {label} rate at {most:.0f} kept, {rate:.3g} | {ratio.value:.2f} "
                f"| {ratio.low:.2f} to {ratio.high:.2f} | {'>=' if seen >= TOP / most else ''}{seen:.2f} "
                f"| {_yes(seen >= min(ratio.value, TOP / most))} |"
            )
    return lines


def _best_rate(column: Trials) -> float:
    return float(column.numbers("learning_rate")[np.argmin(column.numbers("loss"))])


def _observed_ratio(trials: Trials, rate: float, start: float, tolerance: float) -> float:
    """How much wider than `start` before `rate` costs `tolerance` on the grid.

    Loss is piecewise linear in ln rate, the excess over the column's minimum in ln width.
    """
    passed = (0.0, math.log(start))
    for (width,), rows in trials.where(trials.numbers("width") >= start).groups(("width",)):
        order = np.argsort(rows.numbers("learning_rate"))
        loss = rows.numbers("loss")[order]
        excess = np.interp(math.log(rate), np.log(rows.numbers("learning_rate")[order]), loss) / loss.min() - 1
        before, place = passed
        if excess > tolerance:
            share = (tolerance - before) / (excess - before)
            return math.exp(place + share * (math.log(width) - place)) / start
        passed = (float(excess), math.log(width))
    return TOP / start


def _yes(holds: bool) -> str:
    return "yes" if holds else "NO"


def speed(_: int) -> list[str]:
    """2,000 runs of two hyperparameters at 20 scales, simulated: process time on one core, median of 20."""
    trials = _simulated()
    calls: dict[str, Callable[[], object]] = {
        "`respond`": lambda: respond(trials, OVER, HYPER),
        "`frontier`": lambda: frontier(trials, over=OVER, hyper=HYPER),
        "`optimum`": lambda: optimum(trials, over=OVER, hyper=HYPER),
    }
    lines = ["| call | median | least | aim |", "|---|---|---|---|"]
    for name, call in calls.items():
        call()
        spent = [_clock(call) for _ in range(20)]
        lines.append(f"| {name} | {1e3 * np.median(spent):.1f} ms | {1e3 * min(spent):.1f} ms | 50 ms |")
    return lines


def _clock(call: Callable[[], object]) -> float:
    began = time.process_time()
    call()
    return time.process_time() - began


def _simulated() -> Trials:
    """Skewed bowls of curvature 0.02 about rate ~ N^-0.7 D^0.3 and batch ~ D^0.5, optima scattered, 0.15 % noise."""
    random = np.random.default_rng(0)
    columns: dict[str, list[float]] = {name: [] for name in (*OVER, *HYPER, "loss")}
    for size in np.geomspace(5e7, 1e9, 5):
        for tokens in np.geomspace(2e9, 1e11, 4):
            best = [-0.7 * math.log(size) + 0.3 * math.log(tokens) + 0.6, 0.5 * math.log(tokens) - 6.5] + 0.1 * random.normal(
                size=2
            )
            u, v = (each.ravel() for each in np.meshgrid(np.arange(10) * 0.5 * math.log(2), np.arange(10) * 0.5, indexing="ij"))
            rate, batch = u + round(float(best[0])) - 1.6, v + round(float(best[1])) - 2.25
            d, e = rate - best[0], batch - best[1]
            bowl = 0.01 * d**2 + 0.008 * e**2 - 0.005 * d * e + 0.003 * d**3
            least = math.log(1.7 + 400 / size**0.34 + 800 / tokens**0.33)
            for name, values in zip(HYPER, (rate, batch), strict=True):
                columns[name].extend(np.exp(values).tolist())
            columns["parameters"].extend([float(size)] * 100)
            columns["tokens"].extend([float(tokens)] * 100)
            columns["loss"].extend(np.exp(least + bowl + 0.0015 * random.normal(size=100)).tolist())
    return Trials.from_columns(columns, "simulated")
