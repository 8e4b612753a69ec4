"""`python -m benchmarks.allocation [approaches|rounding|ladder] [--worlds 200]`: tables printed as Markdown."""

from __future__ import annotations

import argparse
import math
import sys
import time
from collections.abc import Iterable

import numpy as np

from scalelaw import allocate
from scalelaw.allocate import Approach
from scalelaw.allocate._compare import misfit

from . import ladder, rounding
from .worlds import TARGET, Case, cases

HEAD = ("world", "grid", "noise", "approach", "answers", "bias of a", "rmse of a", "covers a", "bias of ln N*", "covers N*")


def main() -> None:
    """Print what is asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "which", nargs="?", choices=("approaches", "rounding", "ladder"), default="approaches", help="what is tried"
    )
    parser.add_argument("--worlds", type=int, default=200, help="draws of each world")
    asked = parser.parse_args()
    started = time.perf_counter()
    {"approaches": approaches, "rounding": shapes, "ladder": ladders}[asked.which](asked.worlds)
    print(f"\n{time.perf_counter() - started:.0f} s.")


def shapes(draws: int) -> None:
    """The stated regret of shapes that can be built."""
    print(f"{draws} draws of each world, target {TARGET:g}, nominal 90 % intervals.\n")
    table(rounding.HEAD)
    for cells in rounding.rows(draws):
        table(cells)
        sys.stdout.flush()


def ladders(draws: int) -> None:
    """The proposed ladder against other designs of its cost."""
    print(f"{draws} worlds of each kind, {ladder.SPEND:g} FLOPs to spend, target {ladder.TARGET:g}, noise {ladder.NOISE:.1%}.\n")
    table(ladder.HEAD)
    for cells in ladder.rows(draws):
        table(cells)
        sys.stdout.flush()


def approaches(draws: int) -> None:
    """The approaches in worlds with a known optimum."""
    print(f"{draws} draws of each world, 6 budgets of 1e18 to 1e20 FLOPs, target {TARGET:g}, nominal 90 % intervals.\n")
    table(HEAD)
    distances: dict[int, list[float]] = {2: [], 3: []}
    misses: dict[str, list[float]] = {"Chinchilla": [], "wall": []}
    for case in cases():
        found: dict[str, list[Approach]] = {"1 envelope": [], "2 cubic": [], "2 parabola": [], "3 law": []}
        for seed in range(draws):
            trials = case.trials(seed)
            cubic = allocate(trials, TARGET)
            found["1 envelope"].append(cubic.approaches[0])
            found["2 cubic"].append(cubic.approaches[1])
            found["3 law"].append(cubic.approaches[2])
            found["2 parabola"].append(allocate(trials, TARGET, curve="parabola").approaches[1])
            _, second, third = cubic.approaches
            if second.parameters is not None and third.parameters is not None:
                misses["wall" if case.name == "wall" else "Chinchilla"].append(misfit(second, third, cubic.per_token))
            answers = sum(each.parameters is not None for each in cubic.approaches)
            if case.name != "wall" and cubic.disagreement.value is not None:
                distances[answers].append(cubic.disagreement.value)
        for name, each in found.items():
            table(row(case, name, each))
        sys.stdout.flush()
    print("\nDisagreement where every approach that applies is unbiased (Chinchilla worlds), quantiles:\n")
    table(("approaches", "data sets", "50 %", "90 %", "95 %", "99 %"))
    for count, values in distances.items():
        if values:
            table((str(count), str(len(values)), *(f"{q:.2f}" for q in np.quantile(values, [0.5, 0.9, 0.95, 0.99]))))
    print("\nHow often the law is found to miss the profiles (`misfit`), at three levels:\n")
    table(("worlds", "data sets", "10 %", "5 %", "1 %"))
    for name, values in misses.items():
        table((name, str(len(values)), *(f"{np.mean(np.array(values) < level):.0%}" for level in (0.1, 0.05, 0.01))))


def row(case: Case, name: str, found: Iterable[Approach]) -> tuple[str, ...]:
    """One line: how often there is an answer, and how good it is."""
    listed = list(found)
    kept = [each for each in listed if each.parameters is not None and each.exponent is not None]
    start = (case.name, case.grid, f"{case.noise:.1%}", name, f"{len(kept) / len(listed):.0%}")
    if not kept:
        return (*start, "", "", "", "", "")
    a = np.array([each.exponent.value for each in kept if each.exponent])
    inside_a = [each.exponent.low <= case.a <= each.exponent.high for each in kept if each.exponent]
    n = np.array([math.log(each.parameters.value) for each in kept if each.parameters])
    truth = math.exp(case.target)
    inside_n = [each.parameters.low <= truth <= each.parameters.high for each in kept if each.parameters]
    rmse = float(np.sqrt(np.mean((a - case.a) ** 2)))
    bias = f"{float(np.mean(n)) - case.target:+.2f}"
    return (*start, f"{np.mean(a) - case.a:+.3f}", f"{rmse:.3f}", f"{np.mean(inside_a):.0%}", bias, f"{np.mean(inside_n):.0%}")


def table(cells: Iterable[str]) -> None:
    """One line of a Markdown table, with its rule below the heading."""
    cells = tuple(cells)
    print("| " + " | ".join(cells) + " |")
    if cells in (HEAD, rounding.HEAD, ladder.HEAD) or cells[0] in ("approaches", "worlds"):
        print("|" + " --- |" * len(cells))


if __name__ == "__main__":
    main()
