"""Laws of one variable need runs that the other does not hold back: L(N) at ample data, L(D) at ample size, L(C) at its best.

Chinchilla's law, fitted to all runs, says what part of each run's reducible loss A N^-alpha + B D^-beta is owed to its size and
what part to its data. A law over parameters may use the runs whose data part is small, a law over tokens those whose size part is
small, and a law over compute those that are near the least loss that their compute C = 6 N D can buy,

    L(C) = E + K C^-gamma,  gamma = alpha beta / (alpha + beta),  K = (1 + alpha / beta) A G^-alpha 6^gamma,

with G = (alpha A / (beta B))^(1 / (alpha + beta)) (Hoffmann et al. 2022, arXiv:2203.15556, equation 4). Rows that are held back
are dropped and counted, not corrected: what is left is measured. Where too few are left, or the data cannot say what holds a run
back, the table is refused.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from .errors import DataError, InputError
from .fit import Fit, FitStatus, fit
from .trials import Trials

__all__ = ["Ample", "ample", "envelope_law"]

Array: TypeAlias = NDArray[np.float64]

_OTHER = {"parameters": "tokens", "tokens": "parameters"}
# A tenth of the reducible loss; along compute a hundredth, which is a size within a factor 1.5 of the best.
_SHARE = {"parameters": 0.1, "tokens": 0.1, "compute": 0.01}
# A law of one variable with a floor has three parameters.
_LEAST = 4


@dataclass(frozen=True, eq=False)
class Ample:
    """The runs that a law over one column may be fitted to.

    Args:
        over: the column of the law.
        trials: the rows kept, with `compute` = 6 N D where the law is over compute and the table had none.
        dropped: rows left out because the other variable holds them back.
        limited: per row of the table, the share of the reducible loss that is owed to it; NaN where the row is incomplete.
        share: the largest share kept.
        joint: the law of both variables that says so; None where the other variable is the same in every run.
        message: the same in a sentence.
    """

    over: str
    trials: Trials
    dropped: int
    limited: Array = field(repr=False)
    share: float
    joint: Fit | None
    message: str

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return {
            "over": self.over,
            "kept": len(self.trials),
            "dropped": self.dropped,
            "share": self.share,
            "joint": None if self.joint is None else self.joint.to_dict(),
            "message": self.message,
        }


def ample(trials: Trials, over: str, *, share: float | None = None) -> Ample:
    """The runs that are not held back by the variable that a law over `over` leaves out.

    Args:
        trials: runs with parameters, tokens and loss.
        over: "parameters", "tokens" or "compute".
        share: the largest part of the reducible loss that may be owed to the other variable: 0.1, along compute 0.01.

    Raises:
        InputError: another column, or a share outside 0 to 1.
        DataError: fewer than four sizes are left, or the runs cannot say what holds them back.
    """
    if over not in _SHARE:
        raise InputError(f"no law of one variable is defined over {over!r} here", "over", "Use parameters, tokens or compute")
    share = _SHARE[over] if share is None else share
    if not 0 < share < 1:
        raise InputError(f"a share of {share:g}", "share", "Give a number between 0 and 1")
    trials = trials.finished
    other = _OTHER.get(over)
    if other is not None and len(np.unique(trials.numbers(other)[np.isfinite(trials.numbers(other))])) == 1:
        told = f"{other} are the same in every run, so all are kept; what they cost is part of the law's E."
        return Ample(over, trials, 0, np.full(len(trials), np.nan), share, None, told)
    joint = _joint(trials)
    limited = _limited(joint, trials, over)
    keep = limited <= share
    kept = trials.where(keep)
    if over == "compute" and "compute" not in kept:
        kept = kept.with_column("compute", 6 * kept.numbers("parameters") * kept.numbers("tokens"))
    sizes = len(np.unique(kept.numbers(over)))
    held, out = "a size far from the best for its compute" if over == "compute" else f"too few {other}", int(np.sum(~keep))
    if sizes < _LEAST:
        raise DataError(
            f"{out} of {len(trials)} runs are held back by {held}; {sizes} sizes are left for a law over {over}",
            trials.source,
            _mend(joint, trials, over, share),
        )
    told = f"{out} of {len(trials)} runs are left out: more than {share:.0%} of their reducible loss is owed to {held}."
    return Ample(over, kept, out, limited, share, joint, told)


def envelope_law(joint: Fit | Mapping[str, float]) -> dict[str, float]:
    """L(C) = E + K C^-gamma implied by Chinchilla's law: its E, A (which is K) and alpha (which is gamma), as in `saturating`."""
    theta = joint.theta if isinstance(joint, Fit) else joint
    alpha, beta = theta["alpha"], theta["beta"]
    gamma = alpha * beta / (alpha + beta)
    ratio = (alpha * theta["A"] / (beta * theta["B"])) ** (1 / (alpha + beta))
    return {"E": theta["E"], "A": float((1 + alpha / beta) * theta["A"] * ratio**-alpha * 6**gamma), "alpha": gamma}


def _joint(trials: Trials) -> Fit:
    """Chinchilla's law of all runs, if they identify it."""
    joint = fit("chinchilla", trials)
    fine = joint.status is FitStatus.CONVERGED or (joint.status is FitStatus.AT_BOUND and joint.certificate.active == ("E",))
    if not fine:
        raise DataError(
            f"the runs do not say whether size or data holds them back ({joint.status.name})",
            trials.source,
            "Add runs that change tokens at one size and sizes at one number of tokens",
        )
    return joint


def _limited(joint: Fit, trials: Trials, over: str) -> Array:
    """The share of the reducible loss owed to the other variable, or to a size that is not the best for its compute."""
    theta = joint.theta
    n, d = trials.numbers("parameters"), trials.numbers("tokens")
    size, data = theta["A"] * n ** -theta["alpha"], theta["B"] * d ** -theta["beta"]
    if over == "compute":
        law = envelope_law(joint)
        return 1 - law["A"] * (6 * n * d) ** -law["alpha"] / (size + data)
    return (data if over == "parameters" else size) / (size + data)


def _mend(joint: Fit, trials: Trials, over: str, share: float) -> str:
    """What would be enough, at the middle of what there is."""
    if over == "compute":
        return "Add runs near the compute-optimal size (`scalelaw allocate` says which), or allow a larger share"
    theta, other = joint.theta, _OTHER[over]
    own, rest = (("A", "alpha"), ("B", "beta")) if over == "parameters" else (("B", "beta"), ("A", "alpha"))
    middle = float(np.nanmedian(trials.numbers(over)))
    odds = share / (1 - share)
    need = (theta[rest[0]] / (odds * theta[own[0]] * middle ** -theta[own[1]])) ** (1 / theta[rest[1]])
    return f"At {middle:.3g} {over} it takes {need:.2g} {other}; or fit chinchilla to both, or allow a larger share"
