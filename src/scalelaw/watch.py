"""Watching a run while it trains: where it will end, whether it has left the law, and whether a restart would pay."""

from __future__ import annotations

import enum
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from ._references import References, few, law_without, own_noise, peaks, references, tuned_rows
from ._restart import Decision, Restart, Spent, advise, elasticity
from ._sequential import Noise, Posterior, evidence, fit_noise, information, posterior, threshold
from ._watched import plan_for, total_of, under
from .cells import default_over
from .curves import Plan, Runs, TrainingCurve, looks_of
from .errors import DataError, RunError
from .estimate import Estimate, number
from .forecast import Forecast, forecast
from .frontier import Frontier, frontier
from .trials import place

__all__ = ["Decision", "Restart", "Standing", "Watch", "Watcher", "watch", "watcher"]

Array: TypeAlias = NDArray[np.float64]

# Excess of the final loss that is worth knowing, and the chance below which it counts as excluded.
_WORTH, _EXCLUDED = 0.03, 0.1
_POWER = 0.8416  # normal quantile of 0.8


class Standing(enum.Enum):
    """How the run stands. The value is the sentence a user needs."""

    TOO_EARLY = "The run is still in its warmup or its first 5 %: nothing can be said yet."
    ON_LAW = "The run is on course: an excess worth knowing is excluded so far."
    UNDECIDED = "The run has raised no alarm, but an excess worth knowing is not excluded yet."
    OFF_LAW = "The run has left the law: a tuned run would hardly ever look like this at any time."
    DIVERGED = "The run's loss is no longer finite."


@dataclass(frozen=True, eq=False)
class Watch:
    """What the curve says so far.

    Args:
        step, fraction: how far the run is, in steps and as a share of its compute.
        verdict: how it stands. message: the sentence, with its numbers.
        final: posterior of the final loss.
        excess: posterior mean, `low` and `high` of the final excess over a tuned run as a share of the loss, and `probability`
            that it exceeds `worth`.
        alarm: whether the test has rejected at any look so far; `alarm_step` is where, None where not.
        evidence: E at the last look; `threshold` is what it must reach.
        detectable: final excess that the test would have seen by now with power 0.8 where it was there from the start (`early`),
            opened evenly (`even`), or opens late (`late`, as x^2).
        restart: whether to go on.
        findings: what to know before believing it.
        looks: looks taken. law_sd, curve_sd: standard deviations of ln final loss by the law, and of the expected course
            here, without the noise of the records.
    """

    step: float
    fraction: float
    verdict: Standing
    message: str
    final: Estimate
    excess: Mapping[str, float]
    alarm: bool
    alarm_step: float | None
    evidence: float
    threshold: float
    detectable: Mapping[str, float]
    restart: Restart
    findings: tuple[str, ...]
    looks: int
    law_sd: float
    curve_sd: float
    posterior: Posterior = field(repr=False)

    def to_dict(self) -> dict[str, Any]:
        """The JSON object of `scalelaw watch`."""
        return {
            "step": self.step,
            "fraction": self.fraction,
            "verdict": self.verdict.name,
            "message": self.message,
            "final": {"loss": self.final.value, "low": self.final.low, "high": self.final.high, "level": self.final.level},
            "excess": dict(self.excess),
            "alarm": self.alarm,
            "alarm_step": self.alarm_step,
            "evidence": number(self.evidence),
            "threshold": number(self.threshold),
            "detectable": {name: number(value) for name, value in self.detectable.items()},
            "restart": self.restart.to_dict(),
            "law_sd": self.law_sd,
            "curve_sd": self.curve_sd,
            "looks": self.looks,
            "findings": list(self.findings),
        }


