"""The planner: what a run is worth before it is made, what it costs, and when no run is worth its cost."""

from __future__ import annotations

import itertools
import math
import time
from dataclasses import replace
from functools import cache

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from scalelaw._study_text import study_text
from scalelaw.errors import DataError, InputError
from scalelaw.forecast import forecast
from scalelaw.frontier import frontier
from scalelaw.optimum import optimum
from scalelaw.plan import Candidates, Decision, Limits, Policy, costs_of, known, plan, price_of, propose, regret_of, study_of
from scalelaw.plan._decide import Goal, Worth, stop_at
from scalelaw.plan._levels import Levels
from scalelaw.plan._propose import Known
from scalelaw.plan._recipe import free, ladder, recipe_of
from scalelaw.plan._select import Pick, walk
from scalelaw.study import Grid, Parent, Study, read_study
from scalelaw.testing.surfaces import Surface, axes
from scalelaw.trial import TrialSpec
from scalelaw.trials import Trials

GREEDY = Policy(fill=0.0, idle=0.0)


def costly(trials: Trials) -> Trials:
    """With compute: 1e3 width^2 steps of 6 N D alike."""
    return trials.with_column("compute", 1e3 * trials.numbers("width") ** 2)


POOR = costly(Surface(axes(1), sizes=4, seeds=1, tau=0.02, noise=0.01).draw(np.random.default_rng(0))[0])


@cache
def drawn(seed: int, hypers: int = 1, seeds: int = 1, **options: float) -> tuple[Trials, Surface]:
    world = Surface(axes(hypers), sizes=5, seeds=seeds, missing=0.2, **options)  # pyright: ignore[reportArgumentType]
    return costly(world.draw(np.random.default_rng(seed))[0]), world


@cache
def state_of(seed: int, hypers: int = 1, seeds: int = 1) -> Known:
    world = Surface(axes(hypers), sizes=5, seeds=seeds, missing=0.2)
    found = known(costly(world.draw(np.random.default_rng(seed))[0]), ("width",), world.names)
    assert found is not None
    return found


def pool_of(state: Known, widths: tuple[float, ...], settings_each: int = 5, left: float = 1.0, cost: float = 1.0) -> Candidates:
    """Settings about each width's predicted best, none made yet."""
    m = len(state.response.hyper)
    steps = np.linspace(-1.0, 1.0, settings_each)
    z = np.array(list(itertools.product(steps, repeat=m)))
    best = [state.response.trend.best({"width": width}) for width in widths]
    cell = np.repeat(np.arange(len(widths)), len(z))
    rows = np.concatenate([each + z for each in best])
    ones = np.ones(len(rows))
    return Candidates(
        ("width",),
        state.response.hyper,
        tuple({"width": width} for width in widths),
        cell.astype(np.intp),
        rows,
        cost * ones,
        0 * ones,
        left * ones,
    )


def path(state: Known, pool: Candidates, budget: float = 1e9, fails: float = 0.0) -> tuple[float, list[Pick]]:
    """The regret now, and the greedy path through a pool."""
    belief = state.belief(pool, [{"width": 8192.0}])
    now = belief.regret
    return now, list(itertools.islice(walk(belief, None, pool, budget, fails=np.full(len(pool), fails), policy=GREEDY), 40))


# ---- the belief ---------------------------------------------------------------------------------------------------------


@settings(max_examples=12, deadline=None)
@given(
    st.integers(0, 5), st.sampled_from([1, 2]), st.lists(st.sampled_from([64.0, 256.0, 1024.0, 2048.0]), min_size=1, max_size=3)
)
def test_the_gain_of_a_run_is_the_fall_of_the_regret_when_it_is_made(seed: int, hypers: int, widths: list[float]) -> None:
    state = state_of(seed, hypers)
    now, picks = path(state, pool_of(state, tuple(dict.fromkeys(widths))))
    assert picks
    for pick in picks:
        assert pick.gain == pytest.approx(now - pick.regret, rel=1e-6, abs=1e-12)
        assert 0 <= pick.regret <= now
        now = pick.regret


