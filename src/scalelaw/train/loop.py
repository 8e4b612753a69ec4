"""Training itself: `lax.scan` over steps, in chunks, on data that NumPy has laid out.

A group is up to `group_size(width)` networks that see the same data through the same shape. Its compiled call always has
that many places, filled up with copies when fewer are asked for, and a place computes the same bits whatever the others
hold: that is what makes a trial independent of its company.

A trial's loss is the mean cross-entropy on the held-out data, in nats, over the last quarter of the run: at 16 moments, evenly
spread, a different eighth of the data is tried, so that every held-out example counts twice. At a constant rate the network
never settles, and one moment's loss would mostly tell where in its wandering it was caught. Where a schedule brings the rate
down, the network settles as it ends: its loss is that of all held-out data after the last step.
"""

from __future__ import annotations

import functools
import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

from ..schedule import shares
from ..tasks import TaskData, tasks
from ..trial import Trial, TrialSpec, Value
from . import adam, mlp
from .count import group_size
from .outcome import Probe, curve, judge
from .recipe import Recipe

__all__ = ["chunks", "group_size", "run_all", "stream"]

CHUNKS = 64
LONGEST = 50
PARTS = 8
TRIES = 16
TRIED_SHARE = 0.25
LOST = Probe(math.nan, math.nan)


def run_all(specs: Sequence[TrialSpec]) -> list[Trial]:
    """Train `specs`, grouped; results in their order. Every spec is checked before the first is trained."""
    done = {trial.id: trial for trial in stream(specs)}
    return [done[spec.id] for spec in specs]


def stream(specs: Sequence[TrialSpec]) -> Iterator[Trial]:
    """The results one by one, each as soon as its group is done; equal specs are trained once. Checks every spec first."""
    companies: dict[Any, list[tuple[TrialSpec, Recipe]]] = {}
    for spec, recipe in [(spec, Recipe.of(spec)) for spec in dict.fromkeys(specs)]:
        companies.setdefault(recipe.company, []).append((spec, recipe))
    for company in companies.values():
        size = group_size(company[0][1].width)
        for first in range(0, len(company), size):
            yield from _run_group(company[first : first + size], size)


