"""Training itself: compiled scans over chunks of steps, on data that NumPy has laid out.

A group is networks that see the same data through the same shape. On the processor its compiled call always has as many places
as `Model.group` says, filled up with copies when fewer are asked for, and a place computes the same bits whatever the others
hold: that is what makes a trial independent of its company. On an accelerator a call holds all rates and seeds of a shape that
fit (`population.py`).

A trial's loss is the mean loss on the held-out data over the last quarter of the run: at 16 moments, evenly spread, a different
eighth of the data is tried, so that every held-out example counts twice. At a constant rate the network never settles, and one
moment's loss would mostly tell where in its wandering it was caught. Where a schedule brings the rate down, the network settles
as it ends: its loss is that of all held-out data after the last step.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

from ..schedule import shares
from ..tasks import TaskData
from ..trial import Trial, TrialSpec
from . import weights
from .checkpoint import Checkpoint
from .count import COMPUTE_RULE
from .outcome import Probe, curve, judge
from .program import program, start_state, starts
from .recipe import Recipe
from .witness import Witness

__all__ = ["Asked", "Member", "chunks", "companies", "run_all", "stream"]

CHUNKS = 64
LONGEST = 50
PARTS = 8
TRIES = 16
TRIED_SHARE = 0.25
LOST = Probe(math.nan, math.nan)
Member = tuple[TrialSpec, Recipe]


@dataclass(frozen=True)
class Asked:
    """What is asked of a run beside its trials; none of it decides a trial's loss.

    Args:
        witnesses: whether to measure what goes on inside; the trials' metrics hold it.
        checkpoints: folder in which long runs keep where they are; None keeps nothing.
    """

    witnesses: bool = False
    checkpoints: Path | None = None


@dataclass
class Ran:
    """What training a group gave: losses (steps, networks), the probes before and after, the tensors at the end, metrics."""

    losses: NDArray[np.float32]
    starts: list[Probe]
    ends: list[Probe]
    parameters: Mapping[str, Any]
    metrics: list[dict[str, float]] = field(default_factory=list[dict[str, float]])


def run_all(specs: Sequence[TrialSpec], asked: Asked | None = None) -> list[Trial]:
    """Train `specs`, grouped; results in their order. Every spec is checked before the first is trained."""
    done = {trial.id: trial for trial in stream(specs, asked)}
    return [done[spec.id] for spec in specs]


def stream(specs: Sequence[TrialSpec], asked: Asked | None = None) -> Iterator[Trial]:
    """The results one by one, each as soon as its group is done; equal specs are trained once. Checks every spec first."""
    asked = asked or Asked()
    if jax.default_backend() != "cpu":
        from .population import stream_population

        yield from stream_population(specs, asked)
        return
    for company in companies(specs, lambda recipe: recipe.company):
        size = company[0][1].family.group(dict(company[0][1].sizes))
        for first in range(0, len(company), size):
            yield from _run_group(company[first : first + size], size, asked)


def companies(specs: Sequence[TrialSpec], key: Any) -> list[list[Member]]:
    """Specs with their recipes, each once, together where `key(recipe)` is equal. Checks every one."""
    found: dict[Any, list[Member]] = {}
    for spec, recipe in [(spec, Recipe.of(spec)) for spec in dict.fromkeys(specs)]:
        found.setdefault(key(recipe), []).append((spec, recipe))
    for company in found.values():
        company[0][1].loaded()
    return list(found.values())


def chunks(steps: int) -> list[int]:
    """Steps per call of the compiled scan: equal ones, at most 50, with what is left over first. Each length compiles once."""
    size = min(max(steps // CHUNKS, 1), LONGEST)
    left = [steps % size] if steps % size else []
    return left + [size] * (steps // size)


def tries(count: int, settles: bool = False) -> dict[int, list[int]]:
    """Which parts of the held-out data are tried after which of `count` chunks (from 1): evenly through the last quarter.

    All of them after the last where the rate `settles`.
    """
    if settles:
        return {count: list(range(PARTS))}
    found: dict[int, list[int]] = {}
    for number in range(TRIES):
        chunk = count - round((TRIES - 1 - number) * count * TRIED_SHARE / TRIES)
        found.setdefault(chunk, []).append(number % PARTS)
    return found


def test_parts(data: TaskData) -> list[tuple[Any, Any]]:
    """The held-out data in `PARTS` interleaved parts; fewer where there are fewer examples."""
    count = min(PARTS, len(data.test_inputs))
    return [(data.test_inputs[part % count :: count], data.test_targets[part % count :: count]) for part in range(PARTS)]


def places(members: Sequence[Recipe]) -> dict[str, NDArray[np.float32]]:
    """What the members' rates are, each as an array over them."""
    rates = [dict(member.rates) for member in members]
    return {name: np.array([rate[name] for rate in rates], dtype=np.float32) for name in rates[0]}


