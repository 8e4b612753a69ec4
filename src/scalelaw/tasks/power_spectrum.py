"""Linear targets on inputs with a power-law spectrum: random features' lowest loss falls with a known power of their number."""

from __future__ import annotations

import functools
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from ..trial import Value
from ._base import Draw, Floats, Loss, Task, TaskData

__all__ = ["PowerSpectrum", "expected_loss", "lowest_loss"]

Doubles = NDArray[np.float64]


class PowerSpectrum(Task):
    """A linear map to learn from inputs whose variances fall as a power. No noise; squared error summed over the outputs.

        x_k = sqrt(lambda_k) z_k,    z_k ~ Normal(0, 1),    lambda_k = (k - 1/2)^-spectrum               k = 1 ... input_dim
        y_j = sum_k g_kj z_k,        sum_j g_kj^2 = (k - 1/2)^-(1 + exponent),                           j = 1 ... outputs

    with g_kj = +- sqrt(that / outputs), the signs drawn once. `width` random features phi = W'x, W of independent normal numbers,
    see the directions Lambda^1/2 W of z. With P the projection on them the lowest loss of a linear readout is |(1 - P) g|^2
    (`lowest_loss`, exact for any W). Over W it is close to (`expected_loss`)

        L(width) = sum_k |g_k|^2 kappa / (lambda_k + kappa),    kappa such that sum_k lambda_k / (lambda_k + kappa) = width

    and for exponent < spectrum, which is asked for, L falls as width^-exponent: `truths["exponent"]`. That is the law of
    Maloney, Roberts and Sully (2022, arXiv 2210.16859) for spectrum = 1 + exponent, found before by Bahri et al. (2021, arXiv
    2102.06701; PNAS 121, 2024), and the limit of long training of Paquette et al. (2024, arXiv 2405.15074) below their
    2 beta = 1. Three choices keep the power clean where networks are small enough to be trained in seconds:

    - k - 1/2 in place of k: the sums above then differ from their integrals by a relative width^-2, not width^-1;
    - the last output's worth of target stands for all k >= input_dim: no network that is much narrower than the inputs sees
      those directions, and without their part the loss would end at 0 and bend down before;
    - the held-out z have covariance 1 exactly, so that the mean over them of a linear network's loss is its expectation.

    What is left, with the default options and relative to L: the mean over W lies 0.3 / width above it, and one W scatters
    about that by 0.7 / width. Take some seeds, and widths from 16 to an eighth of input_dim, where L itself keeps to the power
    within 0.1 %.

    Options:
        samples: 0 draws new examples at every step; n > 0 is a training set of n examples, gone through again and again.
        input_dim: number of inputs.
        outputs: number of outputs; more of them scatter less.
        spectrum: how fast the inputs' variances fall. Give the same to the knob of model random_features.
        exponent: how fast the lowest loss falls with the width.
        target_seed: which signs.
    """

    name = "power_spectrum"
    summary = "linear targets on a power-law spectrum: the exponent of random features is known"
    defaults: Mapping[str, Value] = {
        "samples": 0,
        "input_dim": 1024,
        "outputs": 64,
        "spectrum": 4.0,
        "exponent": 1.0,
        "target_seed": 0,
    }
    meaning: Mapping[str, str] = {
        "N": "trained weights: of random features their readout alone, width times outputs",
        "D": "training examples seen: steps times batch size, repeats counted",
        "C": "floating-point operations of training, multiply and add counted apart",
    }

    def load(self, options: Mapping[str, Value]) -> TaskData:
        """Examples of the map; the held-out ones are the same whatever `samples` is."""
        dim, outputs, samples = int(options["input_dim"]), int(options["outputs"]), int(options["samples"])
        spectrum, exponent = float(options["spectrum"]), float(options["exponent"])
        if not 2 <= dim <= 4096:
            raise self.wrong("input_dim", dim, "Give 2 to 4096")
        if outputs < 1:
            raise self.wrong("outputs", outputs, "Give 1 or more")
        if not 0 < spectrum <= 4:
            raise self.wrong("spectrum", spectrum, "Give more than 0, to 4")
        if not 0 < exponent < spectrum:
            raise self.wrong("exponent", exponent, f"Give more than 0 and less than the spectrum's, {spectrum}")
        seed = int(options["target_seed"])
        scale, target = _problem(dim, outputs, spectrum, exponent, seed)
        held_out = _whitened(dim)
        draw = _fresh(scale, target)
        train = draw(np.random.default_rng([seed, 3]), np.arange(samples or len(held_out)))
        truths = {"exponent": exponent, "floor": 0.0}
        test = (held_out * scale, held_out @ target)
        return TaskData(*train, *test, truths, None if samples else draw, loss=Loss.SQUARED_ERROR)


