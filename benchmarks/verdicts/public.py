"""Verdicts on public grids: runs at and away from a cell's best setting, judged by the law of smaller ones."""

from __future__ import annotations

import csv
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from scalelaw.forecast import Forecast, forecast
from scalelaw.frontier import Frontier, frontier
from scalelaw.response import Bowl, respond
from scalelaw.trials import Trials
from scalelaw.verdict import Verdict, judge

from ..tuning.steplaw import FOLDER, HYPER, OVER, grid
from .counts import rulings

__all__ = ["steplaw", "widths"]

# Kinds of runs: nats of the rate from the cell's fitted best, and how near they must lie. The batch lies within half a nat.
KINDS = {
    "tuned": (0.0, 0.36),
    "4x above": (math.log(4), 0.2),
    "4x below": (-math.log(4), 0.2),
    "2x above": (math.log(2), 0.2),
    "2x below": (-math.log(2), 0.2),
}
BATCH = 0.5
HEAD = [
    "| judged on | runs | OFF_LAW (95 %) | UNDECIDED | ON_LAW | mean excess | smallest visible, rate |",
    "|---|---|---|---|---|---|---|",
]
_NEEDED = 6


@dataclass(frozen=True, eq=False)
class Case:
    """A cell to be judged from smaller ones."""

    train: Trials
    rows: Trials
    bowl: Bowl


def steplaw(_: int) -> list[str]:
    """The Step Law grid, each cell judged from smaller cells; each cell's best is that of the surface fitted to all of them."""
    trials = grid()
    whole = respond(trials, OVER, HYPER)
    assert whole is not None
    size, tokens = trials.numbers("parameters"), trials.numbers("tokens")
    bowls = {(b.point["parameters"], b.point["tokens"]): b for b in whole.bowls}

    def case(train: np.ndarray, n: float, d: float) -> Case:
        return Case(trials.where(train), trials.where((size == n) & (tokens == d)), bowls[n, d])

    following = [case(size < n, n, d) for n, d in bowls if _cells(trials.where(size < n)) >= _NEEDED]
    per = {key: key[1] / key[0] for key in bowls}
    inside, outside = [], []
    for each in following:
        most = float((each.train.numbers("tokens") / each.train.numbers("parameters")).max())
        n, d = each.bowl.point["parameters"], each.bowl.point["tokens"]
        (inside if per[n, d] <= most * 1.001 else outside).append(each)
    further = [case(tokens < d, n, d) for n, d in bowls if _cells(trials.where(tokens < d)) >= _NEEDED]
    beyond = []
    for each in further:
        ratio = each.train.numbers("tokens") / each.train.numbers("parameters")
        if each.bowl.point["tokens"] / each.bowl.point["parameters"] > ratio.max():
            beyond.append(each)
    split = [case((size <= 4.3e8) & (tokens < 6e10), n, d) for n, d in bowls if n > 4.3e8]
    lines = [*HEAD]
    lines += _table("next size in N, from all smaller", following)
    lines += _table("the same, within the tokens per parameter seen", inside) if outside else []
    lines += _table("the same, beyond them", outside) if outside else []
    lines += _table("N > 4.3e8, from N <= 4.3e8 and D < 6e10", split)
    lines += _table("larger D than any, beyond the tokens per parameter seen", beyond)
    return lines


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
    following = [Case(trials.where(width < n), trials.where(width == n), bowls[n]) for n in bowls if n >= 256]
    far = [Case(trials.where(width <= 512), trials.where(width == n), bowls[n]) for n in bowls if n > 512]
    return [*HEAD, *_table("next width, from all smaller", following), *_table("1024 to 8192, from widths up to 512", far)]


def _cells(trials: Trials) -> int:
    names = [name for name in OVER if name in trials]
    return len({tuple(row) for row in zip(*(trials.numbers(name) for name in names), strict=True)}) if len(trials) else 0


def _table(label: str, cases: Sequence[Case]) -> list[str]:
    found: dict[str, list[tuple[Verdict, float]]] = {kind: [] for kind in KINDS}
    expected: list[Forecast] = []
    known: dict[int, Frontier] = {}
    for case in cases:
        over = tuple(case.bowl.point)
        key = hash(tuple(case.train.numbers("loss")))
        edge = known[key] = known.get(key) or frontier(case.train, over=over)
        expected.append(forecast(edge, case.bowl.point, level=0.9))
        for kind, row in _runs(case):
            away = float(math.log(row["loss"]) - case.bowl.log_loss)
            found[kind].append((judge(expected[-1], row, row, 0.95), away))
    error = [each - math.log(f.loss) for each, f in zip((case.bowl.log_loss for case in cases), expected, strict=True)]
    lines: list[str] = []
    for kind, judged in found.items():
        if not judged:
            continue
        excess = 100 * float(np.mean([away for _, away in judged]))
        seen = float(np.median([v.detectable["learning_rate"] for v, _ in judged]))
        counts = rulings([verdict.verdict for verdict, _ in judged])
        lines.append(f"| {label} ({len(cases)} cells) | {kind} | {counts} | {excess:.2f} % | {seen:.1f}x |")
    spread = ", ".join(f"{100 * each:+.1f}" for each in error)
    threshold = 100 * float(np.mean([v.high / v.expected - 1 for judged in found.values() for v, _ in judged]))
    lines.append(
        f"| | errors of the law at the cells' best, %: {spread}; mean threshold {threshold:.2f} % above the law | | | | | |"
    )
    return lines


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
