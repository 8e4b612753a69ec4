"""The cliff: where runs begin to diverge is recovered with intervals that hold, and the corner cases have an answer."""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import pytest

from scalelaw.cliff import cliff
from scalelaw.diagnostics import Case, diagnostics
from scalelaw.errors import InputError
from scalelaw.frontier import frontier
from scalelaw.lookahead import keep
from scalelaw.response import Response, respond
from scalelaw.testing.surfaces import Surface, axes
from scalelaw.trials import Trials


def world(count: int = 1, shift: float = 0.5, **changes: Any) -> Surface:
    """Grids that reach over a cliff 1.4 nats above the best rate; the margin closes by 0.15 per nat of width."""
    return Surface(axes(count, learning_rate={"shift": shift, "points": 9 if count == 1 else 7}), cliff=1.4, **changes)


def drawn(surface: Surface, seed: int = 0) -> tuple[Trials, Response]:
    trials, _ = surface.draw(np.random.default_rng(seed))
    response = respond(trials, surface.over, surface.names)
    assert response is not None
    return trials, response


def largest(surface: Surface) -> dict[str, float]:
    return surface.target(1.0)


def test_the_cliff_is_where_half_the_runs_diverge() -> None:
    surface = world(seeds=30, sizes=5)
    _, response = drawn(surface)
    found = cliff(response)
    assert found is not None
    assert not found.separable
    for place in surface.ladder:
        point = surface.point(place)
        told = found.edge(point)
        assert math.log(told.value) == pytest.approx(surface.edge_of_stability(point), abs=0.1)
        assert told.low < told.value < told.high
        for away in (-0.3, 0.0, 0.3):
            rate = math.exp(surface.edge_of_stability(point) + away)
            chance = found.risk(point, {"learning_rate": rate})
            assert chance == pytest.approx(surface.divergence(point, math.log(rate)), abs=0.25)
    assert found.width.low <= surface.cliff_sd <= found.width.high
    assert found.slope().value == pytest.approx(surface.cliff_exponent - surface.exponents[0, 0], abs=0.08)


@pytest.mark.parametrize(
    "surface",
    [world(seeds=2), world(2), world(3), world(over=("width", "tokens"), smallest=(64.0, 1e6), sizes=4), world(cliff_sd=0.02)],
    ids=["one", "two", "three", "two scales", "sharp"],
)
def test_intervals_of_the_margin_and_its_slope_cover(surface: Surface) -> None:
    """Nominal 90 %; 100 replicates of one world have a standard error of 3 points."""
    inside: list[tuple[bool, bool]] = []
    for seed in range(100):
        trials, response = drawn(surface, 1000 + seed)
        found = cliff(response, trials=trials)
        assert found is not None
        point = largest(surface)
        margin, slope = found.margin(point), found.slope()
        truth = surface.edge_of_stability(point) - surface.best(point)[0]
        inside.append(
            (margin.low <= truth <= margin.high, slope.low <= surface.cliff_exponent - surface.exponents[0, 0] <= slope.high)
        )
    assert np.mean(inside, axis=0).min() >= 0.85


def test_where_the_margin_closes() -> None:
    surface = world(seeds=4, sizes=6, cliff_exponent=-0.8)
    _, response = drawn(surface)
    found = cliff(response)
    assert found is not None
    start = largest(surface)
    margin = surface.edge_of_stability(start) - surface.best(start)[0]
    best = math.exp(margin / 0.45)
    kept = math.exp(margin / 0.8)
    met, held = found.meets(), found.meets(("learning_rate",))
    assert met.ratio is not None
    assert held.ratio is not None
    assert met.ratio.low <= best <= met.ratio.high
    assert held.ratio.low <= kept <= held.ratio.high
    # The best gives way to the cliff, and so meets it later than what is kept.
    assert held.ratio.value < met.ratio.value
    assert met.scale is not None
    assert met.scale.value == pytest.approx(met.ratio.value * start["width"])
    assert "meets the cliff near width" in held.message
    assert found.meets(keep(response, ("learning_rate",))).to_dict() == held.to_dict()
    hot = found.meets({"learning_rate": 1.0})
    assert "already at width" in hot.message
    # A small model's rate meets it sooner than that of the largest, seen from the small model's size.
    early = found.meets(("learning_rate",), surface.point(surface.ladder[0]))
    assert early.ratio is not None
    assert early.ratio.value > 1


def test_a_margin_that_widens_is_told_in_a_sentence() -> None:
    _, response = drawn(world(seeds=4, cliff_exponent=0.3))
    found = cliff(response)
    assert found is not None
    met = found.meets()
    assert met.scale is None
    assert met.probability < 0.06
    assert "stays below the cliff" in met.message
    assert json.loads(json.dumps(found.to_dict(), allow_nan=False))["best_meets"]["scale"] is None