@dataclass(frozen=True, eq=False)
class Watcher:
    """Everything that does not depend on the watched curve: made once, it reads the curve as often as it grows.

    Args:
        at, total, plan: the watched run's size, steps and schedule.
        level: of the intervals.
        law: mean and standard deviation of ln final loss of a tuned run.
        references: the tuned runs, carried to this size. noise: the covariance of their error.
        limit: threshold on ln E. peaks: the largest ln E of each tuned run when its size is left out.
        gain: -d ln loss / d ln compute along the ladder. diagnosis: cost of finding the fault, as a share of the run's compute.
        settings: hyperparameters of the watched run. forecast: the law's.
    """

    at: Mapping[str, float]
    total: float
    plan: Plan
    level: float
    law: tuple[float, float]
    references: References
    noise: Noise
    limit: float
    peaks: Array
    gain: float
    diagnosis: float
    settings: Mapping[str, float]
    findings: tuple[str, ...]
    forecast: Forecast = field(repr=False)

    def read(self, curve: TrainingCurve) -> Watch:
        """Judge the curve as it stands.

        Raises:
            RunError: it is longer than the run.
        """
        curve = replace(curve, total=self.total)
        step = float(curve.steps[-1]) if len(curve) else 0.0
        if curve.lost is not None:
            step = max(step, curve.lost)
        if step > self.total * (1 + 1e-9):
            raise RunError(f"the curve goes to step {step:g}", "curve", f"The run has {self.total:g} steps: mend --total")
        e, C, x, seen = self._residuals(curve)
        found = posterior(e, C, x, self.law)
        logs = evidence(e, C, x) if len(e) else np.zeros(0)
        crossed = np.flatnonzero(logs >= self.limit)
        lost = curve.lost is not None
        alarm = bool(len(crossed)) or lost
        where = float(self.references.edges[1:][seen][crossed[0]] * self.total) if len(crossed) else curve.lost
        excess = _excess(found, self.level)
        seen_by_now = self._detectable(C, x)
        standing = self._standing(len(e), alarm, lost, found, seen_by_now)
        odds = 1.0 if lost else _rising(curve)
        spent = Spent(step / self.total, self.diagnosis, self.gain)
        restart = advise(self.forecast, self.settings, found, spent, alarm=alarm, diverges=odds)
        low, middle, high = (math.exp(found.final(p)) for p in (0.5 - self.level / 2, 0.5, 0.5 + self.level / 2))
        final = Estimate(middle, low, high, self.level)
        here = np.flatnonzero(seen)
        faded = f"the evidence is {math.exp(float(logs[-1])):.2g} now" if len(crossed) and logs[-1] < 0 else None
        return Watch(
            step=step,
            fraction=step / self.total,
            verdict=standing,
            message=self._sentence(standing, final, excess, seen_by_now, (step, where, faded)),
            final=final,
            excess=excess,
            alarm=alarm,
            alarm_step=where if alarm else None,
            evidence=math.exp(min(float(logs[-1]), 700.0)) if len(logs) else 1.0,
            threshold=math.exp(self.limit),
            detectable=seen_by_now,
            restart=restart,
            findings=(*self.findings, *curve.notes),
            looks=len(e),
            law_sd=self.law[1],
            curve_sd=self._course_sd(int(here[-1]) if len(here) else 0),
            posterior=found,
        )

    def _residuals(self, curve: TrainingCurve) -> tuple[Array, Array, Array, NDArray[np.bool_]]:
        """Residuals at the looks taken, their covariance, the looks' progress, and which they are."""
        refs = self.references
        looks = looks_of(curve, refs.edges, refs.slope)
        seen = np.isfinite(looks.log)
        extra = own_noise(curve, looks, self.noise, refs.x)
        C = self.law[1] ** 2 + self.noise.covariance(refs.x, extra, self._stretch)
        e = looks.log - self.law[0] - refs.carried.g
        return e[seen], C[np.ix_(seen, seen)], refs.x[seen], seen

    @property
    def _stretch(self) -> float:
        """Variance of what lasts of this course's error over that of the left-out runs."""
        carried = self.references.carried
        return carried.stretch * few(len(np.unique(carried.places)))

    def _course_sd(self, look: int) -> float:
        """Standard deviation of the expected course at a look, without the records' own noise."""
        refs = self.references
        smooth = replace(self.noise, noise=0.0).covariance(refs.x, stretch=self._stretch)
        return math.sqrt(float(smooth[look, look]))

    def _detectable(self, C: Array, x: Array) -> dict[str, float]:
        """Final excess seen by now with power 0.8: U - drift must exceed what brings E to the limit."""
        found: dict[str, float] = {}
        for name, p in (("early", 0.0), ("even", 1.0), ("late", 2.0)):
            info = information(C, x, p) if len(x) else 0.0
            # The mean over openings costs ln 4 where only this one speaks.
            need = math.sqrt(2 * (self.limit + math.log(4) + 0.5 * math.log1p(info * _WORTH**2))) + _POWER
            found[name] = math.expm1(min(need / math.sqrt(info), 700.0)) if info > 0 else math.inf
        return found

    def _standing(self, looks: int, alarm: bool, lost: bool, found: Posterior, seen: Mapping[str, float]) -> Standing:
        if lost:
            return Standing.DIVERGED
        if alarm:
            return Standing.OFF_LAW
        if not looks:
            return Standing.TOO_EARLY
        excluded = found.above(_WORTH) <= _EXCLUDED and seen["even"] <= 2 * _WORTH
        return Standing.ON_LAW if excluded else Standing.UNDECIDED

    def _sentence(
        self,
        standing: Standing,
        final: Estimate,
        excess: Mapping[str, float],
        seen: Mapping[str, float],
        moments: tuple[float, float | None, str | None],
    ) -> str:
        step, where, faded = moments
        far = f"at {100 * step / self.total:.3g} % of the run"
        end = f"it should end at {final.value:.4g} ({final.low:.4g} to {final.high:.4g})"
        if standing is Standing.DIVERGED:
            return f"DIVERGED: the loss is not finite from step {where:g} on. Stop the run and lower its learning rate."
        if standing is Standing.TOO_EARLY:
            return f"TOO EARLY: {far}; looks begin at {100 * self.references.edges[0]:.2g} %, after warmup. By the law {end}."
        over = f"{100 * excess['value']:.2g} % ({100 * excess['low']:.2g} to {100 * excess['high']:.2g} %) above a tuned run"
        if standing is Standing.OFF_LAW:
            now = "See restart for whether to go on." if faded is None else f"The gap that raised it has closed since: {faded}."
            return f"OFF THE LAW since step {where:.6g}: {far} {end}, {over}. {now}"
        late = seen["late"]
        blind = (
            f"a gap that opens late is invisible below {100 * late:.2g} %" if late < 10 else "a gap that opens late is invisible"
        )
        even = f"{100 * seen['even']:.2g} %" if seen["even"] < 10 else "no excess of any size"
        if standing is Standing.ON_LAW:
            return f"ON THE LAW: {far} {end}. An evenly opening excess of {even} would have been seen; {blind}."
        return f"UNDECIDED: {far} {end}. An evenly opening excess of {even} would have been seen; {blind}. Look again later."


