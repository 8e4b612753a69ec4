"""Seed noise: sizes differ, badly set runs are noisier, and a seed is shared by the settings of its size."""

from __future__ import annotations

import math

import numpy as np
import pytest

from scalelaw.cells import cells_of
from scalelaw.frontier import frontier
from scalelaw.noise import seed_noise
from scalelaw.trials import Trials

WIDTHS = 8.0 * 2.0 ** np.arange(7)
RATES = np.geomspace(1e-4, 1e-2, 9)


def sd(width: float) -> float:
    """Of ln loss near the best rate: 3 % at the smallest width, falling with it."""
    return 0.03 * (width / 8.0) ** -0.5


def world(random: np.random.Generator, seeds: int, share: float) -> Trials:
    """Bowls of curvature 0.05 whose noise is five times larger two nats from the best rate."""
    rows: dict[str, list[float]] = {"width": [], "learning_rate": [], "seed": [], "loss": []}
    for width in WIDTHS:
        common = random.normal(size=seeds) * math.sqrt(share)
        for rate in RATES:
            away = math.log(rate / 1e-3) + 0.3 * math.log(width / 64.0)
            for seed in range(seeds):
                noise = sd(width) * (1 + away**2) * (common[seed] + math.sqrt(1 - share) * random.normal())
                rows["width"].append(width)
                rows["learning_rate"].append(rate)
                rows["seed"].append(seed)
                rows["loss"].append((1.0 + 3.0 * width**-0.5) * math.exp(0.025 * away**2 + noise))
    return Trials.from_columns(rows)


def test_variance_and_share_are_recovered() -> None:
    random = np.random.default_rng(0)
    rows: dict[str, list[float]] = {"width": [], "learning_rate": [], "seed": [], "loss": []}
    for width in WIDTHS:
        common = random.normal(size=60)
        for rate in RATES:
            for seed in range(60):
                rows["width"].append(width)
                rows["learning_rate"].append(rate)
                rows["seed"].append(seed)
                rows["loss"].append(math.exp(sd(width) * (0.8 * common[seed] + 0.6 * random.normal())))
    cells = cells_of(Trials.from_columns(rows), ("width",), ("learning_rate",))
    found = seed_noise(cells, [np.ones(len(cell.y)) for cell in cells])
    assert np.sqrt(found.total) == pytest.approx([sd(width) for width in WIDTHS], rel=0.15)
    assert found.share == pytest.approx(0.64, abs=0.08)
    assert found.seeds == pytest.approx(60)


@pytest.mark.parametrize("share", [0.0, 0.6])
def test_errors_of_the_best_case_are_the_size_they_claim(share: float) -> None:
    random = np.random.default_rng(int(10 * share))
    z = np.array(
        [
            (np.log(rows["loss"]) - np.log(1.0 + 3.0 * WIDTHS**-0.5)) / (rows["loss_se"] / rows["loss"])
            for rows in (frontier(world(random, 3, share)).trials for _ in range(40))
        ]
    )
    size = np.sqrt((z**2).mean(axis=0))
    assert 0.5 < np.sqrt((z**2).mean()) < 1.2, "careful by less than a factor two, never bold"
    assert np.all((size > 0.35) & (size < 1.6)), "no size is trusted far too much or too little"


def test_large_sizes_are_trusted_by_their_own_noise() -> None:
    found = frontier(world(np.random.default_rng(3), 3, 0.5))
    error = found.trials["loss_se"] / found.trials["loss"]
    assert error[-1] < 0.5 * error[0]
    assert found.seed_sd is not None
    assert found.seed_sd == pytest.approx(sd(WIDTHS[-1]), rel=0.6), "one more large run is as noisy as the large runs were"


def test_without_replicates_there_is_no_seed_noise() -> None:
    cells = cells_of(world(np.random.default_rng(1), 1, 0.0), ("width",), ("learning_rate",))
    found = seed_noise(cells, [np.ones(len(cell.y)) for cell in cells])
    assert found.degrees == 0
    assert not found.total.any()
