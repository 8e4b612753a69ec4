"""What a finished training run means: its status, its loss and its curve. Standard library and NumPy only."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..trial import Curve, Status

__all__ = ["Probe", "curve", "judge", "judge_reports", "points"]

CURVE_POINTS = 100
CHANCE_SHARE = 0.02
ABOVE = 1e-3
ROSE = 0.25
COLLAPSED = 1e-3
# A first report tells the start where it comes within this share of a run's steps.
START_SHARE = 0.05
# Standard deviations by which a noisy loss must end above its start; and the largest that is believed, in ln loss.
SURE = 4.0
NOISIEST = 0.3


@dataclass(frozen=True)
class Probe:
    """A network on the held-out data.

    Args:
        loss: mean cross-entropy, in nats.
        spread: standard deviation of the outputs over the examples, root mean square over the classes. 0 for a network that
            ignores its input.
    """

    loss: float
    spread: float


def points(steps: int, count: int = CURVE_POINTS) -> NDArray[np.int64]:
    """About `count` distinct steps from 1 to `steps`, evenly spaced in their logarithm as far as whole numbers allow."""
    return np.unique(np.round(np.geomspace(1, steps, min(count, steps))).astype(np.int64))


def curve(losses: NDArray[np.float32]) -> Curve | None:
    """The training losses of each step as means between log-spaced points, up to the last finite one; None if there is none."""
    finite = np.isfinite(losses)
    length = len(losses) if finite.all() else int(np.argmin(finite))
    if length == 0:
        return None
    ends = points(length)
    totals = np.add.reduceat(losses[:length].astype(np.float64), np.concatenate([[0], ends[:-1]]))
    means = totals / np.diff(ends, prepend=0)
    return Curve(tuple(ends.tolist()), tuple(means.tolist()))


def judge(losses: NDArray[np.float32], start: Probe, end: Probe, chance_loss: float) -> dict[str, Any]:
    """The status of a run and what belongs to it, as fields of `Trial`.

    Args:
        losses: training loss of each step, taken before the step's update, shape (steps,); a run that was stopped after a
            non-finite loss is shorter.
        start, end: the network before the first and after the last step.
        chance_loss: what calling every class equally likely costs.

    A run is DIVERGED when
      1. a loss is not finite: `diverged_step` is the first such step, `last_loss` the training loss before it;
      2. it ends above its start, by more than the 0.1 % that a rate next to nothing can do by chance: `diverged_step` is the
         last step, `last_loss` the final loss;
      3. it ends at chance and was thrown there. At chance: `end.loss` is within 2 % of `chance_loss`, or above it. Thrown:
         a training loss rose 25 % above the first step's or above chance, whichever is more; or a mean of the curve had
         already left chance; or the network, which did look at its input, ended up ignoring it (every ReLU of a layer dead:
         the outputs' spread over examples fell by 1,000). He-initialised networks start above chance, so such a run often
         ends below its start, and rule 2 alone would call it a success.
    A run at chance that was not thrown never got away from it: its rate is too low for its steps. It is COMPLETE with
    `at_chance`, keeps its loss, and says nothing about stability.
    """
    finite = np.isfinite(losses)
    if not finite.all():
        step = int(np.argmin(finite)) + 1
        last = float(losses[step - 2]) if step > 1 else start.loss
        return {"status": Status.DIVERGED, "diverged_step": step, "last_loss": last if math.isfinite(last) else None}
    if not math.isfinite(end.loss):
        return {"status": Status.DIVERGED, "diverged_step": len(losses), "last_loss": float(losses[-1])}
    at_chance = end.loss > (1 - CHANCE_SHARE) * chance_loss
    if end.loss > (1 + ABOVE) * start.loss or (at_chance and _thrown(losses, start, end, chance_loss)):
        return {"status": Status.DIVERGED, "diverged_step": len(losses), "last_loss": end.loss}
    return {"status": Status.COMPLETE, "loss": end.loss, "at_chance": bool(at_chance)}


def _thrown(losses: NDArray[np.float32], start: Probe, end: Probe, chance_loss: float) -> bool:
    path = curve(losses)
    # A single step's loss is too noisy to show that a run left chance; the late means are over many steps.
    late = () if path is None else path.losses[len(path.losses) // 2 :]
    rose = float(losses.max()) > (1 + ROSE) * max(float(losses[0]), chance_loss)
    left = min(late, default=math.inf) < (1 - 2 * CHANCE_SHARE) * chance_loss
    return rose or left or end.spread < COLLAPSED * start.spread


def judge_reports(
    steps: Sequence[int],
    losses: Sequence[float],
    end: float,
    noise: float = 0.0,
    *,
    count: int = 0,
    start: float | None = None,
    chance_loss: float | None = None,
) -> dict[str, Any]:
    """As `judge`, of a run that is known by the losses it reported and by the one it ended with; all of them finite.

    Args:
        steps, losses: what it reported, ascending in step; may be empty.
        end: the run's loss. count: of how many reports it is the mean; 0 for a loss that was measured apart.
        noise: standard deviation of one report, in ln loss.
        start: the loss before the first step; None takes the first report, where it came within the first 5 % of the steps, and
            asks that the end be above it beyond its own noise as well, see `_above_noise`.
        chance_loss: what calling every class equally likely costs; None leaves rule 3 out.

    Rule 3 knows no outputs here: a run was thrown where a report rose 25 % above the start or above chance, whichever is more, or
    where a report of the second half had left chance. Losses that are not positive are not compared with their start.
    """
    factor = 1 + ABOVE
    if start is None and steps and steps[0] <= max(START_SHARE * steps[-1], 1):
        start, factor = losses[0], factor * _above_noise(noise, count)
    above = start is not None and 0 < factor * start < end
    at_chance = chance_loss is not None and end > (1 - CHANCE_SHARE) * chance_loss
    if chance_loss is not None and at_chance and losses:
        rose = max(losses) > (1 + ROSE) * max(start or 0.0, chance_loss)
        left = min(losses[len(losses) // 2 :]) * _above_noise(noise) < (1 - 2 * CHANCE_SHARE) * chance_loss
        above = above or rose or left
    if above:
        return {"status": Status.DIVERGED, "diverged_step": steps[-1] if steps else None, "last_loss": end}
    return {"status": Status.COMPLETE, "loss": end, "at_chance": at_chance}


def _above_noise(noise: float, count: int = 0) -> float:
    """The factor by which a loss must exceed one report's to be above it for sure: four standard deviations of the difference.

    Args:
        noise: standard deviation of one report, in ln loss; of a run that is blown up it tells nothing, so at most 0.3 counts.
        count: of how many reports the loss is the mean; 0 for one without noise.
    """
    return math.exp(SURE * min(noise, NOISIEST) * math.sqrt(1 + (1 / count if count else 0.0)))
