"""What a spec asks the trainer to do, checked. Standard library and NumPy: a study can be checked where JAX is not installed."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from ..errors import SpecError, UnknownNameError, near
from ..schedule import SCHEDULES, matching, warmup_share
from ..tasks import tasks
from ..trial import TrialSpec, Value

__all__ = ["Plan", "Rates", "Recipe"]

MODELS = ("mlp",)
PLAN = ("schedule", "warmup", "warmup_steps", "final_fraction")


@dataclass(frozen=True)
class Plan:
    """How the learning rate goes over the run: see `scalelaw.schedule.shares`.

    Args:
        schedule: its name.
        warmup: share of the steps over which the rate rises to its peak.
        final_fraction: share of the peak to which it falls.
    """

    schedule: str = "constant"
    warmup: float = 0.0
    final_fraction: float = 0.0

    @property
    def settles(self) -> bool:
        """Whether the rate falls to nearly nothing, so that the last step's network is the result."""
        return self.schedule not in ("constant", "inverse_square_root") and self.final_fraction <= 0.5


@dataclass(frozen=True)
class Rates:
    """The numbers that trials of one group may differ in: they are arguments of the compiled step, not part of it.

    Args:
        learning_rate: Adam's step size; the peak where a schedule changes it.
        beta1, beta2: decay of Adam's first and second moment.
        epsilon: added to the root of the second moment.
        weight_decay: decoupled: each step multiplies every parameter by 1 - learning_rate * weight_decay.
    """

    learning_rate: float
    beta1: float = 0.9
    beta2: float = 0.999
    epsilon: float = 1e-8
    weight_decay: float = 0.0


@dataclass(frozen=True)
class Recipe:
    """A spec as the trainer understands it. Trials with equal `shape` and seed can share one call."""

    width: int
    depth: int
    steps: int
    batch_size: int
    rates: Rates
    seed: int
    task: str
    task_options: tuple[tuple[str, Value], ...]
    plan: Plan = Plan()

    @property
    def company(self) -> tuple[Any, ...]:
        """Equal for trials that see the same data through networks of the same shape, and so can be trained side by side."""
        return (self.width, self.depth, self.steps, self.batch_size, self.seed, self.task, self.task_options, self.plan)

    @classmethod
    def of(cls, spec: TrialSpec) -> Recipe:
        """Read and check a spec.

        Raises:
            SpecError: a key that is unknown or missing, or a value that cannot be trained with.
            UnknownNameError: a task that does not exist.
        """
        if spec.model not in MODELS:
            raise SpecError(f"unknown model {spec.model!r}", "trial", f"Known: {', '.join(MODELS)}")
        if spec.task not in tasks:
            raise UnknownNameError("task", spec.task, tasks.names())
        known = tuple(field.name for field in fields(Rates))
        _only(spec.scale, ("width", "depth", "steps"), "scale")
        _only(spec.hyperparameters, (*known, "batch_size", *PLAN), "hyperparameter")
        rates = {name: _number(spec.hyperparameters, name, "hyperparameter") for name in known if name in spec.hyperparameters}
        if "learning_rate" not in rates:
            raise SpecError("learning_rate is missing", "hyperparameters", "Give a learning rate, for example 1e-3")
        if rates["learning_rate"] == 0:
            raise SpecError("learning_rate = 0 trains nothing", "hyperparameters", "Give more than 0")
        for name in ("beta1", "beta2"):
            if rates.get(name, 0.0) >= 1:
                raise SpecError(f"{name} = {rates[name]:g} cannot be used", "hyperparameters", "Give 0 or more and less than 1")
        steps = _whole(spec.scale, "steps", "scale")
        return cls(
            width=_whole(spec.scale, "width", "scale"),
            depth=_whole(spec.scale, "depth", "scale", 3),
            steps=steps,
            plan=_plan(spec.hyperparameters, steps),
            batch_size=_whole(spec.hyperparameters, "batch_size", "hyperparameter", 128),
            rates=Rates(**rates),
            seed=_seed(spec.seed),
            task=spec.task,
            task_options=tuple(sorted(tasks[spec.task].resolve(spec.task_options).items())),
        )


def _plan(values: Mapping[str, Value], steps: int) -> Plan:
    name = values.get("schedule", "constant")
    known = matching(name) if isinstance(name, str) else None
    if known is None:
        raise SpecError(f"unknown schedule {name!r}", "hyperparameter schedule", f"Known: {', '.join(SCHEDULES)}")
    given = {key: _number(values, key, "hyperparameter") for key in PLAN[1:] if key in values}
    if "warmup" in given and "warmup_steps" in given:
        raise SpecError("both warmup and warmup_steps are given", "hyperparameters", "Keep one of them")
    warmup = warmup_share(given, steps)
    if warmup >= 1:
        raise SpecError("the whole run is warmup", "hyperparameters", f"Let it end before the last of {steps} steps")
    final = given.get("final_fraction", 0.0)
    if final > 1:
        raise SpecError(f"final_fraction = {final:g} cannot be used", "hyperparameters", "Give a share of the peak rate, 0 to 1")
    if known == "constant" and "final_fraction" in given and final != 1:
        raise SpecError("a constant rate has no final_fraction", "hyperparameters", "Leave it out, or name another schedule")
    return Plan(known, warmup, 0.0 if known == "constant" else final)


def _only(values: Mapping[str, Value], known: tuple[str, ...], kind: str) -> None:
    for key in values:
        if key not in known:
            close = near(key, known)
            hint = f"Did you mean {close!r}? Known" if close else "Known"
            raise SpecError(f"unknown {kind} {key!r}", "trial", f"{hint}: {', '.join(sorted(known))}")


def _number(values: Mapping[str, Value], name: str, kind: str) -> float:
    value = values[name]
    if isinstance(value, (str, bool)) or not math.isfinite(value) or value < 0:
        raise SpecError(f"{kind} {name} = {value!r} cannot be used", "trial", "Give a finite number that is not negative")
    return float(value)


def _whole(values: Mapping[str, Value], name: str, kind: str, default: int | None = None) -> int:
    if name not in values:
        if default is None:
            raise SpecError(f"{kind} {name} is missing", "trial", f"Give {name}, a whole number of 1 or more")
        return default
    value = _number(values, name, kind)
    if value != int(value) or value < 1:
        raise SpecError(f"{kind} {name} = {values[name]!r} cannot be used", "trial", "Give a whole number of 1 or more")
    return int(value)


def _seed(seed: object) -> int:
    if not isinstance(seed, int) or isinstance(seed, bool) or seed < 0:
        raise SpecError(f"seed = {seed!r} cannot be used", "trial", "Give a whole number of 0 or more")
    return seed
