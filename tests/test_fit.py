"""The fit finds the certified minimum, says what it cannot know, and its intervals cover."""

from __future__ import annotations

import math
import warnings
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

from scalelaw._newton import factor, minimise, solve
from scalelaw.errors import DataError, InputError, UnknownNameError
from scalelaw.fit import Absolute, Fit, FitStatus, Huber, LeastSquares, fit
from scalelaw.laws import laws
from scalelaw.testing.laws import Points

Array = NDArray[np.float64]
WIDTHS = np.geomspace(4, 4096, 11)


def table(x: Array, loss: Array, **more: Array) -> Points:
    return Points({"width": x, "loss": loss, **more})


def saturating(x: Array, noise: float = 0.0, seed: int = 0) -> Points:
    rng = np.random.default_rng(seed)
    return table(x, (1.7 + 5 * x**-0.5) * np.exp(noise * rng.standard_normal(len(x))))


def numeric(found: Fit) -> tuple[Array, Array]:
    """Gradient and Hessian of the objective at a point off the minimum, by differences."""
    u = found.u + 0.01
    step = 1e-5
    rows = np.eye(len(u)) * step
    gradient = (found.problem.evaluate(u + rows).value - found.problem.evaluate(u - rows).value) / (2 * step)
    hessian = (found.problem.evaluate(u + rows).gradient - found.problem.evaluate(u - rows).gradient) / (2 * step)
    return gradient, hessian


@pytest.mark.parametrize("name", laws.names())
@pytest.mark.parametrize("objective", [Huber(width=10.0), LeastSquares(), LeastSquares(log=False)], ids=lambda item: item.name)
def test_gradient_and_hessian_are_exact(name: str, objective: Any) -> None:
    law = laws[name].over(laws[name].inputs)
    rng = np.random.default_rng(3)
    y = law.predict(law.example.theta, law.example.x) * np.exp(
        0.01 * rng.standard_normal(len(next(iter(law.example.x.values()))))
    )
    found = fit(law, Points({**law.example.x, law.output: y}), objective=objective)
    here = found.problem.evaluate(found.u[None, :] + 0.01)
    gradient, hessian = numeric(found)
    assert np.allclose(here.gradient[0], gradient, rtol=1e-4, atol=1e-6 * np.abs(gradient).max())
    assert np.allclose(here.hessian[0], hessian, rtol=1e-4, atol=1e-6 * np.abs(hessian).max())


def test_closed_form_and_jets_agree() -> None:
    """The sum of terms has moments in closed form; the jets of the same formula must give the same numbers."""
    found = fit("saturating", saturating(WIDTHS, 0.01), over="width")
    closed = found.problem.evaluate(found.u[None, :] + 0.02)
    z, first, second = found.problem.prediction(found.u[None, :] + 0.02)
    value, psi, bend = found.objective.rho(found.problem.y - z)
    assert closed.value[0] == pytest.approx(value.sum(), rel=1e-12)
    assert closed.gradient[0] == pytest.approx(-np.einsum("n,qn->q", psi[0], first[:, 0]), rel=1e-10)
    hessian = np.einsum("n,qn,rn->qr", bend[0], first[:, 0], first[:, 0]) - np.einsum("n,qrn->qr", psi[0], second[:, :, 0])
    assert np.allclose(closed.hessian[0], hessian, rtol=1e-9, atol=1e-15)


