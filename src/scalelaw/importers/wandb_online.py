"""Runs on a W&B server: `wandb:ENTITY/PROJECT` or `wandb:ENTITY/PROJECT/RUN`."""

from __future__ import annotations

import importlib
import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from ..errors import DataError, MissingExtraError
from ..trial import Status
from ._columns import STATES, as_number
from ._reading import Reading, TrackedRun
from ._tracked import Tracker, flat
from ._xaxis import by_row

__all__ = ["WandbOnline"]

_PAGE = 10_000
_WORDS = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}


class WandbOnline(Tracker):
    """Whole histories through W&B's own client, which has the key of the user's login.

    Every row is read (`scan_history` without keys: with keys it leaves out rows that lack one), never the 500-point sample that
    `history()` gives. Settings are what the run was given, without W&B's own.
    """

    name = "wandb_online"
    summary = "runs on a W&B server: wandb:ENTITY/PROJECT or wandb:ENTITY/PROJECT/RUN (pip install 'scalelaw[wandb]')"
    scheme = "wandb"

    def recognises(self, path: Path) -> bool:
        """No file: see `scheme`."""
        return str(path).startswith(f"{self.scheme}:")

    def tracked(self, path: Path, reading: Reading) -> Iterable[TrackedRun]:
        """The runs of a project, or one run."""
        address = str(path).partition(":")[2].strip("/")
        parts = [part for part in address.split("/") if part != "runs"]
        if len(parts) not in (2, 3) or not all(parts):
            raise DataError("this names no project", str(path), "Write wandb:ENTITY/PROJECT or wandb:ENTITY/PROJECT/RUN")
        try:
            api = importlib.import_module("wandb").Api()
        except ImportError as error:
            raise MissingExtraError("wandb", "wandb", "Reading runs from a W&B server") from error
        except Exception as error:
            raise _refused(error, path) from error
        try:
            listed = [api.run("/".join(parts))] if len(parts) == 3 else list(api.runs("/".join(parts)))
            for run in reading.each(listed):
                yield _run(run, parts)
        except DataError:
            raise
        except Exception as error:  # the client raises what its transport does: of any kind
            raise _refused(error, path) from error


def _refused(error: Exception, path: Path) -> DataError:
    first = (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
    return DataError(f"W&B does not give it ({first})", str(path), "Check the name and log in with: wandb login")


def _run(run: Any, parts: list[str]) -> TrackedRun:
    metrics: dict[str, tuple[list[int], list[float]]] = {}
    steps: list[float] = []
    for place, row in enumerate(run.scan_history(page_size=_PAGE)):
        step = row.get("_step")
        steps.append(float(step) if isinstance(step, int | float) else math.nan)
        for name, value in flat(row).items():
            number = _WORDS.get(value) if isinstance(value, str) else as_number(value)
            if number is not None:
                places, values = metrics.setdefault(name, ([], []))
                places.append(place)
                values.append(number)
    series, seconds = by_row(steps, metrics)
    word = str(run.state).lower()
    status = Status.LOST if word == "running" else STATES.get(word, Status.LOST)
    return TrackedRun(
        str(run.id),
        "wandb:" + "/".join((*parts[:2], str(run.id))),
        flat({name: value for name, value in dict(run.config).items() if not name.startswith("_")}),
        series,
        _summary(run.summary_metrics, series),
        status,
        parts[1],
        run.name,
        seconds,
        None if status is Status.COMPLETE else f"its state in W&B is {word}",
    )


def _summary(summary: Mapping[str, Any], series: Mapping[str, Any]) -> dict[str, float]:
    """Numbers that were only summarised, not logged."""
    found = {name: value for name, value in flat(summary).items() if not name.startswith("_") and name not in series}
    return {name: number for name, value in found.items() if (number := as_number(value)) is not None}