def factors_of(recipe: Recipe) -> list[NDArray[np.float32]]:
    """Shares of the peak rate, chunk by chunk."""
    plan = recipe.plan
    rates = shares(plan.schedule, recipe.steps, warmup=plan.warmup, final_fraction=plan.final_fraction)
    return np.split(rates.astype(np.float32), np.cumsum(chunks(recipe.steps))[:-1])


def trials_of(members: Sequence[Member], ran: Ran, seconds: float) -> list[Trial]:
    """The results of a group's members, in their order."""
    recipe = members[0][1]
    data = recipe.loaded()
    metrics = ran.metrics or [{} for _ in members]
    return [
        Trial(
            spec=spec,
            parameters=recipe.structure.parameters,
            embedding_parameters=recipe.structure.embedding_parameters,
            tokens=float(recipe.examples * data.tokens_per_example),
            compute=recipe.structure.flops(recipe.examples),
            compute_rule=COMPUTE_RULE,
            curve=curve(ran.losses[:, place]),
            initial_loss=ran.starts[place].loss,
            seconds=seconds / len(members),
            metrics=metrics[place],
            **judge(ran.losses[:, place], ran.starts[place], ran.ends[place], data.chance_loss),
        )
        for place, (spec, _) in enumerate(members)
    ]


def _run_group(members: list[Member], size: int, asked: Asked) -> list[Trial]:
    began = time.perf_counter()
    keep = Checkpoint(asked.checkpoints, [spec.id for spec, _ in members])
    ran = train_group([recipe for _, recipe in members], size, keep, asked.witnesses)
    made = trials_of(members, ran, time.perf_counter() - began)
    keep.drop()
    return made


def train_group(recipes: list[Recipe], size: int, keep: Checkpoint, witnesses: bool = False) -> Ran:
    """Train recipes of one company in one call of `size` places; empty places hold copies of the last."""
    recipe, data = recipes[0], recipes[0].loaded()
    filled = [*recipes, *[recipes[-1]] * (size - len(recipes))]
    rates, grouped = places(filled), size > 1
    first = {} if recipe.init_from is None else weights.of(recipe.init_from)
    parameters, fixed = starts(recipe, [float(scale) for scale in rates["init_scale"]], grouped, first)
    if not grouped:
        rates = {name: values[0] for name, values in rates.items()}
    own = program(recipe, grouped)
    parts = test_parts(data)
    start = mean_probe([probes(own.probe({**fixed, **parameters}, *part)) for part in parts])
    carry: Any = (jnp.zeros((), jnp.float32), parameters, start_state(recipe, parameters, size if grouped else None))
    leaves, form = jax.tree.flatten(carry)
    losses: list[NDArray[Any]] = []
    tried: list[list[Probe]] = []
    passed = 0
    if (reached := keep.load()) is not None and len(reached[1]) == len(leaves):
        passed, carry = reached[0], jax.tree.unflatten(form, [jnp.asarray(leaf) for leaf in reached[1]])
        losses, tried = [reached[2]], [[Probe(*values) for values in look.tolist()] for look in reached[3]]
    lengths = chunks(recipe.steps)
    moments, shares_of, witness = tries(len(lengths), recipe.plan.settles), factors_of(recipe), Witness(recipe, grouped)
    given = (rates, np.uint32(recipe.seed % 2**32), fixed)
    for count, (x, y) in enumerate(data.batches(recipe.seed, recipe.batch_size, lengths), start=1):
        if count <= passed:
            continue
        if witnesses and witness.looks(count, len(lengths)):
            witness.look(given, carry, x[0], y[0], shares_of[count - 1][0])
        carry, chunk = own.run(given, carry, x, y, shares_of[count - 1])
        losses.append(np.asarray(chunk).reshape(len(chunk), size))
        if not np.isfinite(losses[-1][-1]).any():
            break
        tried += [probes(own.probe({**fixed, **carry[1]}, *parts[part])) for part in moments.get(count, ())]
        keep.save(count, jax.tree.leaves(carry), np.concatenate(losses), [[(p.loss, p.spread) for p in look] for look in tried])
    ends = mean_probe(tried) if tried else [LOST] * size
    return Ran(np.concatenate(losses), start, ends, {**fixed, **carry[1]}, witness.metrics(carry[2], size, recipe.steps))


def probes(result: tuple[jax.Array, jax.Array]) -> list[Probe]:
    """One probe for each network of a call."""
    losses, spreads = (np.atleast_1d(np.asarray(part)).ravel().tolist() for part in result)
    return [Probe(loss, spread) for loss, spread in zip(losses, spreads, strict=True)]


def mean_probe(tried: list[list[Probe]]) -> list[Probe]:
    """Per network: the mean loss of its probes, and the last one's spread."""
    return [Probe(float(np.mean([probe.loss for probe in one])), one[-1].spread) for one in zip(*tried, strict=True)]
