"""The demo: the width study from the first trial to the report, on this machine.

Small networks are trained over a grid of learning rates. The rate that is best on average over the three middle widths is
kept, as a person would keep it, and the fixed-rate law is fitted and extrapolated. Then a much wider network is trained at the
kept rate, at the rate that the law of the best rate predicts, and over the whole grid for the truth. Every number of the
account comes from a public verb; nothing is chosen by its outcome.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np

from ._store.address import parse
from .errors import DataError, ScalelawError
from .estimate import Estimate
from .figures import figures
from .forecast import Forecast, forecast
from .frontier import kept_setting
from .render import paint
from .report import report
from .run import Event, run
from .store import load
from .study import Grid, Study, read_study
from .trial import TrialSpec, Value
from .trials import Trials
from .verdict import Ruling, Verdict, check

__all__ = ["Account", "Outcome", "demo", "packaged_study"]

SCALE, RATE = "width", "learning_rate"


@dataclass(frozen=True)
class Outcome:
    """What the large network reached at one rate.

    Args:
        rate: the learning rate.
        losses: of the seeds that finished.
        seeds: how many were trained.
    """

    rate: float
    losses: tuple[float, ...]
    seeds: int

    @property
    def loss(self) -> float:
        """Mean over the seeds; infinite where one of them diverged, because such a rate cannot be used."""
        return math.fsum(self.losses) / self.seeds if len(self.losses) == self.seeds else math.inf

    @property
    def variance(self) -> float:
        """Variance between seeds; NaN where fewer than two finished."""
        return float(np.var(self.losses, ddof=1)) if len(self.losses) > 1 else math.nan


@dataclass(frozen=True)
class Account:
    """What the demo found.

    Args:
        widths: of the small networks, in order. large: of the large one.
        kept: the large network at the rate kept from the small ones.
        predicted: the same at the rate that the law of the best rate predicts.
        truth: the same at the rate that turned out best of all that were tried.
        tried: how many rates were tried on it.
        forecast: from the small networks alone, tuned, with the fixed-rate law's promise beside it.
        verdicts: on the runs at the kept rate, one for each seed that finished.
        trials: how many were trained or read. seconds: wall time.
        report, figures: what was written.
    """

    widths: tuple[float, ...]
    large: float
    kept: Outcome
    predicted: Outcome
    truth: Outcome
    tried: int
    forecast: Forecast
    verdicts: tuple[Verdict, ...]
    trials: int
    seconds: float
    report: Path
    figures: tuple[Path, ...]

    @property
    def promised(self) -> Estimate:
        """What the fixed-rate law promised."""
        fixed = self.forecast.fixed
        if fixed is None:
            raise DataError("the forecast has no fixed-rate law", "demo", "Give the study several widths at every rate")
        return Estimate(fixed.loss, fixed.low, fixed.high, self.forecast.level)

    @property
    def tuned(self) -> Estimate:
        """The forecast when tuned."""
        return Estimate(self.forecast.loss, self.forecast.low, self.forecast.high, self.forecast.level)

    @property
    def best_rate(self) -> Estimate:
        """The predicted best rate."""
        return self.forecast.optimum[RATE]

    @property
    def seed_sd(self) -> float:
        """Standard deviation of the large network's loss between seeds, pooled over the kept rate and the best one."""
        found = [each.variance for each in (self.kept, self.truth) if math.isfinite(each.variance)]
        return math.sqrt(math.fsum(found) / len(found)) if found else math.nan

    @property
    def excess(self) -> float:
        """By how much the kept rate misses the truth, in nats."""
        return self.kept.loss - self.truth.loss

    @property
    def excess_sds(self) -> float:
        """The excess in standard deviations between seeds."""
        return self.excess / self.seed_sd

    @property
    def covered(self) -> bool:
        """Whether the interval of the tuned forecast holds the truth."""
        return self.forecast.low <= self.truth.loss <= self.forecast.high

    @property
    def ruling(self) -> str:
        """The verdict on the kept rate: that of most of its seeds."""
        names = [each.verdict.name for each in self.verdicts]
        return max(dict.fromkeys(names), key=names.count) if names else Ruling.OFF_LAW.name

    def sentences(self) -> tuple[str, ...]:
        """The account, a few plain sentences: the words of the command line, the report and the README."""
        small = f"{_plain(self.widths[0])} to {_plain(self.widths[-1])}"
        where = f"width {_plain(self.large)}"
        return (
            f"On networks of width {small} the learning rate {_plain(self.kept.rate)} was best on average over the three middle "
            "widths. It is kept.",
            f"At that rate the law of the small networks promises a loss of {_band(self.promised)} at {where}.",
            self._gave(),
            self._verdict(),
            f"The law of the best rate, from the small networks alone, predicts {_band(self.best_rate, 3)} at {where}: the kept "
            f"rate is {self.kept.rate / self.best_rate.value:.2g} times that. Trained at the predicted rate the network reached "
            f"{_loss(self.predicted)}.",
            f"The forecast when tuned is {_band(self.tuned)}; the truth, the best of {self.tried} rates, is {_loss(self.truth)} "
            f"at {_plain(self.truth.rate)}, {'inside' if self.covered else 'outside'} that interval.",
            self._cost(),
        )

    def _cost(self) -> str:
        if not math.isfinite(self.excess):
            return "Keeping the small networks' rate costs the run: it diverges."
        cost = f"{self.excess:.3f} nats, {self.excess_sds:.0f} standard deviations between seeds"
        return f"Keeping the small networks' rate costs {cost}."

    def _gave(self) -> str:
        if not math.isfinite(self.kept.loss):
            lost = self.kept.seeds - len(self.kept.losses)
            return f"The large network gave none: {lost} of {self.kept.seeds} runs diverged at that rate."
        return f"The large network gave {_loss(self.kept)} (mean of {self.kept.seeds} seeds)."

    def _verdict(self) -> str:
        agree = [each for each in self.verdicts if each.verdict.name == self.ruling]
        share = f"{len(agree)} of {len(self.verdicts)} runs"
        suspects = agree[0].suspects if agree else ()
        suspect = f"; first suspect: {suspects[0].hyperparameter}" if suspects else ""
        return f"Verdict: {self.ruling} for {share}{suspect}."

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return {
            "widths": list(self.widths),
            "large": self.large,
            "kept": {"learning_rate": self.kept.rate, "loss": self.kept.loss, "promised": self.promised.to_dict()},
            "predicted": {"learning_rate": self.best_rate.to_dict(), "loss": self.predicted.loss},
            "tuned": {
                "loss": self.forecast.loss,
                "low": self.forecast.low,
                "high": self.forecast.high,
                "level": self.forecast.level,
            },
            "truth": {"learning_rate": self.truth.rate, "loss": self.truth.loss, "rates": self.tried},
            "verdict": self.ruling,
            "excess": self.excess,
            "seed_sd": self.seed_sd,
            "excess_sds": self.excess_sds,
            "covered": self.covered,
            "trials": self.trials,
            "seconds": self.seconds,
            "report": str(self.report),
            "figures": [str(path) for path in self.figures],
            "sentences": list(self.sentences()),
        }


