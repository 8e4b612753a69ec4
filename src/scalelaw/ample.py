"""Laws of one variable need runs that the other does not hold back: L(N) at ample data, L(D) at ample size, L(C) at its best.

Chinchilla's law, fitted to all runs, says what part of each run's reducible loss A N^-alpha + B D^-beta is owed to its size and
what part to its data. A law over parameters may use the runs whose data part is small, a law over tokens those whose size part is
small, and a law over compute those that are near the least loss that their compute C = 6 N D can buy,

    L(C) = E + K C^-gamma,  gamma = alpha beta / (alpha + beta),  K = (1 + alpha / beta) A G^-alpha 6^gamma,

with G = (alpha A / (beta B))^(1 / (alpha + beta)) (Hoffmann et al. 2022, arXiv:2203.15556, equation 4). Rows that are held back
are dropped and counted, not corrected: what is left is measured.

That split is itself an estimate, and counts only where the runs know it: the standard error of the logarithm of the two parts'
ratio, ln(A N^-alpha) - ln(B D^-beta), is at most 1 at the middle run, a factor e. Elsewhere nothing can be dropped for a reason.
Runs on one ladder, such as 20 tokens to every parameter, still have a law of one variable, which holds along that ladder and
counts what both do. Runs that lie scattered and do not say are unchecked. `assess` tells these cases apart; `ample` refuses both.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from .errors import DataError, InputError
from .fit import Fit, FitStatus, fit
from .trials import Trials

__all__ = ["Ample", "Ground", "ample", "assess", "completed", "envelope_law"]

Array: TypeAlias = NDArray[np.float64]

_OTHER = {"parameters": "tokens", "tokens": "parameters"}
_BOTH = ("parameters", "tokens")
# A tenth of the reducible loss; along compute a hundredth, which is a size within a factor 1.5 of the best.
_SHARE = {"parameters": 0.1, "tokens": 0.1, "compute": 0.01}
# A law of one variable with a floor has three parameters.
_LEAST = 4
_KEEP = "keep them (a larger share, or --all-rows)"
# Runs lie on one ladder where tokens are within this (ln, root mean square) of a power of parameters: it moves the data's part of
# the loss by less than a tenth.
_OFF = 0.2


class Ground(enum.Enum):
    """What a law of one variable stands on. The value is the sentence."""

    ALONE = "The other variable is the same in every run, so all are kept; what it costs is part of the law's E."
    AMPLE = "Runs that the other variable holds back are left out."
    LADDER = "Both variables move together, so all runs are kept and the law holds along that ladder only."
    UNKNOWN = "The runs do not say whether size or data holds them back, so all are kept and none is checked."
    TOO_FEW = "Too few sizes are left that the other variable does not hold back."


@dataclass(frozen=True, eq=False)
class Ample:
    """The runs that a law over one column may be fitted to.

    Args:
        over: the column of the law.
        ground: which case it is.
        trials: the rows kept, with `compute` = 6 N D where the law is over compute and the table had none.
        dropped: rows left out because the other variable holds them back, or because they lack it.
        limited: per row of the table, the share of the reducible loss that is owed to it; NaN where nothing tells.
        share: the largest share kept.
        joint: the law of both variables that says so; None where none was fitted.
        reason: what was found, in words, with numbers.
        mend: what would be enough, where the runs are too few or do not say; else empty.
    """

    over: str
    ground: Ground
    trials: Trials
    dropped: int
    limited: Array = field(repr=False)
    share: float
    joint: Fit | None
    reason: str
    mend: str = ""

    @property
    def message(self) -> str:
        """The reason and what follows from it, in a sentence."""
        follows = {
            Ground.LADDER: f": all are kept, and the law over {self.over} holds along that ladder only, counting what both do",
            Ground.UNKNOWN: ": all are kept, and none is checked",
        }
        return f"{self.reason[:1].upper()}{self.reason[1:]}{follows.get(self.ground, '')}."

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return {
            "over": self.over,
            "ground": self.ground.name,
            "kept": len(self.trials),
            "dropped": self.dropped,
            "share": self.share,
            "joint": None if self.joint is None else self.joint.to_dict(),
            "message": self.message,
            "mend": self.mend,
        }

    def refusal(self) -> DataError:
        """The same as an error."""
        return DataError(self.reason, self.trials.source, self.mend)


def ample(trials: Trials, over: str, *, share: float | None = None) -> Ample:
    """The runs that are not held back by the variable that a law over `over` leaves out.

    Args:
        trials: runs with parameters, tokens and loss; C = 6 N D gives the one of parameters, tokens and compute that is absent.
        over: "parameters", "tokens" or "compute".
        share: the largest part of the reducible loss that may be owed to the other variable: 0.1, along compute 0.01.

    Raises:
        InputError: another column, or a share outside 0 to 1.
        DataError: fewer than four sizes are left, or the runs cannot say what holds them back.
    """
    found = assess(trials, over, share=share)
    if found.ground in (Ground.TOO_FEW, Ground.UNKNOWN, Ground.LADDER):
        raise found.refusal()
    return found


def assess(trials: Trials, over: str, *, share: float | None = None, least: int = _LEAST, what: str = "runs") -> Ample:
    """The same without a refusal: `ground` says what the runs can carry.

    Args:
        trials, over, share: see `ample`.
        least: the fewest sizes that may be left once rows are dropped.
        what: the rows are, in messages.

    Raises:
        InputError: another column, or a share outside 0 to 1.
        DataError: two of parameters, tokens and compute are absent or text.
    """
    if over not in _SHARE:
        raise InputError(f"no law of one variable is defined over {over!r} here", "over", "Use parameters, tokens or compute")
    share = _SHARE[over] if share is None else share
    if not 0 < share < 1:
        raise InputError(f"a share of {share:g}", "share", "Give a number between 0 and 1")
    trials = completed(trials.finished, over)
    whole = Ample(over, Ground.ALONE, trials, 0, np.full(len(trials), np.nan), share, None, "")
    other = _OTHER.get(over)
    if other is not None and not trials.varying((other,)):
        return replace(whole, reason=f"{other} are the same in every run, so all are kept; what they cost is part of the law's E")
    ladder = _ladder(trials)
    try:
        joint = fit("chinchilla", trials, outcome="loss")
    except DataError as error:
        return _untold(whole, trials, ladder, f"{error.where}: {error.what}" if error.where else error.what)
    fine = joint.status is FitStatus.CONVERGED or (joint.status is FitStatus.AT_BOUND and joint.certificate.active == ("E",))
    if not fine or not _known(joint, trials):
        why = joint.status.name if not fine else "their parts are known to no better than a factor e"
        return _untold(replace(whole, joint=joint), trials, ladder, why)
    found = _sifted(replace(whole, joint=joint), joint, least, what)
    if found.ground is not Ground.TOO_FEW or not ladder:
        return found
    return _untold(found, trials, ladder, "")


def completed(trials: Trials, over: str) -> Trials:
    """The table with whichever of parameters, tokens and compute is needed and follows from the other two."""
    for name in _BOTH:
        if name not in trials and "compute" in trials:
            rest = _BOTH[1 - _BOTH.index(name)]
            with np.errstate(all="ignore"):
                trials = trials.with_column(name, trials.numbers("compute") / (6 * trials.numbers(rest)))
    if over == "compute" and "compute" not in trials:
        trials = trials.with_column("compute", 6 * trials.numbers("parameters") * trials.numbers("tokens"))
    return trials


def _sifted(whole: Ample, joint: Fit, least: int, what: str) -> Ample:
    """Without the rows that are held back."""
    over, share, trials = whole.over, whole.share, whole.trials
    limited = _limited(joint, trials, over)
    keep = limited <= share
    bare, held = int(np.sum(np.isnan(limited))), int(np.sum(limited > share))
    kept = trials.where(keep)
    sizes = len(np.unique(kept.numbers(over)))
    found = replace(whole, ground=Ground.AMPLE, trials=kept, dropped=held + bare, limited=limited)
    cause = "a size far from the best for its compute" if over == "compute" else f"too few {_OTHER[over]}"
    lacking = f"; {bare} more lack parameters or tokens" if bare else ""
    if sizes < least and held:
        told = f"{held} of {len(trials)} {what} are held back by {cause}; {sizes} sizes are left for a law over {over}{lacking}"
        return replace(found, ground=Ground.TOO_FEW, reason=told, mend=_mend(joint, trials, over, share))
    if held:
        told = f"{held} of {len(trials)} {what} are left out: more than {share:.0%} of their reducible loss is owed to {cause}"
    else:
        told = f"no row is left out: of none is more than {share:.0%} of the reducible loss owed to {cause}"
    return replace(found, reason=f"{told}{lacking}")


def _untold(whole: Ample, trials: Trials, ladder: str, why: str) -> Ample:
    """All rows: on one ladder, or unchecked."""
    reason = "the runs do not say whether size or data holds them back"
    return replace(
        whole,
        trials=trials,
        dropped=0,
        ground=Ground.LADDER if ladder else Ground.UNKNOWN,
        reason=f"{ladder}, so {reason}" if ladder else f"{reason} ({why})",
        mend="Add runs that change tokens at one size and sizes at one number of tokens",
    )


def envelope_law(joint: Fit | Mapping[str, float]) -> dict[str, float]:
    """L(C) = E + K C^-gamma implied by Chinchilla's law: its E, A (which is K) and alpha (which is gamma), as in `saturating`."""
    theta = joint.theta if isinstance(joint, Fit) else joint
    alpha, beta = theta["alpha"], theta["beta"]
    gamma = alpha * beta / (alpha + beta)
    ratio = (alpha * theta["A"] / (beta * theta["B"])) ** (1 / (alpha + beta))
    return {"E": theta["E"], "A": float((1 + alpha / beta) * theta["A"] * ratio**-alpha * 6**gamma), "alpha": gamma}


