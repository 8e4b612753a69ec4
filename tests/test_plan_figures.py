"""The planner's figures show the plan's own numbers, and the report has them where the target lies beyond the data."""

from __future__ import annotations

import math

import numpy as np
import pytest

from scalelaw.errors import DataError
from scalelaw.figures import Band, FigureData, Line, Points, Role, Shape
from scalelaw.figures.gain_per_cost import GainPerCost
from scalelaw.figures.spend_vs_regret import SpendVsRegret
from scalelaw.forecast import forecast
from scalelaw.plan import Plan, plan, price_of
from scalelaw.report import report
from scalelaw.testing.figures import check_figure, check_numbers
from scalelaw.testing.surfaces import Surface, axes
from scalelaw.trials import Trials

TARGET = {"width": 4096.0}


def costly(trials: Trials) -> Trials:
    return trials.with_column("compute", 1e3 * trials.numbers("width") ** 2)


@pytest.fixture(scope="module")
def trials() -> Trials:
    world = Surface(axes(1, learning_rate={"points": 9}), sizes=4, tau=0.02, noise=0.006, cliff=1.6)
    return costly(world.draw(np.random.default_rng(0))[0])


@pytest.fixture(scope="module")
def found(trials: Trials) -> Plan:
    return plan(trials, TARGET, 1e11)


@pytest.fixture(scope="module")
def gains(trials: Trials, found: Plan) -> FigureData:
    return GainPerCost().data(trials, plan=found)


def test_contract(trials: Trials) -> None:
    expected = forecast(trials, TARGET)
    for figure in (GainPerCost(), SpendVsRegret()):
        alone = check_figure(figure, trials)
        assert "width 2048" in alone.description, "four times the largest size"
        assert "width 4096" in check_figure(figure, trials, forecast=expected).description


def test_two_scale_columns_and_two_hyperparameters() -> None:
    world = Surface(axes(2), over=("parameters", "tokens"), sizes=4, smallest=(1e7, 1e9))
    trials = world.draw(np.random.default_rng(0))[0]
    for figure in (GainPerCost(), SpendVsRegret()):
        data = check_figure(figure, trials)
    panel = check_figure(GainPerCost(), trials).panels[0]
    assert panel.x.label == "FLOPs of one run"
    assert not [mark for mark in panel.marks if isinstance(mark, Line | Band)]
    (made,) = panel.marks_of(Role.RUN, Points)
    assert len(made.x) > 20
    assert data.panels


def test_every_size_is_shown_by_its_best_gain_per_cost(found: Plan, gains: FigureData) -> None:
    assert found.offered is not None
    pool, gain = found.offered
    (offers,) = gains.panels[0].marks_of(Role.OFFER, Points)
    assert set(offers.x) == {point["width"] for point in pool.points}
    worth = gain / pool.cost
    for width in set(offers.x):
        cell = next(c for c, point in enumerate(pool.points) if point["width"] == width)
        best = max(value for x, value in zip(offers.x, offers.values, strict=True) if x == width)
        assert best == pytest.approx(max(worth[pool.cell == cell].max(), worth.max() / 100))
    assert gains.panels[0].ramp is not None
    assert gains.panels[0].ramp.high == pytest.approx(worth.max())


def test_the_plans_runs_are_marked_by_their_reason(found: Plan, gains: FigureData) -> None:
    marks = gains.panels[0].marks_of(Role.CHOSEN, Points)
    shown = {(x, y, shape is Shape.OPEN) for mark in marks for x, y, shape in zip(mark.x, mark.y, mark.shapes, strict=True)}
    assert shown == {(run.values["width"], run.values["learning_rate"], run.filling) for run in found.runs}
    (target,) = gains.panels[0].marks_of(Role.FORECAST, Points)
    best = found.setting["learning_rate"]
    assert (target.x, target.y, target.low, target.high) == ((4096.0,), (best.value,), (best.low,), (best.high,))
    (line,) = gains.panels[0].marks_of(Role.TUNED_LAW, Line)
    assert line.y[-1] == pytest.approx(best.value, rel=1e-3)


def test_the_curve_is_the_plans(trials: Trials, found: Plan) -> None:
    data = SpendVsRegret().data(trials, plan=found)
    (line,) = data.panel("regret").marks_of(Role.TUNED_LAW, Line)
    assert line.y == pytest.approx([100 * each.regret for each in found.curve])
    assert line.x[1:] == pytest.approx([each.spend for each in found.curve[1:]])
    assert 0 < line.x[0] < line.x[1], "nothing spent has a place of its own"
    assert data.panel("regret").x.ticks[0].label == "0"
    (band,) = data.panel("regret").marks_of(Role.TUNED_LAW, Band)
    assert band.high == pytest.approx([100 * each.high for each in found.curve])
    (total,) = data.panel("total").marks_of(Role.TUNED_LAW, Line)
    assert total.y == pytest.approx([each.total for each in found.curve])
    (stop,) = data.panel("total").marks_of(Role.CHOSEN, Points)
    row = next(each for each in found.curve if each.runs == found.stop)
    assert stop.y == (row.total,)
    assert row.total <= min(total.y) * 1.03


def test_money_is_on_the_axes(trials: Trials) -> None:
    paid = plan(trials, TARGET, 1e11, price=price_of("2 EUR/gpu-hour", peak_flops=1e9, mfu=0.5))
    data = SpendVsRegret().data(trials, plan=paid)
    check_numbers(data)
    assert data.panel("total").y.label == "cost (EUR)"
    (line,) = data.panel("total").marks_of(Role.TUNED_LAW, Line)
    assert line.y[0] == pytest.approx(paid.curve[0].total * 2 / (0.5e9 * 3600))


def test_without_a_bowl_there_is_nothing_to_draw(trials: Trials) -> None:
    for figure in (GainPerCost(), SpendVsRegret()):
        with pytest.raises(DataError):
            figure.data(trials.where("width == 64"))
        with pytest.raises(DataError, match="plan"):
            figure.data(trials, plan=plan(trials.where("width == 64"), TARGET, 1e11))


def test_the_report_plans_where_the_target_is_beyond_the_data(trials: Trials) -> None:
    text = report(trials, at=TARGET)
    assert "<h2>What to run next</h2>" in text
    assert text.count("<svg") == 6
    inside = report(trials)
    assert "What to run next" not in inside
    unpaid = report(Trials(dict(trials.columns) | {"compute": np.full(len(trials), math.nan)}, "t"), at=TARGET)
    assert "What to run next" not in unpaid
