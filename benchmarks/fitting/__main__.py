"""`python -m benchmarks.fitting [--rounds 7]`: the tables of benchmarks/README.md. One core; about two minutes."""

from __future__ import annotations

import argparse
import json
import platform
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from scalelaw.fit import Fit, LeastSquares, fit
from scalelaw.resample import bootstrap

from . import ours
from .apart import MISSING, ROOT, VERSIONS, ask, installed

SIZES = (1_000, 10_000, 100_000, 1_000_000)


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=7, help="windows of each contestant, taken in turn")
    parser.add_argument("--rows", type=int, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.rows:
        _one_size(asked.rows)
        return
    print(f"{_processor()}, one core, NumPy {np.__version__}, Python {platform.python_version()}. Process time, medians.\n")
    with tempfile.TemporaryDirectory() as folder:
        clean, dirty = Path(folder) / "clean.csv", Path(folder) / "outlier.csv"
        points = ours.chinchilla()
        ours.write(points, clean)
        ours.write(ours.with_outlier(points), dirty)
        times, last = _rounds(clean, asked.rounds)
        _ours(times, clean)
        _beside(times)
        _outlier(last, ask("simple", dirty) if installed() else None)
    _rows()


def _rounds(clean: Path, rounds: int) -> tuple[dict[str, list[float]], dict[str, Any]]:
    """Windows of every contestant in turn: seconds, per start for the loops."""
    points, bent = ours.chinchilla(), ours.bent()
    found = fit("chinchilla", points)
    lines = {"1-D, 0.2 %": ours.line(0.002), "1-D, 1 %": ours.line(0.01), "1-D, squares": ours.line(0.01, squares=True)}
    times: dict[str, list[float]] = {}
    last: dict[str, Any] = {}

    def note(name: str, seconds: float) -> None:
        times.setdefault(name, []).append(seconds)

    for number in range(rounds):
        fit("chinchilla", points)  # after a rival the first call is cold
        for _ in range(30):
            note("fit", ours.clock(lambda: fit("chinchilla", points)))
        note("4,000 refits", ours.clock(lambda: bootstrap(found, draws=4000)))
        for name, call in lines.items():
            note(name, ours.clock(call))
        for _ in range(3):
            note("broken", ours.clock(lambda: fit("broken", bent, over="width")))
        note("1,000 draws", ours.clock(lambda: bootstrap(fit("chinchilla", points), draws=1000)))
        seconds, ends = ours.scipy_window(points, seed=number)
        note("scipy", seconds / len(ends))
        last.setdefault("ends", []).extend(ends)
        for name in ("chinchilla", "simple") if installed() else ():
            answer = ask(name, clean)
            note(name, answer["seconds"] / (answer["starts"] if name == "chinchilla" else 1))
            last[name] = answer
    return times, last


def _ours(times: dict[str, list[float]], clean: Path) -> None:
    found = fit("chinchilla", ours.chinchilla())
    gaps = ours.gaps(found)
    _head("ours", "median", "least", "target")
    for name, label, target in (
        ("fit", "one certified Chinchilla fit, 240 points", "5 ms"),
        ("4,000 refits", "4,000 bootstrap refits of it", "400 ms"),
        ("1-D, 0.2 %", "10,000 refits of E + A x^-alpha, Huber, 0.2 % scatter", "300 ms"),
        ("1-D, 1 %", "the same, 1 % scatter", "300 ms"),
        ("1-D, squares", "the same, least squares", "300 ms"),
        ("broken", "one fit of the broken law, one break, 25 points", "50 ms"),
    ):
        _line(label, _ms(np.median(times[name])), _ms(np.min(times[name])), target)
    command = [str(Path(sys.executable).with_name("scalelaw")), "fit", str(clean), "--law", "chinchilla", "--fixed", "--json"]
    walls, spent = zip(*(_process(command) for _ in range(9)), strict=True)
    _line("`scalelaw fit` on a CSV of 240 rows, from process start, wall", _ms(np.median(walls)), _ms(np.min(walls)), "1000 ms")
    _line("the same, process time", _ms(np.median(spent)), _ms(np.min(spent)), "")
    share = float(np.mean(gaps <= 1e-9))
    print(f"\nRefits within 1e-9 of the best of 12 random starts and themselves: {share:.2%} of {len(gaps)}.")
    print(f"Certificate: {found.status.name}, objective {found.value:.13f}, decrement {found.certificate.decrement:.0e}.\n")


def _beside(times: dict[str, list[float]]) -> None:
    one, draws = float(np.median(times["fit"])), float(np.median(times["1,000 draws"]))
    _head("contestant", "what", "seconds", "ours", "ratio", "target")
    loop = 4500 * float(np.median(times["scipy"]))
    what = f"best of 4,500 starts, from {12 * len(times['scipy'])} of them"
    _line("scipy L-BFGS-B, numeric gradient", what, f"{loop:.1f}", _ms(one), f"{loop / one:,.0f}", "5,000")
    if "chinchilla" not in times:
        print(f"\n{MISSING}\n")
        return
    grid = 3125 * float(np.median(times["chinchilla"]))
    _line(VERSIONS["chinchilla"], "its 3,125 starts, from 32 of them", f"{grid:.1f}", _ms(one), f"{grid / one:,.0f}", "4,000")
    rival = float(np.median(times["simple"]))
    _line(VERSIONS["simple"], "fit and 1,000 draws", f"{rival:.3f}", _ms(draws), f"{rival / draws:.1f}", "3")
    print()


def _outlier(last: dict[str, Any], dirty: dict[str, Any] | None) -> None:
    points = ours.chinchilla()
    best = fit("chinchilla", points)
    ends = np.array(last["ends"])
    print(
        f"Of the {len(ends)} scipy starts {np.mean(ends <= best.value * 1.001):.0%} end within 0.1 % of the minimum, "
        f"the best {ends.min() / best.value - 1:.0e} above it."
    )
    if dirty is None:
        return
    theta = {name: round(value, 4) for name, value in last["chinchilla"]["theta"].items()}
    print(f"{VERSIONS['chinchilla']} (its own default loss) ends at {theta}.\n")
    print("One loss of 240 half as large again:\n")
    _head("fit", "E", "alpha", "beta", "a = beta / (alpha + beta)")
    squares, outlier = LeastSquares(), ours.with_outlier(points)
    _theta("ours, Huber", best.theta)
    _theta("ours, Huber, with the outlier", fit("chinchilla", outlier).theta)
    _theta("ours, least squares", fit("chinchilla", points, objective=squares).theta)
    _theta("ours, least squares, with the outlier", fit("chinchilla", outlier, objective=squares).theta)
    _theta("simple-scaling-laws", last["simple"]["theta"])
    _theta("simple-scaling-laws, with the outlier", dirty["theta"])
    print()


def _theta(label: str, theta: Any) -> None:
    alpha, beta = theta["alpha"], theta["beta"]
    _line(label, f"{theta['E']:.4f}", f"{alpha:.4f}", f"{beta:.4f}", f"{beta / (alpha + beta):.4f}")


def _rows() -> None:
    _head("rows", "one fit, process time", "per row", "peak memory of the process")
    for rows in SIZES:
        command = [sys.executable, "-m", "benchmarks.fitting", "--rows", str(rows)]
        answer = json.loads(subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout)
        seconds = answer["seconds"]
        _line(f"{rows:,}", _ms(seconds), f"{1e6 * seconds / rows:.2f} us", f"{answer['memory'] / 2**20:.2f} GiB")


def _one_size(rows: int) -> None:
    points = ours.many(rows)
    repeats = 3 if rows > 100_000 else 9
    seconds = float(np.median([ours.clock(lambda: _checked(points)) for _ in range(repeats)]))
    print(json.dumps({"seconds": seconds, "memory": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss}))


def _checked(points: Any) -> Fit:
    found = fit("chinchilla", points)
    assert abs(found.theta["alpha"] - 0.347) < 0.05, found.theta
    return found


def _process(command: Sequence[str]) -> tuple[float, float]:
    """Wall and process time of a child, from its start to its end."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    began = time.perf_counter()
    subprocess.run(command, check=True, capture_output=True)
    wall = time.perf_counter() - began
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def _processor() -> str:
    with Path("/proc/cpuinfo").open(encoding="utf-8") as file:
        return next((line.split(":")[1].strip() for line in file if line.startswith("model name")), platform.machine())


def _head(*cells: str) -> None:
    _line(*cells)
    print("|" + "---|" * len(cells))


def _line(*cells: str) -> None:
    print("| " + " | ".join(cells) + " |", flush=True)


def _ms(seconds: Any) -> str:
    return f"{1e3 * float(seconds):.3g} ms" if seconds < 1 else f"{float(seconds):.2f} s"


if __name__ == "__main__":
    main()
