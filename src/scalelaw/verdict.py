"""The verdict: is a run on the best-case law, off it, or can these data not tell - and what is suspected where it is off."""

from __future__ import annotations

import enum
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ._evidence import check_level, e_value
from .cells import default_over
from .diagnostics import Finding
from .errors import RunError
from .estimate import number
from .forecast import Forecast, forecast
from .frontier import frontier, frontier_at
from .laws import Law
from .notation import quantity
from .stack import Mixture
from .suspects import Suspect, suspects
from .trial import Status, Trial
from .trials import Trials

__all__ = ["Ruling", "Suspect", "Verdict", "check", "columns_of", "judge", "places", "ruling", "settings_of", "tuned", "without"]

# Power at which a smallest detectable excess is stated.
_POWER = 0.8
# How far from its best a setting is for the powers told, in nats.
_MISTUNED = {"x2": math.log(2), "x4": math.log(4), "/2": -math.log(2), "/4": -math.log(4)}
# A run is called on the law only where it is no worse than one tuned run in five ...
_CLEAR = 0.2
# ... and where an excess of this size in ln loss would have been seen.
_BLIND = 0.10


class Ruling(enum.Enum):
    """What is ruled. The value is the sentence a user needs."""

    ON_LAW = "The run is on the best-case law: no worse than tuned runs of this size are."
    OFF_LAW = "The run is off the best-case law: a tuned run of this size would hardly ever be this bad."
    UNDECIDED = "These data cannot tell whether the run is on the law."


@dataclass(frozen=True, eq=False)
class Verdict:
    """What `check` rules.

    Args:
        verdict: the ruling. message: the sentence, with its numbers.
        expected: median loss of a tuned run here.
        low: of the forecast's interval. high: the threshold of the one-sided test, so OFF_LAW means observed > high.
        observed: the run's loss; None where it diverged. p_value: P(a tuned run is at least this bad).
        excess: `nats` (observed - expected), `relative` (of expected) and `compute`: the share of its compute with which a tuned
            run reaches that loss, where the scales tell compute and the law has that loss; None where the run diverged.
        detectable: hyperparameter -> the factor from its best that this test would have seen with power 0.8.
        detectable_excess: the same as a share of the loss.
        power: hyperparameter -> {"x2", "x4", "/2", "/4"} -> chance that this test calls a run off whose setting is that far from
            its best, skew and all.
        e_value: the p-value as evidence that may be averaged over runs (`batch.py`); infinite where the run diverged.
        findings: what to know before believing it.
        suspects: most suspected first; empty where the run is on the law or nothing was tuned.
        at: the run's scale. level: of the test.
        settings: the run's hyperparameters. forecast: what it was judged against.
    """

    verdict: Ruling
    message: str
    expected: float
    low: float
    high: float
    observed: float | None
    p_value: float | None
    excess: Mapping[str, float] | None
    detectable: Mapping[str, float]
    detectable_excess: float
    power: Mapping[str, Mapping[str, float]]
    e_value: float
    findings: tuple[Finding, ...]
    suspects: tuple[Suspect, ...]
    at: Mapping[str, float]
    level: float
    settings: Mapping[str, float]
    forecast: Forecast = field(repr=False)

    @property
    def unexplained(self) -> float | None:
        """Expected share of the gap that no suspect explains: a cause that was not tuned, the law's error, or chance.

        None where nothing is suspected.
        """
        return max(1.0 - sum(each.share for each in self.suspects), 0.0) if self.suspects else None

    def to_dict(self) -> dict[str, Any]:
        """The JSON object of `scalelaw check`."""
        return {
            "verdict": self.verdict.name,
            "message": self.message,
            "at": dict(self.at),
            "settings": dict(self.settings),
            "expected": self.expected,
            "low": self.low,
            "high": self.high,
            "level": self.level,
            "observed": self.observed,
            "p_value": self.p_value,
            "excess": None if self.excess is None else dict(self.excess),
            "detectable": {name: number(value) for name, value in self.detectable.items()},
            "detectable_excess": self.detectable_excess,
            "power": {name: dict(each) for name, each in self.power.items()},
            "e_value": number(self.e_value),
            "findings": [each.to_dict() for each in self.findings],
            "suspects": [each.to_dict() for each in self.suspects],
            "unexplained": self.unexplained,
        }


