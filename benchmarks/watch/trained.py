"""The trained ladder, one width left out at a time: every tuned run and every faulty run of it is watched whole."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from scipy.stats import beta

from scalelaw.curves import Runs, TrainingCurve, looks_of
from scalelaw.trial import Status, Trial
from scalelaw.watch import Watcher, watcher

from .ladder import FAULTS, PLANS, STEPS, WIDTHS, Ladder

EDGES = np.geomspace(0.06, 1.0, 31)


@dataclass(frozen=True)
class Seen:
    """One watched run.

    Args:
        plan, width, fault: which; an empty fault is a tuned run.
        gap: its final excess over the tuned runs of its width and plan, in ln loss. opening: share of it that is open at half.
        alarm: progress at the first alarm; None where there was none.
        law, curve: the standard deviations at half the run. inside: whether the 90 % interval at half holds the final loss.
    """

    plan: str
    width: int
    fault: str
    gap: float
    opening: float
    alarm: float | None
    law: float
    curve: float
    inside: bool
    width_of_interval: float
    visible: float


def interval(k: int, n: int) -> str:
    """k of n with the 95 % Clopper-Pearson interval."""
    low = float(beta.ppf(0.025, k, n - k + 1)) if k else 0.0
    high = float(beta.ppf(0.975, k + 1, n - k)) if k < n else 1.0
    return f"{k}/{n} = {100 * k / max(n, 1):.1f} % ({100 * low:.1f}-{100 * high:.1f})"


def watch_all(ladder: Ladder) -> Iterator[Seen]:
    """Every run of the ladder, watched by what the other widths say."""
    everything = [*ladder.sweep(), *ladder.tuned()]
    off = ladder.off()
    for plan in PLANS:
        mine = [trial for trial in everything if _plan(trial) == _plan_name(plan)]
        for width in WIDTHS:
            eye = watcher(
                Runs.of(trial for trial in mine if trial.spec.scale["width"] != width),
                {"width": width},
                total=STEPS,
                over="width",
            )
            best = ladder.best(width, plan)
            here = [trial for trial in mine if trial.spec.scale["width"] == width and trial.status is Status.COMPLETE]
            tuned = [trial for trial in here if trial.spec.hyperparameters["learning_rate"] == best]
            level = float(np.mean([math.log(trial.loss or math.nan) for trial in tuned]))
            course = np.mean([_course(trial) for trial in tuned], axis=0)
            for trial in tuned:
                yield _see(eye, trial, (plan, width, ""), level, course)
            for each in off:
                if each.plan == plan and each.trial.spec.scale["width"] == width:
                    yield _see(eye, each.trial, (plan, width, each.fault), level, course)


def _plan(trial: Trial) -> object:
    return trial.spec.hyperparameters.get("schedule")


def _plan_name(plan: str) -> object:
    return PLANS[plan]["schedule"]


def _curve(trial: Trial) -> TrainingCurve:
    curve = Runs.of([trial]).curves[0]
    assert curve is not None
    return curve


def _course(trial: Trial) -> np.ndarray:
    return looks_of(_curve(trial), EDGES, whole=True).log


def _see(eye: Watcher, trial: Trial, which: tuple[str, int, str], level: float, course: np.ndarray) -> Seen:
    curve = _curve(trial)
    whole, half = eye.read(curve), eye.read(curve.upto(0.5 * STEPS))
    gap = math.log(trial.loss or math.nan) - level
    ahead = _course(trial) - course
    at = np.sqrt(EDGES[1:] * EDGES[:-1])
    near = np.abs(np.log(at / 0.5)) < 0.25
    return Seen(
        *which,
        gap=gap,
        opening=float(np.mean(ahead[near])) / gap if gap else math.nan,
        alarm=None if whole.alarm_step is None else whole.alarm_step / STEPS,
        law=half.law_sd,
        curve=half.curve_sd,
        inside=half.final.low <= (trial.loss or math.nan) <= half.final.high,
        width_of_interval=math.log(half.final.high / half.final.low) / 2,
        visible=half.detectable["even"],
    )


def tables(seen: Iterable[Seen]) -> list[str]:
    """The tables of the benchmark."""
    seen = list(seen)
    tuned, off = [each for each in seen if not each.fault], [each for each in seen if each.fault and each.gap >= 0.03]
    ends = {WIDTHS[0], WIDTHS[-1]}
    lines = ["**False alarms over whole runs** (tuned, leave one width out; 95 % binomial interval)", ""]
    lines += ["| runs | false alarms | 90 % interval at half holds the end | half-width | law sd | curve sd at half |"]
    lines += ["|---|---|---|---|---|---|"]
    groups = [("all", tuned), *((plan, [each for each in tuned if each.plan == plan]) for plan in PLANS)]
    groups += [("width extrapolated", [each for each in tuned if each.width in ends])]
    for name, part in groups:
        alarms, inside = sum(each.alarm is not None for each in part), sum(each.inside for each in part)
        means = [100 * float(np.mean([getattr(each, key) for each in part])) for key in ("width_of_interval", "law", "curve")]
        cells = " | ".join(f"{each:.2f} %" for each in means)
        lines.append(f"| {name} | {interval(alarms, len(part))} | {interval(inside, len(part))} | {cells} |")
    lines += ["", "**Runs that end 3 % or more above the tuned ones**, flagged before half the compute", ""]
    lines += ["| runs | n | median excess | flagged by half | flagged by the end |", "|---|---|---|---|---|"]
    opened = [each for each in off if each.opening >= 2 / 3]
    told = [each for each in opened if math.expm1(each.gap) >= each.visible]
    sharp = [each for each in opened if max(each.law, each.curve) <= 0.004]
    rows = [
        ("two thirds open by half, law and curve sd <= 0.4 %", sharp),
        ("two thirds open by half", opened),
        ("two thirds open by half, above what half the run shows by its own statement", told),
        ("two thirds open by half, 3-6 % off", [each for each in opened if each.gap < 0.06]),
        ("less open by half (invisible then)", [each for each in off if each.opening < 2 / 3]),
        *((f"fault: {fault}", [each for each in off if each.fault == fault]) for fault in FAULTS),
    ]
    for name, part in rows:
        if not part:
            lines.append(f"| {name} | 0 | - | - | - |")
            continue
        half = sum(each.alarm is not None and each.alarm <= 0.5 for each in part)
        end = sum(each.alarm is not None for each in part)
        median = 100 * float(np.median([each.gap for each in part]))
        lines.append(f"| {name} | {len(part)} | {median:.1f} % | {interval(half, len(part))} | {interval(end, len(part))} |")
    visible = 100 * float(np.median([each.visible for each in tuned]))
    lines += ["", f"Median excess that half the run shows with power 0.8 where it opens evenly, as stated: {visible:.1f} %."]
    return lines
