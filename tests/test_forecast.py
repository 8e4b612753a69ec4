"""Forecasts: intervals hold in worlds with a known truth, reach is said, and wrong questions are one line."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest

from scalelaw.errors import DataError
from scalelaw.forecast import forecast
from scalelaw.frontier import frontier
from scalelaw.testing.worlds import World
from scalelaw.trials import Trials


def draw(world: World, seed: int = 0) -> Trials:
    return world.draw(np.random.default_rng(seed))[0]


@pytest.mark.parametrize("law", ["saturating", "power", "log_linear"])
def test_interval_covers_a_tuned_run(law: str) -> None:
    world = World(law=law, sizes=7)
    hits = []
    for seed in range(10):
        random = np.random.default_rng(seed)
        found = forecast(world.draw(random)[0], {"width": 4 * float(world.widths[-1])})
        run = world.run(random, found.at["width"])
        hits.append(found.low <= run <= found.high)
        assert abs(math.log(found.loss / world.loss(found.at["width"]))) < 0.05
    # A true 90 % has fewer than 7 hits in 10 with probability 0.01; benchmarks/calibration has the rates.
    assert sum(hits) >= 7


def test_the_stack_prefers_the_true_law_and_its_variance_adds_up() -> None:
    found = forecast(draw(World(law="log_linear", noise=0.001, tau=0.0)), {"width": 8192.0})
    assert found.laws[0].name == "log_linear"
    assert sum(each.weight for each in found.laws) == pytest.approx(1.0)
    assert all(value >= 0 for value in found.variance.values())
    # The t's tails and the mixture keep the two from being equal.
    assert 0.5 < found.sd_log / math.sqrt(sum(found.variance.values())) < 2.0
    value, low, high = found.predict({"width": np.array([16.0, 8192.0])})
    assert value[1] == pytest.approx(found.loss, rel=1e-6)
    assert (low[1], high[1]) == (pytest.approx(found.low, rel=1e-6), pytest.approx(found.high, rel=1e-6))
    assert high[1] / low[1] > high[0] / low[0], "further is less certain"


def test_intervals_widen_with_level_and_distance() -> None:
    trials = draw(World())
    edge = frontier(trials)
    narrow, wide = (forecast(edge, {"width": 4096.0}, level=level) for level in (0.5, 0.95))
    assert wide.low < narrow.low < narrow.loss < narrow.high < wide.high
    far = forecast(edge, {"width": 4096.0 * 64})
    assert far.sd_log > narrow.sd_log
    assert "beyond the" in far.reach.message
    assert "short_reach" in {finding.name for finding in far.findings}


def test_json_is_the_contract() -> None:
    found = forecast(draw(World()), {"width": 4096.0})
    plain = json.loads(json.dumps(found.to_dict(), allow_nan=False))
    assert {"at", "loss", "low", "high", "level", "laws", "reach", "backtest", "findings", "optimum", "fixed"} <= set(plain)
    assert {"coverage", "error", "n"} <= set(plain["backtest"])
    assert {"value", "low", "high"} == set(plain["optimum"]["learning_rate"])
    assert {"loss", "low", "high"} <= set(plain["fixed"])
    assert all({"name", "weight"} <= set(each) for each in plain["laws"])


def test_the_fixed_forecast_is_of_the_named_setting() -> None:
    trials = draw(World())
    rate = float(np.unique(trials.numbers("learning_rate"))[2])
    found = forecast(trials, {"width": 4096.0}, with_={"learning_rate": rate})
    assert found.fixed is not None
    assert dict(found.fixed.setting) == {"learning_rate": rate}
    assert found.fixed.predict({"width": [4096.0]})[0][0] == pytest.approx(found.fixed.loss, rel=1e-6)


def test_a_ladder_at_one_setting_says_that_tuning_is_untested() -> None:
    trials = draw(World(rates=1))
    found = forecast(trials, {"width": 4096.0})
    assert found.findings[0].name == "tuning_untested"
    assert found.optima is None
    assert found.optimum == {}
    assert found.fixed is not None


@pytest.mark.parametrize(("width", "words"), [(64.0, "interpolation"), (2.0, "backwards"), (4096.0, "checked over up to")])
def test_reach_is_one_sentence(width: float, words: str) -> None:
    assert words in forecast(draw(World()), {"width": width}).reach.message


def test_two_sizes_are_answered_with_a_wide_interval_and_a_finding() -> None:
    two = forecast(draw(World(sizes=2)), {"width": 64.0})
    many = forecast(draw(World(sizes=8, smallest=0.125)), {"width": 64.0})
    assert two.high / two.low > many.high / many.low
    assert "few_scales" in {finding.name for finding in two.findings}
    assert "no forecast from these data could be checked" in two.reach.message
    assert json.dumps(two.to_dict(), allow_nan=False)


def test_a_line_that_reaches_zero_leaves_the_word_to_other_laws() -> None:
    found = forecast(draw(World(law="log_linear")), {"width": 1e8})
    assert 0 < found.low < found.loss < found.high
    with pytest.raises(DataError, match="zero loss"):
        forecast(draw(World(law="log_linear")), {"width": 1e8}, law="log_linear")


@pytest.mark.parametrize("at", [{"depth": 3.0}, {"width": -1.0}, {"width": math.nan}, {}])
def test_a_wrong_target_is_one_line(at: dict[str, float]) -> None:
    with pytest.raises(DataError) as error:
        forecast(draw(World(sizes=4)), at)
    assert "\n" not in str(error.value)


def test_one_size_is_refused() -> None:
    with pytest.raises(DataError, match="size"):
        forecast(draw(World(sizes=1)), {"width": 64.0})


def test_quantiles_and_draws_are_those_of_the_interval() -> None:
    trials, _ = World().draw(np.random.default_rng(0))
    found = forecast(trials, {"width": 4096.0}, level=0.8)
    assert found.quantile(0.1) == pytest.approx(found.low)
    assert found.quantile(0.5) == pytest.approx(found.loss)
    assert found.quantile(0.9) == pytest.approx(found.high)
    draws = found.draw(40_000, seed=1)
    np.testing.assert_array_equal(draws, found.draw(40_000, seed=1))
    np.testing.assert_allclose(np.quantile(draws, [0.1, 0.5, 0.9]), [found.low, found.loss, found.high], rtol=2e-3)
    with pytest.raises(DataError, match="no probability"):
        found.quantile(1.5)


def test_backtests_are_told_by_how_far_ahead_they_went() -> None:
    trials, _ = World().draw(np.random.default_rng(0))
    checks = forecast(trials, {"width": 4096.0}).backtest
    parts = checks.by_ratio()
    assert [part.ratio for part in parts] == [2.0, 4.0, 8.0, 16.0, 32.0]
    assert sum(part.n for part in parts) == checks.n
    assert sum(part.n * part.interval_score for part in parts) / checks.n == pytest.approx(checks.interval_score)
    # Wider the farther: the score of an honest interval grows with the reach.
    assert parts[-1].interval_score > parts[0].interval_score
