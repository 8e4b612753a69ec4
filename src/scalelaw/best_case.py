"""One law on the best case of each scale, and beside it the same law at the one setting that was kept.

A scaling law describes the best case. Fitted to runs at one setting it looks clean and is another law: the gap between the two
is what tuning is worth.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from .errors import DataError
from .fit import Fit, fit
from .frontier import Frontier, frontier
from .laws import Law, resolve
from .trials import Trials

__all__ = ["BestCase", "best_case"]


@dataclass(frozen=True, eq=False)
class BestCase:
    """A law of the best case.

    Args:
        fit: the law on the frontier's rows; on the runs as they stand where nothing was tuned.
        frontier: what it was fitted to.
        kept: the same law on the runs at the kept setting; None where nothing was tuned, or those runs carry no such law.
        kept_frontier: those runs.
    """

    fit: Fit
    frontier: Frontier
    kept: Fit | None = None
    kept_frontier: Frontier | None = field(default=None, repr=False)

    def to_dict(self, level: float = 0.95) -> dict[str, Any]:
        """The JSON object of `scalelaw fit`: that of the fit, with `tuned`, and `fixed` beside it."""
        beside = None
        if self.kept is not None and self.kept_frontier is not None:
            beside = {"setting": dict(self.kept_frontier.settings), "theta": dict(self.kept.theta), "n": self.kept.n}
        return {**self.fit.to_dict(level), "tuned": self.frontier.tuned, "fixed": beside}


def best_case(
    law: Law | str,
    data: Trials | Frontier,
    *,
    over: str | Sequence[str] | None = None,
    hyper: str | Sequence[str] | None = None,
    fixed: bool = False,
) -> BestCase:
    """Fit a law to the best case of each scale.

    Args:
        law: a law or its name.
        data: runs, or their frontier.
        over: scale columns; default the law's own inputs, else see `frontier`.
        hyper, fixed: see `frontier`; fixed fits the runs at one setting as they stand.

    Raises:
        DataError: the runs have no frontier, or it cannot carry the law.
    """
    law = resolve(law)
    if isinstance(data, Frontier):
        edge = data
    else:
        own = None if law.inputs == ("x",) else law.inputs
        edge = frontier(data, over=over if over is not None else own, hyper=hyper, fixed=fixed)
    found = _fit(law, edge)
    if not edge.tuned:
        return BestCase(found, edge)
    try:
        kept = frontier(edge.source, over=edge.over, hyper=edge.hyper, fixed=True)
        return BestCase(found, edge, _fit(law, kept), kept)
    except DataError:
        return BestCase(found, edge)


def _fit(law: Law, edge: Frontier) -> Fit:
    """The law on a frontier's best cases, or on the rows as they stand where nothing was tuned."""
    return fit(law, edge.trials if edge.tuned else edge.source.finished, over=edge.over, outcome="loss")
