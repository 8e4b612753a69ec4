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

from ..errors import SpecError
from ..tasks import TaskData
from ..trial import Trial, TrialSpec
from . import weights
from .checkpoint import Checkpoint
from .loop import Asked, Call, Member, Ran, chunks, companies, follow, places, trials_of
from .models import Kind, Structure
from .optimisers import optimisers
from .program import program, start_state, starts
from .recipe import Recipe

__all__ = ["blocks", "network_bytes", "stream_population", "train_population"]

# Share of the device's memory that a call may be planned to fill: the compiler's own buffers take the rest.
FILLED = 0.7
# Networks in a call where the device does not tell its memory.
UNTOLD = 10_000


def stream_population(specs: Sequence[TrialSpec], asked: Asked, limit: int | None = None) -> Iterator[Trial]:
    """The results, block by block.

    A call that runs out of memory is cut in half and tried again, down to one network; what follows is cut as small.

    Args:
        limit: most networks in a call; None asks the device's memory.

    Raises:
        SpecError: a spec that cannot be trained, or one network that does not fit.
    """
    for company in companies(specs, lambda recipe: (*recipe.program, recipe.init_from)):
        waiting = blocks(company, limit or _fitting(company[0][1]))
        while waiting:
            block = waiting.pop(0)
            try:
                made = _run_block(block, asked)
            except jax.errors.JaxRuntimeError as error:
                if "RESOURCE_EXHAUSTED" not in str(error):
                    raise
                if len(block) == 1:
                    raise _too_large(block[0][1]) from error
                rest = [member for later in waiting for member in later]
                waiting = blocks([*block, *rest], math.ceil(len(block) / 2))
                continue
            yield from made


def blocks(members: Sequence[Member], most: int) -> list[list[Member]]:
    """Cut the members of one program into calls of at most `most` networks: whole seeds where they fit, else parts of a seed."""
    cut: list[list[Member]] = []
    for same in _by_seed(members):
        for first in range(0, len(same), most):
            part = same[first : first + most]
            # Places are a grid of seeds x the longest seed: a shorter one is filled up with copies, which also take memory.
            rows = _by_seed(cut[-1]) if cut else []
            fresh = bool(rows) and part[0][1].seed not in {row[0][1].seed for row in rows}
            if fresh and (len(rows) + 1) * max(len(part), *map(len, rows)) <= most:
                cut[-1].extend(part)
            else:
                cut.append(list(part))
    return cut


def network_bytes(structure: Structure, slots: int, batch: int) -> float:
    """Memory of one network in training, float32: what it is, and what a step writes on the way.

        4 P (3 + slots) + 12 B sum_products flops / (2 fan_in)

    P entries of all tensors, each with its gradient, its successor and the optimiser's slots; B examples, of each product's
    output the values, what the activation makes of them and their gradient. A product that belongs to no tensor (attention's)
    counts as one over the least of the tensors' fan_ins, at most 64.
    """
    entries = sum(tensor.size for tensor in structure.tensors)
    # An embedding (rows, width) is multiplied along its width.
    fans = {each.name: each.shape[-1 if each.kind is Kind.EMBEDDING else 0] for each in structure.tensors if len(each.shape) == 2}
    least = min([*fans.values(), 64])
    outputs = sum(product.flops / (2 * fans.get(product.name, least)) for product in structure.products)
    return 4.0 * entries * (3 + slots) + 12.0 * batch * outputs


def _by_seed(members: Sequence[Member]) -> list[list[Member]]:
    """Members of one seed together, seeds and members in their order."""
    seeds: dict[int, list[Member]] = {}
    for member in members:
        seeds.setdefault(member[1].seed, []).append(member)
    return list(seeds.values())


def _fitting(recipe: Recipe) -> int:
    """Networks that the device's memory holds, beside the data; all there are where it does not tell its memory."""
    stats = jax.devices()[0].memory_stats() or {}
    if "bytes_limit" not in stats:
        return UNTOLD
    room = stats["bytes_limit"] * FILLED - stats.get("bytes_in_use", 0) - recipe.loaded().inputs.nbytes
    return max(1, int(room / network_bytes(recipe.structure, optimisers[recipe.optimiser].slots, recipe.batch_size)))


def _too_large(recipe: Recipe) -> SpecError:
    need = network_bytes(recipe.structure, optimisers[recipe.optimiser].slots, recipe.batch_size)
    return SpecError(
        f"one network does not fit the device's memory (about {need / 1e9:.2g} GB)",
        f"batch_size {recipe.batch_size}",
        "Take a smaller batch or network",
    )


def _run_block(members: list[Member], asked: Asked) -> list[Trial]:
    began = time.perf_counter()
    keep, seeds = asked.checkpoint(members), _by_seed(members)
    ran = train_population([[recipe for _, recipe in same] for same in seeds], keep, asked.witnesses)
    made = trials_of([member for same in seeds for member in same], ran, time.perf_counter() - began)
    keep.drop()
    return made


def train_population(seeds: list[list[Recipe]], keep: Checkpoint, witnesses: bool = False) -> Ran:
    """Train recipes of one program, those of one seed together; the shorter seeds are filled up with copies of their last."""
    recipe, size = seeds[0][0], max(map(len, seeds))
    filled = [[*same, *[same[-1]] * (size - len(same))] for same in seeds]
    first = {} if recipe.init_from is None else weights.of(recipe.init_from)
    made = [starts(same[0], [dict(one.rates)["init_scale"] for one in same], grouped=True, first=first) for same in filled]
    parameters, fixed = (_stacked(trees) for trees in zip(*made, strict=True))
    numbers = np.array([same[0].seed % 2**32 for same in seeds], dtype=np.uint32)
    # On the device once: what a call is handed from outside is copied there every time.
    given = jax.device_put((_stacked([places(same) for same in filled]), numbers, fixed))
    parameters = jax.device_put(parameters)
    state = jax.vmap(lambda own: start_state(recipe, own, size))(parameters)
    own = program(recipe, grouped=True)
    call = Call(
        own.run_seeds,
        own.probe_seeds,
        given,
        (jnp.zeros(len(seeds), jnp.float32), parameters, state),
        _batches(recipe.loaded(), recipe, [same[0].seed for same in seeds], chunks(recipe.steps)),
        axes=2,
        size=len(seeds) * size,
    )
    real = [row * size + place for row, same in enumerate(seeds) for place in range(len(same))]
    return follow(recipe, call, keep, witnesses).of(real)


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
