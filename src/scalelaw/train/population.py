"""Training on an accelerator: all rates and seeds of a shape in one compiled call, as many as its memory holds.

There a small network leaves most of the device idle, and the cost of a step is that of starting it: networks side by side share
it. The call is that of a group on one core (`program.run`), mapped over seeds: within a seed all networks read the same batches
and the first layer is one product. Data that are rows as they stand lie on the device and are gathered there.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

from ..tasks import TaskData
from ..trial import Trial, TrialSpec
from . import weights
from .checkpoint import Checkpoint
from .loop import Asked, Member, Ran, chunks, companies, factors_of, mean_probe, places, probes, test_parts, trials_of, tries
from .models import Structure
from .optimisers import optimisers
from .outcome import Probe
from .program import program, start_state, starts
from .recipe import Recipe
from .witness import Witness

__all__ = ["blocks", "network_bytes", "stream_population"]

# Share of the device's memory that a call may be planned to fill: the compiler's own buffers take the rest.
FILLED = 0.7
LOST = Probe(math.nan, math.nan)


def stream_population(specs: Sequence[TrialSpec], asked: Asked, limit: int | None = None) -> Iterator[Trial]:
    """The results, block by block.

    A call that runs out of memory is cut in half and tried again, down to one network.

    Args:
        limit: most networks in a call; None asks the device's memory.
    """
    for company in companies(specs, lambda recipe: (*recipe.program, recipe.init_from)):
        most = limit or _fitting(company[0][1])
        waiting = blocks(company, most)
        while waiting:
            block = waiting.pop(0)
            try:
                made = _run_block(block, asked)
            except jax.errors.JaxRuntimeError as error:
                if "RESOURCE_EXHAUSTED" not in str(error) or len(block) == 1:
                    raise
                waiting[:0] = blocks(block, math.ceil(len(block) / 2))
                continue
            yield from made


def blocks(members: Sequence[Member], most: int) -> list[list[Member]]:
    """Cut the members of one program into calls of at most `most` networks: whole seeds where they fit, else parts of a seed."""
    seeds: dict[int, list[Member]] = {}
    for member in members:
        seeds.setdefault(member[1].seed, []).append(member)
    cut: list[list[Member]] = []
    for same in seeds.values():
        for first in range(0, len(same), most):
            part = same[first : first + most]
            # Places are a grid of seeds x the longest seed: a shorter one is filled up with copies, which also take memory.
            rows = {} if not cut else {member[1].seed: 0 for member in cut[-1]}
            if cut and part[0][1].seed not in rows and (len(rows) + 1) * max(_longest(cut[-1]), len(part)) <= most:
                cut[-1].extend(part)
            else:
                cut.append(list(part))
    return cut


def network_bytes(structure: Structure, slots: int, batch: int) -> float:
    """Memory of one network in training, float32.

    Parameters, gradients, their successors and the optimiser's slots: 4 P (3 + slots). Of every product's output, kept for the
    way back with its gradient: 8 B flops / (2 fan_in), fan_in bounded below by the least of the structure's matrices.
    """
    entries = sum(tensor.size for tensor in structure.tensors)
    least = min((tensor.shape[0] for tensor in structure.tensors if len(tensor.shape) == 2), default=1)
    outputs = sum(product.flops for product in structure.products) / (2 * max(least, 1))
    return 4.0 * entries * (3 + slots) + 8.0 * batch * outputs


def _longest(block: Sequence[Member]) -> int:
    counts: dict[int, int] = {}
    for _, recipe in block:
        counts[recipe.seed] = counts.get(recipe.seed, 0) + 1
    return max(counts.values())


def _fitting(recipe: Recipe) -> int:
    """Networks that the device's memory holds, beside the data; all there are where it does not tell its memory."""
    stats = jax.devices()[0].memory_stats() or {}
    room = stats.get("bytes_limit", 0) * FILLED - stats.get("bytes_in_use", 0) - recipe.loaded().inputs.nbytes
    if room <= 0:
        return 10_000
    return max(1, int(room / network_bytes(recipe.structure, optimisers[recipe.optimiser].slots, recipe.batch_size)))


def _run_block(members: list[Member], asked: Asked) -> list[Trial]:
    began = time.perf_counter()
    keep = Checkpoint(asked.checkpoints, [spec.id for spec, _ in members])
    seeds: dict[int, list[Member]] = {}
    for member in members:
        seeds.setdefault(member[1].seed, []).append(member)
    ran = train_population([[recipe for _, recipe in same] for same in seeds.values()], keep, asked.witnesses)
    ordered = [member for same in seeds.values() for member in same]
    made = trials_of(ordered, ran, time.perf_counter() - began)
    keep.drop()
    return made