def _ladder(trials: Trials) -> str:
    """How parameters and tokens grow together, in words; empty where they do not."""
    with np.errstate(all="ignore"):
        n, d = (np.log(trials.numbers(name)) for name in _BOTH)
    whole = np.isfinite(n) & np.isfinite(d)
    n, d = n[whole], d[whole]
    same = [name for name, column in zip(_BOTH, (n, d), strict=True) if len(np.unique(column)) < 2]
    if same:
        return f"{same[0]} are the same in every run" if len(same) == 1 else ""
    n_mean, d_mean = float(n.mean()), float(d.mean())
    slope = float((n - n_mean) @ (d - d_mean) / ((n - n_mean) @ (n - n_mean)))
    off = float(np.sqrt(np.mean((d - d_mean - slope * (n - n_mean)) ** 2)))
    if slope <= 0 or off > _OFF:
        return ""
    plain = float(np.std(d - n))
    power, off = ("", plain) if plain <= 1.5 * off + 1e-6 else (f"^{slope:.3g}", off)
    near = "on every row" if off < 1e-5 else f"to {off:.1%}"
    return f"tokens = {np.exp(d_mean - (slope if power else 1.0) * n_mean):.3g} parameters{power} {near}"


def _known(joint: Fit, trials: Trials) -> bool:
    """Whether the ratio of the two parts is known to a factor e at the middle run: ln A - alpha ln N - ln B + beta ln D."""
    n, d = (np.log(trials.numbers(name)) for name in _BOTH)
    slope = {"A": np.ones_like(n), "alpha": -n, "B": -np.ones_like(n), "beta": d}
    rows = np.stack([slope.get(name, np.zeros_like(n)) for name in joint.law.names])
    variance = np.einsum("pn,pq,qn->n", rows, joint.covariance_inner, rows)
    variance = variance[np.isfinite(n) & np.isfinite(d)]
    return bool(np.median(variance) <= 1.0)


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
        return f"Add runs near the compute-optimal size (`scalelaw allocate` says which), or {_KEEP}"
    theta, other = joint.theta, _OTHER[over]
    own, rest = (("A", "alpha"), ("B", "beta")) if over == "parameters" else (("B", "beta"), ("A", "alpha"))
    middle = float(np.nanmedian(trials.numbers(over)))
    odds = share / (1 - share)
    need = (theta[rest[0]] / (odds * theta[own[0]] * middle ** -theta[own[1]])) ** (1 / theta[rest[1]])
    return f"At {middle:.3g} {over} it takes {need:.2g} {other}; or fit chinchilla to both, or {_KEEP}"
