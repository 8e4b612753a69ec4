"""A law of the best case, and the same law at the setting that was kept."""

from __future__ import annotations

import json

import numpy as np
import pytest

import scalelaw
from scalelaw.ample import Ground
from scalelaw.best_case import standing
from scalelaw.diagnostics import Case, diagnostics
from scalelaw.errors import DataError
from scalelaw.laws import laws
from scalelaw.testing.worlds import World
from scalelaw.trials import Trials

WORLD = World(seeds=2, sizes=7, noise=0.001)


def test_the_best_case_is_the_truth_and_the_kept_setting_is_worse() -> None:
    trials, _ = WORLD.draw(np.random.default_rng(0))
    found = scalelaw.best_case("saturating", trials)
    assert found.frontier.tuned
    assert found.fit.n == 7
    assert found.kept is not None
    assert found.kept_frontier is not None
    for width in WORLD.widths:
        best = float(found.fit.predict({"width": float(width)}))
        assert best == pytest.approx(WORLD.loss(float(width)), rel=0.01)
    largest = {"width": float(WORLD.widths[-1])}
    assert float(found.kept.predict(largest)) > float(found.fit.predict(largest))
    plain = json.loads(json.dumps(found.to_dict(), allow_nan=False))
    assert plain["tuned"]
    assert plain["fixed"]["setting"] == found.kept_frontier.settings
    assert plain["theta"] == found.fit.theta


def test_fixed_fits_the_rows_as_they_stand() -> None:
    trials, _ = WORLD.draw(np.random.default_rng(0))
    rate = float(np.unique(trials.numbers("learning_rate"))[3])
    column = trials.where(trials.numbers("learning_rate") == rate)
    found = scalelaw.best_case("log_linear", column, fixed=True)
    assert found.kept is None
    assert found.fit.n == len(column.finished)
    assert found.fit.theta == scalelaw.fit("log_linear", column.finished).theta
    assert found.fit.theta == scalelaw.best_case("log_linear", scalelaw.frontier(column, fixed=True)).fit.theta


def test_a_law_takes_its_own_scales() -> None:
    trials, _ = WORLD.draw(np.random.default_rng(0))
    with pytest.raises(DataError, match="parameters"):
        scalelaw.best_case("chinchilla", trials)


TRUTH = {"E": 1.8, "A": 480.0, "B": 2100.0, "alpha": 0.35, "beta": 0.37}


def both(sizes: int = 9, tokens: float = 1e13, rates: int = 1) -> Trials:
    """Every size with every number of tokens, and with every rate, of which the best falls with size."""
    axes = np.geomspace(1e6, 1e9, sizes), np.geomspace(1e8, tokens, 9), np.geomspace(1e-4, 1e-2, rates)
    n, d, rate = (each.ravel() for each in np.meshgrid(*axes))
    loss = laws["chinchilla"].predict(TRUTH, {"parameters": n, "tokens": d})
    away = np.log(rate) - np.log(1e-3) + 0.1 * np.log(n / 1e6) if rates > 1 else np.zeros(len(n))
    loss = loss * np.exp(0.03 * away**2 + 0.001 * np.random.default_rng(0).standard_normal(len(n)))
    more = {"learning_rate": rate} if rates > 1 else {}
    return Trials.from_columns({"parameters": n, "tokens": d, "loss": loss, **more})


@pytest.mark.parametrize("rates", [1, 5])
def test_a_law_of_one_variable_leaves_out_what_the_other_holds_back(rates: int) -> None:
    """Rows as they stand, or the best case of each pair where a rate was tuned: E is the truth's, not the truth and a share."""
    trials = both(rates=rates)
    found = scalelaw.best_case("saturating", trials, over="parameters")
    assert found.frontier.tuned == (rates > 1)
    assert found.ample is not None
    assert found.ample.ground is Ground.AMPLE
    assert found.ample.dropped + len(found.ample.trials) == 81
    every = scalelaw.best_case("saturating", trials, over="parameters", all_rows=True)
    assert every.ample is None
    size = {"parameters": 1e9}
    truth = 1.8 + 480.0 * 1e9**-0.35
    # At most a tenth of the reducible loss is owed to tokens, so a ninth of what size leaves.
    assert truth * 0.995 < float(found.fit.predict(size)) < truth + 480.0 * 1e9**-0.35 / 9
    assert float(every.fit.predict(size)) > 1.04 * truth
    if rates == 1:
        assert found.fit.n == len(found.ample.trials)
        assert every.fit.n == 81
    plain = json.loads(json.dumps(found.to_dict(), allow_nan=False))["ample"]
    assert (plain["ground"], plain["kept"], plain["share"]) == ("AMPLE", len(found.ample.trials), 0.1)
    spoken = diagnostics["held_back"].find(Case(trials, scalelaw.frontier(trials, over="parameters")))
    assert spoken is not None
    assert spoken.message.startswith(f"{found.ample.dropped} of 81")


def test_too_few_ample_runs_are_refused_with_what_would_be_enough() -> None:
    short = both(tokens=1e10)
    with pytest.raises(DataError, match=r"held back by too few tokens.*it takes .* tokens.*--all-rows"):
        scalelaw.best_case("saturating", short, over="parameters")
    assert scalelaw.best_case("saturating", short, over="parameters", all_rows=True).fit.n == 81
    spoken = diagnostics["held_back"].find(Case(short, scalelaw.frontier(short, over="parameters")))
    assert spoken is not None
    assert "too few sizes are left" in spoken.message


def test_a_ladder_keeps_all_its_runs_and_says_so() -> None:
    size = np.geomspace(1e7, 1e10, 12)
    loss = laws["chinchilla"].predict(TRUTH, {"parameters": size, "tokens": 20 * size})
    ladder = Trials.from_columns({"parameters": size, "tokens": 20 * size, "loss": loss})
    for over in ("parameters", "tokens", "compute"):
        found = scalelaw.best_case("saturating", ladder, over=over)
        assert found.fit.n == 12
        assert found.ample is not None
        assert found.ample.ground is Ground.LADDER
    assert diagnostics["held_back"].find(Case(ladder, scalelaw.frontier(ladder, over="parameters"))) is None


def test_laws_of_other_columns_ask_nothing() -> None:
    trials = both()
    assert scalelaw.best_case("chinchilla", trials).ample is None
    assert standing(scalelaw.frontier(trials, over=("parameters", "tokens"))) is None
    alone = trials.where("tokens > 9e12")
    assert scalelaw.best_case("saturating", alone, over="parameters").ample is None
