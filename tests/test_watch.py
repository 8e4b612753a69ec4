"""Watching a run: curves are mended, courses carried over, alarms as rare as said and gaps seen as early as said."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scalelaw._curve_laws import LAWS, Setup, fit_law
from scalelaw._sequential import OPENINGS, Noise, evidence, fit_noise, posterior, threshold
from scalelaw._transport import Course, transport
from scalelaw.cli import main
from scalelaw.curves import Plan, Runs, TrainingCurve, looks_of, mend
from scalelaw.errors import DataError, InputError, RunError
from scalelaw.logs import read_curve, read_runs
from scalelaw.store import Store
from scalelaw.testing.curves import CurveWorld
from scalelaw.trial import Trial
from scalelaw.watch import Decision, Standing, Watcher, watch, watcher

WORLD = CurveWorld()
TARGET = 1024


@pytest.fixture(scope="module")
def eye() -> Watcher:
    """A watcher of one simulated ladder."""
    return watcher(WORLD.ladder(np.random.default_rng(0)), {"width": TARGET}, total=WORLD.steps)


# Curves


def test_what_was_logged_again_after_a_restart_counts_once() -> None:
    steps = [10, 20, 30, 40, 20, 30, 40, 50]
    curve = mend(steps, [5.0, 4.0, 9.0, 9.0, 3.9, 3.5, 3.2, 3.0])
    assert curve.steps.tolist() == [10, 20, 30, 40, 50]
    assert curve.losses.tolist() == [5.0, 3.9, 3.5, 3.2, 3.0]
    assert "restarted" in curve.notes[0]


@given(st.lists(st.integers(1, 60), min_size=1, max_size=80))
def test_mended_steps_rise_and_end_where_the_log_ends(steps: list[int]) -> None:
    curve = mend(steps, np.arange(len(steps)) + 1.0)
    assert (np.diff(curve.steps) > 0).all()
    assert curve.steps[-1] == steps[-1]
    assert curve.losses[-1] == len(steps)


def test_nan_records_are_left_out_and_a_lost_run_is_told() -> None:
    assert mend([1, 2, 3, 4], [3.0, math.nan, 2.5, 2.4]).lost is None
    curve = mend([1, 2, 3, 4, 5, 6], [3.0, 2.9, 2.8, math.nan, math.inf, math.nan])
    assert curve.lost == 4
    assert curve.steps.tolist() == [1, 2, 3]
    with pytest.raises(RunError, match="below 0"):
        mend([-1, 2], [1.0, 1.0])


def test_looks_do_not_depend_on_how_often_a_curve_was_logged() -> None:
    total = 10_000

    def law(t: np.ndarray) -> np.ndarray:
        return 2.0 + 3.0 * t**-0.4

    edges = np.geomspace(0.05, 1.0, 25)
    x = np.sqrt(edges[1:] * edges[:-1])
    slope = np.gradient(np.log(law(x * total)), np.log(x))
    changed = np.concatenate([np.arange(5, 2000, 5), np.arange(2000, total + 1, 120)])
    grids = [np.arange(1, total + 1), np.arange(50, total + 1, 50), changed]
    for grid in grids:
        looks = looks_of(mend(grid, law(grid.astype(float)), total=total), edges, slope)
        told = np.isfinite(looks.log)
        assert told.sum() >= 18
        np.testing.assert_allclose(looks.log[told], np.log(law(x * total))[told], atol=2e-4)
    means = mend(grids[1], [law(np.arange(end - 49, end + 1.0)).mean() for end in grids[1]], means=True, total=total)
    looks = looks_of(means, edges, slope)
    told = np.isfinite(looks.log)
    np.testing.assert_allclose(looks.log[told], np.log(law(x * total))[told], atol=3e-4)


def test_a_look_is_taken_only_when_the_run_has_passed_it() -> None:
    curve = mend(np.arange(1, 501), np.ones(500), total=1000)
    looks = looks_of(curve, np.array([0.1, 0.3, 0.49, 0.6, 1.0]))
    assert np.isfinite(looks.log).tolist() == [True, True, False, False]


# Curve laws and transport


@pytest.mark.parametrize("law", LAWS, ids=lambda law: law.name)
def test_a_curve_law_recovers_its_own_curves_and_predicts_another_schedule(law: object) -> None:
    """Trained on a constant and a cosine schedule, it foresees warmup-stable-decay where the truth is its own form."""
    found = next(each for each in LAWS if each is law)
    x = np.geomspace(0.06, 0.99, 40)
    truth = np.array([-0.7, 0.0, 2.0, -0.6, -0.5]) if found.name == "multi_power" else np.array([-0.7, 0.0, -3.0])
    coefficients = np.array([[0.6, 0.02], [0.2, 0.01], [0.3, 0.0]])

    def setup(plan: Plan, size: float) -> Setup:
        return Setup.of(plan, 3000, x, np.array([1.0, size]), 3000)

    def loss(each: Setup) -> np.ndarray:
        return found.terms(truth, each) @ (coefficients @ each.size)

    seen = [setup(plan, size) for plan in (Plan("constant", 0.02), Plan("cosine", 0.02)) for size in (-1.0, 0.0, 1.0)]
    fitted = fit_law(found, seen, [loss(each) for each in seen])
    new = setup(Plan("warmup_stable_decay", 0.02), 2.0)
    np.testing.assert_allclose(fitted.predict(new), np.log(loss(new)), atol=2e-3)


def test_collapse_with_drift_is_exact_where_it_holds() -> None:
    x = np.geomspace(0.06, 0.98, 30)
    plan = Plan("cosine", 0.02)

    def course(width: float) -> Course:
        size = math.log(width)
        final = 1.2 + 2 * width**-0.4
        ratio = 1 + (1 - x) * (0.5 + 0.05 * size)
        return Course(np.array([1.0, size]), plan, 1000, math.log(final), np.log(ratio))

    found = transport([course(w) for w in (16, 32, 64, 128, 256)], course(2048), x)
    assert found is not None
    np.testing.assert_allclose(found.g, course(2048).g, atol=1e-3)
    assert found.stretch > 1
    assert max(found.weights, key=lambda name: found.weights[name]) == "collapse E=0 drift"
    assert transport([course(16), course(32)], course(64), x) is None


def test_a_target_beyond_the_sizes_is_judged_by_the_end_beside_it() -> None:
    x = np.geomspace(0.06, 0.98, 30)
    plan = Plan("cosine", 0.02)

    def course(size: float) -> Course:
        return Course(np.array([1.0, size]), plan, 1000, 0.0, (1 - x) * (1 + 0.02 * size**2))

    courses = [course(size) for size in range(6)]
    near, far, within = (transport(courses, course(size), x) for size in (6.0, 8.0, 2.5))
    assert near is not None
    assert far is not None
    assert within is not None
    # The end away from the target is not judged; both are not where it lies within.
    assert sorted({each.size[1] for each in near.judged}) == [1, 2, 3, 4, 5]
    assert sorted({each.size[1] for each in within.judged}) == [1, 2, 3, 4]
    assert far.stretch > near.stretch > within.stretch >= 1
    # A course that bends with size is missed, and the stretched errors say by how much, within a factor of three.
    for size, found in ((6.0, near), (8.0, far)):
        miss = math.sqrt(float(np.mean((course(size).g - found.g) ** 2)))
        told = math.sqrt(float(np.mean(found.errors**2)) * found.stretch)
        assert miss < 3 * told


# The test


def test_evidence_is_a_martingale_under_the_law() -> None:
    """E starts at 1 and has mean 1: P(ever above 20) <= 5 %, at every covariance."""
    x = np.geomspace(0.06, 1, 50)
    random = np.random.default_rng(0)
    C = 0.004**2 + Noise(0.001, 0.004, 0.001, 0.0, 0.002, 0.3, 0.4).covariance(x)
    draws = np.linalg.cholesky(C) @ random.standard_normal((50, 3000))
    logs = np.array([evidence(e, C, x) for e in draws.T])
    assert np.mean(logs.max(axis=1) >= math.log(20)) <= 0.05
    # Its mean is 1; where the looks say much that mean hangs on rare draws, so it is taken where they say little.
    faint = np.array([evidence(6 * e, 36 * C, x)[10] for e in draws.T])
    assert np.mean(np.exp(faint)) == pytest.approx(1.0, abs=0.1)
    # A run that ends 3 % off, even one that opens evenly, is seen before its end.
    assert np.mean([evidence(e + 0.03 * x, C, x).max() >= math.log(20) for e in draws.T[:300]]) >= 0.95


def test_evidence_of_equal_drifts_is_the_published_mixture() -> None:
    """White noise of sd 1 and a gap there from the start: E_t = 2 sqrt(r / (t + r)) exp(S^2 / 2(t + r)) Phi(S / sqrt(t + r))."""
    w = np.random.default_rng(1).standard_normal(20) + 0.5
    x = np.linspace(0.1, 1, 20)
    rho = 1 / 0.03**2
    scale = 0.05
    from scalelaw._sequential import _log_normal_cdf, _paths

    U, info = _paths(scale * w, scale**2 * np.eye(20), np.ones(20))
    np.testing.assert_allclose(U, np.cumsum(w) / scale)
    np.testing.assert_allclose(info, np.arange(1, 21) / scale**2)
    t, S, r = np.arange(1, 21), np.cumsum(w), rho * scale**2
    plain = np.log(2) + 0.5 * np.log(r / (t + r)) + S**2 / (2 * (t + r)) + _log_normal_cdf(S / np.sqrt(t + r))
    one = np.log(2) + 0.5 * np.log(rho / (info + rho)) + U**2 / (2 * (info + rho)) + _log_normal_cdf(U / np.sqrt(info + rho))
    np.testing.assert_allclose(one, plain)
    assert evidence(scale * w, scale**2 * np.eye(20), x).shape == (20,)
    assert len(OPENINGS) == 4


def test_noise_is_recovered_from_many_runs() -> None:
    x = np.geomspace(0.06, 1, 40)
    truth = Noise(0.002, 0.006, 0.002, 0.0, 0.003, 0.3, 0.5)
    draws = (np.linalg.cholesky(truth.covariance(x)) @ np.random.default_rng(2).standard_normal((40, 60))).T
    found = fit_noise(draws, np.arange(60), x)
    ratio = np.sqrt(np.diag(found.covariance(x)) / np.diag(truth.covariance(x)))
    assert ((ratio > 0.75) & (ratio < 1.35)).all()
    assert found.memory == pytest.approx(0.5, abs=0.15)


def test_the_threshold_is_raised_by_tuned_runs_that_went_higher() -> None:
    assert threshold(np.array([]), 0.05) == (pytest.approx(math.log(20)), False)
    assert threshold(np.full(5, 4.0), 0.05) == (4.0, False)
    peaks = np.arange(39.0)
    assert threshold(peaks, 0.05) == (37.0, True)  # the second largest of 39: 2 / 40


def test_the_posterior_narrows_from_the_law_to_the_end() -> None:
    x = np.geomspace(0.06, 1, 40)
    C = 0.01**2 + Noise(0.0005, 0.004, 0.001, 0.0, 0.002, 0.2, 0.2).covariance(x)
    law = (math.log(2.0), 0.01)
    prior = posterior(np.zeros(0), np.zeros((0, 0)), np.zeros(0), law)
    assert prior.weight[0] == pytest.approx(0.5)
    assert prior.final(0.05) < law[0] < prior.final(0.95)
    tuned = [posterior(np.zeros(n), C[:n, :n], x[:n], law) for n in (10, 25, 40)]
    widths = [each.final(0.95) - each.final(0.05) for each in (prior, *tuned)]
    assert widths == sorted(widths, reverse=True)
    off = posterior(0.03 * x, C, x, law)
    assert off.final(0.5) == pytest.approx(law[0] + 0.03, abs=0.002)
    assert off.above(0.01) > 0.9


# The whole


def test_a_tuned_run_is_let_be_and_an_off_run_is_flagged_before_half() -> None:
    false = early = late = inside = 0
    for seed in range(6):
        random = np.random.default_rng(seed)
        found = watcher(WORLD.ladder(random), {"width": TARGET}, total=WORLD.steps)
        curve, loss = WORLD.watched(random, TARGET)
        seen = found.read(curve)
        false += seen.alarm
        half = found.read(curve.upto(0.5 * WORLD.steps))
        inside += half.final.low <= loss <= half.final.high
        gone, _ = WORLD.watched(random, TARGET, 0.03, 0.5)
        early += found.read(gone.upto(0.5 * WORLD.steps)).alarm
        hidden, _ = WORLD.watched(random, TARGET, 0.03, 4.0)
        late += found.read(hidden.upto(0.4 * WORLD.steps)).alarm
    assert false == 0
    assert early >= 5  # power 0.94 over many ladders
    assert late <= 1  # 0.08 % open at that point: nobody can see it
    assert inside >= 4


def test_never_an_alarm_in_warmup_or_the_first_twentieth(eye: Watcher) -> None:
    curve = mend(np.arange(1, 180), np.full(179, 50.0))
    seen = eye.read(curve)
    assert seen.verdict is Standing.TOO_EARLY
    assert not seen.alarm
    assert seen.restart.decision is Decision.CONTINUE
    assert seen.final.low < math.exp(eye.law[0]) < seen.final.high


def test_a_bad_run_is_restarted_early_and_finished_late(eye: Watcher) -> None:
    curve, _ = WORLD.watched(np.random.default_rng(5), TARGET, 0.05, 0.0)
    first = eye.read(curve.upto(0.15 * WORLD.steps))
    last = eye.read(curve.upto(0.97 * WORLD.steps))
    assert first.verdict is last.verdict is Standing.OFF_LAW
    assert first.restart.decision is Decision.RESTART
    assert last.restart.cost > first.restart.cost
    slight, _ = WORLD.watched(np.random.default_rng(5), TARGET, 0.015, 0.0)
    assert eye.read(slight).restart.decision is Decision.CONTINUE
    assert "compute" in first.restart.reason
    # The waste is the excess over the law's slope in compute: X / alpha_C.
    assert first.restart.waste == pytest.approx(math.log1p(first.excess["value"]) / eye.gain, rel=1e-6)


def test_a_lost_or_rising_run_is_stopped(eye: Watcher) -> None:
    curve, _ = WORLD.watched(np.random.default_rng(6), TARGET)
    steps, losses = curve.steps[:90], curve.losses[:90].copy()
    lost = eye.read(mend(np.append(steps, steps[-1] + np.arange(1, 5)), np.append(losses, [math.nan] * 4), means=True))
    assert (lost.verdict, lost.alarm, lost.restart.decision) == (Standing.DIVERGED, True, Decision.STOP)
    rising = losses * np.exp(np.linspace(0, 2.5, 90) ** 2 / 4 * (np.arange(90) > 60))
    told = eye.read(mend(steps, rising, means=True))
    assert told.alarm
    assert told.restart.decision is Decision.STOP


def test_another_logging_interval_and_a_restart_change_little(eye: Watcher) -> None:
    curve, _ = WORLD.watched(np.random.default_rng(7), TARGET)
    plain = eye.read(curve.upto(2500))
    keep = np.flatnonzero((np.arange(len(curve)) % 2 == 0) | (curve.steps > 1500))
    thin = TrainingCurve(curve.steps[keep], curve.middle[keep], curve.losses[keep])
    again = eye.read(thin.upto(2500))
    assert again.alarm == plain.alarm
    assert again.final.value == pytest.approx(plain.final.value, rel=0.004)
    assert again.looks < plain.looks
    back = np.concatenate([np.arange(80), np.arange(60, len(curve))])
    restarted = eye.read(mend(curve.steps[back], curve.losses[back], means=True).upto(2500))
    assert restarted.final.value == pytest.approx(plain.final.value, rel=1e-6)
    assert any("restarted" in each for each in restarted.findings)


def test_a_new_schedule_is_read_through_the_curve_laws() -> None:
    """Ladders under constant and cosine; the watched run decays late."""
    random = np.random.default_rng(8)
    parts: list[Trial] = []
    worlds = [CurveWorld(plan=Plan(name, 0.02)) for name in ("constant", "cosine", "warmup_stable_decay")]
    for world in worlds[:2]:
        for width in world.widths:
            shift = world.shift(random)
            parts += [world.run(random, width, shift) for _ in range(2)]
    curve, loss = worlds[2].watched(random, TARGET)
    found = watcher(Runs.of(parts), {"width": TARGET}, total=4000, settings={"schedule": "wsd", "warmup": 0.02})
    assert not found.references.carried.same
    assert set(found.references.carried.weights) <= {"multi_power", "tissue"}
    assert not found.read(curve).alarm
    half = found.read(curve.upto(2000))
    assert half.final.low <= loss <= half.final.high
    assert any("curve laws" in each for each in half.findings)


def test_logged_rates_tell_the_schedule() -> None:
    random = np.random.default_rng(9)
    worlds = [CurveWorld(plan=Plan(name, 0.02)) for name in ("constant", "cosine")]
    trials = [world.run(random, width, (0.0, 0.0)) for world in worlds for width in world.widths]
    curve, _ = worlds[1].watched(random, TARGET)
    steps = curve.steps[:100]
    rates = 3e-4 * worlds[1].plan.shares(4000)[steps.astype(int) - 1]
    logged = mend(steps, curve.losses[:100], means=True, rates=rates)
    assert watcher(Runs.of(trials), {"width": TARGET}, total=4000, curve=logged).plan.schedule == "cosine"
    with pytest.raises(DataError, match="--schedule"):
        watcher(Runs.of(trials), {"width": TARGET}, total=4000)
    odd = mend(steps, curve.losses[:100], means=True, rates=3e-4 * (1 + np.sin(steps / 300)))
    with pytest.raises(RunError, match="follow no schedule"):
        watcher(Runs.of(trials), {"width": TARGET}, total=4000, curve=odd)


# What cannot be watched is one line


def test_wrong_inputs(eye: Watcher) -> None:
    ladder = WORLD.ladder(np.random.default_rng(0))
    with pytest.raises(RunError, match="--total"):
        eye.read(mend(np.arange(1, 9000), np.ones(8999)))
    with pytest.raises(DataError, match="no training curves"):
        watcher(Runs(ladder.table, (None,) * len(ladder.table)), {"width": TARGET})
    with pytest.raises(DataError, match="three sizes"):
        watcher(ladder.where("width <= 32"), {"width": TARGET}, total=4000)
    uneven = Runs.of([CurveWorld(steps=1000 * (i + 1)).run(np.random.default_rng(i), 2**i, (0, 0)) for i in range(3, 8)])
    with pytest.raises(DataError, match="--total STEPS"):
        watcher(uneven, {"width": TARGET})
    with pytest.raises(RunError, match="unknown schedule"):
        watcher(ladder, {"width": TARGET}, settings={"schedule": "magic"})
    with pytest.raises(RunError, match="0 steps"):
        watcher(ladder, {"width": TARGET}, total=0)


# Files and the command line


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store and a long table of one ladder, a tuned log and one that is off."""
    path = tmp_path_factory.mktemp("watch")
    random = np.random.default_rng(3)
    trials = [WORLD.run(random, width, WORLD.shift(random)) for width in WORLD.widths for _ in range(2)]
    with Store(path / "study.db") as store:
        store.put(trials)
    with (path / "long.csv").open("w", encoding="utf-8") as stream:
        stream.write("run_id,width,schedule,warmup,final_fraction,learning_rate,step,loss\n")
        for trial in trials:
            assert trial.curve is not None
            for step, loss in zip(trial.curve.steps, trial.curve.losses, strict=True):
                stream.write(f"{trial.id},{trial.spec.scale['width']},cosine,0.02,0.1,0.001,{step},{loss}\n")
    for name, gap in (("good", 0.0), ("off", 0.06)):
        curve, _ = WORLD.watched(random, TARGET, gap, 0.0)
        part = curve.upto(1500)
        rows = [f'{{"step": {int(s)}, "train/loss": {y}}}' for s, y in zip(part.middle, part.losses, strict=True)]
        (path / f"{name}.jsonl").write_text("\n".join(rows) + '\n{"step": 1501, "tr', encoding="utf-8")
    return path