@pytest.mark.parametrize("law", ["saturating", "m3"])
def test_a_batch_in_blocks_is_its_rows_one_by_one(law: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Blocks of starts and of rows, weights picked by row, and the short cut for starts at one point change nothing."""
    found = fit(law, saturating(WIDTHS, 0.01), over="width")
    rng = np.random.default_rng(0)
    u = found.u + 0.01 * rng.standard_normal((7, len(found.u)))
    weight, y = rng.integers(0, 3, (9, 11)).astype(float), found.problem.y + 0.01 * rng.standard_normal((9, 11))
    rows = np.array([8, 0, 3, 3, 1, 5, 7])
    for name in ("_BLOCK", "_SMALL"):
        monkeypatch.setattr(f"scalelaw._sums.{name}", 4)
    monkeypatch.setattr("scalelaw._problem._BLOCK", 4)
    for at in (u, np.tile(u[:1], (7, 1))):
        for outcomes in (None, y):
            whole = found.problem.evaluate(at, weight, outcomes, rows)
            for k, row in enumerate(rows):
                one = found.problem.evaluate(at[k : k + 1], weight[row], None if outcomes is None else outcomes[row])
                assert whole.value[k] == pytest.approx(one.value[0], rel=1e-12)
                assert whole.gradient[k] == pytest.approx(one.gradient[0], rel=1e-9, abs=1e-12)
                assert whole.hessian[k] == pytest.approx(one.hessian[0], rel=1e-9, abs=1e-12)


def test_an_exact_law_converges_under_every_objective() -> None:
    """Residuals at the rounding of a double are a minimum, also where the objective divides them by a small width."""
    for name in ("power", "saturating", "chinchilla", "broken"):
        law = laws[name].over(laws[name].inputs)
        points = Points({**law.example.x, "loss": law.predict(law.example.theta, law.example.x)})
        for objective in (Huber(), LeastSquares(), Absolute()):
            found = fit(law, points, objective=objective)
            assert found.status is FitStatus.CONVERGED
            assert dict(found.theta) == pytest.approx(dict(law.example.theta), rel=1e-6)


def test_a_wide_huber_is_least_squares() -> None:
    data = saturating(WIDTHS, 0.01)
    wide, squares = (fit("saturating", data, over="width", objective=each) for each in (Huber(width=10.0), LeastSquares()))
    assert dict(wide.theta) == pytest.approx(dict(squares.theta), rel=1e-9)
    # The mixture with each row's own pull differs from the pooled variance, not by much.
    assert wide.stderr["alpha"] == pytest.approx(squares.stderr["alpha"], rel=0.6)


def test_least_squares_errors_are_the_textbook_ones() -> None:
    x = WIDTHS
    rng = np.random.default_rng(5)
    loss = 7 - 0.3 * np.log(x) + 0.05 * rng.standard_normal(len(x))
    found = fit("log_linear", table(x, loss), over="width")
    design = np.stack([np.ones_like(x), -np.log(x)], axis=1)
    solved, squares, _, _ = np.linalg.lstsq(design, loss, rcond=None)
    errors = np.sqrt(np.diag(np.linalg.inv(design.T @ design)) * squares[0] / (len(x) - 2))
    assert list(found.theta.values()) == pytest.approx(solved)
    assert list(found.stderr.values()) == pytest.approx(errors)
    at = found.predict_se({"width": 8192.0})
    row = np.array([1.0, -np.log(8192.0)])
    covariance = np.linalg.inv(design.T @ design) * squares[0] / (len(x) - 2)
    assert at == pytest.approx(math.sqrt(row @ covariance @ row))


def test_an_outlier_does_not_move_the_robust_fit() -> None:
    data = saturating(WIDTHS, 0.001)
    loss = data.columns["loss"].copy()
    loss[4] *= 10
    bad = fit("saturating", table(WIDTHS, loss), over="width")
    good = fit("saturating", data, over="width")
    assert bad.theta["alpha"] == pytest.approx(good.theta["alpha"], rel=0.02)
    assert bad.theta["E"] == pytest.approx(good.theta["E"], rel=0.01)


def test_weights_count_rows() -> None:
    data = saturating(WIDTHS, 0.01)
    repeats = np.array([1, 2, 1, 3, 1, 1, 2, 1, 1, 1, 2])
    counted = fit("saturating", data, over="width", weights=repeats.astype(float))
    written = fit("saturating", table(np.repeat(WIDTHS, repeats), np.repeat(data.columns["loss"], repeats)), over="width")
    assert counted.value == pytest.approx(written.value, rel=1e-12)
    assert dict(counted.theta) == pytest.approx(dict(written.theta), rel=1e-6)


def test_fixed_bounded_and_tied_parameters() -> None:
    data = saturating(WIDTHS, 0.01)
    held = fit("saturating", data, over="width", fixed={"E": 1.7})
    assert held.theta["E"] == 1.7
    assert held.stderr["E"] == 0.0
    assert held.freedom == 9
    kept = fit("saturating", data, over="width", bounds={"alpha": (0.1, 0.3)})
    assert kept.theta["alpha"] == pytest.approx(0.3)
    assert kept.status is FitStatus.AT_BOUND
    assert kept.certificate.active == ("alpha",)
    truth = laws["chinchilla_shared"].example
    points = Points({**truth.x, "loss": laws["chinchilla_shared"].predict(truth.theta, truth.x)})
    tied = fit("chinchilla", points, tied={"beta": "alpha"})
    assert tied.theta["alpha"] == tied.theta["beta"] == pytest.approx(truth.theta["alpha"], rel=1e-6)
    nothing = fit("power", data, over="width", fixed={"A": 3.0, "alpha": 0.1})
    assert dict(nothing.theta) == pytest.approx({"A": 3.0, "alpha": 0.1}, rel=1e-14)


def test_a_coefficient_that_vanishes_is_zero_and_at_its_bound() -> None:
    found = fit("saturating", table(WIDTHS, 7 - 0.3 * np.log(WIDTHS)), over="width")
    assert found.theta["E"] == 0.0
    assert found.status is FitStatus.AT_BOUND
    assert found.interval()["E"] == pytest.approx((math.nan, math.nan), nan_ok=True)
    assert np.isfinite(found.predict({"width": 1e5})).all()
    assert found.to_dict()["interval"]["E"] == [None, None]


def test_constant_and_rising_losses_are_not_called_converged() -> None:
    for loss in (np.full(11, 2.5), 2 + 0.1 * np.log(WIDTHS)):
        found = fit("saturating", table(WIDTHS, loss), over="width")
        assert found.status in (FitStatus.NOT_IDENTIFIED, FitStatus.AT_BOUND)


@pytest.mark.parametrize(
    "name", ["saturating", "chinchilla", "chinchilla_shared", "kaplan", "data_constrained", "m3", "m4", "broken"]
)
def test_terms_below_rounding_are_not_called_converged(name: str) -> None:
    """A constant loss leaves coefficients of 1e-13, with exponents that mean nothing."""
    law = laws[name].over(laws[name].inputs)
    found = fit(law, Points({**law.example.x, "loss": np.full(len(next(iter(law.example.x.values()))), 2.5)}))
    assert found.status is not FitStatus.CONVERGED
    tens = fit("saturating", Points({"width": np.repeat(WIDTHS, 4), "loss": np.full(44, 2.5)}), over="width")
    assert tens.status is FitStatus.NOT_IDENTIFIED
    assert "no term with alpha" in tens.message


def test_a_collinear_ladder_is_told() -> None:
    size = np.geomspace(1e7, 1e10, 12)
    law, theta = laws["chinchilla"], laws["chinchilla"].example.theta
    data = Points(
        {"parameters": size, "tokens": 20 * size, "loss": law.predict(theta, {"parameters": size, "tokens": 20 * size})}
    )
    found = fit("chinchilla", data)
    assert found.status is FitStatus.NOT_IDENTIFIED
    assert "tokens = 20 parameters on every row, so A, B, alpha and beta cannot be told apart" in found.message
    assert "off the ladder" in found.message
    combined = found.certificate.combined
    assert combined is not None
    assert combined.message in found.message
    assert combined.law == "saturating"
    assert combined.over == "parameters"
    # Between the two exponents, and the sum of the two terms where the runs are.
    assert 0.33 < combined.theta["alpha"] < 0.40
    along = laws["saturating"].predict(combined.theta, {"x": size})
    assert along == pytest.approx(data.columns["loss"], rel=1e-4)
    assert found.to_dict()["certificate"]["combined"]["theta"] == dict(combined.theta)
    assert found.predict({"parameters": 1e9, "tokens": 2e10}) == pytest.approx(
        law.predict(theta, {"parameters": 1e9, "tokens": 2e10}), rel=1e-4
    )


def test_an_exponent_that_both_terms_share_is_known_on_a_ladder() -> None:
    """A N^-alpha + B (r N)^-alpha = (A + B r^-alpha) N^-alpha: alpha and that sum are identified, A and B are not."""
    size = np.geomspace(1e7, 1e10, 12)
    law, theta = laws["chinchilla_shared"], laws["chinchilla_shared"].example.theta
    x = {"parameters": size, "tokens": 20 * size}
    found = fit("chinchilla_shared", Points({**x, "loss": law.predict(theta, x)}))
    combined = found.certificate.combined
    assert combined is not None
    assert combined.apart == ("A", "B")
    assert combined.theta["alpha"] == pytest.approx(theta["alpha"], rel=1e-6)
    assert combined.theta["A"] == pytest.approx(theta["A"] + theta["B"] * 20 ** -theta["alpha"], rel=1e-5)
    # With one of the two known, nothing is left open.
    held = fit("chinchilla_shared", Points({**x, "loss": law.predict(theta, x)}), fixed={"B": theta["B"]})
    assert held.theta["A"] == pytest.approx(theta["A"], rel=1e-5)


def test_as_many_parameters_as_points_give_no_errors() -> None:
    found = fit("saturating", saturating(np.array([4.0, 64.0, 1024.0])), over="width")
    assert found.status is FitStatus.TOO_FEW_POINTS
    assert all(math.isnan(value) for value in found.stderr.values())
    assert set(found.to_dict()["stderr"].values()) == {None}


@pytest.mark.parametrize(
    ("columns", "match"),
    [
        ({"width": [4.0, 8.0], "loss": [3.0, 2.0]}, "3 free parameters and the data 2 distinct sizes"),
        ({"width": [4.0] * 5, "loss": [3.0, 2.9, 3.0, 3.1, 3.0]}, "only one size"),
        ({"width": [4.0, 8.0, 16.0, 32.0], "loss": [3.0, 2.0, 0.0, 1.0]}, "loss, row 3: not positive"),
        ({"width": [4.0, 8.0, 16.0, 32.0], "loss": [3.0, 2.0, -1.0, 1.0]}, "row 3"),
        ({"width": [4.0, 8.0, 16.0, 32.0], "loss": [3.0, math.inf, 1.0, 1.0]}, "loss, row 2: an infinite value"),
        ({"width": [4.0, 8.0, -16.0, 32.0], "loss": [3.0, 2.0, 1.5, 1.0]}, "width, row 3"),
        ({"width": [4.0, 8.0, 1e300, 32.0], "loss": [3.0, 2.0, 1.5, 1.0]}, "width, row 3: a value beyond"),
        ({"width": [4.0, 8.0], "loss": [math.nan, math.nan]}, "no row"),
    ],
)
def test_tables_that_no_method_can_fit_are_told_in_one_line(columns: dict[str, list[float]], match: str) -> None:
    with pytest.raises(DataError, match=match) as caught:
        fit("saturating", Points({name: np.array(values) for name, values in columns.items()}), over="width")
    assert "\n" not in str(caught.value)


def test_wrong_calls() -> None:
    data = saturating(WIDTHS)
    with pytest.raises(UnknownNameError, match="Did you mean 'alpha'"):
        fit("saturating", data, over="width", fixed={"alfa": 1.0})
    with pytest.raises(InputError, match="out of order"):
        fit("saturating", data, over="width", bounds={"alpha": (1.0, 0.5)})
    with pytest.raises(InputError, match="one weight"):
        fit("saturating", data, over="width", weights=[1.0])
    with pytest.raises(InputError, match="not free"):
        fit(
            "chinchilla",
            Points(laws["chinchilla"].example.x | {"loss": np.ones(36)}),
            fixed={"alpha": 0.3},
            tied={"beta": "alpha"},
        )


def test_missing_losses_are_left_out_and_counted() -> None:
    data = saturating(WIDTHS)
    loss = data.columns["loss"].copy()
    loss[[2, 5]] = np.nan
    found = fit("saturating", table(WIDTHS, loss), over="width")
    assert (found.n, found.dropped) == (9, 2)
    assert found.theta["alpha"] == pytest.approx(0.5, rel=1e-6)


def test_two_seeds_at_each_size_leave_a_flat_bottom_that_still_counts() -> None:
    """Between the two seeds of every size the absolute loss is level: a minimum, though its Hessian is 0."""
    for seed in range(30):
        found = fit("saturating", saturating(np.repeat(np.geomspace(4, 1024, 9), 2), 0.01, seed), over="width")
        assert found.status in (FitStatus.CONVERGED, FitStatus.AT_BOUND), found.message


def test_the_sum_is_minimised_whatever_its_size() -> None:
    """A mean of Huber losses at 1e-3 is about 1e-6, which stops many optimisers at their start. Ours does not see the size."""
    data = saturating(WIDTHS, 0.002)
    whole = fit("saturating", data, over="width")
    mean = fit("saturating", data, over="width", weights=np.full(11, 1 / 11))
    tiny = fit("saturating", data, over="width", weights=np.full(11, 1e-12))
    for each in (mean, tiny):
        assert dict(each.theta) == pytest.approx(dict(whole.theta), rel=1e-8)
        assert each.status is whole.status
    assert tiny.value == pytest.approx(whole.value * 1e-12, rel=1e-8)


def test_absolute_loss_passes_through_as_many_points_as_parameters() -> None:
    found = fit("saturating", saturating(WIDTHS, 0.01), over="width", objective=Absolute())
    assert np.sum(np.abs(found.problem.residual(found.u[None, :])) < 2e-6) == 3


def test_no_random_start_beats_the_fit() -> None:
    rng = np.random.default_rng(0)
    for seed in range(10):
        found = fit("saturating", saturating(WIDTHS, 0.02, seed), over="width")
        starts = np.stack([rng.uniform(-3, 1, 60), rng.uniform(-3, 1, 60), rng.uniform(0.05, 2, 60)], axis=1)
        others = minimise(found.problem, starts)
        assert others.value.min() >= found.value * (1 - 1e-9)


def test_a_certificate_says_why() -> None:
    found = fit("saturating", saturating(WIDTHS, 0.01), over="width")
    sure = found.certificate
    assert sure.gradient < 1e-6
    assert sure.decrement <= 1e-12 * found.value
    assert 1 <= sure.condition_projected <= sure.condition
    assert sure.agree > 0
    assert found.to_dict()["certificate"]["basins"] == sure.basins
    assert found.digest == fit("saturating", saturating(WIDTHS, 0.01), over="width").digest


@pytest.mark.parametrize(("rows", "noise"), [(8, 0.01), (12, 0.003)])
def test_intervals_cover(rows: int, noise: float) -> None:
    """Nominal 90 % for the exponent and a prediction at 8 times the largest size; 120 tables, 3 standard errors wide."""
    hits, tries = np.zeros(2), 120
    for seed in range(tries):
        found = fit("saturating", saturating(np.geomspace(4, 1024, rows), noise, seed), over="width")
        low, high = found.interval(0.9)["alpha"]
        at = {"width": 8192.0}
        reach = 0.5 * (found.interval(0.9)["alpha"][1] - found.interval(0.9)["alpha"][0]) / found.stderr["alpha"]
        miss = abs(float(found.predict(at)) - (1.7 + 5 * 8192**-0.5))
        hits += [low <= 0.5 <= high, miss <= reach * float(found.predict_se(at)[0])]
    assert np.all(hits / tries >= 0.9 - 3 * math.sqrt(0.09 / tries))


VALUES = st.one_of(st.floats(1e-3, 1e3), st.sampled_from([1.0, 2.0, 1e-30, 1e30, 1e300, math.nan]))


@settings(max_examples=40, deadline=None)
@given(
    name=st.sampled_from(["log_linear", "power", "saturating", "m3", "m4", "broken", "optimum"]),
    x=hnp.arrays(np.float64, st.integers(3, 14), elements=st.one_of(st.floats(1, 1e6), st.sampled_from([1e-30, 1e30, 64.0]))),
    data=st.data(),
)
def test_any_table_is_fitted_or_refused(name: str, x: Array, data: st.DataObject) -> None:
    """No crash, no warning, no silent NaN, no false CONVERGED."""
    loss = data.draw(hnp.arrays(np.float64, len(x), elements=VALUES))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        try:
            found = fit(name, Points({"width": x, "loss": loss}), over="width", outcome="loss")
        except InputError:
            return
        told = found.to_dict()
    assert all(math.isfinite(value) for value in found.theta.values())
    assert np.isfinite(found.predict({"width": x})).all() or found.status is not FitStatus.CONVERGED
    assert told["message"]
    if found.status is FitStatus.CONVERGED:
        values = found.problem.evaluate(found.u[None, :])
        assert math.isfinite(found.value)
        nudged = found.u + 1e-4 * np.concatenate([np.eye(len(found.u)), -np.eye(len(found.u))])
        around = found.problem.objective_at(nudged)
        assert np.all(around >= values.value[0] * (1 - 1e-9) - 1e-20)


@given(hnp.arrays(np.float64, (5, 4, 4), elements=st.floats(-1, 1)), hnp.arrays(np.float64, (4, 5), elements=st.floats(-1, 1)))
def test_the_vectorised_factorisation_solves(matrices: Array, right: Array) -> None:
    definite = np.einsum("bij,bkj->bik", matrices, matrices) + 0.1 * np.eye(4)
    lower, good = factor(np.ascontiguousarray(definite.transpose(1, 2, 0)))
    assert good.all()
    assert np.einsum("bij,jb->ib", definite, solve(lower, right)) == pytest.approx(right, abs=1e-9)
    _, indefinite = factor(np.ascontiguousarray((definite - 100 * np.eye(4)).transpose(1, 2, 0)))
    assert not indefinite.any()


def test_rows_that_all_lie_outside_the_huber_width_are_no_obstacle() -> None:
    """There the Hessian is 0, and only the slope says how far a step may go."""
    found = fit("power", table(np.array([4.0, 8.0, 16.0]), np.array([2.0, 1.5, 1.2])), over="width")
    assert found.status is FitStatus.CONVERGED
    # Two rows pull evenly against the third: their residuals are half the Huber width.
    assert np.sort(found.problem.residual(found.u[None, :])[0])[1:] == pytest.approx([5e-4, 5e-4], abs=1e-8)