@pytest.mark.parametrize("hypers", [1, 2])
def test_the_first_choice_is_the_best_of_the_pool(hypers: int) -> None:
    state = state_of(1, hypers)
    pool = pool_of(state, (64.0, 1024.0, 2048.0))
    _, picks = path(state, pool)
    for row in range(len(pool)):
        _, alone = path(state, pool.only(np.array([row])))
        assert alone[0].gain <= picks[0].gain * (1 + 1e-9)


@pytest.mark.parametrize("seed", range(3))
def test_the_regret_is_that_of_the_optimum(seed: int) -> None:
    state = state_of(seed)
    target = {"width": 8192.0}
    found = optimum(state.edge.source, over="width", hyper=state.response.hyper)
    tau = np.diag([each.tau**2 for each in found.response.trend.paths])
    own = 0.5 * float(np.trace(found.response.hessian_at(target) @ tau))
    belief = state.belief(pool_of(state, (64.0,)), [target])
    # Straight and bent laws are averaged there and one prior stands for both here.
    assert belief.regret == pytest.approx(found.regret(target).value - own, rel=0.35)


def test_repeats_at_one_cheap_size_saturate() -> None:
    state = state_of(0, seeds=2)
    one = pool_of(state, (64.0,), settings_each=1, left=1e6)
    now, picks = path(state, one)
    gains = [pick.gain for pick in picks]
    assert all(later <= earlier * (1 + 1e-9) for earlier, later in itertools.pairwise(gains))
    assert gains[-1] < 0.1 * gains[0]
    assert picks[-1].regret > 0.95 * now
    # The whole size, settings and seeds without end, leaves most of the regret: it tells of one end of the law.
    wide = pool_of(state, (64.0,), settings_each=9, left=1e6)
    assert path(state, wide)[1][-1].regret > 0.3 * now


def test_a_run_near_the_target_tells_more_than_one_among_the_data() -> None:
    state = state_of(2)
    near, far = (path(state, pool_of(state, (width,)))[1][0].gain for width in (4096.0, 256.0))
    assert near > 3 * far


def test_a_run_that_may_fail_is_worth_so_much_less() -> None:
    state = state_of(0)
    pool = pool_of(state, (2048.0,), settings_each=3)
    sure, risky = (path(state, pool, fails=share)[1][0].gain for share in (0.0, 0.75))
    assert risky == pytest.approx(0.25 * sure)


def test_settings_where_runs_failed_are_known_to_fail() -> None:
    world = Surface(axes(1, learning_rate={"points": 9}), sizes=5, seeds=2, cliff=1.0, cliff_sd=0.1)
    trials = costly(world.draw(np.random.default_rng(0))[0])
    state = known(trials, ("width",), ("learning_rate",))
    assert state is not None
    point = {"width": 256.0}
    edge = world.edge_of_stability(point)
    z = np.array([[edge - 0.7], [edge], [edge + 0.7]])
    pool = Candidates(("width",), ("learning_rate",), (point,), np.zeros(3, np.intp), z, np.ones(3), np.zeros(3), np.ones(3))
    low, middle, high = state.fails(pool)
    assert low < 0.1 < middle < 0.95 < high


def test_the_budget_is_kept_and_filling_has_its_share() -> None:
    trials, world = drawn(3)
    state = state_of(3)
    costs = costs_of(trials, ("width",))
    pool = free(state.response, ladder(state.edge, {"width": 8192.0}, costs, Limits()), costs, offered=400)
    belief = state.belief(pool, [{"width": 8192.0}])
    budget = 50 * float(pool.cost.min())
    picks = list(walk(belief, None, pool, budget, fails=np.zeros(len(pool)), random=np.random.default_rng(0)))
    spend = sum(pick.cost for pick in picks)
    assert spend <= budget < spend + pool.cost.min() + 1e-9
    assert sum(pick.cost for pick in picks if pick.filling) >= 0.25 * spend
    assert {pick.index for pick in picks} <= set(range(len(pool)))
    assert world.names == pool.hyper


# ---- the best-case loss -------------------------------------------------------------------------------------------------


def levels_of(state: Known, widths: tuple[float, ...]) -> Levels:
    return Levels(state.stack(), state.edge, [{"width": width} for width in widths], [{"width": 8192.0}])


