"""Are these runs of one recipe?"""

from __future__ import annotations

import numpy as np

from ..frontier import frontier
from ..notation import QUANTITIES, Kind
from ._base import Case, Diagnostic, Finding, listing
from ._examples import study

__all__ = ["MixedRecipe"]


class MixedRecipe(Diagnostic):
    """A column that is neither a scale nor tuned takes several values: the law mixes recipes, or the recipe changes with size."""

    name = "mixed_recipe"
    question = "Are these runs of one recipe?"

    def find(self, case: Case) -> Finding | None:
        """See `Diagnostic.find`."""
        rows = case.frontier.source.finished
        # What is learned goes before how it is learned.
        words = [
            name
            for kind in (Kind.IDENTITY, Kind.HYPERPARAMETER)
            for name, each in QUANTITIES.items()
            if each.text and each.kind is kind and name != "id" and name in rows
        ]
        numbers = [name for name in rows.hyperparameters if name not in words and name not in case.frontier.hyper]
        within: list[str] = []
        along: list[str] = []
        for name in rows.varying((*words, *numbers)):
            inside = any(len(group.varying((name,))) for _, group in rows.groups(case.over))
            (within if inside else along).append(name)
        if within:
            name = within[0]
            values = sorted({str(value) if rows[name].dtype == object else f"{value:g}" for value in rows[name]})
            return self.finding(
                f"Runs of several kinds share a size: {name} is {listing(values)}. The law averages over them.",
                f'Choose one with --where, for example --where "{name} == {values[0]!r}".'
                if rows[name].dtype == object
                else f'Choose one with --where "{name} == {values[0]}", or run three values of it at each size.',
            )
        if along:
            text = ", ".join(along)
            return self.finding(
                f"{text} changes with size and nowhere else: it is part of the recipe, and whether it is tuned is untested.",
                f"Vary {along[0]} at one small and one large size.",
            )
        return None

    def example(self) -> Case:
        """See `Diagnostic.example`."""
        trials = study()
        kind = np.where(trials.numbers("seed") == 0, "cosine", "constant").astype(object)
        trials = trials.with_column("schedule", kind)
        return Case(trials, frontier(trials))