def chunks(steps: int) -> list[int]:
    """Steps per call of the compiled scan: equal ones, at most 50, with what is left over first. Each length compiles once."""
    size = min(max(steps // CHUNKS, 1), LONGEST)
    left = [steps % size] if steps % size else []
    return left + [size] * (steps // size)


def _tries(count: int, settles: bool = False) -> dict[int, list[int]]:
    """Which parts of the held-out data are tried after which of `count` chunks (from 1): evenly through the last quarter.

    All of them after the last where the rate `settles`.
    """
    if settles:
        return {count: list(range(PARTS))}
    tries: dict[int, list[int]] = {}
    for number in range(TRIES):
        chunk = count - round((TRIES - 1 - number) * count * TRIED_SHARE / TRIES)
        tries.setdefault(chunk, []).append(number % PARTS)
    return tries


@functools.lru_cache(maxsize=2)
def _data(task: str, options: tuple[tuple[str, Value], ...]) -> TaskData:
    return tasks[task].data(dict(options))


def _run_group(members: list[tuple[TrialSpec, Recipe]], size: int) -> list[Trial]:
    began = time.perf_counter()
    recipe = members[0][1]
    data = _data(recipe.task, recipe.task_options)
    layers = mlp.sizes(data.input_dim, recipe.width, recipe.depth, data.classes)
    losses, starts, ends = _train(data, layers, recipe, [member.rates for _, member in members], size)
    seconds = (time.perf_counter() - began) / len(members)
    return [
        Trial(
            spec=spec,
            parameters=mlp.count(layers),
            embedding_parameters=0,
            tokens=float(recipe.steps * recipe.batch_size),
            compute=mlp.compute(layers, recipe.batch_size, recipe.steps),
            compute_rule=mlp.COMPUTE_RULE,
            curve=curve(losses[:, place]),
            initial_loss=starts[place].loss,
            seconds=seconds,
            **judge(losses[:, place], starts[place], ends[place], data.chance_loss),
        )
        for place, (spec, _) in enumerate(members)
    ]


def _train(
    data: TaskData, layers: list[tuple[int, int]], recipe: Recipe, members: list[Any], size: int
) -> tuple[NDArray[np.float32], list[Probe], list[Probe]]:
    """Losses (steps, networks) and the probes before and after. Empty places of the group hold copies of the last network."""
    filled = [asdict(rate) for rate in [*members, *[members[-1]] * (size - len(members))]]
    places = {name: np.array([rate[name] for rate in filled], dtype=np.float32) for name in filled[0]}
    parameters: Any = mlp.initial(layers, recipe.seed)
    if size == 1:
        places = {name: values[0] for name, values in places.items()}
    else:
        parameters = mlp.repeat(parameters, size)
    run, probe = _compiled(size > 1)
    parts = [(data.test_inputs[part::PARTS], data.test_targets[part::PARTS]) for part in range(PARTS)]
    start = _mean([_probes(probe(parameters, *part)) for part in parts])
    carry: Any = (jnp.zeros((), jnp.float32), parameters, adam.start(parameters))
    lengths = chunks(recipe.steps)
    tries = _tries(len(lengths), recipe.plan.settles)
    plan = recipe.plan
    rates = shares(plan.schedule, recipe.steps, warmup=plan.warmup, final_fraction=plan.final_fraction)
    factors = np.split(rates.astype(np.float32), np.cumsum(lengths)[:-1])
    losses: list[NDArray[np.float32]] = []
    tried: list[list[Probe]] = []
    for count, (x, y) in enumerate(data.batches(recipe.seed, recipe.batch_size, lengths), start=1):
        carry, chunk = run(places, carry, x, y, factors[count - 1])
        losses.append(np.asarray(chunk).reshape(len(chunk), size))
        if not np.isfinite(losses[-1][-1]).any():
            break
        tried += [_probes(probe(carry[1], *parts[part])) for part in tries.get(count, ())]
    return np.concatenate(losses), start, _mean(tried) if tried else [LOST] * size


def _probes(result: tuple[jax.Array, jax.Array]) -> list[Probe]:
    losses, spreads = (np.atleast_1d(np.asarray(part)).tolist() for part in result)
    return [Probe(loss, spread) for loss, spread in zip(losses, spreads, strict=True)]


def _mean(tried: list[list[Probe]]) -> list[Probe]:
    """Per network: the mean loss of its probes, and the last one's spread."""
    return [Probe(float(np.mean([probe.loss for probe in one])), one[-1].spread) for one in zip(*tried, strict=True)]


@functools.cache
def _compiled(grouped: bool) -> tuple[Any, Any]:
    """(run, probe) for one network or for a group; JAX compiles each once per shape.

    run: (rates, (steps done, parameters, moments), inputs (S, B, I), targets (S, B, C), shares of the peak learning rate (S,))
    -> (the same three, losses (S,) or (S, G)).
    probe: (parameters, inputs (n, I), targets (n, C)) -> (losses, spreads), each scalar or (G,).
    """

    def per_network(parameters: Any, x: jax.Array, y: jax.Array) -> jax.Array:
        outputs = mlp.logits(parameters, x)
        return (jax.nn.logsumexp(outputs, axis=-1) - (outputs * y).sum(axis=-1)).mean(axis=-1)

    def total(parameters: Any, x: jax.Array, y: jax.Array) -> tuple[jax.Array, jax.Array]:
        losses = per_network(parameters, x, y)
        return losses.sum(), losses

    def run(rates: Any, carry: Any, inputs: jax.Array, targets: jax.Array, factors: jax.Array) -> tuple[Any, jax.Array]:
        update = adam.update
        if grouped:
            axes = mlp.group_axes(carry[1])
            update = jax.vmap(update, in_axes=(0, None, axes, (axes, axes), axes), out_axes=((axes, axes), axes))

        def step(carry: Any, batch: tuple[jax.Array, jax.Array, jax.Array]) -> tuple[Any, jax.Array]:
            done, parameters, state = carry
            x, y, factor = batch
            gradients, losses = jax.grad(total, has_aux=True)(parameters, x, y)
            now = {**rates, "learning_rate": rates["learning_rate"] * factor}
            state, parameters = update(now, done + 1, gradients, state, parameters)
            return (done + 1, parameters, state), losses

        return jax.lax.scan(step, carry, (inputs, targets, factors))

    def probe(parameters: Any, x: jax.Array, y: jax.Array) -> tuple[jax.Array, jax.Array]:
        outputs = mlp.logits(parameters, x)
        return per_network(parameters, x, y), jnp.sqrt(outputs.var(axis=-2).mean(axis=-1))

    return jax.jit(run, donate_argnums=1), jax.jit(probe)