@pytest.mark.parametrize("seed", range(3))
def test_the_levels_are_a_covariance_and_a_run_takes_what_was_said(seed: int) -> None:
    widths = (64.0, 256.0, 1024.0, 2048.0, 4096.0)
    levels = levels_of(state_of(seed), widths)
    assert np.linalg.eigvalsh(levels._joint).min() > -1e-9 * np.trace(levels._joint)
    for cell, share in ((4, 1.0), (0, 0.1), (4, 0.5), (2, 1.0)):
        said = levels.gains(np.arange(len(widths)), np.full(len(widths), share))
        before = levels.variance
        levels.add(cell, share)
        assert before - levels.variance == pytest.approx(said[cell], rel=1e-6, abs=1e-15)
        assert np.linalg.eigvalsh(levels._joint).min() > -1e-9 * np.trace(levels._joint)
    assert said[4] > said[1], "near the target a run says more of it"


def test_the_targets_variance_is_that_of_the_stacked_laws() -> None:
    state = state_of(0)
    mixture = state.stack().predict({"width": 8192.0})
    w, mean = mixture.weights, mixture.mean[:, 0]
    moments = w @ (mixture.variance[:, 0] + (mean - w @ mean) ** 2) + mixture.chances @ mixture.discrepancy[:, 0] ** 2
    assert levels_of(state, (64.0,)).variance == pytest.approx(float(moments), rel=1e-6)


# ---- when to stop -------------------------------------------------------------------------------------------------------


@given(st.floats(-0.1, 0.1), st.floats(1e-4, 0.1), st.floats(0.0, 1.0))
def test_the_worth_of_knowing_is_never_negative(margin: float, sd: float, left: float) -> None:
    goal = Goal(margin, sd)
    value = goal.value(sd**2, left * sd**2)
    assert 0 <= value <= sd / math.sqrt(2 * math.pi) + 1e-12
    assert goal.value(sd**2, sd**2) == 0
    assert 0 <= goal.probability <= 1


@pytest.mark.parametrize(("margin", "left"), [(0.0, 0.5), (0.01, 0.2), (-0.02, 0.0), (0.03, 0.7)])
def test_the_worth_of_knowing_is_that_of_deciding_by_what_is_seen(margin: float, left: float) -> None:
    sd = 0.02
    goal, random = Goal(margin, sd), np.random.default_rng(0)
    # What runs will have told is drawn, then the target is run where its mean says so.
    told = margin + sd * math.sqrt(1 - left) * random.standard_normal(400_000)
    assert goal.value(sd**2, left * sd**2) == pytest.approx(np.maximum(told, 0).mean() - max(margin, 0), abs=6e-5)
    # omega is the worth of the last bit of variance.
    assert goal.omega == pytest.approx((goal.value(1.0, 0.0) - goal.value(1.0, 1e-4)) / (1e-4 * sd**2), rel=0.02)
    assert goal.probability == pytest.approx((margin + sd * random.standard_normal(400_000) > 0).mean(), abs=0.004)


def test_a_loss_is_worth_the_compute_that_would_win_it_back() -> None:
    # L = 2 + 3 (C / C_T)^-0.1 at C_T: slope 0.1 * 3 / 5.
    worth = Worth(1e20, 0.1 * 3 / 5)
    excess = 1e-3
    needed = ((5 * (1 + excess) - 2) / 3) ** (-1 / 0.1)
    assert worth.flops(excess) / 1e20 == pytest.approx(1 - needed, rel=0.02)
    assert worth.times(excess) == pytest.approx(1 / needed, rel=0.02)


def test_the_least_total_stops_and_the_earliest_of_equals() -> None:
    assert stop_at([0, 1, 2], [10, 5, 6]) == 1
    assert stop_at([0, 1, 2], [10, 10, 10]) == 0
    assert stop_at([0, 1, 2, 3], [10, 5.1, 6, 5.0]) == 1


def test_a_well_measured_study_extrapolates_and_a_poor_one_evaluates() -> None:
    rich = Surface(axes(1, learning_rate={"points": 9}), sizes=8, seeds=3, tau=0.02, noise=0.002)
    done = costly(rich.draw(np.random.default_rng(0))[0])
    target = {"width": 2.0 * 64 * 2**7}
    found = plan(done, target, 1e3 * target["width"] ** 2)
    assert found.decision is Decision.EXTRAPOLATE
    assert found.runs == ()
    assert found.stop == 0
    for row, after in itertools.pairwise(found.curve):
        assert row.spend < after.spend
        assert row.low <= row.regret <= row.high
    found = plan(POOR, {"width": 4096.0}, 1e3 * 4096.0**2)
    assert found.decision is Decision.EVALUATE
    assert 0 < found.spend <= found.budget
    assert found.stop in {each.runs for each in found.curve}


