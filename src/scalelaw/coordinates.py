"""Do the layers move alike at every width? `coordinates(widths) -> Coordinates`: slopes with intervals, a verdict, the fault.

A rate tuned at a small width serves a large one only where each layer's output changes by as much per step at both. So a few
networks take a few steps at each width, and the size of everything that should not depend on the width is set against it:

    ln RMS = a + s ln(width)

`train/coordinates.py` says what is measured, `judge` how a slope is judged.
"""

from __future__ import annotations

import enum
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ._slopes import QUANTITIES, Growth, Slope, growth, slope, widened
from .errors import DataError, InputError, MissingExtraError, UnknownNameError
from .train.parametrisation import Parametrisation
from .trial import TrialSpec, Value

__all__ = ["QUANTITIES", "Cause", "Coordinates", "Fault", "Growth", "Slope", "Transfer", "coordinates", "judge"]

# float32 keeps 7 digits: of a change smaller than this share of what changes, fewer than 2 are left.
ROUNDING = 1e-5


class Transfer(enum.Enum):
    """What all slopes say of the recipe."""

    TRANSFERS = "every layer moves alike at every width: a rate tuned at a small one is expected to serve a large one"
    DOES_NOT = "layers move differently as the width grows: a rate tuned at a small width will not serve a large one"
    UNDECIDED = "no layer is shown to move differently, but not all are shown to move alike"


class Cause(enum.Enum):
    """Why a layer is at fault."""

    START = "its output is already different at the start"
    RATE = "its own update changes its output differently at each width"
    CARRIED = "the layer before it, at fault itself, changes what it is fed"
    UNCLEAR = "whether its own update or what it is fed makes the difference is not shown"
    ALIGNED = "what it is fed changes alike, but its initial weights pass that on differently"


@dataclass(frozen=True)
class Fault:
    """A layer that is shown to move differently.

    Args:
        layer: its name. step: the first at which any layer is at fault. cause: why.
        slope: the evidence: of `own` for a RATE, of `activation` for a START, else of `change`.
        source: the layer before, where the cause is CARRIED.
    """

    layer: str
    step: int
    cause: Cause
    slope: Slope
    source: str = ""

    @property
    def message(self) -> str:
        """What was found, in a sentence."""
        told = {
            Cause.START: "its output at the start",
            Cause.RATE: "the change its own update makes",
            Cause.CARRIED: f"its change, fed by that of {self.source},",
            Cause.ALIGNED: "what its initial weights make of a change that is the same at every width",
            Cause.UNCLEAR: "its change, by its own update or by what it is fed,",
        }[self.cause]
        of = self.slope.slope
        reach = f"{of.level:.0%} interval of the power: {of.low:.2f} to {of.high:.2f}"
        return f"{self.layer}: {told} goes as width^{of.value:.2f} ({reach})"

    @property
    def action(self) -> str:
        """What to do."""
        back = f"width^{-self.slope.slope.value:.1f}"
        match self.cause:
            case Cause.START:
                return f"Multiply its initial weights by {back}."
            case Cause.RATE:
                return (
                    f"Multiply its rate by {back}; theory for Adam: 1/width where hidden units feed the layer, else a constant."
                )
            case Cause.CARRIED:
                return f"Mend {self.source} first."
            case Cause.UNCLEAR:
                return "Give more seeds, and readings of `own` where there are none."
            case Cause.ALIGNED:
                return "Let its initial weights go as 1/width, not 1/sqrt(width), or start them at 0."

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return {
            **{name: getattr(self, name) for name in ("layer", "step", "source", "message", "action")},
            "cause": self.cause.name,
            "slope": self.slope.slope.to_dict(),
        }


@dataclass(frozen=True)
class Coordinates:
    """The coordinate check.

    Args:
        verdict: of the recipe. faults: layers at fault, from the input on; empty unless the verdict is DOES_NOT.
        slopes: of every quantity, layer and step.
        widths: measured. level: of the intervals. margin: on a slope.
        recipe: what was trained; empty where the readings were given.
    """

    verdict: Transfer
    faults: tuple[Fault, ...]
    slopes: tuple[Slope, ...]
    widths: tuple[int, ...]
    level: float
    margin: float
    recipe: Mapping[str, Value]

    def slope(self, quantity: str, layer: str, step: int) -> Slope:
        """One slope.

        Raises:
            KeyError: it was not measured.
        """
        for each in self.slopes:
            if (each.quantity, each.layer, each.step) == (quantity, layer, step):
                return each
        raise KeyError((quantity, layer, step))

    @property
    def action(self) -> str:
        """What to do next."""
        if self.verdict is Transfer.TRANSFERS:
            return "Tune the rate at a small width; it is expected to hold at a larger one."
        if self.verdict is Transfer.DOES_NOT:
            kept = "as the faults say, or tune the rate at several widths and forecast its optimum (scalelaw optimum)"
            return f"Scale rates and initial weights {kept}."
        broken = next((each.reason for each in self.slopes if each.reason), "")
        return f"{broken}." if broken else "Give more seeds, or more widths over a wider range."

    def to_dict(self) -> dict[str, Any]:
        """The JSON object of `scalelaw coordinates`."""
        return {
            "verdict": self.verdict.name,
            "message": self.verdict.value,
            "action": self.action,
            "faults": [each.to_dict() for each in self.faults],
            "slopes": [each.to_dict() for each in self.slopes],
            "widths": list(self.widths),
            "level": self.level,
            "margin": self.margin,
            "recipe": dict(self.recipe),
        }


