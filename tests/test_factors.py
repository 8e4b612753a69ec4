"""Factors are judged at re-tuned settings, within scales, and the law is that of the best level."""

from __future__ import annotations

import math

import numpy as np
import pytest

from scalelaw.cells import default_factors
from scalelaw.frontier import frontier
from scalelaw.optimum import optimum
from scalelaw.trials import Trials

WIDTHS = (16.0, 32.0, 64.0, 128.0, 256.0, 512.0)
# What a schedule costs in ln loss, and what it moves the best rate by, in nats.
TRUTH = {"cosine": (0.0, 0.0), "linear": (0.004, 0.3), "constant": (0.02, -0.7)}


def study(seed: int = 0, *, noise: float = 0.002, skip: tuple[str, float] = ("", 0.0)) -> Trials:
    random = np.random.default_rng(seed)
    rows: list[dict[str, object]] = []
    for width in WIDTHS:
        for schedule, (cost, shift) in TRUTH.items():
            if skip[0] == schedule and width > skip[1]:
                continue
            best = math.log(1e-3) - 0.4 * math.log(width / 64) + shift + 0.05 * random.normal()
            for k in range(7):
                u = math.log(1e-3) + 0.7 * (k - 3) - 0.2 * math.log(width / 64)
                loss = (1.2 + 6 * width**-0.35) * math.exp(cost + 0.025 * (u - best) ** 2 + noise * random.normal())
                rows.append({"width": width, "schedule": schedule, "learning_rate": math.exp(u), "loss": loss})
    return Trials.from_columns({name: [row[name] for row in rows] for name in rows[0]}, "simulated")


def test_words_and_pairs_of_numbers_are_factors() -> None:
    trials = study().with_column("precision", np.array(["float32"] * len(study()), dtype=object))
    assert default_factors(trials, ("width",), ("learning_rate",)) == ("schedule",)
    two = trials.with_column("batch_size", np.tile([32.0, 64.0], len(trials) // 2))
    assert set(default_factors(two, ("width",), ("learning_rate",))) == {"schedule", "batch_size"}


def test_effects_and_shifts_are_recovered_and_covered() -> None:
    hits, shifts = [], []
    for seed in range(30):
        response = frontier(study(seed)).response
        assert response is not None
        levels = {each.level: each for each in response.levels()}
        assert response.level in {("cosine",), ("linear",)}
        for name, (cost, shift) in TRUTH.items():
            reference = TRUTH[response.level[0]]
            found = levels[name].effect
            assert found is not None
            if name != response.level[0]:
                hits.append(found.low <= cost - reference[0] <= found.high)
                moved = levels[name].shift["learning_rate"]
                shifts.append(moved.low <= shift - reference[1] <= moved.high)
    # 60 intervals at nominal 0.9: below 0.78 with probability 0.004.
    assert np.mean(hits) >= 0.78
    assert np.mean(shifts) >= 0.78


def test_the_frontier_is_that_of_the_best_schedule() -> None:
    edge = frontier(study(1))
    truth = 1.2 + 6 * np.array(WIDTHS) ** -0.35
    assert edge.response is not None
    assert len(edge.trials) == len(WIDTHS)
    np.testing.assert_allclose(edge.trials.numbers("loss"), truth, rtol=0.006)
    rate = optimum(edge)["learning_rate"]
    assert rate.exponent().low < -0.4 < rate.exponent().high
    assert rate.at({"width": 64.0}).value == pytest.approx(1e-3, rel=0.15)


def test_a_scale_without_the_best_schedule_is_corrected() -> None:
    edge = frontier(study(2, skip=("cosine", 200.0)))
    truth = 1.2 + 6 * np.array(WIDTHS) ** -0.35
    assert len(edge.trials) == len(WIDTHS)
    z = (edge.trials.numbers("loss") - truth) / edge.trials.numbers("loss_se")
    assert np.all(np.abs(z) < 4)
    np.testing.assert_allclose(edge.trials.numbers("loss"), truth, rtol=0.01)