def test_beyond_the_checked_reach_the_cheapest_rung_that_mends_it_is_asked_for() -> None:
    world = Surface(axes(1, learning_rate={"points": 9}), sizes=5, seeds=3, tau=0.01, noise=0.001, ratio=1.5)
    trials = costly(world.draw(np.random.default_rng(1))[0])
    found = plan(trials, {"width": 4096.0}, 1e3 * 4096.0**2)
    assert found.decision is Decision.EVALUATE
    if not found.stop:  # no run for its gain: the rule alone asks
        reach = forecast(trials, {"width": 4096.0}).reach
        sizes = {float(run.values["width"]) for run in found.runs}
        assert len(sizes) == 1
        assert 4096 / sizes.pop() <= reach.checked * 1.01
        assert len(found.runs) == 3


# ---- costs, prices, limits, recipe --------------------------------------------------------------------------------------


def table(**columns: list[float]) -> Trials:
    return Trials.from_columns({**columns, "loss": [2.0] * len(next(iter(columns.values())))})


@pytest.mark.parametrize("power", [1.0, 1.5, 2.3])
def test_costs_follow_the_runs(power: float) -> None:
    n = [1e6, 2e6, 4e6, 8e6, 1.6e7]
    costs = costs_of(table(parameters=n, compute=[3.0 * each**power for each in n]), ("parameters",))
    assert costs.at({"parameters": 4e6}) == pytest.approx(3.0 * 4e6**power)
    assert costs.at({"parameters": 1e9}) == pytest.approx(3.0 * 1e9**power, rel=1e-6)
    assert costs.slope({"parameters": 1e9}, np.ones(1)) == pytest.approx(power, abs=1e-6)


def test_costs_over_width_are_those_of_layers() -> None:
    def counted(width: float) -> float:
        return 600.0 * (784 * width + width**2 + 10 * width)

    widths = [8.0, 16.0, 32.0, 64.0]
    costs = costs_of(table(width=widths, compute=[counted(each) for each in widths]), ("width",))
    assert costs.at({"width": 4096}) == pytest.approx(counted(4096), rel=1e-6)
    assert 1.7 < costs.slope({"width": 4096}, np.ones(1)) < 2


def test_costs_are_six_n_d_where_none_is_given() -> None:
    n, d = [1e6, 2e6, 4e6, 4e6], [1e8, 1e8, 2e8, 4e8]
    costs = costs_of(table(parameters=n, tokens=d), ("parameters", "tokens"))
    assert costs.at({"parameters": 1e9, "tokens": 2e10}) == pytest.approx(1.2e20)
    assert "6 N D" in costs.rule
    steps = costs_of(table(parameters=n, steps=[100.0] * 4, batch_size=[8.0] * 4, context=[64.0] * 4), ("parameters",))
    assert steps.at({"parameters": 2e6}) == pytest.approx(6 * 2e6 * 100 * 8 * 64)
    one = costs_of(table(width=[64.0, 64.0], compute=[1e6, 1e6]), ("width",))
    assert one.at({"width": 128.0}) == pytest.approx(4e6)
    with pytest.raises(DataError, match="compute"):
        costs_of(table(width=[8.0, 16.0]), ("width",))


def test_prices() -> None:
    assert price_of().words(3.14e15) == "3.14e+15 FLOPs"
    hours = price_of(None, peak_flops=1e15, mfu=0.5)
    assert hours.of(1.8e18) == pytest.approx(1.0)
    assert hours.unit == "GPU-hours"
    money = price_of("2.5 EUR/gpu-hour", peak_flops=1e15, mfu=0.5)
    assert (money.unit, money.of(1.8e18)) == ("EUR", pytest.approx(2.5))
    for text in ("2.5/gpu-hour", "2.5/GPU-h", "2.5$/gpu-hour"):
        assert price_of(text, peak_flops=1e15, mfu=0.5).of(1.8e18) == pytest.approx(2.5)
    runs = table(compute=[1e12, 2e12, 4e12], seconds=[1.0, 1.0, 1.0], width=[1.0, 2.0, 3.0])
    assert price_of(None, peak_flops=1e13, trials=runs).of(3e12 * 3600) == pytest.approx(1.0)
    for wrong, options in (
        ("2.5", {}),
        ("0/gpu-hour", {}),
        ("x/gpu-hour", {}),
        (None, {"mfu": 1.5}),
        (None, {"peak_flops": -1.0}),
    ):
        with pytest.raises(InputError):
            price_of(wrong, **{"peak_flops": 1e15, "mfu": 0.5, **options})
    with pytest.raises(InputError, match="speed"):
        price_of("2.5/gpu-hour")