def packaged_study() -> Study:
    """The demo's study: its first grid is the ladder, its second the large network."""
    with resources.as_file(resources.files("scalelaw") / "studies" / "demo.toml") as path:
        return read_study(path)


def demo(
    storage: str | Path = Path("demo") / "study.db",
    *,
    seed: int = 0,
    study: Study | None = None,
    engine: str = "local",
    max_parallel: int | None = None,
    on_event: Callable[[Event], None] | None = None,
    on_step: Callable[[str], None] | None = None,
) -> Account:
    """Run the width study, judge the large network, and write the figure and the report beside the store.

    Args:
        storage: the store; a second call with the same one only reads.
        seed: shifts every seed of the study, so that reruns share no trial.
        study: another ladder and large network than the packaged ones, as its first and second grid.
        engine, max_parallel, on_event: as in `run`.
        on_step: told each step in a sentence.

    Raises:
        KeyboardInterrupt: a signal stopped the training; what is finished is kept.
        ScalelawError: a trial failed.
    """
    began, tell, place = time.monotonic(), on_step or (lambda _: None), parse(storage)
    folder = place.parent if isinstance(place, Path) else Path("demo")
    ladder, large = _parts(study or packaged_study(), seed)

    def train(part: Study) -> Trials:
        summary = run(part, storage, engine=engine, max_parallel=max_parallel, on_event=on_event)
        if summary.interrupted:
            raise KeyboardInterrupt
        if not summary.complete:
            raise ScalelawError(summary.message)
        return _of(load(storage), part.specs)

    width = float(large.scale[SCALE][0])
    smallest, widest = (_plain(float(end)) for end in _ends(ladder))
    tell(f"1 of 3  Train {len(ladder.specs)} small networks, width {smallest} to {widest}.")
    small = train(ladder)
    kept = kept_setting(small, over=SCALE, hyper=RATE)
    expected = forecast(small, {SCALE: width}, over=SCALE, hyper=RATE, with_=kept)
    predicted = float(f"{expected.optimum[RATE].value:.3g}")
    rates = tuple(dict.fromkeys((*map(float, large.hyperparameters[RATE]), kept[RATE], predicted)))
    tell(
        f"2 of 3  Train the large network, width {_plain(width)}: at the kept rate {_plain(kept[RATE])}, at the predicted "
        f"{_plain(predicted)}, and over {len(rates)} rates for the truth."
    )
    truth = replace(ladder, grids=(replace(large, hyperparameters={**large.hyperparameters, RATE: rates}),))
    wide = train(truth)
    tell("3 of 3  Judge the run at the kept rate, draw the figure, write the report.")
    account = _account(small, wide, expected, {"kept": kept[RATE], "predicted": predicted}, folder)
    _write(account, _of(load(storage), (*ladder.specs, *truth.specs)))
    return replace(account, seconds=time.monotonic() - began)


