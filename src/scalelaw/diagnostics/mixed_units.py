"""Is one column in two units?"""

from __future__ import annotations

import math

import numpy as np

from ..frontier import frontier
from ._base import Case, Diagnostic, Finding
from ._examples import study

__all__ = ["MixedUnits"]

# Column -> what it may be counted in besides its own unit, and the factors between them.
_UNITS = {
    "batch_size": ("sequences in some rows and tokens in others", 100.0),
    "tokens": ("tokens in some rows and millions or billions of them in others", 1e4),
    "parameters": ("parameters in some rows and millions or billions of them in others", 1e4),
}


class MixedUnits(Diagnostic):
    """A column whose values fall into two groups a factor of a hundred apart or more, with nothing between.

    The gap between the groups must also be three times wider, in nats, than any gap within them: a coarse ladder is no mixture.
    """

    name = "mixed_units"
    question = "Is one column in two units?"

    def find(self, case: Case) -> Finding | None:
        """See `Diagnostic.find`."""
        trials = case.trials.finished
        for column, (units, factor) in _UNITS.items():
            if column not in trials or trials[column].dtype == object:
                continue
            values = trials.numbers(column)
            values = np.unique(values[np.isfinite(values) & (values > 0)])
            if len(values) < 4:
                continue
            gaps = np.diff(np.log(values))
            k = int(np.argmax(gaps))
            if gaps[k] < math.log(factor) or gaps[k] < 3 * np.max(np.delete(gaps, k)):
                continue
            return self.finding(
                f"{column} lies in {values[0]:g} to {values[k]:g} and in {values[k + 1]:g} to {values[-1]:g}, and nowhere "
                f"between, as if it were {units}.",
                f"Is it? Then bring {column} to one unit; or fit one group at a time: --where '{column} <= {values[k]:g}'.",
            )
        return None

    def example(self) -> Case:
        """See `Diagnostic.example`."""
        trials = study()
        batch = np.where(trials.numbers("width") > 100, 2048.0, 1.0) * np.tile([32.0, 64.0, 128.0], len(trials) // 3)
        return Case(trials.with_column("batch_size", batch), frontier(trials))
