"""The discrepancy: distances beyond the data, what held-out errors say of it, and how it enters a prediction."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from scalelaw.discrepancy import KAPPAS, LAMBDAS, Discrepancy, Held, evidence, hull, posterior
from scalelaw.frontier import frontier
from scalelaw.stack import Ladder, Stack
from scalelaw.trials import Trials

OVER = ("parameters", "tokens")


def ladder(prior: Discrepancy | None = None) -> Ladder:
    """Six sizes at 5 to 40 tokens per parameter, by Chinchilla's law."""
    size, ratio = (each.ravel() for each in np.meshgrid(5e7 * 2.0 ** np.arange(6), [5.0, 10.0, 20.0, 40.0]))
    noise = np.exp(0.003 * np.random.default_rng(3).standard_normal(size.size))
    loss = (1.7 + 406 * size**-0.34 + 410 * (size * ratio) ** -0.28) * noise
    edge = frontier(Trials.from_columns({"parameters": size, "tokens": size * ratio, "loss": loss}), over=OVER, fixed=True)
    return Ladder(edge, None, prior)


def half_width(stack: Stack, size: float, ratio: float) -> float:
    mixture = stack.predict({"parameters": size, "tokens": size * ratio})
    return float(mixture.quantile(0.95)[0] - mixture.quantile(0.05)[0]) / 2


def test_a_nat_too_few_tokens_per_parameter_counts_as_two_too_many() -> None:
    x = np.log([[1e8, 1e9], [1e8, 2e9], [1e9, 1e10], [1e9, 2e10]])
    reach = hull(OVER, x)
    at = np.log([[3e8, 4.5e9], [3e8, 6e9 * math.e], [3e8, 3e9 / math.e], [1e10, 1e11]])
    np.testing.assert_allclose(reach.outside(at), [0.0, 1.0, 2.0, 0.0], atol=1e-12)
    # Sizes alone leave nothing outside.
    assert not hull(("parameters",), x[:, :1]).outside(at[:, :1] + 9).any()
    assert not hull(("width", "tokens"), x).outside(at).any()


@pytest.mark.parametrize(("kappa", "ratio"), [(0.003, 0.02), (0.03, 0.005), (0.02, 0.08)])
def test_held_out_errors_tell_both_discrepancies(kappa: float, ratio: float) -> None:
    random = np.random.default_rng(0)
    held: list[Held] = []
    for origin in range(400):
        distance, outside = random.uniform(0.2, 2, 2) * (random.uniform(size=2) < 0.7)
        sd = math.sqrt(0.001**2 + (kappa * distance) ** 2 + (ratio * outside) ** 2)
        held.append(Held(origin, origin, 1.0, sd * random.standard_normal(), 0.001**2, 200.0, distance, outside))
    chances = posterior(np.zeros((len(KAPPAS), len(LAMBDAS))), evidence(held))
    assert math.exp(chances.sum(axis=1) @ np.log(KAPPAS)) == pytest.approx(kappa, rel=0.25)
    # The grid of lambda steps by 1.6.
    assert math.exp(chances.sum(axis=0) @ np.log(LAMBDAS)) == pytest.approx(ratio, rel=0.3)


def test_within_the_tokens_per_parameter_lambda_says_nothing() -> None:
    held = [Held(0, 0, 1.0, 0.01, 1e-5, 5.0, 1.0), Held(1, 1, 1.0, -0.02, 1e-5, 5.0, 0.5)]
    told = evidence(held)
    np.testing.assert_allclose(told, np.repeat(told[:, :1], len(LAMBDAS), axis=1))


def test_predictions_widen_beyond_the_tokens_per_parameter() -> None:
    stack = ladder().stack()
    inside, above, below = (half_width(stack, 1.6e9, ratio) for ratio in (30.0, 160.0, 1.25))
    known = ladder(Discrepancy(ratio=1e-9, ratio_sd=0.1)).stack()
    assert half_width(known, 1.6e9, 30.0) == pytest.approx(inside, rel=1e-6)
    # ln 4 nats beyond at a median lambda of 1.8 % per nat, on each side of the law; below the data they count twice.
    assert above > max(half_width(known, 1.6e9, 160.0), 0.018 * math.log(4))
    assert below > max(half_width(known, 1.6e9, 1.25), 2 * 0.018 * math.log(4))


def test_the_one_sided_test_takes_its_own_inflation() -> None:
    stack = ladder(Discrepancy(inflation=1.6, above=0.8)).stack()
    at = {"parameters": 1.6e10, "tokens": 3.2e11}
    both, test = stack.predict(at), stack.one_sided().predict(at)
    np.testing.assert_allclose(test.discrepancy, both.discrepancy / 2)
    assert test.quantile(0.95)[0] < both.quantile(0.95)[0]
    assert stack.one_sided().kappa == pytest.approx(stack.kappa / 2)
    assert replace(stack, inflation=0.8).predict(at).quantile(0.95)[0] == test.quantile(0.95)[0]
