"""The coordinate check: what is measured, how a slope is judged, and that theory's powers and cures come out."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from scalelaw.coordinates import Cause, Coordinates, Growth, Transfer, coordinates, judge
from scalelaw.errors import DataError, InputError, SpecError, UnknownNameError
from scalelaw.tasks import tasks
from scalelaw.train.coordinates import PROBED, measure
from scalelaw.train.models import Ends, Kind, Net, models
from scalelaw.train.optimisers import Family
from scalelaw.train.parametrisation import Parametrisation
from scalelaw.trial import TrialSpec

SMALL = {"input_dim": 8, "classes": 4, "teacher_width": 8}
RATE, DECAY, BATCH = 2e-3, 0.1, 16


def spec(width: int, seed: int = 0, depth: int = 2) -> TrialSpec:
    hyper = {"learning_rate": RATE, "weight_decay": DECAY, "batch_size": BATCH}
    return TrialSpec("teacher_student", {"width": width, "depth": depth, "steps": 1}, hyper, seed, task_options=SMALL)


# What is measured


def forward(net: list[list[np.ndarray]], x: np.ndarray) -> list[np.ndarray]:
    found: list[np.ndarray] = []
    for w, b in net:
        found.append((np.maximum(found[-1], 0) if found else x) @ w + b)
    return found


def by_hand(width: int, base: int, how: Parametrisation, steps: int) -> dict[tuple[str, str], float]:
    """Backpropagation and Adam written out in float64."""
    data = tasks["teacher_student"].data(SMALL)
    drawn = models["mlp"].structure(Net({"width": width, "depth": 2}, {}), Ends(8, 4)).initial(0)
    net = [[drawn[f"{part}{layer}"].astype(np.float64) for part in ("weight", "bias")] for layer in (1, 2, 3)]
    net[-1][0] *= how.start(Kind.OUTPUT, width / base)
    start = [[part.copy() for part in pair] for pair in net]
    kinds = [Kind.INPUT, Kind.HIDDEN, Kind.OUTPUT]
    moments = [[[np.zeros_like(part), np.zeros_like(part)] for part in pair] for pair in net]
    for t, (xs, ys) in enumerate(data.batches(0, BATCH, [1] * steps), start=1):
        x, y = xs[0].astype(np.float64), ys[0].astype(np.float64)
        h = forward(net, x)
        p = np.exp(h[-1] - h[-1].max(axis=1, keepdims=True))
        back = (p / p.sum(axis=1, keepdims=True) - y) / BATCH
        for place in (2, 1, 0):
            fed = np.maximum(h[place - 1], 0) if place else x
            gradients = (fed.T @ back, back.sum(axis=0))
            back = (back @ net[place][0].T) * (h[place - 1] > 0) if place else back
            for kind, g in enumerate(gradients):
                m, v = moments[place][kind]
                m[...] = 0.9 * m + 0.1 * g
                v[...] = 0.999 * v + 0.001 * g**2
                rate = RATE * how.rate(Kind.VECTOR if kind else kinds[place], Family.ENTRYWISE, width / base)
                step = (m / (1 - 0.9**t)) / (np.sqrt(v / (1 - 0.999**t)) + 1e-8)
                net[place][kind] -= RATE * DECAY * net[place][kind] + rate * step
    probe = data.test_inputs[:PROBED].astype(np.float64)
    before, now = forward(start, probe), forward(net, probe)

    def rms(a: np.ndarray) -> float:
        return float(np.sqrt(np.mean(a**2)))

    found: dict[tuple[str, str], float] = {}
    for place, name in enumerate(("input", "hidden 2", "output")):
        fed = np.maximum(before[place - 1], 0) if place else probe
        dw, db = (new - old for new, old in zip(net[place], start[place], strict=True))
        found[name, "activation"] = rms(now[place])
        found[name, "change"] = rms(now[place] - before[place])
        found[name, "own"] = rms(fed @ dw + db)
        found[name, "ratio"] = rms(dw) / rms(start[place][0])
    return found


@pytest.mark.parametrize("how", Parametrisation)
def test_readings_are_those_of_training_written_out_by_hand(how: Parametrisation) -> None:
    found = measure([spec(6), spec(12)], how, (1, 3))
    rows = list(zip(*(found[name] for name in ("width", "step", "layer", "quantity", "rms")), strict=True))
    for steps in (1, 3):
        ours = {row[2:4]: row[4] for row in rows if row[:2] == (12, steps)}
        truth = by_hand(12, 6, how, steps)
        assert ours.keys() == truth.keys()
        for key, value in truth.items():
            assert ours[key] == pytest.approx(value, rel=2e-3), key
    assert [row[2] for row in rows if row[:2] == (6, 0)] == ["input", "hidden 2", "output"]


def test_readings_depend_on_their_own_network_alone() -> None:
    alone, company = measure([spec(8, 1)]), measure([spec(8), spec(8, 1)])
    mine = [rms for seed, rms in zip(company["seed"], company["rms"], strict=True) if seed == 1]
    assert alone["rms"] == mine


# How a slope is judged

WIDTHS = (64, 128, 256, 512, 1024)
LAYERS = ("input", "hidden 2", "output")


def world(
    rng: np.random.Generator,
    power: Callable[[str, str], float],
    *,
    tau: float = 0.02,
    sigma: float = 0.05,
    seeds: int = 4,
    steps: tuple[int, ...] = (1,),
    widths: tuple[int, ...] = WIDTHS,
) -> dict[str, list[Any]]:
    """ln RMS = power ln width + width's effect + seed's effect + noise, for every quantity and layer."""
    rows: list[tuple[Any, ...]] = []
    for layer in LAYERS:
        for step, quantity in [(0, "activation"), *((step, q) for step in steps for q in ("change", "own"))]:
            shared = 0.3 * rng.standard_normal(seeds)
            for width in widths:
                place = power(quantity, layer) * math.log(width) + tau * rng.standard_normal()
                for seed in range(seeds):
                    value = math.exp(place + shared[seed] + sigma * rng.standard_normal())
                    rows.append((width, seed, step, layer, quantity, value))
    return dict(zip(("width", "seed", "step", "layer", "quantity", "rms"), map(list, zip(*rows, strict=True)), strict=True))


@pytest.mark.parametrize(("tau", "seeds"), [(0.0, 4), (0.02, 4), (0.1, 4), (0.05, 1), (0.05, 16)])
def test_intervals_cover_whatever_the_widths_scatter(tau: float, seeds: int) -> None:
    rng = np.random.default_rng(seeds)
    inside = count = ends = 0
    for _ in range(120):
        found = judge(world(rng, lambda *_: 0.4, tau=tau, seeds=seeds))
        for each in found.slopes:
            count += 1
            inside += each.slope.low <= 0.4 <= each.slope.high
            assert each.end is not None
            ends += each.end.low <= 0.4 <= each.end.high
    assert count == 120 * 9
    assert 0.87 <= inside / count <= 0.93
    assert 0.87 <= ends / count <= 0.93


def test_wrong_verdicts_on_a_slope_are_as_rare_as_promised() -> None:
    rng = np.random.default_rng(1)

    def says_of(power: float) -> list[Growth]:
        return [each.growth for _ in range(120) for each in judge(world(rng, lambda *_: power)).slopes]

    says = {power: says_of(power) for power in (-0.1, 0, 0.1, 0.3)}
    share = {power: {growth: said.count(growth) / len(said) for growth in Growth} for power, said in says.items()}
    # At the margin itself each wrong call has its largest probability, 5 %; 0.07 is three standard errors above.
    for power in (-0.1, 0.1):
        assert share[power][Growth.STABLE] < 0.07
        assert share[power][Growth.GROWS] < 0.07
        assert share[power][Growth.SHRINKS] < 0.07
    assert share[0][Growth.STABLE] > 0.8
    assert share[0][Growth.GROWS] + share[0][Growth.SHRINKS] < 0.01
    assert share[0.3][Growth.GROWS] > 0.9


def test_wrong_verdicts_on_a_recipe_are_as_rare_as_promised() -> None:
    rng = np.random.default_rng(2)
    edge = [judge(world(rng, lambda *_: 0.1, steps=(1, 2))).verdict for _ in range(300)]
    one = [judge(world(rng, lambda q, layer: 0.1 if (q, layer) == ("change", "hidden 2") else 0.0)).verdict for _ in range(300)]
    flat = [judge(world(rng, lambda *_: 0.0, tau=0.01)).verdict for _ in range(300)]
    # DOES_NOT where no slope is beyond the margin: 10 % / 2 on each side at most, over all slopes together.
    assert edge.count(Transfer.DOES_NOT) / 300 < 0.09
    assert one.count(Transfer.TRANSFERS) / 300 < 0.09
    assert flat.count(Transfer.DOES_NOT) / 300 < 0.01
    assert flat.count(Transfer.TRANSFERS) / 300 > 0.6


def test_a_level_line_that_bends_away_at_its_end_is_not_called_stable() -> None:
    x = np.log(np.array([64, 90, 128, 181, 256, 362, 512, 724, 1024]))
    y = 0.05 * (x - x.mean()) ** 2 + 0.001 * np.random.default_rng(0).standard_normal(9)
    readings = {
        "width": list(np.exp(x)),
        "rms": list(np.exp(y)),
        "quantity": ["change"] * 9,
        "layer": ["only"] * 9,
        "seed": [0] * 9,
        "step": [1] * 9,
    }
    found = judge(readings).slope("change", "only", 1)
    assert -0.1 < found.slope.low < found.slope.high < 0.1
    assert found.end is not None
    assert found.end.value == pytest.approx(0.05 * 2 * (x[-1] - x.mean()), abs=0.01)
    assert found.growth is Growth.UNDECIDED


def test_what_seeds_share_over_the_widths_cancels_and_ragged_seeds_are_used_where_complete() -> None:
    readings = world(np.random.default_rng(0), lambda *_: 0.5, tau=0, sigma=0, seeds=3)
    first = readings["seed"].index(2)
    ragged = {name: column[:first] + column[first + 1 :] for name, column in readings.items()}
    for table, seeds in ((readings, 3), (ragged, 2)):
        each = judge(table).slopes[0]
        assert each.slope.value == pytest.approx(0.5)
        assert each.slope.high - each.slope.low < 1e-9
        assert (each.seeds, each.noise) == (seeds, pytest.approx(0, abs=1e-9))


@pytest.mark.parametrize(("value", "word"), [(0.0, "raise the rate"), (math.inf, "lower the rate"), (math.nan, "lower the rate")])
def test_what_cannot_be_told_says_why(value: float, word: str) -> None:
    readings = world(np.random.default_rng(0), lambda *_: 0.0, tau=0, sigma=0.001)
    readings["rms"][readings["quantity"].index("change")] = value
    found = judge(readings)
    assert found.verdict is Transfer.UNDECIDED
    assert word in found.action
    assert word in json.dumps(found.to_dict()["slopes"])


def test_two_widths_have_no_interval() -> None:
    found = judge(world(np.random.default_rng(0), lambda *_: 0.9, widths=(64, 128)))
    assert found.verdict is Transfer.UNDECIDED
    assert "at least 3" in found.action


def test_bad_readings_are_told_in_one_line() -> None:
    good = world(np.random.default_rng(0), lambda *_: 0.0)
    with pytest.raises(DataError, match="no column 'rms'"):
        judge({name: column for name, column in good.items() if name != "rms"})
    with pytest.raises(UnknownNameError, match="Did you mean 'change'"):
        judge({**good, "quantity": ["chnge"] * len(good["rms"])})
    with pytest.raises(DataError, match="'change'"):
        judge({**good, "quantity": ["own"] * len(good["rms"])})
    with pytest.raises(InputError, match="level"):
        judge(good, level=90)
    with pytest.raises(InputError, match="margin"):
        judge(good, margin=0)


def cause(power: Callable[[str, str], float]) -> dict[str, Cause]:
    found = judge(world(np.random.default_rng(0), power, tau=0.002, sigma=0.005))
    return {each.layer: each.cause for each in found.faults}


def test_the_fault_is_put_where_it_arises() -> None:
    powers = {("own", "hidden 2"): 1.0, ("change", "hidden 2"): 1.0, ("change", "output"): 0.9}
    assert cause(lambda q, layer: powers.get((q, layer), 0.0)) == {"hidden 2": Cause.RATE, "output": Cause.CARRIED}
    assert cause(lambda q, layer: 0.5 if (q, layer) == ("change", "output") else 0.0) == {"output": Cause.ALIGNED}
    assert cause(lambda q, layer: -1.0 if (q, layer) == ("change", "input") else 0.0) == {"input": Cause.RATE}
    assert cause(lambda q, layer: -0.5 if (q, layer) == ("activation", "output") else 0.0) == {}
    assert cause(lambda q, layer: 0.5 if (q, layer) == ("activation", "hidden 2") else 0.0) == {"hidden 2": Cause.START}


# The built-in network


@pytest.fixture(scope="module")
def standard() -> Coordinates:
    return coordinates(seeds=4)


def test_one_rate_at_every_width_moves_hidden_layers_as_the_width(standard: Coordinates) -> None:
    """Adam's first step moves every weight by its rate, in step with what it is fed: power 1 where n units feed, else 0."""
    assert standard.verdict is Transfer.DOES_NOT
    for layer, power in (("input", 0), ("hidden 2", 1), ("hidden 3", 1), ("output", 1)):
        assert standard.slope("own", layer, 1).slope.value == pytest.approx(power, abs=0.05)
        # The entries of the first update are all of one size, those of He's start go as width^(-1/2) where n units feed.
        assert standard.slope("ratio", layer, 1).slope.value == pytest.approx(power / 2, abs=0.02)
    assert standard.slope("change", "hidden 2", 1).slope.value == pytest.approx(1, abs=0.06)
    # The readout sums n changes that its own weights, of size n^(-1/2), have aligned: n^(3/2) in the limit.
    assert 1.2 < standard.slope("change", "output", 1).slope.value < 1.5
    assert [(each.layer, each.cause) for each in standard.faults] == [
        (layer, Cause.RATE) for layer in ("hidden 2", "hidden 3", "output")
    ]
    assert all("width^-1.0" in each.action for each in standard.faults)
    for layer in ("input", "hidden 2", "hidden 3"):
        assert standard.slope("activation", layer, 0).growth is Growth.STABLE