def coordinates(
    widths: Sequence[int] = (64, 128, 256, 512, 1024),
    *,
    learning_rate: float = 1e-3,
    seeds: int = 8,
    steps: Sequence[int] = (1, 2, 4, 8),
    depth: int = 3,
    task: str = "teacher_student",
    parametrisation: Parametrisation | str = Parametrisation.STANDARD,
    hyperparameters: Mapping[str, Value] | None = None,
    task_options: Mapping[str, Value] | None = None,
    level: float = 0.9,
    margin: float = 0.1,
) -> Coordinates:
    """Train the built-in network a few steps at every width and judge how its layers move. Takes seconds.

    Args:
        widths: at least 3. learning_rate: at the smallest width. seeds: networks per width. steps: after which to measure.
        depth, task, task_options: as in a study. hyperparameters: others than the rate, such as batch_size or weight_decay.
        parametrisation: how rates and initial weights go with the width, or its name in any case.
        level, margin: see `judge`.

    Raises:
        InputError: widths, seeds, steps, level or margin cannot be used, or the rate is so low that rounding hides what it does.
        SpecError: a setting that cannot be trained. MissingExtraError: JAX is not installed.
    """
    sizes = sorted(set(widths))
    if len(sizes) < 3:
        raise InputError(f"{len(sizes)} widths are too few for a slope with an interval", "widths", "Give at least 3, better 5")
    if seeds < 1:
        raise InputError(f"seeds is {seeds}", "seeds", "Give 1 or more; 8 is usual")
    if not steps or min(steps) < 1:
        raise InputError(f"steps are {list(steps)}", "steps", "Give one or more step numbers from 1, for example 1, 2, 4, 8")
    if "learning_rate" in (hyperparameters or {}):
        raise InputError("learning_rate is given twice", "hyperparameters", "Give it as learning_rate alone")
    how = _named(parametrisation)
    settings = {"learning_rate": learning_rate, **(hyperparameters or {})}
    specs = [
        TrialSpec(task, {"width": width, "depth": depth, "steps": max(steps)}, settings, seed, task_options=task_options or {})
        for width in sizes
        for seed in range(seeds)
    ]
    try:
        from .train.coordinates import measure
    except ModuleNotFoundError as error:
        if error.name is None or error.name.split(".")[0] not in ("jax", "jaxlib"):
            raise
        raise MissingExtraError("jax", "train", "training") from error
    readings = measure(specs, how, steps)
    _above_rounding(readings, learning_rate)
    recipe = {**settings, "task": task, "depth": depth, "seeds": seeds, "parametrisation": how.name}
    return judge(readings, level=level, margin=margin, recipe=recipe)


def _named(how: Parametrisation | str) -> Parametrisation:
    if isinstance(how, Parametrisation):
        return how
    if how.upper() not in Parametrisation.__members__:
        raise UnknownNameError("parametrisation", how, [each.lower() for each in Parametrisation.__members__])
    return Parametrisation[how.upper()]


def _above_rounding(readings: Mapping[str, Sequence[Any]], rate: float) -> None:
    rows = list(zip(*(readings[name] for name in ("width", "seed", "layer", "step", "quantity", "rms")), strict=True))
    start = {row[:3]: row[5] for row in rows if row[3] == 0}
    for row in rows:
        if row[4] == "change" and row[5] < ROUNDING * start[row[:3]]:
            what = f"learning_rate = {rate:g} moves the layer {row[2]} at width {row[0]} by no more than rounding does"
            raise InputError(what, "learning_rate", "Give a larger rate, for example 1e-3")