def test_the_ladder_stays_within_its_limits() -> None:
    trials, _ = drawn(0)
    state, costs, target = state_of(0), costs_of(trials, ("width",)), {"width": 8192.0}
    made = sorted(float(row["width"]) for row in state.edge.trials.rows())
    every = sorted(point["width"] for point in ladder(state.edge, target, costs, Limits()))
    assert every[: len(made)] == made
    rungs = every[len(made) - 1 :]
    assert all(costs.at({"width": b}) >= 1.8 * costs.at({"width": a}) for a, b in itertools.pairwise(rungs))
    assert max(every) < 8192
    largest = costs.at({"width": made[1]}) * 1.01
    assert sorted(p["width"] for p in ladder(state.edge, target, costs, Limits(largest=largest))) == made[:2]
    only = ladder(state.edge, target, costs, Limits(sizes=(made[0], 3000.0, 9000.0)))
    assert sorted(point["width"] for point in only) == [made[0], 3000.0]
    with pytest.raises(InputError, match="allowed"):
        ladder(state.edge, target, costs, Limits(sizes=(9000.0,)))
    for wrong in ({"sizes": ()}, {"sizes": (-1.0,)}, {"largest": 0.0}, {"slots": 0}):
        with pytest.raises(InputError):
            Limits(**wrong)


def test_limits_hold_for_a_pool_that_is_given() -> None:
    trials, _ = drawn(0)
    state = state_of(0)
    pool = replace(pool_of(state, (64.0, 128.0, 2048.0)), cost=np.repeat([4.1e6, 1.6e7, 4.2e9], 5))
    found = plan(trials, {"width": 8192.0}, 1e12, pool=pool, limits=Limits(sizes=(64.0, 128.0), largest=1e8))
    assert found.offered is not None
    assert [point["width"] for point in found.offered[0].points] == [64.0, 128.0]
    with pytest.raises(InputError, match="allowed"):
        plan(trials, {"width": 8192.0}, 1e12, pool=pool, limits=Limits(largest=1.0))


def test_the_recipe_is_taken_over() -> None:
    trials, _ = drawn(0)
    width = trials.numbers("width")
    more = (
        trials.with_column("depth", np.full(len(trials), 3.0))
        .with_column("schedule", ["cosine"] * len(trials))
        .with_column("steps", 100.0 * width)
        .with_column("batch_size", np.full(len(trials), 64.0))
    )
    recipe = recipe_of(frontier(more, over="width", hyper="learning_rate"))
    found = recipe.at({"width": 4096.0})
    assert found == {"width": 4096.0, "depth": 3.0, "schedule": "cosine", "batch_size": 64.0, "steps": 410000.0}


# ---- plan and propose ---------------------------------------------------------------------------------------------------


def test_a_plan_becomes_a_study_with_its_runs() -> None:
    found = plan(POOR, {"width": 4096.0}, 1e11)
    assert found.runs
    template = TrialSpec("teacher_student", {"width": 64, "steps": 50}, {"learning_rate": 1e-3, "batch_size": 16})
    study = study_of(found, template, "next")
    assert len(study.specs) == len(found.runs)
    asked = sorted((run.values["width"], run.values["learning_rate"], run.values["seed"]) for run in found.runs)
    made = sorted((float(s.scale["width"]), float(s.hyperparameters["learning_rate"]), s.seed) for s in study.specs)
    assert np.array(made) == pytest.approx(np.array(asked))
    assert all(spec.scale["steps"] == 50 and spec.hyperparameters["batch_size"] == 16 for spec in study.specs)


