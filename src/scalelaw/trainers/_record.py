"""What a trial reports while it trains, and what becomes of it."""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from .. import spool
from ..train.outcome import judge_reports
from ..trial import Status, Trial, TrialSpec
from ._base import Order
from ._counts import GIVEN, counts
from ._course import Course
from ._rules import Rules
from ._rungs import SHARE, Rungs
from ._stopping import hopeless

__all__ = ["Record", "Report", "Stopped"]

# A trial's metrics are kept by name, the last value of each.
MOST_METRICS = 1000
# Beyond, a float tells no step from the next.
LAST_STEP = 2**53
_OWN = (*GIVEN, "loss", "initial_loss", "chance_loss")
_NO_METRIC = (*_OWN, "step", "final", "id", "metrics")


class Stopped(BaseException):
    """Raised by `report` where a run is to end. Let it pass: it is no `Exception`, so that `except Exception` does."""


class Record:
    """One trial in training.

    Args:
        spec: the trial. rules: of its study. order: what the worker was told.

    A trial ends by the first of: what was seen while it reported (`verdict`), what it raised (`failed`), its result (`end`).
    """

    def __init__(self, spec: TrialSpec, rules: Rules, order: Order) -> None:
        self.spec, self.rules = spec, rules
        self.folder = spool.trial_folder(order.folder, spec.id)
        self.course = Course()
        self.metrics: dict[str, float] = {}
        self.given: dict[str, float] = {}
        self.verdict: dict[str, Any] | None = None
        self._began = time.monotonic()
        share = rules.halving if order.shared else None
        self._rungs = None if share is None else Rungs(spool.rungs(order.folder), spec, share)
        self._rung = 0

    # ---- while it trains ----------------------------------------------------------------------------------------------

    def left(self) -> float:
        """Seconds until the trial has taken too long; infinite where it may take any."""
        limit = self.rules.timeout
        return math.inf if limit is None else self._began + limit - time.monotonic()

    def late(self) -> None:
        """The trial has taken too long."""
        self._decide({"status": Status.FAILED, "error": f"took longer than {self.rules.timeout_text}"})

    def note(self, step: Any, loss: Any, metrics: Mapping[str, Any]) -> bool:
        """Keep a report; whether the run goes on.

        Raises:
            TypeError, ValueError: what was reported is no step, or no number.
        """
        if self.verdict is not None:
            return False
        at, value = _step(step), _number(loss, "loss")
        for name, given in metrics.items():
            if name in _OWN:
                self.given[name] = _number(given, name)
            else:
                self._measure(name, _number(given, name))
        if not math.isfinite(value):
            self._diverged(at)
        else:
            self.course.add(at, value)
            if self.rules.stop and hopeless(self.course):
                self._diverged(at)
            self._halve(at)
        if self.left() < 0:
            self.late()
        return self.verdict is None

    def _measure(self, name: str, value: float) -> None:
        if not math.isfinite(value):
            return  # a metric that is not defined now: the last one that was stays
        if name not in self.metrics and len(self.metrics) >= MOST_METRICS:
            raise ValueError(f"a trial has at most {MOST_METRICS} metrics")
        self.metrics[name] = value

    def _diverged(self, step: int | None) -> None:
        last = self.course.last
        self._decide({"status": Status.DIVERGED, "diverged_step": step, "last_loss": None if last is None else last[1]})

    def _halve(self, step: int) -> None:
        """Stop the run where it is not among the best of its size; a rung at its end would save nothing."""
        if self._rungs is None:
            return
        rung, steps = self._rungs.halving.rung(step), self.spec.scale.get("steps")
        if rung is None or rung <= self._rung or (isinstance(steps, int | float) and rung >= steps):
            return
        self._rung = rung
        loss, _ = self.course.mean(after=(1 - SHARE) * step)
        again = self.course.first is not None and self.course.first[0] > rung
        if not self._rungs.goes_on(rung, loss, again=again):
            self._decide({"status": Status.PRUNED, "last_loss": loss})

    def _decide(self, verdict: dict[str, Any]) -> None:
        if self.verdict is None:
            self.verdict = verdict

    # ---- when it has ended --------------------------------------------------------------------------------------------

    def end(self, result: Any) -> Trial:
        """The trial, by what it gave: a loss, a mapping with one and whatever of N, D and C it knows, or nothing.

        Without a loss of its own a trial has that of its reports, as the study's `final` says; the metric `final_reports` then
        tells how many it is the mean of.
        """
        if self.verdict is None:
            before = self.given
            try:
                self.given = {**before, **self._given(result)}
                self._decide(self._judged())
            except (TypeError, ValueError) as error:
                self.given = before  # so that a better result, if one is told, is not judged by this one
                return self.failed(" ".join(str(error).split()))
        return self._trial()

    def failed(self, error: str) -> Trial:
        """The trial, where something went wrong; what was seen before that counts."""
        self._decide({"status": Status.FAILED, "error": str(error)[:500]})
        return self._trial()

    def pruned(self) -> Trial:
        """The trial, stopped early on purpose."""
        last = self.course.last
        self._decide({"status": Status.PRUNED, "last_loss": last and last[1]})
        return self._trial()

    def _given(self, result: Any) -> dict[str, float]:
        """What the trial told of itself. Its further numbers are metrics."""
        if result is None:
            return {}
        if not isinstance(result, Mapping):
            return {"loss": _number(result, "the result")}
        if (other := result.get("id", self.spec.id)) != self.spec.id:
            raise ValueError(f"the result is for an unknown trial ({other!r})")
        nested = result.get("metrics")
        for name, value in {**result, **(nested if isinstance(nested, Mapping) else {})}.items():
            if name not in _NO_METRIC and not isinstance(value, bool):
                with contextlib.suppress(TypeError, ValueError):  # a note, a list: nothing that can be compared
                    self._measure(str(name), _number(value, str(name)))
        return {name: _number(result[name], name) for name in _OWN if result.get(name) is not None}

    def _judged(self) -> dict[str, Any]:
        given, loss, count = self.given, self.given.get("loss"), 0
        if loss is None:
            last = self.course.last
            if last is None:
                raise ValueError("it gave no loss: return one, or report one")
            loss, count = self.course.mean(after=(1 - self.rules.share) * last[0] if self.rules.share else last[0] - 1)
            self.metrics["final_reports"] = float(count)
        for name in (*GIVEN, "initial_loss", "chance_loss"):
            if name in given and not (0 < given[name] < math.inf):
                raise ValueError(f"{name} = {given[name]:g} is no number above 0")
        if not math.isfinite(loss):
            last = self.course.last
            return {"status": Status.DIVERGED, "diverged_step": last and last[0], "last_loss": last and last[1]}
        start, chance = given.get("initial_loss"), given.get("chance_loss")
        course = self.course
        return judge_reports(course.steps, course.losses, loss, course.noise(), count=count, start=start, chance_loss=chance)

    def _trial(self) -> Trial:
        given = {name: value for name, value in self.given.items() if 0 < value < math.inf}
        first = self.course.first
        return Trial(
            spec=self.spec,
            curve=self.course.curve(),
            initial_loss=given.get("initial_loss", None if first is None else first[1]),
            metrics=self.metrics,
            seconds=time.monotonic() - self._began,
            **counts(self.spec, given, self.rules.formula),
            **(self.verdict or {}),
        )