def train_population(seeds: list[list[Recipe]], keep: Checkpoint, witnesses: bool = False) -> Ran:
    """Train recipes of one program, those of one seed together; the shorter seeds are filled up with copies of their last."""
    recipe, data = seeds[0][0], seeds[0][0].loaded()
    size = max(map(len, seeds))
    filled = [[*same, *[same[-1]] * (size - len(same))] for same in seeds]
    real = np.array([place < len(same) for same in seeds for place in range(size)])
    first = {} if recipe.init_from is None else weights.of(recipe.init_from)
    rates = _stacked([places(same) for same in filled])
    made = [starts(same[0], [dict(one.rates)["init_scale"] for one in same], grouped=True, first=first) for same in filled]
    parameters, fixed = _stacked([own for own, _ in made]), _stacked([kept for _, kept in made])
    states = [start_state(recipe, {name: values[0] for name, values in parameters.items()}, size) for _ in seeds]
    carry: Any = (jnp.zeros(len(seeds), jnp.float32), parameters, _stacked(states))
    own, parts = program(recipe, grouped=True), test_parts(data)
    start = mean_probe([probes(own.probe_seeds({**fixed, **parameters}, *part)) for part in parts])
    lengths = chunks(recipe.steps)
    moments, shares = tries(len(lengths), recipe.plan.settles), factors_of(recipe)
    given = (rates, np.array([same[0].seed % 2**32 for same in seeds], dtype=np.uint32), fixed)
    watching = [Witness(recipe, grouped=True) for _ in seeds]
    losses: list[NDArray[Any]] = []
    tried: list[list[Probe]] = []
    passed, (leaves, form) = 0, jax.tree.flatten(carry)
    if (reached := keep.load()) is not None and len(reached[1]) == len(leaves):
        passed, carry = reached[0], jax.tree.unflatten(form, [jnp.asarray(leaf) for leaf in reached[1]])
        losses, tried = [reached[2]], [[Probe(*values) for values in look.tolist()] for look in reached[3]]
    for count, (x, y) in enumerate(_batches(data, recipe, [same[0].seed for same in seeds], lengths), start=1):
        if count <= passed:
            continue
        for place, witness in enumerate(watching if witnesses and Witness.looks(count, len(lengths)) else ()):
            at = jax.tree.map(lambda values, row=place: values[row], (given, carry, x, y))
            witness.look(at[0], at[1], at[2][0], at[3][0], shares[count - 1][0])
        carry, chunk = own.run_seeds(given, carry, x, y, shares[count - 1])
        losses.append(np.asarray(chunk).swapaxes(0, 1).reshape(chunk.shape[1], -1))
        if not np.isfinite(losses[-1][-1]).any():
            break
        tried += [probes(own.probe_seeds({**fixed, **carry[1]}, *parts[part])) for part in moments.get(count, ())]
        keep.save(count, jax.tree.leaves(carry), np.concatenate(losses), [[(p.loss, p.spread) for p in look] for look in tried])
    ends = mean_probe(tried) if tried else [LOST] * len(real)
    state = [jax.tree.map(lambda values, row=place: values[row], carry[2]) for place in range(len(seeds))]
    metrics = [one for witness, at in zip(watching, state, strict=True) for one in witness.metrics(at, size, recipe.steps)]
    chosen = np.flatnonzero(real)
    return Ran(
        np.concatenate(losses)[:, chosen],
        [start[place] for place in chosen],
        [ends[place] for place in chosen],
        {**fixed, **carry[1]},
        [metrics[place] for place in chosen],
    )


def _batches(data: TaskData, recipe: Recipe, seeds: list[int], lengths: list[int]) -> Iterator[tuple[Any, Any]]:
    """Batches with a first axis over the seeds, (K, S, B, ...), gathered on the device where the data are rows as they stand."""
    if data.draw is None:
        inputs, targets = jax.device_put(data.inputs), jax.device_put(data.targets)
        for count, *rows in zip(lengths, *(data.rows(seed, recipe.batch_size, lengths) for seed in seeds), strict=True):
            which = np.stack(rows).astype(np.int32).reshape(len(seeds), count, recipe.batch_size)
            yield _gathered(inputs, which), _gathered(targets, which)
        return
    for drawn in zip(*(data.batches(seed, recipe.batch_size, lengths) for seed in seeds), strict=True):
        yield np.stack([x for x, _ in drawn]), np.stack([y for _, y in drawn])


@jax.jit
def _gathered(values: Any, rows: Any) -> Any:
    return values[rows]


def _stacked(trees: Sequence[Any]) -> Any:
    """One tree with a first axis over the given ones."""
    return jax.tree.map(lambda *values: np.stack([np.asarray(each) for each in values]), *trees)
