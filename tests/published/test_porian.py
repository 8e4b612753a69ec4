"""Porian et al. 2024 (arXiv:2406.19146): the five exponents of figure 1, from the runs themselves."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from scalelaw import Trials, allocate
from scalelaw.allocate import Applies

pytestmark = pytest.mark.published

# (hparams, warmup, decay, param_count) and the printed exponent, RefinedWeb.
STEPS = {
    "Kaplan reproduced": (("base", "long", "kaplan", "kaplan"), 0.834),
    "head counted": (("base", "long", "kaplan", "standard"), 0.701),
    "warmup corrected": (("base", "short", "kaplan", "standard"), 0.604),
    "cosine decay": (("base", "short", "chinchilla", "standard"), 0.571),
    "tuned, no decay": (("tuned", "short", "const", "standard"), 0.497),
}


def points(folder: Path, key: tuple[str, ...]) -> Trials:
    with (folder / "porian_isoflop_points.csv").open(encoding="utf-8") as file:
        rows = [
            row
            for row in csv.DictReader(file)
            if row["file"] == "summary_df"
            and row["dataset"] == "rw"
            and (row["hparams"], row["warmup"], row["decay"], row["param_count"]) == key
            and row["loss"]
        ]
    names = {"parameters": "n_params", "tokens": "tokens", "compute": "flops", "loss": "loss"}
    return Trials.from_columns({name: [float(row[column]) for row in rows] for name, column in names.items()})


@pytest.mark.parametrize("step", STEPS)
def test_printed_exponent_lies_inside_our_interval(reference_data: Path, step: str) -> None:
    key, printed = STEPS[step]
    found = allocate(points(reference_data, key), 1e20).approach("approach_2")
    assert found.applies is Applies.YES
    assert found.exponent is not None
    assert found.exponent.level == 0.9
    assert found.exponent.low <= printed <= found.exponent.high
    # An interval so wide that anything lies inside would be no test.
    assert found.exponent.high - found.exponent.low < 0.1
    assert len([each for each in found.budgets if each.used]) >= 10
