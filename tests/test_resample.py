"""Resamples are drawn by cell, refitted to their minima, and cover; profiles and influences say what they claim."""

from __future__ import annotations

import numpy as np
import pytest

from scalelaw.errors import InputError
from scalelaw.fit import Fit, Huber, LeastSquares, fit
from scalelaw.resample import Scheme, _cells, _draw, bootstrap, influence, profile
from scalelaw.testing.laws import Points


def ladder(seeds: int = 1, shared: float = 0.0, single: float = 0.01, seed: int = 0, sizes: int = 10) -> Points:
    rng = np.random.default_rng(seed)
    width = np.geomspace(4, 1024, sizes)
    loss = (1.7 + 5 * width**-0.5) * np.exp(shared * rng.standard_normal(sizes))
    return Points(
        {"width": np.repeat(width, seeds), "loss": np.repeat(loss, seeds) * np.exp(single * rng.standard_normal(sizes * seeds))}
    )


def fitted(data: Points, law: str = "saturating") -> Fit:
    return fit(law, data, over="width", objective=LeastSquares())


@pytest.mark.parametrize("scheme", Scheme)
def test_the_same_seed_gives_the_same_draws(scheme: Scheme) -> None:
    found = fitted(ladder(seeds=3))
    first, again, other = (bootstrap(found, scheme=scheme, draws=50, seed=seed) for seed in (1, 1, 2))
    assert np.array_equal(first.theta, again.theta)
    assert not np.array_equal(first.theta, other.theta)
    assert len(first.theta) + first.failed == 50


def test_rows_of_a_cell_are_drawn_together() -> None:
    found = fitted(ladder(seeds=3))
    cell = _cells(found.problem)
    weight, y = _draw(found, cell, Scheme.CELL, 20, np.random.default_rng(0))
    assert y is None
    assert weight is not None
    for each in np.unique(cell):
        assert np.all(weight[:, cell == each] == weight[:, cell == each][:, :1])
    assert np.all(weight.sum(axis=1) == 30)
    weight, _ = _draw(found, cell, Scheme.SEED, 20, np.random.default_rng(0))
    assert weight is not None
    for each in np.unique(cell):
        assert np.all(weight[:, cell == each].sum(axis=1) == 3)


def test_drawing_rows_would_be_too_sure_where_cells_share_an_error() -> None:
    found = fitted(ladder(seeds=6, shared=0.02, single=0.002), "power")
    by_cell = bootstrap(found, draws=400).stderr["alpha"]
    by_seed = bootstrap(found, scheme=Scheme.SEED, draws=400).stderr["alpha"]
    assert by_cell > 3 * by_seed


@pytest.mark.parametrize("scheme", [Scheme.RESIDUAL, Scheme.WILD])
def test_schemes_agree_with_theory_on_a_line(scheme: Scheme) -> None:
    """ln L is linear in the power law's parameters: the bootstrap must give the textbook errors."""
    rng = np.random.default_rng(4)
    width = np.geomspace(4, 1e5, 40)
    found = fitted(Points({"width": width, "loss": 3 * width**-0.2 * np.exp(0.02 * rng.standard_normal(40))}), "power")
    drawn = bootstrap(found, scheme=scheme, draws=2000)
    assert drawn.stderr["alpha"] == pytest.approx(found.stderr["alpha"], rel=0.25)
    low, high = drawn.interval(0.9)["alpha"]
    assert low < found.theta["alpha"] < high


def test_refits_are_at_their_minima() -> None:
    found = fit("saturating", ladder(single=0.002), over="width")
    cell = _cells(found.problem)
    weight, _ = _draw(found, cell, Scheme.CELL, 30, np.random.default_rng(5))
    assert weight is not None
    drawn = bootstrap(found, draws=30, seed=5)
    kept = [row for row in weight if np.sum(row > 0) >= 5]
    assert drawn.failed <= 30 - len(kept)
    fresh = [fit("saturating", Points(ladder(single=0.002).columns), over="width", weights=row).theta for row in kept]
    for theta in fresh:
        gap = np.abs(drawn.theta / np.array(list(theta.values())) - 1).max(axis=1)
        assert gap.min() < 1e-5


def test_predictions_of_draws() -> None:
    found = fitted(ladder())
    drawn = bootstrap(found, draws=40)
    values = drawn.predict({"width": [8192.0, 65536.0]})
    assert values.shape == (len(drawn.theta), 2)
    one = dict(zip(found.law.names, drawn.theta[3], strict=True))
    assert values[3] == pytest.approx(found.law.predict(one, {"width": np.array([8192.0, 65536.0])}))
    assert drawn.to_dict()["scheme"] == "CELL"


def test_wrong_calls() -> None:
    found = fitted(ladder())
    with pytest.raises(InputError, match="no cell has two seeds"):
        bootstrap(found, scheme=Scheme.SEED)
    with pytest.raises(InputError, match="at least 1"):
        bootstrap(found, draws=0)
    with pytest.raises(InputError, match="no parameter"):
        profile(found, "gamma")


def test_a_profile_of_a_line_is_students_interval() -> None:
    rng = np.random.default_rng(6)
    width = np.geomspace(4, 4096, 12)
    data = Points({"width": width, "loss": 7 - 0.3 * np.log(width) + 0.05 * rng.standard_normal(12)})
    found = fit("log_linear", data, over="width")
    drawn = profile(found, "b")
    assert (drawn.low, drawn.high) == pytest.approx(found.interval()["b"], rel=1e-5)
    assert drawn.rise[np.argmin(np.abs(drawn.values - drawn.low))] == pytest.approx(1, abs=1e-3)


def test_a_profile_bends_where_the_law_does() -> None:
    """The irreducible loss is bounded above by the smallest loss and hardly below: its profile leans to the left."""
    found = fitted(ladder(single=0.01))
    drawn = profile(found, "E", level=0.9)
    assert drawn.low < found.theta["E"] < drawn.high
    assert found.theta["E"] - drawn.low > drawn.high - found.theta["E"]
    robust = profile(fit("saturating", ladder(), over="width", objective=Huber(width=0.02)), "alpha")
    assert robust.low < robust.high


def test_influence_names_the_scale_that_moves_the_fit() -> None:
    data = ladder(single=0.001)
    loss = data.columns["loss"].copy()
    loss[-1] *= 1.05
    found = fit("saturating", Points({"width": data.columns["width"], "loss": loss}), over="width", objective=LeastSquares())
    first = influence(found)[0]
    assert first.value == pytest.approx(1024)
    assert first.rows == 1
    assert first.theta is not None
    assert first.theta["alpha"] == pytest.approx(0.5, abs=0.03)
    few = fit("saturating", ladder(sizes=3), over="width")
    assert all(each.theta is None for each in influence(few))
