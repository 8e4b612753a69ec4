"""What is measured: each contestant prepares itself once and then answers every call with work done per second."""

from __future__ import annotations

import itertools
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from scalelaw.trial import TrialSpec

BATCH = 128
PIXELS, CLASSES = 784, 10
DEPTH = 3

Window = Callable[[float], float]


def scalelaw(width: int) -> Window:
    """Model-steps per second of the built-in trainer: its compiled step and its own data, groups as it chooses them."""
    import jax.numpy as jnp
    import numpy as np

    from scalelaw.train.loop import places
    from scalelaw.train.program import program, start_state, starts
    from scalelaw.train.recipe import Recipe

    recipe = Recipe.of(spec(width))
    data, group = recipe.loaded(), recipe.family.group(dict(recipe.sizes))
    grouped = group > 1
    rates = places([recipe] * group)
    if not grouped:
        rates = {name: value[0] for name, value in rates.items()}
    parameters, fixed = starts(recipe, [1.0] * group, grouped, {})
    run, given = program(recipe, grouped).run, (rates, np.uint32(0), fixed)
    carry = (jnp.zeros((), jnp.float32), parameters, start_state(recipe, parameters, group if grouped else None))
    batches = data.batches(0, BATCH, [50] * 10**6)
    constant = np.ones(50, dtype=np.float32)

    def window(seconds: float) -> float:
        nonlocal carry
        began = time.perf_counter()
        for count in itertools.count(1):
            carry, losses = run(given, carry, *next(batches), constant)
            losses.block_until_ready()
            elapsed = time.perf_counter() - began
            if elapsed > seconds:
                return count * 50 * group / elapsed
        raise AssertionError

    window(0)
    return window


def spec(width: int) -> TrialSpec:
    """What every contestant trains."""
    scale = {"width": width, "depth": DEPTH, "steps": 50}
    return TrialSpec("fashion_mnist", scale, {"learning_rate": 1e-3, "batch_size": BATCH})


def torch_eager(width: int, fused: bool = False) -> Window:
    """Model-steps per second of plain PyTorch: one model, one step at a time."""
    import torch

    from scalelaw.tasks import tasks

    data = tasks["fashion_mnist"].data()
    inputs, labels = torch.from_numpy(data.inputs), torch.from_numpy(data.targets.argmax(axis=1))
    torch.manual_seed(0)
    sizes = [PIXELS, *[width] * DEPTH, CLASSES]
    layers: list[torch.nn.Module] = []
    for fan_in, fan_out in itertools.pairwise(sizes):
        layers += [torch.nn.Linear(fan_in, fan_out), torch.nn.ReLU()]
    model = torch.nn.Sequential(*layers[:-1])
    optimiser = torch.optim.Adam(model.parameters(), lr=1e-3, fused=fused)
    order, place = torch.randperm(len(inputs)), 0

    def step() -> None:
        nonlocal order, place
        if place + BATCH > len(order):
            order, place = torch.randperm(len(inputs)), 0
        rows = order[place : place + BATCH]
        place += BATCH
        optimiser.zero_grad(set_to_none=True)
        torch.nn.functional.cross_entropy(model(inputs[rows]), labels[rows]).backward()
        optimiser.step()

    return _repeated(step, warm=20)


def torch_fused(width: int) -> Window:
    """The same with PyTorch's fused Adam."""
    return torch_eager(width, fused=True)


def matmul_jax(size: int) -> Window:
    """FLOP per second of a square float32 product in JAX."""
    import jax
    import jax.numpy as jnp

    left = jnp.ones((size, size), jnp.float32)
    product = jax.jit(jnp.matmul)
    return _flops(size, lambda: product(left, left).block_until_ready())


def matmul_numpy(size: int) -> Window:
    """The same in NumPy (OpenBLAS)."""
    import numpy as np

    left = np.ones((size, size), np.float32)
    out = np.empty_like(left)
    return _flops(size, lambda: np.matmul(left, left, out=out))


def matmul_torch(size: int) -> Window:
    """The same in PyTorch's default library (MKL)."""
    import torch

    left = torch.ones(size, size)
    out = torch.empty(size, size)
    return _flops(size, lambda: torch.mm(left, left, out=out))


def matmul_onednn(size: int) -> Window:
    """The same through oneDNN, which PyTorch carries but does not use for plain products of this kind."""
    import torch

    left = torch.ones(size, size)
    linear = torch.ops.mkldnn._linear_pointwise
    return _flops(size, lambda: linear(left, left, None, "none", [], ""))


def fma(_: int) -> Window:
    """FLOP per second of fused multiply-adds on registers alone, on one core: the limit no program passes."""
    compiler = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
    if compiler is None:
        raise SystemExit("no C compiler")
    program = Path(tempfile.mkdtemp()) / "fma"
    source = Path(__file__).with_name("fma.c")
    subprocess.run([compiler, "-O3", "-march=native", "-ffp-contract=fast", "-o", program, source], check=True)
    return lambda seconds: float(subprocess.run([program, str(seconds)], check=True, capture_output=True, text=True).stdout)


def _flops(size: int, product: Callable[[], object]) -> Window:
    once = _repeated(product, warm=2)
    return lambda seconds: once(seconds) * 2 * size**3


def _repeated(step: Callable[[], object], warm: int) -> Window:
    for _ in range(warm):
        step()

    def window(seconds: float) -> float:
        began = time.perf_counter()
        for count in itertools.count(1):
            step()
            elapsed = time.perf_counter() - began
            if elapsed > seconds:
                return count / elapsed
        raise AssertionError

    return window


CONTESTANTS: dict[str, Callable[[int], Window]] = {
    made.__name__: made
    for made in (scalelaw, torch_eager, torch_fused, matmul_jax, matmul_numpy, matmul_torch, matmul_onednn, fma)
}


def main() -> None:
    """`contestants NAME SIZE`: say `ready`, then answer each number of seconds on standard input with work per second."""
    window = CONTESTANTS[sys.argv[1]](int(sys.argv[2]))
    print("ready", flush=True)
    for line in sys.stdin:
        print(window(float(line)), flush=True)
    os._exit(0)


if __name__ == "__main__":
    main()
