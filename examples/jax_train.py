"""A JAX training loop that scalelaw tunes: `scalelaw run jax.toml`, then `scalelaw optimum study.db`.

Replace `batch`, `network` and the update by yours; what matters to scalelaw are the lines with `spec` and `report`.
"""

from itertools import pairwise

import jax
import jax.numpy as jnp
import numpy as np

INPUTS, DEPTH = 16, 2


def batch(random, size):
    """A teacher network with fixed weights on random inputs."""
    teacher = np.random.default_rng(0)
    first, second = teacher.normal(size=(INPUTS, 32)) / 4, teacher.normal(size=32) / 6
    x = random.normal(size=(size, INPUTS)).astype(np.float32)
    return x, np.tanh(x @ first) @ second


def network(weights, x):
    for w in weights[:-1]:
        x = jax.nn.relu(x @ w)
    return (x @ weights[-1])[:, 0]


def loss_of(weights, x, y):
    return jnp.mean((network(weights, x) - y) ** 2)


@jax.jit
def update(weights, velocity, x, y, rate):
    loss, slopes = jax.value_and_grad(loss_of)(weights, x, y)
    velocity = [0.9 * v + g for v, g in zip(velocity, slopes, strict=True)]
    return [w - rate * v for w, v in zip(weights, velocity, strict=True)], velocity, loss


def train(spec, report):
    random = np.random.default_rng(spec.seed)
    sizes = [INPUTS, *[spec["width"]] * DEPTH, 1]
    weights = [jnp.asarray(random.normal(size=pair) * (2 / pair[0]) ** 0.5, dtype=jnp.float32) for pair in pairwise(sizes)]
    velocity = [jnp.zeros_like(w) for w in weights]
    for step in range(1, spec["steps"] + 1):
        weights, velocity, loss = update(weights, velocity, *batch(random, spec["batch_size"]), spec["learning_rate"])
        if step == 1 or step % 10 == 0:
            report(step, loss)  # may stop the run here: it raises an exception that must pass
    held_out = loss_of(weights, *batch(np.random.default_rng(12345), 2000))
    return {"loss": held_out, "parameters": sum(w.size for w in weights)}
