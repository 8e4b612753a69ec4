"""Rolling origin by scale."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
import pytest

from scalelaw.backtest import backtest
from scalelaw.errors import DataError
from scalelaw.estimate import Estimate
from scalelaw.testing.worlds import World
from scalelaw.trials import Trials


def test_every_larger_size_is_predicted_from_every_origin() -> None:
    world = World(sizes=6)
    found = backtest(world.draw(np.random.default_rng(0))[0])
    assert [(row.sizes, row.at["width"]) for row in found.rows] == [
        (count, float(world.widths[place])) for count in (3, 4, 5) for place in range(count, 6)
    ]
    assert found.horizon == pytest.approx(8.0)
    assert found.n == 6
    # Three sizes cannot tell a power law from one with a floor: errors of 10 % at 8x are what such a ladder earns.
    assert found.error < 0.15
    assert found.to_dict()["coverage"] == found.coverage


def test_any_forecaster_can_be_judged_and_sees_only_smaller_sizes() -> None:
    world = World(sizes=6)
    trials, _ = world.draw(np.random.default_rng(0))

    def oracle(train: Trials, at: Mapping[str, float]) -> Estimate:
        assert train.numbers("width").max() < at["width"]
        truth = world.loss(at["width"])
        return Estimate(truth, truth * 0.98, truth * 1.02)

    found = backtest(trials, predict=oracle)
    assert found.coverage == 1.0
    assert found.error < 0.01
    assert abs(found.bias) <= found.error


def test_too_few_sizes_is_said() -> None:
    found = backtest(World(sizes=3).draw(np.random.default_rng(0))[0])
    assert found.n == 0
    assert math.isnan(found.coverage)
    assert found.to_dict()["coverage"] is None
    assert "unchecked" in found.message
    with pytest.raises(DataError):
        backtest(World(sizes=1).draw(np.random.default_rng(0))[0])
