"""Successive halving within one size: at rungs, a run whose setting is not among the best of its size stops.

The settings (hyperparameters) of a cell (same task, model, options and scale) are ranked by the mean over their seeds of the loss
at a rung: that of the reports over the last fifth of the steps up to it. Rungs are at steps `first`, `first * keep`,
`first * keep^2`, ... Whoever arrives is compared with those that were there before, as in the stopping variant of ASHA (Li et
al., 1810.05934): no run waits for another. Sizes are never compared with each other: a law needs the best of every size, and a
small network is not worse for being small.

Two things keep the fit that follows honest. Settings are ranked and not runs: else the lucky seeds of a setting survive, and the
best-case loss comes out too low. And the best three settings always go on: a bowl takes three. `benchmarks/stopping` measures
what is left of either.

What a run had at a rung is a file of a few bytes in the spool, `rungs/CELL/STEP/SETTING.SEED`; where workers do not share the
spool, no run is stopped.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import math
import os
import shutil
import threading
from dataclasses import dataclass, replace
from pathlib import Path

from ..trial import TrialSpec

__all__ = ["SHARE", "Halving", "Rungs", "cell"]

# Of the steps up to a rung: over these the reports are averaged, since one batch's loss is mostly noise.
SHARE = 0.2
# Settings that go on whatever the rank: a bowl takes three.
FEWEST = 3
# Files of a rung that are read: more tell no better who is in the best third.
MOST = 1000


@dataclass(frozen=True)
class Halving:
    """At steps `first`, `first * keep`, ... the best 1/`keep` of the settings go on."""

    keep: int
    first: int

    def rung(self, step: int) -> int | None:
        """The highest rung that a run at `step` has reached; None before the first."""
        if step < self.first:
            return None
        found = self.first
        while found * self.keep <= step:
            found *= self.keep
        return found


def cell(spec: TrialSpec) -> str:
    """Equal for the runs that are compared with each other: all but hyperparameters and seed. 16 hexadecimal digits.

    Where the scale does not tell the steps, say because it tells the tokens, the batch size decides how many there are: runs of
    different ones are at different parts of their way at one step, and are not compared.
    """
    paces = () if "steps" in spec.scale else ("batch_size",)
    kept = {name: spec.hyperparameters[name] for name in paces if name in spec.hyperparameters}
    alike = replace(spec, hyperparameters=kept, seed=0).to_dict()
    return hashlib.sha256(json.dumps(alike, sort_keys=True).encode()).hexdigest()[:16]


@dataclass(frozen=True)
class Rungs:
    """What the runs of a trial's cell had at their rungs.

    Args:
        folder: of the spool's rungs. spec: the trial. halving: who goes on.
    """

    folder: Path
    spec: TrialSpec
    halving: Halving

    def goes_on(self, rung: int, loss: float, *, again: bool = False) -> bool:
        """Note what the run had at a rung; whether its setting is among the best 1/keep of those that were there, or the best 3.

        A file that cannot be written or read is no reason to stop a run.

        Args:
            again: the run came back beyond the rung, from a checkpoint: what it had there before counts, if it left that.
        """
        place = self.folder / cell(self.spec) / str(rung)
        own, name = _setting(self.spec), f"{_setting(self.spec)}.{self.spec.seed}"
        before = _loss(place / name) if again else None
        if before is None:
            self._note(place, name, loss)
        else:
            loss = before
        found: dict[str, list[float]] = {own: [loss]}
        for path in _files(place):
            if path.name != name and (other := _loss(path)) is not None:
                found.setdefault(path.name.partition(".")[0], []).append(other)
        means = {setting: math.fsum(losses) / len(losses) for setting, losses in found.items()}
        better = sum(mean < means[own] for mean in means.values())
        return better < max(len(means) // self.halving.keep, FEWEST)

    def forget(self) -> None:
        """Remove what the runs of the cell had: every one is done."""
        shutil.rmtree(self.folder / cell(self.spec), ignore_errors=True)
        for place in (self.folder, self.folder.parent):
            with contextlib.suppress(OSError):  # where there is nothing else
                place.rmdir()

    def _note(self, place: Path, name: str, loss: float) -> None:
        part = place / f".{name}.{os.getpid()}.{threading.get_ident()}.part"
        with contextlib.suppress(OSError):
            place.mkdir(parents=True, exist_ok=True)
            part.write_text(repr(loss), encoding="ascii")
            part.replace(place / name)


def _setting(spec: TrialSpec) -> str:
    return hashlib.sha256(json.dumps(spec.to_dict()["hyperparameters"], sort_keys=True).encode()).hexdigest()[:16]


def _files(place: Path) -> list[Path]:
    with contextlib.suppress(OSError):
        return sorted(path for path in place.iterdir() if not path.name.startswith("."))[:MOST]
    return []


def _loss(path: Path) -> float | None:
    with contextlib.suppress(OSError, ValueError):
        value = float(path.read_text(encoding="ascii"))
        return value if math.isfinite(value) else None
    return None
