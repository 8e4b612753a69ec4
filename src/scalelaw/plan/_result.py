"""What a plan is made of."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..estimate import Estimate, number
from ._candidates import Candidates
from ._price import Price

__all__ = ["Decision", "Mistake", "Plan", "PlannedRun", "Rung", "Spend"]


class Decision(enum.Enum):
    """Whether to trust the law or to measure more first. The value is the sentence a report prints."""

    EXTRAPOLATE = "Extrapolate: no further run is worth what it costs."
    EVALUATE = "Evaluate before you extrapolate: run what is planned, then plan again."


@dataclass(frozen=True)
class PlannedRun:
    """One run to make.

    Args:
        values: its columns: scales, hyperparameters, seed.
        cost: FLOPs.
        gain: expected fall of the regret at the target, ln loss; None in a first design.
        filling: chosen to check the model where it has no doubt, not for its gain.
    """

    values: Mapping[str, Any]
    cost: float
    gain: float | None
    filling: bool

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return {**self.values, "cost": self.cost, "gain": number(self.gain), "filling": self.filling}


@dataclass(frozen=True)
class Spend:
    """What so much spending is expected to bring.

    Args:
        spend: FLOPs from now on. runs: as many.
        regret: expected share of the target's loss lost by its predicted settings; low, high: its 5 and 95 % points.
        off_law: probability that the target's run then stands off the law: that the regret passes what `check` takes for luck.
        safe_ratio: how many times the largest size now the settings may be predicted before 2 % are expected to be lost.
        total: FLOPs spent and, in FLOPs of the target, what the regret is worth: its least is where to stop.
    """

    spend: float
    runs: int
    regret: float
    low: float
    high: float
    off_law: float
    safe_ratio: float
    total: float

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return {name: number(value) for name, value in vars(self).items()}


@dataclass(frozen=True)
class Rung:
    """A scale between the data and the target, with a small sweep of its settings.

    Args:
        point: the scale. runs, cost: of its sweep.
        regret: at the target after it. worth: FLOPs of the target that the fall is worth. net: worth - cost.
    """

    point: Mapping[str, float]
    runs: int
    cost: float
    regret: float
    worth: float
    net: float

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        values = {name: number(getattr(self, name)) for name in ("cost", "regret", "worth", "net")}
        return {"at": dict(self.point), "runs": self.runs, **values}


@dataclass(frozen=True)
class Mistake:
    """What the setting that was kept would cost at the target.

    Args:
        setting: the kept setting. excess: share of the loss lost there, with its interval.
        compute: as many times less compute, well spent, reaches the same loss. message: a sentence.
    """

    setting: Mapping[str, float]
    excess: Estimate
    compute: float
    message: str

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return {
            "setting": dict(self.setting),
            "excess": self.excess.to_dict(),
            "compute": number(self.compute),
            "message": self.message,
        }


@dataclass(frozen=True, eq=False)
class Plan:
    """The next runs, and whether they are worth it.

    Args:
        target: the scale in question. budget: FLOPs that may be spent. cost: FLOPs of the target's own run.
        runs: what to run next, in order; empty where the decision is to extrapolate.
        decision, reason: in one sentence.
        curve: spend against what it brings.
        rungs: the value of each further rung.
        mistake: the kept setting's cost; None where no setting was kept.
        go: with a goal, the probability that the target reaches it, the value of knowing better, and the forecast's interval.
        setting: the settings to take at the target, as known now.
        price: what FLOPs are paid in.
        notes: how costs were counted, what was assumed.
        hyper: the hyperparameters. offered: the pool, and the gain of each of its runs if made first.
        stop: runs of the curve's row with the least total (of those as good as equal, the first).
    """

    target: Mapping[str, float]
    budget: float
    cost: float
    runs: tuple[PlannedRun, ...]
    decision: Decision
    reason: str
    curve: tuple[Spend, ...] = ()
    rungs: tuple[Rung, ...] = ()
    mistake: Mistake | None = None
    go: Mapping[str, float] | None = None
    setting: Mapping[str, Estimate] = field(default_factory=dict[str, Estimate])
    price: Price = field(default_factory=Price)
    notes: tuple[str, ...] = ()
    hyper: tuple[str, ...] = ()
    offered: tuple[Candidates, NDArray[np.float64]] | None = field(default=None, repr=False)
    stop: int = 0

    @property
    def spend(self) -> float:
        """FLOPs of the runs."""
        return sum(run.cost for run in self.runs)

    @property
    def regret(self) -> float | None:
        """Expected share of the loss lost at the target, as known now; None while nothing is."""
        return self.curve[0].regret if self.curve else None

    def to_dict(self) -> dict[str, Any]:
        """The JSON object of `scalelaw plan`."""
        return {
            "target": dict(self.target),
            "budget": self.budget,
            "cost": self.cost,
            "runs": [run.to_dict() for run in self.runs],
            "spend": self.spend,
            "decision": self.decision.name,
            "message": self.decision.value,
            "reason": self.reason,
            "curve": [each.to_dict() for each in self.curve],
            "stop": self.stop,
            "rungs": [each.to_dict() for each in self.rungs],
            "mistake": None if self.mistake is None else self.mistake.to_dict(),
            "go": None if self.go is None else {name: number(value) for name, value in self.go.items()},
            "setting": {name: each.to_dict() for name, each in self.setting.items()},
            "price": {"unit": self.price.unit, "per_flop": self.price.per, "rule": self.price.rule},
            "notes": list(self.notes),
        }
