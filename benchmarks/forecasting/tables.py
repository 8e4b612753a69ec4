"""The tables: each function measures and returns lines of markdown."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from scalelaw.discrepancy import Discrepancy
from scalelaw.frontier import frontier
from scalelaw.stack import Ladder, Mixture
from scalelaw.trials import Trials

from .families import TWO, chinchilla, language, rest_of_language, supercollapse
from .prior import learned
from .worlds import CORRECT, NOISE, TARGET, TRUTHS, study

__all__ = ["collapse", "curves", "points", "synthetic"]

Array: TypeAlias = NDArray[np.float64]
# From a training table to the predictive distribution of ln loss at points.
Forecaster: TypeAlias = Callable[[Trials, Mapping[str, Array]], Mixture]


def _bare(mixture: Mixture) -> Mixture:
    """The same without the discrepancy: parameters, noise and stacked forms."""
    return replace(mixture, discrepancy=np.zeros((1, mixture.mean.shape[1])), chances=np.ones(1))


def _ends(mixture: Mixture, level: float = 0.9) -> tuple[Array, Array, Array]:
    low, middle, high = (mixture.quantile(each) for each in (0.5 - level / 2, 0.5, 0.5 + level / 2))
    return low, middle, high


def _interval_score(low: Array, high: Array, y: Array, level: float = 0.9) -> Array:
    """Gneiting and Raftery's, in ln loss: width and 2 / (1 - level) times what is missed; lower is better."""
    return (high - low) + 2 / (1 - level) * (np.maximum(low - y, 0) + np.maximum(y - high, 0))


def _share(hits: Array) -> str:
    rate = float(np.mean(hits))
    return f"{rate:.3f} ({math.sqrt(max(rate * (1 - rate), 0.25 / len(hits)) / len(hits)):.3f})"


def _forecast(
    train: Trials,
    at: Mapping[str, Array],
    *,
    over: tuple[str, ...] = TWO,
    laws: tuple[str, ...] | None = None,
    prior: Discrepancy | None = None,
    noise: float | None = None,
) -> Mixture:
    edge = frontier(train, over=over, fixed=True)
    stack = Ladder(edge, list(laws) if laws else None, prior).stack()
    return stack.predict(at, edge.run_sd**2 if noise is None else noise**2)