def watch(
    runs: Runs,
    curve: TrainingCurve,
    at: Mapping[str, float],
    *,
    total: float | None = None,
    settings: Mapping[str, Any] | None = None,
    over: str | Sequence[str] | None = None,
    hyper: str | Sequence[str] | None = None,
    level: float = 0.9,
) -> Watch:
    """Watch one run: see `watcher` for the arguments and `Watcher.read` for the curve. For a growing curve keep the watcher."""
    known = {**curve.settings, **(settings or {})}
    steps = total or (curve.total if curve.total > 0 else None)
    return watcher(runs, at, total=steps, settings=known, over=over, hyper=hyper, level=level, curve=curve).read(curve)


def watcher(
    runs: Runs,
    at: Mapping[str, float],
    *,
    total: float | None = None,
    settings: Mapping[str, Any] | None = None,
    over: str | Sequence[str] | None = None,
    hyper: str | Sequence[str] | None = None,
    level: float = 0.9,
    alpha: float = 0.05,
    curve: TrainingCurve | None = None,
) -> Watcher:
    """Prepare to watch a run.

    The final loss is forecast by the law of tuned runs (`forecast`), the course by the tuned runs' curves (`_transport`), both
    with their errors. The alarm is an e-process (`_sequential`): P(ever | tuned) <= alpha under the model, and its threshold is
    raised where tuned runs, their own size left out of law and curves, would have crossed it.

    Args:
        runs: smaller runs, those with curves and those without.
        at: the watched run's size. total: its steps; default those of the smaller runs where they are all alike.
        settings: its hyperparameters; `schedule`, `warmup`, `final_fraction` say its schedule, by default the smaller runs' own.
        over, hyper: see `forecast`. level: of the intervals. alpha: false alarms per whole run.
        curve: the curve so far, where its logged learning rates can tell the schedule.

    Raises:
        DataError: no curves, no law, or fewer than three sizes with curves; several lengths or schedules and none named.
        RunError: a schedule nobody knows.
    """
    if not runs.known:
        raise DataError("there are no training curves", runs.table.source, "Give a store, or a table with a column step")
    over = default_over(runs.table, at) if over is None else (over,) if isinstance(over, str) else tuple(over)
    point = place(over, at)
    given = dict(settings or {})
    steps = total_of(runs, total)
    plan = plan_for(runs, given, steps, curve)
    mine = under(runs, plan, over)
    edge = frontier(mine.table, over=over, hyper=hyper)
    expected = forecast(edge, point, level=level)
    law = _law(edge, expected, point)
    refs = references(mine, tuned_rows(edge, mine), over, (point, plan, steps, law[0]))
    heights = peaks(refs, edge)
    limit, enough = threshold(heights, alpha)
    gain = elasticity(expected, runs.table)
    return Watcher(
        at=point,
        total=steps,
        plan=plan,
        level=level,
        law=law,
        references=refs,
        noise=fit_noise(refs.carried.errors, refs.carried.places, refs.x),
        limit=limit,
        peaks=heights,
        gain=gain[0],
        diagnosis=gain[1],
        settings={name: float(value) for name, value in given.items() if isinstance(value, int | float)},
        findings=(*_about(refs, heights, enough, alpha), *_about_law(expected)),
        forecast=expected,
    )


