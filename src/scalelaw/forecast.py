"""The forecast: what a larger, tuned model should reach, with an interval that says how it was checked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from .backtest import Backtest, backtest
from .cells import default_over
from .diagnostics import Finding, diagnose
from .errors import DataError
from .estimate import Estimate
from .fit import Fit
from .frontier import Frontier, frontier, kept_setting
from .laws import Law
from .optimum import Optima, optimum
from .response import Array
from .stack import Ladder, Mixture, Stack
from .trials import Trials, place
from .untested import Widening, widening

__all__ = ["FixedForecast", "Forecast", "LawWeight", "Reach", "forecast"]


@dataclass(frozen=True, eq=False)
class LawWeight:
    """One law of the stack and its weight."""

    name: str
    weight: float
    fit: Fit = field(repr=False)


@dataclass(frozen=True)
class Reach:
    """How far the forecast goes: `ratio` times the largest size measured, checked up to `checked` times."""

    ratio: float
    checked: float
    message: str

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return {"ratio": self.ratio, "checked": self.checked, "message": self.message}


@dataclass(frozen=True, eq=False)
class FixedForecast:
    """What the runs at one setting promise, by the one law that forecast their own held-out sizes best.

    Args:
        setting: hyperparameter -> value; empty where the data do not record it.
        fit: the law of those runs alone.
        loss, low, high: at the target. level: of the interval.
        trials: the losses it was fitted to, one row per scale.
    """

    setting: Mapping[str, float]
    fit: Fit = field(repr=False)
    loss: float
    low: float
    high: float
    level: float
    trials: Trials = field(repr=False)
    _stack: Stack = field(repr=False)
    _run: float = 0.0

    def predict(self, points: Mapping[str, Any]) -> tuple[Array, Array, Array]:
        """Value, low and high at arrays of points, for drawing; NaN where the law has fallen to zero."""
        return _band(self._stack, points, self._run**2, self.level)

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        law = {"name": self.fit.law.name, "theta": dict(self.fit.theta)}
        return {"loss": self.loss, "low": self.low, "high": self.high, "setting": dict(self.setting), "law": law}


@dataclass(frozen=True, eq=False)
class Forecast:
    """The loss of a tuned run at a scale.

    Args:
        at: the target.
        loss, low, high: median and interval of one run's loss; level: of the interval.
        sd_log, degrees: standard deviation of ln loss, and degrees of freedom of its t.
        variance: of ln loss, by source: parameters, scatter, run, tuning, form, discrepancy.
        laws: the stack.
        reach: how far beyond the data, and beyond what was checked.
        backtest: how forecasts from the smaller sizes did.
        findings: what to know before believing it.
        optimum: the law's best setting at the target. optima: its laws; None where nothing was tuned.
        fixed: the forecast from one setting alone; None where no setting was run at two sizes.
        frontier: what the laws were fitted to.
        widening: by how much the best case may lie below the law, where tuning was tested at no size or at some only; it moves
            the quantiles below the median.
    """

    at: Mapping[str, float]
    loss: float
    low: float
    high: float
    level: float
    sd_log: float
    degrees: float
    variance: Mapping[str, float]
    laws: tuple[LawWeight, ...]
    reach: Reach
    backtest: Backtest
    findings: tuple[Finding, ...]
    optimum: Mapping[str, Estimate]
    optima: Optima | None
    fixed: FixedForecast | None
    frontier: Frontier
    stack: Stack = field(repr=False)
    widening: Widening | None = field(default=None, repr=False)

    def quantile(self, probability: float) -> float:
        """The loss that one tuned run at the target stays below with a probability.

        Raises:
            DataError: no probability.
        """
        _check_probability(probability, "probability")
        return float(np.exp(np.clip(_quantile(self._mixture, probability, self.widening)[0], -700.0, 700.0)))

    def draw(self, count: int, seed: int = 0) -> Array:
        """Draws of one tuned run's loss at the target, `(count,)`, for decisions of one's own; deterministic given the seed."""
        grid = np.concatenate([np.geomspace(1e-4, 0.01, 20), np.linspace(0.015, 0.985, 98), 1 - np.geomspace(0.01, 1e-4, 20)])
        mixture = self._mixture
        at = np.array([float(_quantile(mixture, float(each), self.widening)[0]) for each in grid])
        return np.exp(np.clip(np.interp(np.random.default_rng(seed).random(count), grid, at), -700.0, 700.0))

    @property
    def _mixture(self) -> Mixture:
        return self.stack.predict(self.at, self.variance["run"] + self.variance["tuning"])

    def predict(self, points: Mapping[str, Any]) -> tuple[Array, Array, Array]:
        """Value, low and high of one tuned run at arrays of points, for drawing."""
        wider = widening(self.frontier, self.stack, _arrays(points)) if self.widening is not None else None
        return _band(self.stack, points, self.variance["run"] + self.variance["tuning"], self.level, wider)

    def to_dict(self) -> dict[str, Any]:
        """The JSON object of `scalelaw forecast`."""
        return {
            "at": dict(self.at),
            "loss": self.loss,
            "low": self.low,
            "high": self.high,
            "level": self.level,
            "tuned": self.frontier.tuned,
            "laws": [{"name": each.name, "weight": each.weight, "theta": dict(each.fit.theta)} for each in self.laws],
            "reach": self.reach.to_dict(),
            "variance": dict(self.variance),
            "backtest": {key: value for key, value in self.backtest.to_dict().items() if key != "rows"},
            "findings": [each.to_dict() for each in self.findings],
            "optimum": {name: each.to_dict() for name, each in self.optimum.items()},
            "fixed": None if self.fixed is None else self.fixed.to_dict(),
        }


def forecast(
    data: Trials | Frontier,
    at: Mapping[str, float],
    *,
    over: str | Sequence[str] | None = None,
    hyper: str | Sequence[str] | None = None,
    law: str | Law | Sequence[str | Law] | None = None,
    fixed: bool = False,
    with_: Mapping[str, float] | None = None,
    level: float = 0.9,
) -> Forecast:
    """Forecast the loss of one run at a scale: tuned, and beside it at the setting that was kept.

    Args:
        data: runs, or their frontier.
        at: the target in scale columns of the data.
        over: scale columns of the law; default those of `at` that vary in the data.
        hyper: see `frontier`.
        law: one law or several to stack; default for one scale `log_linear`, `power` and `saturating`.
        fixed, with_: forecast from the runs at one setting, as they stand; the setting, default `kept_setting`.
        level: of every interval.

    Raises:
        DataError: one size only, no law for these scales, a target that does not name them, or a setting that was never run.
    """
    _check_probability(level, "level")
    if isinstance(data, Frontier):
        trials, edge = data.source, data
    else:
        over = default_over(data, at) if over is None else over
        trials, edge = data, frontier(data, over=over, hyper=hyper, fixed=fixed, settings=with_ if fixed else None)
    point = place(edge.over, at)
    ladder = Ladder(edge, law)
    stack = ladder.stack()
    checks = backtest(ladder, level=level)
    optima = optimum(edge, at=point, level=level) if edge.tuned and len(edge.trials) > len(edge.over) else None
    variance = _variance(edge, stack, optima, point)
    mixture, wider = stack.predict(point, variance["run"] + variance["tuning"]), widening(edge, stack, _arrays(point))
    low, loss, high = (float(each[0]) for each in _ends(mixture, level, wider))
    return Forecast(
        at=point,
        loss=loss,
        low=low,
        high=high,
        level=level,
        sd_log=float(mixture.sd()[0]),
        degrees=float(stack.weights @ np.array([member.degrees for member in stack.members])),
        variance=variance,
        laws=_laws(stack),
        reach=_reach(edge, point, checks),
        backtest=checks,
        findings=diagnose(trials, edge, point, checks.horizon if checks.n else None),
        optimum={} if optima is None else optima.estimates(point),
        optima=optima,
        fixed=_beside(trials, edge, point, law, dict(with_ or {}), level),
        frontier=edge,
        stack=stack,
        widening=wider,
    )


def _check_probability(value: float, name: str) -> None:
    if not 0 < value < 1:
        raise DataError(f"{name} {value:g} is no probability", name, "Give a number between 0 and 1, such as 0.9")


def _ends(mixture: Mixture, level: float, wider: Widening | None = None) -> tuple[Array, Array, Array]:
    """Low, median and high of the loss, `(points,)`."""
    low, middle, high = (
        np.exp(np.clip(_quantile(mixture, each, wider), -700.0, 700.0)) for each in (0.5 - level / 2, 0.5, 0.5 + level / 2)
    )
    return low, middle, high


def _quantile(mixture: Mixture, probability: float, wider: Widening | None) -> Array:
    """Of ln loss; widened below the median, and never above it."""
    if wider is None or probability >= 0.5:
        return mixture.quantile(probability)
    return np.minimum(wider.low(mixture, probability), mixture.quantile(probability))


def _arrays(points: Mapping[str, Any]) -> dict[str, Array]:
    return {name: np.atleast_1d(np.asarray(value, dtype=np.float64)) for name, value in points.items()}


def _laws(stack: Stack) -> tuple[LawWeight, ...]:
    pairs = sorted(zip(stack.weights, stack.members, strict=True), key=lambda each: -each[0])
    return tuple(LawWeight(member.fit.law.name, float(weight), member.fit) for weight, member in pairs)


def _variance(edge: Frontier, stack: Stack, optima: Optima | None, point: Mapping[str, float]) -> dict[str, float]:
    """Variance of ln loss at the target by source.

    The run pays for the error V of its predicted best setting: 1/2 tr(H V) on average, which is taken as a variance of that size
    squared twice (for one hyperparameter the variance of 1/2 H z^2 with z ~ N(0, V) is 1/2 (H V)^2).
    """
    mixture = stack.predict(point)
    mean, weights = mixture.mean[:, 0], mixture.weights
    scatter = float(sum(w * member.scatter**2 for w, member in zip(stack.weights, stack.members, strict=True)))
    tuning = 0.0
    if optima is not None and edge.response is not None:
        errors = np.array([optima[name].run_at(point).stderr for name in edge.hyper])
        tuning = 2.0 * (0.5 * float(np.sum(np.diag(edge.response.hessian_at(point)) * errors**2))) ** 2
    return {
        "parameters": max(float(weights @ mixture.variance[:, 0]) - scatter, 0.0),
        "scatter": scatter,
        "run": edge.run_sd**2,
        "tuning": tuning,
        "form": float(weights @ (mean - weights @ mean) ** 2),
        "discrepancy": float(mixture.chances @ mixture.discrepancy[:, 0] ** 2),
    }


def _reach(edge: Frontier, point: Mapping[str, float], checks: Backtest) -> Reach:
    """One sentence: how far beyond the data, and beyond the checked horizon."""
    extent = {name: (float(edge.trials.numbers(name).min()), float(edge.trials.numbers(name).max())) for name in edge.over}
    name = max(edge.over, key=lambda each: point[each] / extent[each][1])
    ratio = point[name] / extent[name][1]
    where = f"{name} {point[name]:g}"
    if all(extent[each][0] <= value <= extent[each][1] for each, value in point.items()):
        return Reach(ratio, checks.horizon, f"{where} lies within the sizes measured: this is an interpolation.")
    if ratio <= 1:
        return Reach(ratio, checks.horizon, f"{where} lies below the sizes measured: the law is read backwards.")
    text = f"{where} is {ratio:.3g} times the largest size measured ({extent[name][1]:g})"
    if not checks.n:
        return Reach(ratio, 1.0, f"{text}; no forecast from these data could be checked.")
    if ratio > checks.horizon * 1.0001:
        return Reach(ratio, checks.horizon, f"{text}, beyond the {checks.horizon:.3g} times over which forecasts were checked.")
    return Reach(ratio, checks.horizon, f"{text}; forecasts were checked over up to {checks.horizon:.3g} times.")


def _beside(
    trials: Trials,
    edge: Frontier,
    point: Mapping[str, float],
    law: str | Law | Sequence[str | Law] | None,
    setting: dict[str, float],
    level: float,
) -> FixedForecast | None:
    """The forecast from one setting's runs, or None where no setting was run at two sizes."""
    if edge.tuned:
        asked, setting = bool(setting), setting or kept_setting(trials, over=edge.over, hyper=edge.hyper)
        try:
            kept = frontier(trials, over=edge.over, hyper=edge.hyper, fixed=True, settings=setting)
        except DataError:
            if asked:
                raise
            return None
    else:
        kept = edge
    try:
        # One law, not the stack: the line that a person would draw through these runs, and believe.
        ladder = Ladder(kept, law)
        several = ladder.stack()
        best = several.members[int(np.argmax(several.weights))].fit
        stack = ladder.stack(only=best.law.name)
        mixture = stack.predict(point, kept.run_sd**2)
    except DataError:
        return None
    low, loss, high = (float(each[0]) for each in _ends(mixture, level))
    return FixedForecast(kept.settings, best, loss, low, high, level, kept.trials, stack, kept.run_sd)


def _band(
    stack: Stack, points: Mapping[str, Any], extra: float, level: float, wider: Widening | None = None
) -> tuple[Array, Array, Array]:
    here = stack.reach(points)
    found = np.full((3, len(here)), np.nan)
    if here.any():
        inside = {name: np.broadcast_to(np.asarray(points[name], dtype=np.float64), here.shape)[here] for name in stack.over}
        found[:, here] = _ends(stack.predict(inside, extra), level, wider)
    low, middle, high = found
    return middle, low, high
