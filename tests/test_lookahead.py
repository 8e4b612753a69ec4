"""What a kept setting costs at larger scales, and how far it may be kept."""

from __future__ import annotations

import math

import numpy as np
import pytest

from scalelaw.errors import InputError
from scalelaw.lookahead import keep
from scalelaw.optimum import optimum
from scalelaw.response import Response, respond, skewed
from scalelaw.testing.surfaces import Surface, axes
from scalelaw.testing.worlds import World


def response_of(world: World, seed: int = 0) -> Response:
    found = respond(world.draw(np.random.default_rng(seed))[0], ("width",), ("learning_rate",))
    assert found is not None
    return found


def test_the_bowl_beyond_its_window_has_the_cubics_third_derivative_and_never_turns_down() -> None:
    H, k = np.array([[0.05, -0.01], [-0.01, 0.03]]), np.array([0.004, -0.002])
    d = np.linspace(-6, 6, 241)
    for j in range(2):
        away = np.zeros((len(d), 2))
        away[:, j] = d
        cost = skewed(H, k, away)
        assert np.all(np.diff(cost)[d[1:] > 0] > 0)
        assert np.all(np.diff(cost)[d[:-1] < 0] < 0)
        near = np.abs(d) < 0.2
        np.testing.assert_allclose(cost[near], (0.5 * H[j, j] * d**2 + k[j] * d**3)[near], atol=2e-5)


def test_excess_is_predicted_and_covered() -> None:
    inside = []
    for seed in range(40):
        world = World(sizes=6, tau=0.05)
        response = response_of(world, seed)
        start, at = float(world.widths[2]), 8.0 * float(world.widths[-1])
        rate = math.exp(world.law_rate(start))
        found = keep(response, {"learning_rate": rate}, {"width": start}).excess({"width": at})
        truth = float(world.cost(at, math.log(rate) - world.law_rate(at)))
        inside.append(found.low <= truth <= found.high)
        assert 0.3 < found.value / truth < 3
    assert np.mean(inside) >= 0.78


def test_the_safe_ratio_is_where_the_excess_meets_the_tolerance() -> None:
    world = World(skew=0.0, noise=0.0005, tau=0.0)
    kept = keep(response_of(world), ("learning_rate",), {"width": float(world.widths[3])})
    for tolerance in (0.005, 0.02, 0.05):
        ratio = kept.safe_ratio(tolerance)
        truth = math.exp(math.sqrt(2 * tolerance / world.curvature) / world.exponent)
        assert ratio.low < truth < ratio.high
        assert ratio.value == pytest.approx(truth, rel=0.25)
    assert kept.safe_ratio(0.005).value < kept.safe_ratio(0.05).value


def test_a_setting_whose_best_does_not_move_is_safe() -> None:
    ratio = keep(response_of(World(exponent=0.0, tau=0.01, noise=0.001, sizes=8)), ("learning_rate",)).safe_ratio(0.02)
    assert ratio.high > 1e3


def test_a_kept_setting_that_is_bad_at_once_is_not_safe_anywhere() -> None:
    world = World()
    kept = keep(response_of(world), {"learning_rate": 1e-3 * math.e**3})
    assert kept.safe_ratio(0.02).value == pytest.approx(1.0)


def test_hyperparameters_left_out_are_tuned() -> None:
    world = Surface(axes(2), sizes=6, tau=0.02)
    response = respond(world.draw(np.random.default_rng(0))[0], world.over, world.names)
    assert response is not None
    at = world.target(16.0)
    one = keep(response, ("batch_size",), world.target(1.0)).excess(at)
    both = keep(response, world.names, world.target(1.0)).excess(at)
    assert 0 < one.value < both.value


def test_curvature_is_carried_on_along_its_trend() -> None:
    """Averaged over replicates, ln H at eight times the largest size is the world's, growing, falling or even."""
    for rate in (-0.15, 0.0, 0.2):
        world = Surface(axes(2), growth=rate)
        at = world.target(8.0)
        grown, off, inside = [], [], []
        for seed in range(12):
            response = respond(world.draw(np.random.default_rng(seed))[0], world.over, world.names)
            assert response is not None
            grown.append(response.growth.value[:, 0])
            off.append(np.log(np.diag(response.hessian_at(at)) / np.diag(world.hessian(at))))
            inside.append(np.abs(off[-1]) < 1.645 * response.curvature_sd(at))
            # The bowl keeps its shape in nats, wherever it is.
            shape = [response.skew_at(point) / np.diag(response.hessian_at(point)) for point in (at, world.middle)]
            np.testing.assert_allclose(*shape)
        assert np.mean(grown, axis=0) == pytest.approx(rate, abs=0.04)
        assert np.abs(np.mean(off, axis=0)).max() < 0.25
        assert np.mean(inside) >= 0.75


def test_draws_of_the_sharpness_scatter_as_stated() -> None:
    world = Surface(axes(2), uneven=0.3)
    response = respond(world.draw(np.random.default_rng(0))[0], world.over, world.names)
    assert response is not None
    at = world.target(8.0)
    drawn = np.log(response.sharpness([at], 40_000, np.random.default_rng(1))[:, 0])
    np.testing.assert_allclose(drawn.std(axis=0), response.curvature_sd(at), rtol=0.03)
    np.testing.assert_allclose(drawn.mean(axis=0), 0.0, atol=0.01)
    np.testing.assert_allclose(response.cost(at, np.array([0.5, 0.0]), 2.0), 2 * response.cost(at, np.array([0.5, 0.0])))


def test_uneven_curvature_is_told_from_even() -> None:
    learned = {
        uneven: [
            found.solver.state.between[0]
            for seed in range(10)
            if (
                found := respond(
                    Surface(axes(1), sizes=8, uneven=uneven).draw(np.random.default_rng(seed))[0], ("width",), ("learning_rate",)
                )
            )
        ]
        for uneven in (0.0, 0.3)
    }
    assert np.median(learned[0.0]) < 0.08
    assert 0.15 < np.median(learned[0.3]) < 0.45


@pytest.mark.parametrize(("settings", "words"), [({"momentum": 0.9}, "not tuned"), ({"learning_rate": -1.0}, "no place")])
def test_bad_input_is_one_line(settings: dict[str, float], words: str) -> None:
    with pytest.raises(InputError, match=words):
        keep(response_of(World()), settings)
    with pytest.raises(InputError, match="tolerance"):
        keep(response_of(World()), ("learning_rate",)).safe_ratio(0.0)


def test_regret_is_what_a_run_at_the_predicted_setting_loses() -> None:
    """Over replicates, the mean cost of the predicted setting is the regret that was stated, within a factor of two."""
    stated, real = [], []
    for seed in range(40):
        random = np.random.default_rng(seed)
        world = World(sizes=7, tau=0.15, skew=0.0)
        at = {"width": 4.0 * float(world.widths[-1])}
        found = optimum(world.draw(random)[0], at=at)
        stated.append(found.regret(at).value)
        own = world.law_rate(at["width"]) + world.tau * random.normal()
        real.append(float(world.cost(at["width"], math.log(found["learning_rate"].at(at).value) - own)))
    assert 0.5 < np.mean(real) / np.mean(stated) < 2
