"""The width study of Metz 2022, digitised: the fixed-rate law breaks at 8192, and the tuned one does not."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from scalelaw.fit import fit
from scalelaw.forecast import forecast
from scalelaw.trials import Trials
from scalelaw.verdict import Ruling, check

pytestmark = pytest.mark.published


@pytest.fixture(scope="module")
def grid(reference_data: Path) -> Trials:
    """The runs of widths 4 to 512, at 12 rates."""
    with (reference_data / "metz_blog_lr_width_digitised.csv").open() as file:
        rows = list(csv.DictReader(file))
    columns = {"width": "hidden_size", "learning_rate": "lr", "loss": "loss_digitised"}
    trials = Trials.from_columns({name: [float(row[key]) for row in rows] for name, key in columns.items()}, "digitised grid")
    return trials.where("width <= 512")


def test_the_fixed_rate_law(grid: Trials) -> None:
    column = grid.where("learning_rate == 3e-4")
    found = fit("log_linear", column)
    assert found.theta["a"] == pytest.approx(7.006, abs=0.005)
    assert found.theta["b"] == pytest.approx(0.2761, abs=0.005)
    assert float(found.predict({"width": 8192.0})) == pytest.approx(4.52, abs=0.005)
    beside = forecast(grid, {"width": 8192.0}, with_={"learning_rate": 3e-4}).fixed
    assert beside is not None
    assert beside.loss == pytest.approx(4.52, abs=0.01)


def test_the_missed_run_is_off_the_law_both_ways(grid: Trials) -> None:
    run = {"hidden_size": 8192, "lr": 3e-4, "loss": 5.303}
    tuned = check(grid, run)
    assert tuned.verdict is Ruling.OFF_LAW
    assert tuned.suspects[0].hyperparameter == "learning_rate"
    fixed = check(grid.where("learning_rate == 3e-4"), run, fixed=True)
    assert fixed.verdict is Ruling.OFF_LAW
    assert fixed.findings[0].name == "tuning_untested"
    assert "one fixed setting" in fixed.findings[0].message


def test_the_tuned_run_is_not(grid: Trials) -> None:
    assert check(grid, {"width": 8192, "learning_rate": 6e-5, "loss": 4.659}).verdict is not Ruling.OFF_LAW


def test_the_tuned_forecast_and_the_best_rate(grid: Trials) -> None:
    found = forecast(grid, {"width": 8192.0})
    assert 6e-5 < found.optimum["learning_rate"].value < 2e-4
    assert found.loss == pytest.approx(4.66, abs=0.15)
    assert found.low < 4.66 < found.high
