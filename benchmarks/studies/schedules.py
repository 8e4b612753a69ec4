"""Three schedules on the language ladder: do laws that know the schedule foretell a curve under one that they have not seen?"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import polars
from numpy.typing import NDArray

from scalelaw import Trials, load
from scalelaw._curve_laws import LAWS, Setup, fit_law
from scalelaw.curves import Plan, TrainingCurve, looks_of, mend, plan_of

from .record import ROOT, Part

NAME = "schedules"
# Looks at the last nine tenths of a run, evenly in the logarithm.
EDGES = np.geomspace(0.1, 1.0, 13)
MIDDLES = np.sqrt(EDGES[1:] * EDGES[:-1])
FALLING = ("cosine", "warmup_stable_decay")
OWN = "the size's own curve under the last of them"


def parts() -> list[Part]:
    """One folder, with its curves."""
    return [Part(ROOT / NAME, curves=True)]


@dataclass(frozen=True, eq=False)
class _Run:
    """The mean course of the seeds of one cell under one schedule.

    Args:
        size: ln parameters and ln tokens. g: ln (loss / final training loss) at the looks. final: held-out loss.
    """

    width: float
    size: NDArray[np.float64]
    plan: Plan
    total: float
    final: float
    g: NDArray[np.float64]


def tables() -> None:
    """The final losses, and how far each law's curves are from those under a schedule that it has not seen."""
    table = load(ROOT / NAME)
    runs = _runs(table)
    widths = sorted({run.width for run in runs})
    by = {(run.width, run.plan.schedule): run for run in runs}
    schedules = sorted({run.plan.schedule for run in runs})
    print("| width | FLOPs | " + " | ".join(f"held-out loss, {name}" for name in schedules) + " |")
    print("|---|---" + "|---" * len(schedules) + "|")
    for width in widths:
        compute = float(table.where(f"width == {width:g}").numbers("compute").max())
        print(f"| {width:g} | {compute:.3g} | " + " | ".join(f"{by[width, name].final:.4f}" for name in schedules) + " |")
    print("\n| fitted to | foretold | law | " + " | ".join(f"width {width:g}" for width in widths) + " | all |")
    print("|---|---|---" + "|---" * (len(widths) + 1) + "|")
    for asked in FALLING:
        other = next(name for name in FALLING if name != asked)
        for seen in ((other,), ("constant", other)):
            for name in (*(law.name for law in LAWS), OWN):
                errors = [_error(name, width, by, (seen, asked)) for width in widths]
                told = " | ".join(f"{100 * each:.2f}" for each in (*errors, math.sqrt(float(np.mean(np.square(errors))))))
                print(f"| {', '.join(seen)} | {asked} | {name} | {told} |")
    print("\nRoot mean square of ln loss against the run's final loss, %, at 12 looks over the last nine tenths.\n")


def _error(name: str, width: float, by: dict[tuple[float, str], _Run], schedules: tuple[tuple[str, ...], str]) -> float:
    """RMS error of one size's curve under a schedule, told by all sizes' curves under those that were seen."""
    seen, asked = schedules
    target = by[width, asked]
    law = next((law for law in LAWS if law.name == name), None)
    if law is None:
        return float(np.sqrt(np.mean((by[width, seen[-1]].g - target.g) ** 2)))
    known = [run for (_, schedule), run in by.items() if schedule in seen]
    centre = np.mean([run.size for run in known], axis=0)
    unit = float(np.median([run.total for run in known]))
    found = fit_law(law, [_setup(run, centre, unit) for run in known], [np.exp(run.g) for run in known])
    return float(np.sqrt(np.mean((found.predict(_setup(target, centre, unit)) - target.g) ** 2)))


def _setup(run: _Run, centre: NDArray[np.float64], unit: float) -> Setup:
    return Setup.of(run.plan, run.total, MIDDLES, np.array([1.0, *(run.size - centre)]), unit)


def _runs(table: Trials) -> list[_Run]:
    """Seeds of one width and schedule as one course."""
    curves = polars.read_parquet(ROOT / NAME / "curves.parquet").partition_by("id", as_dict=True)
    found: list[_Run] = []
    for (width, schedule), rows in table.finished.groups(["width", "schedule"]):
        total = float(rows.numbers("steps")[0])
        plan = plan_of({"schedule": str(schedule), "warmup": float(rows.numbers("warmup")[0])}, total)
        parts = [curves[(str(key),)] for key in rows["id"]]
        mended = [mend(each["step"].to_numpy(), each["loss"].to_numpy(), means=True, total=total) for each in parts]
        size = np.log([float(rows.numbers(name)[0]) for name in ("parameters", "tokens")])
        found.append(_Run(float(width), size, plan, total, float(rows.numbers("loss").mean()), _course(mended)))
    return found


def _course(curves: Sequence[TrainingCurve]) -> NDArray[np.float64]:
    logs = np.mean([looks_of(curve, EDGES, whole=True).log for curve in curves], axis=0)
    return np.asarray(logs - logs[-1], dtype=np.float64)
