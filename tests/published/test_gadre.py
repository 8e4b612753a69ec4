"""Over-trained models of Gadre et al. 2024 (arXiv:2403.08540): small runs predict large ones.

The paper's rule chooses the runs of the fit (its Table 2 and released code): the four smallest sizes at 20 tokens per parameter,
and the smallest at 320. The law has one exponent, the loss is that of the C4 evaluation, the data are RedPajama's.
"""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest

from scalelaw.fit import Fit, FitStatus, LeastSquares, fit
from scalelaw.testing.laws import Points

pytestmark = pytest.mark.published

PUBLISHED = {("open_lm_1b", 640.0): 0.007103, ("open_lm_7b", 20.0): 0.007320}


@pytest.fixture(scope="module")
def runs(reference_data: Path) -> list[dict[str, str]]:
    """The runs on RedPajama."""
    with (reference_data / "gadre_overtraining_models.csv").open(encoding="utf-8") as file:
        return [row for row in csv.DictReader(file) if row["dataset"] == "rpj"]


def points(rows: list[dict[str, str]]) -> Points:
    columns = {"parameters": "N_params", "tokens": "D_tokens", "loss": "loss_c4_val"}
    return Points({name: np.array([float(row[key]) for row in rows]) for name, key in columns.items()})


def small(rows: list[dict[str, str]]) -> Points:
    """The paper's five."""
    sizes = sorted({float(row["N_params"]) for row in rows})[:4]
    wanted = {(size, 20.0) for size in sizes} | {(sizes[0], 320.0)}
    chosen = [row for row in rows if (float(row["N_params"]), float(row["tokens_per_param"])) in wanted]
    assert len(chosen) == 5
    return points(chosen)


def error(found: Fit, rows: list[dict[str, str]], model: str, ratio: float) -> float:
    """Relative error at one held-out run."""
    (row,) = (row for row in rows if row["model"] == model and float(row["tokens_per_param"]) == ratio)
    at = points([row])
    return abs(float(found.predict(at.columns)[0]) / float(at.columns["loss"][0]) - 1)


def test_the_published_errors_under_the_published_objective(runs: list[dict[str, str]]) -> None:
    """Least squares of the loss itself, as in the released code: the same two errors to every printed digit."""
    found = fit("overtraining", small(runs), objective=LeastSquares(log=False))
    assert found.status is FitStatus.CONVERGED
    for (model, ratio), published in PUBLISHED.items():
        assert error(found, runs, model, ratio) == pytest.approx(published, abs=5e-7)


def test_the_default_objective_does_no_worse(runs: list[dict[str, str]]) -> None:
    found = fit("overtraining", small(runs))
    assert found.status is FitStatus.CONVERGED
    for (model, ratio), published in PUBLISHED.items():
        assert error(found, runs, model, ratio) <= published
