"""Every law keeps its contract; the jets that carry derivatives are right; formulas are what they say."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scalelaw.errors import InputError, UnknownNameError
from scalelaw.laws import Law, laws, resolve
from scalelaw.laws import _jet as jet
from scalelaw.testing.laws import check_law


@pytest.mark.parametrize("name", laws.names())
def test_a_law_keeps_its_contract(name: str) -> None:
    assert laws[name].name == name
    check_law(laws[name])


@pytest.mark.parametrize("name", laws.names())
def test_predictions_have_no_overflow_at_extreme_sizes(name: str) -> None:
    law = laws[name]
    for size in (1e-3, 1.0, 1e30, 1e300):
        value = law.predict(law.example.theta, dict.fromkeys(law.inputs, np.array([size])))
        assert value.shape == (1,)
        assert not np.isnan(value).any()


def test_the_width_law_is_a_line_in_the_logarithm() -> None:
    assert laws["log_linear"].predict({"a": 7.0, "b": 0.5}, {"x": np.e**2}) == pytest.approx(6.0)


def test_chinchilla_is_the_published_formula() -> None:
    law = laws["chinchilla"]
    theta = {"E": 1.69, "A": 406.4, "B": 410.7, "alpha": 0.34, "beta": 0.28}
    value = law.predict(theta, {"parameters": 7e10, "tokens": 1.4e12})
    assert value == pytest.approx(1.69 + 406.4 / 7e10**0.34 + 410.7 / 1.4e12**0.28, rel=1e-14)


def test_a_coefficient_may_be_zero() -> None:
    assert laws["saturating"].predict({"E": 0.0, "A": 2.0, "alpha": 1.0}, {"x": 4.0}) == pytest.approx(0.5)


def test_a_law_is_bound_to_columns_without_changing_the_member() -> None:
    bound = laws["power"].over("width")
    assert bound.columns == ("width",)
    assert laws["power"].columns == ()
    assert bound.predict({"A": 2.0, "alpha": 1.0}, {"width": 4.0}) == pytest.approx(0.5)


def test_wrong_names_are_told_in_one_line() -> None:
    with pytest.raises(UnknownNameError, match="Did you mean 'chinchilla'"):
        resolve("chinchila")
    with pytest.raises(InputError, match="no variant"):
        resolve("power:2")
    with pytest.raises(InputError, match="2 inputs"):
        laws["chinchilla"].over("width")
    with pytest.raises(InputError, match="needs tokens"):
        laws["chinchilla"].predict(laws["chinchilla"].example.theta, {"parameters": 1e9})
    with pytest.raises(InputError, match="positive"):
        laws["power"].predict({"A": 1.0, "alpha": 1.0}, {"x": 0.0})


def test_resolve_passes_a_law_through() -> None:
    law: Law = laws["power"]
    assert resolve(law) is law


UNARY: dict[str, Callable[[jet.Number], jet.Number]] = {
    "exp": jet.exp,
    "expm1": jet.expm1,
    "log": lambda x: jet.log(x * x + 1.0),
    "sigmoid": jet.sigmoid,
    "softplus": jet.softplus,
    "power": lambda x: (x * x + 1.0) ** 1.7,
    "reciprocal": lambda x: 2.0 / (x * x + 1.0),
    "exponential": lambda x: 3.0**x,
    "mixed": lambda x: (1.0 - x) / (x * x + 2.0) - x,
    "variable power": lambda x: (x * x + 1.0) ** x,
    "logaddexp": lambda x: jet.logaddexp(x * 2.0, -x * x),
    "maximum": lambda x: jet.maximum_constant(x * x, -1.0),
}


@pytest.mark.parametrize("name", UNARY)
@given(at=st.floats(-3, 3))
def test_jets_carry_exact_derivatives(name: str, at: float) -> None:
    function, step = UNARY[name], 1e-4

    def value(x: float) -> float:
        return float(np.asarray(function(np.array([x])))[0])

    found = function(jet.Jet(np.array([at]), np.ones((1, 1))))
    assert isinstance(found, jet.Jet)
    assert found.value[0] == pytest.approx(value(at), rel=1e-12, abs=1e-12)
    slope = (value(at + step) - value(at - step)) / (2 * step)
    bend = (value(at + step) - 2 * value(at) + value(at - step)) / step**2
    assert found.first[0, 0] == pytest.approx(slope, rel=1e-5, abs=1e-5)
    assert found.second is not None
    assert found.second[0, 0, 0] == pytest.approx(bend, rel=1e-4, abs=1e-4)


@pytest.mark.parametrize(
    "text",
    [
        "__import__('os').system('true')",
        "x.__class__",
        "E + A * x^-alpha if x else 1",
        "(lambda: 1)()",
        "E + open('a')",
        "[E for E in x]",
        "E + 'a' * x",
        "exp(x, E)",
        "True * A + x",
        "E +",
        "1 + x",
        "E + A",
        "",
        "(" * 300 + "x" + ")" * 300,
        "a" * 500,
    ],
)
def test_a_formula_is_parsed_and_never_run(text: str) -> None:
    with pytest.raises(InputError):
        resolve(f"formula:{text}") if text else resolve("formula").option(text)


@given(st.text(max_size=60))
def test_any_text_is_a_law_or_one_line(text: str) -> None:
    try:
        law = resolve("formula").option(text)
    except InputError:
        return
    assert law.parameters


def test_a_formula_is_a_law() -> None:
    law = resolve("formula:L = E + A * parameters^-alpha + B / tokens^beta")
    assert law.inputs == ("parameters", "tokens")
    assert law.names == ("E", "A", "alpha", "B", "beta")
    assert [item.name for item in law.parameters if item.linear] == ["E", "A", "B"]
    theta = laws["chinchilla"].example.theta
    at = {"parameters": 1e9, "tokens": 2e10}
    assert law.predict(theta, at) == pytest.approx(laws["chinchilla"].predict(theta, at), rel=1e-12)


def test_more_breaks_are_a_variant() -> None:
    law = resolve("broken:2")
    assert law.names == ("a", "b", "c0", "c1", "c2", "d1", "d2", "f1", "f2")
    one = laws["broken"].example.theta
    two = {**one, "c2": 0.0, "d2": 2e4, "f2": 0.3}
    assert law.predict(two, {"x": 50.0}) == pytest.approx(laws["broken"].predict(one, {"x": 50.0}), rel=1e-12)
    with pytest.raises(InputError, match="number of breaks"):
        resolve("broken:9")


def test_the_optimum_runs_over_any_number_of_scales() -> None:
    law = resolve("optimum").over(("width", "tokens"))
    assert law.names == ("c", "p_width", "p_tokens")
    assert law.predict({"c": 2.0, "p_width": 1.0, "p_tokens": 0.5}, {"width": 4.0, "tokens": 16.0}) == pytest.approx(0.125)
    assert resolve("optimum:curved").over("width").names == ("c", "p", "q")


def test_skaling_contains_chinchilla() -> None:
    theta = laws["chinchilla"].example.theta
    x = laws["chinchilla"].example.x
    assert laws["skaling"].predict({**theta, "k": 1.0}, x) == pytest.approx(laws["chinchilla"].predict(theta, x), rel=1e-12)


def test_overtraining_is_chinchilla_with_one_exponent() -> None:
    """(a M^eta + b M^-eta) C^-eta with C = 6 N D is a 6^-eta N^-2eta + b 6^-eta D^-2eta."""
    theta, x = laws["overtraining"].example.theta, laws["overtraining"].example.x
    eta = theta["eta"]
    same = {"E": theta["E"], "A": theta["a"] * 6**-eta, "B": theta["b"] * 6**-eta, "alpha": 2 * eta}
    assert laws["overtraining"].predict(theta, x) == pytest.approx(laws["chinchilla_shared"].predict(same, x), rel=1e-12)


def test_data_seen_once_follow_chinchilla() -> None:
    law = laws["data_constrained"]
    theta = {**law.example.theta, "R_N": 1e6}
    x = {"parameters": 1e9, "tokens": 2e10}
    plain = laws["chinchilla"].predict(theta, x)
    assert law.predict(theta, {**x, "dataset_size": 2e10}) == pytest.approx(plain, rel=1e-4)
    assert law.predict(theta, {**x, "dataset_size": 2e8}) > plain


def test_m4_solves_its_equation() -> None:
    theta, x = laws["m4"].example.theta, laws["m4"].example.x
    loss = laws["m4"].predict(theta, x)
    left = (loss - theta["E"]) / (theta["S"] - loss) ** theta["a"]
    assert left == pytest.approx(theta["A"] * x["x"] ** -theta["alpha"], rel=1e-9)