def synthetic(replicates: int) -> list[str]:
    """24 runs, target ten times the largest: does the interval hold, and is it no wider than it must be?"""
    lines = [
        "| truth | parameters, noise, forms: coverage | half-width | with discrepancy: coverage | half-width | right form alone: "
        "half-width | ratio | aim |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for name, truth in TRUTHS.items():
        target = math.log(float(truth(np.array(TARGET["parameters"]), np.array(TARGET["tokens"]))))
        at = {column: np.array([value]) for column, value in TARGET.items()}
        rows: list[tuple[float, ...]] = []
        for seed in range(replicates):
            random = np.random.default_rng(seed)
            trials = study(truth, random)
            y = target + NOISE * random.standard_normal()
            whole = _forecast(trials, at, noise=NOISE)
            alone = math.nan
            if name in CORRECT:
                low, _, high = _ends(_bare(_forecast(trials, at, laws=(CORRECT[name],), noise=NOISE)))
                alone = float(high[0] - low[0]) / 2
            row: list[float] = []
            for mixture in (_bare(whole), whole):
                low, _, high = _ends(mixture)
                row += [float(low[0] <= y <= high[0]), float(high[0] - low[0]) / 2]
            rows.append((*row, alone))
        table = np.array(rows)
        bare, headline, right = (100 * table[:, k].mean() for k in (1, 3, 4))
        needed = name in CORRECT
        told = f"{right:.2f} % | {headline / right:.2f} | .85 to .97; at least .85; ratio 2.2" if needed else "- | - | printed"
        lines.append(f"| {name} | {_share(table[:, 0])} | {bare:.2f} % | {_share(table[:, 2])} | {headline:.2f} % | {told} |")
    return lines


def points() -> list[str]:
    """Chinchilla's points: three splits by compute, the shipped choices learned without this family, and every variant."""
    family = chinchilla()[0]
    prior = learned(("Chinchilla",))
    n, d, loss = (family.trials.numbers(name) for name in ("parameters", "tokens", "loss"))
    c, y = 6 * n * d, np.log(loss)
    variants: dict[str, Callable[[Trials, Mapping[str, Array]], Mixture]] = {
        "**as shipped**": partial(_forecast, prior=prior),
        "parameters, noise and forms": lambda train, at: _bare(_forecast(train, at, prior=prior)),
        "Chinchilla's form, parameters and noise": lambda train, at: _bare(_forecast(train, at, laws=("chinchilla",))),
        "Chinchilla's form": partial(_forecast, laws=("chinchilla",), prior=prior),
        "one exponent": partial(_forecast, laws=("chinchilla_shared",), prior=prior),
        "two forms": partial(_forecast, laws=("chinchilla", "chinchilla_shared"), prior=prior),
        "and Skaling": partial(_forecast, laws=("chinchilla", "chinchilla_shared", "log_linear", "skaling"), prior=prior),
        "and Kaplan": partial(_forecast, laws=("chinchilla", "chinchilla_shared", "log_linear", "kaplan"), prior=prior),
        "no inflation": partial(_forecast, prior=replace(prior, inflation=1.0)),
        "prior 0.003, 1.9, as measured before": partial(_forecast, prior=Discrepancy(0.003, 1.9, 1.0)),
        "prior 0.005, 1.2": partial(_forecast, prior=Discrepancy(0.005, 1.2, 1.0)),
    }
    lines = [
        f"Prior learned from the other families: {prior.median:.4f}, {prior.sd:.2f}, inflation {prior.inflation:.1f}.\n",
        "| variant | C < 1e20, C >= 1e21 | C < 3e20, C >= 1e21 | C < 3e19, C >= 3e20 | mean score |",
        "|---|---|---|---|---|",
    ]
    for name, forecaster in variants.items():
        cells: list[str] = []
        scores: list[float] = []
        for cut, target in ((1e20, 1e21), (3e20, 1e21), (3e19, 3e20)):
            train, test = c < cut, c >= target
            low, _, high = _ends(forecaster(family.trials.where(train), {"parameters": n[test], "tokens": d[test]}))
            inside = (low <= y[test]) & (y[test] <= high)
            scores.append(100 * float(_interval_score(low, high, y[test]).mean()))
            cells.append(f"{inside.mean():.2f}, {100 * float((high - low).mean()) / 2:.2f} %, {scores[-1]:.2f} %")
        lines.append(f"| {name} | {' | '.join(cells)} | {np.mean(scores):.2f} % |")
    return [
        *lines,
        "",
        "Coverage at nominal 90 %, mean half-width, mean interval score. Aim: .80 each; 3, 2.5 and 6 %.",
    ]


def curves(replicates: int) -> list[str]:
    """The 20 curves of Alabdulmohsin et al.: rolling-origin stack of M1 to M4 against each form alone."""
    forms = ("power", "saturating", "m3", "m4")
    rows: list[tuple[float, ...]] = []
    inside: list[float] = []
    for family, (x, loss, printed) in zip(language(), rest_of_language(), strict=True):
        edge = frontier(family.trials, over=family.over, fixed=True)
        whole = Ladder(edge, list(forms), learned((family.family,)))
        mixture = whole.stack().predict({"dataset_size": x}, edge.run_sd**2)
        low, middle, high = _ends(mixture)
        y = np.log(loss)
        inside.append(float(np.mean((low <= y) & (y <= high))))
        errors = [math.sqrt(float(np.mean((middle - y) ** 2)))]
        least: list[float] = []
        for k, _ in enumerate(forms):
            member = whole.member(k, len(whole))
            assert member is not None
            errors.append(math.sqrt(float(np.mean((member.log({"dataset_size": x})[0] - y) ** 2))))
            least.append(float(np.mean((member.log(whole.points(slice(0, len(whole))))[0] - whole.y) ** 2)))
        rows.append((*errors, errors[1 + int(np.argmin(least))], printed, float(len(x)), inside[-1]))
    table = np.array(rows)
    names = ("**stack**", "M1", "M2", "M3", "M4", "least training error", "printed M4")
    lines = ["| method | median RMSLE | geometric mean | below our M4 | below printed M4 |", "|---|---|---|---|---|"]
    for k, name in enumerate(names):
        e = table[:, k]
        wins = (np.sum(e < table[:, 4]), np.sum(e < table[:, 6]))
        lines.append(f"| {name} | {np.median(e):.4f} | {np.exp(np.log(e).mean()):.4f} | {wins[0]} | {wins[1]} |")
    ratio = np.log(table[:, 0] / table[:, 4])
    random = np.random.default_rng(0)
    drawn = np.exp([ratio[random.integers(0, 20, 20)].mean() for _ in range(max(replicates, 1000))])
    low, high = np.quantile(drawn, [0.05, 0.95])
    pooled = float(np.sum(table[:, 7] * table[:, 8]) / np.sum(table[:, 7]))
    return [
        *lines,
        "",
        f"Stack to our M4: geometric-mean ratio {math.exp(float(ratio.mean())):.2f} "
        f"(paired bootstrap 90 %: {low:.2f} to {high:.2f}), worst {math.exp(float(ratio.max())):.2f}. "
        "Aim: 1.1 at most, median .0077 at most, 10 curves below printed M4.",
        f"Nominal 90 % covers {np.mean(table[:, 8]):.2f} averaged over curves, {pooled:.2f} over points. Aim: .80.",
    ]


def collapse() -> list[str]:
    """Supercollapse: rolling origin over the five logs, and leave the largest out."""
    lines = ["| log | rolling origin, nominal 90 % | without the discrepancy | largest left out |", "|---|---|---|---|"]
    pooled: list[float] = []
    last: list[float] = []
    for family in supercollapse():
        edge = frontier(family.trials, over=family.over, fixed=True)
        rows = Ladder(edge, None, learned((family.family,)))
        inside: list[float] = []
        naive: list[float] = []
        for count in range(3, len(rows)):
            after = slice(count, len(rows))
            mixture = rows.stack(count).predict(rows.points(after), rows.se[after] ** 2)
            for each, kept in ((mixture, inside), (_bare(mixture), naive)):
                low, _, high = _ends(each)
                kept += [float(held) for held in (low <= rows.y[after]) & (rows.y[after] <= high)]
        pooled += inside
        last.append(inside[-1])
        told = f"{sum(inside):.0f} of {len(inside)} | {sum(naive):.0f} of {len(naive)}"
        lines.append(f"| {family.name} | {told} | {'inside' if inside[-1] else 'MISSED'} |")
    return [
        *lines,
        f"| pooled | {np.mean(pooled):.2f} (aim .80) | | {sum(last):.0f} of {len(last)} (aim 4) |",
    ]
