"""The 240 Chinchilla points of Besiroglu et al. 2024: the published minimum, to the digits that define it."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest

from scalelaw._newton import minimise
from scalelaw.fit import FitStatus, fit
from scalelaw.resample import Scheme, bootstrap, profile
from scalelaw.testing.laws import Points

pytestmark = pytest.mark.published


@pytest.fixture(scope="module")
def chinchilla(reference_data: Path) -> Points:
    """The points less the five highest losses, as published."""
    with (reference_data / "chinchilla_epoch_svg_extracted.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    rows = sorted(rows, key=lambda row: float(row["loss"]))[:240]
    size, flops, loss = (np.array([float(row[key]) for row in rows]) for key in ("Model Size", "Training FLOP", "loss"))
    return Points({"parameters": size, "tokens": flops / (6 * size), "loss": loss})


def test_the_published_minimum(chinchilla: Points) -> None:
    found = fit("chinchilla", chinchilla)
    assert found.status is FitStatus.CONVERGED
    assert found.value == pytest.approx(0.0010182740, abs=5e-11)
    published = {"E": 1.81722, "A": 477.83, "B": 2143.42, "alpha": 0.34731, "beta": 0.36717}
    for name, value in published.items():
        assert found.theta[name] == pytest.approx(value, rel=1e-5)
    exponent = found.theta["beta"] / (found.theta["alpha"] + found.theta["beta"])
    assert exponent == pytest.approx(0.513, abs=0.002)
    sure = found.certificate
    assert sure.agree == 1.0
    assert sure.basins == 1
    assert sure.runners == ()
    # In the law's own coordinates the problem is ill-conditioned; after projection it is not.
    assert sure.condition > 1e6
    assert sure.condition_projected < 100


def test_nearly_no_start_of_the_published_search_beats_it(chinchilla: Points) -> None:
    found = fit("chinchilla", chinchilla)
    rng = np.random.default_rng(0)
    starts = np.stack([rng.uniform(-1, 1.5, 100), *(rng.uniform(-3, 3, (2, 100))), *(rng.uniform(0, 2, (2, 100)))], axis=1)
    others = minimise(found.problem, starts)
    assert others.value.min() >= found.value * (1 - 1e-9)


def test_a_mean_instead_of_a_sum_changes_nothing(chinchilla: Points) -> None:
    """Averaged, the objective is 4e-6 and elsewhere stops at exponents whose N* at 1e24 FLOPs is half; here it does not."""
    whole = fit("chinchilla", chinchilla)
    mean = fit("chinchilla", chinchilla, weights=np.full(240, 1 / 240))
    assert dict(mean.theta) == pytest.approx(dict(whole.theta), rel=1e-8)
    assert mean.value == pytest.approx(whole.value / 240, rel=1e-9)
    assert mean.status is FitStatus.CONVERGED


def test_a_hand_rolled_mean_shows_the_failure(chinchilla: Points) -> None:
    """The guard's counterpart: L-BFGS-B on the mean reports success far from the minimum."""
    optimise = pytest.importorskip("scipy.optimize")
    found = fit("chinchilla", chinchilla)

    def mean(u: np.ndarray) -> float:
        return float(found.problem.objective_at(u[None, :])[0]) / 240

    start = found.u + np.array([0.1, 0.3, -0.3, 0.05, -0.05])
    ended = optimise.minimize(mean, start, method="L-BFGS-B")
    assert ended.success
    assert ended.fun * 240 > found.value * 1.01


def test_hoffmanns_rounded_values_are_far_from_the_minimum(chinchilla: Points) -> None:
    rounded = {"E": 1.69, "A": 406.4, "B": 410.7, "alpha": 0.34, "beta": 0.28}
    assert fit("chinchilla", chinchilla, fixed=rounded).value == pytest.approx(0.00412, rel=0.01)


def test_the_published_errors_and_intervals(chinchilla: Points) -> None:
    """Each run is a cell of its own here, so drawing cells is the published bootstrap. Within 15 % of the replication."""
    drawn = bootstrap(fit("chinchilla", chinchilla), draws=4000)
    assert drawn.failed == 0
    published = {"E": 0.0257, "A": 124.5, "B": 1293.3, "alpha": 0.0154, "beta": 0.0206}
    for name, value in published.items():
        assert drawn.stderr[name] == pytest.approx(value, rel=0.15)
    for name, ends in {"alpha": (0.317, 0.373), "beta": (0.331, 0.415), "E": (1.769, 1.871)}.items():
        low, high = drawn.interval(0.95)[name]
        width = ends[1] - ends[0]
        assert (low, high) == pytest.approx(ends, abs=0.15 * width)
    alpha, beta = drawn.theta[:, 3], drawn.theta[:, 4]
    assert np.std(beta / (alpha + beta)) == pytest.approx(0.020, rel=0.15)


def test_every_refit_is_at_the_best_of_many_starts(chinchilla: Points) -> None:
    found = fit("chinchilla", chinchilla)
    rng = np.random.default_rng(1)
    weight = rng.multinomial(240, np.full(240, 1 / 240), size=60).astype(np.float64)
    warm = minimise(found.problem, np.tile(found.u, (60, 1)), weight=weight)
    assert warm.converged.all()
    best = np.full(60, np.inf)
    for _ in range(12):
        start = found.u + rng.normal(0, 1, (60, 5)) * np.array([0.3, 0.5, 0.5, 0.1, 0.1])
        best = np.minimum(best, minimise(found.problem, start, weight=weight).value)
    assert np.all(warm.value <= best * (1 + 1e-9))


def test_profile_intervals_hold_the_published_values(chinchilla: Points) -> None:
    found = fit("chinchilla", chinchilla)
    for name, value in {"alpha": 0.3478, "beta": 0.3659, "E": 1.8169}.items():
        drawn = profile(found, name)
        assert drawn.low < value < drawn.high


def test_the_errors_of_the_fit_are_those_at_the_sizes_as_they_are(chinchilla: Points) -> None:
    """The wild bootstrap keeps the sizes and gives the same; drawing cells counts their choice too and gives more."""
    found = fit("chinchilla", chinchilla)
    wild, cells = (bootstrap(found, scheme=each, draws=600) for each in (Scheme.WILD, Scheme.CELL))
    for name in ("E", "alpha", "beta"):
        assert found.stderr[name] == pytest.approx(wild.stderr[name], rel=0.2)
        assert found.stderr[name] < cells.stderr[name]
