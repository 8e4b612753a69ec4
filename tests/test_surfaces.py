"""The simulator of tuning studies is what it says: its bowls, law, cliff, edges and holes."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from scalelaw.cells import cells_of
from scalelaw.optimum import optimum
from scalelaw.testing.surfaces import AXES, Surface, axes

TWO = {"over": ("parameters", "tokens"), "smallest": (1e7, 1e9), "sizes": 5}
WORLDS = [Surface(axes(m)) for m in (1, 2, 3, 4, 6)] + [Surface(axes(3), **TWO), Surface(axes(2), cap=math.inf, correlation=0.0)]


@pytest.mark.parametrize("world", WORLDS, ids=lambda world: f"{len(world.axes)}-{len(world.over)}-{world.cap:g}")
def test_second_derivatives_of_the_cost_are_the_hessian_and_the_lowest_point_is_the_best(world: Surface) -> None:
    point, m, e = world.target(4), len(world.axes), 1e-3
    found = np.zeros((m, m))
    for i, j in np.ndindex(m, m):
        for a, b in ((1, 1), (1, -1), (-1, 1), (-1, -1)):
            found[i, j] += a * b * float(world.cost(point, a * e * np.eye(m)[i] + b * e * np.eye(m)[j])) / (4 * e * e)
    H = world.hessian(point)
    assert found == pytest.approx(H, abs=1e-5)
    assert np.all(np.linalg.eigvalsh(H) > 0)
    growth = math.exp(world.growth * math.log(point[world.over[0]] / world.middle[world.over[0]]))
    assert np.diag(H) == pytest.approx([axis.curvature * growth for axis in world.axes])
    assert world.cost(point, np.zeros(m)) == 0
    away = np.random.default_rng(0).normal(size=(200, m)) * 2
    assert np.all(world.cost(point, away) > 0)
    assert np.all(world.cost(point, 10 * away) <= world.cap)


def test_neighbouring_curvatures_are_correlated_as_asked() -> None:
    world = Surface(axes(3), correlation=-0.3)
    H = world.hessian(world.middle)
    unit = np.sqrt(np.diag(H))
    C = H / np.outer(unit, unit)
    assert [C[0, 1], C[1, 2], C[0, 2]] == pytest.approx([-0.3, -0.3, 0.09])


@pytest.mark.parametrize("world", [Surface(axes(4), growth=0.0), Surface(axes(3), **TWO)], ids=["one scale", "two"])
def test_the_law_moves_by_its_exponents(world: Surface) -> None:
    assert world.best(world.middle) == pytest.approx([math.log(axis.centre) for axis in world.axes])
    for k, name in enumerate(world.over):
        moved = world.best({**world.middle, name: math.e * world.middle[name]}) - world.best(world.middle)
        assert moved == pytest.approx(world.exponents[:, k])


def test_a_bent_law_moves_by_the_square() -> None:
    world = Surface(axes(2, learning_rate={"bend": -0.05}))
    high = {"width": world.middle["width"] * math.e**2}
    assert world.best(high) - Surface(axes(2)).best(high) == pytest.approx([-0.2, 0.0])


def test_a_study_holds_the_surface_exactly_where_nothing_is_random() -> None:
    world = Surface(axes(3), noise=0.0, tau=0.0, seeds=2)
    trials, truth = world.draw(np.random.default_rng(3))
    assert trials.hyperparameters == ("learning_rate", "batch_size", "weight_decay")
    assert len(trials) == world.sizes * (1 + 2 * 3 + 2 * 3 + 8) * 2
    assert truth.best == pytest.approx(truth.law)
    z = np.log(np.stack([trials.numbers(name) for name in world.names], axis=1))
    for row in range(0, len(trials), 17):
        point = {"width": float(trials.numbers("width")[row])}
        expected = world.loss(point) * math.exp(float(world.cost(point, z[row] - world.best(point))))
        assert trials.numbers("loss")[row] == pytest.approx(expected)
        settings = {name: float(trials.numbers(name)[row]) for name in world.names}
        assert world.run(np.random.default_rng(0), point, settings) == pytest.approx(expected)


def test_scatter_and_noise_have_their_sizes() -> None:
    drawn = [Surface(axes(2), tau=0.25).draw(np.random.default_rng(seed))[1] for seed in range(60)]
    away = np.concatenate([each.best - each.law for each in drawn])
    assert away.std(axis=0) == pytest.approx(0.25, rel=0.1)
    world = Surface(axes(2), seeds=5, noise=0.01)
    cells = cells_of(world.draw(np.random.default_rng(0))[0], world.over, world.names)
    squares, degrees = np.sum([cell.spread for cell in cells], axis=0)
    assert math.sqrt(squares / degrees) == pytest.approx(0.01, rel=0.1)


def test_runs_diverge_as_often_as_said_and_keep_their_rows() -> None:
    world = Surface(axes(2), cliff=1.0, cliff_sd=0.3, seeds=20, ratio=4.0)
    trials, _ = world.draw(np.random.default_rng(1))
    diverged = trials["status"] == "DIVERGED"
    assert np.array_equal(diverged, ~np.isfinite(trials.numbers("loss")))
    widths, u = trials.numbers("width"), np.log(trials.numbers("learning_rate"))
    expected = np.array([world.divergence({"width": float(n)}, float(x)) for n, x in zip(widths, u, strict=True)])
    se = np.sqrt(np.sum(expected * (1 - expected)))
    assert abs(diverged.sum() - expected.sum()) < 4 * se
    for width in np.unique(widths):  # the cliff comes down with size at its exponent
        wall = world.edge_of_stability({"width": float(width)})
        assert diverged[(widths == width) & (u > wall + 0.9)].all()
        assert not diverged[(widths == width) & (u < wall - 1.2)].any()
    double = world.edge_of_stability({"width": 200.0}) - world.edge_of_stability({"width": 100.0})
    assert double == pytest.approx(-0.5 * math.log(2))
    cells = cells_of(trials, world.over, world.names)
    assert sum(len(cell.bad) for cell in cells) == diverged.sum()
    assert math.isnan(world.run(np.random.default_rng(0), world.middle, {"learning_rate": 1.0}))


def test_best_settings_lie_at_an_edge_where_asked() -> None:
    def beyond(world: Surface) -> np.ndarray:
        trials, truth = world.draw(np.random.default_rng(2))
        low = np.array([math.log(rows.numbers("learning_rate").min()) for _, rows in trials.groups(world.over)])
        return truth.best[:, 0] < low

    inside = Surface(axes(2), sizes=5, tau=0.02)
    assert not beyond(inside).any()
    assert beyond(replace(inside, axes=axes(2, learning_rate={"shift": 3.5}))).mean() >= 0.4
    still = Surface(axes(2, learning_rate={"points": 5, "exponents": (-0.6,)}), sizes=8, ratio=4.0, tau=0.02)
    assert list(beyond(still)) == sorted(beyond(still))  # one grid for all sizes, and the largest sizes leave it
    assert 2 <= beyond(still).sum() <= 3
    assert not beyond(replace(still, follow=1.0)).any()


def test_holes_and_ragged_ladders() -> None:
    world = Surface(axes(2), **TWO, ragged=2)
    assert len(world.ladder) == 12
    assert world.target(4) == {"parameters": 4 * 16e7, "tokens": 4 * 4e9}
    full = len(world.draw(np.random.default_rng(0))[0])
    holed = replace(world, missing=0.3, missing_cells=0.2)
    drawn = [holed.draw(np.random.default_rng(seed)) for seed in range(40)]
    assert np.mean([len(trials) for trials, _ in drawn]) / full == pytest.approx(0.7 * 0.8, rel=0.1)
    assert min(len(truth.points) for _, truth in drawn) >= 5
    assert len({len(truth.points) for _, truth in drawn}) > 1
    assert all(len(truth.points) == len(cells_of(trials, world.over, world.names)) for trials, truth in drawn)


def test_a_setting_left_behind_costs_its_excess() -> None:
    world = Surface(tuple(replace(axis, skew=0.0) for axis in AXES), cap=math.inf)
    point, since = world.target(4), {"width": 64.0}
    excess = world.excess(point, since)
    for name in world.names:
        kept = world.kept(name, point, since)
        cost = world.cost(point, np.log(list(kept.values())) - world.best(point))
        assert float(cost) == pytest.approx(excess[name])
    H, p = world.hessian(point), world.exponents[:, 0]
    assert list(excess.values()) == pytest.approx(0.5 * np.diag(H) * (p * math.log(point["width"] / 64.0)) ** 2)
    assert world.excess(point)["learning_rate"] < excess["learning_rate"]


@pytest.mark.parametrize("world", [Surface(axes(1)), Surface(axes(2), **TWO)], ids=["one scale", "two"])
def test_without_noise_the_estimator_finds_the_law(world: Surface) -> None:
    world = replace(world, noise=1e-5, tau=0.0, growth=0.0)
    trials, _ = world.draw(np.random.default_rng(0))
    found = optimum(trials, over=world.over, hyper=world.names)
    for j, name in enumerate(world.names):
        p = list(found[name].to_dict()["coefficients"].values())[1:]
        assert [-value for value in p] == pytest.approx(world.exponents[j], abs=0.08)