def _law(edge: Frontier, expected: Forecast, point: Mapping[str, float]) -> tuple[float, float]:
    """Mean and standard deviation of ln final loss of a tuned run: the forecast's."""
    mean, _ = law_without(edge, None, point)
    return mean, max(expected.sd_log, 1e-5)


def _excess(found: Posterior, level: float) -> dict[str, float]:
    ends = (math.expm1(found.excess_quantile(p)) for p in (0.5 - level / 2, 0.5 + level / 2))
    low, high = ends
    return {
        "value": math.expm1(found.expected),
        "low": low,
        "high": high,
        "worth": _WORTH,
        "probability": found.above(math.log1p(_WORTH)),
    }


def _about(refs: References, heights: Array, enough: bool, alpha: float) -> list[str]:
    """What the tuned runs say about the test itself."""
    found: list[str] = []
    carried = refs.carried
    if not carried.same:
        found.append(f"No three sizes ran under {refs.plan}: its course is what curve laws make of other schedules.")
    if not len(heights):
        found.append("No tuned run could be judged with its size left out: the threshold rests on the model alone.")
    elif not enough:
        need = math.ceil(1 / alpha) - 1
        found.append(
            f"{len(heights)} tuned runs with curves calibrate the alarm; {need} are needed to carry {alpha:.0%} by themselves, "
            "so its threshold rests on the model where they never crossed it."
        )
    return found


def _about_law(expected: Forecast) -> list[str]:
    return [each.message for each in expected.findings if each.name in ("tuning_untested", "few_scales", "short_reach")]


def _rising(curve: TrainingCurve) -> float:
    """P(the run diverges): the chance that its late trend, continued, ends above where it began.

    A line through the last fifth of the records, in steps; 0 where that is falling or too short.
    """
    late = curve.losses[-max(len(curve) // 5, 1) :]
    if len(late) < 6:
        return 0.0
    t, y = curve.middle[-len(late) :], np.log(late)
    X = np.stack([np.ones(len(t)), t - t.mean()], axis=1)
    beta = np.linalg.lstsq(X, y, rcond=None)[0]
    variance = float(np.sum((y - X @ beta) ** 2)) / (len(t) - 2)
    slope_variance = variance / float(np.sum(X[:, 1] ** 2))
    ahead = curve.total - t.mean()
    z = (beta[0] + beta[1] * ahead - math.log(float(curve.losses[: max(len(curve) // 50, 1)].mean()))) / math.sqrt(
        variance / len(t) + slope_variance * ahead**2 + 1e-12
    )
    return 0.5 * math.erfc(-z / math.sqrt(2)) if beta[1] > 2 * math.sqrt(slope_variance) else 0.0
