"""Mistuned ladders: what losses alone can show is the published bound, and what sweeps show is what was simulated."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import numpy as np
import pytest

from scalelaw._drifting import PICKED, TAU, TAU_SD, Moves, Swept, moves, rounding_of
from scalelaw._sweeps import swept
from scalelaw._unseen import Lever, absorbed, fitted, unseen
from scalelaw.diagnostics import diagnose
from scalelaw.fit import LeastSquares, fit
from scalelaw.frontier import frontier
from scalelaw.mistuned import mistuned
from scalelaw.response import respond
from scalelaw.stack import Ladder
from scalelaw.testing.worlds import World
from scalelaw.trials import Trials
from scalelaw.untested import settling_sweep, untested, widening

OVER = ("parameters", "tokens")
SMALL = 5e7
CURVATURE, SKEW, NOISE = 0.022, 0.65, 0.004
# The drift whose excess at the largest of six sizes twice apart is 1 % of a parabola.
DRIFT = math.sqrt(2 * 0.01 / CURVATURE) / math.log(32)


def best(size: np.ndarray | float, tokens: np.ndarray | float) -> np.ndarray:
    return 1.69 + 406.4 / np.asarray(size) ** 0.34 + 410.7 / np.asarray(tokens) ** 0.28


def ladder(
    random: np.random.Generator,
    sweeps: tuple[int, ...] = (),
    *,
    drift: float = 0.0,
    tau: float = 0.1,
    skew: float = SKEW,
    ratio: float = 2.0,
    noise: float = NOISE,
    retuned: bool = False,
) -> Trials:
    """Six sizes at four ratios of tokens, one rate kept; at some sizes five rates, a factor 2 apart, at one of the ratios.

    Retuned: at every scale the rate of one grid of factors of 2 that is nearest to its best is kept.
    """
    columns: dict[str, list[float]] = {name: [] for name in (*OVER, "learning_rate", "loss")}
    for i, size in enumerate(SMALL * ratio ** np.arange(6)):
        for j, tokens in enumerate(size * np.array([5.0, 10.0, 20.0, 40.0])):
            top = -drift * math.log(size / SMALL) + tau * random.normal()
            kept = math.log(2) * round(top / math.log(2)) if retuned else 0.0
            rates = kept + (math.log(2) * np.arange(-2, 3) if i in sweeps and j == 2 else np.zeros(1))
            away = rates - top
            cost = CURVATURE * (0.5 * away**2 if skew == 0 else (np.exp(skew * away) - 1 - skew * away) / skew**2)
            loss = best(size, tokens) * np.exp(cost + noise * random.normal(size=len(away)))
            for name, values in zip(
                columns, (np.full(len(away), size), np.full(len(away), tokens), 1e-3 * np.exp(rates), loss), strict=True
            ):
                columns[name].extend(values.tolist())
    return Trials.from_columns(columns, "simulated")


@pytest.mark.parametrize(
    ("ratio", "linear", "quadratic", "cubic", "steep"),
    [(1.8, 0.06, 0.07, 0.12, 0.37), (2, 0.06, 0.07, 0.13, 0.39), (3, 0.06, 0.09, 0.18, 0.48), (4, 0.07, 0.12, 0.23, 0.57)],
)
def test_the_bound_is_the_one_worked_out_before(
    ratio: float, linear: float, quadratic: float, cubic: float, steep: float
) -> None:
    # The law fitted to exact losses is the true one, and the noise is given: reference calibration, section 3.
    trials = ladder(np.random.default_rng(0), tau=0.0, ratio=ratio, noise=0.0)
    lever = fitted(frontier(trials, over=OVER))
    assert lever is not None
    lever = replace(lever, sd=np.full(24, NOISE))
    size = lever.points["parameters"]
    way = np.log(size / size.min()) / math.log(size.max() / size.min())
    for power, expected in ((1, linear), (2, quadratic), (3, cubic), (6, steep)):
        assert absorbed(lever, way**power).power(0.01) == pytest.approx(expected, abs=0.015)


def test_a_lever_moves_as_a_refit_does() -> None:
    trials = ladder(np.random.default_rng(0), tau=0.0, noise=0.0)
    lever = fitted(frontier(trials, over=OVER))
    assert isinstance(lever, Lever)
    shift = 1e-4 * (np.log(lever.points["parameters"] / SMALL) / math.log(32)) ** 2
    order = {(a, b): c for a, b, c in zip(lever.points["parameters"], lever.points["tokens"], shift, strict=True)}
    moved = np.array([order[(a, b)] for a, b in zip(trials.numbers("parameters"), trials.numbers("tokens"), strict=True)])
    other = Trials({**trials.columns, "loss": trials.numbers("loss") * np.exp(moved)})
    at = {"parameters": np.array([320 * SMALL]), "tokens": np.array([6400 * SMALL])}
    change = []
    for each in (trials, other):
        member = Ladder(frontier(each, over=OVER), "chinchilla").member(0, 24)
        assert member is not None
        change.append(float(member.log(at)[0][0]))
    assert lever.moved(shift, at)[0] == pytest.approx(change[1] - change[0], rel=0.05)


def test_what_goes_unseen_does_so_one_time_in_two() -> None:
    # The test itself: least squares with the excess' shape as one more parameter, all of the law's free.
    random = np.random.default_rng(3)
    base = ladder(random, tau=0.0, noise=0.0)
    clean = fitted(frontier(base, over=OVER))
    assert clean is not None
    clean = replace(clean, sd=np.full(24, NOISE))
    way = (np.log(clean.points["parameters"] / SMALL) / math.log(32)) ** 2
    least = unseen(clean, way)
    found = 0
    for _ in range(60):
        y = np.log(best(clean.points["parameters"], clean.points["tokens"])) + least * way + NOISE * random.normal(size=24)
        trials = Trials.from_columns({**dict(clean.points), "loss": np.exp(y)})
        near = fit("chinchilla", trials, over=OVER, objective=LeastSquares())
        far = replace(clean.member, fit=near).log(clean.points)[0]
        # Of the likelihoods with and without this excess: what is left of the one beyond what is left of the other.
        left = y - least * way
        with_ = fit(
            "chinchilla", Trials.from_columns({**dict(clean.points), "loss": np.exp(left)}), over=OVER, objective=LeastSquares()
        )
        free = replace(clean.member, fit=with_).log(clean.points)[0]
        found += math.sqrt(max(np.sum((y - far) ** 2) - np.sum((left - free) ** 2), 0.0)) / NOISE > 1.645
    assert 0.25 <= found / 60 <= 0.75


def test_an_untested_ladder_says_so_in_numbers() -> None:
    edge = frontier(ladder(np.random.default_rng(1)), over=OVER)
    at = {"parameters": 320 * SMALL, "tokens": 6400 * SMALL}
    found = untested(edge, at)
    assert found is not None
    assert 0.05 < found.power["linear"] < found.power["quadratic"] < found.power["cubic"] < 0.35
    assert found.absorbed > 0.9
    # A kept setting's excess grows with the square of ln size: from 32 to 320 times the smallest.
    assert found.at / found.unseen == pytest.approx((math.log(320) / math.log(32)) ** 2)
    # Published laws: four times the best rate after 32 times the size, which costs two or three percent on measured bowls.
    assert 0.01 < found.expected.value < 0.05
    assert 0 < found.shift.low < found.shift.value < found.expected_at.value * 1.01
    assert json.dumps(found.to_dict(), allow_nan=False)
    assert untested(frontier(ladder(np.random.default_rng(1), (0, 4)), over=OVER)) is None
    said = diagnose(edge.source, edge, at)[0]
    assert said.name == "tuning_untested"
    assert "five learning rates, a factor 2 apart" in said.action
    assert f"{100 * math.expm1(found.unseen):.2g} %" in said.message


def test_the_sweep_that_settles_it_stands_at_the_smallest_and_at_one_of_the_three_largest() -> None:
    sweep = settling_sweep(frontier(ladder(np.random.default_rng(1)), over=OVER))
    assert sweep is not None
    small, large = sweep.points
    assert small == {"parameters": SMALL, "tokens": 5 * SMALL}
    assert large["parameters"] in (8 * SMALL, 16 * SMALL, 32 * SMALL)
    assert sweep.power > 0.8
    assert sweep.cost is not None
    assert sweep.cost < 1


def test_widening_lowers_the_low_end_only_where_tuning_was_not_tested() -> None:
    at = {"parameters": np.array([32 * SMALL, 320 * SMALL]), "tokens": np.array([640 * SMALL, 6400 * SMALL])}
    edge = frontier(ladder(np.random.default_rng(2), drift=DRIFT), over=OVER)
    stack = Ladder(edge).stack()
    found = widening(edge, stack, at)
    assert found is not None
    mixture = stack.predict(at)
    low = found.low(mixture, 0.05)
    assert np.all(low < mixture.quantile(0.05))
    assert mixture.quantile(0.05)[1] - low[1] > mixture.quantile(0.05)[0] - low[0]
    # The truth is below the law by what the ladder's excess, 1.2 % at the top, does to it; the widened interval holds it.
    assert low[1] < math.log(float(best(320 * SMALL, 6400 * SMALL)))
    swept_everywhere = World(seeds=1).draw(np.random.default_rng(0))[0]
    tuned = frontier(swept_everywhere)
    assert widening(tuned, Ladder(tuned).stack(), {"width": np.array([1e4])}) is None


def test_sweeps_know_their_own_errors() -> None:
    # Lowest points err as said, and against each other less than each alone, for the shape is shared.
    z, contrast = [], []
    for seed in range(40):
        random = np.random.default_rng(seed)
        response = respond(ladder(random, (0, 4), tau=1e-9, drift=0.0), OVER, ("learning_rate",))
        assert response is not None
        found = swept(response, NOISE)
        assert found is not None
        error = found.error(0, NOISE**2)
        y = found.best[:, 0] - math.log(1e-3)
        z.append(y / np.sqrt(np.diag(error)))
        contrast.append((y[1] - y[0]) / math.sqrt(error[0, 0] + error[1, 1] - 2 * error[0, 1]))
        assert error[0, 1] > 0
    assert 0.6 < np.sqrt(np.mean(np.square(z))) < 1.3
    assert 0.7 < np.sqrt(np.mean(np.square(contrast))) < 1.3


@pytest.mark.parametrize("skew", [SKEW, 0.0])
def test_drift_is_found_and_tuned_ladders_are_left_alone(skew: float) -> None:
    fired = {0.0: 0, DRIFT: 0}
    for drift in fired:
        for seed in range(30):
            trials = ladder(np.random.default_rng(seed), (0, 4), drift=drift, skew=skew)
            response = respond(trials, OVER, ("learning_rate",))
            assert response is not None
            (found,) = mistuned(response)
            fired[drift] += found.fires
            if drift and seed < 5:
                assert found.power > 0.6
                assert found.excess.low < 0.012 < found.excess.high
                assert found.largest == {"parameters": 32 * SMALL, "tokens": 1280 * SMALL}
    assert fired[0.0] <= 4
    assert fired[DRIFT] >= 26


STEP = math.log(2)


def sweeps_at(x: np.ndarray, prior: Moves) -> Swept:
    """Scales swept to 0.1 nat each."""
    none, rounding = np.zeros((len(x), len(x))), rounding_of(STEP, 0.0)
    error = 0.1**2 * np.eye(len(x))
    return Swept(x, x[0], error, 8.0, law=none, rounding=rounding, nats=np.ones(x.shape[1]), prior=prior)


def drawn(random: np.random.Generator, x: np.ndarray, slope: np.ndarray) -> np.ndarray:
    """Lowest points less the kept setting, in worlds as the test expects them."""
    tau = TAU * math.exp(TAU_SD * random.normal())
    off = random.uniform(-0.5, 0.5) * STEP if random.random() < PICKED else 0.0
    return off + (x - x[0]) @ slope + tau * random.normal(size=len(x)) + 0.1 * random.normal(size=len(x))


@pytest.mark.parametrize("scales", [[0.0, 1.4], [0.0, 1.4, 2.8], [0.0, 0.7, 1.4, 2.1, 2.8, 3.5]])
def test_false_alarms_are_as_many_as_said_where_worlds_are_as_expected(scales: list[float]) -> None:
    x = np.array(scales)[:, None]
    swept_scales = sweeps_at(x, moves("learning_rate", ("parameters",), np.ones(1), ruled=False))
    random = np.random.default_rng(0)
    p = np.array([swept_scales.slope(drawn(random, x, np.zeros(1))).p_value for _ in range(500)])
    for level in (0.05, 0.2):
        assert abs(np.mean(p < level) - level) < 3.3 * math.sqrt(level * (1 - level) / 500)


def test_power_is_as_said_and_larger_where_drift_is_expected() -> None:
    x = np.array([[0.0], [1.4]])
    said, found = {}, {}
    for name in ("learning_rate", "weight_decay"):
        swept_scales = sweeps_at(x, moves(name, ("parameters",), np.ones(1), ruled=False))
        for slope in (-0.3, 0.3):
            said[name, slope] = swept_scales.power((x * slope)[:, 0], 0.95)
            random = np.random.default_rng(1)
            p = [swept_scales.slope(drawn(random, x, np.array([slope]))).p_value for _ in range(300)]
            found[name, slope] = float(np.mean(np.array(p) < 0.05))
    for key, value in said.items():
        assert found[key] == pytest.approx(value, abs=0.09)
    assert said["learning_rate", -0.3] > said["learning_rate", 0.3] + 0.1
    # Nothing is known beforehand of weight decay: the plain two-sided test.
    assert said["weight_decay", -0.3] == pytest.approx(said["weight_decay", 0.3], abs=0.06)
    assert said["learning_rate", 0.3] < said["weight_decay", 0.3] < said["learning_rate", -0.3]


def test_two_directions_of_scale_are_tested_at_once() -> None:
    x = np.array([[0.0, 0.0], [2.0, 0.0], [0.0, 2.0], [2.0, 2.0]])
    swept_scales = sweeps_at(x, moves("learning_rate", ("parameters", "tokens"), np.ones(2), ruled=False))
    random = np.random.default_rng(2)
    assert swept_scales.directions == 2
    null = [swept_scales.slope(drawn(random, x, np.zeros(2))).p_value < 0.05 for _ in range(400)]
    assert 0.015 < np.mean(null) < 0.09
    assert swept_scales.power(x @ np.array([-0.4, 0.0]), 0.95) > 0.85
    assert swept_scales.power(x @ np.array([0.0, 0.4]), 0.95) > 0.6


def test_what_settings_scatter_about_their_law_is_not_rounding_in_common() -> None:
    assert rounding_of(STEP, 0.0) == pytest.approx(STEP**2 / 12)
    assert rounding_of(STEP, STEP**2 / 12) == 0.0
    # A rate per scale picked off a grid of factors of 2, as the best falls with size: tuned as well as such a grid lets it be.
    fired = 0
    for seed in range(40):
        random = np.random.default_rng(seed)
        response = respond(ladder(random, (0, 3), drift=0.4, retuned=True), OVER, ("learning_rate",))
        assert response is not None
        (found,) = mistuned(response)
        fired += found.fires
    assert fired <= 4


def test_one_sweep_at_the_top_is_tested_by_itself() -> None:
    response = respond(ladder(np.random.default_rng(0), (5,), drift=DRIFT), OVER, ("learning_rate",))
    assert response is not None
    (found,) = mistuned(response)
    assert found.directions == 0
    assert found.fires
    assert found.best.value < 1e-3


def test_a_recipe_that_follows_the_best_is_not_mistuned() -> None:
    # The rate of the sizes with one setting falls with size as the best does.
    world = World(sizes=7, noise=0.002, tau=0.05)
    trials, _ = world.draw(np.random.default_rng(0))
    width, rate = trials.numbers("width"), trials.numbers("learning_rate")
    kept = np.isin(width, world.widths[[0, 5]])
    columns = {name: column[kept] for name, column in trials.columns.items()}
    rows = [
        {"width": w, "learning_rate": math.exp(world.law_rate(w)), "loss": world.loss(w)} for w in world.widths[[1, 2, 3, 4, 6]]
    ]
    for constant in (False, True):
        table = {
            name: [*columns[name], *(1e-3 if constant and name == "learning_rate" else row[name] for row in rows)]
            for name in ("width", "learning_rate", "loss")
        }
        response = respond(Trials.from_columns(table), ("width",), ("learning_rate",))
        assert response is not None
        (found,) = mistuned(response)
        assert found.fires is constant
    assert rate.size


def test_a_tuned_study_has_no_kept_setting_to_test() -> None:
    response = respond(World().draw(np.random.default_rng(0))[0], ("width",), ("learning_rate",))
    assert response is not None
    assert mistuned(response) == ()


def test_a_fixed_fit_of_a_swept_study_is_told_of_the_drift() -> None:
    trials, _ = World(sizes=8, seeds=2, exponent=0.5).draw(np.random.default_rng(0))
    rate = float(np.unique(trials.numbers("learning_rate"))[5])
    edge = frontier(trials, fixed=True, settings={"learning_rate": rate})
    names = [each.name for each in diagnose(trials, edge)]
    assert names[:2] == ["tuning_untested", "mistuned_ladder"]
