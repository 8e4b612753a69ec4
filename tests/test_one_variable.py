"""Laws of one variable on each axis agree with the law of both, and refuse runs that the other variable holds back."""

from __future__ import annotations

import numpy as np
import pytest

from scalelaw.ample import Ground, ample, assess, envelope_law
from scalelaw.errors import DataError, InputError
from scalelaw.fit import FitStatus, fit
from scalelaw.laws import laws
from scalelaw.trials import Trials

TRUTH = {"E": 1.8, "A": 480.0, "B": 2100.0, "alpha": 0.35, "beta": 0.37}
GAMMA = 0.35 * 0.37 / (0.35 + 0.37)


def world(sizes: np.ndarray, tokens: np.ndarray, noise: float = 0.0, seed: int = 0) -> Trials:
    """Every size with every number of tokens."""
    n, d = (each.ravel() for each in np.meshgrid(sizes, tokens))
    loss = laws["chinchilla"].predict(TRUTH, {"parameters": n, "tokens": d})
    loss = loss * np.exp(noise * np.random.default_rng(seed).standard_normal(len(n)))
    return Trials.from_columns({"parameters": n, "tokens": d, "loss": loss})


GRID = world(np.geomspace(1e6, 1e11, 16), np.geomspace(1e8, 1e14, 19))


def test_a_law_over_parameters_uses_runs_with_ample_data() -> None:
    found = ample(GRID, "parameters", share=0.02)
    n, d = found.trials.numbers("parameters"), found.trials.numbers("tokens")
    size, data = 480.0 * n**-0.35, 2100.0 * d**-0.37
    assert np.all(data / (size + data) <= 0.0201)
    assert found.dropped == len(GRID) - len(n) > 0
    assert "owed to too few tokens" in found.message
    law = fit("saturating", found.trials, over="parameters")
    assert law.theta["alpha"] == pytest.approx(0.35, abs=0.02)
    assert law.theta["A"] == pytest.approx(480.0, rel=0.2)
    # All runs together take what their data cost for irreducible.
    assert law.theta["E"] == pytest.approx(1.8, abs=0.01)
    assert fit("saturating", GRID, over="parameters").theta["E"] > 1.84


def test_a_law_over_tokens_uses_runs_of_ample_size() -> None:
    wide = world(np.geomspace(1e8, 1e14, 19), np.geomspace(1e7, 1e11, 13))
    found = ample(wide, "tokens", share=0.02)
    law = fit("saturating", found.trials, over="tokens")
    assert law.theta["alpha"] == pytest.approx(0.37, abs=0.02)
    assert law.theta["E"] == pytest.approx(1.8, abs=0.05)
    assert 0 < found.dropped < len(wide)


@pytest.mark.parametrize("noise", [0.0, 0.002])
def test_the_law_over_compute_is_the_one_that_both_variables_imply(noise: float) -> None:
    """gamma = alpha beta / (alpha + beta): fitted to the runs near the envelope, and computed from the joint law."""
    trials = world(np.geomspace(1e7, 1e10, 25), np.geomspace(2e8, 2e11, 25), noise)
    found = ample(trials, "compute")
    assert found.joint is not None
    implied = envelope_law(found.joint)
    assert implied["alpha"] == pytest.approx(GAMMA, rel=1e-5 if noise == 0 else 0.02)
    law = fit("saturating", found.trials, over="compute")
    assert law.status is FitStatus.CONVERGED
    assert law.theta["alpha"] == pytest.approx(implied["alpha"], rel=0.03 if noise == 0 else 0.15)
    at = np.geomspace(1e17, 1e21, 5)
    assert law.predict({"compute": at}) == pytest.approx(laws["saturating"].predict(implied, {"x": at}), rel=0.005)


def test_the_implied_law_is_the_least_loss_for_the_compute() -> None:
    size = np.geomspace(1e5, 1e13, 200_001)
    for compute in (1e18, 1e22):
        loss = laws["chinchilla"].predict(TRUTH, {"parameters": size, "tokens": compute / (6 * size)})
        assert loss.min() == pytest.approx(float(laws["saturating"].predict(envelope_law(TRUTH), {"x": compute})), rel=1e-9)


def test_runs_that_cannot_carry_the_law_are_refused_in_one_line() -> None:
    short = world(np.geomspace(1e8, 1e10, 6), np.geomspace(1e8, 1e10, 6))
    told = r"36 of 36 runs are held back by too few tokens; 0 sizes are left.*it takes .* tokens"
    with pytest.raises(DataError, match=told) as caught:
        ample(short, "parameters", share=0.01)
    assert "\n" not in str(caught.value)
    size = np.geomspace(1e7, 1e10, 12)
    ladder = Trials.from_columns({"parameters": size, "tokens": 20 * size, "loss": 2 + 3e3 * size**-0.4})
    for over in ("parameters", "tokens", "compute"):
        with pytest.raises(DataError, match="do not say whether size or data holds them back"):
            ample(ladder, over)
    with pytest.raises(InputError, match="parameters, tokens or compute"):
        ample(GRID, "width")
    with pytest.raises(InputError, match="between 0 and 1"):
        ample(GRID, "tokens", share=1.5)