@pytest.mark.parametrize(
    ("how", "faults"),
    [
        ("scaled_rate", {"input": (Cause.RATE, -1.0), "output": (Cause.ALIGNED, 0.4)}),
        ("layer_rates", {"output": (Cause.ALIGNED, 0.4)}),
        ("maximal_update", {}),
    ],
)
def test_the_cures_cure_what_theory_says_they_cure(how: str, faults: dict[str, tuple[Cause, float]]) -> None:
    found = coordinates(seeds=6, parametrisation=how)
    assert {each.layer: each.cause for each in found.faults} == {layer: cause for layer, (cause, _) in faults.items()}
    for each in found.faults:
        assert each.slope.slope.value == pytest.approx(faults[each.layer][1], abs=0.06)
    assert found.verdict is (Transfer.DOES_NOT if faults else Transfer.TRANSFERS)
    for layer in ("hidden 2", "hidden 3", "output"):
        assert found.slope("own", layer, 1).slope.value == pytest.approx(0, abs=0.06)


def test_bad_questions_are_told_in_one_line() -> None:
    with pytest.raises(InputError, match="at least 3"):
        coordinates((64, 64, 128))
    with pytest.raises(InputError, match="seeds"):
        coordinates(seeds=0)
    with pytest.raises(InputError, match="steps"):
        coordinates(steps=(0, 1))
    with pytest.raises(UnknownNameError, match="Did you mean 'maximal_update'"):
        coordinates(parametrisation="maximal_updates")
    with pytest.raises(SpecError, match="learning_rate"):
        coordinates(learning_rate=-1.0)
    with pytest.raises(InputError, match="given twice"):
        coordinates(hyperparameters={"learning_rate": 1.0})
    with pytest.raises(InputError, match="rounding"):
        coordinates((8, 16, 32), learning_rate=1e-9, seeds=1, depth=1, task_options=SMALL)


def test_json_and_screen(standard: Coordinates, capsys: pytest.CaptureFixture[str]) -> None:
    from scalelaw.cli.coordinates import coordinates as verb
    from scalelaw.cli.coordinates import show

    told = json.loads(json.dumps(standard.to_dict(), allow_nan=False))
    assert (told["verdict"], told["message"]) == ("DOES_NOT", Transfer.DOES_NOT.value)
    assert len(told["slopes"]) == 4 * (1 + 4 * 4)
    assert told["faults"][0]["cause"] == "RATE"
    show(standard)
    page = capsys.readouterr().out
    assert page.startswith("DOES_NOT: ")
    assert "hidden 2: the change its own update makes goes as width^" in " ".join(page.split())
    verb(widths="8,16,32", seeds=1, steps="1", others="batch_size=8", as_json=True)
    small = json.loads(capsys.readouterr().out)
    assert (small["widths"], small["recipe"]["batch_size"]) == ([8, 16, 32], 8)
    with pytest.raises(InputError, match="--widths"):
        verb(widths="8,x")


def test_judging_needs_no_jax() -> None:
    code = "import sys; from scalelaw.coordinates import judge; sys.exit('jax' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False, timeout=60).returncode == 0