def check(
    data: Trials,
    run: Mapping[str, Any] | Trial | Trials,
    *,
    level: float = 0.95,
    fixed: bool = False,
    over: str | Sequence[str] | None = None,
    hyper: str | Sequence[str] | None = None,
    law: str | Law | Sequence[str | Law] | None = None,
) -> Verdict:
    """Judge one run against the best-case law of others.

    H0: the run is tuned and on the law. With F the predictive distribution of ln loss of one tuned run at its scale
    (parameters, scatter of scales, form, discrepancy, one run's own noise), p = 1 - F(ln observed). One-sided: a loss below the
    law is no fault, and the discrepancy is that of the upper side (`Stack.one_sided`).

    - OFF_LAW: p < 1 - level.
    - ON_LAW: p >= 0.5; or p >= 0.2, where an excess of 10 % of the loss would have been seen (power 0.8).
    - UNDECIDED: otherwise: worse than most tuned runs without being beyond chance, or judged by a law too wide to see anything.

    The smallest detectable excess x at power 0.8 moves the 20 % quantile of F to its threshold; for a hyperparameter with
    curvature H it is the factor exp(sqrt(2 x / H)) away from its best.

    Args:
        data: other runs. The run itself is left out where it is among them.
        run: columns by name or alias with `loss`; a trial; or a table of one row.
        level: one-sided; 1 - level is the rate of false alarms.
        fixed, over, hyper, law: see `forecast`; a fixed law is taken at the run's own setting where that was run at two sizes.

    Raises:
        RunError: the run has no loss, no size, or a value that is not a positive number.
        DataError: the data carry no law.
    """
    check_level(level)
    row = columns_of(run)
    others = without(data, row)
    over, at = places(others, row, over)
    edge = frontier(others, over=over, hyper=hyper)
    settings = settings_of(others, row)
    if fixed:
        edge = frontier_at(others, over, edge.hyper, settings)
    expected = forecast(edge, at, law=law, level=2 * level - 1)
    return judge(expected, row, settings, level)


def judge(expected: Forecast, row: Mapping[str, Any], settings: Mapping[str, float], level: float) -> Verdict:
    """The test itself: `row` against the forecast."""
    mixture, run = tuned(expected), expected.variance["run"]
    middle, high = (float(mixture.quantile(each)[0]) for each in (0.5, level))
    both = expected.stack.predict(expected.at, run)
    low = float(both.quantile(1 - level)[0])
    diverged = row.get("status") == Status.DIVERGED.name or not _is_number(row.get("loss"))
    log = math.inf if diverged else math.log(_positive(row, "loss"))
    ruled, p, visible = ruling(mixture, log, level)
    judged = _Judged(ruled, p, log - middle, visible, settings, diverged)
    accused = () if diverged or ruled is Ruling.ON_LAW else suspects(expected, both, judged.gap, settings)
    value = None if diverged else math.exp(log)
    return Verdict(
        verdict=ruled,
        message=_sentence(expected, judged, math.exp(middle), value, accused),
        expected=math.exp(middle),
        low=math.exp(max(low, -700.0)),
        high=math.exp(min(high, 700.0)),
        observed=value,
        p_value=None if diverged else p,
        excess=None if value is None else _excess(expected, value, math.exp(middle)),
        detectable=_detectable(expected, visible),
        detectable_excess=math.expm1(min(visible, 700.0)),
        power=_power(expected, mixture, high),
        e_value=e_value(p),
        findings=(*expected.findings, *_about(expected, settings)),
        suspects=accused,
        at=expected.at,
        level=level,
        settings=settings,
        forecast=expected,
    )


def tuned(expected: Forecast) -> Mixture:
    """The distribution of ln loss of a tuned run that a run is tested against: its upper quantiles are those of `one_sided`."""
    return expected.stack.one_sided().predict(expected.at, expected.variance["run"])


@dataclass(frozen=True)
class _Judged:
    """The test's outcome, for the suspects and the sentence."""

    ruling: Ruling
    p: float
    gap: float
    visible: float
    settings: Mapping[str, float]
    diverged: bool


