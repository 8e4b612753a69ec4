"""The drift studies: each other knob crossed with the learning rate at every size, judged at the re-tuned rate."""

from __future__ import annotations

import math

import numpy as np

from scalelaw import ScalelawError, Trials, load, optimum
from scalelaw.estimate import Estimate
from scalelaw.response import respond

from .record import ROOT, Part

NAME = "drift"
RATE = "learning_rate"


def parts() -> list[Part]:
    """One folder a knob."""
    return [Part(folder) for folder in sorted((ROOT / NAME).iterdir()) if (folder / "study.toml").exists()]


def tables() -> None:
    """For each value of each knob: how far the best rate moves, whether more so at larger sizes, and what the frontier gains."""
    names = (
        "knob",
        "value",
        "ln best rate at the middle size, against the first",
        "its change per nat of width (interaction)",
        "exponent of the best rate",
        "ln loss at the re-tuned rate",
        "ln loss at the largest size",
    )
    print("| " + " | ".join(names) + " |\n|" + "---|" * len(names))
    for part in parts():
        knob = part.folder.name
        table, column = _levelled(load(part.folder), knob)
        values = list(dict.fromkeys(str(value) for value in table[column]))
        laws = {value: _law(table.where(np.array([str(each) == value for each in table[column]]))) for value in values}
        moved = _moved(table, column)
        first = next((law for law in laws.values() if law is not None), None)
        for value in values:
            law = laws[value]
            if law is None or first is None:
                print(f"| {knob} | {value} | too few sizes brackets its best rate | | | {_told(moved.get(value))} | |")
                continue
            shift, slope = _less(law[0], first[0]), _less(law[1], first[1])
            same = law is first
            print(
                f"| {knob} | {value} | {'0 (reference)' if same else _told(shift)} | {'' if same else _told(slope)} "
                f"| {_told(law[1])} | {_told(moved.get(value))} | {_top(table, column, value, values[0])} |"
            )
    print("\nIntervals are 90 %; a star marks one that leaves out 0. Loss columns: against the knob's best value, pooled over")
    print("sizes; and the lowest mean of seeds at the largest size, against the first value.\n")


def _levelled(table: Trials, knob: str) -> tuple[Trials, str]:
    """The table with the knob as words, so that its values are levels of a factor; batch and depth are columns of their own."""
    source = {"batch": "batch_size"}.get(knob, knob)
    words = [value if isinstance(value, str) else f"{value:g}" for value in table[source]]
    keep = [name for name in table.columns if name != source and not (knob == "batch" and name == "steps")]
    columns = {name: table[name] for name in keep} | {"recipe": np.array(words, dtype=object)}
    return Trials.from_columns(columns, table.source), "recipe"


def _law(rows: Trials) -> tuple[Estimate, Estimate] | None:
    """(ln of the law's best rate at the middle size, its exponent) of one value; None where no law can be told."""
    try:
        found = optimum(rows, over="width", hyper=RATE)[RATE]
    except ScalelawError:
        return None
    widths = np.unique(rows.numbers("width"))
    middle = found.at({"width": float(widths[len(widths) // 2])})
    half = (math.log(middle.high) - math.log(middle.low)) / 2
    value = math.log(middle.value)
    return Estimate(value, value - half, value + half, middle.level), found.exponent()


def _moved(table: Trials, column: str) -> dict[str, Estimate]:
    """Effect of each value on ln loss at its own best settings."""
    try:
        response = respond(table, ("width",), (RATE,), factors=(column,))
    except ScalelawError:
        response = None
    if response is None:
        return {}
    return {each.level: each.effect for each in response.levels(0.9) if each.effect is not None}


def _top(table: Trials, column: str, value: str, first: str) -> str:
    """ln of the lowest mean over seeds at the largest size, against the first value's."""
    largest = table.where(f"width == {table.numbers('width').max():g}")

    def lowest(name: str) -> float:
        rows = largest.where(np.array([str(each) == name for each in largest[column]]))
        return min(float(np.log(part.numbers("loss").mean())) for _, part in rows.groups([RATE]))

    losses = {name: lowest(name) for name in (value, first)}
    return f"{losses[value] - losses[first]:+.4f}"


def _less(one: Estimate, other: Estimate) -> Estimate:
    """The difference of two independent estimates."""
    value = one.value - other.value
    half = math.hypot((one.high - one.low) / 2, (other.high - other.low) / 2)
    return Estimate(value, value - half, value + half, one.level)


def _told(each: Estimate | None) -> str:
    if each is None:
        return ""
    star = "" if each.low <= 0 <= each.high else " *"
    return f"{each.value:+.3f} ({each.low:+.3f} to {each.high:+.3f}){star}"
