"""The first steps of training, watched from inside: how large activations, their changes and the updates are at each width.

Axes: B examples of the probe, n the width. A layer computes h_l = a_(l-1) W_l + b_l with a_0 the input and a_l = relu(h_l); the
last h is the logits.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

from ..tasks import TaskData, tasks
from ..trial import TrialSpec
from . import adam, mlp
from .parametrisation import Parametrisation
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
    base = min((recipe.width for recipe in recipes), default=1)
    columns: dict[str, list[Any]] = {name: [] for name in ("width", "seed", "step", "layer", "quantity", "rms")}
    for recipe in recipes:
        data = tasks[recipe.task].data(dict(recipe.task_options))
        for step, layer, quantity, rms in _follow(recipe, data, parametrisation, recipe.width / base, sorted(set(moments))):
            row = (recipe.width, recipe.seed, step, layer, quantity, rms)
            for column, value in zip(columns.values(), row, strict=True):
                column.append(value)
    return columns


def _follow(
    recipe: Recipe, data: TaskData, parametrisation: Parametrisation, ratio: float, moments: Sequence[int]
) -> list[tuple[int, str, str, float]]:
    """(step, layer, quantity, rms) of one network whose width is `ratio` times the base's."""
    layers = mlp.sizes(data.input_dim, recipe.width, recipe.depth, data.classes)
    start = mlp.initial(layers, recipe.seed)
    weight, bias = start[-1]
    start[-1] = (weight * np.float32(parametrisation.output_start(ratio)), bias)
    names = ["input", *[f"hidden {layer}" for layer in range(2, len(layers))], "output"]
    rates = [_rates(recipe, parametrisation, ratio, name) for name in names]
    probe = data.test_inputs[:PROBED]
    step, look = _compiled()
    first, _ = look(start, start, probe)
    found = [(0, layer, "activation", _rms(h)) for layer, h in zip(names, first, strict=True)]
    parameters: Any = jax.tree.map(jnp.asarray, start)
    state = [adam.start(pair) for pair in parameters]
    batches = data.batches(recipe.seed, recipe.batch_size, [1] * moments[-1])
    for count, (x, y) in enumerate(batches, start=1):
        state, parameters = step(rates, np.float32(count), state, parameters, x[0], y[0])
        if count not in moments:
            continue
        now, own = look(start, parameters, probe)
        for layer, h0, h, made, (w0, _), (w, _) in zip(names, first, now, own, start, parameters, strict=True):
            found += [
                (count, layer, "activation", _rms(h)),
                (count, layer, "change", _rms(np.asarray(h) - np.asarray(h0))),
                (count, layer, "own", _rms(made)),
                (count, layer, "ratio", _rms(np.asarray(w) - w0) / _rms(w0)),
            ]
    return found


def _rates(recipe: Recipe, parametrisation: Parametrisation, ratio: float, layer: str) -> tuple[Any, Any]:
    """What `adam.update` asks for, of a layer's (weights, biases)."""
    plain = {name: np.float32(value) for name, value in asdict(recipe.rates).items()}

    def scaled(name: str) -> dict[str, Any]:
        return plain | {"learning_rate": np.float32(recipe.rates.learning_rate * ratio ** parametrisation.rates[name])}

    return scaled(layer.split()[0]), scaled("bias")


def _rms(values: Any) -> float:
    array: NDArray[np.float64] = np.asarray(values, dtype=np.float64)
    with np.errstate(over="ignore", invalid="ignore"):
        return float(np.sqrt(np.mean(np.square(array))))


@functools.cache
def _compiled() -> tuple[Any, Any]:
    """(step, look); JAX compiles each once per shape.

    step: (rates per layer, step from 1, moments, parameters, inputs (B, I), targets (B, C)) -> (moments, parameters).
    look: (parameters at the start, parameters now, inputs) -> (h_l now, a_(l-1)(0) dW_l + db_l), each per layer.
    """

    def loss(parameters: Any, x: jax.Array, y: jax.Array) -> jax.Array:
        outputs = mlp.logits(parameters, x)
        return (jax.nn.logsumexp(outputs, axis=-1) - (outputs * y).sum(axis=-1)).mean()

    def step(rates: Any, count: Any, state: Any, parameters: Any, x: jax.Array, y: jax.Array) -> tuple[Any, Any]:
        gradients = jax.grad(loss)(parameters, x, y)
        moved_state: list[Any] = []
        moved: list[Any] = []
        for (of_weight, of_bias), (dw, db), ((mw, mb), (vw, vb)), (w, b) in zip(rates, gradients, state, parameters, strict=True):
            (mw, vw), w = adam.update(of_weight, count, dw, (mw, vw), w)
            (mb, vb), b = adam.update(of_bias, count, db, (mb, vb), b)
            moved_state.append(((mw, mb), (vw, vb)))
            moved.append((w, b))
        return moved_state, moved

    def forward(parameters: Any, x: jax.Array) -> list[jax.Array]:
        found: list[jax.Array] = []
        for weight, bias in parameters:
            found.append((jax.nn.relu(found[-1]) if found else x) @ weight + bias)
        return found

    def look(start: Any, now: Any, x: jax.Array) -> tuple[list[jax.Array], list[jax.Array]]:
        first = [x, *[jax.nn.relu(h) for h in forward(start, x)[:-1]]]
        own = [a @ (w - w0) + (b - b0) for a, (w0, b0), (w, b) in zip(first, start, now, strict=True)]
        return forward(now, x), own

    return jax.jit(step), jax.jit(look)
