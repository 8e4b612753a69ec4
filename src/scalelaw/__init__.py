"""scalelaw: what the next, larger network should reach, and whether a run that misses it is unlucky or mistuned.

Verbs are functions and nouns are frozen dataclasses:

    import scalelaw

    trials = scalelaw.load("study.db")
    forecast = scalelaw.forecast(trials, at={"width": 8192})
    print(forecast.loss, forecast.low, forecast.high)

Every name is loaded when it is first used, so `import scalelaw` itself takes milliseconds.
"""

from __future__ import annotations

import importlib
import sys
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .allocate import Allocation as Allocation
    from .allocate import allocate as allocate
    from .ample import ample as ample
    from .asking import OpenStudy as OpenStudy
    from .asking import open_study as open_study
    from .backtest import Backtest as Backtest
    from .backtest import backtest as backtest
    from .best_case import BestCase as BestCase
    from .best_case import best_case as best_case
    from .cliff import Cliff as Cliff
    from .cliff import cliff as cliff
    from .compare import Comparison as Comparison
    from .compare import compare as compare
    from .coordinates import Coordinates as Coordinates
    from .coordinates import coordinates as coordinates
    from .curves import Runs as Runs
    from .curves import TrainingCurve as TrainingCurve
    from .diagnostics import diagnose as diagnose
    from .drift import Drift as Drift
    from .drift import drift as drift
    from .errors import InputError as InputError
    from .errors import ScalelawError as ScalelawError
    from .fit import Fit as Fit
    from .fit import fit as fit
    from .forecast import Forecast as Forecast
    from .forecast import forecast as forecast
    from .frontier import Frontier as Frontier
    from .frontier import frontier as frontier
    from .frontier import kept_setting as kept_setting
    from .frozen import Frozen as Frozen
    from .frozen import freeze as freeze
    from .importing import import_into as import_into
    from .laws import laws as laws
    from .logs import read_curve as read_curve
    from .logs import read_runs as read_runs
    from .lookahead import Kept as Kept
    from .lookahead import keep as keep
    from .optimum import Optima as Optima
    from .optimum import optimum as optimum
    from .plan import Plan as Plan
    from .plan import plan as plan
    from .redraw import Redrawn as Redrawn
    from .redraw import redraw as redraw
    from .report import report as report
    from .run import RunSummary as RunSummary
    from .run import run as run
    from .scoring import Score as Score
    from .scoring import score as score
    from .sensitivity import Sensitivity as Sensitivity
    from .sensitivity import sensitivity as sensitivity
    from .store import Store as Store
    from .store import load as load
    from .study import Grid as Grid
    from .study import Parent as Parent
    from .study import Study as Study
    from .study import read_study as read_study
    from .train import train as train
    from .transfer import Transfer as Transfer
    from .transfer import transfer as transfer
    from .trial import Status as Status
    from .trial import Trial as Trial
    from .trial import TrialSpec as TrialSpec
    from .trials import Trials as Trials
    from .verdict import Verdict as Verdict
    from .verdict import check as check
    from .watch import Watch as Watch
    from .watch import watch as watch
    from .watch import watcher as watcher

__version__ = "0.1.0"

# Public name to the module that defines it.
_HOME = {
    "Allocation": "allocate",
    "Backtest": "backtest",
    "BestCase": "best_case",
    "Cliff": "cliff",
    "Comparison": "compare",
    "Coordinates": "coordinates",
    "Drift": "drift",
    "Fit": "fit",
    "Forecast": "forecast",
    "Frontier": "frontier",
    "Frozen": "frozen",
    "Grid": "study",
    "InputError": "errors",
    "Kept": "lookahead",
    "Optima": "optimum",
    "Parent": "study",
    "Plan": "plan",
    "Redrawn": "redraw",
    "OpenStudy": "asking",
    "RunSummary": "run",
    "open_study": "asking",
    "Runs": "curves",
    "ScalelawError": "errors",
    "Score": "scoring",
    "Sensitivity": "sensitivity",
    "Status": "trial",
    "Store": "store",
    "Study": "study",
    "TrainingCurve": "curves",
    "Transfer": "transfer",
    "Trial": "trial",
    "TrialSpec": "trial",
    "Trials": "trials",
    "Verdict": "verdict",
    "Watch": "watch",
    "allocate": "allocate",
    "ample": "ample",
    "backtest": "backtest",
    "best_case": "best_case",
    "check": "verdict",
    "cliff": "cliff",
    "compare": "compare",
    "coordinates": "coordinates",
    "diagnose": "diagnostics",
    "drift": "drift",
    "fit": "fit",
    "forecast": "forecast",
    "freeze": "frozen",
    "frontier": "frontier",
    "import_into": "importing",
    "keep": "lookahead",
    "kept_setting": "frontier",
    "laws": "laws",
    "load": "store",
    "optimum": "optimum",
    "plan": "plan",
    "read_curve": "logs",
    "read_runs": "logs",
    "read_study": "study",
    "redraw": "redraw",
    "report": "report",
    "run": "run",
    "score": "scoring",
    "sensitivity": "sensitivity",
    "train": "train",
    "transfer": "transfer",
    "watch": "watch",
    "watcher": "watch",
}

__all__ = sorted(_HOME)  # pyright: ignore[reportUnsupportedDunderAll]  (a test compares it with what is importable)


class _FrontDoor(ModuleType):
    """Keeps the verbs in front: importing the module `scalelaw.fit` must not hide the function `scalelaw.fit`."""

    def __setattr__(self, name: str, value: Any) -> None:
        if not (name in _HOME and isinstance(value, ModuleType)):
            super().__setattr__(name, value)


sys.modules[__name__].__class__ = _FrontDoor


def __getattr__(name: str) -> Any:
    if name in _HOME:
        value = getattr(importlib.import_module(f".{_HOME[name]}", __name__), name)
        globals()[name] = value
        return value
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOME})
