"""What goes on inside while a network trains, looked at a few times: cheap numbers that tell a mistuned setting by name.

A look takes one extra step that is not applied, on the first batch of a chunk: 8 looks in a run cost 8 steps.

    update_ratio       RMS of a tensor's update over RMS of its entries: about 1e-3 where training is healthy
    activation_rms     RMS of a layer's output before its activation
    denominator_ratio  median of sqrt(v^) / epsilon over a tensor's entries: below about 10, epsilon slows it (Adam, AdamW)
    clip_fraction      share of the steps whose gradient was clipped
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

from .optimisers import optimisers
from .program import program
from .recipe import Recipe

__all__ = ["Witness"]

LOOKS = 8
KEPT = 2


class Witness:
    """The looks at the networks of one call.

    Args:
        recipe: of any of them.
        axes: how the call's arrays count networks: 0 for one alone, 1 for a group, 2 for seeds of groups (`program.run_seeds`).
    """

    def __init__(self, recipe: Recipe, axes: int) -> None:
        self._recipe, self._axes = recipe, axes
        self._seen: dict[str, NDArray[np.float64]] = {}

    @staticmethod
    def looks(chunk: int, chunks: int) -> bool:
        """Whether to look before this chunk (from 1): before the last of each eighth of the run."""
        return chunk in {round(chunks * (look + 1) / LOOKS) for look in range(LOOKS)}

    def look(self, given: Any, carry: Any, inputs: Any, targets: Any, share: Any) -> None:
        """Measure one step from where the networks are, on the first batch of a chunk, without taking it."""
        if self._axes == 2:
            rows = [
                jax.tree.map(lambda values, row=row: values[row], (given, carry, inputs, targets)) for row in range(len(inputs))
            ]
        else:
            rows = [(given, carry, inputs, targets)]
        found = [one for own, now, x, y in rows for one in self._networks(own, now, x[0], y[0], share)]
        new = {name: np.array([[one.get(name, np.nan) for one in found]]) for name in found[0]}
        self._seen = {name: np.concatenate([self._seen[name], row]) if self._seen else row for name, row in new.items()}

    @property
    def seen(self) -> dict[str, NDArray[np.float64]]:
        """What was seen so far, by name, each of shape (looks, networks); `step` tells after how many steps."""
        return dict(self._seen)

    def resume(self, seen: Mapping[str, NDArray[np.float64]]) -> None:
        """Go on from what an interrupted run had seen."""
        self._seen = dict(seen)

    def metrics(self, state: Mapping[str, Any], losses: NDArray[np.float32], steps: int) -> list[dict[str, float]]:
        """Per network: the mean over its last two looks before a loss was not finite, and how often its gradients were clipped.

        Args:
            state: at the end. losses: shape (steps taken, networks). steps: of a whole run.
        """
        bad = ~np.isfinite(losses)
        ends = np.where(bad.any(axis=0), bad.argmax(axis=0), len(losses))
        found: list[dict[str, float]] = []
        for place, end in enumerate(ends):
            looks = np.flatnonzero(self._seen["step"][:, place] < end)[-KEPT:] if self._seen else np.empty(0, dtype=np.intp)
            values = {name: seen[looks, place].mean() for name, seen in self._seen.items() if name != "step" and len(looks)}
            if "clipped" in state and end == steps:
                values["clip_fraction"] = np.asarray(state["clipped"]).ravel()[place] / steps
            found.append({name: float(value) for name, value in values.items() if np.isfinite(value)})
        return found

    def _networks(self, given: Any, carry: Any, x: Any, y: Any, share: Any) -> list[dict[str, float]]:
        """All of one group, or of one network."""
        recipe, grouped = self._recipe, self._axes > 0
        gradients, _ = program(recipe, grouped).gradients(given, carry, x, y)
        if not grouped:
            return [_measured(recipe, given, carry, gradients, x, share)]
        (rates, seed, fixed), (done, parameters, state) = given, carry
        axis, found = recipe.family.group_axis, []
        for place in range(len(rates["learning_rate"])):
            one = lambda name, values: jnp.take(values, place, axis(name))  # noqa: B023, E731  (used within this turn)
            own = {name: one(name, values) for name, values in parameters.items()}
            kept = {name: one(name, values) for name, values in fixed.items()}
            slots = {name: tuple(one(name, slot) for slot in values) for name, values in state["slots"].items()}
            turned = {name: one(name, values) for name, values in gradients.items()}
            rest = {name: values[place] for name, values in state.items() if name != "slots"}
            of_one = {name: values[place] for name, values in rates.items()}
            found.append(_measured(recipe, (of_one, seed, kept), (done, own, {"slots": slots, **rest}), turned, x, share))
        return found


def _measured(recipe: Recipe, given: Any, carry: Any, gradients: Any, x: Any, share: Any) -> dict[str, float]:
    """All of one network; `recipe` tells its structure, `given` its own numbers."""
    (rates, _, fixed), (done, parameters, state) = given, carry
    found: dict[str, float] = {"step": float(done)}
    scale = state.get("scale", 1.0)
    optimiser, how = optimisers[recipe.optimiser], recipe.parametrisation
    rate = rates["learning_rate"] * share
    common = {**rates, "step": done + 1, "decay": rate * rates["weight_decay"]}
    for tensor in recipe.structure.tensors:
        if not tensor.trained:
            continue
        own = optimiser.of(tensor.kind)
        name, now = tensor.name, parameters[tensor.name]
        given = {**common, "learning_rate": rate * how.rate(tensor.kind, own.family, recipe.width_ratio)}
        slots, moved = own.update(given, gradients[name] / scale, state["slots"][name], now)
        size = _rms(now)
        found[f"update_ratio:{name}"] = _rms(moved - now) / size if size else math.nan
        if "epsilon" in own.knobs and own.slots == 2 and rates["epsilon"] > 0:
            root = jnp.sqrt(slots[1] / -jnp.expm1(common["step"] * jnp.log(rates["beta2"])))
            found[f"denominator_ratio:{name}"] = float(jnp.median(root)) / float(rates["epsilon"])
    notes: dict[str, float] = {}
    recipe.family.outputs({**fixed, **parameters}, x, recipe.net, None, lambda name, values: notes.update({name: _rms(values)}))
    return found | {f"activation_rms:{name}": value for name, value in notes.items()}


def _rms(values: Any) -> float:
    array = np.asarray(jax.device_get(values), dtype=np.float64)
    with np.errstate(over="ignore", invalid="ignore"):
        return float(np.sqrt(np.mean(np.square(array))))
