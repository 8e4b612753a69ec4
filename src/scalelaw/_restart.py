"""Whether to go on with a run, counted in compute."""

from __future__ import annotations

import enum
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from ._sequential import Posterior
from .errors import DataError
from .estimate import number
from .forecast import Forecast
from .suspects import suspects
from .trials import Trials

__all__ = ["Decision", "Restart", "Spent", "advise", "elasticity"]

# Cost of finding the fault, as a share of the run's compute, where the data do not say what a sweep costs; runs of a sweep.
_DIAGNOSIS, _SWEEP = 0.02, 5
# Chance that a fault can be found and mended where no suspect is known.
_BLIND = 0.5
# ln compute per ln of each scale, where the data do not record compute.
_COMPUTE = {"width": 2.0, "compute": 1.0}


class Decision(enum.Enum):
    """What to do. The value is the sentence a user needs."""

    CONTINUE = "Go on: a restart would cost more compute than the predicted excess is worth."
    RESTART = "Restart with corrected hyperparameters: the predicted excess is worth more compute than a restart costs."
    STOP = "Stop: the run diverges, and no further step will help."


@dataclass(frozen=True)
class Spent:
    """What a restart is weighed with.

    Args:
        fraction: of the run's compute that is spent. diagnosis: cost of finding the fault, as a share of it.
        gain: -d ln loss / d ln compute of tuned runs at this size.
    """

    fraction: float
    diagnosis: float
    gain: float


@dataclass(frozen=True)
class Restart:
    """The advice.

    Args:
        decision: what to do. reason: why, with the numbers.
        waste: compute equivalent of the predicted excess, as a share of the run's compute. cost: of a restart, in the same unit.
        chance: that the fault is found and mended. diverges: chance that the run diverges.
    """

    decision: Decision
    reason: str
    waste: float
    cost: float
    chance: float
    diverges: float

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        values = {name: number(getattr(self, name)) for name in ("waste", "cost", "chance", "diverges")}
        return {"decision": self.decision.name, "message": self.decision.value, "reason": self.reason, **values}


def advise(
    expected: Forecast, settings: Mapping[str, float], found: Posterior, spent: Spent, *, alarm: bool, diverges: float
) -> Restart:
    """Restart if and only if the alarm was raised and P(mended) X / alpha_C > x + c.

    X is the posterior mean of the final excess in ln loss, alpha_C = -d ln loss / d ln compute of tuned runs: X / alpha_C is the
    compute that the excess is worth, in whole runs; X_T / (alpha (L - E)) in loss. x is the share of compute already
    spent, c the cost of finding the fault, P(mended) the share of the gap that known suspects explain. Stop where the run is more
    likely to diverge than not.
    """
    waste = found.expected / spent.gain if spent.gain > 0 else math.inf
    cost = spent.fraction + spent.diagnosis
    chance, told = _mended(expected, settings, found.expected)
    percent = f"an excess of {100 * math.expm1(found.expected):.2g} % is worth {_share(waste)} of the run's compute"
    price = f"a restart costs the {_share(spent.fraction)} spent and about {_share(spent.diagnosis)} to find the fault"
    if diverges > 0.5:
        reason = f"The loss is rising or no longer finite; the chance that the run diverges is {_share(diverges)}."
        return Restart(Decision.STOP, reason, waste, cost, chance, diverges)
    if not alarm:
        return Restart(Decision.CONTINUE, f"No alarm so far; {price}.", waste, cost, chance, diverges)
    pays = chance * waste > cost
    reason = f"{percent[0].upper()}{percent[1:]}, and {price}; {told}."
    return Restart(Decision.RESTART if pays else Decision.CONTINUE, reason, waste, cost, chance, diverges)


def _share(value: float) -> str:
    return f"{100 * value:.2g} %" if value < 10 else f"{value:.2g} times"


def _mended(expected: Forecast, settings: Mapping[str, float], excess: float) -> tuple[float, str]:
    """The chance that a correction works, and why."""
    hyper = expected.frontier.hyper if expected.frontier.response is not None else ()
    own = {name: settings[name] for name in hyper if name in settings}
    if not own:
        return _BLIND, f"its settings are not given, so a mend is an even chance ({_BLIND:g})"
    mixture = expected.stack.predict(expected.at, expected.variance["run"])
    found = suspects(expected, mixture, max(excess, 1e-6), own)
    share = min(sum(each.share for each in found), 1.0)
    if not found or share < 0.05:
        return share, "none of the tuned hyperparameters explains it"
    first = found[0]
    name = f"{first.hyperparameter} {first.used:.3g} (predicted best {first.best:.3g})"
    return share, f"{name} is suspected first, and suspects explain {_share(share)} of it"


def elasticity(expected: Forecast, table: Trials) -> tuple[float, float]:
    """-d ln loss / d ln compute along the ladder at the target, and the cost of a sweep at the largest size over the target's.

    Along the ladder ln of each scale moves with ln compute as it does over the runs; where compute is not recorded, parameters
    and tokens share it and compute grows as the square of the width. At least 1e-4: a law that has gone flat prices any excess at
    more than a run.
    """
    over = expected.frontier.over
    rows = table.finished
    compute = rows.numbers("compute") if "compute" in rows else np.full(len(rows), np.nan)
    logs = {name: np.log(rows.numbers(name)) for name in over}
    known = np.isfinite(compute) & (compute > 0) & np.all([np.isfinite(each) for each in logs.values()], axis=0)
    recorded = known.sum() >= 2 and np.ptp(np.log(compute[known])) > 0.1
    if recorded:
        c = np.log(compute[known])
        step = {name: float(np.polyfit(c, logs[name][known], 1)[0]) for name in over}
    else:
        step = {name: 1.0 / sum(_COMPUTE.get(each, 1.0) for each in over) for name in over}
    ends: list[float] = []
    for sign in (-0.05, 0.05):
        point = {name: expected.at[name] * math.exp(sign * step[name]) for name in over}
        try:
            ends.append(float(expected.stack.predict(point).quantile(0.5)[0]))
        except DataError:
            return 1e-4, _DIAGNOSIS
    gain = max((ends[0] - ends[1]) / 0.1, 1e-4)
    if not recorded:
        return gain, _DIAGNOSIS
    # Compute at the target, by the line of ln compute in ln scale: a sweep at the largest size costs its runs.
    X = np.stack([np.ones(int(known.sum())), *(logs[name][known] for name in over)], axis=1)
    beta = np.linalg.lstsq(X, np.log(compute[known]), rcond=None)[0]
    target = float(beta @ np.array([1.0, *(math.log(expected.at[name]) for name in over)]))
    return gain, min(_SWEEP * math.exp(float(np.log(compute[known]).max()) - target), 1.0)
