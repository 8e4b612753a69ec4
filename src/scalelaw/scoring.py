"""Scores of frozen forecasts: how one did on a run, and how all of them did together.

Scores are kept beside the forecast, one line per scoring, in a file that only grows: the frozen part never changes, scoring a
run again hides nothing, and of several lines for one run the last counts.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import numpy as np

from ._predictive import interval_score
from .axis import axis_of
from .errors import InputError, RunError
from .estimate import Estimate, number
from .frozen import NEAR, Frozen, code, data_digest, is_frozen, now, sidecar, thaw
from .notation import quantity
from .trial import Status, Trial
from .trials import Trials

__all__ = ["Coverage", "Register", "Registered", "Score", "Used", "record", "register", "score"]

# A setting this close to the recommended one, on its own axis, is that setting: rates are rounded.
_SAME = math.log(1.1)
_LEVELS = (0.5, 0.8, 0.9, 0.95)
_KEPT = {"forecast", "run_digest", "run", "inside", "followed", "observed", "z", "pit", "interval_score", "crps"}


@dataclass(frozen=True)
class Used:
    """A hyperparameter of the scored run beside what was recommended. `followed` is None where the run does not tell it."""

    name: str
    value: float | None
    recommended: Estimate
    followed: bool | None

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return {"name": self.name, "used": self.value, "recommended": self.recommended.to_dict(), "followed": self.followed}


@dataclass(frozen=True, eq=False)
class Score:
    """How a frozen forecast did on one run. Scores are of ln loss: 0.01 is about one percent of the loss.

    Args:
        inside: whether the loss lies in the interval; a run that diverged does not.
        z: Phi^-1 of its place in the predictive distribution. pit: that place, F(observed). None where it diverged, as are
            interval_score, crps and log_score (-ln f); of each of these less is better.
        observed: the loss; None where it diverged.
        followed: whether the run used the recommended settings; None where it does not tell.
        settings: the same per hyperparameter.
        message: the sentence. run: what the run is called. run_digest: sha256 of its row.
    """

    inside: bool
    z: float | None
    pit: float | None
    interval_score: float | None
    crps: float | None
    log_score: float | None
    observed: float | None
    followed: bool | None
    settings: tuple[Used, ...]
    message: str
    run: str
    run_digest: str
    forecast: Frozen = field(repr=False)

    def to_dict(self) -> dict[str, Any]:
        """The JSON object of `scalelaw score`."""
        return {**self.result(), "forecast": self.forecast.to_dict()}

    def result(self) -> dict[str, Any]:
        """The same without the forecast: what is kept beside it."""
        numbers = ("z", "pit", "interval_score", "crps", "log_score", "observed")
        return {
            "inside": self.inside,
            **{name: number(getattr(self, name)) for name in numbers},
            "followed": self.followed,
            "settings": [each.to_dict() for each in self.settings],
            "message": self.message,
            "run": self.run,
            "run_digest": self.run_digest,
        }


def score(frozen: Frozen | str | Path, run: Mapping[str, Any] | Trial | Trials) -> Score:
    """Score a frozen forecast on a run at its target.

    Args:
        frozen: a frozen forecast, or its file.
        run: columns by name or alias with `loss`; a trial; or a table of one row.

    Raises:
        InputError: the file is no frozen forecast, or was changed after it was frozen.
        RunError: the run has no loss or size, did not finish, or lies at another scale than the target.
    """
    frozen = frozen if isinstance(frozen, Frozen) else thaw(frozen)
    table = _table(run)
    row = table.rows()[0]
    _at_target(frozen, row)
    loss = _loss(row)
    settings = tuple(_used(name, each, row) for name, each in frozen.recommended.items())
    known = [each.followed for each in settings]
    followed = False if False in known else None if None in known else True
    inside = loss is not None and frozen.low <= loss <= frozen.high
    y = None if loss is None else math.log(loss)
    found = frozen.predictive
    return Score(
        inside=inside,
        z=None if y is None else found.z(y),
        pit=None if y is None else found.pit(y),
        interval_score=None if y is None else interval_score(y, math.log(frozen.low), math.log(frozen.high), frozen.level),
        crps=None if y is None else found.crps(y),
        log_score=None if y is None else found.log_score(y),
        observed=loss,
        followed=followed,
        settings=settings,
        message=_sentence(frozen, loss, inside, None if y is None else found.z(y)),
        run=str(row.get("id") or table.source),
        run_digest=data_digest(table),
        forecast=frozen,
    )


def record(scored: Score) -> Path:
    """Keep a score beside its forecast, as one more line of `sidecar`.

    Raises:
        InputError: the place cannot be written, or holds the scores of another forecast.
    """
    path = sidecar(scored.forecast.path)
    _kept(scored.forecast)
    line = json.dumps({"forecast": scored.forecast.digest, "scored": now(), "code": code(), **scored.result()}, allow_nan=False)
    try:
        with path.open("ab+") as stream:
            # A line that a full disk cut short must not swallow this one.
            if stream.tell() and (stream.seek(-1, os.SEEK_END), stream.read(1))[1] != b"\n":
                line = f"\n{line}"
            stream.write(f"{line}\n".encode())
            stream.flush()
            os.fsync(stream.fileno())
    except OSError as error:
        told = (error.strerror or str(error)).lower()
        raise InputError(
            f"the score cannot be kept ({told})", str(path), "Mend that, or only print it with --no-record"
        ) from error
    return path


@dataclass(frozen=True, eq=False)
class Registered:
    """One frozen forecast of a register and the scores of its runs; `reason` says why it does not count, where it does not."""

    path: str
    frozen: Frozen | None
    scores: tuple[Mapping[str, Any], ...] = ()
    reason: str = ""

    @property
    def fair(self) -> tuple[Mapping[str, Any], ...]:
        """The scores that test the forecast: not of runs that were set otherwise than it was made for."""
        return tuple(each for each in self.scores if each["followed"] is not False)

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        forecast = None if self.frozen is None else self.frozen.to_dict()
        return {"path": self.path, "forecast": forecast, "scores": [dict(each) for each in self.scores], "reason": self.reason}


@dataclass(frozen=True)
class Coverage:
    """How many of `n` forecasts held at a nominal level, with a 95 % binomial interval."""

    level: float
    share: float
    low: float
    high: float
    n: int

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return {"level": self.level, "share": self.share, "low": self.low, "high": self.high, "n": self.n}


@dataclass(frozen=True, eq=False)
class Register:
    """All frozen forecasts of a place and how they did; runs set otherwise than recommended are listed but not counted.

    Each forecast counts once, by the mean over its runs: seeds of one target share its error. Forecasts that were made from the
    same data share theirs too, which no interval here knows.

    Args:
        rows: per forecast, in order of time.
        coverage: of intervals at 50, 80, 90 and 95 %.
        interval_score, crps: means. pit: mean, 1/2 where calibrated; pit_sd: of that mean, 1 / sqrt(12 n), where calibrated.
    """

    rows: tuple[Registered, ...]
    coverage: tuple[Coverage, ...]
    interval_score: float | None
    crps: float | None
    pit: float | None
    pit_sd: float | None

    @property
    def waiting(self) -> tuple[Registered, ...]:
        """Forecasts that no run has scored yet."""
        return tuple(each for each in self.rows if each.frozen is not None and not each.scores)

    def to_dict(self) -> dict[str, Any]:
        """The JSON object of `scalelaw score` for several forecasts."""
        return {
            "forecasts": [each.to_dict() for each in self.rows],
            "waiting": len(self.waiting),
            "coverage": [each.to_dict() for each in self.coverage],
            "interval_score": self.interval_score,
            "crps": self.crps,
            "pit": self.pit,
            "pit_sd": self.pit_sd,
        }


def register(paths: str | Path | Iterable[str | Path]) -> Register:
    """All frozen forecasts of files and folders with their scores.

    A file in a folder that was changed after it was frozen is listed and not counted; one that is named itself is an error.

    Raises:
        InputError: a file that is no intact frozen forecast, or a folder without one.
    """
    rows: dict[Path, Registered] = {}
    for each in [paths] if isinstance(paths, str | Path) else paths:
        path = Path(each)
        if not path.is_dir():
            frozen = thaw(path)
            rows[path.resolve()] = Registered(str(path), frozen, _kept(frozen))
            continue
        there = sorted(file for file in path.glob("*.json") if is_frozen(file))
        if not there:
            raise InputError("holds no frozen forecast", str(path), "Freeze one: scalelaw forecast DATA --at POINT --freeze FILE")
        for file in there:
            try:
                frozen = thaw(file)
                rows[file.resolve()] = Registered(str(file), frozen, _kept(frozen))
            except InputError as error:
                rows[file.resolve()] = Registered(str(file), None, reason=error.what)
    return _summary(sorted(rows.values(), key=lambda row: (row.frozen.created if row.frozen else "", row.path)))


def _summary(rows: Sequence[Registered]) -> Register:
    """Means over forecasts of their means over runs."""
    scored = [row.fair for row in rows if row.fair]
    coverage = tuple(_coverage(level, [_mean([_held(each, level) for each in runs]) for runs in scored]) for level in _LEVELS)

    def mean(name: str) -> float | None:
        told = [[float(each[name]) for each in runs if each[name] is not None] for runs in scored]
        return _mean([_mean(each) for each in told if each]) if any(told) else None

    # A run that diverged came out above anything that was predicted.
    pits = [_mean([1.0 if each["pit"] is None else each["pit"] for each in runs]) for runs in scored]
    pit, sd = (_mean(pits), 1 / math.sqrt(12 * len(pits))) if pits else (None, None)
    return Register(tuple(rows), coverage if scored else (), mean("interval_score"), mean("crps"), pit, sd)


def _held(scored: Mapping[str, Any], level: float) -> float:
    return float(scored["pit"] is not None and abs(scored["pit"] - 0.5) <= 0.5 * level)


def _mean(values: Sequence[float]) -> float:
    return math.fsum(values) / len(values) if values else math.nan


def _coverage(level: float, held: Sequence[float]) -> Coverage:
    """Share with the interval of Clopper and Pearson (1934); a forecast that held for half its runs counts half."""
    if not held:
        return Coverage(level, math.nan, 0.0, 1.0, 0)
    from scipy.special import betaincinv

    n, k = len(held), math.fsum(held)
    low = 0.0 if k <= 0 else float(betaincinv(k, n - k + 1, 0.025))
    high = 1.0 if k >= n else float(betaincinv(k + 1, n - k, 0.975))
    return Coverage(level, k / n, low, high, n)


def _kept(frozen: Frozen) -> tuple[Mapping[str, Any], ...]:
    """The scores beside a forecast, the last of each run; a line that was cut short is no score."""
    path = sidecar(frozen.path)
    found: dict[str, Mapping[str, Any]] = {}
    try:
        lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    except (OSError, ValueError) as error:
        raise InputError("the scores cannot be read", str(path), "Mend the file, or move it away") from error
    for line in lines:
        with contextlib.suppress(ValueError, AttributeError):
            row = cast("dict[str, Any]", json.loads(line))
            if not row.keys() >= _KEPT:
                continue
            if row["forecast"] != frozen.digest:
                raise InputError(
                    "these are the scores of another forecast",
                    str(path),
                    "Move them away, or bring back the forecast they are of",
                )
            found[row["run_digest"]] = row
    return tuple(found.values())


# ---- the run ------------------------------------------------------------------------------------------------------------


def _table(run: Mapping[str, Any] | Trial | Trials) -> Trials:
    """The run as a table of one row, columns under their own names."""
    if isinstance(run, Trial):
        run = Trials.from_trials([run], "trial")
    if isinstance(run, Trials):
        if len(run) != 1:
            raise RunError(f"{len(run)} rows where one run belongs", run.source, "Give one run")
        return run
    columns: dict[str, Any] = {}
    for name, value in run.items():
        known = quantity(name)
        columns.setdefault(known.column if known else name, [value])
    return Trials.from_columns(columns, "run")


def _at_target(frozen: Frozen, row: Mapping[str, Any]) -> None:
    """Refuse a run at another scale."""
    for name, value in frozen.at.items():
        own = row.get(name)
        if not isinstance(own, int | float) or not own > 0:
            raise RunError(f"the run does not say its {name}", "run", f"Add {name} to it: the forecast is for {name} {value:g}")
        if abs(own / value - 1) > NEAR:
            raise RunError(
                f"the run is at {name} {own:g}, the forecast for {name} {value:g}",
                "run",
                "Give a run at the target; a forecast for this size had to be frozen before it ran",
            )


def _loss(row: Mapping[str, Any]) -> float | None:
    """The run's loss; None where it diverged."""
    status, loss = row.get("status"), row.get("loss")
    if status == Status.DIVERGED.name:
        return None
    if status in (Status.FAILED.name, Status.LOST.name, Status.PRUNED.name, Status.EXCLUDED.name) and "loss" in row:
        raise RunError(f"the run is {status}, so it has no final loss", "run", "Score a run that finished")
    if not isinstance(loss, int | float):
        raise RunError("the run has no loss", "run", "Add a column loss, or name yours with --map loss=NAME")
    if not loss > 0:
        raise RunError(f"the loss is {loss:g}, and laws are of positive losses", "run", "Give the run's loss")
    return float(loss)