def ruling(mixture: Mixture, log_loss: float, level: float) -> tuple[Ruling, float, float]:
    """The test alone: ruling, p-value and the excess of ln loss that it sees with power 0.8, see `check`."""
    p = 1.0 - float(mixture.cdf(np.array([log_loss]))[0]) if math.isfinite(log_loss) else 0.0
    visible = float(mixture.quantile(level)[0] - mixture.quantile(1 - _POWER)[0])
    return Ruling.OFF_LAW if p < 1 - level else _within(p, visible), p, visible


def _within(p: float, visible: float) -> Ruling:
    if p >= 0.5 or (p >= _CLEAR and visible <= _BLIND):
        return Ruling.ON_LAW
    return Ruling.UNDECIDED


def columns_of(run: Mapping[str, Any] | Trial | Trials) -> dict[str, Any]:
    """The run as one row, columns under their own names."""
    if isinstance(run, Trial):
        run = Trials.from_trials([run])
    if isinstance(run, Trials):
        if len(run) != 1:
            raise RunError(f"{len(run)} rows where one run belongs", run.source, "Give one run")
        run = run.rows()[0]
    row: dict[str, Any] = {}
    for name, value in run.items():
        known = quantity(name)
        row.setdefault(known.column if known else name, value)
    if "loss" not in row and row.get("status") != Status.DIVERGED.name:
        raise RunError("the run has no loss", "run", "Add a column loss, or name yours with --map loss=NAME")
    status = row.get("status")
    if status in (Status.FAILED.name, Status.LOST.name, Status.PRUNED.name, Status.EXCLUDED.name):
        raise RunError(f"the run is {status}, so its loss is not final", "run", "Judge a run that finished")
    if isinstance(row.get("loss"), str):
        raise RunError(f"the loss is text ({row['loss']!r})", "run", "Give a number")
    return row


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float | np.number) and math.isfinite(float(value))


def _positive(row: Mapping[str, Any], name: str) -> float:
    value = row.get(name)
    if not _is_number(value) or not float(value) > 0:  # pyright: ignore[reportArgumentType]
        raise RunError(f"{name} is {value!r}, not a positive number", "run", f"Give the run's {name}")
    return float(value)  # pyright: ignore[reportArgumentType]


def without(data: Trials, row: Mapping[str, Any]) -> Trials:
    """The data less the run itself: by its id, else by size, setting, seed and loss."""
    if "id" in data and row.get("id"):
        return data.where(data["id"] != row["id"])
    names = [name for name in (*data.scales, *data.hyperparameters, "seed", "loss") if name in data and _is_number(row.get(name))]
    if "loss" not in names:
        return data
    same = np.ones(len(data), dtype=bool)
    for name in names:
        if data[name].dtype != object:
            same &= np.isclose(data.numbers(name), float(row[name]), rtol=1e-9, atol=0.0)
    return data.where(~same)


def places(data: Trials, row: Mapping[str, Any], over: str | Sequence[str] | None) -> tuple[tuple[str, ...], dict[str, float]]:
    """The law's scale columns, and the run's place in them."""
    names = _over(data, row, over)
    return names, {name: _positive(row, name) for name in names}


def settings_of(data: Trials, row: Mapping[str, Any]) -> dict[str, float]:
    """The run's hyperparameters that are numbers."""
    return {name: float(row[name]) for name in data.hyperparameters if _is_number(row.get(name))}


def _over(data: Trials, row: Mapping[str, Any], over: str | Sequence[str] | None) -> tuple[str, ...]:
    if over is not None:
        return (over,) if isinstance(over, str) else tuple(over)
    found = default_over(data)
    if all(_is_number(row.get(name)) for name in found):
        return found
    # The run may be described in fewer columns than the data: whatever it shares with them that varies.
    shared = {name: row[name] for name in data.scales if _is_number(row.get(name))}
    if not any(name in data.varying(data.scales) for name in shared):
        raise RunError(f"the run has no {' or '.join(found)}", "run", f"Add {', '.join(found)} to it")
    return default_over(data, shared)


def _detectable(expected: Forecast, visible: float) -> dict[str, float]:
    """Per tuned hyperparameter the factor exp(sqrt(2 x / H)) whose cost x this test would have seen."""
    response = expected.frontier.response
    if response is None:
        return {}
    curvature = np.diag(response.hessian_at(expected.at))
    return {name: math.exp(min(math.sqrt(2 * visible / float(curvature[j])), 50.0)) for j, name in enumerate(response.hyper)}


