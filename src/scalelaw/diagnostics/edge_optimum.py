"""Is a best setting at the edge of its grid?"""

from __future__ import annotations

from ..frontier import Edge, frontier
from ._base import Case, Diagnostic, Finding, listing
from ._examples import study

__all__ = ["EdgeOptimum"]


class EdgeOptimum(Diagnostic):
    """A best setting that the grid does not bracket: the optimum's law and the best-case loss there are extrapolated."""

    name = "edge_optimum"
    question = "Is a best setting at the edge of its grid?"

    def find(self, case: Case) -> Finding | None:
        """See `Diagnostic.find`."""
        if not case.frontier.tuned:
            return None
        table = case.frontier.trials
        messages: list[str] = []
        ways: list[str] = []
        for hyper in case.frontier.hyper:
            for edge, word, way in ((Edge.LOW, "lowest", "downwards"), (Edge.HIGH, "highest", "upwards")):
                rows = table.where(table[f"{hyper}_edge"] == edge.name)
                if len(rows):
                    sizes = listing(rows.numbers(case.over[0]).tolist())
                    messages.append(f"the best {hyper} is the {word} one tried at {case.over[0]} {sizes}")
                    ways.append(f"extend the grid of {hyper} {way} there")
        if not messages:
            return None
        text = "; ".join(messages)
        tail = " Its value and loss are extrapolated from the curvature of the other sizes, with a wider error."
        return self.finding(f"{text[0].upper()}{text[1:]}.{tail}", f"{'; '.join(ways).capitalize()}.")

    def example(self) -> Case:
        """See `Diagnostic.example`."""
        trials = study(rates=(1e-3, 2e-3, 4e-3), best=8e-3)
        return Case(trials, frontier(trials))
