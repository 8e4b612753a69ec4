"""Learning-rate sensitivity is the integral over the world's own bowl, whichever rates were run."""

from __future__ import annotations

import math

import numpy as np
import pytest

from scalelaw.errors import InputError
from scalelaw.rate_sensitivity import learning_rate_sensitivity
from scalelaw.response import Response, respond
from scalelaw.testing.surfaces import Surface, axes
from scalelaw.testing.worlds import World


def share(hits: list[bool]) -> float:
    return sum(hits) / len(hits)


def fitted(world: World, seed: int = 0) -> tuple[Response, np.ndarray]:
    trials, best = world.draw(np.random.default_rng(seed))
    response = respond(trials, ("width",), ("learning_rate",))
    assert response is not None
    return response, best


def integral(world: World, width: float, best: float, low: float, high: float, initial: float) -> float:
    """LRS of the world itself."""
    rates = np.linspace(math.log(low), math.log(high), 20_001)
    loss = world.loss(width)
    there = loss * np.exp(np.minimum(world.cost(width, rates - best), 50.0))
    return float(np.mean(np.minimum(there, initial) - loss))


@pytest.mark.parametrize(("low", "high"), [(3e-4, 3e-3), (3e-4, 3e-1)])
def test_sensitivity_is_the_integral_over_the_true_bowl(low: float, high: float) -> None:
    world = World(sizes=6)
    hits: list[bool] = []
    ratios: list[float] = []
    for seed in range(12):
        response, best = fitted(world, seed)
        for k in (0, 5):
            width = float(world.widths[k])
            found = learning_rate_sensitivity(response, {"width": width}, low=low, high=high, initial_loss=10.0)
            truth = integral(world, width, float(best[k]), low, high, 10.0)
            hits.append(found.nats.low <= truth <= found.nats.high)
            ratios.append(found.nats.value / truth)
            assert found.share.value == pytest.approx(found.nats.value / world.loss(width), rel=0.1)
    assert share(hits) >= 0.85
    assert np.median(ratios) == pytest.approx(1.0, abs=0.2)


def test_the_width_is_that_of_the_curvature() -> None:
    world = World(sizes=8, noise=0.002)
    hits: list[bool] = []
    for seed in range(12):
        found = learning_rate_sensitivity(fitted(world, seed)[0], {"width": 64.0}).width(0.02)
        hits.append(found.low <= math.sqrt(2 * 0.02 / world.curvature) <= found.high)
    assert share(hits) >= 0.85


def test_the_ceiling_is_the_initial_loss() -> None:
    response, _ = fitted(World(sizes=6))
    point = {"width": 8.0}
    loss = math.exp(response.bowls[0].log_loss)
    # Far out every rate is at the ceiling; below the lowest loss nothing is at stake.
    far = learning_rate_sensitivity(response, point, low=1e3, high=1e4, initial_loss=10.0)
    assert far.nats.value == pytest.approx(10.0 - loss, rel=0.02)
    assert learning_rate_sensitivity(response, point, initial_loss=0.5 * loss).nats.value == pytest.approx(0.0, abs=0.02)
    values = [learning_rate_sensitivity(response, point, initial_loss=each).nats.value for each in (6.0, 8.0, 12.0)]
    assert values == sorted(values)


def test_rates_beyond_a_diverged_one_cost_all() -> None:
    world = Surface(axes(1), cliff=1.5, cliff_sd=0.05)
    trials, _ = world.draw(np.random.default_rng(3))
    response = respond(trials, ("width",), ("learning_rate",))
    assert response is not None
    point = dict(response.bowls[2].point)
    worst = max(float(np.exp(cell.bad.max())) for cell in response.cells if len(cell.bad))
    loss = math.exp(response.bowls[2].log_loss)
    above = learning_rate_sensitivity(response, point, low=worst, high=2 * worst, initial_loss=20.0)
    assert above.nats.value == pytest.approx(20.0 - loss, rel=0.02)


def test_a_scale_that_was_not_run_asks_for_its_loss() -> None:
    response, _ = fitted(World(sizes=6))
    with pytest.raises(InputError, match="best loss at width=4096"):
        learning_rate_sensitivity(response, {"width": 4096.0})
    found = learning_rate_sensitivity(response, {"width": 4096.0}, best_loss=1.6, initial_loss=10.0)
    assert found.nats.low < found.nats.value < found.nats.high
    assert found.share.value == pytest.approx(found.nats.value / 1.6)


def test_a_wrong_range_or_name_is_one_line() -> None:
    response, _ = fitted(World(sizes=5))
    with pytest.raises(InputError, match="empty"):
        learning_rate_sensitivity(response, {"width": 8.0}, low=0.1, high=0.01)
    with pytest.raises(InputError, match="Tuned are learning_rate"):
        learning_rate_sensitivity(response, {"width": 8.0}, hyper="weight_decay")
    with pytest.raises(InputError, match="tolerance"):
        learning_rate_sensitivity(response, {"width": 8.0}).width(0.0)
