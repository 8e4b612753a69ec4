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
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
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
from .checkpoint import SECONDS, Checkpoint, Reached
from .count import COMPUTE_RULE
from .outcome import Probe, curve, judge
from .program import program, start_state, starts
from .recipe import Recipe
from .witness import Witness

__all__ = ["Asked", "Call", "Member", "Ran", "chunks", "companies", "follow", "run_all", "stream"]

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
        seconds: least time between two checkpoints of a run.
    """

    witnesses: bool = False
    checkpoints: Path | None = None
    seconds: float = SECONDS

    def checkpoint(self, members: Sequence[Member]) -> Checkpoint:
        """The file of a group's checkpoints."""
        return Checkpoint(self.checkpoints, [spec.id for spec, _ in members], self.seconds)


@dataclass(frozen=True)
class Call:
    """A compiled call, ready to train the networks it holds.

    Args:
        run, probe: of `Program`, those that fit `axes`.
        given, carry: what they are handed first.
        batches: (inputs, targets) chunk by chunk.
        axes: how arrays count networks, as `Witness` is told.
        size: number of networks.
    """

    run: Any
    probe: Any
    given: Any
    carry: Any
    batches: Iterable[tuple[Any, Any]]
    axes: int
    size: int

    def losses(self, chunk: Any) -> NDArray[np.float32]:
        """A chunk's losses as (steps, networks)."""
        values = np.asarray(chunk)
        return (values.swapaxes(0, 1) if self.axes == 2 else values).reshape(-1, self.size)


@dataclass(frozen=True)
class Ran:
    """What training a group gave: losses (steps, networks), the probes before and after, the tensors at the end, metrics."""

    losses: NDArray[np.float32]
    starts: list[Probe]
    ends: list[Probe]
    parameters: Mapping[str, Any]
    metrics: list[dict[str, float]]

    def of(self, chosen: Sequence[int]) -> Ran:
        """Of some of the networks; the tensors stay those of all."""
        starts, ends = ([each[place] for place in chosen] for each in (self.starts, self.ends))
        return Ran(self.losses[:, list(chosen)], starts, ends, self.parameters, [self.metrics[place] for place in chosen])


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
            metrics=ran.metrics[place],
            **judge(ran.losses[:, place], ran.starts[place], ran.ends[place], data.chance_loss),
        )
        for place, (spec, _) in enumerate(members)
    ]


def _run_group(members: list[Member], size: int, asked: Asked) -> list[Trial]:
    began = time.perf_counter()
    keep = asked.checkpoint(members)
    ran = train_group([recipe for _, recipe in members], size, keep, asked.witnesses)
    made = trials_of(members, ran, time.perf_counter() - began)
    keep.drop()
    return made


def train_group(recipes: list[Recipe], size: int, keep: Checkpoint, witnesses: bool = False) -> Ran:
    """Train recipes of one company in one call of `size` places; empty places hold copies of the last."""
    recipe = recipes[0]
    filled, grouped = [*recipes, *[recipes[-1]] * (size - len(recipes))], size > 1
    rates = places(filled)
    first = {} if recipe.init_from is None else weights.of(recipe.init_from)
    parameters, fixed = starts(recipe, [float(scale) for scale in rates["init_scale"]], grouped, first)
    if not grouped:
        rates = {name: values[0] for name, values in rates.items()}
    own = program(recipe, grouped)
    given = (rates, np.uint32(recipe.seed % 2**32), fixed)
    carry = (jnp.zeros((), jnp.float32), parameters, start_state(recipe, parameters, size if grouped else None))
    batches = recipe.loaded().batches(recipe.seed, recipe.batch_size, chunks(recipe.steps))
    return follow(recipe, Call(own.run, own.probe, given, carry, batches, int(grouped), size), keep, witnesses)


def follow(recipe: Recipe, call: Call, keep: Checkpoint, witnesses: bool) -> Ran:
    """Train the networks of a call to their end, from their checkpoint where there is one."""
    parts, lengths = test_parts(recipe.loaded()), chunks(recipe.steps)
    moments, shares_of, witness = tries(len(lengths), recipe.plan.settles), factors_of(recipe), Witness(recipe, call.axes)
    fixed, carry = call.given[2], call.carry

    def probed(which: Iterable[int]) -> list[list[Probe]]:
        return [probes(call.probe({**fixed, **carry[1]}, *parts[part])) for part in which]

    start = mean_probe(probed(range(len(parts))))
    losses: list[NDArray[np.float32]] = []
    tried: list[list[Probe]] = []
    passed, (leaves, form) = 0, jax.tree.flatten(carry)
    if (reached := keep.load(leaves)) is not None:
        passed, carry = reached.chunks, jax.tree.unflatten(form, [jnp.asarray(leaf) for leaf in reached.leaves])
        losses, tried = [reached.losses], [[Probe(*values) for values in look.tolist()] for look in reached.tried]
        witness.resume(reached.seen)
    running: Any = None  # the losses of the chunk being computed: they are read when the next one is on its way
    for count, (x, y) in enumerate(call.batches, start=1):
        if count <= passed:
            continue
        if witnesses and witness.looks(count, len(lengths)):
            witness.look(call.given, carry, x, y, shares_of[count - 1][0])
        carry, chunk = call.run(call.given, carry, x, y, shares_of[count - 1])
        if running is not None:
            losses.append(call.losses(running))
        running = chunk
        if losses and not np.isfinite(losses[-1][-1]).any():
            break
        tried += probed(moments.get(count, ()))
        if keep.due:
            losses, running = [*losses, call.losses(running)], None
            looks = np.array([[(each.loss, each.spread) for each in look] for look in tried])
            keep.save(Reached(count, jax.tree.leaves(carry), np.concatenate(losses), looks, witness.seen))
    all_losses = np.concatenate([*losses, *([] if running is None else [call.losses(running)])])
    ends = mean_probe(tried) if tried else [LOST] * call.size
    metrics = witness.metrics(carry[2], all_losses, recipe.steps)
    return Ran(all_losses, start, ends, {**fixed, **carry[1]}, metrics)


def probes(result: tuple[jax.Array, jax.Array]) -> list[Probe]:
    """One probe for each network of a call."""
    losses, spreads = (np.atleast_1d(np.asarray(part)).ravel().tolist() for part in result)
    return [Probe(loss, spread) for loss, spread in zip(losses, spreads, strict=True)]


def mean_probe(tried: list[list[Probe]]) -> list[Probe]:
    """Per network: the mean loss of its probes, and the last one's spread."""
    return [Probe(float(np.mean([probe.loss for probe in one])), one[-1].spread) for one in zip(*tried, strict=True)]
