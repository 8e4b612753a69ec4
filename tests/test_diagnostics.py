"""Findings: each diagnostic speaks on its own example and is silent on a clean study."""

from __future__ import annotations

import numpy as np
import pytest

from scalelaw.diagnostics import diagnose, diagnostics
from scalelaw.frontier import frontier
from scalelaw.testing.diagnostics import check_diagnostic
from scalelaw.testing.worlds import World
from scalelaw.trials import Trials


@pytest.mark.parametrize("name", diagnostics.names())
def test_contract(name: str) -> None:
    diagnostic = diagnostics[name]
    assert diagnostic.name == name
    check_diagnostic(diagnostic)


def test_a_clean_study_has_nothing_to_say() -> None:
    trials, _ = World(seeds=3).draw(np.random.default_rng(1))
    assert diagnose(trials, frontier(trials)) == ()


def test_untested_tuning_comes_first() -> None:
    trials, _ = World(seeds=1, sizes=3).draw(np.random.default_rng(1))
    rate = np.unique(trials.numbers("learning_rate"))[3]
    column = trials.where(trials.numbers("learning_rate") == rate)
    found = diagnose(column, frontier(column), {"width": 1e6})
    assert [each.name for each in found][:2] == ["tuning_untested", "short_reach"]
    assert {"few_scales", "seed_spread"} <= {each.name for each in found}


def test_a_setting_that_changes_with_size_is_part_of_the_recipe() -> None:
    trials, _ = World(seeds=3).draw(np.random.default_rng(1))
    trials = trials.with_column("batch_size", 4.0 * trials.numbers("width"))
    (found,) = diagnose(trials, frontier(trials))
    assert found.name == "mixed_recipe"
    assert "batch_size" in found.message


def test_seeds_that_spread_differently_are_named() -> None:
    trials, _ = World(seeds=4).draw(np.random.default_rng(1))
    random = np.random.default_rng(2)
    wide = np.where(trials.numbers("width") > 500, 0.03, 0.0) * random.standard_normal(len(trials))
    noisy = Trials({**trials.columns, "loss": trials.numbers("loss") * np.exp(wide)})
    assert "seed_spread" in {each.name for each in diagnose(noisy, frontier(noisy))}