def _used(name: str, best: Estimate, row: Mapping[str, Any]) -> Used:
    """Whether the run's setting is the recommended one: in its interval, or within a tenth on its own axis."""
    value = row.get(name)
    if not isinstance(value, int | float):
        return Used(name, None, best, None)
    within = not (value < best.low or value > best.high) and not (math.isnan(best.low) or math.isnan(best.high))
    with np.errstate(all="ignore"):
        here, there = (float(axis_of(name).coordinate(np.array([each], dtype=np.float64))[0]) for each in (value, best.value))
    return Used(name, float(value), best, within or value == best.value or abs(here - there) <= _SAME)


def _sentence(frozen: Frozen, loss: float | None, inside: bool, z: float | None) -> str:
    where = ", ".join(f"{name} {each:g}" for name, each in frozen.at.items())
    band = f"the {frozen.level:.0%} interval {frozen.low:.4g} to {frozen.high:.4g} frozen on {frozen.created[:10]}"
    if loss is None or z is None:
        return f"OUTSIDE: the run at {where} diverged, so it is not in {band}."
    if inside:
        return f"INSIDE: loss {loss:.4g} at {where} lies in {band} (z = {z:+.2f})."
    side = "above" if loss > frozen.high else "below"
    return f"OUTSIDE: loss {loss:.4g} at {where} lies {side} {band} (z = {z:+.2f})."
