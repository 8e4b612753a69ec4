"""Does a prior, rather than the runs, say how a best setting moves with size?"""

from __future__ import annotations

from ..frontier import frontier
from ._base import Case, Diagnostic, Finding
from ._examples import study

__all__ = ["PriorShare"]

_MUCH = 0.05


class PriorShare(Diagnostic):
    """An exponent of a best setting of which the prior gives more than a twentieth of the precision."""

    name = "prior_share"
    question = "Does a prior, rather than the runs, say how a best setting moves with size?"

    def find(self, case: Case) -> Finding | None:
        """See `Diagnostic.find`."""
        response = case.frontier.response
        if response is None:
            return None
        told: list[str] = []
        for name, path in zip(response.hyper, response.trend.paths, strict=True):
            j, table = response.hyper.index(name), response.solver.t
            priors = zip(response.over, path.prior_share, table.known[j], table.doubt[j], strict=True)
            for column, share, mean, sd in priors:
                if share > _MUCH:
                    told.append(f"{share:.0%} of what is known of the exponent of {name} in {column} (it is {mean:g} +- {sd:g})")
        if not told:
            return None
        scales = len({tuple(bowl.point.values()) for bowl in response.bowls})
        return self.finding(
            f"A prior gives {', '.join(told)}: {scales} sizes say little more.",
            "Tune at sizes farther apart, or at more of them, before the law is extrapolated.",
        )

    def example(self) -> Case:
        """See `Diagnostic.example`."""
        trials = study(widths=(16, 24), noise=0.01, seeds=1)
        return Case(trials, frontier(trials))