def test_from_nothing_to_a_law() -> None:
    """The first design alone: runs at three sizes, then a bowl is known."""
    world = Surface(axes(1, learning_rate={"points": 15}), sizes=5, seeds=1)
    full = costly(world.draw(np.random.default_rng(0))[0])
    sizes, cell = np.unique(full.numbers("width"), return_inverse=True)
    z = np.log(full.numbers("learning_rate"))[:, None]
    cost = 1e3 * full.numbers("width") ** 2
    points = tuple({"width": float(size)} for size in sizes)
    made = np.zeros(len(full))
    for _ in range(4):
        now = full.where(made > 0)
        pool = Candidates(("width",), ("learning_rate",), points, cell.astype(np.intp), z, cost, made, 1 - made)
        if known(now, ("width",), ("learning_rate",)) is not None:
            break
        picks = propose(now, pool, [{"width": 8192.0}], 1e12)
        assert all(pick.filling for pick in picks)
        made[[pick.index for pick in picks]] = 1
    state = known(full.where(made > 0), ("width",), ("learning_rate",))
    assert state is not None
    assert made.sum() <= 16
    assert regret_of(state, {"width": 8192.0}).value > 0


def test_what_cannot_be_planned_is_said() -> None:
    trials, _ = drawn(0)
    with pytest.raises(InputError, match="within the sizes"):
        plan(trials, {"width": 128.0}, 1e12)
    with pytest.raises(InputError, match="buys no run"):
        plan(trials, {"width": 8192.0}, 1.0)
    for budget in (0.0, -1.0, math.nan, math.inf):
        with pytest.raises(InputError, match="budget"):
            plan(trials, {"width": 8192.0}, budget)
    with pytest.raises(InputError, match="goal"):
        plan(trials, {"width": 8192.0}, 1e12, goal=-1.0)
    lost = Trials.from_columns(
        {
            "width": [8.0, 16.0],
            "learning_rate": [0.1, 0.2],
            "loss": [None, None],
            "status": ["DIVERGED"] * 2,
            "compute": [1.0, 2.0],
        }
    )
    with pytest.raises(DataError, match="diverged"):
        plan(lost, {"width": 64.0}, 1e12)


def test_a_handful_of_runs_at_two_sizes_can_be_planned_from() -> None:
    rows = [
        (8.0, 2.6e-3, 2.237),
        (8.0, 6.7e-3, 2.204),
        (8.0, 1.7e-2, 2.092),
        (8.0, 0.116, None),
        (12.0, 1.7e-2, 2.152),
        (12.0, 0.116, None),
    ]
    columns = {name: [row[k] for row in rows] for k, name in enumerate(("width", "learning_rate", "loss"))}
    columns["status"] = ["DIVERGED" if row[2] is None else "COMPLETE" for row in rows]
    found = plan(costly(Trials.from_columns(columns)), {"width": 128.0}, 1e9)
    assert found.decision is Decision.EVALUATE
    assert found.regret is not None
    assert found.regret > 0.02


def test_a_goal_is_priced() -> None:
    trials, _ = drawn(0)
    best = forecast(trials, {"width": 4096.0}).loss
    sure, unsure, vain = (plan(trials, {"width": 4096.0}, 1e11, goal=best * factor).go for factor in (1.2, 1.0, 0.8))
    assert sure is not None
    assert unsure is not None
    assert vain is not None
    assert sure["probability"] > 0.95
    assert vain["probability"] < 0.05
    assert unsure["probability"] == pytest.approx(0.5, abs=0.02)
    assert unsure["value"] >= max(sure["value"], vain["value"]) >= 0


def test_json_is_the_contract() -> None:
    found = plan(POOR, {"width": 4096.0}, 1e11).to_dict()
    assert {"runs", "decision", "reason", "curve"} <= set(found)
    assert {"width", "learning_rate", "seed", "cost", "gain"} <= set(found["runs"][0])
    assert {"spend", "regret", "low", "high"} <= set(found["curve"][0])
    assert found["decision"] in Decision.__members__


def test_the_same_question_has_the_same_answer() -> None:
    one, two = (plan(POOR, {"width": 4096.0}, 1e11, seed=3).to_dict() for _ in range(2))
    assert one == two


