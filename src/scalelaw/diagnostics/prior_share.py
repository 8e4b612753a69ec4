"""Does a prior, rather than the runs, say how a best setting moves with size?"""

from __future__ import annotations

from ..frontier import frontier
from ._base import Case, Diagnostic, Finding
from ._examples import study

__all__ = ["PriorShare"]

_MUCH = 0.05


class PriorShare(Diagnostic):
    """An exponent of a best setting of which the weak prior gives more than a twentieth of the precision."""

    name = "prior_share"
    question = "Does a prior, rather than the runs, say how a best setting moves with size?"

    def find(self, case: Case) -> Finding | None:
        """See `Diagnostic.find`."""
        response = case.frontier.response
        if response is None:
            return None
        told: list[str] = []
        for name, path in zip(response.hyper, response.trend.paths, strict=True):
            for column, share in zip(response.over, path.prior_share, strict=True):
                if share > _MUCH:
                    told.append(f"{share:.0%} of what is known of the exponent of {name} in {column}")
        if not told:
            return None
        widths = sorted(set(response.solver.p.exponent * response.solver.t.nats))
        prior = " and ".join(f"0 +- {width:g}" for width in widths)
        scales = len({tuple(bowl.point.values()) for bowl in response.bowls})
        return self.finding(
            f"The prior ({prior}) gives {', '.join(told)}: {scales} sizes say little more.",
            "Tune at sizes farther apart, or at more of them, before the law is extrapolated.",
        )

    def example(self) -> Case:
        """See `Diagnostic.example`."""
        trials = study(widths=(16, 24), noise=0.01, seeds=1)
        return Case(trials, frontier(trials))
