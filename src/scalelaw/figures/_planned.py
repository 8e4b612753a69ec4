"""The plan that figures draw where none is given."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ..cells import default_over
from ..errors import DataError

if TYPE_CHECKING:
    from ..forecast import Forecast
    from ..plan import Plan
    from ..trials import Trials

__all__ = ["planned"]

_FURTHER = 4.0


def planned(trials: Trials, forecast: Forecast | None, given: Plan | None) -> Plan:
    """The plan that is given, else one for the forecast's target with a budget of what that run costs itself.

    Where no target beyond the data is named: for four times the largest sizes.

    Raises:
        DataError: what `plan` raises, or no bowl can be told yet.
    """
    found = given or _of_target(trials, forecast)
    if not found.curve:
        raise DataError("no bowl can be told from these runs yet", trials.source, "Make the first runs: scalelaw plan")
    return found


def _of_target(trials: Trials, forecast: Forecast | None) -> Plan:
    from ..plan import costs_of, plan

    over = forecast.frontier.over if forecast is not None else default_over(trials)
    hyper = forecast.frontier.hyper if forecast is not None else None
    largest = {name: float(np.nanmax(trials.finished.numbers(name))) for name in over}
    target = {name: _FURTHER * value for name, value in largest.items()}
    if forecast is not None and any(forecast.at[name] > largest[name] for name in over):
        target = {name: float(forecast.at[name]) for name in over}
    costs = costs_of(trials, over)
    return plan(trials, target, costs.at(target), over=over, hyper=hyper or None, costs=costs)
