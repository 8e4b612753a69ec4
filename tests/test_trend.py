"""The law of best settings: straight and bent, its intervals, and what the priors put in."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from scalelaw._student import cdf
from scalelaw.axis import Axis, axis_of
from scalelaw.readings import READINGS, read
from scalelaw.redraw import redraw
from scalelaw.response import Response, Settings, respond
from scalelaw.testing.surfaces import Surface, axes
from scalelaw.testing.worlds import World
from scalelaw.trend import Path, straighten
from scalelaw.trials import Trials


def response_of(world: Surface | World, seed: int = 0) -> Response:
    trials, _ = world.draw(np.random.default_rng(seed))
    over = world.over if isinstance(world, Surface) else ("width",)
    hyper = world.names if isinstance(world, Surface) else ("learning_rate",)
    found = respond(trials, over, hyper)
    assert found is not None
    return found


@pytest.mark.parametrize("degrees", [1, 2.5, 7, 60, 5000])
@pytest.mark.parametrize("t", [-8.0, -1.3, 0.0, 0.4, 3.0])
def test_students_distribution(t: float, degrees: float) -> None:
    assert cdf(t, degrees) == pytest.approx(float(stats.t.cdf(t, degrees)), rel=1e-5, abs=1e-12)


def test_axes_go_there_and_back() -> None:
    for name, value in (("learning_rate", 3e-4), ("beta2", 0.999), ("warmup", 0.02), ("damping", 7.0)):
        axis = axis_of(name)
        assert axis.setting(float(axis.coordinate(np.array(value)))) == pytest.approx(value, rel=1e-12)
    assert axis_of("beta2") is Axis.REST
    assert axis_of("beta2").between(-3.0, -2.0) == pytest.approx((1 - math.exp(-2), 1 - math.exp(-3)))
    assert np.isnan(axis_of("weight_decay").coordinate(np.array([0.0, -1.0]))).all()
    assert np.isnan(axis_of("dropout").coordinate(np.array([0.0, 1.0]))).all()


def test_straightening_is_conditioning_on_no_bend() -> None:
    """The straight law inside a bent one is what a fit without the bend finds; the odds are the ratio of the evidences."""
    random = np.random.default_rng(0)
    s = np.linspace(-2, 2, 9)
    X = np.column_stack([np.ones(9), s, 0.5 * s**2])
    y, sd, prior = X @ [1.0, -0.4, 0.03] + 0.05 * random.standard_normal(9), 0.05, 0.05
    wide = np.diag([1e-8, 1e-8, prior**-2])
    covariance = np.linalg.inv(X.T @ X / sd**2 + wide)
    before = 0.25
    straight, left, chance = straighten(covariance @ X.T @ y / sd**2, covariance, prior, before)
    short = X[:, :2]
    alone = np.linalg.inv(short.T @ short / sd**2 + wide[:2, :2])
    np.testing.assert_allclose(straight, alone @ short.T @ y / sd**2, rtol=1e-6)
    np.testing.assert_allclose(left, alone, rtol=1e-6)
    evidence = [
        stats.multivariate_normal.logpdf(y, np.zeros(9), sd**2 * np.eye(9) + design @ np.diag(variance) @ design.T)
        for design, variance in ((X, [1e4, 1e4, prior**2]), (short, [1e4, 1e4]))
    ]
    weights = [(1 - before) * math.exp(evidence[0] - evidence[1]), before]
    assert chance == pytest.approx(weights[1] / sum(weights), rel=1e-3)


def test_quantiles_are_those_of_the_average() -> None:
    path = Path(np.array([0.0, -1.0]), 0.01 * np.eye(2), np.array([0.0, -1.0, 0.3]), 0.02 * np.eye(3), 0.4, 0.1, 5, np.zeros(1))
    s = np.array([1.5])
    draws = path.draw(200_000, np.random.default_rng(0), tau=False)(s[None])[:, 0]
    found = path.quantiles(s, (0.05, 0.5, 0.95))
    np.testing.assert_allclose(found, np.quantile(draws, [0.05, 0.5, 0.95]), atol=0.01)


def test_a_bent_law_is_seen_and_forecast() -> None:
    """A rate that falls faster at large sizes: the straight law misses it, the average does not."""
    bent = replace(axes(1)[0], bend=-0.06)
    inside, straight_misses = [], []
    for seed in range(12):
        world = Surface((bent,), sizes=9, tau=0.03)
        response = response_of(world, seed)
        at = world.target(8.0)
        s, path, truth = response.trend.place(at), response.trend.paths[0], float(world.best(at)[0])
        low, high = path.quantiles(s, (0.05, 0.95))
        inside.append(low <= truth <= high)
        (_, mean, sd), _ = path.parts(s)
        straight_misses.append(abs(mean - truth) > 2 * sd)
        assert path.straight < 0.25
        bend = response.trend.bend("learning_rate", "width")
        # The law's coefficient is of s^2; a bend is the second derivative, and the world turns about its own middle.
        assert bend.low < 2 * -0.06 < bend.high or abs(bend.value + 0.12) < 0.05
    assert np.mean(inside) >= 0.75
    assert np.mean(straight_misses) > 0.9


def test_a_law_that_may_not_bend_is_straight() -> None:
    world = World(sizes=8, tau=0.02, noise=0.001)
    trials, _ = world.draw(np.random.default_rng(1))
    straight = respond(trials, ("width",), ("learning_rate",), Settings(bend=0.0))
    assert straight is not None
    path = straight.trend.paths[0]
    assert path.straight == 1.0
    told = straight.trend.exponent("learning_rate", "width")
    assert told.low < -0.35 < told.high
    assert straight.trend.bend("learning_rate", "width").value == 0.0


def test_two_scales_answer_with_the_priors_share() -> None:
    response = response_of(World(sizes=2))
    path = response.trend.paths[0]
    one = response.trend.exponent("learning_rate", "width")
    assert path.degrees == 1
    assert 0 < path.prior_share[0] < 1
    assert one.low < -0.35 < one.high
    assert response_of(World(sizes=8)).trend.paths[0].prior_share[0] < path.prior_share[0]


def test_a_scale_with_one_setting_leans_on_the_law() -> None:
    """A large run at a kept rate: its best case is its loss less what the law says the rate costs there."""
    world = World(sizes=6, tau=0.02, noise=0.001)
    trials, _ = world.draw(np.random.default_rng(3))
    width = 4.0 * float(world.widths[-1])
    kept = math.exp(world.law_rate(float(world.widths[2])))
    loss = world.loss(width) * math.exp(float(world.cost(width, math.log(kept) - world.law_rate(width))))
    columns = {name: [*column.tolist(), column[-1]] for name, column in trials.columns.items()}
    for name, value in (("width", width), ("learning_rate", kept), ("loss", loss)):
        columns[name][-1] = value
    found = respond(Trials.from_columns(columns), ("width",), ("learning_rate",))
    assert found is not None
    last = found.bowls[-1]
    assert last.edge[0].name == "ALONE"
    assert math.log(loss) - last.log_loss > 0.02
    assert abs(last.log_loss - math.log(world.loss(width))) < 2.5 * last.log_loss_se
    assert last.log_loss_se > 3 * found.bowls[-2].log_loss_se


def test_best_settings_come_back_in_any_units() -> None:
    world = Surface(axes(3), sizes=5)
    trials, _ = world.draw(np.random.default_rng(1))
    scaled = trials
    for name, unit in zip(world.names, (1e3, 2048.0, 1e-2), strict=True):
        scaled = scaled.with_column(name, unit * trials.numbers(name))
    at = world.target(4.0)
    one, two = (respond(each, world.over, world.names) for each in (trials, scaled))
    assert one is not None
    assert two is not None
    np.testing.assert_allclose(two.trend.best(at) - one.trend.best(at), np.log([1e3, 2048.0, 1e-2]), atol=2e-3)


def test_the_bootstrap_agrees_with_random_effects_from_eight_scales_on() -> None:
    response = response_of(World(sizes=8, tau=0.1), 2)
    again = redraw(response, 300)
    np.testing.assert_array_equal(again.laws, redraw(response, 300).laws)
    ours, theirs = response.trend.exponent("learning_rate", "width"), again.exponent("learning_rate", "width")
    assert 0.4 < (theirs.high - theirs.low) / (ours.high - ours.low) < 1.6
    assert theirs.low < ours.value < theirs.high
    at = {"width": 4096.0}
    there = again.at(at, "learning_rate")
    assert there.low < there.value < there.high


@pytest.mark.parametrize("name", list(READINGS))
def test_every_reading_finds_the_law(name: str) -> None:
    inside = []
    for seed in range(20):
        found = read(response_of(World(sizes=7, tau=0.05), seed), name)
        power = found.exponent("learning_rate", "width")
        inside.append(power.low <= -0.35 <= power.high)
    # A parabola and the lowest run are biased by the skew alike at every size, which the exponent does not see.
    assert np.mean(inside) >= 0.75


def test_the_profile_interval_covers() -> None:
    inside, widths = [], []
    for seed in range(40):
        reading = read(response_of(World(sizes=6, tau=0.1), seed))
        found, plain = reading.profile("learning_rate", "width"), reading.exponent("learning_rate", "width")
        inside.append(found.low <= -0.35 <= found.high)
        widths.append((found.high - found.low) / (plain.high - plain.low))
        assert found.low < found.value < found.high
    assert np.mean(inside) >= 0.78
    assert 0.8 < np.median(widths) < 1.4
