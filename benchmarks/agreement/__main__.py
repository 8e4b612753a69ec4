"""Does the built-in trainer train what it says? The same specs in PyTorch, and gradients against finite differences.

    .venv-bench/bin/python -m benchmarks.agreement [--seeds 5]

Ends: every network is trained by `scalelaw.train` and by PyTorch (torch.nn, torch.optim.AdamW; written apart, from PyTorch's own
parts), from the same weights, on the same batches; the loss is that of all held-out data after the last step. Gradients: of both
in float64, and by central differences.
"""

from __future__ import annotations

import argparse
import math
import statistics
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import torch

from scalelaw.train import train_batch
from scalelaw.train.loop import chunks
from scalelaw.train.recipe import Recipe
from scalelaw.trial import TrialSpec, Value

from .peers import Decoder, Perceptron, loss, trained

SETTINGS = {"learning_rate": 3e-3, "weight_decay": 0.1, "beta1": 0.9, "beta2": 0.99, "schedule": "cosine", "warmup": 0.1}
LANGUAGE = {"vocabulary": 64, "context": 32}
EARLY = 10
EXAMPLES = 4
STEP = 3e-4


@dataclass(frozen=True)
class Case:
    """One network on one task."""

    label: str
    task: str
    model: str
    scale: Mapping[str, Value]
    batch_size: int
    settings: Mapping[str, Value] = field(default_factory=dict[str, Value])
    options: Mapping[str, Value] = field(default_factory=dict[str, Value])

    def spec(self, seed: int) -> TrialSpec:
        """What is asked of the trainer."""
        hyper = {**SETTINGS, "batch_size": self.batch_size, **self.settings}
        return TrialSpec(self.task, self.scale, hyper, seed, self.model, self.options)

    def peer(self, given: Mapping[str, Any]) -> Any:
        """The network in PyTorch, with the given weights."""
        if self.model == "mlp":
            return Perceptron(given)
        return Decoder(given, int(self.scale["depth"]), int(self.scale["heads"]))


CASES = (
    Case("MLP", "teacher_student", "mlp", {"width": 32, "depth": 3, "steps": 300}, 128),
    Case("transformer", "zipf_markov", "transformer", {"width": 32, "depth": 2, "heads": 2, "steps": 200}, 16, {}, LANGUAGE),
    Case(
        "transformer, tied, QK-norm, clipped at 0.5",
        "zipf_markov",
        "transformer",
        {"width": 32, "depth": 2, "heads": 2, "steps": 200},
        16,
        {"embeddings": "tied", "qk_norm": "on", "gradient_clip": 0.5},
        LANGUAGE,
    ),
)


def peer_ends(case: Case, seed: int) -> tuple[float, list[float]]:
    """PyTorch's loss on the held-out data after the last step, and the training losses."""
    spec = case.spec(seed)
    recipe = Recipe.of(spec)
    data, model = recipe.loaded(), case.peer(recipe.structure.initial(seed))
    settings = {"gradient_clip": math.inf} | {
        key: value for key, value in spec.hyperparameters.items() if not isinstance(value, str)
    }
    laid = data.batches(seed, recipe.batch_size, chunks(recipe.steps))
    losses = trained(model, (batch for x, y in laid for batch in zip(x, y, strict=True)), recipe.steps, settings)
    with torch.no_grad():
        return loss(model(torch.from_numpy(data.test_inputs)), torch.from_numpy(data.test_targets)).item(), losses