def test_thousands_of_runs_and_candidates_take_seconds() -> None:
    world = Surface(axes(2), sizes=10, seeds=6)
    trials = costly(world.draw(np.random.default_rng(0))[0])
    assert len(trials) >= 2000
    start = time.process_time()
    found = plan(trials, {"width": 2.0**17}, 1e3 * 2.0**34)
    took = time.process_time() - start
    assert found.offered is not None
    assert len(found.offered[0]) >= 9000
    assert took < 6.0  # three seconds on a free core of this decade


# ---- a study as text ----------------------------------------------------------------------------------------------------

rates = st.floats(1e-6, 1.0, allow_subnormal=False)
values = st.lists(rates, min_size=1, max_size=4, unique=True).map(tuple)
widths_ = st.lists(st.integers(1, 10**6), min_size=1, max_size=3, unique=True).map(tuple)
grids = st.builds(
    Grid,
    st.fixed_dictionaries({"width": widths_, "steps": st.just((100,))}),
    st.fixed_dictionaries(
        {"learning_rate": values}, optional={"schedule": st.sampled_from([("cosine",), ("linear", "constant")])}
    ),
    st.lists(st.integers(0, 50), min_size=1, max_size=3, unique=True).map(tuple),
    st.none()
    | st.builds(
        Parent,
        st.just("teacher_student"),
        scale=st.just({"steps": 50}),
        hyperparameters=st.just({"learning_rate": 0.001}),
        seed=st.integers(0, 3),
    ),
)
names = st.text(st.characters(blacklist_categories=("Cs",)), min_size=1, max_size=12).filter(str.strip)


@settings(max_examples=60, deadline=None)
@example('\x7f\n"', [Grid({"width": (1,), "steps": (1,)}, {"learning_rate": (1.0,)})], {}, None)
@given(
    names,
    st.lists(grids, min_size=1, max_size=3),
    st.dictionaries(st.sampled_from(["input_dim", "classes"]), st.integers(2, 64)),
    st.none() | st.integers(1, 10**9),
)
def test_a_study_survives_being_written(
    tmp_path_factory: pytest.TempPathFactory, name: str, parts: list[Grid], options: dict[str, int], target: int | None
) -> None:
    goal = {} if target is None else {"width": float(target)}
    study = Study(name, "teacher_student", tuple(parts), task_options=options, target=goal, budget=1e15 if goal else None)
    path = tmp_path_factory.mktemp("text") / "s.toml"
    path.write_text(study_text(study, ["a comment", name]), encoding="utf-8")
    read = read_study(path)
    assert read.specs == study.specs
    assert (read.name, read.target, read.budget) == (study.name, dict(study.target), study.budget)


# ---- from almost nothing ------------------------------------------------------------------------------------------------


def test_plans_that_are_carried_out_lead_from_one_size_to_a_law() -> None:
    world, random = Surface(axes=axes(1), sizes=6, cap=0.7), np.random.default_rng(0)
    rates = np.geomspace(1e-4, 1e-2, 9)
    runs = [{"width": 64.0, "learning_rate": float(rate), "seed": 0.0} for rate in rates]
    for _ in range(8):
        losses = [
            world.run(np.random.default_rng(n), {"width": run["width"]}, {"learning_rate": run["learning_rate"]})
            for n, run in enumerate(runs)
        ]
        table = {name: [run[name] for run in runs] for name in runs[0]} | {"loss": losses}
        table["compute"] = [6e4 * run["width"] ** 2 for run in runs]
        found = plan(Trials.from_columns(table), {"width": 2048.0}, 1e14, seed=int(random.integers(100)))
        new = [{name: float(run.values[name]) for name in runs[0]} for run in found.runs[:5]]
        assert not [run for run in new if run in runs], "nothing is asked for twice"
        if found.curve:
            break
        runs += new
    assert found.curve, "from three sizes on there is a law"
    assert len({run["width"] for run in runs}) >= 3


def test_a_failed_check_is_no_licence_to_extrapolate() -> None:
    world = Surface(axes=axes(1), sizes=3, seeds=2)
    trials, _ = world.draw(np.random.default_rng(1))
    trials = trials.with_column("compute", 6e4 * trials.numbers("width") ** 2)
    found = plan(trials, {"width": 64.0 * 4**8}, 3 * 6e4 * 64.0**2)
    assert found.decision is Decision.EVALUATE
    assert found.runs or "No run that would settle it is allowed" in found.reason
