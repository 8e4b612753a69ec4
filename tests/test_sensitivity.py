"""The panel of choices: rows, spread, and rows without an answer."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from scalelaw import Trials, sensitivity
from scalelaw.errors import DataError, InputError, UnknownNameError

THETA = {"E": 1.8, "A": 480.0, "B": 2100.0, "alpha": 0.36, "beta": 0.36}


def world(noise: float = 0.0, **extra: Any) -> Trials:
    rng = np.random.default_rng(0)
    n, d = (each.ravel() for each in np.meshgrid(np.geomspace(1e8, 1e10, 6), np.geomspace(2e9, 5e11, 6)))
    loss = THETA["E"] + THETA["A"] * n**-0.36 + THETA["B"] * d**-0.36
    return Trials.from_columns({"parameters": n, "tokens": d, "loss": loss * np.exp(noise * rng.standard_normal(len(n)))} | extra)


def test_where_the_laws_hold_the_choices_do_not_matter() -> None:
    found = sensitivity(world(), 1e23, law=["chinchilla", "chinchilla_shared"], objectives=["huber", "least_squares"])
    assert len(found.answered) == len(found.rows) == 2 * 2 * 4
    assert found.spread["parameters"].factor == pytest.approx(1, abs=1e-3)
    assert found.spread["exponent"].low == pytest.approx(0.5, abs=1e-4)
    truth = (THETA["A"] / THETA["B"]) ** (1 / 0.72) * math.sqrt(1e23 / 6)
    assert found.rows[0].parameters == pytest.approx(truth, rel=1e-4)
    assert (found.rows[0].objective, found.rows[0].law, found.rows[0].dropped) == ("huber", "chinchilla", "none")


def test_a_wrong_row_spreads_objectives_and_dropping_it_heals() -> None:
    table = world(0.002)
    loss = np.array(table["loss"])
    loss[np.argsort(loss)[-3:]] *= 1.3
    found = sensitivity(table.with_column("loss", loss), 1e23, law=["chinchilla"], objectives=["huber", "least_squares"])
    size = {(row.objective, row.dropped): row.parameters or math.nan for row in found.rows}
    truth = (THETA["A"] / THETA["B"]) ** (1 / 0.72) * math.sqrt(1e23 / 6)
    off = {key: abs(math.log(value / truth)) for key, value in size.items()}
    assert off["least_squares", "none"] > 2 * off["least_squares", "highest_5"]
    assert off["least_squares", "none"] > 2 * off["huber", "none"]
    assert found.spread["parameters"].by["objective"] > 1


def test_other_forms_have_the_minimum_of_their_own_law() -> None:
    from scalelaw import laws

    for row in sensitivity(world(0.002), 1e23, objectives=["least_squares"], dropped=["none"]).rows:
        assert row.parameters is not None
        assert row.theta is not None
        grid = row.parameters * np.exp(np.linspace(-2, 2, 4001))
        value = laws[row.law].predict(row.theta, {"parameters": grid, "tokens": 1e23 / 6 / grid})
        assert grid[np.argmin(value)] == pytest.approx(row.parameters, rel=2e-3)
        assert row.loss == pytest.approx(float(value.min()), rel=1e-6)


def test_both_counts_stand_side_by_side() -> None:
    table = world(0.002)
    share = table.with_column("embedding_parameters", 5e7 * np.ones(len(table)))
    found = sensitivity(share, 1e23, objectives=["huber"], law=["chinchilla"], dropped=["none"])
    assert [row.count for row in found.rows] == ["PARAMETERS", "TOTAL"]
    assert found.spread["parameters"].by["count"] > 1


def test_rows_without_an_answer_keep_their_reason() -> None:
    n = np.geomspace(1e8, 1e10, 7)
    ladder = Trials.from_columns({"parameters": n, "tokens": 20 * n, "loss": 1.8 + 400 * n**-0.34})
    found = sensitivity(ladder, 1e23)
    assert not found.answered
    assert found.spread == {}
    assert all("20 tokens per parameter" in row.reason for row in found.rows if row.dropped == "none")
    told = json.loads(json.dumps(found.to_dict(), allow_nan=False))
    assert set(told["rows"][0]) >= {"objective", "law", "count", "dropped", "theta", "parameters"}
    assert told["rows"][0]["parameters"] is None


def test_wrong_calls_are_one_line() -> None:
    with pytest.raises(UnknownNameError):
        sensitivity(world(), 1e23, law=["chinchila"])
    with pytest.raises(InputError):
        sensitivity(world(), -1.0)
    with pytest.raises(DataError):
        sensitivity(Trials.from_columns({"loss": [1.0]}), 1e23)


def test_the_figure_shows_every_answer_and_the_default() -> None:
    from scalelaw.figures import Points, Role, figures
    from scalelaw.render import paint
    from scalelaw.testing.figures import check_numbers

    found = sensitivity(world(0.004), 1e23, objectives=["huber"], law=["chinchilla", "chinchilla_shared"])
    data = figures["sensitivity"].data(world(0.004), panel=found)  # type: ignore[call-arg]
    check_numbers(data)
    assert paint(data, format="png", dpi=60).startswith(b"\x89PNG")
    for panel in data.panels:
        (cloud,) = panel.marks_of(Role.RUN, Points)
        assert len(cloud.x) == len(found.answered)
        (default,) = panel.marks_of(Role.UNSEEN, Points)
        assert default.x == (found.rows[0].parameters,)


def test_the_command_line_prints_the_panel(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from scalelaw.cli import main
    from scalelaw.cli.sensitivity import show

    path = tmp_path / "runs.csv"
    world(0.004).to_frame().write_csv(path)
    assert main(["sensitivity", str(path), "--compute", "1e23", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert set(told) >= {"rows", "spread"}
    assert len(told["rows"]) == 3 * 4 * 4
    show(sensitivity(world(0.004), 1e23, objectives=["huber"], law=["chinchilla"]))
    assert "highest_5" in capsys.readouterr().out
    assert main(["sensitivity", str(path), "--compute", "-1"]) == 2
    assert len(capsys.readouterr().err.strip().splitlines()) == 1