def judge(
    readings: Mapping[str, Sequence[Any]], *, level: float = 0.9, margin: float = 0.1, recipe: Mapping[str, Value] | None = None
) -> Coordinates:
    """Judge readings, of the built-in networks or of any others.

    `_slopes.slope` gives the slopes and their intervals, `_slopes.growth` the verdict on each.

    Verdict on the recipe: DOES_NOT if a `change`, an `own` or a hidden layer's initial `activation` (the output's: only if it
    grows, since maximal update lets it shrink) lies beyond m at the level 1 - (1 - level) / k, with k such slopes (Bonferroni).
    TRANSFERS if every `change` and every hidden layer's initial `activation` is STABLE (all must be: no correction needed) and
    no `own` GROWS. The faults are those of the first step that shows any; later ones are mixed with their consequences.

    Args:
        readings: columns width, seed, step, layer, quantity (keys of `QUANTITIES`), rms. Layers in order of first appearance,
            the output last. `change` is needed; `activation` at step 0 and `own` make the verdict sharper.
        level: of the intervals. margin: the power of the width that counts as none.

    Raises:
        DataError: a column or every `change` is missing. InputError: level or margin cannot be used.
    """
    if not 0 < level < 1:
        raise InputError(f"{level} is not between 0 and 1", "level", "Give a share, for example 0.9")
    if not (margin > 0 and math.isfinite(margin)):
        raise InputError(f"margin is {margin:g}", "margin", "Give a power of the width above 0, for example 0.1")
    groups = _grouped(readings)
    slopes = tuple(slope(key, group, level, margin) for key, group in groups.items())
    if not any(each.quantity == "change" for each in slopes):
        raise DataError("no reading has the quantity 'change'", "readings", "Give the change of each layer after some steps")
    layers = list(dict.fromkeys(each.layer for each in slopes))
    watched = [each for each in slopes if _watched(each, layers)]
    faulty = [each for each in watched if _at_fault(each, margin, len(watched), each.layer == layers[-1])]
    first = min((each.step for each in faulty), default=0)
    faults = _faults([each for each in faulty if each.step == first], slopes, layers)
    needed = [each for each in watched if each.quantity != "own" and not (each.step == 0 and each.layer == layers[-1])]
    grown = any(each.quantity == "own" and each.growth is Growth.GROWS for each in watched)
    sound = not grown and all(each.growth is Growth.STABLE for each in needed)
    verdict = Transfer.DOES_NOT if faults else Transfer.TRANSFERS if sound else Transfer.UNDECIDED
    widths = tuple(sorted({int(width) for width in readings["width"]}))
    return Coordinates(verdict, faults, slopes, widths, level, margin, dict(recipe or {}))


def _grouped(readings: Mapping[str, Sequence[Any]]) -> dict[tuple[str, str, int], dict[tuple[float, Any], float]]:
    """(quantity, layer, step) -> (width, seed) -> rms, in order of first appearance."""
    names = ("quantity", "layer", "step", "width", "seed", "rms")
    missing = [name for name in names if name not in readings]
    if missing:
        raise DataError(f"no column {missing[0]!r}", "readings", f"Give the columns {', '.join(names)}")
    groups: dict[tuple[str, str, int], dict[tuple[float, Any], float]] = {}
    for quantity, layer, step, width, seed, rms in zip(*(readings[name] for name in names), strict=True):
        if quantity not in QUANTITIES:
            raise UnknownNameError("quantity", str(quantity), QUANTITIES, "readings")
        groups.setdefault((quantity, str(layer), int(step)), {})[float(width), seed] = float(rms)
    return groups


def _watched(each: Slope, layers: Sequence[str]) -> bool:
    """Whether a slope takes part in the recipe's verdict. The first layer's `own` is its change."""
    if each.quantity == "own":
        return each.layer != layers[0]
    return each.quantity == "change" or (each.quantity == "activation" and each.step == 0)


def _at_fault(each: Slope, margin: float, count: int, output: bool) -> bool:
    """Beyond the margin with the level shared among `count` slopes."""
    if each.reason:
        return False
    said = growth(widened(each, count), margin)
    return said is Growth.GROWS or (said is Growth.SHRINKS and not (output and each.step == 0))


def _faults(faulty: Sequence[Slope], slopes: Sequence[Slope], layers: Sequence[str]) -> tuple[Fault, ...]:
    """One fault per layer with a slope in `faulty`, all of one step, in the order of the layers."""
    found: list[Fault] = []
    for before, layer in zip(["", *layers], layers, strict=False):
        here = {each.quantity: each for each in faulty if each.layer == layer}
        if not here:
            continue
        step = faulty[0].step
        own = next((each for each in slopes if (each.quantity, each.layer, each.step) == ("own", layer, step)), None)
        source = found[-1].layer if found and found[-1].layer == before else ""
        if "activation" in here:
            found.append(Fault(layer, step, Cause.START, here["activation"]))
        elif "own" in here or layer == layers[0]:
            found.append(Fault(layer, step, Cause.RATE, here.get("own") or here["change"]))
        elif own is not None and own.growth is growth(here["change"].slope, 0):
            found.append(Fault(layer, step, Cause.RATE, own))
        elif source:
            found.append(Fault(layer, step, Cause.CARRIED, here["change"], source))
        else:
            stable = own is not None and own.growth is Growth.STABLE
            found.append(Fault(layer, step, Cause.ALIGNED if stable else Cause.UNCLEAR, here["change"]))
    return tuple(found)