def test_separable_data_keep_a_finite_answer() -> None:
    """One plane parts failures from the rest: likelihood alone would make the cliff infinitely sharp."""
    surface = world(cliff_sd=1e-6, tau=0.01)
    _, response = drawn(surface)
    found = cliff(response)
    assert found is not None
    assert found.separable
    assert np.all(np.isfinite(found.theta))
    assert np.all(np.abs(found.theta[1:]) < 20)
    for place in surface.ladder:
        point = surface.point(place)
        told = found.edge(point)
        assert math.log(told.low) < surface.edge_of_stability(point) < math.log(told.high)
    # The grid's step, which is all that the data tell, and not nothing.
    assert 0.1 < found.edge(largest(surface)).stderr < 1.0


def test_without_failures_there_is_no_cliff() -> None:
    surface = Surface(axes(1, learning_rate={"points": 5}))
    trials, response = drawn(surface)
    assert cliff(response, trials=trials) is None


def test_rates_too_low_to_leave_chance_are_no_cliff() -> None:
    surface = Surface(axes(1, learning_rate={"points": 5}))
    trials, _ = drawn(surface)
    rate = np.unique(trials.numbers("learning_rate"))
    table = trials.with_column("at_chance", (trials.numbers("learning_rate") <= rate[0] * 1.001).astype(float))
    response = respond(table, surface.over, surface.names)
    assert response is not None
    assert cliff(response, trials=table) is None


def test_a_scale_of_which_every_run_diverged_takes_part() -> None:
    surface = world(seeds=2, sizes=5)
    trials, _ = drawn(surface)
    width = surface.ladder[-1, 0]
    # At the largest size only rates beyond the cliff were tried.
    wall = math.exp(surface.edge_of_stability({"width": width}) + 0.5)
    trials = trials.where((trials.numbers("width") < width * 0.99) | (trials.numbers("learning_rate") > wall))
    assert not len(trials.where(trials.numbers("width") > width * 0.99).finished)
    response = respond(trials, surface.over, surface.names)
    assert response is not None
    known, blind = cliff(response, trials=trials), cliff(response)
    assert known is not None
    assert blind is not None
    assert known.failed > blind.failed
    assert width in known.bad[0]
    told = known.edge({"width": width})
    assert math.log(told.low) <= surface.edge_of_stability({"width": width}) <= math.log(told.high)
    assert told.high < blind.edge({"width": width}).high


def test_along_a_hyperparameter_that_does_not_matter_there_is_no_near_cliff() -> None:
    surface = world(2)
    _, response = drawn(surface)
    found = cliff(response, "batch_size")
    assert found is not None
    assert found.margin(largest(surface)).high > 3.0


def test_low_sides_have_cliffs_too() -> None:
    """What is left of 1 - beta2: small coordinates diverge."""
    random = np.random.default_rng(0)
    rows: list[tuple[float, float, float, str]] = []
    for width in (64.0, 128.0, 256.0, 512.0):
        for rest in np.geomspace(1e-3, 0.3, 9):
            away = math.log(rest / 0.03)
            lost = away < -1.7
            loss = 3 * width**-0.2 * math.exp(0.02 * away**2 + 0.002 * random.normal())
            rows.append((width, 1 - rest, math.nan if lost else loss, "DIVERGED" if lost else "COMPLETE"))
    trials = Trials.from_columns(dict(zip(("width", "beta2", "loss", "status"), zip(*rows, strict=True), strict=True)))
    response = respond(trials, ("width",), ("beta2",))
    assert response is not None
    found = cliff(response)
    assert found is not None
    assert found.side == -1
    told = found.edge({"width": 512.0})
    assert told.low <= told.value <= told.high
    assert 1 - told.value == pytest.approx(0.03 * math.exp(-1.7), rel=0.5)
    assert found.margin({"width": 512.0}).value == pytest.approx(1.7, abs=0.45)


def test_a_call_that_makes_no_sense_says_so() -> None:
    surface = world(2)
    _, response = drawn(surface)
    found = cliff(response)
    assert found is not None
    with pytest.raises(InputError, match="was not tuned"):
        cliff(response, "epsilon")
    with pytest.raises(InputError, match="was not tuned"):
        found.risk(largest(surface), {"epsilon": 1e-8})
    with pytest.raises(InputError, match="no learning_rate is kept"):
        found.meets({"batch_size": 64.0})


def test_a_margin_that_shrinks_or_runs_short_is_a_finding() -> None:
    near = diagnostics["near_cliff"]

    def told(exponent: float, ratio: float, wall: float = 1.8) -> str:
        surface = Surface(axes(1, learning_rate={"shift": 0.5, "points": 9}), cliff=wall, cliff_exponent=exponent, seeds=2)
        trials, _ = surface.draw(np.random.default_rng(3))
        found = near.find(Case(trials, frontier(trials), surface.target(ratio)))
        return "" if found is None else f"{found.message} {found.action}"

    assert told(-0.35, 4.0) == ""
    shrinking = told(-0.7, 2.0)
    assert "the margin shrinks by 0." in shrinking
    assert "The best setting meets the cliff near width" in shrinking
    assert "stay below learning_rate" in shrinking
    short = told(-0.35, 1.0, wall=0.6)
    assert "above the best learning_rate" in short
    assert "shrinks" not in short
