"""The fine-tuning ladder: networks that start where another run ended, beside the same networks started afresh."""

from __future__ import annotations

import numpy as np

from scalelaw import Trials, compare, load, optimum

from .record import ROOT, Part

NAME = "finetune"


def parts() -> list[Part]:
    """Started from a run, and started afresh."""
    return [Part(ROOT / NAME), Part(ROOT / NAME / "afresh")]


def tables() -> None:
    """Best rate, its law and the frontier of either start; what the first training is worth at the largest width."""
    arms = {"from a run": load(ROOT / NAME), "afresh": load(ROOT / NAME / "afresh")}
    print("| start | exponent of the best rate | best rate at the largest width | lowest mean loss there |\n|---|---|---|---|")
    for name, table in arms.items():
        law = optimum(table, over="width")["learning_rate"]
        exponent, top = law.exponent(), float(table.numbers("width").max())
        at = law.at({"width": top})
        rows = table.where(f"width == {top:g}")
        lowest = min(float(part.numbers("loss").mean()) for _, part in rows.groups(["learning_rate"]))
        print(
            f"| {name} | {exponent.value:.3f} ({exponent.low:.3f} to {exponent.high:.3f}) "
            f"| {at.value:.3g} ({at.low:.3g} to {at.high:.3g}) | {lowest:.4f} |"
        )
    names = [name for name in arms["afresh"].columns if all(name in table.columns for table in arms.values())]
    columns = {name: np.concatenate([table[name] for table in arms.values()]) for name in names}
    columns["recipe"] = np.array([name for name, table in arms.items() for _ in range(len(table))], dtype=object)
    both = Trials.from_columns(columns, "finetune")
    found = compare(both, "recipe", {"width": 512.0}, reference="afresh", over="width")
    arms_at = "; ".join(
        f"{arm.name} {arm.forecast.loss:.3f} ({arm.forecast.low:.3f} to {arm.forecast.high:.3f})" for arm in found.arms
    )
    print(f"\nForecast at width 512, each arm tuned: {arms_at}.\n")
