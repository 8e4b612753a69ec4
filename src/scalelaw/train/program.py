"""The compiled part of training: `lax.scan` over the steps of one network, or of a group that reads the same batches.

Axes: S steps of a chunk, B examples of a batch, G networks of a group, K seeds of an accelerator's call.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

from ..tasks import Loss
from .models import Model
from .optimisers import optimisers
from .recipe import Recipe, task_data

__all__ = ["Program", "program", "start_state", "starts"]

Tree = dict[str, Any]
# Loss scaling of float16 (Micikevicius et al., 2018): the loss is multiplied so that small gradients do not vanish; a step whose
# gradients overflow is left out and the factor halved; after so many good steps it is doubled.
FIRST_SCALE, GOOD_STEPS = 2.0**15, 200
# How products of float32 numbers are computed. JAX's own default rounds their factors on accelerators (TF32 on an NVIDIA card,
# bfloat16 on a TPU); a trial that asks for float32 gets it on every device.
PRODUCTS = {"float32": "highest", "tfloat32": "tensorfloat32"}


@dataclass(frozen=True)
class Program:
    """What JAX compiled for one `Recipe.program`; each function compiles once per shape of its arguments.

    `given` is (rates, seed, fixed tensors): what a call does not change. The carry is (steps done, parameters, state).

    run: (given, carry, inputs (S, B, ...), targets (S, B, ...), shares of the peak learning rate (S,)) -> (carry, losses (S,) or
        (S, G)). It may overwrite the carry it is handed.
    probe: (parameters and fixed tensors, inputs, targets) -> (losses, spreads), each scalar or (G,).
    run_seeds, probe_seeds: the same with a first axis K on given, carry and batches, for an accelerator.
    gradients: (given, carry, inputs (B, ...), targets) -> (gradients, losses), of one step not taken.
    """

    run: Any
    probe: Any
    run_seeds: Any
    probe_seeds: Any
    gradients: Any


_PROGRAMS: dict[tuple[Any, ...], Program] = {}


def program(recipe: Recipe, grouped: bool) -> Program:
    """The program of a recipe, for one network or for a group; made once per process."""
    key = (recipe.program, grouped)
    if key not in _PROGRAMS:
        _PROGRAMS[key] = _made(recipe, grouped)
    return _PROGRAMS[key]


def starts(recipe: Recipe, scales: list[float], grouped: bool, first: Mapping[str, NDArray[np.float32]]) -> tuple[Tree, Tree]:
    """(trained, fixed) tensors at the start, of one network or of a group whose networks' init_scale is `scales`.

    Args:
        first: tensors that start where another run ended; the others are drawn.
    """
    drawn = recipe.structure.initial(recipe.seed)
    axis = recipe.family.group_axis
    trees: tuple[Tree, Tree] = ({}, {})
    for tensor in recipe.structure.tensors:
        values, given = drawn[tensor.name], first.get(tensor.name)
        factor = recipe.parametrisation.start(tensor.kind, recipe.width_ratio) if tensor.std else 1.0
        if given is not None and given.shape == values.shape:
            copies = [given.copy()] * len(scales)  # what training is handed it may overwrite
        elif tensor.std:
            copies = [values if factor * scale == 1 else values * np.float32(factor * scale) for scale in scales]
        else:
            copies = [values] * len(scales)
        trees[0 if tensor.trained else 1][tensor.name] = np.stack(copies, axis(tensor.name)) if grouped else copies[0]
    return trees


def start_state(recipe: Recipe, parameters: Tree, group: int | None) -> Tree:
    """The state before the first step: `slots` of every tensor at 0, and what clipping and float16 count."""
    optimiser = optimisers[recipe.optimiser]
    kinds = {tensor.name: tensor.kind for tensor in recipe.structure.tensors}
    state: Tree = {
        "slots": {
            name: tuple(jnp.zeros_like(values) for _ in range(optimiser.of(kinds[name]).slots))
            for name, values in parameters.items()
        }
    }
    shape = () if group is None else (group,)
    if recipe.clips:
        state["clipped"] = jnp.zeros(shape, jnp.float32)
    if recipe.precision == "float16":
        state["scale"], state["good"] = jnp.full(shape, FIRST_SCALE, jnp.float32), jnp.zeros(shape, jnp.float32)
    return state


def _made(recipe: Recipe, grouped: bool) -> Program:
    family, net = recipe.family, recipe.net
    measure = _measure(task_data(recipe.task, recipe.task_options).loss, family, grouped)
    dtype = jnp.dtype("float32" if recipe.precision in PRODUCTS else recipe.precision)
    forward = family.group_outputs if grouped else family.outputs
    advance = _advance(recipe)
    if grouped:
        advance = _for_groups(advance, recipe)

    def cast(values: Any) -> Any:
        return values.astype(dtype) if jnp.issubdtype(values.dtype, jnp.floating) else values

    def outputs(parameters: Any, x: jax.Array, dropout: Any = None) -> jax.Array:
        return forward(jax.tree.map(cast, parameters), cast(x), net, dropout).astype(jnp.float32)

    def gradients(given: Any, carry: Any, x: jax.Array, y: jax.Array) -> tuple[Any, jax.Array]:
        (rates, seed, fixed), (done, parameters, state) = given, carry
        dropout = None
        if recipe.drops:
            dropout = (rates["dropout"], jax.random.fold_in(jax.random.key(seed), done.astype(jnp.uint32)))

        def total(parameters: Any) -> tuple[jax.Array, jax.Array]:
            losses = measure(outputs({**fixed, **parameters}, x, dropout), y)
            return (losses * state["scale"] if "scale" in state else losses).sum(), losses

        return jax.grad(total, has_aux=True)(parameters)

    def run(given: Any, carry: Any, inputs: Any, targets: Any, factors: Any) -> tuple[Any, jax.Array]:
        def step(carry: Any, batch: tuple[jax.Array, jax.Array, jax.Array]) -> tuple[Any, jax.Array]:
            x, y, factor = batch
            found, losses = gradients(given, carry, x, y)
            done, parameters, state = carry
            state, parameters = advance(given[0], (done + 1, factor), found, state, parameters)
            return (done + 1, parameters, state), losses

        return jax.lax.scan(step, carry, (inputs, targets, factors))

    def probe(parameters: Any, x: jax.Array, y: jax.Array) -> tuple[jax.Array, jax.Array]:
        answers = outputs(parameters, x)
        flat = answers.reshape(*answers.shape[: 1 if grouped else 0], -1, answers.shape[-1])
        return measure(answers, y), jnp.sqrt(flat.var(axis=-2).mean(axis=-1))

    exact = functools.partial(_multiplying, PRODUCTS.get(recipe.precision, "default"))
    return Program(
        jax.jit(exact(run), donate_argnums=1),
        jax.jit(exact(probe)),
        jax.jit(jax.vmap(exact(run), in_axes=(0, 0, 0, 0, None)), donate_argnums=1),
        jax.jit(jax.vmap(exact(probe), in_axes=(0, None, None))),
        jax.jit(exact(gradients)),
    )


def _multiplying(how: str, function: Any) -> Any:
    """`function`, traced so that its products of float32 numbers are computed as `how` says."""

    def traced(*arguments: Any) -> Any:
        with jax.default_matmul_precision(how):
            return function(*arguments)

    return traced


def _measure(loss: Loss, family: Model, grouped: bool) -> Any:
    """(outputs, targets) -> the loss of one network, or of each of a group (G,)."""
    axes = (-2, -1) if family.tokens else -1

    def measure(outputs: jax.Array, y: jax.Array) -> jax.Array:
        if loss is Loss.SQUARED_ERROR:
            return jnp.square(outputs - y).sum(axis=-1).mean(axis=axes)
        if jnp.issubdtype(y.dtype, jnp.integer):
            where = jnp.broadcast_to(y, outputs.shape[:-1]) if grouped else y
            hit = jnp.take_along_axis(outputs, where[..., None], axis=-1)[..., 0]
        else:
            hit = (outputs * y).sum(axis=-1)
        return (jax.nn.logsumexp(outputs, axis=-1) - hit).mean(axis=axes)

    return measure


def _advance(recipe: Recipe) -> Any:
    """(rates, (step from 1, share of the peak rate), gradients, state, parameters) -> (state, parameters), of one network."""
    optimiser, how = optimisers[recipe.optimiser], recipe.parametrisation
    moves = {tensor.name: optimiser.of(tensor.kind) for tensor in recipe.structure.tensors}
    factors = {
        tensor.name: how.rate(tensor.kind, moves[tensor.name].family, recipe.width_ratio) for tensor in recipe.structure.tensors
    }

    def move(rates: Any, now: Any, gradients: Any, state: Any, parameters: Any) -> tuple[Any, Any]:
        step, share = now
        rate = rates["learning_rate"] * share
        common = {**rates, "step": step, "decay": rate * rates["weight_decay"]}
        after = dict(state)
        if recipe.clips:
            norm = jnp.sqrt(sum(jnp.square(each).sum() for each in jax.tree.leaves(gradients)))
            shrink = jnp.minimum(1.0, rates["gradient_clip"] / jnp.maximum(norm, jnp.finfo(jnp.float32).tiny))
            gradients = jax.tree.map(lambda each: each * shrink, gradients)
            after["clipped"] = state["clipped"] + (shrink < 1)
        slots: Tree = {}
        moved: Tree = {}
        for name, gradient in gradients.items():
            own = rate if factors[name] == 1 else rate * factors[name]
            given = {**common, "learning_rate": own}
            slots[name], moved[name] = moves[name].update(given, gradient, state["slots"][name], parameters[name])
        return {**after, "slots": slots}, moved

    return _scaled(move) if recipe.precision == "float16" else move


def _scaled(move: Any) -> Any:
    """A step on gradients that were multiplied by `state["scale"]`; one whose gradients overflow is left out."""

    def careful(rates: Any, now: Any, gradients: Any, state: Any, parameters: Any) -> tuple[Any, Any]:
        scale, good = state["scale"], state["good"]
        gradients = jax.tree.map(lambda each: each / scale, gradients)
        finite = jnp.stack([jnp.isfinite(each).all() for each in jax.tree.leaves(gradients)]).all()
        safe = jax.tree.map(lambda each: jnp.where(finite, each, 0), gradients)
        after, moved = move(rates, now, safe, state, parameters)
        after, moved = jax.tree.map(lambda new, old: jnp.where(finite, new, old), (after, moved), (state, parameters))
        good = jnp.where(finite, good + 1, 0)
        grown = jnp.where(good >= GOOD_STEPS, scale * 2, scale)
        after["scale"] = jnp.where(finite, grown, jnp.maximum(scale / 2, 1))
        after["good"] = jnp.where(good >= GOOD_STEPS, 0, good)
        return after, moved

    return careful


def _for_groups(advance: Any, recipe: Recipe) -> Any:
    """`advance` mapped over the networks of a group."""
    axis, optimiser = recipe.family.group_axis, optimisers[recipe.optimiser]
    trained = [tensor for tensor in recipe.structure.tensors if tensor.trained]
    axes = {tensor.name: axis(tensor.name) for tensor in trained}
    state: Tree = {
        "slots": {tensor.name: (axis(tensor.name),) * optimiser.of(tensor.kind).slots for tensor in trained},
        **(dict.fromkeys(["clipped"], 0) if recipe.clips else {}),
        **(dict.fromkeys(["scale", "good"], 0) if recipe.precision == "float16" else {}),
    }
    return jax.vmap(advance, in_axes=(0, None, axes, state, axes), out_axes=(state, axes))