def ends(case: Case, seeds: int) -> list[str]:
    """The rows of a case: per seed, then over seeds."""
    ours = train_batch([case.spec(seed) for seed in range(seeds)])
    rows: list[str] = []
    differences: list[float] = []
    early = 0.0
    for seed, trial in enumerate(ours):
        theirs, losses = peer_ends(case, seed)
        assert trial.loss is not None
        assert trial.curve is not None
        differences.append(trial.loss - theirs)
        rows.append(f"| {case.label} | {seed} | {trial.loss:.6f} | {theirs:.6f} | {differences[-1]:+.1e} |")
        first = zip(trial.curve.losses, losses[:EARLY], strict=False)
        early = max(early, *(abs(one / other - 1) for one, other in first))
    spread = statistics.stdev(float(trial.loss or math.nan) for trial in ours)
    worst = max(map(abs, differences))
    told = f"largest {worst:.1e}, {worst / spread:.0e} of the sd; in the first {EARLY} steps {early:.0e}"
    rows.append(f"| {case.label} | all | sd {spread:.4f} | | {told} |")
    return rows


def gradients(case: Case) -> str:
    """One row: our gradients in float64 against central differences of fourth order, and against PyTorch's.

    Against differences along a random direction of each tensor, against PyTorch entry by entry; the figures are the largest over
    the tensors, relative to the slope and to the tensor's largest entry. Tensors are moved off their start: none is 0.
    """
    recipe, generator = Recipe.of(case.spec(0)), np.random.default_rng(0)
    data, family, net = recipe.loaded(), recipe.family, recipe.net
    drawn = recipe.structure.initial(0)
    start = {
        name: each * generator.uniform(0.5, 1.5, each.shape) + 0.02 * generator.standard_normal(each.shape)
        for name, each in drawn.items()
    }
    x, y = data.test_inputs[:EXAMPLES], data.test_targets[:EXAMPLES]
    if not recipe.ends.tokens:
        x, y = x.astype(np.float64), y.astype(np.float64)
        # Rounded probabilities do not quite add up to 1, and the two losses differ by how far they do not.
        y /= y.sum(axis=-1, keepdims=True)

    @jax.jit
    def value(parameters: Any) -> Any:
        outputs = family.outputs(parameters, x, net)
        picked = (
            jnp.take_along_axis(outputs, jnp.asarray(y)[..., None], -1)[..., 0] if recipe.ends.tokens else (outputs * y).sum(-1)
        )
        return (jax.nn.logsumexp(outputs, -1) - picked).mean()

    ours = {name: np.asarray(each) for name, each in jax.jit(jax.grad(value))(start).items()}
    peer = case.peer(start)
    loss(peer(torch.from_numpy(x)), torch.from_numpy(y)).backward()
    against_peer = max(np.abs(ours[name] - each).max() / np.abs(each).max() for name, each in peer.gradients().items())
    against_steps = 0.0
    for name, tensor in start.items():
        way = generator.standard_normal(tensor.shape) * np.sqrt(np.square(tensor).mean())
        ahead = [float(value({**start, name: tensor + k * STEP * way})) for k in (-2, -1, 1, 2)]
        slope = (ahead[0] - 8 * ahead[1] + 8 * ahead[2] - ahead[3]) / (12 * STEP)
        against_steps = max(against_steps, abs((ours[name] * way).sum() / slope - 1))
    return f"| {case.label} | {len(peer.gradients())} of {len(start)} | {against_steps:.1e} | {against_peer:.1e} |"


def main() -> None:
    """Print both tables, as Markdown."""
    parser = argparse.ArgumentParser(description="The built-in trainer against PyTorch.")
    parser.add_argument("--seeds", type=int, default=5)
    options = parser.parse_args()
    torch.set_num_threads(1)
    print(f"JAX {jax.__version__}, PyTorch {torch.__version__}\n")
    print("| network | seed | ours | PyTorch | difference |\n|---|---|---|---|---|")
    for case in CASES:
        print("\n".join(ends(case, options.seeds)), flush=True)
    jax.config.update("jax_enable_x64", True)
    torch.set_default_dtype(torch.float64)
    print("\n| network | tensors | against finite differences | against PyTorch |\n|---|---|---|---|")
    for case in CASES:
        print(gradients(case), flush=True)


if __name__ == "__main__":
    main()
