"""Random features: what is counted, that training reaches the closed form, and that a ladder recovers the known exponent."""

from __future__ import annotations

import numpy as np
import pytest

import scalelaw
from scalelaw.errors import SpecError
from scalelaw.tasks import tasks
from scalelaw.tasks.power_spectrum import expected_loss, lowest_loss
from scalelaw.testing.models import check_model
from scalelaw.train import train_batch
from scalelaw.train.models import Ends, Net, models
from scalelaw.trial import TrialSpec, Value
from scalelaw.trials import Trials

FAMILY = models["random_features"]
KNOBS: dict[str, Value] = {"features": "orthonormal", "spectrum": 4.0}
HOW: dict[str, Value] = {
    **KNOBS,
    "optimiser": "sgd",
    "momentum": 0.0,
    "learning_rate": 0.05,
    "batch_size": 64,
    "schedule": "linear",
    "final_fraction": 0.0,
}


def spec(width: int, seed: int, steps: int = 200) -> TrialSpec:
    return TrialSpec("power_spectrum", {"width": width, "steps": steps}, HOW, seed, model="random_features")


def drawn(width: int, seed: int) -> np.ndarray:
    data = tasks["power_spectrum"].data()
    return FAMILY.structure(Net({"width": width}, KNOBS), Ends.of(data)).initial(seed)["features"]


@pytest.mark.parametrize("features", ["orthonormal", "relu"])
def test_the_family_keeps_the_contract(features: str) -> None:
    check_model(FAMILY, {"width": 5}, Ends(9, 3), {"features": features, "spectrum": 2.0})


def test_a_group_answers_as_its_networks_do_alone() -> None:
    net, generator = Net({"width": 5}, KNOBS), np.random.default_rng(0)
    group = {"features": generator.standard_normal((2, 9, 5)), "readout": generator.standard_normal((2, 5, 3))}
    inputs = generator.standard_normal((4, 9), dtype=np.float32)
    together = np.asarray(FAMILY.group_outputs({name: part.astype(np.float32) for name, part in group.items()}, inputs, net))
    for place in range(2):
        own = {name: part[place].astype(np.float32) for name, part in group.items()}
        alone = np.asarray(FAMILY.outputs(own, inputs, net))
        np.testing.assert_allclose(together[place], alone, rtol=1e-4, atol=1e-4 * np.abs(alone).max())


def test_only_the_readout_is_counted() -> None:
    structure = FAMILY.structure(Net({"width": 8}, KNOBS), Ends(100, 3))
    assert structure.parameters == 8 * 3
    # Forward 2 x 100 x 8 + 2 x 8 x 3; back the readout's own gradient alone.
    assert structure.flops(1) == 2 * 100 * 8 + 2 * (2 * 8 * 3)


def test_features_are_orthonormal_in_the_datas_measure() -> None:
    data = tasks["power_spectrum"].data()
    width = 24
    parameters = {"features": drawn(width, 0), "readout": np.eye(width, dtype=np.float32)}
    shown = np.asarray(FAMILY.outputs(parameters, data.test_inputs, Net({"width": width}, KNOBS)), dtype=np.float64)
    np.testing.assert_allclose(shown.T @ shown / len(shown), np.eye(width), atol=2e-3)
    # The same functions as plain linear features.
    plain = data.test_inputs.astype(np.float64) @ parameters["features"]
    left = plain - shown @ np.linalg.lstsq(shown, plain)[0]
    assert np.square(left).sum() < 1e-6 * np.square(plain).sum()


def test_relu_features_are_of_any_width() -> None:
    knobs: dict[str, Value] = {"features": "relu", "spectrum": 0.0}
    structure = FAMILY.structure(Net({"width": 40}, knobs), Ends(6, 2))
    parameters = {**structure.initial(0), "readout": np.ones((40, 2), np.float32)}
    inputs = np.random.default_rng(0).standard_normal((5, 6)).astype(np.float32)
    by_hand = np.maximum(inputs @ parameters["features"], 0) * np.sqrt(2 / 40) @ parameters["readout"]
    found = np.asarray(FAMILY.outputs(parameters, inputs, Net({"width": 40}, knobs)))
    np.testing.assert_allclose(found, by_hand, rtol=1e-5)


@pytest.mark.parametrize(("width", "knobs", "says"), [(9, KNOBS, "8 inputs"), (4, {**KNOBS, "features": "cosine"}, "'relu'")])
def test_what_no_network_has_is_one_line(width: int, knobs: dict[str, Value], says: str) -> None:
    with pytest.raises(SpecError) as caught:
        FAMILY.structure(Net({"width": width}, knobs), Ends(8, 2))
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)


def test_training_recovers_the_exponent() -> None:
    widths, seeds = (16, 32, 64, 128), range(8)
    trials = train_batch([spec(width, seed) for width in widths for seed in seeds])
    lowest = [lowest_loss(drawn(width, seed)) for width in widths for seed in seeds]
    losses = np.array([trial.loss for trial in trials], dtype=np.float64)
    # Above the closed form by what 200 steps leave, about width / 6,000, and never below it.
    excess = losses / lowest - 1
    assert excess.min() > -1e-4
    assert excess.max() < 0.025
    fitted = scalelaw.fit("power", Trials.from_trials(trials), over="width")
    assert fitted.theta["alpha"] == pytest.approx(1.0, rel=0.02)
    means = losses.reshape(len(widths), -1).mean(axis=1)
    np.testing.assert_allclose(means, [expected_loss(width) for width in widths], rtol=0.04)
