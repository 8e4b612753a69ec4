"""One trial: what was asked for, and what came of it. Standard library only, so that any worker can import it."""

from __future__ import annotations

import enum
import functools
import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from types import MappingProxyType
from typing import Any

__all__ = ["Curve", "Origin", "Status", "Trial", "TrialSpec", "Value"]

Value = int | float | str


class Status(enum.Enum):
    """How a trial ended. The value is the sentence a user needs."""

    COMPLETE = "The run finished and its loss counts."
    DIVERGED = "The loss became non-finite or ended above its start; the setting is unstable at this size."
    FAILED = "The run stopped with an error that is not about its loss; mend the cause and run it again."
    LOST = "The worker vanished without a result; run the study again to fill the hole."
    PRUNED = "The run was stopped early on purpose; its loss is not final."
    EXCLUDED = "The run is left out of every analysis, for the reason that is recorded with it."


class Origin(enum.Enum):
    """Where a trial's numbers come from."""

    TRAINED = "Trained by scalelaw."
    IMPORTED = "Read from somebody else's measurements."


def _frozen(values: Mapping[str, Any]) -> Mapping[str, Any]:
    return MappingProxyType({key: values[key] for key in sorted(values)})


@dataclass(frozen=True)
class TrialSpec:
    """What to train: everything that decides the outcome, and nothing else.

    Args:
        task: name of the task (a member of `tasks/`).
        scale: how large, for example `{"width": 64, "depth": 3, "steps": 1000}`.
        hyperparameters: what can be tuned, for example `{"learning_rate": 1e-3, "batch_size": 128}`.
        seed: of the initialisation and of the order of the data.
        model: name of the model family.
        task_options: settings of the task itself.
        init_from: what to train first: the network it ends with is where this one starts. None starts afresh.
    """

    task: str
    scale: Mapping[str, Value]
    hyperparameters: Mapping[str, Value]
    seed: int = 0
    model: str = "mlp"
    task_options: Mapping[str, Value] = field(default_factory=dict[str, Value])
    init_from: TrialSpec | None = None

    def __post_init__(self) -> None:
        for name in ("scale", "hyperparameters", "task_options"):
            object.__setattr__(self, name, _frozen(getattr(self, name)))

    def __hash__(self) -> int:
        return hash(self.id)

    def __contains__(self, name: object) -> bool:
        return any(name in values for values in (self.scale, self.hyperparameters, self.task_options))

    def __getitem__(self, name: str) -> Value:
        """What the trial's scale, its hyperparameters or its task's options call so; the first of them that does.

        Raises:
            KeyError: none does; it names those there are.
        """
        tables = (self.scale, self.hyperparameters, self.task_options)
        for values in tables:
            if name in values:
                return values[name]
        raise KeyError(f"the trial has no {name!r}; it has {', '.join(key for values in tables for key in values)}")

    @functools.cached_property
    def id(self) -> str:
        """A hash of the content: equal specs have equal ids on every machine. 16 hexadecimal digits."""
        return hashlib.sha256(json.dumps(self.to_dict(), sort_keys=True).encode()).hexdigest()[:16]

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON. An integral float is written as an integer: 64 and 64.0 are one width."""
        values: dict[str, Any] = {
            "task": self.task,
            "scale": _canonical(self.scale),
            "hyperparameters": _canonical(self.hyperparameters),
            "seed": self.seed,
            "model": self.model,
            "task_options": _canonical(self.task_options),
        }
        # Left out where there is none, so that a spec's id is what it was before there was such a thing.
        return values if self.init_from is None else {**values, "init_from": self.init_from.to_dict()}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> TrialSpec:
        """The inverse of `to_dict`."""
        known = {key.name: values[key.name] for key in fields(cls) if key.name in values}
        if known.get("init_from") is not None:
            known["init_from"] = cls.from_dict(known["init_from"])
        return cls(**known)


def _canonical(values: Mapping[str, Value]) -> dict[str, Value]:
    return {
        key: int(value) if isinstance(value, float) and value.is_integer() and abs(value) < 2**53 else value
        for key, value in values.items()
    }


@dataclass(frozen=True)
class Curve:
    """Loss while training: `losses[i]` is the mean training loss of the steps after `steps[i-1]` up to `steps[i]`."""

    steps: tuple[int, ...]
    losses: tuple[float, ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "steps", tuple(self.steps))
        object.__setattr__(self, "losses", tuple(self.losses))


@dataclass(frozen=True)
class Trial:
    """What came of one spec.

    `loss` is None unless the run is COMPLETE. A run that never left chance at a low rate is COMPLETE with `at_chance`: its
    loss only says that the best rate lies higher, and it is never evidence of instability. A DIVERGED run keeps the step at
    which it was seen and its last finite loss. `parameters` is N without embeddings, `embedding_parameters` the rest;
    `tokens` is D, the examples or tokens seen; `compute` is C in FLOPs, counted as `compute_rule` says.
    """

    spec: TrialSpec
    status: Status
    loss: float | None = None
    parameters: int | None = None
    embedding_parameters: int | None = None
    tokens: float | None = None
    compute: float | None = None
    compute_rule: str | None = None
    curve: Curve | None = None
    initial_loss: float | None = None
    at_chance: bool = False
    diverged_step: int | None = None
    last_loss: float | None = None
    metrics: Mapping[str, float] = field(default_factory=dict[str, float])
    seconds: float | None = None
    origin: Origin = Origin.TRAINED
    error: str | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "metrics", _frozen(self.metrics))
        if self.loss is not None and not math.isfinite(self.loss):
            raise ValueError("a trial's loss is finite or None; a non-finite loss is the status DIVERGED")

    def __hash__(self) -> int:
        return hash(self.spec.id)

    @property
    def id(self) -> str:
        """The spec's id: a trial is known by what was asked for."""
        return self.spec.id

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON; enums by name."""
        values = {key.name: getattr(self, key.name) for key in fields(self)}
        values["spec"] = self.spec.to_dict()
        values["status"], values["origin"] = self.status.name, self.origin.name
        values["metrics"] = dict(self.metrics)
        values["curve"] = None if self.curve is None else asdict(self.curve)
        return values

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Trial:
        """The inverse of `to_dict`."""
        known = {key.name: values[key.name] for key in fields(cls) if key.name in values}
        known["spec"] = TrialSpec.from_dict(values["spec"])
        known["status"] = Status[values["status"]]
        known["origin"] = Origin[values.get("origin", Origin.TRAINED.name)]
        if known.get("curve") is not None:
            known["curve"] = Curve(**known["curve"])
        return cls(**known)
