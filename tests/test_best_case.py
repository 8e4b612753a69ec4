"""A law of the best case, and the same law at the setting that was kept."""

from __future__ import annotations

import json

import numpy as np
import pytest

import scalelaw
from scalelaw.errors import DataError
from scalelaw.testing.worlds import World

WORLD = World(seeds=2, sizes=7, noise=0.001)


def test_the_best_case_is_the_truth_and_the_kept_setting_is_worse() -> None:
    trials, _ = WORLD.draw(np.random.default_rng(0))
    found = scalelaw.best_case("saturating", trials)
    assert found.frontier.tuned
    assert found.fit.n == 7
    assert found.kept is not None
    assert found.kept_frontier is not None
    for width in WORLD.widths:
        best = float(found.fit.predict({"width": float(width)}))
        assert best == pytest.approx(WORLD.loss(float(width)), rel=0.01)
    largest = {"width": float(WORLD.widths[-1])}
    assert float(found.kept.predict(largest)) > float(found.fit.predict(largest))
    plain = json.loads(json.dumps(found.to_dict(), allow_nan=False))
    assert plain["tuned"]
    assert plain["fixed"]["setting"] == found.kept_frontier.settings
    assert plain["theta"] == found.fit.theta


def test_fixed_fits_the_rows_as_they_stand() -> None:
    trials, _ = WORLD.draw(np.random.default_rng(0))
    rate = float(np.unique(trials.numbers("learning_rate"))[3])
    column = trials.where(trials.numbers("learning_rate") == rate)
    found = scalelaw.best_case("log_linear", column, fixed=True)
    assert found.kept is None
    assert found.fit.n == len(column.finished)
    assert found.fit.theta == scalelaw.fit("log_linear", column.finished).theta
    assert found.fit.theta == scalelaw.best_case("log_linear", scalelaw.frontier(column, fixed=True)).fit.theta


def test_a_law_takes_its_own_scales() -> None:
    trials, _ = WORLD.draw(np.random.default_rng(0))
    with pytest.raises(DataError, match="parameters"):
        scalelaw.best_case("chinchilla", trials)
