"""One law on the best case of each scale, and beside it the same law at the one setting that was kept.

A scaling law describes the best case. Fitted to runs at one setting it looks clean and is another law: the gap between the two
is what tuning is worth.

A law over parameters, tokens or compute alone is fitted to the runs that the other variable does not hold back (`ample`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from .ample import Ample, Ground, assess, completed
from .errors import DataError
from .fit import Fit, fit
from .frontier import Frontier, frontier
from .laws import Law, resolve
from .trials import Trials

__all__ = ["BestCase", "best_case", "standing"]

Array: TypeAlias = NDArray[np.float64]

_JOINT = ("parameters", "tokens", "compute")


@dataclass(frozen=True, eq=False)
class BestCase:
    """A law of the best case.

    Args:
        fit: the law on the frontier's rows; on the runs as they stand where nothing was tuned.
        frontier: what it was fitted to.
        kept: the same law on the runs at the kept setting; None where nothing was tuned, or those runs carry no such law.
        kept_frontier: those runs.
        ample: which runs the other variable holds back, for a law over parameters, tokens or compute alone: they are left out.
            None where the law runs over something else, the table lacks the other or it is the same in every run.
    """

    fit: Fit
    frontier: Frontier
    kept: Fit | None = None
    kept_frontier: Frontier | None = field(default=None, repr=False)
    ample: Ample | None = field(default=None, repr=False)

    def to_dict(self, level: float = 0.95) -> dict[str, Any]:
        """The JSON object of `scalelaw fit`: that of the fit, with `tuned`, `ample`, and `fixed` beside it."""
        beside = None
        if self.kept is not None and self.kept_frontier is not None:
            beside = {"setting": dict(self.kept_frontier.settings), "theta": dict(self.kept.theta), "n": self.kept.n}
        ample = None if self.ample is None else self.ample.to_dict()
        return {**self.fit.to_dict(level), "tuned": self.frontier.tuned, "fixed": beside, "ample": ample}


def best_case(
    law: Law | str,
    data: Trials | Frontier,
    *,
    over: str | Sequence[str] | None = None,
    hyper: str | Sequence[str] | None = None,
    fixed: bool = False,
    all_rows: bool = False,
) -> BestCase:
    """Fit a law to the best case of each scale.

    Args:
        law: a law or its name.
        data: runs, or their frontier.
        over: scale columns; default the law's own inputs, else see `frontier`.
        hyper, fixed: see `frontier`; fixed fits the runs at one setting as they stand.
        all_rows: keep the runs that the other variable holds back, too, and ask nothing.

    Raises:
        DataError: the runs have no frontier, it cannot carry the law, or too few are left that are not held back.
    """
    law = resolve(law)
    if isinstance(data, Frontier):
        edge = data
    else:
        own = None if law.inputs == ("x",) else law.inputs
        over = own if over is None else over
        if over in ("compute", ("compute",), ["compute"]) and all(name in data for name in ("parameters", "tokens")):
            data = completed(data, "compute")
        edge = frontier(data, over=over, hyper=hyper, fixed=fixed)
    ground = None if all_rows else standing(edge, least=len(law.parameters) + 1)
    if ground is not None:
        if ground.ground is Ground.TOO_FEW:
            raise ground.refusal()
        edge = _sifted(edge, ground)
    found = _fit(law, edge)
    if not edge.tuned:
        return BestCase(found, edge, ample=ground)
    try:
        kept = frontier(edge.source, over=edge.over, hyper=edge.hyper, fixed=True)
        return BestCase(found, edge, _fit(law, kept), kept, ground)
    except DataError:
        return BestCase(found, edge, ample=ground)


def standing(edge: Frontier, least: int = 4) -> Ample | None:
    """Which runs are held back by the variable that a law over one column leaves out; None where there is none to tell of.

    Where something was tuned it is asked of the best case of each pair of parameters and tokens: a loss that tuning would mend
    says nothing of what a run lacks.

    Args:
        edge: the frontier of that law.
        least: the fewest sizes that may be left once rows are dropped.
    """
    runs, over = edge.source.finished, edge.over[0]
    if len(edge.over) > 1 or over not in _JOINT:
        return None
    pair = _pair(runs)
    if len(pair) < 2 or len(runs.varying(pair)) == 0:
        return None
    if edge.tuned:
        found = assess(frontier(edge.source, over=pair, hyper=edge.hyper).trials, over, least=least, what="best cases")
    else:
        found = assess(runs, over, least=least)
    return None if found.ground is Ground.ALONE else found


def _pair(runs: Trials) -> tuple[str, ...]:
    """Two columns that say parameters, tokens and compute."""
    return tuple(name for name in _JOINT if name in runs.scales)[:2]


def _sifted(edge: Frontier, found: Ample) -> Frontier:
    """The frontier of the runs that are not held back."""
    if not found.dropped:
        return edge
    # A pair of numbers is one complex number.
    first, second = _pair(edge.source)
    key, kept = (each.numbers(first) + 1j * each.numbers(second) for each in (edge.source, found.trials))
    return frontier(
        edge.source.where(np.isin(key, kept)),
        over=edge.over,
        hyper=edge.hyper,
        fixed=not edge.tuned,
        settings=dict(edge.settings),
    )


def _fit(law: Law, edge: Frontier) -> Fit:
    """The law on a frontier's best cases, or on the rows as they stand where nothing was tuned."""
    return fit(law, edge.trials if edge.tuned else edge.source.finished, over=edge.over, outcome="loss")
