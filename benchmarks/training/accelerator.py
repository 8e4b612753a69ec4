"""What is measured on an accelerator: each contestant prepares itself at a width and gives its work per second.

    python -m benchmarks.training.accelerator NAME PRECISION DEVICE SECONDS ROUNDS NETWORKS SIZE...

prints a JSON object for each size: the rates of its windows, and how many networks shared a call.
"""

from __future__ import annotations

import contextlib
import gc
import itertools
import json
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from scalelaw.trial import TrialSpec

from .contestants import BATCH, CLASSES, DEPTH, PIXELS

STEPS = 50


@dataclass(frozen=True)
class Ready:
    """A contestant, warm: one call of `once` does `work` (model-steps, or FLOPs) and has ended when it returns."""

    once: Callable[[], object]
    work: float
    networks: int = 1

    def rate(self, seconds: float) -> float:
        """Work per second over a window of about `seconds`."""
        began = time.perf_counter()
        for count in itertools.count(1):
            self.once()
            if (elapsed := time.perf_counter() - began) > seconds:
                return count * self.work / elapsed
        raise AssertionError


def spec(width: int, precision: str, rate: float = 1e-3, seed: int = 0) -> TrialSpec:
    """What every contestant trains."""
    hyperparameters = {"learning_rate": rate, "batch_size": BATCH, "precision": precision}
    return TrialSpec("fashion_mnist", {"width": width, "depth": DEPTH, "steps": 64 * STEPS}, hyperparameters, seed)


