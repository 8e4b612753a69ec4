"""Chinchilla's 240 points, and Marin's isoFLOP runs as a smoke test of real data."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from scalelaw import Trials, allocate, sensitivity
from scalelaw.allocate import Applies

pytestmark = pytest.mark.published


def chinchilla(folder: Path, highest_dropped: int) -> Trials:
    with (folder / "chinchilla_epoch_svg_extracted.csv").open(encoding="utf-8") as file:
        rows = [(float(row["Model Size"]), float(row["Training FLOP"]), float(row["loss"])) for row in csv.DictReader(file)]
    rows = sorted(rows, key=lambda row: row[2])[: len(rows) - highest_dropped]
    n, c, loss = (list(column) for column in zip(*rows, strict=True))
    return Trials.from_columns({"parameters": n, "compute": c, "loss": loss})


def test_chinchilla_exponent_of_the_replication(reference_data: Path) -> None:
    """a = 0.513 +- 0.020 (Besiroglu et al. 2024), tokens from FLOP / 6N."""
    found = allocate(chinchilla(reference_data, 5), 1e24)
    third = found.approach("approach_3").exponent
    assert third is not None
    assert third.value == pytest.approx(0.513, abs=0.02)
    assert third.stderr == pytest.approx(0.020, rel=0.3)
    size = found.approach("approach_3").parameters
    assert size is not None
    assert size.value == pytest.approx(96e9, rel=0.03)
    assert any("C / 6N" in note for note in found.notes)
    # The isoFLOP minima of the same runs say the same; the envelope of runs that were not meant as curves is the coarsest.
    second = found.approach("approach_2").exponent
    assert second is not None
    assert second.low < 0.513 < second.high
    assert found.disagreement.value is not None
    assert found.disagreement.value < 2.3


def test_chinchilla_and_gopher_at_their_budget(reference_data: Path) -> None:
    """At 5.76e23 FLOPs 70 B parameters were the best that could be built, and 280 B lose (Hoffmann et al. 2022, section 4)."""
    rounded = allocate(chinchilla(reference_data, 5), 5.76e23, shapes=[70e9, 280e9], batch_tokens=3e6).rounded
    assert rounded is not None
    assert [each.shape.parameters for each in rounded.choices] == [70e9, 280e9]
    right, wrong = (each.regret for each in rounded.choices)
    assert right is not None
    assert wrong is not None
    assert right.high < wrong.low
    assert rounded.choices[0].tokens == pytest.approx(1.4e12, rel=0.03)


def test_five_points_and_the_objective_move_chinchilla_more_than_its_interval(reference_data: Path) -> None:
    found = sensitivity(chinchilla(reference_data, 0), 1e24, law=["chinchilla"], dropped=["none", "highest_5"])
    size = {(row.objective, row.dropped): row.parameters for row in found.rows}
    assert size["huber", "highest_5"] == pytest.approx(96e9, rel=0.03)
    assert size["huber", "none"] / size["huber", "highest_5"] > 1.5  # type: ignore[operator]
    assert found.spread["parameters"].factor > 2.5


@pytest.mark.parametrize("dataset", ["comma", "dclm", "nemotron"])
def test_marin_runs_give_answers_of_one_size(reference_data: Path, dataset: str) -> None:
    with (reference_data / "marin_isoflop_raw.csv").open(encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if row["dataset"] == dataset and row["eval/paloma/macro_loss"]]
    columns = {
        "parameters": [float(row["parameter_count"]) for row in rows],
        "compute": [float(row["throughput/total_gflops"]) * 1e9 for row in rows],
        "loss": [float(row["eval/paloma/macro_loss"]) for row in rows],
    }
    found = allocate(Trials.from_columns(columns), 1e22)
    second, third = (found.approach(name) for name in ("approach_2", "approach_3"))
    assert second.applies is third.applies is Applies.YES
    assert second.exponent is not None
    assert third.exponent is not None
    assert 0.3 < second.exponent.value < 0.7
    assert 0.3 < third.exponent.value < 0.7
    assert found.disagreement.factor is not None
    assert found.disagreement.factor < 5
