"""The language ladder: byte-level transformers on Python's own source, parameters x tokens with rate and batch in every cell."""

from __future__ import annotations

import math

from scalelaw import Frontier, Trials, allocate, fit, frontier, load, optimum
from scalelaw.allocate import Approach, Budget
from scalelaw.estimate import Estimate

from .record import ROOT, Part

NAME = "language"
OVER = ("parameters", "tokens")
LEVEL = 0.9
COUNTS = {"parameters": "without embeddings", "total": "with them"}


def parts() -> list[Part]:
    """One folder, with its curves."""
    return [Part(ROOT / NAME, curves=True)]


def tables() -> None:
    """The frontier, the laws fitted to it, the laws of the best rate and batch, the isoFLOP profiles and the three approaches."""
    table = load(ROOT / NAME)
    edge = frontier(table, over=OVER)
    print(f"{len(table)} trials, {len(edge.trials)} cells of parameters x tokens, tuned over {', '.join(edge.hyper)}.\n")
    _cells(edge)
    _laws(edge)
    _best(edge)
    _division(table)
    _held_out(table)


def _cells(edge: Frontier) -> None:
    """The best case of each cell and its settings; a star marks one on the edge of what was tried."""
    rows = edge.trials
    print(
        "| parameters | tokens | lowest loss measured | best case | " + " | ".join(f"best {name}" for name in edge.hyper) + " |"
    )
    print("|---" * (4 + len(edge.hyper)) + "|")
    for place in range(len(rows)):
        n, d, low, best, error = (float(rows[name][place]) for name in (*OVER, "argmin_loss", "loss", "loss_se"))
        settings = [
            f"{float(rows[name][place]):.3g}{'' if rows[f'{name}_edge'][place] == 'INSIDE' else ' *'}" for name in edge.hyper
        ]
        print(f"| {n:,.0f} | {d:,.0f} | {low:.4f} | {best:.4f} ({error:.4f}) | {' | '.join(settings)} |")
    print("\nIn brackets the standard error; a star marks a best setting on the edge of those tried.\n")


def _laws(edge: Frontier) -> None:
    """Laws of loss in parameters and tokens."""
    for name in ("chinchilla", "kaplan"):
        found = fit(name, edge.trials)
        ends = found.interval(LEVEL)
        told = ", ".join(f"{key} {value:.4g}{_between(*ends[key])}" for key, value in found.theta.items())
        print(f"- {name}: {told}; residual {100 * found.residual_sd:.2f} % ({found.status.name})")
    print()


def _best(edge: Frontier) -> None:
    """How the best settings go with both scales, and how many cells told them."""
    laws = optimum(edge, level=LEVEL)
    for hyper in edge.hyper:
        law = laws[hyper]
        told = ", ".join(f"{column}^{_told(law.exponent(column), '.3f')}" for column in OVER)
        print(f"- best {hyper}: {told}")
    print()


def _division(table: Trials) -> None:
    """The isoFLOP profiles, and how ten times the largest run's compute is divided, N without embeddings and with them."""
    compute = 10 * float(table.numbers("compute").max())
    found = {count: allocate(table, compute, level=LEVEL, count=count) for count in ("parameters", "total")}
    print("| N | FLOPs | sizes | best N | 90 % | loss there |\n|---|---|---|---|---|---|")
    for count, division in found.items():
        for each in next(one for one in division.approaches if one.name == "approach_2").budgets:
            print(f"| {COUNTS[count]} | {each.compute:.3g} | {len(each.parameters)} | {_lowest(each)} |")
    print(f"\nDivision of {compute:.2g} FLOPs, ten times the largest run:\n")
    print("| N | approach | N there | tokens | exponent of N in compute | loss |\n|---|---|---|---|---|---|")
    for count, division in found.items():
        for each in division.approaches:
            print(f"| {COUNTS[count]} | {each.name} | {_row(each)} |")
    print()
    for count, division in found.items():
        for each in division.approaches:
            print(f"- {COUNTS[count]}, {each.name}: {each.reason}")
        print(f"- {COUNTS[count]}: {division.disagreement.message} {' '.join(division.notes)}")
    print()


def _lowest(each: Budget) -> str:
    """Where a profile is lowest, with its interval, and how low; or why it does not tell."""
    if not each.used:
        return f"{each.reason} | | "
    reach = 1.645 * each.best_se
    ends = " to ".join(f"{math.exp(each.best + sign * reach):,.0f}" for sign in (-1, 1))
    return f"{math.exp(each.best):,.0f} | {ends} | {each.lowest:.4f}"


def _held_out(table: Trials) -> None:
    """The largest budget foretold from the smaller ones, beside what its own profile says."""
    top = float(table.numbers("compute").max())
    below = table.where(f"compute < {top / 2!r}")
    print("The largest budget, foretold from the smaller ones:\n")
    print("| N | approach | best N foretold | loss foretold | best N measured | 90 % | loss measured |")
    print("|---|---|---|---|---|---|---|")
    for count, name in COUNTS.items():
        whole = next(one for one in allocate(table, top, level=LEVEL, count=count).approaches if one.name == "approach_2")
        own = whole.budgets[-1]
        for each in allocate(below, own.compute, level=LEVEL, count=count).approaches:
            if each.parameters is not None:
                loss = "" if each.loss is None else _told(each.loss, ".4g")
                print(f"| {name} | {each.name} | {_told(each.parameters, '.3g')} | {loss} | {_lowest(own)} |")
    print()


def _row(each: Approach) -> str:
    if each.parameters is None:
        return "does not apply | | |"
    parts = (each.parameters, each.tokens, each.exponent, each.loss)
    return " | ".join("" if part is None else _told(part, ".3g") for part in parts)


def _told(each: Estimate, form: str) -> str:
    return f"{each.value:{form}} ({each.low:{form}} to {each.high:{form}})"


def _between(low: float, high: float) -> str:
    return f" ({low:.3g} to {high:.3g})" if math.isfinite(low + high) else ""
