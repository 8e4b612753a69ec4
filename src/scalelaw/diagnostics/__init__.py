"""Diagnostics, an open set: one file, one question asked of the data. `diagnose` asks them all."""

from __future__ import annotations

from collections.abc import Mapping

from ..frontier import Frontier
from ..registry import OpenSet
from ..trials import Trials
from ._base import Case, Diagnostic, Finding

__all__ = ["Case", "Diagnostic", "Finding", "diagnose", "diagnostics"]

diagnostics: OpenSet[Diagnostic] = OpenSet("scalelaw.diagnostics", __path__, "diagnostic", Diagnostic)

# What changes the reading of every number comes first; the rest follows by name.
_FIRST = ("tuning_untested", "mistuned_ladder", "short_reach", "edge_optimum", "mixed_recipe")


def diagnose(
    trials: Trials, frontier: Frontier, at: Mapping[str, float] | None = None, checked: float | None = None
) -> tuple[Finding, ...]:
    """Ask every diagnostic about the data, and about a forecast from them at `at` where that is given.

    Args:
        trials: all runs. frontier: what was made of them. at: the target.
        checked: the largest ratio of sizes over which forecasts from these data were checked.
    """
    case = Case(trials, frontier, at, checked)
    names = diagnostics.names()
    ordered = [name for name in _FIRST if name in names] + [name for name in names if name not in _FIRST]
    found = (diagnostics[name].find(case) for name in ordered)
    return tuple(each for each in found if each is not None)