def _account(small: Trials, wide: Trials, expected: Forecast, rates: Mapping[str, float], folder: Path) -> Account:
    """Judge the large network at the kept rate and look up what it reached at the others."""
    outcomes = {float(rate): _outcome(wide, float(rate)) for rate in np.unique(wide.numbers(RATE))}
    return Account(
        widths=tuple(float(value) for value in np.unique(small.numbers(SCALE))),
        large=expected.at[SCALE],
        kept=outcomes[rates["kept"]],
        predicted=outcomes[rates["predicted"]],
        truth=min(outcomes.values(), key=lambda each: each.loss),
        tried=len(outcomes),
        forecast=expected,
        verdicts=tuple(check(small, row, over=SCALE, hyper=RATE) for row in _rows(wide, rates["kept"])),
        trials=len(small) + len(wide),
        seconds=0.0,
        report=folder / "report.html",
        figures=(folder / "figure.png", folder / "figure.svg"),
    )


def _ends(ladder: Study) -> tuple[Value, Value]:
    """The smallest and the largest width of a ladder."""
    widths = sorted(ladder.grids[0].scale[SCALE], key=float)
    return widths[0], widths[-1]


def _parts(study: Study, seed: int) -> tuple[Study, Grid]:
    """The ladder as a study of its own, and the large network's grid, with every seed shifted."""
    if len(study.grids) != 2:
        raise DataError(
            "the demo's study has two grids: the ladder and the large network", study.name, "Add [[grid]] for the latter"
        )
    # Shifted by whole sets of seeds, so that no two reruns share one.
    small, large = (replace(grid, seeds=tuple(each + seed * len(grid.seeds) for each in grid.seeds)) for grid in study.grids)
    return replace(study, grids=(small,)), large


def _of(trials: Trials, specs: Sequence[TrialSpec]) -> Trials:
    """The rows of these specs; the store may hold other reruns."""
    return trials.where(np.isin(trials["id"].astype(str), [spec.id for spec in specs]))


def _at(wide: Trials, rate: float) -> Trials:
    return wide.where(np.isclose(wide.numbers(RATE), rate, rtol=1e-9, atol=0.0))


def _rows(wide: Trials, rate: float) -> list[Trials]:
    """The finished runs at one rate, each as a table of one row."""
    finished = _at(wide, rate).finished
    return [finished.where(np.arange(len(finished)) == place) for place in range(len(finished))]


def _outcome(wide: Trials, rate: float) -> Outcome:
    rows = _at(wide, rate)
    return Outcome(rate, tuple(map(float, rows.finished.numbers("loss"))), len(rows))


def _write(account: Account, trials: Trials) -> None:
    four_pane = figures["four_pane"].data(trials, forecast=account.forecast, verdicts=account.verdicts)
    for path in account.figures:
        paint(four_pane, path)
    page = report(trials, forecast=account.forecast, verdicts=account.verdicts, account=account.sentences())
    account.report.write_text(page, encoding="utf-8")


def _plain(value: float, digits: int = 3) -> str:
    if float(value).is_integer() and abs(value) < 1e6:
        return str(int(value))
    mantissa, sign, power = f"{value:.{digits}g}".partition("e")
    return f"{mantissa}e{int(power)}" if sign else mantissa


def _loss(outcome: Outcome) -> str:
    return f"{outcome.loss:.4g}" if math.isfinite(outcome.loss) else "no loss (it diverged)"


def _band(estimate: Estimate, digits: int = 4) -> str:
    low, high = (_plain(end, digits) if math.isfinite(end) else "no bound" for end in (estimate.low, estimate.high))
    return f"{_plain(estimate.value, digits)} ({estimate.level:.0%} interval {low} to {high})"