def lowest_loss(features: NDArray[np.floating], options: Mapping[str, Value] | None = None) -> float:
    """The lowest expected loss of a linear readout of the features x @ features: min over R of E |y - (x @ features) R|^2.

    Args:
        features: the matrix from inputs to features, shape (input_dim, width).
        options: the task's options.
    """
    scale, target = _of(options)
    basis, _ = np.linalg.qr(scale[:, None] * features.astype(np.float64))
    return float(np.square(target - basis @ (basis.T @ target)).sum())


def expected_loss(width: float, options: Mapping[str, Value] | None = None) -> float:
    """L(width) of `PowerSpectrum`, for these finite input_dim and outputs: nearly what random features of that width reach."""
    scale, target = _of(options)
    variances, strengths = np.square(scale.astype(np.float64)), np.square(target.astype(np.float64)).sum(axis=1)
    low, high = np.log(variances[-1]) - 40.0, np.log(variances.sum()) + 40.0
    for _ in range(100):
        middle = (low + high) / 2
        low, high = (middle, high) if (variances / (variances + np.exp(middle))).sum() > width else (low, middle)
    kappa = np.exp(high)
    return float((strengths * kappa / (variances + kappa)).sum())


def _of(options: Mapping[str, Value] | None) -> tuple[Floats, Floats]:
    known = PowerSpectrum().resolve(options or {})
    return _problem(
        int(known["input_dim"]),
        int(known["outputs"]),
        float(known["spectrum"]),
        float(known["exponent"]),
        int(known["target_seed"]),
    )


def _problem(dim: int, outputs: int, spectrum: float, exponent: float, seed: int) -> tuple[Floats, Floats]:
    """Deviations of the inputs (input_dim,), and g (input_dim, outputs)."""
    place = np.arange(1, dim + 1) - 0.5
    strength = place ** -(1 + exponent)
    # The sum over k >= dim, as the integral from dim - 1 on, which the midpoints k - 1/2 follow.
    strength[-1] = (dim - 1.0) ** -exponent / exponent
    signs = np.random.default_rng([seed, 1]).choice([-1.0, 1.0], (dim, outputs))
    target = signs * np.sqrt(strength / outputs)[:, None]
    return (place ** (-spectrum / 2)).astype(np.float32), target.astype(np.float32)


@functools.lru_cache(maxsize=2)
def _whitened(dim: int) -> Floats:
    """Normal numbers (examples, input_dim), made over so that the mean over the examples of z z' is 1 to rounding."""
    count = max(2048, 2 * dim)
    drawn = np.random.default_rng([dim, 2]).standard_normal((count, dim))
    triangle = np.linalg.cholesky(drawn.T @ drawn / count)
    return np.ascontiguousarray(np.linalg.solve(triangle, drawn.T).T.astype(np.float32))


def _fresh(scale: Floats, target: Floats) -> Draw:
    def draw(generator: np.random.Generator, rows: NDArray[np.intp]) -> tuple[Floats, Floats]:
        hidden = generator.standard_normal((len(rows), len(scale)), dtype=np.float32)
        return hidden * scale, hidden @ target

    return draw