KEYS = {"step", "fraction", "verdict", "message", "final", "excess", "alarm", "restart"}


def test_the_command(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    at = ("--at", f"width={TARGET}", "--json")
    assert main(["watch", str(folder / "study.db"), str(folder / "good.jsonl"), *at]) == 0
    good = json.loads(capsys.readouterr().out)
    assert set(good) >= KEYS
    assert set(good["final"]) >= {"loss", "low", "high"}
    assert set(good["restart"]) >= {"decision", "reason"}
    assert good["verdict"] in ("ON_LAW", "UNDECIDED")
    assert good["alarm"] is False
    assert 0.3 < good["fraction"] < 0.4
    assert main(["watch", str(folder / "study.db"), str(folder / "off.jsonl"), *at]) == 3
    off = json.loads(capsys.readouterr().out)
    assert off["verdict"] == "OFF_LAW"
    assert off["alarm"] is True
    assert off["restart"]["decision"] in ("RESTART", "CONTINUE")
    assert main(["watch", str(folder / "study.db"), str(folder / "off.jsonl"), "--at", f"width={TARGET}"]) == 3
    assert "OFF THE LAW" in capsys.readouterr().out


def test_a_long_table_is_as_good_as_a_store(folder: Path) -> None:
    curve = read_curve(folder / "good.jsonl")
    one, other = (watch(read_runs(folder / name), curve, {"width": TARGET}, total=4000) for name in ("study.db", "long.csv"))
    assert one.alarm == other.alarm
    assert one.final.value == pytest.approx(other.final.value, rel=0.01)
    assert read_runs(folder / "long.csv").known == 12


@pytest.mark.parametrize(
    ("name", "text", "says"),
    [
        ("none.csv", None, "no such file"),
        ("empty.csv", "step,loss\n", "no record yet"),
        ("head.csv", "epoch,loss\n1,2\n", "--map step=NAME"),
        ("loss.csv", "step,perplexity\n1,2\n", "--map loss=NAME"),
        ("word.csv", "step,loss\n1,high\n", "'high' is not a number"),
        ("nan.csv", "step,loss\n1,\n2,\n", "no finite loss"),
        ("cells.csv", "step,loss\n1,2,3\n2,2\n", "3 cells"),
        ("bad.jsonl", '{"step": 1,\n{"step": 2, "loss": 3}\n', "line 1"),
        ("kind.bin", "x", "not known"),
    ],
)
def test_a_log_that_cannot_be_read_is_one_line(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str, text: str | None, says: str
) -> None:
    if text is not None:
        (tmp_path / name).write_text(text, encoding="utf-8")
    assert main(["watch", str(folder / "study.db"), str(tmp_path / name), "--at", f"width={TARGET}"]) == 2
    told = capsys.readouterr().err
    assert told.count("\n") == 1
    assert says in told


def test_a_log_with_other_names_and_a_settled_end_is_read(tmp_path: Path) -> None:
    path = tmp_path / "log.csv"
    path.write_text("it,ce,lr,total_steps\n10,3.0,1e-3,100\n20,,1e-3,100\n30,2.5,5e-4,100\n40,2.", encoding="utf-8")
    curve = read_curve(path, "step=it,loss=ce")
    assert curve.steps.tolist() == [10, 30]
    assert curve.total == 100
    assert curve.rates is not None
    with pytest.raises(InputError, match="no column 'cee'"):
        read_curve(path, "step=it,loss=cee")