def test_one_number_of_tokens_for_all_runs_is_no_obstacle() -> None:
    one = world(np.geomspace(1e7, 1e10, 8), np.array([1e11]))
    found = ample(one, "parameters")
    assert len(found.trials) == 8
    assert found.joint is None
    law = fit("saturating", found.trials, over="parameters")
    assert law.theta["alpha"] == pytest.approx(0.35, rel=1e-5)
    assert law.theta["E"] == pytest.approx(1.8 + 2100.0 * 1e11**-0.37, rel=1e-6)
    assert found.to_dict()["joint"] is None
    assert ample(GRID, "compute").to_dict()["joint"] is not None


def rows(sizes: np.ndarray, tokens: np.ndarray, noise: float = 0.002, seed: int = 0) -> Trials:
    """One run for each pair."""
    loss = laws["chinchilla"].predict(TRUTH, {"parameters": sizes, "tokens": tokens})
    loss = loss * np.exp(noise * np.random.default_rng(seed).standard_normal(len(sizes)))
    return Trials.from_columns({"parameters": sizes, "tokens": tokens, "loss": loss})


def test_the_cases_are_told_apart() -> None:
    size, rng = np.geomspace(1e7, 1e10, 12), np.random.default_rng(0)
    for tokens, told in ((20 * size, "20 parameters on every row"), (20 * size * np.exp(0.05 * rng.standard_normal(12)), "%")):
        found = assess(rows(size, tokens), "parameters")
        assert found.ground is Ground.LADDER
        assert (len(found.trials), found.dropped) == (12, 0)
        assert told in found.message
        assert "along that ladder only" in found.message
    one = assess(world(size, np.array([1e11])), "compute")
    assert one.ground is Ground.LADDER
    assert "tokens are the same" in one.reason
    messy = rows(np.exp(rng.uniform(16, 20, 12)), np.exp(rng.uniform(20, 24, 12)), 0.1)
    few = rows(size[::3], np.array([3e9, 1e9, 2e11, 4e9]))
    for trials in (messy, few):
        found = assess(trials, "tokens")
        assert found.ground is Ground.UNKNOWN
        assert "none is checked" in found.message
        assert len(found.trials) == len(trials)
        with pytest.raises(DataError, match="do not say whether size or data holds them back"):
            ample(trials, "tokens")
    short = world(np.geomspace(1e8, 1e10, 6), np.geomspace(1e8, 1e10, 6))
    assert assess(short, "parameters").ground is Ground.TOO_FEW
    assert assess(GRID, "parameters").ground is Ground.AMPLE
    assert assess(world(size, np.array([1e11])), "parameters").ground is Ground.ALONE


def test_a_split_that_is_not_known_drops_nothing() -> None:
    """A converged law of both whose parts are known to no better than a factor e is no reason to drop a run."""
    checked = 0
    for seed in range(40):
        random = np.random.default_rng(seed)
        trials = rows(np.exp(random.uniform(16, 20, 12)), np.exp(random.uniform(20, 24, 12)), 0.05, seed)
        joint = fit("chinchilla", trials)
        if joint.status is not FitStatus.CONVERGED:
            continue
        found = assess(trials, "parameters")
        n, d = np.log(trials.numbers("parameters")), np.log(trials.numbers("tokens"))
        slope = np.array([np.zeros(12), np.ones(12), -np.ones(12), -n, d])[[joint.law.names.index("E"), 1, 2, 3, 4]]
        assert joint.law.names == ("E", "A", "B", "alpha", "beta")
        error = np.sqrt(np.einsum("pn,pq,qn->n", slope, joint.covariance_inner, slope))
        assert (found.ground is Ground.UNKNOWN) == (np.median(error) > 1)
        checked += found.ground is Ground.UNKNOWN
    assert checked >= 3


def test_compute_and_size_give_the_tokens() -> None:
    """A table of sizes and compute alone, as of isoFLOP curves."""
    tokens = GRID.numbers("tokens")
    bare = Trials.from_columns(
        {
            "parameters": GRID.numbers("parameters"),
            "compute": 6 * GRID.numbers("parameters") * tokens,
            "loss": GRID.numbers("loss"),
        }
    )
    assert ample(bare, "compute").trials.numbers("loss").tolist() == ample(GRID, "compute").trials.numbers("loss").tolist()


def test_a_row_without_tokens_is_left_out_and_counted() -> None:
    tokens = GRID.numbers("tokens").copy()
    tokens[-2:] = np.nan
    found = ample(GRID.with_column("tokens", tokens), "parameters")
    assert "2 more lack parameters or tokens" in found.message
    assert found.dropped + len(found.trials) == len(GRID)