def population(width: int, precision: str, _device: str, networks: int) -> Ready:
    """The built-in trainer's own call: 12 rates x 3 seeds side by side, or as many as fit."""
    from scalelaw.train import population as layout
    from scalelaw.train.loop import Call
    from scalelaw.train.recipe import Recipe

    rates = max(1, networks // 3)
    members = [
        (one, Recipe.of(one))
        for seed in range(max(1, networks // rates))
        for one in (spec(width, precision, 1e-3 * 1.1**place, seed) for place in range(rates))
    ]
    block = layout.blocks(members, layout._fitting(members[0][1]))[0]
    calls: list[Call] = []

    def caught(_recipe: Any, call: Call, *_: Any) -> Any:
        calls.append(call)
        raise _CaughtError

    follow, layout.follow = layout.follow, caught
    try:
        with contextlib.suppress(_CaughtError):
            layout.train_population(
                [[recipe for _, recipe in same] for same in layout._by_seed(block)], layout.Checkpoint(None, ())
            )
    finally:
        layout.follow = follow
    return _scanned(calls.pop(), len(block))


class _CaughtError(Exception):
    """The call is at hand before it is run."""


def single(width: int, precision: str, _device: str, _networks: int) -> Ready:
    """The built-in trainer with one network in a call, on data that lie on the device as the population's do."""
    return replace(population(width, precision, _device, 1), networks=1)


def _scanned(call: Any, networks: int) -> Ready:
    import numpy as np

    carry, batches, shares = call.carry, iter(call.batches), np.ones(STEPS, dtype=np.float32)
    kept: list[Any] = []

    def once() -> None:
        nonlocal carry
        # The trainer's own batches; when a run's are used up, its last ones again.
        with contextlib.suppress(StopIteration):
            kept[:] = [next(batches)]
        carry, losses = call.run(call.given, carry, *kept[0], shares)
        losses.block_until_ready()

    once()
    once()
    return Ready(once, float(networks * STEPS), networks)


def torch_eager(width: int, precision: str, device: str, _networks: int) -> Ready:
    """Plain PyTorch: one model, one step at a time."""
    step, wait = _torch_step(width, precision, device, graph=False)
    return _stepped(step, wait)


def torch_graph(width: int, precision: str, device: str, _networks: int) -> Ready:
    """PyTorch with the whole step, fused Adam included, in one CUDA graph. Where there are no graphs, the same step without."""
    step, wait = _torch_step(width, precision, device, graph=True)
    return _stepped(step, wait)


def _stepped(step: Callable[[], object], wait: Callable[[], object]) -> Ready:
    def once() -> None:
        for _ in range(STEPS):
            step()
        wait()

    once()
    return Ready(once, float(STEPS))


def _torch_step(width: int, precision: str, device: str, graph: bool) -> tuple[Callable[[], object], Callable[[], object]]:
    import torch

    from scalelaw.tasks import tasks

    place = {"gpu": "cuda", "cpu": "cpu"}[device]
    # What the trainer calls tfloat32 is PyTorch's "high"; "highest" is float32 itself.
    torch.set_float32_matmul_precision("high" if precision == "tfloat32" else "highest")
    data = tasks["fashion_mnist"].data()
    inputs = torch.from_numpy(data.inputs).to(place)
    labels = torch.from_numpy(data.targets.argmax(axis=1)).to(place)
    sizes = [PIXELS, *[width] * DEPTH, CLASSES]
    layers: list[torch.nn.Module] = []
    for fan_in, fan_out in itertools.pairwise(sizes):
        layers += [torch.nn.Linear(fan_in, fan_out), torch.nn.ReLU()]
    model = torch.nn.Sequential(*layers[:-1]).to(place)
    captured = graph and place == "cuda"
    optimiser = torch.optim.Adam(model.parameters(), lr=1e-3, capturable=captured, fused=graph or None)
    rows = torch.zeros(BATCH, dtype=torch.int64, device=place)
    order = itertools.chain.from_iterable(
        torch.randperm(len(inputs), device=place)[: len(inputs) // BATCH * BATCH].split(BATCH) for _ in itertools.count()
    )

    def learn() -> None:
        with torch.autocast(place, dtype=torch.bfloat16, enabled=precision == "bfloat16", cache_enabled=not captured):
            loss = torch.nn.functional.cross_entropy(model(inputs[rows]), labels[rows])
        loss.backward()
        optimiser.step()
        optimiser.zero_grad(set_to_none=not captured)

    wait = torch.cuda.synchronize if place == "cuda" else _nothing
    if captured:
        aside = torch.cuda.Stream()
        aside.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(aside):
            for _ in range(3):
                learn()
        torch.cuda.current_stream().wait_stream(aside)
        whole = torch.cuda.CUDAGraph()
        with torch.cuda.graph(whole):
            learn()

    def step() -> None:
        rows.copy_(next(order))
        if captured:
            whole.replay()
        else:
            learn()

    return step, wait


def _nothing() -> None:
    pass


def matmul_jax(size: int, precision: str, _device: str, _networks: int) -> Ready:
    """FLOPs of a square product in JAX, at the trainer's precision."""
    import jax
    import jax.numpy as jnp

    from scalelaw.train.program import PRODUCTS

    left = jnp.ones((size, size), jnp.float32 if precision in PRODUCTS else precision)
    with jax.default_matmul_precision(PRODUCTS.get(precision, "default")):
        product = jax.jit(jnp.matmul).lower(left, left).compile()

    def once() -> None:
        found = left
        for _ in range(10):
            found = product(left, left)
        found.block_until_ready()

    once()
    return Ready(once, 20.0 * size**3)


def matmul_torch(size: int, precision: str, device: str, _networks: int) -> Ready:
    """FLOPs of a square product in PyTorch."""
    import torch

    place = {"gpu": "cuda", "cpu": "cpu"}[device]
    torch.set_float32_matmul_precision("high" if precision == "tfloat32" else "highest")
    left = torch.ones(size, size, device=place, dtype=torch.bfloat16 if precision == "bfloat16" else torch.float32)
    out = torch.empty_like(left)

    def once() -> None:
        for _ in range(10):
            torch.mm(left, left, out=out)
        if place == "cuda":
            torch.cuda.synchronize()

    once()
    return Ready(once, 20.0 * size**3)


CONTESTANTS: dict[str, Callable[[int, str, str, int], Ready]] = {
    made.__name__: made for made in (population, single, torch_eager, torch_graph, matmul_jax, matmul_torch)
}


def main() -> None:
    """Measure one contestant at one precision, size after size; a size that cannot be had is told and left out."""
    name, precision, device, seconds, rounds, networks, *sizes = sys.argv[1:]
    for size in map(int, sizes):
        try:
            ready = CONTESTANTS[name](size, precision, device, int(networks))
            rates = [ready.rate(float(seconds)) for _ in range(int(rounds))]
            print(json.dumps({"size": size, "rates": rates, "networks": ready.networks}), flush=True)
            del ready
        except Exception as error:  # out of memory above all: the others are measured all the same
            print(json.dumps({"size": size, "error": " ".join(f"{type(error).__name__}: {error}".split())[:200]}), flush=True)
        gc.collect()
        if "torch" in sys.modules and device == "gpu":
            sys.modules["torch"].cuda.empty_cache()
    sys.stdout.flush()


if __name__ == "__main__":
    main()