class Report:
    """What a training function is handed: `report(step, loss, accuracy=0.9)`, as often as it likes.

    `report.folder` is a folder of the trial's own, kept until the trial is done: a function that was stopped half-way finds its
    checkpoints there when it is called again.
    """

    def __init__(self, record: Record) -> None:
        self._record = record

    @property
    def folder(self) -> Path:
        """The trial's folder, made when it is first asked for."""
        self._record.folder.mkdir(parents=True, exist_ok=True)
        return self._record.folder

    def __call__(self, step: int, loss: float, **metrics: float) -> None:
        """Tell the loss after `step` steps; numbers by other names are metrics, of which the last value is kept.

        What a result may tell of N, D and C (`parameters`, `tokens`, ...) can be told here as well: a run that is stopped has no
        result.

        Raises:
            Stopped: the run is to end: its loss is not finite, it is certain to diverge, its time is up, or others of its size
                are better. Let it pass.
            TypeError: what is told is no number.
        """
        if not self._record.note(step, loss, metrics):
            raise Stopped


def _step(value: Any) -> int:
    step = _number(value, "step")
    if not (0 <= step <= LAST_STEP and step.is_integer()):
        raise ValueError(f"a step is a whole number of 0 or more, not {_short(value)}")
    return int(step)


def _number(value: Any, what: str) -> float:
    """A number, also one of an array library with one element."""
    try:
        if value is None or isinstance(value, bool):
            raise TypeError
        item: Any = getattr(value, "item", None)
        plain: Any = item() if callable(item) else value
        return float(plain)
    except OverflowError:
        return math.inf
    except (TypeError, ValueError, RuntimeError):
        raise TypeError(f"{what} is no number but {_short(value)}") from None


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
