"""The first steps of training, watched from inside: how large activations, their changes and the updates are at each width.

Axes: B examples of the probe, n the width. A layer computes h_l = a_(l-1) W_l + b_l with a_0 the input and a_l = relu(h_l); the
last h is the logits.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

from ..trial import TrialSpec
from .loop import places
from .parametrisation import Parametrisation
from .program import program, start_state, starts
from .recipe import Recipe

__all__ = ["PROBED", "measure"]

# Held-out examples that the activations are taken on: the same at every width, seed and step.
PROBED = 256


def measure(
    specs: Sequence[TrialSpec], parametrisation: Parametrisation = Parametrisation.STANDARD, moments: Sequence[int] = (1, 2, 4, 8)
) -> dict[str, list[Any]]:
    """Train each spec for `max(moments)` steps and measure every layer at the start and after `moments` steps.

    RMS is the root mean square over the units and the probe's examples, or over a matrix's entries. At step t and layer l:

        activation   RMS h_l(t)                                    (step 0: at initialisation)
        change       RMS (h_l(t) - h_l(0))                         what the layer's output has moved by, from all causes
        own          RMS (a_(l-1)(0) dW_l + db_l)                  the part that its own update makes on the first inputs
        ratio        RMS dW_l / RMS W_l(0)                         with dW_l = W_l(t) - W_l(0)

    Args:
        specs: networks to train; their `steps` are not looked at. The smallest width among them keeps its rate and start.
        parametrisation: how rates and starts go with the width.
        moments: steps after which to measure, from 1.

    Returns:
        Columns of equal length: width, seed, step, layer, quantity, rms. Layers are input, hidden 2, hidden 3, ..., output. A
        number that is not finite stays as it is.

    Raises:
        SpecError: a spec that cannot be trained; nothing has been trained then.
    """
    recipes = [Recipe.of(spec) for spec in specs]
    base = min((dict(recipe.sizes)["width"] for recipe in recipes), default=1)
    columns: dict[str, list[Any]] = {name: [] for name in ("width", "seed", "step", "layer", "quantity", "rms")}
    for recipe in recipes:
        how = replace(recipe, parametrisation=parametrisation, base_width=base)
        for step, layer, quantity, rms in _follow(how, sorted(set(moments))):
            row = (dict(recipe.sizes)["width"], recipe.seed, step, layer, quantity, rms)
            for column, value in zip(columns.values(), row, strict=True):
                column.append(value)
    return columns


def _follow(recipe: Recipe, moments: Sequence[int]) -> list[tuple[int, str, str, float]]:
    """(step, layer, quantity, rms) of one network."""
    data = recipe.loaded()
    parameters, fixed = starts(recipe, [1.0], grouped=False, first={})
    start = [(parameters[f"weight{layer}"], parameters[f"bias{layer}"]) for layer in range(1, dict(recipe.sizes)["depth"] + 2)]
    names = ["input", *[f"hidden {layer}" for layer in range(2, len(start))], "output"]
    rates = {name: values[0] for name, values in places([recipe]).items()}
    probe = data.test_inputs[:PROBED]
    first, _ = _look(start, start, probe)
    found = [(0, layer, "activation", _rms(h)) for layer, h in zip(names, first, strict=True)]
    # What `run` is given it may overwrite: it works on copies.
    carry: Any = jax.tree.map(jnp.array, (np.float32(0), parameters, start_state(recipe, parameters, None)))
    run, given, share = program(recipe, grouped=False).run, (rates, np.uint32(recipe.seed % 2**32), fixed), np.ones(1, np.float32)
    batches = data.batches(recipe.seed, recipe.batch_size, [1] * moments[-1])
    for count, (x, y) in enumerate(batches, start=1):
        carry, _ = run(given, carry, x, y, share)
        if count not in moments:
            continue
        reached = [(carry[1][f"weight{layer}"], carry[1][f"bias{layer}"]) for layer in range(1, len(start) + 1)]
        now, own = _look(start, reached, probe)
        for layer, h0, h, made, (w0, _), (w, _) in zip(names, first, now, own, start, reached, strict=True):
            found += [
                (count, layer, "activation", _rms(h)),
                (count, layer, "change", _rms(np.asarray(h) - np.asarray(h0))),
                (count, layer, "own", _rms(made)),
                (count, layer, "ratio", _rms(np.asarray(w) - w0) / _rms(w0)),
            ]
    return found


def _rms(values: Any) -> float:
    array: NDArray[np.float64] = np.asarray(values, dtype=np.float64)
    with np.errstate(over="ignore", invalid="ignore"):
        return float(np.sqrt(np.mean(np.square(array))))


Layers = list[tuple[Any, Any]]


def _forward(parameters: Layers, x: Any) -> list[Any]:
    found: list[Any] = []
    for weight, bias in parameters:
        found.append((jax.nn.relu(found[-1]) if found else x) @ weight + bias)
    return found


@jax.jit
def _look(start: Layers, now: Layers, x: Any) -> tuple[list[Any], list[Any]]:
    """(h_l now, a_(l-1)(0) dW_l + db_l), each per layer."""
    first = [x, *[jax.nn.relu(h) for h in _forward(start, x)[:-1]]]
    made = [a @ (w - w0) + (b - b0) for a, (w0, b0), (w, b) in zip(first, start, now, strict=True)]
    return _forward(now, x), made
