"""What goes on inside while a network trains, looked at a few times: cheap numbers that tell a mistuned setting by name.

A look takes one extra step that is not applied, on the first batch of a chunk: 8 looks in a run cost 8 steps.

    update_ratio       RMS of a tensor's update over RMS of its entries: about 1e-3 where training is healthy
    activation_rms     RMS of a layer's output before its activation
    denominator_ratio  median of sqrt(v^) / epsilon over a tensor's entries: below about 10, epsilon slows it (Adam, AdamW)
    clip_fraction      share of the steps whose gradient was clipped
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from .optimisers import optimisers
from .program import program
from .recipe import Recipe

__all__ = ["Witness"]

LOOKS = 8


class Witness:
    """The looks at one group of networks.

    Args:
        recipe: of any of them. grouped: whether there are several.
    """

    def __init__(self, recipe: Recipe, grouped: bool) -> None:
        self._recipe, self._grouped = recipe, grouped
        self._seen: list[Mapping[str, Any]] = []

    @staticmethod
    def looks(chunk: int, chunks: int) -> bool:
        """Whether to look before this chunk (from 1): before the last of each eighth of the run."""
        return chunk in {round(chunks * (look + 1) / LOOKS) for look in range(LOOKS)}

    def look(self, given: Any, carry: Any, x: Any, y: Any, share: Any) -> None:
        """Measure one step from where the networks are, without taking it."""
        recipe = self._recipe
        gradients, _ = program(recipe, self._grouped).gradients(given, carry, x, y)
        (rates, seed, fixed), (done, parameters, state) = given, carry
        if not self._grouped:
            self._seen.append(_measured(recipe, given, carry, gradients, x, share))
            return
        axis, found = recipe.family.group_axis, []
        size = len(rates["learning_rate"])
        for place in range(size):
            one = lambda name, values: jnp.take(values, place, axis(name))  # noqa: B023, E731  (used within this turn)
            own = {name: one(name, values) for name, values in parameters.items()}
            kept = {name: one(name, values) for name, values in fixed.items()}
            slots = {name: tuple(one(name, slot) for slot in values) for name, values in state["slots"].items()}
            turned = {name: one(name, values) for name, values in gradients.items()}
            rest = {name: values[place] for name, values in state.items() if name != "slots"}
            of_one = {name: values[place] for name, values in rates.items()}
            found.append(_measured(recipe, (of_one, seed, kept), (done, own, {"slots": slots, **rest}), turned, x, share))
        self._seen.append({name: [one[name] for one in found] for name in found[0]})

    def metrics(self, state: Mapping[str, Any], size: int, steps: int) -> list[dict[str, float]]:
        """Per network: the mean over the last quarter's looks; whether and how often gradients were clipped."""
        late = self._seen[-max(1, LOOKS // 4) :] if self._seen else []
        names = late[0] if late else ()
        values = {name: np.mean([np.atleast_1d(look[name]) for look in late], axis=0) for name in names}
        if "clipped" in state:
            values["clip_fraction"] = np.atleast_1d(np.asarray(state["clipped"])) / steps
        return [
            {name: float(value[place]) for name, value in values.items() if np.isfinite(value[place])} for place in range(size)
        ]


def _measured(recipe: Recipe, given: Any, carry: Any, gradients: Any, x: Any, share: Any) -> dict[str, float]:
    """All of one network; `recipe` tells its structure, `given` its own numbers."""
    (rates, _, fixed), (done, parameters, state) = given, carry
    found: dict[str, float] = {}
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
        if size:
            found[f"update_ratio:{name}"] = _rms(moved - now) / size
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
