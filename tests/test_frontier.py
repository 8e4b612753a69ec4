"""Bowls, the frontier and the optimum's law recover known truths, and say where they cannot."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scalelaw.cells import default_hyper, default_over
from scalelaw.errors import DataError
from scalelaw.frontier import Edge, frontier, kept_setting
from scalelaw.optimum import optimum
from scalelaw.response import Settings, respond
from scalelaw.testing.worlds import World
from scalelaw.trials import Trials


def draw(world: World, seed: int = 0) -> tuple[Trials, np.ndarray]:
    return world.draw(np.random.default_rng(seed))


def test_an_exact_parabola_is_found_exactly() -> None:
    world = World(skew=0.0, noise=0.0, tau=0.0)
    trials, best = draw(world)
    edge = frontier(trials)
    np.testing.assert_allclose(np.log(edge.trials.numbers("learning_rate")), best, atol=1e-3)
    np.testing.assert_allclose(edge.trials.numbers("loss"), [world.loss(width) for width in world.widths], rtol=1e-4)
    assert edge.curvature["learning_rate"] == pytest.approx(world.curvature, rel=0.02)
    assert set(edge.trials["learning_rate_edge"]) == {Edge.INSIDE.name}


def test_the_cubic_removes_most_of_the_skew_that_biases_a_parabola() -> None:
    errors: dict[bool, list[float]] = {True: [], False: []}
    for seed in range(10):
        trials, best = draw(World(sizes=6), seed)
        for cubic, found in errors.items():
            response = respond(trials, ("width",), ("learning_rate",), Settings(cubic=cubic))
            assert response is not None
            found += [float(bowl.best[0] - top) for bowl, top in zip(response.bowls, best, strict=True)]
    parabola, cubic = (math.sqrt(np.mean(np.square(errors[kind]))) for kind in (False, True))
    assert cubic < 0.6 * parabola


def test_standard_errors_of_bowls_hold() -> None:
    rows = []
    for seed in range(25):
        world = World(sizes=6)
        trials, best = draw(world, seed)
        table = frontier(trials).trials
        rate = (np.log(table.numbers("learning_rate")) - best) / table.numbers("learning_rate_se")
        truth = np.array([world.loss(width) for width in world.widths])
        loss = (table.numbers("loss") - truth) / table.numbers("loss_se")
        rows.append(np.abs([rate, loss]) < 1.645)
    cover = np.mean(rows, axis=(0, 2))
    # 150 bowls: the standard error of a share of 0.9 is 0.025; bowls of one study share their curvature.
    assert np.all(cover > 0.82)


def test_optimum_law_covers_its_nominal_level() -> None:
    law, own, exponent = [], [], []
    world = World(sizes=6, noise=0.003, missing=0.1)
    for seed in range(60):
        random = np.random.default_rng(seed)
        at = {"width": 4 * float(world.widths[-1])}
        found = optimum(world.draw(random)[0], at=at)["learning_rate"]
        truth = world.law_rate(at["width"])
        one, run = found.at(at), found.run_at(at)
        law.append(one.low <= math.exp(truth) <= one.high)
        own.append(run.low <= math.exp(truth + world.tau * random.normal()) <= run.high)
        low, high = found.to_dict()["interval"]["p"]
        exponent.append(low <= world.exponent <= high)
        assert run.low < one.low < one.value < one.high < run.high
    for hits in (law, own, exponent):
        # A true 90 % falls below 0.80 in 60 with probability 0.006.
        assert np.mean(hits) >= 0.80


def test_an_edge_is_said_and_weighs_less() -> None:
    trials, best = draw(World(rates=5, shift=-1.2, noise=0.002))
    table = frontier(trials).trials
    edges = table["learning_rate_edge"]
    assert edges[0] == Edge.HIGH.name
    inside = edges == Edge.INSIDE.name
    assert inside.any()
    se = table.numbers("learning_rate_se")
    assert se[~inside].min() > np.median(se[inside])
    away = np.abs(np.log(table.numbers("learning_rate")) - best)
    assert np.all(away < 3.5 * se + 0.05)


def test_diverged_runs_bound_the_best_setting_and_never_shape_a_bowl() -> None:
    trials, _ = draw(World(noise=0.001))
    clean = frontier(trials).trials
    high = trials.numbers("learning_rate") >= np.unique(trials.numbers("learning_rate"))[-1]
    lost = trials.with_column("loss", np.where(high, np.nan, trials.numbers("loss")))
    lost = lost.with_column("status", np.where(high, "DIVERGED", "COMPLETE").astype(object))
    found = frontier(lost).trials
    assert Edge.HIGH.name not in set(found["learning_rate_edge"])
    np.testing.assert_allclose(found.numbers("loss"), clean.numbers("loss"), rtol=0.02)
    explosive = trials.with_column("loss", np.where(high, 1e9, trials.numbers("loss")))
    at_chance = explosive.with_column("at_chance", high.astype(float))
    np.testing.assert_allclose(frontier(at_chance).trials.numbers("loss"), found.numbers("loss"), rtol=1e-9)


def test_two_hyperparameters_are_found_together() -> None:
    random = np.random.default_rng(0)
    columns: dict[str, list[float]] = {name: [] for name in ("width", "learning_rate", "batch_size", "loss")}
    for width in (16.0, 32.0, 64.0, 128.0, 256.0):
        for u in np.linspace(-2, 2, 6):
            for v in np.linspace(-1.5, 1.5, 5):
                a, b = u + 0.3 * math.log(width / 64), v - 0.2 * math.log(width / 64)
                loss = 5 * width**-0.1 * math.exp(0.5 * (0.03 * a * a + 0.02 * b * b + 0.012 * a * b) + 0.002 * random.normal())
                for name, value in zip(columns, (width, 1e-3 * math.exp(u), 64 * math.exp(v), loss), strict=True):
                    columns[name].append(value)
    found = optimum(Trials.from_columns(columns), at={"width": 1024.0})
    assert set(found.optima) == {"learning_rate", "batch_size"}
    at = found.estimates({"width": 1024.0})
    assert at["learning_rate"].low < 1e-3 * 16**-0.3 < at["learning_rate"].high
    assert at["batch_size"].low < 64 * 16**0.2 < at["batch_size"].high, "a best value may rise with size"


def test_kept_setting_is_the_best_of_the_three_middle_sizes() -> None:
    trials, _ = draw(World(sizes=7, noise=0.0, tau=0.0))
    kept = kept_setting(trials)["learning_rate"]
    rates = np.unique(trials.numbers("learning_rate"))
    middle = trials.where(np.isin(trials.numbers("width"), World(sizes=7).widths[2:5]))
    mean = [np.log(middle.where(middle.numbers("learning_rate") == rate).numbers("loss")).mean() for rate in rates]
    assert kept == rates[int(np.argmin(mean))]


def test_fixed_rows_stand_as_they_are() -> None:
    trials, _ = draw(World(seeds=2))
    kept = kept_setting(trials)
    edge = frontier(trials, fixed=True)
    rows = trials.where(trials.numbers("learning_rate") == kept["learning_rate"])
    means = [np.exp(np.log(group.numbers("loss")).mean()) for _, group in rows.groups(("width",))]
    assert not edge.tuned
    assert dict(edge.settings) == kept
    np.testing.assert_allclose(edge.trials.numbers("loss"), means)


def test_safe_ratio_holds() -> None:
    world = World(skew=0.0, noise=0.0005, tau=0.0)
    found = optimum(draw(world)[0])["learning_rate"]
    ratio = found.safe_ratio(0.02)
    cost = float(world.cost(8.0, world.exponent * math.log(ratio.value)))
    assert cost == pytest.approx(0.02, rel=0.1)
    assert ratio.low < ratio.value < ratio.high


def test_default_scales_are_the_fewest_that_tell_sizes_apart() -> None:
    width = np.repeat([16.0, 32.0, 64.0], 3)
    same = {"width": width, "parameters": width**2, "compute": 6 * width**2, "loss": 1 + 1 / width}
    assert default_over(Trials.from_columns(same)) == ("width",)
    tokens = np.tile([1e6, 2e6, 4e6], 3)
    both = {"parameters": width**2, "tokens": tokens, "compute": 6 * width**2 * tokens, "loss": 1 + 1 / width}
    assert default_over(Trials.from_columns(both)) == ("parameters", "tokens")
    assert default_over(Trials.from_columns(both), {"compute": 1e12}) == ("compute",)


def test_a_hyperparameter_that_varies_only_with_size_is_not_tuned() -> None:
    trials, _ = draw(World())
    trials = trials.with_column("batch_size", trials.numbers("width"))
    assert default_hyper(trials, ("width",)) == ("learning_rate",)


@pytest.mark.parametrize("what", ["one size", "text", "not positive", "nothing finished", "nothing tuned", "one tuned size"])
def test_bad_input_is_one_line(what: str) -> None:
    trials, _ = draw(World(sizes=3))
    first = trials.numbers("width") == 8.0
    cases = {
        "one size": lambda: frontier(trials.where(first)),
        "text": lambda: frontier(trials.with_column("width", ["wide"] * len(trials)), over="width"),
        "not positive": lambda: frontier(trials.with_column("loss", trials.numbers("loss") - 10)),
        "nothing finished": lambda: frontier(trials.with_column("loss", np.full(len(trials), np.nan)), over="width"),
        "nothing tuned": lambda: optimum(trials.where(trials.numbers("learning_rate") == trials.numbers("learning_rate")[0])),
        "one tuned size": lambda: optimum(trials.where(first), over="width"),
    }
    with pytest.raises(DataError) as error:
        cases[what]()
    assert "\n" not in str(error.value)


@settings(max_examples=25, deadline=None)
@given(factor=st.floats(1e-3, 1e3), unit=st.floats(1e-3, 1e3), seed=st.integers(0, 5))
def test_units_do_not_matter(factor: float, unit: float, seed: int) -> None:
    trials, _ = draw(World(sizes=4, rates=5), seed)
    other = trials.with_column("loss", factor * trials.numbers("loss"))
    other = other.with_column("learning_rate", unit * trials.numbers("learning_rate"))
    one, two = frontier(trials).trials, frontier(other).trials
    np.testing.assert_allclose(two.numbers("loss"), factor * one.numbers("loss"), rtol=1e-5)
    np.testing.assert_allclose(two.numbers("learning_rate"), unit * one.numbers("learning_rate"), rtol=1e-3)


def test_a_study_that_learned_nothing_is_not_told_to_add_sizes() -> None:
    columns = {"width": [8.0, 16.0, 32.0], "loss": [2.3, 2.3, 2.3], "at_chance": [1.0, 1.0, 1.0]}
    with pytest.raises(DataError, match="stayed at chance"):
        frontier(Trials.from_columns(columns))