def _power(expected: Forecast, mixture: Mixture, threshold: float) -> dict[str, dict[str, float]]:
    """Per tuned hyperparameter the chance that a run so far from its best exceeds the threshold: 1 - F(threshold - cost)."""
    response = expected.frontier.response
    if response is None:
        return {}
    found: dict[str, dict[str, float]] = {}
    for j, name in enumerate(response.hyper):
        away = np.zeros((len(_MISTUNED), len(response.hyper)))
        away[:, j] = list(_MISTUNED.values())
        cost = response.cost(expected.at, away)
        chance = [1.0 - float(mixture.cdf(np.array([threshold - each]))[0]) for each in cost]
        found[name] = dict(zip(_MISTUNED, chance, strict=True))
    return found


def _excess(expected: Forecast, value: float, middle: float) -> dict[str, float]:
    """Of the loss, and as compute: along smaller scales the one whose median is the observed loss."""
    over, found = expected.frontier.over, {"nats": value - middle, "relative": value / middle - 1}
    if {"parameters", "tokens"} <= set(over) or "compute" in over:
        # Parameters and tokens shrink alike.
        each = np.geomspace(1e-6, 1.0, 61)
        power = {name: 1.0 if name == "compute" else 0.5 if name in ("parameters", "tokens") else 0.0 for name in over}
        loss = expected.stack.predict({name: expected.at[name] * each ** power[name] for name in over}).loss(0.5)
        loss = np.minimum.accumulate(loss)
        if loss[-1] <= value <= loss[0]:
            found["compute"] = float(np.exp(np.interp(-math.log(value), -np.log(loss), np.log(each))))
    return found


def _about(expected: Forecast, settings: Mapping[str, float]) -> tuple[Finding, ...]:
    """What the run does not say about itself."""
    missing = [name for name in expected.frontier.hyper if name not in settings] if expected.frontier.tuned else []
    if not missing:
        return ()
    text = ", ".join(missing)
    return (
        Finding("setting_unknown", f"The run does not say its {text}, so it cannot be suspected.", f"Add {text} to the run."),
    )


def _sentence(expected: Forecast, judged: _Judged, middle: float, value: float | None, accused: tuple[Suspect, ...]) -> str:
    where = ", ".join(f"{name} {each:g}" for name, each in expected.at.items())
    kind = "tuned run" if expected.frontier.tuned else "run at the fixed setting"
    if judged.diverged:
        return f"OFF THE LAW: the run at {where} diverged, where a {kind} reaches about {middle:.3f}. Lower its learning rate."
    percent = 100 * math.expm1(judged.gap)
    seen = f"This test sees an excess of {100 * math.expm1(min(judged.visible, 700.0)):.2g} % of the loss four times out of five."
    side = "above" if percent >= 0 else "below"
    fact = f"loss {value:.3f} at {where} is {abs(percent):.2g} % {side} the {middle:.3f} expected of a {kind}"
    chance = f"one in {1 / judged.p:.0f}" if judged.p > 1e-4 else "fewer than one in 10,000"
    head = {Ruling.ON_LAW: "ON THE LAW", Ruling.OFF_LAW: "OFF THE LAW", Ruling.UNDECIDED: "UNDECIDED"}[judged.ruling]
    if judged.ruling is Ruling.ON_LAW:
        return f"{head}: {fact}. {seen}"
    if judged.ruling is Ruling.OFF_LAW:
        return f"{head}: {fact}; {chance} would be this bad. {_accusation(accused)}"
    if judged.visible > _BLIND:
        return f"{head}: {fact}, and the law is too uncertain here. {seen} Run a size in between."
    return f"{head}: {fact}; {chance} would be this bad, not rare enough to call it off. {seen} Run another seed."


def _accusation(accused: tuple[Suspect, ...]) -> str:
    """What is suspected, how much of the gap that explains, and what settles it."""
    if not accused:
        return "What is at fault these data cannot say: run it at other settings."
    first = accused[0]
    rest = max(1.0 - sum(each.share for each in accused), 0.0)
    name = first.hyperparameter
    told = f"First suspect: {name} {first.used:.3g}, predicted best {first.best:.3g}; that distance explains about"
    shares = f"{100 * first.share:.0f} % of the gap, and {100 * rest:.0f} % stays unexplained"
    return f"{told} {shares}. Run it at {name} {first.best:.3g} to settle it."
