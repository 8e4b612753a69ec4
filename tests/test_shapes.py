"""Rounding an allocation: shapes that can be built, whole steps within the budget, and what it costs."""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scalelaw import Trials, allocate
from scalelaw.allocate import Count, Family, preferred, read_shapes
from scalelaw.allocate._compare import misfit
from scalelaw.errors import InputError
from test_allocate import BUDGETS, THETA, loss, optimum, world

COMPUTE = 1e22


def law_loss(n: float, d: float) -> float:
    return float(loss(n, d, THETA))


def least(compute: float) -> float:
    n = float(optimum(compute)[0])
    return law_loss(n, compute / (6 * n))


# ---- shapes -------------------------------------------------------------------------------------------------------------------


@given(st.floats(1e6, 1e13))
def test_every_shape_is_one_that_can_be_built(parameters: float) -> None:
    for each in Family().near(parameters, Count.PARAMETERS):
        assert each.width is not None
        assert each.depth is not None
        assert each.heads is not None
        assert each.width % (64 if each.width <= 1024 else 128) == 0
        assert each.width // each.heads in (64, 128)
        assert each.width % each.heads == 0
        assert each.parameters == 12 * each.depth * each.width**2 + (2 * each.depth + 1) * each.width


@given(st.floats(1e7, 1e12))
def test_the_default_family_comes_within_a_few_percent(parameters: float) -> None:
    nearest = min(abs(math.log(each.parameters / parameters)) for each in Family().near(parameters, Count.PARAMETERS))
    assert nearest < 0.05
    usual = Family().usual(parameters, Count.PARAMETERS)
    assert abs(math.log(usual.parameters / parameters)) < 0.11
    assert usual.aspect is not None
    assert 60 < usual.aspect < 160


def test_a_shape_counts_as_the_built_in_transformer_does() -> None:
    from scalelaw.train.models import Ends, Net, models

    family = models["transformer"]
    for tied, name in ((True, "tied"), (False, "untied")):
        (shape,) = Family((128,), (3,), (2,), 256, tied).near(1e6, Count.TOTAL)
        sizes = {"width": 128, "depth": 3, "heads": 2, "context": 16}
        built = family.structure(Net(sizes, {"embeddings": name, "qk_norm": "off"}), Ends(16, 256, True))
        assert shape.parameters == built.parameters + built.embedding_parameters
    (shape,) = Family((128,), (3,), (2,), 256).near(1e6, Count.PARAMETERS)
    assert shape.parameters == built.parameters


def test_embeddings_need_a_vocabulary() -> None:
    with pytest.raises(InputError, match="vocabulary"):
        Family().near(1e9, Count.TOTAL)
    assert Family(vocabulary=50_257).near(1e9, Count.AS_GIVEN) == Family(vocabulary=50_257).near(1e9, Count.TOTAL)


def test_shapes_are_read_from_text() -> None:
    assert read_shapes("transformer") == Family()
    sizes = read_shapes("13e9, 7e9")
    assert not isinstance(sizes, Family)
    assert [each.parameters for each in sizes] == [7e9, 13e9]
    found = read_shapes("width=1024:2048:512,depth=16/24,heads=8/16,vocabulary=50257,embeddings=tied")
    assert found == Family((1024, 1536, 2048), (16, 24), (8, 16), 50_257, True)


@pytest.mark.parametrize(
    "wrong",
    [
        "",
        "seven",
        "7e9,-1",
        "nan",
        "width",
        "width=",
        "width=12.5",
        "width=0",
        "width=64,width=128",
        "width=4:2",
        "width=1:2:3:4",
        "width=1:1e9",
        "height=3",
        "width=64,embeddings=shared",
        [],
        [0.0],
        Family(widths=(0,)),
    ],
)
def test_shapes_that_mean_nothing_are_one_line(wrong: Any) -> None:
    with pytest.raises(InputError) as told:
        read_shapes(wrong)
    assert "\n" not in str(told.value)


def test_heads_divide_their_width() -> None:
    (shape,) = Family(widths=(640, 1000), heads=(3, 10, 16)).near(1e8, Count.PARAMETERS)[:1]
    assert (shape.width, shape.heads) == (640, 10)
    with pytest.raises(InputError, match="heads"):
        Family(widths=(640,), heads=(7,)).near(1e8, Count.PARAMETERS)


# ---- rounding -----------------------------------------------------------------------------------------------------------------


def test_rounding_stays_within_the_budget_in_whole_steps() -> None:
    batch = 4e6
    found = allocate(world(), COMPUTE, shapes="transformer", batch_tokens=batch)
    assert found.rounded is not None
    assert found.rounded.choices
    for each in found.rounded.choices:
        assert each.compute <= COMPUTE * (1 + 1e-9)
        assert each.compute == pytest.approx(6 * each.shape.parameters * each.tokens)
        assert each.steps is not None
        assert each.tokens == each.steps * batch
        # One step more would not be.
        assert each.compute + 6 * each.shape.parameters * batch > COMPUTE


