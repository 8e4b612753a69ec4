"""Transfer: whether a best setting settles, what keeping one costs, and whether transfer is fast."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from functools import cache

import numpy as np
import pytest

from scalelaw.errors import DataError
from scalelaw.frontier import frontier
from scalelaw.settling import Settling, settling
from scalelaw.testing.surfaces import Surface, axes
from scalelaw.testing.worlds import World
from scalelaw.transfer import Asymptote, Metrics, Speed, Transfer, transfer

SIZES = 8.0 * 2.0 ** np.arange(8)


def settled(b: float, gap: float = 1.5, noise: float = 0.0, sizes: np.ndarray = SIZES) -> np.ndarray:
    """-7 + gap (n / n_0)^-b, with noise."""
    random = np.random.default_rng(5)
    return -7.0 + gap * (sizes / sizes[0]) ** -b + noise * random.standard_normal(len(sizes))


def found(y: np.ndarray, se: float = 0.01) -> Settling:
    return settling(np.log(SIZES), y, np.full(len(y), se))


@pytest.mark.parametrize("b", [-0.4, 0.3, 0.8, 1.6])
def test_an_exponent_and_its_limit_are_found(b: float) -> None:
    curve = found(settled(b))
    step = curve.exponents[1] - curve.exponents[0]
    assert curve.value == pytest.approx(b, abs=step)
    estimate = curve.estimate()
    assert estimate.low < b < estimate.high
    if b > 0:
        limits = curve.limits(np.full(400, b), np.random.default_rng(0))
        assert np.median(limits) == pytest.approx(-7.0, abs=0.05)


def test_a_straight_line_in_ln_size_has_exponent_zero_and_no_limit() -> None:
    curve = found(-7.0 - 0.35 * np.log(SIZES))
    assert curve.value == pytest.approx(0.0, abs=1e-9)
    assert np.all(np.isinf(curve.limits(np.array([-0.5, 0.0, -math.inf]), np.random.default_rng(0))))


def test_a_constant_says_nothing_about_its_exponent() -> None:
    curve = found(np.full(8, -7.0) + 0.01 * np.array([1, -1, 0.5, 0, -0.5, 1, -1, 0]), se=0.02)
    assert curve.constant > 0.1
    estimate = curve.estimate()
    assert estimate.low == -math.inf
    assert estimate.high == math.inf


def test_a_quantity_that_moves_is_not_constant() -> None:
    assert found(settled(0.8, noise=0.02), se=0.02).constant < 1e-3


def test_the_profile_does_not_depend_on_the_unit_of_size() -> None:
    y = settled(0.5, noise=0.03)
    one, other = found(y), settling(np.log(SIZES * 1e6), y, np.full(8, 0.01))
    assert other.value == pytest.approx(one.value)
    assert other.roots == pytest.approx(one.roots, abs=1e-6)


# ---- worlds whose best rate settles --------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Settled(World):
    """ln z*(n) = limit + gap (n / n_0)^-b, centred on the grid; gap 0 is the straight law of `World`. The loss has a = 0.35."""

    b: float = 0.8
    gap: float = 1.5

    @property
    def limit(self) -> float:
        return math.log(1e-3) - 0.5 * self.gap * (1 + (self.widths[-1] / self.smallest) ** -self.b)

    def law_rate(self, width: float) -> float:
        return self.limit + self.gap * (width / self.smallest) ** -self.b if self.gap else super().law_rate(width)


FAST = Settled()
SLOW = Settled(b=0.1, gap=6.0, tau=0.03, rates=11)
STRAIGHT = Settled(gap=0.0, exponent=0.35)
STILL = Settled(gap=0.0, exponent=0.0)


@cache
def studies(world: Settled, count: int = 20) -> list[tuple[Transfer, Metrics, np.ndarray]]:
    random = np.random.default_rng(11)
    result: list[tuple[Transfer, Metrics, np.ndarray]] = []
    for _ in range(count):
        trials, best = world.draw(random)
        measured = transfer(trials)
        result.append((measured, measured["learning_rate"], best))
    return result


def share(hits: list[bool]) -> float:
    return sum(hits) / len(hits)


@pytest.mark.parametrize(
    ("world", "truth", "expected"),
    [
        (FAST, 2 * 0.8 - 0.35, {Speed.FAST, Speed.OPEN}),
        (SLOW, 2 * 0.1 - 0.35, {Speed.SLOW, Speed.DRIFTS, Speed.OPEN}),
        (STRAIGHT, -0.35, {Speed.DRIFTS, Speed.OPEN, Speed.SLOW}),
        (STILL, math.inf, {Speed.STILL, Speed.OPEN}),
    ],
    ids=["fast", "slow", "straight", "still"],
)
def test_the_statistic_is_covered_and_its_verdict_right(world: Settled, truth: float, expected: set[Speed]) -> None:
    found = studies(world)
    # A true 90 % falls below 0.75 in 20 with probability 0.04; all worlds are pooled below.
    assert share([m.speed.low <= truth <= m.speed.high for _, m, _ in found if m.speed]) >= 0.75
    assert share([m.verdict in expected for _, m, _ in found]) >= 0.95


def test_the_exponents_of_loss_and_of_the_statistic_are_covered_over_all_worlds() -> None:
    truths = {FAST: 1.25, SLOW: -0.15, STRAIGHT: -0.35, STILL: math.inf}
    found = [(each.decay, m.speed, truth) for world, truth in truths.items() for each, m, _ in studies(world)]
    assert share([decay.low <= 0.35 <= decay.high for decay, _, _ in found if decay]) >= 0.82
    assert share([speed.low <= truth <= speed.high for _, speed, truth in found if speed]) >= 0.82
    assert len(found) == 80


def test_each_verdict_is_usual_in_its_world() -> None:
    assert share([m.verdict is Speed.FAST for _, m, _ in studies(FAST)]) >= 0.8
    assert share([m.verdict is Speed.STILL for _, m, _ in studies(STILL)]) >= 0.8
    drifting = [m for _, m, _ in studies(Settled(gap=0.0, exponent=0.6, tau=0.03, noise=0.002), 12)]
    assert share([m.verdict is Speed.DRIFTS for m in drifting]) >= 0.6


def test_the_penalty_and_its_limit_are_covered() -> None:
    within: list[bool] = []
    limits: list[bool] = []
    for _, m, best in studies(FAST):
        paid = float(FAST.cost(FAST.widths[-1], math.log(m.kept) - best[-1]))
        within.append(m.penalty.low <= paid <= m.penalty.high)
        if m.limit is not None:
            assert m.asymptote is Asymptote.FINITE
            limits.append(m.limit.low <= float(FAST.cost(FAST.widths[-1], math.log(m.kept) - FAST.limit)) <= m.limit.high)
    assert share(within) >= 0.85
    assert len(limits) >= 15
    assert share(limits) >= 0.85


def test_a_straight_law_has_a_penalty_that_grows_and_no_limit() -> None:
    world = Settled(gap=0.0, exponent=0.35)
    trials, _ = world.draw(np.random.default_rng(2))
    near, far = transfer(trials), transfer(trials, at={"width": 1e5})
    assert near["learning_rate"].asymptote is far["learning_rate"].asymptote is Asymptote.GROWS
    assert far["learning_rate"].limit is None
    truth = float(world.cost(1e5, math.log(far["learning_rate"].kept) - world.law_rate(1e5)))
    penalty = far["learning_rate"].penalty
    assert penalty.low <= truth <= penalty.high
    assert penalty.value > 20 * near["learning_rate"].penalty.value


def test_the_fit_error_is_the_scatter_about_a_law_that_holds() -> None:
    found = [m.fit_error for _, m, _ in studies(STRAIGHT)]
    assert share([each.low <= STRAIGHT.tau <= each.high for each in found]) >= 0.8
    # Where the best settles, a straight law misses by more than the scatter.
    assert np.median([m.fit_error.value for _, m, _ in studies(FAST)]) > 2 * FAST.tau


@pytest.mark.parametrize("growth", [-0.2, 0.0, 0.2])
def test_the_robustness_exponent_is_the_growth_of_curvature(growth: float) -> None:
    found = [m.robustness for _, m, _ in studies(Settled(gap=0.0, growth=growth), 8)]
    assert share([each.low <= growth <= each.high for each in found]) >= 0.85
    # The surface's prior, 0.3 per nat about 0, takes part.
    assert np.mean([each.value for each in found]) == pytest.approx(growth, abs=0.1)


def test_the_miss_is_that_of_the_size_left_out() -> None:
    found = studies(STRAIGHT)
    gaps = [(m.miss, best[-1] - STRAIGHT.law_rate(STRAIGHT.widths[-1])) for _, m, best in found if m.miss]
    assert len(gaps) == 20
    assert share([miss.low <= 0.0 <= miss.high for miss, _ in gaps]) >= 0.8
    assert np.corrcoef([miss.value for miss, _ in gaps], [gap for _, gap in gaps])[0, 1] > 0.5


def test_what_cannot_be_told_is_said() -> None:
    trials, _ = World(sizes=4).draw(np.random.default_rng(0))
    few = transfer(trials)["learning_rate"]
    assert few.verdict is Speed.FEW
    assert few.asymptote is Asymptote.UNTOLD
    assert few.speed is few.settling is few.limit is None
    world = Surface(axes(2), over=("parameters", "tokens"), smallest=(1e7, 1e9), sizes=5)
    several = transfer(world.draw(np.random.default_rng(0))[0])
    assert {m.verdict for m in several.metrics.values()} == {Speed.SEVERAL}
    assert set(several.metrics) == {"learning_rate", "batch_size"}
    assert all(math.isfinite(m.penalty.value) and math.isfinite(m.robustness.value) for m in several.metrics.values())


def test_bad_input_is_one_line() -> None:
    trials, _ = World(sizes=5).draw(np.random.default_rng(0))
    with pytest.raises(DataError, match="too few for a law"):
        transfer(trials, cut=8.0)
    with pytest.raises(DataError, match="too few for a law"):
        transfer(trials, cut=1.0)
    alone = trials.where(np.isclose(trials.numbers("learning_rate"), trials.numbers("learning_rate")[0]))
    with pytest.raises(DataError, match="three values"):
        transfer(alone)


def test_the_result_is_plain_json_and_repeats_itself() -> None:
    trials, _ = STILL.draw(np.random.default_rng(4))
    one = json.dumps(transfer(trials).to_dict(), allow_nan=False)
    assert json.dumps(transfer(frontier(trials)).to_dict(), allow_nan=False) == one
    told = json.loads(one)["metrics"]["learning_rate"]
    assert told["verdict"] == {"name": "STILL", "message": Speed.STILL.value}