@pytest.mark.parametrize("sizes", [[3e9, 7e9, 13e9], [1e9, 30e9], [2e8]])
def test_the_cost_of_rounding_is_the_laws(sizes: list[float]) -> None:
    rounded = allocate(world(), COMPUTE, shapes=sizes).rounded
    assert rounded is not None
    assert rounded.approach == "approach_3"
    assert {each.shape.parameters for each in rounded.choices} == set(sizes)
    costs = [law_loss(each.shape.parameters, each.tokens) / least(COMPUTE) - 1 for each in rounded.choices]
    assert costs == sorted(costs)
    for each, cost in zip(rounded.choices, costs, strict=True):
        assert each.excess is not None
        assert each.regret is not None
        assert each.excess.value == pytest.approx(cost, rel=1e-3, abs=1e-7)
        assert each.regret.value == pytest.approx(cost, rel=1e-2, abs=1e-6)


def test_intervals_of_rounding_cover_the_truth() -> None:
    """90 % intervals of a coarse rounding's cost, and regrets that are never negative, over noisy worlds."""
    truth = law_loss(3e9, COMPUTE / 18e9) / least(COMPUTE) - 1
    inside = []
    for seed in range(60):
        rounded = allocate(world(noise=0.005, seed=seed), COMPUTE, shapes=[3e9]).rounded
        assert rounded is not None
        (each,) = rounded.choices
        assert each.regret is not None
        assert each.regret.low >= -1e-9
        inside.append(each.regret.low <= truth <= each.regret.high)
    # Binomial(60, 0.9): 46 or fewer in one of a thousand.
    assert sum(inside) >= 47


def test_the_preferred_approach_is_the_law_unless_it_is_contradicted() -> None:
    taken, why = preferred(allocate(world(), COMPUTE))
    assert taken is not None
    assert taken.name == "approach_3"
    assert "inside" in why
    # A wall on the side of large models that the law does not have; the lowest points stay where they are.
    table = world(noise=0.001)
    u = np.log(table["parameters"] / optimum(table["compute"]))
    bent = table.with_column("loss", table["loss"] * np.exp(0.1 * np.maximum(u, 0) ** 3))
    found = allocate(bent, COMPUTE, shapes=[7e9, 13e9])
    assert found.rounded is not None
    assert found.rounded.approach == "approach_2"
    assert "outside" in found.rounded.reason
    assert all(each.excess is not None and each.excess.value >= 0 for each in found.rounded.choices)


def test_a_law_that_misses_the_profiles_is_not_preferred() -> None:
    """By the runs about it, though its N* lies inside a wide interval; and hardly ever where it holds."""
    seen: dict[str, list[bool]] = {"law": [], "wall": []}
    for seed in range(40):
        table = world(noise=0.004, seed=seed, budgets=BUDGETS[:4])
        u = np.log(table["parameters"] / optimum(table["compute"]))
        walled = table.with_column("loss", table["loss"] * np.exp(0.025 * np.maximum(u + 0.5, 0) ** 3))
        for name, each in (("law", table), ("wall", walled)):
            found = allocate(each, 1e22)
            _, second, third = found.approaches
            seen[name].append(misfit(second, third, found.per_token) < 0.05)
            taken, why = preferred(found)
            assert taken is not None
            if seen[name][-1]:
                assert taken.name == "approach_2"
                assert "misses" in why or "outside" in why
    # Binomial(40, 0.1), as profiles of eight sizes in four budgets have it: 9 or more in one of fifty.
    assert sum(seen["law"]) <= 8
    assert np.mean(seen["wall"]) >= 0.9


def test_approach_two_rounds_where_no_law_can_be_fitted() -> None:
    few = world(noise=0.001).where(np.isin(np.round(np.log(world()["compute"]), 3), np.round(np.log([1e18, 1e21]), 3)))
    found = allocate(few, COMPUTE, law="chinchilla", shapes=[3e9, 30e9])
    second = found.approach("approach_2")
    assert second.parameters is not None
    assert found.rounded is not None
    told = json.loads(json.dumps(found.to_dict()))["rounded"]
    assert [each["parameters"] for each in told["shapes"]]
    assert set(told["shapes"][0]) >= {"width", "depth", "heads", "tokens", "steps", "compute", "excess", "regret", "interval"}


def test_nothing_to_round_says_so() -> None:
    line = Trials.from_columns({"parameters": [1e8, 1e9], "tokens": [2e9, 2e10], "loss": [3.0, 2.5]})
    rounded = allocate(line, COMPUTE, shapes="transformer").rounded
    assert rounded is not None
    assert not rounded.choices
    assert "No approach" in rounded.reason
    large = allocate(world(), COMPUTE, shapes=[1e24]).rounded
    assert large is not None
    assert not large.choices
    assert "Not one step" in large.reason


def test_a_batch_that_means_nothing_is_one_line() -> None:
    for batch in (0.0, -1.0, math.inf, math.nan):
        with pytest.raises(InputError, match="step"):
            allocate(world(), COMPUTE, batch_tokens=batch)
